/*
 * leave_out.h
 *	  What a task's own rows contributed to the effects of its categories.
 */
#ifndef TRAIN_LEAVE_OUT_H
#define TRAIN_LEAVE_OUT_H

#include "data/taskset.h"
#include "nn/network.h"

/* The linear form of a random intercept for a binary target. */
typedef struct LinearIntercept
{
	const real *weight;			/* of the numeric inputs */
	const real **tables;		/* of each category column */
	real		bias;
	real		precision;		/* of the tasks' effects */
} LinearIntercept;

/*
 * Sets the offset of the training tasks' rows to what leaving its task out
 * changes the linear form by.  A task that no fit looked at is left as it is:
 * its rows have contributed nothing.
 */
extern void leave_out(TaskSet *set, const Network *net, const LinearIntercept *model);

#endif							/* TRAIN_LEAVE_OUT_H */
