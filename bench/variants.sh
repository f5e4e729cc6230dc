#!/bin/sh
# FOMAML and ANIL beside exact MAML in the database, in turn: 32 inputs, a 64-64
# network, one logit, 10 + 10 rows, 32 tasks, 5 inner steps.
#
#	bench/variants.sh [rounds]		(default: 5)
#
# Meta-iterations per second by the clock and by processor time, reading rows
# included, medians over the rounds, and how often that of MAML fits in: with 10
# support rows, and with 0 to 20, where steps on few rows are shorter.  Needs a
# superuser and a server on this machine, because it looks into /proc.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

database
machine
random_rows bench_variants 40 0 79999
dir=$(mktemp -d)

for round in $(seq "${1:-5}")
do
	for shots in 10 '[0, 20]'
	do
		for algorithm in maml fomaml anil
		do
			case $algorithm in maml) iterations=500 ;; fomaml) iterations=1000 ;; *) iterations=1500 ;; esac
			run_stamped >"$dir/log" <<-END
				SET client_min_messages = notice;
				SET max_parallel_maintenance_workers = 0;
				CALL meta.train('bench.variants', 'bench_variants.r', task => 'task', target => 'y', algorithm => '$algorithm', options =>
					'{"shots": $shots, "query": 10, "hidden": [64, 64], "inner_steps": 5, "meta_batch": 32, "iterations": $iterations,
					  "skip": false, "start_pooled": false, "patience": 0, "validation": 0, "test": 0, "report": 0.1, "checkpoint": 3600}');
			END
			! grep ERROR "$dir/log" || exit 1
			rates $algorithm <"$dir/log" >>"$dir/$algorithm.$shots"
		done
	done
done

echo "| support rows | | iterations/s, clock | | iterations/s, processor | |"
echo "|---|---|---|---|---|---|"
for shots in 10 '[0, 20]'
do
	for algorithm in maml fomaml anil
	do
		echo "$algorithm $(cut -d ' ' -f 1 "$dir/$algorithm.$shots" | median) $(cut -d ' ' -f 2 "$dir/$algorithm.$shots" | median)"
	done | awk -v shots="$shots" '
		NR == 1 { clock = $2; cpu = $3 }
		{ printf "| %s | `%s` | %.0f | %.2f | %.0f | %.2f |\n", shots, $1, $2, $2 / clock, $3, $3 / cpu }'
done
rm -rf "$dir"
