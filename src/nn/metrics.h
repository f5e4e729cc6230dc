/*
 * metrics.h
 *	  What predictions are judged by.
 *
 * A metric of one task is computed from its query rows; a metric over tasks
 * is computed from their pooled rows, with row weights.  prediction holds
 * values on the target's own scale (squared loss), the probability of 1
 * (binary), or n_classes probabilities per row (classes); truth holds the
 * value, 0 or 1, or the class number.
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
	METRIC_AUC,
	METRIC_ECE,					/* equally wide bins */
	METRIC_COUNT
} Metric;

#define METRIC_ECE_BINS 10

/* A certain prediction that fails costs 34.5 and not infinity. */
#define METRIC_LOG_LOSS_CLIP 1e-15

extern const char *const metric_names[METRIC_COUNT];

/* Is a larger value better? */
extern bool metric_larger_is_better(Metric metric);

/* Can such a target be judged by it?  n_classes as below. */
extern bool metric_fits(Metric metric, int n_classes);

/*
 * The metric of n rows; NaN where it is undefined (no rows, one class only
 * for AUC, no spread for R2, a target that it does not fit).  n_classes is 0 for numbers, 2 for a binary
 * target with one probability per row, the number of classes otherwise.
 * scratch holds n size_t numbers, for sorting (AUC); weight may be NULL.
 */
extern double metric_value(Metric metric, const double *prediction, const double *truth,
						   const double *weight, size_t n, int n_classes, size_t *scratch);

#endif							/* NN_METRICS_H */
