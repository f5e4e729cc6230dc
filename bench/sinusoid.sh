#!/bin/sh
# Sinusoid regression of the MAML paper, trained in the database:
#
#	bench/sinusoid.sh [iterations [inner_lr [waves [test waves [seed [algorithm [family]]]]]]]
#		(default: 70000 0.01 100000 2000 0 maml standard)
#
# family is standard, the paper's, or frequency: waves whose frequency varies,
# too, from 0.8 to 1.2.
#
#	OPTIONS		further options, as a JSON object	(default: {})
#
# Prints mean and median squared error after 1, 5 and 10 inner steps on K = 5
# and K = 10 points.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

OPTIONS=${OPTIONS:-"{}"}
database
machine
case ${7:-standard} in
standard)	varies=false ;;
frequency)	varies=true ;;
*)			die "There is no family $7; there are: standard, frequency." ;;
esac
run -P pager=off -P footer=off -v iterations="${1:-70000}" -v inner_lr="${2:-0.01}" \
	-v waves="${3:-100000}" -v tests="${4:-2000}" -v seed="${5:-0}" \
	-v algorithm="${6:-maml}" -v varies="$varies" -v more="$OPTIONS" -f bench/sinusoid.sql
