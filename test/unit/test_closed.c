/*
 * test_closed.c
 *	  Learners whose adaptation is a formula: cnp, ridge and vaml against an
 *	  independent implementation, the numbers of goldens/closed.h, made with
 *	  PyTorch by goldens/make_closed_goldens.py; alpaca against the mixed model;
 *	  and systems of equations that are singular.
 */
#include "learn/apply.h"
#include "learn/generate.h"

#include "check.h"
#include "golden_run.h"
#include "small_tasks.h"

#include "goldens/closed.h"

/* Set before anything was measured. */
#define GOLDEN_TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

static const char *const loss_words[] = {"squared", "logistic", "softmax"};

/* Of a task nothing is known at first. */
static void
clear_state(SmallTasks *small)
{
	for (int i = 0; i < small->list.n; i++)
		if (small->tensors[i].role == TENSOR_STATE)
			memset(small->theta + small->tensors[i].offset, 0,
				   sizeof(real) * small->tensors[i].rows * small->tensors[i].cols);
}

/* Of whole rows, query rows again. */
static void
test_likelihoods(SmallTasks *small, const GoldenClosed *golden, Applier *applier, Arena *arena, const char *name)
{
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	Generator  *generator = generator_create(arena, small->learner, &small->spec, &small->list, small->theta, GENERATE_ROWS, NULL);
	double		got[GOLDEN_TASKS * GOLDEN_ROWS];
	real		values[GENERATE_ROWS];
	int			n = 0;

	for (int t = 0; t < GOLDEN_TASKS; t++)
	{
		Rows		support = small_task(small, 0, t);
		Rows		query = small_task(small, 1, t);

		applier_adapt(applier, &support, NULL, phi);
		is_string(generator_log_likelihood(generator, phi, &query, values), NULL, "%s: likelihoods of task %d", name, t);
		for (int r = 0; r < query.rows; r++)
			got[n++] = values[r];
	}
	is_close(norm_error(got, golden->likelihoods, n), 0, GOLDEN_TOLERANCE, "%s: likelihoods of rows", name);
}

static void
test_golden(const GoldenClosed *golden)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static double got[SMALL_MAX_SIZE];
	double		losses[GOLDEN_TASKS];
	double		output[GOLDEN_TASKS * GOLDEN_ROWS * GOLDEN_CLASSES];
	double		variance[GOLDEN_TASKS * GOLDEN_ROWS];
	real		values[GOLDEN_ROWS * GOLDEN_CLASSES];
	const char *fault = NULL;
	char		name[160];
	int			n = 0;
	int			rows = 0;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;

	snprintf(name, sizeof(name), "%s, %s%s%s", golden->learner, loss_words[golden->loss],
			 golden->skip ? ", skip" : "", golden->n_embeddings > 0 ? ", embeddings" : "");
	small_tasks(&small, golden->learner, golden->loss, golden->activation, golden->skip,
				golden->n_embeddings, 0, 0, golden->seed);
	clear_state(&small);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);

	if (!golden_run(&small, &arena, GOLDEN_PROGRESS, golden->size, name, losses, got))
	{
		heap_free(&heap);
		return;
	}
	is_close(norm_error(losses, golden->losses, GOLDEN_TASKS), 0, GOLDEN_TOLERANCE, "%s: losses", name);
	is_close(norm_error(got, golden->gradient, golden->size), 0, GOLDEN_TOLERANCE, "%s: outer gradient", name);

	/* each tensor's by itself: a small one must not hide behind the large */
	for (int i = 0; i < small.list.n; i++)
	{
		const Tensor *tensor = &small.tensors[i];

		if (tensor->role != TENSOR_STATE)
			is_close(norm_error(got + tensor->offset, golden->gradient + tensor->offset, (size_t) tensor->rows * tensor->cols),
					 0, 10 * GOLDEN_TOLERANCE, "%s: gradient of %s", name, tensor->name);
	}

	/* one task at a time, as a trained model computes them */
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	for (int t = 0; t < GOLDEN_TASKS && fault == NULL; t++)
	{
		Rows		support = small_task(&small, 0, t);
		Rows		query = small_task(&small, 1, t);

		fault = applier_adapt(applier, &support, NULL, phi);
		if (fault == NULL)
			fault = applier_predict(applier, phi, &query, values);
		for (int r = 0; r < query.rows * query.width.y; r++)
			output[n++] = values[r];
		if (golden->variances == NULL)
			continue;
		applier_variance(applier, phi, &query, values);
		for (int r = 0; r < query.rows; r++)
			variance[rows++] = values[r];
	}
	is_string(fault, NULL, "%s: adapts and predicts", name);
	if (golden->likelihoods != NULL)
		test_likelihoods(&small, golden, applier, &arena, name);
	is_close(norm_error(output, golden->outputs, n), 0, GOLDEN_TOLERANCE, "%s: outputs", name);
	if (golden->variances != NULL)
		is_close(norm_error(variance, golden->variances, rows), 0, GOLDEN_TOLERANCE, "%s: variances", name);
	heap_free(&heap);
}

/* ---- the mixed model ---- */

#define MIXED_ROWS 6
#define MIXED_EFFECTS (1 + GOLDEN_INPUTS)	/* intercept and slopes that a task has of its own */

/* Solves a x = b of size n by elimination; a and b are spent. */
static void
eliminate(double *a, double *b, int n)
{
	for (int k = 0; k < n; k++)
	{
		int			pivot = k;

		for (int i = k + 1; i < n; i++)
			if (fabs(a[i * n + k]) > fabs(a[pivot * n + k]))
				pivot = i;
		for (int j = 0; j < n; j++)
		{
			double		swap = a[k * n + j];

			a[k * n + j] = a[pivot * n + j];
			a[pivot * n + j] = swap;
		}
		{
			double		swap = b[k];

			b[k] = b[pivot];
			b[pivot] = swap;
		}
		for (int i = k + 1; i < n; i++)
		{
			double		f = a[i * n + k] / a[k * n + k];

			for (int j = k; j < n; j++)
				a[i * n + j] -= f * a[k * n + j];
			b[i] -= f * b[k];
		}
	}
	for (int k = n - 1; k >= 0; k--)
	{
		for (int j = k + 1; j < n; j++)
			b[k] -= a[k * n + j] * b[j];
		b[k] /= a[k * n + k];
	}
}

/* z1' G z2, where z = (1, x) */
static double
covariance(const double *g, const real *x1, const real *x2)
{
	double		sum = 0;

	for (int i = 0; i < MIXED_EFFECTS; i++)
		for (int j = 0; j < MIXED_EFFECTS; j++)
			sum += (i == 0 ? 1 : x1[i - 1]) * g[i * MIXED_EFFECTS + j] * (j == 0 ? 1 : x2[j - 1]);
	return sum;
}

/*
 * y = x b + (1, x) u + e,  u ~ N(0, G),  e ~ N(0, sigma^2 / v), everything but
 * u known.  Its best linear unbiased prediction of a new row, from the
 * covariance of all rows with each other, and that row's variance:
 *	  x b + c' C^-1 (y - x b),  sigma^2 + (1, x) G (1, x)' - c' C^-1 c
 * alpaca without hidden layers and context is that model, G being A A' with
 * its feature map A.
 */
static void
test_mixed_model(int n)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	const double noise = 0.4;
	const double deviation = 0.7;
	double		map[MIXED_EFFECTS][MIXED_EFFECTS] = {{0}};
	double		g[MIXED_EFFECTS * MIXED_EFFECTS] = {0};
	double		worst[2] = {0, 0};
	real		mean[GOLDEN_ROWS];
	real		variance[GOLDEN_ROWS];
	real	   *beta;
	real	   *weight;
	real	   *bias;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		support;
	Rows		query;

	small_tasks(&small, "alpaca", LOSS_SQUARED, UNARY_RELU, false, 0, 0, 0, 5);
	small.spec.net.n_hidden = 0;
	small.spec.options.context = 0;
	small.spec.options.features = GOLDEN_INPUTS;
	small_layout(&small);
	clear_state(&small);
	beta = small_tensor(&small, small.theta, "head.weight");
	weight = small_tensor(&small, small.theta, "feature.weight");
	bias = small_tensor(&small, small.theta, "feature.bias");
	memset(small_tensor(&small, small.theta, "noise.weight"), 0, 2 * GOLDEN_INPUTS * sizeof(real));
	/* logarithms, a quarter of them */
	*small_tensor(&small, small.theta, "intercept.bias") = log(deviation) / 4;
	*small_tensor(&small, small.theta, "noise.bias") = log(noise - 1e-4) / 4;

	/* without hidden layers a row is seen twice: the second place counts for nothing */
	memset(weight + GOLDEN_INPUTS * GOLDEN_INPUTS, 0, GOLDEN_INPUTS * GOLDEN_INPUTS * sizeof(real));
	map[0][0] = deviation;
	for (int j = 0; j < GOLDEN_INPUTS; j++)
	{
		map[0][1 + j] = bias[j];
		for (int i = 0; i < GOLDEN_INPUTS; i++)
			map[1 + i][1 + j] = weight[i * GOLDEN_INPUTS + j];
	}
	for (int i = 0; i < MIXED_EFFECTS; i++)
		for (int j = 0; j < MIXED_EFFECTS; j++)
			for (int k = 0; k < MIXED_EFFECTS; k++)
				g[i * MIXED_EFFECTS + j] += map[i][k] * map[j][k];

	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	support = small_task(&small, 0, 0);
	query = small_task(&small, 1, 0);
	support.rows = n;
	is_string(applier_adapt(applier, &support, NULL, phi), NULL, "alpaca without context adapts to %d rows", n);
	applier_predict(applier, phi, &query, mean);
	applier_variance(applier, phi, &query, variance);

	for (int r = 0; r < query.rows; r++)
	{
		const real *x = query.x + r * GOLDEN_INPUTS;
		double		fixed = *small_tensor(&small, small.theta, "head.bias");
		double		expected;
		double		spread = noise + covariance(g, x, x);

		for (int i = 0; i < GOLDEN_INPUTS; i++)
			fixed += x[i] * beta[i];
		expected = fixed;
		for (int part = 0; part < 2; part++)
		{
			double		c[MIXED_ROWS * MIXED_ROWS];
			double		right[MIXED_ROWS];

			for (int i = 0; i < n; i++)
			{
				const real *xi = support.x + i * GOLDEN_INPUTS;

				for (int j = 0; j < n; j++)
					c[i * n + j] = covariance(g, xi, support.x + j * GOLDEN_INPUTS) + (i == j ? noise / support.w[i] : 0);
				right[i] = covariance(g, xi, x);
				if (part == 0)
				{
					right[i] = support.y[i] - *small_tensor(&small, small.theta, "head.bias");
					for (int k = 0; k < GOLDEN_INPUTS; k++)
						right[i] -= xi[k] * beta[k];
				}
			}
			eliminate(c, right, n);
			for (int i = 0; i < n; i++)
				if (part == 0)
					expected += covariance(g, support.x + i * GOLDEN_INPUTS, x) * right[i];
				else
					spread -= covariance(g, support.x + i * GOLDEN_INPUTS, x) * right[i];
		}
		worst[0] = fmax(worst[0], fabs(mean[r] - expected));
		worst[1] = fmax(worst[1], fabs(variance[r] - spread));
	}
	is_close(worst[0], 0, sizeof(real) == 8 ? 1e-12 : 1e-5, "alpaca is the mixed model, %d rows: predictions", n);
	is_close(worst[1], 0, sizeof(real) == 8 ? 1e-12 : 1e-5, "alpaca is the mixed model, %d rows: variances", n);
	heap_free(&heap);
}

/* ---- singular systems ---- */

/*
 * Features that say the same, rows that are all the same, and next to no
 * penalty: the equations have many solutions as far as a real can tell, whose
 * predictions are the same.  Many equal rows with the mean y have the mean y
 * predicted.
 */
static void
test_singular(const char *learner, LossKind loss, int n)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	real		output = 0;
	double		expected = loss == LOSS_LOGISTIC ? log(0.8 / 0.2) : 0.8;
	real	   *x = calloc((size_t) n * GOLDEN_INPUTS, sizeof(real));
	real	   *y = calloc(n, sizeof(real));
	real	   *w = calloc(n, sizeof(real));
	int32_t    *c = calloc(1, sizeof(int32_t));
	Rows		rows = {.width = {GOLDEN_INPUTS, 0, 1}, .tasks = 1, .rows = n, .x = x, .c = c, .y = y, .w = w};
	const char *fault;
	real	   *weight;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;

	small_tasks(&small, learner, loss, UNARY_TANH, true, 0, 0, 0, 5);
	small.spec.options.context = 0;
	small_layout(&small);
	clear_state(&small);
	weight = small_tensor(&small, small.theta, "feature.weight");
	for (int i = 0; i < small.tensors[tensor_find(&small.list, "feature.weight")].rows; i++)
		weight[2 * i + 1] = weight[2 * i];
	small_tensor(&small, small.theta, "feature.bias")[1] = small_tensor(&small, small.theta, "feature.bias")[0];
	if (tensor_find(&small.list, "penalty.bias") >= 0)
	{
		*small_tensor(&small, small.theta, "penalty.bias") = -6;	/* of e^-24 */
		*small_tensor(&small, small.theta, "output.bias") = 0;
	}
	else if (loss == LOSS_SQUARED)
		*small_tensor(&small, small.theta, "noise.bias") = -6;

	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j < GOLDEN_INPUTS; j++)
			x[i * GOLDEN_INPUTS + j] = 0.5 + j;
		y[i] = loss == LOSS_LOGISTIC ? i % 5 != 0 : 0.8;
		w[i] = 1;
	}
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	fault = applier_adapt(applier, &rows, NULL, phi);
	rows.rows = 1;
	if (fault == NULL)
		fault = applier_predict(applier, phi, &rows, &output);
	is_string(fault, NULL, "%s, %s: adapts to %d equal rows with features that are the same", learner, loss_words[loss], n);
	is_close(output, expected, 0.02, "%s, %s: and predicts what they say", learner, loss_words[loss]);
	heap_free(&heap);
	free(x);
	free(y);
	free(w);
	free(c);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(golden_closed) / sizeof(golden_closed[0]); i++)
		test_golden(&golden_closed[i]);
	for (int n = 0; n <= 5; n++)
		test_mixed_model(n);
	test_singular("ridge", LOSS_SQUARED, 3);
	test_singular("ridge", LOSS_SQUARED, 1000);
	test_singular("ridge", LOSS_LOGISTIC, 1000);
	test_singular("alpaca", LOSS_SQUARED, 3);
	test_singular("alpaca", LOSS_SQUARED, 1000);
	test_singular("alpaca", LOSS_LOGISTIC, 1000);
	return tap_done();
}
