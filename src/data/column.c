/*
 * column.c
 *	  Which class a type belongs to, and its values as numbers, labels and
 *	  vectors.
 *
 * Times become seconds since 1970, so that a date, a timestamp and an integer
 * epoch of the same moment are the same number; intervals become seconds with
 * months of 30 days, as PostgreSQL compares them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "data/column.h"

int
column_find(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return i;
	}
	return -1;
}

bool
column_repeats(TupleDesc desc, int at)
{
	for (int i = at + 1; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), NameStr(TupleDescAttr(desc, at)->attname)) == 0)
			return true;
	}
	return false;
}

static bool
is_numeric_type(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return true;
		default:
			return false;
	}
}

/* A type that is no array but has a cast to real[], as pgvector's vector. */
static bool
find_vector_cast(Oid type, FmgrInfo *cast)
{
	Oid			function;

	if (find_coercion_pathway(FLOAT4ARRAYOID, type, COERCION_EXPLICIT, &function) != COERCION_PATH_FUNC)
		return false;
	fmgr_info(function, cast);
	return true;
}

static ColumnClass
classify_type(Column *column)
{
	char		category;
	bool		preferred;
	Oid			element;

	switch (column->type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case OIDOID:
			return COLUMN_NUMBER;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
			return COLUMN_TIME;
		case BOOLOID:
			return COLUMN_BOOLEAN;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case CHAROID:
		case UUIDOID:
		case UNKNOWNOID:		/* a literal without a type, as in ROW('a') */
			return COLUMN_LABEL;
		case BYTEAOID:
			return COLUMN_BYTES;
		default:
			break;
	}

	if (type_is_enum(column->type))
	{
		column->is_enum = true;
		return COLUMN_LABEL;
	}
	element = get_element_type(column->type);
	if (OidIsValid(element))
	{
		element = getBaseType(element);
		if (!is_numeric_type(element))
			return COLUMN_UNSUPPORTED;
		column->element = element;
		return COLUMN_VECTOR;
	}
	get_type_category_preferred(column->type, &category, &preferred);
	if (category == TYPCATEGORY_STRING)
		return COLUMN_LABEL;	/* citext and other texts */
	if (get_typtype(column->type) == TYPTYPE_BASE && find_vector_cast(column->type, &column->cast))
		return COLUMN_VECTOR;
	return COLUMN_UNSUPPORTED;
}

void
column_open(Column *column, TupleDesc desc, int at)
{
	Form_pg_attribute att = TupleDescAttr(desc, at);

	memset(column, 0, sizeof(Column));
	strlcpy(column->name, NameStr(att->attname), NAMEDATALEN);
	column->at = at;
	column->declared = att->atttypid;
	column->type = getBaseType(att->atttypid);
	column->class = classify_type(column);
	if (column->class == COLUMN_LABEL)
	{
		Oid			function;
		bool		varlena;

		getTypeOutputInfo(column->type, &function, &varlena);
		fmgr_info(function, &column->output);
	}
}

char *
column_type_name(const Column *column)
{
	return format_type_be(column->declared);
}

char *
column_cast_hint(const Column *column, const char *wanted)
{
	const char *name = quote_identifier(column->name);

	if (wanted != NULL)
		return psprintf("Cast it in a SELECT: %s::%s AS %s.", name, wanted, name);
	switch (column->type)
	{
		case JSONOID:
		case JSONBOID:
			return psprintf("Take values out of it and cast them, in a SELECT: (%s->>'key')::float8 AS key.", name);
		case MONEYOID:
			return psprintf("Cast it in a SELECT: %s::numeric AS %s.", name, name);
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case XMLOID:
			return psprintf("Cast it in a SELECT: %s::text AS %s.", name, name);
		case BYTEAOID:
			return psprintf("If it holds the 8-bit pixels of an image, say so with the option encode: {\"%s\": \"image 28x28\"}.", column->name);
		default:
			return psprintf("Cast it in a SELECT to a number, boolean, text or real[]: %s::text AS %s.", name, name);
	}
}

void
column_infinite(const Column *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("column \"%s\" holds an infinite value", column->name),
			 errdetail("Infinity cannot be learned from, nor can what double precision has no room for; NULL and NaN count as missing."),
			 errhint("Write NULL instead in the source, or bound it: greatest(least(%s, ...), ...).",
					 quote_identifier(column->name))));
}

static double
interval_seconds(const Interval *interval)
{
	return ((double) interval->month * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY +
		(double) interval->time / USECS_PER_SEC;
}

double
column_number_general(const Column *column, Datum value)
{
	switch (column->type)
	{
		case NUMERICOID:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
		case OIDOID:
			return (double) DatumGetObjectId(value);
		case DATEOID:
			{
				DateADT		date = DatumGetDateADT(value);

				if (DATE_NOT_FINITE(date))
					column_infinite(column);
				return ((double) date + EPOCH_DAYS) * SECS_PER_DAY;
			}
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			{
				Timestamp	stamp = DatumGetTimestamp(value);

				if (TIMESTAMP_NOT_FINITE(stamp))
					column_infinite(column);
				return (double) stamp / USECS_PER_SEC + (double) EPOCH_DAYS * SECS_PER_DAY;
			}
		case TIMEOID:
			return (double) DatumGetTimeADT(value) / USECS_PER_SEC;
		case TIMETZOID:
			{
				TimeTzADT  *time = DatumGetTimeTzADTP(value);

				return (double) time->time / USECS_PER_SEC + time->zone;
			}
		case INTERVALOID:
			{
				Interval   *interval = DatumGetIntervalP(value);

				if (INTERVAL_NOT_FINITE(interval))
					column_infinite(column);
				return interval_seconds(interval);
			}
		default:
			elog(ERROR, "column \"%s\" is not a number", column->name);
	}
	return 0;					/* keep compiler quiet */
}

const char *
column_label(Column *column, Datum value, char *buffer, int *length)
{
	const char *text = buffer;
	int			utc = 0;

	switch (column->type)
	{
		case TEXTOID:
		case VARCHAROID:
			{
				struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

				*length = (int) VARSIZE_ANY_EXHDR(v);
				return VARDATA_ANY(v);
			}
		case BPCHAROID:
			{
				struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

				*length = bpchartruelen(VARDATA_ANY(v), (int) VARSIZE_ANY_EXHDR(v));
				return VARDATA_ANY(v);
			}
		case NAMEOID:
			text = NameStr(*DatumGetName(value));
			break;
		case BOOLOID:
			text = DatumGetBool(value) ? "true" : "false";
			break;
		case INT2OID:
			*length = int64_text(DatumGetInt16(value), buffer);
			return buffer;
		case INT4OID:
			*length = int64_text(DatumGetInt32(value), buffer);
			return buffer;
		case INT8OID:
			*length = int64_text(DatumGetInt64(value), buffer);
			return buffer;
		case OIDOID:
			*length = int64_text(DatumGetObjectId(value), buffer);
			return buffer;
		case FLOAT4OID:
			float_to_shortest_decimal_buf(DatumGetFloat4(value) + 0.0f, buffer);
			break;
		case FLOAT8OID:
			double_to_shortest_decimal_buf(DatumGetFloat8(value) + 0.0, buffer);
			break;
		case INTERVALOID:
			double_to_shortest_decimal_buf(interval_seconds(DatumGetIntervalP(value)), buffer);
			break;
		case NUMERICOID:
			text = numeric_normalize(DatumGetNumeric(value));
			break;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			JsonEncodeDateTime(buffer, value, column->type,
							   column->type == TIMESTAMPTZOID ? &utc : NULL);
			break;
		default:
			text = OutputFunctionCall(&column->output, value);
			break;
	}
	*length = (int) strlen(text);
	return text;
}

static void
bad_element(const Column *column, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("an array of column \"%s\" has %s element", column->name, what),
			 errdetail("All elements of a vector must be finite numbers."),
			 errhint("Leave such rows out in the source, or set the whole array to NULL, which counts as missing.")));
}

static double
element_number(Oid type, Datum value)
{
	switch (type)
	{
		case INT2OID:
			return (double) DatumGetInt16(value);
		case INT4OID:
			return (double) DatumGetInt32(value);
		case INT8OID:
			return (double) DatumGetInt64(value);
		case FLOAT4OID:
			return (double) DatumGetFloat4(value);
		case FLOAT8OID:
			return DatumGetFloat8(value);
		default:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value));
	}
}

float *
column_vector(Column *column, Datum value, int *length)
{
	Oid			element = column->element;
	ArrayType  *array;
	float	   *out;
	int			n;

	if (!OidIsValid(element))
	{
		element = FLOAT4OID;
		/* such a cast may take the type modifier and "is explicit" as well */
		if (column->cast.fn_nargs == 1)
			value = FunctionCall1(&column->cast, value);
		else if (column->cast.fn_nargs == 2)
			value = FunctionCall2(&column->cast, value, Int32GetDatum(-1));
		else
			value = FunctionCall3(&column->cast, value, Int32GetDatum(-1), BoolGetDatum(true));
	}
	array = DatumGetArrayTypeP(value);
	if (ARR_HASNULL(array) && array_contains_nulls(array))
		bad_element(column, "a NULL");
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	out = palloc(sizeof(float) * Max(n, 1));

	if (element == FLOAT4OID)
		memcpy(out, ARR_DATA_PTR(array), sizeof(float) * n);
	else if (element == FLOAT8OID)
	{
		const double *in = (const double *) ARR_DATA_PTR(array);

		for (int i = 0; i < n; i++)
			out[i] = (float) in[i];
	}
	else
	{
		Datum	   *elements;
		int16		size;
		bool		by_value;
		char		align;

		get_typlenbyvalalign(element, &size, &by_value, &align);
		deconstruct_array(array, element, size, by_value, align, &elements, NULL, &n);
		for (int i = 0; i < n; i++)
			out[i] = (float) element_number(element, elements[i]);
		pfree(elements);
	}
	for (int i = 0; i < n; i++)
	{
		if (unlikely(isnan(out[i])))
			bad_element(column, "a NaN");
		if (unlikely(isinf(out[i])))
			bad_element(column, "an infinite");
	}
	*length = n;
	return out;
}

/* Those of n sides that are more than 1, and how many there are. */
static int
long_sides(const int *sides, int n, int *to)
{
	int			count = 0;

	for (int i = 0; i < n; i++)
		if (sides[i] > 1)
			to[count++] = sides[i];
	return count;
}

/* The sides of an array: 3x32x32. */
static char *
sides_text(const int *sides, int n)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < n; i++)
		appendStringInfo(&text, "%s%d", i > 0 ? "x" : "", sides[i]);
	return text.data;
}

/*
 * Channels that come first, say, would be as many numbers in another order.
 * An array of one dimension is taken as it is, and sides of 1 do not matter.
 */
static void
check_sides(const Column *column, Datum value, const int *image)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	int			of_array[MAXDIM];
	int			of_image[3];
	int			n = long_sides(ARR_DIMS(array), ARR_NDIM(array), of_array);
	int			m = long_sides(image, 3, of_image);

	if (n > 1 && (n != m || memcmp(of_array, of_image, n * sizeof(int)) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("an image of column \"%s\" has the dimensions %s, not %s", column->name,
						sides_text(ARR_DIMS(array), ARR_NDIM(array)), sides_text(image, 3)),
				 errdetail("The dimensions of an array are height, width and channels, in this order."),
				 errhint("Say how large images are by the option encode, or turn the array in the source.")));
}

float *
column_pixels(Column *column, Datum value, const int *image, int *length)
{
	float	   *pixels;

	if (OidIsValid(column->element))
		check_sides(column, value, image);
	pixels = column_vector(column, value, length);
	if (column->element != INT2OID && column->element != INT4OID && column->element != INT8OID)
		return pixels;
	for (int i = 0; i < *length; i++)
	{
		if (pixels[i] < 0 || pixels[i] > 255)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("an image of column \"%s\" has a pixel of %g", column->name, pixels[i]),
					 errdetail("Integers in an image are 8-bit pixels, from 0 to 255."),
					 errhint("Cast it in a SELECT to take numbers as they are: %s::real[] AS %s.",
							 quote_identifier(column->name), quote_identifier(column->name))));
		pixels[i] /= 255.0f;
	}
	return pixels;
}

const unsigned char *
column_bytes(const Column *column, Datum value, int *length)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

	Assert(column->class == COLUMN_BYTES);
	*length = (int) VARSIZE_ANY_EXHDR(v);
	return (const unsigned char *) VARDATA_ANY(v);
}
