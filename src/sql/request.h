/*
 * request.h
 *	  What a call of meta.train asks for, checked before any row is read.
 */
#ifndef SQL_REQUEST_H
#define SQL_REQUEST_H

#include "data/taskset.h"
#include "learn/learner.h"

typedef struct TrainRequest
{
	const Learner *learner;
	bool		chosen;			/* by the user; otherwise see request_settle */
	bool		aggregate;
	Jsonb	   *given;			/* the options as given, or NULL */
	Options		options;
	Jsonb	   *encode;			/* or NULL */
	List	   *exclude;

	/* options of the aggregate, arguments of the procedure; or NULL */
	char	   *features;
	char	   *order_by;
} TrainRequest;

/*
 * Parses options (NULL: none) for an algorithm (NULL: none is asked for, or
 * the option where aggregate is set).  An unknown key, a value of the wrong type
 * or out of range, an unknown algorithm: an error that names it and the way
 * out.
 */
extern void request_parse(TrainRequest *request, const char *algorithm, Jsonb *options, bool aggregate);

/*
 * Where no algorithm was asked for, chooses one by the target and the number
 * of tasks, which are known once the rows have been read, with its own
 * defaults for the options.
 */
extern void request_settle(TrainRequest *request, const TaskSet *set);

/* Puts the columns of a request together. */
extern void request_load(const TrainRequest *request, const char *task, const char *target,
						 const char *features, const char *order_by, LoadRequest *load);

#endif							/* SQL_REQUEST_H */
