/*
 * heap.h
 *	  Memory for an arena in a test: malloc, and everything freed at once.
 */
#ifndef UNIT_HEAP_H
#define UNIT_HEAP_H

#include "nn/arena.h"

#include <stdlib.h>

typedef struct Heap
{
	void	  **chunks;
	size_t		n;
	size_t		refuse_after;	/* chunks; 0: never refuse */
} Heap;

static void *
heap_grow(void *context, size_t size)
{
	Heap	   *heap = context;

	if (heap->refuse_after > 0 && heap->n >= heap->refuse_after)
		return NULL;
	heap->chunks = realloc(heap->chunks, (heap->n + 1) * sizeof(void *));

	/* What malloc returns is not zeroed; the arena promises zeroes. */
	heap->chunks[heap->n] = malloc(size);
	for (size_t i = 0; i < size; i++)
		((char *) heap->chunks[heap->n])[i] = (char) 0xA5;
	return heap->chunks[heap->n++];
}

static void
heap_free(Heap *heap)
{
	for (size_t i = 0; i < heap->n; i++)
		free(heap->chunks[i]);
	free(heap->chunks);
	heap->chunks = NULL;
	heap->n = 0;
}

#endif							/* UNIT_HEAP_H */
