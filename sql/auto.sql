-- auto: which learners are tried, what is kept of them, and what it is worth
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA auto;
SET search_path = auto;

-- numbers in [0, 1) that are the same everywhere
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;

-- 400 tasks with a slope of their own, and others that differ in their level only
CREATE TABLE lines AS
	SELECT task, nr, x, slope * x + level + noise AS y, 3 * level + x + noise AS flat,
		   u('pass', task::text, nr::text) < 1 / (1 + exp(-4 * slope * x)) AS passed,
		   CASE WHEN slope * x + noise < -0.4 THEN 'low' WHEN slope * x + noise < 0.4 THEN 'middle' ELSE 'high' END AS mark
	FROM generate_series(1, 400) task, generate_series(1, 16) nr,
		 LATERAL (SELECT 4 * u('slope', task::text) - 2 AS slope, u('level', task::text) - 0.5 AS level,
						 2 * u('x', task::text, nr::text) - 1 AS x, 0.4 * (u('noise', task::text, nr::text) - 0.5) AS noise) l;

CREATE FUNCTION train(name text, target text, source text DEFAULT 'auto.lines', more jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train(name, source, 'task', target, features => 'x', order_by => 'nr',
					options => '{"iterations": 300, "hidden": [12], "context": 8, "meta_batch": 16, "outer_lr": 0.005, "shots": [0, 10], "query": 6}' || more);
END $$;
SELECT train('number', 'y'), train('flat', 'flat'), train('two values', 'passed'), train('classes', 'mark');

CREATE VIEW choice AS
	SELECT m.name, m.algorithm, v.metrics -> 'choice' AS choice, meta.describe(m.name) AS described,
		   (SELECT string_agg(DISTINCT phase, ', ' ORDER BY phase) FROM meta.history h
			WHERE h.model = m.id AND phase !~ 'cross-fit|pooled') AS tried
	FROM meta.model m JOIN meta.version v ON v.model = m.id;

-- slopes are worth a blend; what is kept of it is stored and shown
SELECT name, algorithm, tried, described ->> 'learner' AS learner, choice -> 'learners' -> -1 AS safe,
	   choice -> 'learners' = described -> 'components' -> 0 -> 'blend_of' AS shown
FROM choice WHERE name IN ('number', 'two values', 'classes') ORDER BY 1;
SELECT bool_and(sum BETWEEN 0.998 AND 1.002) AS weights_are_shares, count(*) > 1 AS for_several_numbers_of_rows
FROM choice, jsonb_each(choice -> 'weights') k, LATERAL (SELECT sum(w::float8) FROM jsonb_array_elements_text(k.value) w) s;

-- worth it on tasks that were never seen; and no harm where levels are all there is
SELECT m.name, max(value) FILTER (WHERE method = 'adapted') < 0.9 * max(value) FILTER (WHERE method = 'random_intercept') AS better,
	   max(value) FILTER (WHERE method = 'adapted') < 1.02 * max(value) FILTER (WHERE method = 'random_intercept') AS no_worse
FROM meta.model m, LATERAL meta.evaluate(m.name, shots => '{10}') e WHERE metric IN ('rmse', 'log_loss') GROUP BY 1 ORDER BY 1;
SELECT m.name, bool_and(e.adapted <= 1.02 * e.random_intercept) AS no_worse_without_rows
FROM meta.model m, LATERAL (SELECT max(value) FILTER (WHERE method = 'adapted') AS adapted,
								   max(value) FILTER (WHERE method = 'random_intercept') AS random_intercept
							FROM meta.evaluate(m.name, shots => '{0}') WHERE metric IN ('rmse', 'log_loss')) e GROUP BY 1 ORDER BY 1;

-- a blend is adapted, predicted with and adapted further as any learner is
SELECT max(abs(meta.predict(once, l) - meta.predict(further, l))) < 0.0001 AS further_is_all,
	   bool_and((i).lower < meta.predict(once, l) AND meta.predict(once, l) < (i).upper) AS inside
FROM (SELECT meta.adapt('number', l) AS once FROM lines l WHERE task = 3) a,
	 (SELECT meta.adapt(first, l) AS further
	  FROM (SELECT meta.adapt('number', l) AS first FROM lines l WHERE task = 3 AND nr <= 5) f, lines l WHERE task = 3 AND nr > 5) b,
	 lines l, LATERAL (SELECT meta.predict_interval(once, l) AS i) p
WHERE task = 3;
SELECT bool_and(meta.predict(meta.params(a.params), l) = meta.predict(a.params, l)) AS self_contained
FROM (SELECT meta.adapt('number', l) AS params FROM lines l WHERE task = 3) a, lines l WHERE task = 4;

-- rows of a day tie, and what can be told from the rest is: it is validated, calibrated and chosen by
SELECT train('days', 'y', 'SELECT task, (nr - 1) / 8 AS nr, x, y FROM auto.lines');
SELECT described ->> 'learner' AS learner, jsonb_array_length(choice -> 'learners') > 1 AS blended, described ? 'calibration' AS calibrated,
	   (SELECT array_agg(k ORDER BY k::int) FROM jsonb_object_keys(choice -> 'weights') k) AS shots
FROM choice WHERE name = 'days';

-- few tasks, no validation tasks, no time: random_intercept, which needs none
SELECT train('two', 'y', 'SELECT * FROM auto.lines WHERE task <= 2'), train('unjudged', 'y', more => '{"validation": 0}'),
	   train('hurried', 'y', more => '{"time_limit": 0.001}');
SELECT name, tried, described ->> 'learner' AS learner, choice IS NULL AS nothing_to_choose FROM choice WHERE name IN ('two', 'unjudged', 'hurried') ORDER BY 1;
SELECT m.name, meta.predict(meta.adapt(m.name, l), l) IS NOT NULL AS predicts FROM meta.model m, lines l
WHERE m.name IN ('two', 'unjudged', 'hurried') AND l.task = 3 AND nr = 1 GROUP BY 1, l.* ORDER BY 1;

-- ten thousand inputs want more memory than there is, and that is said
CREATE TABLE wide AS SELECT task, nr, y, array_fill(x::real, ARRAY[10000]) AS x FROM lines WHERE task <= 200 AND nr <= 3;
SET maintenance_work_mem = '16MB';
CALL meta.train('wide', 'auto.wide', 'task', 'y', features => 'x', options => '{"iterations": 5}');
RESET maintenance_work_mem;

-- the learners run a heat each, in turn, and only those go on that are not far behind
\set quick '{"iterations": 60, "hidden": [4], "context": 4, "meta_batch": 8, "outer_lr": 0.005, "shots": [0, 10], "query": 6, "checkpoint": 0}'
CALL meta.train('whole', 'auto.lines', 'task', 'y', features => 'x', order_by => 'nr', options => :'quick');
CREATE VIEW heats AS
	SELECT m.name, h.phase, h.iteration, h.at FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE phase !~ 'cross-fit|pooled';
SELECT phase, max(iteration) AS iterations, max(iteration) FILTER (WHERE at <= (SELECT max(at) FROM heats WHERE name = 'whole' AND phase = 'cnp')) AS in_its_heat
FROM heats WHERE name = 'whole' GROUP BY 1 ORDER BY 1;
-- interrupted in the heats and in what follows, and gone on with: the same bytes, and nothing done twice
CREATE FUNCTION interrupt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.phase = tg_argv[0] AND new.iteration = tg_argv[1]::int THEN
		RAISE EXCEPTION 'interrupted in % at iteration %', new.phase, new.iteration;
	END IF;
	RETURN new;
END $$;
\set SHOW_CONTEXT never
CREATE TRIGGER interrupt BEFORE INSERT ON meta.history FOR EACH ROW EXECUTE FUNCTION interrupt('cnp', '5');
CALL meta.train('parts', 'auto.lines', 'task', 'y', features => 'x', order_by => 'nr', options => :'quick');
DROP TRIGGER interrupt ON meta.history;
CREATE TRIGGER interrupt BEFORE INSERT ON meta.history FOR EACH ROW EXECUTE FUNCTION interrupt('alpaca', '30');
CALL meta.resume('parts');
DROP TRIGGER interrupt ON meta.history;
CALL meta.resume('parts');
SELECT meta.params('whole') = meta.params('parts') AS same;
SELECT count(*) = count(DISTINCT (phase, iteration)) AS once, count(*) = (SELECT count(*) FROM heats WHERE name = 'whole') AS as_many
FROM heats WHERE name = 'parts';
\unset SHOW_CONTEXT

-- the same as an aggregate, and the same bytes
SELECT train('short', 'y', more => '{"iterations": 20}'), train('short again', 'y', more => '{"iterations": 20}');
SELECT meta.params('short') = meta.params('short again') AS same_bytes;
SELECT meta.describe(meta.train(l, 'task', 'y', '{"features": "x", "order_by": "nr", "iterations": 20, "hidden": [4], "context": 4, "meta_batch": 8, "exclude": ["flat", "passed", "mark"]}'))
	   -> 'training' ? 'choice' AS chose
FROM lines l;

DROP SCHEMA auto CASCADE;
DELETE FROM meta.model;
