-- meta.evaluate, and that there is something to evaluate: it learns
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA evaluate;
SET search_path = evaluate;

-- numbers in [0, 1) that are the same everywhere
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;

-- 300 tasks, each a line of its own: of a slope in [-2, 2) and an intercept in [-1, 1)
CREATE TABLE lines AS
	SELECT task, nr, CASE WHEN task % 3 = 0 THEN 'a' WHEN task % 3 = 1 THEN 'b' END AS klass, x,
		   slope * x + intercept + 0.2 * (u('noise', task::text, nr::text) - 0.5) AS y,
		   u('pass', task::text, nr::text) < 1 / (1 + exp(-3 * (slope * x + intercept))) AS passed,
		   CASE WHEN slope * x + intercept < -0.4 THEN 'low' WHEN slope * x + intercept < 0.4 THEN 'middle' ELSE 'high' END AS mark
	FROM generate_series(1, 300) task, generate_series(1, 25) nr,
		 LATERAL (SELECT 4 * u('slope', task::text) - 2 AS slope, 2 * u('intercept', task::text) - 1 AS intercept,
						 2 * u('x', task::text, nr::text) - 1 AS x) l;

-- every algorithm trains and evaluates; those that adapt the slope are better at 10 shots than at none, than
-- ignoring the tasks and than shifting alone, by margins set in advance
CREATE TABLE results (algorithm text, shots int, metric text, method text, by_value text, value float8, lower float8, upper float8,
					  difference float8, difference_lower float8, difference_upper float8, tasks bigint, "rows" bigint);
DO $$
DECLARE
	a text;
BEGIN
	FOR a IN SELECT algorithm FROM meta.algorithms WHERE algorithm <> 'prototypical' LOOP	-- it learns no numbers
		CALL meta.train(a, 'evaluate.lines', 'task', 'y', features => 'x', order_by => 'nr', algorithm => a,
						options => '{"iterations": 300, "hidden": [16], "inner_lr": 0.01, "inner_steps": 10, "meta_batch": 16}'
						|| jsonb_build_object('outer_lr', CASE a WHEN 'reptile' THEN 0.5 ELSE 0.003 END));
		INSERT INTO evaluate.results SELECT a, e.* FROM meta.evaluate(a, shots => '{0,1,5,10}') e;
	END LOOP;
END $$;
-- each says the validation loss of what it stored, in the order of what these tell of new tasks
SELECT l ->> 'finetune' < l ->> 'random_intercept' AS finetune, l ->> 'random_intercept' < l ->> 'pooled' AS random_intercept, l ->> 'auto' < l ->> 'random_intercept' AS auto
FROM (SELECT jsonb_object_agg(m.name, (v.metrics ->> 'validation_loss')::float8) AS l FROM meta.version v JOIN meta.model m ON m.id = v.model) v;
SELECT algorithm, count(*) AS figures, count(*) FILTER (WHERE value = 'NaN' OR value IS NULL) AS missing,
	   string_agg(DISTINCT method, ', ' ORDER BY method) AS methods
FROM results GROUP BY 1 ORDER BY 1;
CREATE VIEW rmse AS
	SELECT algorithm, shots, max(value) FILTER (WHERE method = 'adapted') AS adapted, max(value) FILTER (WHERE method = 'prior') AS prior,
		   max(value) FILTER (WHERE method = 'pooled') AS pooled, max(value) FILTER (WHERE method = 'random_intercept') AS shifted
	FROM results WHERE metric = 'rmse' GROUP BY 1, 2;
SELECT algorithm, adapted < 0.6 * prior AS than_prior, adapted < 0.6 * pooled AS than_pooled, adapted < 0.75 * shifted AS than_shifted
FROM rmse WHERE shots = 10 AND algorithm IN ('alpaca', 'cnp', 'ridge', 'maml', 'fomaml', 'reptile', 'finetune') ORDER BY 1;
-- shifting, too, is better than nothing, and ignoring the tasks is just that
SELECT bool_and(shifted < 0.9 * pooled) AS shifted FROM rmse WHERE shots = 10;
SELECT bool_and(adapted = prior AND prior = pooled) AS pooled FROM rmse WHERE algorithm = 'pooled';
-- more shots are better than fewer, none are the prior
SELECT bool_and(adapted < before) FROM (SELECT algorithm, adapted, lag(adapted) OVER (PARTITION BY algorithm ORDER BY shots) AS before FROM rmse) r
WHERE algorithm IN ('alpaca', 'cnp', 'ridge', 'maml', 'fomaml', 'reptile') AND before IS NOT NULL;
SELECT bool_and(adapted = prior) FROM rmse WHERE shots = 0;

-- the table: every K has the same query rows, intervals hold their value, differences are to random_intercept
SELECT shots, metric, method, tasks, "rows" FROM results WHERE algorithm = 'maml' AND shots IN (0, 10) ORDER BY 1, 2, 3;
SELECT algorithm, count(DISTINCT (tasks, "rows")) AS sets, count(DISTINCT value) FILTER (WHERE method = 'prior' AND metric = 'rmse') AS priors,
	   bool_and(lower < value AND value < upper OR metric = 'coverage_90' AND value = 1) AS intervals,
	   bool_and(by_value IS NULL) AS ungrouped
FROM results GROUP BY 1 ORDER BY 1;
SELECT count(*) FILTER (WHERE r.difference = r.value - i.value) = count(*) AS differences,
	   count(*) FILTER (WHERE r.difference_lower <= r.difference AND r.difference <= r.difference_upper) = count(*) AS intervals
FROM results r JOIN results i USING (algorithm, shots, metric)
WHERE r.method <> 'random_intercept' AND i.method = 'random_intercept';
SELECT count(*) AS of_itself FROM results WHERE method = 'random_intercept' AND (difference IS NOT NULL OR difference_lower IS NOT NULL OR difference_upper IS NOT NULL);
-- the difference at 10 shots is beyond doubt
SELECT difference_upper < 0 AS better FROM results WHERE algorithm = 'maml' AND method = 'adapted' AND metric = 'rmse' AND shots = 10;
SELECT difference_lower > 0 AS better FROM results WHERE algorithm = 'maml' AND method = 'adapted' AND metric = 'r2' AND shots = 10;

-- a predictive distribution says how far off it is; those who have none are not asked
SELECT metric, method, bool_and(value BETWEEN 0.8 AND 1) AS covers, count(*) FROM results WHERE algorithm = 'alpaca' AND metric = 'coverage_90' GROUP BY 1, 2 ORDER BY 2;
SELECT bool_and(a.value > r.value + 0.3) AS likelier FROM results a JOIN results r USING (algorithm, shots, metric)
WHERE algorithm = 'alpaca' AND shots = 10 AND metric = 'log_likelihood' AND a.method = 'adapted' AND r.method = 'random_intercept';
SELECT DISTINCT method FROM results WHERE algorithm = 'maml' AND metric IN ('coverage_90', 'log_likelihood');

-- it is the same every time, writes nothing, and says what it left out
SET client_min_messages = notice;
BEGIN READ ONLY;
SELECT count(*), bool_and(e = (r.shots, r.metric, r.method, r.by_value, r.value, r.lower, r.upper, r.difference, r.difference_lower,
							   r.difference_upper, r.tasks, r.rows)) AS same
FROM meta.evaluate('maml', shots => '{0,1,5,10}') e JOIN results r ON r.algorithm = 'maml' AND (r.shots, r.metric, r.method) = (e.shots, e.metric, e.method);
COMMIT;
-- the default number of shots is what the tasks have rows for
SELECT array_agg(DISTINCT shots ORDER BY shots) AS shots FROM meta.evaluate('maml');
SELECT array_agg(DISTINCT shots ORDER BY shots) AS shots FROM meta.evaluate('maml', source => 'SELECT * FROM evaluate.lines WHERE nr <= 6');
-- each is evaluated once, in the order that they are given in
SELECT array_agg(shots) AS shots FROM meta.evaluate('maml', shots => '{5,0,5}') WHERE method = 'prior' AND metric = 'mae';

-- another source: which tasks are left out is told by their keys, whether they were in the model's source or not
CREATE TABLE newer AS
	SELECT task + CASE WHEN task <= 100 THEN 1000 ELSE 0 END AS task, nr, x, y, passed FROM lines WHERE task <= 130;
SELECT count(DISTINCT task) AS tasks, count(DISTINCT task) FILTER (WHERE task > 1000) AS new FROM newer;
SELECT tasks, "rows" FROM meta.evaluate('maml', 'newer', shots => '{10}') WHERE method = 'adapted' AND metric = 'rmse';
-- column types may differ, as long as values do not
SELECT e.value = r.value AS same FROM meta.evaluate('maml', 'SELECT task::text, nr::numeric, x::numeric::float8 AS x, y FROM evaluate.lines', shots => '{10}') e
	JOIN results r USING (shots, metric, method) WHERE r.algorithm = 'maml' AND metric = 'rmse' AND method = 'adapted';
SET client_min_messages = warning;
-- what is measured is what meta.predict and meta.predict_interval return, calibration included
SELECT metric, abs(value - CASE metric WHEN 'rmse' THEN rmse WHEN 'coverage_90' THEN coverage ELSE likelihood END) < 1e-4 AS same
FROM meta.evaluate('alpaca', 'SELECT * FROM evaluate.newer WHERE task > 1000', shots => '{5}') e,
	 (SELECT sqrt(avg((y - p) ^ 2)) AS rmse, avg((y BETWEEN lower AND upper)::int) AS coverage,
			 avg(-ln(sqrt(2 * pi()) * s) - (y - p) ^ 2 / (2 * s ^ 2)) AS likelihood
	  FROM newer n JOIN (SELECT task, meta.adapt('alpaca', n) AS params FROM newer n WHERE nr <= 5 GROUP BY 1) a USING (task),
		   LATERAL meta.predict(params, n) p, LATERAL meta.predict_interval(params, n), LATERAL (SELECT (upper - lower) / 2 / 1.6448536 AS s) d
	  WHERE task > 1000 AND nr > 5) q
WHERE method = 'adapted' AND metric IN ('rmse', 'coverage_90', 'log_likelihood') ORDER BY 1;

-- groups of tasks: NULL stands for all of them, and tasks without a group are in none
SELECT by_value, tasks, "rows", lower <= value AND value <= upper AS interval, method
FROM meta.evaluate('maml', shots => '{5}', by => 'klass') WHERE metric = 'rmse' AND method = 'adapted' ORDER BY 1;
SELECT count(*), bool_and(e.value = r.value AND e.lower = r.lower) AS same_as_without FROM meta.evaluate('maml', shots => '{5}', by => 'klass') e
	JOIN meta.evaluate('maml', shots => '{5}') r USING (shots, metric, method) WHERE e.by_value IS NULL;

-- nor is a task of several values in one, and that is said; NULLs are no value
SET client_min_messages = notice;
SELECT by_value, tasks FROM meta.evaluate('maml', 'SELECT *, CASE WHEN task % 4 > 0 THEN task % 4 WHEN nr > 20 THEN 9 END AS one FROM evaluate.lines', '{5}', by => 'one')
WHERE metric = 'rmse' AND method = 'adapted' ORDER BY 1;
SELECT by_value, tasks FROM meta.evaluate('maml', 'SELECT *, CASE WHEN task % 4 > 0 THEN task % 4 ELSE nr % 3 END AS several FROM evaluate.lines', '{5}', by => 'several')
WHERE metric = 'rmse' AND method = 'adapted' ORDER BY 1;
SET client_min_messages = warning;

-- a probability: better at 10 shots, and a probability indeed
CALL meta.train('passed', 'lines', 'task', 'passed', features => 'x', order_by => 'nr', algorithm => 'maml',
				options => '{"iterations": 300, "hidden": [16], "inner_lr": 0.05, "inner_steps": 10, "outer_lr": 0.003, "meta_batch": 16}');
CREATE TABLE passed AS SELECT * FROM meta.evaluate('passed', shots => '{0,10}');
SELECT metric, min(a.value) >= 0 AND max(a.value) <= CASE metric WHEN 'log_loss' THEN 2 ELSE 1 END AS range
FROM passed a GROUP BY 1 ORDER BY 1;
SELECT metric, CASE WHEN metric IN ('auc', 'auc_by_task', 'accuracy') THEN a.value > p.value + 0.1 ELSE a.value < 0.9 * p.value END AS better
FROM passed a JOIN passed p USING (shots, metric) WHERE a.method = 'adapted' AND p.method = 'prior' AND shots = 10 AND metric <> 'ece' ORDER BY 1;
-- by task, a shift changes nothing
SELECT count(DISTINCT value) AS values FROM passed WHERE metric = 'auc_by_task' AND method = 'random_intercept';
-- its logits are corrected by the number of rows, and what is measured is what meta.predict returns
SELECT c -> 'rows' AS "rows", jsonb_array_length(c -> 'slope') AS slopes, jsonb_array_length(c -> 'offset') AS offsets,
	   (SELECT bool_and(s::float8 BETWEEN 0.2 AND 5) FROM jsonb_array_elements_text(c -> 'slope') s) AS moderate
FROM (SELECT meta.describe('passed') -> 'calibration' AS c) d;
SELECT metric, abs(value - CASE metric WHEN 'log_loss' THEN log_loss WHEN 'brier' THEN brier ELSE accuracy END) < 1e-6 AS same
FROM meta.evaluate('passed', 'SELECT * FROM evaluate.newer WHERE task > 1000', shots => '{4}') e,
	 (SELECT avg(-ln(CASE WHEN passed THEN p ELSE 1 - p END)) AS log_loss, avg((p - passed::int) ^ 2) AS brier,
			 avg((meta.classify(params, n)::bool = passed)::int) AS accuracy
	  FROM newer n JOIN (SELECT task, meta.adapt('passed', n) AS params FROM newer n WHERE nr <= 4 GROUP BY 1) a USING (task),
		   LATERAL meta.predict(params, n) p WHERE task > 1000 AND nr > 4) q
WHERE method = 'adapted' AND metric IN ('log_loss', 'brier', 'accuracy') ORDER BY 1;
-- groups: each is what a source of the group alone gives
CREATE TABLE by_klass AS SELECT * FROM meta.evaluate('passed', 'SELECT n.*, task % 3 AS klass FROM evaluate.newer n', shots => '{4}', by => 'klass');
SELECT bool_and(g.value = e.value OR abs(g.value - e.value) < 1e-9) AS same, count(*) FROM by_klass g
	JOIN meta.evaluate('passed', 'SELECT n.*, task % 3 AS klass FROM evaluate.newer n WHERE task % 3 = 1', shots => '{4}') e USING (metric, method) WHERE g.by_value = '1';
SELECT by_value, metric, tasks, count(*) FROM by_klass WHERE method = 'adapted' AND metric LIKE 'auc%' AND lower <= value AND value <= upper GROUP BY 1, 2, 3 ORDER BY 1, 2;
-- numbers that are only 0 and 1 are the same thing
CALL meta.train('passed', 'SELECT *, passed::int AS p FROM evaluate.lines', 'task', 'p', features => 'x', order_by => 'nr', algorithm => 'maml',
				options => '{"iterations": 300, "hidden": [16], "inner_lr": 0.05, "inner_steps": 10, "outer_lr": 0.003, "meta_batch": 16}');
SELECT bool_and(a.value = p.value) AS same FROM meta.evaluate('passed', shots => '{0,10}') a JOIN passed p USING (shots, metric, method);

-- classes
CALL meta.train('mark', 'lines', 'task', 'mark', features => 'x', algorithm => 'maml',
				options => '{"iterations": 300, "hidden": [16], "inner_lr": 0.05, "inner_steps": 10, "outer_lr": 0.003, "meta_batch": 16}');
CREATE TABLE mark AS SELECT * FROM meta.evaluate('mark', shots => '{0,10}');
SELECT metric, string_agg(DISTINCT method, ', ' ORDER BY method) AS methods FROM mark GROUP BY 1 ORDER BY 1;
SELECT metric, CASE WHEN metric = 'accuracy' THEN a.value > p.value + 0.15 ELSE a.value < 0.85 * p.value END AS better
FROM mark a JOIN mark p USING (shots, metric) WHERE a.method = 'adapted' AND p.method = 'prior' AND shots = 10 AND metric <> 'ece' ORDER BY 1;
SELECT meta.classify(params, r) IN ('low', 'middle', 'high') AS class, (SELECT sum(value::float8) FROM jsonb_each_text(meta.probabilities(params, r))) BETWEEN 0.9999 AND 1.0001 AS sum
FROM (SELECT meta.adapt('mark', l) AS params FROM lines l WHERE task = 7) a, (SELECT 0.0::float8 AS x) r;

-- tasks that can be told exactly are learned, too: no noise is no reason to diverge
CREATE TABLE exact AS
	SELECT s AS student, n AS nr, (s * 7 + n * 13) % 20 / 10.0 - 1 AS x, s % 7 + (s * 7 + n * 13) % 20 / 5.0 AS score
	FROM generate_series(1, 60) s, generate_series(1, 12) n;
CALL meta.train('exact', 'exact', 'student', 'score', order_by => 'nr', algorithm => 'alpaca',
				options => '{"iterations": 1000, "patience": 0, "hidden": [], "meta_batch": 2, "shots": 5, "query": 2, "outer_lr": 0.01}');
SELECT value < 0.1 AS exact FROM meta.evaluate('exact', shots => '{5}') WHERE metric = 'rmse' AND method = 'adapted';

-- rows that tie in order_by are never parted: shots are what is left, and where rows are many, but tie, that is what is said
CREATE VIEW days AS SELECT task, (nr - 1) / 6 AS day, 1 AS term, x, y FROM lines WHERE nr <= 12;
\set quick '{"iterations": 5, "hidden": []}'
CALL meta.train('days', 'days', 'task', 'y', features => 'x', order_by => 'term, day', algorithm => 'random_intercept', options => :'quick');
CALL meta.train('terms', 'days', 'task', 'y', features => 'x', order_by => 'term', algorithm => 'random_intercept', options => :'quick');
SELECT m.name, v.metrics ? 'validation_loss' AS validated, meta.describe(m.name) #> '{calibration,rows}' AS calibrated
FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name IN ('days', 'terms') ORDER BY 1;
SET client_min_messages = notice;
\set VERBOSITY terse
-- training says it, too (and here no more, as its seconds differ)
CALL meta.train('bad', 'days', 'task', 'y', features => 'x', order_by => 'term, day', options => '{"shots": 12}');
CALL meta.train('bad', 'days', 'task', 'y', features => 'x', order_by => 'term', options => '{"shots": 12}');
\set VERBOSITY default
SELECT shots, tasks, "rows" / tasks AS query FROM meta.evaluate('days') WHERE method = 'adapted' AND metric = 'rmse' ORDER BY 1;
SELECT shots, tasks, "rows" / tasks AS query FROM meta.evaluate('terms') WHERE method = 'adapted' AND metric = 'rmse';
SELECT shots, tasks, "rows" / tasks AS query FROM meta.evaluate('days', shots => '{6}') WHERE method = 'adapted' AND metric = 'rmse';
SELECT * FROM meta.evaluate('days', shots => '{7}');
SELECT shots, tasks, "rows" / tasks AS query FROM meta.evaluate('days', 'SELECT task, CASE WHEN task % 2 = 0 THEN day ELSE 0 END AS day, term, x, y FROM evaluate.days', '{5}')
WHERE method = 'adapted' AND metric = 'rmse';
SET client_min_messages = warning;

-- A version is judged by the tasks that it has not seen, even while another training that draws other tasks
-- has the model: were it by meta.model, its own training tasks would be among them.
CREATE FUNCTION interrupt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'interrupted'; END $$;
CREATE TRIGGER interrupt BEFORE INSERT ON meta.history FOR EACH ROW EXECUTE FUNCTION interrupt();
\set SHOW_CONTEXT never
CALL meta.train('maml', 'lines', 'nr', 'passed', order_by => 'task', options => '{"seed": 7, "checkpoint": 0}');
DROP TRIGGER interrupt ON meta.history;
SELECT task, options FROM meta.model WHERE name = 'maml';
SELECT count(*), bool_and(e.value = r.value) AS same FROM meta.evaluate('maml', shots => '{10}') e
	JOIN results r USING (shots, metric, method) WHERE r.algorithm = 'maml';

DELETE FROM meta.model;
DROP SCHEMA evaluate CASCADE;
