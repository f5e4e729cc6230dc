/*
 * model.c
 *	  A model as bytes, and back.
 *
 * The metadata say how the numbers are to be understood: the encoding of rows,
 * and for each component its learner, network and options.  From these the
 * learner lays out its tensors again, and they must be exactly the ones in the
 * file.  So a file can only be read into memory that its own bytes fill, and
 * what a learner does with a network cannot reach beyond it.
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "learn/blend.h"
#include "learn/memory.h"
#include "nn/conv_network.h"
#include "store/options_json.h"
#include "store/params_private.h"

#define SEEN_TENSOR "tasks"
#define MAX_COMPONENTS 64
#define MAX_EMBEDDING_WIDTH 4096
#define THETA_ALIGNMENT 64

/* ---- to JSON ---- */

const char *
loss_name(LossKind loss)
{
	StringInfoData word;

	initStringInfo(&word);
	append_choice(&word, "loss", (int) loss);
	word.data[word.len - 1] = '\0';
	return word.data + 1;
}

void
network_to_json(const Network *net, StringInfo out)
{
	appendStringInfo(out, "{\"inputs\": %d, \"embeddings\": [", net->inputs);
	for (int i = 0; i < net->n_embeddings; i++)
		appendStringInfo(out, "%s[%d, %d]", i > 0 ? ", " : "",
						 net->embeddings[i].size, net->embeddings[i].width);
	appendStringInfoString(out, "], \"hidden\": ");
	append_integers(out, net->hidden, net->n_hidden);
	appendStringInfoString(out, ", \"activation\": ");
	append_choice(out, "activation", (int) net->activation);
	appendStringInfo(out, ", \"outputs\": %d, \"skip\": %s", net->outputs, net->skip ? "true" : "false");
	if (net->kind != NETWORK_MLP)
	{
		appendStringInfoString(out, ", \"network\": ");
		append_choice(out, "network", (int) net->kind);
		appendStringInfo(out, ", \"image\": [%d, %d, %d], \"image_at\": %d", net->image.height, net->image.width,
						 net->image.channels, net->image_at);
	}
	if (net->norm != NORM_NONE)
	{
		appendStringInfoString(out, ", \"norm\": ");
		append_choice(out, "norm", (int) net->norm);
	}
	appendStringInfoChar(out, '}');
}

static void
components_to_json(const Model *model, StringInfo out)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < model->n_components; i++)
	{
		const Component *c = &model->components[i];

		appendStringInfoString(out, i > 0 ? ", {\"prefix\": " : "{\"prefix\": ");
		escape_json(out, c->prefix);
		appendStringInfo(out, ", \"learner\": \"%s\", \"loss\": ", c->learner->name);
		append_choice(out, "loss", (int) c->spec.loss);
		appendStringInfoString(out, ", \"network\": ");
		network_to_json(&c->spec.net, out);
		appendStringInfoString(out, ", \"options\": ");
		options_to_json(&c->spec.options, out);
		for (int p = 0; p < c->spec.n_parts; p++)
		{
			appendStringInfo(out, "%s{\"learner\": \"%s\", \"options\": ", p > 0 ? ", " : ", \"parts\": [",
							 c->spec.parts[p].learner->name);
			options_to_json(&c->spec.parts[p].options, out);
			appendStringInfoString(out, p == c->spec.n_parts - 1 ? "}]" : "}");
		}
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
}

uint32
task_fingerprint(uint64 key)
{
	return (uint32) (key >> 32);
}

static int
compare_fingerprints(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

bool
model_saw_task(const Model *model, uint64 key)
{
	uint32		fingerprint = task_fingerprint(key);

	return model->n_seen > 0 &&
		bsearch(&fingerprint, model->seen, model->n_seen, sizeof(uint32), compare_fingerprints) != NULL;
}

/* The fingerprints as a tensor: little-endian integers, ascending. */
static void
add_seen(SafeTensors *st, const Model *model)
{
	SafeTensor *tensor = &st->tensors[st->n_tensors++];
	uint32	   *sorted = (uint32 *) MemoryContextAllocHuge(CurrentMemoryContext,
														   mul_size(model->n_seen, sizeof(uint32)));

	memcpy(sorted, model->seen, model->n_seen * sizeof(uint32));
	qsort(sorted, model->n_seen, sizeof(uint32), compare_fingerprints);
#ifdef WORDS_BIGENDIAN
	for (int i = 0; i < model->n_seen; i++)
		sorted[i] = pg_bswap32(sorted[i]);
#endif
	tensor->name = pstrdup(SEEN_TENSOR);
	tensor->type = SAFE_I32;
	tensor->n_dims = 1;
	tensor->dims[0] = model->n_seen;
	tensor->size = model->n_seen * sizeof(uint32);
	tensor->data = (const char *) sorted;
}

static void
read_seen(Model *model, const SafeTensor *tensor)
{
	if (tensor->type != SAFE_I32 || tensor->n_dims != 1 || tensor->dims[0] > INT_MAX)
		params_damaged("The tensor \"%s\" is not a list of integers.", SEEN_TENSOR);
	model->n_seen = (int) tensor->dims[0];
	model->seen = (uint32 *) MemoryContextAllocHuge(CurrentMemoryContext, tensor->size + 1);
	memcpy(model->seen, tensor->data, tensor->size);
#ifdef WORDS_BIGENDIAN
	for (int i = 0; i < model->n_seen; i++)
		model->seen[i] = pg_bswap32(model->seen[i]);
#endif
	for (int i = 1; i < model->n_seen; i++)
		if (model->seen[i] < model->seen[i - 1])
			params_damaged("The tensor \"%s\" is not in order.", SEEN_TENSOR);
}

/* ---- calibration ---- */

/* The vectors of a calibration, as they follow each other in the file. */
static const struct
{
	const char *name;
	size_t		offset;
	size_t		stride;
	bool		of_numbers;		/* with the squared loss */
	bool		of_classes;		/* with the others */
}			calibration_vectors[] = {
	{"calibration.rows", offsetof(Calibration, rows), sizeof(real), true, true},
	{"calibration.slope", offsetof(Calibration, at) + offsetof(Correction, slope), sizeof(Correction), false, true},
	{"calibration.offset", offsetof(Calibration, at) + offsetof(Correction, offset), sizeof(Correction), false, true},
	{"calibration.variance", offsetof(Calibration, at) + offsetof(Correction, variance), sizeof(Correction), true, false},
};

static bool
has_vector(LossKind loss, int i)
{
	return loss == LOSS_SQUARED ? calibration_vectors[i].of_numbers : calibration_vectors[i].of_classes;
}

static real *
vector_element(const Calibration *calibration, int i, int knot)
{
	return (real *) ((char *) calibration + calibration_vectors[i].offset + knot * calibration_vectors[i].stride);
}

/* Returns the tensors' size. */
static size_t
add_calibration(SafeTensors *st, const Component *component)
{
	const Calibration *calibration = &component->calibration;
	size_t		size = 0;

	for (int i = 0; i < (int) lengthof(calibration_vectors) && calibration->n > 0; i++)
	{
		SafeTensor *tensor = &st->tensors[st->n_tensors];
		real		values[CALIBRATION_KNOTS];
		char	   *data;

		if (!has_vector(component->spec.loss, i))
			continue;
		for (int knot = 0; knot < calibration->n; knot++)
			values[knot] = *vector_element(calibration, i, knot);
		data = (char *) palloc(sizeof(values));
		floats_to_file(data, values, calibration->n);
		tensor->name = psprintf("%s/%s", component->prefix, calibration_vectors[i].name);
		tensor->type = SAFE_F32;
		tensor->n_dims = 1;
		tensor->dims[0] = calibration->n;
		tensor->size = calibration->n * sizeof(real);
		tensor->data = data;
		size += tensor->size;
		st->n_tensors++;
	}
	return size;
}

/* Knots ascend from 0 or more, factors are positive, and all is finite. */
static void
check_calibration(const Component *component)
{
	const Calibration *c = &component->calibration;

	for (int i = 0; i < c->n; i++)
		if (!(c->rows[i] >= 0) || !isfinite(c->rows[i]) || (i > 0 && !(c->rows[i] > c->rows[i - 1])) ||
			!(c->at[i].slope > 0) || !isfinite(c->at[i].slope) || !isfinite(c->at[i].offset) ||
			!(c->at[i].variance > 0) || !isfinite(c->at[i].variance))
			params_damaged("The calibration of the component \"%s\" is out of range.", component->prefix);
}

/* Is it the component's tensor of that name? */
static bool
has_name(const SafeTensor *found, const char *prefix, const char *name)
{
	size_t		length = strlen(prefix);

	return strncmp(found->name, prefix, length) == 0 && found->name[length] == '/' &&
		strcmp(found->name + length + 1, name) == 0;
}

/*
 * Reads the calibration that begins with the first tensor, if it does: models
 * from before there were any have none.  Returns how many tensors it is.
 */
static int
read_calibration(Component *component, const SafeTensors *st, int first)
{
	Calibration *calibration = &component->calibration;
	int			at = first;

	memset(calibration, 0, sizeof(*calibration));
	for (int i = 0; i < CALIBRATION_KNOTS; i++)
		calibration->at[i] = (Correction) {1, 0, 1};
	for (int i = 0; i < (int) lengthof(calibration_vectors); i++)
	{
		const char *name = calibration_vectors[i].name;
		const SafeTensor *tensor = at < st->n_tensors ? &st->tensors[at] : NULL;
		real		values[CALIBRATION_KNOTS];

		if (!has_vector(component->spec.loss, i))
			continue;
		if (tensor == NULL || !has_name(tensor, component->prefix, name))
		{
			if (i == 0)
				return 0;
			params_damaged("The component \"%s\" lacks the tensor \"%s\".", component->prefix, name);
		}
		if (i == 0)
			calibration->n = (int) Min(tensor->dims[0], CALIBRATION_KNOTS + 1);
		if (tensor->type != SAFE_F32 || tensor->n_dims != 1 || tensor->dims[0] != calibration->n ||
			calibration->n < 1 || calibration->n > CALIBRATION_KNOTS)
			params_damaged("The tensor \"%s\" of the component \"%s\" is not a list of as many numbers as it has knots.",
						   name, component->prefix);
		floats_from_file(values, tensor->data, calibration->n);
		for (int knot = 0; knot < calibration->n; knot++)
			*vector_element(calibration, i, knot) = values[knot];
		at++;
	}
	check_calibration(component);
	return at - first;
}

bytea *
model_encode(const Model *model)
{
	SafeTensors st = {0};
	StringInfoData encoders;
	StringInfoData components;
	size_t		tensors = 0;
	size_t		size;
	bytea	   *result;

	for (int i = 0; i < model->n_components; i++)
		st.n_tensors += model->components[i].list.n + (int) lengthof(calibration_vectors);
	st.tensors = (SafeTensor *) palloc0((st.n_tensors + 2) * sizeof(SafeTensor));
	st.n_tensors = 0;
	for (int i = 0; i < model->n_components; i++)
	{
		const Component *c = &model->components[i];

		for (int j = 0; j < c->list.n; j++)
		{
			const Tensor *from = &c->list.tensors[j];
			SafeTensor *to = &st.tensors[st.n_tensors++];
			int			rows = memory_tensor_rows(from, memory_rows(&c->list, c->theta));
			size_t		n = (size_t) rows * from->cols;

			to->name = psprintf("%s/%s", c->prefix, from->name);
			to->type = SAFE_F32;
			to->n_dims = 2;
			to->dims[0] = rows;
			to->dims[1] = from->cols;
			to->size = n * sizeof(real);
			tensors += to->size;
			to->data = (const char *) (c->theta + from->offset);
#ifdef WORDS_BIGENDIAN
			{
				char	   *swapped = (char *) MemoryContextAllocHuge(CurrentMemoryContext, to->size + 1);

				floats_to_file(swapped, c->theta + from->offset, n);
				to->data = swapped;
			}
#endif
		}
		tensors += add_calibration(&st, c);
	}

	if (model->n_seen > 0)
	{
		add_seen(&st, model);
		tensors += st.tensors[st.n_tensors - 1].size;
	}

	initStringInfo(&encoders);
	encoding_to_json(model->encoding, &encoders);
	initStringInfo(&components);
	components_to_json(model, &components);
	st.metadata = (SafePair *) palloc(8 * sizeof(SafePair));
	params_add_metadata(&st, "format", PARAMS_FORMAT);
	params_add_metadata(&st, "kind", "model");
	params_add_metadata(&st, "crc32c", CRC_BLANK);
	params_add_metadata(&st, "learner", model->components[0].learner->name);
	params_add_metadata(&st, "encoders", encoders.data);
	params_add_metadata(&st, "components", components.data);
	params_add_metadata(&st, "training", model->training != NULL ? model->training : "{}");
	if (model->rows > 0)
		params_add_metadata(&st, "rows", psprintf(INT64_FORMAT, model->rows));

	size = safetensors_size(&st);
	if (size - tensors > SAFETENSORS_MAX_HEADER)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("description of the model takes %zu MB, and at most %zu MB can be stored",
						(size - tensors) / (1024 * 1024) + 1, SAFETENSORS_MAX_HEADER / (1024 * 1024)),
				 errhint("Leave out categories with very many values: see the option \"exclude\".")));
	if (size > PARAMS_MAX_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("model takes %zu MB, and at most %zu MB can be stored",
						size / (1024 * 1024) + 1, (size_t) (PARAMS_MAX_SIZE / (1024 * 1024))),
				 errhint("Make hidden layers narrower, or leave out categories with very many values.")));
	result = (bytea *) palloc(VARHDRSZ + size);
	SET_VARSIZE(result, VARHDRSZ + size);
	safetensors_write(&st, VARDATA(result));
	params_seal(VARDATA(result), size);
	return result;
}

/* ---- from JSON ---- */

/*
 * Text to jsonb; text that is not JSON is damage, not a user's mistake.
 */
static Jsonb *
parse_json(const char *text, const char *key)
{
	JsonLexContext *lex = json_lexer(text, strlen(text), GetDatabaseEncoding(), false);
	JsonSemAction nothing;

	memset(&nothing, 0, sizeof(nothing));
	if (pg_parse_json(lex, &nothing) != JSON_SUCCESS)
		params_damaged("Their metadata \"%s\" are not JSON.", key);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/*
 * The value of a key; a key that is missing, or of another type, is damage.
 * Containers are of type jbvBinary here, told apart by what reads them.
 */
static JsonbValue *
get(JsonbContainer *object, const char *key, enum jbvType type)
{
	JsonbValue *value = getKeyJsonValueFromContainer(object, key, (int) strlen(key), NULL);

	if (value == NULL || value->type != type)
		params_damaged("The component's \"%s\" is missing or of the wrong type.", key);
	return value;
}

static bool
has_key(JsonbContainer *object, const char *key)
{
	return getKeyJsonValueFromContainer(object, key, (int) strlen(key), NULL) != NULL;
}

static char *
get_string(JsonbContainer *object, const char *key)
{
	JsonbValue *value = get(object, key, jbvString);

	return pnstrdup(value->val.string.val, value->val.string.len);
}

static int
integer_value(const JsonbValue *value, const char *key, int low, int high)
{
	double		number = value != NULL && value->type == jbvNumeric ? json_number(value) : -1;

	if (!(number >= low && number <= high) || number != floor(number))
		params_damaged("The component's \"%s\" is not an integer in its range.", key);
	return (int) number;
}

static JsonbContainer *
get_array(JsonbContainer *object, const char *key)
{
	JsonbContainer *array = get(object, key, jbvBinary)->val.binary.data;

	if (!JsonContainerIsArray(array) || JsonContainerIsScalar(array))
		params_damaged("The component's \"%s\" is not an array.", key);
	return array;
}

static JsonbContainer *
get_object(JsonbContainer *object, const char *key)
{
	JsonbContainer *inner = get(object, key, jbvBinary)->val.binary.data;

	if (!JsonContainerIsObject(inner))
		params_damaged("The component's \"%s\" is not an object.", key);
	return inner;
}

/* Position of a word among an option's choices. */
static int
word_value(const char *option, const char *word)
{
	Options		options;
	const OptionInfo *info = option_find(option);

	if (option_set_word(&options, info, word) != NULL)
		params_damaged("The component's \"%s\" is not known.", option);
	return *(int *) ((char *) &options + info->offset);
}

/* Reads what only a network of convolutions has, which must fit the inputs. */
static void
read_convolutions(Network *net, JsonbContainer *object)
{
	JsonbContainer *image = get_array(object, "image");
	int			sides[3];
	int64		pixels = 1;

	net->kind = (NetworkKind) word_value("network", get_string(object, "network"));
	if (net->kind == NETWORK_MLP)
		return;
	if (JsonContainerSize(image) != 3 || net->n_hidden != CONV_LAYERS)
		params_damaged("A network does not have the form that convolutions have.");
	for (int i = 0; i < 3; i++)
	{
		sides[i] = integer_value(getIthJsonbValueFromContainer(image, (uint32) i), "image", 1, ENCODING_MAX_INPUTS);
		pixels *= sides[i];
		if (pixels > ENCODING_MAX_INPUTS)
			params_damaged("A network's image has more pixels than are allowed.");
	}
	net->image = (Plane) {sides[0], sides[1], sides[2]};
	net->image_at = integer_value(get(object, "image_at", jbvNumeric), "image_at", 0, ENCODING_MAX_INPUTS);
	if (net->image_at + pixels > net->inputs || Min(sides[0], sides[1]) < conv_least_side(net->kind) || net->skip)
		params_damaged("A network's image does not fit its inputs.");
}

/*
 * Reads a network, which must fit the rows that the encoding makes.
 */
static void
read_network(Network *net, JsonbContainer *object, const Encoding *encoding)
{
	JsonbContainer *embeddings = get_array(object, "embeddings");
	JsonbContainer *hidden = get_array(object, "hidden");
	char	   *activation = get_string(object, "activation");
	const Embedding *expected = encoding_embeddings(encoding);
	Embedding  *read;

	net->inputs = integer_value(get(object, "inputs", jbvNumeric), "inputs", 0, PG_INT32_MAX);
	net->outputs = integer_value(get(object, "outputs", jbvNumeric), "outputs", 1, PG_INT32_MAX);
	net->n_embeddings = (int) JsonContainerSize(embeddings);
	if (net->inputs != encoding->width.x || net->outputs != encoding->width.y ||
		net->n_embeddings != encoding->width.c)
		params_damaged("A network does not fit the encoders.");

	read = (Embedding *) palloc((net->n_embeddings + 1) * sizeof(Embedding));
	for (int i = 0; i < net->n_embeddings; i++)
	{
		JsonbValue *pair = getIthJsonbValueFromContainer(embeddings, (uint32) i);
		JsonbContainer *both = pair->type == jbvBinary ? pair->val.binary.data : NULL;

		if (both == NULL || !JsonContainerIsArray(both) || JsonContainerSize(both) != 2)
			params_damaged("The component's \"embeddings\" are not pairs.");
		read[i].size = integer_value(getIthJsonbValueFromContainer(both, 0), "embeddings", 1, PG_INT32_MAX);
		read[i].width = integer_value(getIthJsonbValueFromContainer(both, 1), "embeddings", 1, MAX_EMBEDDING_WIDTH);
		if (read[i].size != expected[i].size)
			params_damaged("A network does not fit the encoders.");
	}
	net->embeddings = read;

	net->n_hidden = (int) JsonContainerSize(hidden);
	if (net->n_hidden > NETWORK_MAX_HIDDEN)
		params_damaged("A network has more than %d hidden layers.", NETWORK_MAX_HIDDEN);
	for (int i = 0; i < net->n_hidden; i++)
		net->hidden[i] = integer_value(getIthJsonbValueFromContainer(hidden, (uint32) i), "hidden", 1,
									   (int) option_find("hidden")->high);
	net->activation = (UnaryKind) word_value("activation", activation);
	net->skip = get(object, "skip", jbvBool)->val.boolean;
	/* older models have neither */
	if (has_key(object, "network"))
		read_convolutions(net, object);
	if (has_key(object, "norm"))
		net->norm = (NormKind) word_value("norm", get_string(object, "norm"));
}

/* ---- decoding ---- */

/*
 * Lets the learner lay out its tensors again.
 */
static void
lay_out(Component *component)
{
	TensorList *list = &component->list;
	int			max = (64 + 8 * component->spec.net.n_embeddings) * (1 + component->spec.n_parts);

	memset(list, 0, sizeof(*list));
	list->tensors = (Tensor *) palloc0(max * sizeof(Tensor));
	list->max = max;
	if (!component->learner->layout(&component->spec, list))
		params_damaged("The component \"%s\" does not describe a network that can be laid out.", component->prefix);
}

/* Is it the tensor that the learner laid out?  Of a memory it may be fewer rows. */
static bool
is_tensor(const SafeTensor *found, const char *prefix, const Tensor *expected)
{
	return has_name(found, prefix, expected->name) && found->type == SAFE_F32 && found->n_dims == 2 &&
		(found->dims[0] == expected->rows ||
		 (expected->role == TENSOR_MEMORY && found->dims[0] < expected->rows)) &&
		found->dims[1] == expected->cols;
}

static const Learner *
known_learner(const char *name)
{
	const Learner *learner = learner_find(name);

	if (learner == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("params are of an algorithm that is not known: \"%s\"", name),
				 errhint("A later version of meta wrote them: update the extension.")));
	return learner;
}

/* The learners that a blend is made of. */
static void
read_parts(LearnerSpec *spec, JsonbContainer *array)
{
	int			n = (int) JsonContainerSize(array);
	LearnerPart *parts;

	if (n < 1 || n > BLEND_MAX_PARTS)
		params_damaged("A blend has %d parts.", n);
	parts = (LearnerPart *) palloc0(n * sizeof(LearnerPart));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, (uint32) i);

		if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
			params_damaged("A blend's parts are not objects.");
		parts[i].learner = known_learner(get_string(value->val.binary.data, "learner"));
		if (parts[i].learner->flags & LEARNER_BLEND || !(parts[i].learner->flags & LEARNER_ADDITIVE) ||
			!learner_supports(parts[i].learner, spec->loss) ||
			(spec->loss == LOSS_SQUARED && parts[i].learner->variance == NULL))
			params_damaged("A blend cannot hold the learner \"%s\".", parts[i].learner->name);
		options_default(&parts[i].options, parts[i].learner->defaults);
		options_from_json(&parts[i].options, get_object(value->val.binary.data, "options"));
	}
	spec->n_parts = n;
	spec->parts = parts;
}

/*
 * Reads a component whose tensors are the next ones of the file; returns how
 * many they are.
 */
static int
read_component(Component *component, JsonbContainer *object, const Encoding *encoding,
			   const SafeTensors *st, int first)
{
	char	   *learner = get_string(object, "learner");
	TensorList *list = &component->list;

	component->prefix = get_string(object, "prefix");
	component->learner = known_learner(learner);
	component->spec.loss = (LossKind) word_value("loss", get_string(object, "loss"));
	read_network(&component->spec.net, get_object(object, "network"), encoding);
	component->spec.columns = encoding_columns(encoding, &component->spec.n_columns);
	if (component->spec.loss != LOSS_SOFTMAX && component->spec.net.outputs != 1)
		params_damaged("The loss of the component \"%s\" does not fit its outputs.", component->prefix);
	options_default(&component->spec.options, component->learner->defaults);
	options_from_json(&component->spec.options, get_object(object, "options"));
	if (component->learner->flags & LEARNER_BLEND)
		read_parts(&component->spec, get_array(object, "parts"));

	lay_out(component);
	if (list->n > st->n_tensors - first)
		params_damaged("The component \"%s\" lacks tensors.", component->prefix);

	/* only now is the size known to be one that the file has */
	for (int i = 0; i < list->n; i++)
		if (!is_tensor(&st->tensors[first + i], component->prefix, &list->tensors[i]))
			params_damaged("The component \"%s\" lacks the tensor \"%s\" of %d by %d numbers.", component->prefix,
						   list->tensors[i].name, list->tensors[i].rows, list->tensors[i].cols);
	if (list->size > PARAMS_MAX_SIZE / sizeof(real))
		params_damaged("The component \"%s\" has room for more numbers than a model may have.", component->prefix);
	component->theta = (real *) TYPEALIGN(THETA_ALIGNMENT, palloc0(list->size * sizeof(real) + THETA_ALIGNMENT));
	for (int i = 0; i < list->n; i++)
		floats_from_file(component->theta + list->tensors[i].offset, st->tensors[first + i].data,
						 st->tensors[first + i].size / sizeof(real));
	return list->n + read_calibration(component, st, first + list->n);
}

/* Rows that a self-contained copy was adapted on, which other models do not say. */
static int64
read_rows(const SafeTensors *st)
{
	const char *text = safetensors_metadata(st, "rows");
	size_t		length = text ? strlen(text) : 0;

	if (text == NULL)
		return 0;
	if (length == 0 || length > 10 || strspn(text, "0123456789") != length)
		params_damaged("Their count of rows is not a number.");
	return strtoll(text, NULL, 10);
}

/*
 * The components' description, checked to be an array of objects.
 */
static JsonbContainer *
read_components(const SafeTensors *st)
{
	JsonbContainer *array = &parse_json(params_metadata(st, "components"), "components")->root;
	int			n = (int) JsonContainerSize(array);

	if (!JsonContainerIsArray(array) || JsonContainerIsScalar(array) || n < 1 || n > MAX_COMPONENTS)
		params_damaged("Their metadata \"components\" are not an array of components.");
	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, (uint32) i);

		if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
			params_damaged("Their metadata \"components\" are not an array of components.");
	}
	return array;
}

Model *
model_decode(const bytea *bytes)
{
	Model	   *model = (Model *) palloc0(sizeof(Model));
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "meta params header", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	SafeTensors st;
	JsonbContainer *components;
	char	   *encoders;
	int			at = 0;

	/* What is parsed goes before the model does, which may be kept for long. */
	if (params_open(bytes, &st) != PARAMS_MODEL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("params are those of a task, not of a model")));
	encoders = params_metadata(&st, "encoders");
	components = read_components(&st);
	(void) parse_json(params_metadata(&st, "training"), "training");
	MemoryContextSwitchTo(old);

	model->encoding = encoding_from_json(encoders);
	model->training = pstrdup(params_metadata(&st, "training"));
	model->rows = read_rows(&st);
	model->n_components = (int) JsonContainerSize(components);
	model->components = (Component *) palloc0(model->n_components * sizeof(Component));
	for (int i = 0; i < model->n_components; i++)
		at += read_component(&model->components[i],
							 getIthJsonbValueFromContainer(components, (uint32) i)->val.binary.data,
							 model->encoding, &st, at);
	if (at < st.n_tensors && strcmp(st.tensors[at].name, SEEN_TENSOR) == 0)
		read_seen(model, &st.tensors[at++]);
	if (at != st.n_tensors)
		params_damaged("They hold %d tensors more than their components have.", st.n_tensors - at);
	if (strcmp(model->components[0].learner->name, params_metadata(&st, "learner")) != 0)
		params_damaged("Their metadata \"learner\" is not the first component's.");

	params_digest(bytes, model->digest);
	MemoryContextDelete(scratch);
	return model;
}
