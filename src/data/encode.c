/*
 * encode.c
 *	  What an encoder takes, and the errors of what it does not.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "data/encode.h"

static const struct
{
	const char *noun;
	const char *cast;
}			words[] = {
	[ENCODER_NUMBER] = {"a number", "float8"},
	[ENCODER_BOOLEAN] = {"a boolean", "boolean"},
	[ENCODER_CATEGORY] = {"a category", "text"},
	[ENCODER_VECTOR] = {"a vector", "real[]"},
	[ENCODER_IMAGE] = {"an image", "bytea"},
	[ENCODER_RAW] = {"a number", "float8"},
};

const char *
encoder_noun(EncoderKind kind)
{
	return words[kind].noun;
}

const char *
encoder_cast(EncoderKind kind)
{
	return words[kind].cast;
}

bool
encoder_takes(EncoderKind kind, const Column *column)
{
	switch (kind)
	{
		case ENCODER_NUMBER:
		case ENCODER_RAW:
			return column_has_number(column);
		case ENCODER_BOOLEAN:
			return column->class == COLUMN_BOOLEAN || column->class == COLUMN_NUMBER;
		case ENCODER_CATEGORY:
			return column_has_label(column);
		case ENCODER_VECTOR:
			return column->class == COLUMN_VECTOR;
		case ENCODER_IMAGE:
			return column->class == COLUMN_BYTES || column->class == COLUMN_VECTOR;
	}
	return false;
}

ValueType
value_type(const Column *column, bool boolean)
{
	if (boolean)
		return column->class == COLUMN_BOOLEAN ? VALUE_PLAIN : VALUE_INTEGER;
	switch (column->type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
			return VALUE_INTEGER;
		case DATEOID:
			return VALUE_DATE;
		case TIMEOID:
			return VALUE_TIME;
		case TIMETZOID:
			return VALUE_TIMETZ;
		case TIMESTAMPOID:
			return VALUE_TIMESTAMP;
		case TIMESTAMPTZOID:
			return VALUE_TIMESTAMPTZ;
		case INTERVALOID:
			return VALUE_INTERVAL;
		case BOOLOID:
			return VALUE_BOOLEAN;
		default:
			return VALUE_PLAIN;
	}
}

/* Numbers of one measure mean the same: of dates and timestamps seconds since one moment. */
static const char *const measures[] = {
	[VALUE_PLAIN] = "a number",
	[VALUE_INTEGER] = "a number",
	[VALUE_BOOLEAN] = "a number",
	[VALUE_DATE] = "a date or timestamp",
	[VALUE_TIMESTAMP] = "a date or timestamp",
	[VALUE_TIMESTAMPTZ] = "a date or timestamp",
	[VALUE_TIME] = "a time of day",
	[VALUE_TIMETZ] = "a time of day",
	[VALUE_INTERVAL] = "an interval",
};

bool
value_fits(ValueType type, const Column *column)
{
	const char *measure = measures[value_type(column, false)];

	return strcmp(measure, measures[VALUE_PLAIN]) == 0 || strcmp(measure, measures[type]) == 0;
}

const char *
value_noun(ValueType type)
{
	return measures[type];
}

void
encode_not_boolean(const char *column, double value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("column \"%s\" is encoded as boolean but holds %g", column, value),
			 errdetail("A number that is encoded as boolean must be 0 or 1."),
			 errhint("Encode it as \"number\" or \"category\" with the option encode.")));
}

void
encode_wrong_length(const Encoder *encoder, int length)
{
	if (encoder->kind == ENCODER_IMAGE)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("an image of column \"%s\" has %d numbers instead of %d",
						encoder->column, length, encoder_values(encoder)),
				 errdetail("The column is encoded as \"image %dx%dx%d\": height, width, and a byte or an array element for each channel of each pixel.",
						   encoder->image[0], encoder->image[1], encoder->image[2]),
				 errhint("Scale all images to one size, and name that size in the option encode.")));
	ereport(ERROR,
			(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
			 errmsg("a vector of column \"%s\" has %d elements instead of %d",
					encoder->column, length, encoder_values(encoder)),
			 errdetail("All vectors of a column must have the length that its first one had in training."),
			 errhint("Leave rows of another length out in the source, or set them to NULL, which counts as missing.")));
}

double
check_weight(const Column *column, double weight)
{
	if (weight < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("column \"%s\" holds a negative weight: %g", column->name, weight),
				 errhint("Row weights are 0 or more; rows of weight 0 are left out.")));
	return isnan(weight) ? 0 : weight;
}
