/*
 * ops_conv.c
 *	  Convolution and pooling of images.
 *
 * A convolution is linear in its images x and in its filters w, so with any
 * g of y's shape
 *	  <conv(x, w), g> = <x, input(g, w)> = <w, filters(x, g)>
 * where input and filters are the gradients.  Each of the three is bilinear,
 * and the gradients of each are the other two: the set is closed, and any
 * derivative stays on the tape.
 *
 * Patches of 3 x 3 pixels are laid out as rows of a matrix, for as many images
 * at a time as a cache holds; then each of the three is a matrix product.
 *
 * Pooling passes on what stands at the largest of 2 x 2 pixels.  Which one
 * that is changes nowhere but where two are equal, so that no gradient flows
 * to the choice: passing on from there (pick) and passing back to there
 * (spread) are each other's gradient.
 */
#include "nn/tape_private.h"

#include <string.h>

#include "nn/kernels.h"

/* Patches that are laid out at a time, in bytes, if that is one image at least. */
#define PATCH_BYTES (768 * 1024)

Plane
plane_convolved(Plane plane, int stride, int filters)
{
	Plane		to = {(plane.height - 1) / stride + 1, (plane.width - 1) / stride + 1, filters};

	return to;
}

Plane
plane_pooled(Plane plane)
{
	Plane		to = {plane.height / 2, plane.width / 2, plane.channels};

	return to;
}

static bool
plane_valid(Plane plane)
{
	size_t		size;

	return plane.height > 0 && plane.width > 0 && plane.channels > 0 &&
		!__builtin_mul_overflow((size_t) plane.height, (size_t) plane.width, &size) &&
		!__builtin_mul_overflow(size, (size_t) plane.channels * 9 * sizeof(double), &size);
}

/* Images per task; -1 where the numbers make no whole images. */
static int
count_images(Shape s, Plane plane)
{
	size_t		numbers = (size_t) s.rows * s.cols;

	return plane_valid(plane) && numbers % plane_size(plane) == 0 ? (int) (numbers / plane_size(plane)) : -1;
}

/* ---- patches ---- */

/* A convolution of some images; filters are (9 channels, n_filters). */
typedef struct Geometry
{
	Plane		in;
	Plane		out;
	int			stride;
	int			patch;			/* numbers of a patch: 9 channels */
	size_t		pixels;			/* of the result */
	int			chunk;			/* images at a time */
} Geometry;

static Geometry
geometry(Plane plane, int stride, int filters)
{
	Geometry	g;
	size_t		bytes;

	g.in = plane;
	g.stride = stride;
	g.out = plane_convolved(plane, stride, filters);
	g.patch = 9 * plane.channels;
	g.pixels = (size_t) g.out.height * g.out.width;
	bytes = g.pixels * g.patch * sizeof(real);
	g.chunk = bytes < PATCH_BYTES ? (int) (PATCH_BYTES / bytes) : 1;
	return g;
}

/* Numbers that a row of a patch has in one image, and where. */
typedef struct Span
{
	int			from;			/* in the patch's row */
	int			n;
	const real *source;
} Span;

static inline void
copy_numbers(real *to, const real *from, int n)
{
	if (n <= 12)
		for (int i = 0; i < n; i++)
			to[i] = from[i];
	else
		memcpy(to, from, n * sizeof(real));
}

/*
 * Calls for each row k of 3 pixels of each patch: what is inside the image, as
 * offset and length in the patch's row and offset in the image.
 */
#define EACH_PATCH_ROW(g, body) \
	for (int i = 0; i < (g)->out.height; i++) \
		for (int j = 0; j < (g)->out.width; j++) \
			for (int k = 0; k < 3; k++, patch_row += width) \
			{ \
				int			y = i * (g)->stride + k - 1; \
				int			x = j * (g)->stride - 1; \
				int			first = x < 0 ? -x : 0; \
				int			last = x + 3 > (g)->in.width ? (g)->in.width - x : 3; \
				bool		inside = y >= 0 && y < (g)->in.height && first < last; \
				size_t		at = inside ? ((size_t) y * (g)->in.width + x + first) * channels : 0; \
				int			from = first * channels; \
				int			n = inside ? (last - first) * channels : 0; \
				body \
			}

/* The patches of an image as rows. */
static void
lay_out(const Geometry *g, const real *image, real *patch_row)
{
	int			channels = g->in.channels;
	int			width = 3 * channels;

	EACH_PATCH_ROW(g,
				   if (n < width)
				   memset(patch_row, 0, width * sizeof(real));
				   copy_numbers(patch_row + from, image + at, n);)
}

/* The sum of patches where they overlap, as an image. */
static void
put_back(const Geometry *g, const real *patch_row, real *image)
{
	int			channels = g->in.channels;
	int			width = 3 * channels;
	const Kernels *k_ = kernels();

	memset(image, 0, plane_size(g->in) * sizeof(real));
	EACH_PATCH_ROW(g,
				   if (n > 0)
				   k_->axpy(n, image + at, 1, patch_row + from, image + at);)
}

/* ---- the three products, for n images ---- */

/*
 * to (n, m) = op(a) b + c.  These are long but narrow: where b fits a cache,
 * the kernels for small matrices are faster than the library, which packs a.
 */
#define CACHED_NUMBERS (128 * 1024)

static void
product(const real *a, bool transpose_a, const real *b, int n, int m, int k, const real *c, real *to)
{
	if ((size_t) k * m <= CACHED_NUMBERS && (c == NULL || m % 16 == 0))
	{
		Product		p = {n, m, k, a, transpose_a ? 1 : k, transpose_a ? n : 1, b, m, c, m, 1, 1, to, false};

		kernels()->product(&p);
	}
	else
		run_product(a, transpose_a, b, false, n, m, k, 1, c, m, 1, to);
}

static void
convolve_images(const Geometry *g, int n, const real *x, const real *w, real *y, real *patches)
{
	for (int done = 0; done < n; done += g->chunk)
	{
		int			m = n - done < g->chunk ? n - done : g->chunk;

		for (int i = 0; i < m; i++)
			lay_out(g, x + (done + i) * plane_size(g->in), patches + i * g->pixels * g->patch);
		product(patches, false, w, (int) (m * g->pixels), g->out.channels, g->patch,
				NULL, y + done * plane_size(g->out));
	}
}

/* w_turned is (filters, 9 channels): a product by a transpose is slow */
static void
input_images(const Geometry *g, int n, const real *gradient, const real *w_turned, real *x, real *patches)
{
	for (int done = 0; done < n; done += g->chunk)
	{
		int			m = n - done < g->chunk ? n - done : g->chunk;

		product(gradient + done * plane_size(g->out), false, w_turned, (int) (m * g->pixels), g->patch,
				g->out.channels, NULL, patches);
		for (int i = 0; i < m; i++)
			put_back(g, patches + i * g->pixels * g->patch, x + (done + i) * plane_size(g->in));
	}
}

/* Adds to w. */
static void
filters_images(const Geometry *g, int n, const real *x, const real *gradient, real *w, real *patches)
{
	for (int done = 0; done < n; done += g->chunk)
	{
		int			m = n - done < g->chunk ? n - done : g->chunk;

		for (int i = 0; i < m; i++)
			lay_out(g, x + (done + i) * plane_size(g->in), patches + i * g->pixels * g->patch);
		product(patches, true, gradient + done * plane_size(g->out), g->patch, g->out.channels,
				(int) (m * g->pixels), w, w);
	}
}

/* ---- on the tape ---- */

/* The geometry of any of the three operations. */
static Geometry
geometry_of(const Tape *tape, const TapeNode *node)
{
	int			filters = node->op == OP_CONVOLVE_FILTERS ? node->shape.cols : tape_node(tape, node->in[1])->shape.cols;

	return geometry(node->plane, node->stride, filters);
}

size_t
convolve_scratch(const Tape *tape, const TapeNode *node)
{
	Geometry	g = geometry_of(tape, node);

	/* and the transpose of the filters */
	return g.chunk * g.pixels * g.patch + (size_t) g.patch * g.out.channels + 16;
}

double
convolve_cost(const Tape *tape, const TapeNode *node)
{
	Geometry	g = geometry_of(tape, node);
	Shape		a = tape_node(tape, node->in[0])->shape;
	double		images = shape_size(a) / plane_size(node->op == OP_CONVOLVE_INPUT ? g.out : g.in);

	return images * g.pixels * g.patch * g.out.channels;
}

/* Appends one of the three; s is its result's shape. */
static Var
append(Tape *tape, OpCode op, Shape s, Plane plane, int stride, Var a, Var b)
{
	Var			v = tape_append(tape, op, s, a, b, TAPE_NONE);

	if (v != TAPE_NONE)
	{
		tape_node(tape, v)->plane = plane;
		tape_node(tape, v)->stride = stride;
	}
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
	Geometry	g = geometry_of(tape, node);
	int			images = count_images(x->shape, node->plane);
	size_t		step_x = x->shape.tasks == 1 ? 0 : images * plane_size(g.in);
	size_t		step_w = w->shape.tasks == 1 ? 0 : (size_t) g.patch * g.out.channels;
	int			runs = node->shape.tasks;

	/* images of all tasks and shared filters: one run over all */
	if (step_w == 0 && x->shape.tasks == runs)
	{
		images *= runs;
		runs = 1;
	}
	for (int t = 0; t < runs; t++)
		convolve_images(&g, images, x->data + t * step_x, w->data + t * step_w,
						node->data + t * images * plane_size(g.out), tape->scratch);
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
	const TapeNode *gradient = tape_node(tape, node->in[0]);
	const TapeNode *w = tape_node(tape, node->in[1]);
	Geometry	g = geometry_of(tape, node);
	int			images = count_images(node->shape, node->plane);
	size_t		size_w = (size_t) g.patch * g.out.channels;
	size_t		step_g = gradient->shape.tasks == 1 ? 0 : images * plane_size(g.out);
	size_t		step_w = w->shape.tasks == 1 ? 0 : size_w;
	real	   *turned = tape->scratch + (g.chunk * g.pixels * g.patch + 15) / 16 * 16;
	int			runs = node->shape.tasks;

	if (step_w == 0 && gradient->shape.tasks == runs)
	{
		images *= runs;
		runs = 1;
	}
	for (int t = 0; t < runs; t++)
	{
		if (t == 0 || step_w > 0)
			kernels()->transpose(g.patch, g.out.channels, w->data + t * step_w, turned);
		input_images(&g, images, gradient->data + t * step_g, turned,
					 node->data + t * images * plane_size(g.in), tape->scratch);
	}
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
	const TapeNode *gradient = tape_node(tape, node->in[1]);
	Geometry	g = geometry_of(tape, node);
	int			images = count_images(x->shape, node->plane);
	size_t		step_x = x->shape.tasks == 1 ? 0 : images * plane_size(g.in);
	size_t		step_g = gradient->shape.tasks == 1 ? 0 : images * plane_size(g.out);
	size_t		step = node->shape.tasks == 1 ? 0 : (size_t) g.patch * g.out.channels;
	int			runs = x->shape.tasks > gradient->shape.tasks ? x->shape.tasks : gradient->shape.tasks;

	memset(node->data, 0, shape_size(node->shape) * sizeof(real));
	if (step == 0 && x->shape.tasks == gradient->shape.tasks)
	{
		images *= runs;
		runs = 1;
	}
	for (int t = 0; t < runs; t++)
		filters_images(&g, images, x->data + t * step_x, gradient->data + t * step_g,
					   node->data + t * step, tape->scratch);
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

/* ---- pooling ---- */

Var
tape_pick(Tape *tape, Var a, Var x, Plane plane)
{
	Shape		s = tape_shape(tape, x);
	Plane		out = plane_pooled(plane);
	int			images = count_images(s, plane);

	return append(tape, OP_PICK, shape(s.tasks, images * out.height * out.width, out.channels), plane, 1, a, x);
}

Var
tape_pool(Tape *tape, Var x, Plane plane)
{
	if (tape->fault)
		return TAPE_NONE;
	if (count_images(tape_shape(tape, x), plane) < 0 || plane.height < 2 || plane.width < 2)
		return tape_fault(tape, "shapes do not fit in pooling");
	return tape_pick(tape, x, x, plane);
}

/* The corners of the 2 x 2 pixels that a row of pooled pixels begins with. */
static void
corners(const real *image, Plane plane, int i, const real *rows[2])
{
	size_t		row = (size_t) plane.width * plane.channels;

	rows[0] = image + 2 * i * row;
	rows[1] = rows[0] + row;
}

/* y[p] = a[q(p)], where q is the largest of the pixels of p in x */
void
pick_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *x = tape_node(tape, node->in[1]);
	Plane		plane = node->plane;
	Plane		out = plane_pooled(plane);
	int			images = x->shape.tasks * count_images(x->shape, plane);
	int			channels = plane.channels;
	real	   *to = node->data;

	for (int m = 0; m < images; m++)
		for (int i = 0; i < out.height; i++)
		{
			const real *rows[2];
			const real *from[2];

			corners(x->data + m * plane_size(plane), plane, i, rows);
			corners(a->data + m * plane_size(plane), plane, i, from);
			for (int j = 0; j < out.width; j++, to += channels)
			{
				size_t		left = (size_t) 2 * j * channels;
				const real *of_x[4] = {rows[0] + left, rows[0] + left + channels, rows[1] + left, rows[1] + left + channels};
				const real *of_a[4] = {from[0] + left, from[0] + left + channels, from[1] + left, from[1] + left + channels};

				if (a == x)
				{
					kernels()->largest(channels, of_x, to);
					continue;
				}
				for (int c = 0; c < channels; c++)
				{
					int			above = of_x[0][c] >= of_x[1][c] ? 0 : 1;
					int			below = of_x[2][c] >= of_x[3][c] ? 2 : 3;

					to[c] = of_a[of_x[above][c] >= of_x[below][c] ? above : below][c];
				}
			}
		}
}

Var
tape_spread(Tape *tape, Var a, Var x, Plane plane)
{
	return append(tape, OP_SPREAD, tape_shape(tape, x), plane, 1, a, x);
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
	int			channels = plane.channels;
	const real *from = g->data;

	if (plane.height % 2 != 0 || plane.width % 2 != 0)
		memset(node->data, 0, shape_size(node->shape) * sizeof(real));
	for (int m = 0; m < images; m++)
		for (int i = 0; i < out.height; i++)
		{
			const real *rows[2];
			real	   *to_row = node->data + m * plane_size(plane) + (size_t) 2 * i * plane.width * channels;

			corners(x->data + m * plane_size(plane), plane, i, rows);
			for (int j = 0; j < out.width; j++, from += channels)
			{
				size_t		left = (size_t) 2 * j * channels;
				size_t		under = (size_t) plane.width * channels;
				const real *of_x[4] = {rows[0] + left, rows[0] + left + channels, rows[1] + left, rows[1] + left + channels};
				real	   *to[4] = {to_row + left, to_row + left + channels, to_row + under + left, to_row + under + left + channels};

				kernels()->to_largest(channels, of_x, from, to);
			}
		}
}

void
spread_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = tape_pick(tape, g, node.in[1], node.plane);
}
