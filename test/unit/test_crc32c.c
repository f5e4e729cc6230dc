/*
 * test_crc32c.c
 *	  The checksum of params, against one that goes bit by bit.
 */
#include "store/crc32c.h"

#include <stdlib.h>
#include <string.h>

#include "tap.h"

static uint32_t
by_bits(const char *bytes, size_t size, size_t hole)
{
	uint32_t	crc = 0xffffffff;

	for (size_t i = 0; i < size; i++)
	{
		crc ^= i >= hole && i < hole + 8 ? '0' : (unsigned char) bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

int
main(void)
{
	/* around where runs begin to be folded, and several folds long */
	static const size_t sizes[] = {8, 9, 200, 511, 512, 519, 520, 521, 767, 768, 776, 1023, 1024, 1031, 1032, 1033, 1279, 1280, 1288, 1289, 2048, 5000, 25555};
	int			wrong = 0;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		for (int hole = 0; hole < 3; hole++)
		{
			size_t		size = sizes[s];
			size_t		at = hole == 0 ? 0 : hole == 1 ? (size - 8) / 2 : size - 8;
			char	   *bytes = malloc(size);

			for (size_t i = 0; i < size; i++)
				bytes[i] = (char) (i * i * 31 + i / 7 + s);
			wrong += crc32c_with_hole(bytes, size, at) != by_bits(bytes, size, at);
			free(bytes);
		}
	ok(wrong == 0, "checksums of many lengths, with the hole in front, inside and at the end");
	ok(crc32c_with_hole("00000000", 8, 0) == by_bits("abcdefgh", 8, 0), "what stands in the hole does not count");
	return tap_done();
}
