/*
 * generate.c
 *	  meta.generate, meta.log_likelihood, meta.embed: what a generative model
 *	  knows of whole rows, and of a task.
 *
 * All take params or a model's name, which stands for a task of which nothing
 * is known: one that is drawn from the prior.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "data/decode.h"
#include "sql/call.h"
#include "sql/callsite.h"

static void
check_embeds(const Binding *binding)
{
	const Learner *learner = binding->component->learner;

	if (learner->generative == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("algorithm \"%s\" has no latent variables", learner->name),
				 errdetail("Of a task it knows parameters, not what tells tasks apart."),
				 errhint("Train with algorithm => 'vaml'.")));
}

/* Which columns are modelled; returns how many. */
static int
modelled(const Component *component, bool *there)
{
	int			n = 0;

	for (int i = 0; i < component->spec.n_columns; i++)
		n += there[i] = component->learner->generative->models(&component->spec, i);
	return n;
}

static void
check_rows(const Binding *binding)
{
	const Component *component = binding->component;
	bool	   *there;

	if (component->learner->generative == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("algorithm \"%s\" does not model rows", component->learner->name),
				 errdetail("It predicts targets from features, and knows nothing of how features come about."),
				 errhint("Train with algorithm => 'vaml'.")));
	if (component->spec.options.row_weight == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the model did not learn to model rows"),
				 errdetail("It was trained with the option row_weight at 0."),
				 errhint("Train with a positive row_weight.")));
	if (binding->model->encoding->way > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a model of N-way episodes does not model rows"),
				 errdetail("Its classes are another task's each time."),
				 errhint("Train without the option way.")));
	there = palloc(sizeof(bool) * Max(component->spec.n_columns, 1));
	if (modelled(component, there) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("no feature of the model can be made up"),
				 errdetail("Vectors, images, and categories of more than 1024 labels are not modelled.")));
	pfree(there);
}

/* ---- rows ---- */

static Datum
generate(FunctionCallInfo fcinfo, bool by_name)
{
	int32		n = PG_GETARG_INT32(1);
	int64		seed = PG_GETARG_INT64(2);
	Binding    *binding;
	const Encoding *encoding;
	Generator  *generator;
	TupleDesc	desc;
	Tuplestorestate *store = call_rows(fcinfo, "meta.generate", &desc);
	MemoryContext chunk;
	MemoryContext old;
	bool	   *there;

	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must not be negative, and is %d", n)));
	binding = callsite_task(fcinfo, by_name, check_rows);
	encoding = binding->model->encoding;
	generator = binding_generator(binding);
	there = palloc(sizeof(bool) * Max(encoding->n_encoders, 1));
	modelled(binding->component, there);

	chunk = AllocSetContextCreate(CurrentMemoryContext, "meta generate", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(chunk);
	binding_generator_fault(generator_begin(generator, binding->phi, (uint64) seed));
	for (int32 first = 0; first < n; first += GENERATE_ROWS)
	{
		Rows		rows = {.width = encoding->width};
		int			in_chunk = Min(n - first, GENERATE_ROWS);

		rows.x = palloc(sizeof(real) * GENERATE_ROWS * Max(rows.width.x, 1));
		rows.c = palloc(sizeof(int32) * GENERATE_ROWS * Max(rows.width.c, 1));
		rows.y = palloc(sizeof(real) * GENERATE_ROWS * rows.width.y);
		binding_generator_fault(generator_next(generator, in_chunk, &rows));
		for (int r = 0; r < in_chunk; r++)
		{
			bool		null = false;
			Datum		value = JsonbPGetDatum(encoding_decode(encoding, there, rows.x + (Size) r * rows.width.x,
															   rows.c + (Size) r * rows.width.c,
															   rows.y + (Size) r * rows.width.y));

			tuplestore_putvalues(store, desc, &value, &null);
		}
		MemoryContextReset(chunk);
		/* else the sum would overflow */
		if (n - first <= GENERATE_ROWS)
			break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(chunk);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(meta_generate_model);
Datum
meta_generate_model(PG_FUNCTION_ARGS)
{
	return generate(fcinfo, true);
}

PG_FUNCTION_INFO_V1(meta_generate_params);
Datum
meta_generate_params(PG_FUNCTION_ARGS)
{
	return generate(fcinfo, false);
}

/* ---- how likely a row is ---- */

static Datum
log_likelihood(FunctionCallInfo fcinfo, bool by_name)
{
	Binding    *binding = callsite_task(fcinfo, by_name, check_rows);
	const Encoding *encoding = binding->model->encoding;
	Rows		rows = {.width = encoding->width, .tasks = 1, .rows = 1};
	real		likelihood;
	real		w;
	bool	   *there;
	double		scale;

	if (binding_read_support(binding, PG_GETARG_DATUM(1), &w) == NULL)
		PG_RETURN_NULL();
	rows.x = binding->x;
	rows.c = binding->c;
	rows.y = binding->y;
	rows.w = &w;
	binding_generator_fault(generator_log_likelihood(binding_generator(binding), binding->phi, &rows, &likelihood));
	there = palloc(sizeof(bool) * Max(encoding->n_encoders, 1));
	modelled(binding->component, there);
	scale = encoding_log_scale(encoding, there, binding->x);
	pfree(there);
	PG_RETURN_FLOAT8(likelihood + scale);
}

PG_FUNCTION_INFO_V1(meta_log_likelihood_model);
Datum
meta_log_likelihood_model(PG_FUNCTION_ARGS)
{
	return log_likelihood(fcinfo, true);
}

PG_FUNCTION_INFO_V1(meta_log_likelihood_params);
Datum
meta_log_likelihood_params(PG_FUNCTION_ARGS)
{
	return log_likelihood(fcinfo, false);
}

/* ---- a task ---- */

static Datum
embed(FunctionCallInfo fcinfo, bool by_name)
{
	Binding    *binding = callsite_task(fcinfo, by_name, check_embeds);
	int			n = binding->component->learner->generative->latent(&binding->component->spec);
	real	   *mean = palloc(sizeof(real) * n);
	Datum	   *elements = palloc(sizeof(Datum) * n);

	binding_generator_fault(generator_task(binding_generator(binding), binding->phi, mean, NULL));
	for (int i = 0; i < n; i++)
		elements[i] = Float4GetDatum(mean[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(meta_embed_model);
Datum
meta_embed_model(PG_FUNCTION_ARGS)
{
	return embed(fcinfo, true);
}

PG_FUNCTION_INFO_V1(meta_embed_params);
Datum
meta_embed_params(PG_FUNCTION_ARGS)
{
	return embed(fcinfo, false);
}
