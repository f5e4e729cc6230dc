/*
 * vars.h
 *	  Compositions of a tape's operations that several learners use.
 */
#ifndef LEARN_VARS_H
#define LEARN_VARS_H

#include "nn/tape.h"

/*
 * Positive parameters are stored as logarithms, which cannot leave the range,
 * and a quarter of them: so they learn as fast as they matter.
 */
#define LOG_SCALE 4.0

/* How a positive parameter is stored, and its value from that. */
extern real scale_store(double value);
extern Var	scale_value(Tape *tape, Var stored);

/* exp(factor a) */
extern Var	vars_exponential(Tape *tape, Var a, double factor);

/* a / b elementwise, each repeated to the common shape. */
extern Var	vars_divide(Tape *tape, Var a, Var b);

/* The columns of a, then those of b: rows and tasks repeated where they are 1. */
extern Var	vars_concatenate(Tape *tape, Var a, Var b);

/* Columns [from, from + width) of a. */
extern Var	vars_slice(Tape *tape, Var a, int from, int width);

/*
 * Rows i, i + n, i + 2 n, ... of a, (tasks, rows / n rounded up, cols), with
 * rows of 0 where a has none left; TAPE_NONE stays that.
 */
extern Var	vars_deal_rows(Tape *tape, Var a, int n, int i);

/* Row i of a matrix that is given transposed: (tasks, cols, rows) -> (tasks, 1, cols) */
extern Var	vars_row_of(Tape *tape, Var transposed, int i);

/* most tanh(a / most): a where it is small, and never beyond most. */
extern Var	vars_bounded(Tape *tape, Var a, double most);

/* a where the mask is 1, b where it is 0. */
extern Var	vars_choose(Tape *tape, Var mask, Var a, Var b);

/* The identity matrix: (1, n, n) */
extern Var	vars_identity(Tape *tape, int n);

/* Sum over the rows: (tasks, rows, cols) -> (tasks, 1, cols) */
extern Var	vars_sum_rows(Tape *tape, Var a);

/* 1 where a is positive, else 0 */
extern Var	vars_positive(Tape *tape, Var a);

/* Rows that count: those with a positive weight, (tasks, rows, 1) -> (tasks, 1, 1) */
extern Var	vars_count_rows(Tape *tape, Var w);

/* p (1 - p) */
extern Var	vars_bernoulli_variance(Tape *tape, Var p);

/*
 * pi / 8: the probability of a logit that is normal with a mean and a variance
 * is about that of mean / sqrt(1 + pi / 8 variance).  (D. J. C. MacKay, "The
 * evidence framework applied to classification networks", 1992.)
 */
#define PI_EIGHTH 0.39269908169872414

/* That logit. */
extern Var	vars_average_logit(Tape *tape, Var mean, Var variance);

/* 2 tanh(step / 2): a Newton step, bent so that one from far away cannot overshoot. */
extern Var	vars_bend(Tape *tape, Var step);

#endif							/* LEARN_VARS_H */
