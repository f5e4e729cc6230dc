/*
 * adam.c
 *	  The outer optimiser: AdamW on a flat vector.
 */
#include "nn/adam.h"

#include <string.h>

/* Share of an average that each step replaces. */
#define AVERAGE_RATE 0.1

static bool
decays(const Tensor *tensor)
{
	return strstr(tensor->name, "bias") == NULL;
}

void
adam_step(const Adam *adam, const TensorList *list, real *theta, const real *gradient,
		  int64_t step, double rate, double weight_decay)
{
	real		scale = rate / (1 - pow(ADAM_BETA1, step));
	real		correction = 1 / (1 - pow(ADAM_BETA2, step));

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		at = tensor->offset;

		if (tensor_learned(tensor) && !tensor->by_rows)
			adam_numbers((size_t) tensor->rows * tensor->cols, theta + at, adam->first + at, adam->second + at,
						 gradient + at, scale, correction, decays(tensor) ? rate * weight_decay : 0);
	}
}

void
sgd_step(const TensorList *list, real *theta, const real *gradient, double rate)
{
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		end = tensor->offset + (size_t) tensor->rows * tensor->cols;

		if (!tensor_learned(tensor) || tensor->by_rows)
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
