#!/bin/sh
# What auto is worth on educational data, over several splits:
#
#	bench/auto.sh [set ...]		(default: all of bench/school.sh)
#
#	SEEDS	of the splits and the trainings		(default: 0 1 2)
#	OUT		file the table is written to		(default: standard output)
#
# Runs bench/school.sh with auto once per seed, in the database that PGHOST and
# the like name; what bench.result holds already is not run again, so that a run
# that was broken off goes on.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

SEEDS=${SEEDS:-0 1 2}
OUT=${OUT:-/dev/stdout}
[ -n "$psql" ] || die "Name a database that has meta by PGHOST, PGPORT or PGDATABASE: its schema bench keeps the results."
[ $# -gt 0 ] || set -- oulad pisa2003 assist2009 assist2015 star_tennessee star_by_pupil insteval insteval_student \
	hsb82 egsingle egsingle_child school_ilea exam_london65 statics2011

known()
{
	[ "$(ask "SELECT to_regclass('bench.result') IS NOT NULL")" = t ] &&
		[ "$(ask "SELECT count(*) > 0 FROM bench.result WHERE set = '$1' AND seed = $2 AND algorithm = 'auto'")" = t ]
}

for seed in $SEEDS
do
	for name in "$@"
	do known "$name" "$seed" || ALGORITHMS=auto SEED=$seed OUT=/dev/null bench/school.sh "$name"
	done
done

{
	machine
	say "RMSE or log loss of random_intercept; below it what auto changes it by, in percent: mean over the seeds $SEEDS,"
	say "with a 95 % interval of that mean from the paired intervals over test tasks of each seed. Bold where it excludes 0."
	say
	say "| set | k = 0 | 1 | 3 | 5 | 10 | 20 | s |"
	say "|---|---|---|---|---|---|---|---|"
	for name in "$@"
	do
		run -A -t <<-END
			WITH change AS (
				SELECT shots, seed, seconds, value - difference AS reference, 100 * difference / (value - difference) AS change,
					   100 * (difference_upper - difference_lower) / 2 / (value - difference) AS half
				FROM bench.result
				WHERE set = '$name' AND algorithm = 'auto' AND method = 'adapted' AND metric IN ('rmse', 'log_loss')
					  AND seed = ANY (string_to_array('$SEEDS', ' ')::bigint[])),
			cell AS (
				SELECT shots, avg(seconds) AS seconds, avg(reference) AS reference, avg(change) AS change,
					   sqrt(sum(half ^ 2)) / count(*) AS half
				FROM change GROUP BY 1),
			shown AS (
				SELECT shots, seconds,
					   round(reference::numeric, CASE WHEN reference < 2 THEN 4 ELSE 2 END) || '<br>' ||
					   format('%s%s [%s, %s]%1\$s', CASE WHEN abs(change) > half AND half > 0 THEN '**' ELSE '' END,
							  to_char(change, 'SGFM990.0'), to_char(change - half, 'SGFM990.0'), to_char(change + half, 'SGFM990.0')) AS text
				FROM cell)
			SELECT '| $name | ' || string_agg(coalesce(text, ''), ' | ' ORDER BY k) || ' | ' || round(max(seconds)) || ' |'
			FROM unnest('{0,1,3,5,10,20}'::int[]) k LEFT JOIN shown ON shots = k;
		END
	done
} >"$OUT"
