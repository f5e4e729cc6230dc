#!/bin/sh
# Training on more rows than memory:
#
#	bench/beyond.sh [rows [limit in MB [rows per task]]]		(default: 5000000 1024 100)
#
# 16 float features, MAML with a 64-64 network, 10 + 10 rows, 5 inner steps,
# under the server's own maintenance_work_mem: first without a limit, then with
# the server in a memory cgroup, whose limit counts the page cache, too.  Then
# a temp_file_limit that is too small: what it says, and what it leaves.
#
# 50,000,000 rows are 3.8 GB packed, and up to three times as much on disk beside
# the table, which is kept and taken again by the next call.  Needs a superuser, a server on this
# machine, and root, who may make a cgroup (version 1 or 2); without, it says so
# and shows the backend's own peak.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

rows=${1:-5000000} limit=${2:-1024} per_task=${3:-100}
database
machine

made="$rows rows, $per_task per task"
[ "$(ask "SELECT obj_description(to_regclass('beyond.rows'))")" = "$made" ] || run <<-END
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS beyond CASCADE;
	CREATE SCHEMA beyond;
	SELECT setseed(0.5) \g /dev/null
	SELECT 'CREATE UNLOGGED TABLE beyond.rows AS SELECT g % $((rows / per_task)) AS task, '
		   || string_agg(format('random()::real AS x%s', i), ', ' ORDER BY i)
		   || ', (sin(g % $((rows / per_task))) + random())::real AS y FROM generate_series(1, $rows) g'
	FROM generate_series(1, 16) i \gexec
	ANALYZE beyond.rows;
	COMMENT ON TABLE beyond.rows IS '$made';
END
say "Table: $(ask "SELECT format('%s rows of 16 features in %s tasks, %s; packed %s MB', $rows, $((rows / per_task)),
	pg_size_pretty(pg_table_size('beyond.rows')), $rows::int8 * 76 / 1000000)")"

postmaster=$(ask "SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)")
log=$(mktemp)
group=
cleanup()
{
	rm -f "$log"
	[ -z "$group" ] || leave_group
}
trap cleanup EXIT

# Puts the server into a cgroup of the limit; what it starts from now on is there, too.
enter_group()
{
	for root in /sys/fs/cgroup/memory /sys/fs/cgroup
	do
		[ -f "$root/cgroup.procs" ] || continue
		mkdir "$root/meta_beyond" 2>/dev/null || continue
		for name in memory.limit_in_bytes memory.max
		do
			if [ -f "$root/meta_beyond/$name" ] && echo $((limit * 1048576)) >"$root/meta_beyond/$name" 2>/dev/null
			then
				group=$root/meta_beyond
				origin=$root
				echo "$postmaster" >"$group/cgroup.procs"
				return 0
			fi
		done
		rmdir "$root/meta_beyond"
	done
	return 1
}

# What the table has in the page cache counts for no group: it would be memory
# that costs nothing.
forget_table()
{
	run -c CHECKPOINT
	file=$(ask "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('beyond.rows')")
	for part in "$file" "$file".*
	do
		[ ! -f "$part" ] || dd if="$part" iflag=nocache count=0 status=none
	done
}

leave_group()
{
	while read -r pid; do echo "$pid" >"$origin/cgroup.procs" 2>/dev/null || :; done <"$group/cgroup.procs"
	sleep 1
	rmdir "$group" 2>/dev/null || :
	group=
}

# NAME: trains, and says how fast; the rates go to ${NAME}_rate
train()
{
	run_stamped >"$log" <<-END
		SET max_parallel_maintenance_workers = 0;
		SET max_parallel_workers_per_gather = 0;
		SET jit = off;
		SELECT cpu AS before FROM pg_temp.clock() \\gset
		SELECT count(y) AS rows FROM beyond.rows \\gset
		SELECT format('reading the last column alone: %s rows/s by processor time', round((:rows / greatest(cpu - :before, 0.001))::numeric)) FROM pg_temp.clock();
		SELECT 'BEGIN', wall, cpu FROM pg_temp.clock();
		CALL meta.train('beyond', 'beyond.rows', task => 'task', target => 'y', algorithm => 'maml', options =>
			'{"shots": 10, "query": 10, "iterations": 2000, "patience": 0, "report": 0.25, "validation": 0.01, "test": 0.01, "start_pooled": false}');
		SELECT format('peak memory of the backend: %s, of which buffers shared with others: %s',
					  substring(s from 'VmHWM:\s*(\d+ kB)'), substring(s from 'RssShmem:\s*(\d+ kB)'))
		FROM pg_read_file('/proc/' || pg_backend_pid() || '/status') s;
	END
	awk -v name="$1" -v rows="$rows" '
		$3 == "BEGIN" { wall = $4; cpu = $5 }
		/learning from/ { printf "%s: loading %.1f s, %.0f rows/s; by processor time %.0f rows/s\n", name, $1 - wall, rows / ($1 - wall), rows / ($2 - cpu) }
		/ERROR/ { print }' "$log"
	rate=$(rates maml <"$log")
	say "$1: $(echo "$rate" | awk '{ printf "%.0f meta-iterations/s by the clock, %.0f by processor time", $1, $2 }')"
	sed -n "s/^[^ ]* [^ ]* \(peak\|reading\)/$1: \1/p" "$log"
}

train "no limit"
free=$rate
if [ "$(id -u)" -eq 0 ] && enter_group
then
	forget_table
	train "$limit MB"
	for peak in memory.max_usage_in_bytes memory.peak
	do
		[ ! -f "$group/$peak" ] || say "$limit MB: peak of the group $(awk '{ printf "%.0f MB", $1 / 1048576 }' "$group/$peak"), page cache included"
	done
	echo "$free $rate" | awk '{ printf "speed of meta-iterations under the limit: %.0f %% of that without by the clock, %.0f %% by processor time\n", 100 * $3 / $1, 100 * $4 / $2 }'
	leave_group
else
	say "No cgroup can be made here: only the backend's own memory was measured."
fi

say "temp_file_limit of 50 MB:"
run -A -t <<-'END' 2>&1 | sed 's/^/	/'
	\set ON_ERROR_STOP 0
	SET client_min_messages = warning;
	SET temp_file_limit = '50MB';
	CALL meta.train('beyond_limited', 'beyond.rows', task => 'task', target => 'y', algorithm => 'maml', options => '{"iterations": 1}');
	SELECT format('temporary files left: %s', count(*)) FROM pg_ls_tmpdir();
END
