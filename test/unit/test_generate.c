/*
 * test_generate.c
 *	  Rows that are made up: probabilities of all possible rows add up to 1,
 *	  rows are made up as often as they are probable, and the seed decides.
 *	  Their likelihoods against an independent implementation are in
 *	  test_closed.c.
 */
#include "learn/apply.h"
#include "learn/generate.h"

#include "check.h"
#include "small_tasks.h"

/* Set before anything was measured: four deviations of 8,000 draws' shares, and what fixed draws of z are off. */
#define SHARE_TOLERANCE 0.02
#define TASKS 8000

/* Rows of a task, more than are made up at a time. */
#define SEVERAL (GENERATE_ROWS + 6)

/* A boolean, two labels, three labels in a table, and what is predicted: two values, or three classes. */
#define MAX_KINDS (2 * 2 * 3 * 3)

static RowColumn columns[] = {
	{INPUT_BOOLEAN, 0, 1, false, 0, 0, 1},
	{INPUT_ONE_HOT, 1, 2, false, 0, 0, 1},
	{INPUT_TABLE, 0, 0, false, 0, 0, 1},
};

static const Embedding table[] = {{4, 2, false}};

static void
make_small(SmallTasks *small, LossKind loss)
{
	small_tasks(small, "vaml", loss, UNARY_TANH, true, 1, 0, 0, 5);
	small->spec.net.embeddings = table;
	small->spec.columns = columns;
	small->spec.n_columns = 3;
	small->spec.options.samples = 256;
	small_layout(small);
	for (int i = 0; i < small->list.n; i++)
		if (small->tensors[i].role == TENSOR_STATE)
			memset(small->theta + small->tensors[i].offset, 0,
				   sizeof(real) * small->tensors[i].rows * small->tensors[i].cols);
}

/* The row that is number kind of them all. */
static void
row_of(int kind, int n_targets, bool classes, real *x, int32_t *c, real *y)
{
	int			target = kind % n_targets;

	x[0] = kind / n_targets % 2;
	x[1] = kind / n_targets / 2 % 2;
	x[2] = 1 - x[1];
	c[0] = 1 + kind / n_targets / 4;
	for (int k = 0; k < n_targets && classes; k++)
		y[k] = k == target;
	if (!classes)
		y[0] = target;
}

static int
kind_of(int n_targets, bool classes, const real *x, const int32_t *c, const real *y)
{
	int			target = 0;

	for (int k = 0; k < n_targets && classes; k++)
		if (y[k] > 0.5)
			target = k;
	if (!classes)
		target = y[0] > 0.5;
	return target + n_targets * ((int) x[0] + 2 * ((int) x[1] + 2 * (c[0] - 1)));
}

static void
test_shares(LossKind loss, int adapted)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static real x[GENERATE_ROWS * GOLDEN_INPUTS];
	static int32_t c[GENERATE_ROWS];
	static real y[GENERATE_ROWS * GOLDEN_CLASSES];
	static real w[GENERATE_ROWS];
	bool		classes = loss == LOSS_SOFTMAX;
	int			n_targets = classes ? GOLDEN_CLASSES : 2;
	int			outputs = classes ? GOLDEN_CLASSES : 1;
	int			kinds = 2 * 2 * 3 * n_targets;
	int			counts[MAX_KINDS] = {0};
	real		likelihood[GENERATE_ROWS];
	double		sum = 0;
	double		worst = 0;
	const char *fault = NULL;
	Rows		rows = {.width = {GOLDEN_INPUTS, 1, outputs}, .tasks = 1, .x = x, .c = c, .y = y, .w = w};
	Rows		support;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Generator  *generator;

	make_small(&small, loss);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	generator = generator_create(&arena, small.learner, &small.spec, &small.list, small.theta, GENERATE_ROWS, NULL);

	/* a task adapted to rows of a few kinds */
	support = rows;
	support.rows = adapted;
	for (int r = 0; r < adapted; r++)
	{
		row_of(r * 5 % kinds, n_targets, classes, x + r * GOLDEN_INPUTS, c + r, y + r * outputs);
		w[r] = 1;
	}
	applier_adapt(applier, &support, NULL, phi);

	rows.rows = kinds;
	for (int kind = 0; kind < kinds; kind++)
	{
		row_of(kind, n_targets, classes, x + kind * GOLDEN_INPUTS, c + kind, y + kind * outputs);
		w[kind] = 1;
	}
	is_string(generator_log_likelihood(generator, phi, &rows, likelihood), NULL, "%d possible rows of a task of %d", kinds, adapted);
	for (int kind = 0; kind < kinds; kind++)
		sum += exp((double) likelihood[kind]);
	is_close(sum, 1, sizeof(real) == 8 ? 1e-12 : 1e-5, "and their probabilities add up to 1");

	/* one row of each of many tasks */
	for (int seed = 0; seed < TASKS && fault == NULL; seed++)
	{
		fault = generator_begin(generator, phi, seed);
		if (fault == NULL)
			fault = generator_next(generator, 1, &rows);
		counts[kind_of(n_targets, classes, x, c, y)]++;
	}
	for (int kind = 0; kind < kinds; kind++)
		worst = fmax(worst, fabs((double) counts[kind] / TASKS - exp((double) likelihood[kind])));
	is_string(fault, NULL, "rows are made up");
	is_close(worst, 0, SHARE_TOLERANCE, "as often as they are probable");
	heap_free(&heap);
}

/* Numbers that may be missing, and a number to predict. */
static void
test_numbers(void)
{
	static SmallTasks small;
	static real x[2][SEVERAL * GOLDEN_INPUTS];
	static int32_t c[2][SEVERAL * 2];
	static real y[2][SEVERAL];
	bool		same = true;
	bool		missing = false;
	bool		there = false;
	real		mean[GOLDEN_CLASSES + 2];
	real		deviation[GOLDEN_CLASSES + 2];
	Heap		heap = {0};
	Arena		arena;
	Generator  *generator;

	small_tasks(&small, "vaml", LOSS_SQUARED, UNARY_TANH, true, 2, 0, 0, 5);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	generator = generator_create(&arena, small.learner, &small.spec, &small.list, small.theta, GENERATE_ROWS, NULL);
	for (int seed = 0; seed < 50; seed++)
	{
		Rows		all = {.width = {GOLDEN_INPUTS, 2, 1}, .x = x[0], .c = c[0], .y = y[0]};
		int			at = 0;

		Rows		rest = {.width = all.width, .x = x[0] + GENERATE_ROWS * GOLDEN_INPUTS, .c = c[0] + GENERATE_ROWS * 2, .y = y[0] + GENERATE_ROWS};

		generator_begin(generator, small.theta, seed);
		generator_next(generator, GENERATE_ROWS, &all);
		generator_next(generator, SEVERAL - GENERATE_ROWS, &rest);
		generator_begin(generator, small.theta, seed);
		for (int n = 1 + seed % 7; at < SEVERAL; at += n)
		{
			Rows		part = {.width = all.width, .x = x[1] + at * GOLDEN_INPUTS, .c = c[1] + at * 2, .y = y[1] + at};

			n = n < SEVERAL - at ? n : SEVERAL - at;
			generator_next(generator, n, &part);
		}
		/* more rows at a time are other sums of the same numbers */
		for (int i = 0; i < SEVERAL * GOLDEN_INPUTS; i++)
			same = same && fabs((double) x[0][i] - (double) x[1][i]) < 1e-4;
		for (int i = 0; i < SEVERAL; i++)
			same = same && c[0][2 * i] == c[1][2 * i] && c[0][2 * i + 1] == c[1][2 * i + 1] &&
				fabs((double) y[0][i] - (double) y[1][i]) < 1e-4;
		missing = missing || (x[0][1] == 1 && x[0][0] == 0);
		there = there || (x[0][1] == 0 && x[0][0] != 0);
		same = same && c[0][0] > 0 && c[0][0] < golden_embeddings[0].size && c[0][1] > 0 && c[0][1] < golden_embeddings[1].size;
	}
	ok(same, "a row is the same however many are asked for, and has labels that there are");
	ok(missing && there, "a number may be missing");
	is_string(generator_task(generator, small.theta, mean, deviation), NULL, "a task in a few numbers");
	ok(deviation[0] > 0 && deviation[1] > 0 && deviation[2] > 0, "and how far off they may be");
	heap_free(&heap);
}

/* A task without rows lies where tasks are said to be spread; one with rows does not look at that. */
static void
test_prior(void)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	real		x[GOLDEN_INPUTS];
	int32_t		c[2];
	real		y[1];
	real		w[1] = {1};
	real		before[2];
	real		after[2];
	Rows		row = {.width = {GOLDEN_INPUTS, 2, 1}, .tasks = 1, .rows = 1, .x = x, .c = c, .y = y, .w = w};
	double		mean[GOLDEN_CLASSES + 2] = {0};
	double		root[(GOLDEN_CLASSES + 2) * (GOLDEN_CLASSES + 2)] = {0};
	int			d;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Generator  *generator;

	small_tasks(&small, "vaml", LOSS_SQUARED, UNARY_TANH, true, 2, 0, 0, 5);
	d = small.learner->generative->latent(&small.spec);
	for (int i = 0; i < small.list.n; i++)
		if (small.tensors[i].role == TENSOR_STATE)
			memset(small.theta + small.tensors[i].offset, 0,
				   sizeof(real) * small.tensors[i].rows * small.tensors[i].cols);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	generator = generator_create(&arena, small.learner, &small.spec, &small.list, small.theta, 1, NULL);
	for (int j = 0; j < GOLDEN_INPUTS; j++)
		x[j] = 0.1 * j;
	c[0] = c[1] = 1;
	y[0] = 0.3;
	applier_adapt(applier, &row, NULL, phi);
	generator_log_likelihood(generator, small.theta, &row, &before[0]);
	generator_log_likelihood(generator, phi, &row, &before[1]);
	for (int i = 0; i < d; i++)
	{
		mean[i] = 1;
		root[i * d + i] = 0.5;
	}
	small.learner->generative->set_prior(&small.spec, &small.list, mean, root, small.theta);
	generator_log_likelihood(generator, small.theta, &row, &after[0]);
	applier_adapt(applier, &row, NULL, phi);
	generator_log_likelihood(generator, phi, &row, &after[1]);
	ok(after[0] != before[0], "a task without rows is one of those that training saw");
	ok(after[1] == before[1], "a task with rows is what they say");
	heap_free(&heap);
}

/* Memory that ends is reported, wherever that is. */
static void
test_full_arena(void)
{
	static SmallTasks small;
	real		x[GOLDEN_INPUTS];
	int32_t		c[2];
	real		y[1];
	real		w[1] = {1};
	real		likelihood;
	int			refused = 0;
	int			made = 0;

	small_tasks(&small, "vaml", LOSS_SQUARED, UNARY_TANH, true, 2, 0, 0, 5);
	for (size_t limit = 0; limit < (size_t) 4 << 20; limit += limit / 4 + 512)
	{
		Rows		rows = {.width = {GOLDEN_INPUTS, 2, 1}, .tasks = 1, .rows = 1, .x = x, .c = c, .y = y, .w = w};
		Heap		heap = {0};
		Arena		arena;
		Generator  *generator;

		arena_init(&arena, heap_grow, &heap, limit);
		generator = generator_create(&arena, small.learner, &small.spec, &small.list, small.theta, GENERATE_ROWS, NULL);
		if (generator == NULL || generator_begin(generator, small.theta, 1) != NULL ||
			generator_next(generator, 1, &rows) != NULL)
			refused++;
		else
		{
			rows.w = w;
			if (generator_log_likelihood(generator, small.theta, &rows, &likelihood) == NULL)
				made++;
		}
		heap_free(&heap);
	}
	ok(refused > 0 && made > 0, "memory that ends is reported (%d times)", refused);
}

int
main(void)
{
	test_shares(LOSS_LOGISTIC, 0);
	test_shares(LOSS_LOGISTIC, 7);
	test_shares(LOSS_SOFTMAX, 0);
	test_shares(LOSS_SOFTMAX, 7);
	test_numbers();
	test_prior();
	test_full_arena();
	return tap_done();
}
