/*
 * test_tape.c
 *	  First and second derivative of every operation of the tape, with every
 *	  way its operands are repeated.
 */
#include "check.h"

#define T 2						/* tasks, rows, columns where not 1 */
#define R 3
#define C 4

/* Of the numbers in a case. */
#define SEED 11

static Var
positive_leaf(Case *at, Shape s)
{
	Var			v = tape_leaf(&at->tape, s, NULL);

	fill(&at->tape, v, &at->rng, 0.6, 1.6, true);
	return v;
}

/* The shape whose dimensions are 1 where mask has a 0. */
static Shape
masked(int mask)
{
	return shape(mask & 4 ? T : 1, mask & 2 ? R : 1, mask & 1 ? C : 1);
}

static const char *
shape_name(Shape s)
{
	static char names[8][40];
	static int	next = 0;
	char	   *name = names[next++ % 8];

	snprintf(name, 40, "(%d,%d,%d)", s.tasks, s.rows, s.cols);
	return name;
}

static void
test_elementwise(void)
{
	char		name[100];

	for (int i = 0; i < 8; i++)
		for (int j = 0; j < 8; j++)
		{
			Shape		a = masked(i);
			Shape		b = masked(j);
			Case		at;
			Var			v[2];

			case_begin(&at, SEED);
			v[0] = leaf(&at, a);
			v[1] = leaf(&at, b);
			snprintf(name, sizeof(name), "axpy %s %s", shape_name(a), shape_name(b));
			check_derivatives(&at.tape, tape_axpy(&at.tape, v[0], (real) -0.7, v[1]), v, 2, &at.rng, 2, name);
			case_end(&at);

			case_begin(&at, SEED);
			v[0] = leaf(&at, a);
			v[1] = leaf(&at, b);
			snprintf(name, sizeof(name), "multiply %s %s", shape_name(a), shape_name(b));
			check_derivatives(&at.tape, tape_multiply(&at.tape, v[0], v[1]), v, 2, &at.rng, 2, name);
			case_end(&at);
		}
}

static void
test_one_operand(void)
{
	char		name[100];
	Case		at;
	Var			v;

	for (int i = 0; i < 8; i++)
	{
		case_begin(&at, SEED);
		v = leaf(&at, shape(T, R, C));
		snprintf(name, sizeof(name), "sum to %s", shape_name(masked(i)));
		check_derivatives(&at.tape, tape_sum(&at.tape, v, masked(i)), &v, 1, &at.rng, 2, name);
		case_end(&at);

		case_begin(&at, SEED);
		v = leaf(&at, masked(i));
		snprintf(name, sizeof(name), "expand from %s", shape_name(masked(i)));
		check_derivatives(&at.tape, tape_expand(&at.tape, v, shape(T, R, C)), &v, 1, &at.rng, 2, name);
		case_end(&at);
	}

	case_begin(&at, SEED);
	v = leaf(&at, shape(T, R, C));
	check_derivatives(&at.tape, tape_scale(&at.tape, v, (real) 1.7, (real) 0.3), &v, 1, &at.rng, 2, "scale");
	case_end(&at);

	case_begin(&at, SEED);
	v = leaf(&at, shape(T, R, C));
	check_derivatives(&at.tape, tape_transpose(&at.tape, v), &v, 1, &at.rng, 2, "transpose");
	case_end(&at);

	case_begin(&at, SEED);
	v = leaf(&at, shape(T, R, C));
	check_derivatives(&at.tape, tape_reshape(&at.tape, v, 2, 6), &v, 1, &at.rng, 2, "reshape");
	case_end(&at);

	case_begin(&at, SEED);
	v = leaf(&at, shape(T, R, C));
	/* so far apart that differences leave the same one the least */
	for (int i = 0; i < T * R * C; i++)
		tape_data(&at.tape, v)[i] = i * 5 % (T * R * C);
	check_derivatives(&at.tape, tape_multiply(&at.tape, v, tape_least(&at.tape, v)), &v, 1, &at.rng, 2, "least");
	case_end(&at);
}

static void
test_columns(void)
{
	static const struct
	{
		const char *name;
		int			from,
					width,
					to,
					cols;
	}			cases[] = {
		{"columns: all of them", 0, 4, 0, 4},
		{"columns: a slice", 1, 2, 0, 2},
		{"columns: padding", 0, 4, 3, 9},
		{"columns: a slice moved", 2, 2, 1, 5},
		{"columns: one", 3, 1, 0, 1},
	};

	for (int i = 0; i < 5; i++)
	{
		Case		at;
		Var			v;
		Var			y;
		bool		placed = true;

		case_begin(&at, SEED);
		v = leaf(&at, shape(T, R, C));
		y = tape_columns(&at.tape, v, cases[i].from, cases[i].width, cases[i].to, cases[i].cols);
		check_derivatives(&at.tape, y, &v, 1, &at.rng, 2, cases[i].name);
		for (int r = 0; r < T * R; r++)
			for (int c = 0; c < cases[i].cols; c++)
			{
				int			source = c - cases[i].to + cases[i].from;
				bool		inside = c >= cases[i].to && c < cases[i].to + cases[i].width;

				placed = placed && tape_data(&at.tape, y)[r * cases[i].cols + c] ==
					(inside ? tape_data(&at.tape, v)[r * C + source] : 0);
			}
		ok(placed, "%s: values", cases[i].name);
		case_end(&at);
	}
}

/* Largest difference of op(a) op(b) + c from its definition. */
static double
product_error(const Tape *tape, Var y, Var a, bool transpose_a, Var b, bool transpose_b, Var c, bool summed)
{
	Shape		sa = tape_shape(tape, a);
	Shape		sb = tape_shape(tape, b);
	Shape		sy = tape_shape(tape, y);
	Shape		sc = tape_shape(tape, c);
	int			k = transpose_a ? sa.rows : sa.cols;
	int			tasks = sa.tasks > sb.tasks ? sa.tasks : sb.tasks;
	double		worst = 0;

	if (!summed)
		tasks = sy.tasks;
	for (int t = 0; t < sy.tasks; t++)
		for (int r = 0; r < sy.rows; r++)
			for (int m = 0; m < sy.cols; m++)
			{
				double		sum = 0;

				for (int u = summed ? 0 : t; u < (summed ? tasks : t + 1); u++)
					for (int i = 0; i < k; i++)
					{
						const real *pa = tape_data(tape, a) + (sa.tasks == 1 ? 0 : u) * sa.rows * sa.cols;
						const real *pb = tape_data(tape, b) + (sb.tasks == 1 ? 0 : u) * sb.rows * sb.cols;

						sum += (double) (transpose_a ? pa[i * sa.cols + r] : pa[r * sa.cols + i]) *
							(transpose_b ? pb[m * sb.cols + i] : pb[i * sb.cols + m]);
					}
				if (c != TAPE_NONE)
					sum += tape_data(tape, c)[((sc.tasks == 1 ? 0 : t) * sc.rows + (sc.rows == 1 ? 0 : r)) * sc.cols +
											  (sc.cols == 1 ? 0 : m)];
				worst = fmax(worst, fabs(sum - tape_data(tape, y)[(t * sy.rows + r) * sy.cols + m]));
			}
	return worst;
}

#define PRODUCT_TOLERANCE (sizeof(real) == 8 ? 1e-14 : 1e-5)

static void
test_products(void)
{
	char		name[100];
	const int	n = 3;
	const int	k = 4;
	const int	m = 2;

	for (int variant = 0; variant < 16; variant++)
	{
		bool		ta = variant & 1;
		bool		tb = variant & 2;
		int			tasks_a = variant & 4 ? T : 1;
		int			tasks_b = variant & 8 ? T : 1;
		Shape		a = ta ? shape(tasks_a, k, n) : shape(tasks_a, n, k);
		Shape		b = tb ? shape(tasks_b, m, k) : shape(tasks_b, k, m);
		Case		at;
		Var			v[3];
		Var			y;

		/* the added term: none, then every way of repeating it */
		for (int added = -1; added < 8; added++)
		{
			int			n_vars = 2;

			case_begin(&at, SEED);
			v[0] = leaf(&at, a);
			v[1] = leaf(&at, b);
			v[2] = TAPE_NONE;
			if (added >= 0)
			{
				v[2] = leaf(&at, shape(added & 4 ? T : 1, added & 2 ? n : 1, added & 1 ? m : 1));
				n_vars = 3;
			}
			y = tape_affine(&at.tape, v[0], ta, v[1], tb, v[2]);
			snprintf(name, sizeof(name), "affine %s%s %s%s + %s", shape_name(a), ta ? "'" : "",
					 shape_name(b), tb ? "'" : "", added < 0 ? "nothing" : shape_name(tape_shape(&at.tape, v[2])));
			check_derivatives(&at.tape, y, v, n_vars, &at.rng, 2, name);
			is_close(product_error(&at.tape, y, v[0], ta, v[1], tb, v[2], false), 0, PRODUCT_TOLERANCE, "%s: values", name);
			case_end(&at);
		}

		case_begin(&at, SEED);
		v[0] = leaf(&at, a);
		v[1] = leaf(&at, b);
		y = tape_matmul_sum(&at.tape, v[0], ta, v[1], tb);
		snprintf(name, sizeof(name), "matmul_sum %s%s %s%s", shape_name(a), ta ? "'" : "", shape_name(b), tb ? "'" : "");
		check_derivatives(&at.tape, y, v, 2, &at.rng, 2, name);
		is_close(product_error(&at.tape, y, v[0], ta, v[1], tb, TAPE_NONE, true), 0, PRODUCT_TOLERANCE, "%s: values", name);
		case_end(&at);
	}
}

static void
test_gather(void)
{
	static const int32_t codes[T * R * 2] = {0, 4, 1, 4, 1, 0, 3, 2, 3, 1, 3, 4};

	for (int tables = 1; tables <= T; tables++)
		for (int col = 0; col < 2; col++)
		{
			Case		at;
			Var			table;
			Var			index;
			Var			y;
			char		name[60];
			bool		found = true;

			case_begin(&at, SEED);
			table = leaf(&at, shape(tables, 5, C));
			index = tape_index(&at.tape, shape(T, R, 2));
			memcpy(tape_index_data(&at.tape, index), codes, sizeof(codes));
			y = tape_gather(&at.tape, table, index, col);
			snprintf(name, sizeof(name), "gather, %d table(s), column %d", tables, col);
			check_derivatives(&at.tape, y, &table, 1, &at.rng, 2, name);
			for (int r = 0; r < T * R; r++)
			{
				int			t = tables == 1 ? 0 : r / R;

				for (int c = 0; c < C; c++)
					found = found && tape_data(&at.tape, y)[r * C + c] ==
						tape_data(&at.tape, table)[(t * 5 + codes[r * 2 + col]) * C + c];
			}
			ok(found, "%s: values", name);

			/* Codes that a table does not have are unknown: row 0. */
			tape_index_data(&at.tape, index)[col] = 5;
			tape_index_data(&at.tape, index)[2 + col] = -1;
			tape_index_data(&at.tape, index)[4 + col] = INT32_MAX;
			tape_run(&at.tape);
			found = true;
			for (int r = 0; r < 3; r++)
				found = found && tape_data(&at.tape, y)[r * C] == tape_data(&at.tape, table)[0];
			ok(found, "%s: codes out of range are unknown", name);
			case_end(&at);
		}
}

static void
test_solve(void)
{
	for (int tasks = 1; tasks <= T; tasks++)
		for (int m = 1; m <= 2; m++)
		{
			Case		at;
			Var			v[2];
			Var			identity;
			Var			a;
			Var			y;
			char		name[60];
			double		worst = 0;

			/* a = v v^T + 1 is symmetric and stays so */
			case_begin(&at, SEED);
			v[0] = leaf(&at, shape(tasks, R, R));
			v[1] = leaf(&at, shape(tasks, R, m));
			identity = tape_leaf(&at.tape, shape(1, R, R), NULL);
			for (int i = 0; i < R; i++)
				tape_data(&at.tape, identity)[i * R + i] = 1;
			a = tape_affine(&at.tape, v[0], false, v[0], true, identity);
			y = tape_solve(&at.tape, a, v[1]);
			snprintf(name, sizeof(name), "solve, %d task(s), %d column(s)", tasks, m);
			check_derivatives(&at.tape, y, v, 2, &at.rng, 2, name);
			case_end(&at);

			case_begin(&at, SEED);
			v[0] = leaf(&at, shape(tasks, R, R));
			v[1] = leaf(&at, shape(tasks, R, m));
			identity = tape_leaf(&at.tape, shape(1, R, R), NULL);
			for (int i = 0; i < R; i++)
				tape_data(&at.tape, identity)[i * R + i] = 1;
			a = tape_affine(&at.tape, v[0], false, v[0], true, identity);
			y = tape_affine(&at.tape, a, false, tape_solve(&at.tape, a, v[1]), false, TAPE_NONE);
			tape_run(&at.tape);
			for (int i = 0; i < tasks * R * m; i++)
				worst = fmax(worst, fabs((double) tape_data(&at.tape, y)[i] - (double) tape_data(&at.tape, v[1])[i]));
			is_close(worst, 0, PRODUCT_TOLERANCE * 10, "%s: a times the solution is b", name);
			case_end(&at);
		}

	/* A system without a solution spoils its own task only. */
	{
		Case		at;
		Var			a;
		Var			b;
		Var			y;

		case_begin(&at, SEED);
		a = tape_leaf(&at.tape, shape(2, 2, 2), NULL);
		b = leaf(&at, shape(2, 2, 1));
		y = tape_solve(&at.tape, a, b);
		tape_data(&at.tape, a)[0] = -1;
		tape_data(&at.tape, a)[3] = 1;
		tape_data(&at.tape, a)[4] = tape_data(&at.tape, a)[7] = 2;
		tape_run(&at.tape);
		ok(isnan(tape_data(&at.tape, y)[0]) && isnan(tape_data(&at.tape, y)[1]),
		   "solve: not positive definite gives NaN");
		is_close(tape_data(&at.tape, y)[2] * 2, tape_data(&at.tape, b)[2], PRODUCT_TOLERANCE, "solve: and leaves the other task alone");

		/* singular: any of many solutions, here the one without a part along (1, -1) */
		for (int i = 0; i < 4; i++)
			tape_data(&at.tape, a)[i] = 3;
		tape_data(&at.tape, b)[0] = tape_data(&at.tape, b)[1] = 6;
		tape_run(&at.tape);
		is_close(tape_data(&at.tape, y)[0] + tape_data(&at.tape, y)[1], 2, 1e-4, "solve: a singular system has a solution");
		case_end(&at);
	}
}

static const struct
{
	const char *name;
	UnaryKind	kind;
	bool		positive;
	double		(*function) (double);
}			unary_cases[] = {
	{"relu", UNARY_RELU, false, NULL},
	{"tanh", UNARY_TANH, false, tanh},
	{"sigmoid", UNARY_SIGMOID, false, NULL},
	{"softplus", UNARY_SOFTPLUS, false, NULL},
	{"exp", UNARY_EXP, false, exp},
	{"log", UNARY_LOG, true, log},
	{"reciprocal", UNARY_RECIPROCAL, true, NULL},
	{"sqrt", UNARY_SQRT, true, sqrt},
	{"square", UNARY_SQUARE, false, NULL},
};

static double
unary_reference(int i, double x)
{
	switch (unary_cases[i].kind)
	{
		case UNARY_RELU:
			return x > 0 ? x : 0;
		case UNARY_SIGMOID:
			return 0.5 * (1 + tanh(x / 2));
		case UNARY_SOFTPLUS:
			return x > 30 ? x : log1p(exp(x));
		case UNARY_RECIPROCAL:
			return 1 / x;
		case UNARY_SQUARE:
			return x * x;
		default:
			return unary_cases[i].function(x);
	}
}

static void
test_unary(void)
{
	char		name[100];
	Case		at;
	Var			v;
	Var			y;

	for (int i = 0; i < 9; i++)
	{
		double		worst = 0;

		for (int order = 0; order < UNARY_MAX_ORDER; order++)
		{
			case_begin(&at, SEED);
			v = (unary_cases[i].positive ? positive_leaf : leaf) (&at, shape(T, R, C));
			y = tape_unary(&at.tape, unary_cases[i].kind, order, v);
			snprintf(name, sizeof(name), "%s, order %d", unary_cases[i].name, order);

			/* The second derivative of order n needs order n + 2. */
			check_derivatives(&at.tape, y, &v, 1, &at.rng, order + 2 <= UNARY_MAX_ORDER ? 2 : 1, name);
			if (order == 0)
				for (int j = 0; j < T * R * C; j++)
					worst = fmax(worst, fabs(unary_reference(i, tape_data(&at.tape, v)[j]) - tape_data(&at.tape, y)[j]));
			case_end(&at);
		}
		is_close(worst, 0, PRODUCT_TOLERANCE, "%s: values", unary_cases[i].name);
	}

	case_begin(&at, SEED);
	v = leaf(&at, shape(1, 1, 1));
	y = tape_sum(&at.tape, tape_unary(&at.tape, UNARY_TANH, UNARY_MAX_ORDER, v), shape(1, 1, 1));
	tape_gradient(&at.tape, y, &v, 1, &y);
	ok(at.tape.fault != NULL, "a derivative beyond the highest order is a fault");
	case_end(&at);

	/* Far from 0 nothing overflows. */
	case_begin(&at, SEED);
	v = tape_leaf(&at.tape, shape(1, 1, 4), NULL);
	for (int i = 0; i < 4; i++)
		tape_data(&at.tape, v)[i] = (real[]) {-1000, -100, 100, 1000}[i];
	y = tape_unary(&at.tape, UNARY_SOFTPLUS, 0, v);
	Var			p = tape_unary(&at.tape, UNARY_SIGMOID, 0, v);
	Var			slope = tape_unary(&at.tape, UNARY_SOFTPLUS, 1, v);

	tape_run(&at.tape);
	ok(tape_data(&at.tape, y)[0] == 0 && tape_data(&at.tape, y)[3] == 1000, "softplus far from 0");
	ok(tape_data(&at.tape, p)[0] == 0 && tape_data(&at.tape, p)[1] >= 0 && tape_data(&at.tape, p)[3] == 1,
	   "sigmoid far from 0");
	ok(tape_data(&at.tape, slope)[0] == 0 && tape_data(&at.tape, slope)[3] == 1, "the slope of softplus far from 0");
	case_end(&at);
}

static void
test_rows(void)
{
	static const int widths[] = {1, 2, 5};
	Case		at;
	Var			v;
	Var			l;
	Var			p;
	char		name[60];

	for (int i = 0; i < 3; i++)
	{
		case_begin(&at, SEED);
		v = leaf(&at, shape(T, R, widths[i]));
		snprintf(name, sizeof(name), "logsumexp of %d", widths[i]);
		check_derivatives(&at.tape, tape_logsumexp(&at.tape, v), &v, 1, &at.rng, 2, name);
		case_end(&at);

		case_begin(&at, SEED);
		v = leaf(&at, shape(T, R, widths[i]));
		snprintf(name, sizeof(name), "softmax of %d", widths[i]);
		check_derivatives(&at.tape, tape_softmax(&at.tape, v), &v, 1, &at.rng, 2, name);
		case_end(&at);
	}

	case_begin(&at, SEED);
	v = tape_leaf(&at.tape, shape(1, 2, 3), NULL);
	memcpy(tape_data(&at.tape, v), ((real[]) {1000, 1000, 0, -1000, -1000, -2000}), 6 * sizeof(real));
	l = tape_logsumexp(&at.tape, v);
	p = tape_softmax(&at.tape, v);
	tape_run(&at.tape);
	is_close(tape_data(&at.tape, l)[0], 1000 + log(2), 1e-4, "logsumexp of large numbers");
	is_close(tape_data(&at.tape, l)[1], -1000 + log(2), 1e-4, "and of very negative ones");
	ok(tape_data(&at.tape, p)[0] == 0.5 && tape_data(&at.tape, p)[2] == 0 && tape_data(&at.tape, p)[4] == 0.5,
	   "softmax of both");
	case_end(&at);
}

/* The least of each row; of equal ones the first. */
static void
test_least(void)
{
	static const real rows[3][5] = {{3, 1, 2, 1, 1}, {-1, 5, -2, 0, -2}, {0, 1, 2, 3, 4}};
	static const real marks[3][5] = {{0, 1, 0, 0, 0}, {0, 0, 1, 0, 0}, {1, 0, 0, 0, 0}};
	Case		at;
	Var			v;
	Var			y;

	case_begin(&at, SEED);
	v = tape_leaf(&at.tape, shape(1, 3, 5), NULL);
	memcpy(tape_data(&at.tape, v), rows, sizeof(rows));
	y = tape_least(&at.tape, v);
	tape_run(&at.tape);
	ok(memcmp(tape_data(&at.tape, y), marks, sizeof(marks)) == 0, "the least of a row, and of equal ones the first");
	case_end(&at);
}

/* A step of an LSTM: its derivatives, and its values by definition. */
static void
test_lstm(void)
{
	static const struct
	{
		const char *name;
		int			mask;		/* of the last state; -1: none */
	}			cases[] = {{"lstm", 7}, {"lstm, one state for all tasks", 3}, {"lstm, one state for all rows", 5},
	{"lstm, one state for all", 1}, {"lstm without a state", -1}};
	const int	width = 3;

	for (int i = 0; i < 5; i++)
	{
		bool		begins = cases[i].mask < 0;
		Case		at;
		Var			v[2];
		Var			y;
		double		worst = 0;

		case_begin(&at, SEED);
		v[0] = leaf(&at, shape(T, R, 4 * width));
		v[1] = begins ? TAPE_NONE : leaf(&at, shape(cases[i].mask & 4 ? T : 1, cases[i].mask & 2 ? R : 1, 2 * width));
		y = tape_lstm(&at.tape, v[0], v[1]);
		check_derivatives(&at.tape, y, v, begins ? 1 : 2, &at.rng, 2, cases[i].name);
		for (int r = 0; r < T * R; r++)
			for (int j = 0; j < width; j++)
			{
				const real *gates = tape_data(&at.tape, v[0]) + r * 4 * width;
				int			row = (cases[i].mask & 4 ? r / R : 0) * (cases[i].mask & 2 ? R : 1) + (cases[i].mask & 2 ? r % R : 0);
				double		last = begins ? 0 : tape_data(&at.tape, v[1])[row * 2 * width + width + j];
				double		cell = last / (1 + exp(-gates[width + j])) + tanh(gates[2 * width + j]) / (1 + exp(-gates[j]));

				worst = fmax(worst, fabs(tape_data(&at.tape, y)[(r * 2 + 1) * width + j] - cell));
				worst = fmax(worst, fabs(tape_data(&at.tape, y)[r * 2 * width + j] - tanh(cell) / (1 + exp(-gates[3 * width + j]))));
			}
		is_close(worst, 0, sizeof(real) == 8 ? 1e-14 : 1e-6, "%s: values", cases[i].name);
		case_end(&at);
	}
}

/* What tape_gradient says of nodes in special places. */
static void
test_gradient(void)
{
	Case		at;
	Var			a;
	Var			b;
	Var			y;
	Var			wrt[4];
	Var			g[4];
	real		x;

	case_begin(&at, SEED);
	a = leaf(&at, shape(1, 1, 1));
	x = tape_data(&at.tape, a)[0];
	y = tape_multiply(&at.tape, tape_detach(&at.tape, a), a);
	tape_gradient(&at.tape, y, &a, 1, g);
	tape_gradient(&at.tape, g[0], &a, 1, g + 1);
	tape_run(&at.tape);
	ok(tape_data(&at.tape, y)[0] == x * x, "detach keeps the value");
	ok(tape_data(&at.tape, g[0])[0] == x, "no gradient flows through detach");
	ok(tape_data(&at.tape, g[1])[0] == 0, "nor a second derivative");
	case_end(&at);

	/* The same variable on both sides. */
	case_begin(&at, SEED);
	a = leaf(&at, shape(T, R, R));
	check_derivatives(&at.tape, tape_multiply(&at.tape, a, a), &a, 1, &at.rng, 2, "a times a");
	case_end(&at);
	case_begin(&at, SEED);
	a = leaf(&at, shape(T, R, R));
	check_derivatives(&at.tape, tape_axpy(&at.tape, a, 2, a), &a, 1, &at.rng, 2, "a plus 2 a");
	case_end(&at);
	case_begin(&at, SEED);
	a = leaf(&at, shape(T, R, R));
	check_derivatives(&at.tape, tape_affine(&at.tape, a, true, a, false, a), &a, 1, &at.rng, 2, "a' a + a");
	case_end(&at);

	/* With respect to a node in the middle, a stranger, y itself, one twice. */
	case_begin(&at, SEED);
	a = leaf(&at, shape(1, R, 1));
	wrt[0] = tape_unary(&at.tape, UNARY_TANH, 0, a);
	wrt[1] = leaf(&at, shape(1, 2, 2));
	y = tape_unary(&at.tape, UNARY_SQUARE, 0, wrt[0]);
	wrt[2] = y;
	wrt[3] = wrt[0];
	tape_gradient(&at.tape, y, wrt, 4, g);
	b = leaf(&at, shape(1, 1, 1));
	tape_run(&at.tape);
	ok(at.tape.fault == NULL, "gradients with respect to any node");
	ok(tape_data(&at.tape, g[0])[1] == 2 * tape_data(&at.tape, wrt[0])[1], "one in the middle");
	ok(shape_equal(tape_shape(&at.tape, g[1]), shape(1, 2, 2)) && tape_data(&at.tape, g[1])[3] == 0,
	   "one that does not matter: zeros");
	ok(shape_equal(tape_shape(&at.tape, g[2]), shape(1, R, 1)) && tape_data(&at.tape, g[2])[2] == 1,
	   "the result itself: ones");
	ok(tape_data(&at.tape, g[3])[1] == 2 * tape_data(&at.tape, wrt[0])[1], "one that was asked for twice");
	tape_gradient(&at.tape, y, &b, 1, g);
	tape_run(&at.tape);
	ok(at.tape.fault == NULL && tape_data(&at.tape, g[0])[0] == 0, "one that is younger than the result: zero");
	case_end(&at);

	/* An inner step and the derivative through it: y = (a - s 2a)^2. */
	case_begin(&at, SEED);
	a = leaf(&at, shape(1, 1, 1));
	x = tape_data(&at.tape, a)[0];
	tape_gradient(&at.tape, tape_unary(&at.tape, UNARY_SQUARE, 0, a), &a, 1, g);
	y = tape_unary(&at.tape, UNARY_SQUARE, 0, tape_axpy(&at.tape, a, (real) -0.25, g[0]));
	tape_gradient(&at.tape, y, &a, 1, g + 1);
	tape_run(&at.tape);
	ok(tape_data(&at.tape, g[1])[0] == x / 2, "through an inner step, exactly");
	case_end(&at);

	/* No rows at all. */
	case_begin(&at, SEED);
	a = leaf(&at, shape(1, C, 2));
	b = tape_leaf(&at.tape, shape(T, 0, C), NULL);
	y = tape_affine(&at.tape, b, false, a, false, TAPE_NONE);
	y = tape_sum(&at.tape, tape_logsumexp(&at.tape, tape_unary(&at.tape, UNARY_TANH, 0, y)), shape(T, 1, 1));
	tape_gradient(&at.tape, y, &a, 1, g);
	tape_run(&at.tape);
	ok(at.tape.fault == NULL && tape_data(&at.tape, y)[T - 1] == 0 && tape_data(&at.tape, g[0])[0] == 0,
	   "no rows have sum 0 and gradient 0");
	case_end(&at);
}

/* A small second-order computation, to run again and again. */
static Var
build_program(Case *at, Var *a)
{
	Var			b;
	Var			y;
	Var			g[2] = {TAPE_NONE, TAPE_NONE};

	*a = leaf(at, shape(1, C, 2));
	b = leaf(at, shape(T, R, C));
	y = tape_softmax(&at->tape, tape_affine(&at->tape, b, false, *a, false, TAPE_NONE));
	y = tape_sum(&at->tape, tape_unary(&at->tape, UNARY_LOG, 0, y), shape(1, 1, 1));
	tape_gradient(&at->tape, y, a, 1, g);
	tape_gradient(&at->tape, tape_multiply(&at->tape, g[0], g[0]), a, 1, g + 1);
	return g[1];
}

static int	interrupts;

static void
count_interrupt(void)
{
	interrupts++;
}

static void
test_replay(void)
{
	Case		at;
	Var			a;
	Var			y;
	real		first[C * 2];
	real		mine[3] = {1, 2, 3};
	size_t		total;

	case_begin(&at, SEED);
	y = build_program(&at, &a);
	tape_run(&at.tape);
	memcpy(first, tape_data(&at.tape, y), sizeof(first));
	total = at.arena.total;
	tape_run(&at.tape);
	ok(memcmp(first, tape_data(&at.tape, y), sizeof(first)) == 0, "a replay gives the same bits");
	tape_data(&at.tape, a)[0] += 1;
	tape_run(&at.tape);
	ok(memcmp(first, tape_data(&at.tape, y), sizeof(first)) != 0, "other numbers give others");
	ok(at.arena.total == total, "nothing is allocated in a run");
	interrupts = 0;
	at.tape.interrupt = count_interrupt;
	tape_run(&at.tape);
	ok(interrupts > 3, "interrupts are served");
	case_end(&at);

	case_begin(&at, SEED);
	a = tape_leaf(&at.tape, shape(1, 1, 3), mine);
	y = tape_scale(&at.tape, a, 2, 1);
	ok(tape_data(&at.tape, a) == mine, "a leaf reads the caller's memory");
	mine[1] = 5;
	tape_run(&at.tape);
	ok(tape_data(&at.tape, y)[1] == 11, "where it stands when the tape runs");
	case_end(&at);
}

/* A fault is remembered, and everything after it is harmless. */
static void
expect_fault(Case *at, Var v, const char *name)
{
	Var			a[1];
	Var			g[1];
	Tape	   *tape = &at->tape;

	ok(v == TAPE_NONE && tape->fault != NULL, "fault: %s", name);
	a[0] = tape_leaf(tape, shape(1, 1, 1), NULL);
	tape_gradient(tape, v, a, 1, g);
	tape_run(tape);
	ok(a[0] == TAPE_NONE && g[0] == TAPE_NONE &&
	   tape_index(tape, shape(1, 1, 1)) == TAPE_NONE && tape_constant(tape, 1) == TAPE_NONE &&
	   tape_affine(tape, v, false, v, false, v) == TAPE_NONE && tape_matmul_sum(tape, v, false, v, false) == TAPE_NONE &&
	   tape_axpy(tape, v, 1, v) == TAPE_NONE && tape_scale(tape, v, 1, 1) == TAPE_NONE &&
	   tape_multiply(tape, v, v) == TAPE_NONE && tape_sum(tape, v, shape(1, 1, 1)) == TAPE_NONE &&
	   tape_expand(tape, v, shape(1, 1, 1)) == TAPE_NONE && tape_columns(tape, v, 0, 1, 0, 1) == TAPE_NONE &&
	   tape_transpose(tape, v) == TAPE_NONE && tape_gather(tape, v, v, 0) == TAPE_NONE &&
	   tape_solve(tape, v, v) == TAPE_NONE && tape_unary(tape, UNARY_EXP, 0, v) == TAPE_NONE &&
	   tape_logsumexp(tape, v) == TAPE_NONE && tape_softmax(tape, v) == TAPE_NONE &&
	   tape_detach(tape, v) == TAPE_NONE, "fault: %s: from then on every call gives no node", name);
	case_end(at);
}

static void
test_faults(void)
{
	const int	huge = 1 << 30;
	real		one = 1;		/* stands for more than there is; never read */
	Case		at;
	Var			a;
	Var			b;
	Var			i;

#define FAULT(name, call) \
	do { \
		case_begin(&at, SEED); \
		a = leaf(&at, shape(T, R, C)); \
		b = leaf(&at, shape(3, 5, 2)); \
		i = tape_index(&at.tape, shape(T, R, 1)); \
		(void) b; \
		(void) i; \
		expect_fault(&at, (call), name); \
	} while (0)

	FAULT("axpy of shapes that do not fit", tape_axpy(&at.tape, a, 1, b));
	FAULT("multiply of shapes that do not fit", tape_multiply(&at.tape, a, b));
	FAULT("a product of shapes that do not fit", tape_affine(&at.tape, a, false, a, false, TAPE_NONE));
	FAULT("a product of tasks that do not fit", tape_affine(&at.tape, a, true, leaf(&at, shape(3, R, 1)), false, TAPE_NONE));
	FAULT("an added term that does not fit", tape_affine(&at.tape, a, false, a, true, b));
	FAULT("an added term larger than the product",
		  tape_affine(&at.tape, leaf(&at, shape(1, 1, C)), false, leaf(&at, shape(1, C, 1)), false, leaf(&at, shape(1, 2, 1))));
	FAULT("a summed product that does not fit", tape_matmul_sum(&at.tape, a, false, b, false));
	FAULT("a sum to another shape", tape_sum(&at.tape, a, shape(1, 2, 1)));
	FAULT("an expansion of what is not 1", tape_expand(&at.tape, a, shape(T, R, 2 * C)));
	FAULT("a reshape to another size", tape_reshape(&at.tape, a, 5, 2));
	FAULT("a reshape to less than nothing", tape_reshape(&at.tape, a, -R, -C));
	FAULT("gates that are not four", tape_lstm(&at.tape, b, TAPE_NONE));
	FAULT("a state that does not fit its gates", tape_lstm(&at.tape, a, a));
	FAULT("columns that are not there", tape_columns(&at.tape, a, 3, 2, 0, 4));
	FAULT("columns placed outside", tape_columns(&at.tape, a, 0, 2, 3, 4));
	FAULT("columns before the first", tape_columns(&at.tape, a, -1, 2, 0, 4));
	FAULT("columns whose end overflows", tape_columns(&at.tape, a, 1, INT32_MAX, 0, 4));
	FAULT("a gather without an index", tape_gather(&at.tape, a, b, 0));
	FAULT("a gather by a column that is not there", tape_gather(&at.tape, a, i, 1));
	FAULT("a gather from other tasks' tables", tape_gather(&at.tape, b, i, 0));
	FAULT("a system that is not square", tape_solve(&at.tape, a, a));
	FAULT("no derivative of order -1", tape_unary(&at.tape, UNARY_EXP, -1, a));
	FAULT("no derivative of order 5", tape_unary(&at.tape, UNARY_EXP, 5, a));
	FAULT("a leaf larger than any memory", tape_leaf(&at.tape, shape(huge, huge, huge), NULL));
	FAULT("a leaf of negative size", tape_leaf(&at.tape, shape(-1, 1, 1), NULL));
	FAULT("an index larger than any memory", tape_index(&at.tape, shape(huge, huge, huge)));
	FAULT("a leaf larger than the limit", tape_leaf(&at.tape, shape(1 << 15, 1 << 15, 1), NULL));
	FAULT("an expansion larger than the limit",
		  tape_expand(&at.tape, tape_constant(&at.tape, 1), shape(huge, huge, huge)));
	FAULT("an outer product larger than any memory",
		  tape_axpy(&at.tape, tape_leaf(&at.tape, shape(huge, 1, 1), &one), 1,
					tape_leaf(&at.tape, shape(1, huge, huge), &one)));

	/* No node as an operand. */
	FAULT("scale of no node", tape_scale(&at.tape, TAPE_NONE, 1, 0));
	FAULT("unary of no node", tape_unary(&at.tape, UNARY_EXP, 0, TAPE_NONE));
	FAULT("transpose of no node", tape_transpose(&at.tape, TAPE_NONE));
	FAULT("reshape of no node", tape_reshape(&at.tape, TAPE_NONE, 0, 0));
	FAULT("lstm of no node", tape_lstm(&at.tape, TAPE_NONE, TAPE_NONE));
	FAULT("least of no node", tape_least(&at.tape, TAPE_NONE));
	FAULT("logsumexp of no node", tape_logsumexp(&at.tape, TAPE_NONE));
	FAULT("softmax of no node", tape_softmax(&at.tape, TAPE_NONE));
	FAULT("detach of no node", tape_detach(&at.tape, TAPE_NONE));
	FAULT("sum of no node", tape_sum(&at.tape, TAPE_NONE, shape(1, 1, 1)));
	FAULT("expand of no node", tape_expand(&at.tape, TAPE_NONE, shape(0, 1, 1)));
	FAULT("expand of no node to nothing", tape_expand(&at.tape, TAPE_NONE, shape(0, 0, 0)));
	FAULT("columns of no node", tape_columns(&at.tape, TAPE_NONE, 0, 0, 0, 1));
	FAULT("gather from no node", tape_gather(&at.tape, TAPE_NONE, i, 0));
	FAULT("solve of no node", tape_solve(&at.tape, TAPE_NONE, TAPE_NONE));
	FAULT("product of no nodes", tape_affine(&at.tape, TAPE_NONE, false, TAPE_NONE, false, TAPE_NONE));
	FAULT("summed product of no nodes", tape_matmul_sum(&at.tape, TAPE_NONE, false, TAPE_NONE, false));

	case_begin(&at, SEED);
	a = leaf(&at, shape(1, 1, 1));
	b = TAPE_NONE;
	tape_gradient(&at.tape, a, &b, 1, &i);
	expect_fault(&at, i, "gradient with respect to no node");
}

/* At whatever request the memory ends, building reports it and running is harmless. */
static void
test_full_arena(void)
{
	size_t		needed;
	int			refused = 0;
	int			built = 0;
	bool		consistent = true;
	Case		at;
	Var			a;

	case_begin(&at, SEED);
	build_program(&at, &a);
	needed = at.arena.total;
	case_end(&at);

	for (size_t limit = 0; limit <= needed; limit += 64)
	{
		memset(&at, 0, sizeof(at));
		arena_init(&at.arena, heap_grow, &at.heap, limit);
		tape_init(&at.tape, &at.arena);
		at.rng = rng_stream(11, RNG_SAMPLE, 0, 0);
		if (build_program(&at, &a) == TAPE_NONE)
			refused++;
		else
			built++;
		consistent = consistent && (at.tape.fault != NULL) == at.arena.full;
		tape_run(&at.tape);
		case_end(&at);
	}
	ok(consistent, "a tape has a fault where its memory ended, and only there");
	ok(refused > 10 && built > 0, "memory ended early %d times, late enough %d times", refused, built);
}

int
main(void)
{
	test_elementwise();
	test_one_operand();
	test_columns();
	test_products();
	test_gather();
	test_solve();
	test_unary();
	test_rows();
	test_least();
	test_lstm();
	test_gradient();
	test_replay();
	test_faults();
	test_full_arena();
	return tap_done();
}
