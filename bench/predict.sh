#!/bin/sh
# What meta.predict and meta.adapt cost by processor time, beyond reading the
# rows: with the params of one task, with those of another task in every row,
# and adapting to ten rows.
#
#	bench/predict.sh [rounds]		(default: 15)
#
# 32 float features, a boolean target, networks 64-64 (one of 8 inputs and 8
# hidden units, whose params are small).  Needs a superuser and a server on this
# machine, because it looks into /proc.  No parallel plans.
#
# A machine's speed changes from second to second, by more than what is to be
# told apart, so the queries run in turn, and what one takes beyond another is
# the median of the differences within a round.  A last column says how far the
# middle half of those of constant params, and of others, lie apart.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
database
machine

run -A -t -F ' | ' -v rounds="${1:-15}" <<-'END'
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

	CREATE FUNCTION middle(share float8, numbers float8[]) RETURNS numeric LANGUAGE sql AS $$
		SELECT round(percentile_cont(share) WITHIN GROUP (ORDER BY n)::numeric, 2) FROM unnest(numbers) n $$;

	-- this process's microseconds of processor time: exact only when it has just slept
	CREATE FUNCTION clock() RETURNS float8 LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_sleep(0.0001);
		RETURN split_part(pg_read_file('/proc/' || pg_backend_pid() || '/schedstat'), ' ', 1)::float8 / 1000;
	END $$;

	-- of each query in each round; the first is warming up
	CREATE FUNCTION in_turn(queries text[], rounds int) RETURNS TABLE (times float8[]) LANGUAGE plpgsql AS $$
	DECLARE
		start float8;
	BEGIN
		FOR round IN 0 .. rounds LOOP
			times := '{}';
			FOR q IN 1 .. cardinality(queries) LOOP
				start := clock();
				EXECUTE queries[q];
				times := times || (clock() - start);
			END LOOP;
			IF round > 0 THEN
				RETURN NEXT;
			END IF;
		END LOOP;
	END $$;
	\qecho model | bytes of params | µs a row, one params | beyond the row | µs a row, others in each | beyond the row and detoasting | adapting, µs a task beyond its 10 rows | middle half of the two differences
	SELECT format($$ WITH t AS MATERIALIZED (SELECT times FROM in_turn(ARRAY[
			'SELECT count(r) FROM r', 'SELECT count(meta.predict(''bench.%1$s'', r)) FROM r',
			'SELECT count(one), count(get_byte(p, 0)) FROM p_%1$s, one', 'SELECT count(meta.predict(p, one)) FROM p_%1$s, one',
			'SELECT count(x) FROM (SELECT count(s) AS x FROM s GROUP BY task) y',
			'SELECT count(x) FROM (SELECT meta.adapt(''bench.%1$s'', s) AS x FROM s GROUP BY task) y'], %2$s)),
		d AS (SELECT times[2] / 200000 AS one, (times[2] - times[1]) / 200000 AS one_beyond, times[4] / 10000 AS other,
					 (times[4] - times[3]) / 10000 AS other_beyond, (times[6] - times[5]) / 10000 AS adapting FROM t)
		SELECT %1$L, (SELECT octet_length(p) FROM p_%1$s LIMIT 1), m[1], m[2], m[3], m[4], m[5], format('%%s to %%s, %%s to %%s', l[1], h[1], l[2], h[2])
		FROM (SELECT ARRAY[middle(.5, array_agg(one)), middle(.5, array_agg(one_beyond)), middle(.5, array_agg(other)), middle(.5, array_agg(other_beyond)),
						   middle(.5, array_agg(adapting))] AS m,
					 ARRAY[middle(.25, array_agg(one_beyond)), middle(.25, array_agg(other_beyond))] AS l,
					 ARRAY[middle(.75, array_agg(one_beyond)), middle(.75, array_agg(other_beyond))] AS h FROM d) x $$, m, :'rounds')
	FROM unnest(ARRAY['maml', 'small', 'anil', 'cavia', 'alpaca']) m \gexec
END
