/*
 * small_tasks.h
 *	  The small networks and tasks of the goldens, from the formula that
 *	  goldens/make_goldens.py has too.
 */
#ifndef UNIT_SMALL_TASKS_H
#define UNIT_SMALL_TASKS_H

#include "learn/learner.h"

#include "goldens/maml.h"

#include <math.h>
#include <string.h>

#define SMALL_MAX_TENSORS 80
#define SMALL_MAX_SIZE 1500
#define SMALL_MAX_ROWS (GOLDEN_TASKS * GOLDEN_ROWS)

/* A network, its parameters, and the support and query rows of three tasks. */
typedef struct SmallTasks
{
	const Learner *learner;
	int			seed;
	LearnerSpec spec;
	LearnerPart parts[2];		/* of a blend */
	RowColumn	columns[4];
	Tensor		tensors[SMALL_MAX_TENSORS];
	TensorList	list;
	real		theta[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	Rows		part[2];		/* support, query */
	real		x[2][SMALL_MAX_ROWS * GOLDEN_INPUTS];
	int32_t		c[2][SMALL_MAX_ROWS * 2];
	real		y[2][SMALL_MAX_ROWS * GOLDEN_CLASSES];
	real		w[2][SMALL_MAX_ROWS];
} SmallTasks;

/* The option full_context of the tasks to come. */
static bool small_full_context = false;

/* A number in [-1, 1] */
static inline double
wave(int seed, int stream, int i)
{
	return sin(0.618 * (i + 1) * (i + 1) + 1.3 * stream + 0.77 * seed);
}

static inline void
small_rows(SmallTasks *small, int part, int seed)
{
	Rows	   *rows = &small->part[part];
	const int  *counts = part == 0 ? golden_support : golden_query;
	int			stream = 10 * (part + 1);
	int			outputs = small->spec.net.outputs;
	int			n_c = small->spec.net.n_embeddings;

	rows->width = (Width) {GOLDEN_INPUTS, n_c, outputs};
	rows->tasks = GOLDEN_TASKS;
	rows->rows = GOLDEN_ROWS;
	rows->x = small->x[part];
	rows->c = small->c[part];
	rows->y = small->y[part];
	rows->w = small->w[part];
	for (int i = 0; i < SMALL_MAX_ROWS; i++)
	{
		bool		padding = i % GOLDEN_ROWS >= counts[i / GOLDEN_ROWS];
		double		v = wave(seed, stream + 3, i);

		/* Padding of weight 0 may hold anything. */
		for (int j = 0; j < GOLDEN_INPUTS; j++)
			rows->x[i * GOLDEN_INPUTS + j] = padding ? 5 : wave(seed, stream, i * GOLDEN_INPUTS + j);
		for (int j = 0; j < n_c; j++)
			rows->c[i * n_c + j] = padding ? 2 :
				(int) ((wave(seed, stream + 1, i * 2 + j) + 1) / 2 * golden_embeddings[j].size);
		rows->w[i] = padding ? 0 : 1.5 + wave(seed, stream + 2, i);
		for (int k = 0; k < outputs; k++)
			rows->y[i * outputs + k] = padding ? 7 :
				small->spec.loss == LOSS_SQUARED ? 2 * v :
				small->spec.loss == LOSS_LOGISTIC ? v > 0 :
				(int) ((v + 1) / 2 * GOLDEN_CLASSES) == k;
	}
}

/* The learner's tensors, and their numbers; again after options were changed. */
static inline void
small_layout(SmallTasks *small)
{
	small->list.tensors = small->tensors;
	small->list.max = SMALL_MAX_TENSORS;
	small->list.n = 0;
	small->list.size = 0;
	if (!small->learner->layout(&small->spec, &small->list) || small->list.size > SMALL_MAX_SIZE)
		abort();
	for (int i = 0; i < small->list.n; i++)
		for (int k = 0; k < small->tensors[i].rows * small->tensors[i].cols; k++)
		{
			double		value = wave(small->seed, 100 + i, k);

			/* averages are of squares, and shares */
			small->theta[small->tensors[i].offset + k] = small->tensors[i].role == TENSOR_MEMORY ? 0 :
				small->tensors[i].role == TENSOR_AVERAGE ? 0.5 + 0.4 * value : 0.6 * value;
		}
}

static inline void
small_tasks(SmallTasks *small, const char *learner, LossKind loss, UnaryKind activation, bool skip,
			int n_embeddings, int inner_steps, double inner_lr, int seed)
{
	Network    *net = &small->spec.net;

	memset(small, 0, sizeof(*small));
	small->learner = learner_find(learner);
	small->seed = seed;
	options_default(&small->spec.options, small->learner->defaults);
	small->spec.options.inner_steps = inner_steps;
	small->spec.options.inner_lr = inner_lr;
	small->spec.options.features = 2;
	small->spec.options.context = 2;
	small->spec.options.memory = 8;
	small->spec.options.start_pooled = false;
	small->spec.options.latent = 2;
	small->spec.options.samples = 5;
	small->spec.options.kl_weight = 0.7;
	small->spec.options.row_weight = 0.3;
	small->spec.options.shots[1] = 0;
	small->spec.options.full_context = small_full_context;
	small->spec.loss = loss;
	if (small->learner->flags & LEARNER_BLEND)
	{
		/* any two will do */
		small->parts[0].learner = learner_find(loss == LOSS_SOFTMAX ? "pooled" : "alpaca");
		small->parts[1].learner = learner_find("random_intercept");
		small->parts[0].options = small->parts[1].options = small->spec.options;
		small->spec.parts = small->parts;
		small->spec.n_parts = 2;
	}
	net->inputs = GOLDEN_INPUTS;
	net->n_embeddings = n_embeddings;
	net->embeddings = golden_embeddings;
	net->n_hidden = 2;
	memcpy(net->hidden, golden_hidden, sizeof(golden_hidden));
	net->activation = activation;
	net->outputs = loss == LOSS_SOFTMAX ? GOLDEN_CLASSES : 1;
	net->skip = skip;

	/* what the inputs are: no learner looks at the values for it */
	if (n_embeddings > 0)
	{
		small->columns[small->spec.n_columns++] = (RowColumn) {INPUT_NUMBER, 0, 1, true, 0, 0, 1};
		small->columns[small->spec.n_columns++] = (RowColumn) {INPUT_BOOLEAN, 2, 1, false, 0, 0, 1};
		for (int j = 0; j < n_embeddings; j++)
			small->columns[small->spec.n_columns++] = (RowColumn) {INPUT_TABLE, j, 0, false, 0, 0, 1};
	}
	else
	{
		small->columns[small->spec.n_columns++] = (RowColumn) {INPUT_ONE_HOT, 0, 2, false, 0, 0, 1};
		small->columns[small->spec.n_columns++] = (RowColumn) {INPUT_NUMBER, 2, 1, false, 0, 0, 1};
	}
	small->spec.columns = small->columns;

	small_layout(small);
	small_rows(small, 0, seed);
	small_rows(small, 1, seed);
}

/* One task's own rows, without padding. */
static inline Rows
small_task(const SmallTasks *small, int part, int task)
{
	Rows		rows = small->part[part];
	size_t		skipped = (size_t) task * rows.rows;

	rows.x += skipped * rows.width.x;
	rows.c += skipped * rows.width.c;
	rows.y += skipped * rows.width.y;
	rows.w += skipped;
	rows.tasks = 1;
	rows.rows = (part == 0 ? golden_support : golden_query)[task];
	return rows;
}

/* A tensor's numbers in theta. */
static inline real *
small_tensor(SmallTasks *small, real *theta, const char *name)
{
	return theta + small->tensors[tensor_find(&small->list, name)].offset;
}

#endif							/* UNIT_SMALL_TASKS_H */
