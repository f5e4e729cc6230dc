/*
 * arena.h
 *	  Memory that the numeric core is handed, in chunks, up to a limit.
 *
 * The core never calls malloc or palloc.  Whoever starts it gives a function
 * that returns memory and a limit in bytes; everything is given back at once
 * by whoever gave it (a memory context, or free in a test).
 */
#ifndef NN_ARENA_H
#define NN_ARENA_H

#include "nn/real.h"

/* Returns size bytes, or NULL; may leave by longjmp instead. */
typedef void *(*ArenaGrow) (void *context, size_t size);

typedef struct Arena
{
	ArenaGrow	grow;
	void	   *context;
	size_t		limit;			/* bytes that may be taken in all */
	size_t		total;			/* bytes taken so far */
	char	   *at;				/* free part of the newest chunk */
	char	   *end;
	bool		full;			/* a request was refused since the start */
	uint64_t	requests;		/* so many so far */
} Arena;

extern void arena_init(Arena *arena, ArenaGrow grow, void *context, size_t limit);

/*
 * count * size bytes, zeroed, aligned to 64; NULL when the product overflows
 * or the limit would be passed, and then arena->full stays set.
 */
extern void *arena_alloc(Arena *arena, size_t count, size_t size);

#endif							/* NN_ARENA_H */
