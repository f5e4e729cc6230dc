/*
 * moments.h
 *	  The moments that a network's layers are normalised by, whatever the
 *	  learner.
 *
 * While rows are learned from they are normalised over themselves (over the
 * task's rows, that is).  Rows that come one by one, to be predicted, cannot
 * be: they are normalised by averages that training keeps (TENSOR_RUNNING), or
 * by the moments of the support that their task was adapted on
 * (TENSOR_MOMENTS).  So a learner's functions are handed vars in which moments
 * are TAPE_NONE where rows are to be normalised over themselves; see
 * nn/network.h.
 */
#ifndef LEARN_MOMENTS_H
#define LEARN_MOMENTS_H

#include "learn/learner.h"

typedef enum MomentsUse
{
	MOMENTS_TRAINING,			/* all rows over themselves */
	MOMENTS_TRANSDUCTIVE,		/* rows of a task over themselves; averages that
								 * training kept as they are */
	MOMENTS_GIVEN				/* all moments as they are */
} MomentsUse;

/* vars, in which moments are TAPE_NONE as the use has it; NULL: no memory. */
extern Var *moments_hidden(Tape *tape, const TensorList *list, MomentsUse use, const Var *vars);

/*
 * The moments of an adapted task: phi's TENSOR_MOMENTS become those of the
 * support as the adapted network sees it; of a task without rows, theta's.
 */
extern void moments_adapt(Tape *tape, const LearnerSpec *spec, const RowVars *support, const Var *theta, Var *phi);

/*
 * What the averages are moved by: gradients of tensors that are averaged, the
 * sum over the tasks of (average - moments of the task's rows).
 */
extern void moments_gradients(Tape *tape, const LearnerSpec *spec, const TensorList *list,
							  const RowVars *rows, const Var *theta, Var *gradients);

#endif							/* LEARN_MOMENTS_H */
