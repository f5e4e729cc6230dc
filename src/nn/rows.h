/*
 * rows.h
 *	  Encoded rows, as the data side hands them to the learners.
 *
 * A row is n_x numbers, n_c category codes, n_y target numbers and a weight.
 * Rows of several tasks are padded to the same count with rows of weight 0.
 */
#ifndef NN_ROWS_H
#define NN_ROWS_H

#include "nn/real.h"

typedef struct Width
{
	int			x;				/* numeric inputs, one-hot columns included */
	int			c;				/* embedded category columns */
	int			y;				/* 1, or the number of classes (one-hot) */
} Width;

typedef struct Rows
{
	Width		width;
	int			tasks;
	int			rows;			/* per task, padding included */
	real	   *x;				/* (tasks, rows, width.x) */
	int32_t    *c;				/* (tasks, rows, width.c); 0 is "unknown" */
	real	   *y;				/* (tasks, rows, width.y), encoded */
	real	   *w;				/* (tasks, rows); 0 for padding */
} Rows;

#endif							/* NN_ROWS_H */
