/*
 * visit.c
 *	  Passes over the training tasks and their rows.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "data/episode.h"
#include "train/visit.h"

/* Rows looked at, and of more rows than that, tasks. */
#define MAX_ROWS 1000000
#define MAX_TASKS 100000

/* Bytes of a chunk, where more than one row is in it. */
#define CHUNK_BYTES (4 * 1024 * 1024)

int
visit_chunk(const Width *width)
{
	Size		row = ((Size) width->x + width->c + width->y + 1) * sizeof(real);

	return (int) Max(Min(CHUNK_BYTES / row, VISIT_MAX_ROWS), 1);
}

Strides
visit_strides(const TaskSet *set)
{
	int64		rows = 0;
	int			tasks = 0;
	Strides		strides = {1, 1};

	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN)
		{
			rows += set->tasks[t].rows;
			tasks++;
		}
	if (rows > MAX_ROWS)
	{
		strides.tasks = (tasks - 1) / MAX_TASKS + 1;
		strides.rows = (int) ((rows / strides.tasks - 1) / MAX_ROWS + 1);
	}
	return strides;
}

static void
visit_tasks(TaskSet *set, const Strides *strides, TaskVisit visit, void *context)
{
	int			seen = 0;

	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN && seen++ % strides->tasks == 0)
			visit(context, &set->tasks[t]);
}

void
visit_training_tasks(TaskSet *set, TaskVisit visit, void *context)
{
	Strides		strides = visit_strides(set);

	visit_tasks(set, &strides, visit, context);
}

int
visit_rows(const Strides *strides, const Task *task)
{
	return task->rows == 0 ? 0 : (task->rows - 1) / strides->rows + 1;
}

void
visit_read(TaskSet *set, const Strides *strides, const Task *task, int from, int n, Rows *rows)
{
	int			chosen[VISIT_MAX_ROWS];

	if (strides->rows == 1)
	{
		taskset_read(set, task, from, n, rows, 0);
		return;
	}
	for (int i = 0; i < n; i++)
		chosen[i] = (from + i) * strides->rows;
	taskset_read_chosen(set, task, chosen, n, rows, 0);
}

typedef struct RowsWalk
{
	TaskSet    *set;
	Strides		strides;
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
	int			n = visit_rows(&walk->strides, task);

	for (int from = 0; from < n; from += walk->chunk)
	{
		CHECK_FOR_INTERRUPTS();
		rows->rows = Min(walk->chunk, n - from);
		visit_read(walk->set, &walk->strides, task, from, rows->rows, rows);
		walk->visit(walk->context, task, rows, from == 0, from + rows->rows == n);
	}
}

void
visit_training_rows(TaskSet *set, RowsVisit visit, void *context)
{
	/* the rows' memory goes: a fit is hundreds of passes */
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	RowsWalk	walk = {
		.set = set, .strides = visit_strides(set), .chunk = visit_chunk(&set->encoding->width),
		.visit = visit, .context = context
	};

	rows_allocate(&walk.rows, set->encoding->width, 1, walk.chunk);
	visit_tasks(set, &walk.strides, walk_rows, &walk);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}
