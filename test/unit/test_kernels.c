/*
 * test_kernels.c
 *	  The kernels of every instruction set that this processor has, against
 *	  plain loops, at sizes that fit their tiles and at sizes that do not.
 *
 * All arrays are of their exact size, so that the sanitiser sees whatever is
 * read or written beside them.
 */
#include <string.h>

#include "nn/kernels.h"
#include "nn/rng.h"
#include "tap.h"

#ifdef NN_DOUBLE
#define TOLERANCE 1e-13
#else
#define TOLERANCE 1e-5
#endif

static Rng rng;

static real *
numbers(size_t n)
{
	real	   *x = malloc(n * sizeof(real) + (n == 0));

	for (size_t i = 0; i < n; i++)
		x[i] = rng_normal(&rng);
	return x;
}

/* Where the added term lies. */
typedef enum Added
{
	ADDED_NONE,
	ADDED_ROW,					/* one row, repeated */
	ADDED_FULL,
	ADDED_IN_PLACE,
	ADDED_COUNT
} Added;

static double
product_error(const Kernels *set, int n, int m, int k, bool transposed, Added added, bool rectified)
{
	real	   *a = numbers((size_t) n * k);
	real	   *b = numbers((size_t) k * m);
	real	   *c = numbers(added == ADDED_ROW ? (size_t) m : (size_t) n * m);
	real	   *to = added == ADDED_IN_PLACE ? c : numbers((size_t) n * m);
	double	   *expected = malloc((size_t) n * m * sizeof(double));
	Product		p = {n, m, k, a, transposed ? 1 : k, transposed ? n : 1, b, m,
		added == ADDED_NONE ? NULL : c, added == ADDED_ROW ? 0 : m, (real) -0.5, (real) 1.5, to, rectified};
	double		worst = 0;

	for (int i = 0; i < n; i++)
		for (int j = 0; j < m; j++)
		{
			double		sum = 0;

			for (int q = 0; q < k; q++)
				sum += (double) a[transposed ? q * n + i : i * k + q] * b[q * m + j];
			sum = -0.5 * sum + (p.c ? 1.5 * p.c[i * p.c_row + j] : 0);
			expected[i * m + j] = rectified && sum < 0 ? 0 : sum;
		}
	set->product(&p);
	for (int i = 0; i < n * m; i++)
	{
		double		error = fabs(expected[i] - to[i]) / (1 + k);

		if (!(error <= worst))
			worst = error;
	}
	free(expected);
	if (added != ADDED_IN_PLACE)
		free(to);
	free(c);
	free(b);
	free(a);
	return worst;
}

static void
test_products(const Kernels *set)
{
	static const int ns[] = {1, 2, 6, 7, 10};
	static const int ms[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33, 48, 64, 80};
	static const int ks[] = {0, 1, 10, 33};
	static const char *const names[] = {"without an added term", "with a row added", "with a matrix added", "in place"};

	for (int variant = 0; variant < 4 * ADDED_COUNT; variant++)
	{
		bool		transposed = variant & 1;
		bool		rectified = variant & 2;
		Added		added = (Added) (variant / 4);
		double		worst = 0;

		for (size_t i = 0; i < sizeof(ns) / sizeof(int); i++)
			for (size_t j = 0; j < sizeof(ms) / sizeof(int); j++)
				for (size_t q = 0; q < sizeof(ks) / sizeof(int); q++)
					if (added != ADDED_IN_PLACE || ms[j] % 16 == 0)
					{
						double		error = product_error(set, ns[i], ms[j], ks[q], transposed, added, rectified);

						if (!(error <= worst))
							worst = error;
					}
		is_close(worst, 0, TOLERANCE, "%s: products %s%s%s", set->name, names[added], transposed ? ", transposed" : "",
				 rectified ? ", rectified" : "");
	}
}

/*
 * Of fewer columns than a vector has, a row is the same numbers alone as among
 * others: rows added to a task's memory one by one are those added together.
 */
static void
test_rows_alone(const Kernels *set)
{
	static const int ms[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 15};
	static const int ks[] = {1, 2, 3, 16, 33};
	const int	most = 13;
	int			lanes = strcmp(set->name, "avx512") == 0 ? 16 : strcmp(set->name, "avx2") == 0 ? 8 : 4;
	bool		same = true;

	lanes = lanes * sizeof(float) / sizeof(real);
	for (size_t j = 0; j < sizeof(ms) / sizeof(int) && ms[j] < lanes; j++)
		for (size_t q = 0; q < sizeof(ks) / sizeof(int); q++)
		{
			int			m = ms[j];
			int			k = ks[q];
			real	   *a = numbers((size_t) most * k);
			real	   *b = numbers((size_t) k * m);
			real	   *c = numbers((size_t) most * m);
			real	   *together = numbers((size_t) most * m);
			real	   *alone = numbers(m);

			for (int n = 2; n <= most; n++)
			{
				Product		p = {n, m, k, a, k, 1, b, m, c, m, 1, 1, together};

				set->product(&p);
				for (int i = 0; i < n; i++)
				{
					Product		one = {1, m, k, a + i * k, k, 1, b, m, c + i * m, m, 1, 1, alone};

					set->product(&one);
					same = same && memcmp(alone, together + i * m, m * sizeof(real)) == 0;
				}
			}
			free(alone);
			free(together);
			free(c);
			free(b);
			free(a);
		}
	ok(same, "%s: a row alone is the same numbers as among others", set->name);
}

static void
test_transpose(const Kernels *set)
{
	static const int sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 64};
	bool		right = true;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(int); i++)
		for (size_t j = 0; j < sizeof(sizes) / sizeof(int); j++)
		{
			int			n = sizes[i];
			int			m = sizes[j];
			real	   *a = numbers((size_t) n * m);
			real	   *to = numbers((size_t) n * m);

			set->transpose(n, m, a, to);
			for (int r = 0; r < n; r++)
				for (int c = 0; c < m; c++)
					right = right && to[c * n + r] == a[r * m + c];
			free(to);
			free(a);
		}
	ok(right, "%s: transposes", set->name);
}

static void
test_elements(const Kernels *set)
{
	double		worst = 0;
	bool		exact = true;

	for (size_t n = 0; n < 70; n++)
		for (int in_place = 0; in_place < 2; in_place++)
		{
			real	   *a = numbers(n);
			real	   *b = numbers(n);
			real	   *kept = malloc(n * sizeof(real) + 1);
			real	   *to = in_place ? a : numbers(n);

			memcpy(kept, a, n * sizeof(real));
			set->axpy(n, a, (real) 0.3, b, to);
			for (size_t i = 0; i < n; i++)
				worst = fmax(worst, fabs(to[i] - (kept[i] + (real) 0.3 * (double) b[i])));
			memcpy(kept, a, n * sizeof(real));
			set->multiply(n, a, b, to);
			for (size_t i = 0; i < n; i++)
				worst = fmax(worst, fabs(to[i] - kept[i] * (double) b[i]));
			memcpy(kept, a, n * sizeof(real));
			set->scale(n, a, (real) 0.3, 2, to);
			for (size_t i = 0; i < n; i++)
				worst = fmax(worst, fabs(to[i] - ((real) 0.3 * (double) kept[i] + 2)));
			memcpy(kept, a, n * sizeof(real));
			set->mask(n, a, b, to);
			for (size_t i = 0; i < n; i++)
				exact = exact && to[i] == (b[i] > 0 ? kept[i] : 0);
			memcpy(kept, a, n * sizeof(real));
			set->relu(n, a, to);
			for (size_t i = 0; i < n; i++)
				exact = exact && to[i] == (kept[i] > 0 ? kept[i] : 0);
			for (size_t i = 0; i < n; i++)
				kept[i] = a[i] = (real) (fabs(a[i]) + 0.1);
			set->root(n, a, to);
			for (size_t i = 0; i < n; i++)
				exact = exact && to[i] == (real) sqrt(kept[i]);
			memcpy(kept, a, n * sizeof(real));
			set->reciprocal(n, a, to);
			for (size_t i = 0; i < n; i++)
				exact = exact && to[i] == 1 / kept[i];
			if (!in_place)
				free(to);
			free(kept);
			free(b);
			free(a);
		}
	is_close(worst, 0, TOLERANCE, "%s: sums and products of elements", set->name);
	ok(exact, "%s: relu, mask, roots and reciprocals", set->name);
}

static void
test_columns(const Kernels *set)
{
	static const int ms[] = {1, 3, 8, 16, 33, 64};
	const int	n = 5;
	double		worst = 0;

	for (size_t k = 0; k < sizeof(ms) / sizeof(int); k++)
	{
		int			m = ms[k];
		real	   *a = numbers((size_t) n * m);
		real	   *b = numbers((size_t) n * m);
		real	   *row[4];
		real	   *to = numbers((size_t) n * m);
		real	   *s = calloc(m, sizeof(real));
		real	   *t = calloc(m, sizeof(real));

		for (int i = 0; i < 4; i++)
			row[i] = numbers(m);
		set->column_squares(n, m, a, row[0], s, t);
		for (int j = 0; j < m; j++)
		{
			double		sum = 0,
						squares = 0;

			for (int i = 0; i < n; i++)
			{
				sum += a[i * m + j] - row[0][j];
				squares += pow(a[i * m + j] - row[0][j], 2);
			}
			worst = fmax(worst, fmax(fabs(sum - s[j]), fabs(squares - t[j]) / 10));
			s[j] = t[j] = 0;
		}
		set->column_products(n, m, a, b, row[0], s, t);
		for (int j = 0; j < m; j++)
		{
			double		sum = 0,
						products = 0;

			for (int i = 0; i < n; i++)
			{
				sum += a[i * m + j];
				products += a[i * m + j] * (double) (b[i * m + j] - row[0][j]);
			}
			worst = fmax(worst, fmax(fabs(sum - s[j]), fabs(products - t[j]) / 10));
		}
		set->column_scale(n, m, a, row[0], row[1], row[2], to);
		for (int i = 0; i < n * m; i++)
			worst = fmax(worst, fabs(to[i] - (row[1][i % m] * (a[i] - row[0][i % m]) + row[2][i % m])) / 10);
		set->column_blend(n, m, a, row[1], b, row[0], row[2], row[3], to);
		for (int i = 0; i < n * m; i++)
			worst = fmax(worst, fabs(to[i] - (row[1][i % m] * a[i] + row[2][i % m] * (b[i] - row[0][i % m]) + row[3][i % m])) / 10);
		for (int i = 0; i < 4; i++)
			free(row[i]);
		free(t);
		free(s);
		free(to);
		free(b);
		free(a);
	}
	is_close(worst, 0, TOLERANCE, "%s: columns", set->name);
}

static void
test_largest(const Kernels *set)
{
	bool		right = true;
	double		worst = 0;

	for (size_t n = 1; n < 40; n++)
	{
		real	   *a[4];
		real	   *to[4];
		real	   *from = numbers(n);
		real	   *most = numbers(n);
		real	   *more[4];	/* s, p, t, u */

		for (int i = 0; i < 4; i++)
		{
			a[i] = numbers(n);
			to[i] = numbers(n);
			more[i] = numbers(n);
		}
		a[1][0] = a[0][0];		/* the first of equals */
		set->largest(n, (const real *const *) a, most);
		set->to_largest(n, (const real *const *) a, from, (real *const *) to);
		for (size_t j = 0; j < n; j++)
		{
			int			first = 0;

			for (int i = 1; i < 4; i++)
				if (a[i][j] > a[first][j])
					first = i;
			right = right && most[j] == a[first][j];
			for (int i = 0; i < 4; i++)
				right = right && to[i][j] == (i == first ? from[j] : 0);
		}
		set->blend_largest(n, (const real *const *) a, more[0], from, more[1], more[2], more[3], (real *const *) to);
		for (size_t j = 0; j < n; j++)
			for (int i = 0; i < 4; i++)
			{
				double		expected = more[2][j] * ((double) a[i][j] - more[1][j]) + more[3][j];
				bool		first = a[i][j] == most[j];

				for (int k = 0; k < i; k++)
					first = first && a[k][j] < most[j];
				expected += first ? (double) more[0][j] * from[j] : 0;
				worst = fmax(worst, fabs(to[i][j] - expected));
			}
		for (int i = 0; i < 4; i++)
		{
			free(a[i]);
			free(to[i]);
			free(more[i]);
		}
		free(most);
		free(from);
	}
	ok(right, "%s: the largest of four", set->name);
	is_close(worst, 0, TOLERANCE, "%s: a blend with the largest of four", set->name);
}

/* Half of a matrix and its transpose, plus another: the upper triangle. */
static void
test_symmetric(const Kernels *set)
{
	double		worst = 0;

	for (int n = 1; n <= FACTOR_MAX; n++)
	{
		int			stride = (n + 15) / 16 * 16;
		real	   *a = numbers((size_t) n * n);
		real	   *plus = numbers((size_t) n * n);
		real	   *u = numbers((size_t) n * stride);

		set->symmetric(n, stride, a, (real) 0.25, plus, u);
		for (int i = 0; i < n; i++)
			for (int j = i; j < n; j++)
				worst = fmax(worst, fabs(u[i * stride + j] - 0.25 * ((double) a[i * n + j] + a[j * n + i]) - plus[i * n + j]));
		free(u);
		free(plus);
		free(a);
	}
	is_close(worst, 0, TOLERANCE, "%s: matrices made symmetric", set->name);
}

static void
test_finite(const Kernels *set)
{
	static const real others[] = {INFINITY, -INFINITY, NAN};
	bool		right = true;

	for (size_t n = 0; n < 70; n++)
	{
		real	   *a = numbers(n);

		if (n > 0)
			a[n / 2] = n % 2 ? (sizeof(real) == sizeof(double) ? 1e308 : 3e38) : 0;
		right = right && set->finite(n, a);
		for (size_t i = 0; i < n; i++)
		{
			real		kept = a[i];

			a[i] = others[i % 3];
			right = right && !set->finite(n, a);
			a[i] = kept;
		}
		free(a);
	}
	ok(right, "%s: what is finite", set->name);
}

/* x a^-1 x^T of a = b^T b + I by its factor, and the factor itself. */
static void
test_factor(const Kernels *set)
{
	for (int n = 1; n <= FACTOR_MAX; n += n < 18 ? 1 : 15)
	{
		int			stride = (n + 15) / 16 * 16;
		real	   *b = numbers((size_t) n * n);
		real	   *x = numbers(n);
		real	   *u = numbers((size_t) n * stride);
		double	   *a = malloc((size_t) n * n * sizeof(double));
		double	   *y = malloc(n * sizeof(double));
		double		expected = 0;
		double		error = 0;
		bool		definite;

		for (int i = 0; i < n; i++)
			for (int j = i; j < n; j++)
			{
				double		sum = i == j;

				for (int q = 0; q < n; q++)
					sum += (double) b[q * n + i] * b[q * n + j];
				u[i * stride + j] = sum;
				a[i * n + j] = a[j * n + i] = u[i * stride + j];
			}
		definite = set->factor(n, stride, u);
		for (int i = 0; i < n; i++)
			for (int j = i; j < n; j++)
			{
				double		sum = 0;

				for (int k = 0; k <= i; k++)
					sum += (k == i ? 1 : (double) u[k * stride + i]) * (k == j ? 1 : (double) u[k * stride + j]) / u[k * stride + k];
				error = fmax(error, fabs(sum - a[i * n + j]) / (n + fabs(a[i * n + j])));
			}
		ok(definite && error < TOLERANCE, "%s: a factor of a matrix of %d (%.1e)", set->name, n, error);

		/* by the same steps in double */
		for (int i = 0; i < n; i++)
			y[i] = x[i];
		for (int k = 0; k < n; k++)
		{
			expected += y[k] * y[k] * u[k * stride + k];
			for (int i = k + 1; i < n; i++)
				y[i] -= y[k] * u[k * stride + i];
		}
		is_close(set->quadratic(n, stride, u, x) / expected, 1, 10 * TOLERANCE, "%s: a quadratic form with its inverse", set->name);

		/* nothing to be solved with */
		for (int i = 0; i < n; i++)
			for (int j = i; j < n; j++)
				u[i * stride + j] = i == j ? a[i * n + j] - (i == n - 1 ? 2 * a[i * n + i] : 0) : a[i * n + j];
		ok(!set->factor(n, stride, u), "%s: a matrix that is not positive definite has none", set->name);
		free(b);
		free(x);
		free(u);
		free(a);
		free(y);
	}
}

int
main(void)
{
	const Kernels *const *all = kernels_all();
	const Kernels *last = NULL;

	rng = rng_stream(1, RNG_SAMPLE, 0, 0);
	for (; *all; all++)
	{
		test_products(*all);
		test_rows_alone(*all);
		test_transpose(*all);
		test_elements(*all);
		test_columns(*all);
		test_largest(*all);
		test_factor(*all);
		test_symmetric(*all);
		test_finite(*all);
		last = *all;
	}
	ok(kernels() == last, "the last one, %s, is the one that is used", last->name);
	return tap_done();
}
