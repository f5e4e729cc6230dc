/*
 * test_inner.c
 *	  Partial adaptation and what is learned about inner steps, against an
 *	  independent implementation: goldens/inner.h, made with PyTorch by
 *	  goldens/make_inner_goldens.py.  And what holds of them by definition.
 */
#include "learn/apply.h"
#include "learn/meta_step.h"

#include "check.h"
#include "golden_run.h"
#include "small_tasks.h"

#include "goldens/inner.h"

/* Set before anything was measured. */
#define GOLDEN_TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

static const char *const loss_words[] = {"squared", "logistic", "softmax"};

static void
test_golden(const GoldenInner *golden)
{
	static SmallTasks small;
	static double got[SMALL_MAX_SIZE];
	double		losses[GOLDEN_TASKS];
	char		name[160];
	Heap		heap = {0};
	Arena		arena;

	snprintf(name, sizeof(name), "%s, %s, %d step(s)%s%s%s, progress %g", golden->learner, loss_words[golden->loss],
			 golden->inner_steps, golden->step_rates ? ", step rates" : "", golden->shrink ? ", shrink" : "",
			 golden->multi_step ? ", multi-step" : "", golden->progress);
	small_tasks(&small, golden->learner, golden->loss, golden->activation, golden->skip,
				golden->n_embeddings, golden->inner_steps, golden->inner_lr, golden->seed);
	small.spec.options.step_rates = golden->step_rates;
	small.spec.options.inner_loss = golden->shrink ? INNER_LOSS_SHRUNK : INNER_LOSS_MEAN;
	small.spec.options.multi_step = golden->multi_step;
	small_layout(&small);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);

	if (!golden_run(&small, &arena, golden->progress, golden->size, name, losses, got))
	{
		heap_free(&heap);
		return;
	}

	/* a task's own state is not learned: no gradient of it is kept */
	for (int i = 0; i < small.list.n; i++)
		if (small.tensors[i].role == TENSOR_STATE)
			memcpy(got + small.tensors[i].offset, golden->gradient + small.tensors[i].offset,
				   sizeof(double) * small.tensors[i].rows * small.tensors[i].cols);
	is_close(norm_error(losses, golden->losses, GOLDEN_TASKS), 0, GOLDEN_TOLERANCE, "%s: losses", name);
	is_close(norm_error(got, golden->gradient, golden->size), 0, GOLDEN_TOLERANCE, "%s: outer gradient", name);
	heap_free(&heap);
}

/* How far, and how, a learner adapts to the first n rows of a task. */
static void
adapt_to(const char *learner, bool shrink, int n, double *change)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier;
	Rows		rows;

	small_tasks(&small, learner, LOSS_SQUARED, UNARY_TANH, true, 2, 1, 0.1, 5);
	small.spec.options.inner_loss = shrink ? INNER_LOSS_SHRUNK : INNER_LOSS_MEAN;
	small_layout(&small);
	if (shrink)
		*small_tensor(&small, small.theta, "shrink") = 0;
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier = applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL);
	rows = small_task(&small, 0, 0);
	rows.rows = n;
	for (int r = 0; r < n; r++)
		rows.w[r] = 1;
	applier_adapt(applier, &rows, NULL, phi);
	for (int k = 0; k < GOLDEN_CLASSES; k++)
		change[k] = 0;
	for (int i = 0; i < small.list.n; i++)
		if (strcmp(small.tensors[i].name, "head.weight") == 0)
			for (int k = 0; k < GOLDEN_CLASSES; k++)
				change[k] = phi[small.tensors[i].offset + k] - small.theta[small.tensors[i].offset + k];
	heap_free(&heap);
}

/* With c = 3, a step on n rows is n / (n + 3) of the one without. */
static void
test_shrink(const char *learner)
{
	double		plain[GOLDEN_CLASSES];
	double		shrunk[GOLDEN_CLASSES];

	for (int n = 1; n <= 5; n += 2)
	{
		adapt_to(learner, false, n, plain);
		adapt_to(learner, true, n, shrunk);
		for (int k = 0; k < GOLDEN_CLASSES; k++)
			plain[k] *= n / (n + 3.0);
		ok(norm_of(plain, GOLDEN_CLASSES) > 1e-4, "%s: adapts to %d row(s)", learner, n);
		is_close(norm_of((double[]) {plain[0] - shrunk[0], plain[1] - shrunk[1], plain[2] - shrunk[2]}, 3) /
				 norm_of(plain, 3), 0, sizeof(real) == 8 ? 1e-12 : 1e-4,
				 "%s: %d of %d parts of a step on %d row(s)", learner, n, n + 3, n);
	}
}

/* What is learned about steps begins where there is nothing to learn. */
static void
test_start(const char *learner, const char *like)
{
	static SmallTasks small[2];
	static real phi[2][SMALL_MAX_SIZE] __attribute__((aligned(64)));
	bool		same = true;

	small_tasks(&small[0], like, LOSS_SOFTMAX, UNARY_TANH, true, 2, 3, 0.1, 5);
	small_tasks(&small[1], learner, LOSS_SOFTMAX, UNARY_TANH, true, 2, 3, 0.1, 5);
	small[1].spec.options.step_rates = true;
	small_layout(&small[1]);
	for (int i = small[0].list.n; i < small[1].list.n; i++)
		memset(small[1].theta + small[1].tensors[i].offset, 0,
			   sizeof(real) * small[1].tensors[i].rows * small[1].tensors[i].cols);
	ok(small[1].list.n > small[0].list.n, "%s: has more to learn than %s", learner, like);
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
		for (int k = 0; k < small[0].tensors[i].rows * small[0].tensors[i].cols; k++)
			same = same && fabs((double) phi[0][small[0].tensors[i].offset + k] -
								(double) phi[1][small[1].tensors[i].offset + k]) < (sizeof(real) == 8 ? 1e-14 : 1e-6);
	ok(same, "%s: and adapts like it at first", learner);
}

/*
 * Where every step has the same rate, a first-order learner's gradient of the
 * shrinkage takes the way as a whole; with step rates of 1 it takes the steps
 * one by one.  The second is what the goldens have.
 */
static void
test_way_as_a_whole(bool multi_step)
{
	static SmallTasks small;
	static double gradient[2][SMALL_MAX_SIZE];
	double		losses[2][GOLDEN_TASKS];
	int			common = 0;
	double		shrink = 0;

	for (int rates = 0; rates < 2; rates++)
	{
		Heap		heap = {0};
		Arena		arena;

		small_tasks(&small, "fomaml", LOSS_SOFTMAX, UNARY_TANH, true, 2, 4, 0.1, 5);
		small.spec.options.inner_loss = INNER_LOSS_SHRUNK;
		small.spec.options.multi_step = multi_step;
		small.spec.options.step_rates = rates == 1;
		small_layout(&small);
		for (int i = 0; i < small.list.n; i++)
			if (strncmp(small.tensors[i].name, "step_rate.", 10) == 0)
				memset(small.theta + small.tensors[i].offset, 0, small.tensors[i].cols * sizeof(real));
		*small_tensor(&small, small.theta, "shrink") = 0.2;
		common = network_count(&small.spec.net);
		arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
		golden_run(&small, &arena, 0.02, small.list.size, "fomaml, shrink", losses[rates], gradient[rates]);
		/* right after the network's, so that both have it there */
		shrink = gradient[rates][small.tensors[tensor_find(&small.list, "shrink")].offset];
		gradient[rates][small.tensors[common].offset] = shrink;
		heap_free(&heap);
	}
	ok(fabs(shrink) > 1e-6, "fomaml%s: the shrinkage has a gradient", multi_step ? ", multi-step" : "");
	is_close(norm_error(losses[0], losses[1], GOLDEN_TASKS), 0, GOLDEN_TOLERANCE, "... and the losses are those of step rates of 1");
	is_close(norm_error(gradient[0], gradient[1], small.tensors[common].offset + 1), 0, GOLDEN_TOLERANCE, "... as are the gradients");
}

/* Nodes that one more step takes. */
static int
nodes_of_a_step(const char *learner, int n_hidden)
{
	int			nodes[2];

	for (int more = 0; more < 2; more++)
	{
		static SmallTasks small;
		Heap		heap = {0};
		Arena		arena;
		MetaStep	step;

		small_tasks(&small, learner, LOSS_SQUARED, UNARY_TANH, true, 2, 5 + more, 0.1, 5);
		small.spec.net.n_hidden = n_hidden;
		small_layout(&small);
		arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
		meta_step_init(&step, &arena, small.learner, &small.spec, &small.list, small.theta, 5, 5, 5, NULL);
		nodes[more] = step.sizes[0].tape.n_nodes;
		heap_free(&heap);
	}
	return nodes[1] - nodes[0];
}

/* The layers are run and differentiated once, whatever the number of steps. */
static void
test_body_once(void)
{
	ok(nodes_of_a_step("anil", 1) == nodes_of_a_step("anil", 2), "anil: a step takes no more with more layers");
	ok(nodes_of_a_step("maml", 1) < nodes_of_a_step("maml", 2), "maml: it does");
}

/* Begins with the c of a shrunken mean: noise over the variance between tasks. */
static void
test_begin(void)
{
	static SmallTasks small;

	small_tasks(&small, "anil", LOSS_SQUARED, UNARY_TANH, true, 2, 3, 0.1, 5);
	small.spec.options.inner_loss = INNER_LOSS_SHRUNK;
	small_layout(&small);
	small.learner->begin(&small.spec, &small.list, 0.1, 0.8, small.theta);
	is_close(3 * exp(4 * *small_tensor(&small, small.theta, "shrink")), 8, 1e-5, "c begins at the ratio of variances");
}

/* A context of no numbers is a learner that does not adapt. */
static void
test_no_context(void)
{
	static SmallTasks small;
	static real phi[SMALL_MAX_SIZE] __attribute__((aligned(64)));
	Heap		heap = {0};
	Arena		arena;
	Rows		rows;

	small_tasks(&small, "cavia", LOSS_SQUARED, UNARY_TANH, true, 2, 3, 0.1, 5);
	small.spec.options.context = 0;
	small_layout(&small);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	rows = small_task(&small, 0, 0);
	is_string(applier_adapt(applier_create(&arena, small.learner, &small.spec, &small.list, small.theta, NULL),
							&rows, NULL, phi), NULL, "cavia: adapts a context of no numbers");
	ok(memcmp(phi, small.theta, small.list.size * sizeof(real)) == 0, "cavia: to the prior");
	heap_free(&heap);
}

#define FIRST_INPUTS 64
#define FIRST_WIDTH 32
#define FIRST_CLASSES 5

/*
 * How far, in parts of its length, the first step of a new learner moves a
 * layer of a normalised MLP: one row of each class, the rate that papers use.
 */
static double
first_step(const char *name, const char *layer)
{
	static Tensor tensors[SMALL_MAX_TENSORS];
	static real theta[2][8000] __attribute__((aligned(64)));
	static real x[FIRST_CLASSES * FIRST_INPUTS];
	static real y[FIRST_CLASSES * FIRST_CLASSES];
	static real w[FIRST_CLASSES];
	const Learner *learner = learner_find(name);
	LearnerSpec spec = {.loss = LOSS_SOFTMAX};
	Network    *net = &spec.net;
	TensorList	list = {tensors, 0, SMALL_MAX_TENSORS, 0};
	Rng			rng = rng_stream(1, RNG_INITIALISE, 0, 0);
	Rows		rows = {{FIRST_INPUTS, 0, FIRST_CLASSES}, 1, FIRST_CLASSES, x, NULL, y, w};
	Heap		heap = {0};
	Arena		arena;
	const Tensor *tensor;
	double		length = 0;
	double		moved = 0;

	options_default(&spec.options, learner->defaults);
	spec.options.inner_steps = 1;
	spec.options.inner_lr = 0.4;
	spec.options.inner_loss = INNER_LOSS_MEAN;
	net->inputs = FIRST_INPUTS;
	net->outputs = FIRST_CLASSES;
	net->norm = NORM_BATCH;
	net->activation = UNARY_RELU;
	net->n_hidden = 2;
	net->hidden[0] = net->hidden[1] = FIRST_WIDTH;
	if (!learner->layout(&spec, &list) || list.size > 8000)
		abort();
	learner->initialise(&spec, &list, &rng, theta[0]);
	for (int r = 0; r < FIRST_CLASSES; r++)
	{
		w[r] = 1;
		y[r * FIRST_CLASSES + r] = 1;
		/* pixels */
		for (int i = 0; i < FIRST_INPUTS; i++)
			x[r * FIRST_INPUTS + i] = wave(3, 1, r * FIRST_INPUTS + i) > 0.5;
	}
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	applier_adapt(applier_create(&arena, learner, &spec, &list, theta[0], NULL), &rows, NULL, theta[1]);
	tensor = &list.tensors[tensor_find(&list, layer)];
	for (size_t i = tensor->offset; i < tensor->offset + (size_t) tensor->rows * tensor->cols; i++)
	{
		length += theta[0][i] * theta[0][i];
		moved += (theta[1][i] - theta[0][i]) * (theta[1][i] - theta[0][i]);
	}
	heap_free(&heap);
	return sqrt(moved / length);
}

/* A step that is hardly felt is one that the outer loop learns nothing from. */
static void
test_first_step(void)
{
	static const char *const learners[] = {"maml", "fomaml", "meta_sgd"};

	for (int i = 0; i < 3; i++)
		for (int l = 0; l < 2; l++)
		{
			char		layer[TENSOR_NAME_LENGTH];
			double		moved;

			snprintf(layer, sizeof(layer), "layer.%d.weight", l);
			moved = first_step(learners[i], layer);
			ok(moved > 0.3 && moved < 10, "%s: the first step turns normalised layer %d (%.3f)", learners[i], l, moved);
		}
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(golden_inner) / sizeof(golden_inner[0]); i++)
		test_golden(&golden_inner[i]);
	test_shrink("maml");
	test_shrink("fomaml");
	test_shrink("reptile");
	test_shrink("anil");
	test_start("maml", "maml");
	test_start("meta_sgd", "maml");
	test_start("fomaml", "fomaml");
	test_way_as_a_whole(false);
	test_way_as_a_whole(true);
	test_body_once();
	test_begin();
	test_no_context();
	test_first_step();
	return tap_done();
}
