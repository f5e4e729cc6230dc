/*
 * request.h
 *	  What a call of meta.train asks for, checked before any row is read.
 */
#ifndef SQL_REQUEST_H
#define SQL_REQUEST_H

#include "data/loader.h"
#include "train/train.h"

typedef struct TrainRequest
{
	const Learner *learner;
	bool		aggregate;
	Jsonb	   *given;			/* the options as given, or NULL */
	Options		options;
	Jsonb	   *encode;			/* or NULL */
	List	   *exclude;

	/* options of the aggregate, arguments of the procedure; or NULL */
	char	   *features;
	char	   *order_by;

	/* what a blend chooses among; see request_settle */
	int			n_candidates;
	Candidate	candidates[MAX_CANDIDATES];
} TrainRequest;

/*
 * Parses options (NULL: none) for an algorithm (NULL: auto, or the option where
 * aggregate is set).  An unknown key, a value of the wrong type or out of range,
 * an unknown algorithm: an error that names it and the way out.
 */
extern void request_parse(TrainRequest *request, const char *algorithm, Jsonb *options, bool aggregate);

/*
 * The learners that a blend is to choose among: by the target and the number
 * of tasks, which are known once the rows have been read.  Each has its own
 * defaults where no option was given.
 */
extern void request_settle(TrainRequest *request, const TaskSet *set);

/* Puts the columns of a request together. */
extern void request_load(const TrainRequest *request, const char *task, const char *target,
						 const char *features, const char *order_by, LoadRequest *load);

#endif							/* SQL_REQUEST_H */
