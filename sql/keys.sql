-- Keys of a source: a primary key tells rows apart, a foreign key names something,
-- and both are seen through views, joins, subqueries and WITH.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
CREATE SCHEMA keys;
SET search_path = keys, public;

CREATE TABLE teachers (teacher int PRIMARY KEY, years int);
CREATE TABLE items (item int PRIMARY KEY, author int REFERENCES teachers, length int);
CREATE TABLE lessons (teacher int REFERENCES teachers, lesson int, room int, hours int, PRIMARY KEY (teacher, lesson));
CREATE TABLE answers (id int PRIMARY KEY, student int, item int REFERENCES items, minutes int, score float8);
CREATE TABLE parted (LIKE answers, PRIMARY KEY (id), FOREIGN KEY (item) REFERENCES items) PARTITION BY RANGE (id);
CREATE TABLE parted_all PARTITION OF parted DEFAULT;
INSERT INTO teachers SELECT n, n % 7 FROM generate_series(1, 5) n;
INSERT INTO items SELECT n, n % 5 + 1, n % 4 FROM generate_series(1, 12) n;
INSERT INTO lessons SELECT t, n, n % 3, (t + n) % 4 FROM generate_series(1, 5) t, generate_series(1, 12) n;
INSERT INTO answers
	SELECT row_number() OVER (), s, (s * 5 + n * 7) % 12 + 1, (s * 3 + n) % 9, (s * 3 + n * 5) % 11 + s % 4
	FROM generate_series(1, 30) s, generate_series(1, 12) n;
INSERT INTO parted SELECT * FROM answers;
CREATE VIEW plain AS SELECT * FROM answers;
CREATE VIEW renamed (a, b, c, d, e) AS SELECT id + 0, student, item, minutes, score FROM plain;
CREATE VIEW joined AS SELECT a.*, i.author, i.length FROM plain a JOIN items i USING (item);
CREATE MATERIALIZED VIEW stored AS SELECT * FROM joined;

-- Each feature's encoder, and the primary keys that were left out.
CREATE FUNCTION features(source text, task text DEFAULT 'student', target text DEFAULT 'score', features text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train('keys', source, task, target, features => features, algorithm => 'random_intercept',
					options => '{"iterations": 2, "hidden": [4], "seed": 1}');
	RETURN (SELECT string_agg((e ->> 'column') || ' ' || (e ->> 'encoder'), ', ' ORDER BY n)
			FROM jsonb_array_elements(meta.describe('keys') -> 'encoders') WITH ORDINALITY AS t (e, n));
END $$;

SELECT source, features(source) FROM (VALUES
	-- of one table, as it stands or behind something: the primary key is left out, the foreign one a category
	('answers'),
	('parted'),
	('plain'),
	('SELECT * FROM answers'),
	('SELECT * FROM plain WHERE id > 5 ORDER BY minutes'),
	('WITH w AS (SELECT * FROM answers) SELECT * FROM w'),
	('WITH w AS MATERIALIZED (SELECT * FROM answers) SELECT * FROM (SELECT * FROM w) AS x'),
	('SELECT id, item AS what, student, score FROM answers a'),
	-- joined: the other table's keys are names, and the own one, all distinct, is left out as a category is
	('joined'),
	('stored'),
	('SELECT a.*, i.author FROM answers a JOIN items i USING (item)'),
	('SELECT a.student, a.score, i.item FROM answers a, items i WHERE i.item = a.item'),
	('SELECT a.student, a.score, i.* FROM answers a LEFT JOIN items i ON i.item = a.item'),
	('SELECT student, score, x.author FROM answers a CROSS JOIN LATERAL (SELECT * FROM items i WHERE i.item = a.item) x'),
	('SELECT a.student, a.score, l.* FROM answers a JOIN items i USING (item) JOIN lessons l ON l.teacher = i.author'),
	-- grouped: what it is grouped by, if it names something
	('SELECT student, item, avg(score) AS score, max(minutes) AS minutes FROM answers GROUP BY student, item'),
	-- anything computed is what it is, and so is what comes from several places
	('SELECT b AS student, a, c, d, e AS score FROM renamed'),
	('SELECT student, score, item::float8 AS item FROM answers'),
	('SELECT student, score, item FROM answers UNION ALL SELECT student, score, item FROM answers'),
	('WITH RECURSIVE w AS (SELECT student, score, item FROM answers UNION SELECT student, score, item FROM w) SELECT * FROM w')
) v (source);

-- what is named is a feature, whatever it is
SELECT features('answers', features => 'id, item, minutes');
SELECT features('SELECT a.*, i.author FROM answers a JOIN items i USING (item)', features => 'author, minutes');

-- part of a longer key: one that refers elsewhere is a property, the other one is not
SELECT features('lessons', task => 'room', target => 'hours');

-- the aggregate knows the rows of tables and views
SELECT string_agg((e ->> 'column') || ' ' || (e ->> 'encoder'), ', ' ORDER BY n)
FROM (SELECT meta.train(j, 'student', 'score', '{"algorithm": "random_intercept", "iterations": 2, "hidden": [4]}') AS params FROM joined j) m,
	 jsonb_array_elements(meta.describe(params) -> 'encoders') WITH ORDINALITY AS t (e, n);

-- and it is told
SET client_min_messages = notice;
CALL meta.train('keys', 'joined', 'student', 'score', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4], "inner_lr": 100, "inner_steps": 20}');

SET client_min_messages = warning;
DELETE FROM meta.model;
DROP SCHEMA keys CASCADE;
