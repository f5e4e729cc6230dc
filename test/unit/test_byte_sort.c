/*
 * test_byte_sort.c
 *	  The order of byte strings, against memcmp.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "data/byte_sort.h"

#include "tap.h"

/* What it needs of a server. */
volatile sig_atomic_t InterruptPending = false;
void		ProcessInterrupts(void);

void
ProcessInterrupts(void)
{
}

static uint64 state = 1;

static int
draw(int below)
{
	state = state * UINT64CONST(6364136223846793005) + UINT64CONST(1442695040888963407);
	return (int) ((state >> 33) % (uint64) below);
}

/* common bytes, then up to more of so many letters; fixed: all of them. */
static bytea *
make_string(int common, int more, int letters, bool fixed)
{
	int			size = common + (fixed || more == 0 ? more : draw(more + 1));
	bytea	   *string = malloc(VARHDRSZ + size);

	SET_VARSIZE(string, VARHDRSZ + size);
	memset(VARDATA(string), 0x5a, common);
	for (int i = common; i < size; i++)
		VARDATA(string)[i] = (char) (draw(letters) * (letters > 2 ? 1 : 0x80));
	return string;
}

static int
compare(const void *a, const void *b)
{
	const bytea *x = *(bytea *const *) a;
	const bytea *y = *(bytea *const *) b;
	int			result = memcmp(VARDATA(x), VARDATA(y), Min(VARSIZE(x), VARSIZE(y)) - VARHDRSZ);

	return result != 0 ? result : (int) VARSIZE(x) - (int) VARSIZE(y);
}

static int
compare_pointers(const void *a, const void *b)
{
	const bytea *x = *(bytea *const *) a;
	const bytea *y = *(bytea *const *) b;

	return x < y ? -1 : x > y;
}

/* Are these in order, and the ones that there were? */
static bool
sorts(int n, int common, int more, int letters, bool fixed)
{
	bytea	  **strings = malloc(sizeof(bytea *) * n);
	bytea	  **got = malloc(sizeof(bytea *) * n);
	ByteString *sorted = malloc(sizeof(ByteString) * n);
	ByteString *spare = malloc(sizeof(ByteString) * n);
	bool		right;

	for (int i = 0; i < n; i++)
		sorted[i].bytes = strings[i] = make_string(common, more, letters, fixed);
	right = bytes_sort(sorted, spare, n) >= (Size) common;
	for (int i = 1; i < n; i++)
		right &= compare(&sorted[i - 1].bytes, &sorted[i].bytes) <= 0;
	for (int i = 0; i < n; i++)
		got[i] = (bytea *) sorted[i].bytes;
	qsort(strings, n, sizeof(bytea *), compare_pointers);
	qsort(got, n, sizeof(bytea *), compare_pointers);
	right &= memcmp(strings, got, sizeof(bytea *) * n) == 0;
	for (int i = 0; i < n; i++)
		free(strings[i]);
	free(strings);
	free(got);
	free(sorted);
	free(spare);
	return right;
}

int
main(void)
{
	int			wrong = 0;

	for (int n = 1; n < 70; n++)
		for (int letters = 1; letters <= 256; letters = letters * 2)
			wrong += !sorts(n, draw(20), 30, letters, true) + !sorts(n, draw(20), 30, letters, false);
	ok(wrong == 0, "few strings, of the same and of other lengths");
	ok(sorts(5000, 24, 72, 256, true), "rows of a task");
	ok(sorts(5001, 0, 9, 256, false), "short ones");
	ok(sorts(3000, 7, 3, 2, false), "many equal ones");
	ok(sorts(3000, 100, 0, 2, true), "nothing but equal ones");
	ok(sorts(500, 3, 400, 1, false), "all beginnings of the longest one");

	/* pairs that differ in their last byte: further down than numbers of 8 bytes are taken */
	{
		bytea	   *strings[64];
		ByteString	sorted[64],
					spare[64];
		bool		right = true;

		for (int i = 0; i < 64; i++)
		{
			strings[i] = make_string(0, 400, 1, true);
			for (int bit = 0; bit < 6; bit++)
				VARDATA(strings[i])[bit < 5 ? 80 * bit : 399] = (char) ((i * 37 % 64) >> (5 - bit) & 1);
			sorted[i].bytes = strings[i];
		}
		ok(bytes_sort(sorted, spare, 64) == 0 && bytes_sort(sorted, spare, 2) == 399 && bytes_sort(sorted, spare, 1) == 400, "what strings share");
		for (int i = 1; i < 64; i++)
			right &= compare(&sorted[i - 1].bytes, &sorted[i].bytes) < 0;
		ok(right, "long ones that differ here and there");
		for (int i = 0; i < 64; i++)
			free(strings[i]);
	}

	/* each is greater than the one before by a byte further left: a level for each */
	{
		bytea	   *strings[40];
		ByteString	sorted[40],
					spare[40];
		bool		right = true;

		for (int i = 0; i < 40; i++)
		{
			int			at = (i * 17) % 40;

			strings[at] = make_string(0, 400, 1, true);
			VARDATA(strings[at])[399 - 10 * i] = 1;
			sorted[at].bytes = strings[at];
		}
		bytes_sort(sorted, spare, 40);
		for (int i = 1; i < 40; i++)
			right &= compare(&sorted[i - 1].bytes, &sorted[i].bytes) < 0;
		ok(right, "long ones of which each differs from the rest elsewhere");
		for (int i = 0; i < 40; i++)
			free(strings[i]);
	}
	return tap_done();
}
