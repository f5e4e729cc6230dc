/*
 * sgemm.c
 *	  GFLOP/s of OpenBLAS on a product of large matrices, 1024 x 1024 x 1024: the
 *	  best of ten, and whose kernels it takes.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N 1024

extern char *openblas_get_corename(void);

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

int
main(void)
{
	float	   *a = malloc(N * N * sizeof(float));
	float	   *b = malloc(N * N * sizeof(float));
	float	   *c = malloc(N * N * sizeof(float));
	double		best = 1e9;

	for (int i = 0; i < N * N; i++)
		a[i] = b[i] = i % 7 - 3;
	for (int i = 0; i < 10; i++)
	{
		double		start = now();
		double		took;

		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a, N, b, N, 0, c, N);
		took = now() - start;
		best = took < best ? took : best;
	}
	printf("%.1f %s\n", 2.0 * N * N * N / best / 1e9, openblas_get_corename());
	return 0;
}
