/*
 * params.c
 *	  meta.params and meta.describe: the bytes of models, and what is in them.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "sql/callsite.h"
#include "store/catalog.h"
#include "store/params.h"

PG_FUNCTION_INFO_V1(meta_params_model);
PG_FUNCTION_INFO_V1(meta_params_task);
PG_FUNCTION_INFO_V1(meta_describe_model);
PG_FUNCTION_INFO_V1(meta_describe_params);

/*
 * The bytes of a model's version, or of the newest (version 0).
 */
static bytea *
fetch_model(const char *name, int32 version)
{
	MemoryContext context = CurrentMemoryContext;
	char		digest[DIGEST_LENGTH + 1];
	bytea	   *params;

	SPI_connect();
	MemoryContextSwitchTo(context);
	catalog_resolve(name, version, digest, &params);
	SPI_finish();
	return params;
}

/* The bytes of the model that task params stand on, or NULL. */
static bytea *
find_base(const bytea *task, char *base)
{
	MemoryContext context = CurrentMemoryContext;
	bytea	   *params;

	task_params_base(task, base);
	SPI_connect();
	MemoryContextSwitchTo(context);
	params = catalog_params_by_digest(base);
	SPI_finish();
	return params;
}

/* The same; it must be there. */
static bytea *
fetch_base(const bytea *task)
{
	char		base[DIGEST_LENGTH + 1];
	bytea	   *params = find_base(task, base);

	if (params == NULL)
		callsite_missing_version(base);
	return params;
}

Datum
meta_params_model(PG_FUNCTION_ARGS)
{
	int32		version = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(1) && version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("version must be 1 or more, and is %d", version)));
	PG_RETURN_BYTEA_P(fetch_model(text_to_cstring(PG_GETARG_TEXT_PP(0)), version));
}

Datum
meta_params_task(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);

	if (params_kind(bytes) == PARAMS_TASK)
		PG_RETURN_BYTEA_P(task_params_embed(bytes, fetch_base(bytes)));

	/* decoded for the checks */
	(void) model_decode(bytes);
	PG_RETURN_BYTEA_P(bytes);
}

Datum
meta_describe_model(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(params_describe(fetch_model(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0), NULL));
}

Datum
meta_describe_params(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	char		base[DIGEST_LENGTH + 1];

	/* params whose base is gone can still be looked at, but not into */
	PG_RETURN_JSONB_P(params_describe(bytes, params_kind(bytes) == PARAMS_TASK ? find_base(bytes, base) : NULL));
}
