/*
 * test_learners.c
 *	  Every learner of the table: its gradients through adaptation against
 *	  finite differences, and what holds for all of them.
 */
#include "learn/apply.h"
#include "learn/memory.h"
#include "learn/meta_step.h"

#include "check.h"
#include "small_tasks.h"

static const char *const loss_words[] = {"squared", "logistic", "softmax"};

/* Parameters that must be positive are. */
static void
make_positive(SmallTasks *small)
{
	for (int i = 0; i < small->list.n; i++)
	{
		const Tensor *tensor = &small->tensors[i];
		bool		matrix = tensor->rows > 1 && tensor->rows == tensor->cols;

		/* a square one is a precision: positive definite by its diagonal */
		if (tensor->role == TENSOR_STATE || tensor->role == TENSOR_FIXED)
			for (int k = 0; k < tensor->rows * tensor->cols; k++)
				small->theta[tensor->offset + k] =
					(matrix && k % (tensor->cols + 1) != 0 ? 0 : 1.2) + 0.3 * wave(3, i, k) +
					/* and of slots, which is used least is no matter of a rounding */
					(strcmp(tensor->name, "state.usage") == 0 ? 100 * k : 0);
		/* a number on its own is a scale's logarithm: large ones make differences rough */
		else if (tensor->rows == 1 && tensor->cols == 1)
			small->theta[tensor->offset] *= 0.3;
	}
}

/* A learner on the small tasks. */
static void
prepare(SmallTasks *small, const Learner *learner, LossKind loss, UnaryKind activation, bool skip, int n_embeddings)
{
	small_tasks(small, learner->name, loss, activation, skip, n_embeddings, 3, 0.1, 5);
	make_positive(small);
}

/* The loss with most outputs that a learner learns. */
static LossKind
widest_loss(const Learner *learner)
{
	return learner_supports(learner, LOSS_SOFTMAX) ? LOSS_SOFTMAX : LOSS_LOGISTIC;
}

/* For which adding rows is exact, if it is at all. */
static LossKind
exact_loss(const Learner *learner)
{
	return learner_supports(learner, LOSS_SQUARED) ? LOSS_SQUARED : LOSS_LOGISTIC;
}

#ifdef NN_DOUBLE

/* These take the task's gradients as constants; a new learner is exact until said here. */
static bool
is_first_order(const Learner *learner)
{
	static const char *const names[] = {"fomaml", "finetune", "single_task"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(learner->name, names[i]) == 0)
			return true;
	return false;
}

/*
 * The derivative of the summed query losses with respect to every tensor.
 * For a first-order learner, finite differences move what adaptation ended
 * with: the adapted tensors come to be constants plus an offset.
 */
static void
test_gradient(const Learner *learner, LossKind loss, UnaryKind activation, bool skip, int n_embeddings)
{
	static SmallTasks small;
	const TensorList *list = &small.list;
	Var			theta[SMALL_MAX_TENSORS];
	Var			moved[SMALL_MAX_TENSORS];
	Var			phi[SMALL_MAX_TENSORS];
	Var			gradients[SMALL_MAX_TENSORS];
	RowVars		support;
	RowVars		query;
	Var			losses;
	Var			sum;
	Heap		heap = {0};
	Arena		arena;
	Tape		tape;

	prepare(&small, learner, loss, activation, skip, n_embeddings);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	tape_init(&tape, &arena);
	for (int i = 0; i < list->n; i++)
		theta[i] = moved[i] = memory_leaf(&tape, &list->tensors[i], 0, small.theta + list->tensors[i].offset);
	support = rows_leaves(&tape, &small.spec, GOLDEN_TASKS, GOLDEN_ROWS);
	query = rows_leaves(&tape, &small.spec, GOLDEN_TASKS, GOLDEN_ROWS);
	rows_copy(&tape, &support, &small.part[0]);
	rows_copy(&tape, &query, &small.part[1]);

	learner->adapt(&tape, &small.spec, list, &support, theta, phi);
	losses = loss_mean(&tape, loss, learner->predict(&tape, &small.spec, list, phi, query.x, query.c), query.y, query.w);
	sum = tape_sum(&tape, losses, shape(1, 1, 1));
	tape_gradient(&tape, losses, theta, list->n, gradients);

	if (is_first_order(learner))
	{
		for (int i = 0; i < list->n; i++)
		{
			moved[i] = tape_leaf(&tape, tape_shape(&tape, theta[i]), NULL);
			phi[i] = tape_axpy(&tape, tape_detach(&tape, phi[i]), 1, moved[i]);
		}
		losses = loss_mean(&tape, loss, learner->predict(&tape, &small.spec, list, phi, query.x, query.c), query.y, query.w);
		sum = tape_sum(&tape, losses, shape(1, 1, 1));
	}

	if (tape.fault != NULL)
		ok(false, "%s, %s: %s", learner->name, loss_words[loss], tape.fault);
	else
		is_close(difference_error(&tape, sum, moved, list->n, gradients), 0, CHECK_FIRST,
				 "%s, %s, %s%s%s: gradient through adaptation", learner->name, loss_words[loss],
				 activation == UNARY_TANH ? "tanh" : activation == UNARY_SIGMOID ? "sigmoid" : "softplus",
				 skip ? ", skip" : "", n_embeddings > 0 ? ", embeddings" : "");
	heap_free(&heap);
}

#endif							/* NN_DOUBLE */

static bool
all_finite(const real *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isfinite(values[i]))
			return false;
	return true;
}

static void
test_initialise(const Learner *learner)
{
	static SmallTasks small;
	static real a[SMALL_MAX_SIZE];
	static real b[SMALL_MAX_SIZE];
	static real c[SMALL_MAX_SIZE];
	Rng			first = rng_stream(1, RNG_INITIALISE, 0, 0);
	Rng			again = rng_stream(1, RNG_INITIALISE, 0, 0);
	Rng			other = rng_stream(2, RNG_INITIALISE, 0, 0);
	size_t		size;
	TensorList	tight;
	bool		unique = true;

	prepare(&small, learner, widest_loss(learner), UNARY_RELU, true, 2);
	size = small.list.size;
	for (size_t i = 0; i < size; i++)
		a[i] = b[i] = c[i] = NAN;
	learner->initialise(&small.spec, &small.list, &first, a);
	learner->initialise(&small.spec, &small.list, &again, b);
	learner->initialise(&small.spec, &small.list, &other, c);
	ok(all_finite(a, size), "%s: every first value is set", learner->name);
	ok(memcmp(a, b, size * sizeof(real)) == 0, "%s: by the seed", learner->name);
	if (!(learner->flags & LEARNER_BLEND))	/* whose parts come trained */
		ok(memcmp(a, c, size * sizeof(real)) != 0, "%s: another seed gives others", learner->name);

	for (int i = 0; i < small.list.n; i++)
		unique = unique && tensor_find(&small.list, small.tensors[i].name) == i;
	ok(unique, "%s: tensors have names of their own", learner->name);

	tight = small.list;
	tight.max = small.list.n - 1;
	tight.n = 0;
	tight.size = 0;
	ok(!learner->layout(&small.spec, &tight), "%s: a list that is too short is refused", learner->name);
	ok(learner->summary != NULL && strlen(learner->summary) > 10, "%s: has a summary", learner->name);
}

/* What a trained model promises: any number of rows, none included; order and padding do not matter. */
static void
test_at_work(const Learner *learner, LossKind loss)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static real padded[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static real prior[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	real		outputs[GOLDEN_ROWS * GOLDEN_CLASSES];
	real		single[GOLDEN_CLASSES];
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		support;
	Rows		whole;
	Rows		none;
	Rows		query;
	double		a[SMALL_MAX_SIZE];
	double		b[SMALL_MAX_SIZE];
	bool		same = true;
	bool		kept = true;
	int			k;
	size_t		total;

	prepare(&small, learner, loss, UNARY_RELU, true, 2);
	k = small.spec.net.outputs;
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, learner, &small.spec, &small.list, small.theta, NULL);

	support = whole = none = small_task(&small, 0, 1);
	whole.rows = GOLDEN_ROWS;	/* with padding of weight 0 */
	none.rows = 0;
	query = small_task(&small, 1, 0);

	is_string(applier_adapt(applier, &support, NULL, phi), NULL, "%s, %s: adapts", learner->name, loss_words[loss]);
	is_string(applier_adapt(applier, &whole, NULL, padded), NULL, "%s, %s: with rows of weight 0", learner->name, loss_words[loss]);
	for (size_t i = 0; i < small.list.size; i++)
	{
		a[i] = phi[i];
		b[i] = padded[i];
	}
	is_close(norm_error(b, a, small.list.size), 0, sizeof(real) == 8 ? 1e-13 : 1e-6,
			 "%s, %s: which change nothing", learner->name, loss_words[loss]);

	for (int i = 0; i < small.list.n; i++)
		if (small.tensors[i].role == TENSOR_SHARED || small.tensors[i].role == TENSOR_FIXED)
			kept = kept && memcmp(phi + small.tensors[i].offset, small.theta + small.tensors[i].offset,
								  (size_t) small.tensors[i].rows * small.tensors[i].cols * sizeof(real)) == 0;
	ok(kept, "%s, %s: what is shared is passed on bit by bit", learner->name, loss_words[loss]);

	is_string(applier_adapt(applier, &none, NULL, prior), NULL, "%s, %s: adapts on no rows", learner->name, loss_words[loss]);
	ok(memcmp(prior, small.theta, small.list.size * sizeof(real)) == 0, "%s, %s: to the prior, bit by bit",
	   learner->name, loss_words[loss]);
	if (!(learner->flags & LEARNER_NO_SUPPORT))
		ok(memcmp(phi, small.theta, small.list.size * sizeof(real)) != 0, "%s, %s: and on rows to something else",
		   learner->name, loss_words[loss]);

	applier_predict(applier, phi, &query, outputs);
	ok(all_finite(outputs, (size_t) query.rows * k), "%s, %s: predicts", learner->name, loss_words[loss]);
	if (learner->variance != NULL && loss == LOSS_SQUARED)
	{
		real		before[GOLDEN_ROWS];
		real		after[GOLDEN_ROWS];
		bool		less = true;

		/* by a formula, that is: a network may learn that it is not, and a mixture's members may part */
		bool		learned = strcmp(learner->name, "cnp") == 0 || learner->generative || learner->flags & LEARNER_BLEND;

		applier_variance(applier, small.theta, &query, before);
		applier_variance(applier, phi, &query, after);
		for (int r = 0; r < query.rows; r++)
			less = less && before[r] > 0 && after[r] > 0 && (learned || after[r] < before[r]);
		ok(less, "%s: %s", learner->name, learned ? "its variances are positive" : "what was seen makes it surer");
	}
	for (int r = query.rows - 1; r >= 0; r--)
	{
		Rows		row = query;

		row.rows = 1;
		row.x += r * row.width.x;
		row.c += r * row.width.c;
		applier_predict(applier, phi, &row, single);
		for (int j = 0; j < k; j++)
			same = same && fabs((double) single[j] - (double) outputs[r * k + j]) <
				(sizeof(real) == 8 ? 1e-13 : 1e-5);
	}
	ok(same, "%s, %s: one by one as all at once", learner->name, loss_words[loss]);
	total = arena.total;
	for (int i = 0; i < 10; i++)
	{
		applier_adapt(applier, &support, NULL, phi);
		applier_predict(applier, phi, &query, outputs);
	}
	ok(arena.total == total, "%s, %s: and takes no more memory", learner->name, loss_words[loss]);
	heap_free(&heap);
}

/* Memory that ends anywhere while tapes are built is reported. */
static void
test_full_arena(const Learner *learner)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	real		gradient[SMALL_MAX_SIZE];
	real		outputs[GOLDEN_ROWS * GOLDEN_CLASSES];
	int			refused = 0;
	int			built = 0;
	Rows		support;

	prepare(&small, learner, widest_loss(learner), UNARY_RELU, true, 2);
	support = small_task(&small, 0, 0);
	for (size_t limit = 0; limit < (size_t) 16 << 20; limit += limit / 8 + 512)
	{
		Heap		heap = {0};
		Arena		arena;
		MetaStep	step;
		Applier    *applier;

		arena_init(&arena, heap_grow, &heap, limit);
		meta_step_init(&step, &arena, learner, &small.spec, &small.list, small.theta, 0, GOLDEN_ROWS, GOLDEN_ROWS, NULL);
		if (step.fault != NULL)
			refused++;
		else
		{
			memset(gradient, 0, sizeof(gradient));
			meta_step_run(&step, &small.part[0], &small.part[1], 0, gradient);
			built++;
		}
		heap_free(&heap);

		arena_init(&arena, heap_grow, &heap, limit);
		applier = applier_create(&arena, learner, &small.spec, &small.list, small.theta, NULL);
		if (applier != NULL && applier_adapt(applier, &support, NULL, phi) == NULL)
			applier_predict(applier, phi, &support, outputs);
		heap_free(&heap);
	}
	ok(refused > 0 && built > 0, "%s: memory that ends is reported (%d times)", learner->name, refused);
}

/* Smaller tapes give what the largest gives. */
static void
test_sizes(const Learner *learner)
{
	static SmallTasks small;
	double		gradient[2][SMALL_MAX_SIZE];

	prepare(&small, learner, LOSS_LOGISTIC, UNARY_TANH, true, 2);
	for (int i = 0; i < 2; i++)
	{
		Heap		heap = {0};
		Arena		arena;
		MetaStep	step;
		real		sums[SMALL_MAX_SIZE] = {0};

		arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
		meta_step_init(&step, &arena, learner, &small.spec, &small.list, small.theta, i == 0 ? 40 : 0, 40, GOLDEN_ROWS, NULL);
		meta_step_run(&step, &small.part[0], &small.part[1], 0, sums);
		for (size_t j = 0; j < small.list.size; j++)
			gradient[i][j] = sums[j];
		heap_free(&heap);
	}
	is_close(norm_error(gradient[1], gradient[0], small.list.size), 0, sizeof(real) == 8 ? 1e-12 : 1e-5,
			 "%s: the tape's size does not matter", learner->name);
}

/*
 * Tables of which a tape sees a slice's rows alone give what whole ones give,
 * and a gradient that is kept and added later is the same as one that is added.
 */
static void
test_tables_by_rows(const Learner *learner)
{
	static const Embedding embeddings[] = {{56, 2, false}, {52, 3, false}};
	static SmallTasks small;
	double		gradient[3][SMALL_MAX_SIZE];
	double		losses[2];
	const char *fault = NULL;
	size_t		small_size = 0;

	prepare(&small, learner, LOSS_LOGISTIC, UNARY_TANH, true, 2);
	small.spec.net.embeddings = embeddings;
	small_layout(&small);
	make_positive(&small);
	for (int part = 0; part < 2; part++)
		for (int i = 0; i < SMALL_MAX_ROWS * 2; i++)
			small.c[part][i] = i == 3 ? 1000 : i == 5 ? -1 : small.c[part][i] * 12 + 7 * (i % 3);
	for (int i = 0; i < 2; i++)
	{
		Heap		heap = {0};
		Arena		arena;
		MetaStep	step;
		SliceGradient slice;
		real		sums[SMALL_MAX_SIZE] = {0};
		real		added[SMALL_MAX_SIZE] = {0};

		for (int t = 0; t < small.list.n; t++)
			small.tensors[t].by_rows = i == 1 &&
				(strncmp(small.tensors[t].name, "embedding.", 10) == 0 || strncmp(small.tensors[t].name, "wide.", 5) == 0);
		arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
		meta_step_init(&step, &arena, learner, &small.spec, &small.list, small.theta, 0, GOLDEN_ROWS, GOLDEN_ROWS, NULL);
		if (step.fault != NULL)
		{
			fault = step.fault;
			heap_free(&heap);
			break;
		}
		/* twice, so that the first one's rows are not there any more */
		meta_step_run(&step, &small.part[1], &small.part[0], 0, NULL);
		losses[i] = meta_step_run(&step, &small.part[0], &small.part[1], 0, sums);
		slice.numbers = arena_alloc(&arena, step.small.size, sizeof(real));
		slice.rows = arena_alloc(&arena, step.n_rows, sizeof(int32_t));
		meta_step_store(&step, &slice);
		meta_step_add_stored(&step, &slice, added);
		small_size = step.small.size;
		for (size_t j = 0; j < small.list.size; j++)
		{
			gradient[i][j] = sums[j];
			gradient[2][j] = added[j];
		}
		heap_free(&heap);
	}
	if (strcmp(learner->name, "vaml") == 0)
	{
		ok(fault != NULL, "vaml: a label's probability takes the whole table, which is a fault");
		return;
	}
	ok(fault == NULL, "%s: tables by rows are built", learner->name);
	is_close(losses[1], losses[0], fabs(losses[0]) * (sizeof(real) == 8 ? 1e-13 : 1e-5), "%s: their loss", learner->name);
	is_close(norm_error(gradient[1], gradient[0], small.list.size), 0, sizeof(real) == 8 ? 1e-12 : 1e-5,
			 "%s: their gradient", learner->name);
	ok(memcmp(gradient[1], gradient[2], small.list.size * sizeof(double)) == 0, "%s: kept, and added later", learner->name);
	ok(small_size < small.list.size, "%s: of fewer numbers", learner->name);
}

/* Of AddressSanitizer, whose header is not everywhere. */
extern int	__sanitizer_install_malloc_and_free_hooks(void (*of_malloc) (const volatile void *, size_t),
													  void (*of_free) (const volatile void *));

static int	mallocs;

static void
count_malloc(const volatile void *at, size_t size)
{
	mallocs++;
}

static void
no_free(const volatile void *at)
{
}

/* Meta-iterations after the first take no memory, of the arena or of the process. */
static void
test_no_allocation(const Learner *learner)
{
	static SmallTasks small;
	real		gradient[SMALL_MAX_SIZE] = {0};
	uint64_t	requests;
	int			before;
	Heap		heap = {0};
	Arena		arena;
	MetaStep	step;
	Rows		one;

	prepare(&small, learner, LOSS_LOGISTIC, UNARY_TANH, true, 2);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	meta_step_init(&step, &arena, learner, &small.spec, &small.list, small.theta, 0, GOLDEN_ROWS, GOLDEN_ROWS, NULL);
	meta_step_run(&step, &small.part[0], &small.part[1], 0, gradient);
	requests = arena.requests;
	before = mallocs;
	one = small_task(&small, 0, 1);
	for (int i = 1; i < 6; i++)
	{
		/* other tapes, too */
		meta_step_draw(&step, i, 0);
		meta_step_run(&step, i % 2 ? &one : &small.part[0], &small.part[1], 0.1 * i, gradient);
	}
	ok(requests > 0 && before > 0 && arena.requests == requests && mallocs == before,
	   "%s: nothing is allocated after the first meta-iteration", learner->name);
	heap_free(&heap);
}

/* With two classes and much data a diagonal Newton step would overshoot. */
static void
test_mode_of_classes(void)
{
	enum
	{
		ROWS = 60,
		K = 2
	};
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static real x[ROWS * GOLDEN_INPUTS];
	static int32_t c[ROWS * 2];
	static real y[ROWS * K];
	static real w[ROWS];
	static real outputs[ROWS * K];
	const Learner *learner = learner_find("random_intercept");
	Rows		rows = {.width = {GOLDEN_INPUTS, 0, K}, .tasks = 1, .rows = ROWS, .x = x, .c = c, .y = y, .w = w};
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	double		slope[K] = {0};
	const double precision = 0.3;

	small_tasks(&small, learner->name, LOSS_SOFTMAX, UNARY_TANH, true, 0, 0, 0, 0);
	small.spec.net.outputs = K;
	small.list.n = 0;
	small.list.size = 0;
	learner->layout(&small.spec, &small.list);
	for (int k = 0; k < K; k++)
	{
		small_tensor(&small, small.theta, "shift")[k] = 0;
		small_tensor(&small, small.theta, "precision")[k] = precision;
	}
	*small_tensor(&small, small.theta, "noise") = *small_tensor(&small, small.theta, "scale") = 1;
	for (int r = 0; r < ROWS; r++)
	{
		for (int j = 0; j < GOLDEN_INPUTS; j++)
			x[r * GOLDEN_INPUTS + j] = wave(1, j, r);
		w[r] = 1;
		y[r * K + (r % 5 == 0)] = 1;
	}

	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, learner, &small.spec, &small.list, small.theta, NULL);
	applier_adapt(applier, &rows, NULL, phi);

	/* At the mode, data and prior pull equally.  Outputs of a sharp posterior are f + shift. */
	for (int k = 0; k < K; k++)
	{
		slope[k] = -precision * small_tensor(&small, phi, "shift")[k];
		small_tensor(&small, phi, "precision")[k] = 1e12;
	}
	applier_predict(applier, phi, &rows, outputs);
	for (int r = 0; r < ROWS; r++)
	{
		double		p = 1 / (1 + exp((double) outputs[r * K] - outputs[r * K + 1]));

		slope[0] += y[r * K] - (1 - p);
		slope[1] += y[r * K + 1] - p;
	}
	is_close(norm_of(slope, K) / ROWS, 0, 1e-5, "random_intercept: the mode of two classes is found");
	heap_free(&heap);
}

/* adapt(adapt(M, A), B) = adapt(M, A and B) */
static void
test_further(const Learner *learner)
{
	static SmallTasks small;
	static real once[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	static real twice[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	double		a[SMALL_MAX_SIZE];
	double		b[SMALL_MAX_SIZE];
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		all;
	Rows		first;
	Rows		rest;

	prepare(&small, learner, exact_loss(learner), UNARY_TANH, true, 2);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, learner, &small.spec, &small.list, small.theta, NULL);
	all = first = rest = small_task(&small, 0, 0);
	first.rows = 2;
	rest.rows = all.rows - 2;
	rest.x += 2 * rest.width.x;
	rest.c += 2 * rest.width.c;
	rest.y += 2 * rest.width.y;
	rest.w += 2;
	applier_adapt(applier, &all, NULL, once);
	applier_adapt(applier, &first, NULL, twice);
	applier_adapt(applier, &rest, twice, twice);
	for (size_t i = 0; i < small.list.size; i++)
	{
		a[i] = once[i];
		b[i] = twice[i];
	}
	is_close(norm_error(b, a, small.list.size), 0, sizeof(real) == 8 ? 1e-13 : 1e-6,
			 "%s: adapting twice is adapting once on all rows", learner->name);
	heap_free(&heap);
}

/*
 * A Bayesian last layer whose only feature is a constant, and whose prior does
 * not look at the support, is the random intercept: two derivations, one
 * result.
 */
static void
test_constant_feature(LossKind loss)
{
	static const char *const zero[] = {"feature.weight", "feature.bias", "noise.weight", "context.1.weight", "context.1.bias"};
	static const char *const one[] = {"scale", "linear.precision", "linear.noise", "linear.scale"};
	static const char *const none[] = {"shift", "linear.shift", "linear.from", "linear.to", "rows"};
	static SmallTasks small[2];
	static real phi[2][SMALL_MAX_SIZE] __attribute__((aligned(64)));
	const double deviation = 0.8;
	const double noise = 0.5;
	double		output[2][2 * GOLDEN_ROWS];
	double		tolerance = sizeof(real) == 4 ? 1e-4 : loss == LOSS_SQUARED ? 1e-11 : 1e-6;
	int			n = 0;

	small_tasks(&small[0], "alpaca", loss, UNARY_TANH, true, 2, 0, 0, 5);
	small_tasks(&small[1], "random_intercept", loss, UNARY_TANH, true, 2, 0, 0, 5);
	for (size_t i = 0; i < sizeof(zero) / sizeof(zero[0]); i++)
	{
		const Tensor *tensor = &small[0].tensors[tensor_find(&small[0].list, zero[i])];

		memset(small[0].theta + tensor->offset, 0, (size_t) tensor->rows * tensor->cols * sizeof(real));
	}
	for (int i = 0; i < small[0].list.n; i++)
		if (small[0].tensors[i].role == TENSOR_STATE)
			memset(small[0].theta + small[0].tensors[i].offset, 0,
				   (size_t) small[0].tensors[i].rows * small[0].tensors[i].cols * sizeof(real));
	/* logarithms, a quarter of them */
	*small_tensor(&small[0], small[0].theta, "intercept.bias") = log(deviation) / 4;
	*small_tensor(&small[0], small[0].theta, "noise.bias") = log(noise - 1e-4) / 4;

	for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++)
		*small_tensor(&small[1], small[1].theta, one[i]) = 1;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		*small_tensor(&small[1], small[1].theta, none[i]) = 0;
	*small_tensor(&small[1], small[1].theta, "precision") = 1 / (deviation * deviation);
	*small_tensor(&small[1], small[1].theta, "noise") = loss == LOSS_SQUARED ? noise : 1;

	for (int i = 0; i < 2; i++)
	{
		Heap		heap = {0};
		Arena		arena;
		Applier    *applier;
		Rows		support = small_task(&small[i], 0, 0);
		Rows		query = small_task(&small[i], 1, 0);
		real		values[GOLDEN_ROWS];

		arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
		applier = applier_create(&arena, small[i].learner, &small[i].spec, &small[i].list, small[i].theta, NULL);
		applier_adapt(applier, &support, NULL, phi[i]);
		applier_predict(applier, phi[i], &query, values);
		for (n = 0; n < query.rows; n++)
			output[i][n] = values[n];
		if (loss == LOSS_SQUARED)
		{
			applier_variance(applier, phi[i], &query, values);
			for (int r = 0; r < query.rows; r++)
				output[i][n++] = values[r];
		}
		heap_free(&heap);
	}
	is_close(norm_error(output[0], output[1], n), 0, tolerance,
			 "alpaca, %s: with a constant feature it is the random intercept", loss_words[loss]);
}

/* What holds for every learner, and for each variant of one. */
static void
test_learner(const Learner *learner)
{
#ifdef NN_DOUBLE
	for (int loss = 0; loss < 3; loss++)
	{
		if (learner->outer != NULL || strcmp(learner->name, "lstm") == 0 || !learner_supports(learner, loss))
			continue;			/* no gradient of its query loss: see
								 * test_maml.c; or one that takes constants for
								 * what varies: see test_lstm.c */
		test_gradient(learner, loss, UNARY_TANH, true, 2);
		test_gradient(learner, loss, UNARY_TANH, false, 0);
		test_gradient(learner, loss, UNARY_SIGMOID, true, 0);
		test_gradient(learner, loss, UNARY_SOFTPLUS, false, 2);
	}
#endif
	test_initialise(learner);
	for (int loss = 0; loss < 3; loss++)
		if (learner_supports(learner, loss))
			test_at_work(learner, loss);
	if (learner->flags & LEARNER_ADDITIVE)
		test_further(learner);
	test_sizes(learner);
	test_no_allocation(learner);
	if (!(learner->flags & LEARNER_BLEND))	/* which is not trained itself */
		test_tables_by_rows(learner);
	test_full_arena(learner);
}

int
main(int argc, char **argv)
{
	__sanitizer_install_malloc_and_free_hooks(count_malloc, no_free);
	for (int i = 1; i < argc; i++)
		test_learner(learner_find(argv[i]));
	if (argc > 1)
		return tap_done();		/* only those, while working on them */
	for (int i = 0; learners[i] != NULL; i++)
		test_learner(learners[i]);
	diag("with full_context");
	small_full_context = true;
	test_learner(learner_find("matching"));
	small_full_context = false;
	test_mode_of_classes();
	test_constant_feature(LOSS_SQUARED);
	test_constant_feature(LOSS_LOGISTIC);
	return tap_done();
}
