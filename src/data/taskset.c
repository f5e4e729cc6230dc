/*
 * taskset.c
 *	  Reading packed rows, and the role of a task.
 *
 * Training draws a few rows of a task at a time.  A task that fits a window is
 * read from the file as a whole, and what follows is copied from there; of a
 * larger one only the rows that are wanted are.  Where the file is larger than
 * memory each task drawn is somewhere on a disk, so the kernel is told beforehand
 * what will be wanted, and fetches it while something else is computed.
 */
#include "postgres.h"

#include "pgstat.h"
#include "utils/memutils.h"

#include "compat.h"
#include "data/hash.h"
#include "data/packer.h"
#include "learn/options.h"

#define READ_MIN 4096			/* bytes: to read fewer takes as long */

TaskRole
task_role(uint64 key, const Options *options)
{
	uint64		h = hash_mix(key ^ hash_mix((uint64) options->seed + UINT64CONST(0x9e3779b97f4a7c15)));
	double		u = (double) (h >> 11) / (double) (UINT64CONST(1) << 53);

	if (u < options->test)
		return TASK_TEST;
	if (u < options->test + options->validation)
		return TASK_VALIDATION;
	return TASK_TRAIN;
}

void
taskset_close(TaskSet *set)
{
	PackedRows *packed = set->packed;

	if (packed == NULL)
		return;
	set->packed = NULL;
	set->tasks = NULL;
	set->groups = NULL;
	set->n_tasks = set->n_groups = 0;
	MemoryContextDelete(packed->context);
}

static void
read_file(const PackedRows *packed, void *to, Size size, off_t offset)
{
	int			got = FileRead(packed->file, to, (int) size, offset, WAIT_EVENT_BUFFILE_READ);

	if (got < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from the temporary file of packed rows: %m")));
	if (got != (int) size)
		elog(ERROR, "read %d of %zu bytes from the temporary file of packed rows", got, size);
}

/* Tells the kernel that bytes of the file will be wanted. */
static void
advise(const PackedRows *packed, int64 row, int64 rows)
{
	(void) FilePrefetch(packed->file, (off_t) (row * (int64) packed->row_bytes),
						(int) (rows * packed->row_bytes), WAIT_EVENT_BUFFILE_READ);
}

bool
taskset_in_file(const TaskSet *set)
{
	return set->packed->memory == NULL;
}

void
taskset_prefetch(const TaskSet *set, const Task *task)
{
	PackedRows *packed = set->packed;

	if (packed->memory == NULL && task->rows <= packed->window_capacity)
		advise(packed, task->first, task->rows);
}

/*
 * Up to n packed rows from the file's row first on, which is row from of the
 * task; how many there are goes to *got.
 */
static const char *
fetch(PackedRows *packed, const Task *task, int from, int n, int *got)
{
	int64		first = task->first + from;
	int64		rows;

	if (packed->memory != NULL)
	{
		*got = n;
		return packed->memory + first * packed->row_bytes;
	}
	if (first < packed->window_first || first >= packed->window_first + packed->window_rows)
	{
		bool		whole = task->rows <= packed->window_capacity;
		int64		begin = whole ? task->first : first;

		packed->window_rows = 0;
		rows = whole ? task->rows : Max((int64) n, (int64) (READ_MIN / packed->row_bytes));
		rows = Min(Min(rows, packed->window_capacity), task->first + task->rows - begin);
		packed->window_first = begin;
		read_file(packed, packed->window, rows * packed->row_bytes, (off_t) (begin * (int64) packed->row_bytes));
		packed->window_rows = rows;
	}
	*got = (int) Min((int64) n, packed->window_first + packed->window_rows - first);
	return packed->window + (first - packed->window_first) * packed->row_bytes;
}

static void
unpack(const PackedRows *packed, const char *row, Rows *rows, size_t at)
{
	const Width *width = &packed->width;
	real	   *x = rows->x + at * rows->width.x;

	memcpy(x, row, sizeof(float) * width->x);
	if (rows->width.x > width->x)
		memcpy(x + width->x, row + PACKED_OFFSET(packed), sizeof(float));
	if (width->c > 0)
		memcpy(rows->c + at * width->c, row + PACKED_C(packed), sizeof(int32) * width->c);
	if (packed->classes)
	{
		int32		class;
		real	   *y = rows->y + at * width->y;

		memcpy(&class, row + PACKED_Y(packed), sizeof(class));
		memset(y, 0, sizeof(real) * width->y);
		y[class] = 1;
	}
	else
		memcpy(rows->y + at, row + PACKED_Y(packed), sizeof(float));
	memcpy(rows->w + at, row + PACKED_W(packed), sizeof(float));
}

static void
check_range(const Task *task, int from, int n)
{
	if (from < 0 || n < 0 || from > task->rows - n)
		elog(ERROR, "rows %d to %d of a task of %d rows", from, from + n, task->rows);
}

void
taskset_read(TaskSet *set, const Task *task, int from, int n, Rows *rows, size_t at)
{
	PackedRows *packed = set->packed;

	StaticAssertStmt(sizeof(real) == sizeof(float), "packed rows are floats");
	check_range(task, from, n);
	while (n > 0)
	{
		int			got;
		const char *row = fetch(packed, task, from, n, &got);

		for (int i = 0; i < got; i++, row += packed->row_bytes)
			unpack(packed, row, rows, at++);
		from += got;
		n -= got;
	}
}

void
taskset_read_chosen(TaskSet *set, const Task *task, const int *chosen, int n, Rows *rows, size_t at)
{
	PackedRows *packed = set->packed;

	/* scattered rows of a large task: all on their way before the first is waited for */
	if (packed->memory == NULL && task->rows > packed->window_capacity)
		for (int i = 0; i < n; i++)
			advise(packed, task->first + chosen[i], 1);
	for (int i = 0; i < n;)
	{
		int			run = 1;

		while (i + run < n && chosen[i + run] == chosen[i] + run)
			run++;
		taskset_read(set, task, chosen[i], run, rows, at + i);
		i += run;
	}
}

void
taskset_set_offsets(TaskSet *set, const Task *task, int from, int n, const float *offsets)
{
	PackedRows *packed = set->packed;
	char	   *chunk = NULL;
	char	   *rows;
	off_t		at = (off_t) (task->first + from) * packed->row_bytes;
	Size		size = (Size) n * packed->row_bytes;

	check_range(task, from, n);
	if (packed->memory != NULL)
		rows = packed->memory + at;
	else
	{
		rows = chunk = palloc(size);
		read_file(packed, chunk, size, at);
	}
	for (int i = 0; i < n; i++)
		memcpy(rows + i * packed->row_bytes + PACKED_OFFSET(packed), &offsets[i], sizeof(float));
	if (chunk == NULL)
		return;
	packed->window_rows = 0;	/* it may hold these rows */
	if (FileWrite(packed->file, chunk, (int) size, at, WAIT_EVENT_BUFFILE_WRITE) != (int) size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to the temporary file of packed rows: %m")));
	pfree(chunk);
}

int
taskset_tie_start(TaskSet *set, const Task *task, int at)
{
	int			got;
	int32		ties;

	check_range(task, at, 1);
	memcpy(&ties, fetch(set->packed, task, at, 1, &got) + PACKED_TIES(set->packed), sizeof(ties));
	return at - ties;
}

int
taskset_tie_end(TaskSet *set, const Task *task, int at)
{
	int			start = taskset_tie_start(set, task, at);
	int			tied = at;
	int			untied = at + 1;

	/* in strides that double, as ties are mostly few, and then by halves */
	for (int stride = 1; untied < task->rows && taskset_tie_start(set, task, untied) == start; stride *= 2)
	{
		tied = untied;
		untied = stride < task->rows - tied ? tied + stride : task->rows;
	}
	while (untied - tied > 1)
	{
		int			middle = tied + (untied - tied) / 2;

		if (taskset_tie_start(set, task, middle) == start)
			tied = middle;
		else
			untied = middle;
	}
	return untied;
}
