-- a task of a million rows among tasks of five: it neither breaks nor dominates
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
CREATE TABLE unequal AS
	SELECT task, x, x AS y FROM (SELECT g / 5 + 1 AS task, (g * 7919 % 2000) / 1000.0::float8 - 1 AS x FROM generate_series(0, 1999) g) small
	UNION ALL
	SELECT 0, x, -x FROM (SELECT (g * 7919 % 2000) / 1000.0::float8 - 1 AS x FROM generate_series(1::int8, 1000000) g) large;
CALL meta.train('unequal', 'unequal', task => 'task', target => 'y', algorithm => 'maml',
				options => '{"iterations": 200, "patience": 0, "shots": [0, 2], "query": 3, "hidden": [16], "validation": 0, "test": 0}');
SELECT rows, tasks
FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'unequal';

-- what is said of a new task is what the many say
SELECT meta.predict('unequal', r) > 0.3 AS as_the_many FROM (SELECT 0.8::float8 AS x) r;

-- and it can be adapted to
SELECT meta.predict(p, r) < meta.predict('unequal', r) AS moved
FROM (SELECT meta.adapt('unequal', u) AS p FROM unequal u WHERE task = 0) a, (SELECT 0.8::float8 AS x) r;
DELETE FROM meta.model WHERE name = 'unequal';
DROP TABLE unequal;
