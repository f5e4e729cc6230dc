/*
 * generate.h
 *	  Learners that model whole rows, at work: what a task is in a few
 *	  numbers, rows that are made up, and how likely rows are.
 *
 * Such a learner takes a task for a draw of latent variables z, and a row of
 * it for a draw of its columns one by one, each given z, the task's rows so
 * far, and the columns before it, and of its target at last.  Columns that are
 * vectors, images, or categories of very many labels are not modelled: they stay
 * unknown.
 */
#ifndef LEARN_GENERATE_H
#define LEARN_GENERATE_H

#include "learn/learner.h"

typedef struct Generative
{
	/* How many numbers z is. */
	int			(*latent) (const LearnerSpec *spec);

	/* Appends what a task's parameters say of z: (tasks, 1, latent) each. */
	void		(*posterior) (Tape *tape, const LearnerSpec *spec, const Var *phi, Var *mean, Var *log_variance);

	/* How many rows (or what weight of them) a task's parameters have seen. */
	double		(*rows) (const LearnerSpec *spec, const TensorList *list, const real *phi);

	/*
	 * Appends draws of z, (tasks, draws, latent), from standard normal noise of
	 * that shape: by the posterior, or of a task without rows as the training
	 * tasks are spread, once that is set.
	 */
	Var			(*draw_task) (Tape *tape, const LearnerSpec *spec, const Var *phi, Var noise);

	/*
	 * Sets, in the values of all tensors, how training tasks are spread: z's
	 * mean, and a root of its covariance (latent, latent), of which noise is
	 * multiplied with the transpose.
	 */
	void		(*set_prior) (const LearnerSpec *spec, const TensorList *list, const double *mean, const double *root,
							  real *values);

	/* What the names of those tensors begin with that serve nothing but whole rows. */
	const char *tensors;

	/* Is a column modelled? */
	bool		(*models) (const LearnerSpec *spec, int column);

	/*
	 * Appends what z (tasks, 1, latent) says of rows: of each modelled column,
	 * given those before it, as draw reads it (tasks, rows, .); and of the
	 * target, given all of them: the outputs (tasks, rows, outputs), and of a
	 * number the variance (tasks, rows, 1), else TAPE_NONE.
	 */
	Var			(*columns) (Tape *tape, const LearnerSpec *spec, const Var *phi, Var z, Var x, Var c);
	void		(*target) (Tape *tape, const LearnerSpec *spec, const Var *phi, Var z, Var x, Var c,
						   Var *outputs, Var *variance);

	/*
	 * Draws a modelled column of a row (x, c) from what columns said of it and
	 * what tasks share.
	 */
	void		(*draw) (const LearnerSpec *spec, const TensorList *list, const real *theta, int column,
						 const real *said, Rng *rng, real *x, int32_t *c);

	/*
	 * Appends the log likelihood of whole rows, modelled columns and target,
	 * on the encoded scale: (tasks, rows, 1).
	 */
	Var			(*log_likelihood) (Tape *tape, const LearnerSpec *spec, const Var *phi, const RowVars *rows);
} Generative;

/* Rows that are worked on at a time. */
#define GENERATE_ROWS 64

/* Rows, known or made up, from which what a task's rows share is plain enough. */
#define GENERATE_LOOKS 4

typedef struct Generator Generator;

/*
 * For a learner that has Learner.generative; NULL when the arena is full.
 * What it is given must stay in place; theta (list->size numbers) may change.
 * likely_rows is how many rows at most, up to GENERATE_ROWS, are asked about at
 * a time by generator_log_likelihood: it computes as many each time.
 */
extern Generator *generator_create(Arena *arena, const Learner *learner, const LearnerSpec *spec,
								   const TensorList *list, const real *theta, int likely_rows, void (*interrupt) (void));

/*
 * Builds what the log likelihood takes, so that nothing is allocated later.
 * Returns NULL or a static message.
 */
extern const char *generator_reserve(Generator *generator);

/*
 * The mean of z, and its deviations (NULL: not wanted), of a task with the
 * parameters phi (list->size numbers; only those of its own are read).  This and what follows return
 * NULL or a static message.
 */
extern const char *generator_task(Generator *generator, const real *phi, real *mean, real *deviation);

/*
 * Draws a task by phi, which must stay in place, and makes up rows of it:
 * generator_next the next n of them, at most GENERATE_ROWS, into rows->x, c and
 * y.  Of a task of which fewer than GENERATE_LOOKS rows are known, the first
 * ones count for those after them as rows adapted on do.  The same seed draws
 * the same task and rows, however many are asked for at a time; another task's
 * parameters draw others.
 */
extern const char *generator_begin(Generator *generator, const real *phi, uint64_t seed);
extern const char *generator_next(Generator *generator, int n, Rows *rows);

/* The log likelihood of up to GENERATE_ROWS rows. */
extern const char *generator_log_likelihood(Generator *generator, const real *phi, const Rows *rows, real *likelihood);

#endif							/* LEARN_GENERATE_H */
