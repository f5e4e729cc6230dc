/*
 * callsite.c
 *	  What one place in a query knows about the models it uses.
 *
 * Everything here is about not doing per row what a statement needs once.
 * What was resolved holds as long as the snapshot and the role stay the same:
 * in a query that is the whole query, in PL/pgSQL, where an expression's state
 * outlives the statement, it is asked again when something was committed or
 * written.  Params are told apart by their stored image, a toast pointer
 * included, so equal ones are not even detoasted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "compat.h"
#include "sql/cache.h"
#include "sql/callsite.h"
#include "store/catalog.h"

/*
 * Names and models that are remembered at a time.  A query over params of
 * many self-contained models must not pin them all.
 */
#define CALLSITE_NAMES 8
#define CALLSITE_BINDINGS 8

/* Until when a resolved name holds. */
typedef struct Instant
{
	Oid			user;
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	CommandId	curcid;
	uint64		commits;
} Instant;

typedef struct ResolvedName
{
	char	   *name;			/* not terminated */
	Size		length;
	Subject		subject;
} ResolvedName;

struct CallSite
{
	MemoryContext context;
	Instant		instant;
	uint64		serial;			/* last one given to a subject */
	uint64		clock;			/* of uses, for eviction */

	ResolvedName names[CALLSITE_NAMES];
	int			n_names;
	int			next_name;		/* to be replaced */

	bool		constant;		/* the argument that says which is a literal */
	Binding    *settled;		/* what it stands for at this instant, with its
								 * parameters in place; or NULL */

	bool		params_known;	/* the following are valid */
	char	   *image;			/* the last params as they were passed */
	Size		image_size;
	Size		image_room;
	Subject		params;
	bytea	   *bytes;			/* detoasted, of this very call; or NULL */
	bytea	   *kept;			/* what detoasting them made, until there are
								 * others; or NULL */

	Binding    *bindings[CALLSITE_BINDINGS];
	int			n_bindings;
};

/* Is it what it was?  Otherwise takes note of it. */
static bool
instant_holds(Instant *instant)
{
	Snapshot	snapshot;
	Oid			user = GetUserId();

	if (!ActiveSnapshotSet())
		elog(ERROR, "a model is used without an active snapshot");
	snapshot = GetActiveSnapshot();
	if (likely(instant->user == user &&
			   instant->xmin == snapshot->xmin &&
			   instant->xmax == snapshot->xmax &&
			   instant->xcnt == snapshot->xcnt &&
			   instant->curcid == snapshot->curcid &&
			   instant->commits == snapshot_commits(snapshot)))
		return true;
	instant->user = user;
	instant->xmin = snapshot->xmin;
	instant->xmax = snapshot->xmax;
	instant->xcnt = snapshot->xcnt;
	instant->curcid = snapshot->curcid;
	instant->commits = snapshot_commits(snapshot);
	return false;
}

/*
 * The call site of a function.  arg is the argument that holds a name or
 * params, looked at for being a literal; -1 for an aggregate.
 */
CallSite *
callsite_get(FunctionCallInfo fcinfo, int arg)
{
	FmgrInfo   *flinfo = fcinfo->flinfo;
	CallSite   *site = (CallSite *) flinfo->fn_extra;

	if (site == NULL)
	{
		MemoryContext context = AllocSetContextCreate(flinfo->fn_mcxt,
													  "meta call site",
													  ALLOCSET_SMALL_SIZES);

		site = (CallSite *) MemoryContextAllocZero(context, sizeof(CallSite));
		site->context = context;
		instant_holds(&site->instant);
		if (arg >= 0 && flinfo->fn_expr != NULL && IsA(flinfo->fn_expr, FuncExpr))
		{
			List	   *args = ((FuncExpr *) flinfo->fn_expr)->args;

			site->constant = arg < list_length(args) && IsA(list_nth(args, arg), Const);
		}
		flinfo->fn_extra = site;
	}
	else if (!instant_holds(&site->instant))
	{
		int			i;

		for (i = 0; i < site->n_names; i++)
			pfree(site->names[i].name);
		site->n_names = site->next_name = 0;
		site->params_known = false;
		site->settled = NULL;
		for (i = 0; i < site->n_bindings; i++)
		{
			site->bindings[i]->asked = false;
			site->bindings[i]->row_type = NULL;
		}
	}
	site->bytes = NULL;
	return site;
}

/*
 * Is this the image of the last params?  Otherwise remembers it.
 */
static bool
callsite_same_image(CallSite *site, struct varlena *image)
{
	Size		size = VARSIZE_ANY(image);

	if (site->params_known &&
		size == site->image_size && memcmp(image, site->image, size) == 0)
		return true;

	site->params_known = false;
	if (size > site->image_room)
	{
		if (site->image != NULL)
			pfree(site->image);
		site->image = NULL;
		site->image_room = 0;
		site->image = MemoryContextAlloc(site->context, size);
		site->image_room = size;
	}
	memcpy(site->image, image, size);
	site->image_size = size;
	return false;
}

/* The bytes of params that are not those before. */
static bytea *
callsite_detoast(CallSite *site, Datum params)
{
	MemoryContext old;
	bytea	   *bytes;

	if (site->kept != NULL)
		pfree(site->kept);
	site->kept = NULL;
	old = MemoryContextSwitchTo(site->context);
	bytes = DatumGetByteaP(params);
	MemoryContextSwitchTo(old);
	if ((Pointer) bytes != DatumGetPointer(params))
		site->kept = bytes;
	return bytes;
}

const Subject *
callsite_params(CallSite *site, Datum params)
{
	struct varlena *image = (struct varlena *) DatumGetPointer(params);

	if (site->params_known && site->constant)
		return &site->params;

	/* A pointer into memory says nothing about what it points to. */
	if (VARATT_IS_EXTERNAL(image) && !VARATT_IS_EXTERNAL_ONDISK(image))
		image = (struct varlena *) (site->bytes = DatumGetByteaP(params));
	if (callsite_same_image(site, image))
		return &site->params;

	site->bytes = callsite_detoast(site, PointerGetDatum(image));
	/* mostly another task's, of the model of the last one */
	if (site->params.serial == 0 || site->params.kind != PARAMS_TASK ||
		!task_params_stand_on(site->bytes, site->params.digest))
	{
		site->params.kind = params_kind(site->bytes);
		if (site->params.kind == PARAMS_TASK)
			task_params_base(site->bytes, site->params.digest);
		else
			params_digest(site->bytes, site->params.digest);
	}
	site->params.serial = ++site->serial;
	site->params_known = true;
	return &site->params;
}

bytea *
callsite_bytes(CallSite *site, Datum params)
{
	if (site->bytes == NULL)
		site->bytes = site->kept != NULL ? site->kept : DatumGetByteaP(params);
	return site->bytes;
}

void
callsite_missing_version(const char *digest)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model version %s does not exist", digest),
			 errdetail("These parameters hold only what adaptation to a task changed, and stand on that version, which was dropped or belongs to another role."),
			 errhint("Keep more versions with the option \"keep\", or store self-contained params, as meta.params(params) makes them.")));
}

/*
 * Gives a binding to the decoded model, read from its bytes or, with model
 * NULL, from the catalog where the cache does not have it.
 */
static Binding *
callsite_load(CallSite *site, const char *digest, const bytea *model)
{
	MemoryContext context;
	MemoryContext old;
	Binding    *binding;
	const Encoding *encoding;

	/* Becomes the call site's only when it is whole. */
	context = AllocSetContextCreate(CurrentMemoryContext,
									"meta model in use",
									ALLOCSET_SMALL_SIZES);
	binding = (Binding *) MemoryContextAllocZero(context, sizeof(Binding));
	binding->context = context;
	binding->model = cache_pin(digest, context);
	if (binding->model == NULL && model != NULL)
		binding->model = cache_add(model, digest, context);
	else if (binding->model == NULL)
	{
		SPI_connect();
		model = catalog_params_by_digest(digest);
		if (model == NULL)
			callsite_missing_version(digest);
		binding->model = cache_add(model, digest, context);
		SPI_finish();
	}
	binding->component = &binding->model->components[0];

	encoding = binding->model->encoding;
	old = MemoryContextSwitchTo(context);
	binding->x = (float *) palloc0(sizeof(float) * Max(encoding->width.x, 1));
	binding->c = (int32 *) palloc0(sizeof(int32) * Max(encoding->width.c, 1));
	initStringInfo(&binding->key);
	binding->y = (float *) palloc0(sizeof(float) * Max(encoding->width.y, 1));
	binding->outputs = (real *) palloc0(sizeof(real) * Max(encoding->width.y, 1));
	binding->values = (double *) palloc0(sizeof(double) * Max(encoding->width.y, 1));
	MemoryContextSwitchTo(old);

	MemoryContextSetParent(context, site->context);
	if (site->n_bindings < CALLSITE_BINDINGS)
		site->bindings[site->n_bindings++] = binding;
	else
	{
		int			oldest = 0;
		int			i;

		for (i = 1; i < CALLSITE_BINDINGS; i++)
			if (site->bindings[i]->used < site->bindings[oldest]->used)
				oldest = i;
		context = site->bindings[oldest]->context;
		site->bindings[oldest] = binding;
		MemoryContextDelete(context);
	}
	return binding;
}

static Binding *
callsite_find(CallSite *site, const char *digest)
{
	int			i;

	for (i = 0; i < site->n_bindings; i++)
		if (memcmp(site->bindings[i]->model->digest, digest, DIGEST_LENGTH) == 0)
			return site->bindings[i];
	return NULL;
}

static bool
digest_is_stored(const char *digest)
{
	bool		stored;

	SPI_connect();
	stored = catalog_has_digest(digest);
	SPI_finish();
	return stored;
}

bool
callsite_is_stored(Binding *binding)
{
	if (!binding->asked)
	{
		binding->stored = digest_is_stored(binding->model->digest);
		binding->asked = true;
	}
	return binding->stored;
}

Binding *
callsite_bind(CallSite *site, const char *digest, const bytea *model)
{
	Binding    *binding = callsite_find(site, digest);

	if (binding == NULL)
	{
		bool		stored = false;

		if (model == NULL)
		{
			stored = digest_is_stored(digest);
			if (!stored)
				callsite_missing_version(digest);
		}
		binding = callsite_load(site, digest, model);
		binding->asked = binding->stored = stored;
	}
	else if (model == NULL && !callsite_is_stored(binding))
		callsite_missing_version(digest);

	binding->used = ++site->clock;
	return binding;
}

/* The model that a subject, found from the argument, names. */
static Binding *
callsite_bind_subject(CallSite *site, const Subject *subject, Datum argument)
{
	Binding    *binding;

	/* Bytes that are a model of their own need no one's leave. */
	if (subject == &site->params && subject->kind == PARAMS_MODEL)
	{
		binding = callsite_find(site, subject->digest);
		if (binding == NULL)
			binding = callsite_bind(site, subject->digest, callsite_bytes(site, argument));
		binding->used = ++site->clock;
		return binding;
	}
	return callsite_bind(site, subject->digest, NULL);
}

Binding *
callsite_task(FunctionCallInfo fcinfo, bool by_name, void (*check) (const Binding *binding))
{
	Datum		argument = PG_GETARG_DATUM(0);
	CallSite   *site = callsite_get(fcinfo, 0);
	const Subject *subject;
	Binding    *binding;

	if (likely(site->settled != NULL))
		return site->settled;
	subject = by_name ? callsite_name(site, argument) : callsite_params(site, argument);
	binding = callsite_bind_subject(site, subject, argument);
	if (check)
		check(binding);
	if (binding->phi_serial == subject->serial)
		binding_take_phi(binding);
	else
	{
		bytea	   *task = subject->kind == PARAMS_TASK ? callsite_bytes(site, argument) : NULL;

		binding_set_phi(binding, task, task != NULL && task == site->kept);
		binding->phi_serial = subject->serial;
	}
	if (site->constant)
		site->settled = binding;
	return binding;
}

const Subject *
callsite_name(CallSite *site, Datum name)
{
	text	   *value = DatumGetTextPP(name);
	char	   *data = VARDATA_ANY(value);
	Size		length = VARSIZE_ANY_EXHDR(value);
	char		digest[DIGEST_LENGTH + 1];
	char	   *copy;
	ResolvedName *resolved;
	Binding    *binding;
	int			i;

	for (i = 0; i < site->n_names; i++)
		if (site->names[i].length == length &&
			memcmp(site->names[i].name, data, length) == 0)
			return &site->names[i].subject;

	SPI_connect();
	catalog_resolve(text_to_cstring(value), 0, digest, NULL);
	SPI_finish();

	/* The catalog has just been asked: bind without asking it again. */
	binding = callsite_find(site, digest);
	if (binding == NULL)
		binding = callsite_load(site, digest, NULL);
	binding->asked = binding->stored = true;

	copy = MemoryContextAlloc(site->context, length + 1);
	memcpy(copy, data, length);
	if (site->n_names < CALLSITE_NAMES)
		resolved = &site->names[site->n_names++];
	else
	{
		resolved = &site->names[site->next_name];
		site->next_name = (site->next_name + 1) % CALLSITE_NAMES;
		pfree(resolved->name);
	}
	resolved->name = copy;
	resolved->length = length;
	memcpy(resolved->subject.digest, digest, sizeof(digest));
	resolved->subject.kind = PARAMS_MODEL;
	resolved->subject.serial = ++site->serial;
	return &resolved->subject;
}
