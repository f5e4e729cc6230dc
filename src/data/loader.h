/*
 * loader.h
 *	  From the rows of a source to a task set.
 */
#ifndef DATA_LOADER_H
#define DATA_LOADER_H

#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"

#include "data/keys.h"
#include "data/taskset.h"

/* What a source's rows are turned into tasks by. */
typedef struct LoadRequest
{
	List	   *task;			/* column names */
	char	   *target;
	List	   *features;		/* NIL: chosen by plan.c and fit.c */
	List	   *order_by;
	const char *by;				/* column to group tasks by (evaluate), or NULL */
	Jsonb	   *encode;			/* option encode, or NULL */
	List	   *exclude;		/* option exclude */
	const Options *options;		/* seed, validation, test, weight, loss */
	const Encoding *encoding;	/* given: apply it instead of fitting one */
	const KeyFlags *keys;		/* of the row type's columns, or NULL */
} LoadRequest;

/*
 * Rows go in one by one, deformed, as the row type of loader_create.
 * loader_add_row takes one that is not; false where it has to be.  What the
 * request points to must stay in place until loader_finish, an encoding and the
 * options as long as the task set.
 *
 * loader_finish sorts, fits the encoding, packs, and says in one NOTICE what
 * was chosen, left out and skipped.  The task set lives in the memory context
 * that was current at loader_create and survives commits.
 */
typedef struct Loader Loader;

extern Loader *loader_create(const LoadRequest *request, TupleDesc desc);
extern void loader_add(Loader *loader, const Datum *values, const bool *nulls);
extern bool loader_add_row(Loader *loader, HeapTupleHeader row);
extern TaskSet *loader_finish(Loader *loader);

/*
 * Gives up a loader that is not to be finished.  After an error it need not
 * and must not be called: the sort's files are the transaction's by then.
 */
extern void loader_abandon(Loader *loader);

#endif							/* DATA_LOADER_H */
