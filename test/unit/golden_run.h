/*
 * golden_run.h
 *	  What training computes of the small tasks, to be compared with goldens.
 */
#ifndef UNIT_GOLDEN_RUN_H
#define UNIT_GOLDEN_RUN_H

#include "check.h"
#include "learn/meta_step.h"
#include "small_tasks.h"

/*
 * Losses of the tasks and the outer gradient of their sum, all tensors in
 * order.  False where the learner cannot be built, or has not size numbers.
 */
static inline bool
golden_run(const SmallTasks *small, Arena *arena, double progress, size_t size, const char *name,
		   double losses[GOLDEN_TASKS], double *gradient)
{
	static real got[SMALL_MAX_SIZE];
	MetaStep	step;

	/* Tapes that are wider than the rows. */
	meta_step_init(&step, arena, small->learner, &small->spec, &small->list, small->theta,
				   0, GOLDEN_ROWS + 3, GOLDEN_ROWS + 1, NULL);
	if (!ok(step.fault == NULL && small->list.size == size, "%s: built", name))
	{
		diag("fault: %s; %zu numbers, expected %zu", step.fault, small->list.size, size);
		return false;
	}
	memset(got, 0, sizeof(got));
	for (int i = 0; i < META_SLICE * step.noise_rows * step.noise_cols; i++)
		step.noise[i] = 2 * wave(small->seed, 50, i);
	meta_step_run(&step, &small->part[0], &small->part[1], progress, got);
	for (size_t i = 0; i < size; i++)
		gradient[i] = got[i];
	for (int t = 0; t < GOLDEN_TASKS; t++)
		losses[t] = tape_data(&step.sizes[0].tape, step.sizes[0].losses)[t];
	return true;
}

#endif							/* UNIT_GOLDEN_RUN_H */
