/* meta--1.0.sql: every SQL object of the extension */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION meta" to load this file. \quit

/*
 * Made here, not by the control file, which would take one that exists: its
 * owner, who may be anyone with CREATE on the database, could put other
 * objects in the place of ours.
 */
CREATE SCHEMA meta;
COMMENT ON SCHEMA meta IS 'meta-learning: train over many tasks, adapt to a new one from a few rows, predict';

GRANT USAGE ON SCHEMA meta TO PUBLIC;

---------------------------------------------------------------------------
-- tables
---------------------------------------------------------------------------

CREATE TABLE meta.model (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text COLLATE "C" NOT NULL UNIQUE
		CONSTRAINT model_name_length CHECK (pg_catalog.char_length(name) BETWEEN 1 AND 200),
	owner name NOT NULL DEFAULT current_user,
	source text,
	task text NOT NULL,
	target text NOT NULL,
	features text,
	order_by text,
	algorithm text NOT NULL,
	options jsonb NOT NULL DEFAULT '{}',
	trained_by name NOT NULL DEFAULT current_user,
	created timestamptz NOT NULL DEFAULT pg_catalog.now()
);

COMMENT ON TABLE meta.model IS 'Models by name. DELETE drops one with its versions, UPDATE of name renames it, UPDATE of owner hands it to another role of yours; members of the owner see and use it.';
COMMENT ON SEQUENCE meta.model_id_seq IS 'the numbers of models';
COMMENT ON CONSTRAINT model_name_length ON meta.model IS 'a name has 1 to 200 characters';
COMMENT ON COLUMN meta.model.id IS 'number of the model, which a rename does not change';
COMMENT ON COLUMN meta.model.name IS 'name, unique in the database';
COMMENT ON COLUMN meta.model.owner IS 'role whose members may use, retrain, rename and drop the model';
COMMENT ON COLUMN meta.model.source IS 'table, view or SELECT of the training that began last; NULL for none';
COMMENT ON COLUMN meta.model.task IS 'task key: column names, parted by commas';
COMMENT ON COLUMN meta.model.target IS 'column that is predicted';
COMMENT ON COLUMN meta.model.features IS 'columns that are predicted from, as asked for; NULL: chosen automatically';
COMMENT ON COLUMN meta.model.order_by IS 'columns that order the rows of a task; NULL: no order';
COMMENT ON COLUMN meta.model.algorithm IS 'algorithm, see meta.algorithms';
COMMENT ON COLUMN meta.model.options IS 'options that were given, see meta.options';
COMMENT ON COLUMN meta.model.trained_by IS 'role that named the source; only this role runs it again, by meta.resume';
COMMENT ON COLUMN meta.model.created IS 'when the name was first trained';

CREATE TABLE meta.version (
	model bigint NOT NULL REFERENCES meta.model ON DELETE CASCADE,
	version integer NOT NULL CHECK (version > 0),
	digest text COLLATE "C" NOT NULL,
	params bytea NOT NULL,
	trained timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	metrics jsonb NOT NULL DEFAULT '{}',
	source text,
	trained_by name NOT NULL DEFAULT current_user,
	tasks bigint GENERATED ALWAYS AS ((metrics ->> 'tasks')::numeric::bigint) STORED,
	"rows" bigint GENERATED ALWAYS AS ((metrics ->> 'rows')::numeric::bigint) STORED,
	seconds float8 GENERATED ALWAYS AS ((metrics ->> 'seconds')::float8) STORED,
	bytes bigint GENERATED ALWAYS AS (pg_catalog.octet_length(params)) STORED,
	PRIMARY KEY (model, version),
	/* decoded models are found by digest alone, so it must be the bytes' own */
	CONSTRAINT version_digest
		CHECK (digest = pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(params), 'hex'), 32))
);

-- floats do not compress
ALTER TABLE meta.version ALTER COLUMN params SET STORAGE EXTERNAL;

CREATE INDEX version_digest_idx ON meta.version (digest);

COMMENT ON TABLE meta.version IS 'Versions of models: what each training stored. The newest is used unless a version is asked for.';
COMMENT ON CONSTRAINT version_digest ON meta.version IS 'the digest is that of the params';
COMMENT ON INDEX meta.version_digest_idx IS 'finds the model that task params stand on';
COMMENT ON COLUMN meta.version.model IS 'the model, meta.model.id';
COMMENT ON COLUMN meta.version.version IS 'number of the version, from 1';
COMMENT ON COLUMN meta.version.digest IS 'first 128 bits of the SHA-256 of params, hexadecimal; task params name their base by it';
COMMENT ON COLUMN meta.version.params IS 'the model as a safetensors file';
COMMENT ON COLUMN meta.version.trained IS 'when training ended';
COMMENT ON COLUMN meta.version.metrics IS 'what training measured and counted: numbers only';
COMMENT ON COLUMN meta.version.source IS 'table, view or SELECT that it was trained from; NULL for none';
COMMENT ON COLUMN meta.version.trained_by IS 'role that named the source; only this role runs it again, by meta.evaluate';
COMMENT ON COLUMN meta.version.tasks IS 'tasks it was trained on';
COMMENT ON COLUMN meta.version."rows" IS 'rows it was trained on';
COMMENT ON COLUMN meta.version.seconds IS 'how long training took';
COMMENT ON COLUMN meta.version.bytes IS 'size of params';

CREATE TABLE meta.history (
	model bigint NOT NULL REFERENCES meta.model ON DELETE CASCADE,
	version integer NOT NULL,
	at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	phase text NOT NULL,
	iteration integer NOT NULL,
	train_loss float8,
	validation_loss float8,
	metric float8
);

-- rows have no key of their own, and databases that publish all tables delete by one
ALTER TABLE meta.history REPLICA IDENTITY FULL;

CREATE INDEX history_model_idx ON meta.history (model, version, at);

COMMENT ON TABLE meta.history IS 'Progress of trainings: one row per report. Rows of a training at work appear with each of its commits.';
COMMENT ON INDEX meta.history_model_idx IS 'finds the reports of a training in order of time';
COMMENT ON COLUMN meta.history.model IS 'the model, meta.model.id';
COMMENT ON COLUMN meta.history.version IS 'the version that the training makes or made';
COMMENT ON COLUMN meta.history.at IS 'when the report was made';
COMMENT ON COLUMN meta.history.phase IS 'what was being trained: the algorithm itself, or a baseline';
COMMENT ON COLUMN meta.history.iteration IS 'meta-iterations done';
COMMENT ON COLUMN meta.history.train_loss IS 'mean loss on query rows of training tasks since the last report';
COMMENT ON COLUMN meta.history.validation_loss IS 'mean loss on query rows of validation tasks';
COMMENT ON COLUMN meta.history.metric IS 'the metric that is compared, on validation tasks';

CREATE TABLE meta.checkpoint (
	model bigint PRIMARY KEY REFERENCES meta.model ON DELETE CASCADE,
	saved timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	state bytea NOT NULL,
	version integer
);

ALTER TABLE meta.checkpoint ALTER COLUMN state SET STORAGE EXTERNAL;

COMMENT ON TABLE meta.checkpoint IS 'What meta.resume goes on from: one row per model whose training has not ended. Holds no rows of the source.';
COMMENT ON COLUMN meta.checkpoint.model IS 'the model, meta.model.id';
COMMENT ON COLUMN meta.checkpoint.saved IS 'when it was saved';
COMMENT ON COLUMN meta.checkpoint.state IS 'state of learner and optimiser';
COMMENT ON COLUMN meta.checkpoint.version IS 'newest version that the training has stored, where the option time_limit ended it; NULL for none';

/*
 * Nobody may leave a source behind in another role's name, because it is
 * run with the rights of the role that resumes or evaluates.
 */
CREATE FUNCTION meta.model_guard() RETURNS trigger
	AS 'MODULE_PATHNAME', 'meta_model_guard' LANGUAGE C;
REVOKE EXECUTE ON FUNCTION meta.model_guard() FROM PUBLIC;	-- nobody else's trigger; its own needs no right
COMMENT ON FUNCTION meta.model_guard() IS 'trigger on meta.model and meta.version: trained_by must be a role whose rights the current user has';

CREATE TRIGGER guard
	BEFORE INSERT OR UPDATE OF source, task, target, features, order_by, algorithm, options, trained_by
	ON meta.model FOR EACH ROW EXECUTE FUNCTION meta.model_guard();
COMMENT ON TRIGGER guard ON meta.model IS 'a source is stored in one''s own name only';

CREATE TRIGGER guard
	BEFORE INSERT OR UPDATE OF source, trained_by
	ON meta.version FOR EACH ROW EXECUTE FUNCTION meta.model_guard();
COMMENT ON TRIGGER guard ON meta.version IS 'a source is stored in one''s own name only';

/* The owner may have been dropped: its name then matches no role, and the row is a superuser's. */
ALTER TABLE meta.model ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON meta.model
	USING (EXISTS (SELECT FROM pg_catalog.pg_roles r
				   WHERE r.rolname = model.owner AND pg_catalog.pg_has_role(r.oid, 'USAGE')))
	WITH CHECK (EXISTS (SELECT FROM pg_catalog.pg_roles r
						WHERE r.rolname = model.owner AND pg_catalog.pg_has_role(r.oid, 'USAGE')));
COMMENT ON POLICY members ON meta.model IS 'a model is seen, used and changed by the members of its owner';

ALTER TABLE meta.version ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON meta.version
	USING (EXISTS (SELECT FROM meta.model m WHERE m.id = version.model))
	WITH CHECK (EXISTS (SELECT FROM meta.model m WHERE m.id = version.model));
COMMENT ON POLICY members ON meta.version IS 'who sees the model sees its versions';

ALTER TABLE meta.history ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON meta.history
	USING (EXISTS (SELECT FROM meta.model m WHERE m.id = history.model))
	WITH CHECK (EXISTS (SELECT FROM meta.model m WHERE m.id = history.model));
COMMENT ON POLICY members ON meta.history IS 'who sees the model sees its history';

ALTER TABLE meta.checkpoint ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON meta.checkpoint
	USING (EXISTS (SELECT FROM meta.model m WHERE m.id = checkpoint.model))
	WITH CHECK (EXISTS (SELECT FROM meta.model m WHERE m.id = checkpoint.model));
COMMENT ON POLICY members ON meta.checkpoint IS 'who sees the model sees its checkpoint';

-- not the id: a number taken in advance would make others' trainings fail
GRANT SELECT, DELETE ON meta.model TO PUBLIC;
GRANT INSERT (name, owner, source, task, target, features, order_by, algorithm, options, trained_by, created),
	  UPDATE (name, owner, source, task, target, features, order_by, algorithm, options, trained_by, created)
	ON meta.model TO PUBLIC;
GRANT SELECT, INSERT, DELETE ON meta.version, meta.history TO PUBLIC;
GRANT UPDATE (source, trained_by) ON meta.version TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON meta.checkpoint TO PUBLIC;

-- or pg_dump fails where a role that is no superuser runs it
GRANT SELECT ON SEQUENCE meta.model_id_seq TO PUBLIC;

SELECT pg_catalog.pg_extension_config_dump('meta.model', '');
SELECT pg_catalog.pg_extension_config_dump('meta.model_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('meta.version', '');
SELECT pg_catalog.pg_extension_config_dump('meta.history', '');
SELECT pg_catalog.pg_extension_config_dump('meta.checkpoint', '');

---------------------------------------------------------------------------
-- params
---------------------------------------------------------------------------

CREATE FUNCTION meta.params(model text, version integer DEFAULT NULL) RETURNS bytea
	AS 'MODULE_PATHNAME', 'meta_params_model' LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION meta.params(text, integer) IS 'the stored bytes of a model, newest version unless one is given: a safetensors file';

CREATE FUNCTION meta.params(params bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'meta_params_task' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.params(bytea) IS 'a self-contained copy of task params: a model of its own, which needs no base; a model is returned as it is';

CREATE FUNCTION meta.describe(model text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'meta_describe_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.describe(text) IS 'what is in the newest version of a model, readable';

CREATE FUNCTION meta.describe(params bytea) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'meta_describe_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.describe(bytea) IS 'what is in the bytes of a model or of task params, readable';

---------------------------------------------------------------------------
-- train
---------------------------------------------------------------------------

CREATE PROCEDURE meta.train(model text, source text, task text, target text, features text DEFAULT NULL,
							order_by text DEFAULT NULL, algorithm text DEFAULT NULL, options jsonb DEFAULT '{}')
	AS 'MODULE_PATHNAME', 'meta_train' LANGUAGE C;
COMMENT ON PROCEDURE meta.train(text, text, text, text, text, text, text, jsonb) IS
	'trains a model from a table, a view or a SELECT; a name that exists gets a new version. task: columns that tell tasks apart; target: column to predict; features: columns to predict from (default: all that are of use); order_by: columns that order a task''s rows; see meta.algorithms and meta.options';

CREATE PROCEDURE meta.resume(model text)
	AS 'MODULE_PATHNAME', 'meta_resume' LANGUAGE C;
COMMENT ON PROCEDURE meta.resume(text) IS
	'goes on with an interrupted training from its last checkpoint; ends with the same model as an uninterrupted one';

CREATE FUNCTION meta.train_transition(internal, record, text, text) RETURNS internal
	AS 'MODULE_PATHNAME', 'meta_train_transition' LANGUAGE C STABLE PARALLEL RESTRICTED COST 50;
COMMENT ON FUNCTION meta.train_transition(internal, record, text, text) IS 'part of the aggregate meta.train(record, text, text): takes a row';

CREATE FUNCTION meta.train_transition(internal, record, text, text, jsonb) RETURNS internal
	AS 'MODULE_PATHNAME', 'meta_train_transition' LANGUAGE C STABLE PARALLEL RESTRICTED COST 50;
COMMENT ON FUNCTION meta.train_transition(internal, record, text, text, jsonb) IS 'part of the aggregate meta.train(record, text, text, jsonb): takes a row';

CREATE FUNCTION meta.train_final(internal) RETURNS bytea
	AS 'MODULE_PATHNAME', 'meta_train_final' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION meta.train_final(internal) IS 'part of the aggregates meta.train: trains on the rows';

-- SSPACE: a state sorts its rows in up to maintenance_work_mem, so groups had better come one by one
CREATE AGGREGATE meta.train(r record, task text, target text) (
	SFUNC = meta.train_transition, STYPE = internal, SSPACE = 67108864,
	FINALFUNC = meta.train_final, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE meta.train(record, text, text) IS
	'Trains a model from the rows and returns its bytes, the same that CALL meta.train would store. task: columns that tell tasks apart; target: column to predict. NULL records are ignored; no rows give NULL. Everything else is an option of meta.train(record, text, text, jsonb).';

CREATE AGGREGATE meta.train(r record, task text, target text, options jsonb) (
	SFUNC = meta.train_transition, STYPE = internal, SSPACE = 67108864,
	FINALFUNC = meta.train_final, FINALFUNC_MODIFY = READ_WRITE,
	PARALLEL = RESTRICTED);
COMMENT ON AGGREGATE meta.train(record, text, text, jsonb) IS
	'As meta.train(record, text, text), with options: those of the view meta.options, and the keys "algorithm", "features" and "order_by", which are arguments of CALL meta.train.';

---------------------------------------------------------------------------
-- adapt
---------------------------------------------------------------------------

CREATE FUNCTION meta.adapt_transition(internal, text, record) RETURNS internal
	AS 'MODULE_PATHNAME', 'meta_adapt_model_transition' LANGUAGE C STABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION meta.adapt_transition(internal, text, record) IS 'part of the aggregate meta.adapt(text, record): encodes a row';

CREATE FUNCTION meta.adapt_transition(internal, bytea, record) RETURNS internal
	AS 'MODULE_PATHNAME', 'meta_adapt_params_transition' LANGUAGE C STABLE PARALLEL SAFE COST 50;
COMMENT ON FUNCTION meta.adapt_transition(internal, bytea, record) IS 'part of the aggregate meta.adapt(bytea, record): encodes a row';

CREATE FUNCTION meta.adapt_combine(internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'meta_adapt_combine' LANGUAGE C STABLE PARALLEL SAFE COST 5;
COMMENT ON FUNCTION meta.adapt_combine(internal, internal) IS 'part of the aggregates meta.adapt: joins the rows of two workers';

CREATE FUNCTION meta.adapt_serialize(internal) RETURNS bytea
	AS 'MODULE_PATHNAME', 'meta_adapt_serialize' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION meta.adapt_serialize(internal) IS 'part of the aggregates meta.adapt: a worker''s rows as bytes';

CREATE FUNCTION meta.adapt_deserialize(bytea, internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'meta_adapt_deserialize' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 5;
COMMENT ON FUNCTION meta.adapt_deserialize(bytea, internal) IS 'part of the aggregates meta.adapt: a worker''s rows from bytes';

CREATE FUNCTION meta.adapt_final(internal) RETURNS bytea
	AS 'MODULE_PATHNAME', 'meta_adapt_final' LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.adapt_final(internal) IS 'part of the aggregates meta.adapt: adapts to the rows';

CREATE AGGREGATE meta.adapt(model text, r record) (
	SFUNC = meta.adapt_transition, STYPE = internal, SSPACE = 1024,
	FINALFUNC = meta.adapt_final, COMBINEFUNC = meta.adapt_combine,
	SERIALFUNC = meta.adapt_serialize, DESERIALFUNC = meta.adapt_deserialize,
	PARALLEL = SAFE);
COMMENT ON AGGREGATE meta.adapt(text, record) IS 'Adapts a model to the rows of one task and returns the task''s params. Columns are matched by name; NULL records and rows without a target count as no row, and a task without rows gets the prior. NULL only where there is nothing to aggregate. As a window function it gives the params before each row.';

CREATE AGGREGATE meta.adapt(params bytea, r record) (
	SFUNC = meta.adapt_transition, STYPE = internal, SSPACE = 4096,
	FINALFUNC = meta.adapt_final, COMBINEFUNC = meta.adapt_combine,
	SERIALFUNC = meta.adapt_serialize, DESERIALFUNC = meta.adapt_deserialize,
	PARALLEL = SAFE);
COMMENT ON AGGREGATE meta.adapt(bytea, record) IS 'Adapts params further to rows of the same task: a task''s params go on from where they are, a model''s start from its prior. Where the model is not among those in meta.model, as with self-contained params, the result is self-contained, too. Otherwise like meta.adapt(text, record).';

---------------------------------------------------------------------------
-- predict
---------------------------------------------------------------------------

CREATE FUNCTION meta.predict(model text, r record) RETURNS float8
	AS 'MODULE_PATHNAME', 'meta_predict_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION meta.predict(text, record) IS 'expected value of the target, or the probability that it is true, by the model''s prior: before anything is known of the row''s task. Columns are matched by name. A text or enum target is an error: use meta.classify.';

CREATE FUNCTION meta.predict(params bytea, r record) RETURNS float8
	AS 'MODULE_PATHNAME', 'meta_predict_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION meta.predict(bytea, record) IS 'expected value of the target, or the probability that it is true, for a row of the task that the params were adapted to. Columns are matched by name. A text or enum target is an error: use meta.classify.';

CREATE FUNCTION meta.predict_interval(model text, r record, coverage float8 DEFAULT 0.9, OUT lower float8, OUT upper float8)
	AS 'MODULE_PATHNAME', 'meta_predict_interval_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 200;
COMMENT ON FUNCTION meta.predict_interval(text, record, float8) IS 'the interval that a share coverage of outcomes falls into, around the prediction, by the model''s prior. For numeric targets, and algorithms with a predictive distribution; others are an error that names them.';

CREATE FUNCTION meta.predict_interval(params bytea, r record, coverage float8 DEFAULT 0.9, OUT lower float8, OUT upper float8)
	AS 'MODULE_PATHNAME', 'meta_predict_interval_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 200;
COMMENT ON FUNCTION meta.predict_interval(bytea, record, float8) IS 'the interval that a share coverage of outcomes falls into, around the prediction, for a row of the task that the params were adapted to. For numeric targets, and algorithms with a predictive distribution; others are an error that names them.';

CREATE FUNCTION meta.classify(model text, r record) RETURNS text
	AS 'MODULE_PATHNAME', 'meta_classify_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION meta.classify(text, record) IS 'most probable class of a text or enum target; ''true'' or ''false'' for a boolean one, by the model''s prior: before anything is known of the row''s task. Columns are matched by name. A numeric target is an error: use meta.predict.';

CREATE FUNCTION meta.classify(params bytea, r record) RETURNS text
	AS 'MODULE_PATHNAME', 'meta_classify_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION meta.classify(bytea, record) IS 'most probable class of a text or enum target; ''true'' or ''false'' for a boolean one, for a row of the task that the params were adapted to. Columns are matched by name. A numeric target is an error: use meta.predict.';

CREATE FUNCTION meta.probabilities(model text, r record) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'meta_probabilities_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION meta.probabilities(text, record) IS 'every class of the target with its probability, as a JSON object; "false" and "true" for a boolean target, by the model''s prior: before anything is known of the row''s task. Columns are matched by name. A numeric target is an error: use meta.predict.';

CREATE FUNCTION meta.probabilities(params bytea, r record) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'meta_probabilities_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION meta.probabilities(bytea, record) IS 'every class of the target with its probability, as a JSON object; "false" and "true" for a boolean target, for a row of the task that the params were adapted to. Columns are matched by name. A numeric target is an error: use meta.predict.';

---------------------------------------------------------------------------
-- generate
---------------------------------------------------------------------------

CREATE FUNCTION meta.generate(model text, n integer, seed bigint DEFAULT 0) RETURNS SETOF jsonb
	AS 'MODULE_PATHNAME', 'meta_generate_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION meta.generate(text, integer, bigint) IS 'n rows that the model makes up, as JSON objects by column, all of one task that is drawn from the prior: a task never seen. Another seed, another task. For the algorithm vaml.';

CREATE FUNCTION meta.generate(params bytea, n integer, seed bigint DEFAULT 0) RETURNS SETOF jsonb
	AS 'MODULE_PATHNAME', 'meta_generate_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10000 ROWS 100;
COMMENT ON FUNCTION meta.generate(bytea, integer, bigint) IS 'n rows that the model makes up, as JSON objects by column, all of one task that is like the one that the params were adapted to. Another seed, other rows. For the algorithm vaml.';

CREATE FUNCTION meta.log_likelihood(model text, r record) RETURNS float8
	AS 'MODULE_PATHNAME', 'meta_log_likelihood_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.log_likelihood(text, record) IS 'log likelihood of a whole row, features and target, before anything is known of its task; NULL without a target. For the algorithm vaml.';

CREATE FUNCTION meta.log_likelihood(params bytea, r record) RETURNS float8
	AS 'MODULE_PATHNAME', 'meta_log_likelihood_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.log_likelihood(bytea, record) IS 'log likelihood of a whole row, features and target, of the task that the params were adapted to: how usual it is there; NULL without a target. For the algorithm vaml.';

CREATE FUNCTION meta.embed(model text) RETURNS real[]
	AS 'MODULE_PATHNAME', 'meta_embed_model' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.embed(text) IS 'the mean of the latent variables of a task of which nothing is known. For the algorithm vaml.';

CREATE FUNCTION meta.embed(params bytea) RETURNS real[]
	AS 'MODULE_PATHNAME', 'meta_embed_params' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION meta.embed(bytea) IS 'a task in a few numbers, the mean of its latent variables: tasks that are alike lie near each other. For the algorithm vaml.';

---------------------------------------------------------------------------
-- evaluate
---------------------------------------------------------------------------

CREATE FUNCTION meta.evaluate(model text, source text DEFAULT NULL, shots integer[] DEFAULT NULL, by text DEFAULT NULL,
							  way integer DEFAULT NULL)
	RETURNS TABLE (shots integer, metric text, method text, by_value text, value float8, lower float8, upper float8,
				   difference float8, difference_lower float8, difference_upper float8, tasks bigint, "rows" bigint)
	AS 'MODULE_PATHNAME', 'meta_evaluate' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 100;
COMMENT ON FUNCTION meta.evaluate(text, text, integer[], text, integer) IS
	'K-shot results on tasks the model never saw: adapted, prior (0 rows), and the baselines on the same query rows, with 95 % intervals over tasks; of N-way episodes, tasks counts episodes, and intervals are over these; difference is to random_intercept, paired. source: default the model''s own; shots: each number once, default 0, 1, 5, 10; by: column whose values group the tasks, one for each; way: of N-way episodes, the classes of each, default as in training, or fewer';

---------------------------------------------------------------------------
-- views
---------------------------------------------------------------------------

CREATE FUNCTION meta.algorithms(OUT algorithm text, OUT summary text, OUT reference text, OUT defaults jsonb)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'meta_algorithms' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION meta.algorithms() IS 'the rows of the view meta.algorithms';

CREATE VIEW meta.algorithms AS
	SELECT algorithm, summary, reference, defaults FROM meta.algorithms();
COMMENT ON VIEW meta.algorithms IS 'Every algorithm that meta.train knows.';
COMMENT ON COLUMN meta.algorithms.algorithm IS 'name, as meta.train takes it';
COMMENT ON COLUMN meta.algorithms.summary IS 'what it does';
COMMENT ON COLUMN meta.algorithms.reference IS 'where it was published';
COMMENT ON COLUMN meta.algorithms.defaults IS 'options whose default differs from the one in meta.options';

CREATE FUNCTION meta.options(OUT option text, OUT type text, OUT "default" jsonb, OUT low float8, OUT high float8,
							 OUT choices text[], OUT algorithms text[], OUT meaning text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'meta_options' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 40;
COMMENT ON FUNCTION meta.options() IS 'the rows of the view meta.options';

CREATE VIEW meta.options AS
	SELECT option, type, "default", low, high, choices, algorithms, meaning FROM meta.options();
COMMENT ON VIEW meta.options IS 'Every option that meta.train knows.';
COMMENT ON COLUMN meta.options.option IS 'name: the key in options';
COMMENT ON COLUMN meta.options.type IS 'kind of value';
COMMENT ON COLUMN meta.options."default" IS 'value where none is given; an algorithm''s own defaults stand in meta.algorithms';
COMMENT ON COLUMN meta.options.low IS 'least value that is allowed';
COMMENT ON COLUMN meta.options.high IS 'greatest value that is allowed';
COMMENT ON COLUMN meta.options.choices IS 'words that are allowed';
COMMENT ON COLUMN meta.options.algorithms IS 'algorithms that it changes anything for; NULL: all. auto takes every option';
COMMENT ON COLUMN meta.options.meaning IS 'what it sets';

/*
 * A function under the view, because a view of its own would read the tables
 * with its owner's rights before PostgreSQL 15.
 */
CREATE FUNCTION meta.training(OUT model text, OUT owner name, OUT state text, OUT pid integer, OUT phase text,
							  OUT iteration integer, OUT train_loss float8, OUT validation_loss float8,
							  OUT metric float8, OUT reported timestamptz, OUT checkpoint timestamptz)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'meta_training' LANGUAGE C STABLE ROWS 10;
COMMENT ON FUNCTION meta.training() IS 'the rows of the view meta.training';

CREATE VIEW meta.training AS
	SELECT model, owner, state, pid, phase, iteration, train_loss, validation_loss, metric, reported, checkpoint
	FROM meta.training();
COMMENT ON VIEW meta.training IS 'Trainings that have not ended: running or interrupted, told by the lock that a training holds, with its last report.';
COMMENT ON COLUMN meta.training.model IS 'name of the model';
COMMENT ON COLUMN meta.training.owner IS 'its owner';
COMMENT ON COLUMN meta.training.state IS 'running, in a transaction block until that ends; or interrupted, which the option time_limit does, too: goes on with CALL meta.resume(model) where there is a checkpoint';
COMMENT ON COLUMN meta.training.pid IS 'process that trains it';
COMMENT ON COLUMN meta.training.phase IS 'what was being trained at the last report';
COMMENT ON COLUMN meta.training.iteration IS 'meta-iterations done at the last report';
COMMENT ON COLUMN meta.training.train_loss IS 'loss on training tasks at the last report';
COMMENT ON COLUMN meta.training.validation_loss IS 'loss on validation tasks at the last report';
COMMENT ON COLUMN meta.training.metric IS 'metric on validation tasks at the last report';
COMMENT ON COLUMN meta.training.reported IS 'when the last report was made';
COMMENT ON COLUMN meta.training.checkpoint IS 'when the checkpoint was saved; NULL: there is none';

GRANT SELECT ON meta.algorithms, meta.options, meta.training TO PUBLIC;
