/*
 * call.c
 *	  Arguments and results of functions that SQL calls.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"

#include "sql/call.h"

void
call_require(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

char *
call_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	call_require(fcinfo, n, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

char *
call_optional_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

Tuplestorestate *
call_rows(FunctionCallInfo fcinfo, const char *function, TupleDesc *desc)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext old;
	Oid			type;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) || !(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s returns a set of rows", function),
				 errhint("SELECT * FROM %s(...).", function)));
	old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	switch (get_call_result_type(fcinfo, &type, desc))
	{
		case TYPEFUNC_COMPOSITE:
			*desc = CreateTupleDescCopy(*desc);
			break;
		case TYPEFUNC_SCALAR:
			*desc = CreateTemplateTupleDesc(1);
			TupleDescInitEntry(*desc, 1, "value", type, -1, 0);
			break;
		default:
			elog(ERROR, "%s returns neither rows nor values", function);
	}
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setResult = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
	rsinfo->setDesc = *desc;
	MemoryContextSwitchTo(old);
	return rsinfo->setResult;
}
