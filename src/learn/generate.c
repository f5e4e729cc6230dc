/*
 * generate.c
 *	  Learners that model whole rows, at work.
 *
 * A row is made up column by column: what is said of a column depends on those
 * before it, so the same tape runs once per column, on GENERATE_ROWS rows at a
 * time.  Each row has random numbers of its own, and so has the task.
 */
#include "learn/generate.h"

#include <math.h>
#include <string.h>

typedef struct GeneratorTape
{
	Tape		tape;
	bool		built;
	Var		   *phi;			/* one leaf per tensor */
	Var			z;				/* (1, 1, latent) */
	RowVars		rows;
	Var			results[2];
} GeneratorTape;

struct Generator
{
	Arena	   *arena;
	const LearnerSpec *spec;
	const TensorList *list;
	const Generative *generative;
	const real *theta;
	void		(*interrupt) (void);
	int			likely_rows;
	GeneratorTape task;			/* mean and log variance of z */
	GeneratorTape columns;		/* what is said of rows */
	GeneratorTape target;		/* their outputs and variances */
	GeneratorTape likelihood;
	real	   *z;
};

Generator *
generator_create(Arena *arena, const Learner *learner, const LearnerSpec *spec,
				 const TensorList *list, const real *theta, int likely_rows, void (*interrupt) (void))
{
	Generator  *generator = arena_alloc(arena, 1, sizeof(Generator));

	if (generator == NULL)
		return NULL;
	generator->arena = arena;
	generator->spec = spec;
	generator->list = list;
	generator->generative = learner->generative;
	generator->theta = theta;
	generator->interrupt = interrupt;
	generator->likely_rows = likely_rows;
	generator->z = arena_alloc(arena, learner->generative->latent(spec), sizeof(real));
	return generator->z == NULL ? NULL : generator;
}

/* Makes a tape ready for what it computes to be appended; false when memory is full. */
static bool
begin(Generator *generator, GeneratorTape *gt)
{
	Tape	   *tape = &gt->tape;
	const TensorList *list = generator->list;

	tape_init(tape, generator->arena);
	tape->interrupt = generator->interrupt;
	gt->phi = arena_alloc(generator->arena, list->n, sizeof(Var));
	if (gt->phi == NULL)
		return false;
	for (int i = 0; i < list->n; i++)
		gt->phi[i] = tape_leaf(tape, shape(1, list->tensors[i].rows, list->tensors[i].cols),
							   (real *) generator->theta + list->tensors[i].offset);
	gt->z = tape_leaf(tape, shape(1, 1, generator->generative->latent(generator->spec)), generator->z);
	gt->rows = rows_leaves(tape, generator->spec, 1, gt == &generator->likelihood ? generator->likely_rows : GENERATE_ROWS);
	gt->results[0] = gt->results[1] = TAPE_NONE;
	return true;
}

/* Builds a tape where there is none yet. */
static const char *
build(Generator *generator, GeneratorTape *gt)
{
	const Generative *g = generator->generative;
	const LearnerSpec *spec = generator->spec;
	Tape	   *tape = &gt->tape;

	if (!gt->built)
	{
		if (!begin(generator, gt))
			return "out of memory";
		if (gt == &generator->task)
			g->posterior(tape, spec, gt->phi, &gt->results[0], &gt->results[1]);
		else if (gt == &generator->columns)
			gt->results[0] = g->columns(tape, spec, gt->phi, gt->z, gt->rows.x, gt->rows.c);
		else if (gt == &generator->target)
			g->target(tape, spec, gt->phi, gt->z, gt->rows.x, gt->rows.c, &gt->results[0], &gt->results[1]);
		else
			gt->results[0] = g->log_likelihood(tape, spec, gt->phi, &gt->rows);
		tape_finish(tape, gt->results, 2);
		if (tape->fault)
			return tape->fault;
		gt->built = true;
	}
	return NULL;
}

/* Replays it; copies rows, if any, to its leaves. */
static void
replay(Generator *generator, GeneratorTape *gt, const real *phi, const Rows *rows)
{
	for (int i = 0; i < generator->list->n; i++)
		if (tensor_is_own(&generator->list->tensors[i]))
			tape_bind(&gt->tape, gt->phi[i], phi + generator->list->tensors[i].offset);
	if (rows)
		rows_copy(&gt->tape, &gt->rows, rows);
	tape_run(&gt->tape);
}

const char *
generator_reserve(Generator *generator)
{
	return build(generator, &generator->likelihood);
}

const char *
generator_task(Generator *generator, const real *phi, real *mean, real *deviation)
{
	GeneratorTape *gt = &generator->task;
	const char *fault = build(generator, gt);
	int			n = generator->generative->latent(generator->spec);

	if (fault)
		return fault;
	replay(generator, gt, phi, NULL);
	memcpy(mean, tape_data(&gt->tape, gt->results[0]), n * sizeof(real));
	for (int i = 0; i < n && deviation; i++)
		deviation[i] = exp(tape_data(&gt->tape, gt->results[1])[i] / 2);
	return NULL;
}

/* The task: its latent variables. */
static const char *
draw_task(Generator *generator, const real *phi, uint64_t seed)
{
	const GeneratorTape *gt = &generator->task;
	Rng			rng = rng_stream(seed, RNG_SAMPLE, 0, 0);
	const char *fault = generator_task(generator, phi, generator->z, NULL);

	for (int i = 0; i < generator->generative->latent(generator->spec) && fault == NULL; i++)
		generator->z[i] += exp(tape_data(&gt->tape, gt->results[1])[i] / 2) * rng_normal(&rng);
	return fault;
}

/* A target from outputs and, of a number, a variance. */
static void
draw_target(const LearnerSpec *spec, const real *outputs, const real *variance, Rng *rng, real *y)
{
	int			n = spec->net.outputs;
	double		max = outputs[0];
	double		sum = 0;
	double		left;
	int			class = 0;

	switch (spec->loss)
	{
		case LOSS_SQUARED:
			y[0] = outputs[0] + sqrt(variance[0]) * rng_normal(rng);
			break;
		case LOSS_LOGISTIC:
			y[0] = rng_uniform(rng) < 1 / (1 + exp(-(double) outputs[0]));
			break;
		case LOSS_SOFTMAX:
			for (int k = 1; k < n; k++)
				max = fmax(max, outputs[k]);
			for (int k = 0; k < n; k++)
				sum += exp(outputs[k] - max);
			left = rng_uniform(rng) * sum;
			while (class < n - 1 && (left -= exp(outputs[class] - max)) >= 0)
				class++;
			for (int k = 0; k < n; k++)
				y[k] = k == class;
			break;
	}
}

const char *
generator_rows(Generator *generator, const real *phi, uint64_t seed, int64_t first, int n, Rows *rows)
{
	const LearnerSpec *spec = generator->spec;
	const Generative *g = generator->generative;
	Width		width = rows->width;
	GeneratorTape *said = &generator->columns;
	GeneratorTape *target = &generator->target;
	Rng			rng[GENERATE_ROWS];
	real		w[GENERATE_ROWS] = {0};
	const char *fault = draw_task(generator, phi, seed);

	if (fault == NULL)
		fault = build(generator, said);
	if (fault == NULL)
		fault = build(generator, target);
	if (fault)
		return fault;

	rows->tasks = 1;
	rows->rows = n;
	rows->w = w;
	for (int r = 0; r < n; r++)
		rng[r] = rng_stream(seed, RNG_SAMPLE, 1, first + r);
	memset(rows->x, 0, (size_t) n * width.x * sizeof(real));
	memset(rows->c, 0, (size_t) n * width.c * sizeof(int32_t));
	memset(rows->y, 0, (size_t) n * width.y * sizeof(real));
	for (int column = 0; column < spec->n_columns; column++)
	{
		if (!g->models(spec, column))
			continue;
		replay(generator, said, phi, rows);
		for (int r = 0; r < n; r++)
		{
			int			cols = tape_shape(&said->tape, said->results[0]).cols;

			g->draw(spec, generator->list, generator->theta, column, tape_data(&said->tape, said->results[0]) + (size_t) r * cols,
					&rng[r], rows->x + (size_t) r * width.x, rows->c + (size_t) r * width.c);
		}
	}
	replay(generator, target, phi, rows);
	for (int r = 0; r < n; r++)
		draw_target(spec, tape_data(&target->tape, target->results[0]) + (size_t) r * width.y,
					target->results[1] == TAPE_NONE ? NULL : tape_data(&target->tape, target->results[1]) + r,
					&rng[r], rows->y + (size_t) r * width.y);
	rows->w = NULL;
	return NULL;
}

const char *
generator_log_likelihood(Generator *generator, const real *phi, const Rows *rows, real *likelihood)
{
	GeneratorTape *gt = &generator->likelihood;
	const char *fault = build(generator, gt);

	if (fault)
		return fault;
	replay(generator, gt, phi, rows);
	memcpy(likelihood, tape_data(&gt->tape, gt->results[0]), rows->rows * sizeof(real));
	return NULL;
}
