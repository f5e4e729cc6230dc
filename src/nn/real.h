/*
 * real.h
 *	  The number type of the numeric core.
 *
 * The extension computes in float.  The unit tests compile the same sources
 * with NN_DOUBLE, because a finite difference of a float function cannot
 * tell a wrong second derivative from rounding.
 */
#ifndef NN_REAL_H
#define NN_REAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef NN_DOUBLE
typedef double real;
#else
typedef float real;
#endif

#endif							/* NN_REAL_H */
