/*
 * outer.h
 *	  The outer step: from a meta-batch's gradient to the next parameters and
 *	  their running average, without walking what the meta-batch did not see.
 *
 * A table of 100,000 categories has a gradient in the rows of a few hundred of
 * them.  Yet Adam moves every row in every step, by its momentum and its weight
 * decay, and the running average follows.  What a row goes through while it is
 * not seen is known in advance, though, but for its own numbers: so a row is
 * left alone until a meta-batch sees it again, and then brought up to date in
 * one go, as regularisation is in lazy stochastic gradient descent (B.
 * Carpenter, "Lazy sparse stochastic gradient descent for regularized
 * multinomial logistic regression", 2008).
 *
 * With gradient 0, a step takes m to b1 m, v to b2 v, and, with u = m / (1 -
 * b1^t) / (sqrt(v / (1 - b2^t)) + eps), rate r, decay d and the average's
 * weight of the past k,
 *
 *	  theta <- (1 - r d) theta - r u,  average <- k average + (1 - k) theta
 *
 * u itself shrinks by a factor that is the same for all numbers, if eps
 * shrinks as sqrt(v) does; it is 1e-8 beside the size of a gradient, so that this
 * is all in which a row differs from one that was moved step by step, besides
 * rounding.  Steps are then linear in (theta, average, u), and many of them are
 * one matrix: see outer.c.  This is not what is called sparse or lazy Adam
 * elsewhere (torch.optim.SparseAdam), which leaves the steps between out.  A row
 * that is seen in every step goes through AdamW as dense tensors do.
 */
#ifndef NN_OUTER_H
#define NN_OUTER_H

#include "nn/adam.h"
#include "nn/rows.h"

/* What a step (counted from 1) goes by. */
typedef struct StepRates
{
	double		rate;
	double		weight_decay;
	double		keep;			/* weight of the past in the running average */
} StepRates;

typedef StepRates (*StepRatesOf) (const void *context, int64_t step);

/* All rows are brought up to date after as many steps at the latest. */
#define OUTER_SETTLES 128

/* A column of codes with tables that are by rows. */
typedef struct OuterColumn
{
	int			column;
	int			size;			/* of its tables */
	int			n_tables;
	const Tensor **tables;		/* that are learned */
	int32_t    *at;				/* (size): the step that a row has got to */
	int			n_seen;
	int32_t    *seen;			/* rows of the meta-batch at work */
} OuterColumn;

typedef struct Outer
{
	const TensorList *list;
	real	   *theta;
	real	   *average;
	const Adam *adam;
	real	   *gradient;		/* list->size numbers: the meta-batch's, to be
								 * added up by the caller */
	bool		plain;			/* descent without Adam and weight decay */
	double		clip;			/* 0: never */
	StepRatesOf rates;
	const void *context;
	int			n_columns;
	OuterColumn *columns;
	struct OuterMotion *motion;
	struct OuterTerms *terms;
	int64_t		now;			/* the steps that motion leads to */
	int64_t		known;			/* terms are there up to this step */
} Outer;

/* How many numbers at has: a row's step, for all rows of all such columns. */
extern size_t outer_rows(const TensorList *list);

/*
 * For vectors of list->size numbers; at as outer_rows says, 0 at the start.
 * NULL where the arena is full.
 */
extern Outer *outer_create(Arena *arena, const TensorList *list, real *theta, real *average, const Adam *adam,
						   int32_t *at, bool plain, double clip, StepRatesOf rates, const void *context);

/* Begins a meta-iteration after so many steps: the gradient is 0. */
extern void outer_begin(Outer *outer, int64_t steps);

/*
 * Tells that the meta-batch has these rows: of theta, all that their codes
 * look up is as those steps left it.
 */
extern void outer_see(Outer *outer, const Rows *rows);

/*
 * The step, with a share of the gradient that was added up.  Returns the
 * share's norm before it was clipped; where that is not finite, nothing else is
 * done.
 */
extern double outer_step(Outer *outer, real share);

/* Brings all rows up to date, after so many steps. */
extern void outer_settle(Outer *outer, int64_t steps);

#endif							/* NN_OUTER_H */
