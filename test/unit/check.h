/*
 * check.h
 *	  Gradients on a tape against finite differences.
 *
 * A function under test is built once; its derivative by the tape is compared
 * with central differences of fourth order,
 *
 *	  f' = (8 (f(x + e) - f(x - e)) - (f(x + 2e) - f(x - 2e))) / 12e,
 *
 * whose error is of order e^4.  Errors are relative to the norm, taken over
 * all elements of a variable.
 */
#ifndef UNIT_CHECK_H
#define UNIT_CHECK_H

#include "heap.h"
#include "nn/rng.h"
#include "nn/tape_private.h"
#include "tap.h"

/* Set before anything was measured; float only tells a wrong formula. */
#ifdef NN_DOUBLE
#define CHECK_STEP 1e-3
#define CHECK_FIRST 1e-6
#define CHECK_SECOND 1e-5
#else
#define CHECK_STEP 2e-2
#define CHECK_FIRST 5e-3
#define CHECK_SECOND INFINITY	/* not looked at */
#endif

/* A norm below which an error counts as absolute. */
#define CHECK_FLOOR 1e-2

static inline double
norm_of(const double *a, size_t n)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += a[i] * a[i];
	return sqrt(sum);
}

/* |a - b| / |b| */
static inline double
norm_error(const double *a, const double *b, size_t n)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sqrt(sum) / fmax(norm_of(b, n), CHECK_FLOOR);
}

/* Uniform in low..high on both sides of 0, or only above it. */
static inline void
fill(Tape *tape, Var v, Rng *rng, double low, double high, bool positive)
{
	size_t		n = shape_size(tape_shape(tape, v));

	for (size_t i = 0; i < n; i++)
	{
		double		value = low + (high - low) * rng_uniform(rng);

		tape_data(tape, v)[i] = positive || rng_below(rng, 2) ? value : -value;
	}
}

/* One tape and its memory; the numbers of a case depend on the seed alone. */
typedef struct Case
{
	Heap		heap;
	Arena		arena;
	Tape		tape;
	Rng			rng;
} Case;

static inline void
case_begin(Case *at, uint64_t seed)
{
	memset(at, 0, sizeof(*at));
	arena_init(&at->arena, heap_grow, &at->heap, (size_t) 1 << 28);
	tape_init(&at->tape, &at->arena);
	at->rng = rng_stream(seed, RNG_SAMPLE, 0, 0);
}

static inline void
case_end(Case *at)
{
	heap_free(&at->heap);
}

/* A leaf off 0, where relu has its kink. */
static inline Var
leaf(Case *at, Shape s)
{
	Var			v = tape_leaf(&at->tape, s, NULL);

	if (v != TAPE_NONE)
		fill(&at->tape, v, &at->rng, 0.3, 1.3, false);
	return v;
}

/*
 * Of a tape that has been run, what a number y takes when only a leaf changes:
 * not what came before the leaf was looked at, nor the gradient of y.
 */
static inline Tape
tape_between(const Tape *tape, Var leaf, Var y)
{
	Tape		part = *tape;
	Var			v = leaf;

	while (v < y && tape->nodes[v].in[0] != leaf && tape->nodes[v].in[1] != leaf && tape->nodes[v].in[2] != leaf)
		v++;
	part.level_start[0] = v;
	part.n_nodes = y + 1;
	return part;
}

/*
 * Largest error, over the wrt, between the numbers in gradients[i] and finite
 * differences of the number y with respect to the leaves wrt[i].
 */
static inline double
difference_error(Tape *tape, Var y, const Var *wrt, int n, const Var *gradients)
{
	double		worst = 0;

	for (int i = 0; i < n; i++)
	{
		size_t		size = shape_size(tape_shape(tape, wrt[i]));
		real	   *x = tape_data(tape, wrt[i]);
		double	   *by_tape = malloc((size + 1) * sizeof(double));
		double	   *by_difference = malloc((size + 1) * sizeof(double));
		double		error;
		Tape		part;

		tape_run(tape);
		part = tape_between(tape, wrt[i], y);
		for (size_t j = 0; j < size; j++)
			by_tape[j] = tape_data(tape, gradients[i])[j];
		for (size_t j = 0; j < size; j++)
		{
			real		saved = x[j];
			double		at[4];

			for (int k = 0; k < 4; k++)
			{
				static const int steps[4] = {-2, -1, 1, 2};

				x[j] = saved + (real) (steps[k] * CHECK_STEP);
				tape_run_from(&part, 0);
				at[k] = tape_data(tape, y)[0];
			}
			x[j] = saved;
			by_difference[j] = (8 * (at[2] - at[1]) - (at[3] - at[0])) / (12 * CHECK_STEP);
		}
		error = norm_error(by_tape, by_difference, size);
		if (!(error <= worst))	/* NaN is the worst */
			worst = error;
		free(by_tape);
		free(by_difference);
	}
	tape_run(tape);
	return worst;
}

/*
 * A number made of all elements of y: sum r (y + y^2 / 2) with random r, so
 * that linear operations too have a second derivative.
 */
static inline Var
random_number_of(Tape *tape, Var y, Rng *rng)
{
	Var			r = tape_leaf(tape, tape_shape(tape, y), NULL);

	if (r == TAPE_NONE)
		return TAPE_NONE;
	fill(tape, r, rng, 0.5, 1.5, false);
	y = tape_axpy(tape, y, (real) 0.5, tape_multiply(tape, y, y));
	return tape_sum(tape, tape_multiply(tape, r, y), shape(1, 1, 1));
}

/*
 * Checks first and second derivatives of y with respect to leaves.  orders 1
 * leaves out the second.
 */
static inline void
check_derivatives(Tape *tape, Var y, const Var *wrt, int n, Rng *rng, int orders, const char *name)
{
	Var			first[16];
	Var			second[16];
	Var			f = random_number_of(tape, y, rng);
	Var			h = TAPE_NONE;

	tape_gradient(tape, f, wrt, n, first);
#ifdef NN_DOUBLE
	/* A random projection of the gradient, and its gradient. */
	for (int i = 0; i < n && orders > 1 && !tape->fault; i++)
	{
		Var			u = tape_leaf(tape, tape_shape(tape, wrt[i]), NULL);
		Var			part;

		if (u != TAPE_NONE)
			fill(tape, u, rng, 0.5, 1.5, false);
		part = tape_sum(tape, tape_multiply(tape, first[i], u), shape(1, 1, 1));
		h = h == TAPE_NONE ? part : tape_axpy(tape, h, 1, part);
	}
	if (orders > 1)
		tape_gradient(tape, h, wrt, n, second);
#else
	(void) orders;
	(void) second;
	(void) h;
#endif
	if (tape->fault)
	{
		ok(false, "%s: %s", name, tape->fault);
		return;
	}
	for (int i = 0; i < n; i++)
		if (!shape_equal(tape_shape(tape, first[i]), tape_shape(tape, wrt[i])))
		{
			ok(false, "%s: a gradient has its variable's shape", name);
			return;
		}
	is_close(difference_error(tape, f, wrt, n, first), 0, CHECK_FIRST, "%s: first derivative", name);
#ifdef NN_DOUBLE
	if (orders > 1)
		is_close(difference_error(tape, h, wrt, n, second), 0, CHECK_SECOND, "%s: second derivative", name);
#endif
}

#endif							/* UNIT_CHECK_H */
