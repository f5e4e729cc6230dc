/*
 * gls.c
 *	  The linear model with a random intercept, by generalised least squares.
 *
 *	  y = x b + u_task + e,   u ~ N(0, tau^2),  e ~ N(0, sigma^2 / w)
 *
 * With lambda = sigma^2 / tau^2 the normal equations are, summed over tasks,
 *
 *	  [X' W X - (X'w)(X'w)' / (w'1 + lambda) + ridge] b
 *		  = X' W y - (X'w)(w'y) / (w'1 + lambda)
 *
 * They are solved by conjugate gradients (Hestenes and Stiefel 1952) with a
 * diagonal preconditioner, so that only products with X are needed: a pass
 * over the packed rows each, whose cost grows with the rows' non-zeros and not
 * with the square of the number of categories.  Variance components come from
 * the method of moments (Henderson 1953) and are iterated with b.
 *
 * For a binary target the same equations are solved for the working response
 * z = x b + u + (y - p) / (p (1 - p)) with weights w p (1 - p) and lambda =
 * 1 / tau^2, again and again (penalised quasi-likelihood: Breslow and Clayton
 * 1993).  With items as categories that is the one-parameter logistic model:
 * abilities u, easiness in the tables.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "train/gls.h"
#include "train/visit.h"

/* Rounds of coefficients and variance components. */
#define ROUNDS 4
#define LAMBDA_CHANGE 0.02		/* less than this, and b would not change */
#define CG_ITERATIONS 60
#define CG_TOLERANCE 1e-5

/*
 * Prior precision of coefficients in units of rows: next to nothing for
 * numbers, a few rows' worth for each category of a long list.
 */
#define RIDGE_NUMBER 0.01
#define RIDGE_CATEGORY 5.0

/* Both in units of the logit's precision. */
#define LOGIT_ROUNDS 8
#define MIN_CURVATURE 0.01		/* of p (1 - p): a sure row is not thrown away */

#define MIN_COMPONENT 1e-6

void
residuals_add_task(ResidualSums *sums, double rows, double sum, double squares)
{
	if (rows <= 0)
		return;
	sums->rows += rows;
	sums->tasks += 1;
	sums->squares_of_rows += rows * rows;
	sums->total += sum;
	sums->total_squares += squares;
	sums->between += sum * sum / rows;
}

VarianceComponents
residuals_components(const ResidualSums *sums)
{
	VarianceComponents v = {MIN_COMPONENT, 1};
	double		n = sums->rows;
	double		within = sums->total_squares - sums->between;
	double		between = sums->between - sums->total * sums->total / n;
	double		spread = n - sums->squares_of_rows / n;

	if (n > sums->tasks && sums->tasks > 1)
	{
		v.noise = Max(within / (n - sums->tasks), MIN_COMPONENT);
		v.task = spread > 0 ? (between - (sums->tasks - 1) * v.noise) / spread : 0;
		v.task = Max(v.task, MIN_COMPONENT * v.noise);
	}
	else if (n > 0)
	{
		/* one row per task: nothing tells the two apart */
		v.noise = Max(sums->total_squares / n, MIN_COMPONENT);
		v.task = MIN_COMPONENT * v.noise;
	}
	return v;
}

/* A vector of coefficients: numbers, then each table, then the intercept. */
typedef struct Gls
{
	MemoryContext context;		/* of the vectors */
	TaskSet    *set;
	Width		width;
	int		   *table;			/* first coefficient of each table */
	int			n;
	double		lambda;			/* INFINITY: no task effect */
	double	   *ridge;

	/* a binary target: where it is linearised */
	const double *at;			/* coefficients, or NULL for a number */
	double	   *effect;			/* u of every task of the set */

	/* the pass at work */
	const double *in;			/* product: times X; NULL: the target */
	double	   *out;
	double	   *column;			/* X'w of the task at work */
	int		   *touched;		/* its coefficients that are not 0 */
	int			n_touched;
	double		sum;			/* w'r */
	double		weight;			/* w'1 */
	double		squares;
	double	   *diagonal;		/* of X'WX; NULL where it is not wanted */
	ResidualSums residuals;
	double		effect_squares; /* sum of u^2 and its posterior variance */
	int			n_effects;
} Gls;

static double
row_product(const Gls *g, const Rows *rows, int r, const double *b)
{
	const real *x = rows->x + (size_t) r * g->width.x;
	const int32 *c = rows->c + (size_t) r * g->width.c;
	double		sum = b[g->n - 1];

	for (int i = 0; i < g->width.x; i++)
		sum += x[i] * b[i];
	for (int j = 0; j < g->width.c; j++)
		sum += b[g->table[j] + c[j]];
	return sum;
}

static inline void
add_column(Gls *g, int i, double value)
{
	if (value == 0)
		return;
	if (g->column[i] == 0)
		g->touched[g->n_touched++] = i;
	g->column[i] += value;
	/* a sum that cancels to 0 must not be entered twice */
	if (g->column[i] == 0)
		g->column[i] = 1e-300;
}

/* The weight of a row and what is fitted to it. */
static void
row_response(const Gls *g, const Task *task, const Rows *rows, int r, double *w, double *response)
{
	double		eta,
				p,
				curvature;

	*w = rows->w[r];
	*response = rows->y[r];
	if (g->at == NULL)
		return;
	eta = row_product(g, rows, r, g->at) + g->effect[task - g->set->tasks];
	p = 1 / (1 + exp(-eta));
	curvature = Max(p * (1 - p), MIN_CURVATURE);
	*w *= curvature;
	*response = eta + (rows->y[r] - p) / curvature;
}

static void
row_accumulate(Gls *g, const Rows *rows, int r, double w, double value)
{
	const real *x = rows->x + (size_t) r * g->width.x;
	const int32 *c = rows->c + (size_t) r * g->width.c;

	for (int i = 0; i < g->width.x; i++)
		if (x[i] != 0)
		{
			g->out[i] += w * x[i] * value;
			add_column(g, i, w * x[i]);
		}
	for (int j = 0; j < g->width.c; j++)
	{
		g->out[g->table[j] + c[j]] += w * value;
		add_column(g, g->table[j] + c[j], w);
	}
	g->out[g->n - 1] += w * value;
	add_column(g, g->n - 1, w);
	if (g->diagonal)
	{
		for (int i = 0; i < g->width.x; i++)
			g->diagonal[i] += w * x[i] * x[i];
		for (int j = 0; j < g->width.c; j++)
			g->diagonal[g->table[j] + c[j]] += w;
		g->diagonal[g->n - 1] += w;
	}
}

/* out += X' V^-1 r of one task, where r is X in, or the target. */
static void
visit_product(void *context, const Task *task, const Rows *rows, bool first, bool last)
{
	Gls		   *g = context;

	if (first)
		g->sum = g->weight = 0;
	for (int r = 0; r < rows->rows; r++)
	{
		double		w,
					value;

		row_response(g, task, rows, r, &w, &value);
		if (g->in)
			value = row_product(g, rows, r, g->in);
		g->sum += w * value;
		g->weight += w;
		row_accumulate(g, rows, r, w, value);
	}
	if (last)
	{
		double		pull = isinf(g->lambda) ? 0 : g->sum / (g->weight + g->lambda);

		for (int i = 0; i < g->n_touched; i++)
		{
			g->out[g->touched[i]] -= g->column[g->touched[i]] * pull;
			g->column[g->touched[i]] = 0;
		}
		g->n_touched = 0;
	}
}

static void
visit_residuals(void *context, const Task *task, const Rows *rows, bool first, bool last)
{
	Gls		   *g = context;

	(void) task;
	if (first)
		g->sum = g->weight = g->squares = 0;
	for (int r = 0; r < rows->rows; r++)
	{
		double		residual = rows->y[r] - row_product(g, rows, r, g->in);

		g->sum += rows->w[r] * residual;
		g->squares += rows->w[r] * residual * residual;
		g->weight += rows->w[r];
	}
	if (last)
		residuals_add_task(&g->residuals, g->weight, g->sum, g->squares);
}

/* u of every task under new coefficients in; the old ones still linearise. */
static void
visit_effects(void *context, const Task *task, const Rows *rows, bool first, bool last)
{
	Gls		   *g = context;

	if (first)
		g->sum = g->weight = 0;
	for (int r = 0; r < rows->rows; r++)
	{
		double		w,
					response;

		row_response(g, task, rows, r, &w, &response);
		g->sum += w * (response - row_product(g, rows, r, g->in));
		g->weight += w;
	}
	if (last)
	{
		double		effect = g->sum / (g->weight + g->lambda);

		g->effect[task - g->set->tasks] = effect;
		g->effect_squares += effect * effect + 1 / (g->weight + g->lambda);
		g->n_effects++;
	}
}

static double
dot(const double *a, const double *b, int n)
{
	double		sum = 0;

	for (int i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static void
apply_normal(Gls *g, const double *in, double *out)
{
	memset(out, 0, g->n * sizeof(double));
	g->in = in;
	g->out = out;
	visit_training_rows(g->set, visit_product, g);
	if (in)
		for (int i = 0; i < g->n; i++)
			out[i] += g->ridge[i] * in[i];
}

/* n zeros */
static double *
vector(const Gls *g, int n)
{
	return MemoryContextAllocExtended(g->context, mul_size(n, sizeof(double)), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* Conjugate gradients from the given b. */
static void
solve(Gls *g, double *b, const double *right, const double *diagonal)
{
	int			n = g->n;
	double	   *residual = vector(g, n);
	double	   *direction = vector(g, n);
	double	   *product = vector(g, n);
	double	   *scaled = vector(g, n);
	double		rz,
				start;

	apply_normal(g, b, product);
	for (int i = 0; i < n; i++)
	{
		residual[i] = right[i] - product[i];
		direction[i] = scaled[i] = residual[i] / (diagonal[i] + g->ridge[i]);
	}
	rz = dot(residual, scaled, n);
	start = dot(right, right, n);
	for (int step = 0; step < CG_ITERATIONS && dot(residual, residual, n) > CG_TOLERANCE * CG_TOLERANCE * start; step++)
	{
		double		length,
					next;

		apply_normal(g, direction, product);
		length = dot(direction, product, n);
		if (!(length > 0))
			break;
		length = rz / length;
		for (int i = 0; i < n; i++)
		{
			b[i] += length * direction[i];
			residual[i] -= length * product[i];
			scaled[i] = residual[i] / (diagonal[i] + g->ridge[i]);
		}
		next = dot(residual, scaled, n);
		for (int i = 0; i < n; i++)
			direction[i] = scaled[i] + next / rz * direction[i];
		rz = next;
	}
	pfree(residual);
	pfree(direction);
	pfree(product);
	pfree(scaled);
}

static void
gls_init(Gls *g, TaskSet *set, const LearnerSpec *spec, double ridge_category)
{
	memset(g, 0, sizeof(*g));
	g->context = AllocSetContextCreate(CurrentMemoryContext, "meta linear model", ALLOCSET_DEFAULT_SIZES);
	g->set = set;
	g->width = set->encoding->width;
	g->table = MemoryContextAlloc(g->context, sizeof(int) * (g->width.c + 1));
	g->n = g->width.x;
	for (int j = 0; j < g->width.c; j++)
	{
		g->table[j] = g->n;
		g->n += spec->net.embeddings[j].size;
	}
	g->n++;						/* the intercept */
	g->ridge = vector(g, g->n);
	g->column = vector(g, g->n);
	g->touched = MemoryContextAllocHuge(g->context, mul_size(g->n, sizeof(int)));
	for (int i = 0; i < g->n - 1; i++)
		g->ridge[i] = i < g->width.x ? RIDGE_NUMBER : ridge_category;
}

/*
 * One set of coefficients, improving b.  The pass for the right side finds the
 * diagonal as well.
 */
static void
gls_solve(Gls *g, double *b, double *right, double *diagonal)
{
	memset(diagonal, 0, sizeof(double) * g->n);
	g->diagonal = diagonal;
	apply_normal(g, NULL, right);
	g->diagonal = NULL;
	solve(g, b, right, diagonal);
}

static void
store(const Gls *g, const double *b, const TensorList *list, real *theta)
{
	const Tensor *weight = &list->tensors[tensor_find(list, "linear.weight")];

	for (int i = 0; i < g->width.x; i++)
		theta[weight->offset + i] = b[i];
	for (int j = 0; j < g->width.c; j++)
	{
		char		name[TENSOR_NAME_LENGTH];
		const Tensor *table;

		snprintf(name, sizeof(name), "linear.table.%d", j);
		table = &list->tensors[tensor_find(list, name)];
		for (int i = 0; i < table->rows; i++)
			theta[table->offset + i] = b[g->table[j] + i];
	}
	theta[list->tensors[tensor_find(list, "linear.bias")].offset] = b[g->n - 1];
}

VarianceComponents
gls_fit(TaskSet *set, const LearnerSpec *spec, const TensorList *list, real *theta)
{
	Gls			g;
	VarianceComponents components = {0};
	double	   *b,
			   *right,
			   *diagonal;

	gls_init(&g, set, spec, RIDGE_CATEGORY);
	b = vector(&g, g.n);
	right = vector(&g, g.n);
	diagonal = vector(&g, g.n);
	g.lambda = INFINITY;
	for (int round = 0; round < ROUNDS; round++)
	{
		gls_solve(&g, b, right, diagonal);
		g.in = b;
		memset(&g.residuals, 0, sizeof(g.residuals));
		visit_training_rows(set, visit_residuals, &g);
		components = residuals_components(&g.residuals);
		if (fabs(g.lambda * components.task / components.noise - 1) < LAMBDA_CHANGE)
			break;
		g.lambda = components.noise / components.task;
	}
	store(&g, b, list, theta);
	MemoryContextDelete(g.context);
	return components;
}

VarianceComponents
logistic_gls_fit(TaskSet *set, const LearnerSpec *spec, const TensorList *list, real *theta)
{
	Gls			g;
	VarianceComponents components = {0.5, 1};
	double	   *b,
			   *at,
			   *right,
			   *diagonal;

	gls_init(&g, set, spec, LOGIT_RIDGE_CATEGORY);
	b = vector(&g, g.n);
	at = vector(&g, g.n);
	right = vector(&g, g.n);
	diagonal = vector(&g, g.n);
	g.effect = vector(&g, set->n_tasks + 1);
	g.at = at;
	for (int round = 0; round < LOGIT_ROUNDS; round++)
	{
		g.lambda = 1 / components.task;
		gls_solve(&g, b, right, diagonal);
		g.in = b;
		g.effect_squares = g.n_effects = 0;
		visit_training_rows(set, visit_effects, &g);
		components.task = Max(g.effect_squares / Max(g.n_effects, 1), MIN_COMPONENT);
		memcpy(at, b, sizeof(double) * g.n);
	}
	store(&g, b, list, theta);
	MemoryContextDelete(g.context);
	return components;
}
