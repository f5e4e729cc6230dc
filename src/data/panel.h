/*
 * panel.h
 *	  A fixed set of tasks with fixed support and query rows, to judge on.
 *
 * The same query rows serve every number of shots: with order_by the first
 * rows are the support and later ones the query, and rows that tie never fall
 * on both sides; without, both are a draw keyed by the task.
 */
#ifndef DATA_PANEL_H
#define DATA_PANEL_H

#include "data/sampler.h"

typedef struct PanelTask
{
	const Task *task;
	int			first_row;		/* of its rows in Panel.rows: support in order,
								 * then query */
	int			n_query;
	const struct EpisodeClass *classes; /* an N-way episode's; task is NULL then */
} PanelTask;

typedef struct Panel
{
	TaskSet    *set;
	int			max_shots;		/* in an N-way episode, of each class */
	int			max_support;	/* support rows of one task */
	int			n_tasks;
	PanelTask  *tasks;
	int			n_too_short;	/* tasks of the role without enough rows */
	int			n_tied;			/* ... with enough, but all that follow the
								 * support tie with it */
	int			way;			/* classes of an episode, or 0 */
	int			n_classes;		/* of N-way episodes: the tasks of the role with
								 * enough */
	int64		n_query;		/* query rows in all */
	int			max_query;		/* of one task */
	int		   *rows;			/* row numbers; max_shots + n_query per task */
} Panel;

/*
 * Takes up to max_tasks tasks of the role (evenly spread by key) that have a
 * row for the query after max_shots; at most max_query of each.  For N-way
 * episodes these are classes, of which episodes are drawn; none where there
 * are fewer than N.
 */
extern Panel *panel_create(TaskSet *set, TaskRole role, uint64 seed, int max_shots, int max_tasks, int max_query);

/* At most max_tasks of a panel's tasks, evenly spread; shares its rows. */
extern Panel *panel_thin(const Panel *panel, int max_tasks);

/*
 * The largest of the candidate shots, ascending, that at least share of the
 * role's tasks have rows for (and one more that does not tie with them).  What
 * it would be if no rows tied goes to *without_ties.
 */
extern int	panel_usable_shots(const TaskSet *set, TaskRole role, const int *shots, int n, double share,
							   int *without_ties);

/* Reads the first shots support rows / the query rows of a task. */
extern void panel_support(const Panel *panel, const PanelTask *task, int shots, Rows *rows);
extern void panel_query(const Panel *panel, const PanelTask *task, Rows *rows);

#endif							/* DATA_PANEL_H */
