/*
 * network.c
 *	  The multi-layer perceptron with embeddings and a linear path.
 */
#include "nn/network.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int
tensor_add(TensorList *list, const char *name, int rows, int cols, TensorRole role)
{
	Tensor	   *tensor;
	size_t		size;

	if (list->n >= list->max || rows < 0 || cols < 0 ||
		__builtin_mul_overflow((size_t) rows, (size_t) cols, &size) ||
		__builtin_add_overflow(list->size, size, &size))
		return -1;
	tensor = &list->tensors[list->n];
	snprintf(tensor->name, sizeof(tensor->name), "%s", name);
	tensor->rows = rows;
	tensor->cols = cols;
	tensor->role = role;
	tensor->offset = list->size;
	list->size = size;
	return list->n++;
}

int
tensor_find(const TensorList *list, const char *name)
{
	for (int i = 0; i < list->n; i++)
		if (strcmp(list->tensors[i].name, name) == 0)
			return i;
	return -1;
}

int
network_in_width(const Network *net)
{
	int			width = net->inputs;

	for (int j = 0; j < net->n_embeddings; j++)
		width += net->embeddings[j].width;
	return width;
}

int
network_hidden_width(const Network *net)
{
	return net->n_hidden > 0 ? net->hidden[net->n_hidden - 1] : network_in_width(net);
}

int
network_count(const Network *net)
{
	return net->n_embeddings * (net->skip ? 2 : 1) + (net->skip ? 1 : 0) + 2 * net->n_hidden + 2;
}

static bool
add_numbered(TensorList *list, const char *pattern, int number, int rows, int cols, TensorRole role)
{
	char		name[TENSOR_NAME_LENGTH];

	snprintf(name, sizeof(name), pattern, number);
	return tensor_add(list, name, rows, cols, role) >= 0;
}

bool
network_layout(const Network *net, TensorRole body, TensorRole linear, TensorList *list)
{
	int			width = network_in_width(net);
	TensorRole	wide = net->given ? TENSOR_FIXED : TENSOR_SHARED;

	for (int j = 0; j < net->n_embeddings; j++)
	{
		const Embedding *e = &net->embeddings[j];

		if (!add_numbered(list, "embedding.%d", j, e->size, e->width, e->rare ? wide : TENSOR_SHARED))
			return false;
	}
	if (net->skip)
	{
		for (int j = 0; j < net->n_embeddings; j++)
			if (!add_numbered(list, "wide.%d", j, net->embeddings[j].size, net->outputs, wide))
				return false;
		if (tensor_add(list, "skip.weight", net->inputs, net->outputs, linear) < 0)
			return false;
	}
	for (int l = 0; l < net->n_hidden; l++)
	{
		if (!add_numbered(list, "layer.%d.weight", l, width, net->hidden[l], body) ||
			!add_numbered(list, "layer.%d.bias", l, 1, net->hidden[l], body))
			return false;
		width = net->hidden[l];
	}
	return tensor_add(list, "head.weight", width, net->outputs, body) >= 0 &&
		tensor_add(list, "head.bias", 1, net->outputs, body) >= 0;
}

void
network_initialise(const Network *net, const TensorList *list, Rng *rng, real *values)
{
	memset(values, 0, list->size * sizeof(real));
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		size = (size_t) tensor->rows * tensor->cols;
		double		deviation;

		if (strncmp(tensor->name, "embedding.", 10) == 0)
			deviation = 0.3;
		else if (strcmp(tensor->name, "head.weight") == 0)
			/* small beside a linear path, which starts at 0 as well */
			deviation = net->n_hidden == 0 ? 0 : net->skip ? 0.05 : sqrt(1.0 / tensor->rows);
		else if (strncmp(tensor->name, "layer.", 6) == 0 && strstr(tensor->name, ".weight") != NULL)
			deviation = net->activation == UNARY_RELU ? sqrt(2.0 / tensor->rows) :
				sqrt(2.0 / (tensor->rows + tensor->cols));
		else
			continue;
		for (size_t j = 0; j < size; j++)
			values[tensor->offset + j] = deviation * rng_normal(rng);
	}
}

NetworkInput
network_input(Tape *tape, const Network *net, const Var *vars, Var x, Var c)
{
	NetworkInput input;
	const Var  *embedding = vars;
	const Var  *wide = embedding + net->n_embeddings;
	int			width = network_in_width(net);
	int			at = net->inputs;

	input.wide = TAPE_NONE;
	if (net->given)
	{
		input.wide = tape_columns(tape, x, net->inputs, 1, 0, 1);
		x = tape_columns(tape, x, 0, net->inputs, 0, net->inputs);
	}
	input.x = x;
	input.in = net->n_embeddings == 0 ? x : tape_columns(tape, x, 0, net->inputs, 0, width);
	for (int j = 0; j < net->n_embeddings; j++)
	{
		int			w = net->embeddings[j].width;
		Var			rows = tape_gather(tape, embedding[j], c, j);

		input.in = tape_axpy(tape, input.in, 1, tape_columns(tape, rows, 0, w, at, width));
		at += w;
		if (net->skip)
		{
			rows = tape_gather(tape, wide[j], c, j);
			input.wide = input.wide == TAPE_NONE ? rows : tape_axpy(tape, input.wide, 1, rows);
		}
	}
	return input;
}

/* The tensors after the tables: the linear path's, then the layers', then the head's. */
static const Var *
first_layer(const Network *net, const Var *vars)
{
	return vars + net->n_embeddings * (net->skip ? 2 : 1) + (net->skip ? 1 : 0);
}

Var
network_hidden(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input)
{
	const Var  *layer = first_layer(net, vars);
	Var			in = input->in;

	for (int l = 0; l < net->n_hidden; l++, layer += 2)
		in = tape_unary(tape, net->activation, 0,
						tape_affine(tape, in, false, layer[0], false, layer[1]));
	return in;
}

Var
network_linear(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input)
{
	if (!net->skip)
		return TAPE_NONE;
	return tape_affine(tape, input->x, false, first_layer(net, vars)[-1], false, input->wide);
}

Var
network_head(Tape *tape, const Network *net, const Var *vars, Var hidden, Var linear)
{
	const Var  *head = first_layer(net, vars) + 2 * net->n_hidden;
	Var			out = tape_affine(tape, hidden, false, head[0], false, head[1]);

	return linear == TAPE_NONE ? out : tape_axpy(tape, out, 1, linear);
}

NetworkLayers
network_layers(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input)
{
	NetworkLayers layers;

	layers.in = input->in;
	layers.hidden = network_hidden(tape, net, vars, input);
	layers.out = network_head(tape, net, vars, layers.hidden, network_linear(tape, net, vars, input));
	return layers;
}

Var
network_forward(Tape *tape, const Network *net, const Var *vars, Var x, Var c)
{
	NetworkInput input = network_input(tape, net, vars, x, c);

	return network_layers(tape, net, vars, &input).out;
}
