/*
 * vaml_columns.c
 *	  The second decoder of vaml: rows' columns from a task's latent variables.
 *
 *	  p(x | z, S) = prod_j p(x_j | x_1 .. x_{j-1}, z, m)
 *	  m = (sum_S w in / (k + c), k / (k + c)),  k = sum_S w
 *
 * Much of a school's row is the same in all rows of a task: a student's year of
 * birth, a teacher's experience.  A few latent variables would have to hold all
 * of that; the mean m of the support's inputs says it at once.
 *
 * One network says all columns' distributions at once.  Its weights are
 * masked so that a column's sees z, m and the columns before it, not itself and
 * those after it (M. Germain et al., "MADE: masked autoencoder for
 * distribution estimation", ICML 2015):
 *
 *	  h = act((W_1 * M_1) in + U_1 z + V_1 m + b_1)
 *	  o = (W_2 * M_2) h + (W_3 * M_3) in + U_2 z + V_2 m + b_2
 *
 * Hidden unit u sees the columns before column u mod n, and is seen by that
 * column and those after it.  What is said of a column, o's part for it:
 *
 *	  number			mean and log variance of a Gaussian, standardised
 *	  boolean			a logit; so of a number that may be missing, for that
 *	  one-hot category	logits of the labels
 *	  table				a point, whose products with the labels' embeddings are,
 *						with a bias for each, their logits
 *
 * in that order, all columns' means first, then all log variances.
 */
#include "learn/vaml_columns.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "learn/vars.h"

/* Labels beyond which a category is not modelled. */
#define MAX_LABELS 1024

_Static_assert(MAX_LABELS + 1 < TABLE_BY_ROWS, "a table that is modelled is read as a whole");

/* Units of the hidden layer, times the option context. */
#define HIDDEN_FACTOR 2

/* The logarithm of a variance stays within this of 0. */
#define LARGEST_LOG 6.0

/*
 * Weights and biases are stored this much smaller: they learn faster.  What is
 * predicted is near its best soon, as it begins at the pooled network; they
 * begin at random.
 */
#define STORED_SCALE 4.0

/* Positions among its tensors; n is what the network sees of a row. */
enum
{
	INPUT_WEIGHT,				/* W_1: (n, hidden) */
	INPUT_LATENT,				/* U_1: (latent, hidden) */
	INPUT_KNOWN,				/* V_1: (n + 1, hidden) */
	INPUT_BIAS,					/* b_1: (1, hidden) */
	HIDDEN_WEIGHT,				/* W_2: (hidden, said) */
	DIRECT_WEIGHT,				/* W_3: (n, said) */
	DIRECT_LATENT,				/* U_2: (latent, said) */
	DIRECT_KNOWN,				/* V_2: (n + 1, said) */
	SAID_BIAS,					/* b_2: (1, said) */
	KNOWN_COUNT,				/* c: (1, 1), stored as scale_store does */
	LABEL_BIAS					/* of the first modelled table: (size, 1) */
};

/* Where what is said of columns stands; or, while they are gone through, of the next one. */
typedef struct Positions
{
	int			columns;		/* that are modelled */
	int			numbers;
	int			flags;			/* booleans, and numbers' and booleans' being missing */
	int			ones;			/* one-hot inputs */
	int			tables;
	int			points;			/* numbers of tables' points */
} Positions;

bool
columns_models(const LearnerSpec *spec, int column)
{
	const RowColumn *c = &spec->columns[column];

	return c->kind != INPUT_OTHER &&
		(c->kind != INPUT_TABLE || spec->net.embeddings[c->at].size <= MAX_LABELS + 1);
}

/* Goes past a column. */
static void
pass(const LearnerSpec *spec, int column, Positions *places)
{
	const RowColumn *c = &spec->columns[column];

	if (!columns_models(spec, column))
		return;
	places->columns++;
	places->flags += c->indicator;
	switch (c->kind)
	{
		case INPUT_NUMBER:
			places->numbers++;
			break;
		case INPUT_BOOLEAN:
			places->flags++;
			break;
		case INPUT_ONE_HOT:
			places->ones += c->width;
			break;
		case INPUT_TABLE:
			places->tables++;
			places->points += spec->net.embeddings[c->at].width;
			break;
		case INPUT_OTHER:
			break;
	}
}

/* Past all columns before this one. */
static Positions
places_of(const LearnerSpec *spec, int column)
{
	Positions		places = {0};

	for (int i = 0; i < column; i++)
		pass(spec, i, &places);
	return places;
}

static Positions
all_places(const LearnerSpec *spec)
{
	return places_of(spec, spec->n_columns);
}

static int
first_flag(const Positions *all)
{
	return 2 * all->numbers;
}

static int
first_one(const Positions *all)
{
	return first_flag(all) + all->flags;
}

static int
first_point(const Positions *all)
{
	return first_one(all) + all->ones;
}

/* How many numbers are said of a row; one that means nothing where no column is modelled. */
static int
said_width(const Positions *all)
{
	int			n = first_point(all) + all->points;

	return n > 0 ? n : 1;
}

static int
hidden_units(const LearnerSpec *spec)
{
	int			n = HIDDEN_FACTOR * spec->options.context;

	return n > 0 ? n : 1;
}

int
columns_count(const LearnerSpec *spec)
{
	return LABEL_BIAS + all_places(spec).tables;
}

bool
columns_layout(const LearnerSpec *spec, int latent, TensorList *list)
{
	Positions		all = all_places(spec);
	int			in = network_in_width(&spec->net);
	int			hidden = hidden_units(spec);
	int			said = said_width(&all);

	if (tensor_add(list, "columns.input.weight", in, hidden, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.input.latent", latent, hidden, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.input.known", in + 1, hidden, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.input.bias", 1, hidden, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.hidden.weight", hidden, said, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.direct.weight", in, said, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.direct.latent", latent, said, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.direct.known", in + 1, said, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.said.bias", 1, said, TENSOR_SHARED) < 0 ||
		tensor_add(list, "columns.count.bias", 1, 1, TENSOR_SHARED) < 0)
		return false;
	for (int i = 0; i < spec->n_columns; i++)
	{
		char		name[TENSOR_NAME_LENGTH];

		if (spec->columns[i].kind != INPUT_TABLE || !columns_models(spec, i))
			continue;
		snprintf(name, sizeof(name), "columns.label.%d.bias", spec->columns[i].at);
		if (tensor_add(list, name, spec->net.embeddings[spec->columns[i].at].size, 1, TENSOR_SHARED) < 0)
			return false;
	}
	return true;
}

void
columns_initialise(const LearnerSpec *spec, const Tensor *own, Rng *rng, real *values)
{
	static const int weights[] = {INPUT_WEIGHT, INPUT_LATENT, INPUT_KNOWN, HIDDEN_WEIGHT, DIRECT_LATENT};

	(void) spec;
	for (size_t i = 0; i < sizeof(weights) / sizeof(weights[0]); i++)
	{
		const Tensor *tensor = &own[weights[i]];
		double		deviation = i < 3 ? sqrt(2.0 / (own[INPUT_WEIGHT].rows + own[INPUT_LATENT].rows)) : 0.02;

		tensor_fill_normal(tensor, deviation / STORED_SCALE, rng, values);
	}
	values[own[KNOWN_COUNT].offset] = scale_store(1);
}

/* ---- masks, and picking columns' inputs ---- */

/* Numbers of a constant leaf of 0s, (1, rows, cols), to be written to; NULL after a fault. */
static real *
constants(Tape *tape, int rows, int cols, Var *leaf)
{
	*leaf = tape_leaf(tape, shape(1, rows, cols), NULL);
	return *leaf == TAPE_NONE ? NULL : tape_data(tape, *leaf);
}

/* First input of a table's embedding. */
static int
table_input(const LearnerSpec *spec, int table)
{
	int			at = spec->net.inputs;

	for (int j = 0; j < table; j++)
		at += spec->net.embeddings[j].width;
	return at;
}

/* Consecutive numbers. */
typedef struct Span
{
	int			from;
	int			n;
} Span;

/* The inputs that a column is. */
static Span
inputs_of(const LearnerSpec *spec, int column)
{
	const RowColumn *c = &spec->columns[column];

	if (c->kind == INPUT_TABLE)
		return (Span) {table_input(spec, c->at), spec->net.embeddings[c->at].width};
	return (Span) {c->at, c->width + c->indicator};
}

/* What is said of a column, as five spans, most of them empty; before it stand these places. */
static void
said_of(const LearnerSpec *spec, const Positions *all, const Positions *before, int column, Span *spans)
{
	Positions		after = *before;
	int			numbers;

	pass(spec, column, &after);
	numbers = after.numbers - before->numbers;
	spans[0] = (Span) {before->numbers, numbers};
	spans[1] = (Span) {all->numbers + before->numbers, numbers};
	spans[2] = (Span) {first_flag(all) + before->flags, after.flags - before->flags};
	spans[3] = (Span) {first_one(all) + before->ones, after.ones - before->ones};
	spans[4] = (Span) {first_point(all) + before->points, after.points - before->points};
}

/* M_1, M_2, M_3 */
static void
masks(Tape *tape, const LearnerSpec *spec, const Positions *all, Var *input, Var *hidden, Var *direct)
{
	int			n = network_in_width(&spec->net);
	int			units = hidden_units(spec);
	int			said = said_width(all);
	real	   *m1 = constants(tape, n, units, input);
	real	   *m2 = constants(tape, units, said, hidden);
	real	   *m3 = constants(tape, n, said, direct);
	Positions		before = {0};

	if (m1 == NULL || m2 == NULL || m3 == NULL)
		return;
	for (int i = 0; i < spec->n_columns; i++)
	{
		int			place = before.columns;
		Span		in = inputs_of(spec, i);
		Span		spans[5];

		if (!columns_models(spec, i))
			continue;
		for (int k = in.from; k < in.from + in.n; k++)
			for (int u = 0; u < units; u++)
				m1[(size_t) k * units + u] = u % all->columns > place;
		said_of(spec, all, &before, i, spans);
		for (int s = 0; s < 5; s++)
			for (int o = spans[s].from; o < spans[s].from + spans[s].n; o++)
			{
				for (int u = 0; u < units; u++)
					m2[(size_t) u * said + o] = u % all->columns <= place;
				for (int j = 0; j < i; j++)
				{
					Span		seen = inputs_of(spec, j);

					for (int k = seen.from; k < seen.from + seen.n && columns_models(spec, j); k++)
						m3[(size_t) k * said + o] = 1;
				}
			}
		pass(spec, i, &before);
	}
}

Var
columns_see(Tape *tape, const LearnerSpec *spec, Var in)
{
	int			n = network_in_width(&spec->net);
	bool		any = false;
	Var			rate,
				offset;
	real	   *r,
			   *o;

	for (int i = 0; i < spec->n_columns; i++)
		any = any || spec->columns[i].mean != 0 || spec->columns[i].deviation != 1;
	if (!any)
		return in;
	r = constants(tape, 1, n, &rate);
	o = constants(tape, 1, n, &offset);
	for (int k = 0; k < n && r && o; k++)
		r[k] = 1;
	for (int i = 0; i < spec->n_columns && r && o; i++)
	{
		const RowColumn *c = &spec->columns[i];

		if (c->kind != INPUT_NUMBER)
			continue;
		r[c->at] = 1 / c->deviation;
		o[c->at] = -c->mean / c->deviation;
	}
	return tape_axpy(tape, tape_multiply(tape, in, rate), 1, offset);
}

Var
columns_known(Tape *tape, const Var *own, Var rows, Var inputs)
{
	Var			all = tape_axpy(tape, rows, 1, scale_value(tape, own[KNOWN_COUNT]));

	return vars_divide(tape, vars_concatenate(tape, inputs, rows), all);
}

Var
columns_say(Tape *tape, const LearnerSpec *spec, const Var *own, Var in, Var z, Var known)
{
	Positions		all = all_places(spec);
	Var			input,
				hidden,
				direct;
	Var			h,
				o;

	in = columns_see(tape, spec, in);
	masks(tape, spec, &all, &input, &hidden, &direct);
	h = tape_affine(tape, z, false, own[INPUT_LATENT], false, own[INPUT_BIAS]);
	h = tape_affine(tape, known, false, own[INPUT_KNOWN], false, h);
	h = tape_affine(tape, in, false, tape_multiply(tape, own[INPUT_WEIGHT], input), false, h);
	h = tape_unary(tape, spec->net.activation, 0, tape_scale(tape, h, STORED_SCALE, 0));
	o = tape_affine(tape, z, false, own[DIRECT_LATENT], false, own[SAID_BIAS]);
	o = tape_affine(tape, known, false, own[DIRECT_KNOWN], false, o);
	o = tape_affine(tape, in, false, tape_multiply(tape, own[DIRECT_WEIGHT], direct), false, o);
	o = tape_affine(tape, h, false, tape_multiply(tape, own[HIDDEN_WEIGHT], hidden), false, o);
	return tape_scale(tape, o, STORED_SCALE, 0);
}

/* ---- likelihood ---- */

typedef enum Wanted
{
	WANT_NUMBERS,
	WANT_FLAGS,
	WANT_ONES
} Wanted;

/*
 * The inputs of one kind, (tasks, rows, n), in the order in which they are
 * spoken of, standardised; and 1 where they are there, 0 where they are missing (TAPE_NONE:
 * they always are).
 */
static Var
pick(Tape *tape, const LearnerSpec *spec, Wanted wanted, int n, Var x, Var *present)
{
	int			inputs = tape_shape(tape, x).cols;	/* one more than the network's where effects are given */
	Var			value;
	Var			missing;
	Var			offset;
	real	   *v = constants(tape, inputs, n, &value);
	real	   *m = constants(tape, inputs, n, &missing);
	real	   *o = constants(tape, 1, n, &offset);
	Positions		places = {0};
	bool		any = false;

	*present = TAPE_NONE;
	if (v == NULL || m == NULL || o == NULL)
		return TAPE_NONE;
	for (int i = 0; i < spec->n_columns; i++)
	{
		const RowColumn *c = &spec->columns[i];
		bool		number = wanted == WANT_NUMBERS && c->kind == INPUT_NUMBER;
		bool		flag = wanted == WANT_FLAGS && c->kind == INPUT_BOOLEAN;
		int			at = number ? places.numbers : places.flags;

		if (columns_models(spec, i))
		{
			if (number || flag)
			{
				v[(size_t) c->at * n + at] = 1 / c->deviation;
				o[at] = -c->mean / c->deviation;
			}
			if ((number || flag) && c->indicator)
			{
				m[(size_t) (c->at + c->width) * n + at] = 1;
				any = true;
			}
			/* its being missing is the last that is said of a column */
			if (wanted == WANT_FLAGS && c->indicator)
				v[(size_t) (c->at + c->width) * n + places.flags + flag] = 1;
			for (int k = 0; k < c->width && wanted == WANT_ONES && c->kind == INPUT_ONE_HOT; k++)
				v[(size_t) (c->at + k) * n + places.ones + k] = 1;
		}
		pass(spec, i, &places);
	}
	if (any)
		*present = tape_scale(tape, tape_affine(tape, x, false, missing, false, TAPE_NONE), -1, 1);
	return tape_affine(tape, x, false, value, false, offset);
}

static Var
sum_columns(Tape *tape, Var a)
{
	Shape		s = tape_shape(tape, a);

	return tape_sum(tape, a, shape(s.tasks, s.rows, 1));
}

/* a + b, where a may be nothing yet */
static Var
plus(Tape *tape, Var a, real scale, Var b)
{
	return a == TAPE_NONE ? tape_scale(tape, b, scale, 0) : tape_axpy(tape, a, scale, b);
}

/* -(log v + (x - mean)^2 / v + log 2 pi) / 2 of numbers that are there */
static Var
numbers_likelihood(Tape *tape, const LearnerSpec *spec, const Positions *all, Var said, Var x)
{
	Var			present;
	Var			value = pick(tape, spec, WANT_NUMBERS, all->numbers, x, &present);
	Var			mean = vars_slice(tape, said, 0, all->numbers);
	Var			variance = tape_unary(tape, UNARY_EXP, 0, vars_bounded(tape, vars_slice(tape, said, all->numbers, all->numbers), LARGEST_LOG));
	Var			square = tape_unary(tape, UNARY_SQUARE, 0, tape_axpy(tape, value, -1, mean));
	Var			each = tape_scale(tape, gaussian_surprise(tape, square, variance), 1, LOG_2_PI);

	if (present != TAPE_NONE)
		each = tape_multiply(tape, each, present);
	return tape_scale(tape, sum_columns(tape, each), -0.5, 0);
}

/* x l - log(1 + e^l) */
static Var
flags_likelihood(Tape *tape, const LearnerSpec *spec, const Positions *all, Var said, Var x)
{
	Var			present;
	Var			value = pick(tape, spec, WANT_FLAGS, all->flags, x, &present);
	Var			logit = vars_slice(tape, said, first_flag(all), all->flags);
	Var			each = tape_axpy(tape, tape_multiply(tape, value, logit), -1, tape_unary(tape, UNARY_SOFTPLUS, 0, logit));

	if (present != TAPE_NONE)
		each = tape_multiply(tape, each, present);
	return sum_columns(tape, each);
}

/* sum_k x_k l_k - (sum_k x_k) log sum_k e^l_k, the sums over each category */
static Var
ones_likelihood(Tape *tape, const LearnerSpec *spec, const Positions *all, Var said, Var x)
{
	Var			present;
	Var			value = pick(tape, spec, WANT_ONES, all->ones, x, &present);
	Var			logit = vars_slice(tape, said, first_one(all), all->ones);
	Var			total = sum_columns(tape, tape_multiply(tape, value, logit));
	int			at = 0;

	for (int i = 0; i < spec->n_columns; i++)
	{
		int			width = spec->columns[i].width;

		if (spec->columns[i].kind != INPUT_ONE_HOT)
			continue;
		total = tape_axpy(tape, total, -1,
						  tape_multiply(tape, sum_columns(tape, vars_slice(tape, value, at, width)),
										tape_logsumexp(tape, vars_slice(tape, logit, at, width))));
		at += width;
	}
	return total;
}

/* The same of codes, of which 0 is "not known". */
static Var
tables_likelihood(Tape *tape, const LearnerSpec *spec, const Var *own, const Var *tables, const Positions *all,
				  Var said, Var in, Var c)
{
	Positions		places = {0};
	Var			total = TAPE_NONE;

	for (int i = 0; i < spec->n_columns; i++)
	{
		int			at = spec->columns[i].at;

		if (spec->columns[i].kind == INPUT_TABLE && columns_models(spec, i))
		{
			Embedding	embedding = spec->net.embeddings[at];
			Var			bias = tape_scale(tape, own[LABEL_BIAS + places.tables], STORED_SCALE, 0);
			Var			point = vars_slice(tape, said, first_point(all) + places.points, embedding.width);
			Var			of_label = vars_slice(tape, in, table_input(spec, at), embedding.width);
			Var			known;
			Var			never;
			Var			each;
			real	   *k = constants(tape, embedding.size, 1, &known);
			real	   *n = constants(tape, 1, embedding.size, &never);

			if (k == NULL || n == NULL)
				return TAPE_NONE;
			for (int label = 1; label < embedding.size; label++)
				k[label] = 1;
			n[0] = -1e9;
			each = tape_axpy(tape, sum_columns(tape, tape_multiply(tape, point, of_label)), 1, tape_gather(tape, bias, c, at));
			each = tape_axpy(tape, each, -1,
							 tape_logsumexp(tape, tape_affine(tape, point, false, tables[at], true,
															  tape_axpy(tape, tape_transpose(tape, bias), 1, never))));
			total = plus(tape, total, 1, tape_multiply(tape, each, tape_gather(tape, known, c, at)));
		}
		pass(spec, i, &places);
	}
	return total;
}

Var
columns_log_likelihood(Tape *tape, const LearnerSpec *spec, const Var *own, const Var *tables,
					   Var said, Var in, Var x, Var c)
{
	Positions		all = all_places(spec);
	Shape		s = tape_shape(tape, x);
	Var			total = TAPE_NONE;

	if (all.numbers > 0)
		total = plus(tape, total, 1, numbers_likelihood(tape, spec, &all, said, x));
	if (all.flags > 0)
		total = plus(tape, total, 1, flags_likelihood(tape, spec, &all, said, x));
	if (all.ones > 0)
		total = plus(tape, total, 1, ones_likelihood(tape, spec, &all, said, x));
	if (all.tables > 0)
		total = plus(tape, total, 1, tables_likelihood(tape, spec, own, tables, &all, said, in, c));
	if (total == TAPE_NONE)
		total = tape_leaf(tape, shape(s.tasks, s.rows, 1), NULL);
	return total;
}

/* ---- drawing ---- */

static bool
draw_flag(double logit, Rng *rng)
{
	return rng_uniform(rng) < 1 / (1 + exp(-logit));
}

/* A label from 1 on, by scores of the labels. */
static int
draw_label(const Tensor *bias, const Tensor *table, const real *values, const real *point, Rng *rng)
{
	double		max = -INFINITY;
	double		left = 0;

	/* three times the same sums, and no memory for them: it is once per value */
	for (int round = 0; round < 3; round++)
	{
		double		sum = 0;

		for (int label = 1; label < table->rows; label++)
		{
			double		score = STORED_SCALE * values[bias->offset + label];

			for (int j = 0; j < table->cols; j++)
				score += (double) point[j] * values[table->offset + (size_t) label * table->cols + j];
			if (round == 0)
				max = fmax(max, score);
			else
				sum += exp(score - max);
			if (round == 2 && sum > left)
				return label;
		}
		if (round == 1)
			left = rng_uniform(rng) * sum;
	}
	return table->rows - 1;
}

void
columns_draw(const LearnerSpec *spec, const Tensor *own, const Tensor *tables, const real *values,
			 int column, const real *said, Rng *rng, real *x, int32_t *c)
{
	const RowColumn *of = &spec->columns[column];
	Positions		all = all_places(spec);
	Positions		at = places_of(spec, column);
	const real *flag = said + first_flag(&all) + at.flags;
	const real *ones = said + first_one(&all) + at.ones;
	double		max = -INFINITY;
	double		sum = 0;
	double		left;
	int			label = 0;

	if (of->indicator)
	{
		bool		missing = draw_flag(flag[of->kind == INPUT_BOOLEAN], rng);

		x[of->at + of->width] = missing;
		if (missing)
		{
			x[of->at] = of->missing;
			return;
		}
	}
	switch (of->kind)
	{
		case INPUT_NUMBER:
			x[of->at] = of->mean + of->deviation *
				(said[at.numbers] + exp(LARGEST_LOG * tanh(said[all.numbers + at.numbers] / LARGEST_LOG) / 2) * rng_normal(rng));
			break;
		case INPUT_BOOLEAN:
			x[of->at] = draw_flag(flag[0], rng);
			break;
		case INPUT_ONE_HOT:
			for (int k = 0; k < of->width; k++)
				max = fmax(max, ones[k]);
			for (int k = 0; k < of->width; k++)
				sum += exp(ones[k] - max);
			left = rng_uniform(rng) * sum;
			while (label < of->width - 1 && (left -= exp(ones[label] - max)) >= 0)
				label++;
			for (int k = 0; k < of->width; k++)
				x[of->at + k] = k == label;
			break;
		case INPUT_TABLE:
			c[of->at] = draw_label(&own[LABEL_BIAS + at.tables], &tables[of->at], values,
								   said + first_point(&all) + at.points, rng);
			break;
		case INPUT_OTHER:
			break;
	}
}
