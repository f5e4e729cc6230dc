/*
 * meta_step.c
 *	  The outer gradient of a slice of a meta-batch.
 */
#include "learn/meta_step.h"

#include <string.h>

#include "learn/memory.h"
#include "learn/moments.h"

/* Does the outer loop change it? */
static bool
changed(const Tensor *tensor)
{
	return tensor_learned(tensor) || tensor_averaged(tensor);
}

/* Makes the tape ready for replaying: its results are the losses and the gradients. */
static void
finish(const MetaStep *step, MetaTape *mt)
{
	const TensorList *list = step->list;
	Var		   *roots = arena_alloc(mt->tape.arena, list->n + 1, sizeof(Var));

	if (roots == NULL)
	{
		mt->tape.fault = "out of memory";
		return;
	}
	roots[0] = mt->losses;
	for (int i = 0; i < list->n; i++)
		roots[i + 1] = changed(&list->tensors[i]) ? mt->gradients[i] : TAPE_NONE;
	tape_finish(&mt->tape, roots, list->n + 1);
}

static void
build(MetaStep *step, MetaTape *mt, Arena *arena, const real *theta, int lowest, int query, void (*interrupt) (void))
{
	const TensorList *list = step->list;
	Tape	   *tape = &mt->tape;
	Var		   *leaves = arena_alloc(arena, list->n, sizeof(Var));
	Var		   *vars;
	Var		   *phi = arena_alloc(arena, list->n, sizeof(Var));
	Var			noise;

	tape_init(tape, arena);
	tape->interrupt = interrupt;
	mt->gradients = arena_alloc(arena, list->n, sizeof(Var));
	if (leaves == NULL || phi == NULL || mt->gradients == NULL)
	{
		step->fault = "out of memory";
		return;
	}
	for (int i = 0; i < list->n; i++)
		leaves[i] = memory_leaf(tape, &list->tensors[i], 0, theta + list->tensors[i].offset);
	mt->support = rows_leaves(tape, step->spec, step->slice, mt->support_rows);
	mt->query = rows_leaves(tape, step->spec, step->slice, query);
	mt->progress = tape_leaf(tape, shape(1, 1, 1), NULL);
	noise = step->noise == NULL ? TAPE_NONE :
		tape_leaf(tape, shape(step->slice, step->noise_rows, step->noise_cols), step->noise);
	vars = moments_hidden(tape, list, MOMENTS_TRAINING, leaves);
	if (vars == NULL)
	{
		step->fault = tape->fault;
		return;
	}

	if (step->learner->outer)
		step->learner->outer(tape, step->spec, list, &mt->support, &mt->query, vars, &mt->losses, mt->gradients);
	else if (step->learner->episode)
	{
		mt->losses = step->learner->episode(tape, step->spec, list, &mt->support, &mt->query, vars, mt->progress, noise);
		tape_gradient(tape, mt->losses, leaves, list->n, mt->gradients);
	}
	else
	{
		step->learner->adapt(tape, step->spec, list, &mt->support, vars, phi);
		if (step->learner->losses)
			mt->losses = step->learner->losses(tape, step->spec, list, phi, &mt->query);
		else
			mt->losses = loss_mean(tape, step->spec->loss,
								   step->learner->predict(tape, step->spec, list, phi, mt->query.x, mt->query.c),
								   mt->query.y, mt->query.w);
		tape_gradient(tape, mt->losses, leaves, list->n, mt->gradients);
	}
	moments_gradients(tape, step->spec, list, lowest > 0 ? &mt->support : &mt->query, leaves, mt->gradients);
	if (!tape->fault)
		finish(step, mt);
	if (tape->fault)
		step->fault = tape->fault;
}

void
meta_step_init(MetaStep *step, Arena *arena, const Learner *learner, const LearnerSpec *spec,
			   const TensorList *list, const real *theta, int lowest, int shots, int query,
			   void (*interrupt) (void))
{
	memset(step, 0, sizeof(*step));
	step->learner = learner;
	step->spec = spec;
	step->list = list;
	step->slice = spec->options.meta_batch < META_SLICE ? spec->options.meta_batch : META_SLICE;
	if (learner->flags & LEARNER_NO_SUPPORT)
		lowest = shots = 0;
	if (learner->noise)
	{
		learner->noise(spec, &step->noise_rows, &step->noise_cols);
		step->noise = arena_alloc(arena, (size_t) step->slice * step->noise_rows * step->noise_cols, sizeof(real));
		if (step->noise == NULL)
			step->fault = "out of memory";
	}

	/* Largest first: shots, then halves of it down to the fewest asked for. */
	for (int rows = shots; step->n_sizes < META_MAX_SIZES && step->fault == NULL; rows /= 2)
	{
		if (step->n_sizes == META_MAX_SIZES - 1 && lowest < rows)
			rows = lowest;
		step->sizes[step->n_sizes].support_rows = rows;
		build(step, &step->sizes[step->n_sizes++], arena, theta, lowest, query, interrupt);
		if (rows <= lowest)
			break;
	}
}

void
meta_step_draw(MetaStep *step, int iteration, int place)
{
	int			n = step->noise_rows * step->noise_cols;

	for (int t = 0; t < step->slice && n > 0; t++)
	{
		Rng			rng = rng_stream(step->spec->options.seed, RNG_NOISE, iteration, place + t);

		for (int i = 0; i < n; i++)
			step->noise[t * n + i] = rng_normal(&rng);
	}
}

double
meta_step_run(MetaStep *step, const Rows *support, const Rows *query, double progress, real *gradient)
{
	const TensorList *list = step->list;
	MetaTape   *mt = &step->sizes[0];
	double		sum = 0;

	for (int i = 1; i < step->n_sizes; i++)
		if (step->sizes[i].support_rows >= support->rows)
			mt = &step->sizes[i];
	rows_copy(&mt->tape, &mt->support, support);
	rows_copy(&mt->tape, &mt->query, query);
	*tape_data(&mt->tape, mt->progress) = progress;
	tape_run(&mt->tape);

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		const real *from = tape_data(&mt->tape, mt->gradients[i]);
		size_t		n = (size_t) tensor->rows * tensor->cols;

		if (from == NULL || !changed(tensor))
			continue;
		for (size_t j = 0; j < n; j++)
			gradient[tensor->offset + j] += from[j];
	}
	for (int t = 0; t < query->tasks; t++)
		sum += tape_data(&mt->tape, mt->losses)[t];
	return sum;
}
