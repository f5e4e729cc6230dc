/*
 * race.h
 *	  Which phase of a training is next.
 */
#ifndef TRAIN_RACE_H
#define TRAIN_RACE_H

#include "train/train.h"

/* The phase that is next, and the iteration it runs to; NULL: all have ended. */
extern Phase *race_next(Training *training, int *until);

#endif							/* TRAIN_RACE_H */
