/*
 * task_sums.c
 *	  A task as sums over its rows, beside a random intercept's.
 */
#include "learn/task_sums.h"

#include "learn/vars.h"

/* Least variance of the rows, and the most that a network changes its logarithm. */
#define LEAST_NOISE 1e-4
#define LARGEST_CHANGE 4.0

bool
task_scales_layout(TensorList *list)
{
	return tensor_add(list, "spread.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "noise.bias", 1, 1, TENSOR_SHARED) >= 0 &&
		tensor_add(list, "count.bias", 1, 1, TENSOR_SHARED) >= 0;
}

bool
task_sums_layout(const LearnerSpec *spec, int h, TensorList *list)
{
	return tensor_add(list, "state.rows", 1, 1, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.summary", 1, h, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.pull", 1, spec->net.outputs, TENSOR_STATE) >= 0 &&
		tensor_add(list, "state.information", 1, spec->net.outputs, TENSOR_STATE) >= 0;
}

void
task_scales_initialise(const LearnerSpec *spec, const TensorList *list, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];

	values[own[LOG_SPREAD].offset] = scale_store(spec->loss == LOSS_SQUARED ? 0.1 : 0.4);
	values[own[LOG_NOISE].offset] = spec->loss == LOSS_SQUARED ? scale_store(0.9) : 0;
	values[own[LOG_COUNT].offset] = 1 / LOG_SCALE;
}

void
task_scales_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values)
{
	const Tensor *own = &list->tensors[network_count(&spec->net)];

	values[own[LOG_SPREAD].offset] = scale_store(between);
	if (spec->loss == LOSS_SQUARED)
		values[own[LOG_NOISE].offset] = scale_store(within);
}

Var
task_noise(Tape *tape, const LearnerSpec *spec, const Var *own)
{
	if (spec->loss != LOSS_SQUARED)
		return tape_constant(tape, 1);
	return tape_scale(tape, scale_value(tape, own[LOG_NOISE]), 1, LEAST_NOISE);
}

Var
task_variance(Tape *tape, Var noise, Var change)
{
	Var			factor = tape_unary(tape, UNARY_EXP, 0, vars_bounded(tape, change, LARGEST_CHANGE));

	return tape_scale(tape, tape_multiply(tape, factor, noise), 1, LEAST_NOISE);
}

void
task_residuals(Tape *tape, const LearnerSpec *spec, const RowVars *support, Var out, Var *residual, Var *information)
{
	Var			expected = out;

	*information = support->w;
	if (spec->loss != LOSS_SQUARED)
	{
		expected = spec->loss == LOSS_SOFTMAX ? tape_softmax(tape, out) : tape_unary(tape, UNARY_SIGMOID, 0, out);
		*information = tape_multiply(tape, support->w, vars_bernoulli_variance(tape, expected));
	}
	*residual = tape_axpy(tape, support->y, -1, expected);
}

static Var
add_rows(Tape *tape, Var sum, Var rows)
{
	return tape_axpy(tape, sum, 1, vars_sum_rows(tape, rows));
}

void
task_sums_add(Tape *tape, const RowVars *support, Var e, Var residual, Var information, const Var *sums, Var *more)
{
	more[SUM_ROWS] = add_rows(tape, sums[SUM_ROWS], support->w);
	more[SUM_SUMMARY] = add_rows(tape, sums[SUM_SUMMARY], tape_multiply(tape, e, support->w));
	more[SUM_PULL] = add_rows(tape, sums[SUM_PULL], tape_multiply(tape, residual, support->w));
	more[SUM_INFORMATION] = add_rows(tape, sums[SUM_INFORMATION], information);
}
