-- Images: pixels in bytea and arrays, convolutional networks, batch normalisation, turned classes
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
SET search_path = '';

-- 60 marks, 10 drawings of each: 16 x 16 pixels, where a mark inks some of the blocks of 2 x 2
-- more or less darkly; as bytes, as integers, as numbers from 0 to 1, and in three colours
CREATE FUNCTION public.draw(mark int, drawing int, channels int) RETURNS int[] LANGUAGE sql AS $$
	SELECT array_agg(CASE WHEN (mark * (7919 + 104729 * (y / 2 * 8 + x / 2))) % 997 < 400
						  THEN 120 + (mark * 31 + drawing * 17 + y * 13 + x * 7 + c * 5) % 100
						  ELSE (drawing * 11 + y * 3 + x * 5) % 40 END ORDER BY y, x, c)
	FROM generate_series(0, 15) y, generate_series(0, 15) x, generate_series(1, channels) c $$;
CREATE TABLE public.marks AS
SELECT mark, drawing, drawn AS pixels, scaled AS numbers, decode(hex, 'hex') AS image, public.draw(mark, drawing, 3) AS colours, drawing * 0.1 AS pen
FROM generate_series(1, 60) mark, generate_series(1, 10) drawing, public.draw(mark, drawing, 1) drawn,
	 LATERAL (SELECT array_agg(p::float4 / 255::float4 ORDER BY o), string_agg(lpad(to_hex(p), 2, '0'), '' ORDER BY o)
			  FROM unnest(drawn) WITH ORDINALITY u (p, o)) l (scaled, hex);

-- a metric-based learner, whose network keeps averages for rows that come alone
CALL meta.train('bytes', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv4", "filters": 8, "features": 8, "encode": {"image": "image 16x16"}, "way": 4, "shots": 1, "query": 3, "meta_batch": 2, "iterations": 100, "outer_lr": 0.01, "rotations": true, "report": 3600, "checkpoint": 3600}');
SELECT d #> '{network,network}' AS network, d #> '{network,image}' AS image, d #> '{network,norm}' AS norm, d #> '{network,hidden}' AS filters
FROM meta.describe('bytes') d;
SELECT method, value > 0.5 AS good FROM meta.evaluate('bytes', shots => '{1}') WHERE metric = 'accuracy' AND method = 'adapted';

-- the same pixels as integers, and as numbers, are the same
CREATE TABLE public.params AS
SELECT (SELECT meta.adapt('bytes', r) FROM (SELECT mark, image FROM public.marks WHERE mark <= 4 AND drawing = 1) r) AS bytes,
	   (SELECT meta.adapt('bytes', r) FROM (SELECT mark, pixels AS image FROM public.marks WHERE mark <= 4 AND drawing = 1) r) AS integers,
	   (SELECT meta.adapt('bytes', r) FROM (SELECT mark, numbers AS image FROM public.marks WHERE mark <= 4 AND drawing = 1) r) AS numbers;
SELECT bytes = integers AS integers, bytes = numbers AS numbers, get_byte(bytes, 0) + 256 * get_byte(bytes, 1) <= 512 AS small_header FROM public.params;
SELECT avg((meta.classify(bytes, m) = mark::text)::int) > 0.5 AS good FROM public.params, public.marks m WHERE mark <= 4 AND drawing > 1;

-- whatever learner: three channels, integers, another column beside the image; tasks with layers of their own
-- keep the moments of their support
CREATE TABLE public.learned (algorithm text, network text, norm text, rows text, classes int);
DO $do$
DECLARE
	a text;
	net text;
BEGIN
	FOR a, net IN VALUES ('maml', 'conv4'), ('fomaml', 'conv4_pool'), ('meta_sgd', 'conv4'), ('anil', 'conv4'), ('cavia', 'conv4'), ('reptile', 'conv4'),
			('ridge', 'conv4_pool'), ('matching', 'conv4'), ('cnp', 'conv4') LOOP
		CALL meta.train(a, 'public.marks', task => 'mark', target => 'mark', features => 'colours, pen', algorithm => a,
						options => format('{"network": "%s", "filters": 6, "features": 6, "encode": {"colours": "image 16x16x3"}, "way": 3, "shots": 2, "query": 2, "meta_batch": 2, "iterations": 1, "inner_steps": 2, "validation": 0, "test": 0.3}', net)::jsonb);
		INSERT INTO public.learned
		SELECT a, net, meta.describe(a) #>> '{network,norm}', meta.describe(p) ->> 'rows',
			   (SELECT count(*) FROM jsonb_object_keys(meta.probabilities(p, m)))
		FROM public.marks m, (SELECT meta.adapt(a, m) AS p FROM public.marks m WHERE mark < 4 AND drawing < 3) p
		WHERE mark = 3 AND drawing = 3;
	END LOOP;
END $do$;
TABLE public.learned;
-- query rows that see each other, as papers have them, and rows alone
SELECT method, bool_and(value BETWEEN 0 AND 1) AS valid FROM meta.evaluate('maml', shots => '{2}') WHERE metric = 'accuracy' GROUP BY 1 ORDER BY 1;

-- hidden layers can be normalised, too; without the option they are not
CALL meta.train('normed', 'public.marks', task => 'mark', target => 'mark', features => 'numbers', algorithm => 'maml',
				options => '{"hidden": [16, 8], "norm": "batch", "skip": false, "way": 3, "shots": 2, "query": 2, "iterations": 4, "validation": 0, "test": 0.3}');
SELECT meta.describe('normed') #> '{network,norm}' AS norm;
CALL meta.train('plain', 'public.marks', task => 'mark', target => 'pen', features => 'numbers', algorithm => 'maml',
				options => '{"hidden": [8], "iterations": 4, "test": 0.3}');
SELECT meta.describe('plain') #> '{network,norm}' AS norm;
-- tasks of their own, numbers to predict from images, some missing
CALL meta.train('number', $$SELECT drawing, mark, CASE WHEN mark % 7 > 0 THEN image END AS image, pen + mark AS target FROM public.marks$$,
				task => 'drawing', target => 'target', features => 'image',
				options => '{"network": "conv4", "filters": 4, "encode": {"image": "image 16x16"}, "iterations": 4, "meta_batch": 4, "query": 5, "shots": [0, 5], "test": 0.3}',
				algorithm => 'alpaca');
SELECT count(*) AS rows, bool_and(meta.predict(p, m) BETWEEN -1000 AND 1000) AS finite
FROM public.marks m, meta.params('number') p WHERE drawing = 1;
SELECT method, count(*) FROM meta.evaluate('number', shots => '{0,2}') WHERE metric = 'rmse' GROUP BY 1 ORDER BY 1;

-- training that distorts images: what is learned holds for drawings that are moved, as no training drawing is
CREATE TABLE public.moved AS
SELECT mark, drawing, array_agg(coalesce(m.pixels[(y + drawing % 3 - 1) * 16 + x + drawing / 3 % 3], 0) ORDER BY y, x) AS pixels
FROM public.marks m, generate_series(0, 15) y, generate_series(0, 15) x WHERE drawing <= 9 GROUP BY mark, drawing, m.pixels;
CREATE TABLE public.shown (augment float8, accuracy float8);
DO $do$
DECLARE
	a float8;
BEGIN
	FOREACH a IN ARRAY ARRAY[0, 1] LOOP
		CALL meta.train('shown', 'public.marks', task => 'mark', target => 'mark', features => 'pixels', algorithm => 'prototypical',
						options => format('{"network": "conv4", "filters": 16, "features": 16, "encode": {"pixels": "image 16x16"}, "way": 5, "shots": 1, "query": 3, "meta_batch": 4, "iterations": 200, "outer_lr": 0.005, "validation": 0, "test": 0.3, "augment": %s}', a)::jsonb);
		INSERT INTO public.shown
		SELECT a, value FROM meta.evaluate('shown', 'public.moved', shots => '{1}') WHERE metric = 'accuracy' AND method = 'adapted';
	END LOOP;
END $do$;
SELECT max(accuracy) FILTER (WHERE augment = 1) > max(accuracy) FILTER (WHERE augment = 0) + 0.1 AS better FROM public.shown;

-- networks that leave more than one pixel, and tasks of which nothing is known yet
CREATE TABLE public.large AS
	SELECT g / 8 AS artist, g AS mark, decode(repeat(lpad(to_hex(g * 7 % 256), 2, '0'), 784), 'hex') AS grey,
		   decode(repeat(lpad(to_hex(g * 7 % 256), 2, '0') || '00ff', 1024), 'hex') AS colour
	FROM generate_series(0, 319) g;
DO $do$
DECLARE
	a text;
	n text;
BEGIN
	FOREACH a IN ARRAY ARRAY['maml', 'prototypical', 'alpaca', 'cnp', 'vaml', 'lstm', 'mann'] LOOP
		FOREACH n IN ARRAY ARRAY['conv4', 'conv4_pool', 'conv4_flat'] LOOP
			CALL meta.train('large', 'SELECT artist, mark % 2 = 0 AS even, colour FROM public.large', task => 'artist', target => 'even', algorithm => a,
							options => format('{"network": "%s", "filters": 4, "encode": {"colour": "image 32x32x3"}, "shots": [0, 3], "query": 3, "meta_batch": 2, "iterations": 2, "inner_steps": 1}', n)::jsonb);
			IF (SELECT meta.predict('large', l) IS NULL FROM (SELECT colour FROM public.large LIMIT 1) l) THEN
				RAISE '% cannot predict with %', a, n;
			END IF;
		END LOOP;
	END LOOP;
END $do$;
CALL meta.train('large', 'SELECT artist, mark, grey FROM public.large', task => 'artist', target => 'mark', algorithm => 'maml',
				options => '{"network": "conv4", "filters": 4, "encode": {"grey": "image 28x28"}, "query": 3, "meta_batch": 2, "iterations": 2, "inner_steps": 1}');
SELECT meta.predict('large', l) IS NOT NULL AS predicted FROM (SELECT grey FROM public.large LIMIT 1) l;

-- what is wrong is said
CALL meta.train('wrong', $$SELECT mark, array[[1, 0], [0, 0]] AS pixels FROM public.marks$$, task => 'mark', target => 'mark', algorithm => 'prototypical',
				options => '{"encode": {"pixels": "image 4x1"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', $$SELECT mark, array_fill(0, ARRAY[3, 4, 4]) AS pixels FROM public.marks$$, task => 'mark', target => 'mark', algorithm => 'prototypical',
				options => '{"encode": {"pixels": "image 4x4x3"}, "way": 4, "shots": 1}');
CALL meta.train('right', $$SELECT mark, array_fill(0, ARRAY[1, 4, 4]) AS pixels FROM public.marks$$, task => 'mark', target => 'mark', algorithm => 'prototypical',
				options => '{"encode": {"pixels": "image 4x4"}, "way": 4, "shots": 1, "query": 2, "iterations": 2}');
SELECT meta.adapt('right', r) FROM (SELECT mark, array_fill(0, ARRAY[2, 8]) AS pixels FROM public.marks WHERE mark <= 4) r;
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"encode": {"image": "image 1024x1024x4"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"image": "image 16x15"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"image": "image 16x16x3"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'numbers', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"numbers": "image 8x8"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', $$SELECT mark, array[300, 0, 0, 0] AS pixels FROM public.marks$$, task => 'mark', target => 'mark', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"pixels": "image 2x2"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'pen', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"pen": "image 1x1"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'pen, numbers', algorithm => 'prototypical',
				options => '{"network": "conv4", "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image, numbers', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"image": "image 16x16", "numbers": "image 16x16"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', $$SELECT mark, array[1, 0, 0, 0] AS pixels FROM public.marks$$, task => 'mark', target => 'mark', algorithm => 'prototypical',
				options => '{"network": "conv4_pool", "encode": {"pixels": "image 2x2"}, "way": 4, "shots": 1}');
CALL meta.train('wrong', $$SELECT mark, array[1, 0, 0, 0] AS pixels FROM public.marks$$, task => 'mark', target => 'mark', algorithm => 'prototypical',
				options => '{"encode": {"pixels": "image 1x4"}, "rotations": true, "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'pen', algorithm => 'prototypical',
				options => '{"rotations": true, "way": 4, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'drawing', target => 'pen', features => 'numbers', options => '{"rotations": true}');
CALL meta.train('wrong', 'public.marks', task => 'drawing', target => 'pen', features => 'numbers', options => '{"augment": 0.5}');
CALL meta.train('wrong', 'public.marks', task => 'drawing', target => 'pen', features => 'numbers', options => '{"augment": -1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"image": "image 16x16"}, "way": 61, "shots": 1}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"image": "image 16x16"}, "way": 4, "shots": 10, "query": 5}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv4", "encode": {"image": "image 16x16"}, "way": 4, "shots": 0}');
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv5"}');
SELECT * FROM meta.evaluate('bytes', shots => '{0}');
SELECT meta.adapt('bytes', r) FROM (SELECT mark, substr(image, 2) AS image FROM public.marks WHERE mark <= 4) r;
SELECT meta.classify(bytes, r) FROM public.params, (SELECT numbers[2:] AS image FROM public.marks LIMIT 1) r;
SELECT meta.classify(bytes, r) FROM public.params, (SELECT 'x' AS image) r;
-- memory for images is asked for before training
SET maintenance_work_mem = '4MB';
CALL meta.train('wrong', 'public.marks', task => 'mark', target => 'mark', features => 'image', algorithm => 'prototypical',
				options => '{"network": "conv4_pool", "encode": {"image": "image 16x16"}, "way": 20, "shots": 1}');
SET maintenance_work_mem = '1MB';
SELECT * FROM meta.evaluate('maml', shots => '{2}');
RESET maintenance_work_mem;


DELETE FROM meta.model WHERE name IN ('bytes', 'normed', 'plain', 'number', 'shown', 'large', 'right') OR name IN (SELECT algorithm FROM public.learned);
DROP TABLE public.marks, public.params, public.learned, public.moved, public.shown, public.large;
DROP FUNCTION public.draw;
