/*
 * test_calibration.c
 *	  Corrections that are fitted are those that were made; few tasks make none.
 */
#include "learn/calibration.h"
#include "nn/rng.h"
#include "tap.h"

#define ROWS 20000
#define WIDTH 4

/* float keeps seven digits */
#define TOLERANCE (sizeof(real) == sizeof(double) ? 1e-12 : 1e-6)

static real outputs[ROWS * WIDTH];
static real y[ROWS * WIDTH];
static real w[ROWS];
static real variances[ROWS];

static CalibrationRows
rows_of(int tasks, size_t n, int width)
{
	return (CalibrationRows)
	{
		.n = n, .tasks = tasks, .width = width, .outputs = outputs, .y = y, .w = w, .variances = variances
	};
}

/* Outcomes whose true logit is slope z + offset, where z is what is claimed. */
static void
make_binary(double slope, double offset)
{
	Rng			rng = rng_stream(3, RNG_SAMPLE, 0, 0);

	for (int i = 0; i < ROWS; i++)
	{
		outputs[i] = 2 * rng_normal(&rng);
		y[i] = rng_uniform(&rng) < 1 / (1 + exp(-(slope * outputs[i] + offset)));
		w[i] = 1;
	}
}

static void
test_binary(void)
{
	CalibrationRows rows;
	Correction	c;
	Correction	few;
	Correction	twice;
	double		gradient[2] = {0, 0};

	make_binary(0.5, 0.7);
	rows = rows_of(10000000, ROWS, 1);
	c = calibration_fit(LOSS_LOGISTIC, &rows);
	is_close(c.slope, 0.5, 0.02, "the slope of logits that are twice too sure");
	is_close(c.offset, 0.7, 0.05, "the offset of what is true more often than they say");
	is_close(c.variance, 1, 0, "a binary target has no variance to correct");

	/* where there are ever so many tasks, the likelihood has no slope at its maximum */
	for (int i = 0; i < ROWS; i++)
	{
		double		p = 1 / (1 + exp(-((double) c.slope * outputs[i] + c.offset)));

		gradient[0] += (p - y[i]) * outputs[i] / ROWS;
		gradient[1] += (p - y[i]) / ROWS;
	}
	is_close(gradient[0], 0, 2e-5, "the likelihood is at its maximum by the slope");
	is_close(gradient[1], 0, 2e-5, "and by the offset");

	rows.tasks = 2;
	few = calibration_fit(LOSS_LOGISTIC, &rows);
	ok(fabs(few.slope - 1) < 0.2 && fabs(few.offset) < 0.15 && few.slope < 1 && few.offset > 0,
	   "two tasks move little: %g, %g", (double) few.slope, (double) few.offset);

	/* rows of weight 0 do not count, and the weights' unit does not matter */
	for (int i = 0; i < ROWS; i++)
	{
		w[i] = i < ROWS / 2 ? 7 : 0;
		if (i >= ROWS / 2)
			outputs[i] = NAN;
	}
	rows.tasks = 50;
	c = calibration_fit(LOSS_LOGISTIC, &rows);
	rows.n = ROWS / 2;
	for (int i = 0; i < ROWS / 2; i++)
		w[i] = 1;
	twice = calibration_fit(LOSS_LOGISTIC, &rows);
	is_close(c.slope, twice.slope, TOLERANCE, "neither weights of 0 nor the unit of weights matter");
	is_close(c.offset, twice.offset, TOLERANCE, "to the offset, too");
}

static void
test_binary_extremes(void)
{
	CalibrationRows rows = rows_of(1000, ROWS, 1);
	Correction	c;

	make_binary(1, 0.4);
	for (int i = 0; i < ROWS; i++)
		outputs[i] = 0;
	c = calibration_fit(LOSS_LOGISTIC, &rows);
	is_close(c.slope, 1, TOLERANCE, "logits that are all 0 have no slope");
	ok(c.offset > 0.2, "but an offset");

	for (int i = 0; i < ROWS; i++)
	{
		outputs[i] = i % 2 ? 3 : -3;
		y[i] = i % 2;
	}
	c = calibration_fit(LOSS_LOGISTIC, &rows);
	ok(c.slope > 1 && c.slope <= 8, "no errors make it surer, within bounds: %g", (double) c.slope);
	for (int i = 0; i < ROWS; i++)
		y[i] = 1 - y[i];
	c = calibration_fit(LOSS_LOGISTIC, &rows);
	ok(c.slope > 0 && c.slope < 0.2, "only errors make it unsure, and never turn it round: %g", (double) c.slope);

	for (int i = 0; i < ROWS; i++)
		outputs[i] = i % 2 ? 1e4 : -1e4;
	c = calibration_fit(LOSS_LOGISTIC, &rows);
	ok(c.slope == 1 && c.offset == 0, "saturated logits are left alone");
	rows.n = 0;
	rows.tasks = 0;
	c = calibration_fit(LOSS_LOGISTIC, &rows);
	ok(c.slope == 1 && c.offset == 0 && c.variance == 1, "no rows, no correction");
}

static void
test_classes(void)
{
	Rng			rng = rng_stream(4, RNG_SAMPLE, 0, 0);
	CalibrationRows rows = rows_of(10000000, ROWS, WIDTH);
	Correction	c;
	Correction	shifted;
	bool		kept = true;

	/* true logits are 1.6 of what is claimed */
	for (int i = 0; i < ROWS; i++)
	{
		real	   *z = outputs + (size_t) i * WIDTH;
		double		total = 0;
		double		draw;
		int			class = 0;

		for (int k = 0; k < WIDTH; k++)
		{
			z[k] = rng_normal(&rng);
			total += exp(1.6 * z[k]);
		}
		draw = rng_uniform(&rng) * total;
		while (class < WIDTH - 1 && (draw -= exp(1.6 * z[class])) > 0)
			class++;
		for (int k = 0; k < WIDTH; k++)
			y[(size_t) i * WIDTH + k] = k == class;
		w[i] = 1;
	}
	c = calibration_fit(LOSS_SOFTMAX, &rows);
	is_close(c.slope, 1.6, 0.06, "the temperature of classes");
	is_close(c.offset, 0, 0, "which have no offset");
	for (int i = 0; i < ROWS * WIDTH; i++)
		outputs[i] += 3;
	shifted = calibration_fit(LOSS_SOFTMAX, &rows);
	is_close(shifted.slope, c.slope, 1e-4, "what all classes share changes nothing");

	for (int i = 0; i < ROWS; i++)
	{
		real		z[WIDTH];
		int			before = 0;
		int			after = 0;

		memcpy(z, outputs + (size_t) i * WIDTH, sizeof(z));
		correct_outputs(&c, LOSS_SOFTMAX, z, WIDTH);
		for (int k = 1; k < WIDTH; k++)
		{
			before = outputs[(size_t) i * WIDTH + k] > outputs[(size_t) i * WIDTH + before] ? k : before;
			after = z[k] > z[after] ? k : after;
		}
		kept = kept && before == after;
	}
	ok(kept, "the most probable class stays the same");
}

static void
test_variance(void)
{
	Rng			rng = rng_stream(5, RNG_SAMPLE, 0, 0);
	CalibrationRows rows = rows_of(10000000, ROWS, 1);
	Correction	c;
	real		out[3] = {1, -2, 3};
	double		mean = 0;

	for (int i = 0; i < ROWS; i++)
	{
		variances[i] = 0.5 + rng_uniform(&rng);
		outputs[i] = rng_normal(&rng);
		y[i] = outputs[i] + sqrt(2.5 * variances[i]) * rng_normal(&rng);
		w[i] = 1;
		mean += ((double) y[i] - outputs[i]) * ((double) y[i] - outputs[i]) / variances[i] / ROWS;
	}
	c = calibration_fit(LOSS_SQUARED, &rows);
	is_close(c.variance, mean, 1e-2, "the factor of variances");
	is_close(c.variance, 2.5, 0.1, "is the one they were made with");
	rows.tasks = 10;
	c = calibration_fit(LOSS_SQUARED, &rows);
	is_close(c.variance, (mean + 1) / 2, 1e-4, "ten tasks go half of the way");
	correct_outputs(&c, LOSS_SQUARED, out, 3);
	ok(out[0] == 1 && out[1] == -2 && out[2] == 3, "numbers themselves are not corrected");
	correct_variances(&c, out, 1);
	is_close(out[0], c.variance, 0, "their variances are");
	rows.variances = NULL;
	c = calibration_fit(LOSS_SQUARED, &rows);
	ok(c.slope == 1 && c.offset == 0 && c.variance == 1, "no distribution, no correction");
}

static void
test_knots(void)
{
	Calibration c = {0};
	Correction	at;

	at = calibration_at(&c, 3);
	ok(at.slope == 1 && at.offset == 0 && at.variance == 1, "without knots nothing is corrected");
	c.n = 3;
	for (int i = 0; i < 3; i++)
	{
		c.rows[i] = (real[]) {1, 3, 15}[i];	/* 1 + rows: 2, 4, 16 */
		c.at[i] = (Correction) {1 + i, 10 * i, 5 - i};
	}
	at = calibration_at(&c, 0);
	ok(at.slope == 1 && at.offset == 0 && at.variance == 5, "constant before the first knot");
	at = calibration_at(&c, 3);
	ok(at.slope == 2 && at.offset == 10 && at.variance == 4, "at a knot it is the knot's");
	at = calibration_at(&c, 7);
	is_close(at.slope, 2.5, TOLERANCE, "half-way in the logarithm of 1 + rows");
	is_close(at.offset, 15, 20 * TOLERANCE, "the offset, too");
	is_close(at.variance, 3.5, TOLERANCE, "the variance, too");
	at = calibration_at(&c, 1e10);
	ok(at.slope == 3 && at.offset == 20 && at.variance == 3, "constant after the last knot");
}

static void
test_smooth(void)
{
	Calibration c = {.n = 3};
	Calibration one = {.n = 1, .at = {{2, 3, 4}}};

	for (int i = 0; i < 3; i++)
		c.at[i] = (Correction) {(real[]) {1, 5, 1}[i], i, 2};
	calibration_smooth(&c);
	ok(c.at[0].slope == 2 && c.at[1].slope == 3 && c.at[2].slope == 2, "a knot is half itself, and half its neighbours");
	ok(c.at[0].offset == 0.25 && c.at[1].offset == 1 && c.at[2].offset == 1.75, "offsets, too");
	ok(c.at[0].variance == 2 && c.at[1].variance == 2 && c.at[2].variance == 2, "what is even stays so");
	calibration_smooth(&one);
	ok(one.at[0].slope == 2 && one.at[0].offset == 3 && one.at[0].variance == 4, "a single knot stays as it is");
}

int
main(void)
{
	test_binary();
	test_binary_extremes();
	test_classes();
	test_variance();
	test_knots();
	test_smooth();
	return tap_done();
}
