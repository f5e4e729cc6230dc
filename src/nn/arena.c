/*
 * arena.c
 *	  Memory that the numeric core is handed, in chunks, up to a limit.
 *
 * Small requests are cut from a chunk; a request that would waste much of one
 * gets a chunk of its own, and the one being cut from stays in use.
 */
#include "nn/arena.h"

#include <string.h>

#define ARENA_ALIGN 64			/* a cache line, and the widest vector register */
#define ARENA_CHUNK ((size_t) 256 * 1024)

void
arena_init(Arena *arena, ArenaGrow grow, void *context, size_t limit)
{
	memset(arena, 0, sizeof(*arena));
	arena->grow = grow;
	arena->context = context;
	arena->limit = limit;
}

/* A chunk with room for size aligned bytes, or NULL; its true size into taken. */
static char *
arena_chunk(Arena *arena, size_t size, size_t wanted, size_t *taken)
{
	size_t		left = arena->limit - arena->total;
	char	   *chunk;

	if (size > SIZE_MAX - ARENA_ALIGN || size + ARENA_ALIGN > left)
		return NULL;
	*taken = size + ARENA_ALIGN;
	if (*taken < wanted)
		*taken = wanted < left ? wanted : left;

	chunk = arena->grow(arena->context, *taken);
	if (chunk != NULL)
		arena->total += *taken;
	return chunk;
}

static char *
align_up(char *at)
{
	return at + (-(uintptr_t) at & (ARENA_ALIGN - 1));
}

void *
arena_alloc(Arena *arena, size_t count, size_t size)
{
	size_t		bytes;
	size_t		taken;
	char	   *result;

	arena->requests++;
	if (size != 0 && count > (SIZE_MAX - ARENA_ALIGN) / size)
	{
		arena->full = true;
		return NULL;
	}

	/* Whole lines, and at least one: no two requests share an address. */
	bytes = count * size;
	bytes = bytes == 0 ? ARENA_ALIGN : (bytes + ARENA_ALIGN - 1) & ~(size_t) (ARENA_ALIGN - 1);

	if (bytes <= (size_t) (arena->end - arena->at))
	{
		result = arena->at;
		arena->at += bytes;
	}
	else
	{
		bool		own = bytes > ARENA_CHUNK / 4;
		char	   *chunk = arena_chunk(arena, bytes, own ? 0 : ARENA_CHUNK, &taken);

		if (chunk == NULL)
		{
			arena->full = true;
			return NULL;
		}
		result = align_up(chunk);
		if (!own)
		{
			/* The end on a line too, so that at never passes it. */
			arena->at = result + bytes;
			arena->end = arena->at + ((size_t) (chunk + taken - arena->at) & ~(size_t) (ARENA_ALIGN - 1));
		}
	}
	memset(result, 0, bytes);
	return result;
}
