/*
 * ownership.c
 *	  The trigger that keeps members of a model's owner from speaking in each
 *	  other's name.
 *
 * A model's source is run again with the rights of the role that trained it.
 * Whoever may write the model's row, or a version's, could put a source of
 * their own there and wait for that role to run it; so where a source and its
 * like are stored, trained_by must be a role whose rights the current user has
 * anyway.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Any other table may have a column trained_by that is something else. */
static bool
has_sources(Relation relation)
{
	char	   *schema = get_namespace_name(RelationGetNamespace(relation));
	const char *name = RelationGetRelationName(relation);

	return schema != NULL && strcmp(schema, "meta") == 0 && (strcmp(name, "model") == 0 || strcmp(name, "version") == 0);
}

PG_FUNCTION_INFO_V1(meta_model_guard);

Datum
meta_model_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	row;
	Name		trained_by;
	Oid			role;
	int			column;
	bool		null;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !has_sources(trigger->tg_relation))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("meta.model_guard must be called by the triggers of meta.model and meta.version")));

	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	column = SPI_fnumber(trigger->tg_relation->rd_att, "trained_by");
	if (column <= 0 || SPI_gettypeid(trigger->tg_relation->rd_att, column) != NAMEOID)
		elog(ERROR, "meta.%s has no column \"trained_by\" of type name", RelationGetRelationName(trigger->tg_relation));
	trained_by = DatumGetName(SPI_getbinval(row, trigger->tg_relation->rd_att, column, &null));

	/* NULL is refused by the column; a dump restores what roles were dropped */
	if (null || superuser())
		return PointerGetDatum(row);

	role = get_role_oid(NameStr(*trained_by), true);
	if (!OidIsValid(role) || !has_privs_of_role(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to store a source in the name of role \"%s\"", NameStr(*trained_by)),
				 errhint("Set trained_by = current_user as well.")));
	return PointerGetDatum(row);
}
