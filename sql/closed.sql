-- Learners whose adaptation is a formula: alpaca, cnp, vaml, ridge
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA closed;
SET search_path = closed;

-- numbers in [0, 1) that are the same everywhere
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;

-- 240 tasks, each a line of its own; twice says what x says, in other units
CREATE TABLE lines AS
	SELECT task, nr, x, 2 * x + 1 AS twice, slope * x + intercept + 0.4 * (u('noise', task::text, nr::text) - 0.5) AS y,
		   u('pass', task::text, nr::text) < 1 / (1 + exp(-4 * (slope * x + intercept))) AS passed,
		   CASE WHEN slope * x + intercept < -0.4 THEN 'low' WHEN slope * x + intercept < 0.4 THEN 'middle' ELSE 'high' END AS mark
	FROM generate_series(1, 240) task, generate_series(1, 20) nr,
		 LATERAL (SELECT 4 * u('slope', task::text) - 2 AS slope, 2 * u('intercept', task::text) - 1 AS intercept,
						 2 * u('x', task::text, nr::text) - 1 AS x) l;

CREATE FUNCTION train(name text, target text, algorithm text, features text DEFAULT 'x', more jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train(name, 'closed.lines', 'task', target, features => features, order_by => 'nr', algorithm => algorithm,
					options => '{"iterations": 250, "hidden": [12], "features": 6, "context": 8, "meta_batch": 16, "outer_lr": 0.005, "weight_decay": 0.001, "shots": [0, 10], "query": 10}' || more);
END $$;
SELECT train('cnp', 'y', 'cnp'), train('cnp, passed', 'passed', 'cnp'), train('cnp, mark', 'mark', 'cnp'),
	   train('vaml', 'y', 'vaml', more => '{"features": 16, "context": 16}'), train('vaml, passed', 'passed', 'vaml', more => '{"features": 16, "context": 16}'),
	   train('vaml, mark', 'mark', 'vaml', more => '{"features": 16, "context": 16}'),
	   train('ridge', 'y', 'ridge'), train('ridge, passed', 'passed', 'ridge'), train('ridge, mark', 'mark', 'ridge'),
	   train('alpaca', 'y', 'alpaca');

-- they learn: after ten rows they are better than without any, and than a shift
SELECT name, metric, adapted < 0.9 * prior AS than_prior, adapted < 0.97 * shifted AS than_shifted
FROM (SELECT m.name, metric, max(value) FILTER (WHERE method = 'adapted') AS adapted, max(value) FILTER (WHERE method = 'prior') AS prior,
			 max(value) FILTER (WHERE method = 'random_intercept') AS shifted
	  FROM meta.model m, LATERAL meta.evaluate(m.name, shots => '{10}') e WHERE metric IN ('rmse', 'log_loss') GROUP BY 1, 2) r
ORDER BY 1;

-- adapting further is adapting to all rows; one task without rows is the prior
CREATE TABLE adapted AS
	SELECT m.name, meta.adapt(m.name, l) AS once FROM meta.model m, lines l WHERE l.task = 7 GROUP BY 1;
SELECT name, max(abs(meta.predict(once, l) - meta.predict(further, l))) < 0.0001 AS same, meta.describe(once) ->> 'rows' AS rows
FROM (SELECT name, once, meta.adapt(first, l) AS further
	  FROM adapted JOIN (SELECT m.name, meta.adapt(m.name, l) AS first FROM meta.model m, lines l WHERE l.task = 7 AND nr <= 8 GROUP BY 1) f USING (name),
		   lines l WHERE l.task = 7 AND nr > 8 GROUP BY 1, 2, first) t, lines l
WHERE l.task = 7 AND name IN ('alpaca', 'cnp', 'vaml', 'ridge') GROUP BY 1, once ORDER BY 1;
SELECT name, bool_and(meta.predict(params, l) = meta.predict(name, l)) AS prior
FROM (SELECT name, meta.adapt(name, NULL::lines) AS params FROM meta.model WHERE name IN ('alpaca', 'cnp', 'vaml', 'ridge') GROUP BY 1) p, lines l
WHERE task = 9 GROUP BY 1 ORDER BY 1;
SELECT DISTINCT name, meta.classify(once, l) IN ('low', 'middle', 'high') AS class FROM adapted, lines l WHERE name LIKE '%mark' AND task = 7 ORDER BY 1;

-- intervals: of those that have some, about nine of ten hold what comes
SELECT name, avg((y BETWEEN lower AND upper)::int) BETWEEN 0.8 AND 0.97 AS covers
FROM (SELECT name, l.task, meta.adapt(name, l) AS params FROM meta.model, lines l WHERE name IN ('alpaca', 'cnp', 'vaml') AND nr <= 5 GROUP BY 1, 2) p
	 JOIN lines l USING (task), LATERAL meta.predict_interval(params, l, 0.9) WHERE nr > 10 GROUP BY 1 ORDER BY 1;
SELECT meta.predict_interval(once, l) FROM adapted, lines l WHERE name = 'ridge' LIMIT 1;

-- with the rows as they are for features, alpaca is the mixed model; columns that say the same do no harm
SELECT train('mixed', 'y', 'alpaca', more => '{"hidden": [], "context": 0, "features": 1}'),
	   train('same alpaca', 'y', 'alpaca', 'x, twice', '{"hidden": [], "context": 0}'),
	   train('same ridge', 'y', 'ridge', 'x, twice', '{"hidden": []}');
SELECT m.name, max(value) FILTER (WHERE method = 'adapted') < 0.5 * max(value) FILTER (WHERE method = 'random_intercept') AS better
FROM meta.model m, LATERAL meta.evaluate(m.name, shots => '{10}') e
WHERE name IN ('mixed', 'same alpaca', 'same ridge') AND metric = 'rmse' GROUP BY 1 ORDER BY 1;
-- nor do a thousand rows that are all the same
SELECT m.name, abs(meta.predict(meta.adapt(m.name, l), l) - min(l.y)) < 0.2 AS good
FROM meta.model m, (SELECT l.* FROM lines l, generate_series(1, 1000) WHERE task = 5 AND nr = 1) l
WHERE name IN ('cnp', 'ridge', 'same alpaca', 'same ridge') GROUP BY 1, l ORDER BY 1;

-- N-way episodes, for ridge: a last layer for classes that were never seen
CREATE TABLE drawings AS
	SELECT s * 100 + i AS id, 'shape ' || s AS shape, (s * 7919 % 997) / 498.5 - 1 + ((s * 31 + i) * 7907 % 101) / 1010.0 - 0.05 AS x,
		   (s * 3571 % 991) / 495.5 - 1 + ((s * 17 + i) * 7577 % 103) / 1030.0 - 0.05 AS y
	FROM generate_series(1, 150) s, generate_series(1, 12) i;
CALL meta.train('shapes', 'drawings', task => 'shape', target => 'shape', features => 'x, y', algorithm => 'ridge',
				options => '{"way": 4, "shots": [1, 3], "query": 4, "iterations": 300, "hidden": [16], "skip": false, "outer_lr": 0.005}');
SELECT shots, value > 0.6 AS good FROM meta.evaluate('shapes', shots => '{1,3}') WHERE metric = 'accuracy' AND method = 'adapted' ORDER BY 1;

-- params whose version was dropped name it; self-contained copies do not need it
CREATE TABLE copies AS SELECT name, once, meta.params(once) AS copy FROM adapted;
DELETE FROM meta.model;
CREATE FUNCTION attempt(name text, params bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF name LIKE '%mark' THEN
		PERFORM meta.classify(params, l) FROM closed.lines l WHERE task = 7;
	ELSE
		PERFORM meta.predict(params, l) FROM closed.lines l WHERE task = 7;
	END IF;
	RETURN 'no error';
EXCEPTION WHEN undefined_object THEN
	RETURN replace(SQLERRM, meta.describe(params) ->> 'base', 'BASE');
END $$;
SELECT name, attempt(name, once) AS dropped, attempt(name, copy) AS copy FROM copies ORDER BY 1;

DROP SCHEMA closed CASCADE;
