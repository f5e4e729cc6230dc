--
-- The sinusoid regression of Finn, Abbeel and Levine (2017), in the database.
-- A task is a wave y = A sin(f x - p); amplitude 0.1 to 5, phase 0 to pi, x from
-- -5 to 5; f is 1, or 0.8 to 1.2 where it varies.  psql variables: waves,
-- iterations, inner_lr, tests, seed, algorithm, varies (boolean), more
-- (options).
--
\set ON_ERROR_STOP on
\timing off
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS sinusoid CASCADE;
CREATE SCHEMA sinusoid;
SET search_path = sinusoid;

-- random() with a seed: the same table each time on one server version
SELECT setseed(0.5) \g /dev/null

CREATE FUNCTION make_waves(first integer, last integer, points integer, varies boolean)
RETURNS TABLE (wave integer, point integer, x real, y real) LANGUAGE sql VOLATILE AS $$
	SELECT w.wave, p.point, p.x::real, (w.amplitude * sin(w.frequency * p.x - w.phase))::real
	FROM (SELECT wave, 0.1 + 4.9 * random() AS amplitude, pi() * random() AS phase,
				 CASE WHEN varies THEN 0.8 + 0.4 * random() ELSE 1 END AS frequency
		  FROM generate_series(first, last) wave OFFSET 0) w,
		 LATERAL (SELECT point, -5 + 10 * random() + 0 * w.wave AS x
				  FROM generate_series(1, points) point OFFSET 0) p
$$;

CREATE TABLE train AS SELECT * FROM make_waves(1, :waves, 20, :varies);

-- Points 1 to 10 of a test wave are support, in that order; the others query.
CREATE TABLE test AS SELECT * FROM make_waves(-:tests, -1, 110, :varies);
CREATE INDEX ON test (wave);
ANALYZE;

\echo The table that is learned from:
SELECT count(*) AS rows, count(DISTINCT wave) AS waves, round(avg(y)::numeric, 3) AS mean_y,
	   round(stddev(y)::numeric, 3) AS deviation_y, round(max(abs(y))::numeric, 2) AS largest_y
FROM   train;

\if :{?maintenance_work_mem}
SET maintenance_work_mem = :'maintenance_work_mem';
\endif
SET client_min_messages = notice;
SELECT jsonb_build_object(
	'encode', '{"x": "raw", "y": "raw"}'::jsonb,
	'hidden', '[40, 40]'::jsonb, 'skip', false, 'start_pooled', false,
	'shots', 10, 'query', 10, 'meta_batch', 25, 'inner_steps', 1, 'inner_lr', :inner_lr, 'outer_lr', 0.001, 'schedule', 'constant',
	'weight_decay', 0, 'clip', 0, 'patience', 0, 'validation', 0, 'test', 0,
	'iterations', :iterations, 'seed', :seed, 'report', 60, 'checkpoint', 60) || :'more' AS options \gset
\echo Options: :options

CALL meta.train('sinusoid', 'sinusoid.train', task => 'wave', target => 'y', features => 'x',
				algorithm => :'algorithm', options => :'options');

-- Ten inner steps with a model whose adaptation takes one: adapt what was
-- adapted to the same rows again.  A wave whose numbers are no longer finite is
-- kept as NULL and counted as diverged; meta.adapt and meta.predict raise an
-- error there, which would end the whole query.
SET client_min_messages = warning;
CREATE FUNCTION adapt_wave(from_params bytea, k integer, of_wave integer) RETURNS bytea LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
	RETURN (SELECT meta.adapt(from_params, t) FROM test t WHERE t.wave = of_wave AND t.point <= k);
EXCEPTION WHEN numeric_value_out_of_range THEN
	RETURN NULL;
END $$;

CREATE FUNCTION wave_error(of_params bytea, of_wave integer) RETURNS float8 LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
	RETURN (SELECT avg((meta.predict(of_params, t) - t.y) ^ 2) FROM test t WHERE t.wave = of_wave AND t.point > 10);
EXCEPTION WHEN numeric_value_out_of_range THEN
	RETURN NULL;
END $$;

CREATE TABLE adapted AS
SELECT k.shots, 0 AS steps, w.wave, meta.params('sinusoid') AS params
FROM   (VALUES (5), (10)) k (shots), generate_series(-:tests, -1) w (wave);

CREATE TABLE error AS
SELECT shots, steps, wave, wave_error(params, wave) AS mse FROM adapted WHERE shots = 10;

-- only the last step's params are kept
SELECT format('UPDATE adapted SET steps = %s, params = adapt_wave(params, shots, wave)', step),
	   CASE WHEN step IN (1, 5, 10) THEN 'INSERT INTO error SELECT shots, steps, wave, wave_error(params, wave) FROM adapted' END
FROM generate_series(1, 10) step \gexec

\echo Squared error on 100 points of each test wave, per wave, then over waves.  A wave that diverged
\echo has no finite error: mean is over the others, and says little where there are such waves, or a worst
\echo one far from the rest; median counts them as the worst.
SELECT CASE WHEN steps > 0 THEN shots ELSE 0 END AS k, steps, count(*) AS waves,
	   count(*) FILTER (WHERE mse IS NULL) AS diverged, count(*) FILTER (WHERE mse > 20) AS "over 20",
	   round(avg(mse)::numeric, 3) AS mean,
	   round((1.96 * stddev(mse) / sqrt(count(mse)))::numeric, 3) AS "+-",
	   round(percentile_cont(0.5) WITHIN GROUP (ORDER BY coalesce(mse, 'Infinity'))::numeric, 3) AS median,
	   round(max(mse)::numeric, 2) AS worst
FROM   error
GROUP  BY shots, steps
ORDER  BY 1, 2;

-- where the learner has a predictive distribution
SELECT :'algorithm' IN ('alpaca', 'cnp') AS intervals \gset
\if :intervals
\echo Share of 100 points of each of 300 test waves, at most, inside their 90 % intervals:
SELECT k, count(*) AS points, round(avg((y BETWEEN lower AND upper)::int), 3) AS covered
FROM   (SELECT k, t.wave, meta.adapt('sinusoid', t) AS params
		FROM (VALUES (1), (3), (5), (10)) v (k) JOIN test t ON t.point <= k AND t.wave >= -300 GROUP BY 1, 2) a
	   JOIN test t USING (wave), LATERAL meta.predict_interval(a.params, t, 0.9)
WHERE  t.point > 10
GROUP  BY 1 ORDER BY 1;
\endif
