#!/bin/sh
# What meta.predict and meta.adapt cost by processor time, beyond reading the
# rows: with the params of one task, with those of another task in every row,
# and adapting to ten rows.
#
#	bench/predict.sh
#
# 32 float features, a boolean target, networks 64-64 (one of 8 inputs and 8
# hidden units, whose params are small).  Needs a superuser and a server on this
# machine, because it looks into /proc.  The least of three means of ten, no
# parallel plans.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
database
machine

run -A -t -F ' | ' <<-'END'
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS bench_predict CASCADE;
	CREATE SCHEMA bench_predict;
	SET search_path = bench_predict;
	SET max_parallel_workers_per_gather = 0;
	SET jit = off;
	SELECT setseed(0.5) \g /dev/null
	SELECT 'CREATE TABLE r AS SELECT g / 20 AS task, random() < .5 AS y, '
		   || string_agg(format('(random() * 2 - 1)::real AS x%s', i), ', ' ORDER BY i) || ' FROM generate_series(1, 200000) g'
	FROM generate_series(1, 32) i \gexec
	CREATE TABLE s AS SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY task) AS place FROM r) x WHERE place <= 10 AND task < 10000;
	ALTER TABLE s DROP COLUMN place;
	CREATE TABLE one AS SELECT * FROM r LIMIT 1;
	SELECT string_agg('x' || i, ', ' ORDER BY i) AS features FROM generate_series(1, 32) i \gset
	CALL meta.train('bench.maml', 'r', task => 'task', target => 'y', features => :'features', algorithm => 'maml', options => '{"iterations": 20, "test": 0.8}');
	CALL meta.train('bench.small', 'r', task => 'task', target => 'y', features => 'x1, x2, x3, x4, x5, x6, x7, x8', algorithm => 'maml', options => '{"iterations": 20, "test": 0.8, "hidden": [8]}');
	CALL meta.train('bench.anil', 'r', task => 'task', target => 'y', features => :'features', algorithm => 'anil', options => '{"iterations": 20, "test": 0.8}');
	CALL meta.train('bench.cavia', 'r', task => 'task', target => 'y', features => :'features', algorithm => 'cavia', options => '{"iterations": 20, "test": 0.8}');
	CALL meta.train('bench.alpaca', 'r', task => 'task', target => 'y', features => :'features', algorithm => 'alpaca', options => '{"iterations": 20, "test": 0.8}');
	SELECT format('CREATE TABLE p_%s AS SELECT task, meta.adapt(%L, s) AS p FROM s GROUP BY task', m, 'bench.' || m) FROM unnest(ARRAY['maml', 'small', 'anil', 'cavia', 'alpaca']) m \gexec
	VACUUM ANALYZE;

	-- microseconds of processor time of a query; the clock stands still for some milliseconds, hence ten times
	CREATE FUNCTION took(query text) RETURNS float8 LANGUAGE plpgsql AS $$
	DECLARE
		least float8 := 'infinity';
		start float8;
	BEGIN
		EXECUTE query;
		FOR i IN 1 .. 3 LOOP
			start := split_part(pg_read_file('/proc/' || pg_backend_pid() || '/schedstat'), ' ', 1)::float8;
			FOR j IN 1 .. 10 LOOP
				EXECUTE query;
			END LOOP;
			least := least(least, (split_part(pg_read_file('/proc/' || pg_backend_pid() || '/schedstat'), ' ', 1)::float8 - start) / 10000);
		END LOOP;
		RETURN least;
	END $$;
	\qecho model | bytes of params | µs a row, one params | beyond the row | µs a row, others in each | beyond the row and detoasting | adapting, µs a task beyond its 10 rows
	SELECT format($$ SELECT %1$L, (SELECT octet_length(p) FROM p_%1$s LIMIT 1), round(a::numeric, 2), round((a - row)::numeric, 2), round(b::numeric, 2), round((b - base)::numeric, 2), round((c - read)::numeric, 1)
		FROM (SELECT took('SELECT count(meta.predict(''bench.%1$s'', r)) FROM r') / 200000 AS a, took('SELECT count(r) FROM r') / 200000 AS row,
			   took('SELECT count(meta.predict(p, one)) FROM p_%1$s, one') / 10000 AS b, took('SELECT count(one), count(get_byte(p, 0)) FROM p_%1$s, one') / 10000 AS base,
			   took('SELECT count(x) FROM (SELECT meta.adapt(''bench.%1$s'', s) AS x FROM s GROUP BY task) y') / 10000 AS c,
			   took('SELECT count(x) FROM (SELECT count(s) AS x FROM s GROUP BY task) y') / 10000 AS read) t $$, m)
	FROM unnest(ARRAY['maml', 'small', 'anil', 'cavia', 'alpaca']) m \gexec
END
