/*
 * matching.c
 *	  Matching networks: a row is predicted by the support rows that are like
 *	  it, which are kept as they are.
 *
 *	  a_i = softmax_i(log v_i + tau cos(f(x), g(x_i))),   a_0 of a prior slot
 *	  numbers:	m(x) + sum_i a_i (y_i - m(x_i))
 *	  classes:	m_k(x) + log(a_0 + sum_i a_i [y_i = k] / p_k(x_i))
 *
 * O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra,
 * "Matching networks for one shot learning", NeurIPS 2016, predict
 * p(k) = sum_i a_i [y_i = k].  A task of a table has fewer rows than that
 * wants, or none, and a network that knows something of anybody: m.  So the
 * softmax has one slot more, whose share a_0 goes to the prior; and what is
 * passed on from a support row is what m did not know: the residual of a
 * number, and of a class how many times as often it occurred as m expected,
 * p = softmax(m).  Without m, as in N-way episodes, where an output stands for
 * another class each time, p is 1 / N and this is the paper's mixture with a
 * share a_0 for the uniform.  With rows that are all alike it is a shrunken
 * mean: n / (n + c) of it for numbers, where c = e^(slot - tau).
 *
 * With full context embeddings (option full_context), support rows are seen
 * in the light of each other, and a row in the light of them:
 *
 *	  g = g' + forward LSTM(g') + backward LSTM(g')
 *	  h^_t, c_t = LSTM(f', [h_{t-1}, r_{t-1}], c_{t-1}),  h_t = h^_t + f'
 *	  r_t = sum_i softmax_i(h_t g_i) g_i,   f = h after some steps
 *
 * The memory holds g', so that a further row is added to it without a look at
 * the others; the LSTMs run when rows are predicted.  There, as in training,
 * rows are in the order in which they came.
 */
#include "learn/space.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "learn/lstm_cell.h"
#include "learn/vars.h"

#define READ_STEPS 3

/* tau at the start: near 0 all rows are alike, which is right for a table */
#define FIRST_SHARPNESS 1.0
#define FIRST_SHARPNESS_OF_EPISODES 10.0
#define FIRST_SLOT 1.5			/* of a table, where nothing better is known */

/*
 * p is mixed with this share of the uniform: a class that came quite
 * unexpected must not outweigh all other rows.
 */
#define LEAST_EXPECTED 0.1

/* Where row weights and squared lengths are 0 */
#define TINY 1e-30
#define SHORT 1e-6

/* Lost in any mixture, unless float has lost it already */
#define LEAST_SHARE 1e-12

/* Positions after the network's and the space's tensors. */
enum
{
	LOG_SHARPNESS,				/* (1, 1) log tau */
	SLOT,						/* (1, 1) the prior slot before the softmax */
	MEMORY,						/* (memory, 1 + values + features): weight,
								 * what is passed on, g' */

	/* of full context embeddings; gates in, forget, new, out */
	FORWARD_INPUT,				/* (features, 4 features) */
	FORWARD_HIDDEN,				/* (features, 4 features) */
	FORWARD_BIAS,				/* (1, 4 features) */
	BACKWARD_INPUT,
	BACKWARD_HIDDEN,
	BACKWARD_BIAS,
	READ_INPUT,
	READ_HIDDEN,
	READ_BIAS,
	READ_MEMORY					/* (features, 4 features) */
};

static const char *const lstm_names[] = {"forward", "backward", "read"};

/* Never fewer rows than training shows. */
static int
memory_room(const LearnerSpec *spec)
{
	const Options *options = &spec->options;
	double		shown = (double) options->shots[1] * (options->way > 0 ? options->way : 1);

	return shown > INT_MAX ? INT_MAX : shown > options->memory ? (int) shown : options->memory;
}

static bool
matching_layout(const LearnerSpec *spec, TensorList *list)
{
	int			features = spec->options.features;

	if (!space_layout(spec, list) ||
		tensor_add(list, "sharpness.bias", 1, 1, TENSOR_SHARED) < 0 ||
		tensor_add(list, "slot.bias", 1, 1, TENSOR_SHARED) < 0 ||
		tensor_add(list, "memory", memory_room(spec), 1 + space_value_width(spec) + features, TENSOR_MEMORY) < 0)
		return false;
	if (!spec->options.full_context)
		return true;
	for (int i = 0; i < 3; i++)
		if (!lstm_layout(list, lstm_names[i], features, features))
			return false;
	return tensor_add(list, "read.memory.weight", features, 4 * features, TENSOR_SHARED) >= 0;
}

static void
matching_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[space_count(spec)];
	int			features = spec->options.features;
	double		sharpness = spec->options.way > 0 ? FIRST_SHARPNESS_OF_EPISODES : FIRST_SHARPNESS;

	space_initialise(spec, list, rng, values);
	values[own[LOG_SHARPNESS].offset] = scale_store(sharpness);
	values[own[SLOT].offset] = spec->options.way > 0 ? 0 : FIRST_SLOT;
	if (!spec->options.full_context)
		return;
	for (int i = FORWARD_INPUT; i < READ_MEMORY; i += LSTM_TENSORS)
		lstm_initialise(&own[i], rng, values);
	tensor_fill_normal(&own[READ_MEMORY], sqrt(0.5 / features), rng, values);
}

/*
 * While all rows are alike, a number's residuals are shrunk as a random
 * intercept's, n / (n + within / between); a logit's, at probabilities of a
 * half, by four times as many rows.
 */
static void
matching_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values)
{
	double		rows = within / between * (spec->loss == LOSS_SQUARED ? 1 : 4);

	values[list->tensors[space_count(spec) + SLOT].offset] = log(rows);
}

static void
matching_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			   const RowVars *support, const Var *theta, Var *phi)
{
	Places		places = space_places(tape, spec, theta, support->x, support->c);
	Var			value;

	memcpy(phi, theta, list->n * sizeof(Var));
	if (spec->loss == LOSS_SQUARED)
		value = tape_axpy(tape, support->y, -1, places.prior);
	else
	{
		Var			expected = space_expected(tape, spec, places.prior);

		if (spec->options.way == 0)
			expected = tape_scale(tape, expected, 1 - LEAST_EXPECTED, LEAST_EXPECTED / space_classes(spec));
		value = vars_divide(tape, space_truth(tape, spec, support->y), expected);
	}
	phi[space_count(spec) + MEMORY] =
		vars_concatenate(tape, support->w, vars_concatenate(tape, value, places.at));
}

/* ---- full context embeddings ---- */

/*
 * Adds what an LSTM that runs over the rows says of each to the transposed sum
 * (tasks, features, rows).  Rows without weight are passed over: they are
 * padding.
 */
static Var
add_context(Tape *tape, const Var *lstm, Var rows, Var weight, bool backward, Var sum)
{
	Shape		s = tape_shape(tape, rows);
	Var			gates = tape_transpose(tape, tape_affine(tape, rows, false, lstm[0], false, lstm[2]));
	Var			mask = tape_transpose(tape, tape_unary(tape, UNARY_RELU, 1, weight));
	Var			last = lstm_zero(tape, s.cols);

	for (int step = 0; step < s.rows; step++)
	{
		int			i = backward ? s.rows - 1 - step : step;
		Var			here = vars_slice(tape, mask, i, 1);
		Var			sums = tape_affine(tape, lstm_hidden(tape, last), false, lstm[1], false, vars_row_of(tape, gates, i));

		last = vars_choose(tape, here, tape_lstm(tape, sums, last), last);
		sum = tape_axpy(tape, sum, 1, tape_columns(tape, tape_transpose(tape, lstm_hidden(tape, last)), 0, 1, i, s.rows));
	}
	return sum;
}

/* g of all rows of the memory, from g' */
static Var
see_memory(Tape *tape, const Var *own, Var rows, Var weight)
{
	Var			sum = tape_transpose(tape, rows);

	sum = add_context(tape, own + FORWARD_INPUT, rows, weight, false, sum);
	sum = add_context(tape, own + BACKWARD_INPUT, rows, weight, true, sum);
	return tape_transpose(tape, sum);
}

/* Shares of the memory's rows, and of the slot in the last column. */
static Var
shares(Tape *tape, Var likeness, Var log_weight, Var slot)
{
	Shape		s = tape_shape(tape, likeness);

	likeness = tape_axpy(tape, likeness, 1, log_weight);
	slot = tape_expand(tape, slot, shape(s.tasks, s.rows, 1));
	return tape_softmax(tape, vars_concatenate(tape, likeness, slot));
}

static Var
memory_share(Tape *tape, Var all)
{
	int			rows = tape_shape(tape, all).cols - 1;

	return vars_slice(tape, all, 0, rows);
}

/* f of rows to predict, from f', as the memory's rows g make them look */
static Var
see_rows(Tape *tape, const Var *own, Var rows, Var memory, Var log_weight)
{
	Var			input = tape_affine(tape, rows, false, own[READ_INPUT], false, own[READ_BIAS]);
	Var			nothing = tape_constant(tape, 0);
	Var			gates = input;
	Var			state = TAPE_NONE;
	Var			seen = rows;
	double		scale = 1 / sqrt(tape_shape(tape, rows).cols > 0 ? tape_shape(tape, rows).cols : 1);

	for (int step = 0; step < READ_STEPS; step++)
	{
		Var			read;

		state = tape_lstm(tape, gates, state);
		seen = tape_axpy(tape, lstm_hidden(tape, state), 1, rows);
		if (step == READ_STEPS - 1)
			break;
		read = tape_scale(tape, tape_affine(tape, seen, false, memory, true, TAPE_NONE), scale, 0);
		read = memory_share(tape, shares(tape, read, log_weight, nothing));
		read = tape_affine(tape, read, false, memory, false, TAPE_NONE);
		gates = tape_affine(tape, seen, false, own[READ_HIDDEN], false, input);
		gates = tape_affine(tape, read, false, own[READ_MEMORY], false, gates);
	}
	return seen;
}

/* ---- prediction ---- */

/* Rows of length 1 */
static Var
normalised(Tape *tape, Var a)
{
	Shape		s = tape_shape(tape, a);
	Var			square = tape_sum(tape, tape_unary(tape, UNARY_SQUARE, 0, a), shape(s.tasks, s.rows, 1));

	return vars_divide(tape, a, tape_unary(tape, UNARY_SQRT, 0, tape_scale(tape, square, 1, SHORT)));
}

static Var
matching_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list,
				 const Var *phi, Var x, Var c)
{
	const Var  *own = phi + space_count(spec);
	Places		places = space_places(tape, spec, phi, x, c);
	int			width = space_value_width(spec);
	int			features = spec->options.features;
	Var			weight = tape_detach(tape, vars_slice(tape, own[MEMORY], 0, 1));
	Var			value = vars_slice(tape, own[MEMORY], 1, width);
	Var			memory = vars_slice(tape, own[MEMORY], 1 + width, features);
	Var			rows = places.at;
	Var			log_weight;
	Var			all;
	Var			passed;
	int			slot;

	(void) list;
	log_weight = tape_transpose(tape, tape_unary(tape, UNARY_LOG, 0, tape_scale(tape, weight, 1, TINY)));
	if (spec->options.full_context)
	{
		memory = see_memory(tape, own, memory, weight);
		rows = see_rows(tape, own, rows, memory, log_weight);
	}
	all = tape_affine(tape, normalised(tape, rows), false, normalised(tape, memory), true, TAPE_NONE);
	all = tape_multiply(tape, all, scale_value(tape, own[LOG_SHARPNESS]));
	all = shares(tape, all, log_weight, own[SLOT]);
	passed = tape_affine(tape, memory_share(tape, all), false, value, false, TAPE_NONE);
	if (spec->loss == LOSS_SQUARED)
		return tape_axpy(tape, places.prior, 1, passed);
	slot = tape_shape(tape, all).cols - 1;
	passed = tape_axpy(tape, passed, 1, vars_slice(tape, all, slot, 1));
	return space_outputs(tape, spec, places.prior,
						 tape_unary(tape, UNARY_LOG, 0, tape_scale(tape, passed, 1, LEAST_SHARE)));
}

const Learner matching_learner = {
	.name = "matching",
	.summary = "attention over the support rows, which are kept: no gradients to adapt",
	.reference = "Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra 2016",
	.defaults = "features 32; patience 20",
	.layout = matching_layout,
	.initialise = matching_initialise,
	.begin = matching_begin,
	.adapt = matching_adapt,
	.predict = matching_predict,
	.flags = LEARNER_ADDITIVE,
};
