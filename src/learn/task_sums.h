/*
 * task_sums.h
 *	  A task as sums over its rows, beside a random intercept's: what learners
 *	  keep that read the support with a network.
 */
#ifndef LEARN_TASK_SUMS_H
#define LEARN_TASK_SUMS_H

#include "learn/learner.h"

/* Scales, the first tensors after the network's: (1, 1) each, stored as scale_store does. */
enum
{
	LOG_SPREAD,					/* tau^2, variance of the tasks' shifts */
	LOG_NOISE,					/* sigma^2, variance of the rows */
	LOG_COUNT,					/* c, rows that what is known without any is worth */
	TASK_SCALES
};

/* Sums over a task's rows, with their weights w, as consecutive tensors. */
enum
{
	SUM_ROWS,					/* k = sum w: (1, 1) */
	SUM_SUMMARY,				/* sum w e: (1, h) */
	SUM_PULL,					/* r = sum w (y - f(x)): (1, outputs) */
	SUM_INFORMATION,			/* i = sum w; of logits sum w p (1 - p): (1, outputs) */
	TASK_SUMS
};

/* Appends TASK_SCALES, or TASK_SUMS, tensors; false where they do not fit. */
extern bool task_scales_layout(TensorList *list);
extern bool task_sums_layout(const LearnerSpec *spec, int h, TensorList *list);

/* The scales before anything is known of the tasks. */
extern void task_scales_initialise(const LearnerSpec *spec, const TensorList *list, real *values);

/* The scales from variance components: a learner's begin. */
extern void task_scales_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values);

/* sigma^2, (1, 1, 1), of the learner's own vars; 1 for logits, which have none of their own. */
extern Var	task_noise(Tape *tape, const LearnerSpec *spec, const Var *own);

/*
 * Variance of a number's outcomes, (tasks, rows, 1): noise times exp(change),
 * where change, what a network says of a row, is kept within bounds.
 */
extern Var	task_variance(Tape *tape, Var noise, Var change);

/*
 * What the support's targets are beyond what the network says, out (tasks,
 * rows, outputs), and how much each row tells of it.
 */
extern void task_residuals(Tape *tape, const LearnerSpec *spec, const RowVars *support, Var out,
						   Var *residual, Var *information);

/* sums + the support's, whose rows are read as e (tasks, rows, h). */
extern void task_sums_add(Tape *tape, const RowVars *support, Var e, Var residual, Var information,
						  const Var *sums, Var *more);

#endif							/* LEARN_TASK_SUMS_H */
