/*
 * byte_sort.c
 *	  Sorts byteas by their bytes, in memory.
 *
 * Rows of one task share their first bytes and mostly differ in the next few.
 * Eight bytes from there on make a number, and these numbers are sorted by
 * merging, in loops that have no branch a processor would have to guess.  What
 * has equal numbers is sorted again, by the bytes where these rows begin to
 * differ.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bswap.h"

#include "compat.h"
#include "data/byte_sort.h"

#define FEW 8					/* strings that are not merged */
#define DEPTH_MAX 16

/* How many first bytes strings share; so many are known to be. */
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

/* A string's place is the number of those that come before it. */
static inline void
sort_few(const ByteString *strings, int n, ByteString *to)
{
	int			place[FEW] = {0};

	for (int i = 1; i < n; i++)
		for (int j = 0; j < i; j++)
		{
			int			before = strings[j].prefix <= strings[i].prefix;

			place[i] += before;
			place[j] += 1 - before;
		}
	for (int i = 0; i < n; i++)
		to[place[i]] = strings[i];
}

/*
 * Two neighbours, each in order, to one.  The second has as many strings as the
 * first or one more, so that of both halves of the result, which are made at
 * once from the two ends, none reaches an end.
 */
static inline void
merge(const ByteString *strings, Size first, Size n, ByteString *to)
{
	Size		left = 0;
	Size		right = first;
	Size		left_end = first - 1;
	Size		right_end = n - 1;

	for (Size i = 0; i < first; i++)
	{
		Size		second = strings[right].prefix < strings[left].prefix;
		Size		second_end = strings[right_end].prefix >= strings[left_end].prefix;

		/* sums, because of a choice the compiler may make a branch */
		to[i] = strings[left + ((right - left) & -second)];
		right += second;
		left += 1 - second;
		to[n - 1 - i] = strings[left_end + ((right_end - left_end) & -second_end)];
		right_end -= second_end;
		left_end -= 1 - second_end;
	}
	if (first < n - first)
		to[first] = strings[left == left_end ? left : right];
}

/* To the spare room, or in place. */
static void
sort_by_prefixes(ByteString *strings, ByteString *spare, Size n, bool to_spare)
{
	Size		half = n / 2;

	if (n <= FEW)
	{
		sort_few(strings, (int) n, spare);
		if (!to_spare)
			memcpy(strings, spare, sizeof(ByteString) * n);
		return;
	}
	CHECK_FOR_INTERRUPTS();
	sort_by_prefixes(strings, spare, half, !to_spare);
	sort_by_prefixes(strings + half, spare + half, n - half, !to_spare);
	merge(to_spare ? strings : spare, half, n, to_spare ? spare : strings);
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
sort(ByteString *strings, ByteString *spare, Size n, Size common, int depth)
{
	Size		most = 0;
	Size		equal;

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
	sort_by_prefixes(strings, spare, n, false);
	for (Size i = 0; i < n; i += equal)
	{
		for (equal = 1; i + equal < n && strings[i + equal].prefix == strings[i].prefix;)
			equal++;
		if (equal > 1)
			sort(strings + i, spare, equal, common_bytes(strings + i, equal, common), depth + 1);
	}
}

Size
bytes_sort(ByteString *strings, ByteString *spare, Size n)
{
	Size		common = common_bytes(strings, n, 0);

	if (n > 1)
		sort(strings, spare, n, common, 0);
	return common;
}
