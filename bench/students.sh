#!/bin/sh
# Adapting to every student of a large table, by 0, 1 and 2 parallel workers:
#
#	bench/students.sh [tasks [rows per task [rounds]]]		(default: 100000 10 2)
#
# 32 float features, a 64-64 network, maml, 5 inner steps.  Three queries: a
# GROUP BY, whose workers collect rows while the leader alone adapts; the same of
# a table that is partitioned by student, where workers adapt, too
# (enable_partitionwise_aggregate); and a subquery per student by an index.
# Prints the plan, seconds by the clock (the best round, in turn), the peak
# memory of leader and workers together, and whether all results are the same.
# Needs a superuser and a server on this machine, because it looks into /proc.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

tasks=${1:-100000} rows=${2:-10}
database
machine
run <<-END
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS bench_students CASCADE;
	CREATE SCHEMA bench_students;
	SELECT setseed(0.5) \g /dev/null
	SELECT 'CREATE TABLE bench_students.r AS SELECT student, nr, '
		   || string_agg(format('x[%s] AS x%s', i, i), ', ' ORDER BY i)
		   || ', (' || string_agg(format('x[%s] * sin(%s * student)', i, i), ' + ' ORDER BY i) || ' > 0) AS y
			  FROM (SELECT student, nr, ARRAY[' || string_agg('(2 * random() - 1)::real', ', ') || '] AS x
					FROM generate_series(1, $rows) nr, generate_series(1, $tasks) student OFFSET 0) r'
	FROM generate_series(1, 32) i \gexec
	CREATE TABLE bench_students.parts (LIKE bench_students.r) PARTITION BY HASH (student);
	SELECT format('CREATE TABLE bench_students.part_%s PARTITION OF bench_students.parts FOR VALUES WITH (MODULUS 8, REMAINDER %s)', i, i)
	FROM generate_series(0, 7) i \gexec
	INSERT INTO bench_students.parts SELECT * FROM bench_students.r;
	CREATE INDEX ON bench_students.r (student);
	CREATE TABLE bench_students.students AS SELECT generate_series(1, $tasks) AS student;
	VACUUM ANALYZE bench_students.r, bench_students.parts, bench_students.students;
	CALL meta.train('bench.students', 'SELECT * FROM bench_students.r WHERE student <= 300', task => 'student', target => 'y', order_by => 'nr',
					algorithm => 'maml', options => '{"iterations": 50, "inner_steps": 5, "shots": 5, "query": 5}');
END
say "Table: $(ask "SELECT format('%s rows of %s tasks, %s; the rows of a task lie apart', count(*), count(DISTINCT student),
	pg_size_pretty(pg_table_size('bench_students.r'))) FROM bench_students.r")"

adapted()
{
	case $1 in
	'GROUP BY') echo "SELECT student, meta.adapt('bench.students', r) AS params FROM bench_students.r r GROUP BY student" ;;
	partitions) echo "SELECT student, meta.adapt('bench.students', r) AS params FROM bench_students.parts r GROUP BY student" ;;
	subquery) echo "SELECT student, (SELECT meta.adapt('bench.students', r) FROM bench_students.r r WHERE r.student = s.student) AS params FROM bench_students.students s" ;;
	esac
}

dir=$(mktemp -d)

# The sum of the peaks of a backend and its workers, in kB, as long as it runs.
# What they share is counted in each.
watch_memory()
{
	while [ -d "/proc/$1" ]
	do
		for status in "/proc/$1/status" $(grep -lsa "parallel worker for PID $1 " /proc/[0-9]*/cmdline | sed 's/cmdline$/status/')
		do awk '/^Pid/ { pid = $2 } /^VmHWM/ { hwm = $2 } /^RssShmem/ { shared = $2 } END { if (hwm) print pid, hwm, shared }' "$status" 2>/dev/null || :
		done
		sleep 0.2
	done | awk '{ if ($2 > hwm[$1]) hwm[$1] = $2; if ($3 > shared[$1]) shared[$1] = $3 }
		END { for (pid in hwm) { sum += hwm[pid]; of += shared[pid] } printf "%.0f %.0f\n", sum / 1024, of / 1024 }' >"$2"
}

# Results, seconds and memory of one session.
#	session KIND WORKERS ROUND
session()
{
	: >"$dir/out"
	cat >"$dir/session.sql" <<-END
		SELECT pg_backend_pid();
		SET max_parallel_workers_per_gather = $2;
		SET enable_partitionwise_aggregate = on;
		SET parallel_leader_participation = on;
		EXPLAIN (COSTS OFF) $(adapted "$1");
		SELECT extract(epoch FROM clock_timestamp()) AS start \gset
		SELECT 'length', sum(length(params)) FROM ($(adapted "$1")) a;
		SELECT 'seconds', round((extract(epoch FROM clock_timestamp()) - :start)::numeric, 2);
		\if $(($3 == 1))
		SELECT 'same', count(params), sum(('x' || left(md5(substr(params, 20000)), 8))::bit(32)::bigint * (student % 1000)) FROM ($(adapted "$1")) a;
		\endif
	END
	"$psql" -X -q -A -t -v ON_ERROR_STOP=1 -f "$dir/session.sql" >"$dir/out" 2>&1 &
	client=$!
	until [ -s "$dir/out" ]; do sleep 0.1; done
	watch_memory "$(head -n 1 "$dir/out")" "$dir/memory" &
	watcher=$!
	wait "$client" || { cat "$dir/out"; exit 1; }
	wait "$watcher"
	echo "$1|$2|$(sed -n 's/^seconds|//p' "$dir/out")|$(cat "$dir/memory")|$(sed -n 's/^same|//p' "$dir/out")" >>"$dir/all"
	[ "$3" -gt 1 ] || { say "$1, $2 workers:"; sed -n '2,/^length/p' "$dir/out" | sed '/^length/d; s/^/    /'; }
}

for round in $(seq "${3:-2}")
do
	for kind in 'GROUP BY' partitions subquery
	do
		for workers in 0 1 2; do session "$kind" $workers $round; done
	done
done
say ""
echo "| | workers | s | MB, of which shared |"
echo "|---|---|---|---|"
for kind in 'GROUP BY' partitions subquery
do
	for workers in 0 1 2
	do
		grep "^$kind|$workers|" "$dir/all" | sort -t '|' -k 3 -n | awk -F '|' 'NR == 1 { split($4, mb, " "); printf "| %s | %s | %s | %s, %s |\n", $1, $2, $3, mb[1], mb[2] }'
	done
done
say "Params and their digests: $(cut -d '|' -f 5- "$dir/all" | grep . | sort -u | tr '\n' ' ')"
rm -rf "$dir"
