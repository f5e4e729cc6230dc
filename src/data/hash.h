/*
 * hash.h
 *	  A 64-bit hash that is the same on every platform and server version.
 *
 * Task keys and labels are known by it, and a task's role in training is
 * drawn from it, so it must never change: PostgreSQL's own hash functions
 * promise neither that nor independence of the byte order.
 *
 * Bytes are taken eight at a time, little-endian, the last ones padded with
 * zeros; each word is mixed in by a bijection of 64 bits (two rounds of
 * "xor with the upper half, multiply by an odd constant").  The length comes
 * first, so that padding cannot make two keys equal.
 */
#ifndef DATA_HASH_H
#define DATA_HASH_H

#include "postgres.h"

static inline uint64
hash_mix(uint64 h)
{
	h ^= h >> 32;
	h *= UINT64CONST(0xd6e8feb86659fd93);
	h ^= h >> 32;
	h *= UINT64CONST(0xd6e8feb86659fd93);
	h ^= h >> 32;
	return h;
}

static inline uint64
hash_word(const unsigned char *p, int n)
{
	uint64		word = 0;

	for (int i = 0; i < n; i++)
		word |= (uint64) p[i] << (8 * i);
	return word;
}

static inline uint64
hash_bytes64(const void *bytes, Size size)
{
	const unsigned char *p = (const unsigned char *) bytes;
	uint64		h = hash_mix((uint64) size + UINT64CONST(0x9e3779b97f4a7c15));

	for (; size >= 8; p += 8, size -= 8)
		h = hash_mix(h ^ hash_word(p, 8));
	if (size > 0)
		h = hash_mix(h ^ hash_word(p, (int) size));
	return h;
}

#endif							/* DATA_HASH_H */
