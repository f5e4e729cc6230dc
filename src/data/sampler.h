/*
 * sampler.h
 *	  Which tasks form a meta-batch, and which of their rows are support and
 *	  query.
 *
 * Every draw is keyed by (seed, meta-iteration, place in the batch), so a
 * resumed training draws what an uninterrupted one would have drawn.
 */
#ifndef DATA_SAMPLER_H
#define DATA_SAMPLER_H

#include "data/taskset.h"
#include "nn/rng.h"

/* Which training tasks a sampler draws from, for cross-fitting. */
#define FOLD_ALL (-1)

typedef struct Sampler
{
	TaskSet    *set;
	uint64		seed;
	int			shots[2];
	int			query;
	int			way;			/* classes of an episode; 1: a task is one of the
								 * task key's */
	int			rotations;		/* classes that a task's images make in episodes:
								 * 1, or 4 by quarter turns */
	double		augment;		/* how strongly images are distorted; 0: not */
	int			n_tasks;
	int		   *tasks;			/* positions in set->tasks */
	double	   *cumulative;		/* of the tasks' weights */
	int		   *chosen;			/* scratch: row numbers of one task */
	real	   *image;			/* scratch */
	int		   *classes;		/* scratch: positions in tasks, of an episode */
} Sampler;

/*
 * Draws training tasks of a fold (0 or 1, by a hash of the key; FOLD_ALL:
 * all), in proportion to their rows up to what an episode can use.  In N-way
 * episodes the tasks are classes, drawn alike, and shots and query are per
 * class.
 */
extern Sampler *sampler_create(TaskSet *set, const Options *options, const int shots[2], int query, int fold);

/*
 * Fills support and query with the tasks at places [place, place + n) of a
 * meta-iteration's batch.  Their arrays must hold n tasks of way * shots[1]
 * and way * query rows; support->rows is set to what the largest support needs.
 */
extern void sampler_fill(Sampler *sampler, uint64 iteration, int place, int n, Rows *support, Rows *query);

/* A number of support rows (of each class). */
extern int	sampler_draw_shots(const Sampler *sampler, Rng *rng);

/* The fold of a task. */
extern int	task_fold(const Task *task);

/* Memory for tasks x rows rows, in the current context. */
extern void rows_allocate(Rows *rows, Width width, int tasks, int max_rows);

/* Makes n rows padding: of weight 0, and of no category. */
extern void rows_pad(Rows *rows, size_t at, int n);

/* n distinct numbers below total, ascending, into chosen. */
extern void choose_rows(Rng *rng, int total, int n, int *chosen);

/* Puts n numbers into a random order. */
extern void shuffle_rows(Rng *rng, int n, int *chosen);

#endif							/* DATA_SAMPLER_H */
