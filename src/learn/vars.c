/*
 * vars.c
 *	  Compositions of a tape's operations that several learners use.
 */
#include "learn/vars.h"

#include <math.h>

real
scale_store(double value)
{
	return log(value) / LOG_SCALE;
}

Var
scale_value(Tape *tape, Var stored)
{
	return vars_exponential(tape, stored, LOG_SCALE);
}

Var
vars_exponential(Tape *tape, Var a, double factor)
{
	return tape_unary(tape, UNARY_EXP, 0, tape_scale(tape, a, factor, 0));
}

Var
vars_divide(Tape *tape, Var a, Var b)
{
	return tape_multiply(tape, a, tape_unary(tape, UNARY_RECIPROCAL, 0, b));
}

Var
vars_concatenate(Tape *tape, Var a, Var b)
{
	int			width_a = tape_shape(tape, a).cols;
	int			width_b = tape_shape(tape, b).cols;

	return tape_axpy(tape, tape_columns(tape, a, 0, width_a, 0, width_a + width_b), 1,
					 tape_columns(tape, b, 0, width_b, width_a, width_a + width_b));
}

Var
vars_slice(Tape *tape, Var a, int from, int width)
{
	return tape_columns(tape, a, from, width, 0, width);
}

Var
vars_deal_rows(Tape *tape, Var a, int n, int i)
{
	Shape		s;
	int			rows;

	if (a == TAPE_NONE || n == 1)
		return a;
	s = tape_shape(tape, a);
	rows = (s.rows - 1) / n + 1;
	a = tape_columns(tape, tape_reshape(tape, a, 1, s.rows * s.cols), 0, s.rows * s.cols, 0, rows * n * s.cols);
	return vars_slice(tape, tape_reshape(tape, a, rows, n * s.cols), i * s.cols, s.cols);
}

Var
vars_row_of(Tape *tape, Var transposed, int i)
{
	return tape_transpose(tape, vars_slice(tape, transposed, i, 1));
}

Var
vars_bounded(Tape *tape, Var a, double most)
{
	return tape_scale(tape, tape_unary(tape, UNARY_TANH, 0, tape_scale(tape, a, 1 / most, 0)), most, 0);
}

Var
vars_choose(Tape *tape, Var mask, Var a, Var b)
{
	return tape_axpy(tape, b, 1, tape_multiply(tape, mask, tape_axpy(tape, a, -1, b)));
}

Var
vars_identity(Tape *tape, int n)
{
	Var			identity = tape_leaf(tape, shape(1, n, n), NULL);

	if (identity != TAPE_NONE)
		for (int i = 0; i < n; i++)
			tape_data(tape, identity)[i * n + i] = 1;
	return identity;
}

Var
vars_sum_rows(Tape *tape, Var a)
{
	Shape		s = tape_shape(tape, a);

	return tape_sum(tape, a, shape(s.tasks, 1, s.cols));
}

Var
vars_positive(Tape *tape, Var a)
{
	return tape_unary(tape, UNARY_RELU, 1, a);
}

Var
vars_count_rows(Tape *tape, Var w)
{
	return vars_sum_rows(tape, vars_positive(tape, w));
}

Var
vars_bernoulli_variance(Tape *tape, Var p)
{
	return tape_axpy(tape, p, -1, tape_unary(tape, UNARY_SQUARE, 0, p));
}

Var
vars_average_logit(Tape *tape, Var mean, Var variance)
{
	return vars_divide(tape, mean, tape_unary(tape, UNARY_SQRT, 0, tape_scale(tape, variance, PI_EIGHTH, 1)));
}

Var
vars_bend(Tape *tape, Var step)
{
	return tape_scale(tape, tape_unary(tape, UNARY_TANH, 0, tape_scale(tape, step, 0.5, 0)), 2, 0);
}
