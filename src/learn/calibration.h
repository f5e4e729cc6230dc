/*
 * calibration.h
 *	  Making predictions as sure as they are right.
 *
 * A learner's confidence is off by an amount that depends on how many rows it
 * adapted on.  A calibration corrects it by a few numbers, which are fitted
 * for some numbers of rows (knots) on tasks that the learner was not trained
 * on, and interpolated between them.
 */
#ifndef LEARN_CALIBRATION_H
#define LEARN_CALIBRATION_H

#include "learn/learner.h"

#define CALIBRATION_KNOTS 8

/* What is done to outputs and variances. */
typedef struct Correction
{
	real		slope;			/* positive, of logits; with more classes than
								 * two, 1 / temperature */
	real		offset;			/* of the logit of a binary target */
	real		variance;		/* positive; a factor */
} Correction;

typedef struct Calibration
{
	int			n;				/* knots; 0: nothing is corrected */
	real		rows[CALIBRATION_KNOTS];	/* adapted on; ascending, from 0 */
	Correction	at[CALIBRATION_KNOTS];
} Calibration;

/* The correction after so many rows: linear in log(1 + rows) between knots, constant beyond. */
extern Correction calibration_at(const Calibration *calibration, double rows);

/* Corrects n outputs / variances in place. */
extern void correct_outputs(const Correction *correction, LossKind loss, real *outputs, size_t n);
extern void correct_variances(const Correction *correction, real *variances, size_t n);

/*
 * Rows of several tasks, predicted after the same number of rows.  Those of
 * weight 0 do not count.
 */
typedef struct CalibrationRows
{
	size_t		n;
	int			tasks;
	int			width;			/* outputs of a row */
	const real *outputs;		/* (n, width) */
	const real *y;				/* (n, width) */
	const real *w;				/* (n) */
	const real *variances;		/* (n), or NULL: no predictive distribution */
} CalibrationRows;

/*
 * The correction with the largest likelihood of the rows and of a few tasks
 * more that want none: where there are few tasks, it does little.
 */
extern Correction calibration_fit(LossKind loss, const CalibrationRows *rows);

/*
 * Evens out what was fitted at each knot by itself: what they differ in is
 * for the most part which tasks they happened to be fitted on.
 */
extern void calibration_smooth(Calibration *calibration);

#endif							/* LEARN_CALIBRATION_H */
