/*
 * sampler.c
 *	  Which tasks form a meta-batch, and which of their rows are support and
 *	  query.
 */
#include "postgres.h"

#include <math.h>

#include "storage/shmem.h"
#include "utils/memutils.h"

#include "data/episode.h"
#include "nn/image.h"

/*
 * The query rows of an ordered task are drawn from a window after the support
 * this many times their number, so that they are what comes next.
 */
#define QUERY_WINDOW 3

/* Share of rows' categories that are shown as "unknown" in training. */
#define DROP_RATE 0.02

int
task_fold(const Task *task)
{
	/* bits that neither the role nor the order of keys uses */
	return (int) ((task->key * UINT64CONST(0x9E3779B97F4A7C15)) >> 63);
}

/* Padding has weight 0, but 0 times what lies in new memory may be NaN. */
static void *
zeros(Size rows, Size width, Size element)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, mul_size(mul_size(rows, width) + 1, element),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

void
rows_allocate(Rows *rows, Width width, int tasks, int max_rows)
{
	Size		n = mul_size(tasks, max_rows);

	rows->width = width;
	rows->tasks = tasks;
	rows->rows = max_rows;
	rows->x = zeros(n, width.x, sizeof(real));
	rows->c = zeros(n, width.c, sizeof(int32));
	rows->y = zeros(n, width.y, sizeof(real));
	rows->w = zeros(n, 1, sizeof(real));
}

static int
compare_ints(const void *a, const void *b)
{
	return *(const int *) a < *(const int *) b ? -1 : *(const int *) a > *(const int *) b;
}

/*
 * Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", CACM 1987)
 * where few are chosen of many, otherwise one pass of selection sampling.
 */
void
choose_rows(Rng *rng, int total, int n, int *chosen)
{
	int			filled = 0;

	if (total > 64 && n < total / 64 && n <= 256)
	{
		for (int j = total - n; j < total; j++)
		{
			int			candidate = (int) rng_below(rng, j + 1);

			for (int i = 0; i < filled; i++)
				if (chosen[i] == candidate)
				{
					candidate = j;
					break;
				}
			chosen[filled++] = candidate;
		}
		qsort(chosen, filled, sizeof(int), compare_ints);
		return;
	}
	for (int i = 0; i < total && filled < n; i++)
		if (rng_below(rng, total - i) < (uint32) (n - filled))
			chosen[filled++] = i;
}

void
shuffle_rows(Rng *rng, int n, int *chosen)
{
	for (int i = n - 1; i > 0; i--)
	{
		int			j = (int) rng_below(rng, i + 1);
		int			swap = chosen[i];

		chosen[i] = chosen[j];
		chosen[j] = swap;
	}
}

Sampler *
sampler_create(TaskSet *set, const Options *options, const int shots[2], int query, int fold)
{
	Sampler    *sampler = palloc0(sizeof(Sampler));
	int			most = 1;
	double		sum = 0;

	sampler->set = set;
	sampler->seed = options->seed;
	sampler->shots[0] = shots[0];
	sampler->shots[1] = shots[1];
	sampler->query = query;
	sampler->way = Max(set->encoding->way, 1);
	sampler->rotations = options->rotations ? 4 : 1;
	sampler->tasks = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(set->n_tasks + 1, sizeof(int)));
	sampler->cumulative = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(set->n_tasks + 1, sizeof(double)));
	for (int i = 0; i < set->n_tasks; i++)
	{
		const Task *task = &set->tasks[i];

		if (task->role != TASK_TRAIN || task->rows == 0 ||
			(fold != FOLD_ALL && task_fold(task) != fold))
			continue;
		/* a task that never has a row to spare for the query is no help */
		if (task->rows <= shots[0])
			continue;
		sum += Min(task->rows, shots[1] + query);
		most = Max(most, Min(task->rows, shots[1] + QUERY_WINDOW * query));
		sampler->tasks[sampler->n_tasks] = i;
		sampler->cumulative[sampler->n_tasks++] = sum;
	}
	most = Max(most, shots[1] + query);
	sampler->chosen = palloc(sizeof(int) * most);
	sampler->classes = palloc(sizeof(int) * sampler->way);
	sampler->augment = options->augment;
	sampler->image = zeros(1, set->encoding->width.x, sizeof(real));
	return sampler;
}

static const Task *
draw_task(const Sampler *sampler, uint64 iteration, int place)
{
	Rng			rng = rng_stream(sampler->seed, RNG_TASK, iteration, place);
	double		at = rng_uniform(&rng) * sampler->cumulative[sampler->n_tasks - 1];
	int			low = 0;
	int			high = sampler->n_tasks - 1;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (sampler->cumulative[middle] > at)
			high = middle;
		else
			low = middle + 1;
	}
	return &sampler->set->tasks[sampler->tasks[low]];
}

/*
 * A number of support rows: often few, because that is where adaptation is
 * asked for, and none at all in one episode of ten where the range allows it.
 */
int
sampler_draw_shots(const Sampler *sampler, Rng *rng)
{
	int			low = sampler->shots[0];
	int			high = sampler->shots[1];
	double		u = rng_uniform(rng);

	if (low == high)
		return low;
	if (low == 0)
	{
		if (u < 0.1)
			return 0;
		low = 1;
	}
	u = rng_uniform(rng);
	return low + (int) ((high - low + 1) * u * sqrt(u));
}

/*
 * Where the query of an ordered task may start: the first row from cut on
 * that does not tie with the one before it; if there is none, the last such
 * row before cut.
 */
static int
untied_cut(Sampler *sampler, const Task *task, int cut)
{
	int			start = taskset_tie_start(sampler->set, task, cut);
	int			end = start == cut ? cut : taskset_tie_end(sampler->set, task, cut);

	return end < task->rows ? end : start;
}

void
rows_pad(Rows *rows, size_t at, int n)
{
	memset(rows->w + at, 0, n * sizeof(real));
	memset(rows->c + at * rows->width.c, 0, n * rows->width.c * sizeof(int32));
}

/* Places support and query of one task at task position t. */
static int
fill_task(Sampler *sampler, const Task *task, Rng *rng, int t, Rows *support, Rows *query)
{
	TaskSet    *set = sampler->set;
	int			drawn = sampler_draw_shots(sampler, rng);
	int			n_support = Min(drawn, task->rows - 1);
	int			n_query;
	size_t		support_at = (size_t) t * sampler->shots[1];
	size_t		query_at = (size_t) t * sampler->query;
	int		   *chosen = sampler->chosen;

	if (set->encoding->order_by != NIL)
	{
		/* from the beginning in half of the episodes: that is how it is used */
		int			start = rng_uniform(rng) < 0.5 ? 0 : (int) rng_below(rng, task->rows - n_support);
		int			cut = n_support == 0 ? start : untied_cut(sampler, task, start + n_support);
		int			window;

		n_support = Min(n_support, cut);
		if (n_support > 0)
			taskset_read(set, task, Max(0, Min(start, cut - n_support)), n_support, support, support_at);
		window = Min(task->rows - cut, QUERY_WINDOW * sampler->query);
		n_query = Min(window, sampler->query);
		choose_rows(rng, window, n_query, chosen);
		for (int i = 0; i < n_query; i++)
			chosen[i] += cut;
		taskset_read_chosen(set, task, chosen, n_query, query, query_at);
	}
	else
	{
		int			n = Min(task->rows, n_support + sampler->query);

		n_query = n - n_support;
		choose_rows(rng, task->rows, n, chosen);
		/* ascending by now: a shuffle tells support from query */
		shuffle_rows(rng, n, chosen);
		taskset_read_chosen(set, task, chosen, n_support, support, support_at);
		taskset_read_chosen(set, task, chosen + n_support, n_query, query, query_at);
	}
	rows_pad(support, support_at + n_support, sampler->shots[1] - n_support);
	rows_pad(query, query_at + n_query, sampler->query - n_query);
	return n_support;
}

static void
drop_categories(Sampler *sampler, uint64 iteration, int place, Rows *rows, size_t at, int n)
{
	Rng			rng = rng_stream(sampler->seed, RNG_DROP, iteration, place);

	for (size_t i = at * rows->width.c; i < (at + n) * rows->width.c; i++)
		if (rng_uniform(&rng) < DROP_RATE)
			rows->c[i] = 0;
}

/* Shows images otherwise each time that they are drawn, by the option augment. */
static void
augment_images(Sampler *sampler, uint64 iteration, int place, Rows *rows, size_t at, int n)
{
	const Encoding *encoding = sampler->set->encoding;
	Rng			rng = rng_stream(sampler->seed, RNG_AUGMENT, iteration, place);

	for (int i = 0; i < encoding->n_encoders; i++)
	{
		const Encoder *encoder = &encoding->encoders[i];
		Plane		plane = encoder_plane(encoder);

		if (encoder->kind != ENCODER_IMAGE)
			continue;
		for (int r = 0; r < n; r++)
		{
			AffineMap	map = image_draw_map(&rng, sampler->augment, plane);

			if (rows->w[at + r] > 0)
				image_distort(rows->x + (at + r) * rows->width.x + encoder->x, plane, &map, sampler->image);
		}
	}
}

/* Moves tasks of stride rows together to tasks of rows rows. */
static void
compact(Rows *rows, int stride)
{
	Width		width = rows->width;

	if (rows->rows == stride)
		return;
	for (int t = 1; t < rows->tasks; t++)
	{
		size_t		from = (size_t) t * stride;
		size_t		to = (size_t) t * rows->rows;

		memmove(rows->x + to * width.x, rows->x + from * width.x, rows->rows * width.x * sizeof(real));
		memmove(rows->c + to * width.c, rows->c + from * width.c, rows->rows * width.c * sizeof(int32));
		memmove(rows->y + to * width.y, rows->y + from * width.y, rows->rows * width.y * sizeof(real));
		memmove(rows->w + to, rows->w + from, rows->rows * sizeof(real));
	}
}

/* Announces the tasks that an iteration will draw. */
static void
announce(const Sampler *sampler, uint64 iteration, int place)
{
	if (sampler->set->encoding->way > 0)
		episode_announce(sampler, iteration, place);
	else
		taskset_prefetch(sampler->set, draw_task(sampler, iteration, place));
}

void
sampler_fill(Sampler *sampler, uint64 iteration, int place, int n, Rows *support, Rows *query)
{
	int			support_room = sampler->way * sampler->shots[1];
	int			query_room = sampler->way * sampler->query;
	int			most = 0;

	if (taskset_in_file(sampler->set))
		for (int t = 0; t < n; t++)
			announce(sampler, iteration + 1, place + t);
	support->tasks = query->tasks = n;
	query->rows = query_room;
	for (int t = 0; t < n; t++)
	{
		int			n_support;

		if (sampler->set->encoding->way > 0)
			n_support = episode_fill(sampler, iteration, place + t, t, support, query);
		else
		{
			Rng			rng = rng_stream(sampler->seed, RNG_SPLIT, iteration, place + t);
			const Task *task = draw_task(sampler, iteration, place + t);

			n_support = fill_task(sampler, task, &rng, t, support, query);
		}
		most = Max(most, n_support);
		drop_categories(sampler, iteration, 2 * (place + t), support, (size_t) t * support_room, support_room);
		drop_categories(sampler, iteration, 2 * (place + t) + 1, query, (size_t) t * query_room, query_room);
		if (sampler->augment > 0)
		{
			augment_images(sampler, iteration, 2 * (place + t), support, (size_t) t * support_room, support_room);
			augment_images(sampler, iteration, 2 * (place + t) + 1, query, (size_t) t * query_room, query_room);
		}
	}
	support->rows = most;
	compact(support, support_room);
}
