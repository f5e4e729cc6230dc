/*
 * blend_fit.h
 *	  How much of each trained learner a blend takes, by validation tasks.
 */
#ifndef TRAIN_BLEND_FIT_H
#define TRAIN_BLEND_FIT_H

#include "train/train.h"

/*
 * The component that validation tasks choose of what the candidates' phases
 * ended with and of random_intercept: a blend, or one of them.  Notes the
 * choice in the training.
 */
extern void blend_fit(Training *training, Component *component);

#endif							/* TRAIN_BLEND_FIT_H */
