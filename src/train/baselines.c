/*
 * baselines.c
 *	  The honest baselines: fitted on the same rows, features and network as
 *	  the learners, and stored beside them in every model.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "learn/vars.h"
#include "train/baselines.h"
#include "train/leave_out.h"
#include "train/visit.h"

/* Candidates of the spread of logits between tasks. */
static const double logit_spreads[] = {0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6};

/*
 * And of the linear form's, in units of what its fit ends with: from few rows
 * of tasks that hardly differ, its rounds come down slowly.
 */
static const double spread_shares[] = {0.125, 0.25, 0.5, 1, 1.5, 2};

/* Candidates for learners whose inner steps are tuned. */
static const double tuned_rates[] = {0.0003, 0.001, 0.003, 0.01, 0.03, 0.1};
static const int tuned_steps[] = {1, 5, 20};
#define TUNED_TASKS 100			/* validation tasks they are judged on */

/* A learner's first values. */
static void
component_init(Component *component, const Learner *learner, const LearnerSpec *spec)
{
	Phase		phase;

	phase_init(&phase, learner->name, learner, spec, FOLD_ALL);
	memset(component, 0, sizeof(*component));
	component->prefix = pstrdup(learner->name);
	component->learner = learner;
	component->spec = phase.spec;
	component->list = phase.list;
	component->theta = phase.theta;

	/* there will be no outer loop */
	pfree(phase.average);
	pfree(phase.best);
	pfree(phase.adam.first);
	pfree(phase.adam.second);
}

/* Loss of a component on a panel at each of n shots; infinite without tasks. */
static void
component_losses(const Panel *panel, const Component *component, const int *shots, int n, double *losses)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta baseline", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Scorer	   *scorer;

	for (int k = 0; k < n; k++)
		losses[k] = INFINITY;
	if (panel == NULL)
		return;
	old = MemoryContextSwitchTo(own);
	scorer = scorer_create(memory_arena("baseline"), memory_error, panel, component->learner, &component->spec,
						   &component->list, component->theta);
	for (int k = 0; k < n; k++)
		losses[k] = scorer_loss(scorer, &shots[k], 1);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}

/* Mean over the validation shots. */
static double
component_loss(const Training *training, const Panel *panel, const Component *component)
{
	const Validation *validation = &training->validation;
	double		losses[lengthof(validation->shots)];
	double		sum = 0;

	component_losses(panel, component, validation->shots, validation->n_shots, losses);
	for (int k = 0; k < validation->n_shots; k++)
		sum += losses[k];
	return sum / validation->n_shots;
}

/* ---- variance components of the network ---- */

typedef struct CrossFit
{
	Applier    *appliers[2];	/* of the networks trained without fold 0, 1 */
	const real *thetas[2];
	real	   *outputs;
	double		weight,
				sum,
				squares;
	ResidualSums residuals;
} CrossFit;

static void
visit_cross_fit(void *context, const Task *task, const Rows *rows, bool first, bool last)
{
	CrossFit   *fit = context;
	int			fold = task_fold(task);
	const char *fault;

	if (first)
		fit->weight = fit->sum = fit->squares = 0;
	fault = applier_predict(fit->appliers[fold], fit->thetas[fold], rows, fit->outputs);
	if (fault)
		computation_error("cross-fit", fault);
	for (int r = 0; r < rows->rows; r++)
	{
		double		residual = rows->y[r] - fit->outputs[r];

		fit->weight += rows->w[r];
		fit->sum += rows->w[r] * residual;
		fit->squares += rows->w[r] * residual * residual;
	}
	if (last)
		residuals_add_task(&fit->residuals, fit->weight, fit->sum, fit->squares);
}

/*
 * From residuals of tasks that the network was not trained on: those of an
 * overfit network on its own tasks would be too small.
 */
static VarianceComponents
cross_fitted_components(const Training *training, const Phase *without[2])
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta cross-fit", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	CrossFit	fit = {0};
	Arena	   *arena = memory_arena("cross-fit");

	for (int i = 0; i < 2; i++)
	{
		fit.thetas[i] = without[i]->best;
		fit.appliers[i] = applier_create(arena, without[i]->learner, &without[i]->spec, &without[i]->list,
										 without[i]->best, check_interrupts);
		if (fit.appliers[i] == NULL)
			memory_error();
	}
	fit.outputs = palloc(sizeof(real) * VISIT_MAX_ROWS * training->net.outputs);
	visit_training_rows(training->set, visit_cross_fit, &fit);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
	return residuals_components(&fit.residuals);
}

/* ---- the random intercept ---- */

static real *
tensor_values(const Component *component, const char *prefix, const char *name)
{
	const TensorList *list = &component->list;
	int			i = tensor_find(list, psprintf("%s%s", prefix, name));

	if (i < 0)
		elog(ERROR, "no tensor \"%s%s\"", prefix, name);
	return component->theta + list->tensors[i].offset;
}

/* prefix is "" for the network's form, "linear." for the linear one. */
static void
set_form(Component *component, const char *prefix, double spread, double noise, double scale)
{
	int			outputs = prefix[0] ? 1 : component->spec.net.outputs;

	for (int i = 0; i < outputs; i++)
		tensor_values(component, prefix, "precision")[i] = 1 / spread;
	tensor_values(component, prefix, "noise")[0] = noise;
	tensor_values(component, prefix, "scale")[0] = scale;
}

static void
use_linear(Component *component, double from, double to)
{
	tensor_values(component, "linear.", "from")[0] = from;
	tensor_values(component, "linear.", "to")[0] = to;
}

static const Phase *
find_phase(const Training *training, const Learner *learner, int fold)
{
	for (int i = 0; i < training->n_phases; i++)
		if (training->phases[i].learner == learner && training->phases[i].fold == fold)
			return &training->phases[i];
	return NULL;
}

static const Phase *
pooled_phase(const Training *training, int fold)
{
	return find_phase(training, learner_find("pooled"), fold);
}

/*
 * The numbers of support rows for which the linear form validates better:
 * one range, so that a few noisy comparisons cannot make a patchwork.
 */
static void
choose_form(const Training *training, Component *component)
{
	const Validation *validation = &training->validation;
	int			n = validation->n_shots;
	double		network[lengthof(validation->shots)];
	double		linear[lengthof(validation->shots)];
	double		best = 0;
	int			best_from = 0;
	int			best_to = 0;

	use_linear(component, 0, 0);
	component_losses(training->validation.panel, component, validation->shots, n, network);
	use_linear(component, 0, FLT_MAX);
	component_losses(training->validation.panel, component, validation->shots, n, linear);
	for (int from = 0; from < n; from++)
	{
		double		gain = 0;

		for (int to = from + 1; to <= n; to++)
		{
			gain += network[to - 1] - linear[to - 1];
			if (gain > best)
			{
				best = gain;
				best_from = from;
				best_to = to;
			}
		}
	}
	if (best > 0)
		use_linear(component, best_from == 0 ? 0 : validation->shots[best_from],
				   best_to == n ? FLT_MAX : validation->shots[best_to]);
	else
		use_linear(component, 0, 0);
}

VarianceComponents
pooled_components(Training *training)
{
	/* fold 0's residuals come from the network trained on fold 1 */
	const Phase *without[2] = {pooled_phase(training, 1), pooled_phase(training, 0)};
	VarianceComponents usual = {0.1, 0.9};
	VarianceComponents usual_logits = {0.4, 1};

	if (training->loss != LOSS_SQUARED)
		return usual_logits;
	if (without[0] == NULL || without[0]->iteration == 0 ||
		without[1] == NULL || without[1]->iteration == 0)
		return usual;			/* too few tasks, or time ran out before them */
	if (training->cross_fitted == NULL)
	{
		training->cross_fitted = palloc(sizeof(VarianceComponents));
		*training->cross_fitted = cross_fitted_components(training, without);
	}
	return *training->cross_fitted;
}

static void
fit_numeric_intercept(Training *training, Component *component)
{
	VarianceComponents v = pooled_components(training);

	set_form(component, "", v.task, v.noise, 1);
	v = gls_fit(training->set, &component->spec, &component->list, component->theta);
	set_form(component, "linear.", v.task, v.noise, 1);
	choose_form(training, component);
}

/* The spread of a form's logits between tasks that validates best. */
static void
tune_spread(const Training *training, Component *component, const char *prefix,
			const double *spreads, int n, bool try_scale)
{
	double		best = INFINITY;
	double		best_spread = spreads[n / 2];
	bool		best_scaled = try_scale;

	for (int i = 0; i < n; i++)
		for (int scaled = 0; scaled <= (int) try_scale; scaled++)
		{
			double		loss;

			set_form(component, prefix, spreads[i], 1, scaled ? sqrt(1 + PI_EIGHTH * spreads[i]) : 1);
			loss = component_loss(training, training->validation.panel, component);
			if (loss < best)
			{
				best = loss;
				best_spread = spreads[i];
				best_scaled = scaled;
			}
		}
	set_form(component, prefix, best_spread, 1, best_scaled ? sqrt(1 + PI_EIGHTH * best_spread) : 1);
}

static void
fit_class_intercept(const Training *training, Component *component)
{
	VarianceComponents v;
	double		spreads[lengthof(spread_shares)];

	tune_spread(training, component, "", logit_spreads, lengthof(logit_spreads), true);
	if (training->loss != LOSS_LOGISTIC)
		return;
	v = logistic_gls_fit(training->set, &component->spec, &component->list, component->theta);
	use_linear(component, 0, FLT_MAX);
	for (int i = 0; i < lengthof(spreads); i++)
		spreads[i] = v.task * spread_shares[i];
	tune_spread(training, component, "linear.", spreads, lengthof(spreads), false);
	choose_form(training, component);
}

/* ---- gradient steps, tuned ---- */

static void
tune_inner_loop(const Training *training, Component *component)
{
	Options    *options = &component->spec.options;
	Options		best_options = *options;
	const Panel *panel = training->validation.panel ? panel_thin(training->validation.panel, TUNED_TASKS) : NULL;
	double		best = component_loss(training, panel, component);

	for (int i = 0; i < lengthof(tuned_rates); i++)
		for (int j = 0; j < lengthof(tuned_steps) && panel; j++)
		{
			double		loss;

			options->inner_lr = tuned_rates[i];
			options->inner_steps = tuned_steps[j];
			loss = component_loss(training, panel, component);
			if (loss < best)
			{
				best = loss;
				best_options = *options;
			}
		}
	*options = best_options;
}

/*
 * What a baseline is fitted with.  One that begins anew with each task's rows
 * is linear beside networks that a few images could not teach anything.
 */
static LearnerSpec
baseline_spec(const Training *training, const Learner *learner)
{
	LearnerSpec spec = training->phases[0].spec;

	spec.options = training->options;
	/* theirs are tuned */
	spec.options.adapt_steps = 0;
	if (learner->flags & LEARNER_NO_POOL && (spec.net.kind != NETWORK_MLP || spec.net.norm != NORM_NONE))
	{
		spec.net.kind = NETWORK_MLP;
		spec.net.norm = NORM_NONE;
		spec.net.n_hidden = 0;
	}
	else
		choose_norm(learner, &spec);
	return spec;
}

void
baselines_check(const Training *training)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta baseline", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	LearnerSpec spec = baseline_spec(training, learner_find("single_task"));
	Component	component;

	if (training->validation.panel)
	{
		spec.options.inner_steps = Max(spec.options.inner_steps, tuned_steps[lengthof(tuned_steps) - 1]);
		component_init(&component, learner_find("single_task"), &spec);
		scorer_reserve(scorer_create(memory_arena("baseline"), memory_error, training->validation.panel,
									 component.learner, &component.spec, &component.list, component.theta));
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}

void
baseline_fit(Training *training, const Learner *learner, Component *component)
{
	const Phase *pooled = pooled_phase(training, FOLD_ALL);
	LearnerSpec spec = baseline_spec(training, learner);
	bool		intercept = strcmp(learner->name, "random_intercept") == 0;

	Assert(pooled != NULL || (learner->flags & LEARNER_NO_POOL));

	if (intercept && training->intercept)
	{
		*component = *training->intercept;
		return;
	}
	component_init(component, learner, &spec);
	if (!(learner->flags & LEARNER_NO_POOL))
		tensors_copy(&component->list, component->theta, &pooled->list, pooled->best);
	if (intercept)
	{
		if (training->loss == LOSS_SQUARED)
			fit_numeric_intercept(training, component);
		else
			fit_class_intercept(training, component);
		training->intercept = palloc(sizeof(Component));
		*training->intercept = *component;
	}
	if (learner->flags & LEARNER_TUNED)
		tune_inner_loop(training, component);
}

/* Copies a tensor of one component to another's tensor of the same size. */
static void
copy_tensor(const TensorList *list, real *theta, const char *to, const Component *from, const char *name)
{
	const Tensor *tensor = &list->tensors[tensor_find(list, to)];

	memcpy(theta + tensor->offset, tensor_values(from, "", name),
		   (size_t) tensor->rows * tensor->cols * sizeof(real));
}

/* Is the linear form the better one whatever the number of rows? */
static bool
linear_everywhere(const Component *intercept)
{
	return tensor_values(intercept, "linear.", "from")[0] == 0 &&
		tensor_values(intercept, "linear.", "to")[0] == FLT_MAX;
}

/* Sets the rows' offsets, once for all phases. */
static void
leave_tasks_out(Training *training, const Component *intercept)
{
	const Network *net = &training->net;
	LinearIntercept linear;

	if (training->left_out)
		return;
	linear.weight = tensor_values(intercept, "linear.", "weight");
	linear.bias = tensor_values(intercept, "linear.", "bias")[0];
	linear.precision = tensor_values(intercept, "linear.", "precision")[0];
	linear.tables = palloc(sizeof(real *) * (net->n_embeddings + 1));
	for (int j = 0; j < net->n_embeddings; j++)
		linear.tables[j] = tensor_values(intercept, "linear.", psprintf("table.%d", j));
	leave_out(training->set, net, &linear);
	training->left_out = true;
}

bool
start_linear(Training *training, Phase *phase, VarianceComponents *components)
{
	const TensorList *list = &phase->list;
	real	   *theta = phase->theta;
	Component	intercept;
	const Tensor *tensor;

	if (training->loss != LOSS_LOGISTIC || !training->net.skip || training->validation.panel == NULL)
		return false;
	baseline_fit(training, learner_find("random_intercept"), &intercept);
	if (!linear_everywhere(&intercept))
		return false;
	if (training->net.n_embeddings > 0)
	{
		leave_tasks_out(training, &intercept);
		phase_give_effects(phase);
	}
	components->task = 1 / tensor_values(&intercept, "linear.", "precision")[0];
	components->noise = 1;
	if (phase->iteration > 0)
		return true;

	copy_tensor(list, theta, "skip.weight", &intercept, "linear.weight");
	copy_tensor(list, theta, "head.bias", &intercept, "linear.bias");
	tensor = &list->tensors[tensor_find(list, "head.weight")];
	memset(theta + tensor->offset, 0, (size_t) tensor->rows * tensor->cols * sizeof(real));
	for (int j = 0; j < training->net.n_embeddings; j++)
	{
		copy_tensor(list, theta, psprintf("wide.%d", j), &intercept, psprintf("linear.table.%d", j));

		/* a vector fitted to a few rows would tell what the offsets conceal */
		tensor = &list->tensors[tensor_find(list, psprintf("embedding.%d", j))];
		if (training->net.embeddings[j].rare)
			memset(theta + tensor->offset, 0, (size_t) tensor->rows * tensor->cols * sizeof(real));
	}
	return true;
}
