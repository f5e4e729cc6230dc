--
-- What dev/demo runs: meta-train on a university's past, adapt to students it
-- has never seen, predict.  From the project's top folder, in any database:
--
--	psql -f dev/demo.sql
--

\set ON_ERROR_STOP on
\pset footer off
\pset null '-'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;

\echo
\echo '== The data: Open University, 2013 and 2014 (Kuzilek, Hlosta, Zdrahal 2017, CC BY 4.0)'
\echo
\i data/oulad.sql

\set ECHO queries
SELECT count(*) AS scores, count(DISTINCT id_student) AS students, round(avg(score)) AS mean,
       round(stddev(score)) AS deviation
FROM   scores;
\set ECHO none

\echo
\echo '== It is day 100 of autumn 2014. Train on everything before that autumn: a task is a student,'
\echo '== the target the score of an assessment. No columns are named: all others are features.'
\echo
SET client_min_messages = notice;
\set ECHO queries
CREATE VIEW past AS SELECT * FROM scores WHERE handed_in < '2014J';

CALL meta.train('next_score', 'past', task => 'id_student', target => 'score', order_by => 'handed_in');
\set ECHO none

\echo
\echo '== How good is it? On students it was never trained on, after 0, 1, 3 and 5 of their scores, always on'
\echo '== the same later scores: root mean squared error in points of 100. random_intercept is the one to beat:'
\echo '== a model that knows no student, plus a shrunken shift per student.'
\echo
\set ECHO queries
CREATE TEMP TABLE results AS
SELECT * FROM meta.evaluate('next_score', shots => '{0, 1, 3, 5}');

SELECT method,
       round(min(value) FILTER (WHERE shots = 0)::numeric, 2) AS "0 shots",
       round(min(value) FILTER (WHERE shots = 1)::numeric, 2) AS "1 shot",
       round(min(value) FILTER (WHERE shots = 3)::numeric, 2) AS "3 shots",
       round(min(value) FILTER (WHERE shots = 5)::numeric, 2) AS "5 shots",
       min(tasks) AS students, min(rows) AS scores
FROM   results
WHERE  metric = 'rmse'
GROUP  BY method
ORDER  BY method = 'adapted' DESC, "5 shots" DESC;
\set ECHO none

\echo
\echo '== Five students who began that autumn, with what they had handed in by day 100, and what was due next.'
\echo '== One view adapts the model to a student whenever it is asked; one without a score gets the prior.'
\echo
\set ECHO queries
CREATE VIEW newcomers AS
SELECT id_student FROM scores WHERE handed_in >= '2014J' EXCEPT SELECT id_student FROM past;

CREATE VIEW so_far AS
SELECT * FROM scores JOIN newcomers USING (id_student) WHERE handed_in < '2014J01100';

CREATE VIEW upcoming AS
SELECT * FROM scores JOIN newcomers USING (id_student) WHERE handed_in >= '2014J01100';

CREATE VIEW student_model AS
SELECT n.id_student, meta.adapt('next_score', r) AS params
FROM   newcomers n LEFT JOIN so_far r USING (id_student)
GROUP  BY n.id_student;

SELECT id_student, count(score) AS scores, string_agg(assessment_type || ' ' || score, ', ' ORDER BY handed_in) AS so_far
FROM   newcomers LEFT JOIN so_far USING (id_student)
WHERE  id_student IN (531896, 683777, 654915, 416284, 2655763)
GROUP  BY id_student ORDER BY id_student;

SELECT u.id_student, u.assessment_type AS type, u.due,
       round(meta.predict('next_score', u)) AS for_anyone,
       round(meta.predict(m.params, u)) AS for_this_student,
       u.score AS was_in_fact
FROM   upcoming u JOIN student_model m USING (id_student)
WHERE  u.id_student IN (531896, 683777, 654915, 416284, 2655763) AND u.due <= 160
ORDER  BY u.id_student, u.due;
\set ECHO none

\echo
\echo '== The same for everybody who began that autumn: everything they handed in later, predicted on day 100.'
\echo
\set ECHO queries
CREATE TEMP TABLE predicted AS
SELECT u.id_student, u.score,
       meta.predict('next_score', u) AS for_anyone,
       meta.predict(m.params, u) AS for_this_student
FROM   student_model m JOIN upcoming u USING (id_student);

SELECT count(DISTINCT id_student) AS students, count(*) AS scores,
       round(sqrt(avg((for_anyone - score) ^ 2))::numeric, 2) AS error_for_anyone,
       round(sqrt(avg((for_this_student - score) ^ 2))::numeric, 2) AS error_for_this_student
FROM   predicted;
\set ECHO none

\echo
\echo '== And one student before each assessment, adapted to those before it, in one query.'
\echo
\set ECHO queries
SELECT assessment_type AS type, due,
       round(meta.predict(coalesce(meta.adapt('next_score', r) OVER earlier, meta.params('next_score')), r)) AS predicted,
       score AS was_in_fact
FROM   scores r
WHERE  id_student = 654915
WINDOW earlier AS (ORDER BY handed_in ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
ORDER  BY handed_in;
\set ECHO none

-- What happened, in words, from the numbers above and whatever they are.
\pset tuples_only on
\pset format unaligned
\echo
\echo '== What happened'
\echo
SELECT format('A model was meta-trained with %s on %s scores of %s students in %s seconds; it takes %s kB.',
              m.algorithm, v.rows, v.tasks, round(v.seconds), v.bytes / 1024)
FROM   meta.model m JOIN meta.version v ON v.model = m.id
WHERE  m.name = 'next_score'
ORDER  BY v.version DESC LIMIT 1;

SELECT format('After %s of their scores it predicts later ones of students it never saw with an error of %s points, '
              'unadapted %s.', a.shots, round(a.value::numeric, 2), round(p.value::numeric, 2))
FROM   results a JOIN results p USING (shots, metric)
WHERE  metric = 'rmse' AND a.method = 'adapted' AND p.method = 'prior' AND shots = 3;

SELECT format('With %s %s it is %s random_intercept: %s points %s, 95 %% interval %s to %s.', shots,
              CASE shots WHEN 1 THEN 'score' ELSE 'scores' END,
              CASE WHEN difference_upper < 0 THEN 'better than'
                   WHEN difference_lower > 0 THEN 'worse than'
                   ELSE 'not told apart from' END,
              round(abs(difference)::numeric, 2),
              CASE WHEN difference < 0 THEN 'less' ELSE 'more' END,
              round(difference_lower::numeric, 2), round(difference_upper::numeric, 2))
FROM   results
WHERE  metric = 'rmse' AND method = 'adapted'
ORDER  BY shots;
