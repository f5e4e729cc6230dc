/*
 * vaml.c
 *	  A variational auto-encoder over tasks: what a task is are a few latent
 *	  variables z, from which its rows and their targets follow.
 *
 *	  q(z | S) = N(mu, diag v), (mu, v) = reader(sum_S w e / (k + c), log(1 + k), ...)
 *	  e = mlp(in, y, y - f(x)) + A in * B (y - f(x))
 *	  p(y | x, z) = N(f(x) + tau z_0 + head(act(psi(x) (1 + a(z)) + b(z))), s(x, z))
 *	  p(x | z, S): vaml_columns.c
 *
 * Nobody's algorithm to the letter: a neural process (M. Garnelo et al.,
 * "Neural processes", 2018; J. Gordon et al., "Meta-learning probabilistic
 * inference for prediction" (VERSA), ICLR 2019) whose latent variables also
 * have to explain the rows themselves, as in H. Edwards, A. Storkey, "Towards a
 * neural statistician", ICLR 2017.  Training goes up the bound
 *
 *	  E_q(z | S, Q) [log p(y | x, z) + w log p(x, y | z)] - beta KL(q(z | S, Q) || q(z | S))
 *
 * for query rows Q, beta rising to its value in the first quarter of the
 * iterations; and, as much, what is asked of it in the end (K. Sohn, H. Lee,
 * X. Yan, "Learning structured output representation using deep conditional
 * generative models", NeurIPS 2015): the log likelihood of y when z is drawn
 * from q(z | S), and of numbers the squared error, too, for the reason that
 * alpaca.c gives.
 *
 * As in cnp.c, f is the network that all tasks share, sums are divided by k + c
 * with a learned c, and it begins at what is known without learning: z_0, one
 * per output, is the shift of a random intercept, whose posterior from 0 rows
 * on is
 *
 *	  z_0 ~ N(tau r / (tau^2 i + sigma^2), sigma^2 / (tau^2 i + sigma^2)),
 *	  r = sum w (y - f(x)),  i = sum w
 *
 * (of logits, one Newton step to it), and the networks add to that.  All a task
 * needs are sums over its rows; adapting further adds to them.
 *
 * Predictions are means over a fixed set of draws of z, whose means and
 * covariances are those of the distribution as far as their number allows.
 */
#include "learn/learner.h"

#include <math.h>
#include <string.h>

#include "learn/generate.h"
#include "learn/normal_draws.h"
#include "learn/task_sums.h"
#include "learn/vaml_columns.h"
#include "learn/vars.h"

/* Draws of z in training, other ones each time. */
#define TRAINING_SAMPLES 4

/* Share of the iterations after which the divergence counts in full. */
#define WARM_UP 0.25

/* The most that the reader changes the logarithm of a latent variable's variance. */
#define LARGEST_LATENT_CHANGE 8.0

/* Positions after the network's tensors; h is the option context, d all latent variables. */
enum
{
	ENCODER_WEIGHT_1 = TASK_SCALES, /* e: (in + 2 outputs, h) */
	ENCODER_BIAS_1,
	ENCODER_WEIGHT_2,			/* (h, h) */
	ENCODER_BIAS_2,
	ENCODER_ROW,				/* A: (in, h) */
	ENCODER_RESIDUAL,			/* B: (outputs, h) */
	READER_WEIGHT_1,			/* (h + 1 + outputs, h) */
	READER_BIAS_1,
	READER_WEIGHT_2,			/* (h, 2 d) */
	READER_BIAS_2,
	FILM_WEIGHT_1,				/* a, b: (d, h) */
	FILM_BIAS_1,
	FILM_WEIGHT_2,				/* (h, 2 features) */
	FILM_BIAS_2,
	FEATURE_WEIGHT,				/* psi: (hidden + in, features) */
	FEATURE_BIAS,
	HEAD_WEIGHT,				/* (features, outputs); one more for a number's variance */
	HEAD_BIAS,
	SUMS,						/* the first of TASK_SUMS */
	STATE_INPUTS = SUMS + TASK_SUMS,	/* sum w in: (1, in) */
	COLUMNS						/* the first of vaml_columns.c */
};

/* Positions after vaml_columns.c's. */
enum
{
	PRIOR_MEAN,					/* (1, d) */
	PRIOR_ROOT,					/* (d, d) */
	PRIOR_SET					/* (1, 1): 1 where the others are set */
};

/* Far from 0 in what tells no rows from any. */
#define NO_ROWS 1e6

static int
latent_width(const LearnerSpec *spec)
{
	return spec->net.outputs + spec->options.latent;
}

static int
head_outputs(const LearnerSpec *spec)
{
	return spec->net.outputs + (spec->loss == LOSS_SQUARED ? 1 : 0);
}

/*
 * The pooled network it begins at is not trained on: it was stopped at its
 * best, and rows go on being learned for long after that.  In N-way episodes
 * there is none.
 */
static bool
keeps_network(const LearnerSpec *spec)
{
	return spec->options.start_pooled && spec->options.way == 0;
}

static bool
vaml_layout(const LearnerSpec *spec, TensorList *list)
{
	int			in = network_in_width(&spec->net);
	int			outputs = spec->net.outputs;
	int			h = spec->options.context;
	int			d = latent_width(spec);
	int			features = spec->options.features;
	int			first = list->n;

	if (!network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list))
		return false;
	for (int i = first; i < list->n && keeps_network(spec); i++)
		list->tensors[i].role = TENSOR_FIXED;
	return
		task_scales_layout(list) &&
		tensor_add(list, "encoder.0.weight", in + 2 * outputs, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.0.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.1.weight", h, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.1.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.row.weight", in, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.residual.weight", outputs, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "reader.0.weight", h + 1 + outputs, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "reader.0.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "reader.1.weight", h, 2 * d, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "reader.1.bias", 1, 2 * d, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "film.0.weight", d, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "film.0.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "film.1.weight", h, 2 * features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "film.1.bias", 1, 2 * features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "feature.weight", in + network_hidden_width(&spec->net), features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "feature.bias", 1, features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "output.weight", features, head_outputs(spec), TENSOR_SHARED) >= 0 &&
		tensor_add(list, "output.bias", 1, head_outputs(spec), TENSOR_SHARED) >= 0 &&
		task_sums_layout(spec, h, list) &&
		tensor_add(list, "state.inputs", 1, in, TENSOR_STATE) >= 0 &&
		columns_layout(spec, d, list) &&
		tensor_add(list, "prior.mean", 1, d, TENSOR_FIXED) >= 0 &&
		tensor_add(list, "prior.root", d, d, TENSOR_FIXED) >= 0 &&
		tensor_add(list, "prior.set", 1, 1, TENSOR_FIXED) >= 0;
}

static void
vaml_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	static const int weights[] = {
		ENCODER_WEIGHT_1, ENCODER_WEIGHT_2, ENCODER_ROW, ENCODER_RESIDUAL, READER_WEIGHT_1, READER_WEIGHT_2,
		FILM_WEIGHT_1, FILM_WEIGHT_2, FEATURE_WEIGHT, HEAD_WEIGHT
	};
	const Tensor *own = &list->tensors[network_count(&spec->net)];
	const Tensor *reader = &own[READER_WEIGHT_2];

	network_initialise(&spec->net, list, rng, values);
	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
	{
		const Tensor *tensor = &own[weights[i]];
		bool		last = weights[i] == READER_WEIGHT_2 || weights[i] == HEAD_WEIGHT;
		bool		linear = weights[i] == ENCODER_WEIGHT_2 ||
			weights[i] == ENCODER_ROW || weights[i] == ENCODER_RESIDUAL || weights[i] == FILM_WEIGHT_2 || weights[i] == FEATURE_WEIGHT;
		double		deviation = last ? 0.02 : sqrt((linear ? 1.0 : 2.0) / (tensor->rows + 1));

		tensor_fill_normal(tensor, deviation, rng, values);
	}
	task_scales_initialise(spec, list, values);
	/* tasks' means of z differ, from the beginning, by as much as draws of it: else it takes long until they are heeded */
	for (int i = 0; i < reader->rows; i++)
		for (int j = spec->net.outputs; j < latent_width(spec); j++)
			values[reader->offset + (size_t) i * reader->cols + j] = rng_normal(rng) / sqrt(reader->rows);
	columns_initialise(spec, own + COLUMNS, rng, values);
}

/* Two layers whose tensors follow each other. */
static Var
pair(Tape *tape, const LearnerSpec *spec, const Var *own, Var in)
{
	in = tape_unary(tape, spec->net.activation, 0, tape_affine(tape, in, false, own[0], false, own[1]));
	return tape_affine(tape, in, false, own[2], false, own[3]);
}

/* ---- encoder ---- */

static NetworkLayers
layers_of(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c)
{
	NetworkInput input = network_input(tape, &spec->net, theta, x, c);

	return network_layers(tape, &spec->net, theta, &input);
}

/* Adds rows, of which the network says layers, to a task. */
static void
add_rows(Tape *tape, const LearnerSpec *spec, const TensorList *list, NetworkLayers layers,
		 const RowVars *support, const Var *theta, Var *phi)
{
	const Var  *own = theta + network_count(&spec->net);
	Var		   *out = phi + network_count(&spec->net);
	Var			information,
				residual,
				e;

	memcpy(phi, theta, list->n * sizeof(Var));
	task_residuals(tape, spec, support, layers.out, &residual, &information);
	e = vars_concatenate(tape, layers.in, vars_concatenate(tape, support->y, residual));
	e = pair(tape, spec, own + ENCODER_WEIGHT_1, e);
	e = tape_axpy(tape, e, 1, tape_multiply(tape, tape_affine(tape, layers.in, false, own[ENCODER_ROW], false, TAPE_NONE),
											tape_affine(tape, residual, false, own[ENCODER_RESIDUAL], false, TAPE_NONE)));
	task_sums_add(tape, support, e, residual, information, own + SUMS, out + SUMS);
	out[STATE_INPUTS] = tape_axpy(tape, own[STATE_INPUTS], 1, vars_sum_rows(tape, tape_multiply(tape, columns_see(tape, spec, layers.in), support->w)));
}

static void
vaml_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
		   const RowVars *support, const Var *theta, Var *phi)
{
	add_rows(tape, spec, list, layers_of(tape, spec, theta, support->x, support->c), support, theta, phi);
}

/* What a task's support says of its columns by itself. */
static Var
known_of(Tape *tape, const LearnerSpec *spec, const Var *phi)
{
	const Var  *own = phi + network_count(&spec->net);

	return columns_known(tape, own + COLUMNS, own[SUMS + SUM_ROWS], own[STATE_INPUTS]);
}

/* Mean and log variance of q(z | S), (tasks, 1, d) each. */
static void
posterior(Tape *tape, const LearnerSpec *spec, const Var *phi, Var *mean, Var *log_variance)
{
	const Var  *own = phi + network_count(&spec->net);
	const Var  *sums = own + SUMS;
	int			outputs = spec->net.outputs;
	int			d = latent_width(spec);
	Var			spread = scale_value(tape, own[LOG_SPREAD]);
	Var			tau = vars_exponential(tape, own[LOG_SPREAD], LOG_SCALE / 2);
	Var			noise = task_noise(tape, spec, own);
	/* 1 / (tau^2 i + sigma^2), (tasks, 1, outputs) */
	Var			gain = tape_unary(tape, UNARY_RECIPROCAL, 0,
								  tape_axpy(tape, tape_multiply(tape, sums[SUM_INFORMATION], spread), 1, noise));
	Var			level = tape_multiply(tape, tau, tape_multiply(tape, sums[SUM_PULL], gain));
	Var			left = tape_unary(tape, UNARY_LOG, 0, tape_multiply(tape, gain, noise));
	Var			summary = vars_divide(tape, sums[SUM_SUMMARY],
									  tape_axpy(tape, sums[SUM_ROWS], 1, scale_value(tape, own[LOG_COUNT])));
	Var			count = tape_unary(tape, UNARY_LOG, 0, tape_scale(tape, sums[SUM_ROWS], 1, 1));
	Var			said = pair(tape, spec, own + READER_WEIGHT_1,
							vars_concatenate(tape, summary, vars_concatenate(tape, count, level)));

	*mean = tape_axpy(tape, vars_slice(tape, said, 0, d), 1, tape_columns(tape, level, 0, outputs, 0, d));
	*log_variance = tape_axpy(tape, vars_bounded(tape, vars_slice(tape, said, d, d), LARGEST_LATENT_CHANGE), 1,
							  tape_columns(tape, left, 0, outputs, 0, d));
}

/* mean + sqrt(v) noise, (tasks, samples, d) */
static Var
draws(Tape *tape, Var mean, Var log_variance, Var noise)
{
	return tape_axpy(tape, tape_multiply(tape, noise, vars_exponential(tape, log_variance, 0.5)), 1, mean);
}

/* The tensors that say how training tasks are spread, the last of all. */
static int
prior_at(const LearnerSpec *spec)
{
	return network_count(&spec->net) + COLUMNS + columns_count(spec);
}

/*
 * As draws, but of a task without rows by how training tasks are spread: what
 * the reader says of no rows is learned beside much else, and does not meet
 * the tasks' own z well enough for rows that are made up to be like theirs.
 */
static Var
draw_task(Tape *tape, const LearnerSpec *spec, const Var *phi, Var noise)
{
	const Var  *prior = phi + prior_at(spec);
	Var			rows = phi[network_count(&spec->net) + SUMS + SUM_ROWS];
	Var			none = tape_unary(tape, UNARY_RELU, 0, tape_scale(tape, rows, -NO_ROWS, 1));
	Var			set = tape_unary(tape, UNARY_RELU, 0, tape_scale(tape, prior[PRIOR_SET], NO_ROWS, 1 - NO_ROWS));
	Var			mean,
				log_variance;
	Var			z,
				spread;

	posterior(tape, spec, phi, &mean, &log_variance);
	z = draws(tape, mean, log_variance, noise);
	spread = tape_affine(tape, noise, false, prior[PRIOR_ROOT], true, prior[PRIOR_MEAN]);
	return tape_axpy(tape, z, 1, tape_multiply(tape, tape_axpy(tape, spread, -1, z), tape_multiply(tape, none, set)));
}

static double
rows_seen(const LearnerSpec *spec, const TensorList *list, const real *phi)
{
	return phi[list->tensors[network_count(&spec->net) + SUMS + SUM_ROWS].offset];
}

static void
set_prior(const LearnerSpec *spec, const TensorList *list, const double *mean, const double *root, real *values)
{
	const Tensor *prior = &list->tensors[prior_at(spec)];
	int			d = latent_width(spec);

	for (int i = 0; i < d; i++)
		values[prior[PRIOR_MEAN].offset + i] = mean[i];
	for (int i = 0; i < d * d; i++)
		values[prior[PRIOR_ROOT].offset + i] = root[i];
	values[prior[PRIOR_SET].offset] = 1;
}

/* ---- the first decoder: targets ---- */

/* What the model sees in rows, whatever the task. */
typedef struct Seen
{
	Var			in;
	Var			row;			/* psi(x), f(x): (tasks, rows, features + outputs) */
} Seen;

static Seen
see(Tape *tape, const LearnerSpec *spec, const Var *theta, NetworkLayers layers)
{
	const Var  *own = theta + network_count(&spec->net);
	Var			psi = tape_affine(tape, vars_concatenate(tape, layers.hidden, layers.in), false,
								  own[FEATURE_WEIGHT], false, own[FEATURE_BIAS]);

	return (Seen) {layers.in, vars_concatenate(tape, psi, layers.out)};
}

/* Rows and draws of z in all combinations: row r under draw m is number r samples + m. */
typedef struct Crossed
{
	Var			row;			/* which row: (tasks, rows samples, 1) */
	Var			mean;			/* what averages over the draws: (1, rows, rows samples) */
	Var			outputs;		/* (tasks, rows samples, outputs) */
	Var			variance;		/* of a number, (tasks, rows samples, 1); else TAPE_NONE */
} Crossed;

static Var
crossing(Tape *tape, int tasks, int rows, int samples, bool of_row)
{
	Var			index = tape_index(tape, shape(tasks, rows * samples, 1));
	int32_t    *at = index == TAPE_NONE ? NULL : tape_index_data(tape, index);

	for (int i = 0; at != NULL && i < tasks * rows * samples; i++)
		at[i] = of_row ? i / samples % rows : i % samples;
	return index;
}

/* z: (tasks, samples, d) */
static Crossed
cross(Tape *tape, const LearnerSpec *spec, const Var *theta, const Seen *seen, Var z)
{
	const Var  *own = theta + network_count(&spec->net);
	Shape		s = tape_shape(tape, seen->row);
	int			samples = tape_shape(tape, z).rows;
	int			outputs = spec->net.outputs;
	int			features = spec->options.features;
	Var			level = tape_multiply(tape, vars_slice(tape, z, 0, outputs), vars_exponential(tape, own[LOG_SPREAD], LOG_SCALE / 2));
	Var			draw = vars_concatenate(tape, pair(tape, spec, own + FILM_WEIGHT_1, z), level);
	Crossed		crossed;
	Var			row;
	Var			h;

	crossed.row = crossing(tape, s.tasks, s.rows, samples, true);
	row = tape_gather(tape, seen->row, crossed.row, 0);
	draw = tape_gather(tape, draw, crossing(tape, s.tasks, s.rows, samples, false), 0);
	h = vars_slice(tape, row, 0, features);
	h = tape_axpy(tape, h, 1, tape_multiply(tape, h, vars_slice(tape, draw, 0, features)));
	h = tape_unary(tape, spec->net.activation, 0, tape_axpy(tape, h, 1, vars_slice(tape, draw, features, features)));
	h = tape_affine(tape, h, false, own[HEAD_WEIGHT], false, own[HEAD_BIAS]);
	crossed.outputs = tape_axpy(tape, vars_slice(tape, row, features, outputs), 1, vars_slice(tape, draw, 2 * features, outputs));
	crossed.outputs = tape_axpy(tape, crossed.outputs, 1, vars_slice(tape, h, 0, outputs));
	crossed.variance = TAPE_NONE;
	if (spec->loss == LOSS_SQUARED)
		crossed.variance = task_variance(tape, task_noise(tape, spec, own), vars_slice(tape, h, outputs, 1));

	crossed.mean = tape_leaf(tape, shape(1, s.rows, s.rows * samples), NULL);
	if (crossed.mean != TAPE_NONE)
		for (int i = 0; i < s.rows * samples; i++)
			tape_data(tape, crossed.mean)[(size_t) (i / samples) * s.rows * samples + i] = 1.0 / samples;
	return crossed;
}

/* Mean over the draws: (tasks, rows samples, .) -> (tasks, rows, .) */
static Var
average(Tape *tape, const Crossed *crossed, Var a)
{
	return tape_affine(tape, crossed->mean, false, a, false, TAPE_NONE);
}

/* log of a mean of probabilities; what is added is lost in any that counts */
static Var
log_average(Tape *tape, const Crossed *crossed, Var probability)
{
	return tape_unary(tape, UNARY_LOG, 0, tape_scale(tape, average(tape, crossed, probability), 1, 1e-30));
}

/*
 * Outputs over all draws, (tasks, rows, outputs): the mean of a number, logits
 * of the mean probabilities; and of a number the variance, by the law of total
 * variance, (tasks, rows, 1) (NULL: not wanted).
 */
static Var
predictive(Tape *tape, const LearnerSpec *spec, const Crossed *crossed, Var *variance)
{
	Var			mean;

	if (spec->loss == LOSS_SOFTMAX)
		return log_average(tape, crossed, tape_softmax(tape, crossed->outputs));
	if (spec->loss == LOSS_LOGISTIC)
	{
		Var			against = tape_unary(tape, UNARY_SIGMOID, 0, tape_scale(tape, crossed->outputs, -1, 0));

		return tape_axpy(tape, log_average(tape, crossed, tape_unary(tape, UNARY_SIGMOID, 0, crossed->outputs)), -1,
						 log_average(tape, crossed, against));
	}
	mean = average(tape, crossed, crossed->outputs);
	if (variance)
	{
		Var			off = tape_axpy(tape, crossed->outputs, -1, tape_gather(tape, mean, crossed->row, 0));

		*variance = average(tape, crossed, tape_axpy(tape, crossed->variance, 1, tape_unary(tape, UNARY_SQUARE, 0, off)));
	}
	return mean;
}

static Crossed
cross_posterior(Tape *tape, const LearnerSpec *spec, const Var *phi, Var x, Var c)
{
	Seen		seen = see(tape, spec, phi, layers_of(tape, spec, phi, x, c));
	Var			mean,
				log_variance;

	posterior(tape, spec, phi, &mean, &log_variance);
	return cross(tape, spec, phi, &seen,
				 draws(tape, mean, log_variance, normal_draws(tape, spec->options.samples, latent_width(spec))));
}

static Var
vaml_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	Crossed		crossed = cross_posterior(tape, spec, phi, x, c);

	(void) list;
	return predictive(tape, spec, &crossed, NULL);
}

static Var
vaml_variance(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	Crossed		crossed = cross_posterior(tape, spec, phi, x, c);
	Var			variance = TAPE_NONE;

	(void) list;
	predictive(tape, spec, &crossed, &variance);
	return variance;
}

/* ---- training ---- */

/* sum_j (log v_2j - log v_1j + (v_1j + (m_1j - m_2j)^2) / v_2j - 1) / 2, (tasks, 1, 1) */
static Var
divergence(Tape *tape, Var mean_1, Var log_1, Var mean_2, Var log_2)
{
	Shape		s = tape_shape(tape, mean_1);
	Var			square = tape_unary(tape, UNARY_SQUARE, 0, tape_axpy(tape, mean_1, -1, mean_2));
	Var			ratio = tape_multiply(tape, tape_axpy(tape, vars_exponential(tape, log_1, 1), 1, square),
									  vars_exponential(tape, log_2, -1));
	Var			each = tape_axpy(tape, tape_axpy(tape, log_2, -1, log_1), 1, tape_scale(tape, ratio, 1, -1));

	return tape_scale(tape, tape_sum(tape, each, shape(s.tasks, 1, 1)), 0.5, 0);
}

static void
vaml_noise(const LearnerSpec *spec, int *rows, int *cols)
{
	*rows = TRAINING_SAMPLES;
	*cols = latent_width(spec);
}

/* min(1, progress / WARM_UP) = 1 - relu(1 - progress / WARM_UP) */
static Var
warm_up(Tape *tape, Var progress)
{
	return tape_scale(tape, tape_unary(tape, UNARY_RELU, 0, tape_scale(tape, progress, -1 / WARM_UP, 1)), -1, 1);
}

static Var
vaml_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	const Var  *own = theta + network_count(&spec->net);
	double		row_weight = spec->options.row_weight;
	Var		   *phi = arena_alloc(tape->arena, list->n, sizeof(Var));
	Var		   *all = arena_alloc(tape->arena, list->n, sizeof(Var));
	NetworkLayers layers = layers_of(tape, spec, theta, query->x, query->c);
	Seen		seen = see(tape, spec, theta, layers);
	Crossed		crossed;
	Var			mean[2];
	Var			log_variance[2];
	Var			z;
	Var			loss;
	Var			variance = TAPE_NONE;
	Var			kl;

	if (phi == NULL || all == NULL)
	{
		tape->fault = "out of memory";
		return TAPE_NONE;
	}
	vaml_adapt(tape, spec, list, support, theta, phi);
	add_rows(tape, spec, list, layers, query, phi, all);
	posterior(tape, spec, phi, &mean[0], &log_variance[0]);
	posterior(tape, spec, all, &mean[1], &log_variance[1]);
	kl = divergence(tape, mean[1], log_variance[1], mean[0], log_variance[0]);
	kl = tape_multiply(tape, kl, tape_scale(tape, warm_up(tape, progress), spec->options.kl_weight, 0));
	kl = tape_multiply(tape, kl, share_by_rows(tape, query->w));

	/* the bound, z of support and query */
	z = draws(tape, mean[1], log_variance[1], noise);
	crossed = cross(tape, spec, theta, &seen, z);
	loss = average(tape, &crossed, surprise_rows(tape, spec->loss, crossed.outputs, crossed.variance,
											tape_gather(tape, query->y, crossed.row, 0)));
	loss = tape_scale(tape, loss, 1 + row_weight, 0);
	if (row_weight > 0)
	{
		/* of one draw: what is said of a row is much */
		Var			first = tape_gather(tape, z, crossing(tape, tape_shape(tape, z).tasks, 1, 1, true), 0);
		Var			said = columns_say(tape, spec, own + COLUMNS, seen.in, first, known_of(tape, spec, phi));

		loss = tape_axpy(tape, loss, -row_weight,
						 columns_log_likelihood(tape, spec, own + COLUMNS, theta, said, seen.in, query->x, query->c));
	}

	/* what is predicted, z of the support */
	crossed = cross(tape, spec, theta, &seen, draws(tape, mean[0], log_variance[0], noise));
	z = predictive(tape, spec, &crossed, &variance);
	loss = tape_axpy(tape, loss, 1, surprise_rows(tape, spec->loss, z, variance, query->y));
	if (spec->loss == LOSS_SQUARED)
		loss = tape_axpy(tape, loss, 0.5, loss_rows(tape, LOSS_SQUARED, z, query->y));
	return tape_axpy(tape, mean_by_rows(tape, loss, query->w), 1, kl);
}

/* ---- whole rows ---- */

static Var
said_of_rows(Tape *tape, const LearnerSpec *spec, const Var *phi, Var z, Var x, Var c)
{
	NetworkInput input = network_input(tape, &spec->net, phi, x, c);

	return columns_say(tape, spec, phi + network_count(&spec->net) + COLUMNS, input.in, z, known_of(tape, spec, phi));
}

static void
target_of_rows(Tape *tape, const LearnerSpec *spec, const Var *phi, Var z, Var x, Var c, Var *outputs, Var *variance)
{
	Seen		seen = see(tape, spec, phi, layers_of(tape, spec, phi, x, c));
	Crossed		crossed = cross(tape, spec, phi, &seen, z);

	*outputs = crossed.outputs;
	*variance = crossed.variance;
}

static void
draw_column(const LearnerSpec *spec, const TensorList *list, const real *theta, int column,
			const real *said, Rng *rng, real *x, int32_t *c)
{
	columns_draw(spec, &list->tensors[network_count(&spec->net) + COLUMNS], list->tensors, theta, column, said, rng, x, c);
}

/* log mean_m p(x | z_m) p(y | x, z_m) over the fixed draws */
static Var
log_likelihood(Tape *tape, const LearnerSpec *spec, const Var *phi, const RowVars *rows)
{
	const Var  *own = phi + network_count(&spec->net);
	int			samples = spec->options.samples;
	Seen		seen = see(tape, spec, phi, layers_of(tape, spec, phi, rows->x, rows->c));
	Var			known = known_of(tape, spec, phi);
	Var			z = draw_task(tape, spec, phi, normal_draws(tape, samples, latent_width(spec)));
	Var			all = TAPE_NONE;

	for (int m = 0; m < samples; m++)
	{
		Var			index = tape_index(tape, shape(tape_shape(tape, rows->x).tasks, 1, 1));
		Var			one;
		Var			said;
		Var			each;
		Crossed		crossed;

		if (index != TAPE_NONE)
			for (int t = 0; t < tape_shape(tape, index).tasks; t++)
				tape_index_data(tape, index)[t] = m;
		one = tape_gather(tape, z, index, 0);
		said = columns_say(tape, spec, own + COLUMNS, seen.in, one, known);
		crossed = cross(tape, spec, phi, &seen, one);
		each = tape_axpy(tape, columns_log_likelihood(tape, spec, own + COLUMNS, phi, said, seen.in, rows->x, rows->c), -1,
						 surprise_rows(tape, spec->loss, crossed.outputs, crossed.variance, rows->y));
		each = tape_columns(tape, each, 0, 1, m, samples);
		all = m == 0 ? each : tape_axpy(tape, all, 1, each);
	}
	return tape_scale(tape, tape_logsumexp(tape, all), 1,
					  -log(samples) - (spec->loss == LOSS_SQUARED ? LOG_2_PI / 2 : 0));
}

static const Generative generative = {
	.latent = latent_width,
	.posterior = posterior,
	.rows = rows_seen,
	.draw_task = draw_task,
	.set_prior = set_prior,
	.tensors = "columns.",
	.models = columns_models,
	.columns = said_of_rows,
	.target = target_of_rows,
	.draw = draw_column,
	.log_likelihood = log_likelihood,
};

const Learner vaml_learner = {
	.name = "vaml",
	.summary = "a task is a draw of latent variables, from which its rows follow: one pass to adapt; can make up rows",
	.reference = "Garnelo et al. 2018; Edwards, Storkey 2017",
	.defaults = "outer_lr 0.0015; meta_batch 64; weight_decay 0.3; patience 20; context 32; features 32",
	.layout = vaml_layout,
	.initialise = vaml_initialise,
	.begin = task_scales_begin,
	.adapt = vaml_adapt,
	.predict = vaml_predict,
	.variance = vaml_variance,
	.episode = vaml_episode,
	.noise = vaml_noise,
	.generative = &generative,
	.flags = LEARNER_ADDITIVE,
};
