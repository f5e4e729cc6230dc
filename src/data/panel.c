/*
 * panel.c
 *	  A fixed set of tasks with fixed support and query rows, to judge on.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"

#include "data/episode.h"

/*
 * Where the query starts in an ordered task: the first row from max_shots on
 * that does not tie with the row before it.
 */
static int
query_start(TaskSet *set, const Task *task, int max_shots)
{
	if (max_shots == 0 || taskset_tie_start(set, task, max_shots) == max_shots)
		return max_shots;
	return taskset_tie_end(set, task, max_shots);
}

int
panel_usable_shots(const TaskSet *set, TaskRole role, const int *shots, int n, double share, int *without_ties)
{
	int			usable = 0;

	*without_ties = 0;
	for (int i = 0; i < n; i++)
	{
		int			enough = 0;
		int			long_enough = 0;
		int			all = 0;

		for (int t = 0; t < set->n_tasks; t++)
			if (set->tasks[t].role == role)
			{
				all++;
				enough += set->tasks[t].most_shots >= shots[i];
				long_enough += set->tasks[t].rows > shots[i];
			}
		if (all > 0 && enough >= share * all)
			usable = shots[i];
		if (all > 0 && long_enough >= share * all)
			*without_ties = shots[i];
	}
	return usable;
}

/* Chooses a task's rows into rows; returns the number of query rows. */
static int
choose_task_rows(TaskSet *set, const Task *task, uint64 seed, int max_shots, int max_query, int *rows)
{
	Rng			rng = rng_stream(seed, RNG_EVALUATE, 0, task->key);
	int			start;
	int			n;

	if (set->encoding->order_by != NIL)
	{
		start = query_start(set, task, max_shots);
		for (int i = 0; i < max_shots; i++)
			rows[i] = i;
		n = Min(task->rows - start, max_query);
		/* beyond max_query: spread over what follows */
		choose_rows(&rng, task->rows - start, n, rows + max_shots);
		for (int i = 0; i < n; i++)
			rows[max_shots + i] += start;
		return n;
	}
	n = Min(task->rows, max_shots + max_query);
	choose_rows(&rng, task->rows, n, rows);
	shuffle_rows(&rng, n, rows);
	return n - max_shots;
}

Panel *
panel_create(TaskSet *set, TaskRole role, uint64 seed, int max_shots, int max_tasks, int max_query)
{
	Panel	   *panel;
	int			candidates = 0;
	int			stride;
	int			seen = 0;
	int			used = 0;
	int			capacity = 1024;

	if (set->encoding->way > 0)
		return episode_panel_create(set, role, set->encoding->way, seed, max_shots, max_tasks, max_query);
	panel = palloc0(sizeof(Panel));
	panel->set = set;
	panel->max_shots = panel->max_support = max_shots;
	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == role)
		{
			if (set->tasks[t].most_shots >= max_shots)
				candidates++;
			else if (set->tasks[t].rows > max_shots)
				panel->n_tied++;
			else
				panel->n_too_short++;
		}
	/* Tasks lie in the order of their keys' text: take every stride-th. */
	stride = candidates <= max_tasks ? 1 : (candidates + max_tasks - 1) / max_tasks;
	panel->tasks = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(candidates / stride + 1, sizeof(PanelTask)));
	panel->rows = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(capacity, sizeof(int)));

	for (int t = 0; t < set->n_tasks; t++)
	{
		const Task *task = &set->tasks[t];
		PanelTask  *pt = &panel->tasks[panel->n_tasks];

		if (task->role != role || task->most_shots < max_shots || seen++ % stride != 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (used + max_shots + Min(task->rows, max_query) > capacity)
		{
			capacity = 2 * capacity + max_shots + max_query;
			panel->rows = repalloc_huge(panel->rows, mul_size(capacity, sizeof(int)));
		}
		pt->task = task;
		pt->classes = NULL;
		pt->first_row = used;
		pt->n_query = choose_task_rows(set, task, seed, max_shots, max_query, panel->rows + used);
		used += max_shots + pt->n_query;
		panel->n_query += pt->n_query;
		panel->max_query = Max(panel->max_query, pt->n_query);
		panel->n_tasks++;
	}
	return panel;
}

Panel *
panel_thin(const Panel *panel, int max_tasks)
{
	Panel	   *thin = palloc(sizeof(Panel));
	int			stride = (panel->n_tasks + max_tasks - 1) / Max(max_tasks, 1);

	*thin = *panel;
	if (stride <= 1)
		return thin;
	thin->n_tasks = 0;
	thin->n_query = 0;
	thin->tasks = palloc(mul_size(panel->n_tasks / stride + 1, sizeof(PanelTask)));
	for (int t = 0; t < panel->n_tasks; t += stride)
	{
		thin->tasks[thin->n_tasks++] = panel->tasks[t];
		thin->n_query += panel->tasks[t].n_query;
	}
	return thin;
}

void
panel_support(const Panel *panel, const PanelTask *task, int shots, Rows *rows)
{
	if (task->classes != NULL)
	{
		episode_support(panel, task, shots, rows);
		return;
	}
	rows->tasks = 1;
	rows->rows = shots;
	taskset_read_chosen(panel->set, task->task, panel->rows + task->first_row, shots, rows, 0);
}

void
panel_query(const Panel *panel, const PanelTask *task, Rows *rows)
{
	if (task->classes != NULL)
	{
		episode_query(panel, task, rows);
		return;
	}
	rows->tasks = 1;
	rows->rows = task->n_query;
	taskset_read_chosen(panel->set, task->task, panel->rows + task->first_row + panel->max_shots,
						task->n_query, rows, 0);
}
