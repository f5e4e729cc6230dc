/*
 * visit.h
 *	  Passes over the training tasks and their rows, for what is fitted to all of them.
 */
#ifndef TRAIN_VISIT_H
#define TRAIN_VISIT_H

#include "data/taskset.h"

/*
 * Where training tasks have very many rows, fits look at every n-th row of
 * each, and of very many tasks at every n-th.
 */
typedef struct Strides
{
	int			tasks;
	int			rows;
} Strides;

extern Strides visit_strides(const TaskSet *set);

/* Calls visit for the training tasks that are looked at. */
typedef void (*TaskVisit) (void *context, const Task *task);
extern void visit_training_tasks(TaskSet *set, TaskVisit visit, void *context);

/* Rows of this width that are looked at together: from 1 to VISIT_MAX_ROWS, less of wide ones. */
#define VISIT_MAX_ROWS 1024
extern int	visit_chunk(const Width *width);

/* How many rows of a task are looked at, and reads [from, from + n) of them, n at most VISIT_MAX_ROWS. */
extern int	visit_rows(const Strides *strides, const Task *task);
extern void visit_read(TaskSet *set, const Strides *strides, const Task *task, int from, int n, Rows *rows);

/* The tasks' rows, a chunk of one task at a time. */
typedef void (*RowsVisit) (void *context, const Task *task, const Rows *rows, bool first, bool last);
extern void visit_training_rows(TaskSet *set, RowsVisit visit, void *context);

#endif							/* TRAIN_VISIT_H */
