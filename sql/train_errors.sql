-- meta.train, meta.resume, meta.evaluate: what cannot be done, said with the way out
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA train_errors;
SET search_path = train_errors;

CREATE TABLE answers (student int, nr int, x float8, skill text, score float8, "answeredAt" timestamptz);
INSERT INTO answers
	SELECT s, n, (s * 7 + n * 13) % 20 / 10.0 - 1, chr(97 + (s + n) % 5), s % 7 + (s * 7 + n * 13) % 20 / 5.0,
		   timestamptz '2024-01-01 08:00+00' + n * interval '1 day'
	FROM generate_series(1, 40) s, generate_series(1, 12) n;

-- what every call that should fail leaves behind
CREATE FUNCTION nothing_left() RETURNS boolean LANGUAGE sql AS $$
	SELECT NOT EXISTS (SELECT FROM meta.model WHERE name LIKE 'bad%')
$$;

-- arguments
CALL meta.train(NULL, 'answers', 'student', 'score');
CALL meta.train('bad', NULL, 'student', 'score');
CALL meta.train('bad', 'answers', NULL, 'score');
CALL meta.train('bad', 'answers', 'student', NULL);
CALL meta.train('', 'answers', 'student', 'score');
CALL meta.train(repeat('x', 201), 'answers', 'student', 'score');
CALL meta.train('bad', 'answers', '', 'score');
CALL meta.train('bad', 'answers', 'student', '');
CALL meta.train('bad', 'answers', 'student', 'score, x');
CALL meta.train('bad', 'answers', 'student,', 'score');
CALL meta.train('bad', 'answers', 'student, student', 'score');
CALL meta.resume(NULL);
SELECT * FROM meta.evaluate(NULL);

-- columns
CALL meta.train('bad', 'answers', task => 'studnet', target => 'score');
CALL meta.train('bad', 'answers', task => 'student', target => 'points');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', features => 'x, skil');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', order_by => 'answeredAt');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', options => '{"weight": "w"}');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', options => '{"exclude": ["y"]}');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', options => '{"encode": {"skills": "category"}}');
CALL meta.train('bad', 'answers', task => 'student', target => 'student');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', features => 'x, score');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', features => 'x, skill', options => '{"exclude": ["x"]}');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', order_by => 'nr, score');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', options => '{"weight": "score"}');
CALL meta.train('bad', 'SELECT *, nr AS student FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT student, score FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT student, score, 1 AS one, NULL::int AS none, md5(random()::text) AS key FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'answers', task => 'student', target => 'score', features => 'x', options => '{"encode": {"skill": "category"}}');

-- sources
CALL meta.train('bad', 'answer', task => 'student', target => 'score');
CALL meta.train('bad', 'pg_temp_3.answer', task => 'student', target => 'score');
CALL meta.train('bad', 'nowhere.answers', task => 'student', target => 'score');
CREATE SEQUENCE numbers;
CALL meta.train('bad', 'numbers', task => 'student', target => 'score');
CALL meta.train('bad', '', task => 'student', target => 'score');
CALL meta.train('bad', 'answers WHERE x > 0', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT student, scor FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'DELETE FROM answers RETURNING *', task => 'student', target => 'score');
CALL meta.train('bad', 'WITH gone AS (DELETE FROM answers RETURNING *) SELECT * FROM gone', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT * FROM answers; DROP TABLE answers', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT * INTO copied FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT * FROM answers FOR UPDATE', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT * FROM (SELECT * FROM answers FOR SHARE) a', task => 'student', target => 'score');
CALL meta.train('bad', 'CREATE TABLE copied AS SELECT * FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT * FROM answers WHERE student = $1', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT * FROM answers WHERE false', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT NULL::int AS student, x, score FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT student, x, NULL::float8 AS score FROM answers', task => 'student', target => 'score');
CALL meta.train('bad', 'SELECT student, x, score, 0 AS w FROM answers', task => 'student', target => 'score', options => '{"weight": "w"}');
CALL meta.train('bad', 'SELECT student, x, score, -1 AS w FROM answers', task => 'student', target => 'score', options => '{"weight": "w"}');
CALL meta.train('bad', 'SELECT student, x / 0 AS x, score FROM answers', task => 'student', target => 'score');
-- functions of a source may only read, too
CREATE FUNCTION wrote() RETURNS int LANGUAGE sql AS 'INSERT INTO answers VALUES (0) RETURNING 1';
\set SHOW_CONTEXT never
CALL meta.train('bad', 'SELECT *, wrote() AS w FROM answers', task => 'student', target => 'score');
DO $$
BEGIN
	CALL meta.train('bad', 'SELECT *, nextval(''numbers'') AS n FROM answers', task => 'student', target => 'score');
EXCEPTION WHEN read_only_sql_transaction THEN
	RAISE WARNING '%', SQLERRM;
	INSERT INTO answers VALUES (0);
	DELETE FROM answers WHERE student = 0;
END $$;
\set SHOW_CONTEXT errors
-- nothing of it was run
SELECT count(*) AS answers, to_regclass('copied') AS copied FROM answers;

-- tasks
CALL meta.train('bad', 'SELECT student, x, score FROM answers WHERE nr = 1', task => 'student', target => 'score', algorithm => 'maml', options => '{"shots": 5}');
-- (the only task falls to validation or to test)
CALL meta.train('bad', 'SELECT 2 AS student, x, score FROM answers', task => 'student', target => 'score', options => '{"validation": 0.5, "test": 0.49}');

-- options
CALL meta.train('bad', 'answers', 'student', 'score', options => '[]');
CALL meta.train('bad', 'answers', 'student', 'score', options => '1');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_step": 3}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"Hidden": [3]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"learning_rate": 3}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"algorithm": "maml"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_steps": "3"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_steps": 2.5}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_steps": 1001}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_steps": null}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_lr": -0.1}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_lr": true}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_loss": "median"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"inner_loss": true}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"step_rates": 0.1}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"multi_step": "yes"}');
CALL meta.train('bad', 'answers', 'student', 'score', algorithm => 'cavia', options => '{"context": 257}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"outer_lr": 0}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"outer_lr": 1e400}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"iterations": 0}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"iterations": 1e300}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"iterations": [1]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"hidden": [64, 0]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"hidden": [1, 1, 1, 1, 1, 1, 1, 1, 1]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"hidden": ["64"]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"hidden": [[64]]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"hidden": {"a": 64}}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"shots": [20, 0]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"shots": []}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"activation": "swish"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"metric": 1}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"metric": "auc"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"skip": 1}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"weight": 1}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"exclude": "x"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"exclude": [1]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"encode": ["x"]}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"encode": {"x": 1}}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"encode": {"x": "numbers"}}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"encode": {"x": "image 0x3"}}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"validation": 0.6, "test": 0.4}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"way": 5}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"seed": 1e17}');
CALL meta.train('bad', 'answers', 'student', 'score', algorithm => 'mamal');
CALL meta.train('bad', 'answers', 'student', 'score', algorithm => 'MAML');
CALL meta.train('bad', 'answers', 'student', 'score', algorithm => 'gradient descent');
-- the whole of what is allowed is there to be read
SELECT count(*) > 25 AS options, count(*) FILTER (WHERE meaning = '') AS unexplained FROM meta.options;

-- targets
CALL meta.train('bad', 'SELECT student, x, 7 AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, x, true AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, x, ''pass'' AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, x, ''infinity''::float8 AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, x, ''{}''::jsonb AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, x, ''\x00''::bytea AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, x, ARRAY[score] AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT *, score || '''' AS label FROM answers', 'student', 'label', options => '{"loss": "squared"}');
CALL meta.train('bad', 'answers', 'student', 'skill', options => '{"loss": "logistic"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"loss": "logistic"}');
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"encode": {"score": "vector"}}');
CALL meta.train('bad', 'answers', 'student', 'skill', options => '{"encode": {"skill": "number"}}');

-- features
CALL meta.train('bad', 'SELECT student, CASE WHEN nr = 3 THEN ''infinity'' ELSE x END AS x, score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, CASE WHEN nr = 3 THEN -1.7976931348623157e308 ELSE x END AS x, score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, x, score * 1e200 AS score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, CASE WHEN nr = 3 THEN ''-infinity'' ELSE now() END AS at, score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, CASE WHEN nr = 3 THEN 1e400 ELSE x::numeric END AS x, score FROM answers', 'student', 'score');

CALL meta.train('bad', 'SELECT student, nr, CASE WHEN nr = 3 THEN ARRAY[x] ELSE ARRAY[x, 1] END AS v, score FROM answers', 'student', 'score', order_by => 'nr');
CALL meta.train('bad', 'SELECT student, ARRAY[x, NULL] AS v, score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, ARRAY[x, ''infinity''] AS v, score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, ''{}''::float8[] AS v, score FROM answers', 'student', 'score');
CALL meta.train('bad', 'SELECT student, ''\x0000''::bytea AS photo, score FROM answers', 'student', 'score', options => '{"encode": {"photo": "image 2x2"}}');
CALL meta.train('bad', 'SELECT student, x, ''\x0000''::bytea AS photo, score FROM answers', 'student', 'score', features => 'photo');
CALL meta.train('bad', 'SELECT student, x, ''{}''::jsonb AS details, score FROM answers', 'student', 'score', features => 'x, details');
CALL meta.train('bad', 'SELECT student, x, ''1''::money AS price, score FROM answers', 'student', 'score', features => 'x, price');
CALL meta.train('bad', 'SELECT student, x, skill, score FROM answers', 'student', 'score', options => '{"encode": {"skill": "number"}}');
CALL meta.train('bad', 'SELECT student, x, ''{1,2}''::text[] AS tags, score FROM answers', 'student', 'score', features => 'tags');
CALL meta.train('bad', 'SELECT student, x, score FROM answers', 'student', 'score', options => '{"encode": {"x": "boolean"}}');

-- what a model cannot hold, or memory cannot
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"hidden": [4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096]}');
SET maintenance_work_mem = '1MB';
CALL meta.train('bad', 'answers', 'student', 'score', options => '{"hidden": [512]}');
RESET maintenance_work_mem;

SELECT nothing_left();

-- a loss that diverges ends the training and leaves nothing, neither of a new model ...
CALL meta.train('bad', 'answers', 'student', 'score', algorithm => 'maml', options => '{"inner_lr": 100, "inner_steps": 20, "iterations": 50, "hidden": [8], "checkpoint": 0}');
SELECT nothing_left(), (SELECT count(*) FROM meta.checkpoint) AS checkpoints, (SELECT count(*) FROM meta.history) AS reports;
BEGIN;
CALL meta.train('bad', 'answers', 'student', 'score', algorithm => 'maml', options => '{"inner_lr": 100, "inner_steps": 20, "iterations": 50, "hidden": [8]}');
ROLLBACK;
SELECT nothing_left();

-- ... nor of one that was trained before
CALL meta.train('good', 'answers', 'student', 'score', features => 'x', order_by => 'nr', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4]}');
CREATE TABLE before AS SELECT m.*, v.version, v.digest FROM meta.model m JOIN meta.version v ON v.model = m.id WHERE name = 'good';
CALL meta.train('good', 'answers', 'student', 'x', features => 'score', algorithm => 'fomaml', options => '{"inner_lr": 100, "inner_steps": 20, "iterations": 50, "hidden": [8], "checkpoint": 0}');
SELECT b = n AS unchanged, n.target, n.algorithm FROM before b, (SELECT m.*, v.version, v.digest FROM meta.model m JOIN meta.version v ON v.model = m.id WHERE name = 'good') n;
SELECT count(*) FROM meta.training WHERE model = 'good';
SELECT max(version) FROM meta.history h JOIN meta.model m ON m.id = h.model WHERE m.name = 'good';
SELECT count(*) > 0 AS evaluates FROM meta.evaluate('good', shots => '{0,1}');

-- resume
CALL meta.resume('none');
CALL meta.resume('god');
CALL meta.resume('GOOD');
CALL meta.resume('good');

-- evaluate
SELECT * FROM meta.evaluate('none');
SELECT * FROM meta.evaluate('good', shots => '{}');
SELECT * FROM meta.evaluate('good', shots => '{-1}');
SELECT * FROM meta.evaluate('good', shots => '{1,NULL}');
SELECT * FROM meta.evaluate('good', shots => '{12}');
SELECT * FROM meta.evaluate('good', by => 'klass');
SELECT * FROM meta.evaluate('good', by => '');
SELECT * FROM meta.evaluate('good', by => 'skill, nr');
SELECT * FROM meta.evaluate('good', source => 'nowhere');
SELECT * FROM meta.evaluate('good', source => 'DELETE FROM answers');
SELECT * FROM meta.evaluate('good', source => 'SELECT student, nr, score FROM answers');
SELECT * FROM meta.evaluate('good', source => 'SELECT student, nr, x FROM answers');
SELECT * FROM meta.evaluate('good', source => 'SELECT nr, x, score FROM answers');
SELECT * FROM meta.evaluate('good', source => 'SELECT student, x, score FROM answers');
SELECT * FROM meta.evaluate('good', source => 'SELECT student, nr, skill AS x, score FROM answers');
SELECT * FROM meta.evaluate('good', source => 'SELECT * FROM answers WHERE false');
SELECT * FROM meta.evaluate('good', source => 'SELECT student, nr, ''infinity''::float8 AS x, score FROM answers');

-- roles
CREATE ROLE regress_meta_teacher;
CREATE ROLE regress_meta_assistant;
CREATE ROLE regress_meta_school;
GRANT regress_meta_school TO regress_meta_teacher, regress_meta_assistant;
GRANT USAGE ON SCHEMA train_errors TO regress_meta_school;
SET ROLE regress_meta_teacher;
-- a source is read with one's own rights
CALL meta.train('bad', 'answers', 'student', 'score');
RESET ROLE;
GRANT SELECT ON answers TO regress_meta_teacher, regress_meta_assistant;
SET ROLE regress_meta_teacher;
CALL meta.train('teacher''s', 'answers', 'student', 'score', algorithm => 'pooled', options => '{"iterations": 5, "hidden": []}');
-- another role's model is as good as none, but its name is taken
CALL meta.resume('good');
SELECT * FROM meta.evaluate('good');
CALL meta.train('good', 'answers', 'student', 'score');
-- what a role shares is its model; its source is run by nobody else
UPDATE meta.model SET owner = 'regress_meta_school' WHERE name = 'teacher''s';
SET ROLE regress_meta_assistant;
SELECT meta.predict('teacher''s', a) IS NOT NULL AS predicts FROM answers a LIMIT 1;
CALL meta.resume('teacher''s');
SELECT * FROM meta.evaluate('teacher''s');
SELECT count(*) > 0 AS evaluates FROM meta.evaluate('teacher''s', source => 'answers', shots => '{0}');
-- of few tasks there are no intervals
SELECT bool_and(value IS NOT NULL) AS figures, count(lower) + count(upper) + count(difference_lower) AS intervals, max(tasks) AS tasks
FROM meta.evaluate('teacher''s', source => 'SELECT student + 1000 AS student, nr, x, skill, "answeredAt", score FROM answers WHERE student <= 4', shots => '{0}') WHERE method = 'pooled';
SELECT count(*) = count(lower) AND count(*) = count(upper) AS intervals
FROM meta.evaluate('teacher''s', source => 'SELECT student + 1000 AS student, nr, x, skill, "answeredAt", score FROM answers WHERE student <= 5', shots => '{0}') WHERE method = 'pooled';
-- nor does a training that came to nothing make it one's own
BEGIN;
CALL meta.train('teacher''s', 'answers', 'student', 'score', algorithm => 'maml', options => '{"iterations": 5, "hidden": [], "time_limit": 0.001}');
SELECT m.source, m.trained_by, m.algorithm, v.source AS source_of_version, v.trained_by FROM meta.model m JOIN meta.version v ON v.model = m.id;
ROLLBACK;
CALL meta.train('teacher''s', 'answers', 'student', 'score', algorithm => 'pooled', options => '{"iterations": 5, "hidden": []}');
RESET ROLE;
SELECT owner, trained_by FROM meta.model WHERE name = 'teacher''s';
SELECT * FROM meta.evaluate('teacher''s');
-- a version's source is its own trainer's, whoever began to train since; what nobody is left to run is somebody else's to take over
UPDATE meta.model SET trained_by = 'regress_meta_teacher';
SET ROLE regress_meta_teacher;
SELECT * FROM meta.evaluate('teacher''s');
RESET ROLE;
UPDATE meta.version SET trained_by = 'regress_meta_gone';
UPDATE meta.model SET trained_by = 'regress_meta_gone';
SET ROLE regress_meta_assistant;
SELECT * FROM meta.evaluate('teacher''s');
CALL meta.resume('teacher''s');
UPDATE meta.version SET trained_by = current_user;
SELECT count(*) > 0 AS evaluates FROM meta.evaluate('teacher''s', shots => '{0}');
UPDATE meta.version SET source = NULL;
SELECT * FROM meta.evaluate('teacher''s');
RESET ROLE;

DELETE FROM meta.model;
DROP SCHEMA train_errors CASCADE;
DROP ROLE regress_meta_teacher, regress_meta_assistant, regress_meta_school;
