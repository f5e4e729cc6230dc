/*
 * ops_shape.c
 *	  Sums, products and moves of elements.
 *
 * Repeating a dimension and summing over it are each other's gradient, as are
 * gathering table rows and scattering to them.
 */
#include "nn/tape_private.h"

#include <string.h>

#include "nn/kernels.h"

/* ---- repeating ---- */

/* to[...] = from repeated to shape s (from's shape is f); s covers f. */
static void
repeat_into(real *to, Shape s, const real *from, Shape f)
{
	size_t		step_task = f.tasks == 1 ? 0 : (size_t) f.rows * f.cols;
	size_t		step_row = f.rows == 1 ? 0 : f.cols;

	if (shape_equal(s, f))
	{
		memcpy(to, from, shape_size(s) * sizeof(real));
		return;
	}
	for (int t = 0; t < s.tasks; t++)
		for (int r = 0; r < s.rows; r++, to += s.cols)
		{
			const real *row = from + t * step_task + r * step_row;

			if (f.cols == s.cols)
				memcpy(to, row, s.cols * sizeof(real));
			else
				for (int c = 0; c < s.cols; c++)
					to[c] = row[0];
		}
}

Var
tape_expand(Tape *tape, Var a, Shape s)
{
	Shape		f = tape_shape(tape, a),
				common;

	if (tape->fault)
		return TAPE_NONE;
	if (a != TAPE_NONE && shape_equal(f, s))
		return a;
	if (!shape_common(f, s, &common) || !shape_equal(common, s))
		return tape_fault(tape, "a shape cannot be repeated to the wanted one");
	return tape_append(tape, OP_EXPAND, s, a, TAPE_NONE, TAPE_NONE);
}

void
expand_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);

	repeat_into(node->data, node->shape, a->data, a->shape);
}

void
expand_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	if (wanted[0])
		out[0] = tape_sum(tape, g, tape_shape(tape, tape_node(tape, v)->in[0]));
}

/* ---- summing ---- */

Var
tape_sum(Tape *tape, Var a, Shape s)
{
	Shape		f = tape_shape(tape, a),
				common;

	if (tape->fault)
		return TAPE_NONE;
	if (a != TAPE_NONE && shape_equal(f, s))
		return a;
	if (!shape_common(f, s, &common) || !shape_equal(common, f))
		return tape_fault(tape, "a shape cannot be summed to the wanted one");
	return tape_append(tape, OP_SUM, s, a, TAPE_NONE, TAPE_NONE);
}

void
sum_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	Shape		f = a->shape;
	Shape		s = node->shape;
	size_t		step_task = s.tasks == 1 ? 0 : (size_t) s.rows * s.cols;
	size_t		step_row = s.rows == 1 ? 0 : s.cols;
	const real *from = a->data;

	memset(node->data, 0, shape_size(s) * sizeof(real));
	for (int t = 0; t < f.tasks; t++)
		for (int r = 0; r < f.rows; r++, from += f.cols)
		{
			real	   *to = node->data + t * step_task + r * step_row;

			if (s.cols == f.cols)
				kernels()->axpy(f.cols, to, 1, from, to);
			else
			{
				real		sum = 0;

				for (int c = 0; c < f.cols; c++)
					sum += from[c];
				to[0] += sum;
			}
		}
}

void
sum_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	if (wanted[0])
		out[0] = tape_expand(tape, g, tape_shape(tape, tape_node(tape, v)->in[0]));
}

/* ---- elementwise, two operands ---- */

static Var
append_pair(Tape *tape, OpCode op, Var a, Var b)
{
	Shape		common;

	if (tape->fault)
		return TAPE_NONE;
	if (a == TAPE_NONE || b == TAPE_NONE ||
		!shape_common(tape_shape(tape, a), tape_shape(tape, b), &common))
		return tape_fault(tape, "shapes do not fit elementwise");
	return tape_append(tape, op, common, a, b, TAPE_NONE);
}

/* Steps through an operand that is repeated to shape s. */
typedef struct Walk
{
	size_t		task;
	size_t		row;
	int			col;
} Walk;

static Walk
walk(Shape f)
{
	Walk		w = {f.tasks == 1 ? 0 : (size_t) f.rows * f.cols,
	f.rows == 1 ? 0 : f.cols, f.cols == 1 ? 0 : 1};

	return w;
}

/* to (s) = m times a number per task or row */
static void
multiply_by_numbers(const TapeNode *m, const TapeNode *numbers, Shape s, real *to)
{
	size_t		run = numbers->shape.rows == 1 && m->shape.rows == s.rows ? (size_t) s.rows * s.cols : (size_t) s.cols;
	size_t		rows_in_run = s.cols == 0 ? 1 : run / s.cols;
	Walk		wm = walk(m->shape);
	Walk		wn = walk(numbers->shape);

	for (size_t row = 0; row < (size_t) s.tasks * s.rows; row += rows_in_run, to += run)
	{
		size_t		t = s.tasks == 1 ? 0 : row / s.rows;
		size_t		r = row - t * s.rows;

		kernels()->scale(run, m->data + t * wm.task + r * wm.row, numbers->data[t * wn.task + r * wn.row], 0, to);
	}
}

/* a + scale b, or a b: the flag is a constant wherever this is inlined */
static inline __attribute__((always_inline)) void
pair_forward(const Tape *tape, const TapeNode *node, bool product)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *b = tape_node(tape, node->in[1]);
	Shape		s = node->shape;
	real	   *to = node->data;
	real		scale = node->scale;
	size_t		run = 0;
	Walk		wa,
				wb;

	/* the longest runs in which neither is repeated: all, a task's matrix, a row */
	if (a->shape.tasks == b->shape.tasks && a->shape.rows == b->shape.rows && a->shape.cols == b->shape.cols)
	{
		if (product)
			kernels()->multiply(node_size(node), a->data, b->data, to);
		else
			kernels()->axpy(node_size(node), a->data, scale, b->data, to);
		return;
	}
	if (a->shape.cols == s.cols && b->shape.cols == s.cols)
		run = a->shape.rows == b->shape.rows ? (size_t) s.rows * s.cols : (size_t) s.cols;
	if (run > 0)
	{
		size_t		rows_in_run = s.cols == 0 ? 1 : run / s.cols;

		wa = walk(a->shape);
		wb = walk(b->shape);
		for (size_t row = 0; row < (size_t) s.tasks * s.rows; row += rows_in_run, to += run)
		{
			size_t		t = s.tasks == 1 ? 0 : row / s.rows;
			size_t		r = row - t * s.rows;
			const real *pa = a->data + t * wa.task + r * wa.row;
			const real *pb = b->data + t * wb.task + r * wb.row;

			if (product)
				kernels()->multiply(run, pa, pb, to);
			else
				kernels()->axpy(run, pa, scale, pb, to);
		}
		return;
	}
	if (product && s.cols > 1 && (b->shape.cols == 1) != (a->shape.cols == 1))
	{
		multiply_by_numbers(b->shape.cols == 1 ? a : b, b->shape.cols == 1 ? b : a, s, to);
		return;
	}
	wa = walk(a->shape);
	wb = walk(b->shape);
	for (int t = 0; t < s.tasks; t++)
		for (int r = 0; r < s.rows; r++, to += s.cols)
		{
			const real *pa = a->data + t * wa.task + r * wa.row;
			const real *pb = b->data + t * wb.task + r * wb.row;

			for (int c = 0; c < s.cols; c++)
				to[c] = product ? pa[c * wa.col] * pb[c * wb.col] : pa[c * wa.col] + scale * pb[c * wb.col];
		}
}

Var
tape_axpy(Tape *tape, Var a, real scale, Var b)
{
	Var			v = append_pair(tape, OP_AXPY, a, b);

	if (v != TAPE_NONE)
		tape_node(tape, v)->scale = scale;
	return v;
}

void
axpy_forward(const Tape *tape, const TapeNode *node)
{
	pair_forward(tape, node, false);
}

/* y = a + s b:  da = g,  db = s g, summed where they were repeated */
void
axpy_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = tape_sum(tape, g, tape_shape(tape, node.in[0]));
	if (wanted[1])
	{
		Var			sum = tape_sum(tape, g, tape_shape(tape, node.in[1]));

		out[1] = node.scale == 1 ? sum : tape_scale(tape, sum, node.scale, 0);
	}
}

Var
tape_multiply(Tape *tape, Var a, Var b)
{
	return append_pair(tape, OP_MULTIPLY, a, b);
}

void
multiply_forward(const Tape *tape, const TapeNode *node)
{
	pair_forward(tape, node, true);
}

/* y = a b:  da = g b,  db = g a, summed where they were repeated */
void
multiply_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	for (int i = 0; i < 2; i++)
		if (wanted[i])
			out[i] = tape_sum(tape, tape_multiply(tape, g, node.in[1 - i]), tape_shape(tape, node.in[i]));
}

/* ---- elementwise, one operand ---- */

Var
tape_scale(Tape *tape, Var a, real scale, real offset)
{
	Var			v = tape_append(tape, OP_SCALE, tape_shape(tape, a), a, TAPE_NONE, TAPE_NONE);

	if (v != TAPE_NONE)
	{
		tape_node(tape, v)->scale = scale;
		tape_node(tape, v)->offset = offset;
	}
	return v;
}

void
scale_forward(const Tape *tape, const TapeNode *node)
{
	kernels()->scale(node_size(node), tape_node(tape, node->in[0])->data, node->scale, node->offset, node->data);
}

void
scale_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	if (wanted[0])
		out[0] = tape_scale(tape, g, tape_node(tape, v)->scale, 0);
}

/* ---- columns ---- */

Var
tape_columns(Tape *tape, Var a, int from, int width, int to, int cols)
{
	Shape		s = tape_shape(tape, a);
	Var			v;

	if (tape->fault)
		return TAPE_NONE;
	if (from < 0 || width < 0 || to < 0 || from > s.cols - width || to > cols - width)
		return tape_fault(tape, "columns out of range");
	if (a != TAPE_NONE && from == 0 && to == 0 && width == s.cols && width == cols)
		return a;
	v = tape_append(tape, OP_COLUMNS, shape(s.tasks, s.rows, cols), a, TAPE_NONE, TAPE_NONE);
	if (v != TAPE_NONE)
	{
		tape_node(tape, v)->from = from;
		tape_node(tape, v)->width = width;
		tape_node(tape, v)->to = to;
	}
	return v;
}

void
columns_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	size_t		rows = (size_t) node->shape.tasks * node->shape.rows;
	int			cols = node->shape.cols;

	if (node->width < cols)
		memset(node->data, 0, rows * cols * sizeof(real));
	for (size_t r = 0; r < rows; r++)
		memcpy(node->data + r * cols + node->to, a->data + r * a->shape.cols + node->from,
			   node->width * sizeof(real));
}

void
columns_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = tape_columns(tape, g, node.to, node.width, node.from, tape_shape(tape, node.in[0]).cols);
}

/* Both operands are repeated to the rows and tasks of the result. */
void
concatenate_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *b = tape_node(tape, node->in[1]);
	Walk		wa = walk(a->shape);
	Walk		wb = walk(b->shape);
	int			width_a = a->shape.cols;
	int			width_b = b->shape.cols;
	real	   *to = node->data;

	for (int t = 0; t < node->shape.tasks; t++)
		for (int r = 0; r < node->shape.rows; r++, to += width_a + width_b)
		{
			memcpy(to, a->data + t * wa.task + r * wa.row, width_a * sizeof(real));
			memcpy(to + width_a, b->data + t * wb.task + r * wb.row, width_b * sizeof(real));
		}
}

/* ---- other rows ---- */

Var
tape_reshape(Tape *tape, Var a, int rows, int cols)
{
	Shape		s = tape_shape(tape, a);

	if (tape->fault)
		return TAPE_NONE;
	if (rows < 0 || cols < 0 || (int64_t) rows * cols != (int64_t) s.rows * s.cols)
		return tape_fault(tape, "a matrix does not fit another shape");
	if (a != TAPE_NONE && rows == s.rows && cols == s.cols)
		return a;
	return tape_append(tape, OP_RESHAPE, shape(s.tasks, rows, cols), a, TAPE_NONE, TAPE_NONE);
}

void
reshape_forward(const Tape *tape, const TapeNode *node)
{
	memcpy(node->data, tape_node(tape, node->in[0])->data, shape_size(node->shape) * sizeof(real));
}

void
reshape_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	Shape		s = tape_shape(tape, tape_node(tape, v)->in[0]);

	if (wanted[0])
		out[0] = tape_reshape(tape, g, s.rows, s.cols);
}

/* ---- tables ---- */

static Var
append_lookup(Tape *tape, OpCode op, Shape s, Var a, Var index, int col)
{
	Var			v;

	if (tape->fault)
		return TAPE_NONE;
	if (index == TAPE_NONE || tape_node(tape, index)->op != OP_INDEX ||
		col < 0 || col >= tape_shape(tape, index).cols)
		return tape_fault(tape, "a table lookup needs an index and a column of it");
	v = tape_append(tape, op, s, a, index, TAPE_NONE);
	if (v != TAPE_NONE)
		tape_node(tape, v)->from = col;
	return v;
}

Var
tape_gather(Tape *tape, Var table, Var index, int col)
{
	Shape		f = tape_shape(tape, table);
	Shape		i = tape_shape(tape, index);

	if (!tape->fault && f.tasks != 1 && f.tasks != i.tasks)
		return tape_fault(tape, "a table's tasks do not fit its index");
	return append_lookup(tape, OP_GATHER, shape(i.tasks, i.rows, f.cols), table, index, col);
}

bool
tape_only_gathered(const Tape *tape, Var leaf)
{
	for (Var v = 0; v < tape->n_nodes; v++)
		for (int i = 0; i < 3; i++)
			if (tape->nodes[v].in[i] == leaf && (tape->nodes[v].op != OP_GATHER || i > 0))
				return false;
	return true;
}

/*
 * Sum of the rows of a (tasks, rows, width) by their number: (tables, size,
 * width), with tables 1 or tasks.  The gradient of gathering.
 */
static Var
append_scatter(Tape *tape, Var a, Var index, int col, Shape table)
{
	return append_lookup(tape, OP_SCATTER, table, a, index, col);
}

/* The table's row that row r of the index names; 0, "unknown", for one outside it. */
static inline size_t
lookup(const TapeNode *index, size_t r, int col, int size)
{
	int32_t		i = index->index[r * index->shape.cols + col];

	return i >= 0 && i < size ? i : 0;
}

void
gather_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *table = tape_node(tape, node->in[0]);
	const TapeNode *index = tape_node(tape, node->in[1]);
	Shape		s = node->shape;
	size_t		step = table->shape.tasks == 1 ? 0 : (size_t) table->shape.rows * s.cols;
	size_t		r = 0;

	for (int t = 0; t < s.tasks; t++)
		for (int i = 0; i < s.rows; i++, r++)
			memcpy(node->data + r * s.cols,
				   table->data + t * step + lookup(index, r, node->from, table->shape.rows) * s.cols,
				   s.cols * sizeof(real));
}

void
gather_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = append_scatter(tape, g, node.in[1], node.from, tape_shape(tape, node.in[0]));
}

void
scatter_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *index = tape_node(tape, node->in[1]);
	Shape		s = node->shape;
	size_t		step = s.tasks == 1 ? 0 : (size_t) s.rows * s.cols;
	size_t		r = 0;

	memset(node->data, 0, shape_size(s) * sizeof(real));
	for (int t = 0; t < a->shape.tasks; t++)
		for (int i = 0; i < a->shape.rows; i++, r++)
		{
			real	   *to = node->data + t * step + lookup(index, r, node->from, s.rows) * s.cols;
			const real *from = a->data + r * s.cols;

			for (int c = 0; c < s.cols; c++)
				to[c] += from[c];
		}
}

void
scatter_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (wanted[0])
		out[0] = tape_gather(tape, g, node.in[1], node.from);
}
