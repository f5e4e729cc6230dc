/*
 * calibrate.h
 *	  Makes what a training ends with as sure as it is right.
 */
#ifndef TRAIN_CALIBRATE_H
#define TRAIN_CALIBRATE_H

#include "train/train.h"

/*
 * Fits the calibration of every component on the validation tasks; where there
 * are none, they stay as they are.
 */
extern void calibrate(const Training *training, Model *model);

#endif							/* TRAIN_CALIBRATE_H */
