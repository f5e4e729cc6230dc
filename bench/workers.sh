#!/bin/sh
# Training with and without parallel workers, in turn: exact MAML, 32 features,
# network 64-64, 10 + 10 rows, 32 tasks, 5 inner steps.
#
#	bench/workers.sh [rounds]		(default: 3)
#
# Meta-iterations a second by the clock, from the history's reports, and whether
# the bytes are the same.  It says something only on a machine with as many
# cores that nothing else uses.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
database
machine
say "Load:    $(cut -d ' ' -f 1-3 /proc/loadavg)"

random_rows bench_workers 20 1 40000
for round in $(seq "${1:-3}")
do
	for workers in 0 1
	do
		run -A -t <<-END
			SET client_min_messages = warning;
			SET max_parallel_maintenance_workers = $workers;
			CALL meta.train('bench.workers', 'bench_workers.r', task => 'task', target => 'y', algorithm => 'maml', options =>
				'{"iterations": 2000, "patience": 0, "shots": 10, "query": 10, "report": 0.5, "checkpoint": 3600, "validation": 0.01, "start_pooled": false}');
			SELECT format('round $round, $workers workers: %s meta-iterations/s, %s', round(rate), left(md5(meta.params('bench.workers')), 8))
			FROM (SELECT (max(iteration) - min(iteration)) / extract(epoch FROM max(at) - min(at)) AS rate
				  FROM meta.history h JOIN meta.model m ON m.id = h.model
				  WHERE m.name = 'bench.workers' AND phase = 'maml' AND h.version = (SELECT max(version) FROM meta.history l WHERE l.model = m.id)) x;
		END
	done
done
