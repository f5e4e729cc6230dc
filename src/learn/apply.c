/*
 * apply.c
 *	  A trained component at work: adapt to one task, predict rows.
 */
#include "learn/apply.h"

#include <math.h>
#include <string.h>

#include "learn/memory.h"
#include "learn/moments.h"
#include "nn/kernels.h"

/*
 * Rows per tape are rounded up to 0 or a power of two, so that few are built.
 */
#define MAX_BUCKETS 12
#define PREDICT_MAX_ROWS 256

/*
 * Support rows, of which there are often few, are rounded up less: a row that
 * is not there costs what others cost, in every step.
 */
static const short adapt_rows[] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112,
	128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024
};

#define ADAPT_BUCKETS ((int) (sizeof(adapt_rows) / sizeof(adapt_rows[0])))

/* The same for rows of a task's memory, as many as there are. */
#define MEMORY_BUCKETS 32

typedef struct AdaptTape
{
	Tape		tape;
	bool		built;
	RowVars		support;
	Var		   *theta;			/* one leaf per tensor */
	Var		   *phi;
} AdaptTape;

typedef struct PredictTape
{
	Tape		tape;
	bool		built;
	RowVars		rows;
	Var		   *phi;			/* one leaf per tensor */
	const real *bound;			/* what these read, or NULL */
	bool		leveled;		/* it can be run from a level on */
	uint64_t	version;		/* of what that was in the last run; 0: any */
	Var			outputs;
	real	   *x;				/* what the rows are copied to */
	int32_t    *c;
	real	   *w;
	int			room;			/* rows of it */
	int			filled;			/* rows that the weights count; -1: none yet */
} PredictTape;

/*
 * What a prediction reads, by how often it changes: the model, a task's
 * parameters, rows.
 */
enum
{
	LEVEL_MODEL,
	LEVEL_TASK,
	LEVEL_ROWS
};

struct Applier
{
	Arena	   *arena;
	const Learner *learner;
	const LearnerSpec *spec;
	const TensorList *list;
	const real *theta;
	bool		own_only;		/* adapting leaves out what is not a task's own */
	bool		has_memory;		/* one of the tensors is a memory */
	uint64_t	version;		/* of phi; 0: unknown */
	void		(*interrupt) (void);
	real	  **aligned;		/* copies of the model's tensors, or NULL */
	bool		transductive;
	Rows		thin;			/* memory for a task with very many rows */
	bool		coarse;			/* powers of two, for support rows, too */
	AdaptTape  *adapt[ADAPT_BUCKETS];	/* NULL: not wanted yet */
	PredictTape *predict[MEMORY_BUCKETS];	/* MAX_BUCKETS each, or NULL */
	PredictTape *variance[MEMORY_BUCKETS];
};

/* Learner.predict or Learner.variance */
typedef Var (*RowFunction) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
							const Var *phi, Var x, Var c);

Applier *
applier_create(Arena *arena, const Learner *learner, const LearnerSpec *spec,
			   const TensorList *list, const real *theta, void (*interrupt) (void))
{
	Applier    *applier = arena_alloc(arena, 1, sizeof(Applier));

	if (applier == NULL)
		return NULL;
	applier->arena = arena;
	applier->learner = learner;
	applier->spec = spec;
	applier->list = list;
	applier->theta = theta;
	for (int i = 0; i < list->n; i++)
		applier->has_memory |= list->tensors[i].role == TENSOR_MEMORY;
	applier->interrupt = interrupt;
	return applier;
}

static int
bucket_rows(int bucket)
{
	return bucket == 0 ? 0 : 1 << (bucket - 1);
}

void
applier_own_only(Applier *applier)
{
	applier->own_only = true;
}

void
applier_transductive(Applier *applier)
{
	applier->transductive = true;
}

/* Rows that are predicted at once. */
static int
rows_at_once(const Applier *applier)
{
	return applier->transductive ? bucket_rows(MAX_BUCKETS - 1) : PREDICT_MAX_ROWS;
}

/* Of support rows. */
static int
adapt_bucket_of(const Applier *applier, int rows)
{
	int			bucket = 0;

	while (bucket < ADAPT_BUCKETS - 1 &&
		   (adapt_rows[bucket] < rows || (applier->coarse && (adapt_rows[bucket] & (adapt_rows[bucket] - 1)) != 0)))
		bucket++;
	return bucket;
}

/* The bucket of a number of rows: 0, 1, 2, 4, 8, ... */
static int
bucket_of(int rows, int buckets)
{
	int			bucket = 0;

	while (bucket < buckets - 1 && bucket_rows(bucket) < rows)
		bucket++;
	return bucket;
}

#define LINE 64
#define ALIGNED_MAX 32768		/* numbers that are worth a copy */

/*
 * A tensor of the model, of which predictions read whole vectors, at the
 * beginning of a cache line: behind one of a single number it does not lie
 * there, and each vector would be read from two.  NULL when out of memory.
 */
static const real *
model_numbers(Applier *applier, int i)
{
	const Tensor *tensor = &applier->list->tensors[i];
	const real *numbers = applier->theta + tensor->offset;
	size_t		n = (size_t) tensor->rows * tensor->cols;

	/* where its version is known the model stays as it is */
	if (applier->version == 0 || tensor_is_own(tensor) || applier->spec->net.kind != NETWORK_MLP ||
		(uintptr_t) numbers % LINE == 0 || n < LINE / sizeof(real) || n > ALIGNED_MAX)
		return numbers;
	if (applier->aligned == NULL)
		applier->aligned = arena_alloc(applier->arena, applier->list->n, sizeof(real *));
	if (applier->aligned == NULL)
		return NULL;
	if (applier->aligned[i] == NULL)
	{
		applier->aligned[i] = arena_alloc(applier->arena, n, sizeof(real));
		if (applier->aligned[i] != NULL)
			memcpy(applier->aligned[i], numbers, n * sizeof(real));
	}
	return applier->aligned[i];
}

/*
 * One leaf per tensor, to be bound before each run.  memory: rows of a task's
 * memory.
 */
static Var *
tensor_leaves(Applier *applier, Tape *tape, int memory)
{
	Var		   *vars = arena_alloc(applier->arena, applier->list->n, sizeof(Var));

	if (vars == NULL)
	{
		tape->fault = "out of memory";
		return NULL;
	}
	for (int i = 0; i < applier->list->n; i++)
	{
		const Tensor *tensor = &applier->list->tensors[i];
		const real *numbers = model_numbers(applier, i);

		if (numbers == NULL)
		{
			tape->fault = "out of memory";
			return NULL;
		}
		vars[i] = memory_leaf(tape, tensor, memory, numbers);
		if (applier->version != 0)
			tape_set_level(tape, vars[i], tensor_is_own(tensor) ? LEVEL_TASK : LEVEL_MODEL);
	}
	return vars;
}

/* A task's parameters; what tasks share, like tables of categories, stays where it is. */
static void
bind_tensors(const Applier *applier, Tape *tape, const Var *vars, const real *values)
{
	for (int i = 0; i < applier->list->n; i++)
		if (tensor_is_own(&applier->list->tensors[i]))
			tape_bind(tape, vars[i], values + applier->list->tensors[i].offset);
}

static const char *
build_adapt(Applier *applier, AdaptTape *at, int rows)
{
	LearnerSpec spec = *applier->spec;
	Var		   *theta;

	/* this is no training, whose steps may be fewer */
	if (spec.options.adapt_steps > 0)
		spec.options.inner_steps = spec.options.adapt_steps;
	tape_init(&at->tape, applier->arena);
	at->tape.interrupt = applier->interrupt;
	at->theta = tensor_leaves(applier, &at->tape, 0);
	at->phi = arena_alloc(applier->arena, applier->list->n, sizeof(Var));
	if (at->theta == NULL || at->phi == NULL)
		return "out of memory";
	at->support = rows_leaves(&at->tape, &spec, 1, rows);
	theta = moments_hidden(&at->tape, applier->list, MOMENTS_TRANSDUCTIVE, at->theta);
	if (theta == NULL)
		return "out of memory";
	applier->learner->adapt(&at->tape, &spec, applier->list, &at->support, theta, at->phi);
	moments_adapt(&at->tape, &spec, &at->support, at->theta, at->phi);
	tape_finish(&at->tape, at->phi, applier->list->n);
	at->built = at->tape.fault == NULL;
	return at->tape.fault;
}

/* The tape for a bucket of support rows, built on first use; NULL and *fault otherwise. */
static AdaptTape *
adapt_tape(Applier *applier, int bucket, const char **fault)
{
	AdaptTape **at = &applier->adapt[bucket];

	*fault = NULL;
	if (*at == NULL)
		*at = arena_alloc(applier->arena, 1, sizeof(AdaptTape));
	if (*at == NULL)
		*fault = "out of memory";
	else if (!(*at)->built)
		*fault = build_adapt(applier, *at, adapt_rows[bucket]);
	return *fault ? NULL : *at;
}

static const char *
build_predict(Applier *applier, PredictTape *pt, RowFunction function, int rows, int memory)
{
	Var		   *phi;

	tape_init(&pt->tape, applier->arena);
	pt->tape.interrupt = applier->interrupt;
	pt->phi = tensor_leaves(applier, &pt->tape, memory);
	if (pt->phi == NULL)
		return "out of memory";
	pt->rows = rows_leaves(&pt->tape, applier->spec, 1, rows);
	pt->leveled = applier->version != 0;
	if (pt->leveled)
	{
		tape_set_level(&pt->tape, pt->rows.x, LEVEL_ROWS);
		tape_set_level(&pt->tape, pt->rows.c, LEVEL_ROWS);
		tape_set_level(&pt->tape, pt->rows.w, LEVEL_ROWS);
	}
	phi = moments_hidden(&pt->tape, applier->list,
						 applier->transductive ? MOMENTS_TRANSDUCTIVE : MOMENTS_GIVEN, pt->phi);
	if (phi == NULL)
		return "out of memory";
	pt->outputs = function(&pt->tape, applier->spec, applier->list, phi, pt->rows.x, pt->rows.c);
	tape_finish(&pt->tape, &pt->outputs, 1);
	pt->x = tape_data(&pt->tape, pt->rows.x);
	pt->c = tape_index_data(&pt->tape, pt->rows.c);
	pt->w = tape_data(&pt->tape, pt->rows.w);
	pt->room = rows;
	pt->filled = -1;
	pt->built = pt->tape.fault == NULL;
	return pt->tape.fault;
}

/* The tape for a bucket of rows and one of memory, built on first use; NULL and *fault otherwise. */
static PredictTape *
predict_tape(Applier *applier, PredictTape **tapes, RowFunction function, int memory, int bucket, const char **fault)
{
	*fault = NULL;
	if (tapes[memory] == NULL)
		tapes[memory] = arena_alloc(applier->arena, MAX_BUCKETS, sizeof(PredictTape));
	if (tapes[memory] == NULL)
		*fault = "out of memory";
	else if (!tapes[memory][bucket].built)
		*fault = build_predict(applier, &tapes[memory][bucket], function, bucket_rows(bucket), bucket_rows(memory));
	return *fault ? NULL : &tapes[memory][bucket];
}

/* Rows that are adapted on at once. */
static int
portion_size(const Learner *learner)
{
	return learner->portion > 0 ? learner->portion : ADAPT_MAX_ROWS;
}

const char *
applier_reserve(Applier *applier, int support_rows, int rows)
{
	int			portion = portion_size(applier->learner);
	int			last_predict = bucket_of(rows < rows_at_once(applier) ? rows : rows_at_once(applier), MAX_BUCKETS);
	int			last_memory = 0;
	const char *fault = NULL;

	if (applier->has_memory)
		last_memory = bucket_of(support_rows, MEMORY_BUCKETS);
	applier->coarse = true;
	for (int more = 0; fault == NULL && !(applier->learner->flags & LEARNER_NO_SUPPORT);)
	{
		int			bucket = adapt_bucket_of(applier, more);

		adapt_tape(applier, bucket, &fault);
		if (adapt_rows[bucket] >= (support_rows < portion ? support_rows : portion))
			break;
		more = adapt_rows[bucket] + 1;
	}
	for (int memory = 0; memory <= last_memory; memory++)
		for (int bucket = 1; bucket <= last_predict && fault == NULL; bucket++)
			predict_tape(applier, applier->predict, applier->learner->predict, memory, bucket, &fault);
	return fault;
}

/* Adapts on at most ADAPT_MAX_ROWS rows. */
static const char *
adapt_portion(Applier *applier, const Rows *support, const real *from, real *to)
{
	int			bucket = adapt_bucket_of(applier, support->rows);
	const char *fault;
	AdaptTape  *at = adapt_tape(applier, bucket, &fault);
	const TensorList *list = applier->list;

	if (at == NULL)
		return fault;
	bind_tensors(applier, &at->tape, at->theta, from);
	rows_copy(&at->tape, &at->support, support);
	tape_run(&at->tape);

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		n = (size_t) tensor->rows * tensor->cols;
		const real *values = tape_data(&at->tape, at->phi[i]);
		bool		memory = tensor->role == TENSOR_MEMORY;
		bool		changed = at->phi[i] != at->theta[i];

		if (applier->own_only && !tensor_is_own(tensor))
			continue;
		memmove(to + tensor->offset, memory ? from + tensor->offset : values, n * sizeof(real));
		if (memory)
			n = (size_t) support->rows * tensor->cols;
		if (changed && !kernels()->finite(n, values))
			return "the adapted parameters are not finite numbers";
		if (memory && changed)
			memory_append(tensor, to + tensor->offset, values, support->rows);
	}
	return NULL;
}

/* Rows [first, first + n) of one task's rows, without a copy. */
static Rows
portion_of(const Rows *rows, int first, int n)
{
	Rows		portion = *rows;

	portion.x += (size_t) first * rows->width.x;
	portion.c += (size_t) first * rows->width.c;
	portion.y += (size_t) first * rows->width.y;
	portion.w += first;
	portion.rows = n;
	return portion;
}

/* Every so many-th row, ADAPT_MAX_ROWS of them, in the arena. */
static const char *
thin_rows(Applier *applier, const Rows *rows, Rows *thin)
{
	Width		width = rows->width;

	*thin = applier->thin;
	if (thin->x == NULL)
	{
		thin->x = arena_alloc(applier->arena, (size_t) ADAPT_MAX_ROWS * width.x + 1, sizeof(real));
		thin->c = arena_alloc(applier->arena, (size_t) ADAPT_MAX_ROWS * width.c + 1, sizeof(int32_t));
		thin->y = arena_alloc(applier->arena, (size_t) ADAPT_MAX_ROWS * width.y + 1, sizeof(real));
		thin->w = arena_alloc(applier->arena, ADAPT_MAX_ROWS, sizeof(real));
		if (thin->x == NULL || thin->c == NULL || thin->y == NULL || thin->w == NULL)
			return "out of memory";

		/* all or nothing: the applier may be used again after the error */
		applier->thin = *thin;
	}
	thin->width = width;
	thin->tasks = 1;
	thin->rows = ADAPT_MAX_ROWS;
	for (int i = 0; i < ADAPT_MAX_ROWS; i++)
	{
		size_t		from = (size_t) i * rows->rows / ADAPT_MAX_ROWS;

		memcpy(thin->x + (size_t) i * width.x, rows->x + from * width.x, width.x * sizeof(real));
		memcpy(thin->c + (size_t) i * width.c, rows->c + from * width.c, width.c * sizeof(int32_t));
		memcpy(thin->y + (size_t) i * width.y, rows->y + from * width.y, width.y * sizeof(real));
		thin->w[i] = rows->w[from];
	}
	return NULL;
}

const char *
applier_adapt(Applier *applier, const Rows *support, const real *from, real *to)
{
	int			portion = portion_size(applier->learner);
	const char *fault = NULL;
	Rows		rows;

	if (from == NULL)
		from = applier->theta;
	if (applier->learner->flags & LEARNER_NO_SUPPORT)
	{
		for (int i = 0; i < applier->list->n; i++)
		{
			const Tensor *tensor = &applier->list->tensors[i];

			if (tensor_is_own(tensor) || !applier->own_only)
				memmove(to + tensor->offset, from + tensor->offset, (size_t) tensor->rows * tensor->cols * sizeof(real));
		}
		return NULL;
	}
	if (support->rows <= portion)
		return adapt_portion(applier, support, from, to);
	if (!(applier->learner->flags & LEARNER_ADDITIVE))
	{
		fault = thin_rows(applier, support, &rows);
		return fault ? fault : adapt_portion(applier, &rows, from, to);
	}
	for (int first = 0; first < support->rows && fault == NULL; first += portion)
	{
		int			left = support->rows - first;

		rows = portion_of(support, first, left < portion ? left : portion);
		fault = adapt_portion(applier, &rows, first == 0 ? from : to, to);
	}
	return fault;
}

/*
 * Rows of the next run, of those that are left.  A row that is not there costs
 * what others cost; of images that is far more than another run is.
 */
static int
rows_of_run(const Applier *applier, int left)
{
	int			at_once = rows_at_once(applier);
	int			n = left < at_once ? left : at_once;

	if (!applier->transductive && applier->spec->net.kind != NETWORK_MLP)
	{
		int			room = bucket_rows(bucket_of(n, MAX_BUCKETS));

		if (room - n > room / 4)
			n = room / 2;
	}
	return n;
}

/* A function of rows, in portions: n_outputs numbers per row. */
static const char *
run_rows(Applier *applier, PredictTape **tapes, RowFunction function, const real *phi, const Rows *rows,
		 int n_outputs, real *outputs)
{
	Width		width = rows->width;
	int			memory = applier->has_memory ? bucket_of(memory_rows(applier->list, phi), MEMORY_BUCKETS) : 0;

	for (int done = 0; done < rows->rows;)
	{
		int			n = rows_of_run(applier, rows->rows - done);
		const char *fault;
		uint64_t	known;
		bool		moved;
		PredictTape *pt = predict_tape(applier, tapes, function, memory, bucket_of(n, MAX_BUCKETS), &fault);

		if (pt == NULL)
			return fault;
		moved = pt->bound != phi;
		if (moved)
			bind_tensors(applier, &pt->tape, pt->phi, phi);
		if (width.x > 0)
			memcpy(pt->x, rows->x + (size_t) done * width.x, (size_t) n * width.x * sizeof(real));
		if (width.c > 0)
			memcpy(pt->c, rows->c + (size_t) done * width.c, (size_t) n * width.c * sizeof(int32_t));
		if (pt->filled != n)
		{
			for (int i = 0; i < pt->room; i++)
				pt->w[i] = i < n;
			pt->filled = n;
		}
		known = pt->version;
		pt->version = 0;		/* until the run is through: it may be left by an error */
		if (known == 0 || applier->version == 0 || !pt->leveled)
			tape_run(&pt->tape);
		else
			tape_run_from(&pt->tape, known == applier->version && !moved ? LEVEL_ROWS : LEVEL_TASK);
		pt->bound = phi;
		pt->version = applier->version;
		memcpy(outputs + (size_t) done * n_outputs, tape_data(&pt->tape, pt->outputs), (size_t) n * n_outputs * sizeof(real));
		done += n;
	}
	return NULL;
}

void
applier_version(Applier *applier, uint64_t version)
{
	applier->version = version;
}

const char *
applier_predict(Applier *applier, const real *phi, const Rows *rows, real *outputs)
{
	return run_rows(applier, applier->predict, applier->learner->predict, phi, rows, applier->spec->net.outputs, outputs);
}

const char *
applier_variance(Applier *applier, const real *phi, const Rows *rows, real *variances)
{
	return run_rows(applier, applier->variance, applier->learner->variance, phi, rows, 1, variances);
}

void
outputs_to_values(LossKind loss, double mean, double deviation,
				  const real *outputs, size_t n, int width, double *values)
{
	for (size_t r = 0; r < n; r++, outputs += width, values += width)
	{
		double		max = outputs[0];
		double		sum = 0;

		switch (loss)
		{
			case LOSS_SQUARED:
				for (int c = 0; c < width; c++)
					values[c] = mean + deviation * outputs[c];
				break;
			case LOSS_LOGISTIC:
				for (int c = 0; c < width; c++)
					values[c] = 1 / (1 + exp(-(double) outputs[c]));
				break;
			case LOSS_SOFTMAX:
				for (int c = 1; c < width; c++)
					max = outputs[c] > max ? outputs[c] : max;
				for (int c = 0; c < width; c++)
					sum += values[c] = exp(outputs[c] - max);
				for (int c = 0; c < width; c++)
					values[c] /= sum;
				break;
		}
	}
}
