/*
 * byte_sort.c
 *	  Sorts byteas by their bytes, in memory.
 *
 * Rows of one task share their first bytes and mostly differ in the next few.
 * Eight bytes from there on make a number, and these numbers are sorted by
 * merging, in a loop that has no branch a processor would have to guess.  What
 * has equal numbers is sorted again, by the bytes where these rows begin to
 * differ.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"

#include "data/byte_sort.h"

#define INSERTION 4				/* so many are sorted by insertion */
#define DEPTH_MAX 16

/* The same; the first bytes are known to be shared. */
static Size
common_bytes(const ByteString *strings, Size n, Size known)
{
	const char *first = BYTES_OF(&strings[0]);
	Size		common = SIZE_OF(&strings[0]);

	for (Size i = 1; i < n; i++)
	{
		const char *bytes = BYTES_OF(&strings[i]);

		common = Min(common, SIZE_OF(&strings[i]));
		if (memcmp(first + known, bytes + known, common - known) != 0)
			for (common = known; first[common] == bytes[common];)
				common++;
	}
	return common;
}

Size
bytes_common(const ByteString *strings, Size n)
{
	return common_bytes(strings, n, 0);
}

static int
compare(const void *a, const void *b, void *common)
{
	const ByteString *x = (const ByteString *) a;
	const ByteString *y = (const ByteString *) b;
	Size		skip = *(const Size *) common;
	int			result = memcmp(BYTES_OF(x) + skip, BYTES_OF(y) + skip, Min(SIZE_OF(x), SIZE_OF(y)) - skip);

	CHECK_FOR_INTERRUPTS();
	if (result != 0)
		return result;
	return SIZE_OF(x) < SIZE_OF(y) ? -1 : SIZE_OF(x) > SIZE_OF(y);
}

static void
insertion_sort(ByteString *strings, Size n)
{
	for (Size i = 1; i < n; i++)
	{
		ByteString	string = strings[i];
		Size		j = i;

		for (; j > 0 && strings[j - 1].prefix > string.prefix; j--)
			strings[j] = strings[j - 1];
		strings[j] = string;
	}
}

/* Two neighbours, in order each, to one. */
static void
merge(const ByteString *left, const ByteString *right, const ByteString *end, ByteString *to)
{
	const ByteString *left_end = right;

	while (left < left_end && right < end)
	{
		bool		second = right->prefix < left->prefix;

		*to++ = *(second ? right : left);
		right += second;
		left += !second;
	}
	memcpy(to, left, sizeof(ByteString) * (left_end - left));
	memcpy(to + (left_end - left), right, sizeof(ByteString) * (end - right));
}

static void
sort_by_prefixes(ByteString *strings, ByteString *spare, Size n)
{
	ByteString *from = strings;
	ByteString *to = spare;

	for (Size i = 0; i < n; i += INSERTION)
		insertion_sort(strings + i, Min(INSERTION, n - i));
	for (Size width = INSERTION; width < n; width *= 2)
	{
		ByteString *swap = from;

		CHECK_FOR_INTERRUPTS();
		for (Size i = 0; i < n; i += 2 * width)
			merge(from + i, from + Min(i + width, n), from + Min(i + 2 * width, n), to + i);
		from = to;
		to = swap;
	}
	if (from != strings)
		memcpy(strings, from, sizeof(ByteString) * n);
}

static inline uint64
prefix_of(const char *bytes, Size size)
{
	uint64		prefix = 0;

	if (likely(size >= sizeof(prefix)))
		memcpy(&prefix, bytes, sizeof(prefix));
	else
		memcpy(&prefix, bytes, size);
	return pg_ntoh64(prefix);
}

static void
sort(ByteString *strings, ByteString *spare, Size n, Size known, int depth)
{
	Size		common;
	Size		most = 0;
	Size		equal;

	if (n < 2)
		return;
	common = common_bytes(strings, n, known);
	if (depth == DEPTH_MAX)
	{
		qsort_arg(strings, n, sizeof(ByteString), compare, &common);
		return;
	}
	for (Size i = 0; i < n; i++)
	{
		Size		rest = SIZE_OF(&strings[i]) - common;

		strings[i].prefix = prefix_of(BYTES_OF(&strings[i]) + common, rest);
		most = Max(most, rest);
	}
	if (most == 0)
		return;
	sort_by_prefixes(strings, spare, n);
	for (Size i = 0; i < n; i += equal)
	{
		for (equal = 1; i + equal < n && strings[i + equal].prefix == strings[i].prefix;)
			equal++;
		sort(strings + i, spare, equal, common, depth + 1);
	}
}

void
bytes_sort(ByteString *strings, ByteString *spare, Size n)
{
	sort(strings, spare, n, 0, 0);
}
