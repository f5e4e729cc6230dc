-- columns of every type, as features, targets, task keys and order
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA types;
SET search_path = types;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN grade AS numeric(3, 1) CHECK (value >= 0);
CREATE DOMAIN points AS real[];
CREATE TABLE every (
	task int, nr int,
	small int2, int int4, big int8, single real, double float8, exact numeric, object oid,
	day date, clock time, clock_zone timetz, moment timestamp, moment_zone timestamptz, span interval,
	flag boolean,
	long text, short varchar(10), padded char(6), ident name, one "char", feeling mood, key uuid,
	singles real[], doubles float8[], ints int[], numerics numeric[], bigs int8[], matrix float8[][],
	photo bytea, domained grade, domained_array points,
	json jsonb, address inet, price money, texts text[], whole int4range, y float8
);
INSERT INTO every
	SELECT t, n, v, v, v, v, v, v, v,
		   date '2024-01-01' + v, time '08:00' + v * interval '1 min', timetz '08:00+02' + v * interval '1 min',
		   timestamp '2024-01-01' + v * interval '1 h', timestamptz '2024-01-01 00:00+00' + v * interval '1 h', v * interval '1 min',
		   v % 2 = 0,
		   'l' || v % 5, 's' || v % 5, 'p' || v % 5, ('i' || v % 5)::name, chr(97 + v % 5)::"char", (enum_range(NULL::mood))[1 + v % 3],
		   ('00000000-0000-0000-0000-00000000000' || v % 5)::uuid,
		   ARRAY[v, 1 - v], ARRAY[v, 1 - v], ARRAY[v, 1 - v], ARRAY[v, 1 - v], ARRAY[v, 1 - v], ARRAY[[v, 1], [2, v]],
		   decode(lpad(to_hex(v * 10), 8, '0'), 'hex'), v, ARRAY[v, 1 - v],
		   jsonb_build_object('v', v), '10.0.0.1', v::numeric::money, ARRAY['a'], int4range(v, v + 1), v + t % 7
	FROM generate_series(1, 40) t, generate_series(1, 10) n, LATERAL (SELECT (t * 3 + n * 7) % 11 AS v) l;

-- what the automatic choice makes of them
CALL meta.train('every', 'every', 'task', 'y', order_by => 'nr', options => '{"iterations": 5, "hidden": [4]}');
SELECT e ->> 'column' AS column, (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'every'::regclass AND attname = e ->> 'column') AS type,
	   e ->> 'encoder' AS encoder, e ->> 'labels' AS labels, e ->> 'inputs' AS inputs
FROM jsonb_array_elements(meta.describe('every') -> 'encoders') WITH ORDINALITY j(e, n) ORDER BY n;
SELECT string_agg(attname, ', ' ORDER BY attnum) AS left_out FROM pg_attribute
WHERE attrelid = 'every'::regclass AND attnum > 0 AND attname NOT IN (SELECT e ->> 'column' FROM jsonb_array_elements(meta.describe('every') -> 'encoders') e);
SELECT count(*), count(meta.predict('every', e)) AS predicted FROM every e;
SELECT count(*) AS tasks, count(params) AS adapted FROM (SELECT meta.adapt('every', e) AS params FROM every e GROUP BY task) a;

-- Each type alone: it trains, adapts, predicts and evaluates, and a column of NULLs at predict is no error.
CREATE FUNCTION alone(col text, encoder text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	CALL meta.train('alone', 'types.every', 'task', 'y', features => col, order_by => 'nr',
					options => '{"iterations": 20, "hidden": [4]}'
					|| CASE WHEN encoder IS NULL THEN '{}' ELSE jsonb_build_object('encode', jsonb_build_object(col, encoder)) END);
	SELECT format('%s with %s inputs', e ->> 'encoder', e ->> 'inputs') INTO result FROM jsonb_array_elements(meta.describe('alone') -> 'encoders') e;
	IF (SELECT count(DISTINCT meta.predict('alone', e)) FROM types.every e) < 2 THEN
		result := result || ', always predicts the same';
	END IF;
	EXECUTE format('SELECT $1 || CASE WHEN meta.predict(''alone'', r) IS NULL THEN '', NULL for NULL'' ELSE '''' END FROM (SELECT NULL::%s AS %I) r',
				   (SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'types.every'::regclass AND attname = col), col)
		INTO result USING result;
	IF NOT EXISTS (SELECT FROM meta.evaluate('alone', shots => '{3}')) THEN
		result := result || ', does not evaluate';
	END IF;
	RETURN result;
END $$;
SELECT attname AS column, format_type(atttypid, atttypmod) AS type, alone(attname)
FROM pg_attribute WHERE attrelid = 'every'::regclass AND attnum > 2
	 AND attname NOT IN ('photo', 'json', 'address', 'price', 'texts', 'whole', 'y') ORDER BY attnum;
SELECT col AS column, encoder, alone(col, encoder)
FROM (VALUES ('photo', 'image 2x2'), ('photo', 'image 2x1x2'), ('int', 'category'), ('int', 'raw'), ('exact', 'category'), ('double', 'category'),
			 ('flag', 'category'), ('flag', 'number'), ('day', 'category'), ('span', 'category'), ('moment_zone', 'category'), ('domained', 'category'),
			 ('key', 'category'), ('singles', 'vector')) v(col, encoder);

-- the same values in another type are the same to a model: numbers ...
CREATE FUNCTION same(as_trained text, as_predicted text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	result boolean;
BEGIN
	CALL meta.train('same', format('SELECT task, nr, y, %s AS v FROM types.every', as_trained), 'task', 'y', order_by => 'nr', algorithm => 'pooled',
					options => '{"iterations": 5, "hidden": []}');
	EXECUTE format('SELECT bool_and(meta.predict(''same'', a) = meta.predict(''same'', b)) '
				   'FROM types.every, LATERAL (SELECT %s AS v) a, LATERAL (SELECT %s AS v) b', as_trained, as_predicted) INTO result;
	RETURN result;
END $$;
SELECT a, b, same(a, b) FROM (VALUES
	('small', 'exact'), ('exact', 'double'), ('domained', 'int'), ('day', 'day::timestamp'), ('day', 'extract(epoch FROM day)::bigint'),
	('moment_zone', 'extract(epoch FROM moment_zone)'), ('span', 'extract(epoch FROM span)'), ('clock', 'extract(epoch FROM clock)'),
	('flag', 'flag::int'),
	('long', 'long::varchar'), ('short', 'short::name'), ('padded', 'trim(padded)'), ('feeling', 'feeling::text'), ('key', 'key::text'), ('one', 'one::text'),
	('singles', 'doubles'), ('ints', 'numerics'), ('bigs', 'domained_array')) v(a, b);
-- ... and task keys, whose role does not change, and orders
CALL meta.train('keys', 'SELECT task, nr, y, int FROM types.every', 'task', 'y', order_by => 'nr', options => '{"iterations": 5, "hidden": [4], "test": 0.3}');
SELECT count(DISTINCT (tasks, value)) AS results FROM (
	SELECT e.* FROM meta.evaluate('keys', 'SELECT task, nr, y, int FROM types.every', shots => '{3}') e
	UNION ALL SELECT e.* FROM meta.evaluate('keys', 'SELECT task::text, nr::float8, y, int FROM types.every', shots => '{3}') e
	UNION ALL SELECT e.* FROM meta.evaluate('keys', 'SELECT task::numeric(10, 2), nr::numeric, y, int FROM types.every', shots => '{3}') e
	UNION ALL SELECT e.* FROM meta.evaluate('keys', 'SELECT task::bigint, date ''2024-01-01'' + nr AS nr, y, int FROM types.every', shots => '{3}') e
	UNION ALL SELECT e.* FROM meta.evaluate('keys', 'SELECT task::float8, nr * interval ''1 h'' AS nr, y, int FROM types.every', shots => '{3}') e
	UNION ALL SELECT e.* FROM meta.evaluate('keys', 'SELECT task::text::char(5), lpad(nr::text, 3) AS nr, y, int FROM types.every', shots => '{3}') e
) r WHERE metric = 'rmse' AND method = 'adapted';
-- keys of every type
DO $$
DECLARE
	key text;
	found int;
BEGIN
	FOREACH key IN ARRAY ARRAY['task', 'task::numeric / 7', 'task::text', 'date ''2024-01-01'' + task', 'timestamptz ''2024-01-01'' + task * interval ''1 h''',
							   'md5(task::text)::uuid', 'task * interval ''1 day''', '(task % 2 = 0)', '(enum_range(NULL::types.mood))[1 + task % 3]', 'task::real'] LOOP
		CALL meta.train('key', format('SELECT %s AS key, nr, y, int FROM types.every', key), 'key', 'y', algorithm => 'pooled',
						options => '{"iterations": 5, "hidden": [], "validation": 0, "test": 0}');
		SELECT tasks INTO found FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'key' ORDER BY v.version DESC LIMIT 1;
		IF (found <> CASE WHEN key LIKE '%task \% 2%' THEN 2 WHEN key LIKE '%task \% 3%' THEN 3 ELSE 40 END) THEN
			RAISE WARNING '% has % tasks', key, found;
		END IF;
	END LOOP;
END $$;

-- orders of every type: the same order gives the same bytes
CREATE FUNCTION ordered(expression text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train('ordered', format('SELECT task, int, y, %s AS o FROM types.every', expression), 'task', 'y', features => 'int', order_by => 'o',
					options => '{"iterations": 5, "hidden": [4]}');
	RETURN md5(meta.params('ordered'));
END $$;
SELECT o AS expression, ordered(o) = ordered('nr') AS same FROM (VALUES
	('nr::numeric / 3'), ('nr::float8 - 5'), ('nr::int2'), ('date ''2024-01-01'' + nr'), ('time ''08:00'' + nr * interval ''1 min'''),
	('timestamptz ''2024-01-01'' + nr * interval ''1 h'''), ('nr * interval ''1 day'''), ('chr(96 + nr)'), ('chr(96 + nr)::"char"'), ('chr(96 + nr)::char(3)'),
	('lpad(to_hex(nr), 32, ''0'')::uuid'), ('decode(lpad(to_hex(nr), 2, ''0''), ''hex'')'), ('nullif(nr, 10)'), ('nr::text'), ('-nr'), ('nr > 5')) v(o);

-- targets
CREATE FUNCTION target(col text, opts jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	CALL meta.train('target', format('SELECT task, nr, double, %s AS t FROM types.every', col), 'task', 't', order_by => 'nr',
					options => '{"iterations": 20, "hidden": [4]}' || opts);
	RETURN format('%s, %s', meta.describe('target') -> 'target' ->> 'kind', meta.describe('target') ->> 'loss')
		|| CASE WHEN meta.describe('target') ->> 'loss' = 'squared' THEN ''
				ELSE (SELECT ': ' || string_agg(k, ' ' ORDER BY k)
					  FROM jsonb_object_keys(meta.probabilities('target', (SELECT e FROM types.every e LIMIT 1))) k) END;
END $$;
SELECT col, opts, target(col, opts::jsonb) FROM (VALUES
	('small', '{}'), ('exact', '{}'), ('domained', '{}'), ('day', '{}'), ('span', '{}'), ('flag', '{}'), ('int % 2', '{}'), ('(int % 2)::numeric', '{}'),
	('long', '{}'), ('padded', '{}'), ('feeling', '{}'), ('key', '{}'), ('one', '{}'),
	('int % 3', '{"loss": "softmax"}'), ('int % 2', '{"loss": "squared"}'), ('flag', '{"loss": "softmax"}'), ('flag', '{"loss": "squared"}'),
	('int % 3', '{"encode": {"t": "category"}}'), ('y', '{"encode": {"t": "raw"}}'), ('(int % 2)::text', '{}'), ('int % 2 = 0', '{"encode": {"t": "category"}}')) v(col, opts);

-- keys of a table: the primary one says nothing, foreign ones are names
CREATE TABLE items (item int PRIMARY KEY);
INSERT INTO items SELECT * FROM generate_series(0, 10);
CREATE TABLE keyed (id bigserial PRIMARY KEY, task int, nr int, item int REFERENCES items, constant int DEFAULT 1, note text, y float8);
INSERT INTO keyed (task, nr, item, note, y) SELECT task, nr, int, md5(task::text || nr), y FROM every;
CALL meta.train('keyed', 'keyed', 'task', 'y', order_by => 'nr', options => '{"iterations": 5, "hidden": [4]}');
SELECT e ->> 'column' AS column, e ->> 'encoder' AS encoder FROM jsonb_array_elements(meta.describe('keyed') -> 'encoders') e;
-- and the choices are told
SET client_min_messages = notice;
CALL meta.train('keyed', 'keyed', 'task', 'y', order_by => 'nr', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4], "inner_lr": 100, "inner_steps": 20}');
CALL meta.train('every', 'every', 'task', 'y', order_by => 'nr', algorithm => 'maml', options => '{"iterations": 5, "hidden": [4], "inner_lr": 100, "inner_steps": 20}');
SET client_min_messages = warning;

DELETE FROM meta.model;
DROP SCHEMA types CASCADE;
