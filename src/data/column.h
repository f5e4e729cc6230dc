/*
 * column.h
 *	  A column of a row type, and its values as numbers, labels, vectors and
 *	  sort keys.
 *
 * Every type of PostgreSQL that can be learned from belongs to one of a few
 * classes; what differs between the types of a class ends here.
 */
#ifndef DATA_COLUMN_H
#define DATA_COLUMN_H

#include "postgres.h"

#include <math.h>

#include "access/tupdesc.h"
#include "catalog/pg_type_d.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

typedef enum ColumnClass
{
	COLUMN_UNSUPPORTED,
	COLUMN_NUMBER,				/* integers, floats, numeric, oid */
	COLUMN_TIME,				/* date, timestamp, time, interval: seconds */
	COLUMN_BOOLEAN,
	COLUMN_LABEL,				/* text and its kin, enum, uuid, "char" */
	COLUMN_VECTOR,				/* numeric arrays, and what casts to real[] */
	COLUMN_BYTES				/* bytea */
} ColumnClass;

typedef struct Column
{
	char		name[NAMEDATALEN];
	int			at;				/* position in the row, from 0 */
	Oid			declared;		/* its type */
	Oid			type;			/* the same below domains */
	ColumnClass class;
	bool		is_enum;
	Oid			element;		/* of a numeric array, or InvalidOid */
	FmgrInfo	cast;			/* to real[], for a vector that is no array */
	FmgrInfo	output;			/* to text; set where no faster way is known */
} Column;

/* Position of the first column of a name, or -1; and whether another one after it has the same. */
extern int	column_find(TupleDesc desc, const char *name);
extern bool column_repeats(TupleDesc desc, int at);

/* Fills column; lookups that last longer go to the current memory context. */
extern void column_open(Column *column, TupleDesc desc, int at);

/* "double precision", as users know the type. */
extern char *column_type_name(const Column *column);

/* Do its values have a number, or a text to be known by? */
static inline bool
column_has_number(const Column *column)
{
	return column->class == COLUMN_NUMBER || column->class == COLUMN_TIME || column->class == COLUMN_BOOLEAN;
}

static inline bool
column_has_label(const Column *column)
{
	return column->class == COLUMN_LABEL || column_has_number(column);
}

/* What to write instead of a column whose type is of no use. */
extern char *column_cast_hint(const Column *column, const char *wanted);

/* Times count from 1970; days from there to PostgreSQL's own epoch. */
#define EPOCH_DAYS (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)

/* The number of a value of class NUMBER, TIME or BOOLEAN; NaN is missing. */
extern double column_number_general(const Column *column, Datum value);
extern void column_infinite(const Column *column);

static inline double
column_number(const Column *column, Datum value)
{
	double		number;

	switch (column->type)
	{
		case INT4OID:
			return (double) DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case INT2OID:
			return (double) DatumGetInt16(value);
		case BOOLOID:
			return DatumGetBool(value) ? 1.0 : 0.0;
		case FLOAT8OID:
			number = DatumGetFloat8(value);
			break;
		case FLOAT4OID:
			number = (double) DatumGetFloat4(value);
			break;
		default:
			number = column_number_general(column, value);
			break;
	}
	if (unlikely(isinf(number)))
		column_infinite(column);
	return number;
}

/*
 * The text of a value, without its end marked, and its length.  It is the same
 * whatever DateStyle, TimeZone or extra_float_digits, and the same for values
 * that SQL holds equal.  It lies in the value, in buffer, or in the current
 * memory context.
 */
#define LABEL_BUFFER 160

extern const char *column_label(Column *column, Datum value, char *buffer, int *length);

/*
 * The numbers of a vector, in the current memory context.  NULL, NaN and
 * infinite elements are errors.
 */
extern float *column_vector(Column *column, Datum value, int *length);

/*
 * The same of an image of height, width and channels: elements of integer
 * arrays are 8-bit pixels, and become numbers from 0 to 1; others are as they
 * are.  An array of several dimensions must have the image's.
 */
extern float *column_pixels(Column *column, Datum value, const int *image, int *length);

/* The bytes of a bytea. */
extern const unsigned char *column_bytes(const Column *column, Datum value, int *length);

/*
 * Appends bytes that compare with memcmp as the values compare; no value's
 * bytes are the beginning of another's, so keys of several columns are simply
 * joined.  NULLs come last.
 */
extern void column_order_key(Column *column, Datum value, bool null, StringInfo out);

/* Errors for a column that cannot be ordered by. */
extern void column_check_order(const Column *column);

#endif							/* DATA_COLUMN_H */
