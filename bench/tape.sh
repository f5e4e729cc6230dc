#!/bin/sh
# A meta-iteration (forward, backward, of all tasks; no sampling, no outer
# step) and one adaptation in the numeric core alone, without a server, by
# learner and by size; the best of 200 by processor time, so that it depends
# little on what else runs.
#
#	bench/tape.sh

set -eu
cd "$(dirname "$0")/.."

. bench/core.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
core_program bench/tape.c "$dir/tape"

echo "learner      inputs hidden  rows    steps tasks categories       iteration              adapting   memory"
for learner in maml fomaml anil reptile pooled alpaca
do "$dir/tape" $learner 32 64 10 10 5 32 0
done
for inputs in 8 128 512; do "$dir/tape" maml $inputs 64 10 10 5 32 0; done
for hidden in 16 128 256; do "$dir/tape" maml 32 $hidden 10 10 5 32 0; done
for rows in 5 20 40; do "$dir/tape" maml 32 64 $rows $rows 5 32 0; done
for steps in 1 2 10; do "$dir/tape" maml 32 64 10 10 $steps 32 0; done
for categories in 100 10000; do "$dir/tape" maml 32 64 10 10 5 32 $categories; done
"$dir/tape" maml 1 40 10 10 1 25 0
