/*
 * blend.h
 *	  Several learners as one; see blend.c.
 */
#ifndef LEARN_BLEND_H
#define LEARN_BLEND_H

#include "learn/learner.h"

#define BLEND_MAX_PARTS 4
#define BLEND_KNOTS 6

/*
 * Sets the weights that the blend has at shots[j] rows, ascending, at most
 * BLEND_KNOTS of them: weights[j * parts + i] of part i.
 */
extern void blend_set_weights(const LearnerSpec *spec, const TensorList *list, real *values,
							  const int *shots, int n_shots, const double *weights);

#endif							/* LEARN_BLEND_H */
