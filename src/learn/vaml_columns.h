/*
 * vaml_columns.h
 *	  The second decoder of vaml: rows' columns from a task's latent variables.
 */
#ifndef LEARN_VAML_COLUMNS_H
#define LEARN_VAML_COLUMNS_H

#include "learn/learner.h"

/* How many tensors it has, and what appends them to the list: false where they are too many. */
extern int	columns_count(const LearnerSpec *spec);
extern bool columns_layout(const LearnerSpec *spec, int latent, TensorList *list);
extern void columns_initialise(const LearnerSpec *spec, const Tensor *own, Rng *rng, real *values);

/*
 * Is a column modelled?  Those that are not are unknown to it, and not drawn.
 */
extern bool columns_models(const LearnerSpec *spec, int column);

/* Appends the network inputs of rows, (tasks, rows, .), numbers standardised that come as they are. */
extern Var	columns_see(Tape *tape, const LearnerSpec *spec, Var in);

/*
 * Appends what is known of a task's columns from its support: the k rows,
 * (tasks, 1, 1), and the sum of what is seen of them, (tasks, 1, .).
 */
extern Var	columns_known(Tape *tape, const Var *own, Var rows, Var inputs);

/*
 * Appends what z (tasks, 1, latent), and what is known, say of rows whose
 * network input is in, (tasks, rows, .); own are its tensors.
 */
extern Var	columns_say(Tape *tape, const LearnerSpec *spec, const Var *own, Var in, Var z, Var known);

/*
 * Appends the log likelihood of rows' modelled columns under what was said of
 * them, (tasks, rows, 1).  A value that is missing counts by its being so; a
 * label that is not known does not count.  tables are the network's tensors.
 */
extern Var	columns_log_likelihood(Tape *tape, const LearnerSpec *spec, const Var *own, const Var *tables,
								   Var said, Var in, Var x, Var c);

/* Draws a column of one row from what was said of the row. */
extern void columns_draw(const LearnerSpec *spec, const Tensor *own, const Tensor *tables, const real *values,
						 int column, const real *said, Rng *rng, real *x, int32_t *c);

#endif							/* LEARN_VAML_COLUMNS_H */
