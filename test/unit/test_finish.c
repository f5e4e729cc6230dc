/*
 * test_finish.c
 *	  A finished tape computes what the tape as it was built computes.
 *
 * Programs are made at random of the operations that finishing rewrites, with
 * first and second gradients, and compared in all their roots.
 */
#include "check.h"

#ifdef NN_DOUBLE
#define TOLERANCE 1e-9
#else
#define TOLERANCE 2e-3
#endif

#define PROGRAMS 300
#define MAX_ROOTS 64

typedef struct Program
{
	Heap		heap;
	Arena		arena;
	Tape		tape;
	int			n_roots;
	Var			roots[MAX_ROOTS];
} Program;

static Var
random_leaf(Program *p, Rng *rng, Shape s)
{
	Var			v = tape_leaf(&p->tape, s, NULL);

	fill(&p->tape, v, rng, 0.1, 1, false);
	return v;
}

static Shape
random_shape(Rng *rng)
{
	static const int sizes[] = {1, 3, 5, 16};

	return shape(rng_below(rng, 2) ? 2 : 1, sizes[rng_below(rng, 4)], sizes[rng_below(rng, 4)]);
}

static bool
fits(int a, int b)
{
	return a == b || a == 1 || b == 1;
}

/* Appends an operation on nodes drawn from the pool; TAPE_NONE where they do not fit. */
static Var
random_operation(Tape *tape, Rng *rng, const Var *pool, int n)
{
	Var			a = pool[rng_below(rng, n)];
	Var			b = pool[rng_below(rng, n)];
	Var			c = pool[rng_below(rng, n)];
	Shape		sa = tape_shape(tape, a);
	Shape		sb = tape_shape(tape, b);
	Shape		sc = tape_shape(tape, c);
	bool		ta = rng_below(rng, 2);
	bool		tb = rng_below(rng, 2);
	int			rows = ta ? sa.cols : sa.rows;
	int			cols = tb ? sb.rows : sb.cols;
	bool		product = (ta ? sa.rows : sa.cols) == (tb ? sb.cols : sb.rows) && fits(sa.tasks, sb.tasks);
	bool		pair = fits(sa.tasks, sb.tasks) && fits(sa.rows, sb.rows) && fits(sa.cols, sb.cols);

	switch (rng_below(rng, 13))
	{
		case 0:
		case 1:
		case 2:
			if (!product)
				return TAPE_NONE;
			if (!fits(sc.tasks, sa.tasks) || !fits(sc.tasks, sb.tasks) ||
				(sc.rows != 1 && sc.rows != rows) || (sc.cols != 1 && sc.cols != cols))
				c = TAPE_NONE;
			return tape_affine(tape, a, ta, b, tb, c);
		case 3:
			return product ? tape_matmul_sum(tape, a, ta, b, tb) : TAPE_NONE;
		case 4:
		case 5:
			return pair ? tape_axpy(tape, a, (real) (rng_uniform(rng) - 0.5), b) : TAPE_NONE;
		case 6:
			return pair ? tape_multiply(tape, a, b) : TAPE_NONE;
		case 7:
			return tape_unary(tape, UNARY_RELU, 0, a);
		case 8:
			return tape_sum(tape, a, shape(rng_below(rng, 2) ? sa.tasks : 1, rng_below(rng, 2) ? sa.rows : 1, sa.cols));
		case 9:
			return tape_scale(tape, a, (real) (rng_uniform(rng) - 0.5), rng_below(rng, 2) ? 0 : (real) 0.25);
		case 10:
			return rng_below(rng, 2) ? tape_transpose(tape, a) : tape_detach(tape, a);
		case 11:
			if (rng_below(rng, 2))
				return tape_reshape(tape, a, sa.cols, sa.rows);
			/* FALLTHROUGH */
		default:
			return tape_expand(tape, a, shape(sa.tasks == 1 ? 2 : sa.tasks, sa.rows, sa.cols));
	}
}

/* The same program for the same seed. */
static void
build(Program *p, uint64_t seed)
{
	Rng			rng = rng_stream(seed, RNG_SAMPLE, 0, 0);
	Var			pool[64];
	Var			leaves[4];
	Var			gradients[4];
	Var			again[4];
	int			n = 0;
	Var			total;

	memset(p, 0, sizeof(*p));
	arena_init(&p->arena, heap_grow, &p->heap, (size_t) 256 << 20);
	tape_init(&p->tape, &p->arena);
	for (int i = 0; i < 4; i++)
		pool[n++] = leaves[i] = random_leaf(p, &rng, random_shape(&rng));
	for (int tries = 0; tries < 400 && n < 24; tries++)
	{
		Var			v = random_operation(&p->tape, &rng, pool, n);

		if (v != TAPE_NONE)
			pool[n++] = v;
	}
	total = random_number_of(&p->tape, tape_unary(&p->tape, UNARY_TANH, 0, pool[n - 1]), &rng);
	for (int i = 0; i < 3; i++)
		total = tape_axpy(&p->tape, total, 1,
						  tape_sum(&p->tape, tape_unary(&p->tape, UNARY_TANH, 0, pool[rng_below(&rng, n)]), shape(1, 1, 1)));
	tape_gradient(&p->tape, total, leaves, 4, gradients);

	/* a step, and what comes of it: a gradient through a gradient */
	for (int i = 0; i < 4; i++)
	{
		Var			moved = tape_axpy(&p->tape, leaves[i], (real) -0.1, gradients[i]);

		total = tape_axpy(&p->tape, total, 1,
						  tape_sum(&p->tape, tape_unary(&p->tape, UNARY_SQUARE, 0, moved), shape(1, 1, 1)));
	}
	tape_gradient(&p->tape, total, leaves, 4, again);

	p->roots[p->n_roots++] = total;
	for (int i = 0; i < 4; i++)
	{
		p->roots[p->n_roots++] = gradients[i];
		p->roots[p->n_roots++] = again[i];
	}
	for (int i = 0; i < 4; i++)
		p->roots[p->n_roots++] = pool[rng_below(&rng, n)];
	p->roots[p->n_roots++] = leaves[0];
}

static void
test_random_programs(void)
{
	double		worst = 0;
	int			shapes = 0;
	bool		replays = true;
	bool		smaller = true;

	for (int seed = 0; seed < PROGRAMS; seed++)
	{
		Program		plain;
		Program		finished;
		int			n;

		build(&plain, seed);
		build(&finished, seed);
		n = finished.tape.n_nodes;
		tape_finish(&finished.tape, finished.roots, finished.n_roots);
		if (plain.tape.fault || finished.tape.fault)
		{
			ok(false, "program %d: %s", seed, plain.tape.fault ? plain.tape.fault : finished.tape.fault);
			continue;
		}
		smaller = smaller && finished.tape.n_nodes <= 2 * n;
		tape_run(&plain.tape);
		for (int run = 0; run < 2; run++)
		{
			double		error = 0;

			/* the second time the shared memory holds other numbers than zeros */
			tape_run(&finished.tape);
			for (int i = 0; i < plain.n_roots; i++)
			{
				Shape		s = tape_shape(&plain.tape, plain.roots[i]);
				const real *a = tape_data(&plain.tape, plain.roots[i]);
				const real *b = tape_data(&finished.tape, finished.roots[i]);
				double		difference = 0;
				double		norm = 0;

				if (!shape_equal(s, tape_shape(&finished.tape, finished.roots[i])))
				{
					shapes++;
					continue;
				}
				for (size_t j = 0; j < shape_size(s); j++)
				{
					difference += (a[j] - b[j]) * (a[j] - b[j]);
					norm += a[j] * a[j];
				}
				difference = sqrt(difference) / (1 + sqrt(norm));
				if (!(difference <= error))
					error = difference;
			}
			if (!(error <= TOLERANCE))
				diag("program %d, run %d: %g", seed, run, error);
			if (!(error <= worst))
				worst = error;
			replays = replays && error <= TOLERANCE;
		}
		heap_free(&plain.heap);
		heap_free(&finished.heap);
	}
	is_close(worst, 0, TOLERANCE, "%d random programs: finished, they compute the same", PROGRAMS);
	ok(shapes == 0, "roots keep their shapes");
	ok(replays, "and a second run does not depend on the first");
	ok(smaller, "finishing does not make a program much longer");
}

/* Adapting a wide first layer never works out its weights, and only the roots remain. */
static void
test_rewriting(void)
{
	Program		p;
	Rng			rng = rng_stream(3, RNG_SAMPLE, 0, 0);
	Var			x,
				w,
				phi,
				g,
				dead,
				result;
	double		expected;

	memset(&p, 0, sizeof(p));
	arena_init(&p.arena, heap_grow, &p.heap, (size_t) 64 << 20);
	tape_init(&p.tape, &p.arena);
	x = random_leaf(&p, &rng, shape(2, 3, 500));
	w = random_leaf(&p, &rng, shape(1, 500, 8));
	phi = tape_expand(&p.tape, w, shape(2, 500, 8));
	for (int step = 0; step < 3; step++)
	{
		Var			out = tape_unary(&p.tape, UNARY_RELU, 0, tape_affine(&p.tape, x, false, phi, false, TAPE_NONE));

		tape_gradient(&p.tape, tape_sum(&p.tape, tape_unary(&p.tape, UNARY_SQUARE, 0, out), shape(2, 1, 1)), &phi, 1, &g);
		phi = tape_axpy(&p.tape, phi, (real) -0.001, g);
	}
	dead = tape_unary(&p.tape, UNARY_EXP, 0, phi);
	result = tape_sum(&p.tape, tape_affine(&p.tape, x, false, phi, false, TAPE_NONE), shape(1, 1, 1));
	tape_run(&p.tape);
	expected = tape_data(&p.tape, result)[0];
	tape_finish(&p.tape, &result, 1);
	tape_run(&p.tape);
	is_close(tape_data(&p.tape, result)[0] / expected, 1, TOLERANCE, "three steps of a wide layer, taken apart");
	ok(tape_data(&p.tape, dead) == NULL && tape_data(&p.tape, phi) == NULL, "what was not asked for is gone");
	ok(tape_data(&p.tape, x) != NULL && shape_equal(tape_shape(&p.tape, w), shape(1, 500, 8)), "leaves stay");
	ok(tape_leaf(&p.tape, shape(1, 1, 1), NULL) == TAPE_NONE && p.tape.fault != NULL, "nothing can be added");
	heap_free(&p.heap);
}

/* x a^-1 x^T of each row: half a solution, unless the whole one is wanted, too. */
static void
test_quadratic(void)
{
	for (int seed = 0; seed < 8; seed++)
	{
		int			tasks = seed & 1 ? 3 : 1;
		int			rows = seed & 2 ? 5 : 1;
		bool		alone = (seed & 4) == 0;
		Program		p;
		Rng			rng = rng_stream(seed, RNG_SAMPLE, 0, 0);
		real		expected[15];
		double		error = 0;
		Var			x,
					b,
					a,
					solved,
					roots[2];

		memset(&p, 0, sizeof(p));
		arena_init(&p.arena, heap_grow, &p.heap, (size_t) 64 << 20);
		tape_init(&p.tape, &p.arena);
		x = random_leaf(&p, &rng, shape(tasks, rows, 13));
		b = random_leaf(&p, &rng, shape(tasks, 20, 13));
		a = tape_affine(&p.tape, b, true, b, false, TAPE_NONE);
		solved = tape_solve(&p.tape, a, tape_transpose(&p.tape, x));
		roots[0] = tape_sum(&p.tape, tape_multiply(&p.tape, x, tape_transpose(&p.tape, solved)), shape(tasks, rows, 1));
		roots[1] = alone ? TAPE_NONE : solved;
		tape_run(&p.tape);
		memcpy(expected, tape_data(&p.tape, roots[0]), tasks * rows * sizeof(real));
		tape_finish(&p.tape, roots, 2);
		tape_run(&p.tape);
		for (int i = 0; i < tasks * rows; i++)
			error = fmax(error, fabs(tape_data(&p.tape, roots[0])[i] / expected[i] - 1));
		is_close(error, 0, TOLERANCE, "a quadratic form with an inverse, %d task(s), %d row(s)", tasks, rows);
		ok((tape_data(&p.tape, solved) == NULL) == alone, "whose solution is worked out where it is wanted");
		heap_free(&p.heap);
	}
}

/*
 * Columns side by side, one of them repeated, through a layer that is
 * rectified, whose sums are looked at, too, or not; and a system of a matrix
 * that is made symmetric on the way.
 */
static void
test_fused(void)
{
	for (int seed = 0; seed < 8; seed++)
	{
		int			tasks = seed & 1 ? 3 : 1;
		bool		alone = (seed & 2) == 0;
		int			n = seed & 4 ? 52 : 7;
		Program		p;
		Rng			rng = rng_stream(seed, RNG_SAMPLE, 0, 1);
		real		expected[2][3 * 6 * 52];
		double		error = 0;
		int			before;
		Var			sums,
					product,
					b,
					a,
					identity,
					roots[3];

		memset(&p, 0, sizeof(p));
		arena_init(&p.arena, heap_grow, &p.heap, (size_t) 64 << 20);
		tape_init(&p.tape, &p.arena);
		sums = tape_axpy(&p.tape, tape_columns(&p.tape, random_leaf(&p, &rng, shape(1, 1, 3)), 0, 3, 5, 8), 1,
						 tape_columns(&p.tape, random_leaf(&p, &rng, shape(tasks, 6, 5)), 0, 5, 0, 8));
		product = tape_affine(&p.tape, sums, false, random_leaf(&p, &rng, shape(1, 8, n)), false,
							  random_leaf(&p, &rng, shape(1, 1, n)));
		roots[0] = tape_unary(&p.tape, UNARY_RELU, 0, product);
		b = random_leaf(&p, &rng, shape(tasks, 2 * n, n));
		a = tape_affine(&p.tape, b, true, b, false, TAPE_NONE);
		identity = tape_leaf(&p.tape, shape(1, n, n), NULL);
		for (int i = 0; i < n; i++)
			tape_data(&p.tape, identity)[i * n + i] = n;
		a = tape_axpy(&p.tape, identity, (real) 0.5, tape_axpy(&p.tape, a, 1, tape_transpose(&p.tape, a)));
		roots[1] = tape_solve(&p.tape, a, tape_transpose(&p.tape, product));
		roots[2] = alone ? TAPE_NONE : product;
		if (alone)
			roots[1] = tape_solve(&p.tape, a, random_leaf(&p, &rng, shape(tasks, n, 1)));
		before = p.tape.n_nodes;
		tape_run(&p.tape);
		for (int i = 0; i < 2; i++)
			memcpy(expected[i], tape_data(&p.tape, roots[i]), shape_size(tape_shape(&p.tape, roots[i])) * sizeof(real));
		tape_finish(&p.tape, roots, 3);
		for (int run = 0; run < 2; run++)
		{
			tape_run(&p.tape);
			for (int i = 0; i < 2; i++)
				for (size_t j = 0; j < shape_size(tape_shape(&p.tape, roots[i])); j++)
					error = fmax(error, fabs(tape_data(&p.tape, roots[i])[j] - expected[i][j]) / (1 + fabs(expected[i][j])));
		}
		is_close(error, 0, 10 * TOLERANCE, "columns side by side, a rectified layer and a symmetric system, %d task(s), width %d", tasks, n);
		ok(p.tape.n_nodes <= before - (alone ? 6 : 4), "take fewer nodes: %d of %d", p.tape.n_nodes, before);
		heap_free(&p.heap);
	}
}

/* Leaves i (0 to 3) of level from on become other numbers. */
static void
change_leaves(Program *p, int from, uint64_t seed)
{
	Rng			rng = rng_stream(seed, RNG_SAMPLE, 0, 0);

	for (int i = 0; i < 4; i++)
		if (i % TAPE_LEVELS >= from)
			fill(&p->tape, i, &rng, 0.1, 1, false);
}

/* Running from a level on computes what running all of it does. */
static void
test_levels(void)
{
	double		worst = 0;
	int			kept = 0;

	for (int seed = 0; seed < 100; seed++)
	{
		Program		whole;
		Program		part;

		build(&whole, seed);
		build(&part, seed);
		for (int i = 0; i < 4; i++)
			tape_set_level(&part.tape, i, i % TAPE_LEVELS);
		tape_finish(&whole.tape, whole.roots, whole.n_roots);
		tape_finish(&part.tape, part.roots, part.n_roots);
		kept += part.tape.level_start[2] > part.tape.level_start[1];
		tape_run(&part.tape);
		for (int level = TAPE_LEVELS - 1; level > 0; level--)
		{
			change_leaves(&whole, level, 1000 + seed + level);
			change_leaves(&part, level, 1000 + seed + level);
			tape_run(&whole.tape);
			tape_run_from(&part.tape, level);
			for (int i = 0; i < whole.n_roots; i++)
				for (size_t j = 0; j < shape_size(tape_shape(&whole.tape, whole.roots[i])); j++)
				{
					double		a = tape_data(&whole.tape, whole.roots[i])[j];
					double		b = tape_data(&part.tape, part.roots[i])[j];

					if (!(fabs(a - b) <= worst))
						worst = fabs(a - b);
				}
		}
		heap_free(&whole.heap);
		heap_free(&part.heap);
	}
	is_close(worst, 0, 0, "run from a level on, programs compute the same");
	ok(kept > 50, "%d of them have something to keep", kept);
}

/* At whatever request the memory ends, finishing reports it and running is harmless. */
static void
test_full_arena(void)
{
	Program		p;
	bool		consistent = true;
	bool		refused = true;
	int			times = -1;

	for (size_t room = 0; refused; room += 64 * 16, times++)
	{
		build(&p, 5);
		p.arena.limit = p.arena.total;
		/* all that finishing takes comes from one chunk, of which so much is left */
		p.arena.at = heap_grow(&p.heap, (size_t) 1 << 22);
		p.arena.at += -(uintptr_t) p.arena.at & 63;
		p.arena.end = p.arena.at + room;
		tape_finish(&p.tape, p.roots, p.n_roots);
		refused = p.tape.fault != NULL;
		consistent = consistent && refused == p.arena.full;
		tape_run(&p.tape);
		heap_free(&p.heap);
	}
	ok(consistent && times > 10, "memory ended early %d times while finishing", times);
}

int
main(void)
{
	test_random_programs();
	test_rewriting();
	test_quadratic();
	test_fused();
	test_levels();
	test_full_arena();
	return tap_done();
}
