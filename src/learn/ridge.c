/*
 * ridge.c
 *	  A task's own last layer in closed form: ridge regression on learned
 *	  features, around a learned prior.
 *
 *	  numbers:	m(x) + s psi(x) W,  W = (Psi' V Psi + lambda I)^-1 Psi' V (Y - m)
 *	  classes:	the same with one column of W per class, on one-hot targets less
 *				their probabilities under m; the sum is a vector of logits
 *	  logit:	s (m(x) + psi(x) w),  w the mode of the logistic likelihood times
 *				the prior exp(-lambda |w|^2 / 2), by damped Newton steps
 *
 * L. Bertinetto, J. Henriques, P. Torr, A. Vedaldi, "Meta-learning with
 * differentiable closed-form solvers" (R2-D2 and LR-D2), ICLR 2019: the outer
 * loop learns the features psi, lambda and the scale s through the solution.
 * There W is drawn towards 0, which says nothing of a task without rows.  Here
 * it is the deviation from m, the network that all tasks share: 0 rows give m,
 * whose bias does what their learned shift does.  In N-way episodes, where an
 * output stands for another class each time, m can only learn to say little.
 *
 * psi is a linear map of the last hidden layer, and a constant.  What a task
 * keeps are the sums Psi' V Psi and Psi' V (Y - m), and not W, though that is
 * smaller: adapting further is adding to them, and W of all rows comes out.
 * For a logit they are the curvature at the mode and the mode itself, the
 * prior of the rows to come.
 */
#include "learn/learner.h"

#include <math.h>
#include <string.h>

#include "learn/laplace.h"
#include "learn/vars.h"

/* Differences of one-hot targets are below 1, those of logits are not. */
#define CLASS_SCALE 5.0

/* Positions after the network's tensors; r is the option features and 1. */
enum
{
	FEATURE_WEIGHT,				/* (hidden, features) */
	FEATURE_BIAS,				/* (1, features) */
	LOG_INTERCEPT,				/* (1, 1) log of psi's constant */
	LOG_PENALTY,				/* (1, 1) log lambda */
	LOG_OUTPUT,					/* (1, 1) log s */
	STATE_PRECISION,			/* Psi' V Psi, or the curvature: (r, r) */
	STATE_PULL					/* Psi' V (Y - m), or w: (r, outputs) */
};

static bool
ridge_layout(const LearnerSpec *spec, TensorList *list)
{
	int			r = spec->options.features + 1;

	return network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list) &&
		tensor_add(list, "feature.weight", network_hidden_width(&spec->net), r - 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "feature.bias", 1, r - 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "intercept.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "penalty.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "output.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "state.precision", r, r, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.pull", r, spec->net.outputs, TENSOR_STATE) >= 0;
}

/*
 * Beside a pooled network the features start small, so that training begins at
 * a shift per task; episodes have nothing else to tell their classes apart by.
 */
static void
ridge_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];
	const Tensor *weight = &own[FEATURE_WEIGHT];
	double		deviation = spec->options.way > 0 ? sqrt(1.0 / (weight->rows + 1)) : 0.05;

	network_initialise(&spec->net, list, rng, values);
	tensor_fill_normal(weight, deviation, rng, values);
	values[own[LOG_INTERCEPT].offset] = spec->loss == LOSS_SQUARED ? scale_store(0.3) : 0;
	values[own[LOG_OUTPUT].offset] = spec->loss == LOSS_SOFTMAX ? scale_store(CLASS_SCALE) : 0;
}

/* With psi's features still near 0 this is the random intercept. */
static void
ridge_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];

	/* of few rows, W is about psi' (y - m) / lambda, and s psi W should be between (y - m) / within */
	if (spec->loss == LOSS_SQUARED)
		values[own[LOG_PENALTY].offset] = scale_store(within);
	if (spec->loss == LOSS_SOFTMAX)
		between /= CLASS_SCALE;
	values[own[LOG_INTERCEPT].offset] = scale_store(between) / 2;
}

/* What the model sees in rows, whatever the task. */
static void
see(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c, Var *mean, Var *psi)
{
	const Var  *own = theta + network_count(&spec->net);
	NetworkInput input = network_input(tape, &spec->net, theta, x, c);
	NetworkLayers layers = network_layers(tape, &spec->net, theta, &input);
	Shape		s = tape_shape(tape, x);
	Var			one = tape_expand(tape, scale_value(tape, own[LOG_INTERCEPT]), shape(s.tasks, s.rows, 1));

	*mean = layers.out;			/* (tasks, rows, outputs) */
	*psi = vars_concatenate(tape, one, tape_affine(tape, layers.hidden, false, own[FEATURE_WEIGHT],
												   false, own[FEATURE_BIAS]));	/* (tasks, rows, r) */
}

static void
ridge_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			const RowVars *support, const Var *theta, Var *phi)
{
	const Var  *own = theta + network_count(&spec->net);
	Var		   *out = phi + network_count(&spec->net);
	Var			mean,
				psi,
				weighted;

	memcpy(phi, theta, list->n * sizeof(Var));
	see(tape, spec, theta, support->x, support->c, &mean, &psi);
	if (spec->loss == LOSS_LOGISTIC)
	{
		laplace_adapt(tape, support, psi, mean, scale_value(tape, own[LOG_PENALTY]), own[STATE_PULL], own[STATE_PRECISION],
					  &out[STATE_PULL], &out[STATE_PRECISION]);
		return;
	}
	if (spec->loss == LOSS_SOFTMAX)
		mean = tape_softmax(tape, mean);
	weighted = tape_multiply(tape, psi, support->w);
	out[STATE_PRECISION] = tape_affine(tape, weighted, true, psi, false, own[STATE_PRECISION]);
	out[STATE_PULL] = tape_affine(tape, weighted, true, tape_axpy(tape, support->y, -1, mean), false, own[STATE_PULL]);
}

static Var
ridge_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	const Var  *own = phi + network_count(&spec->net);
	Var			w = own[STATE_PULL];
	Var			mean,
				psi,
				precision;

	(void) list;
	see(tape, spec, phi, x, c, &mean, &psi);
	if (spec->loss == LOSS_LOGISTIC)
		return tape_multiply(tape, tape_affine(tape, psi, false, w, false, mean), scale_value(tape, own[LOG_OUTPUT]));
	precision = laplace_penalised(tape, own[STATE_PRECISION], scale_value(tape, own[LOG_PENALTY]));
	w = tape_multiply(tape, tape_solve(tape, precision, w), scale_value(tape, own[LOG_OUTPUT]));
	return tape_affine(tape, psi, false, w, false, mean);
}

static Var
ridge_losses(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, const RowVars *query)
{
	Var			outputs = ridge_predict(tape, spec, list, phi, query->x, query->c);

	return mean_by_rows(tape, loss_rows(tape, spec->loss, outputs, query->y), query->w);
}

const Learner ridge_learner = {
	.name = "ridge",
	.summary = "ridge regression on learned features, trained through its solution; one per task, around a shared prior",
	.reference = "Bertinetto et al. 2019",
	.defaults = "outer_lr 0.0015; weight_decay 0.001; patience 20; features 32",
	.layout = ridge_layout,
	.initialise = ridge_initialise,
	.begin = ridge_begin,
	.adapt = ridge_adapt,
	.predict = ridge_predict,
	.losses = ridge_losses,
	.flags = LEARNER_ADDITIVE,
};
