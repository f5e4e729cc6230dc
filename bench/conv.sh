#!/bin/sh
# Convolutional networks of four layers, 64 filters: a meta-iteration of
# prototypical networks (forward and backward, without sampling and the outer
# step), beside PyTorch on the same work and beside this machine's sgemm.
#
#	bench/conv.sh [rounds]		(default: 3)
#
#	PYTHON	a Python that has torch	(default: /usr/bin/python3)
#
# One thread each, in turn; processor time, the best of all rounds.

set -eu
cd "$(dirname "$0")/.."

rounds=${1:-3}
PYTHON=${PYTHON:-/usr/bin/python3}
. bench/core.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
core_program bench/conv.c "$dir/conv"
"$PYTHON" -c 'import torch' 2>/dev/null || { PYTHON=; echo "PyTorch: skipped, because there is none."; }

echo "network     image    episode       meta us/image  images/s  GFLOP/s  sgemm  episodes/s    MB   torch us/image"
for work in "conv4 28 1 5 1 15" "conv4 28 1 20 5 15" "conv4 32 3 5 5 15" "conv4_pool 28 1 5 1 15" "conv4_pool 28 1 20 1 5" "conv4_pool 28 1 60 5 5" "conv4_pool 32 3 5 5 15"
do
	: >"$dir/lines"
	round=0
	while [ $round -lt "$rounds" ]
	do
		# shellcheck disable=SC2086
		"$dir/conv" $work 3 >>"$dir/lines"
		# shellcheck disable=SC2086
		[ -z "$PYTHON" ] || "$PYTHON" bench/conv_torch.py $work 3 >>"$dir/lines"
		round=$((round + 1))
	done
	awk -v work="$work" '
		/^meta/ { if (!us || $2 < us) { us = $2; flops = $3; episodes = $5 } if ($4 > sgemm) sgemm = $4; mb = $6 }
		/^torch/ { if (!torch || $2 < torch) torch = $2 }
		END {
			split(work, w, " ")
			printf "%-10s %3dx%-3dx%d %2d-way %d+%-2d  %13.1f %9.0f %8.1f %6.1f %11.1f %5d   %s\n", w[1], w[2], w[2], w[3], w[4], w[5], w[6],
				   us, 1e6 / us, flops, sgemm, episodes, mb, torch ? torch : "-"
		}' "$dir/lines"
done
