-- the tables: who sees, uses, renames, shares and drops a model
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS meta;
SET search_path = '';

CREATE ROLE meta_ada;
CREATE ROLE meta_ben;
CREATE ROLE meta_carl;
CREATE ROLE meta_teachers;
GRANT meta_teachers TO meta_ada, meta_ben;

-- every object says what it is
SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS without_comment
FROM pg_catalog.pg_depend d
WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
	  AND d.refobjid = (SELECT oid FROM pg_catalog.pg_extension WHERE extname = 'meta')
	  AND d.classid NOT IN ('pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_am'::pg_catalog.regclass)
	  AND pg_catalog.obj_description(d.objid, d.classid::pg_catalog.regclass::name) IS NULL
	  AND (SELECT relkind FROM pg_catalog.pg_class WHERE oid = d.objid) IS DISTINCT FROM 'S'
UNION ALL
SELECT a.attrelid::pg_catalog.regclass || '.' || a.attname
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'meta'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
	  AND pg_catalog.col_description(a.attrelid, a.attnum) IS NULL
UNION ALL
SELECT 'policy on ' || p.polrelid::pg_catalog.regclass
FROM pg_catalog.pg_policy p
WHERE pg_catalog.obj_description(p.oid, 'pg_policy') IS NULL;

-- a schema of that name is not trusted, whoever made it
BEGIN;
DROP EXTENSION meta CASCADE;
SELECT pg_catalog.to_regnamespace('meta') IS NULL AS gone;
CREATE SCHEMA meta AUTHORIZATION meta_carl;
\set SHOW_CONTEXT never
CREATE EXTENSION meta;
\set SHOW_CONTEXT errors
ROLLBACK;

-- every table is dumped with its rows, and its numbers go on from there
SELECT c.oid::pg_catalog.regclass AS dumped
FROM pg_catalog.pg_extension e, pg_catalog.unnest(e.extconfig) c(oid) WHERE e.extname = 'meta' ORDER BY c.oid::pg_catalog.regclass::text;

-- a model is its owner's
SET ROLE meta_ada;
INSERT INTO meta.model (name, source, task, target, algorithm) VALUES ('ada''s', 'public.responses', 'student', 'correct', 'maml');
INSERT INTO meta.version (model, version, digest, params, metrics)
	SELECT id, 1, '4bf5122f344554c53bde2ebb8cd2b7e3', '\x01', '{"tasks": 3, "rows": 12.0}' FROM meta.model;
INSERT INTO meta.history (model, version, phase, iteration, train_loss) SELECT id, 1, 'maml', 100, 0.5 FROM meta.model;
SELECT m.name, m.owner, m.trained_by, v.version, v.tasks, v."rows", v.seconds, v.bytes
FROM meta.model m JOIN meta.version v ON v.model = m.id;

RESET ROLE;
SET ROLE meta_carl;
SELECT (SELECT count(*) FROM meta.model) AS models, (SELECT count(*) FROM meta.version) AS versions,
	   (SELECT count(*) FROM meta.history) AS history, (SELECT count(*) FROM meta.checkpoint) AS checkpoints,
	   (SELECT count(*) FROM meta.training) AS trainings;
SELECT meta.params('ada''s');
SELECT meta.describe('ada''s');
DELETE FROM meta.model RETURNING name;
UPDATE meta.model SET owner = 'meta_carl' RETURNING name;
-- names are unique, whoever sees them
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('ada''s', 'student', 'correct', 'maml');
-- nothing in another's name, and nothing beside another's model
INSERT INTO meta.model (name, owner, task, target, algorithm) VALUES ('gift', 'meta_ada', 'student', 'correct', 'maml');
INSERT INTO meta.model (name, trained_by, task, target, algorithm) VALUES ('trap', 'meta_ada', 'student', 'correct', 'maml');
RESET ROLE;
SELECT id AS ada FROM meta.model WHERE name = 'ada''s' \gset
SET ROLE meta_carl;
INSERT INTO meta.version (model, version, digest, params) VALUES (:ada, 2, '4bf5122f344554c53bde2ebb8cd2b7e3', '\x01');
INSERT INTO meta.history (model, version, phase, iteration) VALUES (:ada, 1, 'maml', 1);
INSERT INTO meta.checkpoint (model, state) VALUES (:ada, '');
-- nor one's own numbers, digests, names
\set VERBOSITY sqlstate
INSERT INTO meta.model (id, name, task, target, algorithm) VALUES (:ada, 'mine', 'student', 'correct', 'maml');
\set VERBOSITY default
INSERT INTO meta.model (id, name, task, target, algorithm) OVERRIDING SYSTEM VALUE VALUES (:ada + 1000, 'mine', 'student', 'correct', 'maml');
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('', 'student', 'correct', 'maml');
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('carl''s', 'student', 'correct', 'maml');
INSERT INTO meta.version (model, version, digest, params) SELECT id, 1, '4bf5122f344554c53bde2ebb8cd2b7e3', '\x02' FROM meta.model;

-- to share is to make a common role the owner
RESET ROLE;
SET ROLE meta_ada;
UPDATE meta.model SET owner = 'meta_carl';
UPDATE meta.model SET owner = 'meta_nobody';
UPDATE meta.model SET owner = 'meta_teachers';
RESET ROLE;
SET ROLE meta_ben;
SELECT m.name, m.owner, m.trained_by, v.version, h.iteration
FROM meta.model m JOIN meta.version v ON v.model = m.id JOIN meta.history h ON h.model = m.id;
UPDATE meta.model SET name = 'common' RETURNING name;
-- but whoever trained it is not to run what another member wrote
UPDATE meta.model SET source = 'SELECT public.evil()';
UPDATE meta.model SET source = 'SELECT public.harmless()', trained_by = current_user RETURNING trained_by;
UPDATE meta.model SET trained_by = 'meta_ada';
-- a role of which one is a member may be named
UPDATE meta.model SET trained_by = 'meta_teachers' RETURNING trained_by;
-- the same holds for the source of a version
UPDATE meta.version SET source = 'SELECT public.evil()';
INSERT INTO meta.version (model, version, digest, params, source, trained_by)
	SELECT model, 2, digest, params, 'SELECT public.evil()', 'meta_ada' FROM meta.version;
UPDATE meta.version SET source = 'SELECT public.harmless()', trained_by = current_user RETURNING trained_by;
UPDATE meta.version SET trained_by = 'meta_ada';
UPDATE meta.version SET metrics = '{}';

-- interrupted, as no process holds the lock of its training
INSERT INTO meta.checkpoint (model, state) SELECT id, '\x00' FROM meta.model;
INSERT INTO meta.history (model, version, phase, iteration, train_loss, validation_loss)
	SELECT id, 2, 'maml', 50, 0.25, 0.5 FROM meta.model;
SELECT model, owner, state, pid, phase, iteration, train_loss, validation_loss, metric, reported IS NULL AS reported, checkpoint IS NULL AS checkpoint
FROM meta.training;
RESET ROLE;
SET ROLE meta_carl;
SELECT model, state, iteration, checkpoint FROM meta.training;
SELECT meta.params('carl''s');

-- a dropped owner leaves the model to superusers
RESET ROLE;
DELETE FROM meta.model WHERE name = 'carl''s';
REVOKE meta_teachers FROM meta_ada, meta_ben;
DROP ROLE meta_teachers;
SET ROLE meta_ada;
SELECT name FROM meta.model;
RESET ROLE;
UPDATE meta.model SET owner = 'meta_ada', trained_by = 'meta_ada' WHERE name = 'common';
SET ROLE meta_ada;
SELECT name, owner FROM meta.model;

-- to drop a model drops all of it
DELETE FROM meta.model;
RESET ROLE;
SELECT (SELECT count(*) FROM meta.version WHERE model = :ada) AS versions, (SELECT count(*) FROM meta.history WHERE model = :ada) AS history,
	   (SELECT count(*) FROM meta.checkpoint WHERE model = :ada) AS checkpoints;

-- the guard of meta.model is no trigger for other tables
SET ROLE meta_ada;
CREATE TEMP TABLE theirs (trained_by int);
CREATE TRIGGER guard BEFORE INSERT ON theirs FOR EACH ROW EXECUTE FUNCTION meta.model_guard();
RESET ROLE;
CREATE TRIGGER guard BEFORE INSERT ON theirs FOR EACH ROW EXECUTE FUNCTION meta.model_guard();
INSERT INTO theirs VALUES (12345);
DROP TABLE theirs;
-- a database that publishes all tables trains and forgets as others do
SET client_min_messages = error;
CREATE PUBLICATION meta_all FOR ALL TABLES;
RESET client_min_messages;
INSERT INTO meta.model (name, task, target, algorithm) VALUES ('published', 'a', 'b', 'pooled');
INSERT INTO meta.history (model, version, phase, iteration) SELECT id, 1, 'pooled', 1 FROM meta.model;
DELETE FROM meta.model;
DROP PUBLICATION meta_all;

-- the view is the reference: it has every option and algorithm, with meaning
SELECT count(*) > 20 AS many, bool_and(meaning ~ '\.$' AND type IS NOT NULL AND "default" IS NOT NULL) AS complete,
	   bool_and((type = 'word') = (choices IS NOT NULL)) AS choices, bool_and(low <= high) AS ranges
FROM meta.options;
SELECT option, type, "default", low, high, choices FROM meta.options WHERE option IN ('hidden', 'activation', 'shots', 'inner_steps', 'adapt_steps', 'weight', 'skip');
SELECT algorithm, summary <> '' AS summary, reference <> '' AS reference, pg_catalog.jsonb_typeof(defaults) AS defaults FROM meta.algorithms;
SELECT DISTINCT k AS unknown FROM meta.algorithms, pg_catalog.jsonb_object_keys(defaults) k WHERE k NOT IN (SELECT option FROM meta.options);

-- a schema of another name is told, and another schema of the name is not believed
BEGIN;
ALTER SCHEMA meta RENAME TO learning;
SELECT learning.params('scores');
ROLLBACK;
BEGIN;
ALTER SCHEMA meta RENAME TO learning;
SELECT * FROM learning.training;
ROLLBACK;
BEGIN;
ALTER SCHEMA meta RENAME TO learning;
CREATE SCHEMA meta;
CREATE VIEW meta.model AS SELECT 1 AS id, text 'scores' AS name;
SELECT learning.params('scores');
ROLLBACK;
ALTER EXTENSION meta SET SCHEMA public;

DROP ROLE meta_ada, meta_ben, meta_carl;
