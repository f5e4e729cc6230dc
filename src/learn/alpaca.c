/*
 * alpaca.c
 *	  A Bayesian last layer on learned features, with a prior that reads the
 *	  support set.
 *
 *	  y = m(x) + B(x) z + psi(x) w + e,   w ~ N(0, I),   e ~ N(0, sigma^2(x))
 *	  z = g(sum_support v e(x, y, y - m(x)) / (k + c), log(1 + k)) k / (k + c)
 *
 * J. Harrison, A. Sharma, M. Pavone, "Meta-learning priors for efficient
 * online Bayesian regression" (ALPaCA), WAFR 2018, is the case without z: a
 * task's own w has a closed form, so adapting needs no gradient, 0 rows give
 * the prior, and predictions have a variance.  z is a deep-set summary (Zaheer
 * et al. 2017) that shifts the prior mean: it can tell from who is in a task
 * what its level will be, which w alone cannot.  0 rows give z = 0.  B, g and e
 * are networks of one hidden layer.
 *
 * The mean is linear in z, so that everything a task needs are sums over its
 * rows, and adapting further is adding to them:
 *
 *	  k = sum v,  E = sum v e,  P = sum psi' v psi / sigma^2,
 *	  q = sum psi' v (y - m) / sigma^2,  R = sum psi' v B / sigma^2
 *	  w = (I + P)^-1 (q - R z)
 *	  y ~ N(m + B z + psi w,  sigma^2 + psi (I + P)^-1 psi')
 *
 * Numbers are learned by likelihood and by squared error together: the
 * likelihood teaches the variance, but alone it lets the mean neglect rows
 * that it calls noisy.
 *
 * A binary target has no such sums.  There w's posterior is approximated at
 * its mode (a few damped Newton steps), its mean and precision are the prior
 * of the next rows, and a logit is averaged over it as in random_intercept.c.
 */
#include "learn/learner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "learn/laplace.h"
#include "learn/vars.h"

#define HIDDEN_FACTOR 4			/* hidden units of B, g and e, times the context's width */

/*
 * Least variance of the noise, added to what is learned: tasks that can be
 * told exactly would drive it to 0, and precisions beyond what a real holds.
 */
#define LEAST_NOISE 1e-4

/* Positions after the network's tensors. */
enum
{
	FEATURE_WEIGHT,				/* (hidden + in, features) */
	FEATURE_BIAS,				/* (1, features) */
	LOG_INTERCEPT,				/* (1, 1) log of psi's constant */
	LOG_NOISE,					/* (1, 1) log sigma^2 where nothing is told */
	NOISE_WEIGHT,				/* (hidden + in, 1): sigma^2's part that a row
								 * tells */
	CONTEXT_WEIGHT_1,			/* B: (hidden + in, 4 context) */
	CONTEXT_BIAS_1,
	CONTEXT_WEIGHT_2,			/* (4 context, context) */
	CONTEXT_BIAS_2,				/* (1, context) */
	READ_WEIGHT_1,				/* g: (context + 1, 4 context) */
	READ_BIAS_1,
	READ_WEIGHT_2,				/* (4 context, context) */
	READ_BIAS_2,
	SUMMARY_WEIGHT_1,			/* e: (in + 2, 4 context) */
	SUMMARY_BIAS_1,
	SUMMARY_WEIGHT_2,			/* (4 context, context) */
	SUMMARY_BIAS_2,
	LOG_COUNT,					/* (1, 1) log c */
	STATE_ROWS,					/* k: (1, 1) */
	STATE_SUMMARY,				/* E: (1, context) */
	STATE_PRECISION,			/* P: (features + 1, features + 1) */
	STATE_PULL,					/* q, or w's mean: (features + 1, 1) */
	STATE_CROSS					/* R: (features + 1, context); numbers only */
};

/* Two layers, in -> 4 context -> context. */
static bool
add_pair(TensorList *list, const char *name, int in, int context)
{
	for (int layer = 0; layer < 2; layer++)
	{
		char		full[TENSOR_NAME_LENGTH];
		int			out = layer == 0 ? HIDDEN_FACTOR * context : context;

		snprintf(full, sizeof(full), "%s.%d.weight", name, layer);
		if (tensor_add(list, full, in, out, TENSOR_SHARED) < 0)
			return false;
		snprintf(full, sizeof(full), "%s.%d.bias", name, layer);
		if (tensor_add(list, full, 1, out, TENSOR_SHARED) < 0)
			return false;
		in = out;
	}
	return true;
}

static bool
alpaca_layout(const LearnerSpec *spec, TensorList *list)
{
	int			in = network_in_width(&spec->net);
	int			all = in + network_hidden_width(&spec->net);
	int			features = spec->options.features;
	int			context = spec->options.context;
	int			r = features + 1;

	return network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list) &&
		tensor_add(list, "feature.weight", all, features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "feature.bias", 1, features, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "intercept.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "noise.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "noise.weight", all, 1, TENSOR_SHARED) >= 0 &&
		add_pair(list, "context", all, context) &&
		add_pair(list, "read", context + 1, context) &&
		add_pair(list, "summary", in + 2, context) &&
		tensor_add(list, "count.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "state.rows", 1, 1, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.summary", 1, context, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.precision", r, r, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.pull", r, 1, TENSOR_STATE) >= 0 &&
		(spec->loss == LOSS_LOGISTIC ||
		 tensor_add(list, "state.cross", r, context, TENSOR_STATE) >= 0);
}

static void
alpaca_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];

	network_initialise(&spec->net, list, rng, values);
	tensor_fill_normal(&own[FEATURE_WEIGHT], 0.02, rng, values);
	tensor_fill_normal(&own[CONTEXT_WEIGHT_1], sqrt(2.0 / own[CONTEXT_WEIGHT_1].rows), rng, values);
	tensor_fill_normal(&own[CONTEXT_WEIGHT_2], 0.02, rng, values);
	tensor_fill_normal(&own[READ_WEIGHT_1], sqrt(2.0 / own[READ_WEIGHT_1].rows), rng, values);
	tensor_fill_normal(&own[READ_WEIGHT_2], sqrt(1.0 / own[READ_WEIGHT_2].rows), rng, values);
	tensor_fill_normal(&own[SUMMARY_WEIGHT_1], sqrt(2.0 / own[SUMMARY_WEIGHT_1].rows), rng, values);
	tensor_fill_normal(&own[SUMMARY_WEIGHT_2], sqrt(1.0 / (own[SUMMARY_WEIGHT_2].rows + 1)), rng, values);
	values[own[LOG_INTERCEPT].offset] = scale_store(0.3);
	values[own[LOG_NOISE].offset] = spec->loss == LOSS_LOGISTIC ? 0 : scale_store(0.7);
	values[own[LOG_COUNT].offset] = 1 / LOG_SCALE;
}

/* With psi's features still near 0 this is the random intercept. */
static void
alpaca_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];

	values[own[LOG_INTERCEPT].offset] = scale_store(between) / 2;
	if (spec->loss != LOSS_LOGISTIC)
		values[own[LOG_NOISE].offset] = scale_store(within);
}

/* Two layers whose tensors follow each other. */
static Var
pair(Tape *tape, const LearnerSpec *spec, const Var *own, Var in)
{
	in = tape_unary(tape, spec->net.activation, 0, tape_affine(tape, in, false, own[0], false, own[1]));
	return tape_affine(tape, in, false, own[2], false, own[3]);
}

/* What the model sees in rows, whatever the task. */
typedef struct Seen
{
	Var			in;
	Var			mean;			/* m(x), (tasks, rows, 1) */
	Var			psi;			/* (tasks, rows, features + 1) */
	Var			b;				/* B(x), (tasks, rows, context) */
	Var			noise;			/* sigma^2(x), (tasks, rows, 1); numbers only */
} Seen;

static Seen
see(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c)
{
	const Var  *own = theta + network_count(&spec->net);
	NetworkInput input = network_input(tape, &spec->net, theta, x, c);
	NetworkLayers layers = network_layers(tape, &spec->net, theta, &input);
	Shape		s = tape_shape(tape, x);
	Var			all = vars_concatenate(tape, layers.hidden, layers.in);
	Var			one = tape_expand(tape, scale_value(tape, own[LOG_INTERCEPT]), shape(s.tasks, s.rows, 1));
	Seen		seen;

	seen.in = layers.in;
	seen.mean = layers.out;
	seen.psi = vars_concatenate(tape, one, tape_affine(tape, all, false, own[FEATURE_WEIGHT], false, own[FEATURE_BIAS]));
	seen.b = pair(tape, spec, own + CONTEXT_WEIGHT_1, all);
	seen.noise = TAPE_NONE;
	if (spec->loss != LOSS_LOGISTIC)
	{
		seen.noise = tape_affine(tape, all, false, own[NOISE_WEIGHT], false, own[LOG_NOISE]);
		seen.noise = tape_scale(tape, scale_value(tape, seen.noise), 1, LEAST_NOISE);
	}
	return seen;
}

/* g(E / (k + c), log(1 + k)) k / (k + c), (tasks, context, 1) */
static Var
context_of(Tape *tape, const LearnerSpec *spec, const Var *own)
{
	Var			k = own[STATE_ROWS];
	Var			share = tape_unary(tape, UNARY_RECIPROCAL, 0, tape_axpy(tape, k, 1, scale_value(tape, own[LOG_COUNT])));
	Var			z = tape_multiply(tape, own[STATE_SUMMARY], share);

	z = vars_concatenate(tape, z, tape_unary(tape, UNARY_LOG, 0, tape_scale(tape, k, 1, 1)));
	z = pair(tape, spec, own + READ_WEIGHT_1, z);
	return tape_transpose(tape, tape_multiply(tape, z, tape_multiply(tape, k, share)));
}

static void
adapt_number(Tape *tape, const Seen *seen, const RowVars *support, const Var *own, Var *out)
{
	Var			weight = vars_divide(tape, support->w, seen->noise);
	Var			weighted = tape_multiply(tape, seen->psi, weight);
	Var			residual = tape_axpy(tape, support->y, -1, seen->mean);

	out[STATE_PRECISION] = tape_affine(tape, weighted, true, seen->psi, false, own[STATE_PRECISION]);
	out[STATE_PULL] = tape_affine(tape, weighted, true, residual, false, own[STATE_PULL]);
	out[STATE_CROSS] = tape_affine(tape, weighted, true, seen->b, false, own[STATE_CROSS]);
}

static void
alpaca_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const Var *theta, Var *phi)
{
	const Var  *own = theta + network_count(&spec->net);
	Var		   *out = phi + network_count(&spec->net);
	Seen		seen = see(tape, spec, theta, support->x, support->c);
	bool		logit = spec->loss == LOSS_LOGISTIC;
	Var			expected = logit ? tape_unary(tape, UNARY_SIGMOID, 0, seen.mean) : seen.mean;
	Var			e;

	memcpy(phi, theta, list->n * sizeof(Var));
	e = vars_concatenate(tape, seen.in, vars_concatenate(tape, support->y, tape_axpy(tape, support->y, -1, expected)));
	e = pair(tape, spec, own + SUMMARY_WEIGHT_1, e);
	out[STATE_ROWS] = tape_axpy(tape, own[STATE_ROWS], 1, vars_sum_rows(tape, support->w));
	out[STATE_SUMMARY] = tape_axpy(tape, own[STATE_SUMMARY], 1, vars_sum_rows(tape, tape_multiply(tape, e, support->w)));
	if (logit)
		laplace_adapt(tape, support, seen.psi, tape_affine(tape, seen.b, false, context_of(tape, spec, out), false, seen.mean),
					  TAPE_NONE, own[STATE_PULL], own[STATE_PRECISION], &out[STATE_PULL], &out[STATE_PRECISION]);
	else
		adapt_number(tape, &seen, support, own, out);
}

/* Mean of a row's output, and its variance (NULL: not wanted), of a number with the noise. */
static void
predictive(Tape *tape, const LearnerSpec *spec, const Var *phi, Var x, Var c, Var *mean, Var *variance)
{
	const Var  *own = phi + network_count(&spec->net);
	Seen		seen = see(tape, spec, phi, x, c);
	int			tasks = tape_shape(tape, own[STATE_PULL]).tasks;
	int			rows = tape_shape(tape, x).rows;
	int			r = tape_shape(tape, own[STATE_PULL]).rows;
	Var			z = context_of(tape, spec, own);
	Var			precision = laplace_penalised(tape, own[STATE_PRECISION], TAPE_NONE);
	Var			w = own[STATE_PULL];
	Var			across;

	if (tape_shape(tape, x).tasks > tasks)
		tasks = tape_shape(tape, x).tasks;
	precision = tape_expand(tape, precision, shape(tasks, r, r));
	if (spec->loss != LOSS_LOGISTIC)
	{
		w = tape_axpy(tape, w, -1, tape_affine(tape, own[STATE_CROSS], false, z, false, TAPE_NONE));
		w = tape_solve(tape, precision, tape_expand(tape, w, shape(tasks, r, 1)));
	}
	*mean = tape_affine(tape, seen.b, false, z, false, seen.mean);
	*mean = tape_affine(tape, seen.psi, false, w, false, *mean);
	if (variance == NULL)
		return;
	across = tape_transpose(tape, tape_solve(tape, precision, tape_transpose(tape, seen.psi)));
	*variance = tape_sum(tape, tape_multiply(tape, seen.psi, across), shape(tasks, rows, 1));
	if (spec->loss != LOSS_LOGISTIC)
		*variance = tape_axpy(tape, *variance, 1, seen.noise);
}

static Var
alpaca_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	Var			mean,
				variance;

	(void) list;
	predictive(tape, spec, phi, x, c, &mean, spec->loss == LOSS_LOGISTIC ? &variance : NULL);
	if (spec->loss != LOSS_LOGISTIC)
		return mean;
	return vars_average_logit(tape, mean, variance);
}

static Var
alpaca_variance(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	Var			mean,
				variance;

	(void) list;
	predictive(tape, spec, phi, x, c, &mean, &variance);
	return variance;
}

/* ((y - mean)^2 + log v + (y - mean)^2 / v) / 2 for numbers */
static Var
alpaca_losses(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, const RowVars *query)
{
	Var			mean,
				variance,
				square;

	if (spec->loss == LOSS_LOGISTIC)
		return mean_by_rows(tape, loss_rows(tape, spec->loss, alpaca_predict(tape, spec, list, phi, query->x, query->c), query->y), query->w);
	predictive(tape, spec, phi, query->x, query->c, &mean, &variance);
	square = tape_unary(tape, UNARY_SQUARE, 0, tape_axpy(tape, query->y, -1, mean));
	square = tape_axpy(tape, square, 1, gaussian_surprise(tape, square, variance));
	return mean_by_rows(tape, tape_scale(tape, square, 0.5, 0), query->w);
}

const Learner alpaca_learner = {
	.name = "alpaca",
	.summary = "a Bayesian last layer whose prior reads the support rows: closed form, no gradients to adapt",
	.reference = "Harrison, Sharma, Pavone 2018",
	.defaults = "outer_lr 0.0015; meta_batch 64; weight_decay 0.3; patience 20",
	.layout = alpaca_layout,
	.initialise = alpaca_initialise,
	.begin = alpaca_begin,
	.adapt = alpaca_adapt,
	.predict = alpaca_predict,
	.variance = alpaca_variance,
	.losses = alpaca_losses,
	.flags = LEARNER_ADDITIVE | LEARNER_NO_CLASSES,
};
