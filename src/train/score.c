/*
 * score.c
 *	  A component's predictions and losses on a panel.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "train/score.h"

/* A logit of probability 0. */
#define NO_CLASS (-1e30)

/* True for numbers that are no longer finite; memory that ran out is an error. */
static bool
diverged(const Scorer *scorer, const char *fault)
{
	if (fault != NULL && strcmp(fault, "out of memory") == 0)
		scorer->out_of_memory();
	return fault != NULL;
}

/* (rows, width), and never none. */
static void *
numbers(int64 rows, int width, Size size)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, mul_size(mul_size(rows, width) + 1, size));
}

Scorer *
scorer_create(Arena *arena, OutOfMemory out_of_memory, const Panel *panel, const Learner *learner,
			  const LearnerSpec *spec, const TensorList *list, const real *theta)
{
	Scorer	   *scorer = palloc0(sizeof(Scorer));
	Width		width = panel->set->encoding->width;

	scorer->out_of_memory = out_of_memory;
	scorer->panel = panel;
	scorer->learner = learner;
	scorer->spec = spec;
	scorer->applier = applier_create(arena, learner, spec, list, theta, check_interrupts);
	if (scorer->applier == NULL)
		out_of_memory();
	applier_own_only(scorer->applier);
	rows_allocate(&scorer->support, width, 1, panel->max_support);
	rows_allocate(&scorer->query, width, 1, panel->max_query);
	scorer->phi = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(list->size + 1, sizeof(real)));
	scorer->outputs = numbers(panel->max_query, spec->net.outputs, sizeof(real));
	scorer->values = numbers(panel->max_query, spec->net.outputs, sizeof(double));
	scorer->truth = numbers(panel->max_query, 1, sizeof(double));
	scorer->weight = numbers(panel->max_query, 1, sizeof(double));
	scorer->spread = numbers(panel->max_query, 1, sizeof(double));
	return scorer;
}

void
scorer_want_variances(Scorer *scorer)
{
	if (scorer->spec->loss == LOSS_SQUARED && scorer->learner->variance)
		scorer->variances = numbers(scorer->panel->max_query, 1, sizeof(real));
}

void
scorer_want_rows(Scorer *scorer, Arena *arena, const TensorList *list, const real *theta)
{
	if (scorer->learner->generative == NULL || scorer->spec->options.row_weight == 0)
		return;
	scorer->generator = generator_create(arena, scorer->learner, scorer->spec, list, theta, GENERATE_ROWS, check_interrupts);
	if (scorer->generator == NULL)
		scorer->out_of_memory();
}

/*
 * Outputs that stand for no class of an episode with fewer than the learner
 * can tell apart: they are out of the question, as in meta.classify.
 */
static void
leave_out_outputs(Scorer *scorer, int rows)
{
	int			width = scorer->spec->net.outputs;

	if (scorer->panel->way == 0)
		return;
	for (int r = 0; r < rows; r++)
		for (int c = scorer->panel->way; c < width; c++)
			scorer->outputs[(size_t) r * width + c] = NO_CLASS;
}

static bool
all_finite(const real *numbers, Size n)
{
	for (Size i = 0; i < n; i++)
		if (!isfinite(numbers[i]))
			return false;
	return true;
}

void
scorer_reserve(Scorer *scorer)
{
	diverged(scorer, applier_reserve(scorer->applier, scorer->panel->max_support, scorer->panel->max_query));
	if (scorer->generator)
		diverged(scorer, generator_reserve(scorer->generator));
}

bool
scorer_task(Scorer *scorer, const PanelTask *task, int shots)
{
	Size		n = (Size) task->n_query * scorer->spec->net.outputs;

	panel_support(scorer->panel, task, shots, &scorer->support);
	panel_query(scorer->panel, task, &scorer->query);
	if (diverged(scorer, applier_adapt(scorer->applier, &scorer->support, NULL, scorer->phi)) ||
		diverged(scorer, applier_predict(scorer->applier, scorer->phi, &scorer->query, scorer->outputs)) ||
		!all_finite(scorer->outputs, n))
		return false;
	if (scorer->variances &&
		(diverged(scorer, applier_variance(scorer->applier, scorer->phi, &scorer->query, scorer->variances)) ||
		 !all_finite(scorer->variances, task->n_query)))
		return false;
	if (scorer->calibration)
	{
		Correction	correction = calibration_at(scorer->calibration, scorer->support.rows);

		correct_outputs(&correction, scorer->spec->loss, scorer->outputs, n);
		if (scorer->variances)
			correct_variances(&correction, scorer->variances, task->n_query);
	}
	leave_out_outputs(scorer, task->n_query);
	return true;
}

PanelOutputs
panel_outputs(const Panel *panel, const Component *component, int shots, bool variances)
{
	int			width = component->spec.net.outputs;
	PanelOutputs all = {
		.width = width,
		.outputs = numbers(panel->n_query, width, sizeof(real)),
		.y = numbers(panel->n_query, width, sizeof(real)),
		.w = numbers(panel->n_query, 1, sizeof(real)),
		.task = numbers(panel->n_query, 1, sizeof(int))
	};
	Scorer	   *scorer = scorer_create(memory_arena("panel"), memory_error, panel, component->learner,
									   &component->spec, &component->list, component->theta);

	if (variances)
		scorer_want_variances(scorer);
	if (scorer->variances)
		all.variances = numbers(panel->n_query, 1, sizeof(real));
	for (int t = 0; t < panel->n_tasks; t++)
	{
		Size		n = panel->tasks[t].n_query;
		Size		at = all.n_rows;

		CHECK_FOR_INTERRUPTS();
		if (!scorer_task(scorer, &panel->tasks[t], shots))
			continue;
		memcpy(all.outputs + at * width, scorer->outputs, n * width * sizeof(real));
		memcpy(all.y + at * width, scorer->query.y, n * width * sizeof(real));
		memcpy(all.w + at, scorer->query.w, n * sizeof(real));
		if (all.variances)
			memcpy(all.variances + at, scorer->variances, n * sizeof(real));
		for (Size r = 0; r < n; r++)
			all.task[at + r] = t;
		all.n_rows += n;
		all.n_tasks++;
	}
	return all;
}

Judged
scorer_judged(Scorer *scorer, const PanelTask *task)
{
	const Encoding *encoding = scorer->panel->set->encoding;
	LossKind	loss = scorer->spec->loss;
	int			width = scorer->spec->net.outputs;
	Judged		rows = {task->n_query, metric_classes(loss, width), scorer->values, scorer->truth, scorer->weight};

	outputs_to_values(loss, encoding->target_mean, encoding->target_deviation, scorer->outputs,
					  task->n_query, width, scorer->values);
	for (int r = 0; r < task->n_query; r++)
	{
		const real *y = scorer->query.y + (size_t) r * width;

		scorer->weight[r] = scorer->query.w[r];
		scorer->truth[r] = loss == LOSS_SQUARED ? encoding->target_mean + encoding->target_deviation * y[0] : y[0];
		if (loss == LOSS_SOFTMAX)
			for (int c = 0; c < width; c++)
				if (y[c] > 0.5)
					scorer->truth[r] = c;
		if (scorer->variances)
			scorer->spread[r] = scorer->variances[r] * encoding->target_deviation * encoding->target_deviation;

		/* of two classes, a metric wants the probability of the second */
		if (loss == LOSS_SOFTMAX && width == 2)
			scorer->values[r] = scorer->values[2 * r + 1];
	}
	if (scorer->variances)
		rows.variance = scorer->spread;
	return rows;
}

double
row_loss(LossKind loss, const real *outputs, const real *y, int width)
{
	double		max = outputs[0];
	double		sum = 0;

	switch (loss)
	{
		case LOSS_SQUARED:
			for (int c = 0; c < width; c++)
				sum += ((double) outputs[c] - y[c]) * ((double) outputs[c] - y[c]);
			return sum;
		case LOSS_LOGISTIC:
			return fmax(outputs[0], 0) + log1p(exp(-fabs((double) outputs[0]))) - (double) outputs[0] * y[0];
		case LOSS_SOFTMAX:
			for (int c = 1; c < width; c++)
				max = Max(max, outputs[c]);
			for (int c = 0; c < width; c++)
				sum += exp(outputs[c] - max);
			sum = max + log(sum);
			for (int c = 0; c < width; c++)
				sum -= (double) outputs[c] * y[c];
			return sum;
	}
	return NAN;
}

void
row_loss_slope(LossKind loss, const real *outputs, const real *y, int width, double *slope)
{
	double		max = outputs[0];
	double		sum = 0;

	switch (loss)
	{
		case LOSS_SQUARED:
			for (int c = 0; c < width; c++)
				slope[c] = 2 * ((double) outputs[c] - y[c]);
			break;
		case LOSS_LOGISTIC:
			slope[0] = 1 / (1 + exp(-(double) outputs[0])) - y[0];
			break;
		case LOSS_SOFTMAX:
			for (int c = 1; c < width; c++)
				max = Max(max, outputs[c]);
			for (int c = 0; c < width; c++)
				sum += slope[c] = exp(outputs[c] - max);
			for (int c = 0; c < width; c++)
				slope[c] = slope[c] / sum - y[c];
			break;
	}
}

double
scorer_loss(Scorer *scorer, const int *shots, int n_shots)
{
	const Panel *panel = scorer->panel;
	int			width = scorer->spec->net.outputs;
	double		sum = 0;
	double		weight = 0;

	for (int t = 0; t < panel->n_tasks; t++)
	{
		const PanelTask *task = &panel->tasks[t];

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < n_shots; k++)
		{
			if (!scorer_task(scorer, task, shots[k]))
				return INFINITY;
			for (int r = 0; r < task->n_query; r++)
			{
				sum += scorer->query.w[r] * row_loss(scorer->spec->loss, scorer->outputs + (size_t) r * width,
													 scorer->query.y + (size_t) r * width, width);
				weight += scorer->query.w[r];
			}
		}
	}
	return weight > 0 ? sum / weight : NAN;
}

/* Tasks whose whole rows are looked at: what they tell is much, and takes its time. */
#define ROWS_TASKS 100

double
scorer_rows_loss(Scorer *scorer, int shots)
{
	const Panel *panel = scorer->panel;
	int			step = (panel->n_tasks + ROWS_TASKS - 1) / ROWS_TASKS;
	Rows		query;
	real		likelihood[GENERATE_ROWS];
	double		sum = 0;
	double		weight = 0;

	for (int t = 0; t < panel->n_tasks && scorer->generator; t += step)
	{
		const PanelTask *task = &panel->tasks[t];

		CHECK_FOR_INTERRUPTS();
		panel_support(panel, task, shots, &scorer->support);
		panel_query(panel, task, &scorer->query);
		query = scorer->query;
		query.rows = Min(query.rows, GENERATE_ROWS);
		if (diverged(scorer, applier_adapt(scorer->applier, &scorer->support, NULL, scorer->phi)) ||
			diverged(scorer, generator_log_likelihood(scorer->generator, scorer->phi, &query, likelihood)))
			return INFINITY;
		for (int r = 0; r < query.rows; r++)
		{
			sum -= query.w[r] * likelihood[r];
			weight += query.w[r];
		}
	}
	return weight > 0 ? sum / weight : 0;
}

int
metric_classes(LossKind loss, int width)
{
	return loss == LOSS_SQUARED ? 0 : loss == LOSS_LOGISTIC ? 2 : width;
}

/* Rows of many tasks, for what is not a function of sums over tasks. */
typedef struct Pool
{
	Judged		rows;
	double	   *prediction;
	double	   *truth;
	double	   *weight;
} Pool;

static void
pool_add(Pool *pool, const Judged *task)
{
	Size		width = task->n_classes > 2 ? task->n_classes : 1;

	memcpy(pool->prediction + pool->rows.n * width, task->prediction, task->n * width * sizeof(double));
	memcpy(pool->truth + pool->rows.n, task->truth, task->n * sizeof(double));
	memcpy(pool->weight + pool->rows.n, task->weight, task->n * sizeof(double));
	pool->rows.n += task->n;
}

double
scorer_metric(Scorer *scorer, Metric metric, const int *shots, int n_shots)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta metric", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	const Panel *panel = scorer->panel;
	int			width = scorer->spec->net.outputs;
	bool		pooled = metric == METRIC_AUC;
	RankedRow  *scratch = numbers(pooled ? panel->n_query : panel->max_query, 1, sizeof(RankedRow));
	Pool		pool = {{0}};
	double		sum = 0;

	if (pooled)
	{
		pool.rows.n_classes = metric_classes(scorer->spec->loss, width);
		pool.rows.prediction = pool.prediction = numbers(panel->n_query, width, sizeof(double));
		pool.rows.truth = pool.truth = numbers(panel->n_query, 1, sizeof(double));
		pool.rows.weight = pool.weight = numbers(panel->n_query, 1, sizeof(double));
	}
	for (int k = 0; k < n_shots && !isnan(sum); k++)
	{
		MetricSums	sums = {0};

		pool.rows.n = 0;
		for (int t = 0; t < panel->n_tasks; t++)
		{
			Judged		rows;

			CHECK_FOR_INTERRUPTS();
			if (!scorer_task(scorer, &panel->tasks[t], shots[k]))
			{
				sums.weight = NAN;
				break;
			}
			rows = scorer_judged(scorer, &panel->tasks[t]);
			if (pooled)
				pool_add(&pool, &rows);
			else
				metric_add_task(&sums, &rows, panel->set->encoding->target_mean,
								metric == METRIC_AUC_BY_TASK ? scratch : NULL);
		}
		sum += isnan(sums.weight) ? NAN :
			pooled ? metric_value(metric, &pool.rows, scratch) : metric_of_sums(metric, &sums);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
	return sum / n_shots;
}
