#!/bin/sh
# Where the training loop's time goes, by perf: exact MAML in the database, 32
# inputs, a 64-64 network, one logit, 10 + 10 rows, 32 tasks, 5 inner steps.
#
#	bench/profile.sh [commit]		(default: this tree)
#
# With a commit, that one's tree is taken out of the repository into a folder of
# its own, built, and run in a server of its own.  Prints meta-iterations per
# second of processor time, samples of the processor's clock (perf record -e
# cpu-clock) by kind of function, and the functions that take most; and for this
# tree what its products are, in floating-point operations, against the rate of
# sgemm in the same run.  Needs a superuser and a server on this machine, and
# perf (Debian: linux-perf), which may have to be run as root.

set -eu
cd "$(dirname "$0")/.."

if [ $# -gt 0 ]
then
	old=$(mktemp -d)/meta
	git worktree add --quiet --detach "$old" "$1"
	chmod 755 "$(dirname "$old")"
	cp bench/profile.sh bench/lib.sh bench/core.sh bench/sgemm.c "$old/bench/"
	status=0
	env -u PGHOST -u PGPORT -u PGDATABASE -u PGSERVICE "$old/bench/profile.sh" || status=$?
	git worktree remove --force "$old"
	exit $status
fi
command -v perf >/dev/null || { echo "bench/profile.sh: skipped, because there is no perf."; exit 0; }
. bench/lib.sh
. bench/core.sh

scratch=$(mktemp -d)
perf record -q -e cpu-clock -o "$scratch/perf.data" true 2>"$scratch/why" || { echo "bench/profile.sh: skipped, because perf cannot run here: $(head -n 1 "$scratch/why")"; exit 0; }
blas_program bench/sgemm.c "$scratch/sgemm"
[ ! -f bench/tape.c ] || core_program bench/tape.c "$scratch/tape"

database
machine
random_rows bench_profile 40 0 79999
: >"$scratch/log"
run_stamped >>"$scratch/log" <<-'END' &
	SET client_min_messages = notice;
	SET max_parallel_maintenance_workers = 0;
	SELECT 'BACKEND ' || pg_backend_pid();
	CALL meta.train('bench.profile', 'bench_profile.r', task => 'task', target => 'y', algorithm => 'maml', options =>
		'{"shots": 10, "query": 10, "hidden": [64, 64], "inner_steps": 5, "meta_batch": 32, "iterations": 2000,
		  "skip": false, "start_pooled": false, "patience": 0, "validation": 0, "test": 0, "report": 0.1, "checkpoint": 3600}');
END
trainer=$!
until grep -q ' maml: iteration' "$scratch/log"
do
	kill -0 $trainer 2>/dev/null || { cat "$scratch/log"; exit 1; }
	sleep 0.1
done
perf record -q -e cpu-clock -F 2000 -p "$(sed -n 's/.*BACKEND \([0-9]*\)$/\1/p' "$scratch/log" | head -n 1)" -o "$scratch/perf.data" sleep 8 2>/dev/null
wait $trainer
! grep ERROR "$scratch/log" || exit 1
"$scratch/sgemm" >"$scratch/gflops"
# OpenBLAS does not know every processor that has these
! grep -q avx512f /proc/cpuinfo || OPENBLAS_CORETYPE=SkylakeX "$scratch/sgemm" >>"$scratch/gflops"
rates=$(rates maml <"$scratch/log")
say "Training: ${rates#* } meta-iterations per second of processor time; OpenBLAS, GFLOP/s: $(sort -u "$scratch/gflops" | tr '\n' ' ')"

perf report -i "$scratch/perf.data" --stdio -F overhead,dso,symbol 2>/dev/null | sed -n 's/%//; /^ *[0-9]/p' >"$scratch/report"
say ""
echo "| kind | share |"
echo "|---|---|"
awk '
	{ name = $NF; kind = "the rest of the module"
	  if ($2 ~ /openblas/ || name ~ /gemm|product|^tile_|^half_|^quarter_|^affine_|^matmul_/) kind = "matrix products"
	  else if (name ~ /transpose/) kind = "transposing"
	  else if (name ~ /sampler|draw|choose|rows_|fill|taskset|task_read|rng|philox/) kind = "drawing tasks and rows"
	  else if (name ~ /outer|adam/) kind = "outer step"
	  else if ($2 ~ /kernel|vdso/) kind = "kernel"
	  else if ($2 ~ /postgres/) kind = "PostgreSQL"
	  else if (name ~ /forward|axpy|scale|multiply|relu|mask|unary|sum|expand|repeat|add|soft|exp|log|column/) kind = "elementwise"
	  else if ($2 ~ /libc|libm/) kind = "C library"
	  share[kind] += $1 }
	END { for (kind in share) printf "%s| %s | %.1f %% |\n", share[kind], kind, share[kind] }' "$scratch/report" | sort -rn | sed 's/^[^|]*//' >"$scratch/kinds"
cat "$scratch/kinds"
say ""
echo "| function | share |"
echo "|---|---|"
head -n 12 "$scratch/report" | awk '{ printf "| `%s` in %s | %s %% |\n", $NF, $2, $1 }'
if [ -x "$scratch/tape" ]
then
	say ""
	PRODUCTS=1 "$scratch/tape" maml 32 64 10 10 5 32 0 >"$scratch/core"
	sed -n 's/.*products: \([0-9.]*\) MFLOP.*/\1/p' "$scratch/core" |
		awk -v rate="${rates#* }" -v share="$(sed -n 's/.*matrix products | \([0-9.]*\).*/\1/p' "$scratch/kinds")" '{
			printf "Products: %s MFLOP in a meta-iteration, %.0f GFLOP/s of the whole, %.0f GFLOP/s while they run.\n", $1, $1 * rate / 1000, $1 * rate / 10 / share }'
	say "Without a server: $(tr -s ' ' <"$scratch/core")"
fi
rm -rf "$scratch"
