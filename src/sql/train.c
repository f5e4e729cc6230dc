/*
 * train.c
 *	  CALL meta.train and CALL meta.resume.
 *
 * Where the call is not inside a transaction block, what has been learned is
 * committed as it goes: a checkpoint every few seconds, and the reports with
 * it.  Otherwise all is one transaction, and one NOTICE says so.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "data/identifiers.h"
#include "data/source.h"
#include "sql/call.h"
#include "sql/request.h"
#include "sql/training.h"
#include "store/catalog.h"
#include "train/checkpoint.h"
#include "train/parallel.h"

PG_FUNCTION_INFO_V1(meta_train);
PG_FUNCTION_INFO_V1(meta_resume);

/*
 * A report that is not in meta.history yet: while parallel workers are at work
 * nothing can be written, so reports wait for the next commit, which is when
 * others could see them anyway.
 */
typedef struct Report
{
	TimestampTz at;
	const char *phase;
	int			iteration;
	double		train_loss;
	double		validation_loss;
	double		metric;
} Report;

#define MAX_REPORTS 64

/* A training as the procedure runs it. */
typedef struct Run
{
	int64		model;
	const char *name;
	const char *source;
	ModelRow   *before;			/* what the model was; NULL: new, or not known */
	int32		stored;			/* version that the training it goes on with has
								 * stored, or 0 */
	bool		commits;		/* and holds its lock by the session */
	instr_time	start;
	MemoryContext context;		/* that the call began in */
	double		last_checkpoint;	/* seconds since start */
	bytea	   *rest;			/* a checkpoint of where time_limit ended it, or
								 * NULL */
	const Phase *cut;			/* that time_limit ended between two validations,
								 * or NULL */
	ProgressState progress;
	int			n_reports;
	Report		reports[MAX_REPORTS];
} Run;

/* Commits what was written so far; memory of the training stays. */
static void
commit(const Run *run)
{
	if (run->commits)
		SPI_commit();
}

/* Commits the last of it, and lets others train; in a transaction block, they can when that has ended. */
static void
close_run(const Run *run)
{
	commit(run);
	if (run->commits)
		training_unlock(run->model, true);
}

/* Writes what has been reported; from here on there are no workers until training goes on. */
static void
write_reports(Run *run)
{
	team_leave();
	for (int i = 0; i < run->n_reports; i++)
	{
		const Report *report = &run->reports[i];

		catalog_report(run->model, report->at, report->phase, report->iteration, report->train_loss,
					   report->validation_loss, report->metric);
	}
	run->n_reports = 0;
}

static void
add_report(Run *run, const Phase *phase)
{
	run->reports[run->n_reports++] = (Report) {
		GetCurrentTimestamp(), phase->name, phase->iteration, phase->train_loss, phase->validation_loss, phase->metric
	};
	if (run->n_reports == MAX_REPORTS)
		write_reports(run);
}

static void
save_checkpoint(Run *run, const Training *training)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta checkpoint", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);

	write_reports(run);
	catalog_save_checkpoint(run->model, checkpoint_encode(training), run->stored);
#ifdef META_DEBUG
	/* a training of days saves thousands */
	if (CurrentMemoryContext != own)
		elog(ERROR, "a checkpoint was made in the context \"%s\", and would stay there", CurrentMemoryContext->name);
#endif
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
	commit(run);
	run->last_checkpoint = seconds_since(run->start);
}

static bool
tick(void *context, const Training *training, const Phase *phase, bool validated)
{
	Run		   *run = context;
	const Options *options = &training->options;
	double		now = seconds_since(run->start);

	progress_notice(&run->progress, training, phase, now);
	if (validated)
		add_report(run, phase);
	if (run->commits && now - run->last_checkpoint >= options->checkpoint)
		save_checkpoint(run, training);
	if (options->time_limit <= 0 || now < options->time_limit)
		return false;
	if (!validated)
		run->cut = phase;
	if (run->commits)
	{
		MemoryContext old = MemoryContextSwitchTo(run->context);

		/* what is stored is judged once more, which a training that goes on does not count */
		run->rest = checkpoint_encode(training);
		MemoryContextSwitchTo(old);
	}
	return true;
}

/* Says how a training that time_limit ended can go on. */
static int
time_limit_hint(const Run *run)
{
	if (run->rest)
		return errhint("The option time_limit ended it before its time: CALL meta.resume(%s) goes on from there.",
					   quote_literal_cstr(run->name));
	return errhint("The option time_limit ended it before its time: with a larger one it can learn more.");
}

/* Ends a training that has nothing to take the place of a version. */
static void
keep_version(Run *run, const Training *training, int32 version)
{
	if (run->rest)
	{
		write_reports(run);
		catalog_save_checkpoint(run->model, run->rest, run->stored);
	}
	else if (run->before)
		catalog_restore(run->model, run->before);
	close_run(run);
	ereport(WARNING,
			(errmsg("model \"%s\" keeps version %d: not trained with %s yet", run->name, version, training->learner->name),
			 training_detail(training),
			 time_limit_hint(run)));
}

static void
run_training(Run *run, Training *training)
{
	MemoryContext context = CurrentMemoryContext;
	char		digest[DIGEST_LENGTH + 1];
	Model	   *model;
	bytea	   *params;
	int32		version;
	bool		ended;
	bool		early;

	if (run->commits)
		save_checkpoint(run, training);
	else
		ereport(NOTICE,
				(errmsg("no checkpoint will be kept: the call is inside a transaction block"),
				 errhint("CALL it outside of BEGIN, functions and EXCEPTION blocks to be able to resume it.")));

	ended = training_run(training, tick, run) || training->phases[training->phase].diverged;
	if (run->cut)
		add_report(run, run->cut);
	early = !ended && training_early(training);
	if (early && (version = catalog_newest_version(run->model)) > 0)
	{
		keep_version(run, training, version);
		return;
	}
	write_reports(run);
	if (training->phases[training->phase].diverged)
	{
		/* without commits, the error takes all of it back */
		if (run->commits)
			catalog_forget_training(run->model, run->before);
		commit(run);
		training_diverged(training);
	}

	model = training_finish(training);
	MemoryContextSwitchTo(context);
	model->training = training_summary(training);
	params = model_encode(model);
	params_digest(params, digest);
	version = catalog_add_version(run->model, params, digest, training_metrics(training, seconds_since(run->start)),
								  run->source, training->options.keep);
	if (run->rest)
		catalog_save_checkpoint(run->model, run->rest, version);
	else
		catalog_drop_checkpoint(run->model);
	close_run(run);
	ereport(early ? WARNING : NOTICE,
			(early ? errmsg("model \"%s\", version %d: not trained with %s yet", run->name, version, training->learner->name) :
			 errmsg("model \"%s\", version %d: trained with %s in %.1f s", run->name, version,
					training->learner->name, seconds_since(run->start)),
			 training_detail(training),
			 ended ? 0 : time_limit_hint(run)));
}

static void
run_init(Run *run, const char *name, bool atomic)
{
	memset(run, 0, sizeof(*run));
	run->name = name;
	run->context = CurrentMemoryContext;
	run->commits = !atomic && !IsSubTransaction();
	INSTR_TIME_SET_CURRENT(run->start);
}

static bool
call_is_atomic(FunctionCallInfo fcinfo)
{
	return fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic;
}

/* A training that could not be stored should not run for hours first. */
static void
require_writable(const char *procedure)
{
	if (XactReadOnly)
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot execute CALL meta.%s in a read-only transaction", procedure),
				 RecoveryInProgress() ?
				 errdetail("The server is a standby; models are stored on its primary.") : 0,
				 errhint("The aggregate meta.train stores nothing: SELECT meta.train(r, 'task', 'target') FROM source r.")));
}

static void
report_resumed(const Run *run, const Training *training)
{
	const Phase *phase = &training->phases[training->phase];

	ereport(NOTICE,
			(errmsg("model \"%s\": going on with %s at iteration %d of %d", run->name, phase->name, phase->iteration,
					phase->spec.options.iterations)));
}

/* A model of that name may be in use, where another target would go unnoticed. */
static void
notice_other_purpose(const ModelRow *before, const ModelRow *row)
{
	if (before == NULL || (same_identifiers(before->target, row->target) && same_identifiers(before->task, row->task)))
		return;
	ereport(NOTICE,
			(errmsg("model \"%s\" exists, and is given another purpose", row->name),
			 errdetail("So far it predicts %s by %s; its next version predicts %s by %s.",
					   identifiers_quoted(before->target), identifiers_quoted(before->task),
					   identifiers_quoted(row->target), identifiers_quoted(row->task)),
			 errhint("Cancel the training, and choose another name, if the former is still in use.")));
}

/* Loads, trains and closes: what train and resume share. */
static void
load_and_run(Run *run, TrainRequest *request, const ModelRow *row, LoadRequest *load, const bytea *checkpoint)
{
	TaskSet    *set = source_load(row->source, load);

	PG_TRY();
	{
		Training   *training;

		request_settle(request, set);
		training = training_create(request->learner, &request->options, set, request->candidates, request->n_candidates);

		if (checkpoint)
		{
			checkpoint_restore(training, checkpoint);
			report_resumed(run, training);
		}
		notice_other_purpose(run->before, row);
		run_training(run, training);
	}
	PG_FINALLY();
	{
		/* its file outlives transactions, so no abort removes it */
		taskset_close(set);
	}
	PG_END_TRY();
}

/*
 * CALL meta.train(model, source, task, target, features, order_by, algorithm,
 * options)
 */
Datum
meta_train(PG_FUNCTION_ARGS)
{
	MemoryContext context = AllocSetContextCreate(PortalContext, "meta train", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		atomic = call_is_atomic(fcinfo);
	ModelRow	row = {0};
	TrainRequest request;
	LoadRequest load;
	Run			run;

	row.name = call_text(fcinfo, 0, "model");
	row.source = call_text(fcinfo, 1, "source");
	row.task = call_text(fcinfo, 2, "task");
	row.target = call_text(fcinfo, 3, "target");
	row.features = call_optional_text(fcinfo, 4);
	row.order_by = call_optional_text(fcinfo, 5);
	row.algorithm = call_optional_text(fcinfo, 6);
	row.options = PG_ARGISNULL(7) ? NULL : PG_GETARG_JSONB_P_COPY(7);
	row.trained_by = GetUserId();
	request_parse(&request, row.algorithm, row.options, false);
	row.algorithm = pstrdup(request.learner->name);
	request_load(&request, row.task, row.target, row.features, row.order_by, &load);

	require_writable("train");
	run_init(&run, row.name, atomic);
	SPI_connect_ext(run.commits ? SPI_OPT_NONATOMIC : 0);
	MemoryContextSwitchTo(context);
	row.source = source_qualify(row.source);
	run.before = catalog_find(row.name);
	run.source = row.source;
	run.model = catalog_claim(&row, run.commits);
	load_and_run(&run, &request, &row, &load, NULL);
	SPI_finish();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_VOID();
}

/* CALL meta.resume(model) */
Datum
meta_resume(PG_FUNCTION_ARGS)
{
	MemoryContext context = AllocSetContextCreate(PortalContext, "meta resume", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	char	   *name = call_text(fcinfo, 0, "model");
	ModelRow   *row;
	bytea	   *checkpoint;
	TrainRequest request;
	LoadRequest load;
	Run			run;

	require_writable("resume");
	run_init(&run, name, call_is_atomic(fcinfo));
	SPI_connect_ext(run.commits ? SPI_OPT_NONATOMIC : 0);
	MemoryContextSwitchTo(context);
	row = stored_source(name);
	training_lock(row->id, name, run.commits);
	run.model = row->id;
	run.source = row->source;
	checkpoint = catalog_load_checkpoint(row->id, &run.stored);
	if (checkpoint == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no interrupted training of model \"%s\" to resume", name),
				 errdetail("Its last training ended, or was not allowed to keep checkpoints."),
				 errhint("CALL meta.train to train it anew.")));

	request_parse(&request, row->algorithm, row->options, false);
	request_load(&request, row->task, row->target, row->features, row->order_by, &load);
	load.encoding = checkpoint_encoding(checkpoint);
	load_and_run(&run, &request, row, &load, checkpoint);
	SPI_finish();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_VOID();
}
