/*
 * phase.h
 *	  One outer loop: meta-iterations, validation, early stopping.
 *
 * A training is a row of phases: the pooled network, its cross-fitted copies,
 * then the learner that was asked for.  A phase can be stopped after any
 * iteration and gone on with from its state, and then ends with the same
 * numbers.
 */
#ifndef TRAIN_PHASE_H
#define TRAIN_PHASE_H

#include "nn/outer.h"
#include "train/score.h"

typedef struct Phase
{
	/* what it trains */
	const char *name;			/* for reports */
	const Learner *learner;
	LearnerSpec spec;
	TensorList	list;
	int			fold;			/* of data/sampler.h */

	/* its state, all that a checkpoint needs */
	real	   *theta;			/* list.size numbers each */
	real	   *average;		/* of theta over the last iterations: what is
								 * judged and kept */
	real	   *best;			/* the average with the lowest validation loss */
	Adam		adam;
	int32	   *rows_at;		/* outer_rows numbers: see nn/outer.h */
	int			iteration;		/* meta-iterations done */
	int			best_iteration;
	int			strikes;		/* validations since the best */
	double		best_score;		/* what is compared: the loss, or the metric,
								 * negated where more is better */
	double		best_loss;		/* at best_iteration */
	double		train_loss;		/* of the last meta-iteration */
	double		validation_loss;	/* of the last validation */
	double		metric;			/* of the last validation; NaN without the
								 * option metric */
	bool		rows_only;		/* what is predicted stands as in best, and whole
								 * rows are learned on */
	double		rows_score;		/* their loss in best, then */
	bool		done;
	bool		diverged;		/* the last loss is not finite: nothing of it
								 * is to be kept */
} Phase;

/* What a phase is judged on. */
typedef struct Validation
{
	const Panel *panel;			/* NULL: no validation tasks */
	int			n_shots;
	int			shots[8];
} Validation;

/*
 * Called after each meta-iteration, with validated set when the phase has
 * just been validated; returns true to stop here, leaving done unset.
 */
typedef bool (*PhaseTick) (void *context, const Phase *phase, bool validated);

/*
 * How the network's layers are normalised, by the option norm.  Without it:
 * not at all, or in a convolutional network, over the rows at hand where tasks
 * have layers of their own, and by averages where all share them.
 */
extern void choose_norm(const Learner *learner, LearnerSpec *spec);

/* Lays out the tensors and gives them first values; in the current context. */
extern void phase_init(Phase *phase, const char *name, const Learner *learner, const LearnerSpec *spec, int fold);

/*
 * Copies tensors by name from another learner's values: where a phase starts
 * from an earlier one's result.
 */
extern void tensors_copy(const TensorList *to_list, real *to, const TensorList *from_list, const real *from);

/* The categories' effects are no longer the phase's to learn: see Network.given. */
extern void phase_give_effects(Phase *phase);

/*
 * Raises what would keep a phase from running: no task with enough rows, or
 * not enough memory.  To be told that after the phases before it would be late.
 */
extern void phase_check(Phase *phase, TaskSet *set, const Validation *validation);

/* Runs until done, diverged, told to stop, or until iterations are done. */
extern void phase_run(Phase *phase, TaskSet *set, const Validation *validation, int until,
					  PhaseTick tick, void *context);

/* Ends a phase without a result. */
extern void phase_withdraw(Phase *phase);

/* Iterations between two validations. */
extern int	phase_validation_interval(const Options *options);

#endif							/* TRAIN_PHASE_H */
