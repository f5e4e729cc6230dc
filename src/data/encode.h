/*
 * encode.h
 *	  One value through its encoder.  Fitting and applying share these lines,
 *	  so that a resumed training packs the very bytes of the first one.
 */
#ifndef DATA_ENCODE_H
#define DATA_ENCODE_H

#include <float.h>

#include "data/column.h"
#include "data/encoding.h"

/* Wide enough for anything sensible, and its square is still a float. */
#define ENCODED_LIMIT 1e18

static inline float
encode_clamp(double value)
{
	if (unlikely(value > ENCODED_LIMIT))
		return (float) ENCODED_LIMIT;
	if (unlikely(value < -ENCODED_LIMIT))
		return (float) -ENCODED_LIMIT;
	/* no negative zero: rows that are equal have equal bytes */
	return (float) value + 0.0f;
}

/*
 * What a number's distance from the mean is multiplied with.  (To divide each
 * by the deviation would take longer than all else that is done to it.)
 */
static inline double
encode_rate(const Encoder *encoder)
{
	return Min(1 / encoder->deviation, DBL_MAX);
}

/*
 * Can an encoder take the values of a column?  And words for where it cannot:
 * what it takes ("a number"), and a type to cast the column to.
 */
extern bool encoder_takes(EncoderKind kind, const Column *column);
extern const char *encoder_noun(EncoderKind kind);
extern const char *encoder_cast(EncoderKind kind);

/* What numbers of a column are, so that they can be shown as such; boolean: of kind boolean. */
extern ValueType value_type(const Column *column, bool boolean);

/*
 * Are a column's numbers of the measure that a model was trained with (a
 * number, a moment, a time of day, a duration)?  Plain numbers are taken for
 * any, in seconds (of moments since 1970).  And a word for where they are not.
 */
extern bool value_fits(ValueType type, const Column *column);
extern const char *value_noun(ValueType type);

/* Errors of single values that an encoder cannot take. */
extern void encode_not_boolean(const char *column, double value);
extern void encode_wrong_length(const Encoder *encoder, int length);

static inline void
encode_check_boolean(const char *column, double value)
{
	if (unlikely(!isnan(value) && value != 0 && value != 1))
		encode_not_boolean(column, value);
}

/* Kinds number, boolean and raw; NaN is missing. */
static inline void
encode_number(const Encoder *encoder, double value, float *x)
{
	bool		missing = isnan(value);

	if (encoder->kind == ENCODER_NUMBER)
		x[0] = missing ? 0.0f : encode_clamp((value - encoder->mean) * encode_rate(encoder));
	else if (encoder->kind == ENCODER_RAW)
		x[0] = missing ? 0.0f : encode_clamp(value);
	else
	{
		encode_check_boolean(encoder->column, value);
		x[0] = (float) (missing ? encoder->mean : value);
	}
	if (encoder->indicator)
		x[1] = missing ? 1.0f : 0.0f;
}

/* Codes count from 1; 0 is what is not known. */
static inline void
encode_code(const Encoder *encoder, int32 code, float *x, int32 *c)
{
	if (encoder_is_table(encoder))
		c[encoder->c] = code;
	else
		for (int i = 0; i < encoder->width; i++)
			x[encoder->x + i] = (i + 1 == code) ? 1.0f : 0.0f;
}

/* A vector's floats, which may be unaligned; NULL is missing. */
static inline void
encode_floats(const Encoder *encoder, const void *values, int length, float *x)
{
	int			n = encoder_values(encoder);

	if (values == NULL)
		memset(x, 0, sizeof(float) * n);
	else if (unlikely(length != n))
		encode_wrong_length(encoder, length);
	else
		memcpy(x, values, sizeof(float) * n);
	if (encoder->indicator)
		x[n] = values == NULL ? 1.0f : 0.0f;
}

/* An image's bytes; NULL is missing. */
static inline void
encode_pixels(const Encoder *encoder, const unsigned char *pixels, int length, float *x)
{
	int			n = encoder_values(encoder);

	if (pixels == NULL)
		memset(x, 0, sizeof(float) * n);
	else if (unlikely(length != n))
		encode_wrong_length(encoder, length);
	else
		for (int i = 0; i < n; i++)
			x[i] = (float) pixels[i] / 255.0f;
	if (encoder->indicator)
		x[n] = pixels == NULL ? 1.0f : 0.0f;
}

static inline float
encode_target_number(const Encoding *encoding, double value)
{
	return encode_clamp((value - encoding->target_mean) / encoding->target_deviation);
}

static inline float
encode_weight(const Encoding *encoding, double weight)
{
	return encode_clamp(weight / encoding->weight_mean);
}

/* A row weight; NaN and 0 leave the row out, a negative one is an error. */
extern double check_weight(const Column *column, double weight);

#endif							/* DATA_ENCODE_H */
