/*
 * baselines.h
 *	  The honest baselines, fitted where the phases of a training have ended.
 */
#ifndef TRAIN_BASELINES_H
#define TRAIN_BASELINES_H

#include "train/train.h"

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

#endif							/* TRAIN_BASELINES_H */
