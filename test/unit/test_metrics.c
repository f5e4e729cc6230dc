/*
 * test_metrics.c
 *	  Metrics against hand-computed values and slow definitions.
 */
#include "nn/metrics.h"
#include "nn/rng.h"
#include "tap.h"

static RankedRow scratch[1000];

/* As metric_value, of rows given one by one. */
static double
value(Metric metric, const double *prediction, const double *truth, const double *weight, size_t n, int n_classes)
{
	Judged		rows = {n, n_classes, prediction, truth, weight, NULL};

	return metric_value(metric, &rows, scratch);
}

static void
test_names(void)
{
	bool		all = true;

	for (int m = 0; m < METRIC_COUNT; m++)
		all = all && metric_names[m] != NULL;
	ok(all, "every metric has a name");
	is_string(metric_names[METRIC_AUC], "auc", "in the order of the enum");
	ok(metric_larger_is_better(METRIC_AUC) && metric_larger_is_better(METRIC_R2) &&
	   metric_larger_is_better(METRIC_ACCURACY), "shares are better when larger");
	ok(!metric_larger_is_better(METRIC_RMSE) && !metric_larger_is_better(METRIC_MAE) &&
	   !metric_larger_is_better(METRIC_LOG_LOSS) && !metric_larger_is_better(METRIC_BRIER) &&
	   !metric_larger_is_better(METRIC_ECE) && !metric_larger_is_better(METRIC_COVERAGE_90), "errors are better when smaller");
	ok(metric_fits(METRIC_R2, 0) && !metric_fits(METRIC_AUC, 0) && !metric_fits(METRIC_LOG_LOSS, 0),
	   "numbers are judged by errors");
	ok(metric_fits(METRIC_RMSE, 2) && metric_fits(METRIC_AUC, 2), "a probability by all");
	ok(!metric_fits(METRIC_RMSE, 3) && metric_fits(METRIC_ACCURACY, 3) && metric_fits(METRIC_ECE, 3), "classes by the rest");
}

static void
test_numbers(void)
{
	static const double p[] = {1, 2, 3, 4};
	static const double y[] = {1, 4, 2, 4};
	static const double w[] = {1, 2, 1, 0};
	static const double broken[] = {1, 2, 3, NAN};
	static const double equal[] = {0.1, 0.1, 0.1, 0.1};

	/* errors 0, -2, 1, 0; mean 2.75, spread 3.0625 + 1.5625 + .5625 + 1.5625 = 6.75 */
	is_close(value(METRIC_RMSE, p, y, NULL, 4, 0), sqrt(5.0 / 4), 1e-15, "RMSE");
	is_close(value(METRIC_MAE, p, y, NULL, 4, 0), 0.75, 1e-15, "MAE");
	is_close(value(METRIC_R2, p, y, NULL, 4, 0), 1 - 5 / 6.75, 1e-15, "R2");

	/* with weights: 9 / 4; 5 / 4; mean 11 / 4, spread 3.0625 + 2 * 1.5625 + .5625 = 6.75 */
	is_close(value(METRIC_RMSE, p, y, w, 4, 0), 1.5, 1e-15, "RMSE with weights");
	is_close(value(METRIC_MAE, p, y, w, 4, 0), 1.25, 1e-15, "MAE with weights");
	is_close(value(METRIC_R2, p, y, w, 4, 0), 1 - 9 / 6.75, 1e-15, "R2 with weights");

	is_close(value(METRIC_RMSE, broken, y, w, 4, 0), 1.5, 1e-15, "rows of weight 0 do not count, not even NaN");
	is_close(value(METRIC_RMSE, broken, y, NULL, 4, 0), NAN, 0, "a row that was not predicted makes NaN");
	is_close(value(METRIC_R2, p, equal, NULL, 4, 0), NAN, 0, "R2 without spread is NaN");
	is_close(value(METRIC_RMSE, p, y, NULL, 0, 0), NAN, 0, "no rows make NaN");
	is_close(value(METRIC_AUC, p, y, NULL, 4, 0), NAN, 0, "numbers have no AUC");
	is_close(value(METRIC_LOG_LOSS, p, y, NULL, 4, 0), NAN, 0, "nor a log loss");
}

static void
test_binary(void)
{
	static const double p[] = {0.9, 0.2, 0.6, 0.5, 0.0};
	static const double y[] = {1, 0, 0, 1, 0};
	static const double certain[] = {0, 1};
	static const double wrong[] = {1, 0};

	is_close(value(METRIC_LOG_LOSS, p, y, NULL, 5, 2),
			 -(log(0.9) + log(0.8) + log(0.4) + log(0.5)) / 5, 1e-14, "log loss");
	is_close(value(METRIC_BRIER, p, y, NULL, 5, 2),
			 (0.01 + 0.04 + 0.36 + 0.25) / 5, 1e-15, "Brier score");
	is_close(value(METRIC_ACCURACY, p, y, NULL, 5, 2), 0.8, 1e-15, "accuracy: 0.5 counts as true");
	is_close(value(METRIC_AUC, p, y, NULL, 5, 2), 5.0 / 6, 1e-15, "AUC");
	is_close(value(METRIC_LOG_LOSS, certain, wrong, NULL, 2, 2), -log(1e-15), 1e-9,
			 "a certain error costs what the clipping says");
	is_close(value(METRIC_LOG_LOSS, certain, certain, NULL, 2, 2), 0, 1e-14, "a certain hit nothing");
	is_close(value(METRIC_AUC, p, certain, NULL, 1, 2), NAN, 0, "AUC of one class is NaN");
	is_close(value(METRIC_RMSE, p, y, NULL, 5, 2), sqrt(0.66 / 5), 1e-15, "RMSE of probabilities");
}

static void
test_calibration(void)
{
	/* bins [.1, .2): mean .15 against 1/2; [.7, .8): .75 against 1; 1.0 falls into the last */
	static const double p[] = {0.12, 0.18, 0.75, 1.0};
	static const double y[] = {1, 0, 1, 1};
	static const double w[] = {3, 1, 1, 0};

	is_close(value(METRIC_ECE, p, y, NULL, 4, 2), (0.35 * 2 + 0.25 + 0) / 4, 1e-15, "ECE in ten bins");
	is_close(value(METRIC_ECE, p, y, w, 4, 2), (3 * 0.88 - 0.18 + 0.25) / 5, 1e-15, "ECE with weights");
}

/* The definition: all pairs. */
static double
slow_auc(const double *p, const double *y, const double *w, size_t n)
{
	double		won = 0;
	double		pairs = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			if (y[i] == 1 && y[j] == 0)
			{
				won += w[i] * w[j] * (p[i] > p[j] ? 1 : p[i] == p[j] ? 0.5 : 0);
				pairs += w[i] * w[j];
			}
	return won / pairs;
}

static void
test_auc(void)
{
	Rng			rng = rng_stream(5, RNG_SAMPLE, 0, 0);
	double		p[300];
	double		y[300];
	double		w[300];
	double		one[300];
	double		worst = 0;
	double		worst_weighted = 0;

	for (int trial = 0; trial < 60; trial++)
	{
		size_t		n = 2 + rng_below(&rng, 299);
		int			values = 1 + rng_below(&rng, 40);	/* few: many ties */

		for (size_t i = 0; i < n; i++)
		{
			p[i] = rng_below(&rng, values) / 40.0;
			y[i] = i < 2 ? i : rng_below(&rng, 2);
			w[i] = i < 2 ? 1 : rng_below(&rng, 4);
			one[i] = 1;
		}
		worst = fmax(worst, fabs(value(METRIC_AUC, p, y, NULL, n, 2) - slow_auc(p, y, one, n)));
		worst_weighted = fmax(worst_weighted, fabs(value(METRIC_AUC, p, y, w, n, 2) - slow_auc(p, y, w, n)));
	}
	is_close(worst, 0, 1e-13, "AUC with ties is what all pairs say");
	is_close(worst_weighted, 0, 1e-13, "and with weights");

	for (size_t i = 0; i < 300; i++)
	{
		p[i] = i / 300.0;
		y[i] = i >= 100;
	}
	is_close(value(METRIC_AUC, p, y, NULL, 300, 2), 1, 0, "AUC of a perfect order is 1");
	for (size_t i = 0; i < 300; i++)
		p[i] = -p[i];
	is_close(value(METRIC_AUC, p, y, NULL, 300, 2), 0, 0, "and of its reverse 0");
}

static void
test_classes(void)
{
	static const double p[] = {
		0.7, 0.2, 0.1,
		0.3, 0.3, 0.4,
		0.1, 0.8, 0.1,
		0.2, 0.5, 0.3,
	};
	static const double y[] = {0, 2, 1, 2};
	static const double two[] = {0, 1, 1, 0};
	static const double w[] = {1, 1, 1, 0};

	is_close(value(METRIC_LOG_LOSS, p, y, NULL, 4, 3),
			 -(log(0.7) + log(0.4) + log(0.8) + log(0.3)) / 4, 1e-14, "log loss of three classes");
	is_close(value(METRIC_BRIER, p, y, NULL, 4, 3),
			 (0.09 + 0.04 + 0.01 + 0.09 + 0.09 + 0.36 + 0.01 + 0.04 + 0.01 + 0.04 + 0.25 + 0.49) / 4, 1e-14,
			 "Brier score of three classes");
	is_close(value(METRIC_ACCURACY, p, y, NULL, 4, 3), 0.75, 1e-15, "accuracy of three classes");
	is_close(value(METRIC_ACCURACY, p, y, w, 4, 3), 1, 1e-15, "with weights");

	/* confidences .7 (hit), .4 (hit), .8 (hit), .5 (missed) */
	is_close(value(METRIC_ECE, p, y, NULL, 4, 3), (0.3 + 0.6 + 0.2 + 0.5) / 4, 1e-14, "ECE of three classes");

	/* class 0: row 0 above all, 1; class 1: row 2 above all, 1; class 2: .4 and .3 above .1, .1: 1 */
	is_close(value(METRIC_AUC, p, y, NULL, 4, 3), 1, 1e-15, "AUC of three classes");

	/* class 0: .7, .2 against .3, .1: 3 of 4; class 1: .3, .8 against .2, .5: 3 of 4; class 2 does not occur */
	is_close(value(METRIC_AUC, p, two, NULL, 4, 3), 0.75, 1e-15, "a class that does not occur is left out");
	is_close(value(METRIC_RMSE, p, y, NULL, 4, 3), NAN, 0, "classes have no RMSE");
}

static void
test_distributions(void)
{
	static const double p[] = {1, 2, 3, 4};
	static const double y[] = {1, 4, 2, 5};
	static const double v[] = {1, 1, 0.25, 1};
	static const double w[] = {1, 1, 2, 0};
	Judged		rows = {4, 0, p, y, NULL, v};

	/* z: 0, 2, -2, 1; 1.645 deviations hold nine of ten */
	is_close(metric_value(METRIC_COVERAGE_90, &rows, scratch), 0.5, 1e-15, "coverage");
	is_close(metric_value(METRIC_LOG_LIKELIHOOD, &rows, scratch),
			 -0.5 * log(2 * M_PI) - (0 + 4 + 4 + 1 + log(0.25)) / 8, 1e-14, "log likelihood");
	rows.weight = w;
	is_close(metric_value(METRIC_COVERAGE_90, &rows, scratch), 0.25, 1e-15, "coverage with weights");
	rows.variance = NULL;
	is_close(metric_value(METRIC_COVERAGE_90, &rows, scratch), NAN, 0, "without a distribution there is none");
	is_close(metric_value(METRIC_LOG_LIKELIHOOD, &rows, scratch), NAN, 0, "nor a log likelihood");
	is_close(metric_value(METRIC_RMSE, &rows, scratch), sqrt((0 + 4 + 2) / 4.0), 1e-15, "errors there are");
	ok(!metric_fits(METRIC_COVERAGE_90, 2) && !metric_fits(METRIC_LOG_LIKELIHOOD, 3), "classes have no intervals");
}

/* Sums of tasks, added as often as a resample has them, are those of rows that often. */
static void
test_tasks(void)
{
	enum
	{
		TASKS = 20, ROWS = 9
	};
	Rng			rng = rng_stream(6, RNG_SAMPLE, 0, 0);
	static double p[3 * TASKS * ROWS];
	static double y[3 * TASKS * ROWS];
	static double w[3 * TASKS * ROWS];
	static RankedRow ranked[TASKS * ROWS];
	int			times[TASKS];
	MetricSums	sums[TASKS] = {{0}};
	MetricSums	total = {0};
	size_t		n = 0;
	size_t		n_ranked = 0;
	double		areas = 0;
	int			with_both = 0;
	double		worst = 0;

	for (int t = 0; t < TASKS; t++)
	{
		Judged		rows = {ROWS, 2, p + n, y + n, w + n, NULL};

		times[t] = t % 4;
		for (int i = 0; i < ROWS; i++)
		{
			p[n + i] = rng_below(&rng, 20) / 20.0;
			y[n + i] = t == 7 || rng_below(&rng, 2);	/* one has one class */
			w[n + i] = rng_below(&rng, 3);
		}
		metric_add_task(&sums[t], &rows, 0.3, scratch);
		for (size_t i = n_ranked, end = n_ranked += metric_rank(&rows, 0, ranked + n_ranked); i < end; i++)
			ranked[i].task = t;
		metric_add_sums(&total, &sums[t], times[t]);
		if (!isnan(metric_value(METRIC_AUC, &rows, scratch)))
		{
			areas += times[t] * metric_value(METRIC_AUC, &rows, scratch);
			with_both += times[t];
		}

		/* the rows as often as the task: none, once, twice, three times */
		if (times[t] == 0)
			continue;
		for (int more = 1; more < times[t]; more++)
			for (int i = 0; i < ROWS; i++)
			{
				p[n + more * ROWS + i] = p[n + i];
				y[n + more * ROWS + i] = y[n + i];
				w[n + more * ROWS + i] = w[n + i];
			}
		n += times[t] * ROWS;
	}
	metric_sort(ranked, n_ranked);
	for (int m = 0; m <= METRIC_ECE; m++)
	{
		Judged		rows = {n, 2, p, y, w, NULL};
		double		repeated = metric_value(m, &rows, scratch);
		double		summed = m == METRIC_AUC ? metric_area(ranked, n_ranked, times) : metric_of_sums(m, &total);

		worst = fmax(worst, isnan(repeated) ? 1 : fabs(repeated - summed));
	}
	is_close(worst, 0, 1e-13, "sums of tasks give what their rows give, every metric");
	ok(with_both < 30 && with_both > 10, "not all tasks have both classes");
	is_close(metric_of_sums(METRIC_AUC_BY_TASK, &total), areas / with_both, 1e-14, "AUC by task is the mean over those that have");
	is_close(metric_of_sums(METRIC_AUC, &total), NAN, 0, "AUC of all rows is not a sum");
}

int
main(void)
{
	test_names();
	test_numbers();
	test_binary();
	test_calibration();
	test_auc();
	test_classes();
	test_distributions();
	test_tasks();
	return tap_done();
}
