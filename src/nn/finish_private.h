/*
 * finish_private.h
 *	  What the files that rewrite a complete tape share; see finish.c.
 */
#ifndef NN_FINISH_PRIVATE_H
#define NN_FINISH_PRIVATE_H

#include "nn/tape_private.h"

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

static inline const TapeNode *
at(const Rewrite *rw, Var v)
{
	return &rw->tape->nodes[v];
}

static inline int
most(int a, int b)
{
	return a > b ? a : b;
}

/* ---- finish_rewrite.c: nodes of the new list, simplified ---- */

/* The node that stands for one as it was built. */
extern Var	put_built(Rewrite *rw, const TapeNode *built);

/* A node that is not in the list yet, with these operands. */
extern TapeNode new_node(OpCode op, Shape s, Var a, Var b, Var c);

/* The node's like in the list, or TAPE_NONE. */
extern Var	find_like(const Rewrite *rw, const TapeNode *wanted);

/* Appends the node, or finds its like. */
extern Var	put_node(Rewrite *rw, const TapeNode *node);

extern Var	put_scale(Rewrite *rw, Var a, real scale, real offset);
extern Var	put_axpy(Rewrite *rw, Var a, real scale, Var b);
extern Var	put_affine(Rewrite *rw, Var a, bool transpose_a, Var b, bool transpose_b, Var c, real alpha, real beta);
extern Var	put_expand(Rewrite *rw, Var a, Shape s);

/* ---- finish_rank.c: matrices as sums of products ---- */

/* The inner dimension of a term: its rank at most. */
extern int	term_rank(const Rewrite *rw, const Term *term);

/* What is known of a node as a sum: of a product itself, otherwise what was noted. */
extern void sum_of(const Rewrite *rw, Var v, Sum *sum);
extern void note_sum(Rewrite *rw, Var v, const Sum *sum);
extern void sum_scale(Sum *sum, real scale);

/*
 * x + y in x, where it is a sum of products that pays: of lower rank than the
 * matrix has rows or columns.  combined tells that terms with the same left
 * operand became one.
 */
extern bool sum_add(Rewrite *rw, Sum *x, const Sum *y, Shape s, bool *combined);

/* The matrix that a sum is, as nodes. */
extern Var	put_sum_of_products(Rewrite *rw, const Sum *sum, Shape s);

/*
 * a b + c with b taken apart, b = scale base + sum of terms, where that costs
 * less; TAPE_NONE where it does not.
 */
extern Var	put_apart(Rewrite *rw, Var a, bool transpose_a, Var b, bool transpose_b, Var c, real alpha, real beta);

#endif							/* NN_FINISH_PRIVATE_H */
