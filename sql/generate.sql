-- meta.generate, meta.log_likelihood, meta.embed: a model of whole rows
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
DELETE FROM meta.model;
CREATE SCHEMA generate;
SET search_path = generate;
SET timezone = 'UTC';

-- numbers in [0, 1) that are the same everywhere
CREATE FUNCTION u(VARIADIC text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || left(md5(array_to_string($1, ' ')), 8))::bit(32)::bigint / 4294967296.0 $$;

-- 200 schools; hours follow age, scores follow hours and the school, and so does everything else
CREATE TABLE pupils AS
	SELECT school, nr, age, round(age / 2 + 4 * level + 4 * u('h', s, n))::int AS hours,
		   CASE WHEN u('a', s, n) > 0.3 THEN (10 * level + u('b', s, n))::numeric END AS books,
		   CASE WHEN u('t', s, n) < 0.2 + level / 2 THEN 'bus' WHEN u('t', s, n) < 0.8 THEN 'walk' ELSE 'car' END AS travel,
		   'club ' || chr(97 + floor(6 * level + 6 * u('c', s, n))::int) AS club,
		   u('m', s, n) < level AS member,
		   date '2020-01-01' + floor(100 * level + 30 * u('d', s, n))::int AS joined,
		   timestamptz '2020-01-01' + interval '1 hour' * 100 * u('z', s, n) AS seen, interval '1 minute' * (20 + 40 * u('i', s, n)) AS way,
		   time '08:00' + interval '1 minute' * floor(60 * u('o', s, n)) AS at, ARRAY[age, 1]::real[] AS pair,
		   10 * level + age / 4 + 2 * u('y', s, n) AS score
	FROM generate_series(1, 200) school, generate_series(1, 24) nr,
		 LATERAL (SELECT school::text AS s, nr::text AS n, u('level', school::text) AS level, 8 + 10 * u('x', school::text, nr::text) AS age) l;

CALL meta.train('score', 'generate.pupils', 'school', 'score', features => 'age, hours, books, travel, club, member, joined, seen, way, at, pair',
				order_by => 'nr', algorithm => 'vaml',
				options => '{"iterations": 300, "hidden": [16], "meta_batch": 16, "outer_lr": 0.005, "weight_decay": 0.001, "shots": [0, 12], "query": 12, "row_weight": 1, "latent": 3, "patience": 0}');
CREATE TABLE schools AS
	SELECT school, meta.adapt('score', p) AS params FROM pupils p WHERE nr <= 12 AND school <= 60 GROUP BY 1;

-- rows by column, each of its type
SELECT key, string_agg(DISTINCT jsonb_typeof(value), ' ' ORDER BY jsonb_typeof(value)) AS type
FROM meta.generate('score', 200) r, jsonb_each(r) GROUP BY 1 ORDER BY 1;
SELECT count(*), bool_and(p.hours IS NOT NULL AND p.joined BETWEEN '2019-01-01' AND '2021-01-01' AND p.at IS NOT NULL) AS filled,
	   bool_and(p.travel IN ('bus', 'walk', 'car') AND p.club ~ '^club [a-l]$') AS labels,
	   bool_and(p.seen BETWEEN '2019-12-01' AND '2020-02-01' AND p.way BETWEEN '-1 hour' AND '2 hours') AS times,
	   avg((p.books IS NULL)::int) BETWEEN 0.1 AND 0.5 AS missing, bool_and(p.pair IS NULL AND p.school IS NULL AND p.nr IS NULL) AS others
FROM schools s, LATERAL meta.generate(s.params, 20) r, jsonb_populate_record(NULL::pupils, r) p;

-- the seed decides, and how many are asked for does not matter
CREATE TABLE made AS
	SELECT seed, place, r FROM generate_series(0, 1) seed, LATERAL meta.generate('score', 150, seed) WITH ORDINALITY g (r, place);
SELECT (SELECT array_agg(r ORDER BY place) FROM made WHERE seed = 0) = (SELECT array_agg(r) FROM meta.generate('score', 150) r) AS again,
	   (SELECT array_agg(r ORDER BY place) FROM made WHERE seed = 1 AND place <= 70) = (SELECT array_agg(r) FROM meta.generate('score', 70, 1) r) AS beginning,
	   (SELECT array_agg(r ORDER BY place) FROM made WHERE seed = 0) <> (SELECT array_agg(r ORDER BY place) FROM made WHERE seed = 1) AS another,
	   (SELECT count(DISTINCT r) FROM made) AS distinct_rows;
SELECT count(*) FROM meta.generate('score', 0);
SELECT count(*) FROM meta.generate('score', NULL);

-- another seed, another task: their means lie further apart than those of parts of one task
SELECT stddev(mean) > 2 * avg(apart) AS tasks
FROM (SELECT seed, avg((r ->> 'score')::float8) AS mean,
			 abs(avg((r ->> 'score')::float8) FILTER (WHERE place <= 50) - avg((r ->> 'score')::float8) FILTER (WHERE place > 50)) AS apart
	  FROM generate_series(1, 40) seed, LATERAL meta.generate('score', 100, seed) WITH ORDINALITY g (r, place) GROUP BY 1) t;

-- rows of an adapted task are like its own
CREATE TABLE means AS
	SELECT made, school, avg(score) AS score, avg(hours) AS hours, avg(books) AS books, avg(member::int) AS member,
		   avg(joined - date '2020-01-01') AS joined, avg((travel = 'bus')::int) AS bus, regr_slope(hours, age) AS slope
	FROM (SELECT false AS made, p.* FROM pupils p WHERE school <= 60
		  UNION ALL
		  SELECT true, p.* FROM schools s, LATERAL meta.generate(s.params, 60) r, jsonb_populate_record(NULL::pupils, r || jsonb_build_object('school', s.school)) p) p
	GROUP BY 1, 2;
SELECT corr(m.score, t.score) > 0.8 AS score, corr(m.hours, t.hours) > 0.8 AS hours, corr(m.books, t.books) > 0.8 AS books,
	   corr(m.member, t.member) > 0.6 AS member, corr(m.joined, t.joined) > 0.8 AS joined, corr(m.bus, t.bus) > 0.4 AS bus,
	   avg(m.slope) / avg(t.slope) BETWEEN 0.5 AND 1.5 AS together
FROM means m JOIN means t USING (school) WHERE m.made AND NOT t.made;

-- rows are more likely under their own task's params than under the prior, and there than under another task's
SELECT avg(meta.log_likelihood(s.params, p)) > avg(meta.log_likelihood('score', p)) + 0.5 AS own,
	   avg(meta.log_likelihood('score', p)) > avg(meta.log_likelihood(o.params, p)) AS others
FROM schools s JOIN pupils p USING (school), schools o WHERE nr > 12 AND o.school = s.school % 60 + 1;
-- in the columns' own units; without a target none; what the model does not know does not count
CREATE TABLE minutes AS SELECT school, nr, age * 60 AS age, score FROM pupils;
CALL meta.train('age', 'SELECT school, nr, age, score FROM generate.pupils', 'school', 'score', features => 'age', order_by => 'nr', algorithm => 'vaml',
				options => '{"iterations": 20, "hidden": [4], "latent": 1}');
CALL meta.train('minutes', 'generate.minutes', 'school', 'score', features => 'age', order_by => 'nr', algorithm => 'vaml',
				options => '{"iterations": 20, "hidden": [4], "latent": 1}');
SELECT abs(avg(meta.log_likelihood('age', p) - meta.log_likelihood('minutes', m)) - ln(60)) < 0.001 AS units
FROM pupils p JOIN minutes m USING (school, nr) WHERE school = 1;
SELECT meta.log_likelihood('score', p) IS NULL AS nothing
FROM pupils q, jsonb_populate_record(q, '{"score": null}') p WHERE q.school = 1 AND q.nr = 1;
SELECT meta.log_likelihood('score', p) > meta.log_likelihood('score', q) AS left_out
FROM pupils q, jsonb_populate_record(q, '{"club": "none of them"}') p WHERE q.school = 1 AND q.nr = 1;

-- a task in a few numbers
SELECT array_length(meta.embed(params), 1) AS numbers, pg_typeof(meta.embed(params)) AS type, bool_and(meta.embed(params) <> meta.embed('score')) AS own
FROM schools GROUP BY 1, 2;
SELECT corr(m.score, near.score) > 0.7 AS alike
FROM schools s JOIN means m ON m.school = s.school AND NOT m.made,
	 LATERAL (SELECT n.score FROM schools o JOIN means n ON n.school = o.school AND NOT n.made,
					 LATERAL (SELECT sum((a - b) ^ 2) AS distance FROM unnest(meta.embed(s.params), meta.embed(o.params)) e (a, b)) d
			  WHERE o.school <> s.school ORDER BY distance LIMIT 1) near;
SELECT meta.embed(meta.adapt('score', NULL::pupils)) = meta.embed('score') AS prior;
SELECT meta.embed(meta.params(params)) = meta.embed(params) AS copy, (SELECT array_agg(r) FROM meta.generate(meta.params(params), 3) r) =
	   (SELECT array_agg(r) FROM meta.generate(params, 3) r) AS rows
FROM schools WHERE school = 5;

-- other targets
CALL meta.train('member', 'generate.pupils', 'school', 'member', features => 'age, hours', order_by => 'nr', algorithm => 'vaml',
				options => '{"iterations": 100, "hidden": [8], "latent": 2}');
CALL meta.train('travel', 'generate.pupils', 'school', 'travel', features => 'age, club', order_by => 'nr', algorithm => 'vaml',
				options => '{"iterations": 100, "hidden": [8], "latent": 2}');
CALL meta.train('rides', 'SELECT school, nr, age, (travel = ''bus'')::int AS rides, member::int AS number FROM generate.pupils', 'school', 'rides', order_by => 'nr',
				algorithm => 'vaml', options => '{"iterations": 20, "hidden": [8], "exclude": ["nr"], "encode": {"number": "boolean"}}');
SELECT model, key, string_agg(DISTINCT CASE WHEN jsonb_typeof(value) = 'number' AND key IN ('age', 'hours') THEN 'number' ELSE value::text END, ' ') AS "values"
FROM (VALUES ('member'), ('travel'), ('rides')) m (model), LATERAL meta.generate(model, 200) r, jsonb_each(r) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT array_length(meta.embed('member'), 1) AS member, array_length(meta.embed('travel'), 1) AS travel, meta.log_likelihood('travel', p) < 0 AS likely
FROM pupils p WHERE school = 1 AND nr = 1;
-- a boolean that is learned as a number is one again
CALL meta.train('squared', 'generate.pupils', 'school', 'member', features => 'age', order_by => 'nr', algorithm => 'vaml',
				options => '{"iterations": 20, "hidden": [8], "loss": "squared"}');
SELECT DISTINCT jsonb_typeof(r -> 'member') AS type FROM meta.generate('squared', 50) r;
-- numbers as they come are modelled on their own scale
CALL meta.train('raw', 'SELECT school, 500 + 10 * age AS points, score FROM generate.pupils', 'school', 'score', algorithm => 'vaml',
				options => '{"iterations": 600, "hidden": [8], "latent": 2, "encode": {"points": "raw"}}');
SELECT avg((r ->> 'points')::float8) BETWEEN 620 AND 640 AS mean, stddev((r ->> 'points')::float8) BETWEEN 22 AND 36 AS deviation FROM meta.generate('raw', 1000) r;
SELECT avg((r ->> 'points')::float8) BETWEEN 620 AND 640 AS mean, stddev((r ->> 'points')::float8) BETWEEN 22 AND 40 AS deviation
FROM (SELECT meta.adapt('raw', p) AS params FROM (SELECT school, 500 + 10 * age AS points, score FROM pupils) p GROUP BY school) t, meta.generate(params, 20) r;
SELECT avg(meta.log_likelihood('raw', p)) > avg(meta.log_likelihood('raw', q)) + 1 AS likelier
FROM (SELECT 500 + 10 * age AS points, score FROM pupils LIMIT 200) p, LATERAL (SELECT p.points + 200 AS points, p.score) q;
-- what all rows of a task share, made-up ones share, too; and tasks made up from nothing are spread as tasks are
CREATE TABLE kinds AS
	SELECT s AS school, CASE WHEN u('k', s::text) < 0.3 THEN 'small' ELSE 'large' END AS kind, round(100 * u('z', s::text))::int AS places, u('r', s::text, n::text) < 0.5 AS r,
		   CASE WHEN u('k', s::text) < 0.3 THEN 5 ELSE 0 END + 2 * u('l', s::text) + u('y', s::text, n::text) AS y
	FROM generate_series(1, 200) s, generate_series(1, 20) n;
CALL meta.train('kinds', 'generate.kinds', 'school', 'y', features => 'kind, places, r', algorithm => 'vaml',
				options => '{"iterations": 800, "outer_lr": 0.005, "hidden": [16], "patience": 0}');
CREATE TABLE made_kinds AS
	SELECT seed, count(DISTINCT r ->> 'kind') AS kinds, min(r ->> 'kind') AS kind, stddev((r ->> 'places')::float8) AS within, avg((r ->> 'places')::float8) AS places,
		   count(DISTINCT r ->> 'r') AS others, avg((r ->> 'y')::float8) AS y
	FROM generate_series(1, 300) seed, LATERAL meta.generate('kinds', 16, seed) r GROUP BY 1;
SELECT avg((kinds = 1)::int) > 0.95 AS kind, avg(within) < 0.3 * stddev(places) AS places, avg((others = 2)::int) > 0.95 AS and_no_other,
	   avg((kind = 'small')::int) BETWEEN 0.15 AND 0.45 AS small, avg(places) BETWEEN 40 AND 60 AS mean, stddev(places) BETWEEN 15 AND 45 AS spread,
	   avg(y) FILTER (WHERE kind = 'small') - avg(y) FILTER (WHERE kind = 'large') BETWEEN 4 AND 6 AS together
FROM made_kinds;
-- one seed draws other rows of other tasks
SELECT count(DISTINCT r) > 90 AS other FROM (SELECT meta.adapt('kinds', k) AS params FROM kinds k GROUP BY school LIMIT 100) t, LATERAL (SELECT r - 'kind' - 'r' AS r FROM meta.generate(params, 1) r) m;
-- NULL is a label of a category, where training had some: one-hot and embedded, it is learned, judged and made up as another label in its place
CREATE TABLE gaps AS
	SELECT s AS school, n AS nr, CASE WHEN u('a', s::text, n::text) > 0.1 + 0.6 * l THEN 'known' END AS short,
		   CASE WHEN u('b', s::text, n::text) > l THEN 'label ' || floor(20 * u('c', s::text, n::text)) END AS long,
		   CASE WHEN u('d', s::text, n::text) < 0.3 THEN 'x' ELSE 'y' END AS always, 10 * l + u('y', s::text, n::text) AS y
	FROM generate_series(1, 150) s, generate_series(1, 20) n, LATERAL (SELECT u('l', s::text) AS l) l;
CREATE TABLE filled AS SELECT school, nr, coalesce(short, 'none') AS short, coalesce(long, 'none') AS long, always, y FROM gaps;
CALL meta.train('gaps', 'generate.gaps', 'school', 'y', order_by => 'nr', algorithm => 'vaml',
				options => '{"exclude": ["nr"], "iterations": 200, "outer_lr": 0.005, "hidden": [16], "patience": 0}');
CALL meta.train('filled', 'generate.filled', 'school', 'y', order_by => 'nr', algorithm => 'vaml',
				options => '{"exclude": ["nr"], "iterations": 200, "outer_lr": 0.005, "hidden": [16], "patience": 0}');
SELECT count(*) FILTER (WHERE g ->> 'short' IS NULL) > 600 AS short, count(*) FILTER (WHERE g ->> 'long' IS NULL) > 600 AS long,
	   count(*) FILTER (WHERE g ->> 'always' IS NULL) AS always,
	   bool_and(g || jsonb_build_object('short', coalesce(g ->> 'short', 'none'), 'long', coalesce(g ->> 'long', 'none')) = f) AS same
FROM generate_series(1, 100) seed, LATERAL ROWS FROM (meta.generate('gaps', 30, seed), meta.generate('filled', 30, seed)) r (g, f);
SELECT bool_and(meta.log_likelihood('gaps', none) = meta.log_likelihood('filled', f)) AS same,
	   bool_and(meta.log_likelihood('gaps', none) <> meta.log_likelihood('gaps', another)) AS "NULL is judged",
	   bool_and(meta.predict('gaps', none) <> meta.predict('gaps', another)) AS "and no unknown label",
	   bool_and(meta.log_likelihood('gaps', missing) = meta.log_likelihood('gaps', unknown) AND meta.predict('gaps', missing) = meta.predict('gaps', unknown)) AS "unless training had none"
FROM gaps g, jsonb_populate_record(g, '{"short": null, "long": null}') none, jsonb_populate_record(g, '{"short": null, "long": "another"}') another,
	 jsonb_populate_record(g, '{"always": null}') missing, jsonb_populate_record(g, '{"always": "z"}') unknown,
	 jsonb_populate_record(NULL::filled, to_jsonb(g) || '{"short": "none", "long": "none"}') f
WHERE g.school = 1;
-- where a target cannot be predicted, and nothing is gained by training on, whole rows are learned still
CREATE TABLE noise AS
	SELECT s AS school, 100 + 20 * v + 5 * u('a', s::text, n::text) AS a, 3 * v + u('b', s::text, n::text) AS b, u('t', s::text, n::text) < 0.95 AS t,
		   u('y', s::text, n::text) AS y
	FROM generate_series(1, 120) s, generate_series(1, 20) n, LATERAL (SELECT u('v', s::text, n::text) AS v) l;
CALL meta.train('noise', 'generate.noise', 'school', 'y', algorithm => 'vaml',
				options => '{"metric": "mae", "iterations": 800, "hidden": [16], "latent": 2, "patience": 8}');
SELECT corr((r ->> 'a')::float8, (r ->> 'b')::float8) > 0.8 AS alike, avg((r ->> 't')::boolean::int) > 0.88 AS flags FROM meta.generate('noise', 2000) r;
SELECT (metrics ->> 'best_iteration')::int < 400 AND (metrics ->> 'iterations')::int > 400 AS went_on FROM meta.version v JOIN meta.model m ON m.id = v.model WHERE m.name = 'noise';

-- errors
CALL meta.train('shift', 'generate.pupils', 'school', 'score', features => 'age', order_by => 'nr', algorithm => 'random_intercept', options => '{"iterations": 10}');
SELECT meta.generate('shift', 3);
SELECT * FROM meta.generate((SELECT meta.adapt('shift', p) FROM pupils p WHERE school = 1), 3);
SELECT meta.log_likelihood('shift', p) FROM pupils p LIMIT 1;
SELECT meta.embed('shift');
SELECT meta.generate('score', -1);
SELECT meta.generate('nobody', 1);
SELECT meta.generate('score'::bytea, 1);
SELECT meta.embed('\xdeadbeef'::bytea);
SELECT meta.log_likelihood('score', ROW(1, 2));
SELECT meta.log_likelihood('score', p) FROM (SELECT age, hours, books, travel, club, member, joined, seen, way, at, pair FROM pupils) p LIMIT 1;
CALL meta.train('no rows', 'generate.pupils', 'school', 'score', features => 'age', order_by => 'nr', algorithm => 'vaml', options => '{"iterations": 10, "row_weight": 0}');
SELECT meta.generate('no rows', 1);
SELECT array_length(meta.embed('no rows'), 1) AS still;
CALL meta.train('no columns', 'generate.pupils', 'school', 'score', features => 'pair', order_by => 'nr', algorithm => 'vaml', options => '{"iterations": 10}');
SELECT meta.generate('no columns', 1);
CALL meta.train('episodes', 'generate.pupils', 'club', 'club', features => 'age, hours', algorithm => 'vaml',
				options => '{"iterations": 10, "way": 2, "shots": 2, "query": 2, "hidden": [4]}');
SELECT meta.generate('episodes', 1);
CALL meta.train('wrong', 'generate.pupils', 'school', 'score', algorithm => 'vaml', options => '{"latents": 3}');
CALL meta.train('wrong', 'generate.pupils', 'school', 'score', algorithm => 'vaml', options => '{"samples": 0}');

DELETE FROM meta.model;
DROP SCHEMA generate CASCADE;
