/*
 * adam.h
 *	  The outer optimiser: AdamW on a flat vector.
 *
 * D. Kingma, J. Ba, "Adam", ICLR 2015; I. Loshchilov, F. Hutter, "Decoupled
 * weight decay regularization", ICLR 2019.
 */
#ifndef NN_ADAM_H
#define NN_ADAM_H

#include "nn/network.h"

typedef struct Adam
{
	real	   *first;			/* moments, list->size numbers each, zero at */
	real	   *second;			/* the start */
} Adam;

/*
 * One step against the gradient: step counts from 1.  Tensors that are not
 * learned (TENSOR_STATE, TENSOR_FIXED) stay as they are; weight decay leaves
 * biases alone.
 */
extern void adam_step(Adam *adam, const TensorList *list, real *theta, const real *gradient,
					  int64_t step, double rate, double weight_decay);

/* theta -= rate * gradient, for the tensors that are learned. */
extern void sgd_step(const TensorList *list, real *theta, const real *gradient, double rate);

/*
 * Moves averages (tensor_averaged) by their gradients, which become 0: they
 * are no part of what is clipped.
 */
extern void averages_step(const TensorList *list, real *theta, real *gradient);

/*
 * Scales the gradient to the norm clip where it is larger (clip 0: never);
 * returns the norm it had.
 */
extern double gradient_clip(real *gradient, size_t n, double clip);

#endif							/* NN_ADAM_H */
