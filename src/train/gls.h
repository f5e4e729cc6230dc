/*
 * gls.h
 *	  The linear model with a random intercept, by generalised least squares.
 */
#ifndef TRAIN_GLS_H
#define TRAIN_GLS_H

#include "data/taskset.h"
#include "learn/learner.h"

typedef struct VarianceComponents
{
	double		task;			/* tau^2: between tasks */
	double		noise;			/* sigma^2: within */
} VarianceComponents;

/*
 * Sums over tasks, for the method of moments.  A row counts as its weight,
 * whose mean is 1.
 */
typedef struct ResidualSums
{
	double		rows;			/* sum of n, the rows of a task */
	double		tasks;
	double		squares_of_rows;	/* sum of n^2 */
	double		total;			/* sum of residuals */
	double		total_squares;	/* sum of their squares */
	double		between;		/* sum of (sum in the task)^2 / n */
} ResidualSums;

/* A task: its rows, the sum of their residuals, and of the residuals' squares. */
extern void residuals_add_task(ResidualSums *sums, double rows, double sum, double squares);

/* Both positive, whatever the sums. */
extern VarianceComponents residuals_components(const ResidualSums *sums);

/*
 * The linear model with a random intercept, by generalised least squares for
 * numbers and by penalised quasi-likelihood for a binary target (whose noise
 * is 1), into theta: the tensors "linear.weight", "linear.bias" and
 * "linear.table.<j>".
 */
extern VarianceComponents gls_fit(TaskSet *set, const LearnerSpec *spec, const TensorList *list, real *theta);
extern VarianceComponents logistic_gls_fit(TaskSet *set, const LearnerSpec *spec, const TensorList *list, real *theta);

/* A category's prior precision in the latter, in units of the logit's. */
#define LOGIT_RIDGE_CATEGORY 1.0

#endif							/* TRAIN_GLS_H */
