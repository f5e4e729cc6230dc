#!/bin/sh
# Cost of a meta-iteration (exact MAML, without a server) against tasks, rows
# per task, features, hidden width, inner steps and the size of a table of
# categories: a table, and a log-log plot.
#
#	bench/growth.sh [plot [rounds]]		(default: bench/growth.svg 5)
#
# One quantity varies at a time; the others are 32 tasks of 10 + 10 rows, 32
# features, two hidden layers of 64, 5 steps, no categories.  By processor time,
# the best of 20 in each round, and of all rounds: they are made in turn, since a
# processor that is slower for a minute would look like growth.

set -eu
cd "$(dirname "$0")/.."
plot=${1:-bench/growth.svg} rounds=${2:-5}

. bench/core.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
core_program bench/tape.c "$dir/tape" -DREPETITIONS=20

# NAME VALUE, and the arguments of tape: one line "NAME VALUE ms"
point()
{
	name=$1 value=$2
	shift 2
	"$dir/tape" "$@" | awk -v name="$name" -v value="$value" '{ for (i = 1; i <= NF; i++) if ($i == "ms") print name, value, $(i - 1) }' >>"$dir/all"
}

round=0
while [ $((round += 1)) -le "$rounds" ]
do
	for n in 8 16 32 64 128; do point tasks $n maml 32 64 10 10 5 $n 0; done
	for n in 5 10 20 40 80; do point rows $((2 * n)) maml 32 64 $n $n 5 32 0; done
	for n in 8 32 128 512 2048; do point features $n maml $n 64 10 10 5 32 0; done
	for n in 16 32 64 128 256; do point hidden $n maml 32 $n 10 10 5 32 0; done
	for n in 1 2 5 10 20; do point steps $n maml 32 64 10 10 $n 32 0; done
	for n in 100 1000 10000 100000; do point categories $n maml 32 64 10 10 5 32 $n; done
done
awk '{ at = $1 " " $2 } !(at in best) { order[++n] = at; best[at] = $3 } $3 < best[at] { best[at] = $3 }
	END { for (i = 1; i <= n; i++) print order[i], best[order[i]] }' "$dir/all" >"$dir/points"

# Growth: the exponent between neighbours, log(cost ratio) / log(ratio of the quantity).
awk 'BEGIN { print "| | | | | | |"; print "|---|---|---|---|---|---|" }
	$1 != name { if (name != "") { print line " |"; print costs " |"; print growth " |" }
				 name = $1; line = "| " $1; costs = "| ms"; growth = "| exponent"; last = 0 }
	{ line = line " | " $2; costs = costs " | " $3
	  growth = growth " | " (last ? sprintf("%.2f", log($3 / cost) / log($2 / last)) : ""); last = $2; cost = $3 }
	END { print line " |"; print costs " |"; print growth " |" }' "$dir/points"

awk 'function x(v) { return 60 + 480 * log(v) / log(100000) }
	function y(v) { return 340 - 300 * (log(v) - log(.2)) / (log(200) - log(.2)) }
	BEGIN {
		split("#1b6ca8 #c0392b #218c53 #8e44ad #d68910 #555555", colours, " ")
		print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 390\" font-family=\"sans-serif\" font-size=\"12\">"
		print "<rect width=\"680\" height=\"390\" fill=\"white\"/>"
		for (e = 0; e <= 5; e++) {
			printf "<line x1=\"%.1f\" y1=\"40\" x2=\"%.1f\" y2=\"340\" stroke=\"#dddddd\"/><text x=\"%.1f\" y=\"358\" text-anchor=\"middle\">%d</text>\n", x(10 ^ e), x(10 ^ e), x(10 ^ e), 10 ^ e
		}
		for (v = .2; v < 300; v *= 10)
			printf "<line x1=\"60\" y1=\"%.1f\" x2=\"540\" y2=\"%.1f\" stroke=\"#dddddd\"/><text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%g ms</text>\n", y(v), y(v), y(v) + 4, v
		print "<text x=\"60\" y=\"24\">a meta-iteration of exact MAML, by what grows</text>"
	}
	$1 != name { if (name != "") finish(); name = $1; points = ""; n++ }
	{ points = points sprintf("%.1f,%.1f ", x($2), y($3)); end_y = y($3) }
	function finish() {
		printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", points, colours[n]
		printf "<rect x=\"556\" y=\"%d\" width=\"12\" height=\"4\" fill=\"%s\"/><text x=\"574\" y=\"%d\">%s</text>\n", 60 + 20 * n, colours[n], 66 + 20 * n, name
	}
	END { finish(); print "</svg>" }' "$dir/points" >"$plot"
echo "Plot: $plot"
