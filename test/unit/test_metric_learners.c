/*
 * test_metric_learners.c
 *	  Learners that compare rows, and the memory they keep of them, against an
 *	  independent implementation: goldens/metric.h, made with PyTorch by
 *	  goldens/make_metric_goldens.py.  And what holds of them by definition.
 */
#include "learn/apply.h"
#include "learn/memory.h"

#include "check.h"
#include "golden_run.h"
#include "small_tasks.h"

#include "goldens/metric.h"

/* Set before anything was measured. */
#define GOLDEN_TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

static const char *const loss_words[] = {"squared", "logistic", "softmax"};

/* A learner on the small tasks, of which nothing is known at first. */
static void
prepare(SmallTasks *small, const char *learner, LossKind loss, bool skip, int n_embeddings, bool episode,
		bool full_context, int seed)
{
	small_tasks(small, learner, loss, UNARY_TANH, skip, n_embeddings, 0, 0, seed);
	small->spec.options.way = episode ? GOLDEN_CLASSES : 0;
	small->spec.options.full_context = full_context;
	small_layout(small);
	for (int i = 0; i < small->list.n; i++)
		if (small->tensors[i].role == TENSOR_STATE)
			memset(small->theta + small->tensors[i].offset, 0,
				   sizeof(real) * small->tensors[i].rows * small->tensors[i].cols);
}

/* Mean loss of one task's outputs, in double. */
static double
loss_by_hand(LossKind loss, const Rows *rows, const real *outputs)
{
	double		sum = 0;
	double		total = 0;
	int			k = rows->width.y;

	for (int r = 0; r < rows->rows; r++, outputs += k)
	{
		const real *y = rows->y + r * k;
		double		row = 0;

		if (loss == LOSS_SQUARED)
			row = ((double) outputs[0] - y[0]) * ((double) outputs[0] - y[0]);
		else if (loss == LOSS_LOGISTIC)
			row = log1p(exp(y[0] > 0.5 ? -(double) outputs[0] : (double) outputs[0]));
		else
		{
			for (int j = 0; j < k; j++)
				row += exp((double) outputs[j]);
			row = log(row);
			for (int j = 0; j < k; j++)
				row -= y[j] * outputs[j];
		}
		sum += rows->w[r] * row;
		total += rows->w[r];
	}
	return sum / total;
}

static void
test_golden(const GoldenMetric *golden)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static double got[SMALL_MAX_SIZE];
	real		outputs[GOLDEN_ROWS * GOLDEN_CLASSES];
	double		losses[GOLDEN_TASKS];
	const char *fault = NULL;
	char		name[160];
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;

	snprintf(name, sizeof(name), "%s, %s%s%s%s%s", golden->learner, loss_words[golden->loss],
			 golden->skip ? ", skip" : "", golden->n_embeddings > 0 ? ", embeddings" : "",
			 golden->episode ? ", episode" : "", golden->full_context ? ", full context" : "");
	prepare(&small, golden->learner, golden->loss, golden->skip, golden->n_embeddings, golden->episode,
			golden->full_context, golden->seed);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);

	if (!golden_run(&small, &arena, 0, golden->size, name, losses, got))
	{
		heap_free(&heap);
		return;
	}
	is_close(norm_error(losses, golden->losses, GOLDEN_TASKS), 0, GOLDEN_TOLERANCE, "%s: losses", name);
	is_close(norm_error(got, golden->gradient, golden->size), 0, GOLDEN_TOLERANCE, "%s: outer gradient", name);

	/* one task at a time, as a trained model computes them */
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	for (int t = 0; t < GOLDEN_TASKS && fault == NULL; t++)
	{
		Rows		support = small_task(&small, 0, t);
		Rows		query = small_task(&small, 1, t);

		fault = applier_adapt(applier, &support, NULL, phi);
		if (fault == NULL)
			fault = applier_predict(applier, phi, &query, outputs);
		losses[t] = loss_by_hand(golden->loss, &query, outputs);
	}
	is_string(fault, NULL, "%s: adapts and predicts", name);
	is_close(norm_error(losses, golden->losses, GOLDEN_TASKS), 0, GOLDEN_TOLERANCE, "%s: losses at work", name);
	heap_free(&heap);
}

/* Rows come in order, without those that have no weight, and the oldest go. */
static void
test_memory(void)
{
	enum
	{
		ROOM = 4,
		WIDTH = 2
	};
	Tensor		tensor = {.name = "memory", .rows = ROOM, .cols = WIDTH, .role = TENSOR_MEMORY};
	Tensor		other = {.name = "state", .rows = ROOM, .cols = WIDTH, .role = TENSOR_STATE};
	real		numbers[ROOM * WIDTH] = {0};
	real		rows[7][WIDTH] = {{1, 10}, {0, 11}, {0.5, 12}, {2, 13}, {1, 14}, {0, 15}, {1, 16}};

	ok(memory_used(&tensor, numbers) == 0, "a memory begins empty");
	memory_append(&tensor, numbers, rows[0], 3);
	ok(memory_used(&tensor, numbers) == 2 && numbers[0] == 1 && numbers[1] == 10 && numbers[2] == 0.5 && numbers[3] == 12,
	   "rows are added in their order, without those of no weight");
	memory_append(&tensor, numbers, rows[5], 1);
	ok(memory_used(&tensor, numbers) == 2, "no row of weight changes nothing");
	memory_append(&tensor, numbers, rows[2], 3);
	ok(memory_used(&tensor, numbers) == ROOM && numbers[1] == 12 && numbers[3] == 12 && numbers[5] == 13 && numbers[7] == 14,
	   "beyond its room the oldest row goes");
	memory_append(&tensor, numbers, rows[0], 7);
	ok(memory_used(&tensor, numbers) == ROOM && numbers[1] == 12 && numbers[3] == 13 && numbers[5] == 14 && numbers[7] == 16,
	   "of more rows than there is room for the newest stay");
	ok(memory_tensor_rows(&tensor, 3) == 3 && memory_tensor_rows(&tensor, 9) == ROOM && memory_tensor_rows(&other, 3) == ROOM,
	   "only a memory has fewer rows than its tensor");
}

/* A task with more rows than there is room for is one that has its last rows. */
static void
test_forgetting(bool full_context)
{
	static SmallTasks small;
	static real phi[3][SMALL_MAX_SIZE] __attribute__((aligned(64)));
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		all;
	Rows		last;
	Rows		first;

	prepare(&small, "matching", LOSS_SQUARED, true, 2, false, full_context, 5);
	small.spec.options.memory = 3;
	small_layout(&small);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	all = last = first = small_task(&small, 0, 0);
	first.rows = 4;
	last.rows = 3;
	last.x += 2 * last.width.x;
	last.c += 2 * last.width.c;
	last.y += 2 * last.width.y;
	last.w += 2;
	applier_adapt(applier, &all, NULL, phi[0]);
	applier_adapt(applier, &last, NULL, phi[1]);
	applier_adapt(applier, &first, NULL, phi[2]);
	ok(memcmp(phi[0], phi[1], small.list.size * sizeof(real)) == 0, "matching: forgets the oldest rows");
	ok(memcmp(phi[0], phi[2], small.list.size * sizeof(real)) != 0, "matching: and no others");

	last.x += 2 * last.width.x;
	last.c += 2 * last.width.c;
	last.y += 2 * last.width.y;
	last.w += 2;
	last.rows = 1;
	applier_adapt(applier, &last, phi[2], phi[2]);
	ok(memcmp(phi[0], phi[2], small.list.size * sizeof(real)) == 0, "matching: also when they come one after the other");
	heap_free(&heap);
}

/* Outputs of a task's first query rows after its support in another order. */
static double
change_by_order(bool full_context)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	double		outputs[2][GOLDEN_ROWS];
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;

	prepare(&small, "matching", LOSS_SQUARED, true, 2, false, full_context, 5);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	for (int swapped = 0; swapped < 2; swapped++)
	{
		Rows		query = small_task(&small, 1, 0);
		real		got[GOLDEN_ROWS];

		for (int i = 0; i < 5; i++)
		{
			Rows		row = small_task(&small, 0, 0);
			int			r = swapped ? 4 - i : i;

			row.rows = 1;
			row.x += r * row.width.x;
			row.c += r * row.width.c;
			row.y += r * row.width.y;
			row.w += r;
			applier_adapt(applier, &row, i == 0 ? NULL : phi, phi);
		}
		applier_predict(applier, phi, &query, got);
		for (int r = 0; r < query.rows; r++)
			outputs[swapped][r] = got[r];
	}
	heap_free(&heap);
	return norm_error(outputs[0], outputs[1], 4);
}

/*
 * While all rows are alike, a number's residuals are shrunk as a random
 * intercept's, n / (n + within / between) of their mean.
 */
static void
test_alike(void)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	const double between = 0.2;
	const double within = 0.5;
	real		before[GOLDEN_ROWS];
	real		after[GOLDEN_ROWS];
	real		known[GOLDEN_ROWS];
	double		sum = 0;
	double		n = 0;
	double		worst = 0;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		support;
	Rows		query;

	prepare(&small, "matching", LOSS_SQUARED, true, 2, false, false, 5);
	small.learner->begin(&small.spec, &small.list, between, within, small.theta);
	*small_tensor(&small, small.theta, "sharpness.bias") = -10;
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	support = small_task(&small, 0, 0);
	query = small_task(&small, 1, 0);
	applier_predict(applier, small.theta, &support, known);
	applier_predict(applier, small.theta, &query, before);
	applier_adapt(applier, &support, NULL, phi);
	applier_predict(applier, phi, &query, after);
	for (int r = 0; r < support.rows; r++)
	{
		sum += support.w[r] * (support.y[r] - known[r]);
		n += support.w[r];
	}
	for (int r = 0; r < query.rows; r++)
		worst = fmax(worst, fabs(after[r] - before[r] - sum / (n + within / between)));
	is_close(worst, 0, sizeof(real) == 8 ? 1e-12 : 1e-5, "matching: of rows that are alike it is a shrunken mean");
	heap_free(&heap);
}

/* A class that the support lacks keeps its prior prototype. */
static void
test_missing_class(void)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	real		before[GOLDEN_CLASSES];
	real		after[GOLDEN_CLASSES];
	double		expected;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		support;
	Rows		query;

	prepare(&small, "prototypical", LOSS_SOFTMAX, true, 2, false, false, 5);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	support = small_task(&small, 0, 0);
	query = small_task(&small, 1, 0);
	query.rows = 1;
	for (int r = 0; r < support.rows; r++)
		for (int k = 0; k < GOLDEN_CLASSES; k++)
			support.y[r * GOLDEN_CLASSES + k] = k == r % 2;
	applier_predict(applier, small.theta, &query, before);
	applier_adapt(applier, &support, NULL, phi);
	applier_predict(applier, phi, &query, after);

	/* but it is as much rarer as it was expected and did not come */
	expected = small_tensor(&small, phi, "prototype.expected")[2];
	is_close(after[2] - before[2],
			 -log1p(expected / exp(4 * *small_tensor(&small, small.theta, "expected.bias"))),
			 sizeof(real) == 8 ? 1e-12 : 1e-5, "prototypical: a class that the support lacks keeps its prototype");
	ok(small_tensor(&small, phi, "prototype.rows")[2] == 0 && expected > 0, "prototypical: and counts no rows");
	ok(fabs((double) after[0] - before[0]) > 1e-3, "prototypical: the others do not");
	heap_free(&heap);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(golden_metric) / sizeof(golden_metric[0]); i++)
		test_golden(&golden_metric[i]);
	test_memory();
	test_forgetting(false);
	test_forgetting(true);
	is_close(change_by_order(false), 0, sizeof(real) == 8 ? 1e-12 : 1e-5, "matching: the order of rows does not matter");
	ok(change_by_order(true) > 1e-4, "matching: with full context it does");
	test_alike();
	test_missing_class();
	return tap_done();
}
