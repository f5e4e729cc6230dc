/*
 * rng.h
 *	  Counter-based random numbers (Philox 4x32-10; Salmon, Moraes, Dror and
 *	  Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * A stream is named by what it is for, (seed, purpose, iteration, task), so
 * no state is shared, workers need no hand-over, and a resumed training
 * draws what the uninterrupted one would have drawn.
 */
#ifndef NN_RNG_H
#define NN_RNG_H

#include "nn/real.h"

/* What a stream is used for: two purposes never share numbers. */
typedef enum RngPurpose
{
	RNG_INITIALISE = 1,			/* first meta-parameters */
	RNG_TASK,					/* which tasks form a meta-batch */
	RNG_SPLIT,					/* support and query rows of one task */
	RNG_DROP,					/* categories dropped to "unknown" */
	RNG_EVALUATE,				/* support and query rows in evaluation */
	RNG_BOOTSTRAP,				/* resampling of tasks */
	RNG_EPISODE,				/* classes of an N-way episode */
	RNG_SAMPLE,					/* rows that a generative learner makes up */
	RNG_NOISE,					/* what it draws in training */
	RNG_AUGMENT,				/* how images are distorted in training */
	RNG_ORDER					/* the order of an episode's support rows */
} RngPurpose;

typedef struct Rng
{
	uint32_t	key[2];
	uint32_t	counter[4];
	uint32_t	block[4];		/* numbers of the current counter */
	int			used;			/* how many of them were handed out */
} Rng;

extern Rng	rng_stream(uint64_t seed, RngPurpose purpose, uint64_t iteration, uint64_t task);
extern uint32_t rng_uint32(Rng *rng);

/* uniform in [0, n); n must be positive.  Unbiased (rejection). */
extern uint32_t rng_below(Rng *rng, uint32_t n);

/* uniform in [0, 1), 53 bits */
extern double rng_uniform(Rng *rng);

/* standard normal (Box-Muller) */
extern double rng_normal(Rng *rng);

#endif							/* NN_RNG_H */
