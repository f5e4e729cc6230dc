/*
 * blend.c
 *	  Several learners as one: a mean of their outputs, weighted by how many
 *	  rows a task has adapted on.
 *
 *	  out(x) = sum_i w_i(k) out_i(x),	 sum_i w_i(k) = 1,	w_i(k) >= 0
 *
 * The parts are adapted side by side, each with tensors of its own, and know
 * nothing of each other.  Which they are, and the weights, is settled on
 * validation tasks once they have been trained (train/blend_fit.c): no single
 * learner is best at every k, and a mean errs less than its members do when
 * they err differently.  Between the knots weights are linear in log(1 + k):
 *
 *	  w(k) = level + sum_j slope_j max(0, log(1 + k) - knot_j)
 *
 * Logits are averaged, not probabilities.  Outcomes of numbers have the
 * variance of the mixture: sum_i w_i (v_i + (out_i - out)^2).
 */
#include "learn/blend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "learn/vars.h"

/* Positions after the tensors of all parts. */
enum
{
	BLEND_LEVEL,				/* (1, parts) weights at 0 rows */
	BLEND_SLOPE,				/* (BLEND_KNOTS, parts) */
	BLEND_KNOT,					/* (1, BLEND_KNOTS) */
	BLEND_ROWS,					/* (1, 1) rows adapted on */
	BLEND_TENSORS
};

/* A part as a learner of its own. */
typedef struct Part
{
	const Learner *learner;
	LearnerSpec spec;
	TensorList	list;			/* as if it stood alone */
	int			first;			/* of its tensors in the blend's list */
} Part;

static LearnerSpec
part_spec(const LearnerSpec *spec, int i)
{
	LearnerSpec own = *spec;

	own.options = spec->parts[i].options;
	own.n_parts = 0;
	own.parts = NULL;
	return own;
}

/* The parts of a blend; they and their lists live as long as the tape. */
static Part *
find_parts(Tape *tape, const LearnerSpec *spec, const TensorList *list)
{
	Part	   *parts = arena_alloc(tape->arena, spec->n_parts + 1, sizeof(Part));
	Tensor	   *tensors = arena_alloc(tape->arena, list->n, sizeof(Tensor));
	int			first = 0;

	if (parts == NULL || tensors == NULL)
	{
		tape->fault = "out of memory";
		return NULL;
	}
	for (int i = 0; i < spec->n_parts; i++)
	{
		Part	   *part = &parts[i];

		part->learner = spec->parts[i].learner;
		part->spec = part_spec(spec, i);
		part->list.tensors = tensors + first;
		part->list.max = list->n - first;
		part->first = first;
		part->learner->layout(&part->spec, &part->list);
		first += part->list.n;
	}
	return parts;
}

static bool
blend_layout(const LearnerSpec *spec, TensorList *list)
{
	for (int i = 0; i < spec->n_parts; i++)
	{
		LearnerSpec own = part_spec(spec, i);
		const Learner *learner = spec->parts[i].learner;
		int			first = list->n;

		if (!learner->layout(&own, list))
			return false;
		for (int j = first; j < list->n; j++)
		{
			char		name[TENSOR_NAME_LENGTH];

			if (snprintf(name, sizeof(name), "%s.%s", learner->name, list->tensors[j].name) >= (int) sizeof(name))
				return false;
			memcpy(list->tensors[j].name, name, sizeof(name));
		}
	}
	return spec->n_parts > 0 &&
		tensor_add(list, "blend.level", 1, spec->n_parts, TENSOR_FIXED) >= 0 &&
		tensor_add(list, "blend.slope", BLEND_KNOTS, spec->n_parts, TENSOR_FIXED) >= 0 &&
		tensor_add(list, "blend.knot", 1, BLEND_KNOTS, TENSOR_FIXED) >= 0 &&
		tensor_add(list, "blend.rows", 1, 1, TENSOR_STATE) >= 0;
}

/* Parts have values once they have been trained: they are copied in. */
static void
blend_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[list->n - BLEND_TENSORS];

	(void) rng;
	memset(values, 0, list->size * sizeof(real));
	for (int i = 0; i < spec->n_parts; i++)
		values[own[BLEND_LEVEL].offset + i] = (real) 1 / spec->n_parts;
}

void
blend_set_weights(const LearnerSpec *spec, const TensorList *list, real *values,
				  const int *shots, int n_shots, const double *weights)
{
	const Tensor *own = &list->tensors[list->n - BLEND_TENSORS];
	int			n = spec->n_parts;
	real	   *level = values + own[BLEND_LEVEL].offset;
	real	   *slope = values + own[BLEND_SLOPE].offset;
	real	   *knot = values + own[BLEND_KNOT].offset;

	memset(slope, 0, (size_t) BLEND_KNOTS * n * sizeof(real));
	for (int j = 0; j < BLEND_KNOTS; j++)
		knot[j] = log1p(shots[j < n_shots ? j : n_shots - 1]);
	for (int i = 0; i < n; i++)
	{
		double		before = 0;

		level[i] = weights[i];
		for (int j = 0; j < n_shots; j++)
		{
			/* flat before the first knot and from the last one on */
			double		next = j == n_shots - 1 ? 0 :
				(weights[(j + 1) * n + i] - weights[j * n + i]) / (log1p(shots[j + 1]) - log1p(shots[j]));

			slope[j * n + i] = next - before;
			before = next;
		}
	}
}

static void
blend_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			const RowVars *support, const Var *theta, Var *phi)
{
	const Part *parts = find_parts(tape, spec, list);
	int			rows = list->n - BLEND_TENSORS + BLEND_ROWS;

	if (parts == NULL)
		return;
	for (int i = list->n - BLEND_TENSORS; i < list->n; i++)
		phi[i] = theta[i];
	for (int i = 0; i < spec->n_parts; i++)
		parts[i].learner->adapt(tape, &parts[i].spec, &parts[i].list, support,
								theta + parts[i].first, phi + parts[i].first);
	phi[rows] = tape_axpy(tape, theta[rows], 1, vars_count_rows(tape, support->w));
}

/* w(k), (tasks, 1, parts) */
static Var
weights_of(Tape *tape, const Var *own)
{
	Var			k = tape_unary(tape, UNARY_LOG, 0, tape_scale(tape, own[BLEND_ROWS], 1, 1));

	k = tape_unary(tape, UNARY_RELU, 0, tape_axpy(tape, k, -1, own[BLEND_KNOT]));
	return tape_affine(tape, k, false, own[BLEND_SLOPE], false, own[BLEND_LEVEL]);
}

static Var
blend_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	const Part *parts = find_parts(tape, spec, list);
	Var			weights;
	Var			sum = TAPE_NONE;

	if (parts == NULL)
		return TAPE_NONE;
	weights = weights_of(tape, phi + list->n - BLEND_TENSORS);
	for (int i = 0; i < spec->n_parts; i++)
	{
		const Part *part = &parts[i];
		Var			out = part->learner->predict(tape, &part->spec, &part->list, phi + part->first, x, c);

		out = tape_multiply(tape, out, vars_slice(tape, weights, i, 1));
		sum = sum == TAPE_NONE ? out : tape_axpy(tape, sum, 1, out);
	}
	return sum;
}

static Var
blend_variance(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	const Part *parts = find_parts(tape, spec, list);
	Var			mean = blend_predict(tape, spec, list, phi, x, c);
	Var			weights;
	Var			sum = TAPE_NONE;

	if (parts == NULL)
		return TAPE_NONE;
	weights = weights_of(tape, phi + list->n - BLEND_TENSORS);
	for (int i = 0; i < spec->n_parts; i++)
	{
		const Part *part = &parts[i];
		Var			out = part->learner->predict(tape, &part->spec, &part->list, phi + part->first, x, c);
		Var			spread = part->learner->variance(tape, &part->spec, &part->list, phi + part->first, x, c);

		spread = tape_axpy(tape, spread, 1, tape_unary(tape, UNARY_SQUARE, 0, tape_axpy(tape, out, -1, mean)));
		spread = tape_multiply(tape, spread, vars_slice(tape, weights, i, 1));
		sum = sum == TAPE_NONE ? spread : tape_axpy(tape, sum, 1, spread);
	}
	return sum;
}

const Learner auto_learner = {
	.name = "auto",
	.summary = "trains the learners that suit the data and blends them with random_intercept, as validation tasks decide",
	.layout = blend_layout,
	.initialise = blend_initialise,
	.adapt = blend_adapt,
	.predict = blend_predict,
	.variance = blend_variance,
	.flags = LEARNER_ADDITIVE | LEARNER_BLEND,
};
