/*
 * normal_draws.h
 *	  A fixed set of draws from a standard normal distribution.
 */
#ifndef LEARN_NORMAL_DRAWS_H
#define LEARN_NORMAL_DRAWS_H

#include "nn/tape.h"

/*
 * So many draws of d numbers, the same ones each time, as a constant leaf (1,
 * samples, d); TAPE_NONE after a fault.
 */
extern Var	normal_draws(Tape *tape, int samples, int d);

#endif							/* LEARN_NORMAL_DRAWS_H */
