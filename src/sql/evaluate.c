/*
 * evaluate.c
 *	  meta.evaluate: K-shot results beside the baselines.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "data/episode.h"
#include "data/identifiers.h"
#include "data/source.h"
#include "sql/call.h"
#include "sql/request.h"
#include "sql/training.h"
#include "train/evaluate.h"

PG_FUNCTION_INFO_V1(meta_evaluate);

#define EVALUATE_TASKS 10000	/* more are sampled down, evenly */
#define EVALUATE_QUERY 40		/* query rows of one task, at most */
#define EVALUATE_COLUMNS 12
#define MAX_SHOTS 10000

static const int default_shots[] = {0, 1, 5, 10};

/* Share of the test tasks that must have rows for a default number of shots. */
#define DEFAULT_SHARE 0.3

typedef struct Output
{
	Tuplestorestate *store;
	TupleDesc	desc;
	const TaskSet *set;
} Output;

static void
set_float(Datum *values, bool *nulls, int i, double value)
{
	values[i] = Float8GetDatum(value);
	nulls[i] = isnan(value);
}

static void
emit(void *context, const Figure *result)
{
	Output	   *out = context;
	Datum		values[EVALUATE_COLUMNS];
	bool		nulls[EVALUATE_COLUMNS] = {0};

	values[0] = Int32GetDatum(result->shots);
	values[1] = CStringGetTextDatum(metric_names[result->metric]);
	values[2] = CStringGetTextDatum(result->method);
	nulls[3] = result->group < 0;
	if (result->group >= 0)
		values[3] = CStringGetTextDatum(out->set->groups[result->group]);
	set_float(values, nulls, 4, result->value);
	set_float(values, nulls, 5, result->lower);
	set_float(values, nulls, 6, result->upper);
	set_float(values, nulls, 7, result->difference);
	set_float(values, nulls, 8, result->difference_lower);
	set_float(values, nulls, 9, result->difference_upper);
	values[10] = Int64GetDatum(result->tasks);
	values[11] = Int64GetDatum(result->rows);
	tuplestore_putvalues(out->store, out->desc, values, nulls);
}

/*
 * The shots argument, in its order, each number once; NULL: the usual ones, as
 * far as tasks can be parted after them.
 */
static int
read_shots(ArrayType *array, const TaskSet *set, int *shots, int max)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int			kept = 0;
	int			usable;
	int			without_ties;

	if (array == NULL)
	{
		usable = panel_usable_shots(set, TASK_TEST, default_shots, lengthof(default_shots), DEFAULT_SHARE, &without_ties);
		if (usable < without_ties)
			ereport(NOTICE,
					(errmsg("the default shots end with %d instead of %d, because rows of a task tie in order_by %s",
							usable, without_ties, names_quoted(set->encoding->order_by)),
					 errdetail("Rows that tie are never parted into support and query."),
					 errhint("Train with a finer column in order_by, or a further one that breaks ties.")));
		n = 0;
		for (int i = 0; i < lengthof(default_shots) && default_shots[i] <= usable; i++)
			/* without support, nothing is known of an episode's classes */
			if (default_shots[i] > 0 || set->encoding->way == 0)
				shots[n++] = default_shots[i];
		if (n == 0)
			shots[n++] = 1;
		return n;
	}
	deconstruct_array(array, INT4OID, 4, true, TYPALIGN_INT, &elements, &nulls, &n);
	if (n < 1 || n > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("shots must hold 1 to %d numbers, not %d", max, n)));
	for (int i = 0; i < n; i++)
	{
		bool		repeated = false;

		if (nulls[i] || DatumGetInt32(elements[i]) < 0 || DatumGetInt32(elements[i]) > MAX_SHOTS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("shots must be numbers of support rows between 0 and %d, not %s", MAX_SHOTS,
							nulls[i] ? "NULL" : psprintf("%d", DatumGetInt32(elements[i]))),
					 errhint("For example shots => '{0,1,5,10}'.")));
		for (int j = 0; j < kept; j++)
			repeated |= shots[j] == DatumGetInt32(elements[i]);
		if (repeated)
			continue;
		shots[kept++] = DatumGetInt32(elements[i]);
		if (shots[kept - 1] == 0 && set->encoding->way > 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("an episode without support rows cannot be evaluated"),
					 errdetail("Its classes are new ones each time, and nothing but their rows tells which is which."),
					 errhint("Ask for shots of 1 or more.")));
	}
	return kept;
}

/* The way out where rows tie. */
#define UNTIE "Ask for fewer shots, or train with a finer column in order_by, or a further one that breaks ties."

static char *
left_out(const Panel *panel, int others)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%d tasks of training and validation, %d with too few rows for %d shots",
					 others, panel->n_too_short, panel->max_shots);
	if (panel->n_tied > 0)
		appendStringInfo(&out, ", %d whose later rows tie with these in order_by %s", panel->n_tied,
						 names_quoted(panel->set->encoding->order_by));
	return out.data;
}

/* Where tasks are missing: what became of those that there are. */
static int
missing_detail(const Panel *panel, int others)
{
	if (panel->n_too_short == 0)
		return errdetail("%d tasks belong to training and validation.", others);
	return errdetail("%d tasks are test tasks with too few rows; %d belong to training and validation.",
					 panel->n_too_short, others);
}

/* Says what N-way episodes are made of, whose classes the tasks are; an error if there are none. */
static void
report_episodes(const Panel *panel, int others)
{
	int			way = panel->way;

	if (panel->n_tasks == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("%d-way episodes need %d test tasks with more than %d rows, and there are %d",
						way, way, panel->max_shots, panel->n_classes),
				 missing_detail(panel, others),
				 errhint("%s with a larger option test, or name a source with more tasks.",
						 panel->n_too_short > 0 ? "Ask for fewer shots or a smaller way, train" :
						 panel->n_classes > 1 ? "Ask for a smaller way, train" : "Train")));
	ereport(NOTICE,
			(errmsg("%d episodes of %d out of %d test tasks, with %lld query rows", panel->n_tasks, way,
					panel->n_classes, (long long) panel->n_query),
			 errdetail("Left out: %s.", left_out(panel, others))));
}

/* Says what of the test tasks is looked at; an error if it is none. */
static void
report_tasks(const Panel *panel, int others)
{
	if (panel->n_tasks > 0)
		ereport(NOTICE,
				(errmsg("%d test tasks with %lld query rows", panel->n_tasks, (long long) panel->n_query),
				 errdetail("Left out: %s.", left_out(panel, others)),
				 panel->n_tied > 0 ? errhint(UNTIE) : 0));
	else if (panel->n_tied > 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("after %d shots no test task has rows left that do not tie with these in order_by %s",
						panel->max_shots, names_quoted(panel->set->encoding->order_by)),
				 errdetail("Rows that tie are never parted into support and query. Left out: %s.", left_out(panel, others)),
				 errhint(UNTIE)));
	else
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 panel->n_too_short == 0 ? errmsg("there are no test tasks") :
				 errmsg("no test task has more than %d rows", panel->max_shots),
				 missing_detail(panel, others),
				 errhint("%s with a larger option test, or name a source with more tasks.",
						 panel->n_too_short > 0 ? "Ask for fewer shots, train" : "Train")));
}

/* Tasks are grouped, not rows: says where those of a task differ. */
static void
report_groups(const Panel *panel, const char *by)
{
	int			several = 0;

	for (int t = 0; t < panel->n_tasks; t++)
		several += panel->tasks[t].task->group == GROUP_SEVERAL;
	if (several > 0)
		ereport(NOTICE,
				(errmsg("column \"%s\", named in by, has several values within %d of %d test tasks", by, several, panel->n_tasks),
				 errdetail("Groups are of tasks, and these are in none."),
				 errhint("Evaluate on a SELECT of the rows of each value, or make the column a part of the task key in training.")));
}

static void
evaluate(Output *out, TaskSet *set, const Model *model, ArrayType *shots_array, int way, const char *by)
{
	uint64		seed = model->components[0].spec.options.seed;
	int			shots[32];
	int			n_shots = read_shots(shots_array, set, shots, lengthof(shots));
	int			max_shots = 0;
	int			others = 0;
	int			independent;
	Panel	   *panel;

	for (int i = 0; i < n_shots; i++)
		max_shots = Max(max_shots, shots[i]);
	for (int t = 0; t < set->n_tasks; t++)
		others += set->tasks[t].role != TASK_TEST;
	if (way > 0)
		panel = episode_panel_create(set, TASK_TEST, way, seed, max_shots, EVALUATE_TASKS, EVALUATE_QUERY);
	else
		panel = panel_create(set, TASK_TEST, seed, max_shots, EVALUATE_TASKS, EVALUATE_QUERY);
	if (way > 0)
		report_episodes(panel, others);
	else
		report_tasks(panel, others);
	independent = way > 0 ? panel->n_classes : panel->n_tasks;
	if (independent < INTERVAL_TASKS)
		ereport(NOTICE,
				(errmsg("%d test tasks are too few for intervals, which take %d", independent, INTERVAL_TASKS),
				 errhint("Train with a larger option test, or name a source with more tasks.")));
	if (by)
		report_groups(panel, by);
	out->set = set;
	evaluate_model(model, panel, shots, n_shots, seed, by != NULL, emit, out);
}

/* Classes of the episodes to judge on: as many as in training, or fewer; 0: no episodes. */
static int
read_way(const Encoding *encoding, bool given, int way)
{
	if (!given)
		return encoding->way;
	if (encoding->way == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the model does not tell classes of episodes apart"),
				 errdetail("It was trained without the option way."),
				 errhint("Leave out the argument way, or train with the option way.")));
	if (way < 2 || way > encoding->way)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("way must be between 2 and %d, not %d", encoding->way, way),
				 errdetail("The model was trained to tell %d classes apart, and more it cannot.", encoding->way),
				 errhint(way < 2 ? "Leave way out to evaluate as in training." :
						 "Train with a larger option way to tell more classes apart.")));
	return way;
}

static char *
group_column(const char *by)
{
	List	   *names = identifier_list(by, "by");

	if (names == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("by names no column"),
				 errhint("Name the column whose values group the tasks, or leave by out.")));
	if (list_length(names) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("by must be one column, not %d", list_length(names)),
				 errhint("Join columns in a SELECT as source: (a, b)::text AS both.")));
	return linitial(names);
}

/*
 * In another source than the model's own, every task it has not seen is a
 * test task: next year's students, say.
 */
static void
unseen_are_test(TaskSet *set, const Model *model)
{
	for (int t = 0; t < set->n_tasks; t++)
		if (!model_saw_task(model, set->tasks[t].key))
			set->tasks[t].role = TASK_TEST;
}

/* meta.evaluate(model, source, shots, by, way) */
Datum
meta_evaluate(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	Output		out = {0};
	char	   *name = call_text(fcinfo, 0, "model");
	char	   *source = call_optional_text(fcinfo, 1);
	ArrayType  *shots = PG_ARGISNULL(2) ? NULL : PG_GETARG_ARRAYTYPE_P(2);
	char	   *by = call_optional_text(fcinfo, 3);
	char		digest[DIGEST_LENGTH + 1];
	bytea	   *params;
	Model	   *model;
	LoadRequest load = {0};
	TaskSet    *set;
	bool		own = source == NULL;
	int			way;

	out.store = call_rows(fcinfo, "meta.evaluate", &out.desc);

	SPI_connect();
	MemoryContextSwitchTo(context);
	catalog_resolve(name, 0, digest, &params);
	model = model_decode(params);
	way = read_way(model->encoding, !PG_ARGISNULL(4), PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4));

	/* as the version was trained; meta.model may speak of a later training */
	load.encoding = model->encoding;
	load.options = &model->components[0].spec.options;
	load.by = by ? group_column(by) : NULL;
	if (by && model->encoding->way > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("results of N-way episodes cannot be grouped"),
				 errdetail("An episode is made of several tasks, which may be of several groups."),
				 errhint("Leave out by, or evaluate on a source of each group.")));
	if (own)
		source = version_source(name, digest);
	else
		source = source_qualify(source);
	set = source_load(source, &load);
	PG_TRY();
	{
		if (!own)
			unseen_are_test(set, model);
		evaluate(&out, set, model, shots, way, load.by);
	}
	PG_FINALLY();
	{
		taskset_close(set);
	}
	PG_END_TRY();
	SPI_finish();
	return (Datum) 0;
}
