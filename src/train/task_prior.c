/*
 * task_prior.c
 *	  How training tasks are spread among a generative learner's latent
 *	  variables, so that a task made up from nothing lies among them.
 *
 * The spread of the tasks' posteriors, a normal distribution: the mean of their
 * means, and the covariance of these with the mean of their variances.  It is
 * worked out when training has ended, and not learned (as in P. Ghosh et al.,
 * "From variational to deterministic autoencoders", ICLR 2020, where a density
 * is fitted to the codes afterwards).
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "data/episode.h"
#include "learn/apply.h"
#include "nn/blas.h"
#include "train/task_prior.h"
#include "train/visit.h"

/* Rows of a task that are looked at, and tasks. */
#define TASK_ROWS 256
#define MAX_TASKS 4096

/* Added to variances, so that there is a root. */
#define LEAST_VARIANCE 1e-6

typedef struct Spread
{
	TaskSet    *set;
	const char *name;
	Applier    *applier;
	Generator  *generator;
	Rows		rows;
	int			most_rows;		/* that there is room for */
	real	   *phi;
	real	   *mean;			/* of a task */
	real	   *deviation;
	int			d;
	int64		seen;
	int64		stride;
	int64		n;
	double	   *sum;			/* of means, (d) */
	double	   *products;		/* of them with each other, and of variances, (d, d) */
} Spread;

static void
visit_task(void *context, const Task *task)
{
	Spread	   *s = context;
	const char *fault;

	if (s->seen++ % s->stride != 0)
		return;
	CHECK_FOR_INTERRUPTS();
	s->rows.rows = Min(task->rows, s->most_rows);
	taskset_read(s->set, task, 0, s->rows.rows, &s->rows, 0);
	fault = applier_adapt(s->applier, &s->rows, NULL, s->phi);
	if (fault == NULL)
		fault = generator_task(s->generator, s->phi, s->mean, s->deviation);
	if (fault != NULL && strcmp(fault, "out of memory") == 0)
		computation_error(s->name, fault);
	/* a task that it diverges on says nothing of the others */
	for (int i = 0; i < s->d && fault == NULL; i++)
		if (!isfinite(s->mean[i]) || !isfinite(s->deviation[i]))
			fault = "not finite";
	if (fault != NULL)
		return;
	s->n++;
	for (int i = 0; i < s->d; i++)
	{
		s->sum[i] += s->mean[i];
		for (int j = 0; j < s->d; j++)
			s->products[i * s->d + j] += (double) s->mean[i] * s->mean[j];
		s->products[i * s->d + i] += (double) s->deviation[i] * s->deviation[i];
	}
}

/* Into theta; false where the covariance has no root. */
static bool
set_spread(Spread *s, const Generative *generative, const Component *component, real *theta)
{
	int			d = s->d;
	int			info;
	real	   *root = palloc(sizeof(real) * d * d);
	double	   *lower = palloc0(sizeof(double) * d * d);

	for (int i = 0; i < d; i++)
		s->sum[i] /= (double) s->n;
	for (int i = 0; i < d; i++)
		for (int j = 0; j < d; j++)
			root[i * d + j] = s->products[i * d + j] / (double) s->n - s->sum[i] * s->sum[j] + (i == j ? LEAST_VARIANCE : 0);
	/* what is the upper triangle to Fortran is the lower one here */
	lapack_potrf("U", &d, root, &d, &info, 1);
	for (int i = 0; i < d; i++)
		for (int j = 0; j <= i; j++)
			lower[i * d + j] = root[i * d + j];
	if (info == 0)
		generative->set_prior(&component->spec, &component->list, s->sum, lower, theta);
	return info == 0;
}

void
task_prior_fit(const Training *training, Component *component)
{
	const Generative *generative = component->learner->generative;
	MemoryContext own;
	MemoryContext old;
	Spread		s = {.set = training->set, .name = component->learner->name};
	int64		tasks = 0;
	Arena	   *arena;
	real	   *theta;

	if (generative == NULL || component->spec.options.row_weight == 0 || training->set->encoding->way > 0)
		return;
	theta = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(real) * Max(component->list.size, 1));
	memcpy(theta, component->theta, sizeof(real) * component->list.size);

	own = AllocSetContextCreate(CurrentMemoryContext, "meta task prior", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(own);
	arena = memory_arena("task prior");
	s.d = generative->latent(&component->spec);
	s.applier = applier_create(arena, component->learner, &component->spec, &component->list, theta, check_interrupts);
	s.generator = generator_create(arena, component->learner, &component->spec, &component->list, theta, 1, check_interrupts);
	if (s.applier == NULL || s.generator == NULL)
		memory_error();
	s.most_rows = Min(TASK_ROWS, visit_chunk(&training->set->encoding->width));
	rows_allocate(&s.rows, training->set->encoding->width, 1, s.most_rows);
	s.phi = MemoryContextAllocHuge(own, sizeof(real) * Max(component->list.size, 1));
	s.mean = palloc(sizeof(real) * s.d);
	s.deviation = palloc(sizeof(real) * s.d);
	s.sum = palloc0(sizeof(double) * s.d);
	s.products = palloc0(sizeof(double) * s.d * s.d);
	for (int t = 0; t < training->set->n_tasks; t++)
		tasks += training->set->tasks[t].role == TASK_TRAIN;
	s.stride = tasks / MAX_TASKS + 1;
	visit_training_tasks(training->set, visit_task, &s);
	if (s.n > 0 && set_spread(&s, generative, component, theta))
		component->theta = theta;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}
