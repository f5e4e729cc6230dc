#!/bin/sh
# K-shot results on educational data, every learner beside the baselines:
#
#	bench/school.sh [set ...]		(default: all of them)
#
#	DATA		folder with load.sh and the data	(default: ../shared/data)
#	ALGORITHMS	what is trained		(default: maml fomaml reptile alpaca finetune random_intercept)
#	SEED		of the splits and the trainings		(default: 0)
#	OPTIONS		further options, as a JSON object	(default: {})
#	OUT			file the tables are written to		(default: standard output)
#
# Each model is trained with its algorithm's defaults on training tasks and
# evaluated by meta.evaluate on test tasks; the same query rows serve every K
# and every method.  Where rows have an order, support comes first.
# meta.evaluate compares with the random_intercept of the same model; the tables
# say where that is not the same in all.  All figures are kept in the table
# bench.result.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

DATA=${DATA:-../shared/data}
ALGORITHMS=${ALGORITHMS:-maml fomaml reptile alpaca finetune random_intercept}
SEED=${SEED:-0}
OPTIONS=${OPTIONS:-"{}"}
OUT=${OUT:-/dev/stdout}
all="hsb82 egsingle egsingle_child exam_london65 school_ilea insteval insteval_student star_tennessee star_by_pupil oulad pisa2003 assist2009 assist2015 statics2011"

if [ ! -f "$DATA/load.sh" ]
then
	say "bench/school.sh: skipped, because the data is not at $DATA (set DATA to where load.sh is)."
	exit 0
fi

# What is learned from a set: table to load, source, columns, shots; held, a
# source to evaluate on, where that is not the model's own; test, the share of
# tasks to test on, where a tenth would be very few.
describe()
{
	load=$1 source=d.$1 held= task= target= order= exclude= test=0.1 shots='{0,1,3,5,10,20}' metrics=rmse
	case $1 in
	hsb82)			task=school target=math test=0.3 ;;
	exam_london65)	task=school target=normexam test=0.3 ;;
	school_ilea)	task=school target=exam_score test=0.3 ;;
	egsingle)		task=schoolid target=math order=year exclude=childid test=0.3 ;;
	egsingle_child)	load=egsingle source=d.egsingle task=childid target=math order=year test=0.3 shots='{0,1,3}' ;;
	insteval)		task=lecturer target=rating exclude=student test=0.2 ;;
	insteval_student)	load=insteval source=d.insteval task=student target=rating test=0.2 ;;
	star_tennessee)	task=tch target=math exclude=pupil test=0.2 shots='{0,1,3,5,10}' ;;
	# Pupils occur under several teachers: here those of test tasks are others
	# than those of training tasks, besides the teachers being others.
	star_by_pupil)
		load=star_tennessee task=tch target=math exclude=pupil test=0.2 shots='{0,1,3,5}'
		source='SELECT * FROM d.star_tennessee WHERE hashtext(pupil) % 2 = 0'
		held='SELECT * FROM d.star_tennessee WHERE hashtext(pupil) % 2 <> 0'
		;;
	oulad)			task=id_student target=score order=handed_in shots='{0,1,3,5}' ;;
	pisa2003)		task='country, school_id' target=math exclude=stu_wgt ;;
	assist2009)		task=student_id target=correct order=seq metrics='log_loss auc' ;;
	statics2011)	task=student_id target=correct order=seq metrics='log_loss auc' test=0.3 ;;
	assist2015)		task=student_id target=correct order=seq shots='{0,1,3,5,10}' metrics='log_loss auc' ;;
	*) die "There is no data set $1; there are: $all." ;;
	esac
}

literal()
{
	if [ -z "$1" ]
	then printf NULL
	else printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"
	fi
}

# Trains one model and keeps what meta.evaluate says of it.
measure()
{
	say "$1: $2" >&2
	options="jsonb_build_object('seed', $SEED, 'test', $test) || $(literal "$OPTIONS")::jsonb"
	[ -z "$exclude" ] || options="$options || '{\"exclude\": [\"$exclude\"]}'"
	run >&2 <<-END
		SET client_min_messages = warning;
		SELECT $options AS options \gset
		CALL meta.train('bench.$1.$2', $(literal "$source"), task => $(literal "$task"), target => '$target',
						order_by => $(literal "$order"), algorithm => '$2', options => :'options');
		INSERT INTO bench.result
		SELECT '$1', '$2', $SEED, v.seconds, e.*
		FROM   meta.evaluate('bench.$1.$2', source => $(literal "$held"), shots => '$shots') e,
			   LATERAL (SELECT v.seconds FROM meta.model m JOIN meta.version v ON v.model = m.id
						WHERE m.name = 'bench.$1.$2' ORDER BY v.version DESC LIMIT 1) v;
	END
}

# One Markdown table: a line per method, a column per K.
table()
{
	ks=$(printf %s "$shots" | tr -d '{}' | tr , ' ')
	ask "SELECT format(E'\n%s, %s, %s tasks, %s query rows\n', '$1', '$2', min(tasks), min(rows))
		 FROM bench.result WHERE set = '$1' AND metric = '$2' AND seed = $SEED"
	header='| |' rule='|---|'
	for k in $ks
	do
		header="$header k = $k |" rule="$rule---|"
	done
	say "$header s |"
	say "$rule---|"
	run -A -t <<-END
		WITH model AS (
			SELECT algorithm, row_number() OVER (ORDER BY algorithm <> 'random_intercept',
												 array_position(string_to_array('$ALGORITHMS', ' '), algorithm)) AS place
			FROM (SELECT DISTINCT algorithm FROM bench.result WHERE set = '$1' AND seed = $SEED) a),
		result AS (
			SELECT r.*, m.place FROM bench.result r JOIN model m USING (algorithm)
			WHERE set = '$1' AND metric = '$2' AND seed = $SEED AND method <> 'prior'),
		-- one reference and one set of baselines for all lines: those of random_intercept's own model
		line AS (
			SELECT CASE method WHEN 'adapted' THEN algorithm ELSE method END AS name, method <> 'adapted' AS baseline, *
			FROM result WHERE method = 'adapted'
			UNION ALL
			SELECT method, true, * FROM result
			WHERE place = 1 AND method <> 'adapted' AND method <> ALL (string_to_array('$ALGORITHMS', ' '))),
		compared AS (
			SELECT l.*, own.value AS own, common.value AS common,
				   abs(own.value - common.value) <= 0.0005 * abs(common.value) AS same
			FROM line l
				 JOIN result own ON own.algorithm = l.algorithm AND own.shots = l.shots AND own.method = 'random_intercept'
				 JOIN result common ON common.place = 1 AND common.shots = l.shots AND common.method = 'random_intercept'),
		cell AS (
			SELECT name, baseline, shots, seconds,
				   format('%s [%s, %s]', round(value::numeric, d), round(lower::numeric, d), round(upper::numeric, d)) ||
				   CASE WHEN name = 'random_intercept' THEN ''
						WHEN NOT same THEN format('<br>%s %% †', to_char(100 * (value - common) / common, 'SGFM990.0'))
						WHEN difference IS NULL THEN ''
						ELSE format('<br>%s%s %% [%s, %s]%1\$s', CASE WHEN difference_lower > 0 OR difference_upper < 0 THEN '**' ELSE '' END,
									to_char(100 * difference / own, 'SGFM990.0'),
									to_char(100 * difference_lower / own, 'SGFM990.0'),
									to_char(100 * difference_upper / own, 'SGFM990.0')) END AS shown
			FROM compared, LATERAL (SELECT CASE WHEN common < 2 THEN 4 ELSE 2 END AS d) x)
		SELECT '| ' || name || ' | ' || string_agg(shown, ' | ' ORDER BY shots) || ' | ' ||
			   CASE WHEN bool_or(baseline) THEN '' ELSE round(min(seconds))::text END || ' |'
		FROM cell GROUP BY name, baseline
		ORDER BY baseline, array_position(string_to_array('$ALGORITHMS pooled single_task', ' '), name);
	END
}

[ $# -gt 0 ] || set -- $all
for name in "$@"; do describe "$name"; done
database
PATH=$(dirname "$(command -v "$psql")"):$PATH
export PATH
run -c "SET client_min_messages = warning" -c "CREATE SCHEMA IF NOT EXISTS bench" -c "
CREATE TABLE IF NOT EXISTS bench.result (
	set text, algorithm text, seed bigint, seconds float8, shots integer, metric text, method text, by_value text,
	value float8, lower float8, upper float8, difference float8, difference_lower float8, difference_upper float8,
	tasks bigint, rows bigint)"

{
	machine
	say "Value [95 % interval over tasks]; below it the paired difference to random_intercept, in percent of it, and"
	say "bold where its interval excludes 0; less is better, but for auc. s: seconds of training, baselines included."
	say "Seed $SEED. †: the random_intercept within that model is another one than the table's; the percentage is to the"
	say "table's, and has no interval because the two were not resampled together. Nothing is corrected for how many"
	say "intervals there are: of twenty, one excludes 0 by chance."
} >"$OUT"
for name in "$@"
do
	describe "$name"
	[ "$(ask "SELECT to_regclass('d.$load') IS NOT NULL")" = t ] || bash "$DATA/load.sh" "$load" >&2
	run -c "DELETE FROM bench.result WHERE set = '$name' AND seed = $SEED"
	for algorithm in $ALGORITHMS; do measure "$name" "$algorithm"; done
	for metric in $metrics; do table "$name" "$metric"; done >>"$OUT"
done
