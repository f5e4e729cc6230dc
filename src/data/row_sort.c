/*
 * row_sort.c
 *	  Puts the rows of a source into the order of their bytes.
 *
 * The first bytes of a row are a hash of its task, which is all that a sort of
 * many rows needs to look at.  While rows come, they fill memory; full memory
 * is sorted by these hashes, by digits, and written out as a run.  In the end
 * runs are merged, a task at a time: all rows of the least hash are put next to
 * each other, and only these few are compared as bytes.  Rows that fit memory
 * are never written.
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

/* A row of the task being read; prefix: the bytes where rows begin to differ. */
typedef struct Gathered
{
	uint64		prefix;
	union
	{
		const bytea *row;
		Size		at;			/* in group, while that may still move */
	};
} Gathered;

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

	/* rows that are not in a run */
	char	   *memory;
	Size		used;
	Size		room;
	Entry	   *entries;
	Size		n_entries;
	Size		entry_room;

	File		file;			/* 0 while there is none */
	off_t		file_size;
	Run		   *runs;
	int			n_runs;
	int			run_room;

	/* reading */
	Size		next_entry;		/* without runs */
	Run		  **heap;			/* the run with the least key first */
	int			heap_size;

	/* the rows of one key */
	char	   *group;
	Size		group_used;
	Size		group_room;
	Gathered   *items;
	Size		n_items;
	Size		item_room;
	Size		next_item;
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
	return MAXALIGN(VARSIZE(row));
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
row_sort_create(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "meta sort", ALLOCSET_DEFAULT_SIZES);
	RowSort    *sort = MemoryContextAllocZero(context, sizeof(RowSort));

	sort->context = context;
	sort->limit = (Size) maintenance_work_mem * 1024;
	return sort;
}

/* ---- runs ---- */

static void
sort_by_keys(RowSort *sort)
{
	Entry	   *from = sort->entries;
	Entry	   *spare = MemoryContextAllocHuge(sort->context, sizeof(Entry) * Max(sort->n_entries, 1));
	Entry	   *to = spare;
	Size		n = sort->n_entries;

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
	pfree(spare);
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
	if (run->used - run->next < MAXALIGN(VARHDRSZ))
		fill_buffer(sort, run, MAXALIGN(VARHDRSZ));
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

void
row_sort_rewind(RowSort *sort)
{
	if (sort->large != NULL)
		tuplesort_end(sort->large);
	sort->large = NULL;
	sort->next_entry = 0;
	sort->n_items = sort->next_item = 0;
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
		sort->memory = NULL;
		sort->entries = NULL;

		/* half of memory for reading, the other half for the rows of a task */
		room = Min(Max(sort->limit / 2 / sort->n_runs / 8 * 8, BUFFER_MIN), TRANSFER_BYTES);
		for (int i = 0; i < sort->n_runs; i++)
		{
			sort->runs[i].room = room;
			sort->runs[i].buffer = MemoryContextAllocHuge(sort->context, room);
		}
		sort->heap = MemoryContextAllocHuge(sort->context, sizeof(Run *) * sort->n_runs);
	}
	row_sort_rewind(sort);
}

/* ---- the rows of a key ---- */

static int
compare_items(const void *a, const void *b, void *common)
{
	const Gathered *x = (const Gathered *) a;
	const Gathered *y = (const Gathered *) b;
	Size		skip = *(const Size *) common;
	Size		size_x,
				size_y;
	int			result;

	CHECK_FOR_INTERRUPTS();
	if (x->prefix != y->prefix)
		return x->prefix < y->prefix ? -1 : 1;
	size_x = VARSIZE(x->row) - VARHDRSZ;
	size_y = VARSIZE(y->row) - VARHDRSZ;
	result = memcmp(VARDATA(x->row) + skip, VARDATA(y->row) + skip, Min(size_x, size_y) - skip);
	if (result != 0)
		return result;
	return size_x < size_y ? -1 : size_x > size_y;
}

/* How many of the first bytes all rows share. */
static Size
common_bytes(const RowSort *sort)
{
	const char *first = VARDATA(sort->items[0].row);
	Size		common = VARSIZE(sort->items[0].row) - VARHDRSZ;

	for (Size i = 1; i < sort->n_items; i++)
	{
		const char *bytes = VARDATA(sort->items[i].row);

		common = Min(common, VARSIZE(sort->items[i].row) - VARHDRSZ);
		if (memcmp(first, bytes, common) != 0)
			for (common = 0; first[common] == bytes[common];)
				common++;
	}
	return common;
}

static void
sort_items(RowSort *sort)
{
	Size		common;

	if (sort->n_items < 2)
		return;
	common = common_bytes(sort);
	for (Size i = 0; i < sort->n_items; i++)
	{
		Gathered   *item = &sort->items[i];
		uint64		prefix = 0;

		memcpy(&prefix, VARDATA(item->row) + common,
			   Min(VARSIZE(item->row) - VARHDRSZ - common, sizeof(prefix)));
		item->prefix = pg_ntoh64(prefix);
	}
	qsort_arg(sort->items, sort->n_items, sizeof(Gathered), compare_items, &common);
}

static Gathered *
add_item(RowSort *sort)
{
	if (sort->n_items == sort->item_room)
		sort->items = grow(sort, sort->items, &sort->item_room, sort->n_items + 1, sizeof(Gathered));
	return &sort->items[sort->n_items++];
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
	for (Size i = 0; i < sort->n_items; i++)
		tuplesort_putdatum(sort->large, PointerGetDatum(sort->group + sort->items[i].at), false);
	MemoryContextSwitchTo(old);
	sort->n_items = 0;
}

static void
add_to_group(RowSort *sort, const bytea *row)
{
	Size		size = row_room(row);

	if (sort->large == NULL && sort->n_items > 0 &&
		sort->group_used + size + sizeof(Gathered) * (sort->n_items + 1) > sort->limit / 4)
		begin_large(sort);
	if (sort->large != NULL)
	{
		tuplesort_putdatum(sort->large, PointerGetDatum(row), false);
		CHECK_FOR_INTERRUPTS();
		return;
	}
	if (sort->group_used + size > sort->group_room)
		sort->group = grow(sort, sort->group, &sort->group_room, sort->group_used + size, 1);
	memcpy(sort->group + sort->group_used, row, size);
	add_item(sort)->at = sort->group_used;
	sort->group_used += size;
}

/* Gathers the rows of the least key; false after the last. */
static bool
next_group(RowSort *sort)
{
	uint64		key;

	sort->n_items = sort->next_item = sort->group_used = 0;
	if (sort->n_runs == 0)
	{
		Entry	   *entry = &sort->entries[sort->next_entry];

		if (sort->next_entry == sort->n_entries)
			return false;
		key = entry->key;
		while (sort->next_entry < sort->n_entries && sort->entries[sort->next_entry].key == key)
			add_item(sort)->row = (const bytea *) (sort->memory + sort->entries[sort->next_entry++].at);
		sort_items(sort);
		/* in this order for the next reading */
		for (Size i = 0; i < sort->n_items; i++)
			entry[i].at = (const char *) sort->items[i].row - sort->memory;
		return true;
	}

	if (sort->heap_size == 0)
		return false;
	key = sort->heap[0]->key;
	while (sort->heap_size > 0 && sort->heap[0]->key == key)
	{
		Run		   *run = sort->heap[0];
		bool		more = true;

		while (more && run->key == key)
		{
			const bytea *row = (const bytea *) (run->buffer + run->next);

			add_to_group(sort, row);
			run->next += row_room(row);
			more = look_ahead(sort, run);
		}
		if (!more)
			sort->heap[0] = sort->heap[--sort->heap_size];
		if (sort->heap_size > 0)
			sift_down(sort, 0);
	}
	if (sort->large != NULL)
	{
		tuplesort_performsort(sort->large);
		return true;
	}
	for (Size i = 0; i < sort->n_items; i++)
		sort->items[i].row = (const bytea *) (sort->group + sort->items[i].at);
	sort_items(sort);
	return true;
}

const bytea *
row_sort_next(RowSort *sort)
{
	for (;;)
	{
		if (sort->next_item < sort->n_items)
			return sort->items[sort->next_item++].row;
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
