/*
 * row_reader.c
 *	  Rows of one row type through an encoding.
 *
 * Names are resolved and types checked once.  Numbers are read and encoded all
 * at once (data/numbers.h); what else there is costs a switch per column, and a
 * hash lookup per category.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "data/encode.h"
#include "data/identifiers.h"
#include "data/labels.h"
#include "data/numbers.h"
#include "data/row_reader.h"

typedef struct ReaderItem
{
	const Encoder *encoder;
	Column		column;
	LabelDict  *labels;			/* of a category */
	int			offset;			/* of a row without NULLs, or -1 */
} ReaderItem;

struct RowReader
{
	const Encoding *encoding;
	TupleDesc	desc;
	ReaderItem *items;
	Numbers    *numbers;		/* items that are plain numbers */
	int			n_others;
	int		   *others;			/* the other items */
	bool		fixed;			/* all lie at fixed places in a row without
								 * NULLs */
	int			last;			/* column */
	bool		with_target;
	Column		target;
	LabelDict  *classes;
	bool		weighted;
	Column		weight;
	int			n_order;
	Column	   *order;
	int			n_outcomes;		/* columns of target, weight, order */
	int		   *outcome_at;
	int		   *outcome_offset;
	bool		outcomes_fixed; /* these, too, all lie at fixed places */
	int			last_outcome;	/* column */
};

/* ---- faults ---- */

/* f1, f2, ...: what PostgreSQL calls the columns of ROW(...). */
static bool
is_anonymous(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		char		name[NAMEDATALEN];

		snprintf(name, sizeof(name), "f%d", i + 1);
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) != 0)
			return false;
	}
	return desc->natts > 0;
}

static void
missing_column(const Encoding *encoding, TupleDesc desc, const char *name, bool with_target)
{
	StringInfoData needs;

	initStringInfo(&needs);
	for (int i = 0; i < encoding->n_encoders; i++)
		appendStringInfo(&needs, "%s\"%s\"", i > 0 ? ", " : "", encoding->encoders[i].column);
	if (with_target)
	{
		ListCell   *cell;

		appendStringInfo(&needs, ", its target \"%s\"", encoding->target);
		foreach(cell, encoding->order_by)
			appendStringInfo(&needs, ", its order \"%s\"", (char *) lfirst(cell));
		if (encoding->weight != NULL)
			appendStringInfo(&needs, ", its weight \"%s\"", encoding->weight);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" not found in the row", name),
			 errdetail("The model needs the columns %s.", needs.data),
			 is_anonymous(desc)
			 ? errhint("ROW(...) has no column names: pass a table's alias, or name the columns in a subquery: FROM (SELECT ... AS \"%s\") AS r.", name)
			 : errhint("%s", column_hint(desc, name))));
}

static void
unfit_column(const Column *column, const char *as, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of type %s does not fit the model", column->name,
					column_type_name(column)),
			 errdetail("The model was trained with it as %s.", as),
			 errhint("%s", column_cast_hint(column, wanted))));
}

/* Of numbers that mean something else no cast makes what they were. */
static void
unfit_measure(const Column *column, const char *as)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of type %s does not fit the model", column->name,
					column_type_name(column)),
			 errdetail("The model was trained with it as %s.", as),
			 errhint("Give it as that in a SELECT: ... AS %s.", quote_identifier(column->name))));
}

/* ---- resolving ---- */

static void
resolve(const Encoding *encoding, TupleDesc desc, const char *name, bool with_target, Column *column)
{
	int			at = column_find(desc, name);

	if (at < 0)
		missing_column(encoding, desc, name, with_target);
	if (column_repeats(desc, at))
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_COLUMN),
				 errmsg("column \"%s\" occurs twice in the row", name),
				 errhint("Give each column a name of its own, with AS.")));
	column_open(column, desc, at);
}

/* A column that is no feature, which may lie at a fixed place. */
static void
note_outcome(RowReader *reader, const Column *column)
{
	int			i = reader->n_outcomes++;

	reader->outcome_at[i] = column->at;
	reader->outcome_offset[i] = column_offset(reader->desc, column->at);
	reader->outcomes_fixed &= reader->outcome_offset[i] >= 0;
	reader->last_outcome = Max(reader->last_outcome, column->at);
}

/* A cached model's rows are read statement after statement, and to enter thousands of labels takes longer than that. */
static LabelDict *
encoder_dict(const Encoding *encoding, int i)
{
	Encoder    *encoder = &encoding->encoders[i];

	if (encoder->dict == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(encoding->encoders));

		encoder->dict = label_dict_from(encoder->column, encoder->labels, encoder->n_labels);
		MemoryContextSwitchTo(old);
	}
	return encoder->dict;
}

RowReader *
row_reader_create(const Encoding *encoding, TupleDesc desc, bool with_target)
{
	RowReader  *reader = palloc0(sizeof(RowReader));
	ListCell   *cell;

	reader->encoding = encoding;
	reader->desc = desc;
	reader->items = palloc0(sizeof(ReaderItem) * Max(encoding->n_encoders, 1));
	reader->numbers = numbers_create(encoding->n_encoders);
	reader->others = palloc0(sizeof(int) * Max(encoding->n_encoders, 1));
	reader->fixed = true;
	for (int i = 0; i < encoding->n_encoders; i++)
	{
		ReaderItem *item = &reader->items[i];

		item->encoder = &encoding->encoders[i];
		resolve(encoding, desc, item->encoder->column, with_target, &item->column);
		if (!encoder_takes(item->encoder->kind, &item->column))
			unfit_column(&item->column, encoder_noun(item->encoder->kind), encoder_cast(item->encoder->kind));
		if ((item->encoder->kind == ENCODER_NUMBER || item->encoder->kind == ENCODER_RAW) &&
			!value_fits(item->encoder->type, &item->column))
			unfit_measure(&item->column, value_noun(item->encoder->type));
		if (item->encoder->kind == ENCODER_CATEGORY)
			item->labels = encoder_dict(encoding, i);
		item->offset = column_offset(desc, item->column.at);
		reader->fixed &= item->offset >= 0;
		reader->last = Max(reader->last, item->column.at);
		if ((item->encoder->kind != ENCODER_NUMBER && item->encoder->kind != ENCODER_RAW) ||
			!numbers_add(reader->numbers, desc, &item->column, item->encoder))
			reader->others[reader->n_others++] = i;
	}
	if (!with_target)
		return reader;

	reader->with_target = reader->outcomes_fixed = true;
	reader->outcome_at = palloc(sizeof(int) * (2 + list_length(encoding->order_by)));
	reader->outcome_offset = palloc(sizeof(int) * (2 + list_length(encoding->order_by)));
	resolve(encoding, desc, encoding->target, true, &reader->target);
	note_outcome(reader, &reader->target);
	if (encoding->target_kind == TARGET_CLASS)
	{
		if (!column_has_label(&reader->target))
			unfit_column(&reader->target, "a class", "text");
		reader->classes = label_dict_from(encoding->target, encoding->classes, encoding->n_classes);
	}
	else if (!column_has_number(&reader->target))
		unfit_column(&reader->target, encoding->target_kind == TARGET_BINARY ? "a boolean" : "a number",
					 encoding->target_kind == TARGET_BINARY ? "boolean" : "float8");
	else if (encoding->target_kind == TARGET_NUMBER && !value_fits(encoding->target_type, &reader->target))
		unfit_measure(&reader->target, value_noun(encoding->target_type));

	if (encoding->weight != NULL)
	{
		reader->weighted = true;
		resolve(encoding, desc, encoding->weight, true, &reader->weight);
		if (reader->weight.class != COLUMN_NUMBER)
			unfit_column(&reader->weight, "a number", "float8");
		note_outcome(reader, &reader->weight);
	}
	reader->order = palloc0(sizeof(Column) * Max(list_length(encoding->order_by), 1));
	foreach(cell, encoding->order_by)
	{
		Column	   *column = &reader->order[reader->n_order++];

		resolve(encoding, desc, (char *) lfirst(cell), true, column);
		column_check_order(column);
		note_outcome(reader, column);
	}
	return reader;
}

/* ---- reading ---- */

/* An item that is no plain number. */
static void
read_item(ReaderItem *item, Datum value, bool null, float *x, int32 *c)
{
	const Encoder *encoder = item->encoder;
	Column	   *column = &item->column;
	int			length = 0;

	switch (encoder->kind)
	{
		case ENCODER_NUMBER:
		case ENCODER_BOOLEAN:
		case ENCODER_RAW:
			encode_number(encoder, null ? NAN : column_number(column, value), x + encoder->x);
			break;
		case ENCODER_CATEGORY:
			{
				int32		code = encoder_null_code(encoder);

				if (!null)
				{
					char		buffer[LABEL_BUFFER];
					const char *text = column_label(column, value, buffer, &length);

					code = label_dict_code(item->labels, text, length);
				}
				encode_code(encoder, code, x, c);
				break;
			}
		case ENCODER_VECTOR:
			{
				float	   *floats = null ? NULL : column_vector(column, value, &length);

				encode_floats(encoder, floats, length, x + encoder->x);
				if (floats != NULL)
					pfree(floats);
				break;
			}
		case ENCODER_IMAGE:
			if (column->class == COLUMN_VECTOR)
			{
				float	   *floats = null ? NULL : column_pixels(column, value, encoder->image, &length);

				encode_floats(encoder, floats, length, x + encoder->x);
				if (floats != NULL)
					pfree(floats);
			}
			else
			{
				const unsigned char *pixels = null ? NULL : column_bytes(column, value, &length);

				encode_pixels(encoder, pixels, length, x + encoder->x);
			}
			break;
	}
}

void
row_reader_features(RowReader *reader, const Datum *values, const bool *nulls, float *x, int32 *c)
{
	numbers_read(reader->numbers, values, nulls);
	numbers_encode(reader->numbers, x);
	for (int i = 0; i < reader->n_others; i++)
	{
		ReaderItem *item = &reader->items[reader->others[i]];

		read_item(item, values[item->column.at], nulls[item->column.at], x, c);
	}
}

bool
row_reader_row(RowReader *reader, HeapTupleHeader row, float *x, int32 *c)
{
	if (!reader->fixed || (row->t_infomask & HEAP_HASNULL) ||
		HeapTupleHeaderGetNatts(row) <= reader->last)
		return false;
	numbers_encode_row(reader->numbers, row, x);
	for (int i = 0; i < reader->n_others; i++)
	{
		ReaderItem *item = &reader->items[reader->others[i]];

		read_item(item, fetchatt(TupleDescAttr(reader->desc, item->column.at), (char *) row + row->t_hoff + item->offset),
				  false, x, c);
	}
	return true;
}

bool
row_reader_outcome_values(RowReader *reader, HeapTupleHeader row, Datum *values, bool *nulls)
{
	if (!reader->outcomes_fixed || (row->t_infomask & HEAP_HASNULL) ||
		HeapTupleHeaderGetNatts(row) <= reader->last_outcome)
		return false;
	for (int i = 0; i < reader->n_outcomes; i++)
	{
		int			column = reader->outcome_at[i];

		values[column] = fetchatt(TupleDescAttr(reader->desc, column), (char *) row + row->t_hoff + reader->outcome_offset[i]);
		nulls[column] = false;
	}
	return true;
}

RowStatus
row_reader_outcome(RowReader *reader, const Datum *values, const bool *nulls,
				   float *y, int32 *class, float *w)
{
	const Encoding *encoding = reader->encoding;
	Column	   *target = &reader->target;
	double		weight = 1;

	if (!reader->with_target)
		elog(ERROR, "this row reader was made without a target");
	if (nulls[target->at])
		return ROW_NO_TARGET;

	if (encoding->way > 0)
		*class = 0;				/* any label will do */
	else if (encoding->target_kind == TARGET_CLASS)
	{
		char		buffer[LABEL_BUFFER];
		int			length;
		const char *text = column_label(target, values[target->at], buffer, &length);
		int32		code = label_dict_code(reader->classes, text, length);

		if (code == 0)
			return ROW_OTHER_TARGET;
		*class = code - 1;
	}
	else
	{
		double		number = column_number(target, values[target->at]);

		if (isnan(number))
			return ROW_NO_TARGET;
		if (encoding->target_kind == TARGET_BINARY && number != 0 && number != 1)
			return ROW_OTHER_TARGET;
		*y = encode_target_number(encoding, number);
	}

	if (reader->weighted)
	{
		const Column *column = &reader->weight;

		if (nulls[column->at])
			return ROW_NO_WEIGHT;
		weight = check_weight(column, column_number(column, values[column->at]));
		if (weight == 0)
			return ROW_NO_WEIGHT;
	}
	*w = encode_weight(encoding, weight);
	return ROW_USABLE;
}

bool
row_reader_target(RowReader *reader, const Datum *values, const bool *nulls, float *y, float *w)
{
	int32		class = -1;

	if (row_reader_outcome(reader, values, nulls, y, &class, w) != ROW_USABLE)
		return false;
	for (int i = 0; i < reader->encoding->n_classes && reader->encoding->way == 0; i++)
		y[i] = i == class ? 1.0f : 0.0f;
	return true;
}

const char *
row_reader_label(RowReader *reader, const Datum *values, char *buffer, int *length)
{
	return column_label(&reader->target, values[reader->target.at], buffer, length);
}

void
row_reader_order_key(RowReader *reader, const Datum *values, const bool *nulls, StringInfo out)
{
	for (int i = 0; i < reader->n_order; i++)
	{
		Column	   *column = &reader->order[i];

		column_order_key(column, values[column->at], nulls[column->at], out);
	}
}
