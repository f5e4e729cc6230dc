/*
 * lstm_cell.h
 *	  A cell of long short-term memory, as nodes of a tape.
 */
#ifndef LEARN_LSTM_CELL_H
#define LEARN_LSTM_CELL_H

#include "nn/network.h"

/* A state of zeros, (1, 1, 2 width): hidden, then cell, as tape_lstm has it. */
extern Var	lstm_zero(Tape *tape, int width);

/* The first half of a state. */
extern Var	lstm_hidden(Tape *tape, Var state);

/* Tensors of a cell, in this order. */
enum
{
	LSTM_INPUT,					/* (inputs, 4 width) */
	LSTM_HIDDEN,				/* (width, 4 width) */
	LSTM_BIAS,					/* (1, 4 width) */
	LSTM_TENSORS
};

/*
 * Appends "<name>.input.weight", "<name>.hidden.weight" and "<name>.bias",
 * which are shared; false when the list is full.
 */
extern bool lstm_layout(TensorList *list, const char *name, int inputs, int width);

/* First values: weights at random, forget gates open. */
extern void lstm_initialise(const Tensor *tensors, Rng *rng, real *values);

#endif							/* LEARN_LSTM_CELL_H */
