/*
 * checkpoint.h
 *	  The state of a training as bytes.
 */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "train/train.h"

/*
 * A training as it stands, between two meta-iterations; in the current memory
 * context.
 */
extern bytea *checkpoint_encode(const Training *training);

/*
 * Takes over a checkpoint's state.  A task set that is not the one it was
 * made on is an error (ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE).
 */
extern void checkpoint_restore(Training *training, const bytea *state);

/* The encoding a checkpoint holds, for reading the source again. */
extern Encoding *checkpoint_encoding(const bytea *state);

#endif							/* TRAIN_CHECKPOINT_H */
