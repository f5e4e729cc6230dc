/*
 * network.c
 *	  The multi-layer perceptron with embeddings and a linear path.
 */
#include "nn/conv_network.h"

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
	tensor->by_rows = false;
	tensor->column = 0;
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

void
tensor_fill_normal(const Tensor *tensor, double deviation, Rng *rng, real *values)
{
	for (size_t i = 0; i < (size_t) tensor->rows * tensor->cols; i++)
		values[tensor->offset + i] = deviation * rng_normal(rng);
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
	if (net->kind != NETWORK_MLP)
		return conv_features(net) + conv_others(net);
	return net->n_hidden > 0 ? net->hidden[net->n_hidden - 1] : network_in_width(net);
}

/*
 * What first weights of an MLP that tasks adapt and batches normalise are
 * multiplied by.  A normalised layer computes the same with weights of any
 * size s, but its gradient goes with 1 / s, so that a step of inner_lr turns the
 * weights by an angle that goes with 1 / s^2: with the usual sizes, inner steps
 * would hardly be felt, and it takes an outer loop thousands of iterations to
 * make them count.  (The authors of MAML begin with N(0, 0.01^2).)
 */
#define NORMALISED_SCALE 0.1

/* Tensors of a layer: weight, bias, moments. */
static int
per_layer(const Network *net)
{
	return net->norm == NORM_NONE ? 2 : 3;
}

/* Tensors before the layers: tables, and the linear path's. */
static int
before_layers(const Network *net)
{
	return net->n_embeddings * (net->skip ? 2 : 1) + (net->skip ? 1 : 0);
}

int
network_count(const Network *net)
{
	return before_layers(net) + per_layer(net) * net->n_hidden + 2;
}

int
network_moments_at(const Network *net, int l)
{
	return before_layers(net) + per_layer(net) * l + 2;
}

static bool
add_numbered(TensorList *list, const char *pattern, int number, int rows, int cols, TensorRole role)
{
	char		name[TENSOR_NAME_LENGTH];

	snprintf(name, sizeof(name), pattern, number);
	return tensor_add(list, name, rows, cols, role) >= 0;
}

/* A table of categories, whose rows column j's codes number. */
static bool
add_table(TensorList *list, const char *pattern, int j, int rows, int cols, TensorRole role)
{
	if (!add_numbered(list, pattern, j, rows, cols, role))
		return false;
	list->tensors[list->n - 1].by_rows = rows >= TABLE_BY_ROWS;
	list->tensors[list->n - 1].column = j;
	return true;
}

bool
network_layout(const Network *net, TensorRole body, TensorRole linear, TensorList *list)
{
	int			width = net->kind == NETWORK_MLP ? network_in_width(net) : 9 * net->image.channels;
	TensorRole	wide = net->given ? TENSOR_FIXED : TENSOR_SHARED;

	for (int j = 0; j < net->n_embeddings; j++)
	{
		const Embedding *e = &net->embeddings[j];

		if (!add_table(list, "embedding.%d", j, e->size, e->width, e->rare ? wide : TENSOR_SHARED))
			return false;
	}
	if (net->skip)
	{
		for (int j = 0; j < net->n_embeddings; j++)
			if (!add_table(list, "wide.%d", j, net->embeddings[j].size, net->outputs, wide))
				return false;
		if (tensor_add(list, "skip.weight", net->inputs, net->outputs, linear) < 0)
			return false;
	}
	for (int l = 0; l < net->n_hidden; l++)
	{
		if (!add_numbered(list, "layer.%d.weight", l, width, net->hidden[l], body) ||
			!add_numbered(list, "layer.%d.bias", l, 1, net->hidden[l], body))
			return false;
		if (net->norm != NORM_NONE &&
			!add_numbered(list, "layer.%d.moments", l, 2, net->hidden[l],
						  net->norm == NORM_BATCH ? TENSOR_MOMENTS : TENSOR_RUNNING))
			return false;
		width = net->kind == NETWORK_MLP ? net->hidden[l] : 9 * net->hidden[l];
	}
	width = network_hidden_width(net);
	return tensor_add(list, "head.weight", width, net->outputs, body) >= 0 &&
		tensor_add(list, "head.bias", 1, net->outputs, body) >= 0;
}

static bool
steps_turn_weights(const Network *net, const TensorList *list)
{
	int			first = tensor_find(list, "layer.0.weight");

	return net->kind == NETWORK_MLP && net->norm == NORM_BATCH && first >= 0 &&
		list->tensors[first].role == TENSOR_ADAPTED;
}

void
network_initialise(const Network *net, const TensorList *list, Rng *rng, real *values)
{
	double		scale = steps_turn_weights(net, list) ? NORMALISED_SCALE : 1;

	memset(values, 0, list->size * sizeof(real));
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		double		deviation;

		if (tensor_is_moments(tensor))
		{
			/* a variance of 1 */
			for (int j = 0; j < tensor->cols; j++)
				values[tensor->offset + tensor->cols + j] = 1;
			continue;
		}
		if (strncmp(tensor->name, "embedding.", 10) == 0)
			deviation = 0.3;
		else if (strcmp(tensor->name, "head.weight") == 0)
			/* small beside a linear path, which starts at 0 as well */
			deviation = net->n_hidden == 0 ? 0 : scale * (net->skip ? 0.05 : sqrt(1.0 / tensor->rows));
		else if (strncmp(tensor->name, "layer.", 6) == 0 && strstr(tensor->name, ".weight") != NULL)
			deviation = scale * (net->activation == UNARY_RELU ? sqrt(2.0 / tensor->rows) :
								 sqrt(2.0 / (tensor->rows + tensor->cols)));
		else
			continue;
		tensor_fill_normal(tensor, deviation, rng, values);
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

	input.w = net->norm == NORM_NONE ? TAPE_NONE : tape_weights(tape, x);
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
	return vars + before_layers(net);
}

void
network_normalisation(Tape *tape, const Var *layer, Var *rate, Var *shift)
{
	int			cols = tape_shape(tape, layer[2]).cols;

	/* rows of the moments, as columns of their transpose */
	Var			moments = tape_reshape(tape, layer[2], 1, 2 * cols);
	Var			variance = tape_columns(tape, moments, cols, cols, 0, cols);
	Var			mean = tape_columns(tape, moments, 0, cols, 0, cols);

	*rate = tape_unary(tape, UNARY_RECIPROCAL, 0,
					   tape_unary(tape, UNARY_SQRT, 0, tape_scale(tape, variance, 1, NORM_EPSILON)));
	*shift = tape_axpy(tape, layer[1], -1, tape_multiply(tape, mean, *rate));
}

Var
network_normalise(Tape *tape, const Var *layer, Var rows, Var w)
{
	Var			rate;
	Var			shift;

	if (layer[2] == TAPE_NONE)
		return tape_normalise(tape, rows, w, layer[1]);
	network_normalisation(tape, layer, &rate, &shift);
	return tape_axpy(tape, tape_multiply(tape, rows, rate), 1, shift);
}

/* The last layer's rows; those of each before it is normalised into seen, if wanted. */
static Var
run_layers(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input, Var *seen)
{
	const Var  *layer = first_layer(net, vars);
	Var			in = input->in;

	if (net->kind != NETWORK_MLP)
		return conv_layers(tape, net, layer, input, seen);
	for (int l = 0; l < net->n_hidden; l++, layer += per_layer(net))
	{
		in = tape_affine(tape, in, false, layer[0], false, net->norm == NORM_NONE ? layer[1] : TAPE_NONE);
		if (seen)
			seen[l] = in;
		if (net->norm != NORM_NONE)
			in = network_normalise(tape, layer, in, input->w);
		in = tape_unary(tape, net->activation, 0, in);
	}
	return in;
}

Var
network_hidden(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input)
{
	return run_layers(tape, net, vars, input, NULL);
}

void
network_moments(Tape *tape, const Network *net, const Var *vars, const Var *rest,
				const NetworkInput *input, Var *moments)
{
	Var		   *own = arena_alloc(tape->arena, network_count(net), sizeof(Var));

	if (own == NULL)
	{
		tape->fault = "out of memory";
		return;
	}
	memcpy(own, vars, network_count(net) * sizeof(Var));
	for (int l = 0; l < net->n_hidden; l++)
		own[network_moments_at(net, l)] = TAPE_NONE;
	run_layers(tape, net, own, input, moments);
	for (int l = 0; l < net->n_hidden; l++)
		moments[l] = tape_moments(tape, moments[l], input->w, rest[network_moments_at(net, l)]);
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
	const Var  *head = first_layer(net, vars) + per_layer(net) * net->n_hidden;
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
