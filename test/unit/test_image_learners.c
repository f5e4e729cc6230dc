/*
 * test_image_learners.c
 *	  Exact MAML through convolutional networks with batch normalisation,
 *	  against an independent implementation: goldens/images.h, made with
 *	  PyTorch by goldens/make_image_goldens.py.
 */
#include "learn/apply.h"
#include "learn/meta_step.h"

#include "check.h"

#include "goldens/images.h"

/* Set before anything was measured. */
#define GOLDEN_TOLERANCE (sizeof(real) == 8 ? 1e-8 : 1e-4)

#define TASKS 2
#define ROWS 4
#define CLASSES 3
#define FILTERS 3
#define MAX_PIXELS (17 * 16 * 2)
#define MAX_SIZE 600

static double
wave(int seed, int stream, int i)
{
	return sin(0.618 * (i + 1) * (i + 1) + 1.3 * stream + 0.77 * seed);
}

typedef struct ImageCase
{
	LearnerSpec spec;
	Tensor		tensors[64];
	TensorList	list;
	real		theta[MAX_SIZE] __attribute__((aligned(64)));
	real		x[2][TASKS * ROWS * MAX_PIXELS];
	real		y[2][TASKS * ROWS * CLASSES];
	real		w[2][TASKS * ROWS];
	Rows		part[2];
} ImageCase;

static void
case_init(ImageCase *at, const GoldenImages *golden)
{
	const Learner *learner = learner_find("maml");
	Network    *net = &at->spec.net;

	memset(at, 0, sizeof(*at));
	options_default(&at->spec.options, learner->defaults);
	at->spec.options.inner_steps = 1;
	at->spec.options.inner_lr = 0.1;
	at->spec.options.inner_loss = INNER_LOSS_MEAN;
	at->spec.options.meta_batch = TASKS;
	at->spec.loss = LOSS_SOFTMAX;
	net->inputs = golden->image.height * golden->image.width * golden->image.channels;
	net->image = golden->image;
	net->kind = golden->kind;
	net->norm = NORM_BATCH;
	net->activation = UNARY_TANH;
	net->outputs = CLASSES;
	net->n_hidden = CONV_LAYERS;
	for (int l = 0; l < CONV_LAYERS; l++)
		net->hidden[l] = FILTERS;
	at->list.tensors = at->tensors;
	at->list.max = 64;
	if (!learner->layout(&at->spec, &at->list) || at->list.size > MAX_SIZE)
		abort();
	for (int i = 0; i < at->list.n; i++)
		for (int k = 0; k < at->tensors[i].rows * at->tensors[i].cols; k++)
			at->theta[at->tensors[i].offset + k] = 0.6 * wave(golden->seed, 100 + i, k);
	for (int p = 0; p < 2; p++)
	{
		at->part[p] = (Rows) {{net->inputs, 0, CLASSES}, TASKS, ROWS, at->x[p], NULL, at->y[p], at->w[p]};
		for (int i = 0; i < TASKS * ROWS * net->inputs; i++)
			at->x[p][i] = wave(golden->seed, 10 * (p + 1), i);
		for (int r = 0; r < TASKS * ROWS; r++)
		{
			at->y[p][r * CLASSES + (r / ROWS + r % ROWS) % CLASSES] = 1;
			at->w[p][r] = 1;
		}
	}
	/* the last support row of the second task does not count, whatever is there */
	at->w[0][TASKS * ROWS - 1] = 0;
	for (int i = 0; i < net->inputs; i++)
		at->x[0][(TASKS * ROWS - 1) * net->inputs + i] = 9;
}

static void
test_golden(const GoldenImages *golden)
{
	static ImageCase at;
	static real gradient[MAX_SIZE];
	static double got[MAX_SIZE];
	static const char *const kinds[] = {"mlp", "conv4", "conv4_pool", "conv4_flat"};
	double		loss;
	char		name[60];
	Heap		heap = {0};
	Arena		arena;
	MetaStep	step;

	case_init(&at, golden);
	snprintf(name, sizeof(name), "%s, %dx%dx%d", kinds[golden->kind],
			 golden->image.height, golden->image.width, golden->image.channels);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);

	/* tapes that are wider than the rows */
	meta_step_init(&step, &arena, learner_find("maml"), &at.spec, &at.list, at.theta, ROWS, ROWS + 2, ROWS + 1, NULL);
	if (!ok(step.fault == NULL && at.list.size == golden->size, "%s: built", name))
	{
		diag("fault: %s; %zu numbers, expected %zu", step.fault, at.list.size, golden->size);
		heap_free(&heap);
		return;
	}
	memset(gradient, 0, sizeof(gradient));
	loss = meta_step_run(&step, &at.part[0], &at.part[1], 0.5, gradient);
	for (size_t i = 0; i < golden->size; i++)
		got[i] = gradient[i];
	is_close(loss - golden->losses[0] - golden->losses[1], 0, GOLDEN_TOLERANCE, "%s: losses", name);
	is_close(norm_error(got, golden->gradient, golden->size), 0, GOLDEN_TOLERANCE, "%s: outer gradient, and moments", name);
	heap_free(&heap);
}

/*
 * Applied, rows are predicted by the support's moments: the same alone and
 * beside others; and transductively as training sees them.
 */
static void
test_applied(const GoldenImages *golden)
{
	static ImageCase at;
	static real phi[MAX_SIZE] __attribute__((aligned(64)));
	Heap		heap = {0};
	Arena		arena;
	Applier    *applier[2];
	Rows		rows;
	real		all[2][ROWS * CLASSES];
	real		alone[CLASSES];
	double		worst = 0;
	double		loss = 0;
	double		apart = 0;

	case_init(&at, golden);
	arena_init(&arena, heap_grow, &heap, (size_t) 1 << 28);
	for (int i = 0; i < 2; i++)
		applier[i] = applier_create(&arena, learner_find("maml"), &at.spec, &at.list, at.theta, NULL);
	applier_transductive(applier[1]);
	rows = at.part[0];
	rows.tasks = 1;
	ok(applier_adapt(applier[0], &rows, NULL, phi) == NULL, "adapts");
	for (int l = 0; l < CONV_LAYERS; l++)
	{
		const Tensor *moments = &at.tensors[network_moments_at(&at.spec.net, l)];

		for (int k = 0; k < 2 * FILTERS; k++)
			apart += fabs(phi[moments->offset + k] - at.theta[moments->offset + k]);
	}
	ok(apart > 0.1, "the task has moments of its own");
	rows = at.part[1];
	rows.tasks = 1;
	for (int i = 0; i < 2; i++)
		applier_predict(applier[i], phi, &rows, all[i]);
	for (int r = 0; r < ROWS; r++)
	{
		Rows		one = rows;

		one.x += r * at.spec.net.inputs;
		one.rows = 1;
		applier_predict(applier[0], phi, &one, alone);
		for (int k = 0; k < CLASSES; k++)
			worst = fmax(worst, fabs(alone[k] - all[0][r * CLASSES + k]));
		loss += log(exp(all[1][r * CLASSES]) + exp(all[1][r * CLASSES + 1]) + exp(all[1][r * CLASSES + 2])) -
			all[1][r * CLASSES + r % CLASSES];
	}
	is_close(worst, 0, sizeof(real) == 8 ? 1e-12 : 1e-4, "a row alone is predicted as beside others");
	is_close(loss / ROWS, golden->losses[0], sizeof(real) == 8 ? 1e-10 : 1e-4, "transductively, rows see each other as in training");
	heap_free(&heap);
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(golden_images) / sizeof(golden_images[0]); i++)
	{
		test_golden(&golden_images[i]);
		test_applied(&golden_images[i]);
	}
	return tap_done();
}
