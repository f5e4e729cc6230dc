#!/bin/sh
# Sinusoid regression of the MAML paper, trained in the database:
#
#	bench/sinusoid.sh [iterations [inner_lr [waves [test waves [seed]]]]]
#		(default: 70000 0.01 100000 2000 0)
#
# Prints mean and median squared error after 1, 5 and 10 inner steps on K = 5
# and K = 10 points.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

database
machine
run -P pager=off -P footer=off -v iterations="${1:-70000}" -v inner_lr="${2:-0.01}" \
	-v waves="${3:-100000}" -v tests="${4:-2000}" -v seed="${5:-0}" -f bench/sinusoid.sql
