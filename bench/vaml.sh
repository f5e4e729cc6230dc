#!/bin/sh
# What vaml knows of whole rows, and how it predicts:
#
#	bench/vaml.sh [set ...]		(default: star_tennessee oulad insteval)
#
#	DATA	folder with load.sh and the data	(default: ../shared/data)
#	OPTIONS	further options of vaml, as a JSON object	(default: {})
#	OUT		file the tables are written to		(default: standard output)
#
# A fifth of the tasks is held out, by a hash of the key: nothing is trained,
# stopped or calibrated on it.  A held-out task is adapted to its first rows (in
# order, or in that of a hash): 10, of oulad 5; the rows after them are what is
# compared with, of up to 300 tasks that have at least five.
#
# 1. Log likelihood of these rows, per row and in nats: of vaml adapted and not,
#	 and of a model that takes columns to be independent: a normal distribution
#	 for numbers, shares for labels, as they are in the training rows.
# 2. 100 rows that vaml makes up for the task, and 100 rows of the training table
#	 drawn at random.  Means: squared differences to those of the task's rows,
#	 of numbers in deviations of the training table, of labels of shares, added
#	 up over the columns (NULL is a label).  Correlations: mean absolute
#	 differences over pairs of columns (a category counts as 1 for its most
#	 frequent label, else 0; of a column that does not vary they are 0).
# 3. Root mean squared error at k rows, of the same held-out tasks, beside alpaca
#	 and random_intercept.
#
# Thresholds, set before the first run: in 1, the interval of the difference
# between adapted and independent lies above 0; in 2, means' differences are less
# than 0.9 of those of rows drawn from the table, those of correlations less than
# 1, intervals included.  Intervals: 95 %, by a bootstrap over tasks.

set -eu
cd "$(dirname "$0")/.."
. bench/lib.sh

DATA=${DATA:-../shared/data}
OPTIONS=${OPTIONS:-"{}"}
OUT=${OUT:-/dev/stdout}
if [ ! -f "$DATA/load.sh" ]
then
	say "bench/vaml.sh: skipped, because the data is not at $DATA (set DATA to where load.sh is)."
	exit 0
fi
database
PATH=$(dirname "$(command -v "$psql")"):$PATH
export PATH
[ $# -gt 0 ] || set -- star_tennessee oulad insteval

describe()
{
	order= exclude= support=10 shots='{0,1,3,5,10}'
	case $1 in
	star_tennessee)	task=tch target=math exclude=pupil ;;
	oulad)			task=id_student target=score order=handed_in support=5 shots='{0,1,3,5}' ;;
	insteval)		task=lecturer target=rating exclude=student shots='{0,1,3,5,10,20}' ;;
	*) die "There is no data set $1 here." ;;
	esac
}

run <<'END'
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS bench_vaml CASCADE;
CREATE SCHEMA bench_vaml;
CREATE TABLE bench_vaml.prediction (set text, algorithm text, shots int, method text, value float8, lower float8, upper float8,
									difference float8, difference_lower float8, difference_upper float8, tasks bigint, rows bigint);
CREATE TABLE bench_vaml.task (set text, task text, rows bigint, adapted float8, prior float8, independent float8,
							  means float8, means_drawn float8, correlations float8, correlations_drawn float8);

-- numbers in [0, 1) that are the same everywhere
CREATE FUNCTION bench_vaml.u(t text) RETURNS float8 LANGUAGE sql IMMUTABLE
	RETURN ('x' || left(md5(t), 8))::bit(32)::bigint / 4294967296.0;

-- a ratio of sums, and its interval
CREATE FUNCTION bench_vaml.interval(numerators float8[], denominators float8[], OUT value float8, OUT lower float8, OUT upper float8) LANGUAGE sql STABLE AS $$
	WITH task AS (SELECT row_number() OVER () AS i, a, b FROM unnest(numerators, denominators) t (a, b)),
	size AS (SELECT count(*) AS n FROM task),
	drawn AS (SELECT round, 1 + floor(n * bench_vaml.u(round || '.' || place))::bigint AS i
			  FROM size, generate_series(1, 500) round, generate_series(1, n) place),
	sums AS (SELECT sum(a) / sum(b) AS ratio FROM drawn JOIN task USING (i) GROUP BY round)
	SELECT (SELECT sum(a) / sum(b) FROM task), percentile_cont(0.025) WITHIN GROUP (ORDER BY ratio), percentile_cont(0.975) WITHIN GROUP (ORDER BY ratio)
	FROM sums $$;
END

measure()
{
	ordering=${order:-"md5(r::text)"}
	by=NULL
	[ -z "$order" ] || by="'$order'"
	say "$1: training" >&2
	run >&2 <<-END
		SET client_min_messages = warning;
		SET search_path = bench_vaml;
		CREATE TABLE bench_vaml.$1 AS
			SELECT row_number() OVER (PARTITION BY $task ORDER BY $ordering, md5(r::text)) AS place, bench_vaml.u('held ' || $task) < 0.2 AS held, r.*
			FROM d.$1 r;
		CALL meta.train('bench.vaml.$1', 'SELECT * FROM bench_vaml.$1 WHERE NOT held', '$task', '$target', order_by => $by, algorithm => 'vaml',
						options => jsonb_build_object('exclude', '{place,held${exclude:+,$exclude}}'::text[], 'test', 0) || '$OPTIONS');
		CALL meta.train('bench.vaml.$1.alpaca', 'SELECT * FROM bench_vaml.$1 WHERE NOT held', '$task', '$target', order_by => $by, algorithm => 'alpaca',
						options => jsonb_build_object('exclude', '{place,held${exclude:+,$exclude}}'::text[], 'test', 0));
		INSERT INTO prediction
		SELECT '$1', a, shots, method, value, lower, upper, difference, difference_lower, difference_upper, tasks, rows
		FROM (VALUES ('vaml', 'bench.vaml.$1'), ('alpaca', 'bench.vaml.$1.alpaca')) v (a, model),
			 LATERAL meta.evaluate(model, source => 'SELECT * FROM bench_vaml.$1 WHERE held', shots => '$shots') WHERE metric = 'rmse';
	END
	say "$1: rows" >&2
	run >&2 <<-END
		SET client_min_messages = warning;
		SET search_path = bench_vaml;
		CREATE TEMP TABLE adapted AS
			SELECT $task::text AS task, meta.adapt('bench.vaml.$1', r) FILTER (WHERE place <= $support) AS params
			FROM bench_vaml.$1 r WHERE held GROUP BY 1 HAVING count(*) >= $support + 5 ORDER BY md5($task::text) LIMIT 300;
		-- the columns that rows are made up of
		CREATE TEMP TABLE col AS
			SELECT key AS name, coalesce((SELECT e ->> 'encoder' FROM jsonb_array_elements(meta.describe('bench.vaml.$1') -> 'encoders') e WHERE e ->> 'column' = key), 'number') AS kind
			FROM (SELECT DISTINCT key FROM meta.generate('bench.vaml.$1', 1) g, jsonb_object_keys(g) key) k;
		CREATE TEMP TABLE cell AS
			SELECT $task::text AS task, place, held, name, kind, to_jsonb(r) ->> name AS value FROM bench_vaml.$1 r, col;
		CREATE TEMP TABLE number AS
			SELECT name, avg(value::float8) AS mean, stddev(value::float8) AS deviation, avg((value IS NULL)::int) AS missing
			FROM cell WHERE kind IN ('number', 'raw') AND NOT held GROUP BY 1;
		CREATE TEMP TABLE label AS
			SELECT name, value, share, row_number() OVER (PARTITION BY name ORDER BY share DESC, value) = 1 AS most
			FROM (SELECT name, value, count(*)::float8 / sum(count(*)) OVER (PARTITION BY name) AS share
				  FROM cell WHERE kind NOT IN ('number', 'raw') AND NOT held GROUP BY 1, 2) s;

		-- 1. log likelihood
		CREATE TEMP TABLE likelihood AS
			SELECT $task::text AS task, count(*) AS rows, avg(meta.log_likelihood(params, r)) AS adapted, avg(meta.log_likelihood('bench.vaml.$1', r)) AS prior
			FROM bench_vaml.$1 r JOIN adapted a ON a.task = r.$task::text WHERE place > $support GROUP BY 1;
		CREATE TEMP TABLE independent AS
			SELECT task, avg(total) AS independent
			FROM (SELECT task, place, sum(CASE
							WHEN n.name IS NOT NULL AND c.value IS NULL THEN CASE WHEN missing > 0 THEN ln(missing) ELSE 0 END
							WHEN n.name IS NOT NULL THEN ln(1 - missing) - ln(deviation) - 0.5 * ln(2 * pi()) - 0.5 * ((c.value::float8 - mean) / deviation) ^ 2
							ELSE coalesce(ln(share), 0) END) AS total
				  FROM cell c JOIN adapted a USING (task) LEFT JOIN number n USING (name)
					   LEFT JOIN label l ON l.name = c.name AND l.value IS NOT DISTINCT FROM c.value
				  WHERE place > $support GROUP BY 1, 2) r GROUP BY 1;

		-- 2. rows: the task's own, made up, drawn
		CREATE TEMP TABLE three AS
			SELECT task, 'own' AS source, place, name, value FROM cell JOIN adapted USING (task) WHERE place > $support
			UNION ALL
			SELECT task, 'made', place, name, row ->> name FROM adapted, meta.generate(params, 100) WITH ORDINALITY g (row, place), col
			UNION ALL
			SELECT task, 'drawn', d.place, name, to_jsonb(r) ->> name
			FROM (SELECT task, place, 1 + floor(bench_vaml.u(task || '.' || place) * (SELECT count(*) FROM bench_vaml.$1 WHERE NOT held))::bigint AS nr
				  FROM adapted, generate_series(1, 100) place) d
				 JOIN (SELECT row_number() OVER (ORDER BY $task, r.place) AS nr, r.* FROM bench_vaml.$1 r WHERE NOT held) r USING (nr), col;
		ANALYZE three;
		CREATE TEMP TABLE figure AS			-- a mean or a share
			SELECT task, source, name, '' AS value, avg((value::float8 - mean) / deviation) AS mean FROM three JOIN number USING (name) GROUP BY 1, 2, 3
			UNION ALL
			SELECT task, source, t.name, coalesce(l.value, 'NULL'), avg((t.value IS NOT DISTINCT FROM l.value)::int) FROM three t JOIN label l USING (name) GROUP BY 1, 2, 3, 4;
		CREATE TEMP TABLE means AS
			SELECT f.task, f.source, sum((f.mean - own.mean) ^ 2) AS means
			FROM figure f JOIN figure own ON own.task = f.task AND own.source = 'own' AND own.name = f.name AND own.value = f.value
			WHERE f.source <> 'own' GROUP BY 1, 2;
		CREATE TEMP TABLE coded AS
			SELECT task, source, place, name, CASE WHEN n.name IS NOT NULL THEN t.value::float8 ELSE (t.value IS NOT DISTINCT FROM l.value)::int END AS x
			FROM three t LEFT JOIN number n USING (name) LEFT JOIN label l USING (name) WHERE n.name IS NOT NULL OR l.most;
		CREATE TEMP TABLE pair AS
			SELECT a.task, a.source, a.name AS one, b.name AS other, coalesce(corr(a.x, b.x), 0) AS r
			FROM coded a JOIN coded b ON b.task = a.task AND b.source = a.source AND b.place = a.place AND b.name > a.name GROUP BY 1, 2, 3, 4;
		CREATE TEMP TABLE correlations AS
			SELECT p.task, p.source, avg(abs(p.r - own.r)) AS correlations
			FROM pair p JOIN pair own ON own.task = p.task AND own.source = 'own' AND own.one = p.one AND own.other = p.other
			WHERE p.source <> 'own' GROUP BY 1, 2;
		INSERT INTO bench_vaml.task
		SELECT '$1', task, rows, adapted, prior, independent,
			   max(means) FILTER (WHERE source = 'made'), max(means) FILTER (WHERE source = 'drawn'),
			   max(correlations) FILTER (WHERE source = 'made'), max(correlations) FILTER (WHERE source = 'drawn')
		FROM likelihood JOIN independent USING (task) JOIN means USING (task) JOIN correlations USING (task, source) GROUP BY 1, 2, 3, 4, 5, 6;
	END
}

for name in "$@"; do describe "$name"; done
for name in "$@"
do
	describe "$name"
	[ "$(ask "SELECT to_regclass('d.$name') IS NOT NULL")" = t ] || bash "$DATA/load.sh" "$name" >&2
	measure "$name"
done

{
	machine
	say "Log likelihood per held-out row (means over tasks); its difference to the model of independent columns; made-up rows'"
	say "distances to their task's own in parts of those of rows drawn from the training table. [95 % interval over tasks]"
	say ""
	say "| set | tasks | independent | vaml, 0 rows | vaml, adapted | adapted less independent | means | correlations |"
	say "|---|---|---|---|---|---|---|---|"
	run -A -t <<-'END'
		SELECT format('| %s | %s | %s | %s | %s | %s [%s, %s] | %s [%s, %s] | %s [%s, %s] |', set, n,
					  round(independent::numeric, 2), round(prior::numeric, 2), round(adapted::numeric, 2),
					  to_char(d.value, 'SFM990.00'), to_char(d.lower, 'SFM990.00'), to_char(d.upper, 'SFM990.00'),
					  round(m.value::numeric, 2), round(m.lower::numeric, 2), round(m.upper::numeric, 2),
					  round(c.value::numeric, 2), round(c.lower::numeric, 2), round(c.upper::numeric, 2))
		FROM (SELECT set, count(*) AS n, avg(independent) AS independent, avg(prior) AS prior, avg(adapted) AS adapted,
					 array_agg(task.adapted - task.independent ORDER BY task) AS differences, array_agg(1.0::float8) AS ones,
					 array_agg(means ORDER BY task) AS means, array_agg(means_drawn ORDER BY task) AS means_drawn,
					 array_agg(correlations ORDER BY task) AS correlations, array_agg(correlations_drawn ORDER BY task) AS correlations_drawn
			  FROM bench_vaml.task GROUP BY 1) s,
			 bench_vaml.interval(differences, ones) d, bench_vaml.interval(means, means_drawn) m,
			 bench_vaml.interval(correlations, correlations_drawn) c
		ORDER BY set;
	END
	say ""
	say "Root mean squared error [95 % interval]; below it the difference to the random_intercept of the same model, in percent,"
	say "bold where its interval excludes 0."
	for name in "$@"
	do
		describe "$name"
		ks=$(printf %s "$shots" | tr -d '{}' | tr , ' ')
		header="| $name |" rule='|---|'
		for k in $ks
		do
			header="$header k = $k |" rule="$rule---|"
		done
		say ""
		say "$header"
		say "$rule"
		run -A -t <<-END
			WITH line AS (
				SELECT CASE method WHEN 'adapted' THEN algorithm ELSE method END AS name, *,
					   max(value) FILTER (WHERE method = 'random_intercept') OVER (PARTITION BY algorithm, shots) AS own
				FROM bench_vaml.prediction WHERE set = '$name'),
			cell AS (
				SELECT name, shots, format('%s [%s, %s]', round(value::numeric, d), round(lower::numeric, d), round(upper::numeric, d)) ||
					   CASE WHEN method = 'adapted'
							THEN format('<br>%s%s %% [%s, %s]%1\$s', CASE WHEN difference_lower > 0 OR difference_upper < 0 THEN '**' ELSE '' END,
										to_char(100 * difference / own, 'SFM990.0'), to_char(100 * difference_lower / own, 'SFM990.0'),
										to_char(100 * difference_upper / own, 'SFM990.0')) ELSE '' END AS shown
				FROM line, LATERAL (SELECT CASE WHEN own < 2 THEN 4 ELSE 2 END AS d) x
				WHERE method = 'adapted' OR (method IN ('random_intercept', 'pooled') AND algorithm = 'vaml'))
			SELECT '| ' || name || ' | ' || string_agg(shown, ' | ' ORDER BY shots) || ' |'
			FROM cell GROUP BY name ORDER BY array_position('{random_intercept,vaml,alpaca,pooled}', name);
		END
	done
} >"$OUT"
