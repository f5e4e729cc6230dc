/*
 * numbers.c
 *	  The numeric columns of a row, all at once.
 */
#include "postgres.h"

#include <float.h>

#include "access/tupmacs.h"

#include "data/encode.h"
#include "data/numbers.h"

/* Loops that are compiled for several widths of vectors. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define WIDE_LOOP __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE_LOOP
#endif

#define FLOAT4_INFINITY 0x7f800000
#define FLOAT8_INFINITY UINT64CONST(0x7ff0000000000000)

/* Does a float hold all values of the type? */
static inline bool
is_narrow(Oid type)
{
	return type == FLOAT4OID || type == INT2OID;
}

static inline Size
run_bytes(const NumberRun *run)
{
	return run->n * (is_narrow(run->type) ? sizeof(float) : sizeof(double));
}

int
column_offset(TupleDesc desc, int at)
{
	int			offset = 0;

	for (int i = 0; i <= at; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attlen <= 0)
			return -1;
		offset = att_align_nominal(offset, att->attalign);
		if (i < at)
			offset += att->attlen;
	}
	return offset;
}

Numbers *
numbers_create(int room)
{
	Numbers    *numbers = palloc0(sizeof(Numbers));
	int			n = Max(room, 1);

	numbers->value = palloc0(sizeof(double) * n);
	numbers->column = palloc0(sizeof(Column *) * n);
	numbers->at = palloc0(sizeof(int) * n);
	numbers->offset = palloc0(sizeof(int) * n);
	numbers->runs = palloc0(sizeof(NumberRun) * n);
	numbers->mean = palloc0(sizeof(double) * n);
	numbers->rate = palloc0(sizeof(double) * n);
	numbers->x = palloc0(sizeof(int) * n);
	numbers->indicator = palloc0(sizeof(int) * n);
	numbers->encoded = palloc0(sizeof(float) * n);
	numbers->fixed = numbers->adjacent = true;
	numbers->last = -1;
	return numbers;
}

bool
numbers_add(Numbers *numbers, TupleDesc desc, const Column *column, const Encoder *encoder)
{
	int			i = numbers->n;
	NumberRun  *run = &numbers->runs[numbers->n_runs - 1];

	switch (column->type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
			break;
		default:
			return false;
	}
	if (numbers->n_runs == 0 || run->type != column->type)
	{
		run = &numbers->runs[numbers->n_runs++];
		run->type = column->type;
		run->first = i;
	}
	run->n++;
	numbers->bytes += is_narrow(run->type) ? sizeof(float) : sizeof(double);
	numbers->column[i] = column;
	numbers->at[i] = column->at;
	numbers->offset[i] = column_offset(desc, column->at);
	numbers->fixed &= numbers->offset[i] >= 0;
	run->adjacent = run->n == 1 ||
		(run->adjacent && numbers->offset[i] == numbers->offset[i - 1] + TupleDescAttr(desc, column->at)->attlen);
	numbers->last = Max(numbers->last, column->at);
	numbers->n++;
	numbers_set_encoder(numbers, i, encoder);
	return true;
}

void
numbers_set_encoder(Numbers *numbers, int i, const Encoder *encoder)
{
	bool		standardised = encoder != NULL && encoder->kind == ENCODER_NUMBER;

	numbers->mean[i] = standardised ? encoder->mean : 0;
	numbers->rate[i] = standardised ? encode_rate(encoder) : 1;
	numbers->x[i] = encoder == NULL ? -1 : encoder->x;
	if (i == 0)
		numbers->adjacent = true;
	if (encoder == NULL || (i > 0 && encoder->x != numbers->x[i - 1] + 1))
		numbers->adjacent = false;
	if (encoder != NULL && encoder->indicator)
		numbers->indicator[numbers->n_indicators++] = i;
}

/* ---- reading ---- */

/* Is one of the values infinite?  In integers, which a loop of vectors can compare. */
static WIDE_LOOP bool
any_infinite(int n, const double *value)
{
	int64		found = 0;

	for (int i = 0; i < n; i++)
	{
		int64		bits;

		memcpy(&bits, &value[i], sizeof(bits));
		found |= (bits & PG_INT64_MAX) == (int64) FLOAT8_INFINITY ? 1 : 0;
	}
	return found != 0;
}

static void
check_finite(const Numbers *numbers)
{
	if (likely(!any_infinite(numbers->n, numbers->value)))
		return;
	for (int i = 0; i < numbers->n; i++)
		if (isinf(numbers->value[i]))
			column_infinite(numbers->column[i]);
}

#define READ_RUN(expression) \
	for (int i = run->first; i < run->first + run->n; i++) \
		numbers->value[i] = expression

void
numbers_read(Numbers *numbers, const Datum *values, const bool *nulls)
{
#define READ_DATUMS(get) READ_RUN(nulls[numbers->at[i]] ? NAN : (double) get(values[numbers->at[i]]))
	for (int r = 0; r < numbers->n_runs; r++)
	{
		const NumberRun *run = &numbers->runs[r];

		switch (run->type)
		{
			case INT2OID:
				READ_DATUMS(DatumGetInt16);
				break;
			case INT4OID:
				READ_DATUMS(DatumGetInt32);
				break;
			case INT8OID:
				READ_DATUMS(DatumGetInt64);
				break;
			case FLOAT4OID:
				READ_DATUMS(DatumGetFloat4);
				break;
			case FLOAT8OID:
				READ_DATUMS(DatumGetFloat8);
				break;
		}
	}
	check_finite(numbers);
}

/* A row that has no NULLs, where all columns are at fixed places. */
static void
numbers_read_row(Numbers *numbers, HeapTupleHeader row)
{
	/* aligned as the columns' types are */
	const char *data = (const char *) row + row->t_hoff;

#define READ_PLACES(type) \
	do { \
		const type *from = (const type *) (data + numbers->offset[run->first]) - run->first; \
		if (run->adjacent) \
			READ_RUN((double) from[i]); \
		else \
			READ_RUN((double) *(const type *) (data + numbers->offset[i])); \
	} while (0)
	for (int r = 0; r < numbers->n_runs; r++)
	{
		const NumberRun *run = &numbers->runs[r];

		switch (run->type)
		{
			case INT2OID:
				READ_PLACES(int16);
				break;
			case INT4OID:
				READ_PLACES(int32);
				break;
			case INT8OID:
				READ_PLACES(int64);
				break;
			case FLOAT4OID:
				READ_PLACES(float4);
				break;
			case FLOAT8OID:
				READ_PLACES(float8);
				break;
		}
	}
	check_finite(numbers);
}

/* ---- as bytes ---- */

/* Bytes are unaligned; + 0.0 leaves no negative zero, so that equal rows have equal bytes. */
void
numbers_write(const Numbers *numbers, char *to)
{
	for (int r = 0; r < numbers->n_runs; r++)
	{
		const NumberRun *run = &numbers->runs[r];
		const double *value = numbers->value + run->first;

		for (int i = 0; i < run->n; i++)
		{
			float		narrow = (float) value[i] + 0.0f;
			double		wide = value[i] + 0.0;

			if (is_narrow(run->type))
				memcpy(to + i * sizeof(float), &narrow, sizeof(float));
			else
				memcpy(to + i * sizeof(double), &wide, sizeof(double));
		}
		to += run_bytes(run);
	}
}

/* Floats that lie side by side, in one loop; false where one is infinite. */
#define COPY_FLOATS(name, type, bits_type, infinity_bits) \
static WIDE_LOOP bool \
name(int n, const type *restrict from, type *restrict to) \
{ \
	bits_type	found = 0; \
	for (int i = 0; i < n; i++) \
	{ \
		bits_type	bits; \
		memcpy(&bits, &from[i], sizeof(bits)); \
		found |= (bits & ~((bits_type) 1 << (8 * sizeof(bits) - 1))) == (infinity_bits) ? 1 : 0; \
		to[i] = from[i] + 0; \
	} \
	return found == 0; \
}

COPY_FLOATS(copy_float4, float4, uint32, FLOAT4_INFINITY)
COPY_FLOATS(copy_float8, float8, uint64, FLOAT8_INFINITY)

void
numbers_write_row(Numbers *numbers, HeapTupleHeader row, char *to)
{
	const char *data = (const char *) row + row->t_hoff;
	char	   *at = to;
	bool		done = true;

	for (int r = 0; r < numbers->n_runs && done; r++)
	{
		const NumberRun *run = &numbers->runs[r];
		const char *from = data + numbers->offset[run->first];
		void	   *copy = numbers->value;	/* aligned, which the bytes are not */

		done = run->adjacent &&
			((run->type == FLOAT4OID && copy_float4(run->n, (const float4 *) from, (float4 *) copy)) ||
			 (run->type == FLOAT8OID && copy_float8(run->n, (const float8 *) from, (float8 *) copy)));
		memcpy(at, copy, run_bytes(run));
		at += run_bytes(run);
	}
	if (done)
		return;
	numbers_read_row(numbers, row);
	numbers_write(numbers, to);
}

static WIDE_LOOP void
widen(int n, const char *restrict from, double *restrict to)
{
	for (int i = 0; i < n; i++)
	{
		float		narrow;

		memcpy(&narrow, from + i * sizeof(float), sizeof(float));
		to[i] = narrow;
	}
}

void
numbers_take(Numbers *numbers, const char *from)
{
	for (int r = 0; r < numbers->n_runs; r++)
	{
		const NumberRun *run = &numbers->runs[r];
		double	   *value = numbers->value + run->first;

		if (!is_narrow(run->type))
			memcpy(value, from, run_bytes(run));
		else
			widen(run->n, from, value);
		from += run_bytes(run);
	}
}

/* ---- moments ---- */

/* The Makefile keeps multiplying and adding apart, so that its bits are the same everywhere. */
static WIDE_LOOP void
add_moments(int count, const double *value, double *restrict n, double *restrict mean, double *restrict m2)
{
	for (int i = 0; i < count; i++)
	{
		bool		known = value[i] == value[i];
		double		one = known ? 1 : 0;
		double		distance = known ? value[i] - mean[i] : 0;
		double		seen = n[i] + one;
		double		share = distance / (seen > 0 ? seen : 1);
		double		next = mean[i] + share;

		n[i] = seen;
		mean[i] = next;
		m2[i] += distance * (known ? value[i] - next : 0);
	}
}

void
numbers_add_moments(const Numbers *numbers, NumberMoments *moments)
{
	add_moments(numbers->n, numbers->value, moments->n, moments->mean, moments->m2);
}

/* ---- encoding ---- */

/*
 * What encode_number makes of a number, 0 where it is missing: without
 * branches, so that a loop of it is one of vectors.
 */
static pg_attribute_always_inline float
standardised(double value, double mean, double rate)
{
	float		v = (float) ((value - mean) * rate);

	/* as encode_clamp before rounding; NaN compares false, and no negative zero is left */
	v = v > (float) ENCODED_LIMIT ? (float) ENCODED_LIMIT : v;
	v = v < (float) -ENCODED_LIMIT ? (float) -ENCODED_LIMIT : v;
	v = v == v ? v : 0;
	return v + 0.0f;
}

WIDE_LOOP void
numbers_standardise(int n, const double *value, const double *mean, const double *rate, float *to)
{
	_Pragma("GCC ivdep")
	for (int i = 0; i < n; i++)
		to[i] = standardised(value[i], mean[i], rate[i]);
}

void
numbers_encode(Numbers *numbers, float *x)
{
	float	   *to = numbers->adjacent && numbers->n > 0 ? x + numbers->x[0] : numbers->encoded;

	numbers_standardise(numbers->n, numbers->value, numbers->mean, numbers->rate, to);
	if (!numbers->adjacent)
		for (int i = 0; i < numbers->n; i++)
			if (numbers->x[i] >= 0)
				x[numbers->x[i]] = to[i];
	for (int i = 0; i < numbers->n_indicators; i++)
	{
		int			which = numbers->indicator[i];

		x[numbers->x[which] + 1] = isnan(numbers->value[which]) ? 1.0f : 0.0f;
	}
}

/*
 * Floats that lie side by side, from the row to x in one loop; false where one
 * is infinite.
 */
#define ENCODE_FLOATS(name, type, bits_type, infinity_bits) \
static WIDE_LOOP bool \
name(int n, const type *value, const double *mean, const double *rate, float *to) \
{ \
	bits_type	found = 0; \
	_Pragma("GCC ivdep") \
	for (int i = 0; i < n; i++) \
	{ \
		bits_type	bits; \
		memcpy(&bits, &value[i], sizeof(bits)); \
		found |= (bits & ~((bits_type) 1 << (8 * sizeof(bits) - 1))) == (infinity_bits) ? 1 : 0; \
		to[i] = standardised(value[i], mean[i], rate[i]); \
	} \
	return found == 0; \
}

ENCODE_FLOATS(encode_float4, float4, uint32, FLOAT4_INFINITY)
ENCODE_FLOATS(encode_float8, float8, uint64, FLOAT8_INFINITY)

void
numbers_encode_row(Numbers *numbers, HeapTupleHeader row, float *x)
{
	bool		done = numbers->adjacent && numbers->n_indicators == 0;
	const char *data = (const char *) row + row->t_hoff;

	for (int r = 0; r < numbers->n_runs && done; r++)
	{
		const NumberRun *run = &numbers->runs[r];
		const char *from = data + numbers->offset[run->first];
		const double *mean = numbers->mean + run->first;
		const double *rate = numbers->rate + run->first;
		float	   *to = x + numbers->x[run->first];

		done = run->adjacent &&
			((run->type == FLOAT4OID && encode_float4(run->n, (const float4 *) from, mean, rate, to)) ||
			 (run->type == FLOAT8OID && encode_float8(run->n, (const float8 *) from, mean, rate, to)));
	}
	if (done)
		return;
	numbers_read_row(numbers, row);
	numbers_encode(numbers, x);
}
