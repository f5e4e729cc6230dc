/*
 * generate.c
 *	  Learners that model whole rows, at work.
 *
 * A row is made up column by column: what is said of a column depends on those
 * before it, so the same tape runs once per column, on up to GENERATE_ROWS rows
 * at a time.  Each row has random numbers of its own, and so has the task.
 *
 * Rows of a task agree in more than z says: a student has one year of birth.
 * So where few rows are known, those made up are looked at as the task's own
 * would be, after 1, 2 and 4 of them.  No longer than that: each look takes the
 * chance in what was made up for the task's own, and so leads away from it.
 */
#include "learn/generate.h"

#include <math.h>
#include <string.h>

#include "learn/apply.h"

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
	const Learner *learner;
	const LearnerSpec *spec;
	const TensorList *list;
	const Generative *generative;
	const real *theta;
	void		(*interrupt) (void);
	int			likely_rows;
	GeneratorTape task;			/* mean and log variance of z */
	GeneratorTape drawn;		/* z, from noise in its place */
	GeneratorTape columns;		/* what is said of rows */
	GeneratorTape target;		/* their outputs and variances */
	GeneratorTape likelihood;
	real	   *z;

	/* the task whose rows are being made up */
	Applier    *applier;		/* NULL: no task yet */
	const real *from;			/* its parameters, */
	real	   *phi;			/* and after the rows so far */
	uint64_t	seed;
	int64_t		made;
	double		known;			/* rows that the parameters have seen */
	Rows		seen;			/* the first GENERATE_LOOKS rows made up */
};

Generator *
generator_create(Arena *arena, const Learner *learner, const LearnerSpec *spec,
				 const TensorList *list, const real *theta, int likely_rows, void (*interrupt) (void))
{
	Generator  *generator = arena_alloc(arena, 1, sizeof(Generator));

	if (generator == NULL)
		return NULL;
	generator->arena = arena;
	generator->learner = learner;
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
		if (gt == &generator->drawn)
			gt->results[0] = g->draw_task(tape, spec, gt->phi, gt->z);
		else if (gt == &generator->task)
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

/* What tells tasks apart, so that one seed does not draw the same of all of them (FNV-1a). */
static uint64_t
own_hash(const TensorList *list, const real *phi)
{
	uint64_t	hash = UINT64_C(14695981039346656037);

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		const unsigned char *bytes = (const unsigned char *) (phi + tensor->offset);

		for (size_t b = 0; b < (size_t) tensor->rows * tensor->cols * sizeof(real) && tensor_is_own(tensor); b++)
			hash = (hash ^ bytes[b]) * UINT64_C(1099511628211);
	}
	return hash;
}

/* Memory for the rows of a task. */
static bool
reserve_task(Generator *generator)
{
	Arena	   *arena = generator->arena;
	Width		width = {generator->spec->net.inputs, generator->spec->net.n_embeddings, generator->spec->net.outputs};
	Rows	   *seen = &generator->seen;

	if (generator->applier != NULL)
		return true;
	*seen = (Rows) {.width = width, .tasks = 1};
	seen->x = arena_alloc(arena, (size_t) GENERATE_LOOKS * width.x + 1, sizeof(real));
	seen->c = arena_alloc(arena, (size_t) GENERATE_LOOKS * width.c + 1, sizeof(int32_t));
	seen->y = arena_alloc(arena, (size_t) GENERATE_LOOKS * width.y, sizeof(real));
	seen->w = arena_alloc(arena, GENERATE_LOOKS, sizeof(real));
	generator->phi = arena_alloc(arena, generator->list->size + 1, sizeof(real));
	if (!seen->x || !seen->c || !seen->y || !seen->w || !generator->phi)
		return false;
	for (int r = 0; r < GENERATE_LOOKS; r++)
		seen->w[r] = 1;
	generator->applier = applier_create(arena, generator->learner, generator->spec, generator->list, generator->theta,
										generator->interrupt);
	return generator->applier != NULL;
}

const char *
generator_begin(Generator *generator, const real *phi, uint64_t seed)
{
	int			n = generator->generative->latent(generator->spec);
	const char *fault = build(generator, &generator->drawn);
	Rng			rng;

	if (fault)
		return fault;
	if (!reserve_task(generator))
		return "out of memory";
	generator->from = phi;
	generator->seed = seed ^ own_hash(generator->list, phi);
	generator->made = 0;
	generator->known = generator->generative->rows(generator->spec, generator->list, phi);
	memcpy(generator->phi, phi, generator->list->size * sizeof(real));
	rng = rng_stream(generator->seed, RNG_SAMPLE, 0, 0);
	for (int i = 0; i < n; i++)
		generator->z[i] = rng_normal(&rng);
	replay(generator, &generator->drawn, phi, NULL);
	memcpy(generator->z, tape_data(&generator->drawn.tape, generator->drawn.results[0]), n * sizeof(real));
	return NULL;
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

/* Makes up the next n rows, which do not see each other. */
static const char *
make_rows(Generator *generator, int n, Rows *rows)
{
	const LearnerSpec *spec = generator->spec;
	const Generative *g = generator->generative;
	Width		width = rows->width;
	GeneratorTape *said = &generator->columns;
	GeneratorTape *target = &generator->target;
	Rng			rng[GENERATE_ROWS];
	real		w[GENERATE_ROWS] = {0};
	const char *fault = build(generator, said);

	if (fault == NULL)
		fault = build(generator, target);
	if (fault)
		return fault;

	rows->tasks = 1;
	rows->rows = n;
	rows->w = w;
	for (int r = 0; r < n; r++)
		rng[r] = rng_stream(generator->seed, RNG_SAMPLE, 1, generator->made + r);
	memset(rows->x, 0, (size_t) n * width.x * sizeof(real));
	memset(rows->c, 0, (size_t) n * width.c * sizeof(int32_t));
	memset(rows->y, 0, (size_t) n * width.y * sizeof(real));
	for (int column = 0; column < spec->n_columns; column++)
	{
		if (!g->models(spec, column))
			continue;
		replay(generator, said, generator->phi, rows);
		for (int r = 0; r < n; r++)
		{
			int			cols = tape_shape(&said->tape, said->results[0]).cols;

			g->draw(spec, generator->list, generator->theta, column, tape_data(&said->tape, said->results[0]) + (size_t) r * cols,
					&rng[r], rows->x + (size_t) r * width.x, rows->c + (size_t) r * width.c);
		}
	}
	replay(generator, target, generator->phi, rows);
	for (int r = 0; r < n; r++)
		draw_target(spec, tape_data(&target->tape, target->results[0]) + (size_t) r * width.y,
					target->results[1] == TAPE_NONE ? NULL : tape_data(&target->tape, target->results[1]) + r,
					&rng[r], rows->y + (size_t) r * width.y);
	rows->w = NULL;
	generator->made += n;
	return NULL;
}

/* How many rows are made up when they are next looked at, a power of two; 0: no more. */
static int
next_look(const Generator *generator)
{
	int			look = 1;

	if (generator->known + generator->made >= GENERATE_LOOKS)
		return 0;
	while (look <= generator->made)
		look *= 2;
	return look;
}

const char *
generator_next(Generator *generator, int n, Rows *rows)
{
	Width		width = rows->width;
	Rows	   *seen = &generator->seen;
	const char *fault = NULL;
	int			batch;

	for (int done = 0; done < n && fault == NULL; done += batch)
	{
		int64_t		made = generator->made;
		int			look = next_look(generator);
		Rows		part = *rows;

		batch = look > 0 && look - made < n - done ? (int) (look - made) : n - done;
		part.x += (size_t) done * width.x;
		part.c += (size_t) done * width.c;
		part.y += (size_t) done * width.y;
		fault = make_rows(generator, batch, &part);
		if (fault != NULL || look == 0)
			continue;
		memcpy(seen->x + made * width.x, part.x, (size_t) batch * width.x * sizeof(real));
		memcpy(seen->c + made * width.c, part.c, (size_t) batch * width.c * sizeof(int32_t));
		memcpy(seen->y + made * width.y, part.y, (size_t) batch * width.y * sizeof(real));
		seen->rows = (int) generator->made;
		if (seen->rows == look)
			fault = applier_adapt(generator->applier, seen, generator->from, generator->phi);
	}
	return fault;
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
