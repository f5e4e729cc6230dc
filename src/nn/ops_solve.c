/*
 * ops_solve.c
 *	  Linear systems with symmetric positive definite matrices, one per task.
 *
 * The gradient of a solve is a solve and a product, so any derivative stays on
 * the tape.  Systems of a last layer, of a dozen unknowns or a few, are solved
 * by loops over rows; a library takes longer to begin.
 */
#include "nn/tape_private.h"

#include <math.h>
#include <string.h>

#include "nn/blas.h"

#define SMALL_SYSTEM 48			/* unknowns */

Var
tape_solve(Tape *tape, Var a, Var b)
{
	Shape		sa = tape_shape(tape, a);
	Shape		sb = tape_shape(tape, b);

	if (tape->fault)
		return TAPE_NONE;
	if (sa.rows != sa.cols || sb.rows != sa.rows || sa.tasks != sb.tasks)
		return tape_fault(tape, "shapes do not fit in a linear system");
	return tape_append(tape, OP_SOLVE, sb, a, b, TAPE_NONE);
}

/*
 * What rounding alone can take from a diagonal of a sum of many rows, relative
 * to its largest element.
 */
#define SOLVE_ROUNDING (sizeof(real) == sizeof(double) ? 1e-13 : 1e-6)

/*
 * a = u^T u, u in the upper triangle; false where a is not positive definite.
 * Row by row: each takes its part from those below.
 */
static bool
factorise_small(int n, real *restrict u)
{
	for (int k = 0; k < n; k++)
	{
		real	   *row = u + (size_t) k * n;
		real		scale;

		if (!(row[k] > 0))
			return false;
		scale = 1 / (real) sqrt(row[k]);
		for (int j = k; j < n; j++)
			row[j] *= scale;
		for (int i = k + 1; i < n; i++)
		{
			real	   *below = u + (size_t) i * n;
			real		factor = row[i];

			for (int j = i; j < n; j++)
				below[j] -= factor * row[j];
		}
	}
	return true;
}

/* x = (u^T u)^-1 x, one column */
static void
solve_column(const real *restrict u, int n, real *restrict x)
{
	for (int k = 0; k < n; k++)
	{
		const real *row = u + (size_t) k * n;
		real		xk = x[k] / row[k];

		x[k] = xk;
		for (int i = k + 1; i < n; i++)
			x[i] -= row[i] * xk;
	}
	for (int k = n - 1; k >= 0; k--)
	{
		const real *row = u + (size_t) k * n;
		real		even = 0;
		real		odd = 0;
		int			i = k + 1;

		/* two sums, so that they need not wait for each other */
		for (; i + 2 <= n; i += 2)
		{
			even += row[i] * x[i];
			odd += row[i + 1] * x[i + 1];
		}
		if (i < n)
			even += row[i] * x[i];
		x[k] = (x[k] - (even + odd)) / row[k];
	}
}

/* The same of m columns, (n, m). */
static void
solve_columns(const real *restrict u, int n, int m, real *restrict x)
{
	for (int k = 0; k < n; k++)
	{
		const real *row = u + (size_t) k * n;
		real	   *xk = x + (size_t) k * m;
		real		scale = 1 / row[k];

		for (int c = 0; c < m; c++)
			xk[c] *= scale;
		for (int i = k + 1; i < n; i++)
			for (int c = 0; c < m; c++)
				x[(size_t) i * m + c] -= row[i] * xk[c];
	}
	for (int k = n - 1; k >= 0; k--)
	{
		const real *row = u + (size_t) k * n;
		real	   *xk = x + (size_t) k * m;
		real		scale = 1 / row[k];

		for (int i = k + 1; i < n; i++)
			for (int c = 0; c < m; c++)
				xk[c] -= row[i] * x[(size_t) i * m + c];
		for (int c = 0; c < m; c++)
			xk[c] *= scale;
	}
}

/* One attempt; l is overwritten in any case. */
static bool
factorise_once(int n, real *l)
{
	int			info;

	if (n <= SMALL_SYSTEM)
		return factorise_small(n, l);
	/* Fortran's lower triangle is our upper one */
	lapack_potrf("L", &n, l, &n, &info, 1);
	return info == 0;
}

/*
 * a = u^T u, u in its upper triangle, (n, n); false where a is not positive
 * definite.  Normal equations of features that say the same, or of fewer rows
 * than features, may be singular as far as a real can tell: those are solved
 * with that much more on the diagonal.
 */
static bool
factorise(const real *a, int n, real *u)
{
	real		largest = 0;

	memcpy(u, a, (size_t) n * n * sizeof(real));
	if (factorise_once(n, u))
		return true;
	memcpy(u, a, (size_t) n * n * sizeof(real));
	for (int i = 0; i < n; i++)
		largest = a[(size_t) i * n + i] > largest ? a[(size_t) i * n + i] : largest;
	for (int i = 0; i < n; i++)
		u[(size_t) i * n + i] += (real) SOLVE_ROUNDING * n * largest;
	return factorise_once(n, u);
}

/* The factor of each task's matrix; NaN in its first place where there is none. */
void
factor_forward(const Tape *tape, const TapeNode *node)
{
	const real *a = tape_node(tape, node->in[0])->data;
	int			n = node->shape.rows;
	size_t		step = (size_t) n * n;

	for (int t = 0; t < node->shape.tasks && n > 0; t++)
		if (!factorise(a + t * step, n, node->data + t * step))
			node->data[t * step] = NAN;
}

void
solve_forward(const Tape *tape, const TapeNode *node)
{
	const real *a = tape_node(tape, node->in[0])->data;
	const real *b = tape_node(tape, node->in[1])->data;
	int			n = node->shape.rows;
	int			m = node->shape.cols;
	size_t		step_a = (size_t) n * n;
	size_t		step = (size_t) n * m;

	if (step == 0)
		return;
	for (int t = 0; t < node->shape.tasks; t++)
	{
		real	   *x = node->data + t * step;
		const real *u = node->factored ? a + t * step_a : node->scratch;

		if (node->factored ? isnan(u[0]) : !factorise(a + t * step_a, n, node->scratch))
		{
			for (size_t i = 0; i < step; i++)
				x[i] = NAN;
			continue;
		}
		memcpy(x, b + t * step, step * sizeof(real));
		if (n <= SMALL_SYSTEM && m == 1)
			solve_column(u, n, x);
		else if (n <= SMALL_SYSTEM)
			solve_columns(u, n, m, x);
		else
		{
			blas_trsm(CblasRowMajor, CblasLeft, CblasUpper, CblasTrans, CblasNonUnit, n, m, 1, u, n, x, m);
			blas_trsm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, n, m, 1, u, n, x, m);
		}
	}
}

/*
 * a x = b:  db = a^-1 g,  da = -db x^T.  a is symmetric, and what is changed
 * in it is changed symmetrically, so da stands for both triangles.
 */
void
solve_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	Var			a = tape_node(tape, v)->in[0];
	Var			db = tape_solve(tape, a, g);

	if (wanted[0])
		out[0] = tape_scale(tape, tape_affine(tape, db, false, v, true, TAPE_NONE), -1, 0);
	if (wanted[1])
		out[1] = db;
}
