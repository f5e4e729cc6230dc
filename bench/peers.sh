#!/bin/sh
# Exact MAML in the database beside two peers on work of the same shape: 32
# inputs, a 64-64 network, one logit, 10 + 10 rows, 32 tasks, 5 inner steps.
#
#	bench/peers.sh [rounds]		(default: 5)
#
#	PEERS	folder with maml_limit_probe.c and maml_tabular.py	(default: ../shared/peers)
#	PYTHON	a Python that has torch								(default: /usr/bin/python3)
#
# All run in turn, one thread each, in every round: PyTorch as batched products,
# as functorch's vmap, and task by task.  The best of the three is what ours is
# compared with, unless it is slower than it should be on this machine: 38
# meta-iterations/s by the clock where sgemm, in the same rounds, does 100
# GFLOP/s.  Then there is no ratio.  Rates are meta-iterations
# per second by the clock and by processor time, medians over the rounds; the
# peers' time for making up rows is taken off, ours for reading them is not.
# Needs a superuser and a server on this machine, because it looks into /proc.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

rounds=${1:-5}
PEERS=${PEERS:-../shared/peers}
PYTHON=${PYTHON:-/usr/bin/python3}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

probe= torch=
dir=$(mktemp -d)
if [ -f "$PEERS/maml_limit_probe.c" ] && gcc -O3 -march=native -ffast-math -fopenmp "$PEERS/maml_limit_probe.c" -o "$dir/probe" -lm 2>/dev/null
then probe=$dir/probe
else say "C probe: skipped, because $PEERS/maml_limit_probe.c is not there or does not compile."
fi
if [ -f "$PEERS/maml_tabular.py" ] && "$PYTHON" -c 'import torch' 2>/dev/null
then torch=$PEERS/maml_tabular.py
else say "PyTorch: skipped, because $PEERS/maml_tabular.py is not there or $PYTHON has no torch."
fi

database
machine

run <<-END
	SET client_min_messages = warning;
	DROP SCHEMA IF EXISTS peers CASCADE;
	CREATE SCHEMA peers;
	SELECT setseed(0.5) \g /dev/null
	SELECT 'CREATE TABLE peers.rows AS SELECT task, row, '
		   || string_agg(format('x[%s] AS x%s', i, i), ', ' ORDER BY i)
		   || ', random() < 1 / (1 + exp(' || string_agg(format('- x[%s] * sin(%s * task)', i, i), ' ' ORDER BY i) || ')) AS y
			  FROM (SELECT task, row, ARRAY[' || string_agg('(4 * random() - 2)::real', ', ') || '] AS x
					FROM generate_series(1, 40) row, generate_series(1, 2000) task OFFSET 0) r'
	FROM generate_series(1, 32) i \gexec
	CREATE INDEX ON peers.rows (task);
	VACUUM ANALYZE peers.rows;
END

# What a command and its children took of the processor, in seconds, after
# its output.
timed()
{
	sh -c '"$@"; times' sh "$@" 2>&1 | awk '
		/^[0-9]+m[0-9.]+s [0-9]+m[0-9.]+s$/ { split($0, t, /[ms ]+/); cpu = 60 * t[1] + t[2] + 60 * t[3] + t[4]; next }
		{ print }
		END { print "cpu", cpu }'
}

# Rate by processor time is the difference of a long and a short run, because
# a start of PyTorch takes seconds.
#	peer NAME LONG SHORT COMMAND...	(N in the command stands for the iterations)
peer()
{
	name=$1 long=$2 short=$3
	shift 3
	for n in $short $long
	do
		set -- "$@"
		args=
		for arg in "$@"; do [ "$arg" = N ] && arg=$n; args="$args $arg"; done
		# shellcheck disable=SC2086
		timed $args >"$dir/out.$n"
	done
	cat "$dir/out.$short" "$dir/out.$long" | awk -v name="$name" -v long="$long" -v short="$short" '
		/ms\/iter/ {
			for (i = 1; i <= NF; i++) {
				if ($i == "ms/iter") ms = $(i - 1)
				if ($i == "(sampler") sampler = $(i + 1) + 0
			}
		}
		/adapt latency/ { for (i = 1; i <= NF; i++) if ($i == "us") { latency = $(i - 1); break } }
		$1 == "cpu" { cpu[++n] = $2 }
		END { printf "%s %.2f %.2f %s\n", name, 1000 / (ms - sampler), 1 / ((cpu[2] - cpu[1]) / (long - short) - sampler / 1000), latency }' >>"$dir/rates"
}

# GFLOP/s of a product of large matrices.
sgemm()
{
	"$PYTHON" -c '
import time, torch
torch.set_num_threads(1)
a, b, best = torch.randn(1024, 1024), torch.randn(1024, 1024), 1e9
for _ in range(8):
    start = time.perf_counter()
    a @ b
    best = min(best, time.perf_counter() - start)
print(2 * 1024 ** 3 / best / 1e9)'
}

# The median of numbers, one in a line.
median()
{
	sort -n | awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

ours()
{
	run_stamped >"$dir/log" <<-END
		SET client_min_messages = notice;
		SET max_parallel_maintenance_workers = 0;
		SELECT jsonb_build_object('hidden', '[64, 64]'::jsonb, 'skip', false, 'start_pooled', false, 'inner_steps', 5,
			'inner_lr', 0.05, 'shots', 10, 'query', 10, 'meta_batch', 32, 'iterations', 1500, 'patience', 0,
			'validation', 0, 'test', 0, 'report', 0.2) AS options \gset
		CALL meta.train('peers', 'peers.rows', task => 'task', target => 'y', algorithm => 'maml',
						features => '$(seq -f 'x%.0f' -s ', ' 32)', options => :'options');
		SET max_parallel_workers_per_gather = 0;
		CREATE TEMP TABLE support AS SELECT * FROM peers.rows WHERE row <= 10;
		SELECT sum(length(params)) FROM (SELECT meta.adapt('peers', r) AS params FROM support r GROUP BY task) a \g /dev/null
		SELECT 'adapt', wall, cpu FROM pg_temp.clock();
		SELECT sum(length(params)) FROM (SELECT meta.adapt('peers', r) AS params FROM support r GROUP BY task) a \g /dev/null
		SELECT sum(length(params)) FROM (SELECT meta.adapt('peers', r) AS params FROM support r GROUP BY task) a \g /dev/null
		SELECT sum(length(params)) FROM (SELECT meta.adapt('peers', r) AS params FROM support r GROUP BY task) a \g /dev/null
		SELECT sum(length(params)) FROM (SELECT meta.adapt('peers', r) AS params FROM support r GROUP BY task) a \g /dev/null
		SELECT sum(length(params)) FROM (SELECT meta.adapt('peers', r) AS params FROM support r GROUP BY task) a \g /dev/null
		SELECT 'adapted', wall, cpu FROM pg_temp.clock();
	END
	! grep ERROR "$dir/log" || exit 1
	# 5 times 2,000 tasks; reading the rows, grouping them and making the params included
	latency=$(awk '$3 == "adapt" { cpu = $5 } $3 == "adapted" { printf "%.1f", ($5 - cpu) / 10000 * 1e6 }' "$dir/log")
	rate=$(rates maml <"$dir/log") || exit 1
	[ -n "$latency" ] || die "The backend did not say how long it took to adapt."
	printf 'meta %s %s\n' "$rate" "$latency" >>"$dir/rates"
}

: >"$dir/rates"
for round in $(seq "$rounds")
do
	[ -z "$probe" ] || peer probe 1000 100 "$probe" tab 64 10 10 32 5 N 1
	ours
	[ -n "$torch" ] || continue
	for variant in bmm vmap loop
	do
		case $variant in loop) long=30 short=6 ;; *) long=200 short=20 ;; esac
		peer "torch-$variant" "$long" "$short" "$PYTHON" "$torch" --variant "$variant" --d 32 --hidden 64,64 \
			--shots 10 --query 10 --tasks 32 --steps 5 --iters N --threads 1 --eval-tasks 0 --adapt-latency
	done
	sgemm >>"$dir/sgemm"
done

say "Meta-iterations per second (by the clock, by processor time), and microseconds to adapt one task, each round:"
cat "$dir/rates"
say ""
# The best way of PyTorch by the clock, and whether it is to be believed.
peers=probe
if [ -n "$torch" ]
then
	best=$(for variant in bmm vmap loop; do echo "$(grep "^torch-$variant " "$dir/rates" | cut -d ' ' -f 2 | median) torch-$variant"; done | sort -n | tail -n 1)
	rate=$(median <"$dir/sgemm")
	least=$(awk -v rate="$rate" 'BEGIN { printf "%.1f", 38 * rate / 100 }')
	say "sgemm: $(printf %.0f "$rate") GFLOP/s, so that PyTorch should reach $least meta-iterations/s; its best is ${best#* }, ${best% *}."
	if awk -v best="${best% *}" -v least="$least" 'BEGIN { exit !(best < least) }'
	then say "That is too slow: something else was at work.  There is no ratio to PyTorch; run it again."
	else peers="$peers ${best#* }"
	fi
	say ""
fi
say "Medians, and how often ours fits into each:"
for column in 2 3 4
do
	case $column in 2) what='iterations/s, clock' ;; 3) what='iterations/s, processor' ;; 4) what='us to adapt a task' ;; esac
	for name in meta $peers
	do
		grep "^$name " "$dir/rates" | cut -d ' ' -f $column | median | sed "s/^/$name /"
	done | awk -v what="$what" '{ v[$1] = $2; n[++k] = $1 }
		END { printf "%-26s", what; for (i = 1; i <= k; i++) printf "  %s %.1f%s", n[i], v[n[i]], n[i] == "meta" ? "" : sprintf(" (meta/%s %.3f)", n[i], v["meta"] / v[n[i]]); print "" }'
done
rm -rf "$dir"
