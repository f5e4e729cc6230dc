/*
 * train.h
 *	  A training from packed tasks to a model.
 */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

#include "train/gls.h"
#include "train/phase.h"

/* Learners that a training may choose among, and its phases with the pooled ones. */
#define MAX_CANDIDATES 3
#define MAX_PHASES (3 + MAX_CANDIDATES)

/* A learner that may turn out to be the one, with its own options. */
typedef struct Candidate
{
	const Learner *learner;
	Options		options;
} Candidate;

typedef struct Training
{
	/* given */
	const Learner *learner;
	Options		options;
	TaskSet    *set;

	/* worked out */
	LossKind	loss;
	Network		net;
	Validation	validation;
	int			n_phases;
	Phase		phases[MAX_PHASES];
	int			phase;			/* the one at work */
	int			first_candidate;	/* phases from here on are those of the
									 * learners; n_phases: there are none */
	int			main_phase;		/* whose result is the learner's, or the best of
								 * those that were blended, or what the learner
								 * is fitted on */
	char	   *choice;			/* what was chosen among the candidates and why:
								 * JSON; NULL: there was nothing to choose */
	const char *choice_line;	/* the same, for a reader */
	double		final_loss;		/* validation loss of what was stored, where that
								 * is not the main phase's result; else NaN */

	/* fitted once the pooled phases have ended, by whoever needs it first */
	VarianceComponents *cross_fitted;
	Component  *intercept;		/* random_intercept */
	bool		left_out;		/* the rows' offsets are set */
} Training;

/* As PhaseTick, for the training as a whole. */
typedef bool (*TrainingTick) (void *context, const Training *training, const Phase *phase, bool validated);

/* What a training descends: by the option loss, or else by the target. */
extern LossKind training_loss(const Options *options, const Encoding *encoding);

/*
 * Prepares a training in the current memory context.  A blend
 * (LEARNER_BLEND) chooses among the candidates, which may be none; other
 * learners have none.
 */
extern Training *training_create(const Learner *learner, const Options *options, TaskSet *set,
								 const Candidate *candidates, int n_candidates);

/*
 * Runs the phases that are left; false when the tick stopped it or the phase
 * at work diverged.
 */
extern bool training_run(Training *training, TrainingTick tick, void *context);

/*
 * Fits the baselines on what was trained and puts the model together.  After
 * a stop, with the best parameters so far.
 */
extern Model *training_finish(Training *training);

/* What a phase ended with. */
extern void component_from_phase(Component *component, const Phase *phase);

#endif							/* TRAIN_TRAIN_H */
