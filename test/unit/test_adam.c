/*
 * test_adam.c
 *	  The outer optimisers: Adam's formula step by step, and what they leave
 *	  alone.
 */
#include "nn/adam.h"
#include "tap.h"

#define N 8

/* Two numbers each: learned and decaying, learned, a task's own, and neither. */
static Tensor tensors[] = {
	{"layer.0.weight", 1, 2, TENSOR_ADAPTED, 0, false, 0},
	{"layer.0.bias", 1, 2, TENSOR_SHARED, 2, false, 0},
	{"shift", 1, 2, TENSOR_STATE, 4, false, 0},
	{"noise", 1, 2, TENSOR_FIXED, 6, false, 0},
};
static const TensorList list = {tensors, 4, 4, N};

static double
tolerance(void)
{
	return sizeof(real) == 8 ? 1e-14 : 1e-6;
}

static void
test_adam(void)
{
	const double rate = 0.01;
	const double decay = 0.1;
	real		first[N] = {0};
	real		second[N] = {0};
	real		theta[N];
	double		m[N] = {0};
	double		v[N] = {0};
	double		expected[N];
	double		worst = 0;
	bool		kept = true;
	Adam		adam = {first, second};

	for (int i = 0; i < N; i++)
		expected[i] = theta[i] = 0.5 - i;
	for (int step = 1; step <= 20; step++)
	{
		real		gradient[N];

		for (int i = 0; i < N; i++)
		{
			double		g = gradient[i] = (real) (sin(step + i) / (i + 1));

			m[i] = 0.9 * m[i] + 0.1 * g;
			v[i] = 0.999 * v[i] + 0.001 * g * g;
			if (i < 4)
				expected[i] -= rate * (m[i] / (1 - pow(0.9, step)) / (sqrt(v[i] / (1 - pow(0.999, step))) + 1e-8) +
									   (i < 2 ? decay * expected[i] : 0));
		}
		adam_step(&adam, &list, theta, gradient, step, rate, decay);
		if (step == 1)
			ok(fabs(theta[2] - (0.5 - 2 - rate)) < 1e-6, "the first step is as long as the rate, whatever the gradient");
	}
	for (int i = 0; i < 4; i++)
		worst = fmax(worst, fabs(theta[i] - expected[i]));
	for (int i = 4; i < N; i++)
		kept = kept && theta[i] == (real) (0.5 - i);
	is_close(worst, 0, 20 * tolerance(), "twenty steps by the formula; biases do not decay");
	ok(kept, "what is not learned stays");
}

static void
test_sgd(void)
{
	real		theta[N];
	real		gradient[N];
	double		worst = 0;

	for (int i = 0; i < N; i++)
	{
		theta[i] = i;
		gradient[i] = i + 1;
	}
	sgd_step(&list, theta, gradient, 0.1);
	for (int i = 0; i < N; i++)
		worst = fmax(worst, fabs(theta[i] - (i < 4 ? i - 0.1 * (i + 1) : i)));
	is_close(worst, 0, tolerance(), "a plain step; what is not learned stays");
}

int
main(void)
{
	test_adam();
	test_sgd();
	return tap_done();
}
