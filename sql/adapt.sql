-- meta.adapt: rows of a task -> params
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
SET search_path = '';

-- 60 students: everyone has a level, all share a slope
CREATE TABLE public.answers (student int, nr int, x float8, skill text, score float8);
INSERT INTO public.answers
	SELECT s, n, (s * 7 + n * 13) % 20 / 10.0 - 1, chr(97 + (s + n) % 5), s % 7 + (s * 7 + n * 13) % 20 / 5.0
	FROM generate_series(1, 60) s, generate_series(1, 12) n;
CALL meta.train('adapt', 'public.answers', task => 'student', target => 'score', order_by => 'nr', algorithm => 'maml',
				options => '{"iterations": 100, "hidden": [8], "inner_steps": 3, "inner_lr": 0.1, "encode": {"skill": "category"}}');

-- a few new ones: 101 has rows, 102 has none with a score, 103 has none at all
CREATE TABLE public.students (student int);
INSERT INTO public.students VALUES (101), (102), (103);
CREATE TABLE public.news (LIKE public.answers);
INSERT INTO public.news
	SELECT 101, n, n % 4 / 2.0 - 1, 'abcdz', 9 + n % 4 + n / 5
	FROM generate_series(1, 8) n;
UPDATE public.news SET skill = substr(skill, nr % 5 + 1, 1);
INSERT INTO public.news VALUES (102, 1, 0, 'a', NULL), (102, 2, 1, NULL, 'NaN');

CREATE TABLE public.params AS
	SELECT s.student, meta.adapt('adapt', r) AS params
	FROM public.students s LEFT JOIN public.news r USING (student) GROUP BY 1;

-- who has no rows gets the prior, whatever the reason; rows count those with a target
SELECT student, octet_length(params) < 4096 AS small,
	   meta.describe(params) ->> 'kind' AS kind, meta.describe(params) ->> 'rows' AS rows,
	   params = (SELECT meta.adapt('adapt', NULL::public.news)) AS prior
FROM public.params ORDER BY 1;

-- adapted, it predicts the student's level
SELECT abs(meta.predict(p.params, r) - r.score) < abs(meta.predict('adapt', r) - r.score) AS better
FROM public.news r JOIN public.params p USING (student) WHERE r.nr = 1 AND student = 101;

-- nothing to aggregate
SELECT meta.adapt('adapt', r) FROM public.news r WHERE false;
SELECT meta.adapt('adapt', r) FILTER (WHERE false) FROM public.news r;
SELECT count(*) FROM (SELECT meta.adapt('adapt', r) FROM public.news r WHERE false GROUP BY student) s;
SELECT meta.adapt(meta.params('adapt'), r) FROM public.news r WHERE false;

-- neither the order of rows nor that of columns matters, nor do further columns, nor where rows come from
SELECT meta.adapt('adapt', r ORDER BY x, nr) = p.params AS ordered,
	   meta.adapt('adapt', r ORDER BY nr DESC) = p.params AS reversed,
	   meta.adapt('adapt', ROW(student, nr, x, skill, score)::public.answers) = p.params AS another_type
FROM public.news r JOIN public.params p USING (student) WHERE student = 101 GROUP BY p.params;
SELECT meta.adapt('adapt', r) = p.params AS subquery
FROM (SELECT true AS further, score::numeric, skill::varchar, x::float4, nr::bigint FROM public.news WHERE student = 101 OFFSET 0) r,
	 public.params p
WHERE p.student = 101 GROUP BY p.params;

-- ... nor whether the columns needed lie at the same place in every row
SELECT meta.adapt('adapt', r) = p.params AS text_last
FROM (SELECT nr, score, x, student, skill FROM public.news WHERE student = 101 OFFSET 0) r, public.params p
WHERE p.student = 101 GROUP BY p.params;
BEGIN;
CALL meta.train('places', 'public.answers', task => 'student', target => 'score', order_by => 'nr', features => 'x', algorithm => 'anil',
				options => '{"iterations": 10, "hidden": [4]}');
SELECT a.params = b.params AS same, a.params = c.params AS of_fewer, meta.describe(a.params) ->> 'rows' AS rows
FROM (SELECT meta.adapt('places', r) AS params FROM (SELECT nr, score, x FROM public.news OFFSET 0) r) a,
	 (SELECT meta.adapt('places', r) AS params FROM (SELECT skill, nr, score, x FROM public.news OFFSET 0) r) b,
	 (SELECT meta.adapt('places', r) AS params FROM (SELECT nr, score, nullif(x, 0) AS x FROM public.news OFFSET 0) r) c;
ROLLBACK;

-- ... nor the plan
CREATE FUNCTION public.adapt_all(OUT student int, OUT params bytea) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'SELECT r.student, meta.adapt(''adapt'', r) FROM public.answers r GROUP BY 1';
END $$;
CREATE TABLE public.serial AS SELECT * FROM public.adapt_all();
ANALYZE public.answers;
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
SELECT public.is_parallel('SELECT student, meta.adapt(''adapt'', r) FROM public.answers r GROUP BY 1');
SELECT count(*), bool_and(a.params = b.params) AS same
FROM public.serial a JOIN (SELECT student, meta.adapt('adapt', r) AS params FROM public.answers r GROUP BY 1) b USING (student);
SET max_parallel_workers_per_gather = 0;
SET enable_hashagg = off;
SELECT count(*), bool_and(a.params = b.params) AS same
FROM public.serial a JOIN (SELECT student, meta.adapt('adapt', r) AS params FROM public.answers r GROUP BY 1) b USING (student);
RESET enable_hashagg;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- the params before each answer
SELECT student, nr, meta.describe(params) ->> 'rows' AS rows,
	   params = (SELECT meta.adapt('adapt', e) FROM public.news e
				 WHERE e.student = w.student AND e.nr < w.nr) AS same
FROM (SELECT student, nr, meta.adapt('adapt', r) OVER (PARTITION BY student ORDER BY nr ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS params
	  FROM public.news r WHERE student = 101) w
ORDER BY 1, 2;
SELECT bool_and(whole = params) AS same
FROM (SELECT student, meta.adapt('adapt', r) OVER (PARTITION BY student) AS whole FROM public.news r) w
	 JOIN public.params USING (student);

-- a model's bytes do as well as its name
SELECT meta.adapt(meta.params('adapt'), r) = p.params AS same
FROM public.news r JOIN public.params p USING (student) WHERE student = 101 GROUP BY p.params;

-- adapting further: inner steps again, on the new rows, from where the params are
CREATE TABLE public.further AS
	SELECT meta.adapt('adapt', r) FILTER (WHERE nr <= 4) AS first FROM public.news r WHERE student = 101;
ALTER TABLE public.further ADD second bytea;
UPDATE public.further SET second = (SELECT meta.adapt(first, r) FROM public.news r WHERE student = 101 AND nr > 4);
SELECT meta.describe(first) ->> 'rows' AS first, meta.describe(second) ->> 'rows' AS second, first <> second AS moved
FROM public.further;
-- with nothing new, they stay as they are
SELECT meta.adapt(second, NULL::public.news) = second AS same FROM public.further GROUP BY second;
-- self-contained params go on likewise, and stay self-contained: nobody else knows what they would stand on
CREATE TABLE public.own AS
	SELECT meta.adapt(meta.params(first), r) AS second FROM public.further, public.news r WHERE student = 101 AND nr > 4 GROUP BY first;
SELECT meta.describe(own.second) ->> 'kind' AS kind, max(abs(meta.predict(own.second, r) - meta.predict(further.second, r))) < 1e-5 AS same
FROM public.own, public.further, public.news r GROUP BY own.second;

-- ... and for a closed form, adapting twice is adapting to both
CALL meta.train('shift', 'public.answers', task => 'student', target => 'score', order_by => 'nr', algorithm => 'random_intercept',
				options => '{"iterations": 60, "hidden": [8], "encode": {"skill": "category"}}');
CREATE TABLE public.shift AS
	SELECT meta.adapt('shift', r) FILTER (WHERE nr <= 4) AS first, meta.adapt('shift', r) AS whole FROM public.news r WHERE student = 101;
ALTER TABLE public.shift ADD second bytea;
UPDATE public.shift SET second = (SELECT meta.adapt(first, r) FROM public.news r WHERE student = 101 AND nr > 4);
SELECT max(abs(meta.predict(second, r) - meta.predict(whole, r))) < 1e-4 AS same,
	   min(abs(meta.predict(first, r) - meta.predict(whole, r))) > 1e-4 AS moved
FROM public.shift, public.news r;

-- several params at once
SELECT count(*), count(DISTINCT params) FROM
	(SELECT meta.adapt(params, r) AS params FROM public.answers r JOIN public.serial USING (student) GROUP BY student, serial.params) s;

-- the statement's snapshot decides on the version
CREATE FUNCTION public.bases() RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	result text[];
	row public.news := (SELECT n FROM public.news n WHERE student = 101 AND nr = 1);
BEGIN
	FOR i IN 1 .. 2 LOOP
		result[i] := round(meta.predict('adapt', row)::numeric, 9);
		IF i = 1 THEN
			UPDATE meta.model SET name = 'adapt_old' WHERE name = 'adapt';
			INSERT INTO meta.model (name, task, target, algorithm) VALUES ('adapt', 'student', 'score', 'maml');
			INSERT INTO meta.version (model, version, digest, params)
				SELECT m.id, 1, left(encode(sha256(p), 'hex'), 32), p
				FROM meta.model m, (SELECT meta.params(params) AS p FROM public.params WHERE student = 101) s
				WHERE m.name = 'adapt';
		END IF;
	END LOOP;
	RETURN result;
END $$;
BEGIN;
SELECT b[1] <> b[2] AS renewed FROM public.bases() b;
ROLLBACK;

-- errors
SELECT meta.adapt('adpt', r) FROM public.news r;
SELECT meta.adapt(NULL::text, r) FROM public.news r;
SELECT meta.adapt(NULL::bytea, r) FROM public.news r;
SELECT meta.adapt('adapt', ROW(1, 2)) FROM public.news r;
SELECT meta.adapt('adapt', s) FROM public.students s;
SELECT meta.adapt('adapt', r) FROM (SELECT nr, x, skill FROM public.news) r;
SELECT meta.adapt('adapt', r) FROM (SELECT nr, x, score FROM public.news) r;
SELECT meta.adapt('adapt', r) FROM (SELECT nr, skill AS x, skill, score FROM public.news) r;
SELECT meta.adapt('adapt', r) FROM (SELECT nr, 'infinity'::float8 AS x, skill, score FROM public.news) r;
SELECT meta.adapt('adapt', r) FROM (SELECT nr, x, skill, '-infinity'::float8 AS score FROM public.news) r;
SELECT meta.adapt(params, r) FROM public.news r, public.params;
SELECT meta.adapt(CASE WHEN nr = 1 THEN 'adapt' ELSE 'adpt' END, r) FROM public.news r;
SELECT meta.adapt('adapt'::bytea, r) FROM public.news r;
SELECT meta.adapt(''::bytea, r) FROM public.news r;
SELECT meta.adapt('\xdeadbeef'::bytea, r) FROM public.news r;
SELECT meta.adapt(substr(params, 1, 300), r) FROM public.news r, public.params WHERE params.student = 101 GROUP BY params;
SELECT meta.adapt(set_byte(params, octet_length(params) - 1, 1 # get_byte(params, octet_length(params) - 1)), r)
FROM public.news r, public.params WHERE params.student = 101 GROUP BY params;

-- another role's model is as good as none
CREATE ROLE regress_meta_adapt;
GRANT SELECT ON public.news, public.params, public.further TO regress_meta_adapt;
GRANT USAGE ON SCHEMA public TO regress_meta_adapt;
GRANT SELECT ON public.own TO regress_meta_adapt;
SET ROLE regress_meta_adapt;
SELECT meta.adapt('adapt', r) FROM public.news r;
\set VERBOSITY sqlstate
SELECT meta.adapt(params, r) FROM public.news r, public.params WHERE params.student = 101 GROUP BY params;
\set VERBOSITY default
-- ... but self-contained params are whoever's has them
SELECT meta.describe(meta.adapt(second, r)) ->> 'kind' AS kind FROM public.news r, public.own;
RESET ROLE;

-- rows of many classes are refused where they would take more memory than is given
CREATE TABLE public.many AS SELECT i / 50 AS task, (i % 7)::real AS x, 'class ' || i % 500 AS class FROM generate_series(0, 4999) i;
CALL meta.train('many', 'public.many', 'task', 'class', features => 'x', algorithm => 'prototypical',
				options => '{"iterations": 2, "hidden": [4], "features": 2, "meta_batch": 2, "query": 2, "shots": 2}');
SET maintenance_work_mem = '8MB';
SELECT meta.adapt('many', m) IS NOT NULL AS adapted FROM public.many m WHERE task < 10;
SELECT meta.adapt('many', m) IS NOT NULL AS adapted FROM public.many m;
RESET maintenance_work_mem;
DROP TABLE public.many;

-- the base is gone
DELETE FROM meta.model WHERE name IN ('adapt', 'shift', 'many');
\set VERBOSITY sqlstate
SELECT meta.adapt(params, r) FROM public.news r, public.params WHERE params.student = 101 GROUP BY params;
\set VERBOSITY default
SELECT meta.describe(meta.adapt(second, r)) ->> 'kind' AS kind FROM public.news r, public.own;

DROP FUNCTION public.is_parallel(text), public.adapt_all(), public.bases();
DROP TABLE public.answers, public.news, public.students, public.params, public.serial, public.further, public.own, public.shift;
REVOKE ALL ON SCHEMA public FROM regress_meta_adapt;
DROP ROLE regress_meta_adapt;
