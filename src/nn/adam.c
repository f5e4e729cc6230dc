/*
 * adam.c
 *	  The outer optimiser: AdamW on a flat vector.
 */
#include "nn/adam.h"

#include <math.h>
#include <string.h>

#define BETA1 0.9
#define BETA2 0.999
#define EPSILON 1e-8

/* Share of an average that each step replaces. */
#define AVERAGE_RATE 0.1

static bool
decays(const Tensor *tensor)
{
	return strstr(tensor->name, "bias") == NULL;
}

/*
 * m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
 * theta -= rate (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay theta)
 */
void
adam_step(Adam *adam, const TensorList *list, real *theta, const real *gradient,
		  int64_t step, double rate, double weight_decay)
{
	real		scale = rate / (1 - pow(BETA1, step));
	real		correction = 1 / (1 - pow(BETA2, step));

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		end = tensor->offset + (size_t) tensor->rows * tensor->cols;
		real		shrink = decays(tensor) ? rate * weight_decay : 0;

		if (!tensor_learned(tensor))
			continue;
		for (size_t j = tensor->offset; j < end; j++)
		{
			real		g = gradient[j];
			real		m = adam->first[j] + (real) (1 - BETA1) * (g - adam->first[j]);
			real		v = adam->second[j] + (real) (1 - BETA2) * (g * g - adam->second[j]);

			adam->first[j] = m;
			adam->second[j] = v;
			theta[j] -= scale * m / ((real) sqrt(v * correction) + (real) EPSILON) + shrink * theta[j];
		}
	}
}

void
sgd_step(const TensorList *list, real *theta, const real *gradient, double rate)
{
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		end = tensor->offset + (size_t) tensor->rows * tensor->cols;

		if (!tensor_learned(tensor))
			continue;
		for (size_t j = tensor->offset; j < end; j++)
			theta[j] -= (real) rate * gradient[j];
	}
}

void
averages_step(const TensorList *list, real *theta, real *gradient)
{
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		end = tensor->offset + (size_t) tensor->rows * tensor->cols;

		if (!tensor_averaged(tensor))
			continue;
		for (size_t j = tensor->offset; j < end; j++)
		{
			theta[j] -= (real) AVERAGE_RATE * gradient[j];
			gradient[j] = 0;
		}
	}
}

double
gradient_clip(real *gradient, size_t n, double clip)
{
	double		sum = 0;
	double		norm;

	for (size_t i = 0; i < n; i++)
		sum += (double) gradient[i] * gradient[i];
	norm = sqrt(sum);
	if (clip > 0 && norm > clip)
	{
		real		scale = clip / norm;

		for (size_t i = 0; i < n; i++)
			gradient[i] *= scale;
	}
	return norm;
}
