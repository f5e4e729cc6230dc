/*
 * reptile.c
 *	  Reptile: move the start towards where the tasks' own training ends.
 *
 *	  phi = k steps of Adam (beta1 = 0) on mini-batches of a task's rows
 *	  theta <- theta + epsilon mean over tasks of (phi - theta)
 *
 * A. Nichol, J. Achiam, J. Schulman, "On first-order meta-learning
 * algorithms", 2018.  Epsilon decays linearly to 0.  Training does not tell
 * support from query: both are mini-batches of the task, taken in turn.
 *
 * What Adam divides by, the mean of squares of gradients, goes on from task to
 * task, as it does in the authors' code.  Begun anew with every task, Adam's
 * first step would have the same length for each number, whatever its gradient,
 * and what training learns of one task would be drowned by that.
 */
#include "learn/inner_loop.h"

#include "learn/vars.h"

static const InnerLoop adam = {.kind = INNER_ADAM};

static bool
reptile_layout(const LearnerSpec *spec, TensorList *list)
{
	return network_learner_layout(spec, list) && inner_layout_adam(spec, list);
}

static void
reptile_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			  const RowVars *support, const Var *theta, Var *phi)
{
	inner_loop(tape, spec, list, &adam, support, NULL, theta, phi);
	for (int i = 0; i < list->n; i++)
		if (list->tensors[i].role == TENSOR_AVERAGE)
			phi[i] = theta[i];
}

/*
 * The "gradient" is theta - phi, so that descending it is Reptile's step.
 * What no task adapts (tables, the linear path) descends the loss instead, at
 * the same rate.
 */
static void
reptile_outer(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			  const RowVars *support, const RowVars *query, const Var *theta,
			  Var *losses, Var *gradients)
{
	Var		   *phi = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *shared = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *shared_gradients = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var			present = vars_positive(tape, tape_axpy(tape, vars_sum_rows(tape, query->w), 1, vars_sum_rows(tape, support->w)));
	int			n = 0;

	if (phi == NULL || shared == NULL || shared_gradients == NULL)
	{
		tape->fault = "out of memory";
		return;
	}
	inner_loop(tape, spec, list, &adam, query, support, theta, phi);
	*losses = loss_mean(tape, spec->loss, network_forward(tape, &spec->net, phi, query->x, query->c),
						query->y, query->w);

	for (int i = 0; i < list->n; i++)
		if (list->tensors[i].role == TENSOR_SHARED)
			shared[n++] = theta[i];
	tape_gradient(tape, *losses, shared, n, shared_gradients);
	n = 0;
	inner_average_squares(tape, spec, list, present, theta, phi, gradients);
	for (int i = 0; i < list->n; i++)
	{
		if (list->tensors[i].role == TENSOR_AVERAGE)
			continue;
		gradients[i] = TAPE_NONE;
		if (list->tensors[i].role == TENSOR_SHARED)
			gradients[i] = tape_scale(tape, shared_gradients[n++], spec->options.inner_lr, 0);
		else if (list->tensors[i].role == TENSOR_ADAPTED)
			gradients[i] = tape_sum(tape, tape_axpy(tape, theta[i], -1, phi[i]), tape_shape(tape, theta[i]));
	}
}

const Learner reptile_learner = {
	.name = "reptile",
	.summary = "moves the start towards where each task's own training ends (first order)",
	.reference = "Nichol, Achiam, Schulman 2018",
	.defaults = "inner_lr 0.001; outer_lr 1; inner_steps 5",
	.layout = reptile_layout,
	.initialise = network_learner_initialise,
	.begin = inner_begin,
	.adapt = reptile_adapt,
	.predict = network_learner_predict,
	.outer = reptile_outer,
	.flags = LEARNER_PLAIN_OUTER,
};
