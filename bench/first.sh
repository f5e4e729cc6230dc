#!/bin/sh
# What the first calls of a fresh backend cost, by processor time: loading the
# library, the first and the second prediction, the first and the second
# adaptation.
#
#	bench/first.sh [sessions]		(default: 40)
#
# 32 float features, a boolean target, networks 64-64.  Needs a superuser.  Each
# session makes one pair of calls; they take turns, and medians are printed.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

sessions=${1:-40}
database
machine

run <<-'END'
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS bench_first CASCADE;
	CREATE SCHEMA bench_first;
	SET search_path = bench_first;
	SELECT setseed(0.5) \g /dev/null
	SELECT 'CREATE TABLE r AS SELECT g / 20 AS task, random() < .5 AS y, '
		   || string_agg(format('(random() * 2 - 1)::real AS x%s', i), ', ' ORDER BY i) || ' FROM generate_series(1, 20000) g'
	FROM generate_series(1, 32) i \gexec
	SELECT format('CALL meta.train(%L, ''r'', task => ''task'', target => ''y'', algorithm => %L, options => ''{"iterations": 20}'')', 'first.' || a, a)
	FROM unnest(ARRAY['maml', 'alpaca']) a \gexec
	CREATE TABLE ten AS SELECT * FROM r LIMIT 10;
	CREATE TABLE one AS SELECT * FROM r LIMIT 1;
	VACUUM ANALYZE;
END

# STATEMENT: milliseconds of it and of itself again, in a session of its own
# that has read the table before
pair()
{
	run -A -t 2>&1 <<-END | awk '/elapsed/ && n++ { printf "%.3f ", 1000 * ($2 + $4) }'
		SET client_min_messages = log;
		SET log_statement_stats = on;
		SELECT count(ten) FROM bench_first.ten;
		$1;
		$1;
	END
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for _ in $(seq "$sessions")
do
	echo "load $(pair "LOAD 'meta'")"
	for model in maml alpaca
	do
		echo "$model:_predict $(pair "SELECT meta.predict('first.$model', one) IS NULL FROM bench_first.one")"
		echo "$model:_adapt $(pair "SELECT meta.adapt('first.$model', ten) IS NULL FROM bench_first.ten")"
	done
done >"$log"

echo "| | ms, first | ms, second |"
echo "|---|---|---|"
for what in load maml:_predict maml:_adapt alpaca:_predict alpaca:_adapt
do
	for field in 2 3
	do
		awk -v what="$what" -v field=$field '$1 == what { print $field }' "$log" | sort -n | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'
	done | paste -sd' ' | awk -v what="$what" '{ sub(/_/, " ", what); printf "| %s | %.1f | %.1f |\n", what, $1, $2 }'
done
echo
say "Bytes of the models: $(ask "SELECT string_agg(format('%s %s', name, bytes), ', ' ORDER BY name) FROM meta.model m JOIN meta.version v ON v.model = m.id WHERE name LIKE 'first.%'")"
