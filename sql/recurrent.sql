-- learners that are LSTMs: how parameters move is learned (lstm), or how rows are read and remembered (mann)
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA recurrent;
SET search_path = recurrent;

-- 200 tasks, each a line of its own
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;
CREATE TABLE lines AS
	SELECT task, nr, x, slope * x + intercept + 0.2 * (u('noise', task::text, nr::text) - 0.5) AS y,
		   u('flip', task::text, nr::text) < 1 / (1 + exp(-4 * (slope * x + intercept))) AS above,
		   CASE WHEN slope * x + intercept > 0.5 THEN 'high' WHEN slope * x + intercept < -0.5 THEN 'low' ELSE 'middle' END AS level
	FROM generate_series(1, 200) task, generate_series(1, 25) nr,
		 LATERAL (SELECT 4 * u('slope', task::text) - 2 AS slope, 2 * u('intercept', task::text) - 1 AS intercept,
						 2 * u('x', task::text, nr::text) - 1 AS x) l;
CREATE FUNCTION train(name text, target text, algorithm text, more jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train(name, 'recurrent.lines', 'task', target, features => 'x', order_by => 'nr', algorithm => algorithm,
					options => '{"iterations": 200, "hidden": [12], "meta_batch": 8, "outer_lr": 0.01}' || more);
END $$;
SELECT train('lstm y', 'y', 'lstm', '{"context": 8}');
SELECT train('lstm above', 'above', 'lstm', '{"context": 8}');
SELECT train('lstm level', 'level', 'lstm', '{"context": 8}');

SELECT train('mann y', 'y', 'mann', '{"context": 24, "features": 8, "memory": 8, "outer_lr": 0.005, "iterations": 1000, "meta_batch": 16}');
SELECT train('mann above', 'above', 'mann', '{"context": 24, "features": 8, "memory": 8, "outer_lr": 0.005, "iterations": 1000, "meta_batch": 16}');

-- x by way of a column with the tails of a Cauchy distribution: the farthest number is 37 deviations out, and nine in ten lie
-- within a quarter of one
CREATE TABLE heavy AS SELECT task, nr, tan(pi() / 2 * x) AS z, y FROM lines;
CALL meta.train('lstm heavy', 'recurrent.heavy', 'task', 'y', order_by => 'nr', algorithm => 'lstm',
				options => '{"iterations": 200, "hidden": [12], "meta_batch": 8, "outer_lr": 0.01, "context": 8}');

-- They learn: after ten rows they are better than without and than one for all, and lstm than a shift per task;
-- with the column of outliers it is asked to be no worse than one for all.
--
-- What mann has to reach follows from how the lines are made.  Who knows nothing of a task's line errs by 0.885, or
-- has a log loss of ln 2; who knows the mean of its ten rows, and nothing else, by 0.698, or 0.569.  At least half of
-- what that explains, of the variance or of the log loss, is 0.90 or 0.91 of what it is without rows.
CREATE TABLE results AS
	SELECT m.name, e.* FROM meta.model m, LATERAL meta.evaluate(m.name, shots => '{0,10}') e WHERE metric IN ('rmse', 'log_loss') AND method <> 'single_task';
CREATE TABLE margins (name text, of_prior float8, of_pooled float8, of_shifted float8);
INSERT INTO margins VALUES
	('lstm y', 0.8, 0.8, 0.9), ('lstm above', 0.8, 0.8, 0.9), ('lstm level', 0.8, 0.8, 0.9), ('lstm heavy', 1, 1, NULL),
	('mann y', 0.90, 0.90, NULL), ('mann above', 0.91, 0.91, NULL);
SELECT name, adapted < of_prior * prior AS than_prior, adapted < of_pooled * pooled AS than_pooled, adapted < of_shifted * shifted AS than_shifted
FROM (SELECT name, max(value) FILTER (WHERE method = 'adapted') AS adapted, max(value) FILTER (WHERE method = 'prior') AS prior,
			 max(value) FILTER (WHERE method = 'pooled') AS pooled, max(value) FILTER (WHERE method = 'random_intercept') AS shifted
	  FROM results WHERE shots = 10 GROUP BY 1) r JOIN margins USING (name) ORDER BY 1;
DELETE FROM meta.model WHERE name = 'lstm heavy';
SELECT count(*) AS differences FROM results a JOIN results p USING (name) WHERE a.shots = 0 AND p.shots = 0 AND a.method = 'adapted' AND p.method = 'prior' AND a.value <> p.value;

-- no rows: the start; rows: something else; further rows: something else again
CREATE TABLE steps AS
	SELECT m.name, none, one, (SELECT meta.adapt(one, t) FROM lines t WHERE task = 7 AND nr BETWEEN 4 AND 6) AS two
	FROM meta.model m,
		 LATERAL (SELECT (SELECT meta.adapt(m.name, n) FROM (SELECT NULL::lines AS n) no_row) AS none,
						 (SELECT meta.adapt(m.name, t) FROM lines t WHERE task = 7 AND nr <= 3) AS one) a;
SELECT s.name, meta.describe(none) ->> 'rows' AS rows, meta.describe(two) ->> 'rows' AS rows_of_two, bool_and(meta.predict(none, t) = meta.predict(s.name, t)) AS prior,
	   bool_or(meta.predict(one, t) <> meta.predict(none, t)) AS moves, bool_or(meta.predict(two, t) <> meta.predict(one, t)) AS moves_on
FROM steps s, lines t WHERE t.task = 9 AND s.name NOT LIKE '%level' GROUP BY 1, 2, 3 ORDER BY 1;
SELECT s.name, bool_or(meta.probabilities(one, t) <> meta.probabilities(none, t)) AS moves FROM steps s, lines t WHERE t.task = 9 AND s.name LIKE '%level' GROUP BY 1 ORDER BY 1;

-- what is learned about steps, beside the network
SELECT t ->> 'name' AS tensor, t ->> 'shape' AS shape
FROM jsonb_array_elements(meta.describe('lstm y') -> 'tensors') t WHERE t ->> 'name' ~ '^lstm/(lstm|step|shrink)' ORDER BY 1;

-- going on with a sequence is reading all of it; in another order it is another one, and order_by says which
SELECT s.name, two = all_rows AS same, bool_or(abs(meta.predict(backward, t) - meta.predict(all_rows, t)) > 0.001) AS order_matters
FROM steps s, LATERAL (SELECT (SELECT meta.adapt(s.name, t) FROM lines t WHERE task = 7 AND nr <= 6) AS all_rows,
							  (SELECT meta.adapt(s.name, t) FROM (SELECT x, y, above, 7 - nr AS nr FROM lines WHERE task = 7 AND nr <= 6) t) AS backward) a, lines t
WHERE t.task = 9 AND s.name IN ('mann y', 'mann above') GROUP BY 1, 2 ORDER BY 1;
-- what a task has of its own
SELECT t ->> 'name' AS tensor, t ->> 'shape' AS shape
FROM jsonb_array_elements(meta.describe('mann y') -> 'tensors') t WHERE t ->> 'name' ~ '^mann/state' ORDER BY 1;
SELECT meta.predict(meta.params(two), t) = meta.predict(two, t) AS copy_is_the_same FROM steps, lines t WHERE name = 'mann y' AND t.task = 9 AND nr = 1;
-- many rows
SELECT meta.describe(meta.adapt('mann y', t)) ->> 'rows' AS rows FROM (SELECT x, y, row_number() OVER (ORDER BY task, nr) AS nr FROM lines) t;

-- N-way episodes: at least half way from guessing, 1/3, to what the nearest of the support rows says, of which 1 in 300
-- is wrong
CREATE TABLE drawings AS
	SELECT s * 100 + i AS id, 'shape ' || s AS shape, u('a', s::text) * 2 + 0.1 * u('b', s::text, i::text) AS x, u('c', s::text) * 2 + 0.1 * u('d', s::text, i::text) AS y
	FROM generate_series(1, 120) s, generate_series(1, 8) i;
CALL meta.train('shapes', 'drawings', 'shape', 'shape', features => 'x, y', algorithm => 'mann',
				options => '{"way": 3, "shots": 1, "query": 3, "iterations": 500, "hidden": [16], "context": 32, "features": 8, "memory": 8, "outer_lr": 0.005}');
SELECT value > 0.66 AS good FROM meta.evaluate('shapes', shots => '{1}') WHERE metric = 'accuracy' AND method = 'adapted';
SELECT jsonb_array_length(meta.describe(meta.adapt('shapes', d)) -> 'classes') AS classes FROM drawings d WHERE shape IN ('shape 4', 'shape 8') AND id % 100 <= 3;
-- more rows of each class make it no worse, whether they come class by class or mixed
CALL meta.train('shapes', 'drawings', 'shape', 'shape', features => 'x, y', algorithm => 'mann',
				options => '{"way": 3, "shots": [1, 4], "query": 3, "iterations": 500, "hidden": [16], "context": 32, "features": 8, "memory": 12, "outer_lr": 0.005}');
CREATE FUNCTION in_turn(ids int[]) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	params bytea := meta.params('shapes');
BEGIN
	FOR i IN 1 .. array_length(ids, 1) LOOP
		params := (SELECT meta.adapt(params, d) FROM drawings d WHERE id = ids[i]);
	END LOOP;
	RETURN params;
END $$;
WITH support AS (SELECT (substring(shape FROM 7)::int - 1) / 3 AS episode, d.* FROM drawings d),
	params AS (SELECT episode, in_turn(array_agg(id ORDER BY shape, id)) AS by_class, meta.adapt('shapes', s) AS mixed,
					  meta.adapt('shapes', s) FILTER (WHERE id % 100 = 1) AS one
			   FROM (SELECT episode, id, shape, x, y FROM support) s WHERE id % 100 <= 4 GROUP BY 1),
	right_ones AS (SELECT avg((meta.classify(by_class, s) = shape)::int) AS by_class, avg((meta.classify(mixed, s) = shape)::int) AS mixed,
						  avg((meta.classify(one, s) = shape)::int) AS one
				   FROM params JOIN (SELECT episode, id, shape, x, y FROM support) s USING (episode) WHERE id % 100 > 4)
SELECT one > 0.66 AS one_is_good, by_class > 0.66 AS by_class, mixed > 0.66 AS mixed, least(by_class, mixed) > one - 0.02 AS no_worse,
	   (SELECT bool_and(by_class <> mixed) FROM params) AS are_mixed FROM right_ones;

-- in parallel: the same bytes
CREATE TABLE many AS SELECT task, nr, x, y, above FROM lines;
ANALYZE many;
CREATE TABLE alone AS SELECT m.name, t.task, meta.adapt(m.name, t) AS params FROM meta.model m, lines t WHERE m.name IN ('lstm y', 'mann y') GROUP BY 1, 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT count(*) AS tasks, bool_and(a.params = p.params) AS same
FROM (SELECT task, meta.adapt('lstm y', m) AS params FROM many m GROUP BY task) p JOIN alone a USING (task) WHERE a.name = 'lstm y';
SELECT count(*) AS tasks, bool_and(a.params = p.params) AS same
FROM (SELECT task, meta.adapt('mann y', m) AS params FROM many m GROUP BY task) p JOIN alone a USING (task) WHERE a.name = 'mann y';
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- errors
\set VERBOSITY terse
SELECT meta.predict_interval('lstm y', t) FROM lines t LIMIT 1;
SELECT meta.predict_interval('mann y', t) FROM lines t LIMIT 1;
SELECT train('bad', 'y', 'lstm', '{"context": 300}');
SELECT train('bad', 'y', 'mann', '{"memory": 0}');
SELECT train('bad', 'y', 'mann', '{"features": 0.5}');
\set VERBOSITY default
DELETE FROM meta.model;
DROP SCHEMA recurrent CASCADE;
