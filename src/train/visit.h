/*
 * visit.h
 *	  Passes over the training tasks and their rows, for what is fitted to all of them.
 */
#ifndef TRAIN_VISIT_H
#define TRAIN_VISIT_H

#include "data/taskset.h"

/* Calls visit for the training tasks that fits look at: where they have very many rows, every n-th. */
typedef void (*TaskVisit) (void *context, const Task *task);
extern void visit_training_tasks(TaskSet *set, TaskVisit visit, void *context);

/* Rows of this width that are looked at together: from 1 to VISIT_MAX_ROWS, less of wide ones. */
#define VISIT_MAX_ROWS 1024
extern int	visit_chunk(const Width *width);

/* The tasks' rows, a chunk of one task at a time. */
typedef void (*RowsVisit) (void *context, const Task *task, const Rows *rows, bool first, bool last);
extern void visit_training_rows(TaskSet *set, RowsVisit visit, void *context);

#endif							/* TRAIN_VISIT_H */
