#!/bin/sh
# Instructions of the hot loops, counted by callgrind: figures that do not
# depend on what else runs, and that change only with the code and the compiler.
#
#	bench/instructions.sh
#
# Per meta-iteration of 32 tasks and per adaptation, by learner; then per
# prediction of one row, with the params of one task and with other ones each
# time.  The counts of set-up are taken off by running twice.  Valgrind has no
# AVX-512, so these are the AVX2 kernels.  Then the functions that take most of
# maml's.

set -eu
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo "bench/instructions.sh: skipped, because there is no valgrind."; exit 0; }
. bench/core.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for times in 1 11
do
	core_program bench/tape.c "$dir/tape$times" -g -DREPETITIONS=$times
	core_program bench/row.c "$dir/row$times" -g -DREPETITIONS=$times
done

# Instructions of LEARNER with REPETITIONS and TASKS
count()
{
	valgrind --tool=callgrind --callgrind-out-file="$dir/out.$1.$2.$3" "$dir/tape$2" "$1" 32 64 10 10 5 "$3" 0 2>&1 >/dev/null |
		awk '/Collected/ { print $4 }'
}

# Instructions of predictions with LEARNER, REPETITIONS in each of nine rounds, OTHERS
count_rows()
{
	valgrind --tool=callgrind --callgrind-out-file=/dev/null "$dir/row$2" "$1" 32 64 "$3" 2>&1 >/dev/null |
		awk '/Collected/ { print $4 }'
}

echo "| learner | a meta-iteration | an adaptation |"
echo "|---|---|---|"
for learner in maml fomaml anil alpaca ridge
do
	# without tasks only the adaptations are left
	both=$(($(count $learner 11 32) - $(count $learner 1 32)))
	adapting=$(($(count $learner 11 0) - $(count $learner 1 0)))
	awk -v name=$learner -v both=$both -v adapting=$adapting \
		'BEGIN { printf "| %s | %.2f million | %.1f thousand |\n", name, (both - adapting) / 1e7, adapting / 1e4 }'
done
echo
echo "| learner | a prediction, params constant | others each time |"
echo "|---|---|---|"
for learner in maml anil cavia alpaca
do
	one=$(($(count_rows $learner 11 0) - $(count_rows $learner 1 0)))
	others=$(($(count_rows $learner 11 1) - $(count_rows $learner 1 1)))
	awk -v name=$learner -v one=$one -v others=$others \
		'BEGIN { printf "| %s | %.0f | %.0f |\n", name, one / 90, others / 90 }'
done
echo
callgrind_annotate "$dir/out.maml.11.32" 2>/dev/null | awk '/^[ 0-9,]+ *\(/ && n++ < 14 { sub(/ \[.*/, ""); sub(/[^ ]*\//, ""); print "\t" $0 }'
