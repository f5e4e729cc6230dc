/*
 * random_intercept.c
 *	  Empirical Bayes: a pooled model plus a shrunken shift per task.
 *
 *	  y = f(x) + b_task + e,   b ~ N(0, tau^2),  e ~ N(0, sigma^2)
 *
 * What a statistician gets from a mixed model with a random intercept (Laird
 * and Ware, "Random-effects models for longitudinal data", Biometrics 1982),
 * and the baseline to beat.  A task keeps its shift's posterior mean and
 * precision; they are the prior of the next rows, so that for a numeric
 * target adapting twice equals adapting once on all rows:
 *
 *	  precision' = precision + sum w / sigma^2
 *	  shift'	 = (precision shift + sum w (y - f) / sigma^2) / precision'
 *
 * For classes the posterior is approximated at its mode (Laplace), and a
 * logit is averaged over it: f / sqrt(1 + pi / (8 precision)) (MacKay 1992).
 */
#include "learn/learner.h"

#include "nn/network.h"

/* Steps towards the mode; each is like Newton's, bent to at most +-2. */
#define MODE_STEPS 10
#define PI_EIGHTH 0.39269908169872414

/* Positions after the network's tensors. */
enum
{
	SHIFT,						/* (1, outputs) posterior mean */
	PRECISION,					/* (1, outputs) posterior precision */
	NOISE,						/* (1, 1) sigma^2; 1 for classes */
	SCALE						/* (1, 1) of f: a marginal logit is smaller
								 * than a task's own by this factor */
};

static bool
random_intercept_layout(const LearnerSpec *spec, TensorList *list)
{
	return network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list) &&
		tensor_add(list, "shift", 1, spec->net.outputs, TENSOR_STATE) >= 0 &&
		tensor_add(list, "precision", 1, spec->net.outputs, TENSOR_STATE) >= 0 &&
		tensor_add(list, "noise", 1, 1, TENSOR_FIXED) >= 0 &&
		tensor_add(list, "scale", 1, 1, TENSOR_FIXED) >= 0;
}

static void
random_intercept_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];

	network_initialise(&spec->net, list, rng, values);
	for (int i = 0; i < spec->net.outputs; i++)
		values[own[PRECISION].offset + i] = 1;
	values[own[NOISE].offset] = 1;
	values[own[SCALE].offset] = 1;
}

/* c f(x), (tasks, rows, outputs) */
static Var
scaled_forward(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c)
{
	return tape_multiply(tape, network_forward(tape, &spec->net, theta, x, c),
						 theta[network_count(&spec->net) + SCALE]);
}

static Var
sum_rows(Tape *tape, Var v)
{
	Shape		s = tape_shape(tape, v);

	return tape_sum(tape, v, shape(s.tasks, 1, s.cols));
}

static Var
divide(Tape *tape, Var a, Var b)
{
	return tape_multiply(tape, a, tape_unary(tape, UNARY_RECIPROCAL, 0, b));
}

/*
 * A shift common to all classes changes no probability, so the mode is where
 * the prior alone wants it: sum_c precision_c (shift_c - prior_c) = 0.
 */
static Var
centered(Tape *tape, Var shift, Var prior, Var precision)
{
	Shape		s = tape_shape(tape, shift);
	Shape		one = shape(s.tasks, s.rows, 1);
	Var			drift = tape_sum(tape, tape_multiply(tape, tape_axpy(tape, shift, -1, prior), precision), one);
	Var			total = tape_sum(tape, tape_expand(tape, precision, s), one);

	return tape_axpy(tape, shift, -1, divide(tape, drift, total));
}

static void
random_intercept_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
					   const RowVars *support, const Var *theta, Var *phi)
{
	const Var  *own = theta + network_count(&spec->net);
	Var			f = scaled_forward(tape, spec, theta, support->x, support->c);
	Var			shift = own[SHIFT];
	Var			precision;

	for (int i = 0; i < list->n; i++)
		phi[i] = theta[i];

	if (spec->loss == LOSS_SQUARED)
	{
		Var			weight = divide(tape, support->w, own[NOISE]);
		Var			pull = sum_rows(tape, tape_multiply(tape, tape_axpy(tape, support->y, -1, f), weight));

		precision = tape_axpy(tape, own[PRECISION], 1, sum_rows(tape, weight));
		shift = divide(tape, tape_axpy(tape, tape_multiply(tape, own[PRECISION], shift), 1, pull), precision);
	}
	else
	{
		precision = own[PRECISION];
		for (int step = 0; step <= MODE_STEPS; step++)
		{
			Var			z = tape_axpy(tape, f, 1, shift);
			Var			p = spec->loss == LOSS_LOGISTIC ? tape_unary(tape, UNARY_SIGMOID, 0, z) : tape_softmax(tape, z);
			Var			pull = sum_rows(tape, tape_multiply(tape, tape_axpy(tape, support->y, -1, p), support->w));
			Var			curvature = sum_rows(tape, tape_multiply(tape, tape_axpy(tape, p, -1, tape_unary(tape, UNARY_SQUARE, 0, p)), support->w));

			precision = tape_axpy(tape, own[PRECISION], 1, curvature);
			if (step == MODE_STEPS)
				break;			/* the curvature at the mode is the posterior's */
			pull = tape_axpy(tape, pull, -1,
							 tape_multiply(tape, own[PRECISION], tape_axpy(tape, shift, -1, own[SHIFT])));

			/*
			 * sum w p bounds the whole matrix of second derivatives; its mere
			 * diagonal, sum w p (1 - p), would let classes overshoot together.
			 */
			if (spec->loss == LOSS_SOFTMAX)
				curvature = sum_rows(tape, tape_multiply(tape, p, support->w));

			/* 2 tanh(step / 2): far from the mode a full Newton step overshoots */
			pull = divide(tape, pull, tape_axpy(tape, own[PRECISION], 1, curvature));
			shift = tape_axpy(tape, shift, 2,
							  tape_unary(tape, UNARY_TANH, 0, tape_scale(tape, pull, 0.5, 0)));
			if (spec->loss == LOSS_SOFTMAX)
				shift = centered(tape, shift, own[SHIFT], own[PRECISION]);
		}
	}
	phi[network_count(&spec->net) + SHIFT] = shift;
	phi[network_count(&spec->net) + PRECISION] = precision;
}

static Var
random_intercept_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list,
						 const Var *phi, Var x, Var c)
{
	const Var  *own = phi + network_count(&spec->net);
	Var			out = tape_axpy(tape, scaled_forward(tape, spec, phi, x, c), 1, own[SHIFT]);
	Var			widening;

	(void) list;
	if (spec->loss == LOSS_SQUARED)
		return out;
	widening = tape_scale(tape, tape_unary(tape, UNARY_RECIPROCAL, 0, own[PRECISION]), PI_EIGHTH, 1);
	return divide(tape, out, tape_unary(tape, UNARY_SQRT, 0, widening));
}

const Learner random_intercept_learner = {
	.name = "random_intercept",
	.summary = "the pooled model plus a shrunken shift per task: empirical Bayes (baseline)",
	.reference = "Laird, Ware 1982",
	.layout = random_intercept_layout,
	.initialise = random_intercept_initialise,
	.adapt = random_intercept_adapt,
	.predict = random_intercept_predict,
	.flags = LEARNER_FIXED,
};
