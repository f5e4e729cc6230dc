/*
 * statement.c
 *	  Statements on the extension's tables, prepared, through SPI.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "store/statement.h"

/*
 * The tables are found by the schema's name.  Where it has been renamed, say
 * so; and never take another schema of that name, whoever made it, for ours.
 */
static void
check_schema(void)
{
	static Oid	ours = InvalidOid;
	Oid			schema = get_namespace_oid("meta", true);

	if (OidIsValid(schema) && schema == ours)
		return;
	if (!OidIsValid(schema) ||
		getExtensionOfObject(NamespaceRelationId, schema) != get_extension_oid("meta", true))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("the schema of the extension \"meta\" is not called meta any more"),
				 errdetail("Its functions find their tables by that name."),
				 errhint("Give it its name back, with ALTER SCHEMA ... RENAME TO meta; \\dx+ meta shows what it is called now.")));
	ours = schema;
}

void
statement_run(Statement *s, const Arguments *arguments, bool lookup)
{
	MemoryContext context = CurrentMemoryContext;
	int			result;

	check_schema();
	if (s->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(s->sql, s->n, s->types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", s->sql, SPI_result_code_string(SPI_result));
		s->plan = plan;
	}
	result = SPI_execute_plan(s->plan, (Datum *) arguments->values, arguments->nulls,
							  lookup && ActiveSnapshotSet(), 0);
	/* SPI leaves its own, in which all that a caller then makes would stay until the CALL ends */
	MemoryContextSwitchTo(context);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", s->sql, SPI_result_code_string(result));
}

void
argument_text(Arguments *arguments, int i, const char *value)
{
	arguments->nulls[i] = value == NULL ? 'n' : ' ';
	arguments->values[i] = value == NULL ? (Datum) 0 : CStringGetTextDatum(value);
}

void
argument_datum(Arguments *arguments, int i, Datum value)
{
	arguments->nulls[i] = ' ';
	arguments->values[i] = value;
}

void
argument_number(Arguments *arguments, int i, double value)
{
	arguments->nulls[i] = isnan(value) ? 'n' : ' ';
	arguments->values[i] = Float8GetDatum(value);
}

Datum
result_datum(int column)
{
	bool		null;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &null);

	return null ? (Datum) 0 : value;
}

char *
result_text(int column, MemoryContext context)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(context, value);
}

struct varlena *
result_bytes(int column, MemoryContext context)
{
	Datum		value = result_datum(column);
	MemoryContext old;
	struct varlena *copy;

	if (value == (Datum) 0)
		return NULL;
	old = MemoryContextSwitchTo(context);
	copy = PG_DETOAST_DATUM_COPY(value);
	MemoryContextSwitchTo(old);
	return copy;
}
