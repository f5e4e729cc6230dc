/*
 * conv_network.c
 *	  Convolutional networks of four layers, as few-shot learning compares
 *	  them on.
 *
 *	conv4		3 x 3 filters with stride 2, normalisation, activation; the
 *				mean over what pixels are left
 *	conv4_pool	3 x 3 filters, normalisation, 2 x 2 maximum pooling, activation;
 *				all pixels that are left
 *	conv4_flat	as conv4, but all pixels that are left
 *
 * Of 28 x 28 pixels and 64 filters the first two make 64 numbers, and
 * conv4_flat 256.  Inputs beside the image, other columns that is, stand
 * beside these numbers.
 *
 * All activations rise, so the maximum of activations is the activation of the
 * maximum, which is a quarter of the work.
 */
#include "nn/conv_network.h"

static Plane
layer_output(const Network *net, Plane plane, int filters)
{
	return net->kind == NETWORK_CONV4_POOL ? plane_pooled(plane_convolved(plane, 1, filters)) :
		plane_convolved(plane, 2, filters);
}

int
conv_least_side(NetworkKind kind)
{
	return kind == NETWORK_CONV4_POOL ? 1 << CONV_LAYERS : 1;
}

int
conv_features(const Network *net)
{
	Plane		plane = net->image;

	for (int l = 0; l < net->n_hidden; l++)
		plane = layer_output(net, plane, net->hidden[l]);
	return net->kind == NETWORK_CONV4 ? plane.channels : plane.height * plane.width * plane.channels;
}

int
conv_others(const Network *net)
{
	return network_in_width(net) - net->image.height * net->image.width * net->image.channels;
}

/* The inputs before and after the image, beside its features. */
static Var
with_others(Tape *tape, const Network *net, const NetworkInput *input, Var features)
{
	int			n = conv_features(net);
	int			all = n + conv_others(net);
	int			end = net->image_at + net->image.height * net->image.width * net->image.channels;
	int			after = network_in_width(net) - end;

	if (all == n)
		return features;
	features = tape_columns(tape, features, 0, n, 0, all);
	if (net->image_at > 0)
		features = tape_axpy(tape, features, 1, tape_columns(tape, input->in, 0, net->image_at, n, all));
	if (after > 0)
		features = tape_axpy(tape, features, 1, tape_columns(tape, input->in, end, after, n + net->image_at, all));
	return features;
}

/* (tasks, rows, pixels channels) -> (tasks, rows, channels), as a product */
static Var
mean_of_pixels(Tape *tape, Var rows, Plane plane)
{
	int			pixels = plane.height * plane.width;
	Var			share;

	if (pixels == 1)
		return rows;
	share = tape_leaf(tape, shape(1, pixels * plane.channels, plane.channels), NULL);
	for (int i = 0; share != TAPE_NONE && i < pixels * plane.channels; i++)
		tape_data(tape, share)[(size_t) i * plane.channels + i % plane.channels] = (real) 1 / pixels;
	return tape_affine(tape, rows, false, share, false, TAPE_NONE);
}

Var
conv_layers(Tape *tape, const Network *net, const Var *layer, const NetworkInput *input, Var *seen)
{
	Plane		plane = net->image;
	int			pixels = plane.height * plane.width * plane.channels;
	Var			rows = input->in;
	Shape		s = tape_shape(tape, rows);

	if (s.cols != pixels)
		rows = tape_columns(tape, rows, net->image_at, pixels, 0, pixels);
	for (int l = 0; l < net->n_hidden; l++, layer += net->norm == NORM_NONE ? 2 : 3)
	{
		bool		pooled = net->kind == NETWORK_CONV4_POOL;
		int			stride = pooled ? 1 : 2;
		Var			weight = layer[0];
		Var			shift = layer[1];
		bool		plain = net->norm == NORM_NONE;

		/* moments that are there are folded into the few weights, not into all pixels */
		if (!plain && !seen && layer[2] != TAPE_NONE)
		{
			Var			rate;

			network_normalisation(tape, layer, &rate, &shift);
			weight = tape_multiply(tape, weight, rate);
			plain = true;
		}
		rows = tape_convolve(tape, rows, plane, stride, weight);
		plane = plane_convolved(plane, stride, net->hidden[l]);
		if (seen)
			seen[l] = rows;
		if (pooled && !plain && layer[2] == TAPE_NONE)
			rows = tape_normalise_pooled(tape, rows, plane, input->w, shift);
		else
		{
			if (!plain)
				rows = network_normalise(tape, layer, rows, input->w);
			if (pooled)
				rows = tape_pool(tape, rows, plane);
		}
		if (pooled)
			plane = plane_pooled(plane);
		/* the same for all pixels of a channel, so the largest stays the largest */
		if (plain)
			rows = tape_axpy(tape, rows, 1, shift);
		rows = tape_unary(tape, net->activation, 0, rows);
	}

	rows = tape_reshape(tape, rows, s.rows, plane.height * plane.width * plane.channels);
	if (net->kind == NETWORK_CONV4)
		rows = mean_of_pixels(tape, rows, plane);
	return with_others(tape, net, input, rows);
}
