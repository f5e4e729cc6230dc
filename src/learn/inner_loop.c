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
#include "nn/adam.h"

#define LEAST_SHARE 1e-20

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
#define SECOND "second."
#define SECOND_SHARE "second_share"

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
add_named_after(TensorList *list, const char *prefix, const char *name, int rows, int cols, TensorRole role)
{
	char		full[TENSOR_NAME_LENGTH + sizeof(STEP_RATE)];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return tensor_add(list, full, rows, cols, role) >= 0;
}

bool
inner_layout(const LearnerSpec *spec, TensorList *list)
{
	int			n = list->n;

	for (int i = 0; i < n && spec->options.step_rates; i++)
		if (is_moved(&list->tensors[i]) &&
			!add_named_after(list, STEP_RATE, list->tensors[i].name, 1, spec->options.inner_steps, TENSOR_SHARED))
			return false;
	return spec->options.inner_loss != INNER_LOSS_SHRUNK || tensor_add(list, SHRINK, 1, 1, TENSOR_SHARED) >= 0;
}

/* A tensor of the same shape for each that the steps move. */
static bool
add_elementwise(TensorList *list, const char *prefix, TensorRole role)
{
	int			n = list->n;

	for (int i = 0; i < n; i++)
		if (is_moved(&list->tensors[i]) &&
			!add_named_after(list, prefix, list->tensors[i].name, list->tensors[i].rows, list->tensors[i].cols, role))
			return false;
	return true;
}

bool
inner_layout_elementwise(const LearnerSpec *spec, TensorList *list)
{
	return add_elementwise(list, RATE, TENSOR_SHARED) && inner_layout(spec, list);
}

bool
inner_layout_adam(const LearnerSpec *spec, TensorList *list)
{
	return add_elementwise(list, SECOND, TENSOR_AVERAGE) && tensor_add(list, SECOND_SHARE, 1, 1, TENSOR_AVERAGE) >= 0 &&
		inner_layout(spec, list);
}

/* Position of the tensor that is about another one, or -1. */
static int
find_about(const TensorList *list, const char *prefix, const char *name)
{
	char		full[TENSOR_NAME_LENGTH + sizeof(STEP_RATE)];

	snprintf(full, sizeof(full), "%s%s", prefix, name);
	return tensor_find(list, full);
}

/* What is learned about a tensor, or TAPE_NONE. */
static Var
learned_about(const TensorList *list, const Var *theta, const char *prefix, const char *name)
{
	int			i = find_about(list, prefix, name);

	return i < 0 ? TAPE_NONE : theta[i];
}

void
inner_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values)
{
	int			i = tensor_find(list, SHRINK);

	if (i >= 0)
		values[list->tensors[i].offset] = scale_store(within / between / SHRINK_START);
}

/* ---- steps ---- */

/* k / (k + c), (tasks, 1, 1); TAPE_NONE where no c is learned */
static Var
shrinkage(Tape *tape, const TensorList *list, const Var *theta, Var w)
{
	Var			v = learned_about(list, theta, SHRINK, "");
	Var			k;
	Var			c;

	if (v == TAPE_NONE)
		return TAPE_NONE;
	k = vars_sum_rows(tape, w);
	c = tape_scale(tape, scale_value(tape, v), SHRINK_START, 0);
	return vars_divide(tape, k, tape_axpy(tape, k, 1, c));
}

/*
 * Reptile's inner optimiser, Adam without momentum:
 * g / (sqrt(v / s) + eps), with v = b2 v + (1 - b2) g^2, in *second; s, share,
 * is how much of v are squares that were seen.
 */
static Var
adam_direction(Tape *tape, Var gradient, Var *second, Var share)
{
	Var			square = tape_unary(tape, UNARY_SQUARE, 0, gradient);
	Var			root;

	*second = tape_axpy(tape, tape_scale(tape, square, 1 - ADAM_BETA2, 0), ADAM_BETA2, *second);
	root = tape_unary(tape, UNARY_SQRT, 0, vars_divide(tape, *second, tape_scale(tape, share, 1, LEAST_SHARE)));
	return tape_multiply(tape, gradient,
						 tape_unary(tape, UNARY_RECIPROCAL, 0, tape_scale(tape, root, 1, ADAM_EPSILON)));
}

/* s = b2 s + (1 - b2), of a task without rows in the batch b2 s: then v is b2 v as well */
static Var
next_share(Tape *tape, Var share, Var w)
{
	return tape_axpy(tape, tape_scale(tape, vars_positive(tape, vars_sum_rows(tape, w)), 1 - ADAM_BETA2, 0), ADAM_BETA2, share);
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
 * Steps beyond those of training have the rates of its last one, where it had
 * one.
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

		steps = trained == 0 ? TAPE_NONE :
			scale_value(tape, vars_slice(tape, steps, step < trained ? step : trained - 1, 1));
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

/* A task's own copy of what the steps move, whose gradient must not be summed over tasks. */
static int
copy_moved(Tape *tape, const TensorList *list, int tasks, const Var *theta, Var *phi, int *moved)
{
	int			n = 0;

	for (int i = 0; i < list->n; i++)
	{
		phi[i] = theta[i];
		if (is_moved(&list->tensors[i]))
		{
			Shape		s = tape_shape(tape, theta[i]);

			phi[i] = tape_expand(tape, theta[i], shape(tasks, s.rows, s.cols));
			moved[n++] = i;
		}
	}
	return n;
}

/*
 * The loop; path, where it is not NULL, gets phi after each step: inner_steps
 * times list->n.
 */
static void
run_steps(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
		  const RowVars *rows, const RowVars *further,
		  const Var *theta, Var *phi, Var *path)
{
	const Options *options = &spec->options;
	int			first = count_batches(tape, rows, options->inner_batch);
	int			batches = first + (further ? count_batches(tape, further, options->inner_batch) : 0);
	SeenRows   *seen = arena_alloc(tape->arena, batches, sizeof(SeenRows));
	Var		   *shrink = arena_alloc(tape->arena, batches, sizeof(Var));
	int		   *moved = arena_alloc(tape->arena, list->n, sizeof(int));
	Var		   *wrt = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *gradients = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var			(*memory)[INNER_MEMORY] = arena_alloc(tape->arena, list->n, sizeof(*memory));
	Var		   *vars = arena_alloc(tape->arena, list->n, sizeof(Var));
	int			share = tensor_find(list, SECOND_SHARE);
	bool		constant;		/* only the way as a whole says how long steps
								 * should be */
	int			n;

	if (seen == NULL || shrink == NULL || moved == NULL || wrt == NULL || gradients == NULL || memory == NULL || vars == NULL)
	{
		tape->fault = "out of memory";
		return;
	}
	see_batches(tape, spec, list, loop->view, rows, theta, first, seen);
	if (further)
		see_batches(tape, spec, list, loop->view, further, theta, batches - first, seen + first);
	for (int i = 0; i < batches; i++)
		shrink[i] = shrinkage(tape, list, theta, seen[i].w);
	n = copy_moved(tape, list, tape_shape(tape, rows->x).tasks, theta, phi, moved);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < INNER_MEMORY; j++)
			memory[moved[i]][j] = TAPE_NONE;
	constant = loop->kind == INNER_FIRST_ORDER && shrink[0] != TAPE_NONE && batches == 1;
	for (int i = 0; i < n; i++)
		if (learned_about(list, theta, RATE, list->tensors[moved[i]].name) != TAPE_NONE ||
			learned_about(list, theta, STEP_RATE, list->tensors[moved[i]].name) != TAPE_NONE)
			constant = false;

	for (int step = 0; step < options->inner_steps && !tape->fault; step++)
	{
		const SeenRows *batch = &seen[step % batches];
		Var			loss = seen_loss(tape, spec, list, loop->view, batch, phi, vars);
		Var			outside = shrink[step % batches];
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
		if (loop->kind == INNER_ADAM)
			phi[share] = next_share(tape, phi[share], batch->w);
		if (loop->longest > 0 && n > 0)
			bound = shortened(tape, gradients, n, loop->longest);
		for (int i = 0; i < n; i++)
		{
			int			at = moved[i];
			const char *name = list->tensors[at].name;
			Var			g = gradients[i];

			if (loop->kind != INNER_EXACT)
				g = tape_detach(tape, g);
			g = factor(tape, g, bound);
			if (loop->kind == INNER_ADAM)
				g = adam_direction(tape, g, &phi[find_about(list, SECOND, name)], phi[share]);
			g = factor(tape, g, factor(tape, outside, learned_rate(tape, list, theta, name, step)));
			if (loop->kind == INNER_LEARNED)
				phi[at] = loop->rule(tape, &(InnerStep) {spec, theta, phi[at], g, tape_detach(tape, loss), batch->w},
									 memory[at]);
			else
				phi[at] = tape_axpy(tape, phi[at], -options->inner_lr, g);
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
		   const RowVars *rows, const RowVars *further,
		   const Var *theta, Var *phi)
{
	run_steps(tape, spec, list, loop, rows, further, theta, phi, NULL);
}

/*
 * After k steps an average has b2^k of what it was, and 1 - b2^k of what the
 * steps saw: average - seen = (average - average after) / (1 - b2^k).
 */
void
inner_average_squares(Tape *tape, const LearnerSpec *spec, const TensorList *list, Var present,
					  const Var *theta, const Var *phi, Var *gradients)
{
	double		seen = 1 - pow(ADAM_BETA2, spec->options.inner_steps);

	for (int i = 0; i < list->n; i++)
		if (list->tensors[i].role == TENSOR_AVERAGE)
			gradients[i] = seen == 0 ? TAPE_NONE :
				tape_sum(tape, tape_multiply(tape, tape_axpy(tape, theta[i], -1, phi[i]), tape_scale(tape, present, 1 / seen, 0)),
						 tape_shape(tape, theta[i]));
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
	run_steps(tape, spec, list, loop, support, NULL, theta, phi, path);
	seen = see_rows(tape, spec, list, loop->view, query, theta);
	last = seen_loss(tape, spec, list, loop->view, &seen, phi, vars);
	if (!all || tape->fault)
		return last;

	/* w sum of others + (1 - (steps - 1) w) last = last + w sum of (other - last) */
	weight = multi_step_weight(tape, steps, progress);
	losses = last;
	for (int step = 0; step < steps - 1; step++)
	{
		Var			other = seen_loss(tape, spec, list, loop->view, &seen, path + (size_t) step * list->n, vars);

		losses = tape_axpy(tape, losses, 1, tape_multiply(tape, tape_axpy(tape, other, -1, last), weight));
	}
	return losses;
}
