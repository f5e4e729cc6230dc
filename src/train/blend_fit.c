/*
 * blend_fit.c
 *	  How much of each trained learner a blend takes, by validation tasks.
 *
 * For each number of support rows k, the weights that minimise the loss of the
 * blended outputs on the validation tasks' query rows: a convex problem on the
 * simplex.  What they gain over random_intercept, the safe choice, is known
 * only as well as the number of tasks allows; with z its mean over its
 * standard error, the weights go the share max(0, 1 - parts / z^2) of the way
 * from random_intercept to the minimum (as a James-Stein estimate would, for as
 * many fitted numbers).  So a blend is no more than a tie allows, and where no k
 * has a gain that counts, random_intercept itself is what is kept.
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "learn/blend.h"
#include "train/baselines.h"
#include "train/blend_fit.h"

/* Validation tasks looked at: more than while training, for this is done once. */
#define BLEND_TASKS 4000
#define BLEND_QUERY 40

/* A part with less weight than this at every k is not worth its place. */
#define LEAST_WEIGHT 0.1

#define DESCENT_STEPS 200

typedef struct BlendFit
{
	Training   *training;
	LossKind	loss;
	const Panel *panel;			/* of the shots at work */
	int			n_tasks;		/* of the largest panel */
	int			n_parts;		/* random_intercept is the last */
	Component	parts[BLEND_MAX_PARTS];
	PanelOutputs outputs[BLEND_MAX_PARTS];	/* of the panel */
	int			n_shots;
	double		weights[BLEND_KNOTS][BLEND_MAX_PARTS];
	double		losses[BLEND_KNOTS][BLEND_MAX_PARTS];	/* of each part alone */
	double		blended[BLEND_KNOTS];
} BlendFit;

/* False where a part's numbers are not finite at these shots. */
static bool
collect(BlendFit *fit, int shots)
{
	for (int i = 0; i < fit->n_parts; i++)
	{
		PanelOutputs *o = &fit->outputs[i];

		*o = panel_outputs(fit->panel, &fit->parts[i], shots, false);
		if (o->n_tasks < fit->panel->n_tasks)
			return false;
		if (i == 0)
			continue;
		/* the first part's are the same */
		pfree(o->y);
		pfree(o->w);
		pfree(o->task);
	}
	return true;
}

/*
 * Mean loss of the outputs blended by w; gradient (parts) may be NULL, and so
 * may by_task, which gets each task's sum.
 */
static double
blend_loss(const BlendFit *fit, const double *w, double *gradient, double *by_task)
{
	const PanelOutputs *o = &fit->outputs[0];
	real	   *blended = palloc(sizeof(real) * o->width);
	double	   *slope = palloc(sizeof(double) * o->width);
	double		sum = 0;
	double		weight = 0;

	if (gradient)
		memset(gradient, 0, sizeof(double) * fit->n_parts);
	if (by_task)
		memset(by_task, 0, sizeof(double) * o->n_tasks);
	for (size_t r = 0; r < o->n_rows; r++)
	{
		const real *y = o->y + r * o->width;
		double		loss;

		for (int c = 0; c < o->width; c++)
		{
			double		mean = 0;

			for (int i = 0; i < fit->n_parts; i++)
				mean += w[i] * fit->outputs[i].outputs[r * o->width + c];
			blended[c] = mean;
		}
		loss = o->w[r] * row_loss(fit->loss, blended, y, o->width);
		sum += loss;
		weight += o->w[r];
		if (by_task)
			by_task[o->task[r]] += loss;
		if (gradient == NULL)
			continue;
		row_loss_slope(fit->loss, blended, y, o->width, slope);
		for (int i = 0; i < fit->n_parts; i++)
			for (int c = 0; c < o->width; c++)
				gradient[i] += o->w[r] * slope[c] * fit->outputs[i].outputs[r * o->width + c];
	}
	for (int i = 0; gradient && i < fit->n_parts; i++)
		gradient[i] /= weight;
	pfree(blended);
	pfree(slope);
	return weight > 0 ? sum / weight : NAN;
}

/* Mirror descent on the simplex: w_i times exp(-rate gradient_i), made to sum to 1. */
static void
fit_weights(const BlendFit *fit, double *w)
{
	int			n = fit->n_parts;
	double		rate = 1;
	double		gradient[BLEND_MAX_PARTS];
	double		loss;

	for (int i = 0; i < n; i++)
		w[i] = 1.0 / n;
	loss = blend_loss(fit, w, gradient, NULL);
	for (int step = 0; step < DESCENT_STEPS; step++)
	{
		double		next[BLEND_MAX_PARTS];
		double		next_gradient[BLEND_MAX_PARTS];
		double		sum = 0;
		double		least = gradient[0];
		double		next_loss;

		CHECK_FOR_INTERRUPTS();
		for (int i = 1; i < n; i++)
			least = Min(least, gradient[i]);
		for (int i = 0; i < n; i++)
			sum += next[i] = w[i] * exp(-rate * (gradient[i] - least));
		for (int i = 0; i < n; i++)
			next[i] /= sum;
		next_loss = blend_loss(fit, next, next_gradient, NULL);
		if (!(next_loss < loss))
		{
			rate /= 4;
			if (rate < 1e-6)
				break;
			continue;
		}
		rate *= 1.5;
		if (loss - next_loss < 1e-7 * fabs(loss))
			step = DESCENT_STEPS;	/* there is nothing left to gain */
		memcpy(w, next, sizeof(next));
		memcpy(gradient, next_gradient, sizeof(gradient));
		loss = next_loss;
	}
}

/* The gain of w over the last part alone, in standard errors over tasks. */
static double
gain_in_errors(const BlendFit *fit, const double *w)
{
	const PanelOutputs *o = &fit->outputs[0];
	double		alone[BLEND_MAX_PARTS] = {0};
	double	   *with = palloc(sizeof(double) * o->n_tasks);
	double	   *without = palloc(sizeof(double) * o->n_tasks);
	double	   *weights = palloc0(sizeof(double) * o->n_tasks);
	double		gain = 0;
	double		weight = 0;
	double		squares = 0;

	alone[fit->n_parts - 1] = 1;
	blend_loss(fit, w, NULL, with);
	blend_loss(fit, alone, NULL, without);
	for (size_t r = 0; r < o->n_rows; r++)
		weights[o->task[r]] += o->w[r];
	for (int t = 0; t < o->n_tasks; t++)
	{
		gain += without[t] - with[t];
		weight += weights[t];
	}
	gain /= weight;
	for (int t = 0; t < o->n_tasks; t++)
	{
		double		rest = without[t] - with[t] - gain * weights[t];

		squares += rest * rest;
	}
	pfree(with);
	pfree(without);
	pfree(weights);
	return squares > 0 ? gain * weight / sqrt(squares) : 0;
}

/*
 * Validation tasks with more rows than shots, as many as there is memory for
 * what the parts say of them.
 */
static const Panel *
fit_panel(const BlendFit *fit, int shots)
{
	const Training *training = fit->training;
	Size		row = mul_size(fit->n_parts + 1, training->net.outputs) * sizeof(real) + sizeof(real) + sizeof(int);
	Size		room = (Size) maintenance_work_mem * 1024 / mul_size(BLEND_QUERY, row);
	const Panel *panel = panel_create(training->set, TASK_VALIDATION, training->options.seed,
									  shots, BLEND_TASKS, BLEND_QUERY);

	return room < (Size) panel->n_tasks ? panel_thin(panel, Max((int) room, 1)) : panel;
}

/* The weights at one number of support rows; false where a part's numbers are not finite. */
static bool
fit_shots(BlendFit *fit, int k)
{
	int			shots = fit->training->validation.shots[k];
	int			n = fit->n_parts;
	double	   *w = fit->weights[k];
	double		z;
	double		share;

	fit->panel = fit_panel(fit, shots);
	fit->n_tasks = Max(fit->n_tasks, fit->panel->n_tasks);
	if (!collect(fit, shots))
		return false;
	for (int i = 0; i < n; i++)
	{
		double		alone[BLEND_MAX_PARTS] = {0};

		alone[i] = 1;
		fit->losses[k][i] = blend_loss(fit, alone, NULL, NULL);
	}
	fit_weights(fit, w);
	z = gain_in_errors(fit, w);
	share = z > 0 ? Max(0, 1 - n / (z * z)) : 0;
	for (int i = 0; i < n; i++)
		w[i] = share * w[i] + (i == n - 1 ? 1 - share : 0);
	fit->blended[k] = blend_loss(fit, w, NULL, NULL);
	return true;
}

/* Leaves out the parts that hardly count; random_intercept takes their weight. */
static void
drop_light_parts(BlendFit *fit)
{
	for (int i = fit->n_parts - 2; i >= 0; i--)
	{
		double		most = 0;

		for (int k = 0; k < fit->n_shots; k++)
			most = Max(most, fit->weights[k][i]);
		if (most >= LEAST_WEIGHT)
			continue;
		for (int k = 0; k < fit->n_shots; k++)
		{
			double	   *w = fit->weights[k];

			w[fit->n_parts - 1] += w[i];
			for (int j = i; j < fit->n_parts - 1; j++)
			{
				w[j] = w[j + 1];
				fit->losses[k][j] = fit->losses[k][j + 1];
			}
		}
		for (int j = i; j < fit->n_parts - 1; j++)
			fit->parts[j] = fit->parts[j + 1];
		fit->n_parts--;
	}
}

static void
compose(const BlendFit *fit, Component *component)
{
	const Training *training = fit->training;
	LearnerPart *parts = palloc0(sizeof(LearnerPart) * fit->n_parts);
	double		weights[BLEND_KNOTS * BLEND_MAX_PARTS];
	int			max = 8;
	int			first = 0;

	memset(component, 0, sizeof(*component));
	component->learner = training->learner;
	component->prefix = pstrdup(component->learner->name);
	for (int i = 0; i < fit->n_parts; i++)
	{
		parts[i].learner = fit->parts[i].learner;
		parts[i].options = fit->parts[i].spec.options;
		max += fit->parts[i].list.n;
	}
	component->spec.net = training->net;
	component->spec.loss = training->loss;
	component->spec.options = training->options;
	component->spec.n_parts = fit->n_parts;
	component->spec.parts = parts;
	component->list.max = max;
	component->list.tensors = palloc0(mul_size(max, sizeof(Tensor)));
	if (!component->learner->layout(&component->spec, &component->list))
		elog(ERROR, "a blend has more than %d tensors", max);
	component->theta = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(component->list.size + 1, sizeof(real)));
	component->learner->initialise(&component->spec, &component->list, NULL, component->theta);
	for (int i = 0; i < fit->n_parts; i++)
	{
		memcpy(component->theta + component->list.tensors[first].offset, fit->parts[i].theta,
			   fit->parts[i].list.size * sizeof(real));
		first += fit->parts[i].list.n;
	}
	for (int k = 0; k < fit->n_shots; k++)
		for (int i = 0; i < fit->n_parts; i++)
			weights[k * fit->n_parts + i] = fit->weights[k][i];
	blend_set_weights(&component->spec, &component->list, component->theta, training->validation.shots,
					  fit->n_shots, weights);
}

/* Means over the shots. */
static double
mean_loss(const BlendFit *fit, int part)
{
	double		sum = 0;

	for (int k = 0; k < fit->n_shots; k++)
		sum += part < 0 ? fit->blended[k] : fit->losses[k][part];
	return sum / fit->n_shots;
}

static void
append_difference(StringInfo line, double loss, double safe)
{
	appendStringInfo(line, "%.1f %% %s", 100 * fabs(1 - loss / safe), loss > safe ? "above" : "below");
}

static void
note_choice(const BlendFit *fit, int n_trained)
{
	Training   *training = fit->training;
	double		safe = mean_loss(fit, fit->n_parts - 1);
	StringInfoData json;
	StringInfoData line;

	initStringInfo(&json);
	initStringInfo(&line);
	appendStringInfoString(&json, "{\"learners\": [");
	for (int i = 0; i < fit->n_parts; i++)
		appendStringInfo(&json, "%s\"%s\"", i > 0 ? ", " : "", fit->parts[i].learner->name);
	appendStringInfoString(&json, "], \"validation_loss\": {");
	for (int i = 0; i < fit->n_parts; i++)
		appendStringInfo(&json, "%s\"%s\": %.6g", i > 0 ? ", " : "", fit->parts[i].learner->name, mean_loss(fit, i));
	if (fit->n_parts > 1)
		appendStringInfo(&json, ", \"blend\": %.6g", mean_loss(fit, -1));
	appendStringInfoString(&json, "}, \"weights\": {");
	for (int k = 0; k < fit->n_shots; k++)
	{
		appendStringInfo(&json, "%s\"%d\": [", k > 0 ? ", " : "", training->validation.shots[k]);
		for (int i = 0; i < fit->n_parts; i++)
			appendStringInfo(&json, "%s%.3f", i > 0 ? ", " : "", fit->weights[k][i]);
		appendStringInfoChar(&json, ']');
	}
	appendStringInfoString(&json, "}}");
	training->choice = json.data;

	if (fit->n_parts == 1)
		appendStringInfo(&line, "None of the %d learners tried is surely better than random_intercept on %d validation tasks.",
						 n_trained, fit->n_tasks);
	else
	{
		for (int i = 0; i < fit->n_parts; i++)
			appendStringInfo(&line, "%s%s", i == 0 ? "" : i == fit->n_parts - 1 ? " and " : ", ",
							 fit->parts[i].learner->name);
		appendStringInfo(&line, " blended: on %d validation tasks the loss is ", fit->n_tasks);
		append_difference(&line, mean_loss(fit, -1), safe);
		appendStringInfoString(&line, " that of random_intercept alone (");
		for (int i = 0; i < fit->n_parts - 1; i++)
		{
			appendStringInfo(&line, "%s%s alone: ", i > 0 ? ", " : "", fit->parts[i].learner->name);
			append_difference(&line, mean_loss(fit, i), safe);
		}
		appendStringInfoString(&line, ").");
	}
	training->choice_line = line.data;
}

/* The candidates' results that can be used, random_intercept last. */
static void
gather_parts(BlendFit *fit)
{
	Training   *training = fit->training;

	for (int p = training->first_candidate; p < training->n_phases; p++)
		if (training->phases[p].iteration > 0 && isfinite(training->phases[p].best_loss))
			component_from_phase(&fit->parts[fit->n_parts++], &training->phases[p]);
	baseline_fit(training, learner_find("random_intercept"), &fit->parts[fit->n_parts++]);
}

/* The phase whose learner counts most in the blend: its figures are the training's. */
static void
find_main_phase(const BlendFit *fit)
{
	Training   *training = fit->training;
	double		most = 0;

	for (int i = 0; i < fit->n_parts - 1; i++)
	{
		double		sum = 0;

		for (int k = 0; k < fit->n_shots; k++)
			sum += fit->weights[k][i];
		if (sum <= most)
			continue;
		most = sum;
		for (int p = training->first_candidate; p < training->n_phases; p++)
			if (training->phases[p].learner == fit->parts[i].learner)
				training->main_phase = p;
	}
}

/* Of learners that nothing can be blended with: the one that validates best. */
static void
choose_one(Training *training, Component *component)
{
	training->main_phase = training->first_candidate;
	for (int p = training->first_candidate; p < training->n_phases; p++)
		if (training->phases[p].best_loss < training->phases[training->main_phase].best_loss)
			training->main_phase = p;
	component_from_phase(component, &training->phases[training->main_phase]);
	training->choice = psprintf("{\"learners\": [\"%s\"]}", component->learner->name);
	training->choice_line = psprintf("%s validates best.", component->learner->name);
}

void
blend_fit(Training *training, Component *component)
{
	BlendFit	fit = {0};
	int			n_trained;
	bool		finite = true;

	fit.training = training;
	fit.loss = training->loss;
	if (training->set->encoding->way > 0)
	{
		choose_one(training, component);
		return;
	}
	gather_parts(&fit);
	n_trained = fit.n_parts - 1;
	*component = fit.parts[n_trained];
	if (n_trained == 0 || training->validation.panel == NULL)
	{
		training->choice_line = "random_intercept: there are too few tasks, or was too little time, to tell that another learner is better.";
		return;
	}

	fit.n_shots = Min(training->validation.n_shots, BLEND_KNOTS);
	for (int k = 0; k < fit.n_shots && finite; k++)
	{
		MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta blend", ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(own);

		finite = fit_shots(&fit, k);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(own);
	}
	if (!finite)
	{
		training->choice_line = "random_intercept: what others predict of validation tasks is not finite.";
		return;
	}
	drop_light_parts(&fit);
	find_main_phase(&fit);
	note_choice(&fit, n_trained);
	if (fit.n_parts > 1)
		compose(&fit, component);
}
