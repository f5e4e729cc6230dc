#!/bin/sh
# The LSTM meta-learner beside gradient descent from the start that it has
# learned, at the same number of steps, with the rate that validates best:
#
#	bench/lstm.sh [iterations]		(default: 3000)
#
#	DATA	folder with load.sh and the data	(default: ../shared/data)
#
# On waves of the MAML paper, in the numeric core alone, without a server; and
# on students' scores (oulad), where the data is there.

set -eu
cd "$(dirname "$0")/.."
iterations=${1:-3000}
data=${DATA:-../shared/data}

. bench/core.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
core_program bench/lstm.c "$dir/lstm"

echo "Waves, two layers of 20:"
RATE=0.003 "$dir/lstm" sinusoid 10 10 5 "$iterations" 20

if [ ! -f "$data/oulad/studentAssessment.csv.gz" ]
then
	echo "bench/lstm.sh: no students' scores, because the data is not at $data (set DATA)."
	exit 0
fi

# Scores by kind, weight and day of the assessment and by the student's course; a line per score.
for table in assessments studentInfo studentAssessment
do gzip -cd "$data/oulad/$table.csv.gz" | tr -d '"\r' >"$dir/$table.csv"
done
awk -F, '
	FILENAME ~ /assessments/ { module[$3] = $1; kind[$3] = $4; due[$3] = $5; weight[$3] = $6; term[$3] = $2; next }
	FILENAME ~ /Info/ { about[$1 $2 $3] = ($4 == "M") " " ($11 == "Y") " " $9 + 0 " " $10 + 0 " " ($8 == "0-35") " " ($6 ~ /^A Level/) " " ($6 ~ /^HE/) " " ($6 ~ /^Lower/) " " ($7 == "" ? 45 : $7 + 0); next }
	FNR > 1 && $5 != "" && $4 == 0 && (module[$1] term[$1] $2) in about {
		line = $2 " " $5 " " (due[$1] == "" ? 120 : due[$1]) " " (due[$1] == "") " " (weight[$1] == "" ? 10 : weight[$1]) " " (kind[$1] == "TMA") " " (kind[$1] == "CMA")
		for (i = 1; i <= 6; i++)
			line = line " " (module[$1] == substr("AAABBBCCCDDDEEEFFF", 3 * i - 2, 3))
		print line, about[module[$1] term[$1] $2]
	}' "$dir/assessments.csv" "$dir/studentInfo.csv" "$dir/studentAssessment.csv" | sort -s -n -k 1,1 >"$dir/scores"
echo
echo "Scores, two layers of 10:"
RATE=0.003 "$dir/lstm" "$dir/scores" 5 10 5 "$((iterations / 5))" 10
