/*
 * finish_rewrite.c
 *	  The nodes of a tape that is being finished, simplified one by one.
 *
 * - equal nodes become one;
 * - what is repeated along a dimension stays as it is where an operation
 *   repeats its operands anyway: shared parameters have no copy per task;
 * - a product by the derivative of relu becomes a mask;
 * - a right operand is transposed once, for all products that want it, and a
 *   matrix factored once, for all that is solved with it;
 * - factors move into the products and sums that they belong to.
 */
#include "nn/finish_private.h"

#include <string.h>

#include "nn/kernels.h"

static Var	put_sum(Rewrite *rw, Var a, Shape s);

/* ---- equal nodes ---- */

static unsigned
hash_node(const TapeNode *node)
{
	unsigned	h = node->op;

	for (int i = 0; i < 3; i++)
		h = h * 0x9e3779b1u + (unsigned) node->in[i] + 1;
	h = h * 31 + node->order + 7 * node->from + 3 * node->transpose_a + 5 * node->transpose_b;
	return h ^ h >> 15;
}

static bool
same_node(const TapeNode *a, const TapeNode *b)
{
	return a->op == b->op && shape_equal(a->shape, b->shape) &&
		a->in[0] == b->in[0] && a->in[1] == b->in[1] && a->in[2] == b->in[2] &&
		a->transpose_a == b->transpose_a && a->transpose_b == b->transpose_b &&
		a->scale == b->scale && a->offset == b->offset &&
		a->kind == b->kind && a->order == b->order &&
		a->from == b->from && a->width == b->width && a->to == b->to &&
		a->plane.height == b->plane.height && a->plane.width == b->plane.width &&
		a->plane.channels == b->plane.channels && a->stride == b->stride;
}

Var
find_like(const Rewrite *rw, const TapeNode *wanted)
{
	Var			v = rw->buckets[hash_node(wanted) % rw->n_buckets];

	while (v != TAPE_NONE && !same_node(at(rw, v), wanted))
		v = rw->next[v];
	return v;
}

/* Grows an array in the arena. */
static void *
grown(Rewrite *rw, const void *old, size_t element, int n)
{
	char	   *memory = arena_alloc(rw->tape->arena, n, element);

	if (memory == NULL)
		tape_fault(rw->tape, "out of memory");
	else if (rw->max_side > 0)
		memcpy(memory, old, rw->max_side * element);
	return memory;
}

static bool
make_room(Rewrite *rw)
{
	int			n = rw->max_side ? 2 * rw->max_side : 256;
	Sum		  **sums;
	bool	   *early;
	Var		   *next;

	if (rw->tape->n_nodes < rw->max_side)
		return true;
	sums = grown(rw, rw->sums, sizeof(Sum *), n);
	early = grown(rw, rw->early, sizeof(bool), n);
	next = grown(rw, rw->next, sizeof(Var), n);
	if (rw->tape->fault)
		return false;
	rw->sums = sums;
	rw->early = early;
	rw->next = next;
	rw->max_side = n;
	return true;
}

Var
put_node(Rewrite *rw, const TapeNode *node)
{
	bool		leaf = node->op == OP_LEAF || node->op == OP_INDEX;
	Var			v = leaf ? TAPE_NONE : find_like(rw, node);
	unsigned	bucket = hash_node(node) % rw->n_buckets;
	bool		early = node->op != OP_AFFINE && node->op != OP_MATMUL_SUM && node->op != OP_SOLVE && node->op != OP_FACTOR &&
		node->op != OP_CONVOLVE && node->op != OP_CONVOLVE_INPUT && node->op != OP_CONVOLVE_FILTERS;

	if (v != TAPE_NONE || !make_room(rw))
		return v;
	v = tape_append(rw->tape, node->op, node->shape, node->in[0], node->in[1], node->in[2]);
	if (v == TAPE_NONE)
		return TAPE_NONE;
	rw->tape->nodes[v] = *node;
	for (int i = 0; i < 3; i++)
		if (node->in[i] != TAPE_NONE && !rw->early[node->in[i]])
			early = false;
	rw->early[v] = early;
	rw->sums[v] = NULL;
	rw->next[v] = rw->buckets[bucket];
	rw->buckets[bucket] = v;
	return v;
}

TapeNode
new_node(OpCode op, Shape s, Var a, Var b, Var c)
{
	TapeNode	node;

	memset(&node, 0, sizeof(node));
	node.op = op;
	node.shape = s;
	node.in[0] = a;
	node.in[1] = b;
	node.in[2] = c;
	node.weights = TAPE_NONE;
	return node;
}

/* ---- operations, simplified ---- */

Var
put_expand(Rewrite *rw, Var a, Shape s)
{
	TapeNode	node;

	if (a == TAPE_NONE || shape_equal(at(rw, a)->shape, s))
		return a;
	if (at(rw, a)->op == OP_EXPAND)
		a = at(rw, a)->in[0];
	node = new_node(OP_EXPAND, s, a, TAPE_NONE, TAPE_NONE);
	return put_node(rw, &node);
}

/* The number that a is everywhere? */
static bool
is_constant(const Rewrite *rw, Var a, real *value)
{
	if (at(rw, a)->op == OP_EXPAND)
		a = at(rw, a)->in[0];
	if (!at(rw, a)->constant)
		return false;
	*value = at(rw, a)->data[0];
	return true;
}

Var
put_scale(Rewrite *rw, Var a, real scale, real offset)
{
	TapeNode	node;

	if (a == TAPE_NONE || (scale == 1 && offset == 0))
		return a;
	if (at(rw, a)->op == OP_EXPAND)
		return put_expand(rw, put_scale(rw, at(rw, a)->in[0], scale, offset), at(rw, a)->shape);
	if (at(rw, a)->op == OP_SCALE && at(rw, a)->offset == 0)
		return put_scale(rw, at(rw, a)->in[0], scale * at(rw, a)->scale, offset);
	node = new_node(OP_SCALE, at(rw, a)->shape, a, TAPE_NONE, TAPE_NONE);
	node.scale = scale;
	node.offset = offset;
	a = put_node(rw, &node);
	if (a != TAPE_NONE && offset == 0)
	{
		Sum			sum;

		sum_of(rw, node.in[0], &sum);
		if (sum.n > 0)
		{
			sum_scale(&sum, scale);
			note_sum(rw, a, &sum);
		}
	}
	return a;
}

/* The operands without repetition, as far as the result keeps its shape. */
static void
strip_pair(const Rewrite *rw, Var *a, Var *b, Shape s)
{
	Shape		common;

	for (int i = 0; i < 2; i++)
	{
		Var		   *one = i == 0 ? a : b;
		Var		   *other = i == 0 ? b : a;

		if (at(rw, *one)->op == OP_EXPAND &&
			shape_common(at(rw, at(rw, *one)->in[0])->shape, at(rw, *other)->shape, &common) &&
			shape_equal(common, s))
			*one = at(rw, *one)->in[0];
	}
}

/* Does nothing but tasks tell the shapes apart? */
static bool
is_matrix_of(Shape a, Shape s)
{
	return a.rows == s.rows && a.cols == s.cols;
}

Var
put_axpy(Rewrite *rw, Var a, real scale, Var b)
{
	TapeNode	node;
	Shape		s;
	Sum			sum,
				other;
	bool		combined = false;
	bool		low_rank;
	real		value;
	Var			v;

	if (a == TAPE_NONE || b == TAPE_NONE)
		return TAPE_NONE;
	shape_common(at(rw, a)->shape, at(rw, b)->shape, &s);
	if (is_constant(rw, b, &value) && value == 0)
		return put_expand(rw, a, s);
	if (is_constant(rw, a, &value) && value == 0)
		return put_expand(rw, put_scale(rw, b, scale, 0), s);
	strip_pair(rw, &a, &b, s);
	if (at(rw, b)->op == OP_SCALE && at(rw, b)->offset == 0)
	{
		scale *= at(rw, b)->scale;
		b = at(rw, b)->in[0];
	}
	if (scale == 1 && at(rw, a)->op == OP_SCALE && at(rw, a)->offset == 0 && shape_equal(at(rw, b)->shape, s))
	{
		Var			swap = b;

		scale = at(rw, a)->scale;
		b = at(rw, a)->in[0];
		a = swap;
	}

	sum_of(rw, a, &sum);
	sum_of(rw, b, &other);
	sum_scale(&other, scale);
	low_rank = sum.n + other.n > 0 && is_matrix_of(at(rw, a)->shape, s) && is_matrix_of(at(rw, b)->shape, s) &&
		sum_add(rw, &sum, &other, s, &combined);
	if (low_rank && combined)
		v = put_sum_of_products(rw, &sum, s);
	else
	{
		node = new_node(OP_AXPY, s, a, b, TAPE_NONE);
		node.scale = scale;
		v = put_node(rw, &node);
	}
	if (low_rank)
		note_sum(rw, v, &sum);
	return v;
}

/* The rectifier that a node is a derivative of, as a node whose sign says the same. */
static Var
relu_sign(const Rewrite *rw, Var v)
{
	TapeNode	relu = *at(rw, v);
	Var			found;

	if (relu.op != OP_UNARY || relu.kind != UNARY_RELU || relu.order != 1)
		return TAPE_NONE;
	relu.order = 0;
	found = find_like(rw, &relu);
	return found != TAPE_NONE ? found : relu.in[0];
}

/* A product whose inner dimension is the least, without an added term? */
static bool
is_low_product(const Rewrite *rw, const TapeNode *node)
{
	int			k;

	if (node->op != OP_AFFINE || node->in[2] != TAPE_NONE)
		return false;
	k = node->transpose_a ? at(rw, node->in[0])->shape.rows : at(rw, node->in[0])->shape.cols;
	return k < node->shape.rows && k < node->shape.cols;
}

static Var
put_multiply(Rewrite *rw, Var a, Var b)
{
	TapeNode	node;
	Shape		s;

	if (a == TAPE_NONE || b == TAPE_NONE)
		return TAPE_NONE;
	shape_common(at(rw, a)->shape, at(rw, b)->shape, &s);
	for (int i = 0; i < 2; i++)
	{
		Var			one = i == 0 ? a : b;
		Var			other = i == 0 ? b : a;
		real		value;
		Var			sign;

		if (is_constant(rw, one, &value))
			return put_expand(rw, put_scale(rw, other, value, 0), s);
		if (at(rw, one)->op == OP_SCALE && at(rw, one)->offset == 0)
			return put_scale(rw, put_multiply(rw, at(rw, one)->in[0], other), at(rw, one)->scale, 0);
		sign = relu_sign(rw, one);
		if (sign != TAPE_NONE && shape_equal(at(rw, other)->shape, at(rw, sign)->shape))
		{
			node = new_node(OP_MASK, s, other, sign, TAPE_NONE);
			return put_node(rw, &node);
		}
	}
	strip_pair(rw, &a, &b, s);
	for (int i = 0; i < 2; i++)
	{
		Var			one = i == 0 ? a : b;
		const TapeNode product = *at(rw, i == 0 ? b : a);
		Shape		f = at(rw, one)->shape;

		/* a number per task goes to the smaller factor, and the product stays one */
		if (f.rows == 1 && f.cols == 1 && is_low_product(rw, &product) && shape_equal(product.shape, s))
			return put_affine(rw, product.in[0], product.transpose_a, put_multiply(rw, product.in[1], one), product.transpose_b,
							  TAPE_NONE, product.scale, 0);
	}
	node = new_node(OP_MULTIPLY, s, a, b, TAPE_NONE);
	return put_node(rw, &node);
}

static Var
put_transpose(Rewrite *rw, Var a)
{
	Shape		s = at(rw, a)->shape;
	TapeNode	node = new_node(OP_TRANSPOSE, shape(s.tasks, s.cols, s.rows), a, TAPE_NONE, TAPE_NONE);

	if (at(rw, a)->op == OP_TRANSPOSE)
		return at(rw, a)->in[0];
	return put_node(rw, &node);
}

static Var
put_reshape(Rewrite *rw, Var a, Shape s)
{
	const TapeNode *in = a == TAPE_NONE ? NULL : at(rw, a);
	TapeNode	node;

	if (in == NULL || (in->shape.rows == s.rows && in->shape.tasks == s.tasks))
		return a;
	if (in->op == OP_RESHAPE)
		return put_reshape(rw, in->in[0], s);
	if (in->op == OP_SCALE)
	{
		real		scale = in->scale;
		real		offset = in->offset;

		return put_scale(rw, put_reshape(rw, in->in[0], s), scale, offset);
	}
	/* repeated for every task: so is its reshape */
	if (in->op == OP_EXPAND && at(rw, in->in[0])->shape.rows == in->shape.rows && at(rw, in->in[0])->shape.cols == in->shape.cols)
		return put_expand(rw, put_reshape(rw, in->in[0], shape(1, s.rows, s.cols)), s);
	node = new_node(OP_RESHAPE, s, a, TAPE_NONE, TAPE_NONE);
	return put_node(rw, &node);
}

/* A factor without what a product does by itself. */
static Var
strip_factor(const Rewrite *rw, Var v, bool *transpose, real *alpha)
{
	for (;;)
	{
		const TapeNode *node = at(rw, v);
		const TapeNode *in = node->in[0] == TAPE_NONE ? NULL : at(rw, node->in[0]);

		if (node->op == OP_TRANSPOSE)
			*transpose = !*transpose;
		else if (node->op == OP_SCALE && node->offset == 0)
			*alpha *= node->scale;
		else if (node->op != OP_EXPAND || in->shape.rows != node->shape.rows || in->shape.cols != node->shape.cols)
			return v;
		v = node->in[0];
	}
}

Var
put_affine(Rewrite *rw, Var a, bool transpose_a, Var b, bool transpose_b, Var c, real alpha, real beta)
{
	TapeNode	node;
	Shape		sa,
				sb,
				s;
	int			k;
	Var			v;

	if (a == TAPE_NONE || b == TAPE_NONE)
		return TAPE_NONE;
	a = strip_factor(rw, a, &transpose_a, &alpha);
	b = strip_factor(rw, b, &transpose_b, &alpha);
	sa = at(rw, a)->shape;
	sb = at(rw, b)->shape;
	k = transpose_a ? sa.rows : sa.cols;
	s = shape(most(sa.tasks, sb.tasks), transpose_a ? sa.cols : sa.rows, transpose_b ? sb.rows : sb.cols);
	if (c != TAPE_NONE)
	{
		if (at(rw, c)->op == OP_SCALE && at(rw, c)->offset == 0)
		{
			beta *= at(rw, c)->scale;
			c = at(rw, c)->in[0];
		}
		s.tasks = most(s.tasks, at(rw, c)->shape.tasks);
		if (at(rw, c)->op == OP_EXPAND && at(rw, at(rw, c)->in[0])->shape.cols == s.cols &&
			most(most(sa.tasks, sb.tasks), at(rw, at(rw, c)->in[0])->shape.tasks) == s.tasks)
			c = at(rw, c)->in[0];

		/*
		 * The same product is wanted in every step, with another bias.  Where it
		 * turns out that it is not, the second pass puts them together again.
		 */
		if (rw->early[a] && rw->early[b])
			return put_axpy(rw, put_scale(rw, put_affine(rw, a, transpose_a, b, transpose_b, TAPE_NONE, 1, 0), alpha, 0),
							beta, c);
	}

	v = put_apart(rw, a, transpose_a, b, transpose_b, c, alpha, beta);
	if (v != TAPE_NONE || rw->tape->fault)
		return v;

	if (transpose_b && k > 1 && s.cols > 1 && product_is_small(s.rows, s.cols, k))
	{
		b = put_transpose(rw, b);
		transpose_b = false;
		if (b == TAPE_NONE)
			return TAPE_NONE;
	}
	node = new_node(OP_AFFINE, s, a, b, c);
	node.transpose_a = transpose_a;
	node.transpose_b = transpose_b;
	node.scale = alpha;
	node.offset = c == TAPE_NONE ? 0 : beta;
	return put_node(rw, &node);
}

static Var
put_matmul_sum(Rewrite *rw, Var a, bool transpose_a, Var b, bool transpose_b, real alpha)
{
	TapeNode	node;
	Shape		sa,
				sb;
	int			tasks;

	if (a == TAPE_NONE || b == TAPE_NONE)
		return TAPE_NONE;
	tasks = most(at(rw, a)->shape.tasks, at(rw, b)->shape.tasks);
	a = strip_factor(rw, a, &transpose_a, &alpha);
	b = strip_factor(rw, b, &transpose_b, &alpha);
	sa = at(rw, a)->shape;
	sb = at(rw, b)->shape;
	if (most(sa.tasks, sb.tasks) < tasks)
		alpha *= tasks;			/* the same for all */
	node = new_node(OP_MATMUL_SUM, shape(1, transpose_a ? sa.cols : sa.rows, transpose_b ? sb.rows : sb.cols), a, b, TAPE_NONE);
	node.transpose_a = transpose_a;
	node.transpose_b = transpose_b;
	node.scale = alpha;
	return put_node(rw, &node);
}

static Var
put_sum(Rewrite *rw, Var a, Shape s)
{
	TapeNode	node;
	const TapeNode *in;

	if (a == TAPE_NONE || shape_equal(at(rw, a)->shape, s))
		return a;
	in = at(rw, a);
	if (in->op == OP_SUM)
		return put_sum(rw, in->in[0], s);
	if (in->op == OP_SCALE && in->offset == 0)
	{
		real		scale = in->scale;

		return put_scale(rw, put_sum(rw, in->in[0], s), scale, 0);
	}
	if (in->op == OP_MULTIPLY && s.rows == 1 && s.cols == 1 && s.tasks == in->shape.tasks)
	{
		const TapeNode p = *at(rw, in->in[0]);
		const TapeNode q = *at(rw, in->in[1]);

		/* sum of (A B) o (C D), each of low rank, is that of (A^T C) o (B D^T) */
		if (is_low_product(rw, &p) && is_low_product(rw, &q) && shape_equal(p.shape, q.shape))
		{
			Var			left = put_affine(rw, p.in[0], !p.transpose_a, q.in[0], q.transpose_a, TAPE_NONE, 1, 0);
			Var			right = put_affine(rw, p.in[1], p.transpose_b, q.in[1], !q.transpose_b, TAPE_NONE, 1, 0);

			return put_scale(rw, put_sum(rw, put_multiply(rw, left, right), s), p.scale * q.scale, 0);
		}

		/* and of (A B) o M, that of B o (A^T M): few rows instead of a matrix */
		for (int i = 0; i < 2; i++)
		{
			const TapeNode *low = i == 0 ? &p : &q;
			Var			other = in->in[1 - i];
			Var			product;

			if (!is_low_product(rw, low) || low->transpose_b || !shape_equal(low->shape, at(rw, other)->shape))
				continue;
			product = put_affine(rw, low->in[0], !low->transpose_a, other, false, TAPE_NONE, 1, 0);
			return put_scale(rw, put_sum(rw, put_multiply(rw, low->in[1], product), s), low->scale, 0);
		}
	}
	if (in->op == OP_EXPAND && shape_equal(at(rw, in->in[0])->shape, s))
		return put_scale(rw, in->in[0], (real) shape_size(in->shape) / (real) most(1, (int) shape_size(s)), 0);

	/* a sum of products over the tasks is one product each over all of their rows */
	if (s.tasks == 1 && in->shape.tasks > 1 && s.rows == in->shape.rows && s.cols == in->shape.cols)
	{
		Shape		full = in->shape;
		Sum			sum;
		int			rank = 0;

		sum_of(rw, a, &sum);
		for (int i = 0; i < sum.n; i++)
			rank += term_rank(rw, &sum.terms[i]);
		if (sum.n > 0 && (rank < full.rows || sum.n == 1) && (rank < full.cols || sum.n == 1) &&
			(sum.base == TAPE_NONE || at(rw, sum.base)->shape.tasks == 1))
		{
			Var			v = TAPE_NONE;

			if (sum.base != TAPE_NONE)
				v = put_scale(rw, sum.base, sum.scale * full.tasks, 0);
			for (int i = 0; i < sum.n; i++)
			{
				const Term *term = &sum.terms[i];
				Var			product = put_matmul_sum(rw, term->a, term->transpose_a, term->b, term->transpose_b, term->scale);

				if (most(at(rw, term->a)->shape.tasks, at(rw, term->b)->shape.tasks) < full.tasks)
					product = put_scale(rw, product, full.tasks, 0);
				v = v == TAPE_NONE ? product : put_axpy(rw, v, 1, product);
				if (v == TAPE_NONE)
					return TAPE_NONE;
			}
			return v;
		}
	}
	node = new_node(OP_SUM, s, a, TAPE_NONE, TAPE_NONE);
	return put_node(rw, &node);
}

/*
 * A matrix as plus + scale (a + a^T)?  What is made symmetric like that is
 * mostly so but for rounding, and then to be factored, which puts it together
 * on the way.
 */
static bool
is_symmetrised(const Rewrite *rw, Var v, Var *a, Var *plus, real *scale)
{
	const TapeNode *node = at(rw, v);
	const TapeNode *sum;

	if (node->op != OP_AXPY)
		return false;
	sum = at(rw, node->in[1]);
	*plus = node->in[0];
	*scale = node->scale;
	if (sum->op != OP_AXPY || sum->scale != 1 || !is_matrix_of(at(rw, *plus)->shape, node->shape) ||
		!shape_equal(sum->shape, node->shape))
		return false;
	for (int side = 0; side < 2; side++)
	{
		const TapeNode *other = at(rw, sum->in[1 - side]);

		*a = sum->in[side];
		if (other->op == OP_TRANSPOSE && other->in[0] == *a)
			return true;
	}
	return false;
}

/* Solutions with the same matrix share its factor. */
static Var
put_solve(Rewrite *rw, Var a, Var b)
{
	TapeNode	node;
	Shape		s;
	Var			half;
	Var			plus;
	real		scale;

	if (a == TAPE_NONE || b == TAPE_NONE)
		return TAPE_NONE;
	s = at(rw, a)->shape;
	s.cols = factor_stride(s.rows);
	node = new_node(OP_FACTOR, s, a, TAPE_NONE, TAPE_NONE);
	if (is_symmetrised(rw, a, &half, &plus, &scale))
	{
		node.in[0] = half;
		node.in[1] = plus;
		node.scale = scale;
	}
	a = put_node(rw, &node);
	if (a == TAPE_NONE)
		return TAPE_NONE;
	node = new_node(OP_SOLVE, at(rw, b)->shape, a, b, TAPE_NONE);
	node.factored = true;
	return put_node(rw, &node);
}

Var
put_built(Rewrite *rw, const TapeNode *built)
{
	TapeNode	node = *built;

	for (int i = 0; i < 3; i++)
		if (built->in[i] != TAPE_NONE)
			node.in[i] = rw->map[built->in[i]];
	switch (built->op)
	{
		case OP_DETACH:
		case OP_SURROGATE:
			return node.in[0];
		case OP_EXPAND:
			return put_expand(rw, node.in[0], node.shape);
		case OP_SCALE:
			return put_scale(rw, node.in[0], node.scale, node.offset);
		case OP_AXPY:
			return put_axpy(rw, node.in[0], node.scale, node.in[1]);
		case OP_MULTIPLY:
			return put_multiply(rw, node.in[0], node.in[1]);
		case OP_TRANSPOSE:
			return put_transpose(rw, node.in[0]);
		case OP_RESHAPE:
			return put_reshape(rw, node.in[0], node.shape);
		case OP_AFFINE:
			return put_expand(rw, put_affine(rw, node.in[0], node.transpose_a, node.in[1], node.transpose_b, node.in[2],
											 node.scale, node.offset), node.shape);
		case OP_MATMUL_SUM:
			return put_matmul_sum(rw, node.in[0], node.transpose_a, node.in[1], node.transpose_b, node.scale);
		case OP_SUM:
			return put_sum(rw, node.in[0], node.shape);
		case OP_SOLVE:
			return put_solve(rw, node.in[0], node.in[1]);
		default:
			return put_node(rw, &node);
	}
}
