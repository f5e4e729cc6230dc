/*
 * ops_matrix.c
 *	  Operations on matrices, one per task: product, transpose.
 *
 * The gradient of a product is a product, so any derivative stays on the tape.
 */
#include "nn/tape_private.h"

#include <string.h>

#include "nn/blas.h"
#include "nn/kernels.h"

/* ---- products ---- */

/* Sizes of op(a) (n, k) times op(b) (k, m); false where they do not fit. */
static bool
product_sizes(Shape a, bool transpose_a, Shape b, bool transpose_b, int *n, int *k, int *m)
{
	*n = transpose_a ? a.cols : a.rows;
	*k = transpose_a ? a.rows : a.cols;
	*m = transpose_b ? b.rows : b.cols;
	return *k == (transpose_b ? b.cols : b.rows) &&
		(a.tasks == b.tasks || a.tasks == 1 || b.tasks == 1);
}

Var
tape_affine(Tape *tape, Var a, bool transpose_a, Var b, bool transpose_b, Var c)
{
	Shape		sa = tape_shape(tape, a),
				sb = tape_shape(tape, b),
				s,
				common;
	int			n,
				k,
				m;
	Var			v;

	if (tape->fault)
		return TAPE_NONE;
	if (!product_sizes(sa, transpose_a, sb, transpose_b, &n, &k, &m))
		return tape_fault(tape, "shapes do not fit in a matrix product");
	s = shape(sa.tasks > sb.tasks ? sa.tasks : sb.tasks, n, m);
	if (c != TAPE_NONE)
	{
		if (!shape_common(s, tape_shape(tape, c), &common) || common.rows != n || common.cols != m)
			return tape_fault(tape, "the added term does not fit a matrix product");
		s = common;
		c = tape_expand(tape, c, shape(tape_shape(tape, c).tasks, tape_shape(tape, c).rows, m));
	}
	v = tape_append(tape, OP_AFFINE, s, a, b, c);
	if (v != TAPE_NONE)
	{
		tape_node(tape, v)->transpose_a = transpose_a;
		tape_node(tape, v)->transpose_b = transpose_b;
		tape_node(tape, v)->scale = 1;
		tape_node(tape, v)->offset = 1;
	}
	return v;
}

/*
 * to (n, m) = alpha op(a) op(b) + beta c, with rows of c c_row apart; by the
 * kernels for small matrices or by the library for large ones.
 */
void
run_product(const real *a, bool transpose_a, const real *b, bool transpose_b, int n, int m, int k,
			real alpha, const real *c, size_t c_row, real beta, real *to)
{
	/* a row or a column lies in memory as its transpose does */
	bool		turned = transpose_b && m > 1 && k > 1;

	if (!turned && product_is_small(n, m, k) && (c != to || m % 16 == 0))
	{
		Product		p = {n, m, k, a, transpose_a ? 1 : k, transpose_a ? n : 1, b, m, c, c_row, alpha, beta, to, false};

		kernels()->product(&p);
		return;
	}
	if (c == NULL)
		beta = 0;
	else if (c != to)
		for (int i = 0; i < n; i++)
			memcpy(to + (size_t) i * m, c + i * c_row, m * sizeof(real));
	if (k > 0)
		gemm(transpose_a, transpose_b, n, m, k, alpha, a, b, beta, to);
	else
		kernels()->scale((size_t) n * m, to, beta, 0, to);
}

static __attribute__((noinline)) void
run_affine(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *b = tape_node(tape, node->in[1]);
	const TapeNode *c = node->in[2] == TAPE_NONE ? NULL : tape_node(tape, node->in[2]);
	Shape		s = node->shape;
	int			k = node->transpose_a ? a->shape.rows : a->shape.cols;
	size_t		step_a = a->shape.tasks == 1 ? 0 : (size_t) a->shape.rows * a->shape.cols;
	size_t		step_b = b->shape.tasks == 1 ? 0 : (size_t) b->shape.rows * b->shape.cols;
	size_t		step_c = c == NULL || c->shape.tasks == 1 ? 0 : (size_t) c->shape.rows * c->shape.cols;
	size_t		c_row = c == NULL || c->shape.rows == 1 ? 0 : c->shape.cols;
	size_t		step = (size_t) s.rows * s.cols;

	if (step == 0)
		return;
	if (k == 0 && c == NULL)
	{
		memset(node->data, 0, s.tasks * step * sizeof(real));
		return;
	}

	/* Rows of all tasks times one shared matrix are one product. */
	if (step_b == 0 && !node->transpose_a && a->shape.tasks == s.tasks &&
		(c == NULL || step_c == step || (step_c == 0 && c_row == 0)))
	{
		run_product(a->data, false, b->data, node->transpose_b, s.tasks * s.rows, s.cols, k,
					node->scale, c ? c->data : NULL, step_c == 0 ? 0 : s.cols, node->offset, node->data);
		return;
	}
	for (int t = 0; t < s.tasks; t++)
		run_product(a->data + t * step_a, node->transpose_a, b->data + t * step_b, node->transpose_b,
					s.rows, s.cols, k, node->scale, c ? c->data + t * step_c : NULL, c_row, node->offset,
					node->data + t * step);
}

void
affine_prepare(Tape *tape, TapeNode *node)
{
	Shape		a = tape_node(tape, node->in[0])->shape;
	Shape		b = tape_node(tape, node->in[1])->shape;
	Shape		c = node->in[2] == TAPE_NONE ? shape(1, 1, 1) : tape_node(tape, node->in[2])->shape;
	Shape		s = node->shape;
	int			k = node->transpose_a ? a.rows : a.cols;
	int			n = s.rows;
	int			c_row = c.rows == 1 ? 0 : s.cols;
	Product    *p;

	/* one product of all tasks, as run_affine sees it */
	if (s.tasks > 1)
	{
		if (b.tasks > 1 || node->transpose_a || a.tasks != s.tasks ||
			(c.tasks > 1 ? c.rows != s.rows : c.rows > 1))
			return;
		n *= s.tasks;
		c_row = c.tasks > 1 ? s.cols : 0;
	}
	if (node_size(node) == 0 || k == 0 || (node->transpose_b && s.cols > 1 && k > 1) ||
		!product_is_small(n, s.cols, k))
		return;
	p = arena_alloc(tape->arena, 1, sizeof(Product));
	if (p == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	p->n = n;
	p->m = s.cols;
	p->k = k;
	p->a_row = node->transpose_a ? 1 : k;
	p->a_col = node->transpose_a ? n : 1;
	p->b_row = s.cols;
	p->c_row = c_row;
	p->alpha = node->scale;
	p->beta = node->offset;
	p->rectified = node->rectified;
	node->ready = p;
}

void
affine_forward(const Tape *tape, const TapeNode *node)
{
	Product    *p = node->ready;

	if (p != NULL)
	{
		p->a = tape_node(tape, node->in[0])->data;
		p->b = tape_node(tape, node->in[1])->data;
		p->c = node->in[2] == TAPE_NONE ? NULL : tape_node(tape, node->in[2])->data;
		p->to = node->data;
		kernels()->product(p);
		return;
	}
	run_affine(tape, node);
	if (node->rectified)
		kernels()->relu(node_size(node), node->data, node->data);
}

Var
tape_matmul_sum(Tape *tape, Var a, bool transpose_a, Var b, bool transpose_b)
{
	int			n,
				k,
				m;
	Var			v;

	if (tape->fault)
		return TAPE_NONE;
	if (!product_sizes(tape_shape(tape, a), transpose_a, tape_shape(tape, b), transpose_b, &n, &k, &m))
		return tape_fault(tape, "shapes do not fit in a matrix product");
	v = tape_append(tape, OP_MATMUL_SUM, shape(1, n, m), a, b, TAPE_NONE);
	if (v != TAPE_NONE)
	{
		tape_node(tape, v)->transpose_a = transpose_a;
		tape_node(tape, v)->transpose_b = transpose_b;
		tape_node(tape, v)->scale = 1;
		tape_node(tape, v)->offset = 1;
	}
	return v;
}

void
matmul_sum_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *b = tape_node(tape, node->in[1]);
	Shape		s = node->shape;
	int			k = node->transpose_a ? a->shape.rows : a->shape.cols;
	int			tasks = a->shape.tasks > b->shape.tasks ? a->shape.tasks : b->shape.tasks;
	size_t		step_a = a->shape.tasks == 1 ? 0 : (size_t) a->shape.rows * a->shape.cols;
	size_t		step_b = b->shape.tasks == 1 ? 0 : (size_t) b->shape.rows * b->shape.cols;

	if (s.rows == 0 || s.cols == 0)
		return;
	if (k == 0 || tasks == 0)
	{
		memset(node->data, 0, (size_t) s.rows * s.cols * sizeof(real));
		return;
	}

	/* Rows of all tasks on both sides: one product over all of them. */
	if (node->transpose_a && !node->transpose_b && a->shape.tasks == b->shape.tasks)
	{
		run_product(a->data, true, b->data, false, s.rows, s.cols, tasks * k, node->scale, NULL, 0, 0, node->data);
		return;
	}
	for (int t = 0; t < tasks; t++)
		run_product(a->data + t * step_a, node->transpose_a, b->data + t * step_b, node->transpose_b,
					s.rows, s.cols, k, node->scale, t == 0 ? NULL : node->data, s.cols, 1, node->data);
}

/* op(a) op(b) in the shape of like: summed over tasks or repeated where it differs. */
static Var
product_like(Tape *tape, Var a, bool transpose_a, Var b, bool transpose_b, Var like)
{
	int			tasks = tape_shape(tape, like).tasks;
	int			tasks_a = tape_shape(tape, a).tasks;
	int			tasks_b = tape_shape(tape, b).tasks;

	if (tasks == 1 && (tasks_a > 1 || tasks_b > 1))
		return tape_matmul_sum(tape, a, transpose_a, b, transpose_b);
	return tape_expand(tape, tape_affine(tape, a, transpose_a, b, transpose_b, TAPE_NONE),
					   tape_shape(tape, like));
}

/*
 * y = op(a) op(b):  d op(a) = g op(b)^T,  d op(b) = op(a)^T g,
 * each transposed once more where the operand was.
 */
static void
product_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	Var			a = node.in[0];
	Var			b = node.in[1];

	if (wanted[0])
		out[0] = node.transpose_a ?
			product_like(tape, b, node.transpose_b, g, true, a) :
			product_like(tape, g, false, b, !node.transpose_b, a);
	if (wanted[1])
		out[1] = node.transpose_b ?
			product_like(tape, g, true, a, node.transpose_a, b) :
			product_like(tape, a, !node.transpose_a, g, false, b);
}

void
affine_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	Var			c = tape_node(tape, v)->in[2];

	product_backward(tape, v, g, wanted, out);
	if (wanted[2])
		out[2] = tape_sum(tape, g, tape_shape(tape, c));
}

void
matmul_sum_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	product_backward(tape, v, g, wanted, out);
}

/* ---- transpose ---- */

Var
tape_transpose(Tape *tape, Var a)
{
	Shape		s = tape_shape(tape, a);

	return tape_append(tape, OP_TRANSPOSE, shape(s.tasks, s.cols, s.rows), a, TAPE_NONE, TAPE_NONE);
}

void
transpose_forward(const Tape *tape, const TapeNode *node)
{
	const real *a = tape_node(tape, node->in[0])->data;
	Shape		s = node->shape;
	size_t		step = (size_t) s.rows * s.cols;

	for (int t = 0; t < s.tasks; t++)
		kernels()->transpose(s.cols, s.rows, a + t * step, node->data + t * step);
}

void
transpose_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	(void) v;
	if (wanted[0])
		out[0] = tape_transpose(tape, g);
}
