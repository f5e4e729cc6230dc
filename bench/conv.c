/*
 * conv.c
 *	  A meta-iteration of prototypical networks on images without a server, and
 *	  the product of two large matrices beside it.  See conv.sh.
 *
 *	conv NETWORK SIDE CHANNELS WAY SUPPORT QUERY SECONDS
 *
 * Prints microseconds of processor time per image, forward and backward,
 * and GFLOP/s of it and of sgemm (1024 x 1024 x 1024): the best of what the
 * seconds have room for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "learn/meta_step.h"
#include "nn/blas.h"

#define SQUARE 1024

/* One episode: class by class. */
static Rows
random_rows(const Network *net, int each)
{
	int			way = net->outputs;
	Rows		r = {{net->inputs, 0, way}, 1, way * each, NULL, NULL, NULL, NULL};

	r.x = malloc((size_t) r.rows * net->inputs * sizeof(real));
	r.c = NULL;
	r.y = calloc((size_t) r.rows * way, sizeof(real));
	r.w = malloc(r.rows * sizeof(real));
	for (int i = 0; i < r.rows * net->inputs; i++)
		r.x[i] = rand() % 4 == 0;
	for (int i = 0; i < r.rows; i++)
	{
		r.y[i * way + i / each] = 1;
		r.w[i] = 1;
	}
	return r;
}

/* Operations of an image, forward and backward; the input needs no gradient. */
static double
operations(const Network *net)
{
	Plane		plane = net->image;
	bool		pool = net->kind == NETWORK_CONV4_POOL;
	double		sum = 0;

	for (int l = 0; l < net->n_hidden; l++)
	{
		Plane		out = plane_convolved(plane, pool ? 1 : 2, net->hidden[l]);

		sum += (l == 0 ? 2 : 3) * 2.0 * out.height * out.width * 9 * plane.channels * out.channels;
		plane = pool ? plane_pooled(out) : out;
	}
	return sum;
}

int
main(int argc, char **argv)
{
	const Learner *learner = learner_find("prototypical");
	LearnerSpec spec;
	Tensor		tensors[64];
	TensorList	list = {tensors, 0, 64, 0};
	Rng			rng = rng_stream(0, RNG_INITIALISE, 0, 0);
	Arena		arena;
	MetaStep	step;
	Rows		support,
				query;
	real	   *theta,
			   *gradient,
			   *square[3];
	double		iteration = 1e9,
				product = 1e9,
				start = processor_time();
	int			images;

	if (argc != 8)
	{
		fprintf(stderr, "usage: conv conv4|conv4_pool SIDE CHANNELS WAY SUPPORT QUERY SECONDS\n");
		return 1;
	}
	memset(&spec, 0, sizeof(spec));
	options_default(&spec.options, learner->defaults);
	spec.options.way = atoi(argv[4]);
	spec.options.features = 64;
	spec.options.meta_batch = 1;
	spec.loss = LOSS_SOFTMAX;
	spec.net.kind = strcmp(argv[1], "conv4") == 0 ? NETWORK_CONV4 : NETWORK_CONV4_POOL;
	spec.net.norm = NORM_RUNNING;
	spec.net.image = (Plane) {atoi(argv[2]), atoi(argv[2]), atoi(argv[3])};
	spec.net.inputs = spec.net.image.height * spec.net.image.width * spec.net.image.channels;
	spec.net.n_hidden = CONV_LAYERS;
	for (int l = 0; l < CONV_LAYERS; l++)
		spec.net.hidden[l] = 64;
	spec.net.activation = UNARY_RELU;
	spec.net.outputs = spec.options.way;
	learner->layout(&spec, &list);
	theta = malloc(list.size * sizeof(real));
	gradient = calloc(list.size, sizeof(real));
	learner->initialise(&spec, &list, &rng, theta);
	support = random_rows(&spec.net, atoi(argv[5]));
	query = random_rows(&spec.net, atoi(argv[6]));
	images = support.rows + query.rows;
	for (int i = 0; i < 3; i++)
	{
		square[i] = malloc(SQUARE * SQUARE * sizeof(real));
		for (int j = 0; j < SQUARE * SQUARE; j++)
			square[i][j] = j % 7 - 3;
	}

	arena_init(&arena, grow, NULL, (size_t) 16 << 30);
	meta_step_init(&step, &arena, learner, &spec, &list, theta, support.rows, support.rows, query.rows, NULL);
	if (step.fault)
	{
		fprintf(stderr, "%s\n", step.fault);
		return 1;
	}
	do
	{
		double		begin = processor_time();
		double		took;

		meta_step_run(&step, &support, &query, 0.5, gradient);
		took = processor_time() - begin;
		iteration = took < iteration ? took : iteration;
		begin = processor_time();
		gemm(false, false, SQUARE, SQUARE, SQUARE, 1, square[0], square[1], 0, square[2]);
		took = processor_time() - begin;
		product = took < product ? took : product;
	} while (processor_time() - start < atof(argv[7]));
	printf("meta %.1f %.1f %.1f %.1f %zu\n", 1e6 * iteration / images, 1e-9 * operations(&spec.net) * images / iteration,
		   2e-9 * SQUARE * SQUARE * SQUARE / product, 1 / iteration, arena.total >> 20);
	return 0;
}
