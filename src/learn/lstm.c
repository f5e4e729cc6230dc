/*
 * lstm.c
 *	  A meta-learner that is an LSTM: how a task's parameters move is learned.
 *
 *	  h_t = LSTM(h_{t-1}; prep(g_t), prep(L_t))
 *	  f_t = w_f [h_t, c_{t-1}, f_{t-1}] + b_f,   i_t likewise
 *	  c_t = sigma(f_t) c_{t-1} - sigma(i_t) g_t
 *	  prep(x) = (log|x| / p, sign x) where |x| > e^-p, else (-1, e^p x);  p = 10
 *
 * S. Ravi, H. Larochelle, "Optimization as a model for few-shot learning", ICLR
 * 2017.  c_t are the parameters of the network after t steps, c_0 is learned,
 * L_t and g_t are the loss of the support rows and its gradient at c_{t-1}.
 * With f_t large this is descent with the rate sigma(i_t), which is what it
 * begins with: b_f in (4, 5), b_i in (-5, -4), all else near 0.
 *
 * The weights are the same for every coordinate, each of which has an h, f and
 * i of its own: a step of a tensor is a product of as many rows as it has
 * numbers.  f_{t-1} and i_{t-1} are fed as they are before the sigmoid.  L_t
 * and g_t are constants to the outer gradient, so that it takes no second
 * derivatives.  A task without rows keeps c_0.
 *
 * A row far outside, as tables have them, makes a gradient hundreds of times as
 * long as others', a step of it makes the next one longer still, and five steps
 * leave what numbers can hold; g_t is in the outer gradient as well, as what the
 * gates are multiplied with.  So a task's gradient is kept from being longer
 * than LONGEST, all its tensors together and before anything sees it (R.
 * Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent
 * neural networks", ICML 2013); the option clip does the same to the outer one,
 * as in the paper.  How far a task can move in a step is then no more than that,
 * whatever its rows are.
 *
 * As in the other learners, tables of categories and the linear path are
 * learned by the outer loop alone, and where the number of rows varies a
 * gradient can be shrunken (see inner_loop.c).  The option context is the
 * width of the LSTM.
 */
#include "learn/inner_loop.h"

#include <math.h>
#include <string.h>

#include "learn/lstm_cell.h"
#include "learn/vars.h"

#define P 10.0

#define LONGEST 10.0			/* of a task's gradient, in units of the encoded target */

/* A task takes long to adapt to: so many tell one meta-iteration from another. */
#define VALIDATION_TASKS 100

#define FIRST_WEIGHT 0.01
#define FIRST_KEEP 4.0			/* b_f, and -b_i, are as much or up to 1 more */

/* Positions after the network's tensors. */
enum
{
	LSTM = 0,					/* its input is prep(g) */
	LSTM_LOSS = LSTM_TENSORS,	/* (2, 4 context) prep(L) */
	STEP_HIDDEN,				/* (context, 2): f and i, as all that follows */
	STEP_VALUE,					/* (1, 2) */
	STEP_LAST,					/* (1, 2) */
	STEP_BIAS					/* (1, 2) */
};

/* What a rule remembers of a tensor. */
enum
{
	STATE,						/* of its LSTM, (tasks, numbers, 2 context) */
	LAST						/* f and i before the sigmoid, (tasks, numbers, 2) */
};

static bool
lstm_layout_all(const LearnerSpec *spec, TensorList *list)
{
	int			width = spec->options.context;

	return network_learner_layout(spec, list) &&
		lstm_layout(list, "lstm", 2, width) &&
		tensor_add(list, "lstm.loss.weight", 2, 4 * width, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "step.hidden.weight", width, 2, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "step.value.weight", 1, 2, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "step.last.weight", 1, 2, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "step.bias", 1, 2, TENSOR_SHARED) >= 0 &&
		inner_layout(spec, list);
}

static void
lstm_initialise_all(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];
	real	   *bias = values + own[STEP_BIAS].offset;

	network_initialise(&spec->net, list, rng, values);
	for (int i = 0; i < STEP_BIAS; i++)
		for (size_t j = 0; j < (size_t) own[i].rows * own[i].cols; j++)
			values[own[i].offset + j] = FIRST_WEIGHT * (2 * rng_uniform(rng) - 1);
	bias[0] = FIRST_KEEP + rng_uniform(rng);
	bias[1] = -FIRST_KEEP - rng_uniform(rng);
}

/*
 * A column into two: log(max(x^2, e^-2p)) / 2p, and e^p x cut off at -1 and 1.
 */
static Var
prep(Tape *tape, Var x)
{
	double		least = exp(-2 * P);
	Var			size = tape_scale(tape, tape_unary(tape, UNARY_SQUARE, 0, x), 1, -least);
	Var			sign = tape_unary(tape, UNARY_RELU, 0, tape_scale(tape, x, exp(P), 1));

	size = tape_scale(tape, tape_unary(tape, UNARY_RELU, 0, size), 1, least);
	size = tape_scale(tape, tape_unary(tape, UNARY_LOG, 0, size), 1 / (2 * P), 0);
	sign = tape_unary(tape, UNARY_RELU, 0, tape_scale(tape, sign, -1, 2));
	return vars_concatenate(tape, size, tape_scale(tape, sign, -1, 1));
}

/* Half of two columns. */
static Var
half(Tape *tape, Var both, int which)
{
	return vars_slice(tape, both, which, 1);
}

static Var
lstm_rule(Tape *tape, const InnerStep *step, Var *memory)
{
	const Var  *own = step->theta + network_count(&step->spec->net);
	Shape		s = tape_shape(tape, step->value);
	int			n = s.rows * s.cols;
	Var			value = tape_reshape(tape, step->value, n, 1);
	Var			gradient = tape_reshape(tape, step->gradient, n, 1);
	Var			present = vars_positive(tape, vars_sum_rows(tape, step->rows));
	Var			gates;
	Var			both;
	Var			change;

	gates = tape_affine(tape, prep(tape, step->loss), false, own[LSTM_LOSS], false, own[LSTM + LSTM_BIAS]);
	gates = tape_affine(tape, prep(tape, tape_detach(tape, gradient)), false, own[LSTM + LSTM_INPUT], false, gates);
	if (memory[STATE] != TAPE_NONE)
		gates = tape_affine(tape, lstm_hidden(tape, memory[STATE]), false, own[LSTM + LSTM_HIDDEN], false, gates);
	memory[STATE] = tape_lstm(tape, gates, memory[STATE]);

	both = tape_affine(tape, lstm_hidden(tape, memory[STATE]), false, own[STEP_HIDDEN], false, own[STEP_BIAS]);
	both = tape_axpy(tape, both, 1, tape_multiply(tape, value, own[STEP_VALUE]));
	if (memory[LAST] != TAPE_NONE)
		both = tape_axpy(tape, both, 1, tape_multiply(tape, memory[LAST], own[STEP_LAST]));
	memory[LAST] = both;

	/* c_{t-1} - c_t = sigma(-f) c_{t-1} + sigma(i) g */
	change = tape_multiply(tape, tape_unary(tape, UNARY_SIGMOID, 0, tape_scale(tape, half(tape, both, 0), -1, 0)), value);
	change = tape_axpy(tape, change, 1, tape_multiply(tape, tape_unary(tape, UNARY_SIGMOID, 0, half(tape, both, 1)), gradient));
	change = tape_multiply(tape, change, present);
	return tape_axpy(tape, step->value, -1, tape_reshape(tape, change, s.rows, s.cols));
}

static const InnerLoop learned = {.kind = INNER_LEARNED, .rule = lstm_rule, .longest = LONGEST};

static void
lstm_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
		   const RowVars *support, const Var *theta, Var *phi)
{
	if (tape_shape(tape, support->w).rows == 0)
		memcpy(phi, theta, list->n * sizeof(Var));	/* which a task without rows keeps */
	else
		inner_loop(tape, spec, list, &learned, support, NULL, theta, phi);
}

static Var
lstm_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	(void) noise;
	return inner_losses(tape, spec, list, &learned, support, query, theta, progress);
}

const Learner lstm_learner = {
	.name = "lstm",
	.summary = "an LSTM that has learned how to move each parameter, from a learned start",
	.reference = "Ravi, Larochelle 2017",
	.defaults = "hidden [32]; context 20; clip 0.25; meta_batch 16",
	.layout = lstm_layout_all,
	.initialise = lstm_initialise_all,
	.begin = inner_begin,
	.adapt = lstm_adapt,
	.predict = network_learner_predict,
	.episode = lstm_episode,
	.validation_tasks = VALIDATION_TASKS,
};
