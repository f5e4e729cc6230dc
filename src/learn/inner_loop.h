/*
 * inner_loop.h
 *	  Gradient steps on one task's rows, as nodes of a tape.
 */
#ifndef LEARN_INNER_LOOP_H
#define LEARN_INNER_LOOP_H

#include "learn/learner.h"

typedef enum InnerKind
{
	INNER_EXACT,				/* SGD; gradients flow through its gradients */
	INNER_FIRST_ORDER,			/* SGD; they do not */
	INNER_ADAM					/* Adam with beta1 = 0, as Reptile uses it; first order */
} InnerKind;

/*
 * spec->options.inner_steps steps at rate inner_lr on the mean loss of each
 * task's rows, from theta's adapted tensors; the others are passed on.
 * rows_even serves the steps 0, 2, ..., rows_odd the others; they may be the
 * same.  phi gets one Var per tensor of the list; an adapted one has a matrix
 * per task.
 */
extern void inner_loop(Tape *tape, const LearnerSpec *spec, const TensorList *list, InnerKind kind,
					   const RowVars *rows_even, const RowVars *rows_odd,
					   const Var *theta, Var *phi);

/* The network's layout and forward pass, as most learners use them. */
extern bool network_learner_layout(const LearnerSpec *spec, TensorList *list);
extern void network_learner_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values);
extern Var	network_learner_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list,
									const Var *phi, Var x, Var c);

#endif							/* LEARN_INNER_LOOP_H */
