/*
 * binding.c
 *	  A model in use at a call site: rows in, parameters and outputs out.
 *
 * A row's type is matched with the model's columns once and remembered; the
 * learner's tapes are built for a number of rows once and replayed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "sql/callsite.h"

/*
 * Matches the columns of a row type with the model's.
 */
static RowType *
binding_add_row_type(Binding *binding, Oid type, int32 typmod, bool with_target)
{
	MemoryContext context;
	MemoryContext old;
	TupleDesc	desc;
	RowType    *row_type;

	/* Becomes the binding's only when it is whole. */
	context = AllocSetContextCreate(CurrentMemoryContext,
									"meta row type",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	desc = lookup_rowtype_tupdesc(type, typmod);
	row_type = (RowType *) palloc0(sizeof(RowType));
	row_type->type = type;
	row_type->typmod = typmod;
	/* After the lookup, from which on a worker knows an anonymous type. */
	row_type->identifier = assign_record_type_identifier(type, typmod);
	row_type->with_target = with_target;
	row_type->desc = CreateTupleDescCopy(desc);
	ReleaseTupleDesc(desc);
	row_type->reader = row_reader_create(binding->model->encoding, row_type->desc, with_target);
	row_type->values = (Datum *) palloc(sizeof(Datum) * Max(row_type->desc->natts, 1));
	row_type->nulls = (bool *) palloc(sizeof(bool) * Max(row_type->desc->natts, 1));
	MemoryContextSwitchTo(old);

	MemoryContextSetParent(context, binding->context);
	row_type->next = binding->row_types;
	binding->row_types = row_type;
	return row_type;
}

/* The type of a row, matched with the model. */
static RowType *
binding_row_type(Binding *binding, HeapTupleHeader header, bool with_target)
{
	Oid			type = HeapTupleHeaderGetTypeId(header);
	int32		typmod = HeapTupleHeaderGetTypMod(header);
	RowType    *row_type = binding->row_type;

	if (row_type == NULL || row_type->type != type || row_type->typmod != typmod ||
		row_type->with_target != with_target)
	{
		uint64		identifier = assign_record_type_identifier(type, typmod);

		for (row_type = binding->row_types; row_type != NULL; row_type = row_type->next)
			if (row_type->type == type && row_type->typmod == typmod &&
				row_type->identifier == identifier && row_type->with_target == with_target)
				break;
		if (row_type == NULL)
			row_type = binding_add_row_type(binding, type, typmod, with_target);
		binding->row_type = row_type;
	}
	return row_type;
}

static void
deform(RowType *row_type, HeapTupleHeader header)
{
	HeapTupleData tuple;

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, row_type->desc, row_type->values, row_type->nulls);
}

RowType *
binding_read_support(Binding *binding, Datum row, float *w)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	RowType    *row_type = binding_row_type(binding, header, true);
	bool		placed = row_reader_outcome_values(row_type->reader, header, row_type->values, row_type->nulls);

	if (!placed)
		deform(row_type, header);
	if (!row_reader_target(row_type->reader, row_type->values, row_type->nulls, binding->y, w))
		return NULL;
	if (placed && row_reader_row(row_type->reader, header, binding->x, binding->c))
		return row_type;
	if (placed)
		deform(row_type, header);
	row_reader_features(row_type->reader, row_type->values, row_type->nulls, binding->x, binding->c);
	return row_type;
}

void
binding_read(Binding *binding, Datum row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	RowType    *row_type = binding_row_type(binding, header, false);

	if (row_reader_row(row_type->reader, header, binding->x, binding->c))
		return;
	deform(row_type, header);
	row_reader_features(row_type->reader, row_type->values, row_type->nulls, binding->x, binding->c);
}

static void *
apply_grow(void *context, size_t size)
{
	return MemoryContextAllocExtended((MemoryContext) context, size,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void
apply_interrupt(void)
{
	CHECK_FOR_INTERRUPTS();
}

/*
 * A new applier with an empty arena.
 */
static void
binding_start_applier(Binding *binding)
{
	const Component *component = binding->component;

	binding->applier = NULL;
	if (binding->apply_context == NULL)
		binding->apply_context = AllocSetContextCreate(binding->context,
													   "meta learner at work",
													   ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(binding->apply_context);
	arena_init(&binding->arena, apply_grow, binding->apply_context,
			   (size_t) maintenance_work_mem * 1024);
	binding->applier = applier_create(&binding->arena, component->learner, &component->spec,
									  &component->list, component->theta, apply_interrupt);
	if (binding->applier != NULL)
		applier_own_only(binding->applier);
	binding->applier_fresh = true;
}

void
binding_out_of_memory(const char *what, int rows)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("not enough memory to %s on %d rows", what, rows),
			 errdetail("maintenance_work_mem is %d kB.", maintenance_work_mem),
			 errhint("Raise maintenance_work_mem, or give fewer rows of a task.")));
}

/*
 * Was the fault a full arena of an applier that has collected tapes of other
 * shapes?  Then it is started anew, and true is returned.  Not enough room for
 * these rows alone is an error.
 */
static bool
binding_again(Binding *binding, int rows, const char *what)
{
	if (!binding->arena.full)
		return false;
	if (binding->applier_fresh)
		binding_out_of_memory(what, rows);
	binding_start_applier(binding);
	return true;
}

const char *
binding_adapt(Binding *binding, const Rows *support, const real *from, real *to)
{
	const char *fault;

	if (binding->applier == NULL)
		binding_start_applier(binding);
	do
	{
		fault = binding->applier == NULL ? "out of memory" :
			applier_adapt(binding->applier, support, from, to);
	} while (fault != NULL && binding_again(binding, support->rows, "adapt"));
	binding->applier_fresh = false;
	return fault;
}

static void
raise_fault(const char *fault)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("cannot predict with this model: %s", fault)));
}

/* applier_predict or applier_variance */
typedef const char *(*RowsFunction) (Applier *applier, const real *phi, const Rows *rows, real *outputs);

static void
run_rows(Binding *binding, RowsFunction function, const Rows *rows, real *outputs)
{
	const char *fault;

	if (binding->applier == NULL)
		binding_start_applier(binding);
	do
	{
		if (binding->applier != NULL)
			applier_version(binding->applier, binding->phi_version);
		fault = binding->applier == NULL ? "out of memory" :
			function(binding->applier, binding->phi, rows, outputs);
	} while (fault != NULL && binding_again(binding, rows->rows, "predict"));
	if (fault)
		raise_fault(fault);
	binding->applier_fresh = false;
}

void
binding_predict(Binding *binding, const Rows *rows, real *outputs)
{
	const LearnerSpec *spec = &binding->component->spec;

	run_rows(binding, applier_predict, rows, outputs);
	correct_outputs(&binding->correction, spec->loss, outputs, (Size) rows->rows * spec->net.outputs);
}

void
binding_variance(Binding *binding, const Rows *rows, real *variances)
{
	run_rows(binding, applier_variance, rows, variances);
	correct_variances(&binding->correction, variances, rows->rows);
}

void
binding_generator_fault(const char *fault)
{
	if (fault != NULL && strcmp(fault, "out of memory") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("not enough memory to make up rows"),
				 errdetail("maintenance_work_mem is %d kB.", maintenance_work_mem),
				 errhint("Raise maintenance_work_mem.")));
	if (fault != NULL)
		raise_fault(fault);
}

Generator *
binding_generator(Binding *binding)
{
	const Component *component = binding->component;

	if (binding->generator == NULL)
	{
		MemoryContext context = AllocSetContextCreate(binding->context, "meta generator", ALLOCSET_DEFAULT_SIZES);
		Arena	   *arena = (Arena *) MemoryContextAllocZero(context, sizeof(Arena));

		arena_init(arena, apply_grow, context, (size_t) maintenance_work_mem * 1024);
		binding->generator = generator_create(arena, component->learner, &component->spec, &component->list,
											  component->theta, 1, apply_interrupt);
		if (binding->generator == NULL)
			binding_generator_fault("out of memory");
	}
	return binding->generator;
}

/*
 * In N-way episodes the classes are a task's, otherwise the model's.
 */
static void
binding_set_labels(Binding *binding, const TaskParams *params)
{
	const Encoding *encoding = binding->model->encoding;
	MemoryContext old;

	if (params == NULL || encoding->way == 0)
	{
		binding->n_labels = encoding->n_classes;
		binding->labels = encoding->classes;
		return;
	}
	binding->n_labels = 0;
	if (binding->label_context == NULL)
		binding->label_context = AllocSetContextCreate(binding->context, "meta labels of a task", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(binding->label_context);
	old = MemoryContextSwitchTo(binding->label_context);
	binding->labels = (char **) palloc(sizeof(char *) * Max(params->n_labels, 1));
	for (int i = 0; i < params->n_labels; i++)
		binding->labels[i] = pstrdup(params->labels[i]);
	MemoryContextSwitchTo(old);
	binding->n_labels = params->n_labels;
}

/* Memory for a task's own tensors, at the beginning of a cache line. */
static real *
phi_room(Binding *binding)
{
	if (binding->room == NULL)
		binding->room = (real *) CACHELINEALIGN(MemoryContextAllocHuge(binding->context,
																	   add_size(mul_size(sizeof(real), binding->component->list.size),
																				PG_CACHE_LINE_SIZE)));
	return binding->room;
}

/*
 * Can a task's numbers be read where they lie in its params?  They are one run
 * of the model's there, and phi is where that of all tensors would begin.
 */
static bool
can_lend(const Component *component, const bytea *task, const TaskParams *params)
{
	const char *numbers = (const char *) params->phi;

	return component->own.runs != NULL && component->own.n == 1 &&
		numbers >= VARDATA_ANY(task) && numbers < (const char *) task + VARSIZE_ANY(task);
}

int64
binding_set_phi(Binding *binding, const bytea *task, bool kept)
{
	const Component *component = binding->component;
	int64		n = 0;

	binding->phi_serial = 0;
	binding->phi_version++;
	binding->phi = NULL;
	binding->lent = false;
	if (task == NULL)
	{
		Rows		none;
		const char *fault;

		memset(&none, 0, sizeof(none));
		none.width = binding->model->encoding->width;
		none.tasks = 1;
		none.x = binding->x;
		none.c = binding->c;
		none.y = binding->y;
		none.w = binding->y;
		fault = binding_adapt(binding, &none, NULL, phi_room(binding));
		if (fault)
			raise_fault(fault);
		binding_set_labels(binding, NULL);
	}
	else
	{
		TaskParams *params = task_params_decode(task, binding->model);

		binding->lent = kept && can_lend(component, task, params);
		if (binding->lent)
			binding->phi = params->phi - component->own.runs[0].offset;
		else
			task_scatter(component, params->phi, params->memory, phi_room(binding));
		binding_set_labels(binding, params);
		n = params->rows;
	}
	if (!binding->lent)
		binding->phi = binding->room;
	binding->correction = calibration_at(&component->calibration, (double) (binding->model->rows + n));
	return n;
}

void
binding_take_phi(Binding *binding)
{
	const Component *component = binding->component;

	if (!binding->lent)
		return;
	task_scatter(component, binding->phi + component->own.runs[0].offset, 0, phi_room(binding));
	binding->phi = binding->room;
	binding->lent = false;
}
