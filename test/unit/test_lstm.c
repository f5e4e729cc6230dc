/*
 * test_lstm.c
 *	  The LSTM meta-learner and the network with a memory against an
 *	  independent implementation: goldens/lstm.h, made with PyTorch by
 *	  goldens/make_lstm_goldens.py.  And what holds of them by definition.
 */
#include "learn/apply.h"

#include "check.h"
#include "golden_run.h"
#include "small_tasks.h"

#include "goldens/lstm.h"

/* Set before anything was measured. */
#define GOLDEN_TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

#define FAR 40					/* as make_lstm_goldens.py has it */

static const char *const loss_words[] = {"squared", "logistic", "softmax"};

/* A learner on the small tasks, of which nothing is known at first. */
static void
prepare(SmallTasks *small, const char *learner, LossKind loss, bool skip, int n_embeddings, bool episode,
		int inner_steps, bool shrink, int seed)
{
	small_tasks(small, learner, loss, UNARY_TANH, skip, n_embeddings, inner_steps, 0, seed);
	small->spec.options.way = episode ? GOLDEN_CLASSES : 0;
	small->spec.options.inner_loss = shrink ? INNER_LOSS_SHRUNK : INNER_LOSS_MEAN;
	small_layout(small);
	for (int i = 0; i < small->list.n; i++)
		if (small->tensors[i].role == TENSOR_STATE)
			memset(small->theta + small->tensors[i].offset, 0,
				   sizeof(real) * small->tensors[i].rows * small->tensors[i].cols);
}

static void
test_golden(const GoldenLstm *golden)
{
	static SmallTasks small;
	static double got[SMALL_MAX_SIZE];
	double		losses[GOLDEN_TASKS];
	char		name[160];
	Heap		heap = {0};
	Arena		arena;

	snprintf(name, sizeof(name), "%s, %s%s%s%s%s%s, %d step(s)", golden->learner, loss_words[golden->loss],
			 golden->skip ? ", skip" : "", golden->n_embeddings > 0 ? ", embeddings" : "",
			 golden->episode ? ", episode" : "", golden->shrink ? ", shrink" : "", golden->far ? ", a row far outside" : "", golden->inner_steps);
	prepare(&small, golden->learner, golden->loss, golden->skip, golden->n_embeddings, golden->episode,
			golden->inner_steps, golden->shrink, golden->seed);
	for (int i = 0; i < GOLDEN_TASKS * GOLDEN_INPUTS && golden->far; i++)
		small.x[0][i / GOLDEN_INPUTS * GOLDEN_ROWS * GOLDEN_INPUTS + i % GOLDEN_INPUTS] *= FAR;
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);

	if (!golden_run(&small, &arena, 0, golden->size, name, losses, got))
	{
		heap_free(&heap);
		return;
	}
	is_close(norm_error(losses, golden->losses, GOLDEN_TASKS), 0, GOLDEN_TOLERANCE, "%s: losses", name);
	is_close(norm_error(got, golden->gradient, golden->size), 0, GOLDEN_TOLERANCE, "%s: outer gradient", name);
	heap_free(&heap);
}

/* Gates that are told nothing: descent at one rate. */
static void
tell_nothing(SmallTasks *small, double keep, double rate)
{
	memset(small_tensor(small, small->theta, "step.hidden.weight"), 0, sizeof(real) * 4);
	memset(small_tensor(small, small->theta, "step.value.weight"), 0, sizeof(real) * 2);
	memset(small_tensor(small, small->theta, "step.last.weight"), 0, sizeof(real) * 2);
	small_tensor(small, small->theta, "step.bias")[0] = keep;
	small_tensor(small, small->theta, "step.bias")[1] = -log(1 / rate - 1);
}

static void
test_descent(void)
{
	static SmallTasks small[2];
	static real phi[2][SMALL_MAX_SIZE] __attribute__((aligned(64)));
	const double rate = 1 / (1 + exp(4.5));
	double		a[SMALL_MAX_SIZE];
	double		b[SMALL_MAX_SIZE];
	size_t		n = 0;

	prepare(&small[0], "fomaml", LOSS_SQUARED, true, 2, false, 3, false, 5);
	small[0].spec.options.inner_lr = rate;
	prepare(&small[1], "lstm", LOSS_SQUARED, true, 2, false, 3, false, 5);
	tell_nothing(&small[1], 60, rate);
	for (int i = 0; i < 2; i++)
	{
		Heap		heap = {0};
		Arena		arena;
		Rows		rows = small_task(&small[i], 0, 0);

		arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
		applier_adapt(applier_create(&arena, small[i].learner, &small[i].spec, &small[i].list, small[i].theta, NULL),
					  &rows, NULL, phi[i]);
		heap_free(&heap);
	}
	for (int i = 0; i < small[0].list.n; i++)
		if (small[0].tensors[i].role == TENSOR_ADAPTED)
			for (int k = 0; k < small[0].tensors[i].rows * small[0].tensors[i].cols; k++, n++)
			{
				a[n] = phi[0][small[0].tensors[i].offset + k] - small[0].theta[small[0].tensors[i].offset + k];
				b[n] = phi[1][small[1].tensors[i].offset + k] - small[1].theta[small[1].tensors[i].offset + k];
			}
	ok(norm_of(a, n) > 1e-3, "descent moves");
	is_close(norm_error(b, a, n), 0, sizeof(real) == 8 ? 1e-12 : 1e-4, "lstm: with gates that are told nothing it is descent");
}

/*
 * However far outside a row is: a step is no longer than its rate times the
 * longest gradient, and the outer gradient is finite.
 */
static void
test_far(void)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static double gradient[SMALL_MAX_SIZE];
	const double rate = 0.5;
	const double longest = 10;

	for (double far = 1e2; far <= 1e8; far *= 1e3)
	{
		Heap		heap = {0};
		Arena		arena;
		Rows		rows;
		double		losses[GOLDEN_TASKS];
		double		square = 0;
		bool		finite = true;

		prepare(&small, "lstm", LOSS_SQUARED, true, 0, false, 3, false, 5);
		tell_nothing(&small, 60, rate);
		for (int j = 0; j < GOLDEN_INPUTS; j++)
			small.x[0][j] *= far;
		rows = small_task(&small, 0, 0);
		arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
		ok(applier_adapt(applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL), &rows, NULL, phi) == NULL,
		   "lstm: adapts to a row %g times as far outside", far);
		for (int i = 0; i < small.list.n; i++)
			for (int k = 0; k < small.tensors[i].rows * small.tensors[i].cols && small.tensors[i].role == TENSOR_ADAPTED; k++)
				square += pow(phi[small.tensors[i].offset + k] - small.theta[small.tensors[i].offset + k], 2);
		ok(square > 0 && sqrt(square) <= 1.001 * 3 * rate * longest, "lstm: and has moved no further than it may");
		if (golden_run(&small, &arena, 0, small.list.size, "lstm, a row far outside", losses, gradient))
			for (size_t i = 0; i < small.list.size; i++)
				finite = finite && isfinite(gradient[i]);
		ok(finite, "lstm: and the outer gradient is finite");
		heap_free(&heap);
	}
}

/* Reading on from a state is reading all rows; another order is another state. */
static void
test_sequence(void)
{
	static SmallTasks small;
	static real phi[3][SMALL_MAX_SIZE] __attribute__((aligned(64)));
	double		a[GOLDEN_ROWS],
				b[GOLDEN_ROWS];
	real		outputs[3][GOLDEN_ROWS];
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		all;
	Rows		query;

	prepare(&small, "mann", LOSS_SQUARED, true, 2, false, 0, false, 5);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	all = small_task(&small, 0, 0);
	query = small_task(&small, 1, 0);
	applier_adapt(applier, &all, NULL, phi[0]);
	for (int backward = 0; backward < 2; backward++)
		for (int i = 0; i < all.rows; i++)
		{
			Rows		row = all;
			int			r = backward ? all.rows - 1 - i : i;

			row.rows = 1;
			row.x += r * row.width.x;
			row.c += r * row.width.c;
			row.y += r * row.width.y;
			row.w += r;
			applier_adapt(applier, &row, i == 0 ? NULL : phi[1 + backward], phi[1 + backward]);
		}
	for (int i = 0; i < 3; i++)
		applier_predict(applier, phi[i], &query, outputs[i]);
	for (int i = 1; i < 3; i++)
	{
		for (int r = 0; r < query.rows; r++)
		{
			a[r] = outputs[0][r];
			b[r] = outputs[i][r];
		}
		if (i == 1)
			is_close(norm_error(b, a, query.rows), 0, sizeof(real) == 8 ? 1e-13 : 1e-5, "mann: row by row as all at once");
		else
			ok(norm_error(b, a, query.rows) > 1e-4, "mann: in another order it is something else");
	}
	heap_free(&heap);
}

/* More rows than are read at once. */
static void
test_long_sequence(void)
{
	enum
	{
		ROWS = 75
	};
	static SmallTasks small;
	static real phi[2][SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static real x[ROWS * GOLDEN_INPUTS];
	static int32_t c[ROWS * 2];
	static real y[ROWS];
	static real w[ROWS];
	double		a[SMALL_MAX_SIZE],
				b[SMALL_MAX_SIZE];
	Rows		rows = {.width = {GOLDEN_INPUTS, 2, 1}, .tasks = 1, .rows = ROWS, .x = x, .c = c, .y = y, .w = w};
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;

	prepare(&small, "mann", LOSS_SQUARED, true, 2, false, 0, false, 5);
	for (int r = 0; r < ROWS; r++)
	{
		for (int j = 0; j < GOLDEN_INPUTS; j++)
			x[r * GOLDEN_INPUTS + j] = wave(1, j, r);
		y[r] = wave(2, 0, r);
		w[r] = r % 7 != 3;
	}
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	applier_adapt(applier, &rows, NULL, phi[0]);
	for (int r = 0; r < ROWS; r++)
	{
		Rows		row = rows;

		row.rows = 1;
		row.x += r * GOLDEN_INPUTS;
		row.c += r * 2;
		row.y += r;
		row.w += r;
		applier_adapt(applier, &row, r == 0 ? NULL : phi[1], phi[1]);
	}
	for (size_t i = 0; i < small.list.size; i++)
	{
		a[i] = phi[0][i];
		b[i] = phi[1][i];
	}
	is_close(norm_error(b, a, small.list.size), 0, sizeof(real) == 8 ? 1e-12 : 1e-4, "mann: a long sequence");
	heap_free(&heap);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(golden_lstm) / sizeof(golden_lstm[0]); i++)
		test_golden(&golden_lstm[i]);
	test_descent();
	test_far();
	test_sequence();
	test_long_sequence();
	return tap_done();
}
