#!/bin/sh
# K-shot results on educational data, every learner beside the baselines:
#
#	bench/school.sh [set ...]		(default: all of them)
#
#	DATA		folder with load.sh and the data	(default: ../shared/data)
#	ALGORITHMS	what is trained		(default: all that learn from rows; the first is compared with random_intercept in one table for all sets)
#	SEEDS		of the splits and the trainings		(default: 0 1 2)
#	OPTIONS		further options, as a JSON object	(default: {})
#	OUT			file the tables are written to		(default: standard output)
#
# Each model is trained with its algorithm's defaults on training tasks and
# evaluated by meta.evaluate on test tasks, once per seed; the same query rows
# serve every K and every method.  Where rows have an order, support comes first.
#
# linear stands for a setting: alpaca without hidden layers and
# without a context, which is the linear mixed model with random slopes of 12
# combinations of the inputs beside the random intercept, fitted by prediction.
# Its pooled network has no hidden layers either, so that its own random_intercept
# is not the others'; see pair.
#
# All figures are kept in the table bench.result.  What it holds already is not
# run again, so that a run that was broken off goes on; where OPTIONS are others
# than before, empty it.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

DATA=${DATA:-../shared/data}
ALGORITHMS=${ALGORITHMS:-auto alpaca cnp linear ridge prototypical matching vaml maml fomaml meta_sgd anil cavia lstm mann reptile finetune}
SEEDS=${SEEDS:-0 1 2}
OPTIONS=${OPTIONS:-"{}"}
OUT=${OUT:-/dev/stdout}
all="hsb82 egsingle egsingle_child exam_london65 school_ilea insteval insteval_student star_tennessee star_by_pupil oulad pisa2003 assist2009 assist2015 statics2011 ecpe fraction_subtraction"

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
	ecpe)			task=student_id target=correct metrics='log_loss auc' ;;
	fraction_subtraction)	task=student_id target=correct test=0.3 shots='{0,1,3,5,10}' metrics='log_loss auc' ;;
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

# Does bench.result lack it, and can the algorithm learn this target?
wanted()
{
	case $2:$metrics in
	prototypical:rmse) return 1 ;;
	esac
	[ "$(ask "SELECT count(*) FROM bench.result WHERE set = '$1' AND algorithm = '$2' AND seed = $3")" = 0 ]
}

# Compares bench.SET.linear with the random_intercept that all others are
# compared with, task by task, as meta.evaluate cannot: of two models.  The
# interval is that of the delta method.
pair()
{
	from=${held:-$source}
	case $from in SELECT*) from="($from)" ;; esac
	by_task="SELECT t.*, row($task)::text AS bench_task FROM $from t"
	run >&2 <<-END
		SET client_min_messages = warning;
		CALL meta.train('bench.$1.reference', $(literal "$source"), task => $(literal "$task"), target => '$target',
						order_by => $(literal "$order"), algorithm => 'random_intercept', options => $2);
		WITH task AS (			-- means over a task's rows, of squares or of logarithms
			SELECT shots, metric, metric = 'rmse' AS root, rows, our.value ^ power AS ours, their.value ^ power AS theirs
			FROM meta.evaluate('bench.$1.linear', $(literal "$by_task"), '$shots', by => 'bench_task') our
				 JOIN meta.evaluate('bench.$1.reference', $(literal "$by_task"), '$shots', by => 'bench_task') their
				 USING (shots, metric, by_value, rows),
				 LATERAL (SELECT CASE metric WHEN 'rmse' THEN 2 ELSE 1 END AS power) p
			WHERE our.method = 'adapted' AND their.method = 'random_intercept' AND metric IN ('rmse', 'log_loss')
				  AND by_value IS NOT NULL),
		mean AS (
			SELECT shots, metric, sum(rows) AS n, sum(rows * ours) / sum(rows) AS ours, sum(rows * theirs) / sum(rows) AS theirs
			FROM task GROUP BY 1, 2),
		pair AS (
			SELECT shots, metric, min(CASE WHEN root THEN sqrt(m.theirs) ELSE m.theirs END) AS theirs,
				   1.96 / min(n) * sqrt(sum((rows * CASE WHEN root THEN (t.ours - m.ours) / 2 / sqrt(m.ours) - (t.theirs - m.theirs) / 2 / sqrt(m.theirs)
													ELSE t.ours - m.ours - (t.theirs - m.theirs) END) ^ 2)) AS half
			FROM task t JOIN mean m USING (shots, metric) GROUP BY 1, 2)
		UPDATE bench.result r SET difference = value - theirs, difference_lower = value - theirs - half,
								  difference_upper = value - theirs + half
		FROM pair p
		WHERE r.set = '$1' AND r.algorithm = 'linear' AND r.seed = $3 AND r.method = 'adapted' AND r.shots = p.shots AND r.metric = p.metric;
		DELETE FROM meta.model WHERE name = 'bench.$1.reference';
	END
}

# Trains one model and keeps what meta.evaluate says of it.
measure()
{
	algorithm=$2 more="'{}'"
	options="jsonb_build_object('seed', $3, 'test', $test) || $(literal "$OPTIONS")::jsonb"
	[ -z "$exclude" ] || options="$options || '{\"exclude\": [\"$exclude\"]}'"
	if [ "$algorithm" = linear ]
	then
		algorithm=alpaca
		more="'{\"hidden\": [], \"context\": 0}'"
	fi
	say "$1: $2, seed $3" >&2
	run >&2 <<-END || say "$1: $2 failed with seed $3, and is left out" >&2
		SET client_min_messages = warning;
		SET maintenance_work_mem = '256MB';
		SELECT $options || $more AS options \gset
		CALL meta.train('bench.$1.$2', $(literal "$source"), task => $(literal "$task"), target => '$target',
						order_by => $(literal "$order"), algorithm => '$algorithm', options => :'options');
		INSERT INTO bench.result
		SELECT '$1', '$2', $3, v.seconds, e.*
		FROM   meta.evaluate('bench.$1.$2', source => $(literal "$held"), shots => '$shots') e,
			   LATERAL (SELECT v.seconds FROM meta.model m JOIN meta.version v ON v.model = m.id
						WHERE m.name = 'bench.$1.$2' ORDER BY v.version DESC LIMIT 1) v;
	END
	[ "$2" != linear ] || pair "$1" "$options" "$3" || say "$1: $2 is not paired with seed $3" >&2
	run -c "DELETE FROM meta.model WHERE name = 'bench.$1.$2'"
}

# One Markdown table: a line per method, a column per K.
table()
{
	ks=$(printf %s "$shots" | tr -d '{}' | tr , ' ')
	header='| |' rule='|---|'
	for k in $ks
	do
		header="$header k = $k |" rule="$rule---|"
	done
	run -A -t <<-END
		SELECT format(E'\n%s, %s: %s test tasks, %s query rows in all\n', '$1', '$2', sum(tasks), sum(rows))
		FROM (SELECT DISTINCT ON (seed) seed, tasks, rows FROM bench.result
			  WHERE set = '$1' AND metric = '$2' AND seed = ANY ($seeds) ORDER BY seed, shots) s
	END
	say "$header s |"
	say "$rule---|"
	run -A -t <<-END
		WITH result AS (
			SELECT *, value - difference AS own, 100 * difference / (value - difference) AS change,
				   50 * (difference_upper - difference_lower) / (value - difference) AS half
			FROM bench.result
			WHERE set = '$1' AND metric = '$2' AND seed = ANY ($seeds) AND algorithm = ANY (string_to_array('$ALGORITHMS', ' '))),
		-- one reference, and one set of baselines: those within the first algorithm's models
		common AS (
			SELECT * FROM result WHERE method <> 'prior' AND method <> 'adapted' AND algorithm = split_part('$ALGORITHMS', ' ', 1)),
		line AS (
			SELECT r.algorithm AS name, r.shots, r.seed, r.seconds, r.value, r.half,
				   100 * (r.value - c.value) / c.value AS change,
				   abs(r.own - c.value) <= 0.0005 * abs(c.value) AS paired
			FROM result r JOIN common c ON c.seed = r.seed AND c.shots = r.shots AND c.method = 'random_intercept'
			WHERE r.method = 'adapted'
			UNION ALL
			SELECT method, shots, seed, NULL, value, half, change, true FROM common),
		cell AS (
			SELECT name, shots, max(seconds) AS seconds, avg(value) AS value, avg(change) AS change,
				   sqrt(sum(half ^ 2)) / count(*) AS half, bool_and(paired) AS paired, count(DISTINCT seed) AS seeds
			FROM line GROUP BY 1, 2),
		shown AS (
			SELECT name, shots, seconds, seeds,
				   round(value::numeric, CASE WHEN value < 2 THEN 4 ELSE 2 END) ||
				   CASE WHEN name = 'random_intercept' THEN ''
						WHEN NOT paired THEN format('<br>%s %% †', to_char(change, 'SGFM9990.0'))
						ELSE format('<br>%s%s %% [%s, %s]%1\$s', CASE WHEN abs(change) > half THEN '**' ELSE '' END,
									to_char(change, 'SGFM9990.0'), to_char(change - half, 'SGFM9990.0'),
									to_char(change + half, 'SGFM9990.0')) END AS text
			FROM cell)
		SELECT '| ' || name || CASE WHEN min(seeds) < $n_seeds THEN format(' (%s of $n_seeds seeds)', min(seeds)) ELSE '' END || ' | ' ||
			   string_agg(text, ' | ' ORDER BY shots) || ' | ' || coalesce(round(max(seconds))::text, '') || ' |'
		FROM shown GROUP BY name
		ORDER BY array_position(string_to_array('random_intercept $ALGORITHMS pooled single_task', ' '), name);
	END
}

# One line per set: random_intercept, and what the first algorithm changes.
summary()
{
	first=${ALGORITHMS%% *}
	say
	say "$first: upper line random_intercept, lower line what it changes that by."
	say
	say "| set | k = 0 | 1 | 3 | 5 | 10 | 20 | s |"
	say "|---|---|---|---|---|---|---|---|"
	for name in "$@"
	do
		run -A -t <<-END
			WITH change AS (
				SELECT shots, seconds, value - difference AS reference, 100 * difference / (value - difference) AS change,
					   50 * (difference_upper - difference_lower) / (value - difference) AS half
				FROM bench.result
				WHERE set = '$name' AND algorithm = '$first' AND method = 'adapted' AND metric IN ('rmse', 'log_loss') AND seed = ANY ($seeds)),
			cell AS (
				SELECT shots, avg(seconds) AS seconds, avg(reference) AS reference, avg(change) AS change, sqrt(sum(half ^ 2)) / count(*) AS half
				FROM change GROUP BY 1),
			shown AS (
				SELECT shots, seconds,
					   round(reference::numeric, CASE WHEN reference < 2 THEN 4 ELSE 2 END) || '<br>' ||
					   format('%s%s [%s, %s]%1\$s', CASE WHEN abs(change) > half THEN '**' ELSE '' END, to_char(change, 'SGFM990.0'),
							  to_char(change - half, 'SGFM990.0'), to_char(change + half, 'SGFM990.0')) AS text
				FROM cell)
			SELECT '| $name | ' || string_agg(coalesce(text, ''), ' | ' ORDER BY k) || ' | ' || round(max(seconds)) || ' |'
			FROM unnest('{0,1,3,5,10,20}'::int[]) k LEFT JOIN shown ON shots = k
		END
	done
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

seeds="string_to_array('$SEEDS', ' ')::bigint[]"
n_seeds=$(set -- $SEEDS; echo $#)
for seed in $SEEDS
do
	for name in "$@"
	do
		describe "$name"
		[ "$(ask "SELECT to_regclass('d.$load') IS NOT NULL")" = t ] || bash "$DATA/load.sh" "$load" >&2
		for algorithm in $ALGORITHMS
		do
			if wanted "$name" "$algorithm" "$seed"; then measure "$name" "$algorithm" "$seed"; fi
		done
	done
done
{
	machine
	say "Mean over the seeds $SEEDS; below it the change against random_intercept, in percent, with a 95 % interval of the"
	say "mean from each seed's paired interval over test tasks, bold where it excludes 0; less is better, but for auc. s:"
	say "seconds of the longest training, baselines included. linear: the linear mixed model with random slopes (see"
	say "bench/school.sh). †: the model's own random_intercept is another one than the table's, and areas (auc) of two models"
	say "are not paired."
	say "Nothing is corrected for how many intervals there are: of twenty, one excludes 0 by chance."
	summary "$@"
	for name in "$@"
	do
		describe "$name"
		for metric in $metrics; do table "$name" "$metric"; done
	done
} >"$OUT"
