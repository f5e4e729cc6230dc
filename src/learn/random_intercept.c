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
 *	  shift'	 = shift + sum w (y - f - shift) / sigma^2 / precision'
 *
 * For classes the posterior is approximated at its mode (Laplace), and a
 * logit is averaged over it: f / sqrt(1 + pi / (8 precision)) (MacKay 1992).
 *
 * f has two forms, which are strong in different places: the pooled network,
 * and (for a single output) a linear model fitted together with the shifts.
 * The network may explain by its inputs what is the tasks' own, which helps
 * without support rows and hurts with them.  Both are kept up to date; a task
 * that has seen at least "linear.from" and less than "linear.to" rows is
 * predicted by the linear form.
 */
#include "learn/learner.h"

#include <stdio.h>
#include <string.h>

#include "learn/vars.h"

/* Steps towards the mode; each is a Newton step bent to at most +-2. */
#define MODE_STEPS 10

/* Positions after the network's tensors. */
enum
{
	SHIFT,						/* (1, outputs) posterior mean */
	PRECISION,					/* (1, outputs) posterior precision */
	NOISE,						/* (1, 1) sigma^2; 1 for classes */
	SCALE,						/* (1, 1) of f: a marginal logit is smaller
								 * than a task's own by this factor */
	FORM_TENSORS,

	/* the linear form: its own four, then */
	ROWS = 2 * FORM_TENSORS,	/* (1, 1) rows seen */
	LINEAR_FROM,				/* (1, 1) */
	LINEAR_TO,					/* (1, 1) */
	LINEAR_WEIGHT,				/* (inputs, 1) */
	LINEAR_BIAS,				/* (1, 1) */
	LINEAR_TABLE				/* (size, 1) each */
};

static bool
has_linear_form(const LearnerSpec *spec)
{
	return spec->net.outputs == 1;
}

static bool
add_form(TensorList *list, const char *prefix, int outputs)
{
	static const struct
	{
		const char *name;
		bool		per_output;
		TensorRole	role;
	}			form[FORM_TENSORS] = {
		{"shift", true, TENSOR_STATE},
		{"precision", true, TENSOR_STATE},
		{"noise", false, TENSOR_FIXED},
		{"scale", false, TENSOR_FIXED},
	};

	for (int i = 0; i < FORM_TENSORS; i++)
	{
		char		name[TENSOR_NAME_LENGTH];

		snprintf(name, sizeof(name), "%s%s", prefix, form[i].name);
		if (tensor_add(list, name, 1, form[i].per_output ? outputs : 1, form[i].role) < 0)
			return false;
	}
	return true;
}

static bool
random_intercept_layout(const LearnerSpec *spec, TensorList *list)
{
	if (!network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list) ||
		!add_form(list, "", spec->net.outputs))
		return false;
	if (!has_linear_form(spec))
		return true;
	if (!add_form(list, "linear.", 1) ||
		tensor_add(list, "rows", 1, 1, TENSOR_STATE) < 0 ||
		tensor_add(list, "linear.from", 1, 1, TENSOR_FIXED) < 0 ||
		tensor_add(list, "linear.to", 1, 1, TENSOR_FIXED) < 0 ||
		tensor_add(list, "linear.weight", spec->net.inputs, 1, TENSOR_SHARED) < 0 ||
		tensor_add(list, "linear.bias", 1, 1, TENSOR_SHARED) < 0)
		return false;
	for (int j = 0; j < spec->net.n_embeddings; j++)
	{
		char		name[TENSOR_NAME_LENGTH];

		snprintf(name, sizeof(name), "linear.table.%d", j);
		if (tensor_add(list, name, spec->net.embeddings[j].size, 1, TENSOR_SHARED) < 0)
			return false;
	}
	return true;
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
	if (has_linear_form(spec))	/* unused until it has been fitted */
		for (int i = PRECISION; i < FORM_TENSORS; i++)
			values[own[FORM_TENSORS + i].offset] = 1;
}

/* f of the network, (tasks, rows, outputs) */
static Var
network_form(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c)
{
	const Var  *own = theta + network_count(&spec->net);

	return tape_multiply(tape, network_forward(tape, &spec->net, theta, x, c), own[SCALE]);
}

/* f of the linear model, (tasks, rows, 1) */
static Var
linear_form(Tape *tape, const LearnerSpec *spec, const Var *theta, Var x, Var c)
{
	const Var  *own = theta + network_count(&spec->net);
	Var			out = tape_affine(tape, x, false, own[LINEAR_WEIGHT], false, own[LINEAR_BIAS]);

	for (int j = 0; j < spec->net.n_embeddings; j++)
		out = tape_axpy(tape, out, 1, tape_gather(tape, own[LINEAR_TABLE + j], c, j));
	return tape_multiply(tape, out, own[FORM_TENSORS + SCALE]);
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

	return tape_axpy(tape, shift, -1, vars_divide(tape, drift, total));
}

/* The posterior of one form's shift after the support rows. */
static void
adapt_form(Tape *tape, LossKind loss, const RowVars *support, Var f, const Var *form, Var *phi)
{
	Var			shift = form[SHIFT];
	Var			precision = form[PRECISION];

	if (loss == LOSS_SQUARED)
	{
		Var			weight = vars_divide(tape, support->w, form[NOISE]);
		Var			residual = tape_axpy(tape, tape_axpy(tape, support->y, -1, f), -1, shift);
		Var			pull = vars_sum_rows(tape, tape_multiply(tape, residual, weight));

		precision = tape_axpy(tape, form[PRECISION], 1, vars_sum_rows(tape, weight));
		shift = tape_axpy(tape, shift, 1, vars_divide(tape, pull, precision));
	}
	else
		for (int step = 0; step <= MODE_STEPS; step++)
		{
			Var			z = tape_axpy(tape, f, 1, shift);
			Var			p = loss == LOSS_LOGISTIC ? tape_unary(tape, UNARY_SIGMOID, 0, z) : tape_softmax(tape, z);
			Var			pull = vars_sum_rows(tape, tape_multiply(tape, tape_axpy(tape, support->y, -1, p), support->w));
			Var			curvature = vars_sum_rows(tape, tape_multiply(tape, vars_bernoulli_variance(tape, p), support->w));

			precision = tape_axpy(tape, form[PRECISION], 1, curvature);
			if (step == MODE_STEPS)
				break;			/* the curvature at the mode is the posterior's */
			pull = tape_axpy(tape, pull, -1,
							 tape_multiply(tape, form[PRECISION], tape_axpy(tape, shift, -1, form[SHIFT])));

			/*
			 * sum w p bounds the whole matrix of second derivatives; its mere
			 * diagonal, sum w p (1 - p), would let classes overshoot together.
			 */
			if (loss == LOSS_SOFTMAX)
				curvature = vars_sum_rows(tape, tape_multiply(tape, p, support->w));

			pull = vars_divide(tape, pull, tape_axpy(tape, form[PRECISION], 1, curvature));
			shift = tape_axpy(tape, shift, 1, vars_bend(tape, pull));
			if (loss == LOSS_SOFTMAX)
				shift = centered(tape, shift, form[SHIFT], form[PRECISION]);
		}
	phi[SHIFT] = shift;
	phi[PRECISION] = precision;
}

static void
random_intercept_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
					   const RowVars *support, const Var *theta, Var *phi)
{
	const Var  *own = theta + network_count(&spec->net);
	Var		   *own_phi = phi + network_count(&spec->net);

	memcpy(phi, theta, list->n * sizeof(Var));
	adapt_form(tape, spec->loss, support, network_form(tape, spec, theta, support->x, support->c), own, own_phi);
	if (!has_linear_form(spec))
		return;
	adapt_form(tape, spec->loss, support, linear_form(tape, spec, theta, support->x, support->c),
			   own + FORM_TENSORS, own_phi + FORM_TENSORS);
	own_phi[ROWS] = tape_axpy(tape, own[ROWS], 1, vars_count_rows(tape, support->w));
}

/* f + shift, averaged over the posterior of the shift */
static Var
predict_form(Tape *tape, LossKind loss, Var f, const Var *form)
{
	Var			out = tape_axpy(tape, f, 1, form[SHIFT]);

	if (loss == LOSS_SQUARED)
		return out;
	return vars_average_logit(tape, out, tape_unary(tape, UNARY_RECIPROCAL, 0, form[PRECISION]));
}

/* What the form that the task's rows ask for says, from what both say. */
static Var
choose_form(Tape *tape, const Var *own, Var network, Var linear)
{
	/* from <= rows < to, in whole rows */
	Var			use = tape_multiply(tape,
									vars_positive(tape, tape_scale(tape, tape_axpy(tape, own[ROWS], -1, own[LINEAR_FROM]), 1, 0.5)),
									vars_positive(tape, tape_scale(tape, tape_axpy(tape, own[LINEAR_TO], -1, own[ROWS]), 1, -0.5)));

	return tape_axpy(tape, network, 1, tape_multiply(tape, use, tape_axpy(tape, linear, -1, network)));
}

static Var
random_intercept_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list,
						 const Var *phi, Var x, Var c)
{
	const Var  *own = phi + network_count(&spec->net);
	Var			out = predict_form(tape, spec->loss, network_form(tape, spec, phi, x, c), own);

	(void) list;
	if (!has_linear_form(spec))
		return out;
	return choose_form(tape, own, out,
					   predict_form(tape, spec->loss, linear_form(tape, spec, phi, x, c), own + FORM_TENSORS));
}

/* 1 / precision + sigma^2, the same for all rows of a task */
static Var
variance_form(Tape *tape, const Var *form)
{
	return tape_axpy(tape, tape_unary(tape, UNARY_RECIPROCAL, 0, form[PRECISION]), 1, form[NOISE]);
}

static Var
random_intercept_variance(Tape *tape, const LearnerSpec *spec, const TensorList *list,
						  const Var *phi, Var x, Var c)
{
	const Var  *own = phi + network_count(&spec->net);
	Var			variance = choose_form(tape, own, variance_form(tape, own), variance_form(tape, own + FORM_TENSORS));
	Shape		s = tape_shape(tape, variance);

	(void) list;
	(void) c;
	return tape_expand(tape, variance, shape(s.tasks, tape_shape(tape, x).rows, 1));
}

const Learner random_intercept_learner = {
	.name = "random_intercept",
	.summary = "the pooled model plus a shrunken shift per task: empirical Bayes (baseline)",
	.reference = "Laird, Ware 1982",
	.layout = random_intercept_layout,
	.initialise = random_intercept_initialise,
	.adapt = random_intercept_adapt,
	.predict = random_intercept_predict,
	.variance = random_intercept_variance,
	.flags = LEARNER_FIXED | LEARNER_ADDITIVE,
};
