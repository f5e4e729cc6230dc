/*
 * mann.c
 *	  A network with a memory beside it: a recurrent controller reads a task's
 *	  rows one after the other, with the answer to the row before, and writes
 *	  what it will need into a memory of fixed size.
 *
 *	  s_t = LSTM([x_t, v_{t-1}, r_{t-1}], s_{t-1})
 *	  k_t = tanh(h_t W_k + x_t W_x + b_k),  w^r_t = softmax_i(tau cos(k_t, M_{t-1}(i)))
 *	  r_t = sum_i w^r_t(i) M_{t-1}(i)
 *	  w^w_t = sigma(a_t) w^r_{t-1} + (1 - sigma(a_t)) w^lu_{t-1}
 *	  M_t = (M_{t-1}, its least used slot emptied) + w^w_t (k_t + v_t W_v)
 *	  w^u_t = gamma w^u_{t-1} + w^r_t + w^w_t,  w^lu_t: 1 for the least of w^u_t
 *
 * A. Santoro, S. Bartunov, M. Botvinick, D. Wierstra, T. Lillicrap,
 * "Meta-learning with memory-augmented neural networks", ICML 2016: least
 * recently used access.  The sums run over four heads, each with its own key k,
 * gate a and weights.
 *
 * An output is m(x) + [h_t, r_t] W, with the network's m; v_{t-1} is what m did
 * not know of the row before: its number less m(x), or its class, one-hot, less
 * the probability that m gave it.  In N-way episodes, where an output stands
 * for another class each time, there is no m, as in the paper.  The controller
 * sees a row as a layer of the network does, x_t = [hidden, in] W_s (space.c).
 *
 * The support is the sequence, and the state after it is what a task has of
 * its own.  A row to predict comes next: one step from that state, which
 * writes nothing.  As in the paper the outer loop descends the loss of all rows
 * in the sequence, each predicted before its answer is known.
 *
 * What is other than in the paper:
 *
 *	- A row is written when its answer is known, both into one slot.  There a
 *	  row is written as it comes, finds itself when it reads, and the next one,
 *	  which brings its answer, may add to the slot that was found.
 *	- A key sees the row itself, beside what the controller makes of it, so that
 *	  rows that look alike have keys that are alike from the beginning.
 *	- One slot is least used, not one for each head, so that a memory holds as
 *	  many rows as it has slots.  The gates begin with writing there.
 *	- tau is learned, since a cosine alone tells 128 slots hardly apart.
 *
 * The order of rows matters.  Going on from a state is what reading all rows at
 * once is.  A row's weight counts in the loss; to the sequence, rows of no
 * weight are none, and all others are alike.
 *
 * Options: features is the width of a row and of a slot, memory the slots,
 * context the width of the controller.
 */
#include "learn/space.h"

#include <math.h>
#include <string.h>

#include "learn/lstm_cell.h"
#include "learn/vars.h"

#define HEADS 4
#define USAGE_KEPT 0.95			/* gamma */
#define FIRST_SHARPNESS 5.0		/* tau */
#define FIRST_GATE (-3.0)		/* a: new rows go to slots of their own */
#define SHORT 1e-6				/* a square length, where slots are empty */

/* Positions after the network's and the space's tensors. */
enum
{
	CONTROLLER_ROW = 0,			/* an LSTM's, whose input is x_t */
	CONTROLLER_HIDDEN,
	CONTROLLER_BIAS,
	CONTROLLER_LAST,			/* (values, 4 context): of v_{t-1} */
	CONTROLLER_READ,			/* (HEADS features, 4 context): of r_{t-1} */
	KEY_WEIGHT,					/* (context, HEADS features) */
	KEY_ROW,					/* W_x: (features, HEADS features) */
	KEY_BIAS,
	KEY_ANSWER,					/* W_v: (values, HEADS features) */
	GATE_WEIGHT,				/* (context, HEADS) */
	GATE_BIAS,
	LOG_SHARPNESS,				/* (1, 1) log tau */
	OUTPUT_HIDDEN,				/* (context, outputs) */
	OUTPUT_READ,				/* (HEADS features, outputs) */

	/* a task's own */
	STATE_CONTROLLER,			/* (1, 2 context) */
	STATE_MEMORY,				/* M: (memory, features) */
	STATE_USAGE,				/* w^u: (1, memory) */
	STATE_WEIGHTS,				/* w^r: (HEADS, memory) */
	STATE_READ,					/* r: (1, HEADS features) */
	STATE_LAST					/* v: (1, values) */
};

static bool
mann_layout(const LearnerSpec *spec, TensorList *list)
{
	int			features = spec->options.features;
	int			width = spec->options.context;
	int			outputs = spec->net.outputs;
	int			slots = spec->options.memory;
	int			values = space_value_width(spec);
	int			read = HEADS * features;

	return space_layout(spec, list) &&
		lstm_layout(list, "controller", features, width) &&
		tensor_add(list, "controller.last.weight", values, 4 * width, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "controller.read.weight", read, 4 * width, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "key.weight", width, read, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "key.row.weight", features, read, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "key.bias", 1, read, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "key.answer.weight", values, read, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "gate.weight", width, HEADS, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "gate.bias", 1, HEADS, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "sharpness.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "output.hidden.weight", width, outputs, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "output.read.weight", read, outputs, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "state.controller", 1, 2 * width, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.memory", slots, features, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.usage", 1, slots, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.weights", HEADS, slots, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.read", 1, read, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.last", 1, values, TENSOR_STATE) >= 0;
}

/* The output begins at m, and a class of an episode is as likely as another. */
static void
mann_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[space_count(spec)];
	int			inputs = own[CONTROLLER_ROW].rows + own[CONTROLLER_LAST].rows + own[CONTROLLER_READ].rows;
	int			width = spec->options.context;
	double		shallow = sqrt(1.0 / (width > 0 ? width : 1));

	space_initialise(spec, list, rng, values);
	lstm_initialise(&own[CONTROLLER_ROW], rng, values);
	tensor_fill_normal(&own[CONTROLLER_LAST], sqrt(1.0 / (inputs + width)), rng, values);
	tensor_fill_normal(&own[CONTROLLER_READ], sqrt(1.0 / (inputs + width)), rng, values);
	tensor_fill_normal(&own[KEY_WEIGHT], shallow, rng, values);
	tensor_fill_normal(&own[KEY_ROW], sqrt(1.0 / own[KEY_ROW].rows), rng, values);
	tensor_fill_normal(&own[KEY_ANSWER], shallow, rng, values);
	tensor_fill_normal(&own[GATE_WEIGHT], shallow, rng, values);
	tensor_fill_normal(&own[OUTPUT_HIDDEN], 0.1 * shallow, rng, values);
	tensor_fill_normal(&own[OUTPUT_READ], 0.1 * sqrt(1.0 / own[OUTPUT_READ].rows), rng, values);
	for (int i = 0; i < HEADS; i++)
		values[own[GATE_BIAS].offset + i] = FIRST_GATE;
	values[own[LOG_SHARPNESS].offset] = scale_store(FIRST_SHARPNESS);
}

/* ---- the steps ---- */

/* What rows add to what a step makes of them, and m of them. */
typedef struct Seen
{
	Var			gates;			/* of the controller: (tasks, rows, 4 context) */
	Var			keys;			/* (tasks, rows, HEADS features) */
	Var			prior;			/* (tasks, rows, outputs), or TAPE_NONE */
} Seen;

/* What a step says, and what the next one needs to know of it. */
typedef struct Step
{
	Var			controller;		/* (tasks, rows, 2 context) */
	Var			keys;			/* (tasks, rows HEADS, features) */
	Var			weights;		/* w^r: (tasks, rows HEADS, memory) */
	Var			read;			/* (tasks, rows, HEADS features) */
	Var			output;			/* (tasks, rows, outputs), m left out */
} Step;

/* A step for each of some rows, all from the same state. */
static Step
step_rows(Tape *tape, const LearnerSpec *spec, const Var *own, const Var *state, const Seen *seen)
{
	int			rows = tape_shape(tape, seen->gates).rows;
	int			features = spec->options.features;
	Shape		memory = tape_shape(tape, state[STATE_MEMORY]);
	Var			before = tape_affine(tape, lstm_hidden(tape, state[STATE_CONTROLLER]), false, own[CONTROLLER_HIDDEN], false, TAPE_NONE);
	Var			hidden;
	Var			length;
	Step		step;

	before = tape_affine(tape, state[STATE_LAST], false, own[CONTROLLER_LAST], false, before);
	before = tape_affine(tape, state[STATE_READ], false, own[CONTROLLER_READ], false, before);
	step.controller = tape_lstm(tape, tape_axpy(tape, seen->gates, 1, before), state[STATE_CONTROLLER]);
	hidden = lstm_hidden(tape, step.controller);

	step.keys = tape_affine(tape, hidden, false, own[KEY_WEIGHT], false, seen->keys);
	step.keys = tape_reshape(tape, tape_unary(tape, UNARY_TANH, 0, step.keys), rows * HEADS, features);
	step.weights = tape_affine(tape, step.keys, false, state[STATE_MEMORY], true, TAPE_NONE);
	length = tape_sum(tape, tape_unary(tape, UNARY_SQUARE, 0, step.keys),
					  shape(tape_shape(tape, step.keys).tasks, rows * HEADS, 1));
	length = tape_unary(tape, UNARY_SQRT, 0, tape_scale(tape, length, 1, SHORT));
	step.weights = vars_divide(tape, tape_multiply(tape, step.weights, scale_value(tape, own[LOG_SHARPNESS])), length);
	length = tape_sum(tape, tape_unary(tape, UNARY_SQUARE, 0, state[STATE_MEMORY]), shape(memory.tasks, memory.rows, 1));
	length = tape_unary(tape, UNARY_SQRT, 0, tape_scale(tape, length, 1, SHORT));
	step.weights = tape_softmax(tape, vars_divide(tape, step.weights, tape_transpose(tape, length)));

	step.read = tape_affine(tape, step.weights, false, state[STATE_MEMORY], false, TAPE_NONE);
	step.read = tape_reshape(tape, step.read, rows, HEADS * features);
	step.output = tape_affine(tape, hidden, false, own[OUTPUT_HIDDEN], false, TAPE_NONE);
	step.output = tape_affine(tape, step.read, false, own[OUTPUT_READ], false, step.output);
	return step;
}

/*
 * The state after a step of one row, where present, (tasks, 1, 1), is 1; where
 * it is 0 the row is padding.  value is v of the row.
 */
static void
write_step(Tape *tape, const Var *own, const Step *step, Var present, Var value, Var *state)
{
	Var			least = tape_multiply(tape, tape_least(tape, state[STATE_USAGE]), present);
	Var			gate = tape_affine(tape, lstm_hidden(tape, step->controller), false, own[GATE_WEIGHT], false, own[GATE_BIAS]);
	Var			record = tape_affine(tape, value, false, own[KEY_ANSWER], false, TAPE_NONE);
	Var			written;
	Var			used;

	/* sigma(a) w^r + (1 - sigma(a)) w^lu, (tasks, HEADS, memory) */
	gate = tape_reshape(tape, tape_unary(tape, UNARY_SIGMOID, 0, gate), HEADS, 1);
	written = tape_axpy(tape, least, 1, tape_multiply(tape, gate, tape_axpy(tape, state[STATE_WEIGHTS], -1, least)));
	written = tape_multiply(tape, written, present);

	/* with the weights before this step */
	state[STATE_MEMORY] = tape_multiply(tape, state[STATE_MEMORY], tape_transpose(tape, tape_scale(tape, least, -1, 1)));
	record = tape_axpy(tape, step->keys, 1, tape_reshape(tape, record, HEADS, tape_shape(tape, step->keys).cols));
	state[STATE_MEMORY] = tape_affine(tape, written, true, record, false, state[STATE_MEMORY]);
	used = vars_sum_rows(tape, tape_axpy(tape, step->weights, 1, written));
	used = tape_axpy(tape, used, USAGE_KEPT, state[STATE_USAGE]);
	state[STATE_USAGE] = vars_choose(tape, present, used, state[STATE_USAGE]);
	state[STATE_WEIGHTS] = vars_choose(tape, present, step->weights, state[STATE_WEIGHTS]);
	state[STATE_READ] = vars_choose(tape, present, step->read, state[STATE_READ]);
	state[STATE_CONTROLLER] = vars_choose(tape, present, step->controller, state[STATE_CONTROLLER]);
	state[STATE_LAST] = vars_choose(tape, present, value, state[STATE_LAST]);
}

static Seen
see(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c)
{
	const Var  *own = theta + space_count(spec);
	Places		places = space_places(tape, spec, theta, x, c);
	Seen		seen;

	seen.gates = tape_affine(tape, places.at, false, own[CONTROLLER_ROW], false, own[CONTROLLER_BIAS]);
	seen.keys = tape_affine(tape, places.at, false, own[KEY_ROW], false, own[KEY_BIAS]);
	seen.prior = places.prior;
	return seen;
}

/*
 * Reads the support; said, where it is not NULL, gets what was said of each row
 * before its answer was known, (tasks, rows, outputs).
 */
static void
read_support(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const Var *theta, Var *phi, Var *said)
{
	const Var  *own = theta + space_count(spec);
	Var		   *state = phi + space_count(spec);
	Seen		seen = see(tape, spec, theta, support->x, support->c);
	int			rows = tape_shape(tape, support->w).rows;
	Var			gates = tape_transpose(tape, seen.gates);
	Var			keys = tape_transpose(tape, seen.keys);
	Var			present = tape_transpose(tape, vars_positive(tape, support->w));
	Var			values;
	Var			sum = TAPE_NONE;

	if (spec->loss == LOSS_SQUARED)
		values = tape_axpy(tape, support->y, -1, seen.prior);
	else
		values = tape_axpy(tape, space_truth(tape, spec, support->y), -1, space_expected(tape, spec, seen.prior));
	values = tape_transpose(tape, values);

	memcpy(phi, theta, list->n * sizeof(Var));
	for (int r = 0; r < rows && !tape->fault; r++)
	{
		Seen		row = {vars_row_of(tape, gates, r), vars_row_of(tape, keys, r), TAPE_NONE};
		Step		step = step_rows(tape, spec, own, state, &row);

		write_step(tape, own, &step, vars_slice(tape, present, r, 1), vars_row_of(tape, values, r), state);
		if (said != NULL)
		{
			Var			placed = tape_columns(tape, tape_transpose(tape, step.output), 0, 1, r, rows);

			sum = sum == TAPE_NONE ? placed : tape_axpy(tape, sum, 1, placed);
		}
	}
	if (said == NULL)
		return;
	*said = sum == TAPE_NONE ? TAPE_NONE : tape_transpose(tape, sum);
	if (sum != TAPE_NONE && seen.prior != TAPE_NONE)
		*said = tape_axpy(tape, *said, 1, seen.prior);
}

static void
mann_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
		   const RowVars *support, const Var *theta, Var *phi)
{
	read_support(tape, spec, list, support, theta, phi, NULL);
}

static Var
mann_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	const Var  *own = phi + space_count(spec);
	Seen		seen = see(tape, spec, phi, x, c);
	Step		step = step_rows(tape, spec, own, own, &seen);

	(void) list;
	return seen.prior == TAPE_NONE ? step.output : tape_axpy(tape, step.output, 1, seen.prior);
}

/* Mean over the rows of the support, in turn, and of the query. */
static Var
mann_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	Var		   *phi = arena_alloc(tape->arena, list->n, sizeof(Var));
	int			tasks = tape_shape(tape, query->w).tasks;
	Var			said = TAPE_NONE;
	Var			sum;
	Var			weight;
	Var			answer;

	(void) progress;
	(void) noise;
	if (phi == NULL)
	{
		tape->fault = "out of memory";
		return TAPE_NONE;
	}
	read_support(tape, spec, list, support, theta, phi, &said);
	answer = mann_predict(tape, spec, list, phi, query->x, query->c);
	sum = tape_sum(tape, tape_multiply(tape, loss_rows(tape, spec->loss, answer, query->y), query->w), shape(tasks, 1, 1));
	weight = vars_sum_rows(tape, query->w);
	if (said != TAPE_NONE)
	{
		Var			losses = tape_multiply(tape, loss_rows(tape, spec->loss, said, support->y), support->w);

		sum = tape_axpy(tape, sum, 1, tape_sum(tape, losses, shape(tasks, 1, 1)));
		weight = tape_axpy(tape, weight, 1, vars_sum_rows(tape, support->w));
	}
	/* 1e-30 turns 0 / 0 into 0 */
	return vars_divide(tape, sum, tape_scale(tape, weight, 1, 1e-30));
}

const Learner mann_learner = {
	.name = "mann",
	.summary = "reads the support rows in their order, and keeps what it needs in a memory: no gradients to adapt",
	.reference = "Santoro, Bartunov, Botvinick, Wierstra, Lillicrap 2016",
	.defaults = "features 40; context 200; memory 128; patience 20",
	.layout = mann_layout,
	.initialise = mann_initialise,
	.adapt = mann_adapt,
	.predict = mann_predict,
	.episode = mann_episode,
	.portion = 32,
	.flags = LEARNER_ADDITIVE,
};
