/*
 * prototypical.c
 *	  Prototypical networks: a class is the mean of its rows, in a learned
 *	  space, and a row belongs where it is nearest.
 *
 *	  c_k = (c p_k + sum_{y = k} v f(x)) / (c + n_k),   n_k = sum_{y = k} v
 *	  p(k | x) ~ exp(-||f(x) - c_k||^2)
 *
 * J. Snell, K. Swersky, R. Zemel, "Prototypical networks for few-shot
 * learning", NeurIPS 2017, is the case c = 0.  A learned c shrinks prototypes
 * towards the prior ones, p_k, as the mean of a normal posterior is: a class
 * that the support lacks keeps its prior prototype, and no rows give the
 * prior.  All a task needs are sums over its rows, so adapting further is
 * adding to them.
 *
 * Where a task's classes are fixed, distances alone would forget what the
 * network knows of anybody (m), and how often a class occurred in the task.
 * With delta_k = c_k - p_k, and the rows of class k that the network expected,
 * E_k = sum v m_k(x), the output is
 *
 *	  m_k(x) + log((n_k + a) / (E_k + a)) + ||f(x) - p_k||^2 - ||f(x) - c_k||^2
 *	=  m_k(x) + log((n_k + a) / (E_k + a)) + 2 f(x) delta_k - delta_k (2 p_k + delta_k)
 *
 * whose second term is the shrunken ratio of observed to expected counts
 * (Poisson counts with a gamma prior), and whose distances to p_k say nothing
 * that m could not.  In N-way episodes an output stands for another class
 * each time: there is no m, no ratio, and one p for all of them, which is
 * common to all scores and takes no side.
 */
#include "learn/space.h"

#include <math.h>
#include <string.h>

#include "learn/vars.h"

#define FIRST_COUNT 3.0			/* c */
#define FIRST_COUNT_OF_EPISODES 0.1
#define FIRST_EXPECTED 5.0		/* a */

/* Positions after the network's and the space's tensors. */
enum
{
	LOG_COUNT,					/* (1, 1) log c */
	LOG_EXPECTED,				/* (1, 1) log a */
	PRIOR,						/* p: (classes, features); (1, features) in
								 * episodes */
	STATE_SUMS,					/* (classes, features) sums of f(x) */
	STATE_ROWS,					/* n: (classes, 1) */
	STATE_EXPECTED				/* E: (classes, 1) */
};

static bool
prototypical_layout(const LearnerSpec *spec, TensorList *list)
{
	int			features = spec->options.features;
	int			classes = space_classes(spec);

	return space_layout(spec, list) &&
		tensor_add(list, "count.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "expected.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "prototype.prior", spec->options.way > 0 ? 1 : classes, features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "prototype.sums", classes, features, TENSOR_STATE) >= 0 &&
		tensor_add(list, "prototype.rows", classes, 1, TENSOR_STATE) >= 0 &&
		tensor_add(list, "prototype.expected", classes, 1, TENSOR_STATE) >= 0;
}

static void
prototypical_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[space_count(spec)];

	space_initialise(spec, list, rng, values);
	values[own[LOG_COUNT].offset] = scale_store(spec->options.way > 0 ? FIRST_COUNT_OF_EPISODES : FIRST_COUNT);
	values[own[LOG_EXPECTED].offset] = scale_store(FIRST_EXPECTED);
}

/*
 * The logarithm of a ratio whose prior counts a rows varies by about 1 / a,
 * and a logit is the difference of two.
 */
static void
prototypical_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values)
{
	values[list->tensors[space_count(spec) + LOG_EXPECTED].offset] = scale_store(2 * within / between);
}

static void
prototypical_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
				   const RowVars *support, const Var *theta, Var *phi)
{
	const Var  *own = theta + space_count(spec);
	Var		   *out = phi + space_count(spec);
	Places		places = space_places(tape, spec, theta, support->x, support->c);
	Var			truth = tape_multiply(tape, space_truth(tape, spec, support->y), support->w);
	Var			expected;

	memcpy(phi, theta, list->n * sizeof(Var));
	out[STATE_SUMS] = tape_affine(tape, truth, true, places.at, false, own[STATE_SUMS]);
	out[STATE_ROWS] = tape_axpy(tape, own[STATE_ROWS], 1, tape_transpose(tape, vars_sum_rows(tape, truth)));
	if (spec->options.way > 0)
		return;
	expected = tape_multiply(tape, space_expected(tape, spec, places.prior), support->w);
	out[STATE_EXPECTED] = tape_axpy(tape, own[STATE_EXPECTED], 1, tape_transpose(tape, vars_sum_rows(tape, expected)));
}

/* log((n + a) / (E + a)), (tasks, 1, classes) */
static Var
log_ratio(Tape *tape, const Var *own)
{
	Var			a = scale_value(tape, own[LOG_EXPECTED]);
	Var			rows = tape_unary(tape, UNARY_LOG, 0, tape_axpy(tape, own[STATE_ROWS], 1, a));
	Var			expected = tape_unary(tape, UNARY_LOG, 0, tape_axpy(tape, own[STATE_EXPECTED], 1, a));

	return tape_transpose(tape, tape_axpy(tape, rows, -1, expected));
}

static Var
prototypical_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list,
					 const Var *phi, Var x, Var c)
{
	const Var  *own = phi + space_count(spec);
	Places		places = space_places(tape, spec, phi, x, c);
	Var			rows = own[STATE_ROWS];
	Var			delta;
	Var			offset;
	Var			scores;
	Shape		s;

	(void) list;
	/* delta = (sums - n p) / (n + c), (tasks, classes, features) */
	delta = tape_axpy(tape, own[STATE_SUMS], -1, tape_multiply(tape, rows, own[PRIOR]));
	delta = vars_divide(tape, delta, tape_axpy(tape, rows, 1, scale_value(tape, own[LOG_COUNT])));
	s = tape_shape(tape, delta);
	offset = tape_multiply(tape, delta, tape_axpy(tape, delta, 2, own[PRIOR]));
	offset = tape_transpose(tape, tape_sum(tape, offset, shape(s.tasks, s.rows, 1)));
	scores = tape_affine(tape, places.at, false, tape_scale(tape, delta, 2, 0), true,
						 tape_scale(tape, offset, -1, 0));
	if (spec->options.way == 0)
		scores = tape_axpy(tape, scores, 1, log_ratio(tape, own));
	return space_outputs(tape, spec, places.prior, scores);
}

const Learner prototypical_learner = {
	.name = "prototypical",
	.summary = "a class is the mean of its rows in a learned space: sums and counts, no gradients to adapt",
	.reference = "Snell, Swersky, Zemel 2017",
	.defaults = "features 32; patience 20",
	.layout = prototypical_layout,
	.initialise = prototypical_initialise,
	.begin = prototypical_begin,
	.adapt = prototypical_adapt,
	.predict = prototypical_predict,
	.prototypes = "prototype.sums",
	.prototype_rows = "prototype.rows",
	.flags = LEARNER_ADDITIVE | LEARNER_NO_NUMBERS,
};
