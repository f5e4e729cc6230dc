/*
 * parallel.h
 *	  The slices of a meta-batch, shared with parallel workers.
 *
 * The leader draws the rows of all slices and does the outer step; leader and
 * workers take slices in turn, run the same tape on them, and leave the
 * gradient of each at its own place, where the leader adds them up in the
 * order of the slices.  So the numbers are the same whoever computed what, and
 * without any worker.
 *
 * Parallel mode forbids writes and commits: team_leave() ends it, and the next
 * meta-iteration begins it again.
 */
#ifndef TRAIN_PARALLEL_H
#define TRAIN_PARALLEL_H

#include "data/sampler.h"
#include "learn/meta_step.h"
#include "train/phase.h"

typedef struct Team Team;

/* What a phase's tapes were built for. */
typedef struct TeamSizes
{
	int			lowest;			/* support rows of a task */
	int			shots;
	int			query;
	Width		width;
} TeamSizes;

/*
 * Prepares for workers, in the current memory context; NULL where they would
 * not help or are not allowed.
 */
extern Team *team_create(const Phase *phase, MetaStep *step, Sampler *sampler, const TeamSizes *sizes);

/*
 * The sum of all slices' gradients of the phase's next meta-iteration into
 * outer, where it has been begun, and of their losses into *loss.  False, and
 * nothing done, where no worker is to be had.
 */
extern bool team_gradient(Team *team, double progress, Outer *outer, double *loss);

/* Ends the parallel section of the team at work, if there is one. */
extern void team_leave(void);

/* After an error, when PostgreSQL has ended it or will. */
extern void team_forget(void);

#endif							/* TRAIN_PARALLEL_H */
