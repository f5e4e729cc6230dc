/*
 * baselines.c
 *	  The honest baselines: fitted on the same rows, features and network as
 *	  the learners, and stored beside them in every model.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "train/train.h"

/* Candidates of the spread of logits between tasks. */
static const double logit_spreads[] = {0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6};

/* Candidates for learners whose inner steps are tuned. */
static const double tuned_rates[] = {0.0003, 0.001, 0.003, 0.01, 0.03, 0.1};
static const int tuned_steps[] = {1, 5, 20};

#define PI_EIGHTH 0.39269908169872414

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
}

/* Validation loss of a component, over all shots; infinite without tasks. */
static double
component_loss(const Training *training, const Component *component)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta baseline", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	double		loss = INFINITY;

	if (training->panel == NULL)
		return loss;
	old = MemoryContextSwitchTo(own);
	loss = scorer_loss(scorer_create(memory_arena("baseline"), training->panel, component->learner, &component->spec,
									 &component->list, component->theta),
					   training->validation.shots, training->validation.n_shots);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
	return loss;
}

/* ---- variance components of the network ---- */

typedef struct CrossFit
{
	const LearnerSpec *spec;
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
		memory_error();
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
	fit.outputs = palloc(sizeof(real) * 1024 * training->net.outputs);
	visit_training_rows(training->set, visit_cross_fit, &fit);
	return residuals_components(&fit.residuals);
}

/* ---- the random intercept ---- */

static void
set_intercept(Component *component, double precision, double noise, double scale)
{
	const TensorList *list = &component->list;
	const Tensor *tensor = &list->tensors[tensor_find(list, "precision")];

	for (int i = 0; i < tensor->cols; i++)
		component->theta[tensor->offset + i] = precision;
	component->theta[list->tensors[tensor_find(list, "noise")].offset] = noise;
	component->theta[list->tensors[tensor_find(list, "scale")].offset] = scale;
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

/* On the network or on a linear model by GLS, whichever validates better. */
static void
fit_numeric_intercept(const Training *training, const Learner *learner, Component *component)
{
	/* fold 0's residuals come from the network trained on fold 1 */
	const Phase *without[2] = {pooled_phase(training, 1), pooled_phase(training, 0)};
	Component	linear;
	LearnerSpec spec = component->spec;
	Embedding  *tables = palloc0(sizeof(Embedding) * (spec.net.n_embeddings + 1));
	VarianceComponents v;

	if (without[0] != NULL && without[1] != NULL)
		v = cross_fitted_components(training, without);
	else
		v = (VarianceComponents) {0.1, 0.9};	/* too few tasks to tell */
	set_intercept(component, 1 / v.task, v.noise, 1);

	spec.net.n_hidden = 0;
	spec.net.skip = true;
	for (int j = 0; j < spec.net.n_embeddings; j++)
		tables[j].size = spec.net.embeddings[j].size;	/* width 0: the linear
														 * path alone */
	spec.net.embeddings = tables;
	component_init(&linear, learner, &spec);
	memset(linear.theta, 0, linear.list.size * sizeof(real));
	v = gls_fit(training->set, &linear.spec, &linear.list, linear.theta);
	set_intercept(&linear, 1 / v.task, v.noise, 1);
	if (component_loss(training, &linear) < component_loss(training, component))
		*component = linear;
}

/* The spread of logits between tasks that validates best. */
static void
fit_class_intercept(const Training *training, Component *component)
{
	double		best = INFINITY;
	double		best_spread = 0.4;
	bool		best_scaled = true;

	for (int i = 0; i < lengthof(logit_spreads); i++)
		for (int scaled = 0; scaled < 2; scaled++)
		{
			double		loss;

			set_intercept(component, 1 / logit_spreads[i], 1, scaled ? sqrt(1 + PI_EIGHTH * logit_spreads[i]) : 1);
			loss = component_loss(training, component);
			if (loss < best)
			{
				best = loss;
				best_spread = logit_spreads[i];
				best_scaled = scaled;
			}
		}
	set_intercept(component, 1 / best_spread, 1, best_scaled ? sqrt(1 + PI_EIGHTH * best_spread) : 1);
}

/* ---- gradient steps, tuned ---- */

static void
tune_inner_loop(const Training *training, Component *component)
{
	Options    *options = &component->spec.options;
	Options		best_options = *options;
	double		best = component_loss(training, component);

	for (int i = 0; i < lengthof(tuned_rates); i++)
		for (int j = 0; j < lengthof(tuned_steps) && training->panel; j++)
		{
			double		loss;

			options->inner_lr = tuned_rates[i];
			options->inner_steps = tuned_steps[j];
			loss = component_loss(training, component);
			if (loss < best)
			{
				best = loss;
				best_options = *options;
			}
		}
	*options = best_options;
}

void
baseline_fit(const Training *training, const Learner *learner, Component *component)
{
	const Phase *pooled = pooled_phase(training, FOLD_ALL);
	LearnerSpec spec = pooled->spec;

	spec.options = training->options;
	component_init(component, learner, &spec);
	if (!(learner->flags & LEARNER_NO_POOL))
		tensors_copy(&component->list, component->theta, &pooled->list, pooled->best);
	if (strcmp(learner->name, "random_intercept") == 0)
	{
		if (training->loss == LOSS_SQUARED)
			fit_numeric_intercept(training, learner, component);
		else
			fit_class_intercept(training, component);
	}
	if (learner->flags & LEARNER_TUNED)
		tune_inner_loop(training, component);
}
