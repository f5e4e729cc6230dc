/*
 * visit.c
 *	  Passes over the training tasks and their rows.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "data/episode.h"
#include "train/visit.h"

/* Rows looked at: beyond that, every n-th task. */
#define MAX_ROWS 1000000

/* Bytes of a chunk, where more than one row is in it. */
#define CHUNK_BYTES (4 * 1024 * 1024)

int
visit_chunk(const Width *width)
{
	Size		row = ((Size) width->x + width->c + width->y + 1) * sizeof(real);

	return (int) Max(Min(CHUNK_BYTES / row, VISIT_MAX_ROWS), 1);
}

void
visit_training_tasks(TaskSet *set, TaskVisit visit, void *context)
{
	int64		rows = 0;
	int64		stride;
	int64		seen = 0;

	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN)
			rows += set->tasks[t].rows;
	stride = rows / MAX_ROWS + 1;
	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN && seen++ % stride == 0)
			visit(context, &set->tasks[t]);
}

typedef struct RowsWalk
{
	TaskSet    *set;
	int			chunk;
	Rows		rows;
	RowsVisit	visit;
	void	   *context;
} RowsWalk;

static void
walk_rows(void *context, const Task *task)
{
	RowsWalk   *walk = context;
	Rows	   *rows = &walk->rows;

	for (int from = 0; from < task->rows; from += walk->chunk)
	{
		CHECK_FOR_INTERRUPTS();
		rows->rows = Min(walk->chunk, task->rows - from);
		taskset_read(walk->set, task, from, rows->rows, rows, 0);
		walk->visit(walk->context, task, rows, from == 0, from + rows->rows == task->rows);
	}
}

void
visit_training_rows(TaskSet *set, RowsVisit visit, void *context)
{
	/* the rows' memory goes: a fit is hundreds of passes */
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	RowsWalk	walk = {.set = set, .chunk = visit_chunk(&set->encoding->width), .visit = visit, .context = context};

	rows_allocate(&walk.rows, set->encoding->width, 1, walk.chunk);
	visit_training_tasks(set, walk_rows, &walk);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}
