/*
 * taskset.h
 *	  The rows of a source, encoded, packed, and sorted into tasks.
 *
 * The rows lie in a temporary file in task order: by task key, then order_by,
 * then encoded bytes, so that nothing depends on where the table keeps them.
 * Memory holds one Task per task, and at most a buffer of rows.
 */
#ifndef DATA_TASKSET_H
#define DATA_TASKSET_H

#include "data/encoding.h"
#include "learn/options.h"

typedef enum TaskRole
{
	TASK_TRAIN,
	TASK_VALIDATION,
	TASK_TEST
} TaskRole;

/* A task's group, where it has none: by is NULL, or has several values in it. */
#define GROUP_NONE (-1)
#define GROUP_SEVERAL (-2)

typedef struct Task
{
	uint64		key;			/* 64-bit hash of the task key's text */
	int64		first;			/* number of its first row in the file */
	int32		rows;
	int32		most_shots;		/* its first rows that may be support and leave a
								 * row to predict: those before the last of its
								 * order_by values */
	TaskRole	role;
	int32		group;			/* value of the "by" column, or GROUP_... */
} Task;

typedef struct TaskSet
{
	const Encoding *encoding;
	int			n_tasks;
	Task	   *tasks;			/* by task key */
	int64		n_rows;
	char		digest[65];		/* SHA-256 of the packed rows, hexadecimal */
	int			n_groups;
	char	  **groups;			/* labels of the "by" column */
	struct PackedRows *packed;	/* private */
} TaskSet;

/*
 * Frees the tasks and removes the temporary file, which goes with the memory
 * context of the task set otherwise.
 */
extern void taskset_close(TaskSet *set);

/*
 * Copies rows [from, from + n) of a task to position at of rows->x, c, y, w
 * (counted in rows from the start of the arrays).
 */
extern void taskset_read(TaskSet *set, const Task *task, int from, int n, Rows *rows, size_t at);

/* The same for rows chosen[0 .. n) of the task, which go to at, at + 1, ... */
extern void taskset_read_chosen(TaskSet *set, const Task *task, const int *chosen, int n, Rows *rows, size_t at);

/*
 * Are rows read from a file?  Then a task that is going to be read is better
 * announced some time before: it may come from a disk.
 */
extern bool taskset_in_file(const TaskSet *set);
extern void taskset_prefetch(const TaskSet *set, const Task *task);

/*
 * Every row carries a number beside its own, 0 at first: its offset.  Where
 * rows->width.x has room for one number more than the encoding has, reading
 * puts it there.  Sets those of rows [from, from + n) of a task.
 */
extern void taskset_set_offsets(TaskSet *set, const Task *task, int from, int n, const float *offsets);

/*
 * The rows that have the order_by values of row at: the first of them, and the
 * first after them (task->rows, if there is none).  Without order_by it is
 * alone.
 */
extern int	taskset_tie_start(TaskSet *set, const Task *task, int at);
extern int	taskset_tie_end(TaskSet *set, const Task *task, int at);

/* The role of a task: a hash of (seed, key) cut by the options' shares. */
extern TaskRole task_role(uint64 key, const Options *options);

#endif							/* DATA_TASKSET_H */
