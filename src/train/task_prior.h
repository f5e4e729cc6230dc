/*
 * task_prior.h
 *	  How training tasks are spread among a generative learner's latent variables.
 */
#ifndef TRAIN_TASK_PRIOR_H
#define TRAIN_TASK_PRIOR_H

#include "train/train.h"

/* Sets how training tasks are spread, where the component's learner models rows, in a copy of theta. */
extern void task_prior_fit(const Training *training, Component *component);

#endif							/* TRAIN_TASK_PRIOR_H */
