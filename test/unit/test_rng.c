/*
 * test_rng.c
 *	  Philox against its published vectors; streams; distributions.
 */
#include "nn/rng.h"
#include "tap.h"

/*
 * Known answers for philox4x32 with 10 rounds: file kat_vectors of the
 * Random123 distribution that goes with the paper.
 */
static void
test_known_answers(void)
{
	static const struct
	{
		uint32_t	counter[4];
		uint32_t	key[2];
		uint32_t	answer[4];
	}			vectors[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff},
		{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
		{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};

	for (int v = 0; v < 3; v++)
	{
		Rng			rng = {.used = 4};
		bool		same = true;

		memcpy(rng.counter, vectors[v].counter, sizeof(rng.counter));
		memcpy(rng.key, vectors[v].key, sizeof(rng.key));
		for (int i = 0; i < 4; i++)
			same = rng_uint32(&rng) == vectors[v].answer[i] && same;
		ok(same, "philox4x32-10, published vector %d", v + 1);
	}
}

static bool
same_numbers(Rng a, Rng b)
{
	for (int i = 0; i < 16; i++)
		if (rng_uint32(&a) != rng_uint32(&b))
			return false;
	return true;
}

static void
test_streams(void)
{
	Rng			rng = rng_stream(7, RNG_TASK, 3, 5);
	const uint64_t high = UINT64_C(1) << 32;

	ok(same_numbers(rng, rng_stream(7, RNG_TASK, 3, 5)), "the same name gives the same numbers");
	ok(!same_numbers(rng, rng_stream(8, RNG_TASK, 3, 5)), "another seed gives others");
	ok(!same_numbers(rng, rng_stream(7 + high, RNG_TASK, 3, 5)), "also by its high half");
	ok(!same_numbers(rng, rng_stream(7, RNG_SPLIT, 3, 5)), "another purpose too");
	ok(!same_numbers(rng, rng_stream(7, RNG_TASK, 4, 5)), "another iteration too");
	ok(!same_numbers(rng, rng_stream(7, RNG_TASK, 3 + high, 5)), "also by its high half");
	ok(!same_numbers(rng, rng_stream(7, RNG_TASK, 3, 6)), "another task too");
	ok(!same_numbers(rng, rng_stream(7, RNG_TASK, 3, 5 + high)), "also by its high half");

	/* What a resumed training relies on: these never change. */
	rng = rng_stream(42, RNG_SPLIT, 1000, UINT64_C(0x123456789abcdef0));
	ok(rng_uint32(&rng) == 0xf1816363 && rng_uint32(&rng) == 0x286ff6c0, "a stream's numbers are what they were");
}

static void
test_carry(void)
{
	Rng			rng = {.counter = {0xffffffff, 7, 1, 2}, .used = 4};
	Rng			next = {.counter = {0, 8, 1, 2}, .used = 4};

	for (int i = 0; i < 4; i++)
		rng_uint32(&rng);
	ok(same_numbers(rng, next), "the block number carries into its high word");
}

static void
test_below(void)
{
	enum
	{
		DRAWS = 120000
	};
	static const uint32_t limits[] = {1, 2, 3, 10, 1000, 0x80000001, 0xffffffff};
	Rng			rng = rng_stream(1, RNG_SAMPLE, 0, 0);
	int			count[12] = {0};
	double		chi = 0;
	int			low_third = 0;

	for (int l = 0; l < 7; l++)
	{
		bool		below = true;

		for (int i = 0; i < 10000; i++)
			below = rng_below(&rng, limits[l]) < limits[l] && below;
		ok(below, "rng_below %u stays below", limits[l]);
	}

	for (int i = 0; i < DRAWS; i++)
		count[rng_below(&rng, 12)]++;
	for (int k = 0; k < 12; k++)
		chi += (count[k] - DRAWS / 12) * (count[k] - DRAWS / 12) / (DRAWS / 12.0);
	ok(chi < 31.3, "rng_below 12 is uniform (chi squared %.1f, 11 degrees, p = .001 at 31.3)", chi);

	/* Without rejection 3 * 2^30 would take every third value twice as often. */
	for (int i = 0; i < DRAWS; i++)
		low_third += rng_below(&rng, UINT32_C(3) << 30) % 3 == 0;
	ok(fabs(low_third - DRAWS / 3.0) < 4 * sqrt(DRAWS * 2.0 / 9), "no value is favoured where 2^32 is no multiple");
}

static void
test_distributions(void)
{
	enum
	{
		DRAWS = 200000
	};
	Rng			rng = rng_stream(2, RNG_SAMPLE, 0, 0);
	double		sum = 0;
	double		squares = 0;
	double		fourth = 0;
	double		lag = 0;
	double		last = 0;
	bool		within = true;
	bool		finite = true;

	for (int i = 0; i < DRAWS; i++)
	{
		double		u = rng_uniform(&rng);

		within = within && u >= 0 && u < 1;
		sum += u;
		squares += u * u;
	}
	ok(within, "rng_uniform is in [0, 1)");
	is_close(sum / DRAWS, 0.5, 4 * sqrt(1.0 / 12 / DRAWS), "its mean is 1/2");
	is_close(squares / DRAWS, 1.0 / 3, 4 * sqrt(4.0 / 45 / DRAWS), "its mean square is 1/3");

	sum = squares = 0;
	for (int i = 0; i < DRAWS; i++)
	{
		double		z = rng_normal(&rng);

		finite = finite && isfinite(z);
		sum += z;
		squares += z * z;
		fourth += z * z * z * z;
		lag += z * last;
		last = z;
	}
	ok(finite, "rng_normal is finite");
	is_close(sum / DRAWS, 0, 4 / sqrt(DRAWS), "its mean is 0");
	is_close(squares / DRAWS, 1, 4 * sqrt(2.0 / DRAWS), "its variance is 1");
	is_close(fourth / DRAWS, 3, 4 * sqrt(96.0 / DRAWS), "its fourth moment is 3");
	is_close(lag / DRAWS, 0, 4 / sqrt(DRAWS), "neighbours do not correlate");
}

int
main(void)
{
	test_known_answers();
	test_streams();
	test_carry();
	test_below();
	test_distributions();
	return tap_done();
}
