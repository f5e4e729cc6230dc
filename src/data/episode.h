/*
 * episode.h
 *	  N-way episodes: tasks made by sampling N classes and rows of each.
 *
 * The task key's tasks are the classes then.  Which of an episode's classes is
 * which output is drawn with them, so nothing can be learned about a class
 * but how to tell it apart.  (O. Vinyals et al., "Matching networks for one
 * shot learning", 2016.)
 */
#ifndef DATA_EPISODE_H
#define DATA_EPISODE_H

#include "data/panel.h"

/* One class of a fixed episode. */
typedef struct EpisodeClass
{
	const Task *task;
	size_t		first_row;		/* of its rows in Panel.rows: max_shots support
								 * in order, then query */
	int			n_query;
} EpisodeClass;

/*
 * Places an episode at task position t of support and query: support rows, the
 * classes mixed, are returned in number, the others get weight 0.
 */
extern int	episode_fill(Sampler *sampler, uint64 iteration, int place, int t, Rows *support, Rows *query);

/* Announces the rows of an episode's classes (taskset_prefetch). */
extern void episode_announce(const Sampler *sampler, uint64 iteration, int place);

/*
 * What panel_create, panel_support and panel_query do for episodes, of way
 * classes: as many as the encoding has outputs, or fewer.
 */
extern Panel *episode_panel_create(TaskSet *set, TaskRole role, int way, uint64 seed, int max_shots, int max_tasks, int max_query);
extern void episode_support(const Panel *panel, const PanelTask *task, int shots, Rows *rows);
extern void episode_query(const Panel *panel, const PanelTask *task, Rows *rows);

#endif							/* DATA_EPISODE_H */
