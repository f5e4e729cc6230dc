/*
 * packer.c
 *	  Encoded rows, given in the order of tasks, become a task set.
 *
 * Rows of one task with the same order_by values are put into the order of
 * their encoded bytes here, because before encoding other columns than the
 * model's may have decided.  Such a run is sorted in memory while it is small,
 * and by a sort of its own otherwise.
 *
 * The file is one that survives transactions, since training commits.  Its
 * memory context closes it, so an error anywhere removes it.  It is not a
 * BufFile, which writes out what it still holds when it is closed, and would
 * fail again, while a transaction aborts, after a disk or temp_file_limit that
 * is full.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "compat.h"
#include "data/byte_sort.h"
#include "data/packer.h"

#define CHUNK_BYTES (256 * 1024)
#define RUN_BYTES_MIN (1024 * 1024)
#define WINDOW_BYTES (256 * 1024)
#define WRITE_BYTES (1024 * 1024)	/* at once, at most */

struct Packer
{
	TaskSet    *set;
	PackedRows *packed;
	const struct Options *options;
	LabelDict  *groups;
	bool		sorted;
	bool		ordered;		/* the encoding has order_by */
	Sha256		sha;

	/* rows that are not in the file yet; all of them while there is none */
	char	   *chunk;
	Size		used;
	Size		room;
	Size		limit;			/* bytes that may be kept in memory */

	/* the task being written */
	Task		task;
	int64		task_rows;
	uint64		group;			/* hash of its "by" value */
	int			max_tasks;

	/* the run: rows of equal task and order_by values */
	int32		ties;			/* of its rows, emitted before the one at work */
	StringInfoData run_task;
	StringInfoData run_order;
	char	   *run;			/* its records as byteas, and room for one more */
	Size		record_bytes;
	Size		run_stride;
	bool		begins_run;		/* the row that was begun last */
	int64		run_rows;
	int64		run_room;
	int64		run_limit;
	ByteString *order;			/* these, sorted */
	int64		order_room;		/* twice as many */
	Tuplesortstate *run_sort;
	MemoryContext scratch;

	/* groups by their first appearance */
	LabelEntry **used_groups;
	int			n_groups;
	int			max_groups;
};

Size
record_bytes(const Encoding *encoding)
{
	return ((Size) encoding->width.x + (Size) encoding->width.c + 2) * sizeof(float) + sizeof(uint64);
}

static void
close_file(void *arg)
{
	PackedRows *packed = (PackedRows *) arg;

	if (packed->file > 0)
	{
		File		file = packed->file;

		packed->file = 0;
		FileClose(file);
	}
}

Packer *
packer_create(MemoryContext result, const Encoding *encoding, const struct Options *options,
			  LabelDict *groups, bool sorted)
{
	MemoryContext context = AllocSetContextCreate(result, "meta task set", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	MemoryContextCallback *callback;
	Packer	   *packer = palloc0(sizeof(Packer));
	PackedRows *packed;

	packer->set = MemoryContextAllocZero(result, sizeof(TaskSet));
	packer->set->encoding = encoding;

	old = MemoryContextSwitchTo(context);
	packed = palloc0(sizeof(PackedRows));
	packed->context = context;
	packed->width = encoding->width;
	packed->classes = encoding->target_kind == TARGET_CLASS;
	packed->row_bytes = PACKED_OFFSET(packed) + sizeof(float);
	callback = palloc0(sizeof(MemoryContextCallback));
	callback->func = close_file;
	callback->arg = packed;
	MemoryContextRegisterResetCallback(context, callback);
	packer->packed = packed;
	packer->set->packed = packed;
	packer->set->n_tasks = 0;
	packer->max_tasks = 256;
	packer->set->tasks = palloc(sizeof(Task) * packer->max_tasks);
	packer->room = Max((Size) CHUNK_BYTES, packed->row_bytes);
	packer->chunk = palloc(packer->room);
	MemoryContextSwitchTo(old);

	packer->options = options;
	packer->groups = groups;
	packer->sorted = sorted;
	packer->ordered = encoding->order_by != NIL;
	packer->sha = sha256_begin();
	packer->limit = (Size) maintenance_work_mem * 1024 / 4;
	packer->record_bytes = record_bytes(encoding);
	Assert(packer->record_bytes == PACKED_TIES(packed) + sizeof(uint64));
	packer->run_stride = INTALIGN(VARHDRSZ + packer->record_bytes);
	packer->run_limit = Max((int64) ((Size) maintenance_work_mem * 1024 / 8 / packer->run_stride),
							(int64) (RUN_BYTES_MIN / packer->run_stride));
	packer->run_limit = Max(packer->run_limit, 16);
	packer->run_room = 16;
	packer->run = palloc0(packer->run_stride * packer->run_room);
	initStringInfo(&packer->run_task);
	initStringInfo(&packer->run_order);
	packer->scratch = AllocSetContextCreate(old, "meta packer", ALLOCSET_DEFAULT_SIZES);
	return packer;
}

/* ---- rows to memory or file ---- */

static void
write_chunk(Packer *packer)
{
	PackedRows *packed = packer->packed;

	if (packer->used == 0)
		return;
	if (packed->file == 0)
	{
		PrepareTempTablespaces();
		packed->file = OpenTemporaryFile(true);
		packer->room = Max((Size) CHUNK_BYTES, packed->row_bytes);
	}
	sha256_add(packer->sha, packer->chunk, packer->used);
	for (Size at = 0; at < packer->used;)
	{
		int			size = (int) Min(packer->used - at, WRITE_BYTES);

		if (FileWrite(packed->file, packer->chunk + at, size, packed->file_size, WAIT_EVENT_BUFFILE_WRITE) != size)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not write to the temporary file of packed rows: %m")));
		at += size;
		packed->file_size += size;
	}
	packer->used = 0;
}

static void
emit_row(Packer *packer, const char *record)
{
	PackedRows *packed = packer->packed;
	Size		size = PACKED_TIES(packed);
	float		offset = 0;
	char	   *to;

	if (packer->used + packed->row_bytes > packer->room)
	{
		if (packed->file == 0 && packer->room * 2 <= packer->limit)
		{
			packer->room *= 2;
			packer->chunk = repalloc_huge(packer->chunk, packer->room);
		}
		else
		{
			write_chunk(packer);
			CHECK_FOR_INTERRUPTS();
		}
	}
	to = packer->chunk + packer->used;
	memcpy(to, record, size);
	memcpy(to + size, &packer->ties, sizeof(packer->ties));
	memcpy(to + PACKED_OFFSET(packed), &offset, sizeof(offset));
	packer->used += packed->row_bytes;
	packer->set->n_rows++;
}

/* ---- tasks ---- */

/* The group of a hash that rows carry. */
static int32
find_group(Packer *packer, uint64 hash)
{
	LabelEntry *entry = label_dict_find(packer->groups, hash);

	if (entry == NULL)
		elog(ERROR, "a group is not in its dictionary");
	if (entry->code == 0)
	{
		if (packer->n_groups == packer->max_groups)
		{
			packer->max_groups = packer->max_groups == 0 ? 64 : packer->max_groups * 2;
			packer->used_groups = packer->used_groups == NULL
				? palloc(sizeof(LabelEntry *) * packer->max_groups)
				: repalloc_huge(packer->used_groups, sizeof(LabelEntry *) * packer->max_groups);
		}
		packer->used_groups[packer->n_groups++] = entry;
		entry->code = packer->n_groups;
	}
	return entry->code - 1;
}

/* A task's group is the one value of its rows, NULLs aside. */
static void
note_group(Packer *packer, const char *record)
{
	uint64		hash;

	memcpy(&hash, record + PACKED_TIES(packer->packed), sizeof(hash));
	if (hash == LABEL_NULL || hash == packer->group)
		return;
	packer->task.group = packer->group == LABEL_NULL ? find_group(packer, hash) : GROUP_SEVERAL;
	packer->group = hash;
}

static void
end_task(Packer *packer)
{
	TaskSet    *set = packer->set;

	if (packer->task_rows == 0)
		return;
	if (packer->task_rows > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a task has more than %d rows", PG_INT32_MAX),
				 errhint("Choose a task key with more values.")));
	if (set->n_tasks == packer->max_tasks)
	{
		if (packer->max_tasks > PG_INT32_MAX / 2)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the source has more than %d tasks", packer->max_tasks)));
		packer->max_tasks *= 2;
		set->tasks = repalloc_huge(set->tasks, sizeof(Task) * packer->max_tasks);
	}
	packer->task.rows = (int32) packer->task_rows;
	packer->task.most_shots = packer->task.rows - 1 - packer->ties;
	set->tasks[set->n_tasks++] = packer->task;
	packer->task_rows = 0;
}

static void
begin_task(Packer *packer)
{
	uint64		key;

	memcpy(&key, packer->run_task.data, sizeof(key));
	packer->task.key = pg_ntoh64(key);
	packer->task.first = packer->set->n_rows;
	packer->task.role = task_role(packer->task.key, packer->options);
	packer->task.group = GROUP_NONE;
	packer->task_rows = 0;
	packer->group = LABEL_NULL;
}

/* ---- runs ---- */

static inline bytea *
run_datum(Packer *packer, int64 i)
{
	return (bytea *) (packer->run + i * packer->run_stride);
}

static void
emit_run_row(Packer *packer, const char *record, bool first)
{
	packer->task_rows++;
	if (packer->groups != NULL)
		note_group(packer, record);
	packer->ties = first || !packer->ordered ? 0 : packer->ties + 1;
	emit_row(packer, record);
}

/* A run has outgrown memory: its records go to a sort of its own. */
static void
begin_run_sort(Packer *packer)
{
	packer->run_sort = tuplesort_begin_datum(BYTEAOID, ByteaLessOperator, InvalidOid, false,
											 maintenance_work_mem, NULL, SORT_READ_ONCE);
	for (int64 i = 0; i < packer->run_rows; i++)
		tuplesort_putdatum(packer->run_sort, PointerGetDatum(run_datum(packer, i)), false);
	packer->run_rows = 0;
}

static void
flush_run(Packer *packer)
{
	if (packer->run_sort != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(packer->scratch);
		Datum		datum;
		bool		first = true;

		tuplesort_performsort(packer->run_sort);
		while (sort_next(packer->run_sort, &datum))
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(old);
			emit_run_row(packer, VARDATA_ANY(DatumGetPointer(datum)), first);
			first = false;
			MemoryContextReset(packer->scratch);
			MemoryContextSwitchTo(packer->scratch);
		}
		MemoryContextSwitchTo(old);
		tuplesort_end(packer->run_sort);
		packer->run_sort = NULL;
	}
	if (packer->run_rows == 0)
		return;

	if (packer->order_room < 2 * packer->run_rows)
	{
		if (packer->order != NULL)
			pfree(packer->order);
		packer->order_room = 2 * packer->run_room;
		packer->order = palloc_extended(sizeof(ByteString) * packer->order_room, MCXT_ALLOC_HUGE);
	}
	for (int64 i = 0; i < packer->run_rows; i++)
		packer->order[i].bytes = run_datum(packer, i);
	(void) bytes_sort(packer->order, packer->order + packer->run_rows, packer->run_rows);
	for (int64 i = 0; i < packer->run_rows; i++)
		emit_run_row(packer, BYTES_OF(&packer->order[i]), i == 0);
	packer->run_rows = 0;
}

static bool
same_bytes(const StringInfo held, const char *bytes, int length)
{
	return held->len == length && memcmp(held->data, bytes, length) == 0;
}

static void
hold_bytes(StringInfo held, const char *bytes, int length)
{
	resetStringInfo(held);
	appendBinaryStringInfo(held, bytes, length);
}

char *
packer_begin_row(Packer *packer, const char *task, int task_length, const char *order, int order_length)
{
	bool		same_task = same_bytes(&packer->run_task, task, task_length);
	bool		same_run = same_task && same_bytes(&packer->run_order, order, order_length);

	packer->begins_run = !same_run;
	if (!same_run)
	{
		flush_run(packer);
		hold_bytes(&packer->run_order, order, order_length);
	}
	if (!same_task)
	{
		end_task(packer);
		hold_bytes(&packer->run_task, task, task_length);
		begin_task(packer);
	}
	if (packer->run_rows == packer->run_room)
	{
		if (packer->run_room >= packer->run_limit)
			begin_run_sort(packer);
		else
		{
			packer->run_room = Min(packer->run_room * 2, packer->run_limit);
			packer->run = repalloc_huge(packer->run, packer->run_stride * packer->run_room);
		}
	}
	return VARDATA(run_datum(packer, packer->run_rows));
}

void
packer_end_row(Packer *packer)
{
	bytea	   *datum = run_datum(packer, packer->run_rows);

	if (packer->sorted)
		emit_run_row(packer, VARDATA(datum), packer->begins_run);
	else
	{
		SET_VARSIZE(datum, VARHDRSZ + packer->record_bytes);
		if (packer->run_sort == NULL)
			packer->run_rows++;
		else
			tuplesort_putdatum(packer->run_sort, PointerGetDatum(datum), false);
	}
}

/* ---- the end ---- */

static int
compare_groups(const void *a, const void *b)
{
	return strcmp((*(LabelEntry *const *) a)->text, (*(LabelEntry *const *) b)->text);
}

/* Groups are numbered in the order of their labels. */
static void
finish_groups(Packer *packer)
{
	TaskSet    *set = packer->set;
	int32	   *number;

	set->n_groups = packer->n_groups;
	set->groups = MemoryContextAllocHuge(packer->packed->context,
										 sizeof(char *) * Max(packer->n_groups, 1));
	if (packer->n_groups == 0)
		return;
	number = palloc_extended(sizeof(int32) * packer->n_groups, MCXT_ALLOC_HUGE);
	qsort(packer->used_groups, packer->n_groups, sizeof(LabelEntry *), compare_groups);
	for (int i = 0; i < packer->n_groups; i++)
	{
		LabelEntry *entry = packer->used_groups[i];

		number[entry->code - 1] = i;
		set->groups[i] = MemoryContextStrdup(packer->packed->context, entry->text);
	}
	for (int i = 0; i < set->n_tasks; i++)
		if (set->tasks[i].group >= 0)
			set->tasks[i].group = number[set->tasks[i].group];
	pfree(number);
}

TaskSet *
packer_finish(Packer *packer)
{
	TaskSet    *set = packer->set;
	PackedRows *packed = packer->packed;

	flush_run(packer);
	end_task(packer);
	finish_groups(packer);

	if (packed->file > 0)
	{
		write_chunk(packer);
		pfree(packer->chunk);
		packed->window_capacity = Max((int64) (WINDOW_BYTES / packed->row_bytes), 1);
		packed->window = MemoryContextAllocHuge(packed->context,
												packed->window_capacity * packed->row_bytes);
	}
	else
	{
		sha256_add(packer->sha, packer->chunk, packer->used);
		packed->memory = repalloc_huge(packer->chunk, Max(packer->used, 1));
	}

	sha256_add(packer->sha, &set->encoding->width, sizeof(Width));
	for (int i = 0; i < set->n_tasks; i++)
	{
		sha256_add(packer->sha, &set->tasks[i].key, sizeof(uint64));
		sha256_add(packer->sha, &set->tasks[i].rows, sizeof(int32));
	}
	sha256_end(packer->sha, set->digest);

	MemoryContextDelete(packer->scratch);
	return set;
}
