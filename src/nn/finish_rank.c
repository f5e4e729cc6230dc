/*
 * finish_rank.c
 *	  Matrices of low rank, of a tape that is being finished.
 *
 * Adapted weights are W = W_0 - alpha sum_s X^T D_s, and so are the matrices
 * that carry gradients through the steps: few rows times few rows.  Where it
 * costs less, a product with such a matrix is taken apart,
 *		A W = A W_0 - alpha (A X^T) (sum_s D_s),
 * and W itself is never worked out.  In a first layer, whose inputs X stand
 * still while a task adapts, A W_0 and A X^T are the same in all steps, so that
 * its cost per step does not grow with the width of the input (the "dual" form
 * of the layer).
 */
#include "nn/finish_private.h"

#include <string.h>

int
term_rank(const Rewrite *rw, const Term *term)
{
	return term->transpose_a ? at(rw, term->a)->shape.rows : at(rw, term->a)->shape.cols;
}

void
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

void
sum_scale(Sum *sum, real scale)
{
	sum->scale *= scale;
	for (int i = 0; i < sum->n; i++)
		sum->terms[i].scale *= scale;
}

bool
sum_add(Rewrite *rw, Sum *x, const Sum *y, Shape s, bool *combined)
{
	int			rank = 0;

	*combined = false;
	if (x->base != TAPE_NONE && x->base == y->base)
	{
		/* what changed of the same matrix has no base */
		x->scale += y->scale;
		if (x->scale == 0)
			x->base = TAPE_NONE;
	}
	else if (x->base != TAPE_NONE && y->base != TAPE_NONE)
		return false;
	else if (x->base == TAPE_NONE)
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

void
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

Var
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
		v = put_node(rw, &node);
		if (v == TAPE_NONE)
			return TAPE_NONE;
	}
	return put_expand(rw, v, s);
}

Var
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
		if (!(rw->early[a] && rw->early[sum.base]) && find_like(rw, &product) == TAPE_NONE)
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
