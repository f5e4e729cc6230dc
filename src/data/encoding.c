/*
 * encoding.c
 *	  An encoding's layout, and the encoding as JSON.
 *
 *	  {"features": [{"column": "age", "kind": "number", "mean": 14.2,
 *					 "deviation": 1.9, "type": "integer", "indicator": true},
 *					{"column": "skill", "kind": "category", "one_hot": true,
 *					 "labels": ["algebra", "geometry"]},
 *					{"column": "photo", "kind": "image", "image": [28, 28, 1]},
 *					{"column": "text", "kind": "vector", "length": 384}],
 *	   "target": {"column": "score", "kind": "number", "mean": 61, "deviation": 17},
 *	   "task": ["student_id"], "order_by": ["day"], "weight": "w",
 *	   "weight_mean": 3.5}
 *
 * A target of classes is {"column": "grade", "kind": "class", "classes": ["A",
 * "B"]}, of N-way episodes it has "way" as well, and classes that may be none.
 *
 * A model may come from anywhere, so everything read is checked: kinds, counts,
 * finite numbers, labels in strict order.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "data/encoding.h"

#define MAX_COLUMNS 65536
#define MAX_LABELS 16777216

static const char *const kind_names[] = {
	[ENCODER_NUMBER] = "number",
	[ENCODER_BOOLEAN] = "boolean",
	[ENCODER_CATEGORY] = "category",
	[ENCODER_VECTOR] = "vector",
	[ENCODER_IMAGE] = "image",
	[ENCODER_RAW] = "raw",
};

static const char *const target_names[] = {
	[TARGET_NUMBER] = "number",
	[TARGET_BINARY] = "binary",
	[TARGET_CLASS] = "class",
};

static const char *const type_names[] = {
	[VALUE_PLAIN] = "plain",
	[VALUE_INTEGER] = "integer",
	[VALUE_DATE] = "date",
	[VALUE_TIME] = "time",
	[VALUE_TIMETZ] = "timetz",
	[VALUE_TIMESTAMP] = "timestamp",
	[VALUE_TIMESTAMPTZ] = "timestamptz",
	[VALUE_INTERVAL] = "interval",
	[VALUE_BOOLEAN] = "boolean",
};

const char *
encoder_kind_name(EncoderKind kind)
{
	return kind_names[kind];
}

/*
 * Width of an embedding: grows with the root of the number of labels, as is
 * usual (1.6 n^0.56), but never past 16: what a school's columns tell is
 * little, and each task adapts what stands behind it.
 */
static int
embedding_width(int n_codes)
{
	return Max(2, Min(16, (int) rint(1.6 * pow((double) n_codes, 0.56))));
}

Embedding *
encoding_embeddings(const Encoding *encoding)
{
	Embedding  *embeddings = palloc0(sizeof(Embedding) * Max(encoding->width.c, 1));

	for (int i = 0; i < encoding->n_encoders; i++)
	{
		const Encoder *encoder = &encoding->encoders[i];

		if (encoder->c < 0)
			continue;
		embeddings[encoder->c].size = encoder_codes(encoder) + 1;
		embeddings[encoder->c].width = embedding_width(encoder_codes(encoder));
	}
	return embeddings;
}

RowColumn  *
encoding_columns(const Encoding *encoding, int *n)
{
	RowColumn  *columns = palloc(sizeof(RowColumn) * Max(encoding->n_encoders, 1));

	for (int i = 0; i < encoding->n_encoders; i++)
	{
		const Encoder *encoder = &encoding->encoders[i];
		bool		category = encoder->kind == ENCODER_CATEGORY;
		bool		table = encoder_is_table(encoder);

		columns[i].at = table ? encoder->c : encoder->x;
		columns[i].width = category ? encoder->width : encoder_values(encoder);
		columns[i].indicator = encoder->indicator && !category;
		columns[i].missing = encoder->kind == ENCODER_BOOLEAN ? encoder->mean : 0;
		columns[i].mean = encoder->kind == ENCODER_RAW ? encoder->mean : 0;
		columns[i].deviation = encoder->kind == ENCODER_RAW ? encoder->deviation : 1;
		switch (encoder->kind)
		{
			case ENCODER_NUMBER:
			case ENCODER_RAW:
				columns[i].kind = INPUT_NUMBER;
				break;
			case ENCODER_BOOLEAN:
				columns[i].kind = INPUT_BOOLEAN;
				break;
			case ENCODER_CATEGORY:
				columns[i].kind = table ? INPUT_TABLE : INPUT_ONE_HOT;
				break;
			case ENCODER_VECTOR:
			case ENCODER_IMAGE:
				columns[i].kind = INPUT_OTHER;
				break;
		}
	}
	*n = encoding->n_encoders;
	return columns;
}

bool
encoding_layout(Encoding *encoding)
{
	int64		x = 0;
	int			c = 0;

	for (int i = 0; i < encoding->n_encoders; i++)
	{
		Encoder    *encoder = &encoding->encoders[i];

		encoder->x = encoder->c = -1;
		if (encoder_is_table(encoder))
			encoder->c = c++;
		else
			encoder->x = (int) x;
		x += encoder->width;
		if (x > ENCODING_MAX_INPUTS)
			return false;
	}
	encoding->width.x = (int) x;
	encoding->width.c = c;
	encoding->width.y = encoding->target_kind != TARGET_CLASS ? 1 :
		encoding->way > 0 ? encoding->way : encoding->n_classes;
	return true;
}

/* ---- to JSON ---- */

static void
append_double(StringInfo out, double value)
{
	char		buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

	Assert(isfinite(value));
	double_to_shortest_decimal_buf(value, buffer);
	appendStringInfoString(out, buffer);
}

static void
append_strings(StringInfo out, char *const *strings, int n)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		escape_json(out, strings[i]);
	}
	appendStringInfoChar(out, ']');
}

static void
append_list(StringInfo out, const List *list)
{
	ListCell   *cell;
	bool		first = true;

	appendStringInfoChar(out, '[');
	foreach(cell, list)
	{
		if (!first)
			appendStringInfoString(out, ", ");
		escape_json(out, (char *) lfirst(cell));
		first = false;
	}
	appendStringInfoChar(out, ']');
}

static void
append_moments(StringInfo out, double mean, double deviation)
{
	appendStringInfoString(out, ", \"mean\": ");
	append_double(out, mean);
	appendStringInfoString(out, ", \"deviation\": ");
	append_double(out, deviation);
}

static void
append_type(StringInfo out, ValueType type)
{
	if (type != VALUE_PLAIN)
		appendStringInfo(out, ", \"type\": \"%s\"", type_names[type]);
}

static void
append_encoder(StringInfo out, const Encoder *encoder)
{
	appendStringInfoString(out, "{\"column\": ");
	escape_json(out, encoder->column);
	appendStringInfo(out, ", \"kind\": \"%s\"", kind_names[encoder->kind]);
	switch (encoder->kind)
	{
		case ENCODER_NUMBER:
		case ENCODER_BOOLEAN:
		case ENCODER_RAW:
			append_moments(out, encoder->mean, encoder->deviation);
			break;
		case ENCODER_CATEGORY:
			if (encoder->one_hot)
				appendStringInfoString(out, ", \"one_hot\": true");
			appendStringInfoString(out, ", \"labels\": ");
			append_strings(out, encoder->labels, encoder->n_labels);
			break;
		case ENCODER_VECTOR:
			appendStringInfo(out, ", \"length\": %d", encoder_values(encoder));
			break;
		case ENCODER_IMAGE:
			appendStringInfo(out, ", \"image\": [%d, %d, %d]",
							 encoder->image[0], encoder->image[1], encoder->image[2]);
			break;
	}
	append_type(out, encoder->type);
	if (encoder->indicator)
		appendStringInfoString(out, ", \"indicator\": true");
	appendStringInfoChar(out, '}');
}

void
encoding_to_json(const Encoding *encoding, StringInfo out)
{
	appendStringInfoString(out, "{\"features\": [");
	for (int i = 0; i < encoding->n_encoders; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		append_encoder(out, &encoding->encoders[i]);
	}
	appendStringInfoString(out, "], \"target\": {\"column\": ");
	escape_json(out, encoding->target);
	appendStringInfo(out, ", \"kind\": \"%s\"", target_names[encoding->target_kind]);
	if (encoding->target_kind == TARGET_NUMBER)
		append_moments(out, encoding->target_mean, encoding->target_deviation);
	append_type(out, encoding->target_type);
	if (encoding->target_kind == TARGET_CLASS)
	{
		if (encoding->way > 0)
			appendStringInfo(out, ", \"way\": %d", encoding->way);
		appendStringInfoString(out, ", \"classes\": ");
		append_strings(out, encoding->classes, encoding->n_classes);
	}
	appendStringInfoString(out, "}, \"task\": ");
	append_list(out, encoding->task);
	appendStringInfoString(out, ", \"order_by\": ");
	append_list(out, encoding->order_by);
	if (encoding->weight != NULL)
	{
		appendStringInfoString(out, ", \"weight\": ");
		escape_json(out, encoding->weight);
		appendStringInfoString(out, ", \"weight_mean\": ");
		append_double(out, encoding->weight_mean);
	}
	appendStringInfoChar(out, '}');
}

/* ---- from JSON ---- */

static void
damaged(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the params are damaged"),
			 errdetail("Their description of the columns is wrong: %s.", what)));
}

static JsonbValue *
member(JsonbContainer *object, const char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = (int) strlen(name);
	return findJsonbValueFromContainer(object, JB_FOBJECT, &key);
}

static JsonbContainer *
container(JsonbValue *value, bool array, const char *what)
{
	if (value == NULL || value->type != jbvBinary ||
		(array ? !JsonContainerIsArray(value->val.binary.data) || JsonContainerIsScalar(value->val.binary.data)
		 : !JsonContainerIsObject(value->val.binary.data)))
		damaged(what);
	return value->val.binary.data;
}

static char *
string_of(JsonbValue *value, const char *what)
{
	if (value == NULL || value->type != jbvString)
		damaged(what);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static char *
name_of(JsonbValue *value, const char *what)
{
	char	   *name = string_of(value, what);

	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		damaged(what);
	return name;
}

static bool
flag_of(JsonbValue *value, const char *what)
{
	if (value == NULL)
		return false;
	if (value->type != jbvBool)
		damaged(what);
	return value->val.boolean;
}

static double
double_of(JsonbValue *value, const char *what)
{
	double		number;

	if (value == NULL || value->type != jbvNumeric)
		damaged(what);
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												NumericGetDatum(value->val.numeric)));
	if (!isfinite(number))
		damaged(what);
	return number;
}

static int
int_of(JsonbValue *value, int low, int high, const char *what)
{
	double		number = double_of(value, what);

	if (number < low || number > high || number != floor(number))
		damaged(what);
	return (int) number;
}

static double
positive_of(JsonbValue *value, const char *what)
{
	double		number = double_of(value, what);

	if (!(number > 0))
		damaged(psprintf("%s that is not positive", what));
	return number;
}

static double
deviation_of(JsonbValue *value)
{
	return positive_of(value, "a deviation");
}

static bool
occurs_twice(char **labels, int n)
{
	char	  **sorted = palloc(sizeof(char *) * Max(n, 1));
	bool		twice = false;

	memcpy(sorted, labels, sizeof(char *) * n);
	qsort(sorted, n, sizeof(char *), pg_qsort_strcmp);
	for (int i = 1; i < n; i++)
		twice |= strcmp(sorted[i - 1], sorted[i]) == 0;
	pfree(sorted);
	return twice;
}

/*
 * Strings, each once.  In the database that they were learned in they ascend,
 * which may be another order in the encoding of this one.
 */
static char **
labels_of(JsonbValue *value, int *n, int max, const char *what)
{
	JsonbContainer *array = container(value, true, what);
	char	  **labels;
	bool		ascending = true;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	int			at = 0;

	*n = (int) JsonContainerSize(array);
	if (*n > max)
		damaged(what);
	labels = palloc(sizeof(char *) * Max(*n, 1));
	it = JsonbIteratorInit(array);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		labels[at] = string_of(&v, what);
		ascending &= at == 0 || strcmp(labels[at - 1], labels[at]) < 0;
		at++;
	}
	if (at != *n)
		damaged(what);
	if (!ascending && occurs_twice(labels, at))
		damaged("labels that occur twice");
	return labels;
}

static List *
names_of(JsonbValue *value, const char *what)
{
	JsonbContainer *array = container(value, true, what);
	int			n = (int) JsonContainerSize(array);
	List	   *names = NIL;

	if (n > MAX_COLUMNS)
		damaged(what);
	for (int i = 0; i < n; i++)
		names = lappend(names, name_of(getIthJsonbValueFromContainer(array, i), what));
	return names;
}

static int
position_of(char *word, const char *const *words, int n, const char *what)
{
	for (int i = 0; i < n; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	damaged(what);
	return -1;					/* keep compiler quiet */
}

/* Models of before it was noted have none. */
static ValueType
type_of(JsonbValue *value)
{
	if (value == NULL)
		return VALUE_PLAIN;
	return (ValueType) position_of(string_of(value, "a type"), type_names, lengthof(type_names), "a type");
}

static void
read_encoder(JsonbContainer *object, Encoder *encoder)
{
	encoder->column = name_of(member(object, "column"), "a column");
	encoder->kind = (EncoderKind) position_of(string_of(member(object, "kind"), "a kind"),
											  kind_names, lengthof(kind_names), "a kind");
	encoder->indicator = flag_of(member(object, "indicator"), "an indicator");
	encoder->type = type_of(member(object, "type"));
	encoder->mean = 0;
	encoder->deviation = 1;
	switch (encoder->kind)
	{
		case ENCODER_NUMBER:
		case ENCODER_BOOLEAN:
			encoder->mean = double_of(member(object, "mean"), "a mean");
			encoder->deviation = deviation_of(member(object, "deviation"));
			encoder->width = 1;
			break;
		case ENCODER_RAW:
			/* models of before they were noted have none */
			if (member(object, "mean") != NULL)
			{
				encoder->mean = double_of(member(object, "mean"), "a mean");
				encoder->deviation = deviation_of(member(object, "deviation"));
			}
			encoder->width = 1;
			break;
		case ENCODER_CATEGORY:
			encoder->one_hot = flag_of(member(object, "one_hot"), "one_hot");
			encoder->labels = labels_of(member(object, "labels"), &encoder->n_labels,
										encoder->one_hot ? ENCODING_MAX_ONE_HOT : MAX_LABELS, "labels");
			encoder->width = encoder->one_hot ? encoder->n_labels : 0;
			break;
		case ENCODER_VECTOR:
			encoder->width = int_of(member(object, "length"), 1, ENCODING_MAX_INPUTS, "a length");
			break;
		case ENCODER_IMAGE:
			{
				JsonbContainer *sides = container(member(object, "image"), true, "an image");
				int64		size = 1;

				if (JsonContainerSize(sides) != 3)
					damaged("an image");
				for (int i = 0; i < 3; i++)
				{
					encoder->image[i] = int_of(getIthJsonbValueFromContainer(sides, i), 1,
											   ENCODING_MAX_INPUTS, "an image");
					size *= encoder->image[i];
					if (size > ENCODING_MAX_INPUTS)
						damaged("an image");
				}
				encoder->width = (int) size;
				break;
			}
	}
	if (encoder->indicator && !encoder_is_table(encoder))
		encoder->width++;
}

static void
read_target(JsonbContainer *object, Encoding *encoding)
{
	encoding->target = name_of(member(object, "column"), "the target");
	encoding->target_kind = (TargetKind) position_of(string_of(member(object, "kind"), "the target's kind"),
													 target_names, lengthof(target_names), "the target's kind");
	encoding->target_type = type_of(member(object, "type"));
	encoding->target_mean = 0;
	encoding->target_deviation = 1;
	if (encoding->target_kind == TARGET_NUMBER)
	{
		encoding->target_mean = double_of(member(object, "mean"), "the target's mean");
		encoding->target_deviation = deviation_of(member(object, "deviation"));
	}
	if (encoding->target_kind == TARGET_CLASS)
	{
		if (member(object, "way") != NULL)
			encoding->way = int_of(member(object, "way"), 2, ENCODING_MAX_CLASSES, "the ways of an episode");
		encoding->classes = labels_of(member(object, "classes"), &encoding->n_classes,
									  encoding->way > 0 ? encoding->way : ENCODING_MAX_CLASSES, "classes");
		if (encoding->way == 0 && encoding->n_classes < 2)
			damaged("classes");
	}
}

/* The parser's own complaint would speak of JSON, which users never wrote. */
static Jsonb *
parse(const char *json)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile result = NULL;

	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		damaged("it is not JSON");
	}
	PG_END_TRY();
	if (!JB_ROOT_IS_OBJECT(result))
		damaged("it is not an object");
	return result;
}

Encoding *
encoding_from_json(const char *json)
{
	JsonbContainer *root = &parse(json)->root;
	JsonbContainer *features = container(member(root, "features"), true, "features");
	Encoding   *encoding = palloc0(sizeof(Encoding));

	encoding->n_encoders = (int) JsonContainerSize(features);
	if (encoding->n_encoders > MAX_COLUMNS)
		damaged("features");
	encoding->encoders = palloc0(sizeof(Encoder) * Max(encoding->n_encoders, 1));
	for (int i = 0; i < encoding->n_encoders; i++)
		read_encoder(container(getIthJsonbValueFromContainer(features, i), false, "a feature"),
					 &encoding->encoders[i]);
	read_target(container(member(root, "target"), false, "the target"), encoding);
	encoding->task = names_of(member(root, "task"), "the task");
	encoding->order_by = names_of(member(root, "order_by"), "order_by");
	if (encoding->way > 0 && encoding->order_by != NIL)
		damaged("episodes of rows in order");
	encoding->weight_mean = 1;
	if (member(root, "weight") != NULL)
	{
		encoding->weight = name_of(member(root, "weight"), "the weight");
		encoding->weight_mean = positive_of(member(root, "weight_mean"), "the mean weight");
	}
	if (!encoding_layout(encoding))
		damaged("it has too many inputs");
	return encoding;
}
