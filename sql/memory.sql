-- Learners that compare rows: what they keep of a task is its memory
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA memory;
SET search_path = memory;

-- numbers in [0, 1) that are the same everywhere
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;

-- 240 tasks whose members prefer one of four kinds each: a shift of all rows alike says little of that
CREATE TABLE tastes AS
	SELECT task, nr, x, y, kind, round((CASE WHEN kind = liked THEN 3 ELSE 0 END + u('noise', task::text, nr::text))::numeric, 3)::float8 AS score,
		   u('flip', task::text, nr::text) < CASE WHEN kind = liked THEN 0.95 ELSE 0.1 END AS bought,
		   CASE WHEN kind = liked THEN 'yes' WHEN (kind + 2) % 4 = liked THEN 'never' ELSE 'no' END AS mark
	FROM (SELECT task, nr, floor(4 * u('liked', task::text))::int AS liked, floor(4 * u('kind', task::text, nr::text))::int AS kind
		  FROM generate_series(1, 240) task, generate_series(1, 25) nr) t,
		 LATERAL (SELECT (kind & 1) + 0.3 * u('x', task::text, nr::text) AS x, (kind >> 1) + 0.3 * u('y', task::text, nr::text) AS y) p;

CREATE FUNCTION train(name text, target text, algorithm text, more jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train(name, 'memory.tastes', 'task', target, features => 'x, y', order_by => 'nr', algorithm => algorithm,
					options => '{"iterations": 300, "hidden": [16], "features": 4, "meta_batch": 16, "outer_lr": 0.005, "memory": 6, "shots": [0, 6]}' || more);
END $$;
SELECT train('matching', 'score', 'matching');
SELECT train('in context', 'score', 'matching', '{"full_context": true}');
SELECT train('bought', 'bought', 'matching');
SELECT train('marks', 'mark', 'matching');
SELECT train('prototypes', 'bought', 'prototypical');
SELECT train('mark prototypes', 'mark', 'prototypical');

-- they learn: after six rows they are better than without, than one for all, and (but for numbers of classes) than a shift
CREATE TABLE results AS
	SELECT m.name, e.* FROM meta.model m, LATERAL meta.evaluate(m.name, shots => '{0,6}') e WHERE metric IN ('rmse', 'log_loss') AND method <> 'single_task';
SELECT name, adapted < 0.9 * prior AS than_prior, adapted < 0.9 * pooled AS than_pooled, adapted < 0.97 * shifted AS than_shifted
FROM (SELECT name, max(value) FILTER (WHERE method = 'adapted') AS adapted, max(value) FILTER (WHERE method = 'prior') AS prior,
			 max(value) FILTER (WHERE method = 'pooled') AS pooled, max(value) FILTER (WHERE method = 'random_intercept') AS shifted
	  FROM results WHERE shots = 6 GROUP BY 1) r ORDER BY 1;
SELECT count(*) AS differences FROM results a JOIN results p USING (name) WHERE a.shots = 0 AND p.shots = 0 AND a.method = 'adapted' AND p.method = 'prior' AND a.value <> p.value;

-- what is remembered: rows, or how many of each class; the last rows are those that are kept
CREATE TABLE adapted AS
	SELECT m.name, n, meta.adapt(m.name, t) AS params
	FROM meta.model m, (VALUES (0), (1), (4), (9)) v (n) JOIN tastes t ON t.nr <= n AND task = 7 OR t.nr = 1 AND n = 0
	WHERE n > 0 GROUP BY 1, 2
	UNION ALL SELECT name, 0, meta.adapt(name, NULL::tastes) FROM meta.model GROUP BY 1;
SELECT name, n, meta.describe(params) -> 'memory' AS memory, meta.describe(params) ->> 'rows' AS rows FROM adapted ORDER BY 1, 2;
SELECT count(*) FILTER (WHERE NOT bought) AS "false", count(*) FILTER (WHERE bought) AS "true" FROM tastes WHERE task = 7 AND nr <= 9;
SELECT count(*) FILTER (WHERE mark = 'never') AS never, count(*) FILTER (WHERE mark = 'no') AS no, count(*) FILTER (WHERE mark = 'yes') AS yes FROM tastes WHERE task = 7 AND nr <= 9;
-- and takes the room that it needs
SELECT name, n, octet_length(params) - octet_length(prior) AS bytes
FROM adapted a JOIN (SELECT name, params AS prior FROM adapted WHERE n = 0) p USING (name) WHERE n IN (1, 4) ORDER BY 1, 2;

-- adapting further is adapting to all rows, those that come later after those before
SELECT name, max(abs((p.value - q.value) / greatest(1, abs(p.value)))) < 0.0001 AS same, bool_and(meta.describe(twice) - 'base' - 'bytes' = meta.describe(once) - 'base' - 'bytes') AS like_it
FROM (SELECT a.name, b.params AS once, meta.adapt(a.params, t) AS twice
	  FROM adapted a JOIN adapted b USING (name), tastes t WHERE a.n = 4 AND b.n = 9 AND t.task = 7 AND t.nr BETWEEN 5 AND 9 GROUP BY 1, 2) f,
	 tastes t,
	 LATERAL (SELECT CASE WHEN name LIKE '%mark%' THEN (meta.probabilities(once, t) ->> 'yes')::float8 ELSE meta.predict(once, t) END AS value) p,
	 LATERAL (SELECT CASE WHEN name LIKE '%mark%' THEN (meta.probabilities(twice, t) ->> 'yes')::float8 ELSE meta.predict(twice, t) END AS value) q
WHERE t.task = 9 GROUP BY 1 ORDER BY 1;
-- a memory of rows is the same, to the byte
SELECT name, once = twice AS same
FROM (SELECT a.name, b.params AS once, meta.adapt(a.params, t) AS twice
	  FROM adapted a JOIN adapted b USING (name), tastes t WHERE a.n = 4 AND b.n = 9 AND t.task = 7 AND t.nr BETWEEN 5 AND 9 GROUP BY 1, 2) f
WHERE name IN ('matching', 'in context', 'bought', 'marks') ORDER BY 1;

-- as a window: the params before each row
SELECT w.name, count(*), count(*) FILTER (WHERE w.params = a.params) AS same
FROM (SELECT m.name, t.nr, meta.adapt(m.name, t) OVER (PARTITION BY m.name ORDER BY t.nr ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS params
	  FROM meta.model m, tastes t WHERE t.task = 7) w
	JOIN adapted a ON a.name = w.name AND a.n = w.nr - 1 AND n > 0 GROUP BY 1 ORDER BY 1;

-- in parallel: the same bytes
CREATE TABLE many AS SELECT task, nr, x, y, score, bought, mark FROM tastes;
ANALYZE many;
CREATE TABLE alone AS SELECT m.name, t.task, meta.adapt(m.name, t) AS params FROM meta.model m, tastes t GROUP BY 1, 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT task, meta.adapt('matching', m) AS params FROM many m GROUP BY task;
SELECT count(*) AS tasks, bool_and(a.params = p.params) AS same
FROM (SELECT task, meta.adapt('matching', m) AS params FROM many m GROUP BY task) p JOIN alone a USING (task) WHERE a.name = 'matching';
SELECT count(*) AS tasks, bool_and(a.params = p.params) AS same
FROM (SELECT task, meta.adapt('prototypes', m) AS params FROM many m GROUP BY task) p JOIN alone a USING (task) WHERE a.name = 'prototypes';
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- a copy that needs no model: it predicts the same, remembers the same, and goes on from there
CREATE TABLE own AS SELECT name, n, params, meta.params(params) AS copy FROM adapted;
SELECT name, bool_and(meta.describe(copy) -> 'memory' = meta.describe(params) -> 'memory') AS memory, bool_and(meta.describe(copy) ->> 'kind' = 'model') AS model,
	   bool_and(CASE WHEN name LIKE '%mark%' THEN meta.probabilities(copy, t) = meta.probabilities(params, t) ELSE meta.predict(copy, t) = meta.predict(params, t) END) AS predictions
FROM own, tastes t WHERE t.task = 9 GROUP BY 1 ORDER BY 1;
SELECT name, meta.describe(meta.adapt(copy, t)) -> 'memory' AS memory FROM own, tastes t WHERE n = 1 AND t.task = 7 AND t.nr BETWEEN 2 AND 4 GROUP BY name, copy ORDER BY 1;

-- N-way episodes name the classes of the task
CREATE TABLE drawings AS
	SELECT s * 100 + i AS id, 'shape ' || s AS shape, u('a', s::text) * 2 + 0.1 * u('b', s::text, i::text) AS x, u('c', s::text) * 2 + 0.1 * u('d', s::text, i::text) AS y
	FROM generate_series(1, 120) s, generate_series(1, 8) i;
CALL meta.train('shapes', 'drawings', 'shape', 'shape', features => 'x, y', algorithm => 'prototypical',
				options => '{"way": 3, "shots": [1, 2], "query": 3, "iterations": 200, "hidden": [16], "features": 4}');
CALL meta.train('remembered shapes', 'drawings', 'shape', 'shape', features => 'x, y', algorithm => 'matching',
				options => '{"way": 3, "shots": [1, 2], "query": 3, "iterations": 200, "hidden": [16], "features": 4, "memory": 2}');
CALL meta.train('shapes in context', 'drawings', 'shape', 'shape', features => 'x, y', algorithm => 'matching',
				options => '{"way": 3, "shots": [1, 2], "query": 3, "iterations": 200, "hidden": [16], "features": 4, "full_context": true}');
SELECT m, value > 0.7 AS good FROM unnest(ARRAY['shapes', 'remembered shapes', 'shapes in context']) m, meta.evaluate(m, shots => '{1}') WHERE metric = 'accuracy' AND method = 'adapted' ORDER BY 1;
SELECT m, meta.describe(params) -> 'classes' AS classes, meta.describe(params) -> 'memory' AS memory, meta.describe(meta.params(params)) -> 'memory' AS copy,
	   (SELECT count(*) FROM drawings d WHERE d.shape IN ('shape 4', 'shape 8') AND id % 100 > 3 AND meta.classify(params, d) = d.shape) AS right_of_10
FROM (SELECT m, meta.adapt(m, d) AS params FROM unnest(ARRAY['shapes', 'remembered shapes', 'shapes in context']) m, drawings d
	  WHERE shape IN ('shape 4', 'shape 8') AND id % 100 <= CASE shape WHEN 'shape 4' THEN 3 ELSE 1 END GROUP BY 1) a ORDER BY 1;
-- room for no fewer rows than an episode has
SELECT meta.describe('remembered shapes') #> '{memory,room}' AS room;

-- in a blend, the memory is its part's: each task draws its own place for each kind
CREATE TABLE places AS
	SELECT task, nr, kind, 3 * u('at', task::text, kind::text) + 0.2 * u('about', task::text, nr::text) + 3 * (kind / 2) AS x, 2 * u('by', task::text, kind::text) AS y FROM tastes;
CALL meta.train('blend', 'places', 'task', 'kind', features => 'x, y', order_by => 'nr',
				options => '{"iterations": 300, "hidden": [16], "features": 4, "meta_batch": 16, "outer_lr": 0.005, "shots": [0, 6], "encode": {"kind": "category"}}');
SELECT (d ? 'prototypical.memory') = coalesce(d #> '{components,0,blend_of}' ? 'prototypical', false) AS told,
	   d ? 'prototypical.memory' AND NOT meta.describe(params) -> 'prototypical.memory' @> '{"width": 4, "prototypes": {"0": 2, "1": 0, "2": 1, "3": 3}}' AS wrong
FROM meta.describe('blend') d, (SELECT meta.adapt('blend', p) AS params FROM places p WHERE task = 1 AND nr <= 6) a;
SELECT kind, count(*) FROM places WHERE task = 1 AND nr <= 6 GROUP BY 1 ORDER BY 1;

-- rows of no weight are no rows, others weigh
CALL meta.train('weighted', 'SELECT task, nr, x, y, bought, nr % 3 / 2.0 AS w FROM memory.tastes', 'task', 'bought', features => 'x, y', order_by => 'nr',
				algorithm => 'prototypical', options => '{"iterations": 10, "hidden": [], "features": 2, "weight": "w"}');
SELECT round((meta.describe(p) #>> '{memory,prototypes,true}')::numeric / (meta.describe(p) #>> '{memory,prototypes,false}')::numeric, 3) AS ratio
FROM (SELECT meta.adapt('weighted', t) AS p FROM (SELECT x, y, bought, nr, nr % 3 / 2.0 AS w FROM tastes WHERE task = 7 AND nr <= 9) t) a;
SELECT round(sum(nr % 3) FILTER (WHERE bought) / sum(nr % 3) FILTER (WHERE NOT bought)::numeric, 3) AS ratio FROM tastes WHERE task = 7 AND nr <= 9;

-- errors
CALL meta.train('bad', 'tastes', 'task', 'score', features => 'x, y', order_by => 'nr', algorithm => 'prototypical');
CALL meta.train('bad', 'tastes', 'task', 'bought', features => 'x, y', order_by => 'nr', algorithm => 'prototypical', options => '{"loss": "squared"}');
CALL meta.train('bad', 'tastes', 'task', 'score', features => 'x, y', algorithm => 'matching', options => '{"memory": 0}');
CALL meta.train('bad', 'tastes', 'task', 'score', features => 'x, y', algorithm => 'matching', options => '{"full_context": 1}');
\set VERBOSITY terse
SELECT meta.predict_interval('matching', t) FROM tastes t LIMIT 1;

\set VERBOSITY default
-- params whose base is gone can be looked at, but not into
CREATE TABLE orphan AS SELECT params FROM adapted WHERE name = 'matching' AND n = 4;
DELETE FROM meta.model;
SELECT meta.describe(params) ? 'memory' AS memory, meta.describe(params) ->> 'rows' AS rows FROM orphan;
\set VERBOSITY sqlstate
SELECT meta.predict(params, t) FROM orphan, tastes t LIMIT 1;
\set VERBOSITY default
SELECT count(*) FROM own, LATERAL meta.describe(copy) d WHERE d ? 'memory';

-- a task that has moments of its own beside its memory
SELECT train('normed', 'score', 'matching', '{"norm": "batch", "iterations": 3}');
SELECT meta.describe(params) #>> '{memory,rows}' AS rows, meta.predict(params, t) IS NOT NULL AS predicted
FROM (SELECT meta.adapt('normed', t) AS params FROM tastes t WHERE task = 7 AND nr <= 4) a, tastes t WHERE task = 7 AND nr = 5;
DROP SCHEMA memory CASCADE;
