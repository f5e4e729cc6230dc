/*
 * ops_solve.c
 *	  Linear systems with symmetric positive definite matrices, one per task.
 *
 * The gradient of a solve is a solve and a product, so any derivative stays on
 * the tape.
 */
#include "nn/tape_private.h"

#include <math.h>
#include <string.h>

#include "nn/blas.h"
#include "nn/kernels.h"

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
 * Of a small system: a = l d l^T.  u holds l^T above its diagonal and 1 / d on
 * it, in rows of factor_stride (kernels.h says why).
 */

/* x = a^-1 x, one column */
static void
solve_column(const real *restrict u, int n, real *restrict x)
{
	int			stride = factor_stride(n);

	for (int k = 0; k < n; k++)
	{
		const real *row = u + (size_t) k * stride;
		real		xk = x[k];

		for (int i = k + 1; i < n; i++)
			x[i] -= row[i] * xk;
	}
	for (int k = n - 1; k >= 0; k--)
	{
		const real *row = u + (size_t) k * stride;
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
		x[k] = row[k] * x[k] - (even + odd);
	}
}

/* The same of m columns, (n, m). */
static void
solve_columns(const real *restrict u, int n, int m, real *restrict x)
{
	int			stride = factor_stride(n);

	for (int k = 0; k < n; k++)
	{
		const real *row = u + (size_t) k * stride;
		const real *xk = x + (size_t) k * m;

		for (int i = k + 1; i < n; i++)
			for (int c = 0; c < m; c++)
				x[(size_t) i * m + c] -= row[i] * xk[c];
	}
	for (int k = n - 1; k >= 0; k--)
	{
		const real *row = u + (size_t) k * stride;
		real	   *xk = x + (size_t) k * m;
		real		scale = row[k];

		for (int c = 0; c < m; c++)
			xk[c] *= scale;
		for (int i = k + 1; i < n; i++)
			for (int c = 0; c < m; c++)
				xk[c] -= row[i] * x[(size_t) i * m + c];
	}
}

/* One attempt; u is overwritten in any case. */
static bool
factorise_once(int n, real *u)
{
	int			info;

	if (n <= SMALL_SYSTEM)
		return kernels()->factor(n, factor_stride(n), u);
	/* Fortran's lower triangle is our upper one */
	lapack_potrf("L", &n, u, &n, &info, 1);
	return info == 0;
}

/*
 * What is to be factored: a, or with plus half of what a and its transpose
 * sum up to, plus more.  Only the upper triangle is read.
 */
typedef struct Matrix
{
	const real *a;
	const real *plus;			/* or NULL */
	real		half;			/* mostly 1 / 2 */
} Matrix;

static void
copy_upper(const Matrix *m, int n, real *u)
{
	int			stride = factor_stride(n);

	if (m->plus != NULL && n <= SMALL_SYSTEM)
	{
		kernels()->symmetric(n, stride, m->a, m->half, m->plus, u);
		return;
	}
	/* numbers beside the triangle are worked with, but not used */
	memset(u, 0, (size_t) n * stride * sizeof(real));
	for (int i = 0; i < n; i++)
	{
		const real *row = m->a + (size_t) i * n;
		real	   *to = u + (size_t) i * stride;

		if (m->plus == NULL)
			memcpy(to + i, row + i, (n - i) * sizeof(real));
		else
			for (int j = i; j < n; j++)
				to[j] = m->plus[(size_t) i * n + j] + m->half * (row[j] + m->a[(size_t) j * n + i]);
	}
}

/*
 * The factor of a matrix in u, (n, factor_stride(n)): of a small system as
 * described above, of a larger one with a = u^T u; false where it is not
 * positive definite.  Normal equations of features that say the same, or of
 * fewer rows than features, may be singular as far as a real can tell: those
 * are solved with that much more on the diagonal.
 */
static bool
factorise(const Matrix *m, int n, real *u)
{
	int			stride = factor_stride(n);
	real		largest = 0;

	copy_upper(m, n, u);
	if (factorise_once(n, u))
		return true;
	copy_upper(m, n, u);
	for (int i = 0; i < n; i++)
		largest = u[(size_t) i * stride + i] > largest ? u[(size_t) i * stride + i] : largest;
	for (int i = 0; i < n; i++)
		u[(size_t) i * stride + i] += (real) SOLVE_ROUNDING * n * largest;
	return factorise_once(n, u);
}

/* The factor of each task's matrix; NaN in its first place where there is none. */
void
factor_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	const TapeNode *plus = node->in[1] == TAPE_NONE ? NULL : tape_node(tape, node->in[1]);
	int			n = node->shape.rows;
	size_t		step_a = a->shape.tasks == 1 ? 0 : (size_t) n * n;
	size_t		step_plus = plus == NULL || plus->shape.tasks == 1 ? 0 : (size_t) n * n;
	size_t		step = (size_t) n * node->shape.cols;

	for (int t = 0; t < node->shape.tasks && n > 0; t++)
	{
		Matrix		m = {a->data + t * step_a, plus ? plus->data + t * step_plus : NULL, node->scale};

		if (!factorise(&m, n, node->data + t * step))
			node->data[t * step] = NAN;
	}
}

void
solve_forward(const Tape *tape, const TapeNode *node)
{
	const real *a = tape_node(tape, node->in[0])->data;
	const real *b = tape_node(tape, node->in[1])->data;
	int			n = node->shape.rows;
	int			m = node->shape.cols;
	size_t		step_a = (size_t) n * tape_node(tape, node->in[0])->shape.cols;
	size_t		step = (size_t) n * m;

	if (step == 0)
		return;
	for (int t = 0; t < node->shape.tasks; t++)
	{
		real	   *x = node->data + t * step;
		const real *u = node->factored ? a + t * step_a : node->scratch;
		Matrix		matrix = {a + t * step_a, NULL, 0};

		if (node->factored ? isnan(u[0]) : !factorise(&matrix, n, node->scratch))
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

/* x a^-1 x^T of each row, half of a solution: y = l^-1 x^T, y^T d^-1 y. */
void
quadratic_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *factor = tape_node(tape, node->in[0]);
	const real *u = factor->data;
	const real *x = tape_node(tape, node->in[1])->data;
	int			n = factor->shape.rows;
	real	   *to = node->data;

	for (int t = 0; t < node->shape.tasks; t++, u += (size_t) n * factor->shape.cols)
		for (int r = 0; r < node->shape.rows; r++, x += n)
			*to++ = n > 0 && isnan(u[0]) ? NAN : kernels()->quadratic(n, factor->shape.cols, u, x);
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
