/*
 * calibration.c
 *	  Making predictions as sure as they are right.
 *
 * Of a binary target, the logit z becomes a z + b (Platt, 1999); of more
 * classes, the logits become a z, which leaves their order alone (temperature
 * scaling: Guo, Pleiss, Sun and Weinberger, ICML 2017); of a number's normal
 * distribution, the variance v becomes c v.  Each maximises the likelihood of
 * rows of tasks that were not trained on.
 *
 * The prior is made of m tasks more, as informative as those there are on
 * average, for which a = 1, b = 0, c = 1 is best: with information (second
 * derivative of the loss) H over n tasks, its penalty is
 * m / n H_jj (theta_j - prior_j)^2 / 2.  So n tasks move a parameter by
 * n / (n + m) of the way.  m is large for logits: tasks that are alike, as
 * those that did the same exercises, are worth fewer than they are, and being
 * slightly off costs little next to being corrected by chance.
 */
#include "learn/calibration.h"

#include <math.h>

#define PRIOR_TASKS_LOGITS 50
#define PRIOR_TASKS_VARIANCE 10

#define NEWTON_STEPS 30

/* Beyond this a prediction is not miscalibrated but wrong. */
#define MAX_SLOPE 8.0
#define MAX_VARIANCE 100.0

static const Correction nothing = {1, 0, 1};

Correction
calibration_at(const Calibration *calibration, double rows)
{
	const Calibration *c = calibration;
	int			i = 0;
	real		from,
				to,
				share;

	if (c->n == 0)
		return nothing;
	while (i < c->n && c->rows[i] < rows)
		i++;
	if (i == c->n)
		return c->at[i - 1];
	if (i == 0 || c->rows[i] == rows)
		return c->at[i];
	from = log1p(c->rows[i - 1]);
	to = log1p(c->rows[i]);
	share = (log1p(rows) - from) / (to - from);
	return (Correction)
	{
		.slope = c->at[i - 1].slope + share * (c->at[i].slope - c->at[i - 1].slope),
			.offset = c->at[i - 1].offset + share * (c->at[i].offset - c->at[i - 1].offset),
			.variance = c->at[i - 1].variance + share * (c->at[i].variance - c->at[i - 1].variance)
	};
}

void
correct_outputs(const Correction *correction, LossKind loss, real *outputs, size_t n)
{
	if (loss == LOSS_SQUARED)
		return;
	for (size_t i = 0; i < n; i++)
		outputs[i] = correction->slope * outputs[i] + correction->offset;
}

void
correct_variances(const Correction *correction, real *variances, size_t n)
{
	for (size_t i = 0; i < n; i++)
		variances[i] *= correction->variance;
}

/* A sum over rows, and its derivatives by (slope, offset). */
typedef struct Sums
{
	double		loss;
	double		gradient[2];
	double		information[3]; /* slope slope, slope offset, offset offset */
} Sums;

static void
add_logistic(Sums *sums, double z, double y, double w, const double *at)
{
	double		logit = at[0] * z + at[1];
	double		p = 1 / (1 + exp(-logit));
	double		h = w * p * (1 - p);

	sums->loss += w * (fmax(logit, 0) + log1p(exp(-fabs(logit))) - y * logit);
	sums->gradient[0] += w * (p - y) * z;
	sums->gradient[1] += w * (p - y);
	sums->information[0] += h * z * z;
	sums->information[1] += h * z;
	sums->information[2] += h;
}

/* loss = log sum exp(a z) - a z_y;  its derivatives are the mean and the variance of z under p */
static void
add_softmax(Sums *sums, const real *z, const real *y, int width, double w, const double *at)
{
	double		max = z[0];
	double		total = 0;
	double		mean = 0;
	double		square = 0;
	double		truth = 0;

	for (int k = 1; k < width; k++)
		max = fmax(max, z[k]);
	for (int k = 0; k < width; k++)
	{
		/* from the largest: an offset that all classes share changes nothing */
		double		d = z[k] - max;
		double		e = exp(at[0] * d);

		total += e;
		mean += e * d;
		square += e * d * d;
		truth += y[k] * d;
	}
	mean /= total;
	square /= total;
	sums->loss += w * (log(total) - at[0] * truth);
	sums->gradient[0] += w * (mean - truth);
	sums->information[0] += w * (square - mean * mean);
}

static Sums
rows_sums(LossKind loss, const CalibrationRows *rows, const double *at)
{
	Sums		sums = {0};

	for (size_t i = 0; i < rows->n; i++)
	{
		const real *z = rows->outputs + i * rows->width;
		const real *y = rows->y + i * rows->width;

		if (rows->w[i] == 0)
			continue;
		if (loss == LOSS_LOGISTIC)
			add_logistic(&sums, z[0], y[0], rows->w[i], at);
		else
			add_softmax(&sums, z, y, rows->width, rows->w[i], at);
	}
	return sums;
}

/* Adds the tasks that want no correction; prior: how sure they are. */
static void
add_prior(Sums *sums, const double *at, const double *prior)
{
	double		away[2] = {at[0] - 1, at[1]};

	for (int j = 0; j < 2; j++)
	{
		sums->loss += prior[j] * away[j] * away[j] / 2;
		sums->gradient[j] += prior[j] * away[j];
		sums->information[2 * j] += prior[j];
	}
}

/* Newton's method: the loss is convex, so a step that does not lower it is too long. */
static Correction
fit_logits(LossKind loss, const CalibrationRows *rows)
{
	double		at[2] = {1, 0};
	Sums		sums = rows_sums(loss, rows, at);
	double		share = (double) PRIOR_TASKS_LOGITS / rows->tasks;
	double		prior[2] = {share * sums.information[0], share * sums.information[2]};

	/* logits that are all alike say nothing of a slope */
	if (!(prior[0] > 1e-9))
		prior[0] = 1;
	if (loss == LOSS_SOFTMAX)
		prior[1] = 1;
	else if (!(prior[1] > 1e-9))
		return nothing;			/* saturated */
	add_prior(&sums, at, prior);

	for (int i = 0; i < NEWTON_STEPS; i++)
	{
		const double *g = sums.gradient;
		const double *h = sums.information;
		double		determinant = h[0] * h[2] - h[1] * h[1];
		double		step[2] = {
			(h[2] * g[0] - h[1] * g[1]) / determinant,
			(h[0] * g[1] - h[1] * g[0]) / determinant
		};
		double		length = 1;
		double		next[2];
		Sums		after;

		if (!isfinite(step[0]) || !isfinite(step[1]))
			break;
		for (;; length /= 2)
		{
			next[0] = fmin(fmax(at[0] - length * step[0], 1 / MAX_SLOPE), MAX_SLOPE);
			next[1] = at[1] - length * step[1];
			after = rows_sums(loss, rows, next);
			add_prior(&after, next, prior);
			if (after.loss <= sums.loss || length < 1e-3)
				break;
		}
		if (!(after.loss < sums.loss - 1e-12 * fabs(sums.loss)))
			break;
		at[0] = next[0];
		at[1] = next[1];
		sums = after;
	}
	return (Correction)
	{
		.slope = at[0],
			.offset = at[1],
			.variance = 1
	};
}

/* c = mean of e^2 / v, with PRIOR_TASKS_VARIANCE tasks for which that is 1 */
static Correction
fit_variance(const CalibrationRows *rows)
{
	double		weight = 0;
	double		squares = 0;
	double		prior;
	Correction	correction = nothing;

	if (rows->variances == NULL)
		return nothing;
	for (size_t i = 0; i < rows->n; i++)
		if (rows->w[i] != 0)
		{
			double		error = (double) rows->outputs[i] - rows->y[i];

			weight += rows->w[i];
			squares += rows->w[i] * error * error / rows->variances[i];
		}
	prior = PRIOR_TASKS_VARIANCE * weight / rows->tasks;
	if (isfinite(squares) && weight > 0)
		correction.variance = fmin(fmax((squares + prior) / (weight + prior), 1 / MAX_VARIANCE), MAX_VARIANCE);
	return correction;
}

Correction
calibration_fit(LossKind loss, const CalibrationRows *rows)
{
	if (rows->tasks == 0 || rows->n == 0)
		return nothing;
	return loss == LOSS_SQUARED ? fit_variance(rows) : fit_logits(loss, rows);
}

/* A quarter of each neighbour; at the ends the knot itself stands for the missing one. */
void
calibration_smooth(Calibration *calibration)
{
	const Calibration from = *calibration;

	for (int i = 0; i < from.n; i++)
	{
		const Correction *before = &from.at[i > 0 ? i - 1 : i];
		const Correction *after = &from.at[i < from.n - 1 ? i + 1 : i];
		Correction *at = &calibration->at[i];

		at->slope = (before->slope + 2 * at->slope + after->slope) / 4;
		at->offset = (before->offset + 2 * at->offset + after->offset) / 4;
		at->variance = (before->variance + 2 * at->variance + after->variance) / 4;
	}
}
