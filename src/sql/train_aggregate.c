/*
 * train_aggregate.c
 *	  meta.train as an aggregate: the rows of many tasks -> a model's bytes.
 *
 * For where only SELECT is to be had: a view, a standby, one model per group.
 * The state is a loader that eats the rows as they come, so memory is bounded
 * as it is for the procedure; the final function trains, and returns the
 * bytes that CALL meta.train would have stored.
 *
 * A state that never reaches its final function (a LIMIT, a cursor that is
 * closed) is closed by a callback of the executor.  After an error nothing
 * here needs to be called: PostgreSQL removes the sort's temporary files with
 * the transaction, and the packed rows' file goes with its memory.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "sql/call.h"
#include "sql/request.h"
#include "sql/training.h"

typedef struct TrainState
{
	MemoryContext context;		/* of all below; goes when the model is made */

	/* the arguments, which are the same in all rows of a group */
	text	   *task;
	text	   *target;
	Jsonb	   *options;		/* or NULL */
	TrainRequest request;
	LoadRequest load;

	/* from the first record on */
	Loader	   *loader;			/* or NULL */
	Oid			type;			/* of the records */
	int32		typmod;
	TupleDesc	desc;
	Datum	   *values;
	bool	   *nulls;
} TrainState;

/* ---- arguments ---- */

static bool
same_bytes(const void *held, Datum value)
{
	struct varlena *given = (struct varlena *) DatumGetPointer(value);

	return VARSIZE_ANY_EXHDR(held) == VARSIZE_ANY_EXHDR(given) &&
		memcmp(VARDATA_ANY(held), VARDATA_ANY(given), VARSIZE_ANY_EXHDR(held)) == 0;
}

static void
require_constant(bool constant, const char *name)
{
	if (!constant)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" differs between rows of one group", name),
				 errdetail("One model is trained from all rows of a group."),
				 errhint("Write a constant, or add the argument to GROUP BY.")));
}

static bool
has_options(FunctionCallInfo fcinfo)
{
	return PG_NARGS() > 4 && !PG_ARGISNULL(4);
}

static void
check_arguments(const TrainState *state, FunctionCallInfo fcinfo)
{
	require_constant(same_bytes(state->task, PointerGetDatum(PG_GETARG_TEXT_PP(2))), "task");
	require_constant(same_bytes(state->target, PointerGetDatum(PG_GETARG_TEXT_PP(3))), "target");
	require_constant((state->options != NULL) == has_options(fcinfo) &&
					 (state->options == NULL ||
					  same_bytes(state->options, PointerGetDatum(PG_GETARG_JSONB_P(4)))), "options");
}

/* ---- the state ---- */

static TrainState *
state_create(FunctionCallInfo fcinfo, MemoryContext aggregate)
{
	TrainState *state = MemoryContextAllocZero(aggregate, sizeof(TrainState));
	MemoryContext old;

	state->context = AllocSetContextCreate(aggregate, "meta train aggregate", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(state->context);
	state->task = PG_GETARG_TEXT_P_COPY(2);
	state->target = PG_GETARG_TEXT_P_COPY(3);
	if (has_options(fcinfo))
		state->options = PG_GETARG_JSONB_P_COPY(4);
	request_parse(&state->request, NULL, state->options, true);
	request_load(&state->request, text_to_cstring(state->task), text_to_cstring(state->target),
				 state->request.features, state->request.order_by, &state->load);
	MemoryContextSwitchTo(old);
	return state;
}

/* Called when the aggregate's memory is about to go, unless by an error. */
static void
state_shutdown(Datum arg)
{
	TrainState *state = (TrainState *) DatumGetPointer(arg);
	Loader	   *loader = state->loader;

	state->loader = NULL;
	if (loader != NULL)
		loader_abandon(loader);
}

/* The keys of the table or view whose rows the records are; or NULL. */
static KeyFlags *
type_keys(Oid type)
{
	Oid			relation = type == RECORDOID ? InvalidOid : get_typ_typrelid(type);

	return OidIsValid(relation) && get_rel_relkind(relation) != RELKIND_COMPOSITE_TYPE ? relation_keys(relation) : NULL;
}

static void
state_open_loader(TrainState *state, FunctionCallInfo fcinfo, HeapTupleHeader record)
{
	MemoryContext old = MemoryContextSwitchTo(state->context);
	TupleDesc	desc;

	state->type = HeapTupleHeaderGetTypeId(record);
	state->typmod = HeapTupleHeaderGetTypMod(record);
	desc = lookup_rowtype_tupdesc(state->type, state->typmod);
	state->desc = CreateTupleDescCopy(desc);
	ReleaseTupleDesc(desc);
	state->values = palloc(sizeof(Datum) * Max(state->desc->natts, 1));
	state->nulls = palloc(sizeof(bool) * Max(state->desc->natts, 1));
	state->load.keys = type_keys(state->type);
	state->loader = loader_create(&state->load, state->desc);
	AggRegisterCallback(fcinfo, state_shutdown, PointerGetDatum(state));
	MemoryContextSwitchTo(old);
}

static void
state_add(TrainState *state, HeapTupleHeader record)
{
	HeapTupleData tuple;

	if (HeapTupleHeaderGetTypeId(record) != state->type || HeapTupleHeaderGetTypMod(record) != state->typmod)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the records of one group have different row types"),
				 errhint("Pass the rows of one table or subquery.")));
	if (loader_add_row(state->loader, record))
		return;
	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = record;
	heap_deform_tuple(&tuple, state->desc, state->values, state->nulls);
	loader_add(state->loader, state->values, state->nulls);
}

/* (internal, r record, task text, target text [, options jsonb]) */
PG_FUNCTION_INFO_V1(meta_train_transition);
Datum
meta_train_transition(PG_FUNCTION_ARGS)
{
	TrainState *state = PG_ARGISNULL(0) ? NULL : (TrainState *) PG_GETARG_POINTER(0);
	MemoryContext aggregate;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "meta.train's transition was called outside an aggregate");
	call_require(fcinfo, 2, "task");
	call_require(fcinfo, 3, "target");
	if (state == NULL)
		state = state_create(fcinfo, aggregate);
	else
		check_arguments(state, fcinfo);

	if (!PG_ARGISNULL(1))
	{
		HeapTupleHeader record = PG_GETARG_HEAPTUPLEHEADER(1);

		if (state->loader == NULL)
			state_open_loader(state, fcinfo, record);
		state_add(state, record);
	}
	PG_RETURN_POINTER(state);
}

/* ---- training ---- */

typedef struct Progress
{
	instr_time	start;
	ProgressState notices;
} Progress;

static bool
tick(void *context, const Training *training, const Phase *phase, bool validated)
{
	Progress   *progress = context;
	double		now = seconds_since(progress->start);

	progress_notice(&progress->notices, training, phase, now);
	return training->options.time_limit > 0 && now >= training->options.time_limit;
}

/* The model of a task set, encoded in the memory context result. */
static bytea *
train(TrainRequest *request, TaskSet *set, MemoryContext result)
{
	Progress	progress = {0};
	Training   *training;
	Model	   *model;
	MemoryContext old;
	bytea	   *params;
	bool		ended;
	bool		early;

	INSTR_TIME_SET_CURRENT(progress.start);
	request_settle(request, set);
	training = training_create(request->learner, &request->options, set, request->candidates, request->n_candidates);
	ended = training_run(training, tick, &progress);
	if (training->phases[training->phase].diverged)
		training_diverged(training);
	model = training_finish(training);
	model->training = training_summary(training);

	old = MemoryContextSwitchTo(result);
	params = model_encode(model);
	MemoryContextSwitchTo(old);
	early = !ended && training_early(training);
	ereport(early ? WARNING : NOTICE,
			(early ? errmsg("not trained with %s yet", training->learner->name) :
			 errmsg("trained with %s in %.1f s", training->learner->name, seconds_since(progress.start)),
			 training_detail(training),
			 early ? errhint("The option time_limit ended it before its time: with a larger one it can learn more.") : 0));
	return params;
}

PG_FUNCTION_INFO_V1(meta_train_final);
Datum
meta_train_final(PG_FUNCTION_ARGS)
{
	MemoryContext result = CurrentMemoryContext;
	TrainState *state = PG_ARGISNULL(0) ? NULL : (TrainState *) PG_GETARG_POINTER(0);
	Loader	   *loader;
	TaskSet    *set;
	bytea	   *volatile params = NULL;

	if (AggCheckCallContext(fcinfo, NULL) != AGG_CONTEXT_AGGREGATE)
		elog(ERROR, "meta.train's final function was called outside an aggregate");
	/* nothing but NULL records is nothing */
	if (state == NULL || state->loader == NULL)
		PG_RETURN_NULL();

	loader = state->loader;
	state->loader = NULL;		/* finishing ends it, by an error too */
	MemoryContextSwitchTo(state->context);
	set = loader_finish(loader);
	PG_TRY();
	{
		params = train(&state->request, set, result);
	}
	PG_FINALLY();
	{
		taskset_close(set);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(result);

	/* other groups are still to be trained */
	MemoryContextDelete(state->context);
	PG_RETURN_BYTEA_P(params);
}
