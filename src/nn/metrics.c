/*
 * metrics.c
 *	  What predictions are judged by.
 *
 * With row weights w, all sums and means are weighted; rows of weight 0 do
 * not count, not even for being NaN.  Area under the ROC curve: the
 * probability that a random positive row is ranked above a random negative
 * one, ties counting half; with more classes, the mean over the classes
 * against all others (macro, one against the rest).  Expected calibration
 * error: Naeini, Cooper and Hauskrecht, AAAI 2015; with more classes, of the
 * most probable class.  Brier score: of the probability of 1, so from 0 to 1;
 * with more classes the sum over the classes (Brier, 1950), from 0 to 2.
 */
#include "nn/metrics.h"

#include <math.h>

const char *const metric_names[METRIC_COUNT] = {
	[METRIC_RMSE] = "rmse",
	[METRIC_MAE] = "mae",
	[METRIC_R2] = "r2",
	[METRIC_LOG_LOSS] = "log_loss",
	[METRIC_BRIER] = "brier",
	[METRIC_ACCURACY] = "accuracy",
	[METRIC_AUC] = "auc",
	[METRIC_ECE] = "ece",
};

/* The rows of one call. */
typedef struct Judged
{
	const double *prediction;	/* (n, width) */
	const double *truth;		/* (n) */
	const double *weight;		/* (n), or NULL */
	size_t		n;
	int			width;			/* 1, or the number of classes */
	bool		binary;
} Judged;

bool
metric_larger_is_better(Metric metric)
{
	return metric == METRIC_R2 || metric == METRIC_ACCURACY || metric == METRIC_AUC;
}

/* A probability is a number; a number is no probability. */
bool
metric_fits(Metric metric, int n_classes)
{
	if (metric == METRIC_RMSE || metric == METRIC_MAE || metric == METRIC_R2)
		return n_classes <= 2;
	return n_classes >= 2;
}

static inline double
weight_of(const Judged *rows, size_t i)
{
	return rows->weight == NULL ? 1.0 : rows->weight[i];
}

/* Sum of the weights; NaN where a row that counts was not predicted. */
static double
total_weight(const Judged *rows)
{
	double		total = 0;

	for (size_t i = 0; i < rows->n; i++)
	{
		double		w = weight_of(rows, i);

		if (w == 0)
			continue;
		for (int k = 0; k < rows->width; k++)
			if (!isfinite(rows->prediction[i * rows->width + k]))
				return NAN;
		total += w;
	}
	return total;
}

/* The most probable class, the first of equals. */
static int
predicted_class(const Judged *rows, size_t i)
{
	const double *p = rows->prediction + i * rows->width;
	int			best = 0;

	if (rows->binary)
		return p[0] >= 0.5;
	for (int k = 1; k < rows->width; k++)
		if (p[k] > p[best])
			best = k;
	return best;
}

/* Contribution of one row to the metrics that are means over rows. */
static double
row_score(const Judged *rows, Metric metric, size_t i)
{
	const double *p = rows->prediction + i * rows->width;
	double		y = rows->truth[i];
	double		sum = 0;

	switch (metric)
	{
		case METRIC_RMSE:
			return (p[0] - y) * (p[0] - y);
		case METRIC_MAE:
			return fabs(p[0] - y);
		case METRIC_LOG_LOSS:
			{
				double		q = rows->binary ? (y > 0.5 ? p[0] : 1.0 - p[0]) : p[(int) y];

				return -log(fmin(fmax(q, METRIC_LOG_LOSS_CLIP), 1.0 - METRIC_LOG_LOSS_CLIP));
			}
		case METRIC_BRIER:
			if (rows->binary)
				return (p[0] - y) * (p[0] - y);
			for (int k = 0; k < rows->width; k++)
			{
				double		error = p[k] - (k == (int) y);

				sum += error * error;
			}
			return sum;
		case METRIC_ACCURACY:
			return predicted_class(rows, i) == (int) y;
		default:
			return NAN;
	}
}

static double
mean_score(const Judged *rows, Metric metric, double total)
{
	double		sum = 0;

	for (size_t i = 0; i < rows->n; i++)
		if (weight_of(rows, i) != 0)
			sum += weight_of(rows, i) * row_score(rows, metric, i);
	return sum / total;
}

/* Share of the truth's variance that is explained: 1 - sum e^2 / sum (y - mean)^2 */
static double
r_squared(const Judged *rows, double total)
{
	double		mean = 0;
	double		spread = 0;

	for (size_t i = 0; i < rows->n; i++)
		if (weight_of(rows, i) != 0)
			mean += weight_of(rows, i) * rows->truth[i];
	mean /= total;
	for (size_t i = 0; i < rows->n; i++)
	{
		double		d = rows->truth[i] - mean;

		if (weight_of(rows, i) != 0)
			spread += weight_of(rows, i) * d * d;
	}

	/* Equal numbers leave a spread of rounding errors. */
	if (spread <= 1e-20 * total * mean * mean)
		return NAN;
	return 1.0 - mean_score(rows, METRIC_RMSE, total) * total / spread;
}

/* Sum over bins of |mean prediction - mean truth|, by the bins' weights. */
static double
calibration_error(const Judged *rows, double total)
{
	double		gap[METRIC_ECE_BINS] = {0};
	double		sum = 0;

	for (size_t i = 0; i < rows->n; i++)
	{
		double		p = rows->prediction[i * rows->width];
		double		y = rows->truth[i];
		int			bin;

		if (weight_of(rows, i) == 0)
			continue;
		if (!rows->binary)
		{
			int			k = predicted_class(rows, i);

			p = rows->prediction[i * rows->width + k];
			y = k == (int) y;
		}
		bin = (int) (fmin(fmax(p, 0.0), 1.0) * METRIC_ECE_BINS);
		if (bin == METRIC_ECE_BINS)
			bin--;
		gap[bin] += weight_of(rows, i) * (p - y);
	}
	for (int b = 0; b < METRIC_ECE_BINS; b++)
		sum += fabs(gap[b]);
	return sum / total;
}

/*
 * Sorts row numbers by the probability of one class (heapsort: no memory, no
 * bad case).
 */
static void
sort_rows(const Judged *rows, int class, size_t *order, size_t n)
{
	const double *p = rows->prediction + class;
	size_t		width = rows->width;
	size_t		start = n / 2;
	size_t		end = n;

	while (end > 1)
	{
		size_t		moving;
		size_t		at;
		size_t		child;

		if (start > 0)
		{
			at = --start;
			moving = order[at];
		}
		else
		{
			moving = order[--end];
			order[end] = order[0];
			at = 0;
		}
		while ((child = 2 * at + 1) < end)
		{
			if (child + 1 < end && p[order[child] * width] < p[order[child + 1] * width])
				child++;
			if (p[moving * width] >= p[order[child] * width])
				break;
			order[at] = order[child];
			at = child;
		}
		order[at] = moving;
	}
}

/* The area of one class against the others; NaN where either is missing. */
static double
area_of_class(const Judged *rows, int class, int label, size_t *order)
{
	size_t		width = rows->width;
	size_t		n = 0;
	double		positives = 0;
	double		negatives = 0;
	double		area = 0;

	for (size_t i = 0; i < rows->n; i++)
		if (weight_of(rows, i) != 0)
			order[n++] = i;
	sort_rows(rows, class, order, n);

	/* Upwards through groups of equal predictions. */
	for (size_t i = 0; i < n;)
	{
		double		p = rows->prediction[order[i] * width + class];
		double		tied_positives = 0;
		double		tied_negatives = 0;

		for (; i < n && rows->prediction[order[i] * width + class] == p; i++)
		{
			if ((int) rows->truth[order[i]] == label)
				tied_positives += weight_of(rows, order[i]);
			else
				tied_negatives += weight_of(rows, order[i]);
		}
		area += tied_positives * (negatives + 0.5 * tied_negatives);
		positives += tied_positives;
		negatives += tied_negatives;
	}
	return positives > 0 && negatives > 0 ? area / (positives * negatives) : NAN;
}

static double
area_under_curve(const Judged *rows, size_t *order)
{
	double		sum = 0;
	int			classes = 0;

	if (rows->binary)
		return area_of_class(rows, 0, 1, order);
	for (int k = 0; k < rows->width; k++)
	{
		double		area = area_of_class(rows, k, k, order);

		if (isnan(area))
			continue;			/* a class that does not occur */
		sum += area;
		classes++;
	}
	return classes > 0 ? sum / classes : NAN;
}

double
metric_value(Metric metric, const double *prediction, const double *truth,
			 const double *weight, size_t n, int n_classes, size_t *scratch)
{
	Judged		rows = {
		.prediction = prediction,
		.truth = truth,
		.weight = weight,
		.n = n,
		.width = n_classes > 2 ? n_classes : 1,
		.binary = n_classes == 2,
	};
	double		total = total_weight(&rows);

	if (!(total > 0) || !metric_fits(metric, n_classes))
		return NAN;

	switch (metric)
	{
		case METRIC_RMSE:
			return sqrt(mean_score(&rows, metric, total));
		case METRIC_R2:
			return r_squared(&rows, total);
		case METRIC_AUC:
			return area_under_curve(&rows, scratch);
		case METRIC_ECE:
			return calibration_error(&rows, total);
		default:
			return mean_score(&rows, metric, total);
	}
}
