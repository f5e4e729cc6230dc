/*
 * metrics.h
 *	  What predictions are judged by.
 *
 * A prediction is a value on the target's own scale (squared loss), the
 * probability of 1 (binary), or n_classes probabilities per row (classes);
 * its truth is the value, 0 or 1, or the class number.
 *
 * All metrics but one are functions of sums over rows.  The sums of a task
 * are added up to those of any set of tasks, as often as a resample asks for
 * them.  The area under the curve of pooled rows is not: their ranking is
 * kept, and each row is weighted with how often its task counts.
 */
#ifndef NN_METRICS_H
#define NN_METRICS_H

#include "nn/real.h"

typedef enum Metric
{
	METRIC_RMSE,
	METRIC_MAE,
	METRIC_R2,
	METRIC_LOG_LOSS,
	METRIC_BRIER,
	METRIC_ACCURACY,
	METRIC_AUC,					/* of all rows together */
	METRIC_ECE,					/* equally wide bins */
	METRIC_AUC_BY_TASK,			/* mean over the tasks that have both classes */
	METRIC_CHOICES,				/* a training may be judged by the ones before */

	/* of a predictive distribution */
	METRIC_LOG_LIKELIHOOD = METRIC_CHOICES,
	METRIC_COVERAGE_90,			/* share of the truth inside of 90 % intervals */
	METRIC_COUNT
} Metric;

#define METRIC_ECE_BINS 10

/* A certain prediction that fails costs 34.5 and not infinity. */
#define METRIC_LOG_LOSS_CLIP 1e-15

extern const char *const metric_names[METRIC_COUNT];

/* Is a larger value better? */
extern bool metric_larger_is_better(Metric metric);

/*
 * Can such a target be judged by it?  n_classes is 0 for numbers, 2 for a
 * binary target with one probability per row, the number of classes
 * otherwise.
 */
extern bool metric_fits(Metric metric, int n_classes);

/* Rows that were predicted. */
typedef struct Judged
{
	size_t		n;
	int			n_classes;		/* as above */
	const double *prediction;	/* (n), or (n, n_classes) */
	const double *truth;		/* (n) */
	const double *weight;		/* (n), or NULL: 1 each */
	const double *variance;		/* (n) of the truth around the prediction, for
								 * numbers; or NULL: there is no distribution */
} Judged;

/* Weighted sums over rows. */
typedef struct MetricSums
{
	double		weight;			/* NaN once a row that counts has no prediction */
	double		y;				/* for the spread: from an origin, or squares
								 * would swallow it */
	double		y_squared;
	double		squared;		/* errors */
	double		absolute;
	double		log_loss;
	double		brier;
	double		correct;
	double		gap[METRIC_ECE_BINS];	/* by bin, probability less truth */
	double		log_likelihood;
	double		covered;
	double		described;		/* weight of rows with a distribution */
	double		areas;			/* of the tasks that have one */
	double		tasks;			/* how many those are */
} MetricSums;

/* A row for the area under the curve. */
typedef struct RankedRow
{
	double		probability;
	float		weight;
	unsigned	task:31;
	unsigned	truth:1;
} RankedRow;

/*
 * Adds a task's rows.  Numbers are summed from origin, which has to be the
 * same for all tasks, and near them.  scratch, for the task's area, has room
 * for n rows; with NULL there is none.
 */
extern void metric_add_task(MetricSums *sums, const Judged *rows, double origin, RankedRow *scratch);

/* Adds the sums of a task or of many, so many times. */
extern void metric_add_sums(MetricSums *sums, const MetricSums *more, double times);

/*
 * NaN where it is undefined: no rows, no spread for R2, no task with both
 * classes, no distribution, a target that it does not fit; METRIC_AUC always.
 */
extern double metric_of_sums(Metric metric, const MetricSums *sums);

/*
 * Ranks rows by one class's probability (of a binary target: 0, its only
 * column), those of weight 0 left out; returns how many are ranked.
 */
extern size_t metric_rank(const Judged *rows, int class, RankedRow *ranked);

/* Sorts rows that were ranked in parts. */
extern void metric_sort(RankedRow *ranked, size_t n);

/*
 * The area under the curve of ranked rows, each as often as times says of its
 * task, or once with NULL; NaN where a class is missing.
 */
extern double metric_area(const RankedRow *ranked, size_t n, const int *times);

/* Any metric of rows, taken as one task.  scratch as for metric_add_task, not NULL. */
extern double metric_value(Metric metric, const Judged *rows, RankedRow *scratch);

#endif							/* NN_METRICS_H */
