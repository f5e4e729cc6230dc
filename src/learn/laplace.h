/*
 * laplace.h
 *	  The posterior of a logistic last layer, as a normal around its mode.
 */
#ifndef LEARN_LAPLACE_H
#define LEARN_LAPLACE_H

#include "learn/learner.h"

/*
 * P + penalty I, where P (tasks, r, r) is symmetric but for rounding; the
 * penalty, (1, 1, 1), is 1 where it is TAPE_NONE.
 */
extern Var	laplace_penalised(Tape *tape, Var precision, Var penalty);

/*
 * Takes rows with features psi (tasks, rows, r) and the known part of their
 * logits, offset (tasks, rows, 1), to the weights w, of which N(mean,
 * (P + penalty I)^-1) was known.  Gives the mode, (tasks, r, 1), and P with the
 * rows' curvature there: what further rows begin from.
 */
extern void laplace_adapt(Tape *tape, const RowVars *rows, Var psi, Var offset, Var penalty,
						  Var mean, Var precision, Var *mode, Var *curved);

#endif							/* LEARN_LAPLACE_H */
