/*
 * kernels.h
 *	  The loops where training spends its time, for the processor at hand.
 *
 * The products of the tape are small: 10 to 32 rows times a layer of at most
 * a few hundred columns.  A library for large matrices spends as much time on
 * packing them as on multiplying, so these have their own kernels, compiled
 * for several instruction sets of which the best is chosen on first use.  On
 * one processor the results are always the same, whoever asks.
 */
#ifndef NN_KERNELS_H
#define NN_KERNELS_H

#include "nn/real.h"

/*
 * to (n, m) = alpha a b + beta c
 * a (n, k) has element (i, p) at a[i a_row + p a_col], so that it may be the
 * transpose of what lies in memory; b (k, m) and c (n, m) have rows b_row and
 * c_row apart (c_row 0 repeats one row); to has no gaps.  c may be NULL.  c may
 * be to where m is a multiple of 16; a and b may not.
 */
typedef struct Product
{
	int			n;
	int			m;
	int			k;
	const real *a;
	size_t		a_row;
	size_t		a_col;
	const real *b;
	size_t		b_row;
	const real *c;
	size_t		c_row;
	real		alpha;
	real		beta;
	real	   *to;
	bool		rectified;		/* of the result, what is not positive becomes 0 */
} Product;

typedef struct Kernels
{
	const char *name;
	void		(*product) (const Product *p);

	/* to (m, n) = a (n, m) transposed */
	void		(*transpose) (int n, int m, const real *a, real *to);

	/* elementwise; to may be an operand */
	void		(*axpy) (size_t n, const real *a, real scale, const real *b, real *to);	/* a + scale b */
	void		(*multiply) (size_t n, const real *a, const real *b, real *to);
	void		(*scale) (size_t n, const real *a, real scale, real offset, real *to);	/* scale a + offset */
	void		(*relu) (size_t n, const real *a, real *to);
	void		(*reciprocal) (size_t n, const real *a, real *to);
	void		(*root) (size_t n, const real *a, real *to);
	void		(*mask) (size_t n, const real *a, const real *b, real *to);	/* a where b > 0, else 0 */

	/*
	 * A cell of long short-term memory: gates (rows, 4 width) before the
	 * sigmoid, in the order i, f, g, o; the last state (rows, 2 width), hidden
	 * then cell, or NULL for zeros; to (rows, 2 width) is the next state.
	 */
	void		(*lstm) (size_t rows, int width, const real *gates, const real *last, real *to);

	/* From the gradient of the next state that of the gates and of the last cell: to (rows, 5 width). */
	void		(*lstm_back) (size_t rows, int width, const real *gates, const real *gradient, const real *last, real *to);

	/*
	 * Along columns, of matrices (n, m) without gaps: s, t and the like are
	 * rows (m).
	 */
	/* s += sum of a - p;  t += sum of (a - p)^2 */
	void		(*column_squares) (size_t n, int m, const real *a, const real *p, real *s, real *t);
	/* s += sum of a;  t += sum of a (b - p) */
	void		(*column_products) (size_t n, int m, const real *a, const real *b, const real *p, real *s, real *t);
	/* to = s (a - p) + u */
	void		(*column_scale) (size_t n, int m, const real *a, const real *p, const real *s, const real *u, real *to);
	/* to = s a + t (b - p) + u */
	void		(*column_blend) (size_t n, int m, const real *a, const real *s, const real *b, const real *p, const real *t, const real *u, real *to);

	/* Are all of them finite numbers? */
	bool		(*finite) (size_t n, const real *a);

	/* elementwise, of four rows: the largest */
	void		(*largest) (size_t n, const real *const a[4], real *to);
	/* to[i] = from where a[i] is the first of the largest, else 0 */
	void		(*to_largest) (size_t n, const real *const a[4], const real *from, real *const to[4]);

	/* to[i] = t (a[i] - p) + u, and s from besides where a[i] is the first of the largest; all of n numbers */
	void		(*blend_largest) (size_t n, const real *const a[4], const real *s, const real *from,
								  const real *p, const real *t, const real *u, real *const to[4]);

	/*
	 * Of n channels, a multiple of 16, between pixels and the elements of
	 * windows, which are step apart: see conv_winograd.c.
	 */
	void		(*window_of_image) (int n, const real *const pixels[16], size_t step, real *to);
	void		(*window_of_result) (int n, const real *const pixels[4], size_t step, real *to);
	void		(*result_of_window) (int n, const real *from, size_t step, real *const pixels[4]);

	/*
	 * A symmetric matrix, whose upper triangle is in u, as l d l^T: l^T, whose
	 * diagonal is 1, above u's, and 1 / d on it.  false where the matrix is not
	 * positive definite.  Without roots, which each step would wait for.  Rows
	 * are stride apart, a multiple of 16; what lies beside the triangle is
	 * overwritten.  n is at most FACTOR_MAX.
	 */
	bool		(*factor) (int n, int stride, real *u);

	/*
	 * The upper triangle of half (a + a^T) + plus, both (n, n) without gaps, in
	 * rows of stride for factor; what lies beside it is any finite number, or
	 * what is not finite in a or plus.
	 */
	void		(*symmetric) (int n, int stride, const real *a, real half, const real *plus, real *u);

	/* x (l d l^T)^-1 x^T */
	real		(*quadratic) (int n, int stride, const real *u, const real *x);
} Kernels;

/* of a system that factor and quadratic can work with: unknowns */
#define FACTOR_MAX 48

/* of a state that lstm and lstm_back can work with */
#define LSTM_MAX_WIDTH 1024

extern const Kernels *kernels_chosen;	/* NULL: not yet */
extern const Kernels *kernels_choose(void);

/* The best that this processor can run. */
static inline const Kernels *
kernels(void)
{
	return kernels_chosen ? kernels_chosen : kernels_choose();
}

/* All that this processor can run, ended by NULL: for tests. */
extern const Kernels *const *kernels_all(void);

/* Is a product better left to these than to a library for large matrices? */
extern bool product_is_small(int n, int m, int k);

#endif							/* NN_KERNELS_H */
