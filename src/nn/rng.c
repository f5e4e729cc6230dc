/*
 * rng.c
 *	  Counter-based random numbers: Philox 4x32-10.
 *
 * J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw: "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011.  Ten rounds of
 *
 *	  (c0, c1, c2, c3) <- (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2),
 *						   hi(M0 c0) ^ c3 ^ k1, lo(M0 c0))
 *
 * turn a counter of 128 bits and a key of 64 bits into four random words; the
 * key grows by a constant (Weyl sequence) from round to round.
 *
 * A stream's name is longer than key and counter together, so its key is
 * drawn by Philox itself from seed, purpose and iteration, and its counter
 * starts at the task: the low half counts blocks, the high half is the task.
 */
#include "nn/rng.h"

#include <math.h>
#include <string.h>

#define PHILOX_ROUNDS 10
#define PHILOX_M0 UINT32_C(0xD2511F53)
#define PHILOX_M1 UINT32_C(0xCD9E8D57)
#define PHILOX_W0 UINT32_C(0x9E3779B9)	/* golden ratio */
#define PHILOX_W1 UINT32_C(0xBB67AE85)	/* sqrt(3) - 1 */

static void
philox(const uint32_t counter[4], const uint32_t key[2], uint32_t block[4])
{
	uint32_t	c0 = counter[0];
	uint32_t	c1 = counter[1];
	uint32_t	c2 = counter[2];
	uint32_t	c3 = counter[3];
	uint32_t	k0 = key[0];
	uint32_t	k1 = key[1];

	for (int round = 0; round < PHILOX_ROUNDS; round++)
	{
		uint64_t	p0 = (uint64_t) PHILOX_M0 * c0;
		uint64_t	p1 = (uint64_t) PHILOX_M1 * c2;

		c0 = (uint32_t) (p1 >> 32) ^ c1 ^ k0;
		c1 = (uint32_t) p1;
		c2 = (uint32_t) (p0 >> 32) ^ c3 ^ k1;
		c3 = (uint32_t) p0;
		k0 += PHILOX_W0;
		k1 += PHILOX_W1;
	}
	block[0] = c0;
	block[1] = c1;
	block[2] = c2;
	block[3] = c3;
}

Rng
rng_stream(uint64_t seed, RngPurpose purpose, uint64_t iteration, uint64_t task)
{
	uint32_t	key[2] = {(uint32_t) seed, (uint32_t) (seed >> 32)};
	uint32_t	name[4] = {(uint32_t) iteration, (uint32_t) (iteration >> 32), (uint32_t) purpose, 0};
	Rng			rng;

	memset(&rng, 0, sizeof(rng));
	philox(name, key, rng.block);
	rng.key[0] = rng.block[0];
	rng.key[1] = rng.block[1];
	rng.counter[2] = (uint32_t) task;
	rng.counter[3] = (uint32_t) (task >> 32);
	rng.used = 4;
	return rng;
}

uint32_t
rng_uint32(Rng *rng)
{
	if (rng->used == 4)
	{
		philox(rng->counter, rng->key, rng->block);
		if (++rng->counter[0] == 0)
			rng->counter[1]++;
		rng->used = 0;
	}
	return rng->block[rng->used++];
}

/*
 * The high word of a product with n is uniform once the low words that would
 * favour some results, 2^32 mod n of them, are drawn again (Lemire, 2019).
 */
uint32_t
rng_below(Rng *rng, uint32_t n)
{
	uint64_t	product = (uint64_t) rng_uint32(rng) * n;

	if ((uint32_t) product < n)
	{
		uint32_t	unfair = -n % n;

		while ((uint32_t) product < unfair)
			product = (uint64_t) rng_uint32(rng) * n;
	}
	return (uint32_t) (product >> 32);
}

double
rng_uniform(Rng *rng)
{
	uint64_t	high = rng_uint32(rng) >> 5;	/* 27 bits */
	uint64_t	low = rng_uint32(rng) >> 6; /* 26 bits */

	return (double) (high << 26 | low) / 9007199254740992.0;
}

/*
 * Only the cosine of the pair is used: a stream then has no memory beyond its
 * counter.  1 - u keeps the logarithm's argument off 0.
 */
double
rng_normal(Rng *rng)
{
	double		radius = sqrt(-2.0 * log(1.0 - rng_uniform(rng)));

	return radius * cos(2.0 * 3.14159265358979323846 * rng_uniform(rng));
}
