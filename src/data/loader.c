/*
 * loader.c
 *	  From the rows of a source to a task set.
 *
 * The source is read once.  Each row becomes a string of bytes
 *
 *	  key (8, big-endian) | length of the key's text (4) | the key's text
 *		| order_by values | row | length of the order_by values (4)
 *
 * and one sort on the bytes (row_sort.c) puts rows into the order of tasks,
 * whatever their order in the table.  With a given encoding the row is encoded
 * already.  Without one it is raw, and the sorted rows are read twice: first
 * those of training tasks, to fit the encoding, then all of them, to encode.
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "data/loader.h"
#include "data/packer.h"
#include "data/report.h"
#include "data/row_sort.h"
#include "learn/options.h"

typedef struct Place
{
	int			column;
	int			offset;
} Place;

struct Loader
{
	LoadRequest request;
	MemoryContext result;		/* of the task set */
	MemoryContext context;		/* of the loader */
	MemoryContext row_context;	/* reset with each row */
	SourcePlan *plan;
	Fit		   *fit;			/* where an encoding is to be fitted */
	RowReader  *reader;			/* where one is given */
	LabelDict  *groups;
	RowSort    *sort;
	StringInfoData bytes;		/* of the row being added: a bytea */
	char	   *record;
	RowCounts	counts;

	/* rows without NULLs, whose columns lie at fixed places, are not deformed */
	bool		placed;
	TupleDesc	desc;
	int			last;			/* column */
	Place	   *places;			/* of columns that are no plain numbers */
	int			n_places;
	Datum	   *values;			/* what is there */
	bool	   *nulls;
};

typedef struct SortedRow
{
	uint64		key;
	const char *task;
	int			task_length;
	const char *order;
	int			order_length;
	const char *row;
} SortedRow;

static inline SortedRow
parse_row(const bytea *sorted)
{
	const char *bytes = VARDATA(sorted);
	SortedRow	row;
	uint32		n;

	memcpy(&row.key, bytes, 8);
	row.key = pg_ntoh64(row.key);
	row.task = bytes;
	memcpy(&n, bytes + 8, 4);
	row.task_length = 12 + (int) pg_ntoh32(n);
	row.order = bytes + row.task_length;
	memcpy(&n, bytes + VARSIZE(sorted) - VARHDRSZ - 4, 4);
	row.order_length = (int) pg_ntoh32(n);
	row.row = row.order + row.order_length;
	return row;
}

/* Its bytes in front of the row. */
static Size
row_head(const bytea *sorted)
{
	return parse_row(sorted).row - VARDATA(sorted);
}

static void
note_place(Loader *loader, const Column *column)
{
	Place	   *place = &loader->places[loader->n_places++];

	place->column = column->at;
	place->offset = column_offset(loader->desc, column->at);
	loader->placed &= place->offset >= 0;
	loader->last = Max(loader->last, column->at);
}

/* Notes what of a row is read, where an encoding is to be fitted. */
static void
note_places(Loader *loader, TupleDesc desc)
{
	const SourcePlan *plan = loader->plan;
	const Fit  *fit = loader->fit;

	loader->desc = desc;
	loader->placed = fit->numbers->fixed;
	loader->last = fit->numbers->last;
	loader->places = palloc(sizeof(Place) * (plan->n_task + plan->n_order + fit->n_others + 3));
	loader->values = palloc0(sizeof(Datum) * desc->natts);
	loader->nulls = palloc0(sizeof(bool) * desc->natts);
	for (int i = 0; i < plan->n_task; i++)
		note_place(loader, &plan->task[i]);
	for (int i = 0; i < plan->n_order; i++)
		note_place(loader, &plan->order[i]);
	for (int i = 0; i < fit->n_others; i++)
		note_place(loader, &plan->candidates[fit->others[i]].column);
	note_place(loader, &plan->target);
	if (plan->weighted)
		note_place(loader, &plan->weight);
	if (plan->grouped)
		note_place(loader, &plan->by);
}

Loader *
loader_create(const LoadRequest *request, TupleDesc desc)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(result, "meta loader", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Loader	   *loader = palloc0(sizeof(Loader));

	loader->request = *request;
	loader->result = result;
	loader->context = context;
	loader->row_context = AllocSetContextCreate(context, "meta loader row", ALLOCSET_DEFAULT_SIZES);
	loader->plan = plan_create(request, desc);
	if (request->encoding == NULL)
	{
		loader->fit = fit_create(loader->plan, desc);
		loader->groups = loader->fit->groups;
		note_places(loader, desc);
	}
	else
	{
		loader->reader = row_reader_create(request->encoding, desc, true);
		loader->record = palloc0(record_bytes(request->encoding));
		if (loader->plan->grouped)
			loader->groups = label_dict_create(loader->plan->by.name);
	}
	loader->sort = row_sort_create(row_head);
	initStringInfo(&loader->bytes);
	MemoryContextSwitchTo(old);
	return loader;
}

/* ---- adding ---- */

/* Makes room for n more bytes, which are to be written there. */
static inline char *
extend(StringInfo out, int n)
{
	if (unlikely(n >= out->maxlen - out->len))
		enlargeStringInfo(out, n);
	out->len += n;
	return out->data + out->len - n;
}

static inline void
write_uint32(char *to, uint32 value)
{
	value = pg_hton32(value);
	memcpy(to, &value, sizeof(value));
}

/*
 * A task keeps its role, and is known again, in a database of another
 * encoding, too.
 */
static const char *
in_utf8(const char *text, int *length)
{
	char	   *converted = pg_server_to_any(text, *length, PG_UTF8);

	if (converted != text)
		*length = (int) strlen(converted);
	return converted;
}

/*
 * Appends hash, length and text of the task key; false where a part of it is
 * NULL.  Each part carries its length, so ('a', 'bc') is not ('ab', 'c').
 */
static bool
append_task(Loader *loader, const Datum *values, const bool *nulls, uint64 *key)
{
	SourcePlan *plan = loader->plan;
	StringInfo	out = &loader->bytes;
	int			begin = out->len;
	int			text_begin;
	uint64		big_endian;

	/* room for hash and length, which are known last */
	(void) extend(out, 12);
	text_begin = out->len;
	for (int i = 0; i < plan->n_task; i++)
	{
		Column	   *column = &plan->task[i];
		char		buffer[LABEL_BUFFER];
		const char *text;
		char	   *part;
		int			n;

		if (nulls[column->at])
			return false;
		text = column_label(column, values[column->at], buffer, &n);
		if (column->class == COLUMN_LABEL)
			text = in_utf8(text, &n);
		part = extend(out, 4 + n);
		write_uint32(part, (uint32) n);
		memcpy(part + 4, text, n);
	}
	*key = hash_bytes64(out->data + text_begin, out->len - text_begin);
	big_endian = pg_hton64(*key);
	memcpy(out->data + begin, &big_endian, 8);
	write_uint32(out->data + begin + 8, (uint32) (out->len - text_begin));
	return true;
}

static RowStatus
append_encoded(Loader *loader, const Datum *values, const bool *nulls)
{
	const Encoding *encoding = loader->request.encoding;
	char	   *record = loader->record;
	float	   *x = (float *) record;
	int32	   *c = (int32 *) (x + encoding->width.x);
	void	   *y = c + encoding->width.c;
	float	   *w = (float *) y + 1;
	uint64		group = LABEL_NULL;
	RowStatus	status = row_reader_outcome(loader->reader, values, nulls, (float *) y, (int32 *) y, w);

	if (status != ROW_USABLE)
		return status;
	row_reader_features(loader->reader, values, nulls, x, c);
	if (loader->plan->grouped && !nulls[loader->plan->by.at])
	{
		char		buffer[LABEL_BUFFER];
		int			length;
		const char *text = column_label(&loader->plan->by, values[loader->plan->by.at], buffer, &length);

		group = label_hash_text(text, length);
		label_dict_add(loader->groups, group, text, length);
	}
	memcpy(w + 1, &group, sizeof(group));
	appendBinaryStringInfo(&loader->bytes, record, (int) record_bytes(encoding));
	return ROW_USABLE;
}

static RowStatus
append_row(Loader *loader, const Datum *values, const bool *nulls, HeapTupleHeader row)
{
	StringInfo	out = &loader->bytes;
	SourcePlan *plan = loader->plan;
	int			order_begin;
	int			order_length;
	RowStatus	status;
	uint64		key;

	resetStringInfo(out);
	(void) extend(out, VARHDRSZ);
	if (!append_task(loader, values, nulls, &key))
		return ROW_NO_TASK;
	order_begin = out->len;
	if (loader->reader != NULL)
		row_reader_order_key(loader->reader, values, nulls, out);
	else
		for (int i = 0; i < plan->n_order; i++)
			column_order_key(&plan->order[i], values[plan->order[i].at], nulls[plan->order[i].at], out);
	order_length = out->len - order_begin;

	if (loader->reader != NULL)
		status = append_encoded(loader, values, nulls);
	else
		status = raw_append(loader->fit, values, nulls, row,
							loader->fit->labelled && task_role(key, loader->request.options) == TASK_TRAIN, out);
	if (status != ROW_USABLE)
		return status;
	write_uint32(extend(out, 4), (uint32) order_length);
	SET_VARSIZE(out->data, out->len);
	return ROW_USABLE;
}

static void
add(Loader *loader, const Datum *values, const bool *nulls, HeapTupleHeader row)
{
	MemoryContext old = MemoryContextSwitchTo(loader->row_context);
	RowStatus	status = append_row(loader, values, nulls, row);

	loader->counts.read++;
	loader->counts.of[status]++;
	if (status == ROW_USABLE)
		row_sort_put(loader->sort, (const bytea *) loader->bytes.data);
	MemoryContextReset(loader->row_context);
	MemoryContextSwitchTo(old);
	CHECK_FOR_INTERRUPTS();
}

void
loader_add(Loader *loader, const Datum *values, const bool *nulls)
{
	add(loader, values, nulls, NULL);
}

bool
loader_add_row(Loader *loader, HeapTupleHeader row)
{
	const char *data = (const char *) row + row->t_hoff;

	if (!loader->placed || (row->t_infomask & HEAP_HASNULL) || HeapTupleHeaderGetNatts(row) <= loader->last)
		return false;
	for (int i = 0; i < loader->n_places; i++)
	{
		const Place *place = &loader->places[i];

		loader->values[place->column] = fetchatt(TupleDescAttr(loader->desc, place->column), data + place->offset);
	}
	add(loader, loader->values, loader->nulls, row);
	return true;
}

/* ---- finishing ---- */

static bool
next_row(Loader *loader, SortedRow *row)
{
	const bytea *sorted;

	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(loader->row_context);
	sorted = row_sort_next(loader->sort);
	if (sorted == NULL)
		return false;
	*row = parse_row(sorted);
	return true;
}

/* First reading: what the rows of training tasks say. */
static Encoding *
fit_rows(Loader *loader)
{
	MemoryContext old = MemoryContextSwitchTo(loader->context);
	Fit		   *fit = loader->fit;
	StringInfoData task;
	bool		train = false;
	SortedRow	row;
	int64		n = 0;
	Encoding   *encoding;

	initStringInfo(&task);
	MemoryContextSwitchTo(loader->row_context);
	while (next_row(loader, &row))
	{
		if (task.len != row.task_length || memcmp(task.data, row.task, row.task_length) != 0)
		{
			resetStringInfo(&task);
			appendBinaryStringInfo(&task, row.task, row.task_length);
			train = task_role(row.key, loader->request.options) == TASK_TRAIN;
			if (train)
				fit_begin_task(fit);
		}
		if (!train)
			continue;
		raw_read(fit, row.row);
		fit_row(fit);
		n++;
	}
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the source has no task to train on"),
				 errdetail("All of its tasks fell to validation and test."),
				 errhint("Give it more tasks, or smaller shares with the options validation and test.")));

	MemoryContextSwitchTo(loader->result);
	encoding = fit_finish(fit, &loader->request);
	MemoryContextSwitchTo(old);
	return encoding;
}

/* Second reading, of rows that are raw. */
static RowStatus
encode_row(Loader *loader, const Width *width, const char *raw, char *record)
{
	Fit		   *fit = loader->fit;
	float	   *x = (float *) record;
	int32	   *c = (int32 *) (x + width->x);
	void	   *y = c + width->c;
	float	   *w = (float *) y + 1;
	RowStatus	status;
	uint64		group;

	raw_read(fit, raw);
	status = fit_encode(fit, x, c, (float *) y, (int32 *) y, w);
	group = fit_group(fit);
	memcpy(w + 1, &group, sizeof(group));
	return status;
}

static void
pack_rows(Loader *loader, const Encoding *encoding, Packer *packer)
{
	MemoryContext old = MemoryContextSwitchTo(loader->row_context);
	Size		size = record_bytes(encoding);
	RowStatus	status = ROW_USABLE;
	SortedRow	row;

	while (next_row(loader, &row))
	{
		char	   *record;

		MemoryContextSwitchTo(loader->context);
		record = packer_begin_row(packer, row.task, row.task_length, row.order, row.order_length);
		MemoryContextSwitchTo(loader->row_context);
		if (loader->fit == NULL)
			memcpy(record, row.row, size);
		else
			status = encode_row(loader, &encoding->width, row.row, record);
		if (status != ROW_USABLE)
		{
			loader->counts.of[ROW_USABLE]--;
			loader->counts.of[status]++;
			continue;
		}
		MemoryContextSwitchTo(loader->context);
		packer_end_row(packer);
		MemoryContextSwitchTo(loader->row_context);
	}
	MemoryContextSwitchTo(old);
}

static void
check_rows(const RowCounts *counts)
{
	if (counts->read == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the source returns no rows"),
				 errhint("Check its conditions, and what the current role may see of it.")));
	if (counts->of[ROW_USABLE] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("the source has no usable task"),
				 errdetail("None of its " INT64_FORMAT " rows can be used: %s.", counts->read,
						   describe_skipped(counts)),
				 counts->of[ROW_NO_WEIGHT] > 0 ?
				 errhint("A row needs a task key, a target and a positive weight.") :
				 errhint("A row needs a task key and a target.")));
}

TaskSet *
loader_finish(Loader *loader)
{
	MemoryContext old = MemoryContextSwitchTo(loader->context);
	const Encoding *encoding = loader->request.encoding;
	Packer	   *packer;
	TaskSet    *set;

	check_rows(&loader->counts);
	row_sort_finish(loader->sort);
	if (loader->fit != NULL)
	{
		encoding = fit_rows(loader);
		row_sort_rewind(loader->sort);
	}
	packer = packer_create(loader->result, encoding, loader->request.options, loader->groups,
						   loader->fit == NULL);
	pack_rows(loader, encoding, packer);
	set = packer_finish(packer);
	check_rows(&loader->counts);

	if (loader->fit != NULL)
		report_fitted(loader->plan, loader->fit, set, &loader->counts);
	else
		report_skipped(&loader->counts);

	MemoryContextSwitchTo(old);
	row_sort_end(loader->sort);
	MemoryContextDelete(loader->context);
	return set;
}

void
loader_abandon(Loader *loader)
{
	row_sort_end(loader->sort);
	MemoryContextDelete(loader->context);
}
