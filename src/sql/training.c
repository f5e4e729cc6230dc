/*
 * training.c
 *	  What the procedure and the aggregate of meta.train share.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "sql/training.h"

double
seconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

/* The line is made in one piece, so that a NOTICE is one report. */
void
progress_notice(ProgressState *state, const Training *training, const Phase *phase, double now)
{
	const Options *options = &phase->spec.options;
	StringInfoData line;
	double		rate;

	if (state->phase != phase)
	{
		state->phase = phase;
		state->iteration = phase->iteration;
		if (state->last == 0)
			state->last = now;
	}
	if (now - state->last < training->options.report)
		return;
	rate = (phase->iteration - state->iteration) / (now - state->last);

	initStringInfo(&line);
	appendStringInfo(&line, "%s: iteration %d of %d, loss %.4f", phase->name, phase->iteration,
					 options->iterations, phase->train_loss);
	if (isfinite(phase->validation_loss))
		appendStringInfo(&line, ", validation %.4f", phase->validation_loss);
	if (rate > 0)
		appendStringInfo(&line, ", %.*f tasks/s, at most %.0f s left", rate * options->meta_batch < 10 ? 1 : 0, rate * options->meta_batch,
						 (options->iterations - phase->iteration) / rate);
	ereport(NOTICE, (errmsg_internal("%s", line.data)));
	pfree(line.data);
	state->last = now;
	state->iteration = phase->iteration;
}

void
training_diverged(const Training *training)
{
	const Phase *phase = &training->phases[training->phase];
	const Options *options = &phase->spec.options;

	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("training diverged: the loss of %s is not finite at iteration %d",
					phase->name, phase->iteration + 1),
			 errdetail("inner_lr is %g, outer_lr is %g; nothing is stored.", options->inner_lr, options->outer_lr),
			 errhint("Lower inner_lr or outer_lr.")));
	pg_unreachable();
}

static int64
training_rows(const Training *training)
{
	int64		rows = 0;

	for (int t = 0; t < training->set->n_tasks; t++)
		if (training->set->tasks[t].role == TASK_TRAIN)
			rows += training->set->tasks[t].rows;
	return rows;
}

static int
training_tasks(const Training *training, TaskRole role)
{
	int			tasks = 0;

	for (int t = 0; t < training->set->n_tasks; t++)
		tasks += training->set->tasks[t].role == role;
	return tasks;
}

static const Phase *
main_phase(const Training *training)
{
	return &training->phases[training->main_phase];
}

/* Validation loss of what is stored. */
static double
final_loss(const Training *training)
{
	return isnan(training->final_loss) ? main_phase(training)->best_loss : training->final_loss;
}

/* As JSON; seconds is left out where it is negative. */
static char *
scalars(const Training *training, double seconds)
{
	const Phase *phase = main_phase(training);
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"tasks\": %d, \"rows\": " INT64_FORMAT ", \"validation_tasks\": %d, \"test_tasks\": %d, "
					 "\"iterations\": %d, \"best_iteration\": %d",
					 training_tasks(training, TASK_TRAIN), training_rows(training),
					 training_tasks(training, TASK_VALIDATION), training_tasks(training, TASK_TEST),
					 phase->iteration, phase->best_iteration);
	if (isfinite(final_loss(training)))
		appendStringInfo(&json, ", \"validation_loss\": %.9g", final_loss(training));
	if (training->choice)
		appendStringInfo(&json, ", \"choice\": %s", training->choice);
	if (seconds >= 0)
		appendStringInfo(&json, ", \"seconds\": %.3f", seconds);
	appendStringInfoChar(&json, '}');
	return json.data;
}

char *
training_summary(const Training *training)
{
	return scalars(training, -1);
}

Jsonb *
training_metrics(const Training *training, double seconds)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(scalars(training, seconds))));
}

bool
training_early(const Training *training)
{
	return training->phase < training->first_candidate && training->first_candidate < training->n_phases;
}

int
training_detail(const Training *training)
{
	const Phase *phase = main_phase(training);

	if (training->choice_line)
		return errdetail_internal("%s", training->choice_line);
	if (training_early(training))
		return errdetail("The time was up in the phase \"%s\" at iteration %d of %d, before \"%s\" began.",
						 training->phases[training->phase].name, training->phases[training->phase].iteration,
						 training->phases[training->phase].spec.options.iterations, phase->name);
	if (!isfinite(phase->best_loss) && training_tasks(training, TASK_VALIDATION) > 0)
		return errdetail("The %d validation tasks are too few for an episode, or too short: the last of %d iterations was kept.",
						 training_tasks(training, TASK_VALIDATION), phase->iteration);
	if (!isfinite(phase->best_loss))
		return errdetail("There were no validation tasks: the last of %d iterations was kept.", phase->iteration);
	if (isfinite(training->final_loss))
		return errdetail("Validation loss %.4f; that of \"%s\", on which it stands, is %.4f at iteration %d of %d.", training->final_loss,
						 phase->name, phase->best_loss, phase->best_iteration, phase->iteration);
	return errdetail("Validation loss %.4f at iteration %d of %d.", phase->best_loss, phase->best_iteration,
					 phase->iteration);
}

/* Raises where a source, to resume or to evaluate, is none, or is not the current user's to run. */
static void
check_source(const char *name, const char *source, Oid trained_by, bool resume)
{
	const char *role = GetUserNameFromId(trained_by, true);
	const char *literal = quote_literal_cstr(name);
	const char *otherwise = resume ? "CALL meta.train to train it anew" :
		psprintf("name a source of your own: meta.evaluate(%s, source => '...')", literal);

	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has no stored source", name),
				 resume ? errhint("CALL meta.train to train it anew.") :
				 errhint("Name the source: meta.evaluate(%s, source => '...').", literal)));
	if (trained_by == GetUserId())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("the source of model \"%s\" is run only by the role that trained it", name),
			 role ? errdetail("It was trained by \"%s\".", role) :
			 errdetail("It was trained by a role that no longer exists."),
			 role ? errhint("SET ROLE to that role, or %s.", otherwise) :
			 errhint("If its source, in meta.%s, is to be trusted, set trained_by there to a role of yours; or %s.",
					 resume ? "model" : "version", otherwise)));
}

ModelRow *
stored_source(const char *name)
{
	ModelRow   *row = catalog_find(name);

	if (row == NULL)
	{
		char		digest[DIGEST_LENGTH + 1];

		catalog_resolve(name, 0, digest, NULL); /* raises the error, with a hint */
		elog(ERROR, "model \"%s\" vanished", name);
	}
	check_source(name, row->source, row->trained_by, true);
	return row;
}

char *
version_source(const char *name, const char *digest)
{
	Oid			trained_by;
	char	   *source = catalog_source(name, digest, &trained_by);

	check_source(name, source, trained_by, false);
	return source;
}
