/*
 * catalog.h
 *	  The tables meta.model, meta.version, meta.history and meta.checkpoint,
 *	  read and written through SPI as the current user.
 *
 * Row level security decides who sees what, so nothing here checks rights; a
 * name that exists but is another role's is told apart by catalog_claim's
 * unique violation.
 */
#ifndef STORE_CATALOG_H
#define STORE_CATALOG_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "store/params.h"

typedef struct ModelRow
{
	int64		id;
	char	   *name;
	char	   *source;			/* NULL for an aggregate's */
	char	   *task;			/* identifier lists as stored text */
	char	   *target;
	char	   *features;		/* or NULL */
	char	   *order_by;		/* or NULL */
	char	   *algorithm;
	Jsonb	   *options;
	Oid			trained_by;		/* role whose rights read the source */
} ModelRow;

/* All need a connected SPI; results live in the current memory context. */

/* The row of a name; NULL where none is visible. */
extern ModelRow *catalog_find(const char *name);

/*
 * Takes a name for a training: locks the model as training_lock does, inserts
 * or updates the row of row->name, and forgets the reports of a training that
 * did not end.  Returns the model's id.  A name that is another role's is an
 * error that says so.
 */
extern int64 catalog_claim(const ModelRow *row, bool session);

/*
 * Takes the lock of a model's training; refused at once (ERRCODE_OBJECT_IN_USE)
 * when another backend has it.
 *
 * A training that commits holds it by the session, so that it outlives the
 * commits, until it is released.  One that does not holds it by the
 * transaction, or the subtransaction if an EXCEPTION block catches an error,
 * and releases nothing: as long as others do not see what it has written, they
 * are to be refused, not to wait for its rows.  No error path needs to release
 * either: PostgreSQL drops a session's locks of this kind, too, when a
 * transaction aborts.
 */
extern void training_lock(int64 model, const char *name, bool session);
extern void training_unlock(int64 model, bool session);

/*
 * Stores a new version, of a source that the current user named, and drops
 * those beyond keep; returns its number.
 */
extern int32 catalog_add_version(int64 model, const bytea *params, const char *digest,
								 Jsonb *metrics, const char *source, int keep);

/* The number of the newest version; 0: there is none. */
extern int32 catalog_newest_version(int64 model);

/*
 * The newest version of a name, or the one asked for (version > 0): its
 * digest, and with params not NULL the bytes.  An unknown name is an error
 * (ERRCODE_UNDEFINED_OBJECT) whose hint names the closest visible model.
 */
extern void catalog_resolve(const char *name, int32 version, char *digest, bytea **params);

/*
 * The source of a name's version with a digest, or NULL, and the role that
 * named it, InvalidOid if it is no more.
 */
extern char *catalog_source(const char *name, const char *digest, Oid *trained_by);

/* The bytes of the version with a digest, or NULL. */
extern bytea *catalog_params_by_digest(const char *digest);
extern bool catalog_has_digest(const char *digest);

/* One progress report. */
extern void catalog_report(int64 model, TimestampTz at, const char *phase, int32 iteration, double train_loss,
						   double validation_loss, double metric);

/*
 * The checkpoint of an interrupted training, NULL where there is none; stored:
 * the version that the training has stored already, or 0.
 */
extern void catalog_save_checkpoint(int64 model, const bytea *state, int32 stored);
extern bytea *catalog_load_checkpoint(int64 model, int32 *stored);
extern void catalog_drop_checkpoint(int64 model);

/*
 * A training that failed for good leaves nothing: no checkpoint, no reports,
 * no model that never had a version, and one that had as it was before (NULL:
 * not known).
 */
extern void catalog_forget_training(int64 model, const ModelRow *before);

/*
 * A training that changed nothing: the model's row is as it was before, but
 * for another role's source, and there are no reports.
 */
extern void catalog_restore(int64 model, const ModelRow *before);

#endif							/* STORE_CATALOG_H */
