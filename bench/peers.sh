#!/bin/sh
# Exact MAML in the database beside its peers on work of the same shape:
#
#	bench/peers.sh [rounds]		(default: 5)
#
# tabular: 32 inputs, a 64-64 network, one logit, 10 + 10 rows, 32 tasks, 5
# inner steps.  sinusoid: 1 input, 40-40, squared error, 10 + 10 rows, 25 tasks,
# 1 inner step.
#
#	PEERS	folder with the peers						(default: ../shared/peers)
#	PYTHON	a Python that has torch						(default: /usr/bin/python3)
#	L2L		folder that holds learn2learn's package		(default: where PYTHON imports it from)
#
# First bench/curve.c, by the numeric core of meta, and bench/curve.py, by
# PyTorch, train from one start on the same tasks, and their losses are compared.
#
# Then all run in turn, one thread each, in every round: C written by hand for
# these networks, the database, and PyTorch as batched products, as functorch's
# vmap, by a loop that clones and adapts for each task, and by learn2learn's
# MAML class, which is such a loop.  The best of PyTorch is what ours is
# compared with, unless it is slower than it should be on this machine: 38
# meta-iterations/s of tabular by the clock where OpenBLAS, in the same rounds,
# does 100 GFLOP/s.  Then there is no ratio.  Rates are meta-iterations per
# second by the clock and by processor time, medians over the rounds; the peers'
# time for making up rows is taken off, ours for reading them is not.  Needs a
# superuser and a server on this machine, because it looks into /proc.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh
. bench/core.sh

rounds=${1:-5}
PEERS=${PEERS:-../shared/peers}
PYTHON=${PYTHON:-/usr/bin/python3}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

probe= torch= l2l=
scratch=$(mktemp -d)
if [ -f "$PEERS/maml_limit_probe.c" ] && gcc -O3 -march=native -ffast-math -fopenmp "$PEERS/maml_limit_probe.c" -o "$scratch/probe" -lm 2>/dev/null
then probe=$scratch/probe
else say "C probe: skipped, because $PEERS/maml_limit_probe.c is not there or does not compile."
fi
if [ -f "$PEERS/maml_tabular.py" ] && "$PYTHON" -c 'import torch' 2>/dev/null
then
	torch=yes
	L2L=${L2L:-$("$PYTHON" -c 'import importlib.util, os; print(os.path.dirname(importlib.util.find_spec("learn2learn").submodule_search_locations[0]))' 2>/dev/null || true)}
	if [ -n "$L2L" ] && [ -d "$L2L/learn2learn" ]
	then l2l=l2l
	else say "learn2learn: skipped, because $PYTHON cannot import it and L2L names no folder of it; the loop does the same work."
	fi
else say "PyTorch: skipped, because $PEERS/maml_tabular.py is not there or $PYTHON has no torch."
fi
blas_program bench/sgemm.c "$scratch/sgemm"
core_program bench/curve.c "$scratch/curve"

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
	CREATE TABLE peers.waves AS
		SELECT wave, x::real, (amplitude * sin(x - phase))::real AS y
		FROM (SELECT wave, 0.1 + 4.9 * random() AS amplitude, pi() * random() AS phase FROM generate_series(1, 4000) wave OFFSET 0) w,
			 LATERAL (SELECT -5 + 10 * random() + 0 * wave AS x FROM generate_series(1, 20) OFFSET 0) p;
END

if [ -n "$torch" ]
then
	say "The same work: from one start, on the same tasks, at the same rates:"
	for case in "sinusoid 300" "binary 100"
	do
		# shellcheck disable=SC2086
		"$scratch/curve" $case "$scratch/numbers"
		# shellcheck disable=SC2086
		"$PYTHON" bench/curve.py $case "$scratch/numbers" 0.001 || die "The losses are further apart than a thousandth."
	done
	say ""
fi

# What a command and its children took of the processor, in seconds, after
# its output.
timed()
{
	sh -c '"$@"; times' sh "$@" 2>&1 | awk '
		/^[0-9]+m[0-9.]+s [0-9]+m[0-9.]+s$/ { split($0, t, /[ms ]+/); cpu = 60 * t[1] + t[2] + 60 * t[3] + t[4]; next }
		{ print }
		END { print "cpu", cpu }'
}

# A line like those of peers.py for the C probe.  Rate by processor time is the
# difference of a long and a short run, because it does other things first.
#	probed NAME LONG SHORT COMMAND...	(N in the command stands for the iterations)
probed()
{
	name=$1 long=$2 short=$3
	shift 3
	for n in $short $long
	do
		args=
		for arg in "$@"; do [ "$arg" = N ] && arg=$n; args="$args $arg"; done
		# shellcheck disable=SC2086
		timed $args >"$scratch/out.$n"
	done
	cat "$scratch/out.$short" "$scratch/out.$long" | awk -v name="$name" -v long="$long" -v short="$short" '
		/ms\/iter/ {
			for (i = 1; i <= NF; i++) {
				if ($i == "ms/iter") ms = $(i - 1)
				if ($i == "(sampler") sampler = $(i + 1) + 0
			}
		}
		/adapt latency/ { for (i = 1; i <= NF; i++) if ($i == "us") { latency = $(i - 1); break } }
		$1 == "cpu" { cpu[++n] = $2 }
		END { printf "%s %.2f %.2f %s\n", name, 1000 / (ms - sampler), 1 / ((cpu[2] - cpu[1]) / (long - short) - sampler / 1000), latency }' >>"$scratch/rates"
}

ours()
{
	run_stamped >"$scratch/log" <<-END
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
	! grep ERROR "$scratch/log" || exit 1
	# 5 times 2,000 tasks; reading the rows, grouping them and making the params included
	latency=$(awk '$3 == "adapt" { cpu = $5 } $3 == "adapted" { printf "%.1f", ($5 - cpu) / 10000 * 1e6 }' "$scratch/log")
	rate=$(rates maml <"$scratch/log") || exit 1
	[ -n "$latency" ] || die "The backend did not say how long it took to adapt."
	printf 'tabular-meta %s %s\n' "$rate" "$latency" >>"$scratch/rates"
}

our_waves()
{
	run_stamped >"$scratch/log" <<-END
		SET client_min_messages = notice;
		SET max_parallel_maintenance_workers = 0;
		SELECT jsonb_build_object('encode', '{"x": "raw", "y": "raw"}'::jsonb, 'hidden', '[40, 40]'::jsonb, 'skip', false,
			'start_pooled', false, 'inner_steps', 1, 'inner_lr', 0.01, 'shots', 10, 'query', 10, 'meta_batch', 25,
			'iterations', 8000, 'patience', 0, 'validation', 0, 'test', 0, 'report', 0.1) AS options \gset
		CALL meta.train('peers', 'peers.waves', task => 'wave', target => 'y', algorithm => 'maml', options => :'options');
	END
	! grep ERROR "$scratch/log" || exit 1
	rate=$(rates maml <"$scratch/log") || exit 1
	printf 'sinusoid-meta %s\n' "$rate" >>"$scratch/rates"
}

: >"$scratch/rates"
for round in $(seq "$rounds")
do
	"$scratch/sgemm" >>"$scratch/gflops"
	[ -z "$probe" ] || probed tabular-probe 1000 100 "$probe" tab 64 10 10 32 5 N 1
	ours
	[ -z "$probe" ] || probed sinusoid-probe 10000 1000 "$probe" sin 40 10 10 25 1 N 1
	our_waves
	[ -z "$torch" ] || "$PYTHON" bench/peers.py "$PEERS" "bmm vmap loop $l2l" "$L2L" >>"$scratch/rates"
	"$scratch/sgemm" >>"$scratch/gflops"
done

say "Meta-iterations per second (by the clock, by processor time), and microseconds to adapt one task, each round:"
cat "$scratch/rates"
say ""
# The best way of PyTorch by the clock, and whether it is to be believed.
#	best CASE
best()
{
	for variant in bmm vmap loop
	do echo "$(grep "^$1-$variant " "$scratch/rates" | cut -d ' ' -f 2 | median) $variant"
	done | sort -n | tail -n 1
}
compared=
if [ -n "$torch" ]
then
	rate=$(median <"$scratch/gflops")
	least=$(awk -v rate="$rate" 'BEGIN { printf "%.1f", 38 * rate / 100 }')
	best=$(best tabular)
	say "OpenBLAS: $rate GFLOP/s ($(cut -d " " -f 2 "$scratch/gflops" | head -n 1)), so that PyTorch should reach $least meta-iterations/s of tabular; its best is ${best#* }, ${best% *}."
	if awk -v best="${best% *}" -v least="$least" 'BEGIN { exit !(best < least) }'
	then say "That is too slow: something else was at work.  There is no ratio to PyTorch; run it again."
	else compared=yes
	fi
	say ""
fi
say "Medians, and how often the peer's fits into ours, or the other way round for the time to adapt:"
for case in tabular sinusoid
do
	names=probe
	[ -z "$compared" ] || names="$names $(best $case | cut -d ' ' -f 2) loop $l2l"
	for column in 2 3 4
	do
		case $column in 2) what='iterations/s, clock' ;; 3) what='iterations/s, processor' ;; 4) what='us to adapt a task' ;; esac
		for name in meta $names
		do
			grep "^$case-$name " "$scratch/rates" | cut -d ' ' -f $column | grep . | median | sed "s/^/$name /"
		done | awk -v what="$case: $what" -v column=$column '!($1 in v) { v[$1] = $2; n[++k] = $1 }
			END {
				if (!k) exit
				printf "%-36s", what
				for (i = 1; i <= k; i++)
					printf "  %s %.1f%s", n[i], v[n[i]], n[i] == "meta" ? "" : \
						sprintf(" (%.2f)", column < 4 ? v["meta"] / v[n[i]] : v[n[i]] / v["meta"])
				print ""
			}'
	done
done
rm -rf "$scratch"
