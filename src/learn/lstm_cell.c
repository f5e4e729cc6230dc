/*
 * lstm_cell.c
 *	  A cell of long short-term memory, as nodes of a tape.
 *
 *	  i, f, g, o = x W_x + h_{t-1} W_h + b
 *	  c_t = sigma(f) c_{t-1} + sigma(i) tanh(g),  h_t = sigma(o) tanh(c_t)
 *
 * S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation
 * 1997, with the forget gate of F. Gers, J. Schmidhuber, F. Cummins, 2000,
 * which begins open.
 */
#include "learn/lstm_cell.h"

#include <math.h>
#include <stdio.h>

#include "learn/vars.h"

Var
lstm_zero(Tape *tape, int width)
{
	return tape_leaf(tape, shape(1, 1, 2 * width), NULL);
}

Var
lstm_hidden(Tape *tape, Var state)
{
	int			width = tape_shape(tape, state).cols / 2;

	return vars_slice(tape, state, 0, width);
}

bool
lstm_layout(TensorList *list, const char *name, int inputs, int width)
{
	static const char *const parts[LSTM_TENSORS] = {"input.weight", "hidden.weight", "bias"};
	const int	rows[LSTM_TENSORS] = {inputs, width, 1};

	for (int i = 0; i < LSTM_TENSORS; i++)
	{
		char		full[TENSOR_NAME_LENGTH];

		snprintf(full, sizeof(full), "%s.%s", name, parts[i]);
		if (tensor_add(list, full, rows[i], 4 * width, TENSOR_SHARED) < 0)
			return false;
	}
	return true;
}

void
lstm_initialise(const Tensor *tensors, Rng *rng, real *values)
{
	int			width = tensors[LSTM_HIDDEN].rows;
	int			fan_in = tensors[LSTM_INPUT].rows + width;

	for (int i = LSTM_INPUT; i <= LSTM_HIDDEN; i++)
		tensor_fill_normal(&tensors[i], sqrt(1.0 / fan_in), rng, values);
	for (int j = 0; j < 4 * width; j++)
		values[tensors[LSTM_BIAS].offset + j] = j / width == 1;
}
