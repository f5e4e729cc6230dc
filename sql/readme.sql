-- the README's first lines, on tables of the shape it shows
SET client_min_messages = warning;
CREATE SCHEMA readme;
SET search_path = readme;

-- a number from 0 to 1 that is the same everywhere
CREATE FUNCTION pg_temp.u(text) RETURNS float8 LANGUAGE sql IMMUTABLE AS
	$$ SELECT ('x' || substr(pg_catalog.md5($1), 1, 6))::bit(24)::int / 16777216.0::float8 $$;

CREATE TABLE items     (item_id int PRIMARY KEY, skill text);
CREATE TABLE students  (student_id int PRIMARY KEY, joined date);
CREATE TABLE responses (student_id int REFERENCES students, item_id int REFERENCES items, skill text,
						answered_at timestamptz, correct boolean);
CREATE TABLE upcoming  (student_id int REFERENCES students, item_id int REFERENCES items, skill text);

INSERT INTO items SELECT i, 'skill ' || i % 4 FROM generate_series(1, 12) i;
INSERT INTO students SELECT s, '2024-09-01' FROM generate_series(1, 200) s;

-- who is able answers right, and more often on easy items; nobody has answered yet from 191 on
INSERT INTO responses
	SELECT s, item_id, skill, '2024-09-01 08:00+00'::timestamptz + n * interval '1 minute',
		   pg_temp.u('answer' || s || '.' || n) < 1 / (1 + exp(6 * (0.5 - pg_temp.u('ability' || s)) + item_id / 6.0 - 1))
	FROM generate_series(1, 190) s, generate_series(1, 16) n,
		 LATERAL (SELECT * FROM items WHERE item_id = 1 + (s * 7 + n * 5) % 12) i;
INSERT INTO upcoming SELECT s, item_id, skill FROM students st (s), items WHERE item_id % 2 = 0;

-- numbers differ between processors: only what follows is compared
DROP EXTENSION IF EXISTS meta CASCADE;
\o /dev/null
-- README begins
CREATE EXTENSION meta;

CALL meta.train('next_answer', 'responses', task => 'student_id', target => 'correct', order_by => 'answered_at');

SELECT * FROM meta.evaluate('next_answer');           -- on tasks it never saw: 0, 1, 5, 10-shot beside the baselines

CREATE VIEW student_model AS                           -- adapted when it is asked for: always current, nothing to refresh
SELECT s.student_id, meta.adapt('next_answer', r) AS params
FROM   students s LEFT JOIN responses r USING (student_id) GROUP BY 1;

SELECT q.item_id, meta.predict(m.params, q) AS p_correct
FROM   upcoming q JOIN student_model m USING (student_id)
WHERE  q.student_id = 42 ORDER BY 2;                    -- a student without rows gets the prior
-- README ends
\o

SELECT shots, string_agg(DISTINCT metric, ', ' ORDER BY metric) AS metrics,
	   count(DISTINCT method) FILTER (WHERE method IN ('adapted', 'prior', 'pooled', 'random_intercept', 'single_task')) AS methods
FROM meta.evaluate('next_answer') GROUP BY 1 ORDER BY 1;

-- a probability for every item
SELECT count(*), bool_and(meta.predict(m.params, q) BETWEEN 0 AND 1) AS probabilities
FROM upcoming q JOIN student_model m USING (student_id) WHERE q.student_id = 42;

-- whoever has answered nothing gets the prior; those who have, something else
SELECT q.student_id > 190 AS newcomer, bool_and(meta.predict(m.params, q) = meta.predict('next_answer', q)) AS prior
FROM upcoming q JOIN student_model m USING (student_id) GROUP BY 1 ORDER BY 1;

-- the able are told from the others
SELECT avg(meta.predict(m.params, q)) FILTER (WHERE a.rate > 0.7) > 0.1 + avg(meta.predict(m.params, q)) FILTER (WHERE a.rate < 0.3) AS apart
FROM upcoming q JOIN student_model m USING (student_id)
	 JOIN (SELECT student_id, avg(correct::int) AS rate FROM responses GROUP BY 1) a USING (student_id);

-- an answer more, and what is predicted has changed: nothing to refresh
CREATE TEMP TABLE before AS
	SELECT meta.predict(m.params, q) AS p FROM upcoming q JOIN student_model m USING (student_id)
	WHERE q.student_id = 195 AND q.item_id = 2;
INSERT INTO responses VALUES (195, 4, 'skill 0', '2024-09-02 08:00+00', true);
SELECT meta.predict(m.params, q) > p AS risen
FROM upcoming q JOIN student_model m USING (student_id), before WHERE q.student_id = 195 AND q.item_id = 2;

DROP SCHEMA readme CASCADE;
DELETE FROM meta.model WHERE name = 'next_answer';
