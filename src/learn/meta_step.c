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

/* ---- tables by rows ---- */

/* Lays out the tensors as a tape has them; a slice looks up no more than so many rows. */
static bool
lay_out_small(MetaStep *step, Arena *arena, int most_rows)
{
	const TensorList *list = step->list;
	TensorList *small = &step->small;

	*small = (TensorList) {arena_alloc(arena, list->n, sizeof(Tensor)), 0, list->n, 0};
	step->tables = arena_alloc(arena, list->n, sizeof(SliceTable));
	step->gradients = arena_alloc(arena, list->n, sizeof(real *));
	if (small->tensors == NULL || step->tables == NULL || step->gradients == NULL)
		return false;
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		int			rows = tensor->by_rows && tensor->rows > most_rows ? most_rows : tensor->rows;
		SliceTable *table = NULL;

		tensor_add(small, tensor->name, rows, tensor->cols, tensor->role);
		if (!tensor->by_rows)
			continue;
		for (int t = 0; t < step->n_tables; t++)
			if (step->tables[t].column == tensor->column)
				table = &step->tables[t];
		if (table != NULL)
			continue;
		table = &step->tables[step->n_tables++];
		table->column = tensor->column;
		table->size = tensor->rows;
		table->max = rows;
		table->rows = arena_alloc(arena, rows, sizeof(int32_t));
		table->place = arena_alloc(arena, tensor->rows, sizeof(int32_t));
		if (table->rows == NULL || table->place == NULL)
			return false;
		step->n_rows += 1 + rows;
	}
	step->small_tables = arena_alloc(arena, step->n_tables > 0 ? small->size : 0, sizeof(real));
	return step->small_tables != NULL;
}

static const SliceTable *
table_of(const MetaStep *step, const Tensor *tensor)
{
	const SliceTable *table = step->tables;

	while (table->column != tensor->column)
		table++;
	return table;
}

/* The place of a row among the slice's. */
static inline int32_t
place_row(SliceTable *table, int32_t row)
{
	if (row < 0 || row >= table->size)
		row = 0;
	if (table->place[row] >= table->n || table->rows[table->place[row]] != row)
	{
		table->place[row] = table->n;
		table->rows[table->n++] = row;
	}
	return table->place[row];
}

/* Makes a leaf's codes number the slice's rows. */
static void
place_codes(const MetaStep *step, const Tape *tape, Var c)
{
	Shape		s = tape_shape(tape, c);
	int32_t    *codes = tape_index_data(tape, c);

	for (int t = 0; t < step->n_tables && codes != NULL; t++)
		for (size_t r = 0; r < (size_t) s.tasks * s.rows; r++)
		{
			int32_t    *code = &codes[r * s.cols + step->tables[t].column];

			*code = place_row(&step->tables[t], *code);
		}
}

static void
copy_rows(const MetaStep *step)
{
	for (int i = 0; i < step->list->n; i++)
	{
		const Tensor *tensor = &step->list->tensors[i];
		const SliceTable *table;

		if (!tensor->by_rows)
			continue;
		table = table_of(step, tensor);
		for (int r = 0; r < table->n; r++)
			memcpy(step->small_tables + step->small.tensors[i].offset + (size_t) r * tensor->cols,
				   step->theta + tensor->offset + (size_t) table->rows[r] * tensor->cols, tensor->cols * sizeof(real));
	}
}

/* ---- building ---- */

static void
build(MetaStep *step, MetaTape *mt, Arena *arena, int lowest, int query, void (*interrupt) (void))
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
		leaves[i] = memory_leaf(tape, &step->small.tensors[i], 0,
								list->tensors[i].by_rows ? step->small_tables + step->small.tensors[i].offset :
								step->theta + list->tensors[i].offset);
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
	for (int i = 0; i < list->n && !tape->fault; i++)
		if (list->tensors[i].by_rows && !tape_only_gathered(tape, leaves[i]))
			tape->fault = "a table by rows is read as a whole";
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
	step->theta = theta;
	step->slice = spec->options.meta_batch < META_SLICE ? spec->options.meta_batch : META_SLICE;
	if (learner->flags & LEARNER_NO_SUPPORT)
		lowest = shots = 0;
	if (!lay_out_small(step, arena, 1 + step->slice * (shots + query)))
		step->fault = "out of memory";
	if (learner->noise && step->fault == NULL)
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
		build(step, &step->sizes[step->n_sizes++], arena, lowest, query, interrupt);
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

/* ---- gradients ---- */

static inline void
add_numbers(real *to, const real *from, size_t n)
{
	for (size_t j = 0; j < n; j++)
		to[j] += from[j];
}

static void
add_tensor(const Tensor *tensor, const real *from, const int32_t *rows, int n, real *gradient)
{
	size_t		cols = tensor->cols;

	gradient += tensor->offset;
	if (rows == NULL)
		add_numbers(gradient, from, tensor->rows * cols);
	else
		for (int r = 0; r < n; r++)
			add_numbers(gradient + rows[r] * cols, from + r * cols, cols);
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
	if (step->n_tables > 0)
	{
		for (int t = 0; t < step->n_tables; t++)
		{
			step->tables[t].n = 0;
			place_row(&step->tables[t], 0);
		}
		place_codes(step, &mt->tape, mt->support.c);
		place_codes(step, &mt->tape, mt->query.c);
		copy_rows(step);
	}
	*tape_data(&mt->tape, mt->progress) = progress;
	tape_run(&mt->tape);

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		const SliceTable *table = tensor->by_rows ? table_of(step, tensor) : NULL;

		step->gradients[i] = changed(tensor) ? tape_data(&mt->tape, mt->gradients[i]) : NULL;
		if (gradient != NULL && step->gradients[i] != NULL)
			add_tensor(tensor, step->gradients[i], table ? table->rows : NULL, table ? table->n : 0, gradient);
	}
	for (int t = 0; t < query->tasks; t++)
		sum += tape_data(&mt->tape, mt->losses)[t];
	return sum;
}

void
meta_step_store(const MetaStep *step, SliceGradient *slice)
{
	int32_t    *rows = slice->rows;

	for (int i = 0; i < step->list->n; i++)
	{
		const Tensor *small = &step->small.tensors[i];

		if (step->gradients[i] != NULL)
			memcpy(slice->numbers + small->offset, step->gradients[i], (size_t) small->rows * small->cols * sizeof(real));
	}
	for (int t = 0; t < step->n_tables; t++)
	{
		const SliceTable *table = &step->tables[t];

		*rows++ = table->n;
		memcpy(rows, table->rows, table->n * sizeof(int32_t));
		rows += table->max;
	}
}

void
meta_step_add_stored(const MetaStep *step, const SliceGradient *slice, real *gradient)
{
	for (int i = 0; i < step->list->n; i++)
	{
		const Tensor *tensor = &step->list->tensors[i];
		const real *from = slice->numbers + step->small.tensors[i].offset;
		const int32_t *rows = slice->rows;

		if (!changed(tensor))
			continue;
		if (tensor->by_rows)
			for (const SliceTable *table = step->tables; table->column != tensor->column; table++)
				rows += 1 + table->max;
		add_tensor(tensor, from, tensor->by_rows ? rows + 1 : NULL, tensor->by_rows ? rows[0] : 0, gradient);
	}
}
