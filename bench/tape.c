/*
 * tape.c
 *	  A meta-iteration, outer step included, and an adaptation without a server:
 *	  what the numeric core takes, by learner and by size.  See tape.sh.
 *
 *	tape LEARNER INPUTS HIDDEN SUPPORT QUERY STEPS TASKS CATEGORIES
 *
 * With SHRUNK in the environment steps on few rows are shorter (inner_loss), as
 * where the number of support rows varies.  With PRODUCTS in the environment it
 * also says how many floating-point operations the matrix products are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "learn/apply.h"
#include "learn/meta_step.h"
#include "nn/outer.h"
#include "nn/tape_private.h"

#ifndef REPETITIONS
#define REPETITIONS 200
#endif

/* Additions and multiplications of a tape's matrix products. */
static double
products(const Tape *tape)
{
	double		sum = 0;

	for (Var v = 0; v < tape->n_nodes; v++)
	{
		const TapeNode *node = tape_node(tape, v);
		const TapeNode *a,
				   *b;

		if (node->op != OP_AFFINE && node->op != OP_MATMUL_SUM)
			continue;
		a = tape_node(tape, node->in[0]);
		b = tape_node(tape, node->in[1]);
		sum += 2.0 * node->shape.rows * node->shape.cols * (node->transpose_a ? a->shape.rows : a->shape.cols) *
			(a->shape.tasks > b->shape.tasks ? a->shape.tasks : b->shape.tasks);
	}
	return sum;
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

static StepRates
rates(const void *context, int64_t step)
{
	(void) context;
	(void) step;
	return (StepRates) {0.001, 0.01, 0.99};
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
	Outer	   *outer;
	Adam		adam;
	Rows	   *support,
			   *query;
	real	   *theta,
			   *average,
			   *phi;
	int32_t    *rows_at;
	int			slices = argc == 9 ? (atoi(argv[7]) + META_SLICE - 1) / META_SLICE : 0;
	double		iteration = 1e9,
				adaptation = 1e9,
				settling;

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
	average = calloc(list.size + 1, sizeof(real));
	adam.first = calloc(list.size + 1, sizeof(real));
	adam.second = calloc(list.size + 1, sizeof(real));
	rows_at = calloc(outer_rows(&list) + 1, sizeof(int32_t));
	phi = malloc((list.size + 1) * sizeof(real));
	learner->initialise(&spec, &list, &rng, theta);
	memcpy(average, theta, list.size * sizeof(real));
	support = malloc((slices + 1) * sizeof(Rows));
	query = malloc((slices + 1) * sizeof(Rows));
	for (int slice = 0; slice <= slices; slice++)
	{
		support[slice] = random_rows(&spec.net, atoi(argv[4]));
		query[slice] = random_rows(&spec.net, atoi(argv[5]));
	}

	arena_init(&arena, grow, NULL, (size_t) 4 << 30);
	meta_step_init(&step, &arena, learner, &spec, &list, theta, support->rows, support->rows, query->rows, NULL);
	outer = outer_create(&arena, &list, theta, average, &adam, rows_at, (learner->flags & LEARNER_PLAIN_OUTER) != 0,
						 spec.options.clip, rates, NULL);
	applier = applier_create(&arena, learner, &spec, &list, theta, NULL);
	if (step.fault || outer == NULL || applier == NULL)
	{
		fprintf(stderr, "%s\n", step.fault ? step.fault : "out of memory");
		return 1;
	}
	for (int i = 0; i < REPETITIONS; i++)
	{
		double		start = processor_time();
		double		took;

		if (slices > 0)
			outer_begin(outer, i);
		for (int slice = 0; slice < slices; slice++)
		{
			outer_see(outer, &support[slice]);
			outer_see(outer, &query[slice]);
			meta_step_run(&step, &support[slice], &query[slice], 0.5, outer->gradient);
		}
		if (slices > 0)
			outer_step(outer, 1.0 / atoi(argv[7]));
		took = processor_time() - start;
		iteration = took < iteration ? took : iteration;
	}
	settling = processor_time();
	outer_settle(outer, REPETITIONS);
	settling = processor_time() - settling;
	support->tasks = 1;
	for (int i = 0; i < REPETITIONS; i++)
	{
		double		start = processor_time();
		double		took;

		applier_adapt(applier, support, NULL, phi);
		took = processor_time() - start;
		adaptation = took < adaptation ? took : adaptation;
	}
	printf("%-12s %6s %6s %4s+%-3s %5s %5s %10s  %9.3f ms %8.0f /s  %7.1f us  %6zu kB", argv[1], argv[2], argv[3], argv[4],
		   argv[5], argv[6], argv[7], argv[8], 1e3 * iteration, 1 / iteration, 1e6 * adaptation, arena.total / 1024);
	if (outer->n_columns > 0)
		printf("  settled in %.3f msec", 1e3 * settling);
	if (getenv("PRODUCTS") && slices > 0)
		printf("  products: %.1f MFLOP, %.1f GFLOP/s of the whole", slices * products(&step.sizes[0].tape) / 1e6,
			   slices * products(&step.sizes[0].tape) / 1e9 / iteration);
	printf("\n");
	return 0;
}
