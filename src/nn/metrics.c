/*
 * metrics.c
 *	  What predictions are judged by.
 *
 * With row weights w, all sums and means are weighted; rows of weight 0 do
 * not count, not even for being NaN.  Area under the ROC curve: the
 * probability that a random positive row is ranked above a random negative
 * one, ties counting half; with more classes, the mean over the classes
 * against all others (macro, one against the rest).  By task: within each
 * task that has both classes, then the mean over these tasks; it asks whether
 * a student's own answers are told apart, which the pooled area mixes with
 * telling students apart.  Expected calibration error: Naeini, Cooper and
 * Hauskrecht, AAAI 2015; with more classes, of the most probable class.  Brier
 * score: of the probability of 1, so from 0 to 1; with more classes the sum
 * over the classes (Brier, 1950), from 0 to 2.  Predictive distributions are
 * normal.
 */
#include "nn/metrics.h"

#include <math.h>
#include <string.h>

const char *const metric_names[METRIC_COUNT] = {
	[METRIC_RMSE] = "rmse",
	[METRIC_MAE] = "mae",
	[METRIC_R2] = "r2",
	[METRIC_LOG_LOSS] = "log_loss",
	[METRIC_BRIER] = "brier",
	[METRIC_ACCURACY] = "accuracy",
	[METRIC_AUC] = "auc",
	[METRIC_ECE] = "ece",
	[METRIC_AUC_BY_TASK] = "auc_by_task",
	[METRIC_LOG_LIKELIHOOD] = "log_likelihood",
	[METRIC_COVERAGE_90] = "coverage_90",
};

/* A normal variable stays within so many standard deviations nine times of ten. */
#define REACH_90 1.6448536269514722

#define LOG_TWO_PI 1.8378770664093453

bool
metric_larger_is_better(Metric metric)
{
	return metric == METRIC_R2 || metric == METRIC_ACCURACY || metric == METRIC_AUC ||
		metric == METRIC_AUC_BY_TASK || metric == METRIC_LOG_LIKELIHOOD;
}

/* A probability is a number; a number is no probability. */
bool
metric_fits(Metric metric, int n_classes)
{
	switch (metric)
	{
		case METRIC_RMSE:
		case METRIC_MAE:
		case METRIC_R2:
			return n_classes <= 2;
		case METRIC_LOG_LIKELIHOOD:
		case METRIC_COVERAGE_90:
			return n_classes == 0;
		default:
			return n_classes >= 2;
	}
}

static int
width_of(const Judged *rows)
{
	return rows->n_classes > 2 ? rows->n_classes : 1;
}

static double
weight_of(const Judged *rows, size_t i)
{
	return rows->weight == NULL ? 1.0 : rows->weight[i];
}

/* ---- sums ---- */

static void
add_number(MetricSums *sums, double p, double y, double origin, double w)
{
	sums->y += w * (y - origin);
	sums->y_squared += w * (y - origin) * (y - origin);
	sums->squared += w * (p - y) * (p - y);
	sums->absolute += w * fabs(p - y);
}

static void
add_distribution(MetricSums *sums, double p, double variance, double y, double w)
{
	double		z_squared = (y - p) * (y - p) / variance;

	sums->described += w;
	sums->log_likelihood -= w * 0.5 * (LOG_TWO_PI + log(variance) + z_squared);
	sums->covered += z_squared <= REACH_90 * REACH_90 ? w : 0;
}

/* The most probable class had probability p, and is the truth or not. */
static void
add_confidence(MetricSums *sums, double p, bool truth, double w)
{
	int			bin = (int) (fmin(fmax(p, 0.0), 1.0) * METRIC_ECE_BINS);

	sums->gap[bin < METRIC_ECE_BINS ? bin : METRIC_ECE_BINS - 1] += w * (p - truth);
}

static void
add_probability(MetricSums *sums, double p, bool truth, double w)
{
	sums->log_loss -= w * log(fmax(truth ? p : 1 - p, METRIC_LOG_LOSS_CLIP));
	sums->brier += w * (p - truth) * (p - truth);
	sums->correct += w * ((p >= 0.5) == truth);
	add_confidence(sums, p, truth, w);
}

static void
add_classes(MetricSums *sums, const double *p, int n_classes, int truth, double w)
{
	int			best = 0;		/* the first of equals */

	for (int k = 0; k < n_classes; k++)
	{
		double		error = p[k] - (k == truth);

		sums->brier += w * error * error;
		if (p[k] > p[best])
			best = k;
	}
	sums->log_loss -= w * log(fmax(p[truth], METRIC_LOG_LOSS_CLIP));
	sums->correct += w * (best == truth);
	add_confidence(sums, p[best], best == truth, w);
}

static double area_of_rows(const Judged *rows, RankedRow *scratch);

void
metric_add_task(MetricSums *sums, const Judged *rows, double origin, RankedRow *scratch)
{
	int			width = width_of(rows);

	for (size_t i = 0; i < rows->n; i++)
	{
		const double *p = rows->prediction + i * width;
		double		y = rows->truth[i];
		double		w = weight_of(rows, i);

		if (w == 0)
			continue;
		for (int k = 0; k < width; k++)
			if (!isfinite(p[k]))
				w = NAN;
		sums->weight += w;
		if (isnan(w))
			continue;
		if (rows->n_classes <= 2)
			add_number(sums, p[0], y, origin, w);
		if (rows->n_classes == 2)
			add_probability(sums, p[0], y > 0.5, w);
		else if (rows->n_classes > 2)
			add_classes(sums, p, width, (int) y, w);
		else if (rows->variance)
			add_distribution(sums, p[0], rows->variance[i], y, w);
	}
	if (scratch && rows->n_classes >= 2 && !isnan(sums->weight))
	{
		double		area = area_of_rows(rows, scratch);

		if (!isnan(area))
		{
			sums->areas += area;
			sums->tasks++;
		}
	}
}

void
metric_add_sums(MetricSums *sums, const MetricSums *more, double times)
{
	double	   *to = (double *) sums;
	const double *from = (const double *) more;

	for (size_t i = 0; i < sizeof(MetricSums) / sizeof(double); i++)
		to[i] += times * from[i];
}

/* Share of the truth's variance that is explained: 1 - sum e^2 / sum (y - mean)^2 */
static double
r_squared(const MetricSums *s)
{
	double		spread = s->y_squared - s->y * s->y / s->weight;

	/* equal numbers leave a spread of rounding errors */
	return spread > 1e-12 * s->y_squared ? 1 - s->squared / spread : NAN;
}

double
metric_of_sums(Metric metric, const MetricSums *s)
{
	double		gaps = 0;

	if (!(s->weight > 0))
		return NAN;
	switch (metric)
	{
		case METRIC_RMSE:
			return sqrt(s->squared / s->weight);
		case METRIC_MAE:
			return s->absolute / s->weight;
		case METRIC_R2:
			return r_squared(s);
		case METRIC_LOG_LOSS:
			return s->log_loss / s->weight;
		case METRIC_BRIER:
			return s->brier / s->weight;
		case METRIC_ACCURACY:
			return s->correct / s->weight;
		case METRIC_ECE:
			for (int b = 0; b < METRIC_ECE_BINS; b++)
				gaps += fabs(s->gap[b]);
			return gaps / s->weight;
		case METRIC_AUC_BY_TASK:
			return s->tasks > 0 ? s->areas / s->tasks : NAN;
		case METRIC_LOG_LIKELIHOOD:
			return s->described > 0 ? s->log_likelihood / s->described : NAN;
		case METRIC_COVERAGE_90:
			return s->described > 0 ? s->covered / s->described : NAN;
		default:
			return NAN;
	}
}

/* ---- the area under the curve ---- */

/* Heapsort: no memory, no bad case. */
void
metric_sort(RankedRow *ranked, size_t n)
{
	size_t		start = n / 2;
	size_t		end = n;

	while (end > 1)
	{
		RankedRow	moving;
		size_t		at;
		size_t		child;

		if (start > 0)
		{
			at = --start;
			moving = ranked[at];
		}
		else
		{
			moving = ranked[--end];
			ranked[end] = ranked[0];
			at = 0;
		}
		while ((child = 2 * at + 1) < end)
		{
			if (child + 1 < end && ranked[child].probability < ranked[child + 1].probability)
				child++;
			if (moving.probability >= ranked[child].probability)
				break;
			ranked[at] = ranked[child];
			at = child;
		}
		ranked[at] = moving;
	}
}

size_t
metric_rank(const Judged *rows, int class, RankedRow *ranked)
{
	int			width = width_of(rows);
	int			label = rows->n_classes == 2 ? 1 : class;
	size_t		n = 0;

	for (size_t i = 0; i < rows->n; i++)
		if (weight_of(rows, i) != 0)
			ranked[n++] = (RankedRow)
		{
			.probability = rows->prediction[i * width + class],
				.weight = (float) weight_of(rows, i),
				.truth = (int) rows->truth[i] == label
		};
	metric_sort(ranked, n);
	return n;
}

double
metric_area(const RankedRow *ranked, size_t n, const int *times)
{
	double		sums[2] = {0, 0};	/* weight of negative and positive rows so far */
	double		area = 0;

	/* upwards through groups of equal predictions */
	for (size_t i = 0; i < n;)
	{
		double		p = ranked[i].probability;
		double		tied[2] = {0, 0};

		do
			tied[ranked[i].truth] += (double) ranked[i].weight * (times ? times[ranked[i].task] : 1);
		while (++i < n && ranked[i].probability == p);
		area += tied[1] * (sums[0] + 0.5 * tied[0]);
		sums[0] += tied[0];
		sums[1] += tied[1];
	}
	return sums[0] > 0 && sums[1] > 0 ? area / (sums[0] * sums[1]) : NAN;
}

/* Of more classes than two, the mean over those that occur. */
static double
area_of_rows(const Judged *rows, RankedRow *scratch)
{
	double		sum = 0;
	int			classes = 0;

	for (int k = 0; k < width_of(rows); k++)
	{
		double		area = metric_area(scratch, metric_rank(rows, k, scratch), NULL);

		if (isnan(area))
			continue;
		sum += area;
		classes++;
	}
	return classes > 0 ? sum / classes : NAN;
}

double
metric_value(Metric metric, const Judged *rows, RankedRow *scratch)
{
	MetricSums	sums;

	if (rows->n == 0 || !metric_fits(metric, rows->n_classes))
		return NAN;
	memset(&sums, 0, sizeof(sums));
	metric_add_task(&sums, rows, rows->truth[0], metric == METRIC_AUC || metric == METRIC_AUC_BY_TASK ? scratch : NULL);
	return metric_of_sums(metric == METRIC_AUC ? METRIC_AUC_BY_TASK : metric, &sums);
}
