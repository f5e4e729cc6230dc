/*
 * train.h
 *	  A training from packed tasks to a model.
 */
#ifndef TRAIN_TRAIN_H
#define TRAIN_TRAIN_H

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

typedef struct VarianceComponents
{
	double		task;			/* tau^2: between tasks */
	double		noise;			/* sigma^2: within */
} VarianceComponents;

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

/* The state of a training as bytes, and back into one just created. */
extern bytea *checkpoint_encode(const Training *training);

/*
 * Takes over a checkpoint's state.  A task set that is not the one it was
 * made on is an error (ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE).
 */
extern void checkpoint_restore(Training *training, const bytea *state);

/* The encoding a checkpoint holds, for reading the source again. */
extern Encoding *checkpoint_encoding(const bytea *state);

/* ---- baselines.c ---- */

/*
 * Variance components of what the pooled network leaves of a numeric target,
 * by its cross-fitted copies; usual values where there are none, and for
 * classes.
 */
extern VarianceComponents pooled_components(Training *training);

/*
 * For a binary target: where random_intercept's linear form validates better
 * than its network whatever the number of rows, as it does where items
 * repeat, it becomes the linear path of a phase that has not begun, whose
 * layers are silenced.  The categories' effects stay: the phase learns what
 * they leave, each training task with the effects as they are without it.
 * False, and nothing done, otherwise.
 */
extern bool start_linear(Training *training, Phase *phase, VarianceComponents *components);

/*
 * Fits a learner that is not trained by an outer loop of its own, from the
 * pooled phase: *component is complete afterwards.
 */
extern void baseline_fit(Training *training, const Learner *learner, Component *component);

/*
 * Raises that memory would not suffice for the baseline that takes the most
 * inner steps.  To be told that after the phases would be late.
 */
extern void baselines_check(const Training *training);

/* ---- calibrate.c ---- */

/*
 * Fits the calibration of every component on the validation tasks; where there
 * are none, they stay as they are.
 */
extern void calibrate(const Training *training, Model *model);

/* ---- race.c ---- */

/* The phase that is next, and the iteration it runs to; NULL: all have ended. */
extern Phase *race_next(Training *training, int *until);

/* ---- blend_fit.c ---- */

/*
 * The component that validation tasks choose of what the candidates' phases
 * ended with and of random_intercept: a blend, or one of them.  Notes the
 * choice in the training.
 */
extern void blend_fit(Training *training, Component *component);

/* ---- train.c ---- */

/* What a phase ended with. */
extern void component_from_phase(Component *component, const Phase *phase);

/* ---- gls.c ---- */

/*
 * Sums over tasks, for the method of moments.  A row counts as its weight,
 * whose mean is 1.
 */
typedef struct ResidualSums
{
	double		rows;			/* sum of n, the rows of a task */
	double		tasks;
	double		squares_of_rows;	/* sum of n^2 */
	double		total;			/* sum of residuals */
	double		total_squares;	/* sum of their squares */
	double		between;		/* sum of (sum in the task)^2 / n */
} ResidualSums;

/* A task: its rows, the sum of their residuals, and of the residuals' squares. */
extern void residuals_add_task(ResidualSums *sums, double rows, double sum, double squares);

/* Both positive, whatever the sums. */
extern VarianceComponents residuals_components(const ResidualSums *sums);

/*
 * The linear model with a random intercept, by generalised least squares for
 * numbers and by penalised quasi-likelihood for a binary target (whose noise
 * is 1), into theta: the tensors "linear.weight", "linear.bias" and
 * "linear.table.<j>".
 */
extern VarianceComponents gls_fit(TaskSet *set, const LearnerSpec *spec, const TensorList *list, real *theta);
extern VarianceComponents logistic_gls_fit(TaskSet *set, const LearnerSpec *spec, const TensorList *list, real *theta);

/* A category's prior precision in the latter, in units of the logit's. */
#define LOGIT_RIDGE_CATEGORY 1.0

/* ---- task_prior.c ---- */

/* Sets how training tasks are spread, where the component's learner models rows, in a copy of theta. */
extern void task_prior_fit(const Training *training, Component *component);

/* ---- leave_out.c ---- */

/* The linear form of a random intercept for a binary target. */
typedef struct LinearIntercept
{
	const real *weight;			/* of the numeric inputs */
	const real **tables;		/* of each category column */
	real		bias;
	real		precision;		/* of the tasks' effects */
} LinearIntercept;

/*
 * Sets the offset of the training tasks' rows to what leaving its task out
 * changes the linear form by.  A task that no fit looked at is left as it is:
 * its rows have contributed nothing.
 */
extern void leave_out(TaskSet *set, const Network *net, const LinearIntercept *model);

#endif							/* TRAIN_TRAIN_H */
