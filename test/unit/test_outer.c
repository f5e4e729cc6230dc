/*
 * test_outer.c
 *	  The outer step: rows of tables that are left alone until they are seen
 *	  end where rows end that are moved in every step.
 */
#include "nn/outer.h"

#include "heap.h"
#include "tap.h"

#define ROWS 40					/* of the tables */
#define SEEN 6					/* of a step's codes */
#define STEPS 300				/* more than twice OUTER_SETTLES */
#define SIZE (ROWS * 3 + ROWS + 5)

/* Two tables of the second column of codes, and a matrix. */
static const Tensor as_whole[] = {
	{"embedding.1", ROWS, 3, TENSOR_SHARED, 0, false, 1},
	{"wide.1", ROWS, 1, TENSOR_SHARED, ROWS * 3, false, 1},
	{"layer.0.weight", 1, 5, TENSOR_ADAPTED, ROWS * 4, false, 0},
};

typedef struct State
{
	Tensor		tensors[3];
	TensorList	list;
	real		theta[SIZE];
	real		average[SIZE];
	real		first[SIZE];
	real		second[SIZE];
	int32_t		at[ROWS];
	Adam		adam;
	bool		plain;
	double		clip;
	Heap		heap;
	Arena		arena;
	Outer	   *outer;
} State;

static StepRates
rates(const void *context, int64_t step)
{
	(void) context;
	return (StepRates) {0.02 * (1 - step / (2.0 * STEPS)), 0.3, fmin(0.99, step / (step + 9.0))};
}

static void
open_outer(State *state)
{
	arena_init(&state->arena, heap_grow, &state->heap, (size_t) 1 << 24);
	state->outer = outer_create(&state->arena, &state->list, state->theta, state->average, &state->adam, state->at,
								state->plain, state->clip, rates, NULL);
}

static void
start(State *state, bool by_rows, bool plain, double clip)
{
	memset(state, 0, sizeof(*state));
	memcpy(state->tensors, as_whole, sizeof(as_whole));
	state->tensors[0].by_rows = state->tensors[1].by_rows = by_rows;
	state->list = (TensorList) {state->tensors, 3, 3, SIZE};
	state->adam = (Adam) {state->first, state->second};
	state->plain = plain;
	state->clip = clip;
	for (int i = 0; i < SIZE; i++)
		state->theta[i] = state->average[i] = sin(i);
	open_outer(state);
}

/* Codes of a step: in the first column anything; all rows, where all is set. */
static int
draw_codes(int step, bool all, int32_t *c)
{
	int			n = all ? ROWS : SEEN;

	for (int r = 0; r < n; r++)
	{
		c[2 * r] = 77;
		c[2 * r + 1] = all ? r : (step * step * 7 + r * (step + 3)) % (r < 3 ? 5 : ROWS);
	}
	/* what is no code is row 0 */
	if (!all)
		c[1] = step % 2 ? -4 : ROWS + 2;
	return n;
}

/* A gradient that depends on where the parameters are: of the rows that are seen, and the matrix. */
static void
run(State *state, int from, int to, bool all)
{
	for (int step = from; step < to; step++)
	{
		int32_t		c[2 * ROWS];
		Rows		rows = {{0, 2, 1}, 1, 0, NULL, c, NULL, NULL};
		real	   *g = state->outer->gradient;

		rows.rows = draw_codes(step, all, c);
		outer_begin(state->outer, step);
		/* in two parts, as slices are */
		rows.rows -= 2;
		outer_see(state->outer, &rows);
		rows.c += 2 * rows.rows;
		rows.rows = 2;
		outer_see(state->outer, &rows);
		for (int r = 0; r < (all ? ROWS : SEEN); r++)
		{
			int			row = c[2 * r + 1] < 0 || c[2 * r + 1] >= ROWS ? 0 : c[2 * r + 1];

			for (int j = 0; j < 3; j++)
				g[row * 3 + j] += state->theta[row * 3 + j] - 0.4 + sin(step + r);
			g[ROWS * 3 + row] += 2 * state->theta[ROWS * 3 + row] + cos(3 * step + r);
		}
		for (int j = 0; j < 5; j++)
			g[ROWS * 4 + j] += state->theta[ROWS * 4 + j] + sin(step + j);
		outer_step(state->outer, 0.25);
	}
}

static double
distance(const real *a, const real *b)
{
	double		worst = 0;

	for (int i = 0; i < SIZE; i++)
		worst = fmax(worst, fabs((double) a[i] - b[i]));
	return worst;
}

static double
unlike(State *a, State *b)
{
	return fmax(fmax(distance(a->theta, b->theta), distance(a->average, b->average)),
				fmax(distance(a->first, b->first), distance(a->second, b->second)));
}

static bool
same(State *a, State *b)
{
	return memcmp(a->theta, b->theta, sizeof(a->theta)) == 0 && memcmp(a->average, b->average, sizeof(a->theta)) == 0 &&
		memcmp(a->first, b->first, sizeof(a->theta)) == 0 && memcmp(a->second, b->second, sizeof(a->theta)) == 0;
}

static void
test_like_whole(bool plain, double clip, const char *what)
{
	static State whole,
				rows;
	double		moved;

	start(&whole, false, plain, clip);
	start(&rows, true, plain, clip);
	ok(outer_rows(&whole.list) == 0 && outer_rows(&rows.list) == ROWS, "a step for each row of a column's tables");
	run(&whole, 0, STEPS, false);
	run(&rows, 0, STEPS, false);
	moved = distance(whole.theta, rows.theta);
	outer_settle(rows.outer, STEPS);
	is_close(unlike(&whole, &rows), 0, sizeof(real) == 8 ? 1e-6 : 2e-5,	/* eps, beside gradients of some .01 */
			 "%s: rows end where whole tables end, with their moments and averages", what);
	ok(moved > 1e-3 || plain, "... which they were not before they were settled");
	heap_free(&whole.heap);
	heap_free(&rows.heap);
}

static void
test_all_seen(void)
{
	static State whole,
				rows;

	start(&whole, false, false, 0);
	start(&rows, true, false, 0);
	run(&whole, 0, STEPS, true);
	run(&rows, 0, STEPS, true);
	ok(same(&whole, &rows), "rows that are seen in every step are stepped as whole tables are, bit for bit");
	heap_free(&whole.heap);
	heap_free(&rows.heap);
}

/* Stopped after any step and gone on with, and settled at none but the usual steps. */
static void
test_interrupted(void)
{
	static State through,
				parts;
	const int	stops[] = {1, 2, 100, 127, 128, 129, 200, 257};
	int			last = 0;

	start(&through, true, false, 0.5);
	start(&parts, true, false, 0.5);
	run(&through, 0, STEPS, false);
	for (int i = 0; i < 9; i++)
	{
		int			to = i < 8 ? stops[i] : STEPS;

		run(&parts, last, to, false);
		heap_free(&parts.heap);
		open_outer(&parts);
		last = to;
	}
	ok(same(&through, &parts) && memcmp(through.at, parts.at, sizeof(parts.at)) == 0,
	   "interrupted and gone on with: the same bits");
	heap_free(&through.heap);
	heap_free(&parts.heap);
}

static void
test_not_finite(void)
{
	static State state;
	real		before[SIZE];

	start(&state, true, false, 1);
	run(&state, 0, 3, false);
	outer_begin(state.outer, 3);
	memcpy(before, state.theta, sizeof(before));
	state.outer->gradient[ROWS * 4] = NAN;
	ok(!isfinite(outer_step(state.outer, 1)), "a gradient that is none shows in the norm");
	ok(memcmp(before, state.theta, sizeof(before)) == 0, "... and does not reach the parameters");
	heap_free(&state.heap);
}

/* A step along a share of the gradient, whose norm is 5, or shorter. */
static void
test_clip(void)
{
	static const double clips[] = {0, 6, 1};
	static State state;
	const size_t at = ROWS * 4;

	for (int i = 0; i < 3; i++)
	{
		double		expected = clips[i] == 1 ? 0.2 : 1;
		double		was[2];
		double		norm;
		double		error;

		start(&state, true, true, clips[i]);
		outer_begin(state.outer, 0);
		state.outer->gradient[at] = 12;
		state.outer->gradient[at + 1] = -16;
		was[0] = state.theta[at];
		was[1] = state.theta[at + 1];
		norm = outer_step(state.outer, 0.25);
		error = fabs(was[0] - state.theta[at] - rates(NULL, 1).rate * expected * 3) +
			fabs(was[1] - state.theta[at + 1] + rates(NULL, 1).rate * expected * 4);
		is_close(norm, 5, 1e-6, "clip %g: the norm before it", clips[i]);
		is_close(error, 0, 1e-6, "clip %g: the step", clips[i]);
		heap_free(&state.heap);
	}
}

static void
test_full(void)
{
	static State state;
	int			refused = 0;

	start(&state, true, false, 0);
	heap_free(&state.heap);
	for (size_t limit = 0; limit < 40000; limit += 1000)
	{
		arena_init(&state.arena, heap_grow, &state.heap, limit);
		refused += outer_create(&state.arena, &state.list, state.theta, state.average, &state.adam, state.at,
								false, 0, rates, NULL) == NULL;
		heap_free(&state.heap);
	}
	ok(refused > 3 && refused < 40, "memory that ends is reported");
}

int
main(void)
{
	test_like_whole(false, 0, "Adam");
	test_like_whole(false, 0.3, "Adam with clipping");
	test_like_whole(true, 0, "plain descent");
	test_all_seen();
	test_interrupted();
	test_not_finite();
	test_clip();
	test_full();
	return tap_done();
}
