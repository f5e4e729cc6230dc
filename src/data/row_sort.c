/*
 * row_sort.c
 *	  Puts the rows of a source into the order of their bytes.
 *
 * The first bytes of a row are a hash of its task, which is all that a sort of
 * many rows needs to look at.  While rows come, they fill memory; full memory
 * is sorted by these hashes, by digits, and written out as a run.  In the end
 * runs are merged, a task at a time: all rows of the least hash are put next to
 * each other, and only these few are compared as bytes (byte_sort.c).  Rows
 * that fit memory are never written.
 *
 * The second reading needs the order of heads (task and order_by values), not
 * that of rows with equal heads.  Where the first one found a single head to
 * each hash, which is the rule without order_by, rows come as they are merged.
 *
 * PostgreSQL's own sort compares rows of equal hashes in each step of sorting
 * and of merging, and writes what it merged once more to read it twice.  It is
 * left what it does better: a task that is too large for memory.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/pg_bswap.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#include "compat.h"
#include "data/byte_sort.h"
#include "data/row_sort.h"

#define ROOM_MIN ((Size) 64 * 1024)
#define TRANSFER_BYTES ((Size) 256 * 1024)	/* written or read at once */
#define BUFFER_MIN ((Size) 8 * 1024)	/* of a run that is read */

#define DIGIT_BITS 11
#define DIGITS 3

/* A row in memory. */
typedef struct Entry
{
	uint64		key;
	Size		at;				/* in memory */
} Entry;

/* Rows in the order of their keys, in the file. */
typedef struct Run
{
	off_t		begin;
	off_t		end;
	off_t		at;				/* of what is not in the buffer yet */
	char	   *buffer;
	Size		room;
	Size		used;
	Size		next;			/* the row to come, in the buffer */
	uint64		key;			/* of that row */
} Run;

struct RowSort
{
	MemoryContext context;
	Size		limit;			/* bytes of memory */
	RowHead		head;
	bool		one_head;		/* rows of equal keys have equal heads, as far as
								 * they were read */

	/* rows that are not in a run */
	char	   *memory;
	Size		used;
	Size		room;
	Entry	   *entries;
	Size		n_entries;
	Size		entry_room;
	Entry	   *spare;			/* where they are sorted */
	Size		spare_room;

	File		file;			/* 0 while there is none */
	off_t		file_size;
	Run		   *runs;
	int			n_runs;
	int			run_room;

	/* reading */
	bool		as_they_are;	/* rows of equal keys are not sorted */
	bool		given;			/* such a row, which stays until the next is
								 * wanted */
	Size		next_entry;		/* without runs */
	Run		  **heap;			/* the run with the least key first */
	int			heap_size;

	/* the rows of one key */
	char	   *group;
	Size		group_used;
	Size		group_room;
	Size		group_rows;
	ByteString *rows;			/* in order */
	Size		n_rows;
	Size		row_room;		/* twice as many as rows are */
	Size		next_row;
	Tuplesortstate *large;		/* where they do not fit */
	MemoryContext large_row;
};

static inline uint64
row_key(const bytea *row)
{
	uint64		key;

	memcpy(&key, VARDATA(row), sizeof(key));
	return pg_ntoh64(key);
}

static inline Size
row_room(const bytea *row)
{
	return INTALIGN(VARSIZE(row));
}

/* Doubles what has become too small; nothing is kept where there was nothing. */
static void *
grow(RowSort *sort, void *memory, Size *room, Size wanted, Size element)
{
	while (*room < wanted)
		*room = Max(*room * 2, ROOM_MIN / element);
	return memory == NULL ? MemoryContextAllocHuge(sort->context, *room * element)
		: repalloc_huge(memory, *room * element);
}

RowSort *
row_sort_create(RowHead head)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "meta sort", ALLOCSET_DEFAULT_SIZES);
	RowSort    *sort = MemoryContextAllocZero(context, sizeof(RowSort));

	sort->context = context;
	sort->head = head;
	sort->one_head = true;
	sort->limit = (Size) maintenance_work_mem * 1024;
	return sort;
}

/* ---- runs ---- */

static void
sort_by_keys(RowSort *sort)
{
	Entry	   *from = sort->entries;
	Entry	   *to;
	Size		n = sort->n_entries;

	if (n == 0)
		return;
	if (sort->spare_room < n)
		sort->spare = grow(sort, sort->spare, &sort->spare_room, n, sizeof(Entry));
	to = sort->spare;

	/* the first bits of hashes, least digit first */
	for (int digit = DIGITS - 1; digit >= 0; digit--)
	{
		int			shift = 64 - DIGIT_BITS * (digit + 1);
		Size		count[(1 << DIGIT_BITS) + 1] = {0};
		Entry	   *swap = from;

		CHECK_FOR_INTERRUPTS();
		for (Size i = 0; i < n; i++)
			count[((from[i].key >> shift) & ((1 << DIGIT_BITS) - 1)) + 1]++;
		for (int i = 1; i < 1 << DIGIT_BITS; i++)
			count[i] += count[i - 1];
		for (Size i = 0; i < n; i++)
			to[count[(from[i].key >> shift) & ((1 << DIGIT_BITS) - 1)]++] = from[i];
		from = to;
		to = swap;
	}

	/* few share these bits without being equal */
	for (Size i = 1; i < n; i++)
	{
		Entry		entry = from[i];
		Size		j = i;

		for (; j > 0 && from[j - 1].key > entry.key; j--)
			from[j] = from[j - 1];
		from[j] = entry;
	}
	if (from != sort->entries)
		memcpy(sort->entries, from, sizeof(Entry) * n);
}

static void
write_bytes(RowSort *sort, char *bytes, Size size)
{
	if (FileWrite(sort->file, bytes, (int) size, sort->file_size, WAIT_EVENT_BUFFILE_WRITE) != (int) size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to the temporary file of sorted rows: %m")));
	sort->file_size += size;
	CHECK_FOR_INTERRUPTS();
}

/* What is in memory goes to the file. */
static void
write_run(RowSort *sort)
{
	char	   *chunk = MemoryContextAlloc(sort->context, TRANSFER_BYTES);
	Size		used = 0;
	Run		   *run;

	if (sort->file == 0)
	{
		PrepareTempTablespaces();
		sort->file = OpenTemporaryFile(false);
	}
	if (sort->n_runs == sort->run_room)
	{
		Size		room = sort->run_room;

		sort->runs = grow(sort, sort->runs, &room, sort->n_runs + 1, sizeof(Run));
		sort->run_room = (int) room;
	}
	run = &sort->runs[sort->n_runs++];
	memset(run, 0, sizeof(Run));
	run->begin = sort->file_size;

	sort_by_keys(sort);
	for (Size i = 0; i < sort->n_entries; i++)
	{
		const char *row = sort->memory + sort->entries[i].at;
		Size		size = row_room((const bytea *) row);

		while (used + size > TRANSFER_BYTES)
		{
			Size		part = TRANSFER_BYTES - used;

			memcpy(chunk + used, row, part);
			write_bytes(sort, chunk, TRANSFER_BYTES);
			row += part;
			size -= part;
			used = 0;
		}
		memcpy(chunk + used, row, size);
		used += size;
	}
	if (used > 0)
		write_bytes(sort, chunk, used);
	run->end = sort->file_size;
	pfree(chunk);
	sort->n_entries = sort->used = 0;
}

void
row_sort_put(RowSort *sort, const bytea *row)
{
	Size		size = row_room(row);

	/* an entry is there twice when they are sorted */
	if (sort->n_entries > 0 &&
		sort->used + size + 2 * sizeof(Entry) * (sort->n_entries + 1) > sort->limit)
		write_run(sort);
	if (sort->used + size > sort->room)
		sort->memory = grow(sort, sort->memory, &sort->room, sort->used + size, 1);
	if (sort->n_entries == sort->entry_room)
		sort->entries = grow(sort, sort->entries, &sort->entry_room, sort->n_entries + 1, sizeof(Entry));
	memcpy(sort->memory + sort->used, row, VARSIZE(row));
	sort->entries[sort->n_entries].key = row_key(row);
	sort->entries[sort->n_entries++].at = sort->used;
	sort->used += size;
}

/* ---- reading a run ---- */

/* Makes the buffer hold size bytes from the next row on. */
static void
fill_buffer(RowSort *sort, Run *run, Size size)
{
	Size		wanted;
	int			got;

	if (run->room < size)
		run->buffer = grow(sort, run->buffer, &run->room, size, 1);
	run->used -= run->next;
	memmove(run->buffer, run->buffer + run->next, run->used);
	run->next = 0;
	while (run->used < size)
	{
		wanted = Min(Min(run->room - run->used, TRANSFER_BYTES), (Size) (run->end - run->at));
		got = FileRead(sort->file, run->buffer + run->used, (int) wanted, run->at, WAIT_EVENT_BUFFILE_READ);
		if (got < 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read from the temporary file of sorted rows: %m")));
		if (got == 0)
			elog(ERROR, "the temporary file of sorted rows ends early");
		run->used += got;
		run->at += got;
	}
	/* what comes after that, while these are being worked on */
	if (run->at < run->end)
		(void) FilePrefetch(sort->file, run->at, (int) Min((off_t) run->room, run->end - run->at),
							WAIT_EVENT_BUFFILE_READ);
}

/* Looks at the row to come; false where there is none. */
static bool
look_ahead(RowSort *sort, Run *run)
{
	Size		size;

	if (run->next == run->used && run->at == run->end)
		return false;
	if (run->used - run->next < VARHDRSZ)
		fill_buffer(sort, run, VARHDRSZ);
	size = row_room((bytea *) (run->buffer + run->next));
	if (run->used - run->next < size)
		fill_buffer(sort, run, size);
	run->key = row_key((bytea *) (run->buffer + run->next));
	return true;
}

static void
sift_down(RowSort *sort, int at)
{
	Run		   *run = sort->heap[at];

	for (;;)
	{
		int			child = 2 * at + 1;

		if (child >= sort->heap_size)
			break;
		if (child + 1 < sort->heap_size && sort->heap[child + 1]->key < sort->heap[child]->key)
			child++;
		if (sort->heap[child]->key >= run->key)
			break;
		sort->heap[at] = sort->heap[child];
		at = child;
	}
	sort->heap[at] = run;
}

/* Takes the first of the heap past its row. */
static void
advance(RowSort *sort)
{
	Run		   *run = sort->heap[0];

	run->next += row_room((bytea *) (run->buffer + run->next));
	if (!look_ahead(sort, run))
		sort->heap[0] = sort->heap[--sort->heap_size];
	if (sort->heap_size > 0)
		sift_down(sort, 0);
}

static void
begin_reading(RowSort *sort)
{
	if (sort->large != NULL)
		tuplesort_end(sort->large);
	sort->large = NULL;
	sort->given = false;
	sort->next_entry = 0;
	sort->n_rows = sort->next_row = 0;
	sort->heap_size = 0;
	for (int i = 0; i < sort->n_runs; i++)
	{
		Run		   *run = &sort->runs[i];

		run->at = run->begin;
		run->used = run->next = 0;
		if (look_ahead(sort, run))
			sort->heap[sort->heap_size++] = run;
	}
	for (int i = sort->heap_size / 2 - 1; i >= 0; i--)
		sift_down(sort, i);
}

void
row_sort_finish(RowSort *sort)
{
	if (sort->n_runs == 0)
		sort_by_keys(sort);
	else
	{
		Size		room;

		write_run(sort);
		pfree(sort->memory);
		pfree(sort->entries);
		pfree(sort->spare);
		sort->memory = NULL;
		sort->entries = sort->spare = NULL;

		/* half of memory for reading, the other half for the rows of a task */
		room = Min(Max(sort->limit / 2 / sort->n_runs / 8 * 8, BUFFER_MIN), TRANSFER_BYTES);
		for (int i = 0; i < sort->n_runs; i++)
		{
			sort->runs[i].room = room;
			sort->runs[i].buffer = MemoryContextAllocHuge(sort->context, room);
		}
		sort->heap = MemoryContextAllocHuge(sort->context, sizeof(Run *) * sort->n_runs);
	}
	begin_reading(sort);
}

void
row_sort_rewind(RowSort *sort)
{
	sort->as_they_are = sort->one_head;
	begin_reading(sort);
}

/* ---- the rows of a key ---- */

/* Where rows go that are to be sorted; what is there already is not kept. */
static ByteString *
make_room(RowSort *sort, Size n)
{
	/* a sort needs as much again */
	if (sort->row_room < 2 * n)
	{
		if (sort->rows != NULL)
			pfree(sort->rows);
		sort->rows = grow(sort, NULL, &sort->row_room, 2 * n, sizeof(ByteString));
	}
	sort->n_rows = n;
	return sort->rows;
}

static void
sort_rows(RowSort *sort)
{
	Size		common = bytes_sort(sort->rows, sort->rows + sort->n_rows, sort->n_rows);

	sort->one_head &= common >= sort->head(sort->rows[0].bytes);
}

/* A row of a group that does not fit memory. */
static void
put_large(RowSort *sort, const bytea *row)
{
	const bytea *first = (const bytea *) sort->group;
	Size		size = sort->head(first);

	sort->one_head &= sort->head(row) == size && memcmp(VARDATA(row), VARDATA(first), size) == 0;
	tuplesort_putdatum(sort->large, PointerGetDatum(row), false);
	CHECK_FOR_INTERRUPTS();
}

/* The group has outgrown memory: its rows go to a sort of their own. */
static void
begin_large(RowSort *sort)
{
	MemoryContext old = MemoryContextSwitchTo(sort->context);

	sort->large = tuplesort_begin_datum(BYTEAOID, ByteaLessOperator, InvalidOid, false,
										Max(maintenance_work_mem / 4, 64), NULL, SORT_READ_ONCE);
	if (sort->large_row == NULL)
		sort->large_row = AllocSetContextCreate(sort->context, "meta sort row", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);
	for (Size at = 0; at < sort->group_used; at += row_room((bytea *) (sort->group + at)))
		put_large(sort, (bytea *) (sort->group + at));
	sort->group_rows = 0;
}

static void
add_to_group(RowSort *sort, const bytea *row)
{
	Size		size = row_room(row);

	if (sort->large == NULL && sort->group_rows > 0 &&
		sort->group_used + size + 2 * sizeof(ByteString) * (sort->group_rows + 1) > sort->limit / 4)
		begin_large(sort);
	if (sort->large != NULL)
	{
		put_large(sort, row);
		return;
	}
	if (sort->group_used + size > sort->group_room)
		sort->group = grow(sort, sort->group, &sort->group_room, sort->group_used + size, 1);
	memcpy(sort->group + sort->group_used, row, size);
	sort->group_used += size;
	sort->group_rows++;
}

/* Gathers the rows of the least key; false after the last. */
static bool
next_group(RowSort *sort)
{
	ByteString *rows;
	Size		at = 0;
	uint64		key;

	sort->n_rows = sort->next_row = sort->group_used = sort->group_rows = 0;
	if (sort->n_runs == 0)
	{
		Entry	   *entry = &sort->entries[sort->next_entry];
		Size		n = 0;

		if (sort->next_entry == sort->n_entries)
			return false;
		while (sort->next_entry + n < sort->n_entries && entry[n].key == entry->key)
			n++;
		rows = make_room(sort, n);
		for (Size i = 0; i < n; i++)
			rows[i].bytes = (const bytea *) (sort->memory + entry[i].at);
		sort->next_entry += n;
		sort_rows(sort);
		return true;
	}

	if (sort->heap_size == 0)
		return false;
	key = sort->heap[0]->key;
	while (sort->heap_size > 0 && sort->heap[0]->key == key)
	{
		add_to_group(sort, (const bytea *) (sort->heap[0]->buffer + sort->heap[0]->next));
		advance(sort);
	}
	if (sort->large != NULL)
	{
		tuplesort_performsort(sort->large);
		return true;
	}
	rows = make_room(sort, sort->group_rows);
	for (Size i = 0; i < sort->n_rows; i++)
	{
		rows[i].bytes = (const bytea *) (sort->group + at);
		at += row_room(rows[i].bytes);
	}
	sort_rows(sort);
	return true;
}

/* The next row of any with the least key. */
static const bytea *
next_as_it_is(RowSort *sort)
{
	if (sort->n_runs == 0)
		return sort->next_entry == sort->n_entries ? NULL
			: (const bytea *) (sort->memory + sort->entries[sort->next_entry++].at);
	if (sort->given)
		advance(sort);
	sort->given = sort->heap_size > 0;
	return sort->given ? (const bytea *) (sort->heap[0]->buffer + sort->heap[0]->next) : NULL;
}

const bytea *
row_sort_next(RowSort *sort)
{
	if (sort->as_they_are)
		return next_as_it_is(sort);
	for (;;)
	{
		if (sort->next_row < sort->n_rows)
			return sort->rows[sort->next_row++].bytes;
		if (sort->large != NULL)
		{
			MemoryContext old;
			Datum		row;
			bool		found;

			MemoryContextReset(sort->large_row);
			old = MemoryContextSwitchTo(sort->large_row);
			found = sort_next(sort->large, &row);
			MemoryContextSwitchTo(old);
			if (found)
				return (const bytea *) DatumGetPointer(row);
			tuplesort_end(sort->large);
			sort->large = NULL;
		}
		if (!next_group(sort))
			return NULL;
	}
}

void
row_sort_end(RowSort *sort)
{
	if (sort->large != NULL)
		tuplesort_end(sort->large);
	if (sort->file != 0)
		FileClose(sort->file);
	MemoryContextDelete(sort->context);
}
