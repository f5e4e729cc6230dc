/*
 * inner_loop.c
 *	  Gradient steps on one task's rows, as nodes of a tape.
 *
 *	  phi <- phi - inner_lr r_s a  k / (k + c)  grad L(phi)
 *
 * L is the mean loss of the task's k rows (their total weight).  The factors
 * are 1 unless a learner's options or the learner itself have them learned:
 *
 *	  r_s	a rate per tensor and step, and with it the outer loss of all steps
 *			(A. Antoniou, H. Edwards, A. Storkey, "How to train your MAML", ICLR
 *			2019)
 *	  a		a rate per number (Meta-SGD, see meta_sgd.c)
 *	  c		rows it takes until a step is half as long as one on very many.
 *			With the mean alone a step on one row is as long as one on twenty;
 *			a shrunken mean, as empirical Bayes has it, is not.
 */
#include "learn/inner_loop.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "learn/vars.h"

/* Reptile's inner optimiser: Adam without momentum. */
#define ADAM_BETA2 0.999
#define ADAM_EPSILON 1e-8

/* Factors of the steps are stored so much smaller: they learn faster. */
#define FACTOR_SCALE 10.0

#define SHRINK_START 3.0
#define LEAST_SHRINKAGE 1e-20

/* MAML++: losses of all steps count in the first share of the iterations. */
#define MULTI_STEP_SHARE 0.1
#define MULTI_STEP_LEAST 0.03

#define RATE "rate."
#define STEP_RATE "step_rate."
#define SHRINK "shrink"

/* ---- layout ---- */

bool
network_learner_layout(const LearnerSpec *spec, TensorList *list)
{
	return network_layout(&spec->net, TENSOR_ADAPTED, TENSOR_SHARED, list);
}

void
network_learner_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	network_initialise(&spec->net, list, rng, values);
}

Var
network_learner_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list,
						const Var *phi, Var x, Var c)
{
	(void) list;
	return network_forward(tape, &spec->net, phi, x, c);
}

/* Do the steps move it? */
static bool
is_moved(const Tensor *tensor)
{
	return tensor->role == TENSOR_ADAPTED || tensor->role == TENSOR_STATE;
}

static bool
add_named_after(TensorList *list, const char *prefix, const char *name, int rows, int cols)
{
	char		full[TENSOR_NAME_LENGTH + sizeof(STEP_RATE)];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return tensor_add(list, full, rows, cols, TENSOR_SHARED) >= 0;
}

bool
inner_layout(const LearnerSpec *spec, TensorList *list)
{
	int			n = list->n;

	for (int i = 0; i < n && spec->options.step_rates; i++)
		if (is_moved(&list->tensors[i]) &&
			!add_named_after(list, STEP_RATE, list->tensors[i].name, 1, spec->options.inner_steps))
			return false;
	return spec->options.inner_loss != INNER_LOSS_SHRUNK || tensor_add(list, SHRINK, 1, 1, TENSOR_SHARED) >= 0;
}

bool
inner_layout_elementwise(const LearnerSpec *spec, TensorList *list)
{
	int			n = list->n;

	for (int i = 0; i < n; i++)
		if (is_moved(&list->tensors[i]) &&
			!add_named_after(list, RATE, list->tensors[i].name, list->tensors[i].rows, list->tensors[i].cols))
			return false;
	return inner_layout(spec, list);
}

/* The tensor that is learned about another one, or TAPE_NONE. */
static Var
learned_about(const TensorList *list, const Var *theta, const char *prefix, const char *name)
{
	char		full[TENSOR_NAME_LENGTH + sizeof(STEP_RATE)];
	int			i;

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	i = tensor_find(list, full);
	return i < 0 ? TAPE_NONE : theta[i];
}

void
inner_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values)
{
	int			i = tensor_find(list, SHRINK);

	if (i >= 0)
		values[list->tensors[i].offset] = scale_store(within / between / SHRINK_START);
}

/* ---- rows ---- */

/* A task's rows, with all about them that no step changes. */
typedef struct SeenRows
{
	const RowVars *rows;
	NetworkInput input;			/* categories are looked up once: no task
								 * adapts their tables */
	Var			linear;			/* the linear path; TAPE_NONE: there is none,
								 * or steps change it */
	Var			hidden;			/* the last hidden layer; TAPE_NONE: steps
								 * change it */
	bool		steps_linear;	/* do they? */
} SeenRows;

static bool
is_adapted(const TensorList *list, const char *name)
{
	int			i = tensor_find(list, name);

	return i >= 0 && list->tensors[i].role == TENSOR_ADAPTED;
}

static SeenRows
see_rows(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
		 const RowVars *rows, const Var *theta)
{
	const Network *net = &spec->net;
	SeenRows	seen;

	seen.rows = rows;
	seen.input = network_input(tape, net, theta, rows->x, rows->c);
	seen.steps_linear = is_adapted(list, "skip.weight");
	seen.linear = seen.steps_linear ? TAPE_NONE : network_linear(tape, net, theta, &seen.input);
	seen.hidden = loop->view || is_adapted(list, "layer.0.weight") ? TAPE_NONE :
		network_hidden(tape, net, theta, &seen.input);
	return seen;
}

/* Mean loss of rows under phi; vars: room for a Var per tensor. */
static Var
seen_loss(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
		  const SeenRows *seen, const Var *phi, Var *vars)
{
	const Network *net = &spec->net;
	Var			hidden;
	Var			linear;

	if (loop->view)
	{
		loop->view(tape, spec, list, phi, vars);
		phi = vars;
	}
	hidden = seen->hidden != TAPE_NONE ? seen->hidden : network_hidden(tape, net, phi, &seen->input);
	linear = seen->steps_linear ? network_linear(tape, net, phi, &seen->input) : seen->linear;
	return loss_mean(tape, spec->loss, network_head(tape, net, phi, hidden, linear), seen->rows->y, seen->rows->w);
}

/* ---- steps ---- */

/* k / (k + c), (tasks, 1, 1); TAPE_NONE where no c is learned */
static Var
shrinkage(Tape *tape, const TensorList *list, const Var *theta, const RowVars *rows)
{
	Var			v = learned_about(list, theta, SHRINK, "");
	Var			k;
	Var			c;

	if (v == TAPE_NONE)
		return TAPE_NONE;
	k = vars_sum_rows(tape, rows->w);
	c = tape_scale(tape, scale_value(tape, v), SHRINK_START, 0);
	return vars_divide(tape, k, tape_axpy(tape, k, 1, c));
}

/* g / (sqrt(v / (1 - beta2^t)) + eps), with v updated in *moment */
static Var
adam_direction(Tape *tape, Var gradient, int step, Var *moment)
{
	Var			square = tape_scale(tape, tape_unary(tape, UNARY_SQUARE, 0, gradient), 1 - ADAM_BETA2, 0);
	Var			root;

	*moment = *moment == TAPE_NONE ? square : tape_axpy(tape, square, ADAM_BETA2, *moment);
	root = tape_unary(tape, UNARY_SQRT, 0,
					  tape_scale(tape, *moment, 1 / (1 - pow(ADAM_BETA2, step + 1)), 0));
	return tape_multiply(tape, gradient,
						 tape_unary(tape, UNARY_RECIPROCAL, 0, tape_scale(tape, root, 1, ADAM_EPSILON)));
}

/*
 * min(1, longest / length), (tasks, 1, 1): the factor that keeps a task's
 * gradient, of all tensors together, from being longer than that.
 */
static Var
shortened(Tape *tape, const Var *gradients, int n, double longest)
{
	int			tasks = tape_shape(tape, gradients[0]).tasks;
	Var			square = TAPE_NONE;

	for (int i = 0; i < n; i++)
	{
		Var			of = tape_sum(tape, tape_unary(tape, UNARY_SQUARE, 0, tape_scale(tape, tape_detach(tape, gradients[i]), 1 / longest, 0)),
								  shape(tasks, 1, 1));

		square = square == TAPE_NONE ? of : tape_axpy(tape, square, 1, of);
	}
	square = tape_scale(tape, tape_unary(tape, UNARY_RELU, 0, tape_scale(tape, square, 1, -1)), 1, 1);
	return tape_unary(tape, UNARY_RECIPROCAL, 0, tape_unary(tape, UNARY_SQRT, 0, square));
}

/* a * b, where TAPE_NONE stands for 1 */
static Var
factor(Tape *tape, Var a, Var b)
{
	return a == TAPE_NONE ? b : b == TAPE_NONE ? a : tape_multiply(tape, a, b);
}

/*
 * What a step's gradient of a tensor is multiplied with, but for inner_lr.
 * Steps beyond those of training have the rates of its last one.
 */
static Var
learned_rate(Tape *tape, const TensorList *list, const Var *theta, const char *name, int step)
{
	Var			each = learned_about(list, theta, RATE, name);
	Var			steps = learned_about(list, theta, STEP_RATE, name);

	if (each != TAPE_NONE)
		each = tape_scale(tape, each, FACTOR_SCALE, 1);
	if (steps != TAPE_NONE)
	{
		int			trained = tape_shape(tape, steps).cols;

		steps = scale_value(tape, vars_slice(tape, steps, step < trained ? step : trained - 1, 1));
	}
	return factor(tape, each, steps);
}

/*
 * phi = theta - s sum of (gradients that are constant), as a function of theta
 * and s.  To s it is the way from theta, divided by s, that its gradient is
 * multiplied with, and no step has to be looked at again.
 */
static Var
way_by_shrinkage(Tape *tape, Var theta, Var phi, Var s)
{
	/* without rows both are 0 */
	Var			reciprocal = tape_unary(tape, UNARY_RECIPROCAL, 0, tape_scale(tape, tape_detach(tape, s), 1, LEAST_SHRINKAGE));
	Var			way = tape_detach(tape, tape_axpy(tape, phi, -1, theta));

	return tape_surrogate(tape, phi, tape_axpy(tape, tape_multiply(tape, way, tape_multiply(tape, s, reciprocal)), 1, theta));
}

/*
 * The loop; path, where it is not NULL, gets phi after each step: inner_steps
 * times list->n.
 */
static void
run_steps(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
		  const RowVars *rows_even, const RowVars *rows_odd,
		  const Var *theta, Var *phi, Var *path)
{
	int			tasks = tape_shape(tape, rows_even->x).tasks;
	int		   *moved = arena_alloc(tape->arena, list->n, sizeof(int));
	Var		   *wrt = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *gradients = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var			(*memory)[INNER_MEMORY] = arena_alloc(tape->arena, list->n, sizeof(*memory));
	Var		   *vars = arena_alloc(tape->arena, list->n, sizeof(Var));
	SeenRows	seen[2];
	Var			shrink[2];
	bool		constant;		/* only the way as a whole says how long steps
								 * should be */
	int			n = 0;

	if (moved == NULL || wrt == NULL || gradients == NULL || memory == NULL || vars == NULL)
	{
		tape->fault = "out of memory";
		return;
	}
	seen[0] = see_rows(tape, spec, list, loop, rows_even, theta);
	shrink[0] = shrinkage(tape, list, theta, rows_even);
	seen[1] = seen[0];
	shrink[1] = shrink[0];
	if (rows_odd != rows_even)
	{
		seen[1] = see_rows(tape, spec, list, loop, rows_odd, theta);
		shrink[1] = shrinkage(tape, list, theta, rows_odd);
	}

	/* A task's own copy first: its gradient must not be summed over tasks. */
	for (int i = 0; i < list->n; i++)
	{
		phi[i] = theta[i];
		for (int j = 0; j < INNER_MEMORY; j++)
			memory[i][j] = TAPE_NONE;
		if (is_moved(&list->tensors[i]))
		{
			Shape		s = tape_shape(tape, theta[i]);

			phi[i] = tape_expand(tape, theta[i], shape(tasks, s.rows, s.cols));
			moved[n++] = i;
		}
	}
	constant = loop->kind == INNER_FIRST_ORDER && shrink[0] != TAPE_NONE && shrink[0] == shrink[1];
	for (int i = 0; i < n; i++)
		if (learned_about(list, theta, RATE, list->tensors[moved[i]].name) != TAPE_NONE ||
			learned_about(list, theta, STEP_RATE, list->tensors[moved[i]].name) != TAPE_NONE)
			constant = false;

	for (int step = 0; step < spec->options.inner_steps && !tape->fault; step++)
	{
		Var			loss = seen_loss(tape, spec, list, loop, &seen[step % 2], phi, vars);
		Var			outside = shrink[step % 2];
		Var			bound = TAPE_NONE;

		/* a factor of all tensors alike is cheapest in the loss, where it may be learned there or is not learned */
		if (constant)
			outside = tape_detach(tape, outside);
		if ((loop->kind == INNER_EXACT || constant) && outside != TAPE_NONE)
		{
			loss = tape_multiply(tape, loss, outside);
			outside = TAPE_NONE;
		}
		for (int i = 0; i < n; i++)
			wrt[i] = phi[moved[i]];
		tape_gradient(tape, loss, wrt, n, gradients);
		if (loop->longest > 0 && n > 0)
			bound = shortened(tape, gradients, n, loop->longest);
		for (int i = 0; i < n; i++)
		{
			int			at = moved[i];
			Var			g = gradients[i];

			if (loop->kind != INNER_EXACT)
				g = tape_detach(tape, g);
			g = factor(tape, g, bound);
			if (loop->kind == INNER_ADAM)
				g = adam_direction(tape, g, step, &memory[at][0]);
			g = factor(tape, g, factor(tape, outside, learned_rate(tape, list, theta, list->tensors[at].name, step)));
			if (loop->kind == INNER_LEARNED)
				phi[at] = loop->rule(tape, &(InnerStep) {spec, theta, phi[at], g, tape_detach(tape, loss), seen[step % 2].rows->w},
									 memory[at]);
			else
				phi[at] = tape_axpy(tape, phi[at], -spec->options.inner_lr, g);
		}
		if (path != NULL)
			memcpy(path + (size_t) step * list->n, phi, list->n * sizeof(Var));
		for (int i = 0; i < n && constant && path != NULL; i++)
			path[(size_t) step * list->n + moved[i]] = way_by_shrinkage(tape, theta[moved[i]], phi[moved[i]], shrink[0]);
	}
	for (int i = 0; i < n && constant; i++)
		phi[moved[i]] = way_by_shrinkage(tape, theta[moved[i]], phi[moved[i]], shrink[0]);
}

void
inner_loop(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
		   const RowVars *rows_even, const RowVars *rows_odd,
		   const Var *theta, Var *phi)
{
	run_steps(tape, spec, list, loop, rows_even, rows_odd, theta, phi, NULL);
}

/*
 * Weight of each step but the last: max(1 - p / share, least) / steps while p,
 * the progress of training, is less than share, then 0.
 */
static Var
multi_step_weight(Tape *tape, int steps, Var progress)
{
	Var			falling = tape_scale(tape, progress, -1 / MULTI_STEP_SHARE, 1 - MULTI_STEP_LEAST);
	Var			going = tape_unary(tape, UNARY_RELU, 1, tape_scale(tape, progress, -1, MULTI_STEP_SHARE));

	falling = tape_scale(tape, tape_unary(tape, UNARY_RELU, 0, falling), 1, MULTI_STEP_LEAST);
	return tape_scale(tape, tape_multiply(tape, falling, going), 1.0 / steps, 0);
}

Var
inner_losses(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
			 const RowVars *support, const RowVars *query, const Var *theta, Var progress)
{
	int			steps = spec->options.inner_steps;
	bool		all = spec->options.multi_step && steps > 1;
	Var		   *phi = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *vars = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *path = all ? arena_alloc(tape->arena, (size_t) steps * list->n, sizeof(Var)) : NULL;
	SeenRows	seen;
	Var			last;
	Var			losses;
	Var			weight;

	if (phi == NULL || vars == NULL || (all && path == NULL))
	{
		tape->fault = "out of memory";
		return TAPE_NONE;
	}
	run_steps(tape, spec, list, loop, support, support, theta, phi, path);
	seen = see_rows(tape, spec, list, loop, query, theta);
	last = seen_loss(tape, spec, list, loop, &seen, phi, vars);
	if (!all || tape->fault)
		return last;

	/* w sum of others + (1 - (steps - 1) w) last = last + w sum of (other - last) */
	weight = multi_step_weight(tape, steps, progress);
	losses = last;
	for (int step = 0; step < steps - 1; step++)
	{
		Var			other = seen_loss(tape, spec, list, loop, &seen, path + (size_t) step * list->n, vars);

		losses = tape_axpy(tape, losses, 1, tape_multiply(tape, tape_axpy(tape, other, -1, last), weight));
	}
	return losses;
}
