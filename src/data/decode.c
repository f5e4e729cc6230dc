/*
 * decode.c
 *	  From numbers back to rows.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "data/column.h"
#include "data/decode.h"

static void
push_key(JsonbParseState **state, char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = name;
	key.val.string.len = (int) strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
}

static void
push_text(JsonbParseState **state, char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = text;
	value.val.string.len = (int) strlen(text);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_boolean(JsonbParseState **state, bool truth)
{
	JsonbValue	value;

	value.type = jbvBool;
	value.val.boolean = truth;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_null(JsonbParseState **state)
{
	JsonbValue	value;

	value.type = jbvNull;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_number(JsonbParseState **state, double number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(number)));
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* What is drawn may lie a little outside of what a type can hold. */
static double
within(double value, double low, double high)
{
	return Min(Max(value, low), high);
}

/* Seconds, as column_number has them, as a time of a type. */
static char *
time_text(ValueType type, double seconds)
{
	char	   *buffer = palloc(MAXDATELEN + 1);
	double		days = floor(seconds / SECS_PER_DAY) - EPOCH_DAYS;
	double		microseconds = rint((seconds - (double) EPOCH_DAYS * SECS_PER_DAY) * USECS_PER_SEC);
	double		of_day = within(rint(seconds * USECS_PER_SEC), 0, (double) USECS_PER_DAY - 1);
	int			utc = 0;

	switch (type)
	{
		case VALUE_DATE:
			days = within(days, DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE, TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE - 1);
			return JsonEncodeDateTime(buffer, DateADTGetDatum((DateADT) days), DATEOID, NULL);
		case VALUE_TIME:
			return JsonEncodeDateTime(buffer, TimeADTGetDatum((TimeADT) of_day), TIMEOID, NULL);
		case VALUE_TIMETZ:
			return psprintf("%s+00", JsonEncodeDateTime(buffer, TimeADTGetDatum((TimeADT) of_day), TIMEOID, NULL));
		case VALUE_TIMESTAMP:
		case VALUE_TIMESTAMPTZ:
			microseconds = within(microseconds, (double) MIN_TIMESTAMP, (double) END_TIMESTAMP * (1 - 1e-12));
			return JsonEncodeDateTime(buffer, TimestampTzGetDatum((TimestampTz) microseconds),
									  type == VALUE_TIMESTAMP ? TIMESTAMPOID : TIMESTAMPTZOID,
									  type == VALUE_TIMESTAMP ? NULL : &utc);
		default:
			return psprintf("PT%.6fS", within(seconds, -1e12, 1e12));
	}
}

static void
push_value(JsonbParseState **state, ValueType type, double value)
{
	if (!isfinite(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("a value that was made up is not a finite number")));
	if (type == VALUE_PLAIN)
		push_number(state, value);
	else if (type == VALUE_INTEGER)
		push_number(state, rint(value));
	else if (type == VALUE_BOOLEAN)
		push_boolean(state, value >= 0.5);
	else
		push_text(state, time_text(type, value));
}

static void
push_truth(JsonbParseState **state, ValueType type, bool truth)
{
	if (type == VALUE_PLAIN)
		push_boolean(state, truth);
	else
		push_number(state, truth ? 1 : 0);
}

/* The position of the one that is 1, from 1; 0: none is. */
static int
hot(const real *values, int n)
{
	for (int i = 0; i < n; i++)
		if (values[i] > 0.5)
			return i + 1;
	return 0;
}

static void
push_feature(JsonbParseState **state, const Encoder *encoder, const real *x, const int32 *c)
{
	int			code;

	push_key(state, encoder->column);
	if (encoder->kind == ENCODER_CATEGORY)
	{
		code = encoder_is_table(encoder) ? c[encoder->c] : hot(x + encoder->x, encoder->n_labels);
		if (code > 0 && code <= encoder->n_labels)
			push_text(state, encoder->labels[code - 1]);
		else
			push_null(state);
	}
	else if (encoder->indicator && x[encoder->x + encoder->width - 1] > 0.5)
		push_null(state);
	else if (encoder->kind == ENCODER_BOOLEAN)
		push_truth(state, encoder->type, x[encoder->x] > 0.5);
	else
		push_value(state, encoder->type,
				   encoder->kind == ENCODER_RAW ? x[encoder->x] : encoder->mean + encoder->deviation * x[encoder->x]);
}

static bool
shown(const Encoder *encoder, const bool *there, int i)
{
	return encoder->kind != ENCODER_VECTOR && encoder->kind != ENCODER_IMAGE && (there == NULL || there[i]);
}

Jsonb *
encoding_decode(const Encoding *encoding, const bool *there, const real *x, const int32 *c, const real *y)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < encoding->n_encoders; i++)
		if (shown(&encoding->encoders[i], there, i))
			push_feature(&state, &encoding->encoders[i], x, c);
	push_key(&state, encoding->target);
	switch (encoding->target_kind)
	{
		case TARGET_NUMBER:
			push_value(&state, encoding->target_type,
					   encoding->target_mean + encoding->target_deviation * y[0]);
			break;
		case TARGET_BINARY:
			push_truth(&state, encoding->target_type, y[0] > 0.5);
			break;
		case TARGET_CLASS:
			push_text(&state, encoding->classes[Max(hot(y, encoding->n_classes), 1) - 1]);
			break;
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

double
encoding_log_scale(const Encoding *encoding, const bool *there, const real *x)
{
	double		sum = -log(encoding->target_deviation);

	for (int i = 0; i < encoding->n_encoders; i++)
	{
		const Encoder *encoder = &encoding->encoders[i];

		if ((encoder->kind == ENCODER_NUMBER || encoder->kind == ENCODER_RAW) && shown(encoder, there, i) &&
			!(encoder->indicator && x[encoder->x + 1] > 0.5))
			sum -= log(encoder->deviation);
	}
	return sum;
}
