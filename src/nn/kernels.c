/*
 * kernels.c
 *	  The loops where training spends its time, once per instruction set, and
 *	  the choice between them.
 */
#include "nn/kernels.h"

#include <math.h>
#include <string.h>

typedef void (*TileFunction) (const Product *p, int i, int j, int last);

/* Numbers moved within vectors, where the compiler has shuffles. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(NN_DOUBLE)
#define SHUFFLES
typedef real Quad __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));
typedef int32_t QuadIndex __attribute__((vector_size(16)));
typedef real Eight __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));
typedef int32_t EightIndex __attribute__((vector_size(32)));
#endif

#define KERNEL(name) name##_portable
#define KERNEL_LABEL "portable"
#define KERNEL_TARGET
#define KERNEL_BYTES 16
#define KERNEL_ROWS 6
#define KERNEL_VECTORS 2
#include "nn/kernels_body.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define SEVERAL_SETS
#include <immintrin.h>

#define KERNEL(name) name##_avx2
#define KERNEL_LABEL "avx2"
#define KERNEL_TARGET __attribute__((target("avx2,fma")))
#define KERNEL_BYTES 32
#define KERNEL_ROWS 6
#define KERNEL_VECTORS 2
#include "nn/kernels_body.h"

#define KERNEL(name) name##_avx512
#define KERNEL_LABEL "avx512"
#define KERNEL_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,prefer-vector-width=512")))
#define KERNEL_BYTES 64
#define KERNEL_ROWS 6
#define KERNEL_VECTORS 4
#include "nn/kernels_body.h"
#endif

const Kernels *const *
kernels_all(void)
{
	static const Kernels *all[4];

	if (all[0] == NULL)
	{
		int			n = 1;

#ifdef SEVERAL_SETS
		if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
			all[n++] = &set_avx2;
		if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
			__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
			all[n++] = &set_avx512;
#endif
		all[n] = NULL;
		all[0] = &set_portable;
	}
	return all;
}

const Kernels *kernels_chosen = NULL;

const Kernels *
kernels_choose(void)
{
	const Kernels *const *all = kernels_all();

	while (all[1])
		all++;
	kernels_chosen = all[0];
	return kernels_chosen;
}

/*
 * The kernels do not cut matrices into blocks that fit a cache, so what b
 * holds must fit one, or there must be so few rows that b is read only once
 * or twice anyway.
 */
bool
product_is_small(int n, int m, int k)
{
	return (size_t) k * m <= 32 * 1024 || n <= 12;
}
