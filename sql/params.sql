-- meta.params and meta.describe: what the bytes are, and bytes that are not
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
SET search_path = '';
\set VERBOSITY default

-- The format once more, in SQL, from its description alone: little-endian
-- length, header, tensors; the checksum is the CRC-32C of the whole file while
-- its own digits are zeros.
CREATE FUNCTION public.reversed(bytes bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT coalesce(pg_catalog.string_agg(pg_catalog.substr(bytes, i, 1), '' ORDER BY i DESC), '')
	FROM pg_catalog.generate_series(1, pg_catalog.octet_length(bytes)) i
$$;
CREATE FUNCTION public.floats(numbers float4[]) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT coalesce(pg_catalog.string_agg(public.reversed(pg_catalog.float4send(x)), '' ORDER BY i), '')
	FROM pg_catalog.unnest(numbers) WITH ORDINALITY u(x, i)
$$;
CREATE FUNCTION public.crc_table() RETURNS bigint[] IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
	crcs bigint[];
	c bigint;
BEGIN
	FOR i IN 0..255 LOOP
		c := i;
		FOR bit IN 1..8 LOOP
			c := CASE WHEN c & 1 = 1 THEN (c >> 1) # 2197175160 ELSE c >> 1 END;
		END LOOP;
		crcs[i] := c;
	END LOOP;
	RETURN crcs;
END $$;
CREATE FUNCTION public.crc32c(bytes bytea) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
	crcs bigint[] := public.crc_table();
	c bigint := 4294967295;
BEGIN
	FOR i IN 0..pg_catalog.octet_length(bytes) - 1 LOOP
		c := (c >> 8) # crcs[((c # pg_catalog.get_byte(bytes, i)) & 255)::int];
	END LOOP;
	RETURN pg_catalog.lpad(pg_catalog.to_hex(c # 4294967295), 8, '0');
END $$;
SELECT public.crc32c('123456789');

CREATE FUNCTION public.sealed(bytes bytea) RETURNS bytea IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
	at int := position('"crc32c":"'::bytea IN bytes) + 10;
	blank bytea := overlay(bytes PLACING '00000000'::bytea FROM at);
BEGIN
	RETURN overlay(blank PLACING public.crc32c(blank)::bytea FROM at);
END $$;
CREATE FUNCTION public.safetensors(header text, data bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT public.reversed(pg_catalog.int8send(pg_catalog.octet_length(padded))) || padded || data
	FROM (SELECT pg_catalog.convert_to(header || pg_catalog.repeat(' ', (8 - pg_catalog.octet_length(header) % 8) % 8), 'UTF8')) h(padded)
$$;

CREATE FUNCTION public.model(encoders text, components text, training text, tensors text, numbers float4[], learner text DEFAULT 'maml')
RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT public.sealed(public.safetensors(
		'{"__metadata__":{"format":"meta/1","kind":"model","crc32c":"00000000","learner":"' || learner || '","encoders":'
		|| pg_catalog.to_json(encoders) || ',"components":' || pg_catalog.to_json(components) || ',"training":'
		|| pg_catalog.to_json(training) || '},' || tensors || '}', public.floats(numbers)))
$$;
CREATE FUNCTION public.task(base text, n int, numbers float4[]) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT public.sealed(public.safetensors(
		'{"__metadata__":{"format":"meta/1","kind":"task","crc32c":"00000000","base":"' || base || '","rows":"'
		|| pg_catalog.lpad(n::text, 10, '0') || '"},"phi":{"dtype":"F32","shape":[' || pg_catalog.cardinality(numbers)
		|| '],"data_offsets":[0,' || pg_catalog.cardinality(numbers) * 4 || ']}}', public.floats(numbers)))
$$;
CREATE FUNCTION public.digest(bytes bytea) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(bytes), 'hex'), 32)
$$;

-- score by x and skill, one hidden layer of two
CREATE TABLE public.part (name text PRIMARY KEY, value text);
INSERT INTO public.part VALUES
	('encoders', '{"features": [{"column": "x", "kind": "number", "mean": 1, "deviation": 2}, {"column": "skill", "kind": "category", "labels": ["add", "müßig"]}], "target": {"column": "score", "kind": "number", "mean": 10, "deviation": 4}, "task": ["student"], "order_by": ["day"]}'),
	('components', '[{"prefix": "main", "learner": "maml", "loss": "squared", "network": {"inputs": 1, "embeddings": [[3, 2]], "hidden": [2], "activation": "tanh", "outputs": 1, "skip": true}, "options": {"inner_steps": 3, "shots": [0, 10], "weight": "w", "an option of later": [1]}}]'),
	('training', '{"tasks": 12, "rows": 345, "seconds": 6.5}'),
	('tensors', '"main/embedding.0":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},"main/wide.0":{"dtype":"F32","shape":[3,1],"data_offsets":[24,36]},"main/skip.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[36,40]},"main/layer.0.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[40,64]},"main/layer.0.bias":{"dtype":"F32","shape":[1,2],"data_offsets":[64,72]},"main/head.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[72,80]},"main/head.bias":{"dtype":"F32","shape":[1,1],"data_offsets":[80,84]}');
CREATE FUNCTION public.model_but(part text DEFAULT '', value text DEFAULT '') RETURNS bytea STABLE LANGUAGE sql AS $$
	SELECT public.model((p ->> 'encoders'), (p ->> 'components'), (p ->> 'training'), (p ->> 'tensors'),
						ARRAY(SELECT (i % 7 - 3) / 4.0 FROM pg_catalog.generate_series(1, 21) i)::float4[])
	FROM (SELECT pg_catalog.jsonb_object_agg(q.name, CASE WHEN q.name = part THEN model_but.value ELSE q.value END) FROM public.part q) o(p)
$$;

INSERT INTO meta.model (name, task, target, algorithm) VALUES ('hand made', 'student', 'score', 'maml');
INSERT INTO meta.version (model, version, digest, params, metrics)
	SELECT m.id, v, public.digest(p), p, '{"tasks": 12, "rows": 345, "seconds": 6.5, "rmse": 1.25}'
	FROM meta.model m, (VALUES (1, public.model_but('training', '{}')), (2, public.model_but())) w(v, p)
	WHERE m.name = 'hand made';

-- what was put in
SELECT pg_catalog.jsonb_pretty(meta.describe('hand made') - 'digest' - 'options' - 'tensors');
SELECT meta.describe('hand made') -> 'options' ->> o AS value, o AS option
FROM pg_catalog.unnest(ARRAY['inner_steps', 'shots', 'weight', 'loss', 'an option of later']) o;
SELECT t ->> 'name' AS tensor, t -> 'shape' AS shape
FROM pg_catalog.jsonb_array_elements(meta.describe('hand made') -> 'tensors') WITH ORDINALITY u(t, i) ORDER BY i;
SELECT meta.params('hand made') = public.model_but() AS newest, meta.params('hand made', 1) = public.model_but('training', '{}') AS first,
	   meta.params(meta.params('hand made')) = meta.params('hand made') AS same, meta.params(NULL::text) IS NULL AS none,
	   meta.describe('hand made') ->> 'digest' = (SELECT v.digest FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'hand made' AND v.version = 2) AS digest;
SELECT v.version, v.tasks, v."rows", v.seconds, v.bytes = pg_catalog.octet_length(v.params) AS bytes
FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'hand made' ORDER BY 1;

-- task params: those numbers that a task has of its own
CREATE TABLE public.tasks (name text, params bytea);
INSERT INTO public.tasks SELECT 'short', public.task(public.digest(public.model_but()), 42,
	ARRAY(SELECT 1 FROM pg_catalog.generate_series(1, (meta.describe('hand made') ->> 'task_parameters')::int))::float4[]);
SELECT meta.describe(params) - 'base' - 'bytes' - 'tensors' AS task, meta.describe(params) ->> 'base' = public.digest(public.model_but()) AS base,
	   meta.describe(params) #> '{tensors,0,shape,0}' = meta.describe('hand made') -> 'task_parameters' AS tensors,
	   position('"phi"'::bytea IN params) < 512 AS small
FROM public.tasks;

-- a copy that needs no base: the task's numbers are in place, the others as they were
SELECT d ->> 'kind' AS kind, d ->> 'digest' <> public.digest(public.model_but()) AS another,
	   d - 'digest' - 'bytes' - 'rows' = meta.describe('hand made') - 'digest' - 'bytes' AS like_its_base, d -> 'rows' AS "rows",
	   pg_catalog.right(pg_catalog.encode(own, 'hex'), 88) = pg_catalog.encode(public.floats(pg_catalog.array_fill(1::float4, ARRAY[11])), 'hex') AS numbers
FROM public.tasks, meta.params(params) own, meta.describe(own) d;

-- an N-way episode's params name its classes, and a model that is self-contained does
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('two-way', 'shape', 'shape', 'maml');
CREATE FUNCTION public.two_way(classes text) RETURNS bytea STABLE LANGUAGE sql AS $$
	SELECT public.model(
		'{"features": [{"column": "x", "kind": "number", "mean": 0, "deviation": 1}], "target": {"column": "shape", "kind": "class", "way": 2, "classes": '
		|| classes || '}, "task": ["shape"], "order_by": []}',
		'[{"prefix": "main", "learner": "maml", "loss": "softmax", "network": {"inputs": 1, "embeddings": [], "hidden": [], "activation": "tanh", "outputs": 2, "skip": false}, "options": {"way": 2}}]',
		'{}', '"main/head.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"main/head.bias":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}', '{1,2,3,4}')
$$;
CREATE FUNCTION public.episode(base text, labels bytea, type text DEFAULT 'U8', numbers float4[] DEFAULT '{-1,1,0,0}') RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
	SELECT public.sealed(public.safetensors(
		'{"__metadata__":{"format":"meta/1","kind":"task","crc32c":"00000000","base":"' || base || '","rows":"0000000003"},'
		'"phi":{"dtype":"F32","shape":[' || n || '],"data_offsets":[0,' || n * 4 || ']},"labels":{"dtype":"' || type || '","shape":['
		|| pg_catalog.octet_length(labels) || '],"data_offsets":[' || n * 4 || ',' || n * 4 + pg_catalog.octet_length(labels) || ']}}',
		public.floats(numbers) || labels))
	FROM pg_catalog.cardinality(numbers) n
$$;
INSERT INTO meta.version (model, version, digest, params)
	SELECT m.id, 1, public.digest(p), p FROM meta.model m, public.two_way('[]') p WHERE m.name = 'two-way';
INSERT INTO public.tasks VALUES ('episode', public.episode(public.digest(public.two_way('[]')), 'l\303\266wenzahn\000 \000'));
SELECT meta.describe(params) ->> 'classes' AS classes, meta.classify(params, r), pg_catalog.round((meta.probabilities(params, r) ->> ' ')::numeric, 3) AS second,
	   meta.describe(own) -> 'target' AS target, meta.classify(own, r)
FROM public.tasks, meta.params(params) own, (SELECT -1::float8 AS x UNION ALL SELECT 1) r WHERE name = 'episode';
SELECT meta.classify(public.two_way('["b", "a"]'), r) FROM (SELECT 1 AS x) r;
SELECT meta.classify('two-way', r) FROM (SELECT 1 AS x) r;
SELECT meta.classify(public.task(public.digest(public.two_way('[]')), 0, '{1,1,1,1}'), r) FROM (SELECT 1 AS x) r;
SELECT meta.params(public.episode(public.digest(public.two_way('[]')), 'a\000b\000c\000'));
SELECT meta.params(public.episode(public.digest(public.two_way('[]')), 'a\000b'));
SELECT meta.params(public.episode(public.digest(public.two_way('[]')), 'a\000a\000'));
SELECT meta.params(public.episode(public.digest(public.two_way('[]')), '\377\000'));
SELECT meta.params(public.episode(public.digest(public.two_way('[]')), 'abc\000', 'F32'));
SELECT meta.params(public.episode(public.digest(public.two_way('[]')), 'a\000', 'I8'));
SELECT meta.params(public.episode(public.digest(public.model_but()), 'a\000', numbers => pg_catalog.array_fill(1::float4, ARRAY[11])));
SELECT meta.describe(public.two_way('["b", "b"]'));
SELECT meta.describe(public.two_way('["b", "a", "c"]'));

-- a calibration: logits become slope z + offset, by the rows that the params were adapted on
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('calibrated', 'student', 'passed', 'maml');
CREATE FUNCTION public.calibrated(tensors text, VARIADIC numbers float4[]) RETURNS bytea STABLE LANGUAGE sql AS $$
	SELECT public.model(
		'{"features": [{"column": "x", "kind": "raw"}], "target": {"column": "passed", "kind": "binary"}, "task": ["student"], "order_by": []}',
		'[{"prefix": "main", "learner": "maml", "loss": "logistic", "network": {"inputs": 1, "embeddings": [], "hidden": [], "activation": "tanh", "outputs": 1, "skip": false}, "options": {"inner_steps": 0}}]',
		'{}', '"main/head.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"main/head.bias":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}'
		|| tensors, ARRAY[1, 0]::float4[] || numbers)
$$;
CREATE FUNCTION public.calibration(first text, n int) RETURNS text IMMUTABLE LANGUAGE sql AS $$
	SELECT pg_catalog.string_agg(',"' || first || name || '":{"dtype":"F32","shape":[' || n || '],"data_offsets":['
								 || 8 + 4 * n * (i - 1) || ',' || 8 + 4 * n * i || ']}', '' ORDER BY i)
	FROM pg_catalog.unnest(ARRAY['rows', 'slope', 'offset']) WITH ORDINALITY u(name, i)
$$;
CREATE FUNCTION public.logit(p float8) RETURNS numeric IMMUTABLE LANGUAGE sql AS $$ SELECT pg_catalog.round((pg_catalog.ln(p / (1 - p)))::numeric, 4) $$;
INSERT INTO meta.version (model, version, digest, params)
	SELECT m.id, 1, public.digest(p), p
	FROM meta.model m, public.calibrated(public.calibration('main/calibration.', 3), 1, 3, 15, 1, 2, 3, 0.5, 1, 2) p WHERE m.name = 'calibrated';
SELECT meta.describe('calibrated') -> 'calibration' AS calibration;
CREATE TABLE public.counted AS
	SELECT n, public.task(public.digest(meta.params('calibrated')), n, '{1,0}') AS params
	FROM pg_catalog.unnest(ARRAY[0, 1, 3, 7, 15, 1000]) n;
SELECT n, public.logit(meta.predict(params, r)) AS logit, public.logit((meta.probabilities(params, r) ->> 'true')::float8) AS probabilities,
	   public.logit(meta.predict(own, r)) AS own, meta.describe(own) -> 'rows' AS "rows"
FROM public.counted, meta.params(params) own, (SELECT 2 AS x) r ORDER BY 1;
SELECT public.logit(meta.predict('calibrated', r)) AS logit FROM (SELECT 2 AS x) r;
-- further rows count with those before, in params that stand on a model and in those that do not
SELECT n, public.logit(meta.predict(further, r)) AS logit, public.logit(meta.predict(own, r)) AS own, meta.describe(own) -> 'rows' AS "rows"
FROM (SELECT n, meta.adapt(params, r) AS further, meta.adapt(meta.params(params), r) AS own
	  FROM public.counted, (SELECT 0 AS x, true AS passed FROM pg_catalog.generate_series(1, 4)) r WHERE n IN (0, 3) GROUP BY 1) a, (SELECT 2 AS x) r ORDER BY 1;
-- a class by its probability; without a calibration, as it comes
SELECT x, meta.classify('calibrated', r), public.logit(meta.predict(public.calibrated('', VARIADIC '{}'), r)) AS none
FROM (SELECT x FROM pg_catalog.unnest(ARRAY[-0.75, -0.25, 0.25]) x) r ORDER BY 1;
-- what cannot be one
SELECT meta.describe(public.calibrated(public.calibration('main/calibration.', 2), 1, 1, 1, 1, 0, 0));
SELECT meta.describe(public.calibrated(public.calibration('main/calibration.', 1), -1, 1, 0));
SELECT meta.describe(public.calibrated(public.calibration('main/calibration.', 1), 0, 0, 0));
SELECT meta.describe(public.calibrated(public.calibration('main/calibration.', 1), 0, 1, 'NaN'));
SELECT meta.describe(public.calibrated(public.calibration('main/calibration.', 1), 0, 'Infinity', 0));
SELECT meta.describe(public.calibrated(public.calibration('main/calibration.', 9), VARIADIC pg_catalog.array_fill(1::float4, ARRAY[27])));
SELECT meta.describe(public.calibrated(public.calibration('pain/calibration.', 1), 0, 1, 0));
SELECT meta.describe(public.calibrated(pg_catalog.replace(public.calibration('main/calibration.', 1), 'slope', 'slopes'), 0, 1, 0));
SELECT meta.describe(public.calibrated(pg_catalog.replace(public.calibration('main/calibration.', 1), '"F32"', '"I32"'), 0, 1, 0));

-- a memory has as many rows as are in use, up to the option: y = x + the mean of what was left over, while all rows are alike
CREATE FUNCTION public.remembering(n int) RETURNS bytea STABLE LANGUAGE sql AS $$
	SELECT public.model(
		'{"features": [{"column": "x", "kind": "number", "mean": 0, "deviation": 1}], "target": {"column": "y", "kind": "number", "mean": 0, "deviation": 1}, "task": ["t"], "order_by": []}',
		'[{"prefix": "main", "learner": "matching", "loss": "squared", "network": {"inputs": 1, "embeddings": [], "hidden": [], "activation": "tanh", "outputs": 1, "skip": false}, "options": {"features": 1, "memory": 3, "shots": [0, 2]}}]',
		'{}', '"main/head.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"main/head.bias":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]},'
		|| '"main/space.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},"main/space.bias":{"dtype":"F32","shape":[1,1],"data_offsets":[12,16]},'
		|| '"main/sharpness.bias":{"dtype":"F32","shape":[1,1],"data_offsets":[16,20]},"main/slot.bias":{"dtype":"F32","shape":[1,1],"data_offsets":[20,24]},'
		|| '"main/memory":{"dtype":"F32","shape":[' || n || ',3],"data_offsets":[24,' || 24 + 12 * n || ']}',
		'{1,0,1,0,-10,-20}'::float4[] || pg_catalog.array_fill(1::float4, ARRAY[3 * n]), 'matching')
$$;
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('remembering', 't', 'y', 'matching');
INSERT INTO meta.version (model, version, digest, params)
	SELECT m.id, 1, public.digest(p), p FROM meta.model m, public.remembering(0) p WHERE m.name = 'remembering';
CREATE FUNCTION public.memory(numbers float4[]) RETURNS bytea STABLE LANGUAGE sql AS $$
	SELECT public.task(public.digest(public.remembering(0)), 3, numbers)
$$;
INSERT INTO public.tasks VALUES ('memory', public.memory('{1,2,1,1,5,-1}'));
SELECT meta.describe(params) -> 'memory' AS memory, meta.describe(params) #> '{tensors,0,shape}' AS shape, pg_catalog.round(meta.predict(params, r)::numeric, 4) AS predicted,
	   meta.describe(own) -> 'memory' AS own, own = public.sealed(own) AS sealed, meta.describe(own) #> '{tensors,6,shape}' AS shape,
	   pg_catalog.right(pg_catalog.encode(own, 'hex'), 48) = pg_catalog.encode(public.floats('{1,2,1,1,5,-1}'), 'hex') AS numbers,
	   pg_catalog.round(meta.predict(own, r)::numeric, 4) AS predicted
FROM public.tasks, meta.params(params) own, (SELECT 0.5 AS x) r WHERE name = 'memory';
-- further rows are added, and the oldest goes
SELECT meta.adapt('remembering', r) = public.task(public.digest(public.remembering(0)), 2, '{1,3,2,1,1,1}') AS same FROM (VALUES (1, 2), (2, 5)) r (x, y);
SELECT meta.describe(p) - 'base' AS described, pg_catalog.round(meta.predict(p, r)::numeric, 4) AS predicted
FROM (SELECT meta.adapt(params, r) AS p FROM public.tasks, (VALUES (1, 9), (1, 11)) r (x, y) WHERE name = 'memory') a, (SELECT 1 AS x) r;
SELECT pg_catalog.round(meta.predict('remembering', r)::numeric, 4) AS prior, pg_catalog.round(meta.predict(public.memory('{}'), r)::numeric, 4) AS no_rows FROM (SELECT 7 AS x) r;
SELECT meta.describe(public.remembering(2)) -> 'memory' AS memory;
SELECT meta.describe(public.remembering(4));
SELECT meta.params(public.memory('{1,2}'));
SELECT meta.params(public.memory(pg_catalog.array_fill(1::float4, ARRAY[12])));
SELECT meta.params(public.memory('{0,2,1,1,5,-1}'));
SELECT meta.params(public.memory('{1,2,1,-1,5,-1}'));
SELECT meta.params(public.memory('{1,2,1,nan,5,-1}'));

-- counts of rows that are no numbers: whoever made them, they are described
SELECT meta.describe(public.model(
	'{"features": [{"column": "x", "kind": "number", "mean": 0, "deviation": 1}], "target": {"column": "y", "kind": "binary"}, "task": ["t"], "order_by": []}',
	'[{"prefix": "main", "learner": "prototypical", "loss": "logistic", "network": {"inputs": 1, "embeddings": [], "hidden": [], "activation": "tanh", "outputs": 1, "skip": false}, "options": {"features": 1}}]',
	'{}', (SELECT pg_catalog.string_agg(pg_catalog.format('"main/%s":{"dtype":"F32","shape":[%s,1],"data_offsets":[%s,%s]}', name, n, 4 * (upto - n), 4 * upto), ',' ORDER BY i)
		   FROM (SELECT i, name, n, pg_catalog.sum(n) OVER (ORDER BY i) AS upto
				 FROM (VALUES (1, 'head.weight', 1), (2, 'head.bias', 1), (3, 'space.weight', 1), (4, 'space.bias', 1), (5, 'count.bias', 1), (6, 'expected.bias', 1),
							  (7, 'prototype.prior', 2), (8, 'prototype.sums', 2), (9, 'prototype.rows', 2), (10, 'prototype.expected', 2)) t (i, name, n)) u),
	'{1,0,1,0,1,1,0,0,0,0,nan,-infinity,0,0}', 'prototypical')) -> 'memory' AS memory;

-- a task that cannot be adapted to keeps what it had, and others are not touched
CREATE FUNCTION public.steep() RETURNS bytea STABLE LANGUAGE sql AS $$
	SELECT public.model(
		'{"features": [{"column": "x", "kind": "raw"}], "target": {"column": "y", "kind": "number", "mean": 0, "deviation": 1}, "task": ["student"], "order_by": []}',
		'[{"prefix": "main", "learner": "maml", "loss": "squared", "network": {"inputs": 1, "embeddings": [], "hidden": [], "activation": "tanh", "outputs": 1, "skip": false}, "options": {"inner_steps": 5, "inner_lr": 0.1}}]',
		'{}', '"main/head.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"main/head.bias":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}',
		'{2,0}')
$$;
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('steep', 'student', 'y', 'maml');
INSERT INTO meta.version (model, version, digest, params)
	SELECT m.id, 1, public.digest(p), p FROM meta.model m, public.steep() p WHERE m.name = 'steep';
CREATE TABLE public.steps AS SELECT s AS student, CASE s WHEN 2 THEN 1e15 ELSE s END AS x, 1 AS y FROM pg_catalog.generate_series(1, 3) s;
SELECT student, meta.describe(params) -> 'rows' AS "rows", meta.predict(params, r) = 2 AS prior
FROM (SELECT student, meta.adapt('steep', s) AS params FROM public.steps s GROUP BY 1) a, (SELECT 1 AS x) r ORDER BY 1;
SELECT meta.describe(further) -> 'rows' AS "rows", further = params AS same
FROM (SELECT params, meta.adapt(params, s) AS further
	  FROM (SELECT meta.adapt('steep', s) AS params FROM public.steps s WHERE student = 1) p, public.steps s WHERE s.student = 2 GROUP BY 1) a;

-- what is not there
SELECT meta.params('hand made', 7);
SELECT meta.params('hand made', 0);
SELECT meta.params('hand mad');
SELECT meta.describe('something else altogether');
SELECT meta.params(public.task(pg_catalog.repeat('0', 32), 1, '{}'));

-- what are no params
SELECT meta.describe('hand made'::bytea);
SELECT meta.params('it''s mine'::bytea);
SELECT meta.describe(''::bytea);
SELECT meta.params('\x0001'::bytea);
SELECT meta.describe(public.safetensors('{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', '\x00000000'));
SELECT meta.describe(public.safetensors('{"__metadata__":{"format":"pt"}}', ''));
SELECT meta.describe(public.safetensors('{"__metadata__":{"format":"meta/2","kind":"model"}}', ''));
SELECT meta.describe(public.safetensors('{"__metadata__":{"format":"meta/1","kind":"school"}}', ''));
SELECT meta.describe(public.safetensors('{"__metadata__":{"format":"meta/1","kind":"model"}}', ''));

-- what does not fit together, though it is whole
SELECT meta.describe(public.model_but('training', 'no JSON'));
SELECT meta.describe(public.model_but('components', '{}'));
SELECT meta.describe(public.model_but('components', '[]'));
SELECT meta.describe(public.model_but('components', '[1]'));
SELECT meta.describe(public.model_but('encoders', '{}'));
SELECT meta.describe(public.model_but('tensors', '"a":{"dtype":"F32","shape":[21],"data_offsets":[0,84]}'));
SELECT meta.describe(public.model_but('tensors', pg_catalog.replace((SELECT value FROM public.part WHERE name = 'tensors'), '[3,2]', '[2,3]')));
CREATE FUNCTION public.component_but(path text, value text) RETURNS bytea STABLE LANGUAGE sql AS $$
	SELECT public.model_but('components', pg_catalog.jsonb_set(p.value::jsonb, path::text[], component_but.value::jsonb)::text)
	FROM public.part p WHERE name = 'components'
$$;
SELECT meta.describe(public.component_but('{0,learner}', '"sorcery"'));
SELECT meta.describe(public.component_but('{0,learner}', '"pooled"'));
SELECT meta.describe(public.component_but('{0,learner}', '7'));
SELECT meta.describe(public.component_but('{0,loss}', '"sorrow"'));
SELECT meta.describe(public.component_but('{0,network}', '[]'));
SELECT meta.describe(public.component_but('{0,network,inputs}', '2'));
SELECT meta.describe(public.component_but('{0,network,inputs}', '1e300'));
SELECT meta.describe(public.component_but('{0,network,embeddings}', '[[4, 2]]'));
SELECT meta.describe(public.component_but('{0,network,embeddings}', '[[3, 4096]]'));
SELECT meta.describe(public.component_but('{0,network,embeddings}', '[3]'));
SELECT meta.describe(public.component_but('{0,network,hidden}', '[4096, 4096]'));
SELECT meta.describe(public.component_but('{0,network,hidden}', '[1, 1, 1, 1, 1, 1, 1, 1, 1]'));
SELECT meta.describe(public.component_but('{0,network,hidden}', '[0]'));
SELECT meta.describe(public.component_but('{0,network,activation}', '"sigmund"'));
SELECT meta.describe(public.component_but('{0,options,inner_steps}', '-1'));
SELECT meta.describe(public.component_but('{0,options,inner_steps}', '"three"'));
SELECT meta.params(public.task(public.digest(public.model_but()), 1, '{1}'));

-- Every truncation and every byte changed is noticed.
CREATE FUNCTION public.attempt(bytes bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	ignored jsonb;
BEGIN
	ignored := meta.describe(meta.params(bytes));
	RETURN 'read';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
INSERT INTO public.tasks VALUES ('model', public.model_but()), ('model with a calibration', meta.params('calibrated')),
	('model of an episode', public.two_way('["a", "b"]')), ('model of a memory', public.remembering(2));
SELECT name, public.attempt(pg_catalog.substr(params, 1, n)) AS truncated, pg_catalog.count(*) > 1 AS often
FROM public.tasks, pg_catalog.generate_series(0, pg_catalog.octet_length(params) - 1) n GROUP BY 1, 2 ORDER BY 1, 2;
SELECT name, pg_catalog.count(*) AS unnoticed
FROM public.tasks, pg_catalog.generate_series(0, pg_catalog.octet_length(params) - 1) n,
	 pg_catalog.unnest(ARRAY[1, 4, 128]) bits
WHERE public.attempt(pg_catalog.set_byte(params, n, pg_catalog.get_byte(params, n) # bits)) NOT IN ('XX001', '22P03', '0A000')
GROUP BY 1;

-- With a checksum that was put right again, some changes are read, as other
-- numbers or names; the others are refused as damage, never by accident.
SELECT name, outcome, pg_catalog.count(*) > 1 AS often
FROM public.tasks, pg_catalog.generate_series(8, pg_catalog.octet_length(params) - 1) n,
	 pg_catalog.unnest(ARRAY[1, 4, 128]) bits,
	 public.attempt(public.sealed(pg_catalog.set_byte(params, n, pg_catalog.get_byte(params, n) # bits))) outcome
WHERE position('"crc32c":"'::bytea IN pg_catalog.set_byte(params, n, pg_catalog.get_byte(params, n) # bits)) > 0
GROUP BY 1, 2 ORDER BY 1, 2;

DELETE FROM meta.model WHERE name IN ('hand made', 'two-way', 'calibrated', 'remembering', 'steep');
DROP TABLE public.part, public.tasks, public.counted, public.steps;
DROP FUNCTION public.attempt, public.memory, public.remembering, public.calibrated, public.calibration, public.logit, public.steep, public.episode, public.two_way, public.component_but, public.model_but, public.digest, public.task, public.model, public.safetensors,
	public.sealed, public.crc32c, public.crc_table, public.floats, public.reversed;
