/*
 * memory.c
 *	  A training's memory, and what it says when that is full.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "train/memory.h"

static void *
memory_grow(void *context, size_t size)
{
	/* the arena aligns within what it gets */
	return MemoryContextAllocHuge(context, size);
}

Arena *
memory_arena(const char *name)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "meta arena", ALLOCSET_DEFAULT_SIZES);
	Arena	   *arena = palloc(sizeof(Arena));

	MemoryContextSetIdentifier(context, name);
	arena_init(arena, memory_grow, context, (size_t) maintenance_work_mem * 1024);
	return arena;
}

void
check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

void
memory_error(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("training needs more than %d kB of memory", maintenance_work_mem),
			 errhint("Raise maintenance_work_mem, or lower the options hidden, filters, way, shots, query or inner_steps.")));
}

void
computation_error(const char *what, const char *fault)
{
	if (strcmp(fault, "out of memory") == 0)
		memory_error();
	elog(ERROR, "cannot compute \"%s\": %s", what, fault);
}
