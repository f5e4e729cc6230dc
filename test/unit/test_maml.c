/*
 * test_maml.c
 *	  Learners against an independent implementation: the numbers of
 *	  goldens/maml.h, made with PyTorch by goldens/make_goldens.py.
 *
 * Once through the tapes of training (padded tasks, slices), once through the
 * tapes of a trained model at work (one task, its own rows).
 */
#include "learn/apply.h"
#include "learn/meta_step.h"

#include "check.h"
#include "small_tasks.h"

/* Set before anything was measured. */
#define GOLDEN_TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

static const char *const loss_words[] = {"squared", "logistic", "softmax"};

static const char *
describe(const char *learner, LossKind loss, UnaryKind activation, bool skip, int n_embeddings, int steps, int batch)
{
	static char name[120];
	int			n;

	n = snprintf(name, sizeof(name), "%s, %s, %s%s%s, %d step(s)", learner, loss_words[loss],
				 activation == UNARY_RELU ? "relu" : "tanh", skip ? ", skip" : "",
				 n_embeddings > 0 ? ", embeddings" : "", steps);
	if (batch > 0)
		snprintf(name + n, sizeof(name) - n, " on %d rows each", batch);
	return name;
}

/* Losses and outer gradient as training computes them. */
static void
test_training(const GoldenGradient *golden, const char *name)
{
	static SmallTasks small;
	static real gradient[SMALL_MAX_SIZE];
	static double got[SMALL_MAX_SIZE];
	bool		batched = golden->inner_batch > 0;
	double		losses[GOLDEN_TASKS];
	double		sum = 0;
	double		returned;
	size_t		taken;
	const char *at;
	Heap		heap = {0};
	Arena		arena;
	MetaStep	step;

	small_tasks(&small, golden->learner, golden->loss, golden->activation, golden->skip,
				golden->n_embeddings, golden->inner_steps, golden->inner_lr, golden->seed);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);

	/* Tapes that are wider than the rows; batches depend on by how much. */
	small.spec.options.inner_batch = golden->inner_batch;
	meta_step_init(&step, &arena, small.learner, &small.spec, &small.list, small.theta,
				   batched ? GOLDEN_BATCHED_ROWS : 0, batched ? GOLDEN_BATCHED_ROWS : GOLDEN_ROWS + 3,
				   batched ? GOLDEN_BATCHED_ROWS : GOLDEN_ROWS + 1, NULL);
	if (!ok(step.fault == NULL && small.list.size == golden->size, "%s: built", name))
	{
		diag("fault: %s; %zu numbers, expected %zu", step.fault, small.list.size, golden->size);
		heap_free(&heap);
		return;
	}
	for (size_t i = 0; i < SMALL_MAX_SIZE; i++)
		gradient[i] = 1;		/* is added to */
	taken = arena.total;
	at = arena.at;
	returned = meta_step_run(&step, &small.part[0], &small.part[1], 0, gradient);
	for (size_t i = 0; i < golden->size; i++)
		got[i] = gradient[i] - 1.0;
	for (int t = 0; t < GOLDEN_TASKS; t++)
	{
		losses[t] = tape_data(&step.sizes[0].tape, step.sizes[0].losses)[t];
		sum += golden->losses[t];
	}
	ok(arena.total == taken && arena.at == at, "%s: nothing is allocated in a meta-iteration", name);
	is_close(norm_error(losses, golden->losses, GOLDEN_TASKS), 0, GOLDEN_TOLERANCE, "%s: losses", name);
	is_close(returned / sum, 1, GOLDEN_TOLERANCE, "%s: their sum", name);
	is_close(norm_error(got, golden->gradient, golden->size), 0, GOLDEN_TOLERANCE, "%s: outer gradient", name);

	memset(gradient, 0, sizeof(gradient));
	meta_step_run(&step, &small.part[0], &small.part[1], 0, gradient);
	for (size_t i = 0; i < golden->size; i++)
		got[i] = gradient[i];
	is_close(norm_error(got, golden->gradient, golden->size), 0, GOLDEN_TOLERANCE, "%s: and again", name);
	heap_free(&heap);
}

/* Weighted mean loss of one task's outputs, in double. */
static double
loss_by_hand(LossKind loss, const Rows *rows, const real *outputs)
{
	double		sum = 0;
	double		total = 0;
	int			k = rows->width.y;

	for (int r = 0; r < rows->rows; r++, outputs += k)
	{
		const real *y = rows->y + r * k;
		double		o = outputs[0];
		double		row = 0;

		if (loss == LOSS_SQUARED)
			row = (o - y[0]) * (o - y[0]);
		else if (loss == LOSS_LOGISTIC)
			row = log1p(exp(y[0] > 0.5 ? -o : o));
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

/* The same losses, one task at a time, as a trained model computes them. */
static void
test_at_work(const GoldenGradient *golden, const char *name)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	real		outputs[GOLDEN_ROWS * GOLDEN_CLASSES];
	double		losses[GOLDEN_TASKS];
	const char *fault = NULL;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;

	small_tasks(&small, golden->learner, golden->loss, golden->activation, golden->skip,
				golden->n_embeddings, golden->inner_steps, golden->inner_lr, golden->seed);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
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

static void
set_random_intercept(SmallTasks *small, const GoldenShift *golden)
{
	int			outputs = golden->loss == LOSS_SOFTMAX ? GOLDEN_CLASSES : 1;

	small_tasks(small, golden->learner, golden->loss, golden->activation, golden->skip,
				golden->n_embeddings, golden->inner_steps, golden->inner_lr, golden->seed);
	for (int k = 0; k < outputs; k++)
	{
		small_tensor(small, small->theta, "shift")[k] = 0;
		small_tensor(small, small->theta, "precision")[k] = GOLDEN_PRECISION;
	}
	*small_tensor(small, small->theta, "noise") = GOLDEN_NOISE;
	*small_tensor(small, small->theta, "scale") = GOLDEN_SCALE;
	if (outputs > 1)
		return;

	/* The linear form is kept up to date, and not used by the goldens. */
	*small_tensor(small, small->theta, "linear.shift") = 0;
	*small_tensor(small, small->theta, "linear.precision") = GOLDEN_PRECISION;
	*small_tensor(small, small->theta, "linear.noise") = GOLDEN_NOISE;
	*small_tensor(small, small->theta, "linear.scale") = GOLDEN_SCALE;
	*small_tensor(small, small->theta, "linear.from") = 0;
	*small_tensor(small, small->theta, "linear.to") = 0;
	*small_tensor(small, small->theta, "rows") = 0;
}

/*
 * The linear form by its formula: with noise and prior precision given, the
 * shift is sum w (y - f) / noise over the precision, and it is used for the
 * numbers of rows it is meant for.
 */
static void
test_linear_form(const GoldenShift *golden)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		rows;

	set_random_intercept(&small, golden);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	rows = small_task(&small, 0, 0);
	for (int from = rows.rows - 1; from <= rows.rows + 1; from++)
	{
		const real *weight = small_tensor(&small, small.theta, "linear.weight");
		real		outputs[GOLDEN_ROWS];
		double		f[GOLDEN_ROWS];
		double		precision = GOLDEN_PRECISION;
		double		pull = 0;
		double		worst = 0;

		*small_tensor(&small, small.theta, "linear.from") = from;
		*small_tensor(&small, small.theta, "linear.to") = 1e30;
		for (int r = 0; r < rows.rows; r++)
		{
			f[r] = *small_tensor(&small, small.theta, "linear.bias");
			for (int i = 0; i < GOLDEN_INPUTS; i++)
				f[r] += weight[i] * rows.x[r * GOLDEN_INPUTS + i];
			for (int j = 0; j < rows.width.c; j++)
				f[r] += small_tensor(&small, small.theta, j == 0 ? "linear.table.0" : "linear.table.1")
					[rows.c[r * rows.width.c + j]];
			f[r] *= GOLDEN_SCALE;
			precision += rows.w[r] / GOLDEN_NOISE;
			pull += rows.w[r] * (rows.y[r] - f[r]) / GOLDEN_NOISE;
		}
		applier_adapt(applier, &rows, NULL, phi);
		applier_predict(applier, phi, &rows, outputs);
		for (int r = 0; r < rows.rows; r++)
			worst = fmax(worst, fabs(outputs[r] - (f[r] + pull / precision)));
		ok(small_tensor(&small, phi, "rows")[0] == rows.rows, "random_intercept: counts %d rows", rows.rows);
		if (from <= rows.rows)
			is_close(worst, 0, sizeof(real) == 8 ? 1e-12 : 1e-4, "random_intercept: linear from %d rows on", from);
		else
			ok(worst > 1e-3, "random_intercept: the network up to %d rows", from);
	}
	heap_free(&heap);
}

static void
test_random_intercept(const GoldenShift *golden, const char *name)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	double		shift[GOLDEN_TASKS * GOLDEN_CLASSES];
	double		precision[GOLDEN_TASKS * GOLDEN_CLASSES];
	double		output[SMALL_MAX_ROWS * GOLDEN_CLASSES];
	int			n = 0;
	int			k = golden->loss == LOSS_SOFTMAX ? GOLDEN_CLASSES : 1;
	const char *fault = NULL;
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;

	set_random_intercept(&small, golden);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	for (int t = 0; t < GOLDEN_TASKS && fault == NULL; t++)
	{
		Rows		support = small_task(&small, 0, t);
		Rows		query = small_task(&small, 1, t);
		real		outputs[GOLDEN_ROWS * GOLDEN_CLASSES];

		fault = applier_adapt(applier, &support, NULL, phi);
		if (fault == NULL)
			fault = applier_predict(applier, phi, &query, outputs);
		for (int j = 0; j < k; j++)
		{
			shift[t * k + j] = small_tensor(&small, phi, "shift")[j];
			precision[t * k + j] = small_tensor(&small, phi, "precision")[j];
		}
		for (int r = 0; r < query.rows * k; r++)
			output[n++] = outputs[r];
	}
	is_string(fault, NULL, "%s: adapts and predicts", name);
	is_close(norm_error(shift, golden->shift, GOLDEN_TASKS * k), 0, GOLDEN_TOLERANCE, "%s: shifts", name);
	is_close(norm_error(precision, golden->precision, GOLDEN_TASKS * k), 0, GOLDEN_TOLERANCE, "%s: their precision", name);
	is_close(norm_error(output, golden->output, n), 0, GOLDEN_TOLERANCE, "%s: outputs", name);
	heap_free(&heap);
}

int
main(void)
{
	const int	n_gradients = sizeof(golden_gradients) / sizeof(golden_gradients[0]);
	const int	n_shifts = sizeof(golden_shifts) / sizeof(golden_shifts[0]);

	for (int i = 0; i < n_gradients; i++)
	{
		const GoldenGradient *g = &golden_gradients[i];
		const char *name = describe(g->learner, g->loss, g->activation, g->skip, g->n_embeddings, g->inner_steps,
									g->inner_batch);

		test_training(g, name);

		/* Reptile's training takes other steps than its adaptation, and fewer rows make fewer batches. */
		if (strcmp(g->learner, "reptile") != 0 && g->inner_batch == 0)
			test_at_work(g, name);
	}
	for (int i = 0; i < n_shifts; i++)
	{
		const GoldenShift *g = &golden_shifts[i];

		if (g->loss == LOSS_SQUARED)
			test_linear_form(g);
		test_random_intercept(g, describe(g->learner, g->loss, g->activation, g->skip, g->n_embeddings, 0, 0));
	}
	return tap_done();
}
