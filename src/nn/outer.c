/*
 * outer.c
 *	  The outer step: from a meta-batch's gradient to the next parameters and
 *	  their running average.
 *
 * What steps s+1 ... t without a gradient do to a row, M = M_t ... M_{s+1}, is
 * put together backwards from t, for all s that a row may have stopped at:
 * motion[t - s].  A single one is, with f the shrinking of u,
 *
 *	  u' = f u,  theta' = (1 - r d) theta - c u',  average' = k average + (1 - k) theta'
 *	  f = b1 sqrt((1 - b2^s) / (b2 (1 - b2^(s-1)))),  c = r / (1 - b1^s)
 *
 * where u is m / (sqrt(v / (1 - b2^s)) + eps).  Rows are all settled whenever s
 * is a multiple of OUTER_SETTLES, so that there are few such matrices; when a
 * phase is validated, too.  Both are known from the step's number, so that an
 * interrupted training and an uninterrupted one round alike.
 */
#include "nn/outer.h"

#include <string.h>

/* What is left of (theta, average, u) after some steps without a gradient. */
typedef struct OuterMotion
{
	double		theta_theta;
	double		theta_u;
	double		average_average;
	double		average_theta;
	double		average_u;
	double		first;			/* of m */
	double		second;			/* of v */
	double		correction;		/* 1 / (1 - b2^s) of the step s it begins after */
} OuterMotion;

/* A step of its own: f, c, 1 - r d, k */
typedef struct OuterTerms
{
	double		fade;
	double		scale;
	double		shrink;
	double		keep;
} OuterTerms;

/* Is the tensor a table that rows are updated of? */
static bool
is_moved(const Tensor *tensor)
{
	return tensor->by_rows && tensor_learned(tensor);
}

static size_t
tensor_size(const Tensor *tensor)
{
	return (size_t) tensor->rows * tensor->cols;
}

/* The first such table of column, or NULL. */
static const Tensor *
column_table(const TensorList *list, int column)
{
	for (int i = 0; i < list->n; i++)
		if (is_moved(&list->tensors[i]) && list->tensors[i].column == column)
			return &list->tensors[i];
	return NULL;
}

static int
max_column(const TensorList *list)
{
	int			max = -1;

	for (int i = 0; i < list->n; i++)
		if (is_moved(&list->tensors[i]) && list->tensors[i].column > max)
			max = list->tensors[i].column;
	return max;
}

size_t
outer_rows(const TensorList *list)
{
	size_t		n = 0;

	for (int column = 0; column <= max_column(list); column++)
	{
		const Tensor *table = column_table(list, column);

		n += table == NULL ? 0 : table->rows;
	}
	return n;
}

static bool
add_column(Outer *outer, Arena *arena, int column, int size, int32_t *at)
{
	OuterColumn *c = &outer->columns[outer->n_columns++];

	c->column = column;
	c->size = size;
	c->at = at;
	c->seen = arena_alloc(arena, size, sizeof(int32_t));
	c->tables = arena_alloc(arena, outer->list->n, sizeof(Tensor *));
	if (c->seen == NULL || c->tables == NULL)
		return false;
	for (int i = 0; i < outer->list->n; i++)
		if (is_moved(&outer->list->tensors[i]) && outer->list->tensors[i].column == column)
			c->tables[c->n_tables++] = &outer->list->tensors[i];
	return true;
}

Outer *
outer_create(Arena *arena, const TensorList *list, real *theta, real *average, const Adam *adam,
			 int32_t *at, bool plain, double clip, StepRatesOf rates, const void *context)
{
	Outer	   *outer = arena_alloc(arena, 1, sizeof(Outer));
	int			columns = max_column(list) + 1;

	if (outer == NULL)
		return NULL;
	outer->list = list;
	outer->theta = theta;
	outer->average = average;
	outer->adam = adam;
	outer->plain = plain;
	outer->clip = clip;
	outer->rates = rates;
	outer->context = context;
	outer->now = outer->known = -1;
	outer->gradient = arena_alloc(arena, list->size, sizeof(real));
	outer->columns = arena_alloc(arena, columns, sizeof(OuterColumn));
	outer->motion = arena_alloc(arena, OUTER_SETTLES + 1, sizeof(OuterMotion));
	outer->terms = arena_alloc(arena, OUTER_SETTLES, sizeof(OuterTerms));
	if (outer->gradient == NULL || outer->columns == NULL || outer->motion == NULL || outer->terms == NULL)
		return NULL;
	for (int column = 0; column < columns; column++)
	{
		const Tensor *table = column_table(list, column);

		if (table == NULL)
			continue;
		if (!add_column(outer, arena, column, table->rows, at))
			return NULL;
		at += table->rows;
	}
	return outer;
}

/* ---- steps without a gradient ---- */

static OuterTerms
step_terms(const Outer *outer, int64_t step)
{
	StepRates	rates = outer->rates(outer->context, step);
	OuterTerms	terms = {0, 0, 1, rates.keep};

	if (outer->plain)
		return terms;
	/* before the first step there are no moments */
	if (step > 1)
		terms.fade = ADAM_BETA1 * sqrt((1 - pow(ADAM_BETA2, step)) / (ADAM_BETA2 * (1 - pow(ADAM_BETA2, step - 1))));
	terms.scale = rates.rate / (1 - pow(ADAM_BETA1, step));
	terms.shrink = 1 - rates.rate * rates.weight_decay;
	return terms;
}

/* Makes motion lead to the parameters after so many steps. */
static void
lead_to(Outer *outer, int64_t steps)
{
	int64_t		settled = steps > 0 ? (steps - 1) / OUTER_SETTLES * OUTER_SETTLES : 0;
	OuterMotion *motion = outer->motion;

	if (outer->n_columns == 0 || outer->now == steps)
		return;
	for (int64_t s = outer->known > settled && outer->known <= steps ? outer->known + 1 : settled + 1; s <= steps; s++)
		outer->terms[s % OUTER_SETTLES] = step_terms(outer, s);
	outer->now = outer->known = steps;

	motion[0] = (OuterMotion) {1, 0, 1, 0, 0, 1, 1, 1};
	for (int64_t s = steps; s > settled; s--)
	{
		const OuterMotion *later = &motion[steps - s];
		OuterMotion *m = &motion[steps - s + 1];
		OuterTerms	terms = outer->terms[s % OUTER_SETTLES];
		double		of_theta = later->average_average * (1 - terms.keep) + later->average_theta;

		m->theta_theta = later->theta_theta * terms.shrink;
		m->theta_u = (later->theta_u - later->theta_theta * terms.scale) * terms.fade;
		m->average_average = later->average_average * terms.keep;
		m->average_theta = of_theta * terms.shrink;
		m->average_u = (later->average_u - of_theta * terms.scale) * terms.fade;
		m->first = later->first * ADAM_BETA1;
		m->second = later->second * ADAM_BETA2;
		m->correction = s > 1 ? 1 / (1 - pow(ADAM_BETA2, s - 1)) : 0;
	}
}

static void
move_row(const Outer *outer, const OuterColumn *c, int row, const OuterMotion *motion)
{
	real		theta_theta = motion->theta_theta;
	real		theta_u = motion->theta_u;
	real		average_average = motion->average_average;
	real		average_theta = motion->average_theta;
	real		average_u = motion->average_u;
	real		first_first = motion->first;
	real		second_second = motion->second;
	real		correction = motion->correction;

	for (int i = 0; i < c->n_tables; i++)
	{
		int			cols = c->tables[i]->cols;
		size_t		at = c->tables[i]->offset + (size_t) row * cols;
		real	   *theta = outer->theta + at;
		real	   *average = outer->average + at;
		real	   *first = outer->adam->first + at;
		real	   *second = outer->adam->second + at;

		for (int j = 0; j < cols; j++)
		{
			real		u = first[j] / ((real) sqrt(second[j] * correction) + (real) ADAM_EPSILON);
			real		was = theta[j];

			theta[j] = theta_theta * was + theta_u * u;
			average[j] = average_average * average[j] + average_theta * was + average_u * u;
			first[j] *= first_first;
			second[j] *= second_second;
		}
	}
}

static inline void
bring_up(const Outer *outer, OuterColumn *c, int row)
{
	if (c->at[row] < outer->now)
	{
		move_row(outer, c, row, &outer->motion[outer->now - c->at[row]]);
		c->at[row] = (int32_t) outer->now;
	}
}

void
outer_settle(Outer *outer, int64_t steps)
{
	lead_to(outer, steps);
	for (int i = 0; i < outer->n_columns; i++)
		for (int row = 0; row < outer->columns[i].size; row++)
			bring_up(outer, &outer->columns[i], row);
}

/* ---- a meta-iteration ---- */

void
outer_begin(Outer *outer, int64_t steps)
{
	lead_to(outer, steps);
	outer->now = steps;
	for (int i = 0; i < outer->list->n; i++)
	{
		const Tensor *tensor = &outer->list->tensors[i];

		/* rows of the others were zeroed when they were done with */
		if (!is_moved(tensor))
			memset(outer->gradient + tensor->offset, 0, tensor_size(tensor) * sizeof(real));
	}
	for (int i = 0; i < outer->n_columns; i++)
		outer->columns[i].n_seen = 0;
}

/* A row that is seen is a step ahead of what it has been brought up to. */
static inline void
see_row(Outer *outer, OuterColumn *c, int row)
{
	if (c->at[row] > outer->now)
		return;
	bring_up(outer, c, row);
	c->at[row] = (int32_t) outer->now + 1;
	c->seen[c->n_seen++] = row;
}

void
outer_see(Outer *outer, const Rows *rows)
{
	size_t		n = (size_t) rows->tasks * rows->rows;

	for (int i = 0; i < outer->n_columns; i++)
	{
		OuterColumn *c = &outer->columns[i];

		see_row(outer, c, 0);	/* "unknown", of padding and of codes that are none */
		for (size_t r = 0; r < n; r++)
		{
			int32_t		row = rows->c[r * rows->width.c + c->column];

			if (row > 0 && row < c->size)
				see_row(outer, c, row);
		}
	}
}

/* Calls visit with all of the gradient that is not 0 by itself: tensors as a whole, then rows. */
static void
visit_gradient(const Outer *outer, void (*visit) (real *gradient, size_t n, double *number), double *number)
{
	for (int i = 0; i < outer->list->n; i++)
	{
		const Tensor *tensor = &outer->list->tensors[i];

		if (!is_moved(tensor))
			visit(outer->gradient + tensor->offset, tensor_size(tensor), number);
	}
	for (int i = 0; i < outer->n_columns; i++)
	{
		const OuterColumn *c = &outer->columns[i];

		for (int t = 0; t < c->n_tables; t++)
			for (int r = 0; r < c->n_seen; r++)
				visit(outer->gradient + c->tables[t]->offset + (size_t) c->seen[r] * c->tables[t]->cols,
					  c->tables[t]->cols, number);
	}
}

static void
scale_numbers(real *gradient, size_t n, double *factor)
{
	for (size_t i = 0; i < n; i++)
		gradient[i] *= (real) *factor;
}

static void
add_squares(real *gradient, size_t n, double *total)
{
	double		sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double) gradient[i] * gradient[i];
	*total += sum;
}

static void
gradient_scale(const Outer *outer, double factor)
{
	visit_gradient(outer, scale_numbers, &factor);
}

static double
gradient_norm(const Outer *outer)
{
	double		squares = 0;

	visit_gradient(outer, add_squares, &squares);
	return sqrt(squares);
}

static void
average_numbers(const Outer *outer, size_t at, size_t n, real keep)
{
	for (size_t i = at; i < at + n; i++)
		outer->average[i] += (1 - keep) * (outer->theta[i] - outer->average[i]);
}

static void
step_seen_rows(const Outer *outer, const OuterColumn *c, int64_t step, const StepRates *rates)
{
	real		scale = rates->rate / (1 - pow(ADAM_BETA1, step));
	real		correction = 1 / (1 - pow(ADAM_BETA2, step));

	for (int t = 0; t < c->n_tables; t++)
		for (int r = 0; r < c->n_seen; r++)
		{
			size_t		n = c->tables[t]->cols;
			size_t		at = c->tables[t]->offset + c->seen[r] * n;

			if (outer->plain)
				for (size_t j = at; j < at + n; j++)
					outer->theta[j] -= (real) rates->rate * outer->gradient[j];
			else
				adam_numbers(n, outer->theta + at, outer->adam->first + at, outer->adam->second + at, outer->gradient + at,
							 scale, correction, rates->rate * rates->weight_decay);
			average_numbers(outer, at, n, rates->keep);
			memset(outer->gradient + at, 0, n * sizeof(real));
		}
}

double
outer_step(Outer *outer, real share)
{
	const TensorList *list = outer->list;
	int64_t		step = outer->now + 1;
	StepRates	rates = outer->rates(outer->context, step);
	double		norm;

	gradient_scale(outer, share);
	averages_step(list, outer->theta, outer->gradient);
	norm = gradient_norm(outer);
	if (!isfinite(norm))
		return norm;
	if (outer->clip > 0 && norm > outer->clip)
		gradient_scale(outer, outer->clip / norm);

	if (outer->plain)
		sgd_step(list, outer->theta, outer->gradient, rates.rate);
	else
		adam_step(outer->adam, list, outer->theta, outer->gradient, step, rates.rate, rates.weight_decay);
	for (int i = 0; i < list->n; i++)
		if (!is_moved(&list->tensors[i]))
			average_numbers(outer, list->tensors[i].offset, tensor_size(&list->tensors[i]), rates.keep);
	for (int i = 0; i < outer->n_columns; i++)
		step_seen_rows(outer, &outer->columns[i], step, &rates);
	if (step % OUTER_SETTLES == 0)
		outer_settle(outer, step);
	return norm;
}
