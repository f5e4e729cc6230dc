/*
 * episode.c
 *	  N-way episodes: tasks made by sampling N classes and rows of each.
 *
 * With the option rotations, each class is four: its images as they are, and
 * turned by one to three quarters of a circle.  (A. Santoro et al.,
 * "Meta-learning with memory-augmented neural networks", 2016.)
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "data/episode.h"
#include "nn/image.h"

/* Episodes of a panel, as they are usual: more would tell little. */
#define VALIDATION_EPISODES 100
#define TEST_EPISODES 600

/* ... and query rows of each class */
#define PANEL_QUERY 15

/* Query rows of all validation episodes: there may be very many ways. */
#define VALIDATION_ROWS 10000

/* n distinct numbers below total in random order. */
static void
draw(Rng *rng, int total, int n, int *chosen)
{
	choose_rows(rng, total, n, chosen);
	shuffle_rows(rng, n, chosen);
}

/* Rows of one class become rows of an output. */
static void
set_output(Rows *rows, size_t at, int n, int output)
{
	real	   *y = rows->y + at * rows->width.y;

	memset(y, 0, sizeof(real) * n * rows->width.y);
	for (int i = 0; i < n; i++)
		y[(size_t) i * rows->width.y + output] = 1;
}

/* Turns the images of n rows by so many quarters of a circle, anticlockwise. */
static void
turn_images(const Sampler *sampler, int quarters, Rows *rows, size_t at, int n)
{
	const Encoding *encoding = sampler->set->encoding;

	for (int i = 0; i < encoding->n_encoders && quarters > 0; i++)
	{
		const Encoder *encoder = &encoding->encoders[i];

		if (encoder->kind == ENCODER_IMAGE)
			for (int r = 0; r < n; r++)
				image_turn(rows->x + (at + r) * rows->width.x + encoder->x, encoder_plane(encoder), quarters, sampler->image);
	}
}

static void
swap_numbers(real *a, real *b, int n)
{
	for (int i = 0; i < n; i++)
	{
		real		a_i = a[i];

		a[i] = b[i];
		b[i] = a_i;
	}
}

/*
 * Brings n rows from at on into an order that tells nothing of their classes:
 * there are learners that read a task's rows in turn.
 */
static void
shuffle_support(Rng rng, Rows *rows, size_t at, int n)
{
	Width		width = rows->width;

	for (int i = n - 1; i > 0; i--)
	{
		size_t		a = at + i;
		size_t		b = at + rng_below(&rng, i + 1);

		if (a == b)
			continue;
		swap_numbers(rows->x + a * width.x, rows->x + b * width.x, width.x);
		swap_numbers(rows->y + a * width.y, rows->y + b * width.y, width.y);
		swap_numbers(rows->w + a, rows->w + b, 1);
		for (int k = 0; k < width.c; k++)
		{
			int32		code = rows->c[a * width.c + k];

			rows->c[a * width.c + k] = rows->c[b * width.c + k];
			rows->c[b * width.c + k] = code;
		}
	}
}

/* ---- in training ---- */

/* Draws an episode's shots and its classes, each with how far its images are turned. */
static int
draw_classes(const Sampler *sampler, uint64 iteration, int place, Rng *rng)
{
	int			shots;

	*rng = rng_stream(sampler->seed, RNG_EPISODE, iteration, place);
	shots = sampler_draw_shots(sampler, rng);
	draw(rng, sampler->n_tasks * sampler->rotations, sampler->way, sampler->classes);
	return shots;
}

static const Task *
class_task(const Sampler *sampler, int output)
{
	return &sampler->set->tasks[sampler->tasks[sampler->classes[output] / sampler->rotations]];
}

void
episode_announce(const Sampler *sampler, uint64 iteration, int place)
{
	Rng			rng;

	draw_classes(sampler, iteration, place, &rng);
	for (int output = 0; output < sampler->way; output++)
		taskset_prefetch(sampler->set, class_task(sampler, output));
}

int
episode_fill(Sampler *sampler, uint64 iteration, int place, int t, Rows *support, Rows *query)
{
	TaskSet    *set = sampler->set;
	int			way = sampler->way;
	Rng			rng;
	int			shots = draw_classes(sampler, iteration, place, &rng);
	size_t		support_room = (size_t) way * sampler->shots[1];
	size_t		query_room = (size_t) way * sampler->query;
	size_t		support_at = t * support_room;
	size_t		query_at = t * query_room;
	size_t		n_support = 0;
	size_t		n_query = 0;

	for (int output = 0; output < way; output++)
	{
		int			quarters = sampler->classes[output] % sampler->rotations;
		const Task *task = class_task(sampler, output);
		int			k = Min(shots, task->rows - 1);
		int			q = Min(sampler->query, task->rows - k);

		draw(&rng, task->rows, k + q, sampler->chosen);
		taskset_read_chosen(set, task, sampler->chosen, k, support, support_at + n_support);
		turn_images(sampler, quarters, support, support_at + n_support, k);
		set_output(support, support_at + n_support, k, output);
		taskset_read_chosen(set, task, sampler->chosen + k, q, query, query_at + n_query);
		turn_images(sampler, quarters, query, query_at + n_query, q);
		set_output(query, query_at + n_query, q, output);
		n_support += k;
		n_query += q;
	}
	shuffle_support(rng_stream(sampler->seed, RNG_ORDER, iteration, place), support, support_at, (int) n_support);
	rows_pad(support, support_at + n_support, (int) (support_room - n_support));
	rows_pad(query, query_at + n_query, (int) (query_room - n_query));
	return (int) n_support;
}

/* ---- to judge on ---- */

Panel *
episode_panel_create(TaskSet *set, TaskRole role, int way, uint64 seed, int max_shots, int max_tasks, int max_query)
{
	Panel	   *panel = palloc0(sizeof(Panel));
	int			episodes = Min(max_tasks, role == TASK_TEST ? TEST_EPISODES : VALIDATION_EPISODES);
	int		   *usable = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(set->n_tasks + 1, sizeof(int)));
	int			n_usable = 0;
	int		   *chosen = palloc(mul_size(way, sizeof(int)));
	int			per_class;
	size_t		used = 0;

	max_query = Min(max_query, PANEL_QUERY);
	if (role != TASK_TEST)
		max_query = Max(1, Min(max_query, VALIDATION_ROWS / (episodes * way)));
	per_class = max_shots + max_query;
	panel->set = set;
	panel->way = way;
	panel->max_shots = max_shots;
	panel->max_support = way * max_shots;
	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == role)
		{
			if (set->tasks[t].rows > max_shots)
				usable[n_usable++] = t;
			else
				panel->n_too_short++;
		}
	panel->n_classes = n_usable;
	if (n_usable < way)
		return panel;

	panel->tasks = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(episodes, sizeof(PanelTask)));
	panel->rows = MemoryContextAllocHuge(CurrentMemoryContext,
										 mul_size(mul_size(episodes, way), mul_size(per_class, sizeof(int))));
	for (int e = 0; e < episodes; e++)
	{
		Rng			rng = rng_stream(seed, RNG_EPISODE, PG_UINT64_MAX - role, e);
		PanelTask  *pt = &panel->tasks[panel->n_tasks++];
		EpisodeClass *classes = palloc(mul_size(way, sizeof(EpisodeClass)));

		CHECK_FOR_INTERRUPTS();
		draw(&rng, n_usable, way, chosen);
		pt->task = NULL;
		pt->n_query = 0;
		pt->classes = classes;
		for (int output = 0; output < way; output++)
		{
			EpisodeClass *class = &classes[output];

			class->task = &set->tasks[usable[chosen[output]]];
			class->first_row = used;
			class->n_query = Min(class->task->rows - max_shots, max_query);
			draw(&rng, class->task->rows, max_shots + class->n_query, panel->rows + used);
			used += max_shots + class->n_query;
			pt->n_query += class->n_query;
		}
		panel->n_query += pt->n_query;
		panel->max_query = Max(panel->max_query, pt->n_query);
	}
	pfree(usable);
	pfree(chosen);
	return panel;
}

void
episode_support(const Panel *panel, const PanelTask *task, int shots, Rows *rows)
{
	size_t		at = 0;

	for (int output = 0; output < panel->way; output++)
	{
		const EpisodeClass *class = &task->classes[output];

		taskset_read_chosen(panel->set, class->task, panel->rows + class->first_row, shots, rows, at);
		set_output(rows, at, shots, output);
		at += shots;
	}
	shuffle_support(rng_stream(0, RNG_ORDER, task->classes[0].first_row, shots), rows, 0, (int) at);
	rows->tasks = 1;
	rows->rows = (int) at;
}

void
episode_query(const Panel *panel, const PanelTask *task, Rows *rows)
{
	size_t		at = 0;

	for (int output = 0; output < panel->way; output++)
	{
		const EpisodeClass *class = &task->classes[output];

		taskset_read_chosen(panel->set, class->task, panel->rows + class->first_row + panel->max_shots,
							class->n_query, rows, at);
		set_output(rows, at, class->n_query, output);
		at += class->n_query;
	}
	rows->tasks = 1;
	rows->rows = (int) at;
}
