/*
 * help.c
 *	  The rows of the views meta.algorithms and meta.options, made of the tables
 *	  that training itself uses.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "learn/learner.h"
#include "learn/options.h"
#include "store/options_json.h"

PG_FUNCTION_INFO_V1(meta_algorithms);
PG_FUNCTION_INFO_V1(meta_options);

#define ALGORITHM_COLUMNS 4
#define OPTION_COLUMNS 8

static const char *const type_names[] = {
	[OPTION_INTEGER] = "integer",
	[OPTION_NUMBER] = "number",
	[OPTION_BOOLEAN] = "boolean",
	[OPTION_CHOICE] = "word",
	[OPTION_WIDTHS] = "array of integers",
	[OPTION_RANGE] = "integer or [low, high]",
	[OPTION_TEXT] = "column",
	[OPTION_OBJECT] = "object of words",
	[OPTION_LIST] = "array of columns",
};

static Datum
json_datum(const char *text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

/*
 * The value per call that both functions return their rows by.
 */
static FuncCallContext *
next_call(FunctionCallInfo fcinfo)
{
	if (SRF_IS_FIRSTCALL())
	{
		FuncCallContext *call = SRF_FIRSTCALL_INIT();
		MemoryContext old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		TupleDesc	desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		call->tuple_desc = BlessTupleDesc(desc);
		MemoryContextSwitchTo(old);
	}
	return SRF_PERCALL_SETUP();
}

/*
 * The options whose default is the learner's own, as JSON.
 */
static Datum
own_defaults(const Learner *learner)
{
	Options		general;
	Options		own;
	StringInfoData out;
	const char *separator = "";

	options_default(&general, NULL);
	options_default(&own, learner->defaults);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (const OptionInfo *info = option_table; info->name != NULL; info++)
	{
		StringInfoData a;
		StringInfoData b;

		initStringInfo(&a);
		initStringInfo(&b);
		if (option_to_json(&own, info, &a) &&
			(!option_to_json(&general, info, &b) || strcmp(a.data, b.data) != 0))
		{
			appendStringInfo(&out, "%s\"%s\": %s", separator, info->name, a.data);
			separator = ", ";
		}
	}
	appendStringInfoChar(&out, '}');
	return json_datum(out.data);
}

Datum
meta_algorithms(PG_FUNCTION_ARGS)
{
	FuncCallContext *call = next_call(fcinfo);
	const Learner *learner = learners[call->call_cntr];
	Datum		values[ALGORITHM_COLUMNS];
	bool		nulls[ALGORITHM_COLUMNS] = {false};

	if (learner == NULL)
		SRF_RETURN_DONE(call);

	values[0] = CStringGetTextDatum(learner->name);
	values[1] = CStringGetTextDatum(learner->summary);
	nulls[2] = learner->reference == NULL;
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(learner->reference);
	values[3] = own_defaults(learner);
	SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(call->tuple_desc, values, nulls)));
}

/*
 * Words parted by '|', as an array.
 */
static Datum
words(const char *choices)
{
	Datum		array[64];
	int			n = 0;

	for (;;)
	{
		size_t		length = strcspn(choices, "|");

		if (n == (int) lengthof(array))
			elog(ERROR, "an option has too many choices");
		array[n++] = PointerGetDatum(cstring_to_text_with_len(choices, (int) length));
		if (choices[length] == '\0')
			break;
		choices += length + 1;
	}
	return PointerGetDatum(construct_array(array, n, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum
meta_options(PG_FUNCTION_ARGS)
{
	FuncCallContext *call = next_call(fcinfo);
	const OptionInfo *info = &option_table[call->call_cntr];
	Datum		values[OPTION_COLUMNS];
	bool		nulls[OPTION_COLUMNS] = {false};
	bool		ranged;

	if (info->name == NULL)
		SRF_RETURN_DONE(call);

	ranged = info->type == OPTION_INTEGER || info->type == OPTION_NUMBER ||
		info->type == OPTION_WIDTHS || info->type == OPTION_RANGE;
	values[0] = CStringGetTextDatum(info->name);
	values[1] = CStringGetTextDatum(type_names[info->type]);
	values[2] = json_datum(info->fallback);
	values[3] = Float8GetDatum(info->low);
	values[4] = Float8GetDatum(info->high);
	nulls[3] = nulls[4] = !ranged;
	nulls[5] = info->choices == NULL;
	values[5] = nulls[5] ? (Datum) 0 : words(info->choices);
	nulls[6] = info->algorithms == NULL;
	values[6] = nulls[6] ? (Datum) 0 : words(info->algorithms);
	values[7] = CStringGetTextDatum(info->meaning);
	SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(call->tuple_desc, values, nulls)));
}
