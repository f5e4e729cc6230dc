/*
 * evaluate.c
 *	  K-shot results on held-out tasks, with intervals over tasks.
 *
 * Intervals are bootstrap percentiles over tasks, not rows: rows of one task
 * are alike, and a new task is what a model will meet.  Every method is
 * resampled with the same tasks, so differences are paired.  Nearly all
 * metrics are functions of sums over rows; those are kept per task, and a
 * resample adds them up.  AUC is not: its rows are sorted once and weighted.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "learn/apply.h"
#include "train/evaluate.h"

#define RESAMPLES 500

static const Metric number_metrics[] = {METRIC_RMSE, METRIC_MAE, METRIC_R2};
static const Metric binary_metrics[] = {METRIC_AUC, METRIC_LOG_LOSS, METRIC_BRIER, METRIC_ACCURACY, METRIC_ECE};
static const Metric class_metrics[] = {METRIC_ACCURACY, METRIC_LOG_LOSS, METRIC_BRIER};

/* Weighted sums over a task's query rows. */
typedef struct Sums
{
	double		weight;
	double		y;				/* number targets, for the spread: from the
								 * encoder's mean, or squares would swallow it */
	double		y_squared;
	double		squared;
	double		absolute;
	double		log_loss;
	double		brier;
	double		correct;
	double		bin_probability[METRIC_ECE_BINS];
	double		bin_truth[METRIC_ECE_BINS];
} Sums;

/* A binary prediction, for AUC. */
typedef struct Ranked
{
	float		probability;
	float		weight;
	int			task;
	bool		truth;
} Ranked;

typedef struct Method
{
	const char *name;
	Component  *component;
	bool		prior;			/* always without support */
	Scorer	   *scorer;
	Sums	   *sums;			/* per task, of the shots at work */
	Ranked	   *ranked;
	double	   *replicates;		/* of the metric at work */
} Method;

static void
add_number(Sums *sums, double error, double y, double w)
{
	sums->weight += w;
	sums->y += w * y;
	sums->y_squared += w * y * y;
	sums->squared += w * error * error;
	sums->absolute += w * fabs(error);
}

static void
add_binary(Sums *sums, double p, bool truth, double w)
{
	int			bin = Min((int) (p * METRIC_ECE_BINS), METRIC_ECE_BINS - 1);

	sums->weight += w;
	sums->log_loss -= w * log(Max(truth ? p : 1 - p, METRIC_LOG_LOSS_CLIP));
	sums->brier += w * (p - truth) * (p - truth);
	sums->correct += w * ((p >= 0.5) == truth);
	sums->bin_probability[bin] += w * p;
	sums->bin_truth[bin] += w * truth;
}

static void
add_class(Sums *sums, const double *p, const real *y, int width, double w)
{
	int			best = 0;

	sums->weight += w;
	for (int c = 0; c < width; c++)
	{
		if (p[c] > p[best])
			best = c;
		sums->brier += w * (p[c] - y[c]) * (p[c] - y[c]);
		if (y[c] > 0.5)
			sums->log_loss -= w * log(Max(p[c], METRIC_LOG_LOSS_CLIP));
	}
	sums->correct += w * (y[best] > 0.5);
}

static double
metric_of_sums(Metric metric, const Sums *s)
{
	double		ece = 0;

	if (s->weight <= 0)
		return NAN;
	switch (metric)
	{
		case METRIC_RMSE:
			return sqrt(s->squared / s->weight);
		case METRIC_MAE:
			return s->absolute / s->weight;
		case METRIC_R2:
			{
				double		spread = s->y_squared - s->y * s->y / s->weight;

				/* equal numbers leave a spread of rounding errors */
				return spread > 1e-12 * s->y_squared ? 1 - s->squared / spread : NAN;
			}
		case METRIC_LOG_LOSS:
			return s->log_loss / s->weight;
		case METRIC_BRIER:
			return s->brier / s->weight;
		case METRIC_ACCURACY:
			return s->correct / s->weight;
		case METRIC_ECE:
			for (int b = 0; b < METRIC_ECE_BINS; b++)
				ece += fabs(s->bin_probability[b] - s->bin_truth[b]);
			return ece / s->weight;
		default:
			return NAN;
	}
}

static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	return x->probability < y->probability ? -1 : x->probability > y->probability;
}

/* Weighted share of (false, true) pairs in the right order; ties count half. */
static double
auc_of_ranked(const Ranked *ranked, int64 n, const int *times)
{
	double		below = 0;		/* weight of false rows so far */
	double		positives = 0;
	double		sum = 0;

	for (int64 i = 0; i < n;)
	{
		double		tied[2] = {0, 0};
		int64		j = i;

		for (; j < n && ranked[j].probability == ranked[i].probability; j++)
			tied[ranked[j].truth] += (double) ranked[j].weight * times[ranked[j].task];
		sum += tied[1] * (below + tied[0] / 2);
		below += tied[0];
		positives += tied[1];
		i = j;
	}
	return below > 0 && positives > 0 ? sum / (below * positives) : NAN;
}

/* Predictions of one method at one number of shots, into its sums. */
static void
run_method(Method *method, const Model *model, const Panel *panel, int shots)
{
	const Encoding *encoding = model->encoding;
	LossKind	loss = method->component->spec.loss;
	int			width = method->component->spec.net.outputs;
	double	   *values = palloc(sizeof(double) * mul_size(panel->max_query, width));
	int64		row = 0;

	memset(method->sums, 0, sizeof(Sums) * panel->n_tasks);
	for (int t = 0; t < panel->n_tasks; t++)
	{
		Scorer	   *scorer = method->scorer;
		Sums	   *sums = &method->sums[t];

		CHECK_FOR_INTERRUPTS();
		if (!scorer_task(scorer, &panel->tasks[t], method->prior ? 0 : shots))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("%s gives numbers that are not finite on a test task at %d shots",
							method->component->learner->name, shots),
					 errhint("Train again with a lower inner_lr.")));
		outputs_to_values(loss, encoding->target_mean, encoding->target_deviation,
						  scorer->outputs, panel->tasks[t].n_query, width, values);
		for (int r = 0; r < panel->tasks[t].n_query; r++, row++)
		{
			const real *y = scorer->query.y + (size_t) r * width;
			double		w = scorer->query.w[r];

			if (loss == LOSS_SOFTMAX)
				add_class(sums, values + (size_t) r * width, y, width, w);
			else if (loss == LOSS_LOGISTIC)
			{
				Ranked	   *ranked = &method->ranked[row];

				add_binary(sums, values[r], y[0] > 0.5, w);
				ranked->probability = values[r];
				ranked->weight = w;
				ranked->task = t;
				ranked->truth = y[0] > 0.5;
			}
			else
			{
				double		truth = encoding->target_deviation * y[0];

				add_number(sums, values[r] - (encoding->target_mean + truth), truth, w);
			}
		}
	}
	if (loss == LOSS_LOGISTIC)
		qsort(method->ranked, row, sizeof(Ranked), compare_ranked);
	pfree(values);
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* The middle 95 % of n numbers, NaN left out; sorts them. */
static void
interval(double *numbers, int n, double *lower, double *upper)
{
	int			kept = 0;

	for (int i = 0; i < n; i++)
		if (!isnan(numbers[i]))
			numbers[kept++] = numbers[i];
	*lower = *upper = NAN;
	if (kept == 0)
		return;
	qsort(numbers, kept, sizeof(double), compare_doubles);
	*lower = numbers[(int) (0.025 * (kept - 1) + 0.5)];
	*upper = numbers[(int) (0.975 * (kept - 1) + 0.5)];
}

typedef struct Evaluation
{
	const Model *model;
	const Panel *panel;
	uint64		seed;
	int			n_methods;
	Method	   *methods;
	int		   *members;		/* tasks of the group at work */
	int		   *times;
	FigureEmit	emit;
	void	   *context;
} Evaluation;

/* The metric with every member counted times[member] times, others not at all. */
static double
method_metric(const Evaluation *e, const Method *method, Metric metric, int n_members)
{
	Sums		total;

	if (metric == METRIC_AUC)
		return auc_of_ranked(method->ranked, e->panel->n_query, e->times);
	memset(&total, 0, sizeof(total));
	for (int i = 0; i < n_members; i++)
	{
		int			t = e->members[i];
		const double *from = (const double *) &method->sums[t];
		double	   *to = (double *) &total;

		if (e->times[t] > 0)
			for (int j = 0; j < (int) (sizeof(Sums) / sizeof(double)); j++)
				to[j] += e->times[t] * from[j];
	}
	return metric_of_sums(metric, &total);
}

static void
resample_metric(Evaluation *e, Metric metric, int n_members)
{
	Rng			rng = rng_stream(e->seed, RNG_BOOTSTRAP, 0, 0);

	for (int b = 0; b < RESAMPLES; b++)
	{
		memset(e->times, 0, sizeof(int) * e->panel->n_tasks);
		for (int i = 0; i < n_members; i++)
			e->times[e->members[rng_below(&rng, n_members)]]++;
		for (int m = 0; m < e->n_methods; m++)
		{
			CHECK_FOR_INTERRUPTS();
			e->methods[m].replicates[b] = method_metric(e, &e->methods[m], metric, n_members);
		}
	}
}

/* Results of one metric on the tasks of one group. */
static void
emit_metric(Evaluation *e, int shots, Metric metric, int group)
{
	Figure	   *results;
	double	   *differences;
	const Method *reference = NULL;
	double		reference_value = NAN;
	int64		rows = 0;
	int			n_members = 0;

	for (int t = 0; t < e->panel->n_tasks; t++)
		if (group < 0 || e->panel->tasks[t].task->group == group)
		{
			e->members[n_members++] = t;
			rows += e->panel->tasks[t].n_query;
		}
	if (n_members == 0)
		return;

	results = palloc0(sizeof(Figure) * e->n_methods);
	differences = palloc(sizeof(double) * RESAMPLES);
	resample_metric(e, metric, n_members);
	memset(e->times, 0, sizeof(int) * e->panel->n_tasks);
	for (int i = 0; i < n_members; i++)
		e->times[e->members[i]] = 1;
	for (int m = 0; m < e->n_methods; m++)
		if (strcmp(e->methods[m].name, "random_intercept") == 0)
		{
			reference = &e->methods[m];
			reference_value = method_metric(e, reference, metric, n_members);
		}

	for (int m = 0; m < e->n_methods; m++)
	{
		Method	   *method = &e->methods[m];
		Figure	   *result = &results[m];

		result->shots = shots;
		result->metric = metric;
		result->method = method->name;
		result->group = group;
		result->tasks = n_members;
		result->rows = rows;
		result->value = method_metric(e, method, metric, n_members);
		result->difference = result->difference_lower = result->difference_upper = NAN;
		if (reference && method != reference)
		{
			result->difference = result->value - reference_value;
			for (int b = 0; b < RESAMPLES; b++)
				differences[b] = method->replicates[b] - reference->replicates[b];
			interval(differences, RESAMPLES, &result->difference_lower, &result->difference_upper);
		}
	}
	/* sorting comes last: differences need the replicates in order */
	for (int m = 0; m < e->n_methods; m++)
	{
		interval(e->methods[m].replicates, RESAMPLES, &results[m].lower, &results[m].upper);
		e->emit(e->context, &results[m]);
	}
	pfree(results);
	pfree(differences);
}

static void
add_method(Evaluation *e, const char *name, Component *component, bool prior)
{
	Method	   *method = &e->methods[e->n_methods++];
	const Panel *panel = e->panel;

	method->name = name;
	method->component = component;
	method->prior = prior;
	method->scorer = scorer_create(memory_arena("evaluate"), panel, component->learner, &component->spec,
								   &component->list, component->theta);
	method->sums = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(panel->n_tasks + 1, sizeof(Sums)));
	method->replicates = palloc(sizeof(double) * RESAMPLES);
	if (component->spec.loss == LOSS_LOGISTIC)
		method->ranked = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(panel->n_query + 1, sizeof(Ranked)));
}

void
evaluate_model(const Model *model, const Panel *panel, const int *shots, int n_shots,
			   uint64 seed, bool by_group, FigureEmit emit, void *context)
{
	Evaluation	e = {model, panel, seed};
	LossKind	loss = model->components[0].spec.loss;
	const Metric *metrics = loss == LOSS_SQUARED ? number_metrics : loss == LOSS_LOGISTIC ? binary_metrics : class_metrics;
	int			n_metrics = loss == LOSS_SQUARED ? lengthof(number_metrics) :
		loss == LOSS_LOGISTIC ? lengthof(binary_metrics) : lengthof(class_metrics);

	e.emit = emit;
	e.context = context;
	e.methods = palloc0(sizeof(Method) * (model->n_components + 2));
	e.members = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(panel->n_tasks + 1, sizeof(int)));
	e.times = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(panel->n_tasks + 1, sizeof(int)));
	add_method(&e, "adapted", &model->components[0], false);
	add_method(&e, "prior", &model->components[0], true);
	for (int i = 0; i < model->n_components; i++)
		if (i > 0 || model->components[i].learner->flags & (LEARNER_FIXED | LEARNER_NO_SUPPORT))
			add_method(&e, model->components[i].learner->name, &model->components[i], false);

	for (int k = 0; k < n_shots; k++)
	{
		for (int m = 0; m < e.n_methods; m++)
			run_method(&e.methods[m], model, panel, shots[k]);
		for (int i = 0; i < n_metrics; i++)
		{
			emit_metric(&e, shots[k], metrics[i], -1);
			for (int g = 0; by_group && g < panel->set->n_groups; g++)
				emit_metric(&e, shots[k], metrics[i], g);
		}
	}
}
