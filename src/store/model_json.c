/*
 * model_json.c
 *	  What a model's components are, as JSON in its metadata, and back.
 *
 * What is read is not trusted: all of it is checked before anything is laid
 * out by it.
 */
#include "postgres.h"

#include <math.h>

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "compat.h"
#include "learn/blend.h"
#include "nn/conv_network.h"
#include "store/model_private.h"
#include "store/options_json.h"

#define MAX_COMPONENTS 64
#define MAX_EMBEDDING_WIDTH 4096

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

void
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

/* ---- from JSON ---- */

Jsonb *
metadata_parse(const char *text, const char *key)
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

	read = (Embedding *) palloc0((net->n_embeddings + 1) * sizeof(Embedding));
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

void
component_from_json(Component *component, JsonbContainer *object, const Encoding *encoding)
{
	component->prefix = get_string(object, "prefix");
	component->learner = known_learner(get_string(object, "learner"));
	component->spec.loss = (LossKind) word_value("loss", get_string(object, "loss"));
	read_network(&component->spec.net, get_object(object, "network"), encoding);
	component->spec.columns = encoding_columns(encoding, &component->spec.n_columns);
	if (component->spec.loss != LOSS_SOFTMAX && component->spec.net.outputs != 1)
		params_damaged("The loss of the component \"%s\" does not fit its outputs.", component->prefix);
	options_default(&component->spec.options, component->learner->defaults);
	options_from_json(&component->spec.options, get_object(object, "options"));
	if (component->learner->flags & LEARNER_BLEND)
		read_parts(&component->spec, get_array(object, "parts"));
}

JsonbContainer *
components_parse(const SafeTensors *st)
{
	JsonbContainer *array = &metadata_parse(params_metadata(st, "components"), "components")->root;
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
