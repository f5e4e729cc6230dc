-- meta.predict, meta.classify, meta.probabilities: params and a row -> what is expected of it
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
SET search_path = '';

CREATE TYPE public.mark AS ENUM ('poor', 'fair', 'good');
CREATE TABLE public.tests (student int, nr int, x float8, v real[], skill text, score float8, passed bool, mark public.mark);
INSERT INTO public.tests
	SELECT s, n, x, ARRAY[x, s % 3], chr(97 + (s + n) % 4), y, y > 5,
		   CASE WHEN y < 4 THEN 'poor' WHEN y < 6 THEN 'fair' ELSE 'good' END::public.mark
	FROM (SELECT s, n, (s * 7 + n * 13) % 20 / 10.0 - 1 AS x, s % 7 + (s * 7 + n * 13) % 20 / 5.0 AS y
		  FROM generate_series(1, 60) s, generate_series(1, 12) n) t;
CALL meta.train('score', 'public.tests', task => 'student', target => 'score', features => 'x, v, skill', order_by => 'nr', algorithm => 'maml',
				options => '{"iterations": 60, "hidden": [8], "inner_steps": 3, "encode": {"skill": "category"}}');
CALL meta.train('passed', 'public.tests', task => 'student', target => 'passed', features => 'x', algorithm => 'maml',
				options => '{"iterations": 60, "hidden": [8], "inner_steps": 3}');
CALL meta.train('mark', 'public.tests', task => 'student', target => 'mark', features => 'x', algorithm => 'maml',
				options => '{"iterations": 60, "hidden": [8], "inner_steps": 3}');

CREATE TABLE public.params AS
	SELECT model, student, CASE model
			WHEN 'score' THEN meta.adapt('score', t) WHEN 'passed' THEN meta.adapt('passed', t) ELSE meta.adapt('mark', t) END AS params
	FROM public.tests t, (VALUES ('score'), ('passed'), ('mark')) m (model)
	WHERE student IN (5, 7) AND nr <= 6 GROUP BY 1, 2;

CREATE TYPE public.features AS (x float8, v real[], skill text);

-- intervals: around the prediction, wider with coverage, narrower with rows
CALL meta.train('sure', 'public.tests', task => 'student', target => 'score', features => 'x', order_by => 'nr', algorithm => 'random_intercept',
				options => '{"iterations": 50, "hidden": [4]}');
WITH adapted AS (SELECT meta.adapt('sure', t) AS params FROM public.tests t WHERE student = 1)
SELECT bool_and(i.lower < p AND p < i.upper AND abs(i.lower + i.upper - 2 * p) < 1e-6 * (i.upper - i.lower)) AS around,
	   bool_and(j.upper - j.lower < i.upper - i.lower) AS wider,
	   bool_and(i.upper - i.lower < prior.upper - prior.lower) AS narrower,
	   bool_and(abs((k.upper - k.lower) / (l.upper - l.lower) - 1.959964 / 0.674490) < 1e-5) AS normal
FROM adapted, public.tests t, meta.predict(params, t) p, meta.predict_interval(params, t) i, meta.predict_interval(params, t, coverage => 0.5) j,
	 meta.predict_interval('sure', t) prior, meta.predict_interval('sure', t, 0.95) k, meta.predict_interval('sure', t, 0.5) l;
SELECT meta.predict_interval('sure', t, 1) FROM public.tests t LIMIT 1;
SELECT meta.predict_interval('sure', t, 'NaN') FROM public.tests t LIMIT 1;
SELECT meta.predict_interval('sure', t, NULL) IS NULL AS nothing FROM public.tests t LIMIT 1;
SELECT meta.predict_interval('score', t) FROM public.tests t LIMIT 1;
SELECT meta.predict_interval('passed', t) FROM public.tests t LIMIT 1;
SELECT meta.predict_interval('mark', t) FROM public.tests t LIMIT 1;
DELETE FROM meta.model WHERE name = 'sure';

-- what each returns
SELECT bool_and(meta.predict('score', t) BETWEEN -5 AND 15) AS value,
	   bool_and(meta.predict('passed', t) BETWEEN 0 AND 1) AS chance,
	   bool_and(meta.classify('passed', t) IN ('false', 'true')) AS binary,
	   bool_and(meta.classify('mark', t) IN ('poor', 'fair', 'good')) AS class
FROM public.tests t WHERE nr = 7;
SELECT pg_typeof(meta.predict('score', t)) AS value, pg_typeof(meta.classify('mark', t)) AS class,
	   pg_typeof(meta.probabilities('mark', t)) AS probabilities
FROM public.tests t LIMIT 1;
SELECT bool_and(sum = 1) AS sum_to_1, bool_and(best = class) AS best_is_class, min(keys) AS keys
FROM (SELECT t.ctid, round(sum(p.value::numeric), 9) AS sum,
			 (array_agg(p.key ORDER BY p.value::numeric DESC))[1] AS best, meta.classify('mark', t) AS class,
			 string_agg(p.key, ' ') AS keys
	  FROM public.tests t, jsonb_each_text(meta.probabilities('mark', t)) p GROUP BY t.ctid, t) s;
SELECT bool_and(abs((p ->> 'true')::float8 - y) < 1e-9 AND abs((p ->> 'false')::float8 + y - 1) < 1e-9) AS chance,
	   bool_and(class = CASE WHEN y >= 0.5 THEN 'true' ELSE 'false' END) AS class, min(keys) AS keys
FROM (SELECT meta.probabilities('passed', t) AS p, meta.predict('passed', t) AS y, meta.classify('passed', t) AS class FROM public.tests t) s,
	 LATERAL (SELECT string_agg(k, ' ') AS keys FROM jsonb_object_keys(p) k) k;

-- adapted, it knows the student: on the rows after those adapted on
SELECT model, CASE model
		WHEN 'score' THEN avg((meta.predict(params, t) - score) ^ 2) < avg((meta.predict('score', t) - score) ^ 2)
		WHEN 'passed' THEN avg(abs(meta.predict(params, t) - passed::int)) < avg(abs(meta.predict('passed', t) - passed::int))
	END AS better
FROM public.params JOIN public.tests t USING (student) WHERE nr > 6 AND model <> 'mark' GROUP BY 1 ORDER BY 1;
SELECT avg((meta.probabilities(params, t) ->> mark::text)::float8) > avg((meta.probabilities('mark', t) ->> mark::text)::float8) AS better
FROM public.params JOIN public.tests t USING (student) WHERE nr > 6 AND model = 'mark';

-- a model's name, its bytes, and params of a task without rows: all the prior
SELECT bool_and(a = b) AS bytes, bool_and(a = c) AS no_rows
FROM (SELECT meta.predict('score', t) AS a, meta.predict(meta.params('score'), t) AS b,
			 meta.predict((SELECT meta.adapt('score', NULL::public.tests)), t) AS c
	  FROM public.tests t WHERE nr = 1) s;
-- self-contained params predict the same
SELECT bool_and(meta.predict(params, t) = meta.predict(meta.params(params), t)) AS same
FROM public.params JOIN public.tests t USING (student) WHERE model = 'score';
-- many params in any order, stored apart or not
ALTER TABLE public.params ALTER params SET STORAGE EXTERNAL;
CREATE TABLE public.apart AS
	SELECT model, student, CASE WHEN n = 1 THEN params ELSE meta.params(params) END AS params, n
	FROM public.params, generate_series(1, 2) n WHERE model = 'score';
SELECT count(DISTINCT round(y::numeric, 6)), count(*)
FROM (SELECT meta.predict(params, ROW(0.5, '{0.5,1}', 'a')::public.features) AS y
	  FROM public.apart, generate_series(1, 3) i ORDER BY i, n, student) s;

-- params out of line: other ones in each row, the same in several, and made in the query
CALL meta.train('wide', 'public.tests', task => 'student', target => 'score', features => 'x', algorithm => 'maml',
				options => '{"iterations": 10, "hidden": [32, 32], "inner_steps": 3}');
CALL meta.train('wider', 'public.tests', task => 'student', target => 'passed', features => 'x', algorithm => 'maml',
				options => '{"iterations": 10, "hidden": [40, 40], "inner_steps": 3}');
CREATE TABLE public.wide (model text, student int, params bytea);
ALTER TABLE public.wide ALTER params SET STORAGE EXTERNAL;
INSERT INTO public.wide SELECT model, student, CASE model WHEN 'wide' THEN meta.adapt('wide', t) ELSE meta.adapt('wider', t) END
	FROM public.tests t, (VALUES ('wide'), ('wider')) m (model) WHERE student <= 3 GROUP BY 1, 2;
WITH r AS (SELECT w.*, x FROM public.wide w, generate_series(-1.0, 1.0, 0.5) x),
	 alternating AS (SELECT *, meta.predict(params, s) AS y FROM (SELECT * FROM r ORDER BY x, student, model) s),
	 in_turn AS (SELECT *, meta.predict(params, s) AS y FROM (SELECT * FROM r ORDER BY model, student, x) s),
	 made AS (SELECT *, meta.predict(params || ''::bytea, s) AS y FROM (SELECT * FROM r ORDER BY x, student, model) s)
SELECT bool_and(a.y = i.y) AS in_turn, bool_and(a.y = m.y) AS made, count(DISTINCT a.y) > 20 AS differ, count(*)
FROM alternating a JOIN in_turn i USING (model, student, x) JOIN made m USING (model, student, x);
DELETE FROM meta.model WHERE name IN ('wide', 'wider');

-- features are found by name; the target and further columns do not matter
SELECT count(DISTINCT y) FROM (
	SELECT meta.predict('score', r) AS y FROM (SELECT 0.5::float8 AS x, '{0.5,1}'::real[] AS v, 'b'::text AS skill) r
	UNION ALL
	SELECT meta.predict('score', r) FROM (SELECT 'further'::text AS a, 'b'::varchar AS skill, '{0.5,1}'::float8[] AS v, 0.5::numeric AS x) r
	UNION ALL
	SELECT meta.predict('score', ROW(1, 1, 0.5, '{0.5,1}', 'b', NULL, NULL, 'good')::public.tests)) s;

-- NULL params, NULL rows; NULL features are missing values, and so are labels never seen
SELECT meta.predict(NULL::bytea, t) AS no_params, meta.predict(NULL::text, t) AS no_model, meta.predict('score', NULL::public.tests) AS no_row,
	   meta.classify('mark', NULL::public.tests) AS no_class, meta.probabilities('mark', NULL::public.tests) AS no_probabilities
FROM public.tests t LIMIT 1;
SELECT meta.predict('score', ROW(NULL, '{0,0}', NULL)::public.features) IS NOT NULL AS missing,
	   meta.predict('score', ROW(0, '{0,0}', 'never seen')::public.features) = meta.predict('score', ROW(0, '{0,0}', NULL)::public.features) AS unseen;

-- prepared, in a parallel plan, and from PL/pgSQL
PREPARE predict (bytea, float8) AS SELECT meta.predict($1, ROW($2, ARRAY[$2, 1]::real[], 'a')::public.features) IS NOT NULL AS predicted;
EXECUTE predict(meta.params('score'), 0.5);
EXECUTE predict(NULL, 0.5);
DEALLOCATE predict;
CREATE FUNCTION public.predict_all() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	p record;
	t public.tests;
	same int := 0;
	one float8;
	other float8;
BEGIN
	FOR t IN SELECT * FROM public.tests WHERE nr = 7 AND student < 10 LOOP
		FOR p IN SELECT params FROM public.params WHERE model = 'score' ORDER BY student LOOP
			one := meta.predict(p.params, t);
			EXECUTE 'SELECT meta.predict($1, $2)' INTO other USING p.params, t;
			same := same + (one = other)::int;
		END LOOP;
	END LOOP;
	RETURN same;
END $$;
SELECT public.predict_all();
CREATE FUNCTION public.is_parallel(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		IF line LIKE '%Gather%' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT public.is_parallel('SELECT student, meta.predict(''score'', t) FROM public.tests t');
CREATE TABLE public.predicted AS SELECT student, nr, meta.predict('score', t) AS y FROM public.tests t;
SELECT count(*), bool_and(p.y = s.y) AS same
FROM (SELECT student, nr, meta.predict('score', t) AS y FROM public.tests t) p JOIN public.predicted s USING (student, nr);
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- errors
SELECT meta.predict('score', r) FROM (SELECT t.*, 1 AS x FROM public.tests t) r;
SELECT meta.predict('scor', t) FROM public.tests t;
SELECT meta.predict('mark', t) FROM public.tests t;
SELECT meta.predict(params, t) FROM public.tests t, public.params WHERE model = 'mark';
SELECT meta.classify('score', t) FROM public.tests t;
SELECT meta.probabilities('score', t) FROM public.tests t;
SELECT meta.predict('score', ROW(1, 2));
SELECT meta.predict('score', ROW());
SELECT meta.predict('score', r) FROM (SELECT 1.0 AS x, 'a' AS skill) r;
SELECT meta.predict('score', r) FROM (SELECT 'a' AS x, '{0,0}'::real[] AS v, 'a' AS skill) r;
SELECT meta.predict('score', r) FROM (SELECT timestamp '2024-01-01' AS x, '{0,0}'::real[] AS v, 'a' AS skill) r;
SELECT meta.predict('score', ROW(0, '{0,0,0}', 'a')::public.features);
SELECT meta.predict('score', ROW(0, '{}', 'a')::public.features);
SELECT meta.adapt('score', r) FROM (SELECT student, nr, x, v || 1::real AS v, skill, score FROM public.tests) r;
SELECT meta.predict('score', ROW('infinity', '{0,0}', 'a')::public.features);
SELECT meta.predict('score', ROW(0, '{0,-infinity}', 'a')::public.features);
SELECT meta.predict('score'::bytea, t) FROM public.tests t;
SELECT meta.classify('score'::bytea, t) FROM public.tests t;
SELECT meta.probabilities('score'::bytea, t) FROM public.tests t;
SELECT meta.predict_interval('score'::bytea, t) FROM public.tests t;
SELECT meta.predict('\x0123456789'::bytea, t) FROM public.tests t;
SELECT meta.classify('\x'::bytea, t) FROM public.tests t;
SELECT meta.probabilities('\xdeadbeef'::bytea, t) FROM public.tests t;
SELECT meta.predict_interval('\xdeadbeef'::bytea, t) FROM public.tests t;
SELECT meta.predict_interval('scor', t) FROM public.tests t;
SELECT meta.predict(substr(params, 1, 200), t) FROM public.tests t, public.params WHERE model = 'score';
SELECT meta.predict(substr(meta.params('score'), 1, 2000), t) FROM public.tests t;
SELECT meta.predict(set_byte(p, octet_length(p) - 1, 1 # get_byte(p, octet_length(p) - 1)), t)
FROM public.tests t, meta.params('score') p;

-- damage anywhere in params is an error
CREATE FUNCTION public.damage(params bytea, step int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	states text[] := '{}';
	row public.features := ROW(0, '{0,0}', 'a');
	y float8 := meta.predict(params, row);
BEGIN
	FOR i IN 0 .. octet_length(params) - 1 BY step LOOP
		BEGIN
			IF meta.predict(set_byte(params, i, 255 - get_byte(params, i)), row) = y THEN
				states := states || 'harmless'::text;
			ELSE
				states := states || 'wrong'::text;
			END IF;
		EXCEPTION WHEN OTHERS THEN
			states := states || SQLSTATE::text;
		END;
	END LOOP;
	RETURN (SELECT string_agg(DISTINCT s, ' ' ORDER BY s) FROM unnest(states) s);
END $$;
SELECT public.damage(params, 1) FROM public.params WHERE model = 'score' AND student = 5;
SELECT public.damage(meta.params('score'), 7);

-- another role's model is as good as none, its prior, and params that stand on it
CREATE ROLE regress_meta_predict;
GRANT USAGE ON SCHEMA public TO regress_meta_predict;
GRANT SELECT ON public.params, public.apart TO regress_meta_predict;
SET ROLE regress_meta_predict;
SELECT meta.predict('score', ROW(0, '{0,0}', 'a')::public.features);
\set VERBOSITY sqlstate
SELECT meta.predict(params, ROW(0, '{0,0}', 'a')::public.features) FROM public.params WHERE model = 'score';
\set VERBOSITY default
SELECT meta.predict(params, ROW(0, '{0,0}', 'a')::public.features) IS NOT NULL AS own FROM public.apart WHERE n = 2;
RESET ROLE;

DELETE FROM meta.model WHERE name IN ('score', 'passed', 'mark');
\set VERBOSITY sqlstate
SELECT meta.predict(params, ROW(0, '{0,0}', 'a')::public.features) FROM public.params WHERE model = 'score';
\set VERBOSITY default
SELECT meta.predict(params, ROW(0, '{0,0}', 'a')::public.features) IS NOT NULL AS own FROM public.apart WHERE n = 2;

DROP FUNCTION public.is_parallel(text), public.predict_all(), public.damage(bytea, int);
DROP TABLE public.tests, public.params, public.apart, public.predicted;
DROP TYPE public.mark, public.features;
REVOKE ALL ON SCHEMA public FROM regress_meta_predict;
DROP ROLE regress_meta_predict;
