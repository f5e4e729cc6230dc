/*
 * catalog.c
 *	  The tables meta.model, meta.version, meta.history and meta.checkpoint,
 *	  read and written through SPI as the current user.
 *
 * All names in the statements are qualified, operators too, so no search_path
 * changes what they mean.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include "compat.h"
#include "data/hash.h"
#include "store/catalog.h"
#include "store/statement.h"

#define MAX_NAME 200			/* characters, as the table's constraint has it */

/* How many names an unknown one is compared with. */
#define CLOSEST_AMONG 1000

/* ---- the lock of a training ---- */

static void
training_tag(LOCKTAG *tag, int64 model)
{
	Oid			relation = get_relname_relid("model", get_namespace_oid("meta", false));

	/* the view meta.training looks for the same */
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, relation, (uint32) model, 0);
}

static void
raise_being_trained(const char *name, bool unseen)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("model \"%s\" is being trained", name),
			 unseen ? errdetail("Another session trains a new model of that name, and has not committed anything of it yet.") :
			 errdetail("Another session holds the lock of its training."),
			 unseen ? errhint("Wait for it, or choose another name. SELECT pid FROM pg_locks WHERE classid = 'meta.model'::regclass shows processes that train.") :
			 errhint("The view meta.training shows how far it is, and its process.")));
}

/*
 * A name that is not there yet, until the transaction ends: who takes it as
 * well is refused, and does not wait for a row that nobody sees.
 */
static void
lock_name(const char *name)
{
	LOCKTAG		tag;

	training_tag(&tag, (int64) hash_bytes64(name, strlen(name)));
	tag.locktag_field4 = 1;
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		raise_being_trained(name, true);
}

void
training_lock(int64 model, const char *name, bool session)
{
	LOCKTAG		tag;

	training_tag(&tag, model);
	if (LockAcquire(&tag, ExclusiveLock, session, true) == LOCKACQUIRE_NOT_AVAIL)
		raise_being_trained(name, false);
}

void
training_unlock(int64 model, bool session)
{
	LOCKTAG		tag;

	training_tag(&tag, model);
	LockRelease(&tag, ExclusiveLock, session);
}

/* ---- models ---- */

static void
check_name(const char *name)
{
	int			length = pg_mbstrlen(name);

	if (length == 0 || length > MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("model name must have 1 to %d characters, and has %d", MAX_NAME, length)));
}

ModelRow *
catalog_find(const char *name)
{
	static Statement find = {
		NULL, 1, {TEXTOID},
		"SELECT m.id, m.source, m.task, m.target, m.features, m.order_by, m.algorithm, m.options, m.trained_by "
		"FROM meta.model m WHERE m.name OPERATOR(pg_catalog.=) $1"
	};
	MemoryContext context = CurrentMemoryContext;
	Arguments	arguments;
	ModelRow   *row;

	argument_text(&arguments, 0, name);
	statement_run(&find, &arguments, true);
	if (SPI_processed == 0)
		return NULL;

	row = (ModelRow *) MemoryContextAllocZero(context, sizeof(ModelRow));
	row->id = DatumGetInt64(result_datum(1));
	row->name = MemoryContextStrdup(context, name);
	row->source = result_text(2, context);
	row->task = result_text(3, context);
	row->target = result_text(4, context);
	row->features = result_text(5, context);
	row->order_by = result_text(6, context);
	row->algorithm = result_text(7, context);
	row->options = (Jsonb *) result_bytes(8, context);
	/* a role that was dropped is nobody */
	row->trained_by = get_role_oid(NameStr(*DatumGetName(result_datum(9))), true);
	SPI_freetuptable(SPI_tuptable);
	return row;
}

/*
 * The id of a name, or 0.
 */
static int64
find_id(const char *name)
{
	static Statement find = {
		NULL, 1, {TEXTOID},
		"SELECT m.id FROM meta.model m WHERE m.name OPERATOR(pg_catalog.=) $1"
	};
	Arguments	arguments;

	argument_text(&arguments, 0, name);
	statement_run(&find, &arguments, false);
	return SPI_processed == 0 ? 0 : DatumGetInt64(result_datum(1));
}

static void
set_row(Arguments *arguments, const ModelRow *row)
{
	Oid			role = OidIsValid(row->trained_by) ? row->trained_by : GetUserId();

	argument_text(arguments, 0, row->name);
	argument_text(arguments, 1, row->source);
	argument_text(arguments, 2, row->task);
	argument_text(arguments, 3, row->target);
	argument_text(arguments, 4, row->features);
	argument_text(arguments, 5, row->order_by);
	argument_text(arguments, 6, row->algorithm);
	if (row->options != NULL)
		argument_datum(arguments, 7, JsonbPGetDatum(row->options));
	else
		argument_datum(arguments, 7, DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	argument_datum(arguments, 8, DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(role, false))));
}

/*
 * Returns the id, or 0 where the name is taken.
 */
static int64
insert_model(const ModelRow *row)
{
	static Statement insert = {
		NULL, 9, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, NAMEOID},
		"INSERT INTO meta.model (name, source, task, target, features, order_by, algorithm, options, trained_by) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name) DO NOTHING RETURNING id"
	};
	Arguments	arguments;

	set_row(&arguments, row);
	statement_run(&insert, &arguments, false);
	return SPI_processed == 0 ? 0 : DatumGetInt64(result_datum(1));
}

/*
 * Returns whether the row was still there.
 */
static bool
update_model(int64 id, const ModelRow *row)
{
	static Statement update = {
		NULL, 10, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, NAMEOID, INT8OID},
		"UPDATE meta.model SET source = $2, task = $3, target = $4, features = $5, order_by = $6, "
		"algorithm = $7, options = $8, trained_by = $9 "
		"WHERE id OPERATOR(pg_catalog.=) $10 AND name OPERATOR(pg_catalog.=) $1"
	};
	Arguments	arguments;

	set_row(&arguments, row);
	argument_datum(&arguments, 9, Int64GetDatum(id));
	statement_run(&update, &arguments, false);
	return SPI_processed > 0;
}

/* Of a training that did not end. */
static void
forget_reports(int64 id)
{
	static Statement forget = {
		NULL, 1, {INT8OID},
		"DELETE FROM meta.history WHERE model OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.>) "
		"(SELECT coalesce(pg_catalog.max(v.version), 0) FROM meta.version v WHERE v.model OPERATOR(pg_catalog.=) $1)"
	};
	Arguments	arguments;

	argument_datum(&arguments, 0, Int64GetDatum(id));
	statement_run(&forget, &arguments, false);
}

int64
catalog_claim(const ModelRow *row, bool session)
{
	int64		id;

	check_name(row->name);
	for (;;)
	{
		id = find_id(row->name);
		if (id != 0)
		{
			/*
			 * Lock before writing: the session that trains the model may
			 * have changed the row in a transaction that is still open, and
			 * we are to be refused, not to wait for it.
			 */
			training_lock(id, row->name, session);
			if (update_model(id, row))
				break;
			training_unlock(id, session);	/* dropped or renamed meanwhile */
			continue;
		}
		lock_name(row->name);
		id = insert_model(row);
		if (id != 0)
		{
			training_lock(id, row->name, session);
			break;
		}

		/* Taken, but by whom?  Someone may have been quicker, or we may not see it. */
		if (find_id(row->name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("model \"%s\" is another role's", row->name),
					 errdetail("Names of models are unique in the database."),
					 errhint("Choose another name, or have its owner share it: UPDATE meta.model SET owner = <a role you are both members of>.")));
	}

	forget_reports(id);
	return id;
}

/*
 * For statements that insert for a model: nothing was inserted where it is
 * not there any more.  They lock its row, as the foreign key would do after
 * them, so that one who drops it waits or is seen.
 */
static void
check_not_dropped(void)
{
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the model was dropped while it was being trained")));
}

/* ---- versions ---- */

int32
catalog_add_version(int64 model, const bytea *params, const char *digest, Jsonb *metrics, const char *source,
					int keep)
{
	static Statement insert = {
		NULL, 5, {INT8OID, TEXTOID, BYTEAOID, JSONBOID, TEXTOID},
		"INSERT INTO meta.version (model, version, digest, params, metrics, source) "
		"SELECT m.id, (SELECT coalesce(pg_catalog.max(v.version), 0) OPERATOR(pg_catalog.+) 1 "
		"FROM meta.version v WHERE v.model OPERATOR(pg_catalog.=) m.id), $2, $3, $4, $5 "
		"FROM meta.model m WHERE m.id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF m RETURNING version"
	};
	static Statement drop = {
		NULL, 2, {INT8OID, INT4OID},
		"DELETE FROM meta.version WHERE model OPERATOR(pg_catalog.=) $1 AND version OPERATOR(pg_catalog.<) "
		"(SELECT pg_catalog.min(kept.version) FROM "
		"(SELECT v.version FROM meta.version v WHERE v.model OPERATOR(pg_catalog.=) $1 "
		"ORDER BY v.version USING OPERATOR(pg_catalog.>) LIMIT $2) kept)"
	};
	Arguments	arguments;
	int32		version;

	argument_datum(&arguments, 0, Int64GetDatum(model));
	argument_text(&arguments, 1, digest);
	argument_datum(&arguments, 2, PointerGetDatum(params));
	if (metrics != NULL)
		argument_datum(&arguments, 3, JsonbPGetDatum(metrics));
	else
		argument_datum(&arguments, 3, DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	argument_text(&arguments, 4, source);
	statement_run(&insert, &arguments, false);
	check_not_dropped();
	version = DatumGetInt32(result_datum(1));

	argument_datum(&arguments, 1, Int32GetDatum(Max(keep, 1)));
	statement_run(&drop, &arguments, false);
	return version;
}

int32
catalog_newest_version(int64 model)
{
	static Statement newest = {
		NULL, 1, {INT8OID},
		"SELECT coalesce(pg_catalog.max(v.version), 0) FROM meta.version v WHERE v.model OPERATOR(pg_catalog.=) $1"
	};
	Arguments	arguments;

	argument_datum(&arguments, 0, Int64GetDatum(model));
	statement_run(&newest, &arguments, false);
	return DatumGetInt32(result_datum(1));
}

/*
 * The visible name that takes the fewest edits from an unknown one, or NULL
 * where none resembles it.
 */
static char *
closest_name(const char *name)
{
	static Statement names = {
		NULL, 1, {INT4OID},
		"SELECT m.name FROM meta.model m ORDER BY m.name USING OPERATOR(pg_catalog.<) LIMIT $1"
	};
	Arguments	arguments;
	int			length = (int) strlen(name);
	int			fewest;
	char	   *closest = NULL;

	if (pg_mbstrlen(name) > MAX_NAME)
		return NULL;
	fewest = pg_mbstrlen(name) / 2;
	argument_datum(&arguments, 0, Int32GetDatum(CLOSEST_AMONG));
	statement_run(&names, &arguments, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *candidate = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		int			edits = pg_strcasecmp(candidate, name) == 0 ? 0 :
			varstr_levenshtein_less_equal(name, length, candidate, (int) strlen(candidate), 1, 1, 1, fewest, true);

		if (edits < fewest || (edits == fewest && closest == NULL))
		{
			fewest = edits;
			closest = candidate;
		}
	}
	return closest;
}

/*
 * Raises the error for a name, or a version of it, that is not there.
 */
static void
raise_missing(const char *name, int32 version)
{
	static Statement versions = {
		NULL, 1, {TEXTOID},
		"SELECT pg_catalog.count(v.version), pg_catalog.string_agg(v.version::pg_catalog.text, ', ' ORDER BY v.version), "
		"pg_catalog.count(c.model) "
		"FROM meta.model m LEFT JOIN meta.version v ON v.model OPERATOR(pg_catalog.=) m.id "
		"LEFT JOIN meta.checkpoint c ON c.model OPERATOR(pg_catalog.=) m.id "
		"WHERE m.name OPERATOR(pg_catalog.=) $1 GROUP BY m.id"
	};
	Arguments	arguments;

	argument_text(&arguments, 0, name);
	statement_run(&versions, &arguments, true);
	if (SPI_processed == 0)
	{
		char	   *closest = closest_name(name);

		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist", name),
				 closest != NULL ?
				 errhint("Perhaps you meant \"%s\".", closest) :
				 errhint("The table meta.model lists the models of the current user and the roles it is a member of.")));
	}
	if (DatumGetInt64(result_datum(1)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no version yet", name),
				 errdetail("Its training has not ended."),
				 DatumGetInt64(result_datum(3)) > 0 ?
				 errhint("The view meta.training tells whether it is at work; if not, CALL meta.resume(%s) goes on with it.",
						 quote_literal_cstr(name)) :
				 errhint("The view meta.training tells whether it is at work.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("model \"%s\" has no version %d", name, version),
			 errdetail("Versions that are kept: %s.", TextDatumGetCString(result_datum(2)))));
}

void
catalog_resolve(const char *name, int32 version, char *digest, bytea **params)
{
#define RESOLVE(columns) \
	"SELECT " columns " FROM meta.model m JOIN meta.version v ON v.model OPERATOR(pg_catalog.=) m.id " \
	"WHERE m.name OPERATOR(pg_catalog.=) $1 AND ($2 IS NULL OR v.version OPERATOR(pg_catalog.=) $2) " \
	"ORDER BY v.version USING OPERATOR(pg_catalog.>) LIMIT 1"
	static Statement resolve = {NULL, 2, {TEXTOID, INT4OID}, RESOLVE("v.digest")};
	static Statement fetch = {NULL, 2, {TEXTOID, INT4OID}, RESOLVE("v.digest, v.params")};
	MemoryContext context = CurrentMemoryContext;
	Arguments	arguments;
	char	   *found;

	argument_text(&arguments, 0, name);
	argument_datum(&arguments, 1, Int32GetDatum(version));
	if (version == 0)
		arguments.nulls[1] = 'n';
	statement_run(params != NULL ? &fetch : &resolve, &arguments, true);
	if (SPI_processed == 0)
		raise_missing(name, version);

	found = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	strlcpy(digest, found, DIGEST_LENGTH + 1);
	if (params != NULL)
		*params = (bytea *) result_bytes(2, context);
	SPI_freetuptable(SPI_tuptable);
}

char *
catalog_source(const char *name, const char *digest, Oid *trained_by)
{
	static Statement find = {
		NULL, 2, {TEXTOID, TEXTOID},
		"SELECT v.source, v.trained_by FROM meta.model m JOIN meta.version v ON v.model OPERATOR(pg_catalog.=) m.id "
		"WHERE m.name OPERATOR(pg_catalog.=) $1 AND v.digest OPERATOR(pg_catalog.=) $2 "
		"ORDER BY v.version USING OPERATOR(pg_catalog.>) LIMIT 1"
	};
	MemoryContext context = CurrentMemoryContext;
	Arguments	arguments;
	char	   *source;

	argument_text(&arguments, 0, name);
	argument_text(&arguments, 1, digest);
	statement_run(&find, &arguments, true);
	if (SPI_processed == 0)
		elog(ERROR, "version %s of model \"%s\" vanished", digest, name);
	source = result_text(1, context);
	*trained_by = get_role_oid(NameStr(*DatumGetName(result_datum(2))), true);
	SPI_freetuptable(SPI_tuptable);
	return source;
}

bytea *
catalog_params_by_digest(const char *digest)
{
	static Statement fetch = {
		NULL, 1, {TEXTOID},
		"SELECT v.params FROM meta.version v WHERE v.digest OPERATOR(pg_catalog.=) $1 LIMIT 1"
	};
	MemoryContext context = CurrentMemoryContext;
	Arguments	arguments;
	bytea	   *params;

	argument_text(&arguments, 0, digest);
	statement_run(&fetch, &arguments, true);
	if (SPI_processed == 0)
		return NULL;
	params = (bytea *) result_bytes(1, context);
	SPI_freetuptable(SPI_tuptable);
	return params;
}

bool
catalog_has_digest(const char *digest)
{
	static Statement find = {
		NULL, 1, {TEXTOID},
		"SELECT 1 FROM meta.version v WHERE v.digest OPERATOR(pg_catalog.=) $1 LIMIT 1"
	};
	Arguments	arguments;

	argument_text(&arguments, 0, digest);
	statement_run(&find, &arguments, true);
	return SPI_processed > 0;
}

/* ---- progress and checkpoints ---- */

void
catalog_report(int64 model, TimestampTz at, const char *phase, int32 iteration, double train_loss,
			   double validation_loss, double metric)
{
	static Statement insert = {
		NULL, 7, {INT8OID, TEXTOID, INT4OID, FLOAT8OID, FLOAT8OID, FLOAT8OID, TIMESTAMPTZOID},
		"INSERT INTO meta.history (model, version, phase, iteration, train_loss, validation_loss, metric, at) "
		"SELECT m.id, (SELECT coalesce(pg_catalog.max(v.version), 0) OPERATOR(pg_catalog.+) 1 "
		"FROM meta.version v WHERE v.model OPERATOR(pg_catalog.=) m.id), $2, $3, $4, $5, $6, $7 "
		"FROM meta.model m WHERE m.id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF m"
	};
	Arguments	arguments;

	argument_datum(&arguments, 0, Int64GetDatum(model));
	argument_text(&arguments, 1, phase);
	argument_datum(&arguments, 2, Int32GetDatum(iteration));
	argument_number(&arguments, 3, train_loss);
	argument_number(&arguments, 4, validation_loss);
	argument_number(&arguments, 5, metric);
	argument_datum(&arguments, 6, TimestampTzGetDatum(at));
	statement_run(&insert, &arguments, false);
	check_not_dropped();
}

void
catalog_save_checkpoint(int64 model, const bytea *state, int32 stored)
{
	static Statement save = {
		NULL, 3, {INT8OID, BYTEAOID, INT4OID},
		"INSERT INTO meta.checkpoint (model, state, version) "
		"SELECT m.id, $2, $3 FROM meta.model m WHERE m.id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF m "
		"ON CONFLICT (model) DO UPDATE SET saved = pg_catalog.clock_timestamp(), state = excluded.state, "
		"version = excluded.version"
	};
	Arguments	arguments;

	argument_datum(&arguments, 0, Int64GetDatum(model));
	argument_datum(&arguments, 1, PointerGetDatum(state));
	argument_datum(&arguments, 2, Int32GetDatum(stored));
	if (stored == 0)
		arguments.nulls[2] = 'n';
	statement_run(&save, &arguments, false);
	check_not_dropped();
}

bytea *
catalog_load_checkpoint(int64 model, int32 *stored)
{
	static Statement load = {
		NULL, 1, {INT8OID},
		"SELECT c.state, c.version FROM meta.checkpoint c WHERE c.model OPERATOR(pg_catalog.=) $1"
	};
	MemoryContext context = CurrentMemoryContext;
	Arguments	arguments;
	bytea	   *state;

	argument_datum(&arguments, 0, Int64GetDatum(model));
	statement_run(&load, &arguments, false);
	if (SPI_processed == 0)
		return NULL;
	state = (bytea *) result_bytes(1, context);
	*stored = DatumGetInt32(result_datum(2));
	SPI_freetuptable(SPI_tuptable);
	return state;
}

void
catalog_drop_checkpoint(int64 model)
{
	static Statement drop = {
		NULL, 1, {INT8OID},
		"DELETE FROM meta.checkpoint WHERE model OPERATOR(pg_catalog.=) $1"
	};
	Arguments	arguments;

	argument_datum(&arguments, 0, Int64GetDatum(model));
	statement_run(&drop, &arguments, false);
}

void
catalog_restore(int64 model, const ModelRow *before)
{
	ModelRow	row = *before;

	/* Who may not speak for that role cannot put its source back in its name, and is not to run it in their own. */
	if (!OidIsValid(row.trained_by) || !has_privs_of_role(GetUserId(), row.trained_by))
	{
		row.trained_by = GetUserId();
		row.source = NULL;
	}
	update_model(model, &row);
	forget_reports(model);
}

void
catalog_forget_training(int64 model, const ModelRow *before)
{
	static Statement drop = {
		NULL, 1, {INT8OID},
		"DELETE FROM meta.model m WHERE m.id OPERATOR(pg_catalog.=) $1 "
		"AND NOT EXISTS (SELECT FROM meta.version v WHERE v.model OPERATOR(pg_catalog.=) m.id)"
	};
	Arguments	arguments;

	catalog_drop_checkpoint(model);
	argument_datum(&arguments, 0, Int64GetDatum(model));
	statement_run(&drop, &arguments, false);
	if (before != NULL)
		catalog_restore(model, before);
	else
		forget_reports(model);
}
