-- N-way episodes: classes that were never seen, told apart after a few rows of each
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
SET search_path = '';

-- 150 shapes in 3 sets, 12 drawings of each: two numbers that differ between
-- shapes, and one that tells nothing
CREATE TABLE public.drawings (id int PRIMARY KEY, collection int, shape text, x float8, y float8, z float8);
INSERT INTO public.drawings
	SELECT s * 100 + i, s % 3, 'shape ' || s,
		   (s * 7919 % 997) / 498.5 - 1 + ((s * 31 + i) * 7907 % 101) / 1010.0 - 0.05,
		   (s * 3571 % 991) / 495.5 - 1 + ((s * 17 + i) * 7577 % 103) / 1030.0 - 0.05,
		   (s * 13 + i * 7) % 5 / 10.0
	FROM generate_series(1, 150) s, generate_series(1, 12) i;

CALL meta.train('shapes', 'public.drawings', task => 'shape', target => 'shape', features => 'x, y, z', algorithm => 'maml',
				options => '{"way": 4, "shots": [1, 3], "query": 4, "iterations": 300, "hidden": [16], "inner_lr": 0.3, "skip": false}');
SELECT d -> 'target' AS target, d ->> 'loss' AS loss, d #>> '{network,outputs}' AS outputs, d #>> '{options,shots}' AS shots,
	   jsonb_path_query_array(d, '$.components[*].learner') AS components
FROM meta.describe('shapes') d;
-- a temperature, by the rows of all classes
SELECT c -> 'rows' AS "rows", jsonb_array_length(c -> 'slope') AS slopes, c ? 'offset' AS offset FROM (SELECT meta.describe('shapes') -> 'calibration' AS c) d;

-- it learned to: better than chance by far on shapes that it never saw
CREATE TEMP TABLE results AS SELECT * FROM meta.evaluate('shapes');
SELECT DISTINCT shots, tasks, "rows" FROM pg_temp.results ORDER BY 1;
SELECT method, shots, value > 0.5 AS good, value < 0.35 AS chance, difference IS NULL AS no_reference
FROM pg_temp.results WHERE metric = 'accuracy' AND method <> 'single_task' ORDER BY 1, 2;
SELECT DISTINCT metric FROM pg_temp.results ORDER BY 1;
SELECT shots, value > 0.5 AS good, "rows" FROM meta.evaluate('shapes', shots => '{2}') WHERE metric = 'accuracy' AND method = 'adapted';
-- the same episodes each time
SELECT count(*) AS differences FROM (TABLE pg_temp.results EXCEPT SELECT * FROM meta.evaluate('shapes')) d;
-- episodes of fewer classes: outputs that stand for none of them are out of the question
CREATE TEMP TABLE fewer AS SELECT * FROM meta.evaluate('shapes', way => 2);
SELECT DISTINCT shots, tasks, "rows" FROM pg_temp.fewer ORDER BY 1;
SELECT shots, f.value > r.value + 0.05 AS easier, f.value > 0.75 AS good FROM pg_temp.fewer f JOIN pg_temp.results r USING (shots, metric, method)
WHERE metric = 'accuracy' AND method = 'adapted' ORDER BY 1;
SELECT bool_and(value < 0.6) AS good FROM pg_temp.fewer WHERE metric = 'log_loss' AND method = 'adapted';
SELECT count(*) AS differences FROM (SELECT * FROM meta.evaluate('shapes', way => 4) EXCEPT TABLE pg_temp.results) d;
-- intervals are over episodes, but episodes of a few classes are no measure of others
SELECT (SELECT count(DISTINCT shape) FROM public.drawings WHERE id < last) AS classes, max(tasks) AS episodes,
	   count(value) = count(*) AS figures, count(lower) + count(upper) > 0 AS intervals
FROM (VALUES (500), (600)) v (last),
	 LATERAL meta.evaluate('shapes', 'SELECT ''new '' || shape AS shape, x, y, z FROM public.drawings WHERE id < ' || last, '{1}', way => 2)
GROUP BY last ORDER BY last;

-- a few rows of three new shapes, by names of their own
CREATE TABLE public.news (name text, shape text, x float8, y float8, z float8, learn bool);
INSERT INTO public.news
	SELECT name, CASE WHEN i <= 3 THEN name END, cx + i / 100.0, cy - i / 100.0, i % 3 / 10.0, i <= 3
	FROM (VALUES ('Dreieck', -0.8, -0.7), ('круг', 0.9, 0.1), ('', 0, 0.9)) v (name, cx, cy), generate_series(1, 8) i;
CREATE TABLE public.adapted AS SELECT meta.adapt('shapes', n) AS params FROM public.news n WHERE learn;
SELECT name, meta.classify(params, n) AS class, count(*), min(round((meta.probabilities(params, n) ->> name)::numeric, 1)) > 0.3 AS sure
FROM public.news n, public.adapted WHERE NOT learn GROUP BY 1, 2 ORDER BY 1;
SELECT meta.describe(params) ->> 'classes' AS classes, meta.describe(params) ->> 'rows' AS rows,
	   get_byte(params, 0) + 256 * get_byte(params, 1) <= 512 AS small_header
FROM public.adapted;
SELECT (SELECT round(sum(p::numeric), 6) FROM jsonb_each_text(meta.probabilities(params, n)) e (k, p)) AS sum,
	   (SELECT count(*) FROM jsonb_object_keys(meta.probabilities(params, n))) AS classes
FROM public.news n, public.adapted LIMIT 1;
-- rows without a label count as none, and order does not matter
SELECT meta.adapt('shapes', n ORDER BY x DESC) = params AS same FROM public.news n, public.adapted GROUP BY params;
-- nor does the plan
CREATE TABLE public.many AS SELECT n.*, g % 50 AS pupil FROM public.news n, generate_series(1, 5000) g WHERE learn;
ANALYZE public.many;
CREATE TEMP TABLE alone AS SELECT pupil, meta.adapt('shapes', m) AS params FROM public.many m GROUP BY pupil;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT pupil, meta.adapt('shapes', m) AS params FROM public.many m GROUP BY pupil;
SELECT count(*) AS pupils, bool_and(a.params = p.params) AS same
FROM pg_temp.alone a JOIN (SELECT pupil, meta.adapt('shapes', m) AS params FROM public.many m GROUP BY pupil) p USING (pupil);
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- further rows, and a class that joins later: those known keep their places
CREATE TABLE public.further AS
	SELECT meta.adapt(params, n) AS params
	FROM public.adapted, (SELECT CASE WHEN learn THEN 'A new one' ELSE shape END AS shape, -y AS x, x - 0.2 AS y, z FROM public.news WHERE name = 'Dreieck') n;
SELECT meta.describe(params) ->> 'classes' AS classes, meta.describe(params) ->> 'rows' AS rows FROM public.further;
-- four are all that the model tells apart
SELECT meta.adapt(params, n) FROM public.further, (SELECT 'a fifth' AS shape, 0.5 AS x, 0.5 AS y, 0 AS z) n;
SELECT meta.adapt('shapes', d) FROM public.drawings d;

-- self-contained params name the classes, too, and can be adapted further
SELECT meta.describe(own) ->> 'kind' AS kind, meta.describe(own) -> 'target' AS target,
	   count(*) FILTER (WHERE meta.classify(own, n) <> meta.classify(params, n)) AS differences
FROM public.news n, public.adapted, meta.params(params) own GROUP BY own;
SELECT meta.describe(meta.adapt(own, n)) -> 'target' AS target
FROM (SELECT 'A new one' AS shape, 0.7 AS x, -0.9 AS y, 0 AS z) n, public.adapted, meta.params(params) own GROUP BY own;

-- each pupil draws shapes of their own
SELECT pupil, meta.describe(params) ->> 'classes' AS classes
FROM (SELECT split_part(shape, ' ', 2)::int / 2 AS pupil, meta.adapt('shapes', d) AS params
	  FROM public.drawings d WHERE shape IN ('shape 2', 'shape 3', 'shape 4', 'shape 5') GROUP BY 1) p ORDER BY 1;
-- the first rows name the classes, in a window too
SELECT i, meta.describe(meta.adapt('shapes', n) OVER (ORDER BY i ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) ->> 'classes' AS classes
FROM (SELECT row_number() OVER (ORDER BY x) AS i, shape, x, y, z FROM public.news WHERE learn) n ORDER BY i LIMIT 5;

-- without rows there is nothing to tell apart
SELECT meta.describe(meta.adapt('shapes', NULL::public.news)) ? 'classes' AS classes;
SELECT meta.classify(meta.adapt('shapes', NULL::public.news), n) FROM public.news n GROUP BY n LIMIT 1;
SELECT meta.classify('shapes', n) FROM public.news n;
SELECT meta.probabilities('shapes', n) FROM public.news n;
SELECT meta.predict(params, n) FROM public.news n, public.adapted;

-- the aggregate, the order of rows, another algorithm, a task key of two columns
SELECT meta.train(d, 'shape', 'shape', '{"algorithm": "maml", "features": "x, y, z", "way": 4, "shots": [1, 3], "query": 4,
	"iterations": 300, "hidden": [16], "inner_lr": 0.3, "skip": false}' ORDER BY y) = meta.params('shapes') AS same
FROM public.drawings d;
CALL meta.train('both', 'public.drawings', task => 'collection, shape', target => 'shape', algorithm => 'reptile',
				options => '{"way": 2, "shots": 2, "query": 2, "iterations": 20, "hidden": [8]}');
SELECT d -> 'target' AS target, jsonb_path_query_array(d, '$.encoders[*].column') AS features,
	   jsonb_path_query_array(d, '$.components[*].learner') AS components
FROM meta.describe('both') d;
-- support is never less than one row of each class
SELECT meta.describe(meta.train(d, 'shape', 'shape', '{"algorithm": "fomaml", "way": 2, "iterations": 2, "hidden": [], "query": 1}')) #> '{options,shots}' AS shots
FROM public.drawings d;

-- errors
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', options => '{"way": 1}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', options => '{"way": 5000}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape');
CALL meta.train('bad', 'public.drawings', 'shape', 'x', options => '{"way": 5}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', order_by => 'id', options => '{"way": 5}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', options => '{"way": 5, "loss": "squared"}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', algorithm => 'pooled', options => '{"way": 5}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', algorithm => 'random_intercept', options => '{"way": 5}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', options => '{"way": 150, "shots": 1, "query": 1, "hidden": []}');
CALL meta.train('bad', 'public.drawings', 'shape', 'shape', options => '{"way": 5, "shots": 12, "query": 1}');
SELECT * FROM meta.evaluate('shapes', shots => '{12}');
SELECT * FROM meta.evaluate('shapes', 'SELECT * FROM public.drawings WHERE id < 1000');
SELECT * FROM meta.evaluate('shapes', by => 'collection');
SELECT * FROM meta.evaluate('shapes', way => 5);
SELECT * FROM meta.evaluate('shapes', way => 1);
SELECT * FROM meta.evaluate('shapes', 'SELECT * FROM public.drawings WHERE id < 1000', shots => '{1}', way => 3);
CALL meta.train('no way', 'public.drawings', 'shape', 'x', features => 'y, z', options => '{"iterations": 2, "hidden": []}');
SELECT * FROM meta.evaluate('no way', way => 5);
SELECT count(*) FROM meta.model WHERE name = 'bad';

DELETE FROM meta.model;
DROP TABLE public.drawings, public.news, public.adapted, public.many, public.further;
