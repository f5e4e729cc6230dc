/*
 * numbers.h
 *	  The numeric columns of a row, all at once.
 *
 * Most columns of most sources are numbers of a few types.  One after the
 * other, each through its own switches, they cost more than a network does
 * with them; in loops over all columns of a type they cost next to nothing.
 */
#ifndef DATA_NUMBERS_H
#define DATA_NUMBERS_H

#include "postgres.h"

#include "access/htup_details.h"

#include "data/column.h"
#include "data/encoding.h"

/* Neighbours of one type. */
typedef struct NumberRun
{
	Oid			type;
	int			first;
	int			n;
	bool		adjacent;		/* nothing lies between them */
} NumberRun;

typedef struct Numbers
{
	int			n;
	double	   *value;			/* of the row that was read last; NaN: missing */
	const Column **column;
	int		   *at;				/* of the column in a row */
	int		   *offset;			/* of a row without NULLs, from its first byte */
	bool		fixed;			/* all have one */
	int			last;			/* column */
	int			n_runs;
	NumberRun  *runs;
	Size		bytes;			/* that numbers_write writes */

	/* where they are to be encoded */
	double	   *mean;
	double	   *rate;			/* see encode_rate */
	int		   *x;				/* -1: nowhere */
	bool		adjacent;		/* x counts up */
	int			n_indicators;
	int		   *indicator;		/* numbers that have one, at x + 1 */
	float	   *encoded;
} Numbers;

/*
 * Where a column lies in a row without NULLs, from its first byte, if that is
 * the same in all such rows; else -1.
 */
extern int	column_offset(TupleDesc desc, int at);

extern Numbers *numbers_create(int room);

/*
 * Adds a column, whose Column stays in place; false if it is not of a type
 * that is read here.  encoder: of kind number or raw, or NULL where the values
 * alone are wanted.
 */
extern bool numbers_add(Numbers *numbers, TupleDesc desc, const Column *column, const Encoder *encoder);

/* Reads a deformed row.  Infinity is an error. */
extern void numbers_read(Numbers *numbers, const Datum *values, const bool *nulls);

/*
 * What was read as bytes, those of narrow types as floats, which hold them
 * exactly; and back.
 */
extern void numbers_write(const Numbers *numbers, char *to);
extern void numbers_take(Numbers *numbers, const char *from);

/*
 * Reads and writes a row that has no NULLs, where all columns are at fixed
 * places.  What was read is not there afterwards.
 */
extern void numbers_write_row(Numbers *numbers, HeapTupleHeader row, char *to);

/* Moments of the columns, by Welford's method; zero at the start. */
typedef struct NumberMoments
{
	double	   *n;				/* values that are not missing */
	double	   *mean;
	double	   *m2;				/* sum of squared distances from the mean */
} NumberMoments;

/* Takes what was read into account. */
extern void numbers_add_moments(const Numbers *numbers, NumberMoments *moments);

/* How the values of the columns, where that is known only now, are to be encoded, one after the other; NULL: not at all. */
extern void numbers_set_encoder(Numbers *numbers, int i, const Encoder *encoder);

/* Encodes what was read. */
extern void numbers_encode(Numbers *numbers, float *x);

/* Reads and encodes a row of the kind that numbers_write_row takes; likewise. */
extern void numbers_encode_row(Numbers *numbers, HeapTupleHeader row, float *x);

/*
 * to = (value - mean) rate within bounds, 0 where a value is missing:
 * what encode_number does to one.
 */
extern void numbers_standardise(int n, const double *value, const double *mean, const double *rate, float *to);

#endif							/* DATA_NUMBERS_H */
