/*
 * adam.h
 *	  The outer optimiser: AdamW on a flat vector.
 *
 * D. Kingma, J. Ba, "Adam", ICLR 2015; I. Loshchilov, F. Hutter, "Decoupled
 * weight decay regularization", ICLR 2019.
 */
#ifndef NN_ADAM_H
#define NN_ADAM_H

#include <math.h>

#include "nn/network.h"

typedef struct Adam
{
	real	   *first;			/* moments, list->size numbers each, zero at */
	real	   *second;			/* the start */
} Adam;

#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
#define ADAM_EPSILON 1e-8

/*
 * m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 * theta -= rate (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay theta)
 * of n numbers, with scale = rate / (1 - b1^t), correction = 1 / (1 - b2^t),
 * shrink = rate decay.
 */
static inline void
adam_numbers(size_t n, real *theta, real *first, real *second, const real *gradient,
			 real scale, real correction, real shrink)
{
	for (size_t j = 0; j < n; j++)
	{
		real		g = gradient[j];
		real		m = first[j] + (real) (1 - ADAM_BETA1) * (g - first[j]);
		real		v = second[j] + (real) (1 - ADAM_BETA2) * (g * g - second[j]);

		first[j] = m;
		second[j] = v;
		theta[j] -= scale * m / ((real) sqrt(v * correction) + (real) ADAM_EPSILON) + shrink * theta[j];
	}
}

/*
 * One step against the gradient: step counts from 1.  Tensors that are not
 * learned (TENSOR_STATE, TENSOR_FIXED) stay as they are, as do tables by rows
 * (see nn/outer.h); weight decay leaves biases alone.
 */
extern void adam_step(const Adam *adam, const TensorList *list, real *theta, const real *gradient,
					  int64_t step, double rate, double weight_decay);

/* theta -= rate * gradient, for the same tensors. */
extern void sgd_step(const TensorList *list, real *theta, const real *gradient, double rate);

/*
 * Moves averages (tensor_averaged) by their gradients, which become 0: they
 * are no part of what is clipped.
 */
extern void averages_step(const TensorList *list, real *theta, real *gradient);

#endif							/* NN_ADAM_H */
