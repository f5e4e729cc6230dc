/*
 * space.h
 *	  The space in which metric-based learners compare rows.
 */
#ifndef LEARN_SPACE_H
#define LEARN_SPACE_H

#include "learn/learner.h"

/*
 * Two tensors, which follow the network's: "space.weight" and "space.bias".
 * The network's last hidden layer (and, with a linear path, its inputs) times
 * them is where a row lies: as many coordinates as the option features says.
 */
extern bool space_layout(const LearnerSpec *spec, TensorList *list);

/* How many tensors there are up to here, the network's included. */
extern int	space_count(const LearnerSpec *spec);

/* First values of the network's and the space's tensors; all others are 0. */
extern void space_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values);

/* What is known of rows, whatever the task. */
typedef struct Places
{
	Var			prior;			/* what the network says, (tasks, rows,
								 * outputs); TAPE_NONE in N-way episodes,
								 * where an output stands for another class
								 * each time */
	Var			at;				/* (tasks, rows, features) */
} Places;

extern Places space_places(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c);

/* Classes that a target tells apart: two for a logit, 0 for numbers. */
extern int	space_classes(const LearnerSpec *spec);

/* Numbers that tell a row's target: one, or one per class. */
extern int	space_value_width(const LearnerSpec *spec);

/*
 * One column per class: targets as they are in rows (1 where the row is of the
 * class), and the probabilities that the network gives, 1 / classes in N-way
 * episodes.  (tasks, rows, classes), the latter (1, 1, 1) in episodes.
 */
extern Var	space_truth(Tape *tape, const LearnerSpec *spec, Var y);
extern Var	space_expected(Tape *tape, const LearnerSpec *spec, Var prior);

/*
 * The network's outputs, shifted by one score per class, (tasks, rows,
 * classes); in N-way episodes just the scores.
 */
extern Var	space_outputs(Tape *tape, const LearnerSpec *spec, Var prior, Var scores);

#endif							/* LEARN_SPACE_H */
