/*
 * test_images.c
 *	  Convolution, pooling and batch normalisation: values by their
 *	  definitions, first and second derivatives by finite differences.
 */
#include "check.h"

#include "nn/convolution.h"

#define T 2						/* tasks */

/* Of the numbers in a case. */
#define SEED 23

#define VALUE_TOLERANCE (sizeof(real) == 8 ? 1e-12 : 1e-4)

/* ---- convolution ---- */

static double
pixel(const real *image, Plane p, int y, int x, int c)
{
	return y < 0 || y >= p.height || x < 0 || x >= p.width ? 0 : image[(y * p.width + x) * p.channels + c];
}

/* Largest difference from the sum that convolution is. */
static double
convolution_error(const Tape *tape, Var y, Var x, Plane p, int stride, Var w, int images)
{
	Shape		sx = tape_shape(tape, x);
	Shape		sw = tape_shape(tape, w);
	Plane		out = plane_convolved(p, stride, sw.cols);
	double		worst = 0;
	const real *at = tape_data(tape, y);

	for (int t = 0; t < tape_shape(tape, y).tasks; t++)
		for (int m = 0; m < images; m++)
		{
			const real *image = tape_data(tape, x) + ((sx.tasks == 1 ? 0 : t) * images + m) * p.height * p.width * p.channels;
			const real *filters = tape_data(tape, w) + (sw.tasks == 1 ? 0 : t) * sw.rows * sw.cols;

			for (int i = 0; i < out.height; i++)
				for (int j = 0; j < out.width; j++)
					for (int f = 0; f < sw.cols; f++)
					{
						double		sum = 0;

						for (int k = 0; k < 3; k++)
							for (int l = 0; l < 3; l++)
								for (int c = 0; c < p.channels; c++)
									sum += pixel(image, p, stride * i + k - 1, stride * j + l - 1, c) *
										filters[((k * 3 + l) * p.channels + c) * sw.cols + f];
						worst = fmax(worst, fabs(sum - *at++));
					}
		}
	return worst;
}

static void
test_convolution(void)
{
	static const Plane planes[] = {{5, 4, 2}, {4, 6, 1}, {1, 1, 3}, {2, 3, 5}, {2, 3, 16}};
	static const int filters[] = {3, 3, 3, 3, 16};
	char		name[100];

	for (int i = 0; i < 5; i++)
		for (int variant = 0; variant < 8; variant++)
		{
			Plane		p = planes[i];
			int			stride = variant & 1 ? 2 : 1;
			int			tasks_x = variant & 2 ? T : 1;
			int			tasks_w = variant & 4 ? T : 1;
			int			images = 2;
			Case		at;
			Var			v[2];
			Var			y;

			case_begin(&at, SEED);
			v[0] = leaf(&at, shape(tasks_x, images * p.height * p.width, p.channels));
			v[1] = leaf(&at, shape(tasks_w, 9 * p.channels, filters[i]));
			y = tape_convolve(&at.tape, v[0], p, stride, v[1]);
			snprintf(name, sizeof(name), "convolve %dx%dx%d, stride %d, tasks %d and %d", p.height, p.width, p.channels,
					 stride, tasks_x, tasks_w);
			check_derivatives(&at.tape, y, v, 2, &at.rng, 2, name);
			is_close(convolution_error(&at.tape, y, v[0], p, stride, v[1], images), 0, VALUE_TOLERANCE, "%s: values", name);
			case_end(&at);
		}
}

/* More images than are laid out at a time, and images as rows. */
static void
test_many_images(void)
{
	Plane		p = {9, 9, 16};
	int			images = 150;
	Case		at;
	Var			x;
	Var			w;
	Var			y;
	Var			g;
	double		error = 0;

	case_begin(&at, SEED);
	x = leaf(&at, shape(1, images, p.height * p.width * p.channels));
	w = leaf(&at, shape(1, 9 * p.channels, 8));
	y = tape_convolve(&at.tape, x, p, 2, w);
	tape_gradient(&at.tape, tape_unary(&at.tape, UNARY_SQUARE, 0, y), &w, 1, &g);
	tape_run(&at.tape);
	is_close(convolution_error(&at.tape, y, x, p, 2, w, images), 0, sizeof(real) == 8 ? 1e-12 : 1e-3, "convolve: many images");

	/* the gradient of sum y^2 is 2 filters(x, y); one of its numbers by the definition */
	for (int m = 0; m < images; m++)
		for (int i = 0; i < 5; i++)
			for (int j = 0; j < 5; j++)
				error += 2 * tape_data(&at.tape, y)[((m * 5 + i) * 5 + j) * 8 + 3] *
					pixel(tape_data(&at.tape, x) + m * 9 * 9 * 16, p, 2 * i + 1, 2 * j - 1, 7);
	/* row (k, l, c) = (2, 0, 7) */
	is_close((tape_data(&at.tape, g)[((2 * 3 + 0) * 16 + 7) * 8 + 3] - error) / fabs(error), 0,
			 sizeof(real) == 8 ? 1e-11 : 1e-4, "convolve: gradient over many images");
	case_end(&at);
}

static real *
random_numbers(Arena *arena, size_t n, Rng *rng)
{
	real	   *numbers = arena_alloc(arena, n, sizeof(real));

	for (size_t i = 0; i < n; i++)
		numbers[i] = 2 * rng_uniform(rng) - 1;
	return numbers;
}

static double
largest_difference(size_t n, const real *a, const real *b)
{
	double		worst = 0;

	for (size_t i = 0; i < n; i++)
		worst = fmax(worst, fabs(a[i] - b[i]));
	return worst;
}

/* Both ways to compute a convolution and its gradients, also of more images than at a time. */
static void
test_methods(void)
{
	static const struct
	{
		Plane		in;
		int			filters;
		int			images;
	}			cases[] = {{{5, 4, 16}, 32, 3}, {{2, 3, 32}, 16, 2}, {{3, 3, 16}, 16, 1}, {{14, 14, 32}, 16, 20}};

	for (int i = 0; i < 4; i++)
	{
		int			n = cases[i].images;
		Convolution c = {cases[i].in, plane_convolved(cases[i].in, 1, cases[i].filters), 1, NULL};
		size_t		size_x = n * plane_size(c.in);
		size_t		size_y = n * plane_size(c.out);
		size_t		size_w = (size_t) 9 * c.in.channels * c.out.channels;
		const ConvolutionMethod *methods[2] = {&convolution_by_patches, &convolution_by_winograd};
		real	   *results[2][3];
		Case		at;
		real	   *x,
				   *w,
				   *g;
		char		name[100];

		case_begin(&at, SEED);
		x = random_numbers(&at.arena, size_x, &at.rng);
		w = random_numbers(&at.arena, size_w, &at.rng);
		g = random_numbers(&at.arena, size_y, &at.rng);
		for (int k = 0; k < 2; k++)
		{
			real	   *scratch = malloc(methods[k]->scratch(&c) * sizeof(real));

			results[k][0] = random_numbers(&at.arena, size_y, &at.rng);
			results[k][1] = random_numbers(&at.arena, size_x, &at.rng);
			results[k][2] = arena_alloc(&at.arena, size_w, sizeof(real));
			memcpy(results[k][2], w, size_w * sizeof(real));
			methods[k]->images(&c, n, x, w, results[k][0], scratch);
			methods[k]->input(&c, n, g, w, results[k][1], scratch);
			methods[k]->filters(&c, n, x, g, results[k][2], scratch);
			free(scratch);
		}
		snprintf(name, sizeof(name), "%d images %dx%dx%d, %d filters", n, c.in.height, c.in.width, c.in.channels, cases[i].filters);
		ok(convolution_method(&c) == &convolution_by_winograd, "%s: Winograd's form", name);
		is_close(largest_difference(size_y, results[0][0], results[1][0]), 0, 10 * VALUE_TOLERANCE, "%s: values", name);
		is_close(largest_difference(size_x, results[0][1], results[1][1]), 0, 10 * VALUE_TOLERANCE, "%s: gradient of images", name);
		is_close(largest_difference(size_w, results[0][2], results[1][2]), 0, 10 * VALUE_TOLERANCE, "%s: gradient of filters", name);
		case_end(&at);
	}
}

/* ---- pooling ---- */

static void
test_pooling(void)
{
	static const Plane planes[] = {{4, 4, 2}, {5, 3, 3}, {2, 2, 1}};
	char		name[100];

	for (int i = 0; i < 3; i++)
	{
		Plane		p = planes[i];
		Plane		out = plane_pooled(p);
		Case		at;
		Var			v;
		Var			y;
		bool		right = true;

		case_begin(&at, SEED);
		v = tape_leaf(&at.tape, shape(T, 3 * p.height * p.width, p.channels), NULL);
		/* no two near each other, where the largest would change */
		for (size_t j = 0; j < shape_size(tape_shape(&at.tape, v)); j++)
			tape_data(&at.tape, v)[j] = (j * 37 % 101) / 50.0 - 1;
		y = tape_pool(&at.tape, v, p);
		snprintf(name, sizeof(name), "pool %dx%dx%d", p.height, p.width, p.channels);
		check_derivatives(&at.tape, y, &v, 1, &at.rng, 2, name);
		for (int m = 0; m < T * 3; m++)
			for (int r = 0; r < out.height; r++)
				for (int j = 0; j < out.width; j++)
					for (int c = 0; c < p.channels; c++)
					{
						const real *image = tape_data(&at.tape, v) + m * p.height * p.width * p.channels;
						double		largest = -INFINITY;

						for (int k = 0; k < 4; k++)
							largest = fmax(largest, pixel(image, p, 2 * r + k / 2, 2 * j + k % 2, c));
						right = right && tape_data(&at.tape, y)[((m * out.height + r) * out.width + j) * p.channels + c] == largest;
					}
		ok(right, "%s: values", name);
		case_end(&at);
	}
}

/* ---- normalisation ---- */

/* Pooled: the derivatives, and the numbers and gradients of one after the other. */
static void
test_normalised_and_pooled(void)
{
	static const Plane planes[] = {{4, 4, 2}, {5, 3, 3}, {2, 2, 1}};
	char		name[100];

	for (int variant = 0; variant < 12; variant++)
	{
		Plane		p = planes[variant % 3];
		bool		weighted = variant / 3 % 2;
		bool		shifted = variant / 6;
		Case		at;
		Var			v[2];
		Var			w = TAPE_NONE;
		Var			both[2];
		Var			gradients[2];
		double		worst = 0;
		double		worst_gradient = 0;

		case_begin(&at, SEED);
		v[0] = tape_leaf(&at.tape, shape(T, 3 * p.height * p.width, p.channels), NULL);
		/* no two near each other, where the largest would change */
		for (size_t j = 0; j < shape_size(tape_shape(&at.tape, v[0])); j++)
			tape_data(&at.tape, v[0])[j] = (j * 37 % 101) / 50.0 - 1;
		if (weighted)
		{
			w = tape_leaf(&at.tape, shape(T, 3, 1), NULL);
			for (int i = 0; i < T * 3; i++)
				tape_data(&at.tape, w)[i] = i % 3 == 1 ? 0 : 1 + i;
		}
		v[1] = shifted ? leaf(&at, shape(T, 1, p.channels)) : TAPE_NONE;
		snprintf(name, sizeof(name), "normalise and pool %dx%dx%d%s%s", p.height, p.width, p.channels,
				 weighted ? ", weights" : "", shifted ? ", shifts" : "");
		both[0] = tape_normalise_pooled(&at.tape, v[0], p, w, v[1]);
		both[1] = tape_pool(&at.tape, tape_normalise(&at.tape, v[0], w, v[1]), p);
		for (int i = 0; i < 2; i++)
			tape_gradient(&at.tape, tape_multiply(&at.tape, tape_unary(&at.tape, UNARY_SQUARE, 0, both[i]), tape_unary(&at.tape, UNARY_TANH, 0, both[i])),
						  &v[0], 1, &gradients[i]);
		check_derivatives(&at.tape, both[0], v, shifted ? 2 : 1, &at.rng, 2, name);
		for (size_t j = 0; j < shape_size(tape_shape(&at.tape, both[0])); j++)
			worst = fmax(worst, fabs(tape_data(&at.tape, both[0])[j] - tape_data(&at.tape, both[1])[j]));
		for (size_t j = 0; j < shape_size(tape_shape(&at.tape, v[0])); j++)
			worst_gradient = fmax(worst_gradient, fabs(tape_data(&at.tape, gradients[0])[j] - tape_data(&at.tape, gradients[1])[j]));
		is_close(worst, 0, VALUE_TOLERANCE, "%s: as one after the other", name);
		is_close(worst_gradient, 0, sizeof(real) == 8 ? 1e-11 : 1e-4, "%s: and its gradient", name);
		case_end(&at);
	}
}

static void
test_normalisation(void)
{
	char		name[100];
	const int	rows = 4;
	const int	cols = 3;

	for (int variant = 0; variant < 16; variant++)
	{
		int			space = variant & 1 ? 3 : 1;
		bool		weighted = variant & 2;
		int			shifts = variant & 8 ? T : variant & 4 ? 1 : 0;
		Case		at;
		Var			v[2];
		Var			w = TAPE_NONE;
		Var			y;
		Var			rest;
		Var			both;
		double		worst = 0;
		double		worst_moment = 0;

		if ((variant & 12) == 12)
			continue;
		case_begin(&at, SEED);
		v[0] = leaf(&at, shape(T, rows * space, cols));
		if (weighted)
		{
			w = tape_leaf(&at.tape, shape(T, rows, 1), NULL);
			for (int i = 0; i < T * rows; i++)
				tape_data(&at.tape, w)[i] = i % 3 == 1 ? 0 : 1 + i;
		}
		v[1] = shifts ? leaf(&at, shape(shifts, 1, cols)) : TAPE_NONE;
		rest = leaf(&at, shape(1, 2, cols));
		y = tape_normalise(&at.tape, v[0], w, v[1]);
		both = tape_moments(&at.tape, v[0], w, rest);
		snprintf(name, sizeof(name), "normalise, %d pixels%s, %d shifts", space, weighted ? ", weights" : "", shifts);
		check_derivatives(&at.tape, y, v, shifts ? 2 : 1, &at.rng, 2, name);
		for (int t = 0; t < T; t++)
			for (int c = 0; c < cols; c++)
			{
				const real *x = tape_data(&at.tape, v[0]) + t * rows * space * cols + c;
				double		b = shifts ? tape_data(&at.tape, v[1])[(shifts == 1 ? 0 : t) * cols + c] : 0;
				double		n = 0;
				double		mean = 0;
				double		variance = 0;

				for (int i = 0; i < rows * space; i++)
					if (!weighted || (t * rows + i / space) % 3 != 1)
					{
						n++;
						mean += x[i * cols];
					}
				mean /= n;
				for (int i = 0; i < rows * space; i++)
					if (!weighted || (t * rows + i / space) % 3 != 1)
						variance += (x[i * cols] - mean) * (x[i * cols] - mean) / n;
				for (int i = 0; i < rows * space; i++)
				{
					bool		counts = !weighted || (t * rows + i / space) % 3 != 1;
					double		expected = b + (counts ? (x[i * cols] - mean) / sqrt(variance + NORM_EPSILON) : 0);

					worst = fmax(worst, fabs(expected - tape_data(&at.tape, y)[(t * rows * space + i) * cols + c]));
				}
				worst_moment = fmax(worst_moment, fabs(mean - tape_data(&at.tape, both)[t * 2 * cols + c]));
				worst_moment = fmax(worst_moment, fabs(variance - tape_data(&at.tape, both)[t * 2 * cols + cols + c]));
			}
		is_close(worst, 0, VALUE_TOLERANCE, "%s: values", name);
		is_close(worst_moment, 0, VALUE_TOLERANCE, "%s: moments", name);
		case_end(&at);
	}
}

/* A task none of whose rows count: its shift, the moments of the rest, no gradient. */
static void
test_no_rows(void)
{
	Case		at;
	Var			x;
	Var			w;
	Var			shift;
	Var			rest;
	Var			y;
	Var			both;
	Var			pooled;
	Var			g;
	Var			g_pooled;
	bool		right = true;

	case_begin(&at, SEED);
	x = leaf(&at, shape(1, 12, 2));
	w = tape_leaf(&at.tape, shape(1, 3, 1), NULL);
	shift = leaf(&at, shape(1, 1, 2));
	rest = leaf(&at, shape(1, 2, 2));
	y = tape_normalise(&at.tape, x, w, shift);
	both = tape_moments(&at.tape, x, w, rest);
	pooled = tape_normalise_pooled(&at.tape, x, (Plane) {2, 2, 2}, w, shift);
	tape_gradient(&at.tape, tape_unary(&at.tape, UNARY_SQUARE, 0, y), &x, 1, &g);
	tape_gradient(&at.tape, tape_unary(&at.tape, UNARY_SQUARE, 0, pooled), &x, 1, &g_pooled);
	tape_run(&at.tape);
	for (int i = 0; i < 24; i++)
		right = right && tape_data(&at.tape, y)[i] == tape_data(&at.tape, shift)[i % 2] && tape_data(&at.tape, g)[i] == 0 &&
			tape_data(&at.tape, g_pooled)[i] == 0;
	for (int i = 0; i < 6; i++)
		right = right && tape_data(&at.tape, pooled)[i] == tape_data(&at.tape, shift)[i % 2];
	for (int i = 0; i < 4; i++)
		right = right && tape_data(&at.tape, both)[i] == tape_data(&at.tape, rest)[i];
	ok(right, "normalise: no rows");
	case_end(&at);
}

/* Finer than float can square: numbers far from 0. */
static void
test_far_numbers(void)
{
	Case		at;
	Var			x;
	Var			y;
	double		sum = 0;

	case_begin(&at, SEED);
	x = tape_leaf(&at.tape, shape(1, 3000, 1), NULL);
	for (int i = 0; i < 3000; i++)
		tape_data(&at.tape, x)[i] = 1000 + (i % 3 - 1);
	y = tape_normalise(&at.tape, x, TAPE_NONE, TAPE_NONE);
	tape_run(&at.tape);
	for (int i = 0; i < 3000; i++)
		sum += tape_data(&at.tape, y)[i] * tape_data(&at.tape, y)[i] / 3000;
	is_close(sum, (2.0 / 3) / (2.0 / 3 + NORM_EPSILON), 1e-5, "normalise: numbers far from 0");
	case_end(&at);
}

/* ---- a finished tape computes the same ---- */

/* Exact MAML's shape of things: a gradient step through all operations, then the gradient through it. */
static void
finished(bool finish, bool pooled, double *result)
{
	Plane		p = {6, 6, 1};
	Case		at;
	Var			x,
				w,
				filters[2],
				shift,
				rows,
				loss,
				g[2],
				out[3];
	Var			wrt[3];

	case_begin(&at, SEED);
	x = leaf(&at, shape(T, 3, 36));
	w = tape_leaf(&at.tape, shape(T, 3, 1), NULL);
	for (int i = 0; i < T * 3; i++)
		tape_data(&at.tape, w)[i] = i != 4;
	filters[0] = leaf(&at, shape(1, 9, 4));
	filters[1] = leaf(&at, shape(1, 36, 2));
	shift = leaf(&at, shape(1, 1, 4));
	wrt[0] = filters[0];
	wrt[1] = filters[1];
	wrt[2] = shift;
	filters[0] = tape_expand(&at.tape, filters[0], shape(T, 9, 4));
	filters[1] = tape_expand(&at.tape, filters[1], shape(T, 36, 2));
	for (int step = 0; step < 2; step++)
	{
		rows = tape_convolve(&at.tape, x, p, 1, filters[0]);
		rows = pooled ? tape_normalise_pooled(&at.tape, rows, plane_convolved(p, 1, 4), w, shift) :
			tape_pool(&at.tape, tape_normalise(&at.tape, rows, w, shift), plane_convolved(p, 1, 4));
		rows = tape_unary(&at.tape, UNARY_TANH, 0, rows);
		rows = tape_convolve(&at.tape, rows, (Plane) {3, 3, 4}, 2, filters[1]);
		loss = tape_unary(&at.tape, UNARY_SQUARE, 0, tape_normalise(&at.tape, rows, w, TAPE_NONE));
		loss = tape_multiply(&at.tape, tape_scale(&at.tape, rows, 1, -0.5), loss);
		if (step == 1)
			break;
		tape_gradient(&at.tape, loss, filters, 2, g);
		for (int i = 0; i < 2; i++)
			filters[i] = tape_axpy(&at.tape, filters[i], -0.05, g[i]);
	}
	tape_gradient(&at.tape, loss, wrt, 3, out);
	if (finish)
		tape_finish(&at.tape, out, 3);
	tape_run(&at.tape);
	ok(at.tape.fault == NULL, "a step through images%s%s: %s", pooled ? ", normalised as they are pooled" : "", finish ? ", finished" : "", at.tape.fault ? at.tape.fault : "built");
	for (int i = 0, n = 0; i < 3; i++)
		for (size_t j = 0; j < shape_size(tape_shape(&at.tape, wrt[i])); j++)
			result[n++] = tape_data(&at.tape, out[i])[j];
	case_end(&at);
}

static void
test_finish(void)
{
	enum
	{
		N = 36 + 72 + 4
	};
	double		plain[N];
	double		others[3][N];
	double		norm = 0;
	double		worst = 0;

	finished(false, false, plain);
	for (int k = 0; k < 3; k++)
		finished((k + 1) & 1, (k + 1) & 2, others[k]);
	for (int i = 0; i < N; i++)
	{
		norm = fmax(norm, fabs(plain[i]));
		for (int k = 0; k < 3; k++)
			worst = fmax(worst, fabs(plain[i] - others[k][i]));
	}
	ok(norm > 0 && worst <= (sizeof(real) == 8 ? 1e-12 : 1e-3) * norm, "finished or not, and normalised as they are pooled, the same (%g of %g)", worst, norm);
}

static void
test_faults(void)
{
	Case		at;

	case_begin(&at, SEED);
	tape_convolve(&at.tape, leaf(&at, shape(1, 7, 2)), (Plane) {2, 2, 2}, 1, leaf(&at, shape(1, 18, 2)));
	ok(at.tape.fault != NULL, "no whole images: %s", at.tape.fault ? at.tape.fault : "");
	case_end(&at);
	case_begin(&at, SEED);
	tape_convolve(&at.tape, leaf(&at, shape(1, 4, 2)), (Plane) {2, 2, 2}, 1, leaf(&at, shape(1, 9, 2)));
	ok(at.tape.fault != NULL, "filters of other channels: %s", at.tape.fault ? at.tape.fault : "");
	case_end(&at);
	case_begin(&at, SEED);
	tape_pool(&at.tape, leaf(&at, shape(1, 3, 2)), (Plane) {1, 3, 2});
	ok(at.tape.fault != NULL, "nothing to pool: %s", at.tape.fault ? at.tape.fault : "");
	case_end(&at);
	case_begin(&at, SEED);
	tape_normalise(&at.tape, leaf(&at, shape(1, 5, 2)), leaf(&at, shape(1, 2, 1)), TAPE_NONE);
	ok(at.tape.fault != NULL, "weights of other rows: %s", at.tape.fault ? at.tape.fault : "");
	case_end(&at);
	case_begin(&at, SEED);
	tape_normalise_pooled(&at.tape, leaf(&at, shape(1, 12, 2)), (Plane) {2, 2, 2}, leaf(&at, shape(1, 6, 1)), TAPE_NONE);
	ok(at.tape.fault != NULL, "weights of parts of images: %s", at.tape.fault ? at.tape.fault : "");
	case_end(&at);
}

int
main(void)
{
	test_convolution();
	test_many_images();
	test_methods();
	test_pooling();
	test_normalised_and_pooled();
	test_normalisation();
	test_no_rows();
	test_far_numbers();
	test_finish();
	test_faults();
	return tap_done();
}
