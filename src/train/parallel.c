/*
 * parallel.c
 *	  The slices of a meta-batch, shared with parallel workers.
 *
 * All that is shared lies in the parallel context's segment: what the tapes
 * are built from, theta (of tables by rows, what the meta-batch looks up), the
 * drawn rows (twice, so that the next meta-iteration's can be drawn while this
 * one is computed), and a gradient per slice.  A meta-iteration may take less
 * than a millisecond, so whoever waits looks for a while before it sleeps.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/dsm.h"
#include "storage/shm_toc.h"
#include "storage/spin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "train/parallel.h"

#define KEY_SHARED UINT64CONST(0x6d65746100000001)
#define KEY_NUMBERS UINT64CONST(0x6d65746100000002)

/* Multiplications of a meta-iteration below which workers cost more than they bring. */
#define WORTHWHILE 4e6

/* What PostgreSQL takes beside our segment, for session and transaction: some 1.4 MB. */
#define BESIDE (2 * 1024 * 1024)

/* Where no worker was to be had, the others' may have ended after this. */
#define AGAIN_MILLISECONDS 10000

/* Looks before sleeping: some 50 microseconds. */
#define LOOKS 1000

#define MAX_SLICES 4096
#define MAX_EMBEDDINGS 256

/* The number of a slice, beside which a ticket holds the meta-iteration's. */
#define TICKET_SLICE(ticket) ((int) ((ticket) & 0xffff))
#define TICKET_ROUND(ticket) ((ticket) >> 16)

typedef struct SliceRows
{
	int			tasks;
	int			support_rows;
	int			query_rows;
} SliceRows;

typedef struct TeamShared
{
	char		learner[NAMEDATALEN];
	LearnerSpec spec;			/* its pointers are not valid in a worker */
	Embedding	embeddings[MAX_EMBEDDINGS];
	RowColumn	columns[MaxTupleAttributeNumber];
	TeamSizes	sizes;
	Size		list_size;
	Size		small_size;		/* of MetaStep, for a slice's gradient */
	Size		n_rows;
	int			n_slices;
	double		progress;

	pg_atomic_uint64 ticket;	/* the next slice to be taken */
	pg_atomic_uint32 done;		/* slices of this round */
	pg_atomic_uint32 stop;
	pg_atomic_uint32 started;	/* workers that have the leader's state */
	ConditionVariable work;		/* a round has begun, or there will be none */
	ConditionVariable finished; /* all slices are done */

	double		losses[MAX_SLICES];
	SliceRows	rows[2][MAX_SLICES];
} TeamShared;

struct Team
{
	const Phase *phase;
	MetaStep   *step;
	Sampler    *sampler;
	TeamSizes	sizes;
	int			n_slices;
	Size		size;			/* of the numbers, in bytes */

	/* in a parallel section */
	ParallelContext *context;
	Snapshot	snapshot;		/* until all workers have started */
	TeamShared *shared;
	char	   *numbers;
	int			drawn;			/* meta-iteration whose rows are there, or -1 */
	TimestampTz again;			/* no worker came: not to be tried before */
};

PGDLLEXPORT void meta_train_worker(dsm_segment *segment, shm_toc *toc);

/* The team in a parallel section. */
static Team *current;

/* ---- what is where among the numbers ---- */

static Size
vector_size(Size list_size)
{
	return CACHELINEALIGN(mul_size(list_size + 1, sizeof(real)));
}

/* Bytes of META_SLICE tasks' rows. */
static Size
rows_size(const TeamSizes *sizes, int rows)
{
	Size		n = mul_size(META_SLICE, rows);
	Size		row = sizes->width.x * sizeof(real) + sizes->width.c * sizeof(int32) +
		(sizes->width.y + 1) * sizeof(real);

	return CACHELINEALIGN(mul_size(n, row) + 1);
}

static Size
slice_size(const TeamSizes *sizes)
{
	return rows_size(sizes, sizes->shots) + rows_size(sizes, sizes->query);
}

/* A slice's gradient: its numbers, and which rows they are of. */
static Size
gradient_size(Size small_size, Size n_rows)
{
	return add_size(vector_size(small_size), CACHELINEALIGN(mul_size(n_rows + 1, sizeof(int32))));
}

/* theta, the slices' gradients, their rows twice */
static Size
numbers_size(const TeamSizes *sizes, const MetaStep *step, int n_slices)
{
	return add_size(add_size(vector_size(step->list->size), mul_size(gradient_size(step->small.size, step->n_rows), n_slices)),
					mul_size(slice_size(sizes), mul_size(2, n_slices)));
}

static real *
theta_at(char *numbers)
{
	return (real *) numbers;
}

static SliceGradient
gradient_at(const TeamShared *shared, char *numbers, int slice)
{
	char	   *at = numbers + vector_size(shared->list_size) + gradient_size(shared->small_size, shared->n_rows) * slice;

	return (SliceGradient) {(real *) at, (int32 *) (at + vector_size(shared->small_size))};
}

static void
rows_at(Rows *rows, char *at, const TeamSizes *sizes, int max_rows)
{
	Size		n = (Size) META_SLICE * max_rows;

	rows->width = sizes->width;
	rows->x = (real *) at;
	rows->y = rows->x + n * sizes->width.x;
	rows->w = rows->y + n * sizes->width.y;
	rows->c = (int32 *) (rows->w + n);
}

/* A slice's rows of an even or an odd round. */
static void
slice_rows(const TeamShared *shared, char *numbers, int odd, int slice, Rows *support, Rows *query)
{
	const TeamSizes *sizes = &shared->sizes;
	char	   *at = numbers + vector_size(shared->list_size) +
		gradient_size(shared->small_size, shared->n_rows) * shared->n_slices +
		slice_size(sizes) * ((Size) odd * shared->n_slices + slice);
	const SliceRows *rows = &shared->rows[odd][slice];

	rows_at(support, at, sizes, sizes->shots);
	rows_at(query, at + rows_size(sizes, sizes->shots), sizes, sizes->query);
	support->tasks = query->tasks = rows->tasks;
	support->rows = rows->support_rows;
	query->rows = rows->query_rows;
}

/* ---- the work ---- */

/* Takes slices until there are none left. */
static void
work(TeamShared *shared, char *numbers, MetaStep *step)
{
	while (TICKET_SLICE(pg_atomic_read_u64(&shared->ticket)) < shared->n_slices)
	{
		uint64		ticket = pg_atomic_fetch_add_u64(&shared->ticket, 1);
		int			slice = TICKET_SLICE(ticket);
		SliceGradient gradient = gradient_at(shared, numbers, slice);
		Rows		support;
		Rows		query;

		if (slice >= shared->n_slices)
			return;
		slice_rows(shared, numbers, TICKET_ROUND(ticket) & 1, slice, &support, &query);
		meta_step_draw(step, (int) TICKET_ROUND(ticket), slice * META_SLICE);
		shared->losses[slice] = meta_step_run(step, &support, &query, shared->progress, NULL);
		meta_step_store(step, &gradient);
		/* a full barrier */
		if (pg_atomic_add_fetch_u32(&shared->done, 1) == (uint32) shared->n_slices && IsParallelWorker())
			ConditionVariableSignal(&shared->finished);
	}
}

static bool
round_begun(TeamShared *shared)
{
	return TICKET_SLICE(pg_atomic_read_u64(&shared->ticket)) < shared->n_slices ||
		pg_atomic_read_u32(&shared->stop) != 0;
}

static bool
round_done(TeamShared *shared)
{
	return pg_atomic_read_u32(&shared->done) == (uint32) shared->n_slices;
}

static void
wait_until(TeamShared *shared, bool (*reached) (TeamShared *), ConditionVariable *variable)
{
	for (int i = 0; i < LOOKS; i++)
	{
		if (reached(shared))
			return;
		SPIN_DELAY();
	}
	ConditionVariablePrepareToSleep(variable);
	while (!reached(shared))
		ConditionVariableSleep(variable, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

void
meta_train_worker(dsm_segment *segment, shm_toc *toc)
{
	TeamShared *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	char	   *numbers = shm_toc_lookup(toc, KEY_NUMBERS, false);
	const Learner *learner = learner_find(shared->learner);
	LearnerSpec spec = shared->spec;
	TensorList	list = {0};
	MetaStep	step;

	pg_atomic_fetch_add_u32(&shared->started, 1);
	spec.net.embeddings = shared->embeddings;
	spec.columns = shared->columns;
	spec.options.weight = NULL;
	list.max = learner_max_tensors(&spec.net);
	list.tensors = palloc0(mul_size(list.max, sizeof(Tensor)));
	if (learner == NULL || !learner->layout(&spec, &list) || list.size != shared->list_size)
		elog(ERROR, "the leader trains something else than learner \"%s\" of this worker", shared->learner);
	meta_step_init(&step, memory_arena("worker"), learner, &spec, &list, theta_at(numbers),
				   shared->sizes.lowest, shared->sizes.shots, shared->sizes.query, check_interrupts);
	if (step.fault && strcmp(step.fault, "out of memory") == 0)
		memory_error();
	else if (step.fault)
		elog(ERROR, "cannot build the computation of \"%s\": %s", learner->name, step.fault);

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		wait_until(shared, round_begun, &shared->work);
		if (pg_atomic_read_u32(&shared->stop) != 0)
			break;
		pg_read_barrier();
		work(shared, numbers, &step);
	}
}

/* ---- the leader ---- */

Team *
team_create(const Phase *phase, MetaStep *step, Sampler *sampler, const TeamSizes *sizes)
{
	const Options *options = &phase->spec.options;
	int			n_slices = (options->meta_batch + META_SLICE - 1) / META_SLICE;
	Team	   *team;

	if (max_parallel_maintenance_workers == 0 || IsParallelWorker() || IsInParallelMode() ||
		n_slices < 2 || n_slices > MAX_SLICES ||
		phase->spec.net.n_embeddings > MAX_EMBEDDINGS || phase->spec.n_columns > MaxTupleAttributeNumber ||
		tape_cost(&step->sizes[0].tape) * n_slices < WORTHWHILE ||
		numbers_size(sizes, step, n_slices) > (Size) maintenance_work_mem * 1024)
		return NULL;
	team = palloc0(sizeof(Team));
	team->phase = phase;
	team->step = step;
	team->sampler = sampler;
	team->sizes = *sizes;
	team->n_slices = n_slices;
	team->size = numbers_size(sizes, step, n_slices);
	return team;
}

/* Draws a meta-iteration's rows. */
static void
draw(Team *team, int iteration)
{
	TeamShared *shared = team->shared;
	int			meta_batch = team->phase->spec.options.meta_batch;

	for (int slice = 0; slice < team->n_slices; slice++)
	{
		SliceRows  *drawn = &shared->rows[iteration & 1][slice];
		Rows		support;
		Rows		query;

		slice_rows(shared, team->numbers, iteration & 1, slice, &support, &query);
		sampler_fill(team->sampler, iteration, slice * META_SLICE, Min(META_SLICE, meta_batch - slice * META_SLICE),
					 &support, &query);
		drawn->tasks = support.tasks;
		drawn->support_rows = support.rows;
		drawn->query_rows = query.rows;
	}
	team->drawn = iteration;
}

static void
drop_snapshot(Team *team)
{
	if (team->snapshot)
		UnregisterSnapshotFromOwner(team->snapshot, CurTransactionResourceOwner);
	team->snapshot = NULL;
}

/*
 * Is there a segment of so many bytes to be had?  Where the file system of
 * shared memory is full, and a container's is small, PostgreSQL fails when it
 * asks for one: here that only means to do without workers.  Another session
 * may still be quicker to take the room.
 */
static bool
has_room(Size size)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	dsm_segment *volatile segment = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		segment = dsm_create(size, DSM_CREATE_NULL_IF_MAXSEGMENTS);
		if (segment != NULL)
			dsm_detach(segment);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode != ERRCODE_DISK_FULL && error->sqlerrcode != ERRCODE_OUT_OF_MEMORY)
			ReThrowError(error);
		FreeErrorData(error);
		segment = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return segment != NULL;
}

static bool
enter(Team *team)
{
	const Phase *phase = team->phase;
	ParallelContext *context;
	TeamShared *shared;

	if (current == team)
		return true;
	if (team->again > 0 && GetCurrentTimestamp() < team->again)
		return false;
	team->again = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_MILLISECONDS);
	if (!has_room(add_size(team->size, sizeof(TeamShared) + BESIDE)))
		return false;

	/* the snapshot is for the workers' start alone; none can be taken in parallel mode */
	team->snapshot = RegisterSnapshotOnOwner(GetTransactionSnapshot(), CurTransactionResourceOwner);
	PushActiveSnapshot(team->snapshot);
	EnterParallelMode();
	context = CreateParallelContext("$libdir/meta", "meta_train_worker",
									Min(max_parallel_maintenance_workers, team->n_slices - 1));
	shm_toc_estimate_chunk(&context->estimator, sizeof(TeamShared));
	shm_toc_estimate_chunk(&context->estimator, team->size);
	shm_toc_estimate_keys(&context->estimator, 2);
	InitializeParallelDSM(context);
	if (context->seg != NULL)
	{
		shared = shm_toc_allocate(context->toc, sizeof(TeamShared));
		memset(shared, 0, sizeof(TeamShared));
		strlcpy(shared->learner, phase->learner->name, sizeof(shared->learner));
		shared->spec = phase->spec;
		memcpy(shared->embeddings, phase->spec.net.embeddings, phase->spec.net.n_embeddings * sizeof(Embedding));
		memcpy(shared->columns, phase->spec.columns, phase->spec.n_columns * sizeof(RowColumn));
		shared->sizes = team->sizes;
		shared->list_size = phase->list.size;
		shared->small_size = team->step->small.size;
		shared->n_rows = team->step->n_rows;
		shared->n_slices = team->n_slices;
		pg_atomic_init_u64(&shared->ticket, 0xffff);
		pg_atomic_init_u32(&shared->done, 0);
		pg_atomic_init_u32(&shared->stop, 0);
		pg_atomic_init_u32(&shared->started, 0);
		ConditionVariableInit(&shared->work);
		ConditionVariableInit(&shared->finished);
		shm_toc_insert(context->toc, KEY_SHARED, shared);
		team->shared = shared;
		team->numbers = shm_toc_allocate(context->toc, team->size);
		memset(team->numbers, 0, team->size);
		shm_toc_insert(context->toc, KEY_NUMBERS, team->numbers);
		LaunchParallelWorkers(context);
	}
	PopActiveSnapshot();
	if (context->seg == NULL || context->nworkers_launched == 0)
	{
		DestroyParallelContext(context);
		ExitParallelMode();
		drop_snapshot(team);
		return false;
	}
	team->context = context;
	team->drawn = -1;
	team->again = 0;
	current = team;
	return true;
}

/* theta's rows that these look up, of tables by rows. */
static void
copy_seen(const TensorList *list, const Rows *rows, const real *from, real *to)
{
	size_t		n = (size_t) rows->tasks * rows->rows;

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];
		size_t		size = tensor->cols * sizeof(real);

		if (!tensor->by_rows)
			continue;
		memcpy(to + tensor->offset, from + tensor->offset, size);	/* "unknown" */
		for (size_t r = 0; r < n; r++)
		{
			int32		row = rows->c[r * rows->width.c + tensor->column];
			size_t		at = tensor->offset + (size_t) row * tensor->cols;

			if (row > 0 && row < tensor->rows)
				memcpy(to + at, from + at, size);
		}
	}
}

/* Puts what the meta-batch needs of theta where the workers see it. */
static void
share_theta(Team *team, Outer *outer, int iteration)
{
	const TensorList *list = &team->phase->list;
	real	   *to = theta_at(team->numbers);

	for (int i = 0; i < list->n; i++)
	{
		const Tensor *tensor = &list->tensors[i];

		if (!tensor->by_rows)
			memcpy(to + tensor->offset, team->phase->theta + tensor->offset,
				   (Size) tensor->rows * tensor->cols * sizeof(real));
	}
	for (int slice = 0; slice < team->n_slices && team->step->n_tables > 0; slice++)
	{
		Rows		rows[2];

		slice_rows(team->shared, team->numbers, iteration & 1, slice, &rows[0], &rows[1]);
		for (int i = 0; i < 2; i++)
		{
			outer_see(outer, &rows[i]);
			copy_seen(list, &rows[i], team->phase->theta, to);
		}
	}
}

bool
team_gradient(Team *team, double progress, Outer *outer, double *loss)
{
	const Phase *phase = team->phase;
	TeamShared *shared;
	int			iteration = phase->iteration;

	if (!enter(team))
		return false;
	shared = team->shared;
	if (team->snapshot && pg_atomic_read_u32(&shared->started) == (uint32) team->context->nworkers_launched)
		drop_snapshot(team);
	if (team->drawn != iteration)
		draw(team, iteration);
	share_theta(team, outer, iteration);
	shared->progress = progress;
	pg_atomic_write_u32(&shared->done, 0);
	pg_write_barrier();
	/* what tells a round's rows is its last bit alone */
	pg_atomic_write_u64(&shared->ticket, (uint64) iteration << 16);
	ConditionVariableBroadcast(&shared->work);

	if (iteration + 1 < phase->spec.options.iterations)
		draw(team, iteration + 1);
	work(shared, team->numbers, team->step);
	wait_until(shared, round_done, &shared->finished);
	pg_read_barrier();

	*loss = 0;
	for (int slice = 0; slice < team->n_slices; slice++)
	{
		SliceGradient gradient = gradient_at(shared, team->numbers, slice);

		*loss += shared->losses[slice];
		meta_step_add_stored(team->step, &gradient, outer->gradient);
	}
	return true;
}

void
team_leave(void)
{
	Team	   *team = current;

	if (team == NULL)
		return;
	current = NULL;
	pg_atomic_write_u32(&team->shared->stop, 1);
	ConditionVariableBroadcast(&team->shared->work);
	WaitForParallelWorkersToFinish(team->context);
	DestroyParallelContext(team->context);
	ExitParallelMode();
	drop_snapshot(team);
	team->context = NULL;
	team->shared = NULL;
}

void
team_forget(void)
{
	current = NULL;
}
