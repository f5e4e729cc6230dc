/*
 * evaluate.c
 *	  K-shot results on held-out tasks, with intervals over tasks.
 *
 * Intervals are bootstrap percentiles over tasks, not rows: rows of one task
 * are alike, and a new task is what a model will meet.  Every method is
 * resampled with the same tasks, so differences are paired.  Nearly all
 * metrics are functions of sums over rows; those are kept per task, and a
 * resample adds them up, once for all metrics.  AUC is not: its rows are
 * sorted once and weighted.  For groups, tasks and rows are put in the order
 * of the groups, so that each group costs its own share only.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "train/evaluate.h"

#define RESAMPLES 500

static const Metric number_metrics[] = {
	METRIC_RMSE, METRIC_MAE, METRIC_R2, METRIC_LOG_LIKELIHOOD, METRIC_COVERAGE_90
};
static const Metric binary_metrics[] = {
	METRIC_AUC, METRIC_AUC_BY_TASK, METRIC_LOG_LOSS, METRIC_BRIER, METRIC_ACCURACY, METRIC_ECE
};
static const Metric class_metrics[] = {METRIC_ACCURACY, METRIC_LOG_LOSS, METRIC_BRIER, METRIC_ECE};

#define MAX_METRICS 8

typedef struct Method
{
	const char *name;
	const Component *component;
	bool		prior;			/* always without support */
	Scorer	   *scorer;
	MetricSums *sums;			/* per task, of the shots at work */
	RankedRow  *ranked;			/* of binary targets, for AUC */
	size_t		n_ranked;
	double	   *replicates[MAX_METRICS];
} Method;

/* Some tasks that are judged together. */
typedef struct Members
{
	int			group;			/* -1: all tasks */
	int			n;
	const int  *tasks;
	size_t	   *from;			/* per method, of its ranked rows: the first, */
	size_t	   *to;				/* and the one after the last */
} Members;

typedef struct Evaluation
{
	const Model *model;
	const Panel *panel;
	uint64		seed;
	int			n_metrics;
	const Metric *metrics;
	int			n_methods;
	Method	   *methods;
	int		   *times;			/* per task: how often a resample has it */
	Members		all;
	int			n_groups;
	Members    *groups;
	RankedRow  *scratch;
} Evaluation;

static void *
huge(int64 n, Size size)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, mul_size(n + 1, size));
}

/* Predictions of one method at one number of shots, into its sums. */
static void
run_method(const Evaluation *e, Method *method, int shots)
{
	const Panel *panel = e->panel;

	memset(method->sums, 0, sizeof(MetricSums) * panel->n_tasks);
	method->n_ranked = 0;
	for (int t = 0; t < panel->n_tasks; t++)
	{
		Judged		rows;

		CHECK_FOR_INTERRUPTS();
		if (!scorer_task(method->scorer, &panel->tasks[t], method->prior ? 0 : shots))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("%s gives numbers that are not finite on a test task at %d shots",
							method->component->learner->name, shots),
					 errhint("Train again with a lower inner_lr.")));
		rows = scorer_judged(method->scorer, &panel->tasks[t]);
		metric_add_task(&method->sums[t], &rows, e->model->encoding->target_mean, e->scratch);
		if (method->ranked)
		{
			RankedRow  *ranked = method->ranked + method->n_ranked;
			size_t		n = metric_rank(&rows, 0, ranked);

			for (size_t i = 0; i < n; i++)
				ranked[i].task = t;
			method->n_ranked += n;
		}
	}
	if (method->ranked)
		metric_sort(method->ranked, method->n_ranked);
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* The middle 95 % of n numbers over draws of so many tasks, NaN left out; sorts them. */
static void
interval(double *numbers, int n, int tasks, double *lower, double *upper)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (!isnan(numbers[i]))
			numbers[kept++] = numbers[i];
	*lower = *upper = NAN;
	if (kept == 0 || tasks < INTERVAL_TASKS)
		return;
	qsort(numbers, kept, sizeof(double), compare_doubles);
	*lower = numbers[(int) (0.025 * (kept - 1) + 0.5)];
	*upper = numbers[(int) (0.975 * (kept - 1) + 0.5)];
}

/* All metrics of one method, with every member counted times[member] times. */
static void
method_metrics(const Evaluation *e, int m, const Members *members, double *values)
{
	const Method *method = &e->methods[m];
	MetricSums	total;

	memset(&total, 0, sizeof(total));
	for (int i = 0; i < members->n; i++)
	{
		int			t = members->tasks[i];

		if (e->times[t] > 0)
			metric_add_sums(&total, &method->sums[t], e->times[t]);
	}
	for (int i = 0; i < e->n_metrics; i++)
		values[i] = e->metrics[i] == METRIC_AUC ?
			metric_area(method->ranked + members->from[m], members->to[m] - members->from[m], e->times) :
			metric_of_sums(e->metrics[i], &total);
}

static void
resample(Evaluation *e, const Members *members)
{
	Rng			rng = rng_stream(e->seed, RNG_BOOTSTRAP, 0, 0);

	for (int b = 0; b < RESAMPLES; b++)
	{
		for (int i = 0; i < members->n; i++)
			e->times[members->tasks[i]] = 0;
		for (int i = 0; i < members->n; i++)
			e->times[members->tasks[rng_below(&rng, members->n)]]++;
		for (int m = 0; m < e->n_methods; m++)
		{
			double		values[MAX_METRICS];

			CHECK_FOR_INTERRUPTS();
			method_metrics(e, m, members, values);
			for (int i = 0; i < e->n_metrics; i++)
				e->methods[m].replicates[i][b] = values[i];
		}
	}
}

static int
find_reference(const Evaluation *e)
{
	for (int m = 0; m < e->n_methods; m++)
		if (strcmp(e->methods[m].name, "random_intercept") == 0)
			return m;
	return -1;
}

/* What intervals are over.  Of episodes any number can be drawn; it is their classes that are few. */
static int
independent_tasks(const Evaluation *e, const Members *members)
{
	return e->panel->way > 0 ? Min(e->panel->n_classes, members->n) : members->n;
}

/* The figures of one metric, (methods), whose replicates are sorted by it. */
static void
fill_figures(Evaluation *e, int shots, const Members *members, int metric, double values[][MAX_METRICS], Figure *figures)
{
	int			reference = find_reference(e);
	double		differences[RESAMPLES];
	int			independent = independent_tasks(e, members);
	int64		rows = 0;

	for (int i = 0; i < members->n; i++)
		rows += e->panel->tasks[members->tasks[i]].n_query;
	for (int m = 0; m < e->n_methods; m++)
	{
		Figure	   *figure = &figures[m];

		figure->shots = shots;
		figure->metric = e->metrics[metric];
		figure->method = e->methods[m].name;
		figure->group = members->group;
		figure->tasks = members->n;
		figure->rows = rows;
		figure->value = values[m][metric];
		figure->difference = figure->difference_lower = figure->difference_upper = NAN;
		if (reference >= 0 && m != reference)
		{
			figure->difference = figure->value - values[reference][metric];
			for (int b = 0; b < RESAMPLES; b++)
				differences[b] = e->methods[m].replicates[metric][b] - e->methods[reference].replicates[metric][b];
			interval(differences, RESAMPLES, independent, &figure->difference_lower, &figure->difference_upper);
		}
	}
	/* sorting comes last: differences need the replicates in order */
	for (int m = 0; m < e->n_methods; m++)
		interval(e->methods[m].replicates[metric], RESAMPLES, independent, &figures[m].lower, &figures[m].upper);
}

/*
 * Judges members at the shots at work.  figures: (metrics, methods), a metric
 * stride figures after the one before.
 */
static void
judge(Evaluation *e, int shots, const Members *members, Figure *figures, Size stride)
{
	double		(*values)[MAX_METRICS] = palloc(sizeof(*values) * e->n_methods);

	resample(e, members);
	for (int i = 0; i < members->n; i++)
		e->times[members->tasks[i]] = 1;
	for (int m = 0; m < e->n_methods; m++)
		method_metrics(e, m, members, values[m]);
	for (int i = 0; i < e->n_metrics; i++)
		fill_figures(e, shots, members, i, values, figures + i * stride);
	pfree(values);
}

/* ---- groups ---- */

/* The tasks of each group, ascending, in one array. */
static void
collect_groups(Evaluation *e)
{
	const Panel *panel = e->panel;
	int		   *tasks = huge(panel->n_tasks, sizeof(int));
	int			at = 0;

	e->n_groups = panel->set->n_groups;
	e->groups = palloc0(sizeof(Members) * Max(e->n_groups, 1));
	for (int t = 0; t < panel->n_tasks; t++)
		if (panel->tasks[t].task->group >= 0)
			e->groups[panel->tasks[t].task->group].n++;
	for (int g = 0; g < e->n_groups; g++)
	{
		Members    *members = &e->groups[g];

		members->group = g;
		members->tasks = tasks + at;
		members->from = palloc0(sizeof(size_t) * e->n_methods);
		members->to = palloc0(sizeof(size_t) * e->n_methods);
		at += members->n;
		members->n = 0;
	}
	for (int t = 0; t < panel->n_tasks; t++)
		if (panel->tasks[t].task->group >= 0)
		{
			Members    *members = &e->groups[panel->tasks[t].task->group];

			((int *) members->tasks)[members->n++] = t;
		}
}

/* Puts a method's ranked rows in the order of the groups, those of none last. */
static void
part_ranked(Evaluation *e, int m)
{
	Method	   *method = &e->methods[m];
	RankedRow  *sorted = huge(method->n_ranked, sizeof(RankedRow));
	size_t		at = 0;

	memcpy(sorted, method->ranked, method->n_ranked * sizeof(RankedRow));
	for (int g = 0; g < e->n_groups; g++)
		e->groups[g].to[m] = 0;
	for (size_t i = 0; i < method->n_ranked; i++)
	{
		int			g = e->panel->tasks[sorted[i].task].task->group;

		if (g >= 0)
			e->groups[g].to[m]++;
	}
	for (int g = 0; g < e->n_groups; g++)
	{
		Members    *members = &e->groups[g];

		members->from[m] = at;
		at += members->to[m];
		members->to[m] = members->from[m];
	}
	for (size_t i = 0; i < method->n_ranked; i++)
	{
		int			g = e->panel->tasks[sorted[i].task].task->group;

		if (g >= 0)
			method->ranked[e->groups[g].to[m]++] = sorted[i];
		else
			method->ranked[at++] = sorted[i];
	}
	pfree(sorted);
}

/* ---- the whole ---- */

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("evaluating needs more than %d kB of memory", maintenance_work_mem),
			 errhint("Raise maintenance_work_mem, or ask for fewer shots.")));
}

static void
add_method(Evaluation *e, const char *name, const Component *component, bool prior)
{
	Method	   *method = &e->methods[e->n_methods++];
	const Panel *panel = e->panel;

	method->name = name;
	method->component = component;
	method->prior = prior;
	method->scorer = scorer_create(memory_arena("evaluate"), out_of_memory, panel, component->learner,
								   &component->spec, &component->list, component->theta);
	method->scorer->calibration = &component->calibration;
	scorer_want_variances(method->scorer);
	method->sums = huge(panel->n_tasks, sizeof(MetricSums));
	for (int i = 0; i < e->n_metrics; i++)
	{
		method->replicates[i] = palloc(sizeof(double) * RESAMPLES);
		if (e->metrics[i] == METRIC_AUC)
			method->ranked = huge(panel->n_query, sizeof(RankedRow));
	}
}

static void
choose_metrics(Evaluation *e)
{
	const LearnerSpec *spec = &e->model->components[0].spec;
	int			n_classes = metric_classes(spec->loss, spec->net.outputs);

	/* in an N-way episode, no class is the positive one */
	bool		binary = n_classes == 2 && e->model->encoding->way == 0;

	e->metrics = n_classes == 0 ? number_metrics : binary ? binary_metrics : class_metrics;
	e->n_metrics = n_classes == 0 ? lengthof(number_metrics) :
		binary ? lengthof(binary_metrics) : lengthof(class_metrics);
	if (binary)
		e->scratch = huge(e->panel->max_query, sizeof(RankedRow));
}

/* Is it one that the method has? */
static bool
has_metric(const Method *method, Metric metric)
{
	return method->scorer->variances || (metric != METRIC_LOG_LIKELIHOOD && metric != METRIC_COVERAGE_90);
}

void
evaluate_model(const Model *model, const Panel *panel, const int *shots, int n_shots,
			   uint64 seed, bool by_group, FigureEmit emit, void *context)
{
	Evaluation	e = {model, panel, seed};
	Figure	   *figures;		/* (metrics, all and groups, methods) */
	Size		stride;
	int		   *tasks = huge(panel->n_tasks, sizeof(int));

	choose_metrics(&e);
	e.methods = palloc0(sizeof(Method) * (model->n_components + 3));
	e.times = huge(panel->n_tasks, sizeof(int));
	add_method(&e, "adapted", &model->components[0], false);
	/* what papers report where batches are normalised: query rows see each other */
	if (model->components[0].spec.net.norm == NORM_BATCH)
	{
		add_method(&e, "transductive", &model->components[0], false);
		applier_transductive(e.methods[e.n_methods - 1].scorer->applier);
	}
	/* without support, nothing is known of an episode's classes */
	if (panel->way == 0)
		add_method(&e, "prior", &model->components[0], true);
	for (int i = 0; i < model->n_components; i++)
		if (i > 0 || model->components[i].learner->flags & (LEARNER_FIXED | LEARNER_NO_SUPPORT))
			add_method(&e, model->components[i].learner->name, &model->components[i], false);

	for (int t = 0; t < panel->n_tasks; t++)
		tasks[t] = t;
	e.all = (Members) {-1, panel->n_tasks, tasks};
	e.all.from = palloc0(sizeof(size_t) * e.n_methods);
	e.all.to = palloc0(sizeof(size_t) * e.n_methods);
	if (by_group)
		collect_groups(&e);
	stride = (Size) (1 + e.n_groups) * e.n_methods;
	figures = huge(stride * e.n_metrics, sizeof(Figure));

	for (int k = 0; k < n_shots; k++)
	{
		for (int m = 0; m < e.n_methods; m++)
		{
			run_method(&e, &e.methods[m], shots[k]);
			e.all.to[m] = e.methods[m].n_ranked;
		}
		judge(&e, shots[k], &e.all, figures, stride);
		for (int m = 0; m < e.n_methods && e.n_groups > 0; m++)
			if (e.methods[m].ranked)
				part_ranked(&e, m);
		for (int g = 0; g < e.n_groups; g++)
			if (e.groups[g].n > 0)
				judge(&e, shots[k], &e.groups[g], figures + (Size) (1 + g) * e.n_methods, stride);

		for (int i = 0; i < e.n_metrics; i++)
			for (int g = -1; g < e.n_groups; g++)
				for (int m = 0; m < e.n_methods; m++)
					if ((g < 0 || e.groups[g].n > 0) && has_metric(&e.methods[m], e.metrics[i]))
						emit(context, &figures[i * stride + (Size) (1 + g) * e.n_methods + m]);
	}
}
