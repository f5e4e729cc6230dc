/*
 * adapt.c
 *	  meta.adapt: the rows of one task -> its parameters, an aggregate.
 *
 * The state collects the encoded rows.  Each lies in a growing buffer as
 *
 *		length of its order key (uint32), the key, x (float), c (int32),
 *		y (float, or the class number as int32), w (float)
 *
 * In N-way episodes, where rows have no order, the key is the class's label.
 * Which output stands for which label is settled when all of them are known.
 *
 * Only the final function adapts, after sorting the rows by order key and then
 * by their bytes: whatever the plan, the number of workers or the order in
 * the table, the learner sees the same rows in the same order and returns
 * the same bytes.  It leaves the state alone, so the aggregate can be used as
 * a window function.
 *
 * The model is named in a state by its digest.  A state carries a model's
 * bytes only where the catalog does not have it, and then the params that
 * are returned hold the model too.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "data/column.h"
#include "data/hash.h"
#include "sql/callsite.h"

typedef struct AdaptState
{
	MemoryContext context;		/* the group's */
	char		digest[DIGEST_LENGTH + 1];	/* of the model */
	uint64		serial;			/* of the argument that was last found to be
								 * the group's, at the transition's call site */
	bytea	   *model;			/* its bytes, or NULL: the catalog has them */
	bytea	   *task;			/* task params to go on from, or NULL */
	int64		rows;
	Size		used;			/* of data */
	Size		room;
	char	   *data;
} AdaptState;

/* What goes from a worker to the leader, before the parts themselves. */
typedef struct AdaptMessage
{
	char		digest[DIGEST_LENGTH + 1];
	int64		rows;
	Size		model;			/* size of each part; 0: it is NULL */
	Size		task;
	Size		data;
} AdaptMessage;

/* The classes of an N-way episode, by output. */
typedef struct Labels
{
	int			n;
	char	  **names;			/* room for as many as there are ways */
} Labels;

/* A row in the buffer, to be sorted. */
typedef struct AdaptRow
{
	const char *key;			/* of order_by; in N-way episodes, the label */
	uint32		key_length;
	const char *row;
	uint64		place;			/* among rows without an order */
	int32		output;			/* of the label */
} AdaptRow;

/* Bytes of a row after its key. */
static Size
row_size(const Encoding *encoding)
{
	return sizeof(float) * encoding->width.x +
		sizeof(int32) * encoding->width.c +
		(encoding->target_kind == TARGET_CLASS ? sizeof(int32) : sizeof(float) * encoding->width.y) +
		sizeof(float);
}

static AdaptState *
state_create(MemoryContext context, const char *digest)
{
	AdaptState *state = (AdaptState *) MemoryContextAllocZero(context, sizeof(AdaptState));

	state->context = context;
	memcpy(state->digest, digest, DIGEST_LENGTH);
	return state;
}

static bytea *
bytea_copy(MemoryContext context, const bytea *bytes)
{
	bytea	   *copy;

	if (bytes == NULL)
		return NULL;
	copy = (bytea *) MemoryContextAlloc(context, VARSIZE(bytes));
	memcpy(copy, bytes, VARSIZE(bytes));
	return copy;
}

static bool
bytea_equal(const bytea *a, const bytea *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

/*
 * Room for size more bytes, which the caller fills.
 */
static char *
state_append(AdaptState *state, Size size)
{
	char	   *at;

	/* A worker's state must fit a bytea with its other parts. */
	if (size > MaxAllocSize / 2 - state->used)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many rows of one task to adapt on"),
				 errdetail("The encoded rows of a task take at most %zu MB; " INT64_FORMAT " rows reached that.",
						   (Size) (MaxAllocSize / 2) / (1024 * 1024), state->rows),
				 errhint("Adapt on fewer rows of the task.")));
	if (state->used + size > state->room)
	{
		Size		room = Max(Max(state->room * 2, state->used + size), 256);

		state->data = state->data == NULL ? MemoryContextAlloc(state->context, room) :
			repalloc(state->data, room);
		state->room = room;
	}
	at = state->data + state->used;
	state->used += size;
	return at;
}

static void
raise_different_models(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the rows of one group have different models or params"),
			 errdetail("They are adapted on together, so they must start from the same."),
			 errhint("Add the first argument of meta.adapt to GROUP BY.")));
}

/*
 * Encodes a row into the state, unless it has nothing to learn from.
 */
static void
state_add_row(AdaptState *state, Binding *binding, Datum row)
{
	const Encoding *encoding = binding->model->encoding;
	RowType    *row_type;
	StringInfo	key = &binding->key;
	Size		x_size = sizeof(float) * encoding->width.x;
	Size		c_size = sizeof(int32) * encoding->width.c;
	float		w;
	uint32		key_length;
	char	   *at;

	row_type = binding_read_support(binding, row, &w);
	if (row_type == NULL)
		return;
	resetStringInfo(key);
	if (encoding->way > 0)
	{
		char		buffer[LABEL_BUFFER];
		int			length;
		const char *label = row_reader_label(row_type->reader, row_type->values, buffer, &length);

		appendBinaryStringInfo(key, label, length);
	}
	else
		row_reader_order_key(row_type->reader, row_type->values, row_type->nulls, key);

	key_length = (uint32) key->len;
	at = state_append(state, sizeof(key_length) + key_length + row_size(encoding));
	memcpy(at, &key_length, sizeof(key_length));
	at += sizeof(key_length);
	memcpy(at, key->data, key_length);
	at += key_length;
	memcpy(at, binding->x, x_size);
	at += x_size;
	memcpy(at, binding->c, c_size);
	at += c_size;
	if (encoding->target_kind == TARGET_CLASS)
	{
		int32		label = 0;

		while (encoding->way == 0 && label < encoding->width.y - 1 && binding->y[label] == 0)
			label++;
		memcpy(at, &label, sizeof(label));
		at += sizeof(label);
	}
	else
	{
		memcpy(at, binding->y, sizeof(float) * encoding->width.y);
		at += sizeof(float) * encoding->width.y;
	}
	memcpy(at, &w, sizeof(w));
	state->rows++;
}

/*
 * Adds a row to a group.  by_name: the model argument is a name, not params.
 */
static Datum
adapt_transition(FunctionCallInfo fcinfo, bool by_name)
{
	AdaptState *state = PG_ARGISNULL(0) ? NULL : (AdaptState *) PG_GETARG_POINTER(0);
	MemoryContext aggregate;
	CallSite   *site;
	const Subject *subject;
	Binding    *binding = NULL;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "meta.adapt's transition was called outside an aggregate");
	if (PG_ARGISNULL(1))
	{
		if (by_name)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the name of the model must not be null")));
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the params to adapt must not be null"),
				 errhint("Where a task may have none yet, start from the model: coalesce(params, meta.params('...')).")));
	}

	site = callsite_get(fcinfo, -1);
	subject = by_name ? callsite_name(site, PG_GETARG_DATUM(1)) : callsite_params(site, PG_GETARG_DATUM(1));

	if (state == NULL || state->serial != subject->serial)
	{
		bytea	   *bytes = by_name ? NULL : callsite_bytes(site, PG_GETARG_DATUM(1));
		bytea	   *model = !by_name && subject->kind == PARAMS_MODEL ? bytes : NULL;
		bytea	   *task = !by_name && subject->kind == PARAMS_TASK ? bytes : NULL;

		binding = callsite_bind(site, subject->digest, model);
		if (state == NULL)
		{
			state = state_create(aggregate, subject->digest);
			if (model != NULL && !callsite_is_stored(binding))
				state->model = bytea_copy(aggregate, model);
			state->task = bytea_copy(aggregate, task);
		}
		else if (memcmp(state->digest, subject->digest, DIGEST_LENGTH) != 0 ||
				 !bytea_equal(state->task, task))
			raise_different_models();
		state->serial = subject->serial;
	}

	if (!PG_ARGISNULL(2))
	{
		if (binding == NULL)
			binding = callsite_bind(site, state->digest, state->model);
		state_add_row(state, binding, PG_GETARG_DATUM(2));
	}
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(meta_adapt_model_transition);
Datum
meta_adapt_model_transition(PG_FUNCTION_ARGS)
{
	return adapt_transition(fcinfo, true);
}

PG_FUNCTION_INFO_V1(meta_adapt_params_transition);
Datum
meta_adapt_params_transition(PG_FUNCTION_ARGS)
{
	return adapt_transition(fcinfo, false);
}

PG_FUNCTION_INFO_V1(meta_adapt_combine);
Datum
meta_adapt_combine(PG_FUNCTION_ARGS)
{
	AdaptState *into = PG_ARGISNULL(0) ? NULL : (AdaptState *) PG_GETARG_POINTER(0);
	AdaptState *from = PG_ARGISNULL(1) ? NULL : (AdaptState *) PG_GETARG_POINTER(1);
	MemoryContext aggregate;

	if (!AggCheckCallContext(fcinfo, &aggregate))
		elog(ERROR, "meta.adapt's combine function was called outside an aggregate");
	if (from == NULL)
	{
		if (into == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(into);
	}

	if (into == NULL)
	{
		into = state_create(aggregate, from->digest);
		into->model = bytea_copy(aggregate, from->model);
		into->task = bytea_copy(aggregate, from->task);
	}
	else if (memcmp(into->digest, from->digest, DIGEST_LENGTH) != 0 ||
			 !bytea_equal(into->task, from->task))
		raise_different_models();
	if (from->used > 0)
		memcpy(state_append(into, from->used), from->data, from->used);
	into->rows += from->rows;
	PG_RETURN_POINTER(into);
}

static char *
append_part(char *at, const void *part, Size size)
{
	if (size > 0)
		memcpy(at, part, size);
	return at + size;
}

PG_FUNCTION_INFO_V1(meta_adapt_serialize);
Datum
meta_adapt_serialize(PG_FUNCTION_ARGS)
{
	const AdaptState *state = (const AdaptState *) PG_GETARG_POINTER(0);
	AdaptMessage message;
	Size		size;
	bytea	   *result;
	char	   *at;

	memset(&message, 0, sizeof(message));
	memcpy(message.digest, state->digest, sizeof(message.digest));
	message.rows = state->rows;
	message.model = state->model == NULL ? 0 : VARSIZE(state->model);
	message.task = state->task == NULL ? 0 : VARSIZE(state->task);
	message.data = state->used;

	/* Fits: each part's size is limited when it is made. */
	size = VARHDRSZ + sizeof(message) + message.model + message.task + message.data;
	result = (bytea *) palloc(size);
	SET_VARSIZE(result, size);
	at = append_part(VARDATA(result), &message, sizeof(message));
	at = append_part(at, state->model, message.model);
	at = append_part(at, state->task, message.task);
	append_part(at, state->data, message.data);
	PG_RETURN_BYTEA_P(result);
}

static void *
take_part(const char **at, Size size)
{
	void	   *part = NULL;

	if (size > 0)
	{
		part = palloc(size);
		memcpy(part, *at, size);
		*at += size;
	}
	return part;
}

PG_FUNCTION_INFO_V1(meta_adapt_deserialize);
Datum
meta_adapt_deserialize(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	const char *at = VARDATA_ANY(bytes);
	AdaptMessage message;
	AdaptState *state;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "meta.adapt's deserialize function was called outside an aggregate");
	memcpy(&message, at, sizeof(message));
	at += sizeof(message);
	Assert(VARSIZE_ANY_EXHDR(bytes) == sizeof(message) + message.model + message.task + message.data);

	state = state_create(CurrentMemoryContext, message.digest);
	state->rows = message.rows;
	state->model = take_part(&at, message.model);
	state->task = take_part(&at, message.task);
	state->data = take_part(&at, message.data);
	state->used = state->room = message.data;
	PG_RETURN_POINTER(state);
}

static int
compare_keys(const void *a, const void *b, void *unused)
{
	const AdaptRow *left = (const AdaptRow *) a;
	const AdaptRow *right = (const AdaptRow *) b;
	int			order = memcmp(left->key, right->key, Min(left->key_length, right->key_length));

	CHECK_FOR_INTERRUPTS();
	if (order == 0 && left->key_length != right->key_length)
		order = left->key_length < right->key_length ? -1 : 1;
	return order;
}

static int
compare_places(const AdaptRow *left, const AdaptRow *right, Size size)
{
	if (left->place != right->place)
		return left->place < right->place ? -1 : 1;
	return memcmp(left->row, right->row, size);
}

/* In their order, and without one as they are mixed in training. */
static int
compare_rows(const void *a, const void *b, void *size)
{
	int			order = compare_keys(a, b, NULL);

	return order != 0 ? order : compare_places((const AdaptRow *) a, (const AdaptRow *) b, *(Size *) size);
}

/* Of classes, whose labels tell nothing of when a row should be read. */
static int
compare_drawings(const void *a, const void *b, void *size)
{
	const AdaptRow *left = (const AdaptRow *) a;
	const AdaptRow *right = (const AdaptRow *) b;
	int			order = compare_places(left, right, *(Size *) size);

	CHECK_FOR_INTERRUPTS();
	return order != 0 ? order : left->output - right->output;
}

/*
 * The output of a label: that of a label known before, or the next one.
 */
static int32
label_output(Labels *labels, const Encoding *encoding, const char *text, uint32 length)
{
	int			i;

	for (i = 0; i < labels->n; i++)
		if (strlen(labels->names[i]) == length && memcmp(labels->names[i], text, length) == 0)
			return i;
	if (labels->n == encoding->way)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the rows have more than the %d classes that the model can tell apart", encoding->way),
				 errdetail("\"%.*s\" is one too many in the column \"%s\".", (int) length, text, encoding->target),
				 errhint("Adapt to rows of fewer classes, or train with a larger option way.")));
	labels->names[labels->n] = pnstrdup(text, length);
	return labels->n++;
}

/*
 * The state's rows, sorted and unpacked.  In N-way episodes new labels are
 * added to those known before, in bytewise order.  Rows without an order get
 * one that the plan has no part in, and that tells nothing of them: there are
 * learners that read a task's rows in turn, or in batches.
 */
static void
state_rows(const AdaptState *state, const Encoding *encoding, Labels *labels, Rows *rows)
{
	Width		width = encoding->width;
	Size		size = row_size(encoding);
	Size		n = state->rows;
	AdaptRow   *sorted = (AdaptRow *) MemoryContextAllocHuge(CurrentMemoryContext,
															 sizeof(AdaptRow) * Max(n, 1));
	const char *at = state->data;
	Size		i;

	/* a class is one number in the state, and as many here as there are classes */
	if (encoding->target_kind == TARGET_CLASS &&
		mul_size(n, sizeof(real) * width.y) > (Size) maintenance_work_mem * 1024)
		binding_out_of_memory("adapt", (int) n);
	for (i = 0; i < n; i++)
	{
		memcpy(&sorted[i].key_length, at, sizeof(uint32));
		sorted[i].key = at + sizeof(uint32);
		sorted[i].row = sorted[i].key + sorted[i].key_length;
		sorted[i].place = hash_bytes64(sorted[i].row, size);
		at = sorted[i].row + size;
	}
	Assert(at == state->data + state->used);
	if (encoding->way > 0)
	{
		qsort_arg(sorted, n, sizeof(AdaptRow), compare_keys, NULL);
		for (i = 0; i < n; i++)
			sorted[i].output = label_output(labels, encoding, sorted[i].key, sorted[i].key_length);
		qsort_arg(sorted, n, sizeof(AdaptRow), compare_drawings, &size);
	}
	else
		qsort_arg(sorted, n, sizeof(AdaptRow), compare_rows, &size);

	rows->width = width;
	rows->tasks = 1;
	rows->rows = (int) n;
	rows->x = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(real) * Max(n * width.x, 1));
	rows->c = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int32) * Max(n * width.c, 1));
	rows->y = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(real) * Max(n * width.y, 1));
	rows->w = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(real) * Max(n, 1));
	for (i = 0; i < n; i++)
	{
		real	   *y = rows->y + i * width.y;

		CHECK_FOR_INTERRUPTS();
		at = sorted[i].row;
		memcpy(rows->x + i * width.x, at, sizeof(real) * width.x);
		at += sizeof(real) * width.x;
		memcpy(rows->c + i * width.c, at, sizeof(int32) * width.c);
		at += sizeof(int32) * width.c;
		if (encoding->target_kind == TARGET_CLASS)
		{
			int32		label;

			memcpy(&label, at, sizeof(label));
			at += sizeof(label);
			if (encoding->way > 0)
				label = sorted[i].output;
			memset(y, 0, sizeof(real) * width.y);
			y[label] = 1;
		}
		else
		{
			memcpy(y, at, sizeof(real) * width.y);
			at += sizeof(real) * width.y;
		}
		memcpy(rows->w + i, at, sizeof(real));
	}
	pfree(sorted);
}

/*
 * The rows of this task lead to numbers that are not finite.  That is no
 * reason to fail all the other groups of a nightly run: the task keeps the
 * params it began with, which do not count these rows.
 */
static void
warn_of_fault(const char *fault, int64 rows, bool prior)
{
	ereport(WARNING,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("cannot adapt to a task: %s", fault),
			 errdetail("Its rows are " INT64_FORMAT "; its params %s.", rows,
					   prior ? "are those of a task without rows" : "stay as they were"),
			 errhint("Look at the rows for values far from those in training, or train with a lower inner_lr.")));
}

PG_FUNCTION_INFO_V1(meta_adapt_final);
Datum
meta_adapt_final(PG_FUNCTION_ARGS)
{
	const AdaptState *state;
	CallSite   *site;
	Binding    *binding;
	const Encoding *encoding;
	const TensorList *list;
	Rows		rows;
	real	   *to;
	bytea	   *params;
	const real *from = NULL;
	Labels		labels = {0};
	int			n_labels;		/* known before */
	const char *fault;
	int64		n = 0;

	if (!AggCheckCallContext(fcinfo, NULL))
		elog(ERROR, "meta.adapt's final function was called outside an aggregate");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (const AdaptState *) PG_GETARG_POINTER(0);

	site = callsite_get(fcinfo, -1);
	binding = callsite_bind(site, state->digest, state->model);
	encoding = binding->model->encoding;
	list = &binding->component->list;
	if (state->task != NULL)
	{
		n = binding_set_phi(binding, state->task, false);
		from = binding->phi;
	}

	if (encoding->way > 0)
	{
		labels.n = state->task != NULL ? binding->n_labels : encoding->n_classes;
		labels.names = (char **) palloc(sizeof(char *) * encoding->way);
		memcpy(labels.names, state->task != NULL ? binding->labels : encoding->classes,
			   sizeof(char *) * labels.n);
	}
	n_labels = labels.n;
	state_rows(state, encoding, &labels, &rows);
	to = (real *) MemoryContextAllocHuge(CurrentMemoryContext, sizeof(real) * Max(list->size, 1));
	fault = binding_adapt(binding, &rows, from, to);
	if (fault == NULL)
		n += state->rows;
	else
	{
		warn_of_fault(fault, state->rows, from == NULL);
		if (from == NULL)
		{
			(void) binding_set_phi(binding, NULL, false);
			from = binding->phi;
		}
		memcpy(to, from, sizeof(real) * list->size);
		labels.n = n_labels;
	}

	params = task_params_encode(binding->model, to, n, labels.names, labels.n);

	/* A base that only its bytes know goes with the params. */
	if (state->model != NULL)
		params = task_params_embed(params, state->model);
	PG_RETURN_BYTEA_P(params);
}
