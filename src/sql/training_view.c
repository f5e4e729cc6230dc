/*
 * training_view.c
 *	  meta.training: trainings that have not ended.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"

#include "sql/call.h"
#include "store/statement.h"

PG_FUNCTION_INFO_V1(meta_training);

/*
 * Running or interrupted is told by the lock of store/catalog.c.  Reports are
 * those of a version that is not there yet, or of the last one where
 * time_limit ended the training that made it.
 */
Datum
meta_training(PG_FUNCTION_ARGS)
{
	static Statement trainings = {
		NULL, 0, {InvalidOid},
		"SELECT m.name, m.owner, CASE WHEN l.pid IS NOT NULL THEN 'running' ELSE 'interrupted' END, l.pid, "
		"h.phase, h.iteration, h.train_loss, h.validation_loss, h.metric, h.at, c.saved "
		"FROM meta.model m "
		"LEFT JOIN meta.checkpoint c ON c.model OPERATOR(pg_catalog.=) m.id "
		"LEFT JOIN pg_catalog.pg_locks l ON l.locktype OPERATOR(pg_catalog.=) 'object' "
		"AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d "
		"WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) "
		"AND l.classid OPERATOR(pg_catalog.=) 'meta.model'::pg_catalog.regclass::pg_catalog.oid "
		"AND l.objid OPERATOR(pg_catalog.=) (m.id OPERATOR(pg_catalog.&) 4294967295)::pg_catalog.oid "
		"AND l.objsubid OPERATOR(pg_catalog.=) 0 AND l.mode OPERATOR(pg_catalog.=) 'ExclusiveLock' AND l.granted "
		"LEFT JOIN LATERAL (SELECT coalesce(pg_catalog.max(v.version), 0) AS newest FROM meta.version v "
		"WHERE v.model OPERATOR(pg_catalog.=) m.id) v ON true "
		"LEFT JOIN LATERAL (SELECT r.* FROM meta.history r WHERE r.model OPERATOR(pg_catalog.=) m.id "
		"AND (r.version OPERATOR(pg_catalog.>) v.newest OR r.version OPERATOR(pg_catalog.=) c.version) "
		"ORDER BY r.version USING OPERATOR(pg_catalog.>), r.at USING OPERATOR(pg_catalog.>) LIMIT 1) h ON true "
		"WHERE l.pid IS NOT NULL OR c.model IS NOT NULL OR v.newest OPERATOR(pg_catalog.=) 0"
	};
	MemoryContext context = CurrentMemoryContext;
	Arguments	none;
	TupleDesc	desc;
	Tuplestorestate *store = call_rows(fcinfo, "meta.training", &desc);

	SPI_connect();
	MemoryContextSwitchTo(context);
	statement_run(&trainings, &none, true);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(store, SPI_tuptable->vals[i]);
	SPI_finish();
	return (Datum) 0;
}
