/*
 * decode.h
 *	  From numbers back to rows.
 */
#ifndef DATA_DECODE_H
#define DATA_DECODE_H

#include "data/encoding.h"

/*
 * An encoded row as a JSON object by column: numbers on their scale, rounded
 * where they were integers; times in ISO 8601; categories and classes by label;
 * null where missing.  there tells which features it has (NULL: all); vectors
 * and images are never shown.
 */
extern Jsonb *encoding_decode(const Encoding *encoding, const bool *there, const real *x, const int32 *c, const real *y);

/*
 * What is to be added to a log likelihood on the encoded scale for it to be
 * one on the columns' own, of a row with these features and a target.
 */
extern double encoding_log_scale(const Encoding *encoding, const bool *there, const real *x);

#endif							/* DATA_DECODE_H */
