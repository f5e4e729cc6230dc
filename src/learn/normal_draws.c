/*
 * normal_draws.c
 *	  A fixed set of draws from a standard normal distribution.
 *
 * For a mean over it that a few draws should tell well, and the same each time:
 * a low-discrepancy sequence (M. Roberts' R_d) made normal by Box and Muller's
 * transform, with its mirror images; the columns made orthogonal, as long as
 * there are more draws, and of variance 1.  Of an odd number one is 0.
 */
#include "learn/normal_draws.h"

#include <math.h>

Var
normal_draws(Tape *tape, int samples, int d)
{
	Var			draws = tape_leaf(tape, shape(1, samples, d), NULL);
	real	   *at = draws == TAPE_NONE ? NULL : tape_data(tape, draws);
	int			half = samples / 2;
	double		root = 1.5;

	if (at == NULL || half == 0)
		return draws;

	/* of x^(2 d + 1) = x + 1: what the sequence's steps are powers of */
	for (int i = 0; i < 100; i++)
		root = pow(1 + root, 1.0 / (2 * d + 1));
	for (int j = 0; j < d; j++)
	{
		double		norm = 0;

		for (int i = 0; i < half; i++)
		{
			double		whole;
			double		u = modf(0.5 + (i + 1) * pow(1 / root, 2 * j + 1), &whole);
			double		v = modf(0.5 + (i + 1) * pow(1 / root, 2 * j + 2), &whole);

			at[2 * i * d + j] = sqrt(-2 * log(1 - u)) * cos(2 * 3.14159265358979323846 * v);
		}
		for (int k = 0; k < j && j < half; k++)
		{
			double		product = 0;

			for (int i = 0; i < half; i++)
				product += (double) at[2 * i * d + j] * at[2 * i * d + k];
			/* what came before has the squares' sum samples / 2 */
			for (int i = 0; i < half; i++)
				at[2 * i * d + j] -= product / (samples / 2.0) * at[2 * i * d + k];
		}
		for (int i = 0; i < half; i++)
			norm += (double) at[2 * i * d + j] * at[2 * i * d + j];
		for (int i = 0; i < half; i++)
		{
			at[2 * i * d + j] *= sqrt(samples / 2.0 / norm);
			at[(2 * i + 1) * d + j] = -at[2 * i * d + j];
		}
	}
	return draws;
}
