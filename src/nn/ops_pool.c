/*
 * ops_pool.c
 *	  Pooling of images.
 *
 * Pooling passes on what stands at the largest of 2 x 2 pixels.  Which one
 * that is changes nowhere but where two are equal, so that no gradient flows
 * to the choice: passing on from there (pick) and passing back to there
 * (spread) are each other's gradient.
 */
#include "nn/tape_private.h"

#include <string.h>

#include "nn/kernels.h"

bool
images_pool(Shape s, Plane plane)
{
	return plane.height >= 2 && plane.width >= 2 && count_images(s, plane) >= 0;
}

Var
tape_pick(Tape *tape, Var a, Var x, Plane plane)
{
	Shape		s = tape_shape(tape, x);
	Plane		out = plane_pooled(plane);
	int			images = count_images(s, plane);

	return tape_append_plane(tape, OP_PICK, shape(s.tasks, images * out.height * out.width, out.channels), plane, a, x, TAPE_NONE);
}

Var
tape_pool(Tape *tape, Var x, Plane plane)
{
	if (tape->fault)
		return TAPE_NONE;
	if (!images_pool(tape_shape(tape, x), plane))
		return tape_fault(tape, "shapes do not fit in pooling");
	return tape_pick(tape, x, x, plane);
}

void
pool_row(const real *image, Plane plane, int i, real *to)
{
	for (int j = 0; j < plane.width / 2; j++, to += plane.channels)
	{
		PoolWindow	of = pool_window(plane, i, j);
		const real *from[4] = {image + of.at[0], image + of.at[1], image + of.at[2], image + of.at[3]};

		kernels()->largest(plane.channels, from, to);
	}
}

/* to[p] = a[q(p)], where q is the largest of the pixels of p in x */
static void
pick_row(const real *a, const real *x, Plane plane, int i, real *to)
{
	for (int j = 0; j < plane.width / 2; j++)
	{
		PoolWindow	of = pool_window(plane, i, j);

		for (int c = 0; c < plane.channels; c++)
		{
			size_t		above = x[of.at[0] + c] >= x[of.at[1] + c] ? of.at[0] : of.at[1];
			size_t		below = x[of.at[2] + c] >= x[of.at[3] + c] ? of.at[2] : of.at[3];

			*to++ = a[(x[above + c] >= x[below + c] ? above : below) + c];
		}
	}
}

void
pick_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *x = tape_node(tape, node->in[1]);
	Plane		plane = node->plane;
	Plane		out = plane_pooled(plane);
	int			images = x->shape.tasks * count_images(x->shape, plane);
	real	   *to = node->data;

	for (int m = 0; m < images; m++)
		for (int i = 0; i < out.height; i++, to += (size_t) out.width * out.channels)
			if (a == x)
				pool_row(x->data + m * plane_size(plane), plane, i, to);
			else
				pick_row(a->data + m * plane_size(plane), x->data + m * plane_size(plane), plane, i, to);
}

Var
tape_spread(Tape *tape, Var a, Var x, Plane plane)
{
	return tape_append_plane(tape, OP_SPREAD, tape_shape(tape, x), plane, a, x, TAPE_NONE);
}

void
pick_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	/* in[1], which only chooses, may be the same as in[0] */
	if (wanted[0])
		out[0] = tape_spread(tape, g, node.in[1], node.plane);
}

void
spread_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *g = tape_node(tape, node->in[0]);
	const TapeNode *x = tape_node(tape, node->in[1]);
	Plane		plane = node->plane;
	Plane		out = plane_pooled(plane);
	int			images = x->shape.tasks * count_images(x->shape, plane);
	const real *from = g->data;

	if (plane.height % 2 != 0 || plane.width % 2 != 0)
		memset(node->data, 0, shape_size(node->shape) * sizeof(real));
	for (int m = 0; m < images; m++)
		for (int i = 0; i < out.height; i++)
			for (int j = 0; j < out.width; j++, from += plane.channels)
			{
				PoolWindow	of = pool_window(plane, i, j);
				const real *image = x->data + m * plane_size(plane);
				real	   *spread = node->data + m * plane_size(plane);
				const real *of_x[4] = {image + of.at[0], image + of.at[1], image + of.at[2], image + of.at[3]};
				real	   *to[4] = {spread + of.at[0], spread + of.at[1], spread + of.at[2], spread + of.at[3]};

				kernels()->to_largest(plane.channels, of_x, from, to);
			}
}

void
spread_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = tape_pick(tape, g, node.in[1], node.plane);
}
