/*
 * request.c
 *	  What a call of meta.train asks for, checked before any row is read.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "data/identifiers.h"
#include "sql/request.h"
#include "store/options_json.h"

#define DEFAULT_ALGORITHM "auto"

/*
 * What auto chooses among: what did best on held-out tasks of real schools, see
 * bench/RESULTS.md.
 */
/* of numbers and of two values */
static const char *const number_learners[] = {"alpaca", "cnp", NULL};
static const char *const class_learners[] = {"ridge", "prototypical", NULL};
static const char *const episode_learners[] = {"prototypical", "ridge", NULL};

/* With fewer training tasks there is too little to learn a prior from. */
#define CANDIDATE_TASKS 150

static void
option_error(const char *name, const char *allowed)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 errdetail("\"%s\" %s.", name, allowed),
			 errhint("SELECT * FROM meta.options shows every option.")));
}

static char *
json_string(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* The elements of an array of one type, and how many; -1 where it is something else. */
static int
json_elements(const JsonbValue *value, enum jbvType type, JsonbValue **elements)
{
	JsonbContainer *array;
	int			n;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return -1;
	array = value->val.binary.data;
	n = (int) JsonContainerSize(array);
	*elements = palloc(sizeof(JsonbValue) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		(*elements)[i] = *getIthJsonbValueFromContainer(array, (uint32) i);
		if ((*elements)[i].type != type)
			return -1;
	}
	return n;
}

/* One number, or those of an array; false where it is something else, or more than max. */
static bool
json_numbers(const JsonbValue *value, double *numbers, int max, int *n)
{
	JsonbValue *elements = NULL;

	if (value->type == jbvNumeric)
	{
		numbers[0] = json_number(value);
		*n = 1;
		return true;
	}
	*n = json_elements(value, jbvNumeric, &elements);
	if (*n < 0 || *n > max)
		return false;
	for (int i = 0; i < *n; i++)
		numbers[i] = json_number(&elements[i]);
	return true;
}

static bool
json_strings(const JsonbValue *value, List **strings)
{
	JsonbValue *elements = NULL;
	int			n = json_elements(value, jbvString, &elements);

	for (int i = 0; i < n; i++)
		*strings = lappend(*strings, json_string(&elements[i]));
	return n >= 0;
}

static bool
json_string_object(const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbValue	element;
	JsonbIteratorToken token;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return false;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		if (token == WJB_VALUE && element.type != jbvString)
			return false;
	return true;
}

static void
set_option(TrainRequest *request, const OptionInfo *info, JsonbValue *value)
{
	double		numbers[NETWORK_MAX_HIDDEN + 1];
	const char *fault;
	int			n = 0;

	switch (info->type)
	{
		case OPTION_TEXT:
			if (value->type != jbvString && value->type != jbvNull)
				option_error(info->name, "must be a string");
			*(const char **) ((char *) &request->options + info->offset) =
				value->type == jbvNull ? NULL : json_string(value);
			return;
		case OPTION_OBJECT:
			if (!json_string_object(value))
				option_error(info->name, "must be an object whose values are strings");
			request->encode = JsonbValueToJsonb(value);
			return;
		case OPTION_LIST:
			if (!json_strings(value, &request->exclude))
				option_error(info->name, "must be an array of strings");
			return;
		case OPTION_CHOICE:
			if (value->type == jbvNull)
				return;
			fault = option_set_word(&request->options, info, value->type == jbvString ? json_string(value) : "");
			break;
		case OPTION_BOOLEAN:
			numbers[0] = value->type == jbvBool && value->val.boolean;
			fault = value->type == jbvBool ? option_set(&request->options, info, numbers, 1) :
				"must be true or false";
			break;
		default:
			if (!json_numbers(value, numbers, lengthof(numbers), &n) ||
				(value->type != jbvNumeric && (info->type == OPTION_INTEGER || info->type == OPTION_NUMBER)))
				n = -1;			/* option_set says what is allowed */
			fault = option_set(&request->options, info, numbers, n);
			break;
	}
	if (fault)
		option_error(info->name, fault);
}

static const Learner *
find_algorithm(const char *name)
{
	const Learner *learner = learner_find(name);
	StringInfoData names;

	if (learner)
		return learner;
	initStringInfo(&names);
	for (const Learner *const *l = learners; *l; l++)
		appendStringInfo(&names, "%s%s", l == learners ? "" : ", ", (*l)->name);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown algorithm \"%s\"", name),
			 errdetail("The algorithms are %s.", names.data),
			 learner_closest(name) == NULL ?
			 errhint("SELECT * FROM meta.algorithms tells when to take which.") :
			 errhint("Perhaps you meant \"%s\". SELECT * FROM meta.algorithms tells when to take which.",
					 learner_closest(name))));
	return NULL;
}

/* The text value of a key that only the aggregate has. */
static char *
aggregate_text(const char *key, const JsonbValue *value)
{
	if (value->type == jbvNull)
		return NULL;
	if (value->type != jbvString)
		option_error(key, "must be a string");
	return json_string(value);
}

/*
 * N-way episodes: an output stands for another class in each of them, so only
 * what learns to adapt can tell them apart, and not from nothing.
 */
static void
check_episodes(TrainRequest *request)
{
	Options    *options = &request->options;

	if (request->learner->flags & (LEARNER_NO_SUPPORT | LEARNER_FIXED))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("option \"way\" is not supported by algorithm \"%s\"", request->learner->name),
				 errdetail("The classes of an episode are new ones each time, and it does not learn how to adapt to them."),
				 errhint("Take an algorithm that does, or leave the option out: SELECT * FROM meta.algorithms.")));
	if (options->shots[1] == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an episode without support rows cannot be learned from"),
				 errdetail("Its classes are new ones each time, and nothing but their rows tells which is which."),
				 errhint("Set the option shots to 1 or more rows of each class.")));
	options->shots[0] = Max(options->shots[0], 1);
}

/* An option that is of no use is no error, so that algorithms can be tried with the same options. */
static void
notice_useless(const TrainRequest *request, const OptionInfo *info)
{
	/* a blend has learners of many kinds */
	if (request->learner->flags & LEARNER_BLEND || option_concerns(info, request->learner->name))
		return;
	ereport(NOTICE,
			(errmsg("the option \"%s\" changes nothing for the algorithm \"%s\"", info->name, request->learner->name),
			 errhint("SELECT algorithms FROM meta.options WHERE option = '%s' shows which it is for.", info->name)));
}

/* Is a name that no option has an argument of the procedure, or of the aggregate? */
static bool
is_argument(const TrainRequest *request, const char *name)
{
	static const char *const arguments[] = {"task", "target", "model", "source", "order_by", "algorithm"};

	for (int i = 0; i < (request->aggregate ? 2 : lengthof(arguments)); i++)
		if (strcmp(name, arguments[i]) == 0)
			return true;
	return false;
}

/* The options as given, on top of the learner's defaults. */
static void
parse_options(TrainRequest *request)
{
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;

	options_default(&request->options, request->learner->defaults);
	if (request->given == NULL)
		return;

	it = JsonbIteratorInit(&request->given->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char	   *name;
		const OptionInfo *info;

		if (token != WJB_KEY)
			continue;
		name = json_string(&value);
		token = JsonbIteratorNext(&it, &value, true);
		if (request->aggregate && strcmp(name, "algorithm") == 0)
			continue;
		/* columns; a number of them is an option */
		if (request->aggregate && strcmp(name, "features") == 0 && value.type != jbvNumeric)
		{
			request->features = aggregate_text(name, &value);
			continue;
		}
		if (request->aggregate && strcmp(name, "order_by") == 0)
		{
			request->order_by = aggregate_text(name, &value);
			continue;
		}
		info = option_find(name);
		if (info == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown option \"%s\"", name),
					 is_argument(request, name) ?
					 errhint("It is an argument of meta.train: %s => ...", name) :
					 option_closest(name) == NULL ?
					 errhint("SELECT * FROM meta.options shows every option.") :
					 errhint("Perhaps you meant \"%s\". SELECT * FROM meta.options shows every option.",
							 option_closest(name))));
		set_option(request, info, &value);
		notice_useless(request, info);
	}
	if (request->options.way > 0)
		check_episodes(request);
	if (request->options.validation + request->options.test >= 1)
		option_error("test", "and \"validation\" together must be less than 1, so that tasks are left to train on");
}

void
request_parse(TrainRequest *request, const char *algorithm, Jsonb *options, bool aggregate)
{
	memset(request, 0, sizeof(*request));
	request->aggregate = aggregate;
	request->given = options;
	if (options && !JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("For example options => '{\"iterations\": 5000}'.")));
	if (options && aggregate)
	{
		JsonbValue *found;
		JsonbValue	key;

		key.type = jbvString;
		key.val.string.val = "algorithm";
		key.val.string.len = strlen("algorithm");
		found = findJsonbValueFromContainer(&options->root, JB_FOBJECT, &key);
		if (found)
			algorithm = aggregate_text("algorithm", found);
	}
	request->learner = find_algorithm(algorithm ? algorithm : DEFAULT_ALGORITHM);
	parse_options(request);
}

void
request_settle(TrainRequest *request, const TaskSet *set)
{
	LossKind	loss = training_loss(&request->options, set->encoding);
	const char *const *suitable = loss == LOSS_SOFTMAX ? class_learners : number_learners;
	int			tasks[3] = {0};

	if (!(request->learner->flags & LEARNER_BLEND))
		return;
	for (int t = 0; t < set->n_tasks; t++)
		tasks[set->tasks[t].role]++;
	if (request->options.way > 0)
		suitable = episode_learners;
	else if (tasks[TASK_TRAIN] < CANDIDATE_TASKS || tasks[TASK_VALIDATION] == 0)
		return;					/* nothing can be told apart: random_intercept is safe */
	for (; *suitable; suitable++)
	{
		TrainRequest own = *request;
		Candidate  *candidate = &request->candidates[request->n_candidates];

		own.learner = learner_find(*suitable);
		if (!learner_supports(own.learner, loss))
			continue;
		parse_options(&own);
		request->n_candidates++;
		candidate->learner = own.learner;
		candidate->options = own.options;
	}
}

void
request_load(const TrainRequest *request, const char *task, const char *target,
			 const char *features, const char *order_by, LoadRequest *load)
{
	List	   *targets = identifier_list(target, "target");

	memset(load, 0, sizeof(*load));
	if (list_length(targets) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("target must be one column, not %d", list_length(targets))));
	load->task = identifier_list(task, "task");
	if (load->task == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task must name at least one column")));
	load->target = linitial(targets);
	if (features)
		load->features = identifier_list(features, "features");
	if (order_by)
		load->order_by = identifier_list(order_by, "order_by");
	load->encode = request->encode;
	load->exclude = request->exclude;
	load->options = &request->options;
}
