/*
 * leave_out.c
 *	  What a task's own rows contributed to the effects of its categories.
 *
 * The effect of an item is fitted on the answers of all training tasks.  Where
 * an item has a dozen answers, a training task finds a good part of its own
 * outcomes in the effects it is given, as no new task will: a learner that
 * trains on them learns to trust them too much, and soon validates worse than
 * it began.  So each training task gets the effects as they would be without
 * it.
 *
 * An effect b maximises sum w (y log p + (1 - y) log(1 - p)) - ridge b^2 / 2.
 * With g and h the sums of w (y - p) and w p (1 - p) over a task's rows of the
 * category, and H that of all rows, plus the ridge, one Newton step from b
 * gives the maximum without the task:
 *
 *	  b - g / (H - h)
 *
 * The leave-one-out estimate for generalised linear models (Pregibon, "Logistic
 * regression diagnostics", 1981), of a group of rows.  It is exact for a
 * category that no other task has: the effect is then 0, as of one never seen.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "data/sampler.h"
#include "train/gls.h"
#include "train/leave_out.h"
#include "train/visit.h"

#define EFFECT_STEPS 5

typedef struct LeaveOut
{
	TaskSet    *set;
	const LinearIntercept *model;
	Width		width;
	int		   *first;			/* of each table's categories among all */
	Strides		strides;
	int			chunk;			/* rows looked at together */
	Rows		rows;			/* these, of the task at work */
	double	   *curvature;		/* H of every category */
	double	   *effect;			/* of every task of the set */

	/* the task at work */
	double		slope,
				bend;			/* g, h of its rows */
	double	   *pull;			/* g of every category */
	double	   *own;			/* h */
} LeaveOut;

/* Position of row r's category in column j. */
static inline int
category_of(const LeaveOut *lo, int r, int j)
{
	return lo->first[j] + lo->rows.c[(size_t) r * lo->width.c + j];
}

static double
linear_output(const LeaveOut *lo, int r)
{
	const LinearIntercept *model = lo->model;
	const real *x = lo->rows.x + (size_t) r * lo->width.x;
	const int32 *c = lo->rows.c + (size_t) r * lo->width.c;
	double		sum = model->bias;

	for (int i = 0; i < lo->width.x; i++)
		sum += x[i] * model->weight[i];
	for (int j = 0; j < lo->width.c; j++)
		sum += model->tables[j][c[j]];
	return sum;
}

/* Sums over what the fit looked at of a task's rows, by category as well where that is wanted. */
static void
sum_task(LeaveOut *lo, const Task *task, double effect, bool by_category)
{
	int			n = visit_rows(&lo->strides, task);

	lo->slope = lo->bend = 0;
	for (int from = 0; from < n; from += lo->chunk)
	{
		CHECK_FOR_INTERRUPTS();
		lo->rows.rows = Min(lo->chunk, n - from);
		visit_read(lo->set, &lo->strides, task, from, lo->rows.rows, &lo->rows);
		for (int r = 0; r < lo->rows.rows; r++)
		{
			double		p = 1 / (1 + exp(-linear_output(lo, r) - effect));
			double		g = lo->rows.w[r] * (lo->rows.y[r] - p);
			double		h = lo->rows.w[r] * p * (1 - p);

			lo->slope += g;
			lo->bend += h;
			for (int j = 0; by_category && j < lo->width.c; j++)
			{
				lo->pull[category_of(lo, r, j)] += g;
				lo->own[category_of(lo, r, j)] += h;
			}
		}
	}
}

/* The task's own effect: its posterior's mode. */
static double
task_effect(LeaveOut *lo, const Task *task)
{
	double		precision = lo->model->precision;
	double		effect = 0;

	for (int step = 0; step < EFFECT_STEPS; step++)
	{
		sum_task(lo, task, effect, false);
		effect += Max(-2, Min(2, (lo->slope - precision * effect) / (lo->bend + precision)));
	}
	return effect;
}

/* Of these rows' categories: adds h to H, where that is wanted, and ends the task's sums. */
static void
end_task(LeaveOut *lo, const Task *task, bool add)
{
	int			n = visit_rows(&lo->strides, task);

	for (int from = 0; from < n; from += lo->chunk)
	{
		CHECK_FOR_INTERRUPTS();
		lo->rows.rows = Min(lo->chunk, n - from);
		visit_read(lo->set, &lo->strides, task, from, lo->rows.rows, &lo->rows);
		for (int r = 0; r < lo->rows.rows; r++)
			for (int j = 0; j < lo->width.c; j++)
			{
				int			category = category_of(lo, r, j);

				if (add)
					lo->curvature[category] += lo->own[category];
				lo->pull[category] = lo->own[category] = 0;
			}
	}
}

static void
write_offsets(LeaveOut *lo, const Task *task)
{
	float		offsets[VISIT_MAX_ROWS];

	for (int from = 0; from < task->rows; from += lo->chunk)
	{
		int			n = Min(lo->chunk, task->rows - from);

		CHECK_FOR_INTERRUPTS();
		taskset_read(lo->set, task, from, n, &lo->rows, 0);
		for (int r = 0; r < n; r++)
		{
			double		offset = 0;

			for (int j = 0; j < lo->width.c; j++)
			{
				int			category = category_of(lo, r, j);

				offset -= lo->pull[category] / (lo->curvature[category] - lo->own[category]);
			}
			offsets[r] = offset;
		}
		taskset_set_offsets(lo->set, task, from, n, offsets);
	}
}

/* First all curvatures, then the offsets that follow from them. */
static void
visit_curvature(void *context, const Task *task)
{
	LeaveOut   *lo = context;
	double		effect = task_effect(lo, task);

	lo->effect[task - lo->set->tasks] = effect;
	sum_task(lo, task, effect, true);
	end_task(lo, task, true);
}

static void
visit_offsets(void *context, const Task *task)
{
	LeaveOut   *lo = context;

	sum_task(lo, task, lo->effect[task - lo->set->tasks], true);
	write_offsets(lo, task);
	end_task(lo, task, false);
}

void
leave_out(TaskSet *set, const Network *net, const LinearIntercept *model)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta leave out", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	LeaveOut	lo = {set, model, set->encoding->width};
	Size		n = 0;

	lo.strides = visit_strides(set);
	lo.chunk = visit_chunk(&lo.width);
	lo.effect = MemoryContextAllocHuge(own, mul_size(set->n_tasks + 1, sizeof(double)));
	lo.first = palloc(sizeof(int) * (lo.width.c + 1));
	for (int j = 0; j < lo.width.c; j++)
	{
		lo.first[j] = n;
		n += net->embeddings[j].size;
	}
	lo.curvature = MemoryContextAllocExtended(own, mul_size(3 * n + 1, sizeof(double)), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	lo.pull = lo.curvature + n;
	lo.own = lo.pull + n;
	for (Size i = 0; i < n; i++)
		lo.curvature[i] = LOGIT_RIDGE_CATEGORY;
	rows_allocate(&lo.rows, lo.width, 1, lo.chunk);
	visit_training_tasks(set, visit_curvature, &lo);
	visit_training_tasks(set, visit_offsets, &lo);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}
