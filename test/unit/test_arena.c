/*
 * test_arena.c
 *	  Alignment, zeroes, limits and overflow of the arena.
 */
#include "heap.h"
#include "tap.h"

static bool
all_zero(const char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (at[i] != 0)
			return false;
	return true;
}

static void
test_pieces(void)
{
	enum
	{
		PIECES = 3000
	};
	static char *piece[PIECES];
	static size_t size[PIECES];
	Heap		heap = {0};
	Arena		arena;
	bool		aligned = true;
	bool		zeroed = true;
	bool		intact = true;
	size_t		asked = 0;

	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 30);
	for (int i = 0; i < PIECES; i++)
	{
		/* From nothing to more than a chunk. */
		size[i] = i % 500 == 499 ? (size_t) 300000 + i : (size_t) i * 7 % 1500;
		piece[i] = arena_alloc(&arena, size[i], 1);
		aligned = aligned && piece[i] != NULL && (uintptr_t) piece[i] % 64 == 0;
		zeroed = zeroed && all_zero(piece[i], size[i]);
		memset(piece[i], i % 255 + 1, size[i]);
		asked += size[i];
	}
	for (int i = 0; i < PIECES; i++)
		for (size_t j = 0; j < size[i]; j++)
			intact = intact && piece[i][j] == (char) (i % 255 + 1);
	ok(aligned, "every piece is aligned to 64 bytes");
	ok(zeroed, "every piece is zeroed");
	ok(intact, "pieces do not overlap");
	ok(!arena.full, "nothing was refused");
	ok(arena.total >= asked && arena.total < asked + asked / 2, "little is wasted");
	heap_free(&heap);
}

static void
test_limit(void)
{
	Heap		heap = {0};
	Arena		arena;
	size_t		got = 0;

	arena_init(&arena, heap_grow, &heap, 1000000);
	while (arena_alloc(&arena, 100, 10) != NULL)
		got += 1000;
	ok(arena.full, "a refused request leaves its mark");
	ok(arena.total <= 1000000, "the limit is kept");
	ok(got > 900000, "nearly all of the limit can be used");
	heap_free(&heap);

	arena_init(&arena, heap_grow, &heap, 1000);
	ok(arena_alloc(&arena, 1001, 1) == NULL && arena.full, "more than the limit is refused");
	ok(arena_alloc(&arena, 64, 1) != NULL, "less is still served afterwards");
	ok(arena.full, "and the mark stays");
	heap_free(&heap);

	arena_init(&arena, heap_grow, &heap, 0);
	ok(arena_alloc(&arena, 1, 1) == NULL && arena.full, "an arena of nothing gives nothing");
	ok(heap.n == 0, "without asking for memory");
	heap_free(&heap);
}

static void
test_overflow(void)
{
	Heap		heap = {0};
	Arena		arena;

	arena_init(&arena, heap_grow, &heap, SIZE_MAX);
	ok(arena_alloc(&arena, SIZE_MAX / 2, 4) == NULL && arena.full, "a product that overflows is refused");
	arena.full = false;
	ok(arena_alloc(&arena, SIZE_MAX, 1) == NULL && arena.full, "as is the largest size");
	arena.full = false;
	ok(arena_alloc(&arena, SIZE_MAX - 64, 1) == NULL && arena.full, "and one that overflows when rounded up");
	ok(heap.n == 0, "no memory was asked for");
	ok(arena_alloc(&arena, SIZE_MAX, 0) != NULL, "any number of nothings is nothing");
	heap_free(&heap);
}

static void
test_refusal(void)
{
	Heap		heap = {.refuse_after = 1};
	Arena		arena;
	void	   *p = NULL;

	arena_init(&arena, heap_grow, &heap, SIZE_MAX);
	for (int i = 0; i < 1000 && !arena.full; i++)
		p = arena_alloc(&arena, 1000, 1);
	ok(p == NULL && arena.full, "memory that the giver refuses is reported");
	heap_free(&heap);
}

int
main(void)
{
	test_pieces();
	test_limit();
	test_overflow();
	test_refusal();
	return tap_done();
}
