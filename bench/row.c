/*
 * row.c
 *	  A prediction of one row without a server: what the numeric core takes, by
 *	  learner, with the params of one task and with another task's each time.
 *	  See instructions.sh.
 *
 *	row LEARNER INPUTS HIDDEN OTHERS
 *
 * OTHERS is 1 for another task's params in every call, 0 for always the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "learn/apply.h"

#ifndef REPETITIONS
#define REPETITIONS 20000
#endif

#define SUPPORT 10
#define ROUNDS 9

int
main(int argc, char **argv)
{
	LearnerSpec spec;
	const Learner *learner = argc == 5 ? learner_find(argv[1]) : NULL;
	bool		others = argc == 5 && atoi(argv[4]) != 0;
	Tensor		tensors[64];
	TensorList	list = {tensors, 0, 64, 0};
	Rng			rng = rng_stream(0, RNG_INITIALISE, 0, 0);
	Arena		arena;
	Applier    *applier;
	Rows		support = {{0, 0, 1}, 1, SUPPORT, NULL, NULL, NULL, NULL};
	Rows		row;
	int32_t		none = 0;
	real		output = 0,
			   *theta,
			   *phi;
	double		least = 1e9;

	if (learner == NULL)
	{
		fprintf(stderr, "usage: row LEARNER INPUTS HIDDEN OTHERS\n");
		return 1;
	}
	options_default(&spec.options, learner->defaults);
	spec.options.inner_steps = 5;
	spec.options.inner_lr = 0.05;
	spec.options.inner_loss = INNER_LOSS_MEAN;
	spec.loss = LOSS_LOGISTIC;
	memset(&spec.net, 0, sizeof(spec.net));
	spec.net.inputs = atoi(argv[2]);
	spec.net.n_hidden = 2;
	spec.net.hidden[0] = spec.net.hidden[1] = atoi(argv[3]);
	spec.net.activation = UNARY_RELU;
	spec.net.outputs = 1;
	learner->layout(&spec, &list);
	theta = aligned_alloc(64, (list.size * sizeof(real) + 127) / 64 * 64);
	phi = aligned_alloc(64, (list.size * sizeof(real) + 127) / 64 * 64);
	learner->initialise(&spec, &list, &rng, theta);
	support.width.x = spec.net.inputs;
	support.x = malloc((SUPPORT * spec.net.inputs + 1) * sizeof(real));
	support.c = &none;
	support.y = malloc(SUPPORT * sizeof(real));
	support.w = malloc(SUPPORT * sizeof(real));
	for (int i = 0; i < SUPPORT * spec.net.inputs; i++)
		support.x[i] = 2.0 * rand() / RAND_MAX - 1;
	for (int i = 0; i < SUPPORT; i++)
	{
		support.y[i] = rand() % 2;
		support.w[i] = 1;
	}
	row = support;
	row.rows = 1;

	arena_init(&arena, grow, NULL, (size_t) 4 << 30);
	applier = applier_create(&arena, learner, &spec, &list, theta, NULL);
	if (applier == NULL || applier_adapt(applier, &support, NULL, phi) != NULL)
	{
		fprintf(stderr, "cannot adapt\n");
		return 1;
	}
	for (int round = 0; round < ROUNDS; round++)
	{
		double		start = processor_time();
		double		took;

		for (int i = 0; i < REPETITIONS; i++)
		{
			applier_version(applier, others ? (uint64_t) round * REPETITIONS + i + 1 : 1);
			applier_predict(applier, phi, &row, &output);
		}
		took = (processor_time() - start) / REPETITIONS;
		least = took < least ? took : least;
	}
	printf("%-12s %s %8.1f ns  %.6f\n", argv[1], others ? "others" : "one   ", 1e9 * least, output);
	return 0;
}
