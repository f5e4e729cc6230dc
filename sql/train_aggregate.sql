-- meta.train as an aggregate: rows -> the bytes of a model
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
SET search_path = '';

-- two schools of 60 students; a level per student, a slope for all
CREATE TABLE public.skills (skill int PRIMARY KEY);
INSERT INTO public.skills SELECT generate_series(1, 12);
CREATE TABLE public.exams (id int PRIMARY KEY, school text, student int, nr int,
						   skill int REFERENCES public.skills, x float8, "camelCase" float8, score float8);
INSERT INTO public.exams
	SELECT row_number() OVER (), CASE WHEN s <= 60 THEN 'north' ELSE 'south' END, s, n, (s + n) % 12 + 1,
		   (s * 7 + n * 13) % 20 / 10.0 - 1, n % 3, s % 7 + (s * 7 + n * 13) % 20 / 5.0
	FROM generate_series(1, 120) s, generate_series(1, 12) n;

-- the bytes that CALL stores, keys of the table included: skill is a category, id is left out
CALL meta.train('plain', 'public.exams', task => 'student', target => 'score',
				options => '{"iterations": 20, "hidden": [8]}');
SELECT meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8]}') = meta.params('plain') AS same
FROM public.exams r;
SELECT jsonb_path_query_array(meta.describe('plain'), '$.encoders[*].column') AS features;
SELECT c ->> 'learner' AS learner, c ? 'hidden' AS hidden, c ? 'inner_steps' AS inner_steps
FROM jsonb_array_elements(meta.describe('plain') -> 'components') c;

-- algorithm, features and order_by are options here, a task has several columns, a name is quoted
CALL meta.train('full', 'SELECT * FROM public.exams WHERE student % 5 > 0', task => 'school, student', target => 'score',
				features => 'x, "camelCase", skill', order_by => 'nr', algorithm => 'reptile',
				options => '{"iterations": 20, "hidden": [8], "seed": 3, "encode": {"skill": "category"}, "checkpoint": 0.001, "keep": 1}');
CREATE TEMP TABLE bytes AS
	SELECT meta.train(r, 'school, student', 'score',
					  '{"iterations": 20, "hidden": [8], "seed": 3, "encode": {"skill": "category"}, "checkpoint": 0.001, "keep": 1,
						"algorithm": "reptile", "features": "x, \"camelCase\", skill", "order_by": "nr"}') AS params
	FROM (SELECT * FROM public.exams WHERE student % 5 > 0) r;
SELECT params = meta.params('full') AS same FROM pg_temp.bytes;

-- without options, and with options that are NULL
SELECT meta.describe(meta.train(r, 'student', 'score')) ->> 'learner' AS learner
FROM (SELECT student, x, score FROM public.exams WHERE nr = 1 LIMIT 30) r;
SELECT meta.train(r, 'student', 'mark', NULL) FROM public.exams r;

-- the order in which rows come does not matter, nor does the plan
SELECT meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8]}' ORDER BY x, id) = meta.params('plain') AS same
FROM public.exams r;
SELECT meta.train(DISTINCT r, 'student', 'score', '{"iterations": 20, "hidden": [8]}') = meta.params('plain') AS same
FROM public.exams r;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT meta.train(r, 'student', 'score') FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8]}') = meta.params('plain') AS same
FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8]}') =
	   (SELECT meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8]}')
		FROM (SELECT student, nr, x, score FROM public.exams OFFSET 0) r) AS same
FROM (SELECT student, nr, x, score FROM public.exams WHERE id > 0) r;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- of use at once: one model per school, in one query with its predictions
CREATE TEMP TABLE schools AS
	SELECT school, meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8], "exclude": ["school"]}') AS params
	FROM public.exams r GROUP BY school;
SELECT school, meta.describe(params) ->> 'learner' AS learner, meta.describe(params) -> 'training' ->> 'tasks' AS tasks,
	   params = (SELECT meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8], "exclude": ["school"]}')
				 FROM public.exams r WHERE r.school = s.school) AS same
FROM pg_temp.schools s ORDER BY school;
SELECT (SELECT count(DISTINCT params) FROM pg_temp.schools) AS models;
SELECT e.school, count(*), avg(abs(meta.predict(a.adapted, e) - e.score)) < avg(abs(meta.predict(s.params, e) - e.score)) AS adapted_is_better
FROM public.exams e
	 JOIN pg_temp.schools s USING (school)
	 JOIN (SELECT r.student, meta.adapt(s.params, r) AS adapted
		   FROM public.exams r JOIN pg_temp.schools s USING (school) WHERE nr <= 6 GROUP BY r.student) a USING (student)
WHERE e.nr > 6 GROUP BY 1 ORDER BY 1;

-- nothing to learn from
SELECT meta.train(r, 'student', 'score') FROM public.exams r WHERE false;
SELECT meta.train(r, 'student', 'score', '{}') FROM public.exams r WHERE false;
SELECT count(*) FROM (SELECT meta.train(r, 'student', 'score') FROM public.exams r WHERE false GROUP BY school) s;
SELECT meta.train(r, 'student', 'score') FILTER (WHERE false) FROM public.exams r;
SELECT meta.train(NULL::public.exams, 'student', 'score') FROM public.exams;
SELECT n.name, p.params IS NULL AS none, p.params = s.params AS same
FROM (SELECT n.name, meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8], "exclude": ["school"]}') AS params
	  FROM (VALUES ('north'), ('east')) n (name) LEFT JOIN public.exams r ON r.school = n.name GROUP BY n.name) p
	 JOIN (VALUES ('north'), ('east')) n (name) USING (name) LEFT JOIN pg_temp.schools s ON s.school = n.name ORDER BY 1;
-- a NULL record in between
SELECT meta.train(CASE WHEN i = 1 THEN r END, 'student', 'score', '{"iterations": 20, "hidden": [8]}') = meta.params('plain') AS same
FROM public.exams r, generate_series(1, 2) i;

-- writes nothing
START TRANSACTION READ ONLY;
SELECT meta.train(r, 'student', 'score', '{"iterations": 20, "hidden": [8]}') = meta.params('plain') AS same
FROM public.exams r;
COMMIT;

-- ends early
SELECT (meta.describe(meta.train(r, 'student', 'score', '{"iterations": 1000000, "patience": 0, "time_limit": 0.2, "hidden": [8]}'))
		-> 'training' ->> 'iterations')::int < 1000000 AS early
FROM public.exams r;
-- ... and says so where that was before the algorithm's turn
SELECT meta.train(r, 'student', 'score', '{"algorithm": "maml", "iterations": 30, "time_limit": 0.000001, "hidden": [8]}') IS NOT NULL AS trained
FROM public.exams r;

-- heeds a cancel
SET statement_timeout = '300ms';
SELECT meta.train(r, 'student', 'score', '{"iterations": 10000000, "patience": 0}') FROM public.exams r;
RESET statement_timeout;

-- errors
SELECT meta.train(r, 'student', NULL) FROM public.exams r;
SELECT meta.train(r, NULL, 'score') FROM public.exams r;
SELECT meta.train(r, school, 'score') FROM public.exams r;
SELECT meta.train(r, 'student', CASE WHEN nr < 5 THEN 'score' ELSE 'x' END) FROM public.exams r;
SELECT meta.train(r, 'student', 'score', jsonb_build_object('seed', nr)) FROM public.exams r;
SELECT meta.train(r, 'student', 'score', CASE WHEN nr < 5 THEN '{}'::jsonb END) FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '{"iteration": 5}') FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '{"algorithm": 5}') FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '{"features": ["x"]}') FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '{"order_by": 1}') FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '{"features": "x, y"}') FROM public.exams r;
SELECT meta.train(r, 'student', 'score', '[]') FROM public.exams r;
SELECT meta.train(r, 'pupil', 'score') FROM public.exams r;
SELECT meta.train(r, 'student', 'mark') FROM public.exams r;
SELECT meta.train(r, '', 'score') FROM public.exams r;
SELECT meta.train(r, 'student', 'score, x') FROM public.exams r;
SELECT meta.train(ROW(student, score), 'student', 'score') FROM public.exams;
SELECT meta.train(CASE WHEN nr = 1 THEN (SELECT r FROM (SELECT student, score) r) ELSE (SELECT r FROM (SELECT student, x, score) r) END,
				  'student', 'score')
FROM public.exams;
SELECT meta.train(r, 'student', 'score') FROM (SELECT student, NULL::float8 AS score FROM public.exams) r;
SELECT meta.train(r, 'student', 'score', '{"algorithm": "maml", "iterations": 200, "outer_lr": 1, "inner_lr": 100, "hidden": [64], "clip": 0}') FROM public.exams r;
SELECT meta.train(r, 'student', 'score') OVER () FROM public.exams r;
SELECT meta.train(r, task => 'student', target => 'score') FROM public.exams r;

-- temporary files go, whatever ends the aggregate
SET maintenance_work_mem = '1MB';
CREATE FUNCTION public.temporary_files() RETURNS bigint LANGUAGE sql AS
	$$ SELECT count(*) FROM pg_catalog.pg_ls_tmpdir() WHERE name LIKE 'pgsql_tmp' || pg_catalog.pg_backend_pid() || '.%' $$;
CREATE FUNCTION public.fail_at(id int, n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	IF id = n THEN
		RAISE WARNING 'there are temporary files: %', public.temporary_files() > 0;
		RAISE EXCEPTION 'failed at row %', n;
	END IF;
	RETURN id;
END $$;
CREATE VIEW public.many AS
	SELECT i AS id, i % 2 AS half, i % 1000 AS student, i % 7 AS x, i % 11 AS x2, i % 1000 % 7 + i % 11 AS score
	FROM generate_series(1, 60000) i;
SELECT meta.train(r, 'student', 'score', '{"features": "x"}')
FROM (SELECT public.fail_at(id, 60000), student, x, score FROM public.many) r;
SELECT public.temporary_files();
-- in a subtransaction
DO $$
BEGIN
	PERFORM meta.train(r, 'student', 'score', '{"features": "x"}')
	FROM (SELECT public.fail_at(id, 60000), student, x, score FROM public.many) r;
EXCEPTION WHEN raise_exception THEN
	RAISE WARNING 'caught, and temporary files are left: %', public.temporary_files();
END $$;
-- in the middle of training
SET statement_timeout = '2s';
SELECT meta.train(r, 'student', 'score', '{"iterations": 10000000, "patience": 0, "hidden": [], "shots": 2, "query": 2}') FROM public.many r;
RESET statement_timeout;
SELECT public.temporary_files();
-- states that never come to an end: of three, two
SET enable_sort = off;
EXPLAIN (COSTS OFF)
SELECT length(meta.train(r, 'student', 'score', '{"iterations": 2, "hidden": [], "shots": 2, "query": 2}')) > 0 AS trained
FROM (SELECT id % 3 AS part, student, x, score FROM public.many) r GROUP BY r.part LIMIT 1;
SELECT length(meta.train(r, 'student', 'score', '{"iterations": 2, "hidden": [], "shots": 2, "query": 2}')) > 0 AS trained
FROM (SELECT id % 3 AS part, student, x, score FROM public.many) r GROUP BY r.part LIMIT 1;
SELECT public.temporary_files();
BEGIN;
DECLARE c CURSOR FOR
	SELECT length(meta.train(r, 'student', 'score', '{"iterations": 2, "hidden": [], "shots": 2, "query": 2}')) > 0 AS trained
	FROM (SELECT id % 3 AS part, student, x, score FROM public.many) r GROUP BY r.part;
FETCH c;
SELECT public.temporary_files() > 0 AS while_open;
CLOSE c;
SELECT public.temporary_files();
COMMIT;
RESET enable_sort;
-- one that comes to its end, and trains from files
SELECT count(*) AS models FROM (
	SELECT meta.train(r, 'student', 'score', '{"iterations": 2, "hidden": [], "shots": 2, "query": 2}') AS params FROM public.many r GROUP BY r.half
) s WHERE params IS NOT NULL;
SELECT public.temporary_files();
RESET maintenance_work_mem;

DELETE FROM meta.model;
DROP VIEW public.many;
DROP FUNCTION public.fail_at, public.temporary_files;
DROP TABLE public.exams, public.skills;
