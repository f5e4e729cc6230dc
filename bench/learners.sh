#!/bin/sh
# What each learner costs: training, adapting, predicting, bytes per task.
#
#	bench/learners.sh [algorithm ...]		(default: all that adapt by learning to)
#
#	DATA	folder with load.sh and the data	(default: ../shared/data)
#	OUT		file the table is written to		(default: standard output)
#
# On oulad (33 inputs and two tables of categories, network 64-64), each with its
# defaults, 400 meta-iterations, no parallel workers; the target is the score, or,
# for what only tells classes apart, whether it is at least 70.  Adapting: 2,000
# students to their first 5 rows; predicting: 20,000 rows with one student's
# params; both less what the same query takes without the call.  Medians of five.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

DATA=${DATA:-../shared/data}
OUT=${OUT:-/dev/stdout}
if [ ! -f "$DATA/load.sh" ]
then
	say "bench/learners.sh: skipped, because the data is not at $DATA (set DATA to where load.sh is)."
	exit 0
fi
database
PATH=$(dirname "$(command -v "$psql")"):$PATH
export PATH
[ "$(ask "SELECT to_regclass('d.oulad') IS NOT NULL")" = t ] || bash "$DATA/load.sh" oulad >&2
[ $# -gt 0 ] || set -- auto maml fomaml meta_sgd anil cavia reptile lstm alpaca cnp vaml ridge matching prototypical mann random_intercept

run <<'END'
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS bench_learners CASCADE;
CREATE SCHEMA bench_learners;
CREATE TABLE bench_learners.rows AS
	SELECT o.*, o.score >= 70 AS good, row_number() OVER (PARTITION BY id_student ORDER BY handed_in) AS place FROM d.oulad o;
CREATE TABLE bench_learners.support AS
	SELECT r.* FROM bench_learners.rows r JOIN (SELECT id_student FROM bench_learners.rows WHERE place = 5 ORDER BY 1 LIMIT 2000) s USING (id_student)
	WHERE place <= 5;
CREATE TABLE bench_learners.query AS SELECT * FROM bench_learners.rows LIMIT 20000;
VACUUM ANALYZE bench_learners.support;
VACUUM ANALYZE bench_learners.query;

-- milliseconds of a query, without parallel plans: the median of five
CREATE FUNCTION bench_learners.took(query text) RETURNS float8 LANGUAGE plpgsql SET max_parallel_workers_per_gather = 0 AS $$
DECLARE
	times float8[];
	start timestamptz;
BEGIN
	EXECUTE query;			-- caches are warm
	FOR i IN 1 .. 5 LOOP
		start := clock_timestamp();
		EXECUTE query;
		times := times || 1000 * extract(epoch FROM clock_timestamp() - start)::float8;
	END LOOP;
	RETURN (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) FROM unnest(times) t);
END $$;
END

{
	machine
	say "| | training, tasks/s | adapt, µs a task of 5 rows | predict, µs a row | bytes a task |"
	say "|---|---|---|---|---|"
	for algorithm in "$@"
	do
		target=score other=good
		[ "$algorithm" != prototypical ] || target=good other=score
		run -A -t <<-END
			SET client_min_messages = warning;
			SET max_parallel_maintenance_workers = 0;
			CALL meta.train('bench.learners', 'SELECT * FROM bench_learners.rows', task => 'id_student', target => '$target', order_by => 'handed_in',
							algorithm => '$algorithm', options => '{"iterations": 400, "patience": 0, "exclude": ["place", "$other"]}');
			WITH report AS (
				SELECT h.* FROM meta.history h JOIN meta.model m ON m.id = h.model
				WHERE m.name = 'bench.learners' AND h.phase = '$algorithm'
					  AND h.version = (SELECT max(version) FROM meta.history l WHERE l.model = m.id)),
			 rate AS (
				SELECT (max(iteration) - min(iteration)) / nullif(extract(epoch FROM max(at) - min(at)), 0)
					   * coalesce((SELECT (defaults ->> 'meta_batch')::float8 FROM meta.algorithms WHERE algorithm = '$algorithm'),
								  (SELECT ("default" #>> '{}')::float8 FROM meta.options WHERE option = 'meta_batch')) AS tasks
				FROM report),
			 adapting AS (
				SELECT bench_learners.took('SELECT count(p) FROM (SELECT meta.adapt(''bench.learners'', s) AS p FROM bench_learners.support s GROUP BY id_student) x')
					   - bench_learners.took('SELECT count(p) FROM (SELECT count(s) AS p FROM bench_learners.support s GROUP BY id_student) x') AS ms),
			 one AS MATERIALIZED (
				SELECT meta.adapt('bench.learners', s) AS params FROM bench_learners.support s WHERE id_student = (SELECT min(id_student) FROM bench_learners.support)),
			 predicting AS (
				SELECT bench_learners.took(format('SELECT count(meta.predict(%L::bytea, q)) FROM bench_learners.query q', params))
					   - bench_learners.took('SELECT count(q) FROM bench_learners.query q') AS ms, octet_length(params) AS bytes FROM one)
			SELECT format('| \`%s\` | %s | %s | %s | %s |', '$algorithm', coalesce(to_char(rate.tasks, 'FM999,999'), ''), round(adapting.ms / 2),
						  round((predicting.ms / 20)::numeric, 1), to_char(bytes, 'FM999,999')) FROM rate, adapting, predicting;
		END
	done
} >"$OUT"
