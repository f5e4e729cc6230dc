-- Which option is for which algorithm: meta.options says so, and trainings bear it out.
SET client_min_messages = warning;
CREATE SCHEMA options;
SET search_path = options;
CREATE TABLE answers AS
	SELECT s AS student, n AS nr, (s * 7 + n * 13) % 20 / 10.0 - 1 AS x, sin(n * s) AS z, s % 5 + 2 * sin(s + n * 3) AS score, (s * n % 3)::text AS grade
	FROM generate_series(1, 40) s, generate_series(1, 12) n;

SELECT option, algorithms FROM meta.options WHERE algorithms IS NOT NULL;
-- all names are of algorithms
SELECT DISTINCT a FROM meta.options, unnest(algorithms) a WHERE a NOT IN (SELECT algorithm FROM meta.algorithms WHERE algorithm <> 'auto');

-- A model's tensors without their header, which holds the options, and what it predicts for a student after eight answers.
CREATE FUNCTION outcome(algorithm text, more jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	target text := CASE WHEN algorithm IN ('prototypical', 'matching', 'mann') THEN 'grade' ELSE 'score' END;
	other text := CASE target WHEN 'grade' THEN 'score' ELSE 'grade' END;
	params bytea;
	predicted text;
BEGIN
	SELECT meta.train(a, 'student', target, '{"order_by": "nr", "validation": 0, "hidden": [4], "step_rates": false,
			"iterations": 3, "meta_batch": 4, "shots": [0, 6], "query": 4, "inner_steps": 2, "inner_lr": 0.05}' || more || jsonb_build_object('algorithm', algorithm, 'exclude', jsonb_build_array(other)))
		INTO params FROM answers a;
	SELECT string_agg(CASE target WHEN 'grade' THEN meta.probabilities(t.params, a)::text ELSE meta.predict(t.params, a)::text END, ' ' ORDER BY a.nr) INTO predicted
		FROM (SELECT meta.adapt(params, a) AS params FROM answers a WHERE student = 3 AND nr <= 8) t, answers a WHERE student = 3 AND nr > 8;
	RETURN md5(substr(params, 9 + get_byte(params, 0) + 256 * get_byte(params, 1) + 65536 * get_byte(params, 2))) || md5(predicted);
END $$;
-- What is said to change nothing changes nothing, and what is said to change something does.
WITH probe (option, value) AS (VALUES
	('inner_steps', '3'), ('adapt_steps', '4'), ('inner_batch', '2'), ('inner_lr', '0.02'), ('step_rates', 'true'), ('multi_step', 'true'), ('inner_loss', '"mean"'),
	('features', '5'), ('context', '3'), ('latent', '3'), ('samples', '7'), ('kl_weight', '0.7'), ('row_weight', '0.5'), ('full_context', 'true'), ('memory', '7'),
	('start_pooled', 'false'), ('outer_lr', '0.003'), ('schedule', '"constant"'), ('meta_batch', '5'), ('weight_decay', '0.7'), ('clip', '0.0001')),
	base AS (SELECT algorithm, outcome(algorithm, '{}') AS result FROM meta.algorithms WHERE algorithm <> 'auto')
SELECT option, string_agg(b.algorithm, ' ') AS not_as_said
FROM probe p JOIN meta.options o USING (option), base b
WHERE (outcome(b.algorithm, jsonb_build_object(option, p.value::jsonb)) <> b.result) <> (b.algorithm = ANY (o.algorithms))
GROUP BY 1 ORDER BY 1;

-- it is said where a training is asked for it, and no more than said (the error ends it before it begins)
SET client_min_messages = notice;
\set VERBOSITY default
SELECT meta.train(a, 'student', 'mark', '{"algorithm": "pooled", "inner_steps": 2}') FROM answers a;
SELECT meta.train(a, 'student', 'mark', '{"algorithm": "maml", "inner_steps": 2}') FROM answers a;
SELECT meta.train(a, 'student', 'mark', '{"algorithm": "auto", "inner_steps": 2, "latent": 3}') FROM answers a;
CALL meta.train('useless', 'answers', 'student', 'mark', algorithm => 'reptile', options => '{"clip": 2}');
SET client_min_messages = warning;

-- of the aggregate's features a number is the option, and a string names columns
SELECT meta.describe(meta.train(a, 'student', 'score', '{"algorithm": "ridge", "features": 3, "hidden": [4], "iterations": 1, "validation": 0}'))
	#> '{options,features}' AS features FROM answers a;
DROP SCHEMA options CASCADE;
