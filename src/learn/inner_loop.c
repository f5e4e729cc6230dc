/*
 * inner_loop.c
 *	  Gradient steps on one task's rows, as nodes of a tape.
 */
#include "learn/inner_loop.h"

#include <math.h>

/* Reptile's inner optimiser: Adam without momentum. */
#define ADAM_BETA2 0.999
#define ADAM_EPSILON 1e-8

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

void
inner_loop(Tape *tape, const LearnerSpec *spec, const TensorList *list, InnerKind kind,
		   const RowVars *rows_even, const RowVars *rows_odd,
		   const Var *theta, Var *phi)
{
	int			tasks = tape_shape(tape, rows_even->x).tasks;
	int		   *adapted = arena_alloc(tape->arena, list->n, sizeof(int));
	Var		   *wrt = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *gradients = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *moments = arena_alloc(tape->arena, list->n, sizeof(Var));
	NetworkInput even = network_input(tape, &spec->net, theta, rows_even->x, rows_even->c);
	NetworkInput odd = rows_odd == rows_even ? even :
		network_input(tape, &spec->net, theta, rows_odd->x, rows_odd->c);
	int			n = 0;

	if (adapted == NULL || wrt == NULL || gradients == NULL || moments == NULL)
	{
		tape->fault = "out of memory";
		return;
	}

	/*
	 * Categories were looked up once for all steps: no task adapts their
	 * tables.  A task's own copy of the rest first: its gradient must not be
	 * summed over tasks.
	 */
	for (int i = 0; i < list->n; i++)
	{
		phi[i] = theta[i];
		moments[i] = TAPE_NONE;
		if (list->tensors[i].role == TENSOR_ADAPTED)
		{
			Shape		s = tape_shape(tape, theta[i]);

			phi[i] = tape_expand(tape, theta[i], shape(tasks, s.rows, s.cols));
			adapted[n++] = i;
		}
	}

	for (int step = 0; step < spec->options.inner_steps && !tape->fault; step++)
	{
		const RowVars *rows = step % 2 == 0 ? rows_even : rows_odd;
		NetworkLayers layers = network_layers(tape, &spec->net, phi, step % 2 == 0 ? &even : &odd);
		Var			loss = loss_mean(tape, spec->loss, layers.out, rows->y, rows->w);

		for (int i = 0; i < n; i++)
			wrt[i] = phi[adapted[i]];
		tape_gradient(tape, loss, wrt, n, gradients);
		for (int i = 0; i < n; i++)
		{
			Var			g = gradients[i];

			if (kind != INNER_EXACT)
				g = tape_detach(tape, g);
			if (kind == INNER_ADAM)
				g = adam_direction(tape, g, step, &moments[adapted[i]]);
			phi[adapted[i]] = tape_axpy(tape, phi[adapted[i]], -spec->options.inner_lr, g);
		}
	}
}
