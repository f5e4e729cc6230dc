-- Answers to items: a learner starts from the items' effects, and learns what
-- they leave of a task as if it had not been among those they were fitted on
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA items;
SET search_path = items;

-- numbers in [0, 1) that are the same everywhere
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;

-- 700 students answer 20 of 1,500 items, which have nine answers each; a
-- student is good at some of four strands
CREATE TABLE answer AS
	SELECT student, nr, 'item ' || item AS item, 'strand ' || item % 4 AS strand,
		   u('answer', student::text, nr::text) < 1 / (1 + exp(-logit)) AS correct
	FROM generate_series(1, 700) student, generate_series(1, 20) nr,
		 LATERAL (SELECT (1500 * u('item', student::text, nr::text))::int AS item) i,
		 LATERAL (SELECT 3 * u('able', student::text) - 1.5 + 5 * u('able', student::text, (item % 4)::text) - 2.5
						 - 4 * u('hard', item::text) + 2 AS logit) l;

CALL meta.train('strands', 'items.answer', task => 'student', target => 'correct', order_by => 'nr', algorithm => 'alpaca',
				options => '{"encode": {"strand": "category"}, "iterations": 600, "hidden": [16], "context": 8, "meta_batch": 32,
							 "outer_lr": 0.003, "patience": 0, "shots": [0, 12], "query": 8, "validation": 0.2, "test": 0.3}');

-- better than one ability per student, from five answers on; no harm before
CREATE TABLE result AS SELECT * FROM meta.evaluate('strands', shots => '{0,5,10}') WHERE metric = 'log_loss';
SELECT a.shots, a.value < 1.01 * r.value AS no_harm, a.value < 0.97 * r.value AS better
FROM result a JOIN result r USING (shots) WHERE a.method = 'adapted' AND r.method = 'random_intercept' ORDER BY 1;

-- of an item nobody has seen, only the strand counts
SELECT meta.predict(params, new) = meta.predict(params, other) AS items_are_alike, meta.predict(params, new) <> meta.predict(params, old) AS but_not_known_ones
FROM (SELECT meta.adapt('strands', a) AS params FROM answer a WHERE student = 1) s,
	 (SELECT 'item x' AS item, 'strand 1' AS strand) new, (SELECT 'item y' AS item, 'strand 1' AS strand) other,
	 (SELECT item, strand FROM answer WHERE strand = 'strand 1' ORDER BY student, nr LIMIT 1) old;

DROP SCHEMA items CASCADE;
