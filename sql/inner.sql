-- learners that adapt by gradient steps: partial adaptation, learned rates, shrunken steps
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA inner_loop;
SET search_path = inner_loop;

-- 200 tasks, each a line of its own
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;
CREATE TABLE lines AS
	SELECT task, nr, x, slope * x + intercept + 0.2 * (u('noise', task::text, nr::text) - 0.5) AS y
	FROM generate_series(1, 200) task, generate_series(1, 25) nr,
		 LATERAL (SELECT 4 * u('slope', task::text) - 2 AS slope, 2 * u('intercept', task::text) - 1 AS intercept,
						 2 * u('x', task::text, nr::text) - 1 AS x) l;
DO $$
DECLARE
	model text;
	algorithm text;
	options text;
BEGIN
	FOR model, algorithm, options IN VALUES
		('meta_sgd', 'meta_sgd', '{"inner_steps": 3}'), ('anil', 'anil', '{}'), ('cavia', 'cavia', '{}'),
		('maml++', 'maml', '{"step_rates": true, "multi_step": true, "inner_steps": 3}'),
		('fomaml', 'fomaml', '{"step_rates": true}'), ('mean', 'anil', '{"inner_loss": "mean"}'),
		('fixed', 'anil', '{"shots": 5}'), ('three', 'cavia', '{"context": 3, "iterations": 10}'),
		('none', 'cavia', '{"context": 0, "iterations": 10}')
	LOOP
		CALL meta.train(model, 'inner_loop.lines', 'task', 'y', features => 'x', order_by => 'nr', algorithm => algorithm,
						options => '{"iterations": 300, "hidden": [16], "meta_batch": 16, "outer_lr": 0.003}' || options::jsonb);
	END LOOP;
END $$;

-- they learn to adapt the slope, which no shift of a level can do
CREATE TABLE results AS
	SELECT m.name, e.* FROM meta.model m, meta.evaluate(m.name, shots => '{0,1,5,10}') e WHERE e.metric = 'rmse';
SELECT name, max(value) FILTER (WHERE shots = 10) < 0.7 * max(value) FILTER (WHERE shots = 0) AS adapts,
	   max(value) FILTER (WHERE shots = 10) < 0.8 * max((SELECT r.value FROM results r WHERE r.name = results.name AND r.shots = 10 AND r.method = 'random_intercept')) AS slopes
FROM results WHERE method = 'adapted' AND name NOT IN ('three', 'none') GROUP BY 1 ORDER BY 1;

-- what is learned about steps, beside the network
SELECT m.name, t ->> 'name' AS tensor, t ->> 'shape' AS shape
FROM meta.model m, jsonb_array_elements(meta.describe(m.name) -> 'tensors') t
WHERE t ->> 'name' ~ '/(rate|step_rate|shrink|context)' ORDER BY 1, 2;

-- a range of shots makes steps on few rows shorter, unless told otherwise
SELECT name, meta.describe(name) #>> '{options,inner_loss}' AS inner_loss, meta.describe(name) #>> '{options,shots}' AS shots
FROM meta.model WHERE name IN ('anil', 'mean', 'fixed', 'maml++') ORDER BY 1;

-- what a task has of its own
SELECT m.name, meta.describe(m.name) ->> 'task_parameters' AS numbers,
	   octet_length((SELECT meta.adapt(m.name, r) FROM lines r WHERE task = 1)) -
	   octet_length((SELECT meta.adapt('none', r) FROM lines r WHERE task = 1)) AS bytes
FROM meta.model m WHERE name IN ('anil', 'cavia', 'three', 'none') ORDER BY 1;

-- adapting further goes on from where a task stands; no rows are the prior
SELECT m.name, twice <> once AS goes_on, nothing = prior AS prior, meta.describe(twice) ->> 'rows' AS rows
FROM meta.model m,
	 LATERAL (SELECT meta.adapt(m.name, r) AS once FROM lines r WHERE task = 1 AND nr <= 5) a,
	 LATERAL (SELECT meta.adapt(once, r) AS twice FROM lines r WHERE task = 1 AND nr > 5) b,
	 LATERAL (SELECT meta.adapt(m.name, r) AS nothing FROM (VALUES (0)) v (none) LEFT JOIN lines r ON task = none) c,
	 LATERAL (SELECT meta.adapt(meta.params(m.name), r) AS prior FROM (VALUES (0)) v (none) LEFT JOIN lines r ON task = none) d
WHERE name IN ('meta_sgd', 'anil', 'cavia', 'maml++') ORDER BY 1;

-- params stand on their own, too
SELECT m.name, bool_and(abs(meta.predict(params, r) - meta.predict(meta.params(params), r)) < 1e-6) AS same
FROM meta.model m, LATERAL (SELECT meta.adapt(m.name, r) AS params FROM lines r WHERE task = 2) a, lines r
WHERE name IN ('meta_sgd', 'anil', 'cavia') AND r.task = 2 GROUP BY 1 ORDER BY 1;

-- more steps than in training: the same as to adapt again to the same rows, and another answer than that of one step;
-- learned rates of steps go on with the last one's
DO $$
DECLARE
	steps text;
BEGIN
	FOREACH steps IN ARRAY ARRAY['one 1 0', 'three 1 3', 'rates 2 6'] LOOP
		CALL meta.train(split_part(steps, ' ', 1), 'inner_loop.lines', 'task', 'y', features => 'x', order_by => 'nr', algorithm => 'maml',
						options => format('{"iterations": 50, "hidden": [16], "inner_lr": 0.1, "inner_loss": "mean", "validation": 0, "inner_steps": %s, "adapt_steps": %s, "step_rates": %s}',
										  split_part(steps, ' ', 2), split_part(steps, ' ', 3), (steps ~ 'rates')::text)::jsonb);
	END LOOP;
END $$;
SELECT bool_and(abs(meta.predict(thrice, r) - meta.predict(three, r)) < 1e-5) AS same,
	   bool_or(abs(meta.predict(once, r) - meta.predict(three, r)) > 0.01) AS more, bool_and(meta.predict(rates, r) BETWEEN -10 AND 10) AS rates,
	   max(meta.describe('three') #>> '{options,adapt_steps}') AS adapt_steps
FROM lines r,
	 LATERAL (SELECT meta.adapt('one', s) AS once, meta.adapt('three', s) AS three, meta.adapt('rates', s) AS rates FROM lines s WHERE s.task = 3) a,
	 LATERAL (SELECT meta.adapt(once, s) AS twice FROM lines s WHERE s.task = 3) b,
	 LATERAL (SELECT meta.adapt(twice, s) AS thrice FROM lines s WHERE s.task = 3) c
WHERE r.task = 3;
-- steps on batches of rows: the same as to adapt to one batch, then to the next, and so on; rows are dealt out to them
DO $$
DECLARE
	batch int;
BEGIN
	FOREACH batch IN ARRAY ARRAY[0, 2] LOOP
		CALL meta.train('batch ' || batch, 'inner_loop.lines', 'task', 'y', features => 'x', order_by => 'nr', algorithm => 'maml',
						options => format('{"iterations": 50, "hidden": [16], "inner_lr": 0.1, "validation": 0, "shots": 2, "inner_steps": 1, "inner_batch": %s, "adapt_steps": %s}',
										  batch, CASE batch WHEN 0 THEN 1 ELSE 4 END)::jsonb);
	END LOOP;
END $$;
SELECT bool_and(abs(meta.predict(fourth, r) - meta.predict(batches, r)) < 1e-5) AS same,
	   bool_or(abs(meta.predict(second, r) - meta.predict(batches, r)) > 0.01) AS more
FROM lines r,
	 LATERAL (SELECT meta.adapt('batch 2', s ORDER BY nr) AS batches FROM lines s WHERE s.task = 3 AND nr BETWEEN 1 AND 6) a,
	 LATERAL (SELECT meta.adapt('batch 0', s ORDER BY nr) AS first FROM lines s WHERE s.task = 3 AND nr IN (1, 4)) b,
	 LATERAL (SELECT meta.adapt(first, s ORDER BY nr) AS second FROM lines s WHERE s.task = 3 AND nr IN (2, 5)) c,
	 LATERAL (SELECT meta.adapt(second, s ORDER BY nr) AS third FROM lines s WHERE s.task = 3 AND nr IN (3, 6)) d,
	 LATERAL (SELECT meta.adapt(third, s ORDER BY nr) AS fourth FROM lines s WHERE s.task = 3 AND nr IN (1, 4)) e
WHERE r.task = 3;

-- what reptile's steps divide by is kept with the model, and not with a task
CALL meta.train('reptile', 'inner_loop.lines', 'task', 'y', features => 'x', order_by => 'nr', algorithm => 'reptile',
				options => '{"iterations": 100, "hidden": [16], "validation": 0}');
SELECT string_agg(t ->> 'name', ', ') AS averages
FROM jsonb_array_elements(meta.describe('reptile') -> 'tensors') t WHERE t ->> 'name' ~ 'second';
SELECT count(*) AS averages FROM jsonb_array_elements(meta.describe(
	(SELECT meta.adapt('reptile', s) FROM inner_loop.lines s WHERE s.task = 3)) -> 'tensors') t WHERE t ->> 'name' ~ 'second';
-- without steps in training there are no rates to learn, and those taken later go by inner_lr
CALL meta.train('no steps', 'inner_loop.lines', 'task', 'y', features => 'x', order_by => 'nr', algorithm => 'anil',
				options => '{"iterations": 20, "hidden": [8], "inner_steps": 0, "adapt_steps": 2}');
SELECT meta.predict(params, r) <> meta.predict('no steps', r) AS adapted
FROM lines r, LATERAL (SELECT meta.adapt('no steps', s) AS params FROM lines s WHERE s.task = 3 AND s.nr <= 5) p WHERE r.task = 3 AND r.nr = 9;
DELETE FROM meta.model;
DROP SCHEMA inner_loop CASCADE;
