/*
 * tape.c
 *	  A meta-iteration and an adaptation without a server: what the numeric
 *	  core takes, by learner and by size.  See tape.sh.
 *
 *	tape LEARNER INPUTS HIDDEN SUPPORT QUERY STEPS TASKS CATEGORIES
 *
 * With SHRUNK in the environment steps on few rows are shorter (inner_loss), as
 * where the number of support rows varies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "learn/apply.h"
#include "learn/meta_step.h"

#ifndef REPETITIONS
#define REPETITIONS 200
#endif

static double
processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *
grow(void *context, size_t size)
{
	(void) context;
	return malloc(size);
}

static Rows
random_rows(const Network *net, int rows)
{
	Rows		r = {{net->inputs, net->n_embeddings, 1}, META_SLICE, rows, NULL, NULL, NULL, NULL};
	int			n = META_SLICE * rows;

	r.x = malloc((n * net->inputs + 1) * sizeof(real));
	r.c = calloc(n + 1, sizeof(int32_t));
	r.y = malloc((n + 1) * sizeof(real));
	r.w = malloc((n + 1) * sizeof(real));
	for (int i = 0; i < n * net->inputs; i++)
		r.x[i] = 2.0 * rand() / RAND_MAX - 1;
	for (int i = 0; i < n; i++)
	{
		r.y[i] = rand() % 2;
		r.w[i] = 1;
		if (net->n_embeddings > 0)
			r.c[i] = rand() % net->embeddings[0].size;
	}
	return r;
}

int
main(int argc, char **argv)
{
	LearnerSpec spec;
	Embedding	embedding = {argc == 9 ? atoi(argv[8]) : 0, 8};
	const Learner *learner = argc == 9 ? learner_find(argv[1]) : NULL;
	Tensor		tensors[64];
	TensorList	list = {tensors, 0, 64, 0};
	Rng			rng = rng_stream(0, RNG_INITIALISE, 0, 0);
	Arena		arena;
	MetaStep	step;
	Applier    *applier;
	Rows		support,
				query;
	real	   *theta,
			   *gradient,
			   *phi;
	double		iteration = 1e9,
				adaptation = 1e9;

	if (learner == NULL)
	{
		fprintf(stderr, "usage: tape LEARNER INPUTS HIDDEN SUPPORT QUERY STEPS TASKS CATEGORIES\n");
		return 1;
	}
	options_default(&spec.options, learner->defaults);
	spec.options.inner_steps = atoi(argv[6]);
	spec.options.inner_lr = 0.05;
	spec.options.inner_loss = getenv("SHRUNK") ? INNER_LOSS_SHRUNK : INNER_LOSS_MEAN;
	spec.loss = LOSS_LOGISTIC;
	memset(&spec.net, 0, sizeof(spec.net));
	spec.net.inputs = atoi(argv[2]);
	spec.net.n_embeddings = embedding.size > 0;
	spec.net.embeddings = &embedding;
	spec.net.n_hidden = 2;
	spec.net.hidden[0] = spec.net.hidden[1] = atoi(argv[3]);
	spec.net.activation = UNARY_RELU;
	spec.net.outputs = 1;
	learner->layout(&spec, &list);
	theta = malloc((list.size + 1) * sizeof(real));
	gradient = calloc(list.size + 1, sizeof(real));
	phi = malloc((list.size + 1) * sizeof(real));
	learner->initialise(&spec, &list, &rng, theta);
	support = random_rows(&spec.net, atoi(argv[4]));
	query = random_rows(&spec.net, atoi(argv[5]));

	arena_init(&arena, grow, NULL, (size_t) 4 << 30);
	meta_step_init(&step, &arena, learner, &spec, &list, theta, support.rows, support.rows, query.rows, NULL);
	applier = applier_create(&arena, learner, &spec, &list, theta, NULL);
	if (step.fault || applier == NULL)
	{
		fprintf(stderr, "%s\n", step.fault ? step.fault : "out of memory");
		return 1;
	}
	for (int i = 0; i < REPETITIONS; i++)
	{
		double		start = processor_time();
		double		took;

		for (int task = 0; task < atoi(argv[7]); task += META_SLICE)
			meta_step_run(&step, &support, &query, 0.5, gradient);
		took = processor_time() - start;
		iteration = took < iteration ? took : iteration;
	}
	support.tasks = 1;
	for (int i = 0; i < REPETITIONS; i++)
	{
		double		start = processor_time();
		double		took;

		applier_adapt(applier, &support, NULL, phi);
		took = processor_time() - start;
		adaptation = took < adaptation ? took : adaptation;
	}
	printf("%-12s %6s %6s %4s+%-3s %5s %5s %10s  %9.3f ms %8.0f /s  %7.1f us  %6zu kB\n", argv[1], argv[2], argv[3], argv[4],
		   argv[5], argv[6], argv[7], argv[8], 1e3 * iteration, 1 / iteration, 1e6 * adaptation, arena.total / 1024);
	return 0;
}
