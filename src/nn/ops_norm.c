/*
 * ops_norm.c
 *	  Batch normalisation over the rows of a task.
 *
 *	  y = r (x - m) + shift,   r = 1 / sqrt(v + eps)
 *
 * with mean m and variance v of a column over the N rows that count (of an
 * image, its pixels).  (S. Ioffe, C. Szegedy, "Batch normalization", ICML
 * 2015.)  Along one column, with z = r (x - m),
 *
 *	  J = dy / dx = r (I - (1 1' + z z') / N)
 *
 * is symmetric, and rows that do not count take no part, so the gradient of x
 * is J g.  That is an operation of its own, J(x) g, whose gradient is J h of g
 * again, and of x
 *
 *	  d(h' J g) / dx = - (r / N) (z (h' J g) + (z' h) J g + (z' g) J h).
 *
 * Each operation reads its rows twice: once for sums, once for the result.
 */
#include "nn/tape_private.h"

#include <tgmath.h>
#include <string.h>

#include "nn/kernels.h"

/* Rows whose sums are kept in real before they are added to those in double. */
#define SUM_ROWS 512

/* The rows of one task. */
typedef struct TaskRows
{
	int			rows;			/* that w has a number for */
	size_t		space;			/* rows of x for each */
	int			cols;
	const real *w;				/* or NULL */
	void		(*interrupt) (void);	/* the tape's, or NULL */
} TaskRows;

size_t
normalise_scratch(const TapeNode *node)
{
	/* four rows of double, five of real */
	return (size_t) node->shape.cols * (4 * sizeof(double) / sizeof(real) + 5) + 64;
}

typedef struct Scratch
{
	double	   *sums[4];
	real	   *rows[5];
} Scratch;

static Scratch
scratch_of(const Tape *tape, int cols)
{
	Scratch		s;
	double	   *at = (double *) tape->scratch;	/* an arena aligns to 64 */

	for (int i = 0; i < 4; i++, at += cols)
		s.sums[i] = at;
	for (int i = 0; i < 5; i++)
		s.rows[i] = (real *) at + (size_t) i * cols;
	return s;
}

static TaskRows
rows_of(const Tape *tape, const TapeNode *x, Var w, int t)
{
	TaskRows	rows = {x->shape.rows, 1, x->shape.cols, NULL, tape->interrupt};

	if (w != TAPE_NONE)
	{
		const TapeNode *weights = tape_node(tape, w);

		rows.rows = weights->shape.rows;
		rows.space = rows.rows == 0 ? 0 : x->shape.rows / rows.rows;
		rows.w = weights->data + (weights->shape.tasks == 1 ? 0 : (size_t) t * rows.rows);
	}
	return rows;
}

/* Many images are many milliseconds' work. */
static inline void
pause_rows(const TaskRows *rows)
{
	if (rows->interrupt)
		rows->interrupt();
}

static bool
counts(const TaskRows *rows, int i)
{
	return rows->w == NULL || rows->w[i] > 0;
}

/* The end of the run of rows from i on that count, or do not, alike. */
static int
run_end(const TaskRows *rows, int i)
{
	int			end = i + 1;

	while (end < rows->rows && counts(rows, end) == counts(rows, i))
		end++;
	return end;
}

static void
add_up(int cols, real *from, double *to)
{
	for (int c = 0; c < cols; c++)
	{
		to[c] += from[c];
		from[c] = 0;
	}
}

/*
 * Mean into pivot and 1 / sqrt(variance + eps) into rate; returns N.  The
 * variance, if asked for, into variance.
 */
static double
moments(const TaskRows *rows, const real *x, Scratch *s, real *pivot, real *rate, real *variance)
{
	int			cols = rows->cols;
	double		n = 0;
	bool		first = true;

	memset(s->sums[0], 0, cols * sizeof(double));
	memset(s->sums[1], 0, cols * sizeof(double));
	memset(s->rows[3], 0, cols * sizeof(real));
	memset(s->rows[4], 0, cols * sizeof(real));
	memset(pivot, 0, cols * sizeof(real));
	for (int i = 0, end; i < rows->rows; i = end)
	{
		size_t		from = i * rows->space;
		size_t		to;

		end = run_end(rows, i);
		to = end * rows->space;
		if (!counts(rows, i))
			continue;
		/* differences from a row, which is near the mean as numbers go, lose no digits */
		if (first && from < to)
		{
			memcpy(pivot, x + from * cols, cols * sizeof(real));
			first = false;
		}
		n += to - from;
		for (; from < to; from += SUM_ROWS)
		{
			kernels()->column_squares(to - from < SUM_ROWS ? to - from : SUM_ROWS, cols, x + from * cols, pivot,
									  s->rows[3], s->rows[4]);
			add_up(cols, s->rows[3], s->sums[0]);
			add_up(cols, s->rows[4], s->sums[1]);
			pause_rows(rows);
		}
	}
	for (int c = 0; c < cols; c++)
	{
		double		off = n > 0 ? s->sums[0][c] / n : 0;
		double		v = n > 0 ? s->sums[1][c] / n - off * off : 0;

		pivot[c] += off;
		v = v > 0 ? v : 0;
		rate[c] = 1 / sqrt(v + NORM_EPSILON);
		if (variance)
			variance[c] = v;
	}
	return n;
}

/* Does a row of cols numbers fit, one or one per task; or TAPE_NONE? */
static bool
row_fits(const Tape *tape, Var row, Shape s)
{
	Shape		r = tape_shape(tape, row);

	return row == TAPE_NONE || ((r.tasks == 1 || r.tasks == s.tasks) && r.rows == 1 && r.cols == s.cols);
}

/* Do weights of rows? */
static bool
weights_fit(const Tape *tape, Var w, Shape s)
{
	Shape		sw = tape_shape(tape, w);

	return w == TAPE_NONE || ((sw.tasks == 1 || sw.tasks == s.tasks) && sw.cols == 1 &&
							  (sw.rows == 0 ? s.rows == 0 : s.rows % sw.rows == 0));
}

/* A task's shift, or zeros, into offset. */
static void
shift_of(const Tape *tape, const TapeNode *node, int t, real *offset)
{
	const TapeNode *shift = node->in[2] == TAPE_NONE ? NULL : tape_node(tape, node->in[2]);
	size_t		cols = node->shape.cols;

	if (shift)
		memcpy(offset, shift->data + (shift->shape.tasks == 1 ? 0 : t * cols), cols * sizeof(real));
	else
		memset(offset, 0, cols * sizeof(real));
}

Var
tape_normalise(Tape *tape, Var x, Var w, Var shift)
{
	Shape		s = tape_shape(tape, x);

	if (tape->fault)
		return TAPE_NONE;
	if (!weights_fit(tape, w, s) || !row_fits(tape, shift, s))
		return tape_fault(tape, "shapes do not fit in a normalisation");
	return tape_append(tape, OP_NORMALISE, s, x, w, shift);
}

void
normalise_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *x = tape_node(tape, node->in[0]);
	int			cols = node->shape.cols;
	size_t		step = (size_t) node->shape.rows * cols;
	Scratch		s = scratch_of(tape, cols);
	real	   *offset = s.rows[2];

	for (int t = 0; t < node->shape.tasks; t++)
	{
		TaskRows	rows = rows_of(tape, x, node->in[1], t);
		const real *from = x->data + t * step;
		real	   *to = node->data + t * step;

		moments(&rows, from, &s, s.rows[0], s.rows[1], NULL);
		shift_of(tape, node, t, offset);
		for (int i = 0, end; i < rows.rows; i = end)
		{
			size_t		at = i * rows.space;
			size_t		n;

			end = run_end(&rows, i);
			n = (end - i) * rows.space;
			if (counts(&rows, i))
				kernels()->column_scale(n, cols, from + at * cols, s.rows[0], s.rows[1], offset, to + at * cols);
			else
				for (size_t r = at; r < at + n; r++)
					memcpy(to + r * cols, offset, cols * sizeof(real));
		}
	}
}

/* J(x) g */
static Var
append_input(Tape *tape, Var g, Var x, Var w)
{
	return tape_append(tape, OP_NORMALISE_INPUT, tape_shape(tape, x), g, x, w);
}

void
normalise_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = append_input(tape, g, node.in[0], node.in[1]);
	if (wanted[2])
		out[2] = tape_sum(tape, g, tape_shape(tape, node.in[2]));
}

/*
 * J g = r (g - sum g / N - z (sum g z) / N) = r g + t (x - m) + u,  with
 * t = - r^3 sum g (x - m) / N  and  u = - r sum g / N:  of N rows, r in rows[1]
 * and the sums of g and g (x - m) in sums[2] and sums[3], t into rows[2] and u
 * into rows[3].
 */
static void
input_factors(const Scratch *s, double n, int cols)
{
	for (int c = 0; c < cols; c++)
	{
		double		r = s->rows[1][c];

		s->rows[2][c] = n > 0 ? -r * r * r * s->sums[3][c] / n : 0;
		s->rows[3][c] = n > 0 ? -r * s->sums[2][c] / n : 0;
	}
}

void
normalise_input_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *g = tape_node(tape, node->in[0]);
	const TapeNode *x = tape_node(tape, node->in[1]);
	int			cols = node->shape.cols;
	size_t		step = (size_t) node->shape.rows * cols;
	Scratch		s = scratch_of(tape, cols);

	for (int t = 0; t < node->shape.tasks; t++)
	{
		TaskRows	rows = rows_of(tape, x, node->in[2], t);
		const real *of_x = x->data + t * step;
		const real *of_g = g->data + t * step;
		real	   *to = node->data + t * step;
		double		n = moments(&rows, of_x, &s, s.rows[0], s.rows[1], NULL);

		memset(s.sums[2], 0, cols * sizeof(double));
		memset(s.sums[3], 0, cols * sizeof(double));
		for (int i = 0, end; i < rows.rows; i = end)
		{
			size_t		from = i * rows.space;
			size_t		until;

			end = run_end(&rows, i);
			until = end * rows.space;
			for (; counts(&rows, i) && from < until; from += SUM_ROWS)
			{
				kernels()->column_products(until - from < SUM_ROWS ? until - from : SUM_ROWS, cols,
										   of_g + from * cols, of_x + from * cols, s.rows[0], s.rows[3], s.rows[4]);
				add_up(cols, s.rows[3], s.sums[2]);
				add_up(cols, s.rows[4], s.sums[3]);
			}
		}
		input_factors(&s, n, cols);
		for (int i = 0, end; i < rows.rows; i = end)
		{
			size_t		at = i * rows.space * cols;

			end = run_end(&rows, i);
			if (counts(&rows, i))
				kernels()->column_blend((end - i) * rows.space, cols, of_g + at, s.rows[1], of_x + at, s.rows[0],
										s.rows[2], s.rows[3], to + at);
			else
				memset(to + at, 0, (end - i) * rows.space * cols * sizeof(real));
		}
	}
}

/* Each row's weight, 1 or 0, for every pixel: (tasks, rows of x, 1) */
static Var
spread_weights(Tape *tape, Var w, Shape s)
{
	Shape		sw = tape_shape(tape, w);
	int			space = sw.rows == 0 ? 1 : s.rows / sw.rows;
	Var			each = tape_unary(tape, UNARY_RELU, 1, w);

	return tape_reshape(tape, tape_expand(tape, each, shape(sw.tasks, sw.rows, space)), s.rows, 1);
}

/*
 * The gradient of x where that of jg = J(x) g is h, and jh = J(x) h: see above.
 * This is for second-order learners with few rows, so it is put together from
 * plain operations.
 */
static Var
input_gradient(Tape *tape, Var jg, Var g, Var x, Var w, Var h, Var jh)
{
	Shape		s = tape_shape(tape, x);
	Shape		one = shape(s.tasks, 1, s.cols);
	Var			weights;
	Var			share;
	Var			centred;
	Var			rate;
	Var			z;
	Var			sum;

	if (tape->fault)
		return TAPE_NONE;
	weights = w == TAPE_NONE ? tape_expand(tape, tape_constant(tape, 1), shape(1, s.rows, 1)) : spread_weights(tape, w, s);
	/* 1 / N where a row counts */
	share = tape_sum(tape, weights, shape(tape_shape(tape, weights).tasks, 1, 1));
	share = tape_multiply(tape, weights, tape_unary(tape, UNARY_RECIPROCAL, 0, tape_scale(tape, share, 1, 1e-30)));

	centred = tape_axpy(tape, x, -1, tape_sum(tape, tape_multiply(tape, x, share), one));
	rate = tape_sum(tape, tape_multiply(tape, tape_unary(tape, UNARY_SQUARE, 0, centred), share), one);
	rate = tape_unary(tape, UNARY_RECIPROCAL, 0,
					  tape_unary(tape, UNARY_SQRT, 0, tape_scale(tape, rate, 1, NORM_EPSILON)));
	z = tape_multiply(tape, tape_multiply(tape, centred, rate), weights);

	sum = tape_multiply(tape, z, tape_sum(tape, tape_multiply(tape, h, jg), one));
	sum = tape_axpy(tape, sum, 1, tape_multiply(tape, jg, tape_sum(tape, tape_multiply(tape, z, h), one)));
	sum = tape_axpy(tape, sum, 1, tape_multiply(tape, jh, tape_sum(tape, tape_multiply(tape, z, g), one)));
	return tape_scale(tape, tape_multiply(tape, tape_multiply(tape, sum, rate), share), -1, 0);
}

void
normalise_input_backward(Tape *tape, Var v, Var h, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	Var			jh = append_input(tape, h, node.in[1], node.in[2]);

	if (wanted[0])
		out[0] = jh;
	if (wanted[1])
		out[1] = input_gradient(tape, v, node.in[0], node.in[1], node.in[2], h, jh);
}

/* ---- pooled ---- */

/*
 * y = r (p - m) + shift of what pooling leaves, p.  With U, which puts a number
 * where p came from, the gradient of x is J U g: U' is what pooling does to the
 * numbers of another image where x is largest, see ops_pool.c.
 */

size_t
normalise_pooled_scratch(const TapeNode *node)
{
	/* and a row of pooled pixels */
	return normalise_scratch(node) + (size_t) node->shape.cols * (node->plane.width / 2);
}

/* Does one count? */
static bool
image_counts(const TaskRows *rows, int image, int images)
{
	return rows->w == NULL || rows->w[image / (images / rows->rows)] > 0;
}

Var
tape_normalise_pooled(Tape *tape, Var x, Plane plane, Var w, Var shift)
{
	Shape		s = tape_shape(tape, x);
	Plane		out = plane_pooled(plane);
	int			images;

	if (tape->fault)
		return TAPE_NONE;
	if (!images_pool(s, plane) || plane.channels != s.cols)
		return tape_fault(tape, "shapes do not fit in pooling");
	images = count_images(s, plane);
	if (!weights_fit(tape, w, s) || !row_fits(tape, shift, s) ||
		(w != TAPE_NONE && images > 0 && images % tape_shape(tape, w).rows != 0))
		return tape_fault(tape, "shapes do not fit in a normalisation");
	return tape_append_plane(tape, OP_NORMALISE_POOLED, shape(s.tasks, images * out.height * out.width, s.cols), plane, x, w, shift);
}

void
normalise_pooled_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *x = tape_node(tape, node->in[0]);
	Plane		plane = node->plane;
	Plane		out = plane_pooled(plane);
	int			cols = node->shape.cols;
	int			images = count_images(x->shape, plane);
	Scratch		s = scratch_of(tape, cols);
	real	   *offset = s.rows[2];
	real	   *to = node->data;

	for (int t = 0; t < node->shape.tasks; t++)
	{
		const real *from = x->data + (size_t) t * x->shape.rows * cols;
		TaskRows	rows = rows_of(tape, x, node->in[1], t);

		moments(&rows, from, &s, s.rows[0], s.rows[1], NULL);
		shift_of(tape, node, t, offset);
		for (int m = 0; m < images; m++, from += plane_size(plane), pause_rows(&rows))
			for (int i = 0; i < out.height; i++, to += (size_t) out.width * cols)
				if (image_counts(&rows, m, images))
				{
					pool_row(from, plane, i, to);
					kernels()->column_scale(out.width, cols, to, s.rows[0], s.rows[1], offset, to);
				}
				else
					for (int j = 0; j < out.width; j++)
						memcpy(to + (size_t) j * cols, offset, cols * sizeof(real));
	}
}

static Var
append_pooled_input(Tape *tape, Var g, Var x, Var w, Plane plane)
{
	return tape_append_plane(tape, OP_NORMALISE_POOLED_INPUT, tape_shape(tape, x), plane, g, x, w);
}

void
normalise_pooled_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = append_pooled_input(tape, g, node.in[0], node.in[1], node.plane);
	if (wanted[2])
		out[2] = tape_sum(tape, g, tape_shape(tape, node.in[2]));
}

/* to = r U g + t (x - m) + u of an image: see input_factors. */
static void
spread_blended(const real *x, const real *g, Plane plane, const Scratch *s, real *to)
{
	Plane		out = plane_pooled(plane);
	size_t		row = (size_t) plane.width * plane.channels;

	for (int i = 0; i < out.height; i++)
	{
		for (int j = 0; j < out.width; j++, g += plane.channels)
		{
			PoolWindow	of = pool_window(plane, i, j);
			const real *of_x[4] = {x + of.at[0], x + of.at[1], x + of.at[2], x + of.at[3]};
			real	   *of_to[4] = {to + of.at[0], to + of.at[1], to + of.at[2], to + of.at[3]};

			kernels()->blend_largest(plane.channels, of_x, s->rows[1], g, s->rows[0], s->rows[2], s->rows[3], of_to);
		}
		/* of an odd number of pixels the last is in no window */
		for (int r = 2 * i; plane.width % 2 != 0 && r < 2 * i + 2; r++)
			kernels()->column_scale(1, plane.channels, x + (r + 1) * row - plane.channels, s->rows[0], s->rows[2], s->rows[3],
									to + (r + 1) * row - plane.channels);
	}
	if (plane.height % 2 != 0)
		kernels()->column_scale(plane.width, plane.channels, x + (plane.height - 1) * row, s->rows[0], s->rows[2], s->rows[3],
								to + (plane.height - 1) * row);
}

/* As normalise_input_forward, of U g. */
void
normalise_pooled_input_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *g = tape_node(tape, node->in[0]);
	const TapeNode *x = tape_node(tape, node->in[1]);
	Plane		plane = node->plane;
	Plane		out = plane_pooled(plane);
	int			cols = node->shape.cols;
	size_t		row = (size_t) out.width * cols;
	int			images = count_images(x->shape, plane);
	Scratch		s = scratch_of(tape, cols);
	real	   *pooled = s.rows[4] + cols;

	for (int t = 0; t < node->shape.tasks; t++)
	{
		const real *of_x = x->data + (size_t) t * x->shape.rows * cols;
		const real *of_g = g->data + (size_t) t * g->shape.rows * cols;
		real	   *to = node->data + (size_t) t * x->shape.rows * cols;
		TaskRows	rows = rows_of(tape, x, node->in[2], t);
		double		n = moments(&rows, of_x, &s, s.rows[0], s.rows[1], NULL);

		memset(s.sums[2], 0, cols * sizeof(double));
		memset(s.sums[3], 0, cols * sizeof(double));
		for (int m = 0; m < images; m++)
		{
			if (!image_counts(&rows, m, images))
				continue;
			for (int i = 0; i < out.height; i++)
			{
				pool_row(of_x + m * plane_size(plane), plane, i, pooled);
				kernels()->column_products(out.width, cols, of_g + m * plane_size(out) + i * row, pooled, s.rows[0],
										   s.rows[3], s.rows[4]);
			}
			add_up(cols, s.rows[3], s.sums[2]);
			add_up(cols, s.rows[4], s.sums[3]);
			pause_rows(&rows);
		}
		input_factors(&s, n, cols);
		for (int m = 0; m < images; m++, of_x += plane_size(plane), of_g += plane_size(out), to += plane_size(plane), pause_rows(&rows))
			if (image_counts(&rows, m, images))
				spread_blended(of_x, of_g, plane, &s, to);
			else
				memset(to, 0, plane_size(plane) * sizeof(real));
	}
}

void
normalise_pooled_input_backward(Tape *tape, Var v, Var h, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	Var			jh = append_input(tape, h, node.in[1], node.in[2]);

	if (wanted[0])
		out[0] = tape_pick(tape, jh, node.in[1], node.plane);
	if (wanted[1])
		out[1] = input_gradient(tape, v, tape_spread(tape, node.in[0], node.in[1], node.plane), node.in[1], node.in[2], h, jh);
}

/* ---- the moments themselves ---- */

Var
tape_moments(Tape *tape, Var x, Var w, Var rest)
{
	Shape		s = tape_shape(tape, x);
	Shape		r = tape_shape(tape, rest);

	if (tape->fault)
		return TAPE_NONE;
	if (!weights_fit(tape, w, s) ||
		(r.tasks != 1 && r.tasks != s.tasks) || r.rows != 2 || r.cols != s.cols)
		return tape_fault(tape, "shapes do not fit in a normalisation");
	return tape_append(tape, OP_MOMENTS, shape(s.tasks, 2, s.cols), x, w, rest);
}

void
moments_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *x = tape_node(tape, node->in[0]);
	const TapeNode *rest = tape_node(tape, node->in[2]);
	int			cols = node->shape.cols;
	size_t		step = (size_t) x->shape.rows * cols;
	Scratch		s = scratch_of(tape, cols);

	for (int t = 0; t < node->shape.tasks; t++)
	{
		TaskRows	rows = rows_of(tape, x, node->in[1], t);
		real	   *to = node->data + (size_t) t * 2 * cols;

		if (moments(&rows, x->data + t * step, &s, to, s.rows[1], to + cols) == 0)
			memcpy(to, rest->data + (rest->shape.tasks == 1 ? 0 : (size_t) t * 2 * cols), 2 * cols * sizeof(real));
	}
}
