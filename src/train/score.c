/*
 * score.c
 *	  A component's predictions and losses on a panel.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "train/score.h"

static void *
memory_grow(void *context, size_t size)
{
	/* the arena aligns within what it gets */
	return MemoryContextAllocHuge(context, size);
}

Arena *
memory_arena(const char *name)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "meta arena", ALLOCSET_DEFAULT_SIZES);
	Arena	   *arena = palloc(sizeof(Arena));

	MemoryContextSetIdentifier(context, name);
	arena_init(arena, memory_grow, context, (size_t) maintenance_work_mem * 1024);
	return arena;
}

void
check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

void
memory_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("training needs more than %d kB of memory", maintenance_work_mem),
			 errhint("Raise maintenance_work_mem, or lower the options hidden, shots, query or inner_steps.")));
}

/* True for numbers that are no longer finite; memory that ran out is an error. */
static bool
diverged(const char *fault)
{
	if (fault != NULL && strcmp(fault, "out of memory") == 0)
		memory_error();
	return fault != NULL;
}

Scorer *
scorer_create(Arena *arena, const Panel *panel, const Learner *learner, const LearnerSpec *spec,
			  const TensorList *list, const real *theta)
{
	Scorer	   *scorer = palloc0(sizeof(Scorer));
	Width		width = panel->set->encoding->width;

	scorer->panel = panel;
	scorer->spec = spec;
	scorer->applier = applier_create(arena, learner, spec, list, theta, check_interrupts);
	if (scorer->applier == NULL)
		memory_error();
	rows_allocate(&scorer->support, width, 1, panel->max_support);
	rows_allocate(&scorer->query, width, 1, panel->max_query);
	scorer->phi = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(list->size + 1, sizeof(real)));
	scorer->outputs = MemoryContextAllocHuge(CurrentMemoryContext,
											 mul_size(mul_size(panel->max_query, spec->net.outputs) + 1, sizeof(real)));
	return scorer;
}

bool
scorer_task(Scorer *scorer, const PanelTask *task, int shots)
{
	panel_support(scorer->panel, task, shots, &scorer->support);
	panel_query(scorer->panel, task, &scorer->query);
	if (diverged(applier_adapt(scorer->applier, &scorer->support, NULL, scorer->phi)) ||
		diverged(applier_predict(scorer->applier, scorer->phi, &scorer->query, scorer->outputs)))
		return false;
	for (Size i = 0; i < (Size) task->n_query * scorer->spec->net.outputs; i++)
		if (!isfinite(scorer->outputs[i]))
			return false;
	return true;
}

/* Loss of one row on the encoded target: outputs and y have width numbers. */
static double
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

int
metric_classes(LossKind loss, int width)
{
	return loss == LOSS_SQUARED ? 0 : loss == LOSS_LOGISTIC ? 2 : width;
}

double
scorer_metric(Scorer *scorer, Metric metric, const int *shots, int n_shots)
{
	const Panel *panel = scorer->panel;
	const Encoding *encoding = panel->set->encoding;
	LossKind	loss = scorer->spec->loss;
	int			width = scorer->spec->net.outputs;
	Size		rows = panel->n_query + 1;
	double	   *values = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(mul_size(rows, width), sizeof(double)));
	double	   *truth = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(rows, sizeof(double)));
	double	   *weight = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(rows, sizeof(double)));
	size_t	   *scratch = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(rows, sizeof(size_t)));
	double	   *task_values = MemoryContextAllocHuge(CurrentMemoryContext,
													 mul_size(mul_size(panel->max_query + 1, width), sizeof(double)));

	/* of two classes, a metric wants the probability of the second */
	int			kept = width == 2 ? 1 : width;
	double		sum = 0;

	for (int k = 0; k < n_shots; k++)
	{
		size_t		at = 0;

		for (int t = 0; t < panel->n_tasks; t++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!scorer_task(scorer, &panel->tasks[t], shots[k]))
				return NAN;
			outputs_to_values(loss, encoding->target_mean, encoding->target_deviation, scorer->outputs,
							  panel->tasks[t].n_query, width, task_values);
			for (int r = 0; r < panel->tasks[t].n_query; r++, at++)
			{
				const real *y = scorer->query.y + (size_t) r * width;

				memcpy(values + at * kept, task_values + (size_t) r * width + (width - kept), kept * sizeof(double));
				weight[at] = scorer->query.w[r];
				truth[at] = y[0];
				if (loss == LOSS_SQUARED)
					truth[at] = encoding->target_mean + encoding->target_deviation * y[0];
				else if (loss == LOSS_SOFTMAX)
					for (int c = 0; c < width; c++)
						if (y[c] > 0.5)
							truth[at] = c;
			}
		}
		sum += metric_value(metric, values, truth, weight, at, metric_classes(loss, width), scratch);
	}
	pfree(task_values);
	pfree(values);
	pfree(truth);
	pfree(weight);
	pfree(scratch);
	return sum / n_shots;
}
