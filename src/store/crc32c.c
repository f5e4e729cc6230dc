/*
 * crc32c.c
 *	  The checksum of params.
 *
 * PostgreSQL's own takes three cycles for eight bytes: of params of 25 kB,
 * decoded for every row, that would be most of the time.  Where the processor
 * multiplies polynomials, long runs are folded 256 bytes at a time instead
 * (Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ
 * instruction", Intel 2009): what lies n bits before the end counts as its
 * product with x^n mod P, which is as long as P, so 128 bits move n bits on by
 * two multiplications.  The 16 bytes that are left have the same checksum as
 * all that was folded into them.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "port/pg_crc32c.h"

#include "store/crc32c.h"

#define HOLE "00000000"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 9
#define FOLDING
#include <immintrin.h>

#define FOLD_TARGET __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,vpclmulqdq,pclmul,sse4.2")))
#define FOLD_BYTES 256
#define FOLD_MIN 512

/* x^n mod P, turned around and one place higher, as a carry-less product wants it. */
static uint64
power_of_x(int n)
{
	uint32		power = 1;
	uint32		turned = 0;

	while (n-- > 0)
		power = power << 1 ^ (power & 0x80000000 ? 0x1edc6f41 : 0);
	for (int bit = 0; bit < 32; bit++)
		turned |= (power >> bit & 1) << (31 - bit);
	return (uint64) turned << 1;
}

/* Factors that move 128 bits on by so many: of their first half, and of the second. */
static void
fold_factors(int bits, uint64 *factors)
{
	factors[0] = power_of_x(bits + 32);
	factors[1] = power_of_x(bits - 32);
}

static inline FOLD_TARGET __m512i
fold(__m512i state, __m512i factors, __m512i next)
{
	/* the three of them added: exclusive or */
	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(state, factors, 0x00),
									 _mm512_clmulepi64_epi128(state, factors, 0x11),
									 next, 0x96);
}

/* The checksum goes on over size bytes, a multiple of FOLD_BYTES. */
static FOLD_TARGET uint32
fold_all(uint32 crc, const char *bytes, size_t size)
{
	static uint64 far[2];		/* by FOLD_BYTES */
	static uint64 near[3][2];	/* by 48, 32 and 16 bytes */
	static uint64 lines[3][2];	/* by 192, 128 and 64 bytes */
	const __m512i *at = (const __m512i *) bytes;
	__m512i		state[4];
	__m512i		factors;
	__m128i		last;
	uint64		halves[2];

	if (far[0] == 0)
	{
		for (int i = 0; i < 3; i++)
		{
			fold_factors(128 * (3 - i), near[i]);
			fold_factors(512 * (3 - i), lines[i]);
		}
		fold_factors(8 * FOLD_BYTES, far);
	}

	for (int i = 0; i < 4; i++)
		state[i] = _mm512_loadu_si512(at + i);
	state[0] = _mm512_xor_si512(state[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int) crc)));
	factors = _mm512_broadcast_i64x2(_mm_loadu_si128((const __m128i *) far));
	for (at += 4, size -= FOLD_BYTES; size > 0; at += 4, size -= FOLD_BYTES)
		for (int i = 0; i < 4; i++)
			state[i] = fold(state[i], factors, _mm512_loadu_si512(at + i));

	/* four lines to one, and its four parts to one */
	for (int i = 0; i < 3; i++)
		state[3] = fold(state[i], _mm512_broadcast_i64x2(_mm_loadu_si128((const __m128i *) lines[i])), state[3]);
	last = _mm512_extracti32x4_epi32(state[3], 3);
	{
		__m128i		parts[3] = {
			_mm512_castsi512_si128(state[3]),
			_mm512_extracti32x4_epi32(state[3], 1),
			_mm512_extracti32x4_epi32(state[3], 2)
		};

		for (int i = 0; i < 3; i++)
		{
			__m128i		f = _mm_loadu_si128((const __m128i *) near[i]);

			last = _mm_xor_si128(last, _mm_xor_si128(_mm_clmulepi64_si128(parts[i], f, 0x00),
													 _mm_clmulepi64_si128(parts[i], f, 0x11)));
		}
	}
	_mm_storeu_si128((__m128i *) halves, last);
	return (uint32) _mm_crc32_u64(_mm_crc32_u64(0, halves[0]), halves[1]);
}

static bool
can_fold(void)
{
	static int	can = -1;

	if (can < 0)
		can = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
			__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
			__builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("pclmul") &&
			__builtin_cpu_supports("sse4.2");
	return can > 0;
}
#endif

static pg_crc32c
crc_add(pg_crc32c crc, const char *bytes, size_t size)
{
#ifdef FOLDING
	if (size >= FOLD_MIN && can_fold())
	{
		size_t		folded = size - size % FOLD_BYTES;

		crc = fold_all(crc, bytes, folded);
		bytes += folded;
		size -= folded;
	}
#endif
	COMP_CRC32C(crc, bytes, size);
	return crc;
}

uint32_t
crc32c_with_hole(const char *bytes, size_t size, size_t hole)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	crc = crc_add(crc, bytes, hole);
	crc = crc_add(crc, HOLE, sizeof(HOLE) - 1);
	crc = crc_add(crc, bytes + hole + sizeof(HOLE) - 1, size - hole - sizeof(HOLE) + 1);
	FIN_CRC32C(crc);
	return (uint32_t) crc;
}
