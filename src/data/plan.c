/*
 * plan.c
 *	  What each column of a source is for.
 *
 * Features are the columns that are named, or else every column but those
 * that have another part, the primary key, and what no encoder takes.  What
 * only the rows can tell (constants, texts that are nearly all distinct) is
 * left to fit.c.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "data/encode.h"
#include "data/identifiers.h"
#include "data/plan.h"
#include "learn/learner.h"

#define ENCODE_WORDS "\"number\", \"category\", \"boolean\", \"vector\", \"image HxW\", \"image HxWxC\" or \"raw\""

typedef struct Declared
{
	EncoderKind kind;
	int			image[3];
} Declared;

/* ---- names ---- */

static int
find_once(TupleDesc desc, const char *name, const char *what)
{
	int			at = column_find(desc, name);

	if (at < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\", named in %s, does not exist in the source", name, what),
				 errhint("%s", column_hint(desc, name))));
	if (column_repeats(desc, at))
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_COLUMN),
				 errmsg("column \"%s\", named in %s, occurs twice in the source", name, what),
				 errhint("Give each column a name of its own, with AS.")));
	return at;
}

static void
open_named(Column *column, TupleDesc desc, const char *name, const char *what)
{
	column_open(column, desc, find_once(desc, name, what));
}

static void
check_key(const Column *column, const char *what)
{
	if (!column_has_label(column))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be used as %s", column->name,
						column_type_name(column), what),
				 errdetail("Numbers, dates and times, booleans, text, enums and uuids can."),
				 errhint("%s", column_cast_hint(column, "text"))));
}

static Column *
open_list(TupleDesc desc, const List *names, const char *what, int *n)
{
	Column	   *columns = palloc(sizeof(Column) * Max(list_length(names), 1));
	ListCell   *cell;

	*n = 0;
	foreach(cell, names)
		open_named(&columns[(*n)++], desc, (const char *) lfirst(cell), what);
	return columns;
}

/* ---- option encode ---- */

/* "image HxW" or "image HxWxC" of a column; false where it is something else. */
static bool
parse_image(const char *column, const char *text, int *image)
{
	int			end = 0;

	image[2] = 1;
	if (sscanf(text, "image %8dx%8d%n", &image[0], &image[1], &end) == 2 && text[end] == '\0')
		;
	else if (sscanf(text, "image %8dx%8dx%8d%n", &image[0], &image[1], &image[2], &end) == 3 && text[end] == '\0')
		;
	else
		return false;
	if (Min(Min(image[0], image[1]), image[2]) < 1 || (double) image[0] * image[1] * image[2] > ENCODING_MAX_INPUTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"encode\" gives column \"%s\" a size that images cannot have: \"%s\"", column, text),
				 errdetail("An image has at least one pixel, and at most %d numbers: height times width times channels.",
						   ENCODING_MAX_INPUTS),
				 errhint("Write the size as in \"image 28x28\" or \"image 32x32x3\"; larger images are to be scaled down in the source.")));
	return true;
}

/* What the option says about a column; false where it says nothing. */
static bool
find_declared(const Jsonb *encode, const char *name, Declared *declared)
{
	JsonbValue	key;
	JsonbValue *value;
	char	   *word;

	if (encode == NULL)
		return false;
	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = (int) strlen(name);
	value = findJsonbValueFromContainer(unconstify(JsonbContainer *, &encode->root), JB_FOBJECT, &key);
	if (value == NULL)
		return false;

	word = value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;
	memset(declared, 0, sizeof(Declared));
	if (word != NULL)
	{
		static const EncoderKind plain[] = {ENCODER_NUMBER, ENCODER_BOOLEAN, ENCODER_CATEGORY, ENCODER_VECTOR, ENCODER_RAW};

		for (int i = 0; i < lengthof(plain); i++)
			if (strcmp(word, encoder_kind_name(plain[i])) == 0)
			{
				declared->kind = plain[i];
				return true;
			}
		if (parse_image(name, word, declared->image))
		{
			declared->kind = ENCODER_IMAGE;
			return true;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 word != NULL
			 ? errmsg("option \"encode\" gives column \"%s\" the unknown encoder \"%s\"", name, word)
			 : errmsg("option \"encode\" gives column \"%s\" something that is not a string", name),
			 errhint("Valid encoders are " ENCODE_WORDS ".")));
	return false;				/* keep compiler quiet */
}

/* Every key must be a column that has an encoder. */
static void
check_encode_keys(const LoadRequest *request, const SourcePlan *plan, TupleDesc desc)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (request->encode == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(request->encode))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"encode\" must be an object of column names and encoders"),
				 errhint("Write it like this: {\"grade\": \"number\", \"skill\": \"category\"}.")));
	it = JsonbIteratorInit(&request->encode->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *name;
		bool		used;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(v.val.string.val, v.val.string.len);
		find_once(desc, name, "option encode");
		used = strcmp(name, plan->target.name) == 0;
		for (int i = 0; i < plan->n_candidates && !used; i++)
			used = strcmp(name, plan->candidates[i].column.name) == 0;
		if (!used)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"encode\" names column \"%s\", which is neither a feature nor the target", name),
					 errhint("Add the column to features, or take it out of encode.")));
	}
}

/* ---- features ---- */

void
plan_omit(SourcePlan *plan, const char *name, const char *reason)
{
	Omission   *omission = &plan->omissions[plan->n_omissions++];

	omission->name = pstrdup(name);
	omission->reason = pstrdup(reason);
}

static void
unfit_feature(const Column *column, const char *as, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of type %s cannot be encoded as %s", column->name,
					column_type_name(column), as),
			 errhint("%s", column_cast_hint(column, wanted))));
}

static void
check_kind(const FeatureCandidate *candidate)
{
	const Column *column = &candidate->column;

	if (encoder_takes(candidate->kind, column))
		return;
	if (candidate->kind == ENCODER_IMAGE)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be encoded as an image", column->name,
						column_type_name(column)),
				 errhint("Images are bytea with a byte for each channel of each pixel, or numeric arrays.")));
	unfit_feature(column, encoder_noun(candidate->kind), encoder_cast(candidate->kind));
}

static bool
default_kind(const Column *column, KeyFlags keys, EncoderKind *kind)
{
	switch (column->class)
	{
		case COLUMN_NUMBER:
		case COLUMN_TIME:
			*kind = keys & KEY_NAME ? ENCODER_CATEGORY : ENCODER_NUMBER;
			return true;
		case COLUMN_BOOLEAN:
			*kind = ENCODER_BOOLEAN;
			return true;
		case COLUMN_LABEL:
			*kind = ENCODER_CATEGORY;
			return true;
		case COLUMN_VECTOR:
			*kind = ENCODER_VECTOR;
			return true;
		default:
			return false;
	}
}

static void
plan_feature(SourcePlan *plan, const LoadRequest *request, const Column *column, bool named, KeyFlags keys)
{
	FeatureCandidate *candidate = &plan->candidates[plan->n_candidates];
	Declared	declared;

	memset(candidate, 0, sizeof(FeatureCandidate));
	candidate->column = *column;
	candidate->asked = named;
	if (find_declared(request->encode, column->name, &declared))
	{
		candidate->asked = true;
		candidate->kind = declared.kind;
		memcpy(candidate->image, declared.image, sizeof(declared.image));
		check_kind(candidate);
	}
	else if (!default_kind(column, keys, &candidate->kind))
	{
		if (named)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of type %s cannot be a feature", column->name,
							column_type_name(column)),
					 errdetail("Features are numbers, dates and times, booleans, text, enums, uuids, numeric arrays and what casts to real[]."),
					 errhint("%s", column_cast_hint(column, NULL))));
		plan_omit(plan, column->name, psprintf("type %s", column_type_name(column)));
		return;
	}
	plan->n_candidates++;
}

/* The part a column has already, which keeps it from being a feature by default. */
static bool
has_part(const LoadRequest *request, const SourcePlan *plan, const char *name)
{
	return name_in_list(request->task, name) ||
		name_in_list(request->order_by, name) ||
		strcmp(request->target, name) == 0 ||
		(plan->weighted && strcmp(plan->weight.name, name) == 0) ||
		(plan->grouped && strcmp(plan->by.name, name) == 0);
}

static KeyFlags
keys_of(const LoadRequest *request, int column)
{
	return request->keys == NULL ? 0 : request->keys[column];
}

static void
plan_features(SourcePlan *plan, const LoadRequest *request, TupleDesc desc)
{
	ListCell   *cell;
	Column		column;
	Declared	declared;

	plan->candidates = palloc(sizeof(FeatureCandidate) * (desc->natts + list_length(request->features)));
	plan->omissions = palloc(sizeof(Omission) * (desc->natts + 1));

	foreach(cell, request->exclude)
		find_once(desc, (const char *) lfirst(cell), "option exclude");

	foreach(cell, request->features)
	{
		const char *name = (const char *) lfirst(cell);

		open_named(&column, desc, name, "features");
		if (strcmp(name, request->target) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot be both a feature and the target", name)));
		if (name_in_list(request->exclude, name))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" stands both in features and in option exclude", name)));
		plan_feature(plan, request, &column, true, keys_of(request, column.at));
	}
	if (request->features != NIL)
		return;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *name = NameStr(att->attname);

		if (att->attisdropped || has_part(request, plan, name) || column_find(desc, name) < i)
			continue;
		if (column_repeats(desc, i))
		{
			plan_omit(plan, name, "the name occurs twice");
			continue;
		}
		if (name_in_list(request->exclude, name))
		{
			plan_omit(plan, name, "excluded");
			continue;
		}
		if (keys_of(request, i) & KEY_OF_ROW && !find_declared(request->encode, name, &declared))
		{
			plan_omit(plan, name, "primary key");
			continue;
		}
		column_open(&column, desc, i);
		plan_feature(plan, request, &column, false, keys_of(request, i));
	}
}

/* ---- target ---- */

static void
unfit_loss(const Column *column, const char *loss, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("loss \"%s\" does not fit the target \"%s\" of type %s", loss, column->name,
					column_type_name(column)),
			 errhint("%s", hint)));
}

static TargetPlan
plan_target(const LoadRequest *request, const Column *column)
{
	TargetPlan	plan;
	Declared	declared;
	bool		number = column_has_number(column);

	if (!column_has_label(column))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be the target", column->name,
						column_type_name(column)),
				 errdetail("A target is a boolean, a number, or text or an enum that names classes."),
				 errhint("%s", column_cast_hint(column, column->class == COLUMN_BYTES ? "text" : NULL))));

	if (request->options->way > 0)
		return TARGET_PLAN_EPISODE;
	if (find_declared(request->encode, column->name, &declared))
	{
		if (declared.kind == ENCODER_VECTOR || declared.kind == ENCODER_IMAGE)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the target \"%s\" cannot be encoded as %s", column->name,
							encoder_noun(declared.kind)),
					 errhint("A target is \"number\", \"raw\", \"boolean\" or \"category\".")));
		if (declared.kind != ENCODER_CATEGORY && !number)
			unfit_feature(column, encoder_noun(declared.kind), encoder_cast(declared.kind));
		switch (declared.kind)
		{
			case ENCODER_NUMBER:
				plan = TARGET_PLAN_NUMBER;
				break;
			case ENCODER_RAW:
				plan = TARGET_PLAN_RAW;
				break;
			case ENCODER_BOOLEAN:
				plan = TARGET_PLAN_BINARY;
				break;
			default:
				plan = TARGET_PLAN_CLASS;
				break;
		}
	}
	else if (column->class == COLUMN_BOOLEAN)
		plan = TARGET_PLAN_BINARY;
	else if (column->class == COLUMN_LABEL)
		plan = TARGET_PLAN_CLASS;
	else
		plan = TARGET_PLAN_OPEN;

	switch (request->options->loss)
	{
		case LOSS_SQUARED:
			if (!number)
				unfit_loss(column, "squared", column_cast_hint(column, "float8"));
			return plan == TARGET_PLAN_RAW ? TARGET_PLAN_RAW : TARGET_PLAN_NUMBER;
		case LOSS_LOGISTIC:
			if (!number)
				unfit_loss(column, "logistic", column_cast_hint(column, "boolean"));
			return TARGET_PLAN_BINARY;
		case LOSS_SOFTMAX:
			return TARGET_PLAN_CLASS;
		default:
			return plan;
	}
}

/* The tasks of N-way episodes are classes, so nothing else can be the target. */
static void
plan_episodes(const LoadRequest *request)
{
	if (!name_in_list(request->task, request->target))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("with the option way, the target must be the task key or one of its columns"),
				 errdetail("An episode is made of some of the tasks, and what is learned is to tell them apart."),
				 errhint("Name the column of classes as task and as target, or leave out the option way.")));
	if (request->order_by != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows have no order in N-way episodes"),
				 errhint("Leave out order_by, or the option way.")));
	if (request->options->loss != OPTION_UNSET && request->options->loss != LOSS_SOFTMAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the loss of N-way episodes is \"softmax\""),
				 errhint("Leave out the option loss.")));
}

SourcePlan *
plan_create(const LoadRequest *request, TupleDesc desc)
{
	SourcePlan *plan = palloc0(sizeof(SourcePlan));
	const Encoding *encoding = request->encoding;

	plan->task = open_list(desc, request->task != NIL || encoding == NULL ? request->task : encoding->task,
						   "task", &plan->n_task);
	if (plan->n_task == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no task column is given"),
				 errdetail("A task is the rows that share one value of the task key."),
				 errhint("Name the column or columns that tell tasks apart, such as task => 'student_id'.")));
	for (int i = 0; i < plan->n_task; i++)
		check_key(&plan->task[i], "task key");
	if (request->by != NULL)
	{
		plan->grouped = true;
		open_named(&plan->by, desc, request->by, "by");
		check_key(&plan->by, "group");
	}
	if (encoding != NULL)
		return plan;

	if (request->target == NULL || request->target[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no target column is given"),
				 errhint("Name the column to be predicted, such as target => 'score'.")));
	open_named(&plan->target, desc, request->target, "target");
	if (request->options->way > 0)
		plan_episodes(request);
	else if (name_in_list(request->task, request->target))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" cannot be both the task key and the target", request->target),
				 errhint("To learn how to tell tasks apart, as classes, set the option way: the number of them in an episode.")));
	plan->target_plan = plan_target(request, &plan->target);

	plan->order = open_list(desc, request->order_by, "order_by", &plan->n_order);
	for (int i = 0; i < plan->n_order; i++)
		column_check_order(&plan->order[i]);
	if (name_in_list(request->order_by, request->target))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" cannot be both the target and in order_by", request->target),
				 errdetail("What is known before would tell what is to be predicted."),
				 errhint("Order rows by when they came to be, or leave out order_by.")));
	if (request->options->weight != NULL)
	{
		if (strcmp(request->options->weight, request->target) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot be both the target and the option weight", request->target),
					 errhint("Weight rows by another column, or leave out the option weight.")));
		plan->weighted = true;
		open_named(&plan->weight, desc, request->options->weight, "option weight");
		if (plan->weight.class != COLUMN_NUMBER)
			unfit_feature(&plan->weight, "a weight", "float8");
	}
	plan_features(plan, request, desc);
	check_encode_keys(request, plan, desc);
	return plan;
}
