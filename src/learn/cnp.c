/*
 * cnp.c
 *	  Conditional neural process: a network reads the support set, another one
 *	  predicts from what it says.
 *
 *	  z  = sum_support v e(in, y, y - f(x)) / (k + c),  k = sum v
 *	  y ~ N(f(x) + b + d_1, s exp(d_2)),  d = decoder(in, f(x), z, log(1 + k), b)
 *
 * M. Garnelo et al., "Conditional neural processes", ICML 2018, with what makes
 * it hold its own on small tables: sums with a learned c instead of means, so
 * that few rows count for less; and a start at what is known without it.  f is
 * the network that all tasks share, and b and s the shift and the variance of
 * a random intercept,
 *
 *	  b = tau^2 r / (tau^2 i + sigma^2),  r = sum v (y - f(x)),  i = k
 *	  s = sigma^2 + tau^2 sigma^2 / (tau^2 i + sigma^2)
 *
 * The decoder's last layer starts near 0, so that training begins at the
 * pooled network for 0 rows, and at the random intercept for more.
 *
 * Classes have logits instead of values: their b is one Newton step from 0,
 * with r = sum v (y - p), i = sum v p (1 - p), sigma^2 = 1, and outputs are
 * averaged over its posterior.
 *
 * All a task needs are sums over its rows; adapting further adds to them.
 */
#include "learn/learner.h"

#include <math.h>
#include <string.h>

#include "learn/task_sums.h"
#include "learn/vars.h"

/* Positions after the network's tensors; h is the option context. */
enum
{
	ENCODER_WEIGHT_1 = TASK_SCALES, /* e: (in + 2 outputs, h) */
	ENCODER_BIAS_1,
	ENCODER_WEIGHT_2,			/* (h, h) */
	ENCODER_BIAS_2,
	ENCODER_WEIGHT_3,			/* (h, h) */
	ENCODER_BIAS_3,
	DECODER_ROW_WEIGHT,			/* of what is a row's own: (in + outputs, h) */
	DECODER_TASK_WEIGHT,		/* of what is the task's: (h + 1 + outputs, h) */
	DECODER_BIAS_1,
	DECODER_WEIGHT_2,			/* (h, h) */
	DECODER_BIAS_2,
	DECODER_WEIGHT_3,			/* (h, outputs); one more for a number's variance */
	DECODER_BIAS_3,
	SUMS						/* the first of TASK_SUMS */
};

static int
decoder_outputs(const LearnerSpec *spec)
{
	return spec->net.outputs + (spec->loss == LOSS_SQUARED ? 1 : 0);
}

static bool
cnp_layout(const LearnerSpec *spec, TensorList *list)
{
	int			in = network_in_width(&spec->net);
	int			outputs = spec->net.outputs;
	int			h = spec->options.context;

	return network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list) &&
		task_scales_layout(list) &&
		tensor_add(list, "encoder.0.weight", in + 2 * outputs, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.0.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.1.weight", h, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.1.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.2.weight", h, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "encoder.2.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "decoder.row.weight", in + outputs, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "decoder.task.weight", h + 1 + outputs, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "decoder.0.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "decoder.1.weight", h, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "decoder.1.bias", 1, h, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "decoder.2.weight", h, decoder_outputs(spec), TENSOR_SHARED) >= 0 &&
		tensor_add(list, "decoder.2.bias", 1, decoder_outputs(spec), TENSOR_SHARED) >= 0 &&
		task_sums_layout(spec, h, list);
}

static void
cnp_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	static const int weights[] = {
		ENCODER_WEIGHT_1, ENCODER_WEIGHT_2, ENCODER_WEIGHT_3,
		DECODER_ROW_WEIGHT, DECODER_TASK_WEIGHT, DECODER_WEIGHT_2, DECODER_WEIGHT_3
	};
	const Tensor *own = &list->tensors[network_count(&spec->net)];

	network_initialise(&spec->net, list, rng, values);
	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
	{
		const Tensor *tensor = &own[weights[i]];
		int			fan = weights[i] == DECODER_ROW_WEIGHT || weights[i] == DECODER_TASK_WEIGHT ?
			own[DECODER_ROW_WEIGHT].rows + own[DECODER_TASK_WEIGHT].rows : tensor->rows;
		double		deviation = weights[i] == DECODER_WEIGHT_3 ? 0.01 :
			sqrt((weights[i] == ENCODER_WEIGHT_3 ? 1.0 : 2.0) / (fan + 1));

		tensor_fill_normal(tensor, deviation, rng, values);
	}
	task_scales_initialise(spec, list, values);
}

static Var
activate(Tape *tape, const LearnerSpec *spec, Var a, Var weight, Var bias)
{
	return tape_unary(tape, spec->net.activation, 0, tape_affine(tape, a, false, weight, false, bias));
}

static void
cnp_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
		  const RowVars *support, const Var *theta, Var *phi)
{
	const Var  *own = theta + network_count(&spec->net);
	NetworkInput input = network_input(tape, &spec->net, theta, support->x, support->c);
	NetworkLayers layers = network_layers(tape, &spec->net, theta, &input);
	Var			information,
				residual,
				e;

	memcpy(phi, theta, list->n * sizeof(Var));
	task_residuals(tape, spec, support, layers.out, &residual, &information);
	e = vars_concatenate(tape, layers.in, vars_concatenate(tape, support->y, residual));
	e = activate(tape, spec, e, own[ENCODER_WEIGHT_1], own[ENCODER_BIAS_1]);
	e = activate(tape, spec, e, own[ENCODER_WEIGHT_2], own[ENCODER_BIAS_2]);
	e = tape_affine(tape, e, false, own[ENCODER_WEIGHT_3], false, own[ENCODER_BIAS_3]);

	task_sums_add(tape, support, e, residual, information, own + SUMS, phi + network_count(&spec->net) + SUMS);
}

/* Means, (tasks, rows, outputs), and for numbers variances, (tasks, rows, 1) (NULL: not wanted). */
static void
predictive(Tape *tape, const LearnerSpec *spec, const Var *phi, Var x, Var c, Var *mean, Var *variance)
{
	const Var  *own = phi + network_count(&spec->net);
	const Var  *sums = own + SUMS;
	int			outputs = spec->net.outputs;
	NetworkInput input = network_input(tape, &spec->net, phi, x, c);
	NetworkLayers layers = network_layers(tape, &spec->net, phi, &input);
	Var			noise = task_noise(tape, spec, own);
	Var			spread = scale_value(tape, own[LOG_SPREAD]);
	/* tau^2 / (tau^2 i + sigma^2), (tasks, 1, outputs) */
	Var			gain = vars_divide(tape, spread, tape_axpy(tape, tape_multiply(tape, sums[SUM_INFORMATION], spread), 1, noise));
	Var			shift = tape_multiply(tape, sums[SUM_PULL], gain);
	Var			left = tape_multiply(tape, gain, noise);	/* variance of the shift */
	Var			z = vars_divide(tape, sums[SUM_SUMMARY],
								tape_axpy(tape, sums[SUM_ROWS], 1, scale_value(tape, own[LOG_COUNT])));
	Var			count = tape_unary(tape, UNARY_LOG, 0, tape_scale(tape, sums[SUM_ROWS], 1, 1));
	Var			task = vars_concatenate(tape, z, vars_concatenate(tape, count, shift));
	Var			d;

	task = tape_affine(tape, task, false, own[DECODER_TASK_WEIGHT], false, own[DECODER_BIAS_1]);
	d = activate(tape, spec, vars_concatenate(tape, layers.in, layers.out), own[DECODER_ROW_WEIGHT], task);
	d = activate(tape, spec, d, own[DECODER_WEIGHT_2], own[DECODER_BIAS_2]);
	d = tape_affine(tape, d, false, own[DECODER_WEIGHT_3], false, own[DECODER_BIAS_3]);

	*mean = tape_axpy(tape, layers.out, 1, tape_axpy(tape, vars_slice(tape, d, 0, outputs), 1, shift));
	if (spec->loss != LOSS_SQUARED)
		*mean = vars_average_logit(tape, *mean, left);
	if (variance)
		*variance = task_variance(tape, tape_axpy(tape, noise, 1, left), vars_slice(tape, d, outputs, 1));
}

static Var
cnp_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	Var			mean;

	(void) list;
	predictive(tape, spec, phi, x, c, &mean, NULL);
	return mean;
}

static Var
cnp_variance(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	Var			mean,
				variance;

	(void) list;
	predictive(tape, spec, phi, x, c, &mean, &variance);
	return variance;
}

static Var
cnp_losses(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, const RowVars *query)
{
	Var			mean,
				variance = TAPE_NONE;

	(void) list;
	predictive(tape, spec, phi, query->x, query->c, &mean, spec->loss == LOSS_SQUARED ? &variance : NULL);
	return mean_by_rows(tape, surprise_rows(tape, spec->loss, mean, variance, query->y), query->w);
}

const Learner cnp_learner = {
	.name = "cnp",
	.summary = "one network reads the support rows, another predicts from its summary: no gradients to adapt",
	.reference = "Garnelo et al. 2018",
	.defaults = "outer_lr 0.0015; meta_batch 64; weight_decay 0.3; patience 20; context 64",
	.layout = cnp_layout,
	.initialise = cnp_initialise,
	.begin = task_scales_begin,
	.adapt = cnp_adapt,
	.predict = cnp_predict,
	.variance = cnp_variance,
	.losses = cnp_losses,
	.flags = LEARNER_ADDITIVE,
};
