/*
 * order_key.c
 *	  Values as bytes that compare with memcmp as the values compare.
 *
 * A key starts with a byte that tells NULL (last) from a value.  Numbers are
 * big-endian with the sign bit turned, negative floats with all bits turned.
 * Text ends with a zero byte, which it cannot contain; a zero byte within a
 * bytea is written 00 FF and its end 00 00.  So no key is the beginning of
 * another and several columns are simply joined.
 *
 * Text is compared by its bytes, not by its collation: a collation's order may
 * change with the operating system, and a training must not.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "data/column.h"

#define KEY_VALUE 0x01
#define KEY_NULL 0xFF

static void
append_int64(StringInfo out, int64 value)
{
	uint64		bits = pg_hton64((uint64) value ^ ((uint64) 1 << 63));

	appendBinaryStringInfo(out, (const char *) &bits, sizeof(bits));
}

/* -0 equals 0, and NaN is greater than every number, as in PostgreSQL. */
static void
append_double(StringInfo out, double value)
{
	uint64		bits;

	if (isnan(value))
		bits = PG_UINT64_MAX;
	else
	{
		value += 0.0;
		memcpy(&bits, &value, sizeof(bits));
		bits = (bits >> 63) ? ~bits : bits | ((uint64) 1 << 63);
	}
	bits = pg_hton64(bits);
	appendBinaryStringInfo(out, (const char *) &bits, sizeof(bits));
}

/*
 * The nearest double, then what it leaves over: 30 decimal digits in all.
 * The double goes back to a numeric by its first 15 digits only, the same
 * ones for equal doubles, which is all that the second part needs.
 */
static void
append_numeric(StringInfo out, Numeric value)
{
	Datum		first = DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value));
	double		number = DatumGetFloat8(first);
	double		rest = 0;

	if (!isnan(number) && !isinf(number))
	{
		Datum		back = DirectFunctionCall1(float8_numeric, first);

		rest = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												  DirectFunctionCall2(numeric_sub, NumericGetDatum(value), back)));
	}
	append_double(out, number);
	append_double(out, rest);
}

static double
enum_position(Oid value)
{
	HeapTuple	tuple = SearchSysCache1(ENUMOID, ObjectIdGetDatum(value));
	double		position;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for enum value %u", value);
	position = ((Form_pg_enum) GETSTRUCT(tuple))->enumsortorder;
	ReleaseSysCache(tuple);
	return position;
}

static void
append_escaped(StringInfo out, const unsigned char *bytes, int length)
{
	for (int i = 0; i < length; i++)
	{
		appendStringInfoCharMacro(out, bytes[i]);
		if (bytes[i] == 0)
			appendStringInfoCharMacro(out, (char) 0xFF);
	}
	appendBinaryStringInfo(out, "\0\0", 2);
}

static void
append_interval(StringInfo out, const Interval *interval)
{
	/* as interval_cmp_value: months of 30 days, days of 24 hours */
	int64		days = (int64) interval->month * DAYS_PER_MONTH + interval->day;
	int64		time = interval->time % USECS_PER_DAY;

	days += interval->time / USECS_PER_DAY;
	if (time < 0)
	{
		time += USECS_PER_DAY;
		days--;
	}
	append_int64(out, days);
	append_int64(out, time);
}

void
column_check_order(const Column *column)
{
	if (column->class == COLUMN_UNSUPPORTED || column->class == COLUMN_VECTOR)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be ordered by", column->name,
						column_type_name(column)),
				 errdetail("Rows are ordered by numbers, dates and times, booleans, text, enums, uuids or bytea."),
				 errhint("%s", column_cast_hint(column, NULL))));
}

void
column_order_key(Column *column, Datum value, bool null, StringInfo out)
{
	if (null)
	{
		appendStringInfoCharMacro(out, (char) KEY_NULL);
		return;
	}
	appendStringInfoCharMacro(out, KEY_VALUE);

	switch (column->type)
	{
		case INT2OID:
			append_int64(out, DatumGetInt16(value));
			break;
		case INT4OID:
			append_int64(out, DatumGetInt32(value));
			break;
		case INT8OID:
			append_int64(out, DatumGetInt64(value));
			break;
		case OIDOID:
			append_int64(out, DatumGetObjectId(value));
			break;
		case DATEOID:
			append_int64(out, DatumGetDateADT(value));
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			append_int64(out, DatumGetTimestamp(value));
			break;
		case TIMEOID:
			append_int64(out, DatumGetTimeADT(value));
			break;
		case TIMETZOID:
			{
				TimeTzADT  *time = DatumGetTimeTzADTP(value);

				/* as timetz_cmp: by the moment, then by the zone */
				append_int64(out, time->time + (int64) time->zone * USECS_PER_SEC);
				append_int64(out, time->zone);
				break;
			}
		case INTERVALOID:
			append_interval(out, DatumGetIntervalP(value));
			break;
		case BOOLOID:
			appendStringInfoCharMacro(out, DatumGetBool(value) ? 1 : 0);
			break;
		case FLOAT4OID:
			append_double(out, DatumGetFloat4(value));
			break;
		case FLOAT8OID:
			append_double(out, DatumGetFloat8(value));
			break;
		case NUMERICOID:
			append_numeric(out, DatumGetNumeric(value));
			break;
		case UUIDOID:
			appendBinaryStringInfo(out, (const char *) DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case CHAROID:
			appendStringInfoCharMacro(out, DatumGetChar(value));
			break;
		case BYTEAOID:
			{
				int			length;
				const unsigned char *bytes = column_bytes(column, value, &length);

				append_escaped(out, bytes, length);
				break;
			}
		default:
			if (column->is_enum)
				append_double(out, enum_position(DatumGetObjectId(value)));
			else
			{
				char		buffer[LABEL_BUFFER];
				int			length;
				const char *text = column_label(column, value, buffer, &length);

				appendBinaryStringInfo(out, text, length);
				appendStringInfoCharMacro(out, '\0');
			}
			break;
	}
}
