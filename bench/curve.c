/*
 * curve.c
 *	  Trains by the numeric core without a server, and writes down where it began,
 *	  what it learned from and the loss of each meta-iteration, so that another
 *	  implementation can do the same from the same start.  See curve.py.
 *
 *	curve sinusoid|binary ITERATIONS FILE
 *
 * sinusoid: 1 input, 40-40, squared error, 25 tasks, 1 inner step of rate 0.01.
 * binary: 32 inputs, 64-64, log loss, 32 tasks, 5 inner steps of rate 0.05.
 * Both: 10 + 10 rows, exact MAML, Adam at 0.001.
 *
 * The file, all of float: the meta-parameters at the start, tensor by tensor;
 * then for each meta-iteration its rows, tasks in order, the support before the
 * query, of each row its inputs and then its target; then its loss.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "learn/meta_step.h"
#include "nn/outer.h"

#define ROWS 10

static StepRates
rates(const void *context, int64_t step)
{
	(void) context;
	(void) step;
	return (StepRates) {0.001, 0, 0.99};
}

static Rows
rows_of(int inputs)
{
	Rows		r = {{inputs, 0, 1}, META_SLICE, ROWS, NULL, NULL, NULL, NULL};

	r.x = malloc(META_SLICE * ROWS * inputs * sizeof(real));
	r.c = calloc(1, sizeof(int32_t));
	r.y = malloc(META_SLICE * ROWS * sizeof(real));
	r.w = malloc(META_SLICE * ROWS * sizeof(real));
	for (int i = 0; i < META_SLICE * ROWS; i++)
		r.w[i] = 1;
	return r;
}

/* A task's rows: a wave, or a linear rule with noise; into place of both. */
static void
draw_task(Rng *rng, int inputs, int place, Rows *support, Rows *query)
{
	double		amplitude = 0.1 + 4.9 * rng_uniform(rng);
	double		phase = 3.14159265358979 * rng_uniform(rng);
	double		rule[32];

	for (int i = 0; i < inputs; i++)
		rule[i] = 2 * rng_normal(rng) / sqrt(inputs);
	for (int r = 0; r < 2 * ROWS; r++)
	{
		Rows	   *rows = r < ROWS ? support : query;
		int			at = place * ROWS + r % ROWS;
		double		sum = 0;

		for (int i = 0; i < inputs; i++)
		{
			double		x = inputs == 1 ? 10 * rng_uniform(rng) - 5 : rng_normal(rng);

			rows->x[at * inputs + i] = x;
			sum += rule[i] * x;
		}
		rows->y[at] = inputs == 1 ? amplitude * sin(rows->x[at] - phase) : rng_uniform(rng) < 1 / (1 + exp(-2 * sum));
	}
}

static void
put(FILE *file, const real *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		float		number = numbers[i];

		fwrite(&number, sizeof(number), 1, file);
	}
}

static void
put_task(FILE *file, const Rows *rows, int place)
{
	for (int r = place * ROWS; r < (place + 1) * ROWS; r++)
	{
		put(file, rows->x + r * rows->width.x, rows->width.x);
		put(file, rows->y + r, 1);
	}
}

int
main(int argc, char **argv)
{
	bool		sinusoid = argc == 4 && strcmp(argv[1], "sinusoid") == 0;
	FILE	   *file = argc == 4 ? fopen(argv[3], "wb") : NULL;
	const Learner *learner = learner_find("maml");
	LearnerSpec spec;
	Tensor		tensors[64];
	TensorList	list = {tensors, 0, 64, 0};
	Rng			rng = rng_stream(0, RNG_INITIALISE, 0, 0);
	Arena		arena;
	MetaStep	step;
	Outer	   *outer;
	Adam		adam;
	Rows		support,
				query;
	real	   *theta,
			   *average;
	int32_t    *rows_at;
	int			tasks = sinusoid ? 25 : 32;

	if (file == NULL)
	{
		fprintf(stderr, "usage: curve sinusoid|binary ITERATIONS FILE\n");
		return 1;
	}
	options_default(&spec.options, learner->defaults);
	spec.options.inner_steps = sinusoid ? 1 : 5;
	spec.options.inner_lr = sinusoid ? 0.01 : 0.05;
	spec.options.inner_loss = INNER_LOSS_MEAN;
	spec.loss = sinusoid ? LOSS_SQUARED : LOSS_LOGISTIC;
	memset(&spec.net, 0, sizeof(spec.net));
	spec.net.inputs = sinusoid ? 1 : 32;
	spec.net.n_hidden = 2;
	spec.net.hidden[0] = spec.net.hidden[1] = sinusoid ? 40 : 64;
	spec.net.activation = UNARY_RELU;
	spec.net.outputs = 1;
	learner->layout(&spec, &list);
	theta = malloc(list.size * sizeof(real));
	average = calloc(list.size, sizeof(real));
	adam.first = calloc(list.size, sizeof(real));
	adam.second = calloc(list.size, sizeof(real));
	rows_at = calloc(outer_rows(&list) + 1, sizeof(int32_t));
	learner->initialise(&spec, &list, &rng, theta);
	put(file, theta, list.size);
	support = rows_of(spec.net.inputs);
	query = rows_of(spec.net.inputs);

	arena_init(&arena, grow, NULL, (size_t) 1 << 30);
	meta_step_init(&step, &arena, learner, &spec, &list, theta, ROWS, ROWS, ROWS, NULL);
	outer = outer_create(&arena, &list, theta, average, &adam, rows_at, false, 0, rates, NULL);
	if (step.fault || outer == NULL)
	{
		fprintf(stderr, "%s\n", step.fault ? step.fault : "out of memory");
		return 1;
	}
	for (int i = 0; i < atoi(argv[2]); i++)
	{
		real		loss = 0;

		outer_begin(outer, i);
		for (int task = 0; task < tasks; task += META_SLICE)
		{
			support.tasks = query.tasks = tasks - task < META_SLICE ? tasks - task : META_SLICE;
			for (int place = 0; place < support.tasks; place++)
			{
				rng = rng_stream(0, RNG_TASK, i, task + place);
				draw_task(&rng, spec.net.inputs, place, &support, &query);
				put_task(file, &support, place);
				put_task(file, &query, place);
			}
			outer_see(outer, &support);
			outer_see(outer, &query);
			loss += meta_step_run(&step, &support, &query, 0, outer->gradient);
		}
		outer_step(outer, 1.0 / tasks);
		loss /= tasks;
		put(file, &loss, 1);
	}
	return fclose(file) != 0;
}
