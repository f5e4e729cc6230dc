#!/bin/sh
# Training on a million rows:
#
#	bench/million.sh [rows per task [tasks]]		(default: 100 10000)
#
# 32 float features, a 64-64 network, MAML with 5 inner steps on 10 + 10 rows,
# under the server's own maintenance_work_mem.  Prints rows/s of loading,
# tasks/s of training and the backend's peak memory.  Needs a superuser and a
# server on this machine, because it looks into /proc.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

rows=${1:-100} tasks=${2:-10000}
database
machine

run <<-END
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS million CASCADE;
	CREATE SCHEMA million;
	SELECT setseed(0.5) \g /dev/null
	SELECT 'CREATE TABLE million.rows AS SELECT task, '
		   || string_agg(format('x[%s] AS x%s', i, i), ', ' ORDER BY i)
		   || ', (' || string_agg(format('x[%s] * sin(%s * task)', i, i), ' + ' ORDER BY i)
		   || ' + random() - 0.5)::real AS y
			  FROM (SELECT task, ARRAY[' || string_agg('random()::real', ', ') || '] AS x
					FROM generate_series(1, $rows) row, generate_series(1, $tasks) task OFFSET 0) r'
	FROM generate_series(1, 32) i \gexec
	VACUUM ANALYZE million.rows;
END
say "Table: $(ask "SELECT format('%s rows in %s tasks, %s; the rows of a task lie apart', count(*), count(DISTINCT task),
	pg_size_pretty(pg_table_size('million.rows'))) FROM million.rows")"

train()
{
	run_stamped <<-END
		SELECT jsonb_build_object('hidden', '[64, 64]'::jsonb, 'inner_steps', 5, 'shots', 10, 'query', 10,
			'meta_batch', 32, 'iterations', $1, 'patience', 0, 'report', 0.25) AS options \gset
		SELECT 'BEGIN', wall, cpu FROM pg_temp.clock();
		CALL meta.train('million', 'million.rows', task => 'task', target => 'y', algorithm => 'maml', options => :'options');
		SELECT format('peak memory of the backend: %s, of which buffers shared with others: %s',
					  substring(s from 'VmHWM:\s*(\d+ kB)'), substring(s from 'RssShmem:\s*(\d+ kB)'))
		FROM pg_read_file('/proc/' || pg_backend_pid() || '/status') s;
	END
}

count=$((rows * tasks))
log=$(mktemp)
for round in 1 2 3
do
	train 1 >"$log"
	awk -v rows="$count" '
		$3 == "BEGIN" { wall = $4; cpu = $5 }
		/learning from/ { printf "loading: %.2f s, %.0f rows/s; by processor time %.0f rows/s\n", $1 - wall, rows / ($1 - wall), rows / ($2 - cpu) }
		/ERROR/ { print }' "$log"
	sed -n 's/^[^ ]* [^ ]* peak/one iteration: peak/p' "$log"
done

train 2000 >"$log"
for phase in pooled maml
do
	rates "$phase" <"$log" | awk -v phase="$phase" \
		'{ printf "training, %s: %.0f tasks/s; by processor time %.0f tasks/s (with validation)\n", phase, 32 * $1, 32 * $2 }'
done
sed -n 's/^[^ ]* [^ ]* peak/2,000 iterations: peak/p; s/^[^ ]* [^ ]* NOTICE:  \(model\)/\1/p' "$log"
rm -f "$log"
