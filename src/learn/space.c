/*
 * space.c
 *	  The space in which metric-based learners compare rows.
 */
#include "learn/space.h"

#include <math.h>

#include "learn/vars.h"

/*
 * Mean square of a row's coordinates at the start.  Beside a network that is
 * right about most things, distances begin small.
 */
#define FIRST_SQUARE 0.1
#define FIRST_SQUARE_OF_EPISODES 1.0

static int
space_inputs(const Network *net)
{
	return network_hidden_width(net) + (net->skip && net->n_hidden > 0 ? network_in_width(net) : 0);
}

bool
space_layout(const LearnerSpec *spec, TensorList *list)
{
	int			features = spec->options.features;

	return network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list) &&
		tensor_add(list, "space.weight", space_inputs(&spec->net), features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "space.bias", 1, features, TENSOR_SHARED) >= 0;
}

int
space_count(const LearnerSpec *spec)
{
	return network_count(&spec->net) + 2;
}

void
space_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *weight = &list->tensors[network_count(&spec->net)];
	double		square = spec->options.way > 0 ? FIRST_SQUARE_OF_EPISODES : FIRST_SQUARE;
	double		deviation = sqrt(square / (weight->rows > 0 ? weight->rows : 1));

	network_initialise(&spec->net, list, rng, values);
	tensor_fill_normal(weight, deviation, rng, values);
}

Places
space_places(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c)
{
	const Var  *own = theta + network_count(&spec->net);
	NetworkInput input = network_input(tape, &spec->net, theta, x, c);
	NetworkLayers layers = network_layers(tape, &spec->net, theta, &input);
	Var			seen = layers.hidden;
	Places		places;

	if (spec->net.skip && spec->net.n_hidden > 0)
		seen = vars_concatenate(tape, seen, layers.in);
	places.prior = spec->options.way > 0 ? TAPE_NONE : layers.out;
	places.at = tape_affine(tape, seen, false, own[0], false, own[1]);
	return places;
}

int
space_classes(const LearnerSpec *spec)
{
	return spec->loss == LOSS_SQUARED ? 0 : spec->loss == LOSS_LOGISTIC ? 2 : spec->net.outputs;
}

int
space_value_width(const LearnerSpec *spec)
{
	return spec->loss == LOSS_SQUARED ? 1 : space_classes(spec);
}

/* [1 - p, p] */
static Var
both(Tape *tape, Var p)
{
	return vars_concatenate(tape, tape_scale(tape, p, -1, 1), p);
}

Var
space_truth(Tape *tape, const LearnerSpec *spec, Var y)
{
	return spec->loss == LOSS_LOGISTIC ? both(tape, y) : y;
}

Var
space_expected(Tape *tape, const LearnerSpec *spec, Var prior)
{
	if (spec->options.way > 0)
		return tape_constant(tape, (real) 1 / space_classes(spec));
	return spec->loss == LOSS_LOGISTIC ? both(tape, tape_unary(tape, UNARY_SIGMOID, 0, prior)) :
		tape_softmax(tape, prior);
}

Var
space_outputs(Tape *tape, const LearnerSpec *spec, Var prior, Var scores)
{
	if (spec->loss == LOSS_LOGISTIC)
		scores = tape_axpy(tape, vars_slice(tape, scores, 1, 1), -1,
						   vars_slice(tape, scores, 0, 1));
	return spec->options.way > 0 ? scores : tape_axpy(tape, prior, 1, scores);
}
