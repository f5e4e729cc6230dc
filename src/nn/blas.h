/*
 * blas.h
 *	  The few BLAS and LAPACK routines used, by the type of real.
 */
#ifndef NN_BLAS_H
#define NN_BLAS_H

#include <cblas.h>

#include "nn/real.h"

#ifdef NN_DOUBLE
#define blas_gemm cblas_dgemm
#define blas_trsm cblas_dtrsm
#define lapack_potrf dpotrf_
#else
#define blas_gemm cblas_sgemm
#define blas_trsm cblas_strsm
#define lapack_potrf spotrf_
#endif

/* Cholesky factor in place; Fortran's calling convention. */
extern void lapack_potrf(const char *uplo, const int *n, real *a, const int *lda, int *info, size_t uplo_length);

/* c (n, m) = alpha op(a) op(b) + beta c, row-major without gaps */
static inline void
gemm(bool transpose_a, bool transpose_b, int n, int m, int k, real alpha, const real *a, const real *b, real beta, real *c)
{
	blas_gemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans,
			  n, m, k, alpha, a, transpose_a ? n : k, b, transpose_b ? k : m, beta, c, m);
}

#endif							/* NN_BLAS_H */
