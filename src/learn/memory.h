/*
 * memory.h
 *	  A task's memory: tensors of as many rows as there were support rows.
 *
 * A tensor of role TENSOR_MEMORY has room for tensor->rows rows.  The first
 * number of a row is its weight, which is positive; the rows in use come
 * first, and those that are not are 0 throughout.  When there is no room
 * left the oldest row goes.
 */
#ifndef LEARN_MEMORY_H
#define LEARN_MEMORY_H

#include "learn/learner.h"

/* Rows in use of a tensor whose numbers are these. */
extern int	memory_used(const Tensor *tensor, const real *numbers);

/* The most rows in use of any memory of a list; 0 where it has none. */
extern int	memory_rows(const TensorList *list, const real *values);

/* Adds those of n rows that have a weight. */
extern void memory_append(const Tensor *tensor, real *numbers, const real *rows, int n);

/* Rows of a tensor where memories have this many of them in use. */
extern int	memory_tensor_rows(const Tensor *tensor, int used);

/* A leaf of a tensor; of a memory, its first rows. */
extern Var	memory_leaf(Tape *tape, const Tensor *tensor, int used, const real *numbers);

#endif							/* LEARN_MEMORY_H */
