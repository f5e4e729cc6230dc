/*
 * moments.c
 *	  The moments that a network's layers are normalised by.
 */
#include "learn/moments.h"

#include <string.h>

Var *
moments_hidden(Tape *tape, const TensorList *list, MomentsUse use, const Var *vars)
{
	Var		   *hidden = arena_alloc(tape->arena, list->n, sizeof(Var));

	if (hidden == NULL)
	{
		tape->fault = "out of memory";
		return NULL;
	}
	memcpy(hidden, vars, list->n * sizeof(Var));
	for (int i = 0; i < list->n && use != MOMENTS_GIVEN; i++)
		if (list->tensors[i].role == TENSOR_MOMENTS ||
			(list->tensors[i].role == TENSOR_RUNNING && use == MOMENTS_TRAINING))
			hidden[i] = TAPE_NONE;
	return hidden;
}

/* Moments of rows under a network's vars, a Var per layer; NULL: there are none. */
static Var *
layer_moments(Tape *tape, const LearnerSpec *spec, const RowVars *rows, const Var *vars, const Var *rest)
{
	const Network *net = &spec->net;
	Var		   *moments;
	NetworkInput input;

	/* the parts of a blend keep averages only */
	if (net->norm == NORM_NONE || net->n_hidden == 0 || spec->n_parts > 0)
		return NULL;
	moments = arena_alloc(tape->arena, net->n_hidden, sizeof(Var));
	if (moments == NULL)
	{
		tape->fault = "out of memory";
		return NULL;
	}
	input = network_input(tape, net, vars, rows->x, rows->c);
	network_moments(tape, net, vars, rest, &input, moments);
	return moments;
}

void
moments_adapt(Tape *tape, const LearnerSpec *spec, const RowVars *support, const Var *theta, Var *phi)
{
	Var		   *moments;

	if (spec->net.norm != NORM_BATCH)
		return;
	moments = layer_moments(tape, spec, support, phi, theta);
	for (int l = 0; moments && l < spec->net.n_hidden; l++)
		phi[network_moments_at(&spec->net, l)] = moments[l];
}

void
moments_gradients(Tape *tape, const LearnerSpec *spec, const TensorList *list,
				  const RowVars *rows, const Var *theta, Var *gradients)
{
	Var		   *moments = layer_moments(tape, spec, rows, theta, theta);

	for (int i = 0; i < list->n; i++)
		if (tensor_is_moments(&list->tensors[i]))
			gradients[i] = TAPE_NONE;
	for (int l = 0; moments && l < spec->net.n_hidden; l++)
	{
		int			i = network_moments_at(&spec->net, l);

		gradients[i] = tape_sum(tape, tape_axpy(tape, theta[i], -1, moments[l]), tape_shape(tape, theta[i]));
	}
}
