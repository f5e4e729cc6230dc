/*
 * score.h
 *	  A component's predictions and losses on a panel.
 */
#ifndef TRAIN_SCORE_H
#define TRAIN_SCORE_H

#include "compat.h"
#include "data/panel.h"
#include "learn/apply.h"
#include "learn/calibration.h"
#include "learn/generate.h"
#include "nn/metrics.h"
#include "store/params.h"
#include "train/memory.h"

/* Raises that an arena is full, in the words of whoever scores; does not return. */
typedef void (*OutOfMemory) (void);

/* What scoring works with: memory for rows, and the component's applier. */
typedef struct Scorer
{
	OutOfMemory out_of_memory;
	const Panel *panel;
	const Learner *learner;
	const LearnerSpec *spec;
	Applier    *applier;
	Generator  *generator;		/* NULL: whole rows are not looked at */
	Rows		support;
	Rows		query;
	real	   *phi;
	const Calibration *calibration; /* NULL: outputs are as they come */
	real	   *outputs;		/* of one task's query */
	real	   *variances;		/* the same; NULL: not wanted, or no predictive
								 * distribution */

	/* for judging a task's query */
	double	   *values;
	double	   *truth;
	double	   *weight;
	double	   *spread;			/* variances on the target's scale */
} Scorer;

/* theta must stay in place; it may change between calls. */
extern Scorer *scorer_create(Arena *arena, OutOfMemory out_of_memory, const Panel *panel, const Learner *learner,
							 const LearnerSpec *spec, const TensorList *list, const real *theta);

/* From now on variances, too, where the learner has them. */
extern void scorer_want_variances(Scorer *scorer);

/* From now on whole rows, too, where the learner models them. */
extern void scorer_want_rows(Scorer *scorer, Arena *arena, const TensorList *list, const real *theta);

/* Takes all memory that judging the panel needs, or raises that there is too little. */
extern void scorer_reserve(Scorer *scorer);

/*
 * Adapts on the first shots rows of a task and predicts its query rows:
 * scorer->outputs (query rows, outputs), beside scorer->query, and
 * scorer->variances where they are wanted.  False where the numbers are not finite.
 */
extern bool scorer_task(Scorer *scorer, const PanelTask *task, int shots);

/*
 * What a component says of the query rows of a panel's tasks, after so many
 * shots: in the current memory context.
 */
typedef struct PanelOutputs
{
	int			width;			/* outputs of a row */
	int			n_tasks;		/* without those whose numbers are not finite */
	size_t		n_rows;
	real	   *outputs;		/* (rows, width) */
	real	   *y;				/* (rows, width) */
	real	   *w;				/* (rows) */
	real	   *variances;		/* (rows); NULL: not wanted, or none */
	int		   *task;			/* (rows): of the panel */
} PanelOutputs;

extern PanelOutputs panel_outputs(const Panel *panel, const Component *component, int shots, bool variances);

/*
 * The rows that scorer_task has just predicted, on the target's scale; valid
 * until the next call.
 */
extern Judged scorer_judged(Scorer *scorer, const PanelTask *task);

/* Loss of one row on the encoded target, of outputs and y of width numbers, and its derivative. */
extern double row_loss(LossKind loss, const real *outputs, const real *y, int width);
extern void row_loss_slope(LossKind loss, const real *outputs, const real *y, int width, double *slope);

/*
 * Weighted mean loss over the query rows, averaged over the shots; NaN without
 * rows, infinite where adapting diverges.
 */
extern double scorer_loss(Scorer *scorer, const int *shots, int n_shots);

/*
 * The same of minus the log likelihood of whole rows, for one number of shots;
 * 0 where they are not wanted.
 */
extern double scorer_rows_loss(Scorer *scorer, int shots);

/* What metrics call n_classes, of a loss with width outputs. */
extern int	metric_classes(LossKind loss, int width);

/*
 * A metric over the pooled query rows, averaged over the shots; NaN where it
 * is undefined.
 */
extern double scorer_metric(Scorer *scorer, Metric metric, const int *shots, int n_shots);

#endif							/* TRAIN_SCORE_H */
