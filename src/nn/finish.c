/*
 * finish.c
 *	  Rewriting a complete tape for replaying.
 *
 * The nodes that the roots need are appended to a new list in order, through
 * the functions below, which simplify as they go:
 *
 * - equal nodes become one;
 * - what is repeated along a dimension stays as it is where an operation
 *   repeats its operands anyway: shared parameters have no copy per task;
 * - a product by the derivative of relu becomes a mask;
 * - a right operand is transposed once, for all products that want it;
 * - factors move into the products and sums that they belong to.
 *
 * Matrices of low rank.  Adapted weights are W = W_0 - alpha sum_s X^T D_s, and
 * so are the matrices that carry gradients through the steps: few rows times
 * few rows.  Where it costs less, a product with such a matrix is taken apart,
 *		A W = A W_0 - alpha (A X^T) (sum_s D_s),
 * and W itself is never worked out.  In a first layer, whose inputs X stand
 * still while a task adapts, A W_0 and A X^T are the same in all steps, so that
 * its cost per step does not grow with the width of the input (the "dual" form
 * of the layer).
 *
 * In a second pass products swallow the sums they are used in, once.
 */
#include "nn/tape_private.h"

#include <string.h>

#include "nn/kernels.h"

#define MAX_TERMS 24			/* of a matrix as a sum of products */

/* scale op(a) op(b) */
typedef struct Term
{
	real		scale;
	Var			a;
	Var			b;
	bool		transpose_a;
	bool		transpose_b;
} Term;

/* A matrix as scale base + the terms; base may be TAPE_NONE. */
typedef struct Sum
{
	Var			base;
	real		scale;
	int			n;
	Term		terms[MAX_TERMS];
} Sum;

typedef struct Rewrite
{
	Tape	   *tape;			/* whose nodes are the new list */
	const TapeNode *built;
	Var		   *map;			/* built -> new */
	Sum		  **sums;			/* of a new node, or NULL */
	bool	   *early;			/* new nodes that no product comes before */
	int			max_side;		/* room in sums and early */
	Var		   *buckets;		/* of new nodes, by hash */
	Var		   *next;			/* in the same bucket */
	unsigned	n_buckets;
} Rewrite;

static Var	put_scale(Rewrite *rw, Var a, real scale, real offset);
static Var	put_axpy(Rewrite *rw, Var a, real scale, Var b);
static Var	put_affine(Rewrite *rw, Var a, bool transpose_a, Var b, bool transpose_b, Var c, real alpha, real beta);
static Var	put_expand(Rewrite *rw, Var a, Shape s);
static Var	put_sum(Rewrite *rw, Var a, Shape s);

static inline const TapeNode *
at(const Rewrite *rw, Var v)
{
	return &rw->tape->nodes[v];
}

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

static Var
find(const Rewrite *rw, const TapeNode *wanted)
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

/* Appends the node, or finds its like. */
static Var
put(Rewrite *rw, const TapeNode *node)
{
	bool		leaf = node->op == OP_LEAF || node->op == OP_INDEX;
	Var			v = leaf ? TAPE_NONE : find(rw, node);
	unsigned	bucket = hash_node(node) % rw->n_buckets;
	bool		early = node->op != OP_AFFINE && node->op != OP_MATMUL_SUM && node->op != OP_SOLVE &&
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

static TapeNode
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

/* ---- matrices as sums of products ---- */

/* The inner dimension of a term: its rank at most. */
static int
term_rank(const Rewrite *rw, const Term *term)
{
	return term->transpose_a ? at(rw, term->a)->shape.rows : at(rw, term->a)->shape.cols;
}

/* What is known of a node as a sum: of a product itself, otherwise what was noted. */
static void
sum_of(const Rewrite *rw, Var v, Sum *sum)
{
	const TapeNode *node = at(rw, v);

	if (rw->sums[v])
	{
		/* no more terms than it has were kept */
		memcpy(sum, rw->sums[v], offsetof(Sum, terms) + rw->sums[v]->n * sizeof(Term));
		return;
	}
	memset(sum, 0, sizeof(*sum));
	sum->base = v;
	sum->scale = 1;
	if (node->op == OP_AFFINE && node->in[2] == TAPE_NONE)
	{
		sum->base = TAPE_NONE;
		sum->n = 1;
		sum->terms[0] = (Term) {node->scale, node->in[0], node->in[1], node->transpose_a, node->transpose_b};
	}
}

static void
sum_scale(Sum *sum, real scale)
{
	sum->scale *= scale;
	for (int i = 0; i < sum->n; i++)
		sum->terms[i].scale *= scale;
}

/*
 * x + y in x, where it is a sum of products that pays: of lower rank than the
 * matrix has rows or columns.  combined tells that terms with the same left
 * operand became one.
 */
static bool
sum_add(Rewrite *rw, Sum *x, const Sum *y, Shape s, bool *combined)
{
	int			rank = 0;

	*combined = false;
	if (x->base != TAPE_NONE && y->base != TAPE_NONE)
		return false;
	if (x->base == TAPE_NONE)
	{
		x->base = y->base;
		x->scale = y->scale;
	}
	for (int i = 0; i < y->n; i++)
	{
		const Term *term = &y->terms[i];
		Term	   *like = NULL;

		for (int j = 0; j < x->n; j++)
			if (x->terms[j].a == term->a && x->terms[j].transpose_a == term->transpose_a &&
				x->terms[j].transpose_b == term->transpose_b &&
				shape_equal(at(rw, x->terms[j].b)->shape, at(rw, term->b)->shape))
				like = &x->terms[j];
		if (like && like->scale != 0)
		{
			/* the order of building, so that a sum of one term more is one node more */
			like->b = put_axpy(rw, like->b, term->scale / like->scale, term->b);
			*combined = true;
			if (like->b == TAPE_NONE)
				return false;
		}
		else if (x->n == MAX_TERMS)
			return false;
		else
			x->terms[x->n++] = *term;
	}
	for (int i = 0; i < x->n; i++)
		rank += term_rank(rw, &x->terms[i]);
	return rank < s.rows && rank < s.cols;
}

static void
note_sum(Rewrite *rw, Var v, const Sum *sum)
{
	Sum		   *kept;

	if (v == TAPE_NONE || rw->sums[v] != NULL)
		return;
	kept = arena_alloc(rw->tape->arena, 1, offsetof(Sum, terms) + sum->n * sizeof(Term));
	if (kept == NULL)
	{
		tape_fault(rw->tape, "out of memory");
		return;
	}
	memcpy(kept, sum, offsetof(Sum, terms) + sum->n * sizeof(Term));
	rw->sums[v] = kept;
}

/* The matrix that a sum is, as nodes. */
static Var
put_sum_of_products(Rewrite *rw, const Sum *sum, Shape s)
{
	Var			v = sum->base;

	if (v != TAPE_NONE && sum->scale != 1)
		v = put_scale(rw, v, sum->scale, 0);
	for (int i = 0; i < sum->n; i++)
	{
		const Term *term = &sum->terms[i];
		Shape		b = at(rw, term->b)->shape;
		TapeNode	node = new_node(OP_AFFINE, s, term->a, term->b, v);

		node.shape.tasks = at(rw, term->a)->shape.tasks > b.tasks ? at(rw, term->a)->shape.tasks : b.tasks;
		if (v != TAPE_NONE && at(rw, v)->shape.tasks > node.shape.tasks)
			node.shape.tasks = at(rw, v)->shape.tasks;
		node.transpose_a = term->transpose_a;
		node.transpose_b = term->transpose_b;
		node.scale = term->scale;
		node.offset = v == TAPE_NONE ? 0 : 1;
		v = put(rw, &node);
		if (v == TAPE_NONE)
			return TAPE_NONE;
	}
	return put_expand(rw, v, s);
}

/* ---- operations, simplified ---- */

static Var
put_expand(Rewrite *rw, Var a, Shape s)
{
	TapeNode	node;

	if (a == TAPE_NONE || shape_equal(at(rw, a)->shape, s))
		return a;
	if (at(rw, a)->op == OP_EXPAND)
		a = at(rw, a)->in[0];
	node = new_node(OP_EXPAND, s, a, TAPE_NONE, TAPE_NONE);
	return put(rw, &node);
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

static Var
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
	a = put(rw, &node);
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

static Var
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
		v = put(rw, &node);
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
	found = find(rw, &relu);
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
			return put(rw, &node);
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
	return put(rw, &node);
}

static Var
put_transpose(Rewrite *rw, Var a)
{
	Shape		s = at(rw, a)->shape;
	TapeNode	node = new_node(OP_TRANSPOSE, shape(s.tasks, s.cols, s.rows), a, TAPE_NONE, TAPE_NONE);

	if (at(rw, a)->op == OP_TRANSPOSE)
		return at(rw, a)->in[0];
	return put(rw, &node);
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
	return put(rw, &node);
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

static int
most(int a, int b)
{
	return a > b ? a : b;
}

/*
 * a b + c with b taken apart, b = scale base + sum of terms, where that costs
 * less; TAPE_NONE where it does not.
 */
static Var
put_apart(Rewrite *rw, Var a, bool transpose_a, Var b, bool transpose_b, Var c, real alpha, real beta)
{
	Shape		sa = at(rw, a)->shape;
	Shape		sb = at(rw, b)->shape;
	double		n = transpose_a ? sa.cols : sa.rows;
	double		k = transpose_a ? sa.rows : sa.cols;
	double		m = transpose_b ? sb.rows : sb.cols;
	double		cost = 0;
	Sum			sum;
	Var			v = TAPE_NONE;

	sum_of(rw, b, &sum);
	if (sum.n == 0 || (sum.n == 1 && sum.base == TAPE_NONE && term_rank(rw, &sum.terms[0]) >= (k < m ? k : m)))
		return TAPE_NONE;

	/* op(b) has the terms op(x) op(y); transposed, op(y)^T op(x)^T */
	if (transpose_b)
		for (int i = 0; i < sum.n; i++)
		{
			Term		term = sum.terms[i];

			sum.terms[i] = (Term) {term.scale, term.b, term.a, !term.transpose_b, !term.transpose_a};
		}
	if (sum.base != TAPE_NONE)
	{
		TapeNode	product = new_node(OP_AFFINE,
									   shape(most(sa.tasks, at(rw, sum.base)->shape.tasks), (int) n, (int) m),
									   a, sum.base, TAPE_NONE);

		product.transpose_a = transpose_a;
		product.transpose_b = transpose_b;
		product.scale = 1;
		/* the same in all steps, or already there */
		if (!(rw->early[a] && rw->early[sum.base]) && find(rw, &product) == TAPE_NONE)
			cost += n * k * m;
	}
	for (int i = 0; i < sum.n; i++)
	{
		const Term *term = &sum.terms[i];
		double		rank = term_rank(rw, term);

		if (!(rw->early[a] && rw->early[term->a]))
			cost += n * k * rank;
		cost += n * rank * m;
	}
	if (cost >= n * k * m)
		return TAPE_NONE;

	if (sum.base != TAPE_NONE)
		v = put_scale(rw, put_affine(rw, a, transpose_a, sum.base, transpose_b, TAPE_NONE, 1, 0), alpha * sum.scale, 0);
	if (c != TAPE_NONE)
		v = v == TAPE_NONE ? put_scale(rw, c, beta, 0) : put_axpy(rw, v, beta, c);
	for (int i = 0; i < sum.n; i++)
	{
		const Term *term = &sum.terms[i];
		Var			left = put_affine(rw, a, transpose_a, term->a, term->transpose_a, TAPE_NONE, 1, 0);

		v = put_affine(rw, left, false, term->b, term->transpose_b, v, alpha * term->scale, 1);
		if (v == TAPE_NONE)
			return TAPE_NONE;
	}
	return v;
}

static Var
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
	return put(rw, &node);
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
	return put(rw, &node);
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
	/* sum of (A B) o (C D), each of low rank, is that of (A^T C) o (B D^T) */
	if (in->op == OP_MULTIPLY && s.rows == 1 && s.cols == 1 && s.tasks == in->shape.tasks)
	{
		const TapeNode p = *at(rw, in->in[0]);
		const TapeNode q = *at(rw, in->in[1]);

		if (is_low_product(rw, &p) && is_low_product(rw, &q) && shape_equal(p.shape, q.shape))
		{
			Var			left = put_affine(rw, p.in[0], !p.transpose_a, q.in[0], q.transpose_a, TAPE_NONE, 1, 0);
			Var			right = put_affine(rw, p.in[1], p.transpose_b, q.in[1], !q.transpose_b, TAPE_NONE, 1, 0);

			return put_scale(rw, put_sum(rw, put_multiply(rw, left, right), s), p.scale * q.scale, 0);
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
	return put(rw, &node);
}

/* A node as it was built, simplified. */
static Var
put_built(Rewrite *rw, const TapeNode *built)
{
	TapeNode	node = *built;

	for (int i = 0; i < 3; i++)
		if (built->in[i] != TAPE_NONE)
			node.in[i] = rw->map[built->in[i]];
	switch (built->op)
	{
		case OP_DETACH:
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
		default:
			return put(rw, &node);
	}
}

/* ---- second pass: products swallow sums ---- */

static void
count_uses(const Tape *tape, const bool *live, int *uses)
{
	for (Var v = 0; v < tape->n_nodes; v++)
		for (int i = 0; i < 3; i++)
			if (live[v] && tape->nodes[v].in[i] != TAPE_NONE)
				uses[tape->nodes[v].in[i]]++;
}

/* Is v a product without an added term, wanted only once, of shape s? */
static bool
lone_product(const Tape *tape, Var v, const int *uses, Shape s)
{
	const TapeNode *node = &tape->nodes[v];

	return node->op == OP_AFFINE && node->in[2] == TAPE_NONE && uses[v] == 1 && shape_equal(node->shape, s);
}

static void
fuse(Tape *tape, const bool *live, const int *uses)
{
	for (Var v = 0; v < tape->n_nodes; v++)
	{
		TapeNode   *node = &tape->nodes[v];
		TapeNode	product;
		Var			c;

		if (!live[v])
			continue;
		if (node->op == OP_SCALE && node->offset == 0 && uses[node->in[0]] == 1 &&
			(tape->nodes[node->in[0]].op == OP_AFFINE || tape->nodes[node->in[0]].op == OP_MATMUL_SUM))
		{
			product = tape->nodes[node->in[0]];
			product.scale *= node->scale;
			product.offset *= node->scale;
			*node = product;
			continue;
		}
		if (node->op != OP_AXPY)
			continue;
		if (lone_product(tape, node->in[1], uses, node->shape) &&
			tape->nodes[node->in[0]].shape.cols == node->shape.cols)
		{
			c = node->in[0];
			product = tape->nodes[node->in[1]];
			product.scale *= node->scale;
			product.offset = 1;
		}
		else if (lone_product(tape, node->in[0], uses, node->shape) &&
				 tape->nodes[node->in[1]].shape.cols == node->shape.cols)
		{
			c = node->in[1];
			product = tape->nodes[node->in[0]];
			product.offset = node->scale;
		}
		else
			continue;
		product.in[2] = c;
		*node = product;
	}
}

/* What the kept nodes need. */
static void
mark_live(const Tape *tape, const bool *kept, bool *live)
{
	memcpy(live, kept, tape->n_nodes * sizeof(bool));
	for (Var v = tape->n_nodes - 1; v >= 0; v--)
		for (int i = 0; i < 3; i++)
			if (live[v] && tape->nodes[v].in[i] != TAPE_NONE)
				live[tape->nodes[v].in[i]] = true;
}

/* Leaves out what nobody needs; kept moves along. */
static void
compact(Tape *tape, const bool *live, bool *kept, Var *moved)
{
	int			n = 0;

	for (Var v = 0; v < tape->n_nodes; v++)
	{
		moved[v] = TAPE_NONE;
		if (!live[v])
			continue;
		for (int i = 0; i < 3; i++)
			if (tape->nodes[v].in[i] != TAPE_NONE)
				tape->nodes[v].in[i] = moved[tape->nodes[v].in[i]];
		tape->nodes[n] = tape->nodes[v];
		kept[n] = kept[v];
		moved[v] = n++;
	}
	tape->n_nodes = n;
	for (Var v = 0; v < tape->n_built; v++)
		if (tape->map[v] != TAPE_NONE)
			tape->map[v] = moved[tape->map[v]];
}

void
tape_finish(Tape *tape, const Var *roots, int n)
{
	Rewrite		rw = {0};
	bool	   *wanted = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(bool));
	bool	   *kept,
			   *live;
	int		   *uses;
	Var		   *moved;

	if (tape->fault || tape->finished)
	{
		tape_fault(tape, "the tape is finished");
		return;
	}
	rw.tape = tape;
	rw.built = tape->nodes;
	rw.n_buckets = 2 * tape->n_nodes + 1;
	rw.buckets = arena_alloc(tape->arena, rw.n_buckets, sizeof(Var));
	rw.map = tape->map = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(Var));
	if (wanted == NULL || rw.buckets == NULL || rw.map == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	for (unsigned i = 0; i < rw.n_buckets; i++)
		rw.buckets[i] = TAPE_NONE;

	for (int i = 0; i < n; i++)
		if (roots[i] != TAPE_NONE)
			wanted[roots[i]] = true;
	for (Var v = tape->n_nodes - 1; v >= 0; v--)
		for (int i = 0; i < 3; i++)
			if (wanted[v] && rw.built[v].in[i] != TAPE_NONE)
				wanted[rw.built[v].in[i]] = true;

	tape->n_built = tape->n_nodes;
	tape->nodes = NULL;
	tape->n_nodes = tape->max_nodes = 0;
	for (Var v = 0; v < tape->n_built && !tape->fault; v++)
		rw.map[v] = wanted[v] || rw.built[v].op == OP_LEAF || rw.built[v].op == OP_INDEX ?
			put_built(&rw, &rw.built[v]) : TAPE_NONE;
	if (tape->fault)
		return;

	kept = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(bool));
	live = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(bool));
	uses = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(int));
	moved = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(Var));
	if (kept == NULL || live == NULL || uses == NULL || moved == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	for (Var v = 0; v < tape->n_nodes; v++)
		kept[v] = tape->nodes[v].op == OP_LEAF || tape->nodes[v].op == OP_INDEX;
	for (int i = 0; i < n; i++)
		if (roots[i] != TAPE_NONE)
			kept[rw.map[roots[i]]] = true;
	mark_live(tape, kept, live);
	count_uses(tape, live, uses);
	for (Var v = 0; v < tape->n_nodes; v++)
		uses[v] += kept[v] ? 2 : 0;
	fuse(tape, live, uses);
	mark_live(tape, kept, live);
	compact(tape, live, kept, moved);
	tape->finished = true;
	tape_share_memory(tape, kept);
}
