-- meta.train and meta.resume: from rows to a model
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA train;
SET search_path = train;

-- 60 students, 12 answers each; some have no score, and two rows are the same
CREATE TABLE answers (student int, nr int, x float8, skill text, passed boolean, score float8);
INSERT INTO answers
	SELECT s, n, (s * 7 + n * 13) % 20 / 10.0 - 1, chr(97 + (s + n) % 5), (s * 3 + n * 5) % 7 > 2,
		   CASE WHEN (s + n) % 23 > 0 THEN s % 7 + (s * 7 + n * 13) % 20 / 5.0 END
	FROM generate_series(1, 60) s, generate_series(1, 12) n;
INSERT INTO answers SELECT * FROM answers WHERE student = 5 AND nr = 5;

CREATE VIEW models AS
	SELECT m.name, v.version, md5(v.params) AS md5, v.metrics
	FROM meta.model m JOIN meta.version v ON v.model = m.id;

-- the same seed gives the same bytes, whatever the order of the rows; another seed gives others
CREATE TABLE shuffled AS SELECT * FROM answers ORDER BY md5(student::text || nr);
\set options '{"iterations": 40, "patience": 0, "hidden": [8], "checkpoint": 0, "keep": 5}'
CALL meta.train('one', 'answers', task => 'student', target => 'score', algorithm => 'maml', options => :'options');
CALL meta.train('two', 'answers', task => 'student', target => 'score', algorithm => 'maml', options => :'options');
CALL meta.train('three', 'shuffled', task => 'student', target => 'score', algorithm => 'maml', options => :'options');
CALL meta.train('four', 'SELECT * FROM shuffled ORDER BY x, nr', task => 'student', target => 'score', algorithm => 'maml', options => jsonb :'options' || '{"seed": 0}');
CALL meta.train('other', 'answers', task => 'student', target => 'score', algorithm => 'maml', options => jsonb :'options' || '{"seed": 1}');
SELECT name, md5 = (SELECT md5 FROM models WHERE name = 'one') AS same FROM models ORDER BY name;
-- likewise with an order, in which some rows tie
CALL meta.train('one', 'answers', task => 'student', target => 'passed', order_by => 'nr', algorithm => 'fomaml', options => '{"iterations": 20, "hidden": [8]}');
CALL meta.train('two', 'shuffled', task => 'student', target => 'passed', order_by => 'nr', algorithm => 'fomaml', options => '{"iterations": 20, "hidden": [8]}');
SELECT count(*), count(DISTINCT md5) FROM models WHERE version = 2;

-- rows of a table are read where they lie, others as values, and with little memory they go through a file: the same bytes
CREATE TABLE plain AS
	SELECT (g * 7 % 40)::int2 AS task, 1 + g % 4 AS w, (g % 40 + g % 6 + g * 19 % 11)::float4 AS y, g % 3 = 0 AS b, (g % 17)::int2 AS s, (g % 23)::int4 AS i, (g * 11 % 31)::int8 AS l,
		   ((g * 13 % 29) / 8.0)::float4 AS f, (CASE WHEN g % 5 = 0 THEN '-0' WHEN g % 7 = 0 THEN 'NaN' ELSE (g % 3)::text END)::float4 AS z, (g * 17 % 37) / 7.0::float8 AS d
	FROM generate_series(1, 20000) g;
\set how '{"algorithm": "maml", "iterations": 5, "hidden": [4], "meta_batch": 4, "shots": 3, "query": 3, "inner_steps": 1, "weight": "w"}'
CREATE FUNCTION trained(source text, how jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train('plain', source, task => 'task', target => 'y', algorithm => how ->> 'algorithm', options => how - 'algorithm');
	RETURN md5(meta.params('plain'));
END $$;
CREATE TABLE same (md5 text);
INSERT INTO same SELECT trained('plain', :'how');
INSERT INTO same SELECT trained('WITH r AS MATERIALIZED (SELECT * FROM plain) SELECT * FROM r', :'how');
INSERT INTO same SELECT md5(meta.train(p, 'task', 'y', :'how')) FROM plain p;
SET maintenance_work_mem = '2MB';
INSERT INTO same SELECT trained('plain', :'how');
RESET maintenance_work_mem;
SELECT count(*), count(DISTINCT md5) AS models FROM same;
-- also where some rows have NULLs, records have fewer columns than their type now, and columns are of varying length
CREATE TABLE records AS SELECT p FROM plain p;
ALTER TABLE plain ADD COLUMN late float4;
INSERT INTO plain SELECT task, w, y + 1, b, s, i, l, f, z, CASE WHEN s <> 4 THEN d END, f * i FROM plain WHERE s % 2 = 0;
INSERT INTO records SELECT p FROM plain p WHERE late IS NOT NULL;
CREATE TABLE texts AS SELECT task, w, y, b, text 'the same' AS note, s, i, l, f, z, d, late FROM plain;
CREATE TABLE texts_first AS SELECT note, task, w, y, b, s, i, l, f, z, d, late FROM texts;
TRUNCATE same;
INSERT INTO same SELECT trained('plain', :'how');
INSERT INTO same SELECT trained('texts', jsonb :'how' || '{"exclude": ["note"]}');
INSERT INTO same SELECT trained('texts_first', jsonb :'how' || '{"exclude": ["note"]}');
INSERT INTO same SELECT trained('WITH r AS MATERIALIZED (SELECT * FROM plain) SELECT * FROM r', :'how');
INSERT INTO same SELECT md5(meta.train(p, 'task', 'y', :'how')) FROM records;
SELECT count(*), count(DISTINCT md5) AS models FROM same;
-- floats alone
CREATE TABLE floats AS SELECT task, y, z, f, d FROM plain WHERE d IS NOT NULL;
SELECT trained('floats', jsonb :'how' - 'weight') = trained('WITH r AS MATERIALIZED (SELECT * FROM floats) SELECT * FROM r', jsonb :'how' - 'weight') AS same;
-- infinity is found in either
UPDATE plain SET f = 'Infinity', late = 0 WHERE ctid = '(1,1)';
CALL meta.train('infinite', 'plain', task => 'task', target => 'y', features => 'f', algorithm => 'maml');
CALL meta.train('infinite', 'plain', task => 'task', target => 'y', features => 's, f', algorithm => 'maml');
UPDATE plain SET f = 0, d = '-Infinity' WHERE f = 'Infinity';
CALL meta.train('infinite', 'plain', task => 'task', target => 'y', features => 'd', algorithm => 'maml');
DELETE FROM meta.model WHERE name = 'plain';

-- two tasks with one hash are two tasks, whatever the order of their rows
CREATE TABLE twins AS
	SELECT CASE g % 4 WHEN 0 THEN 'onetask00000' WHEN 1 THEN 'j0ba-N{&X,[x' ELSE 'task ' || g % 10 END AS task, (g * 7 % 31)::float4 AS x, (g * 11 % 29)::float4 AS y
	FROM generate_series(1, 400) g;
CALL meta.train('twins', 'twins', task => 'task', target => 'y', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4], "validation": 0, "test": 0}');
SELECT metrics ->> 'tasks' AS tasks, metrics ->> 'rows' AS rows, (SELECT count(DISTINCT task) FROM twins) AS distinct FROM models WHERE name = 'twins';
DELETE FROM meta.model WHERE name = 'twins';

-- a name that exists gets a new version, which is then the one in use; few are kept
SELECT name, version, (metrics ->> 'rows')::int AS rows FROM models WHERE name = 'one' ORDER BY version;
SELECT meta.params('one') = meta.params('one', 2) AS newest, meta.params('one') = meta.params('one', 1) AS oldest;
SELECT target, algorithm, order_by FROM meta.model WHERE name = 'one';
CALL meta.train('one', 'answers', task => 'student', target => 'score', algorithm => 'pooled', options => '{"iterations": 5, "hidden": []}');
CALL meta.train('one', 'answers', task => 'student', target => 'score', algorithm => 'pooled', options => '{"iterations": 5, "hidden": [], "keep": 2}');
SELECT version FROM models WHERE name = 'one' ORDER BY version;
CALL meta.train('one', 'answers', task => 'student', target => 'score', algorithm => 'pooled', options => '{"iterations": 5, "hidden": [], "keep": 1}');
SELECT version FROM models WHERE name = 'one' ORDER BY version;

-- what was reported: each phase from its first validation to its last
SELECT h.version, phase, min(iteration) AS first, max(iteration) AS last, count(*) AS reports,
	   bool_and(train_loss > 0) AS losses, bool_and(validation_loss > 0) AS validated
FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE m.name = 'three'
GROUP BY h.version, phase ORDER BY min(at);
SELECT tasks, "rows", seconds > 0 AS seconds, bytes > 0 AS bytes, metrics ->> 'validation_tasks' AS validation, metrics ->> 'test_tasks' AS test
FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'three';
SELECT count(*) AS checkpoints, (SELECT count(*) FROM meta.training) AS trainings FROM meta.checkpoint;

-- sources: a view, a SELECT, a partitioned table, what row level security leaves
CREATE VIEW scored AS SELECT student, x, skill, score FROM answers WHERE score IS NOT NULL;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM scored;
CREATE TABLE parted (LIKE answers) PARTITION BY HASH (student);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT * FROM answers;
CALL meta.train('view', 'scored', 'student', 'score', options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('matview', ' train.kept ', 'student', 'score', options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('select', 'WITH a AS (TABLE answers) SELECT student, x, skill, score FROM a WHERE score IS NOT NULL -- all', 'student', 'score', options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('parted', 'parted', 'student', 'score', features => 'x, skill', options => '{"iterations": 5, "hidden": [4]}');
SELECT m.name, m.source, md5 = (SELECT md5 FROM models WHERE name = 'view') AS same
FROM meta.model m JOIN models USING (name) WHERE name IN ('view', 'matview', 'select', 'parted') ORDER BY m.id;

CREATE ROLE regress_meta_train;
GRANT USAGE ON SCHEMA train TO regress_meta_train;
GRANT SELECT ON answers TO regress_meta_train;
ALTER TABLE answers ENABLE ROW LEVEL SECURITY;
CREATE POLICY half ON answers USING (student <= 30);
SET ROLE regress_meta_train;
CALL meta.train('secured', 'answers', 'student', 'score', algorithm => 'pooled', options => '{"iterations": 5, "hidden": [], "validation": 0, "test": 0}');
SELECT v.tasks FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'secured';
DELETE FROM meta.model WHERE name = 'secured';
RESET ROLE;
ALTER TABLE answers DISABLE ROW LEVEL SECURITY;

-- names: capitals, blanks, several columns that form the key, a schema that is not in the path
CREATE SCHEMA "Lernen und Lehren";
CREATE TABLE "Lernen und Lehren"."Antworten" AS
	SELECT student % 6 AS "sectionId", 'S ' || student / 6 AS "the student", nr AS "answeredAt", x AS "dieZahl", skill AS "a ""skill""", score AS "Punkte"
	FROM answers;
SET search_path = '';
CALL meta.train('names', '"Lernen und Lehren"."Antworten"', task => '"sectionId", "the student"', target => '"Punkte"', features => '"dieZahl","a ""skill"""',
				order_by => '"answeredAt"', options => '{"iterations": 5, "hidden": [4], "encode": {"a \"skill\"": "category"}}');
SELECT v.metrics ->> 'tasks' AS tasks, m.source, m.task, m.features FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'names';
SELECT count(*) > 0 AS evaluates FROM meta.evaluate('names', shots => '{0,2}');
SELECT meta.adapt('names', r) IS NOT NULL AS adapts FROM "Lernen und Lehren"."Antworten" r WHERE "sectionId" = 2 AND "the student" = 'S 3';
-- a key of two columns is not their text together
CREATE TABLE train.pairs AS
	SELECT a, b, n % 5 AS x, n % 3 AS y FROM (VALUES ('a', 'bc'), ('ab', 'c')) k(a, b), generate_series(1, 10) n;
CALL meta.train('pairs', 'train.pairs', 'a, b', 'y', algorithm => 'pooled', options => '{"iterations": 5, "hidden": [], "validation": 0, "test": 0}');
SELECT tasks FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'pairs';
SET search_path = train;

-- few tasks, few rows, nothing to validate on
CALL meta.train('two tasks', 'SELECT * FROM answers WHERE student IN (1, 2)', 'student', 'score', features => 'x', options => '{"iterations": 5, "hidden": [4], "validation": 0, "test": 0}');
CALL meta.train('one task', 'SELECT * FROM answers WHERE student = 1', 'student', 'score', features => 'x', options => '{"iterations": 5, "hidden": [4], "validation": 0, "test": 0}');
CALL meta.train('single rows', 'SELECT * FROM answers WHERE nr = 1', 'student', 'score', features => 'x', options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('no test', 'answers', 'student', 'score', features => 'x', order_by => 'nr', options => '{"iterations": 5, "hidden": [4], "validation": 0.2, "test": 0}');
-- ... or to evaluate on
SELECT * FROM meta.evaluate('no test');
-- what nothing was kept aside for is not calibrated
SELECT name, meta.describe(name) ? 'calibration' AS calibrated, meta.describe(name) ->> 'learner' AS learner FROM unnest(ARRAY['no test', 'one task', 'two tasks']) name;
CALL meta.train('all tie', 'SELECT *, 1 AS same FROM answers', 'student', 'score', features => 'x', order_by => 'same', options => '{"iterations": 5, "hidden": [4]}');
SELECT name, metrics ->> 'tasks' AS tasks, (metrics ->> 'validation_tasks')::int > 0 AS validation, (metrics ->> 'test_tasks')::int > 0 AS test,
	   metrics ? 'validation_loss' AS validated
FROM models WHERE name IN ('two tasks', 'one task', 'single rows', 'no test', 'all tie') ORDER BY name;
SELECT meta.predict('single rows', a) IS NOT NULL AS predicts, meta.predict('one task', a) IS NOT NULL AS predicts FROM answers a LIMIT 1;

-- NULLs everywhere are missing values, and rows without a task, a target or a weight are left out
CREATE TABLE holes AS
	SELECT CASE WHEN i % 11 > 0 THEN i % 30 END AS student, CASE WHEN i % 7 > 0 THEN i % 13 END AS nr,
		   CASE WHEN i % 5 > 0 THEN i % 17 END AS x, CASE WHEN i % 13 > 0 THEN 'NaN' ELSE (i % 19)::float8 END AS y,
		   CASE WHEN i % 4 > 0 THEN chr(97 + i % 5) END AS skill, CASE WHEN i % 6 > 0 THEN i % 2 = 0 END AS flag,
		   CASE WHEN i % 9 > 0 THEN ARRAY[i % 3, i % 5] END AS v, NULL::int AS never,
		   CASE WHEN i % 8 > 0 THEN i % 10 END AS score, CASE WHEN i % 14 > 0 THEN i % 23 END AS w
	FROM generate_series(1, 2000) i;
CALL meta.train('holes', 'holes', 'student', 'score', order_by => 'nr', options => '{"iterations": 5, "hidden": [4], "weight": "w"}');
SELECT e ->> 'column' AS column, e ->> 'encoder' AS encoder, e ->> 'missing' AS missing
FROM jsonb_array_elements(meta.describe('holes') -> 'encoders') e;
SELECT name, metrics ->> 'tasks' AS tasks, metrics ->> 'rows' AS rows,
	   (SELECT count(DISTINCT student) FROM holes WHERE score IS NOT NULL AND w > 0) AS usable
FROM models WHERE name = 'holes';
SELECT count(*) AS left_over FROM (SELECT meta.predict('holes', h) p FROM holes h) s WHERE p IS NULL OR p = 'NaN';
SELECT count(*) FROM meta.evaluate('holes', shots => '{0,3}') WHERE value = 'NaN' AND metric = 'rmse';

-- weights: 0 leaves a row out, others matter
CALL meta.train('weights 1', 'SELECT *, CASE WHEN nr > 2 THEN 0.5 ELSE 0 END AS w FROM answers', 'student', 'score', features => 'x, skill',
				options => '{"iterations": 20, "hidden": [4], "weight": "w"}');
CALL meta.train('weights 2', 'SELECT *, 0.5 AS w FROM answers WHERE nr > 2', 'student', 'score', features => 'x, skill',
				options => '{"iterations": 20, "hidden": [4], "weight": "w"}');
CALL meta.train('weights 3', 'SELECT *, CASE WHEN nr % 2 > 0 THEN 0.5 ELSE 2 END AS w FROM answers WHERE nr > 2', 'student', 'score', features => 'x, skill',
				options => '{"iterations": 20, "hidden": [4], "weight": "w"}');
SELECT name, md5 = (SELECT md5 FROM models WHERE name = 'weights 1') AS same FROM models WHERE name LIKE 'weights%' ORDER BY 1;

-- what was never seen in training is unknown, and works
SELECT meta.predict('view', r) IS NOT NULL AS works, meta.predict('view', r) = meta.predict('view', s) AS all_alike
FROM (SELECT 0.5 AS x, 'never seen' AS skill) r, (SELECT 0.5 AS x, 'neither' AS skill) s;

-- a limit of time ends training with the best so far
CALL meta.train('hurried', 'SELECT student, nr, x, 5 * x + student % 7 / 10.0 AS y FROM answers', 'student', 'y', order_by => 'nr',
				options => '{"iterations": 10000000, "patience": 0, "time_limit": 0.3, "hidden": [4]}');
SELECT (metrics ->> 'seconds')::float8 BETWEEN 0.3 AND 10 AS in_time FROM models WHERE name = 'hurried';
-- and it can be gone on with, for as long again
SELECT state, checkpoint IS NOT NULL AS checkpoint FROM meta.training WHERE model = 'hurried';
CALL meta.resume('hurried');
SELECT count(*) AS versions FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE name = 'hurried';
SELECT value < 1 AS learned FROM meta.evaluate('hurried', shots => '{0}') WHERE method = 'prior' AND metric = 'rmse';
DELETE FROM meta.model WHERE name = 'hurried';
-- how far it has come is reported, though it is long until the first validation
CALL meta.train('cut', 'answers', 'student', 'score', features => 'x', algorithm => 'pooled', options => '{"iterations": 10000000, "patience": 0, "time_limit": 0.05, "hidden": [4]}');
SELECT state, phase, iteration = (metrics ->> 'iterations')::int AS last, validation_loss > 0 AS validated, reported IS NOT NULL AS reported
FROM meta.training JOIN models ON name = model WHERE name = 'cut';
CALL meta.resume('cut');
SELECT state, phase, t.iteration = (metrics ->> 'iterations')::int AS last, max(h.version) AS version, count(*) = count(DISTINCT h.iteration) AS once
FROM meta.training t JOIN models m ON name = t.model JOIN meta.model USING (name) JOIN meta.history h USING (phase) WHERE name = 'cut' AND m.version = 2 AND h.model = id GROUP BY 1, 2, 3;
-- a training that begins anew has reported nothing yet
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON meta.history FOR EACH ROW EXECUTE FUNCTION refuse();
\set SHOW_CONTEXT never
CALL meta.train('cut', 'answers', 'student', 'score', features => 'x', algorithm => 'pooled', options => '{"iterations": 5, "hidden": [4], "checkpoint": 0}');
\unset SHOW_CONTEXT
DROP TRIGGER refuse ON meta.history;
SELECT state, phase, reported, checkpoint IS NOT NULL AS checkpoint FROM meta.training WHERE model = 'cut';
DELETE FROM meta.model WHERE name = 'cut';

-- where the time was up before the algorithm's turn, a version that there is stays the newest
\set early '{"iterations": 30, "patience": 0, "hidden": [4], "keep": 1}'
CALL meta.train('early', 'answers', 'student', 'score', features => 'x', algorithm => 'maml', options => :'early');
CREATE TABLE before AS SELECT v.digest, e.tasks, e.value FROM meta.version v JOIN meta.model m ON m.id = v.model, meta.evaluate('early', shots => '{1}') e WHERE name = 'early' AND method = 'adapted' AND metric = 'rmse';
BEGIN;
CALL meta.train('early', 'SELECT * FROM answers WHERE student > 30', 'student', 'score', features => 'x', algorithm => 'maml', options => jsonb :'early' || '{"time_limit": 0.001}');
SELECT m.source, v.digest = b.digest AS same, (SELECT count(*) FROM meta.history h WHERE h.model = m.id AND h.version > 1) AS reports
FROM meta.model m JOIN meta.version v ON v.model = m.id, before b WHERE name = 'early';
COMMIT;
CALL meta.train('early', 'SELECT * FROM answers WHERE student > 30', 'student', 'score', features => 'x', algorithm => 'maml', options => jsonb :'early' || '{"time_limit": 0.001}');
SELECT state, phase, iteration, checkpoint IS NOT NULL AS checkpoint FROM meta.training WHERE model = 'early';
-- ... and is evaluated on the source that it was trained from, not on the other one's
SELECT m.source, v.version, v.source AS source_of_version, v.trained_by = current_user AS own, v.digest = b.digest AS same, e.tasks = b.tasks AND e.value = b.value AS as_before
FROM meta.model m JOIN meta.version v ON v.model = m.id, before b, meta.evaluate('early', shots => '{1}') e WHERE name = 'early' AND method = 'adapted' AND metric = 'rmse';
BEGIN;
CALL meta.resume('early');
COMMIT;
UPDATE meta.model SET options = options - 'time_limit' WHERE name = 'early';
CALL meta.resume('early');
SELECT v.version, v.source, e.tasks < b.tasks AS fewer FROM meta.model m JOIN meta.version v ON v.model = m.id, before b, meta.evaluate('early', shots => '{1}') e WHERE name = 'early' AND method = 'adapted' AND metric = 'rmse';
SELECT count(*) = count(DISTINCT (phase, iteration)) AS once FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE name = 'early' AND h.version = 2;
DROP TABLE before;
DELETE FROM meta.model WHERE name = 'early';
-- ... and where there is none, what there is is stored, and said to be no more
CALL meta.train('O''Brien "x"', 'answers', 'student', 'score', features => 'x', algorithm => 'maml', options => jsonb :'early' || '{"time_limit": 0.001}');
SELECT version, metrics ->> 'iterations' AS iterations FROM models WHERE name = 'O''Brien "x"';
CALL meta.resume('O''Brien "x"');
SELECT max(version) FROM models WHERE name = 'O''Brien "x"';
DELETE FROM meta.model WHERE name = 'O''Brien "x"';

-- a name that exists may be in use for something else: that is told once the source is found to be fit, and not where columns are only written otherwise
CREATE VIEW "Antworten" AS SELECT student, nr, x, passed, score AS "Punkte" FROM answers;
\set diverges '{"iterations": 5, "hidden": [4], "inner_lr": 100, "inner_steps": 20}'
CALL meta.train('purpose', '"Antworten"', 'student', '"Punkte"', features => 'x', algorithm => 'pooled', options => '{"iterations": 5, "hidden": [4]}');
SET client_min_messages = notice;
CALL meta.train('purpose', 'nowhere', 'student', 'passed');
CALL meta.train('purpose', '"Antworten"', '"student"', ' "Punkte"', features => 'x', algorithm => 'maml', options => :'diverges');
CALL meta.train('purpose', '"Antworten"', 'Student, "passed"', '"Punkte"', features => 'x', algorithm => 'maml', options => :'diverges');
UPDATE meta.model SET task = '"passed", STUDENT' WHERE name = 'purpose';
CALL meta.train('purpose', '"Antworten"', 'student,passed', '"Punkte"', features => 'x', algorithm => 'maml', options => :'diverges');
SET client_min_messages = warning;
DROP VIEW "Antworten";
DELETE FROM meta.model WHERE name = 'purpose';

-- where the call may not commit, one NOTICE says that there will be no checkpoint
SET client_min_messages = notice;
\set VERBOSITY terse
BEGIN;
CALL meta.train('atomic', 'answers', 'student', 'score', features => 'x', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4], "inner_lr": 100, "inner_steps": 20}');
ROLLBACK;
DO $$
BEGIN
	CALL meta.train('atomic', 'train.answers', 'student', 'score', features => 'x', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4], "inner_lr": 100, "inner_steps": 20}');
EXCEPTION WHEN numeric_value_out_of_range THEN
	RAISE NOTICE 'caught: %', sqlerrm;
END $$;
CREATE FUNCTION atomic() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train('atomic', 'train.answers', 'student', 'score', features => 'x', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4], "inner_lr": 100, "inner_steps": 20}');
END $$;
SELECT atomic();
\set VERBOSITY default
SET client_min_messages = warning;
SELECT count(*) FROM meta.model WHERE name = 'atomic';
-- it works there all the same, and gives the same bytes
BEGIN;
SAVEPOINT s;
CALL meta.train('atomic', 'answers', 'student', 'score', algorithm => 'maml', options => :'options');
ROLLBACK TO s;
CALL meta.train('atomic', 'answers', 'student', 'score', algorithm => 'maml', options => :'options');
CALL meta.train('atomic', 'answers', 'student', 'score', algorithm => 'maml', options => :'options');
COMMIT;
CREATE PROCEDURE train_in_block(options jsonb) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		CALL meta.train('atomic', 'train.answers', 'student', 'score', algorithm => 'maml', options => options);
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
	END;
	BEGIN
		CALL meta.train('atomic', 'train.answers', 'student', 'score', algorithm => 'maml', options => options);
	EXCEPTION WHEN division_by_zero THEN
	END;
	CALL meta.train('atomic', 'train.answers', 'student', 'score', algorithm => 'maml', options => options);
END $$;
CALL train_in_block(:'options');
SELECT count(*), bool_and(md5 = (SELECT md5 FROM models WHERE name = 'three')) AS same, max(version) FROM models WHERE name = 'atomic';
-- no lock is left of any of these
SELECT count(*) FROM pg_locks WHERE locktype = 'object' AND classid = 'meta.model'::regclass;

-- several models in a loop over a query, each committed on its own
DO $$
DECLARE
	s text;
BEGIN
	FOR s IN SELECT DISTINCT skill FROM train.answers ORDER BY 1 LIMIT 3 LOOP
		CALL meta.train('skill ' || s, format('SELECT student, x, score FROM train.answers WHERE skill = %L', s), 'student', 'score',
						options => '{"iterations": 20, "hidden": [4], "checkpoint": 0}');
	END LOOP;
	RAISE EXCEPTION 'after the loop';
END $$;
SELECT name, version FROM models WHERE name LIKE 'skill%' ORDER BY 1;
SELECT count(*) FROM meta.training;

-- without an algorithm it is auto, and what it tries goes by the target and the tasks: many, few, two values, classes
CALL meta.train('chosen 0', 'SELECT student + 1000 * n AS student, x, score FROM answers, generate_series(1, 4) n', 'student', 'score',
				options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('chosen 0b', 'SELECT student + 1000 * n AS student, x, passed FROM answers, generate_series(1, 4) n', 'student', 'passed',
				options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('chosen 1', 'answers', 'student', 'score', features => 'x', options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('chosen 2', 'answers', 'student', 'passed', features => 'x', options => '{"iterations": 5, "hidden": [4]}');
CALL meta.train('chosen 3', 'answers', 'student', 'skill', features => 'x', options => '{"iterations": 5, "hidden": [4]}');
SELECT m.name, m.algorithm, m.algorithm = meta.describe(m.name) ->> 'learner' OR meta.describe(m.name) ->> 'learner' = 'random_intercept' AS learner,
	   v.metrics ? 'choice' AS chose,
	   (SELECT string_agg(DISTINCT h.phase, ', ' ORDER BY h.phase) FROM meta.history h WHERE h.model = m.id AND h.phase NOT LIKE 'cross-fit%') AS tried
FROM meta.model m JOIN meta.version v ON v.model = m.id WHERE m.name LIKE 'chosen%' ORDER BY 1;
DELETE FROM meta.model WHERE name LIKE 'chosen%';

-- An interrupted training: a trigger stops it where the test wants it.
CREATE FUNCTION interrupt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.phase = tg_argv[0] AND new.iteration >= tg_argv[1]::int THEN
		RAISE EXCEPTION 'interrupted in % at iteration %', new.phase, new.iteration;
	END IF;
	RETURN new;
END $$;
\set SHOW_CONTEXT never
CREATE TRIGGER interrupt BEFORE INSERT ON meta.history FOR EACH ROW EXECUTE FUNCTION interrupt('pooled', 17);
CALL meta.train('stopped', 'answers', 'student', 'score', algorithm => 'maml', options => :'options');
SELECT model, state, pid, phase, iteration, checkpoint IS NOT NULL AS checkpoint FROM meta.training;
SELECT * FROM models WHERE name = 'stopped';
SELECT meta.predict('stopped', a) FROM answers a;
-- again, in a later phase, and it may even happen in a transaction
DROP TRIGGER interrupt ON meta.history;
CREATE TRIGGER interrupt BEFORE INSERT ON meta.history FOR EACH ROW EXECUTE FUNCTION interrupt('maml', 23);
CALL meta.resume('stopped');
SELECT model, state, phase, iteration FROM meta.training;
BEGIN;
CALL meta.resume('stopped');
ROLLBACK;
SELECT model, state, phase, iteration FROM meta.training;
DROP TRIGGER interrupt ON meta.history;
-- the kind of target must be what it was, whatever the options have become
BEGIN;
UPDATE meta.model SET options = options || '{"loss": "softmax"}', algorithm = 'prototypical' WHERE name = 'stopped';
CALL meta.resume('stopped');
ROLLBACK;
BEGIN;
UPDATE meta.model SET options = options || '{"way": 2}' WHERE name = 'stopped';
CALL meta.resume('stopped');
ROLLBACK;
-- the source must be what it was
BEGIN;
UPDATE answers SET x = x + 0.001 WHERE student = 7 AND nr = 3;
CALL meta.resume('stopped');
ROLLBACK;
BEGIN;
DELETE FROM answers WHERE student = 7 AND nr = 3;
CALL meta.resume('stopped');
ROLLBACK;
BEGIN;
ALTER TABLE answers RENAME x TO z;
CALL meta.resume('stopped');
ROLLBACK;
BEGIN;
ALTER TABLE answers RENAME TO replies;
CALL meta.resume('stopped');
ROLLBACK;
-- ... and the checkpoint
BEGIN;
UPDATE meta.checkpoint SET state = overlay(state PLACING '"phase 0":"x' FROM position('"phase 0":"'::bytea IN state));
CALL meta.resume('stopped');
ROLLBACK;
BEGIN;
UPDATE meta.checkpoint SET state = overlay(state PLACING '"phase":"9' FROM position('"phase":"'::bytea IN state));
CALL meta.resume('stopped');
ROLLBACK;
-- ... but a row that is written anew, and one that is left out anyway, change nothing
UPDATE answers SET x = x WHERE student % 2 = 0;
INSERT INTO answers VALUES (7, 13, 0, 'a', true, NULL), (100, 1, 0, 'a', true, NULL), (NULL, 1, 0, 'a', true, 1);
SET search_path = '';
CALL meta.resume('stopped');
SET search_path = train;
SELECT md5 = (SELECT md5 FROM models WHERE name = 'three') AS same, metrics -> 'iterations' AS iterations FROM models WHERE name = 'stopped';
-- and nothing was done twice
SELECT count(*) = (SELECT count(*) FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE m.name = 'three') AS as_many,
	   count(DISTINCT (phase, iteration)) = count(*) AS once
FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE m.name = 'stopped';
CALL meta.resume('stopped');

-- a new training forgets the interrupted one
CREATE TRIGGER interrupt BEFORE INSERT ON meta.history FOR EACH ROW EXECUTE FUNCTION interrupt('pooled', 3);
CALL meta.train('stopped', 'answers', 'student', 'passed', algorithm => 'maml', options => '{"iterations": 40, "hidden": [8], "checkpoint": 0}');
SELECT model, state, checkpoint IS NOT NULL AS checkpoint FROM meta.training;
-- meanwhile the version that there was goes on to serve
SELECT meta.params('stopped') = meta.params('three') AS same;
DROP TRIGGER interrupt ON meta.history;
CALL meta.train('stopped', 'answers', 'student', 'score', algorithm => 'pooled', options => '{"iterations": 5, "hidden": []}');
SELECT count(*) AS trainings, (SELECT count(*) FROM meta.checkpoint) AS checkpoints FROM meta.training;
CALL meta.resume('stopped');

DELETE FROM meta.model;
SELECT count(*) AS versions, (SELECT count(*) FROM meta.history) AS reports FROM meta.version;
DROP SCHEMA train, "Lernen und Lehren" CASCADE;
DROP ROLE regress_meta_train;
