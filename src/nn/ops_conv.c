/*
 * ops_conv.c
 *	  Convolution of images.
 *
 * A convolution is linear in its images x and in its filters w, so with any
 * g of y's shape
 *	  <conv(x, w), g> = <x, input(g, w)> = <w, filters(x, g)>
 * where input and filters are the gradients.  Each of the three is bilinear,
 * and the gradients of each are the other two: the set is closed, and any
 * derivative stays on the tape.
 */
#include "nn/tape_private.h"

#include <string.h>

#include "nn/convolution.h"

static bool
plane_valid(Plane plane)
{
	size_t		size;

	return plane.height > 0 && plane.width > 0 && plane.channels > 0 &&
		!__builtin_mul_overflow((size_t) plane.height, (size_t) plane.width, &size) &&
		!__builtin_mul_overflow(size, (size_t) plane.channels * 9 * sizeof(double), &size);
}

int
count_images(Shape s, Plane plane)
{
	size_t		numbers = (size_t) s.rows * s.cols;

	return plane_valid(plane) && numbers % plane_size(plane) == 0 ? (int) (numbers / plane_size(plane)) : -1;
}

/* The convolution that any of the three operations is of. */
static Convolution
convolution_of(const Tape *tape, const TapeNode *node)
{
	int			filters = node->op == OP_CONVOLVE_FILTERS ? node->shape.cols : tape_node(tape, node->in[1])->shape.cols;
	Convolution c = {node->plane, plane_convolved(node->plane, node->stride, filters), node->stride, tape->interrupt};

	return c;
}

static size_t
filters_size(const Convolution *c)
{
	return (size_t) 9 * c->in.channels * c->out.channels;
}

size_t
convolve_scratch(const Tape *tape, const TapeNode *node)
{
	Convolution c = convolution_of(tape, node);

	return convolution_method(&c)->scratch(&c);
}

double
convolve_cost(const Tape *tape, const TapeNode *node)
{
	Convolution c = convolution_of(tape, node);
	Shape		a = tape_node(tape, node->in[0])->shape;
	double		images = shape_size(a) / plane_size(node->op == OP_CONVOLVE_INPUT ? c.out : c.in);

	return images * c.out.height * c.out.width * filters_size(&c);
}

/* Appends one of the three; s is its result's shape. */
static Var
append(Tape *tape, OpCode op, Shape s, Plane plane, int stride, Var a, Var b)
{
	Var			v = tape_append_plane(tape, op, s, plane, a, b, TAPE_NONE);

	if (v != TAPE_NONE)
		tape_node(tape, v)->stride = stride;
	return v;
}

static int
most_tasks(const Tape *tape, Var a, Var b)
{
	int			x = tape_shape(tape, a).tasks;
	int			y = tape_shape(tape, b).tasks;

	return x > y ? x : y;
}

Var
tape_convolve(Tape *tape, Var x, Plane plane, int stride, Var w)
{
	Shape		sx = tape_shape(tape, x);
	Shape		sw = tape_shape(tape, w);
	int			images;
	size_t		pixels;
	Plane		out;

	if (tape->fault)
		return TAPE_NONE;
	images = count_images(sx, plane);
	if (images < 0 || stride < 1 || stride > 2 || sw.rows != 9 * plane.channels || sw.cols < 1 ||
		(sx.tasks != sw.tasks && sx.tasks != 1 && sw.tasks != 1))
		return tape_fault(tape, "shapes do not fit in a convolution");
	out = plane_convolved(plane, stride, sw.cols);
	if (!plane_valid(out))
		return tape_fault(tape, "a shape is larger than any memory");
	pixels = (size_t) images * out.height * out.width;
	if (pixels > INT32_MAX)
		return tape_fault(tape, "a shape is larger than any memory");
	return append(tape, OP_CONVOLVE, shape(most_tasks(tape, x, w), (int) pixels, sw.cols), plane, stride, x, w);
}

/* The gradient of images of shape like. */
static Var
input_like(Tape *tape, const TapeNode *node, Var g, Var w, Shape like)
{
	Shape		s = shape(most_tasks(tape, g, w), like.rows, like.cols);

	return tape_sum(tape, append(tape, OP_CONVOLVE_INPUT, s, node->plane, node->stride, g, w), like);
}

/* The gradient of filters of shape like. */
static Var
filters_like(Tape *tape, const TapeNode *node, Var x, Var g, Shape like)
{
	return append(tape, OP_CONVOLVE_FILTERS, like, node->plane, node->stride, x, g);
}

/* conv(x, w) in the shape of like */
static Var
convolve_like(Tape *tape, const TapeNode *node, Var x, Var w, Shape like)
{
	return tape_sum(tape, tape_convolve(tape, x, node->plane, node->stride, w), like);
}

void
convolve_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *x = tape_node(tape, node->in[0]);
	const TapeNode *w = tape_node(tape, node->in[1]);
	Convolution c = convolution_of(tape, node);
	int			images = count_images(x->shape, node->plane);
	size_t		step_x = x->shape.tasks == 1 ? 0 : images * plane_size(c.in);
	size_t		step_w = w->shape.tasks == 1 ? 0 : filters_size(&c);
	int			runs = node->shape.tasks;

	/* images of all tasks and shared filters: one run over all */
	if (step_w == 0 && x->shape.tasks == runs)
	{
		images *= runs;
		runs = 1;
	}
	for (int t = 0; t < runs; t++)
		convolution_method(&c)->images(&c, images, x->data + t * step_x, w->data + t * step_w,
									   node->data + t * images * plane_size(c.out), tape->scratch);
}

void
convolve_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	Var			x = node.in[0];
	Var			w = node.in[1];

	if (wanted[0])
		out[0] = input_like(tape, &node, g, w, tape_shape(tape, x));
	if (wanted[1])
		out[1] = filters_like(tape, &node, x, g, tape_shape(tape, w));
}

void
convolve_input_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *g = tape_node(tape, node->in[0]);
	const TapeNode *w = tape_node(tape, node->in[1]);
	Convolution c = convolution_of(tape, node);
	int			images = count_images(node->shape, node->plane);
	size_t		step_g = g->shape.tasks == 1 ? 0 : images * plane_size(c.out);
	size_t		step_w = w->shape.tasks == 1 ? 0 : filters_size(&c);
	int			runs = node->shape.tasks;

	if (step_w == 0 && g->shape.tasks == runs)
	{
		images *= runs;
		runs = 1;
	}
	for (int t = 0; t < runs; t++)
		convolution_method(&c)->input(&c, images, g->data + t * step_g, w->data + t * step_w,
									  node->data + t * images * plane_size(c.in), tape->scratch);
}

/* x = input(g, w), with the gradient h of it:  dg = conv(h, w),  dw = filters(h, g) */
void
convolve_input_backward(Tape *tape, Var v, Var h, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	Var			g = node.in[0];
	Var			w = node.in[1];

	if (wanted[0])
		out[0] = convolve_like(tape, &node, h, w, tape_shape(tape, g));
	if (wanted[1])
		out[1] = filters_like(tape, &node, h, g, tape_shape(tape, w));
}

void
convolve_filters_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *x = tape_node(tape, node->in[0]);
	const TapeNode *g = tape_node(tape, node->in[1]);
	Convolution c = convolution_of(tape, node);
	int			images = count_images(x->shape, node->plane);
	size_t		step_x = x->shape.tasks == 1 ? 0 : images * plane_size(c.in);
	size_t		step_g = g->shape.tasks == 1 ? 0 : images * plane_size(c.out);
	size_t		step_w = node->shape.tasks == 1 ? 0 : filters_size(&c);
	int			runs = x->shape.tasks > g->shape.tasks ? x->shape.tasks : g->shape.tasks;

	memset(node->data, 0, shape_size(node->shape) * sizeof(real));
	if (step_w == 0 && x->shape.tasks == g->shape.tasks)
	{
		images *= runs;
		runs = 1;
	}
	for (int t = 0; t < runs; t++)
		convolution_method(&c)->filters(&c, images, x->data + t * step_x, g->data + t * step_g,
										node->data + t * step_w, tape->scratch);
}

/* w = filters(x, g), with the gradient h of it:  dx = input(g, h),  dg = conv(x, h) */
void
convolve_filters_backward(Tape *tape, Var v, Var h, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	Var			x = node.in[0];
	Var			g = node.in[1];

	if (wanted[0])
		out[0] = input_like(tape, &node, g, h, tape_shape(tape, x));
	if (wanted[1])
		out[1] = convolve_like(tape, &node, x, h, tape_shape(tape, g));
}
