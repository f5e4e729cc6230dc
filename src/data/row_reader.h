/*
 * row_reader.h
 *	  Rows of one row type through an encoding.
 */
#ifndef DATA_ROW_READER_H
#define DATA_ROW_READER_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"

#include "data/encoding.h"

/* Why a row cannot be learned from. */
typedef enum RowStatus
{
	ROW_USABLE,
	ROW_NO_TASK,				/* NULL in the task key */
	ROW_NO_TARGET,				/* NULL or NaN */
	ROW_NO_WEIGHT,				/* NULL, NaN or 0 */
	ROW_OTHER_TARGET,			/* a label that is none of the classes, or a
								 * number other than 0 and 1 */
	ROW_STATUS_COUNT
} RowStatus;

/*
 * Reads rows of one row type.  Created once per (encoding, row type); raises
 * an error that names a missing or unsuitable column.  with_target: the
 * target, weight and order_by columns are required as well.
 */
typedef struct RowReader RowReader;

extern RowReader *row_reader_create(const Encoding *encoding, TupleDesc desc, bool with_target);

/*
 * Encodes a row's features: x (width.x numbers), c (width.c codes).  values
 * and nulls are the deformed row.
 */
extern void row_reader_features(RowReader *reader, const Datum *values, const bool *nulls,
								float *x, int32 *c);

/*
 * The same from a row that is not deformed; false where it has to be, because
 * it has NULLs or columns of varying length.
 */
extern bool row_reader_row(RowReader *reader, HeapTupleHeader row, float *x, int32 *c);

/*
 * Where that goes for the target, the weight and the order: their places in
 * values and nulls, and no others.
 */
extern bool row_reader_outcome_values(RowReader *reader, HeapTupleHeader row, Datum *values, bool *nulls);

/*
 * Encodes the target into y (width.y numbers) and its weight into w (1 where
 * no weight column is); false where the target is NULL or NaN, the weight is
 * NULL or 0, or the label is not one of the classes.  In N-way episodes any
 * label will do, and y is left alone.
 */
extern bool row_reader_target(RowReader *reader, const Datum *values, const bool *nulls,
							  float *y, float *w);

/* The target's label, not terminated; buffer has LABEL_BUFFER bytes. */
extern const char *row_reader_label(RowReader *reader, const Datum *values, char *buffer, int *length);

/*
 * Appends the row's order_by values as bytes that compare with memcmp as the
 * values compare (NULLs last).  Appends nothing without order_by.
 */
extern void row_reader_order_key(RowReader *reader, const Datum *values, const bool *nulls,
								 StringInfo out);

/*
 * As row_reader_target, but a class comes as its position from 0, and the
 * reason is told.  y is left alone for classes, class for other targets.
 */
extern RowStatus row_reader_outcome(RowReader *reader, const Datum *values, const bool *nulls,
									float *y, int32 *class, float *w);

#endif							/* DATA_ROW_READER_H */
