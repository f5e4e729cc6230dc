/*
 * meta_step.h
 *	  The outer gradient of a slice of a meta-batch.
 *
 * A meta-batch is cut into slices of a fixed number of tasks, whatever
 * computes them, so that sums are always added in the same order.  Tapes are
 * built once per number of support rows, from a short list.
 *
 * Of a large table of categories (Tensor.by_rows) a tape has the rows alone
 * that a slice looks up: they are copied to a small table, whose rows the codes
 * are made to number.  So neither the tape nor a slice's gradient knows how
 * large the table is.
 */
#ifndef LEARN_META_STEP_H
#define LEARN_META_STEP_H

#include "learn/learner.h"

/* Tasks per slice: their arena should fit a processor's second-level cache. */
#define META_SLICE 4
#define META_MAX_SIZES 4

typedef struct MetaTape
{
	int			support_rows;
	Tape		tape;
	RowVars		support;
	RowVars		query;
	Var			progress;		/* (1, 1, 1) */
	Var			losses;			/* (tasks, 1, 1) */
	Var		   *gradients;		/* one per tensor */
} MetaTape;

/* The rows of a column's large tables that a slice looks up. */
typedef struct SliceTable
{
	int			column;
	int			size;			/* rows of the tables */
	int			max;			/* that a slice can have */
	int			n;				/* that it has */
	int32_t    *rows;			/* (max): the first is row 0, "unknown" */
	int32_t    *place;			/* (size): where a row is among them, if it is
								 * there: rows[place[row]] is row then */
} SliceTable;

/* A slice's gradient in a place of its own; see meta_step_store. */
typedef struct SliceGradient
{
	real	   *numbers;		/* step->small.size */
	int32_t    *rows;			/* step->n_rows: of each SliceTable n, then rows */
} SliceGradient;

typedef struct MetaStep
{
	const Learner *learner;
	const LearnerSpec *spec;
	const TensorList *list;
	int			slice;			/* tasks of a tape: META_SLICE, or the meta-batch
								 * where that is smaller */
	int			noise_rows;		/* of the learner's noise; 0: it wants none */
	int			noise_cols;
	real	   *noise;			/* (slice, noise_rows, noise_cols) */
	const real *theta;
	TensorList	small;			/* the tensors as a tape has them */
	real	   *small_tables;	/* laid out as small, of which tables by rows are used */
	int			n_tables;
	SliceTable *tables;
	int			n_rows;
	const real **gradients;		/* the last run's, a pointer per tensor */
	int			n_sizes;
	MetaTape	sizes[META_MAX_SIZES];
	const char *fault;
} MetaStep;

/*
 * Builds the tapes for up to shots support and query query rows, reading the
 * meta-parameters from theta, which must stay in place.  lowest is the fewest
 * support rows that will be asked for.  step->fault says what went wrong.
 */
extern void meta_step_init(MetaStep *step, Arena *arena, const Learner *learner, const LearnerSpec *spec,
						   const TensorList *list, const real *theta, int lowest, int shots, int query,
						   void (*interrupt) (void));

/*
 * Draws the noise of the next run's tasks, which are those from place on of a
 * meta-iteration.  Undrawn it is 0.
 */
extern void meta_step_draw(MetaStep *step, int iteration, int place);

/*
 * Adds the gradient, summed over the slice's tasks, to gradient (list->size
 * numbers; NULL: to be stored) and returns the sum of their losses.  support
 * and query hold at most META_SLICE tasks; support->rows is what the task with
 * most rows has.  progress is the share of the iterations that are done, 0 to 1.
 */
extern double meta_step_run(MetaStep *step, const Rows *support, const Rows *query, double progress,
							real *gradient);

/* Keeps the last run's gradient, to be added later, by another process maybe. */
extern void meta_step_store(const MetaStep *step, SliceGradient *slice);
extern void meta_step_add_stored(const MetaStep *step, const SliceGradient *slice, real *gradient);

#endif							/* LEARN_META_STEP_H */
