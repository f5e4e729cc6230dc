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
\echo '== How good is it? On students it never trained on, after 0, 1, 3 and 5 of their scores,'
\echo '== on the same later scores each time, beside what a statistician would do.'
\echo
\set ECHO queries
SELECT * FROM meta.evaluate('next_score', shots => '{0, 1, 3, 5}');
\set ECHO none

\echo
\echo '== Five students of the course CCC who began that autumn: their scores so far, and what is due next.'
\echo '== One view adapts the model to each of them, whenever it is asked.'
\echo
\set ECHO queries
CREATE VIEW newcomers AS
SELECT unnest('{531896, 683777, 654915, 416284, 2655763}'::int[]) AS id_student;

CREATE VIEW so_far AS SELECT * FROM scores JOIN newcomers USING (id_student) WHERE handed_in < '2014J01100';

CREATE VIEW upcoming AS SELECT * FROM scores JOIN newcomers USING (id_student) WHERE handed_in >= '2014J01100';

CREATE VIEW student_model AS
SELECT n.id_student, meta.adapt('next_score', r) AS params
FROM   newcomers n LEFT JOIN so_far r USING (id_student)
GROUP  BY n.id_student;

SELECT id_student, string_agg(assessment_type || ' ' || score, ', ' ORDER BY handed_in) AS so_far,
       octet_length(params) AS bytes
FROM   student_model LEFT JOIN so_far USING (id_student)
GROUP  BY id_student, params ORDER BY id_student;

SELECT u.id_student, u.assessment_type AS type, u.due,
       round(meta.predict('next_score', u)) AS for_anyone,
       round(meta.predict(m.params, u)) AS for_this_student,
       u.score AS was_in_fact
FROM   upcoming u JOIN student_model m USING (id_student)
WHERE  u.due <= 160
ORDER  BY u.id_student, u.due;
\set ECHO none

\echo
\echo '== Nothing has to be refreshed: here is one student before each of his assessments, adapted to those'
\echo '== before it, in one query.'
\echo
\set ECHO queries
SELECT assessment_type AS type, due,
       round(meta.predict(coalesce(meta.adapt('next_score', r) OVER earlier, meta.params('next_score')), r)) AS predicted,
       score AS was_in_fact
FROM   scores r
WHERE  id_student = 531896
WINDOW earlier AS (ORDER BY handed_in ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
ORDER  BY handed_in;
\set ECHO none
