/*
 * describe.c
 *	  What is in params, readable: meta.describe.
 *
 * Counts and names, no vocabularies: labels are counted, and tensors are given
 * by shape.
 */
#include "postgres.h"

#include <limits.h>
#include <math.h>

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "learn/memory.h"
#include "store/options_json.h"
#include "store/params_private.h"

static const char *const target_names[] = {
	[TARGET_NUMBER] = "number",
	[TARGET_BINARY] = "binary",
	[TARGET_CLASS] = "class",
};

static void
append_names(StringInfo out, const char *key, const List *names)
{
	const ListCell *cell;
	const char *separator = "";

	appendStringInfo(out, ", \"%s\": [", key);
	foreach(cell, names)
	{
		appendStringInfoString(out, separator);
		escape_json(out, (const char *) lfirst(cell));
		separator = ", ";
	}
	appendStringInfoChar(out, ']');
}

static void
append_double(StringInfo out, const char *key, double value)
{
	appendStringInfo(out, ", \"%s\": ", key);
	if (isnan(value) || isinf(value))
		appendStringInfoString(out, "null");
	else
		appendStringInfoString(out, DatumGetCString(DirectFunctionCall1(float8out, Float8GetDatum(value))));
}

static void
describe_encoder(StringInfo out, const Encoder *e)
{
	appendStringInfoString(out, "{\"column\": ");
	escape_json(out, e->column);
	appendStringInfo(out, ", \"encoder\": \"%s\"", encoder_kind_name(e->kind));
	switch (e->kind)
	{
		case ENCODER_NUMBER:
			append_double(out, "mean", e->mean);
			append_double(out, "deviation", e->deviation);
			break;
		case ENCODER_BOOLEAN:
			append_double(out, "mean", e->mean);
			break;
		case ENCODER_CATEGORY:
			appendStringInfo(out, ", \"labels\": %d, \"embedded\": %s", e->n_labels, e->one_hot ? "false" : "true");
			break;
		case ENCODER_IMAGE:
			appendStringInfo(out, ", \"size\": [%d, %d, %d]", e->image[0], e->image[1], e->image[2]);
			break;
		case ENCODER_VECTOR:
		case ENCODER_RAW:
			break;
	}
	if (e->indicator)
		appendStringInfoString(out, ", \"missing\": true");
	appendStringInfo(out, ", \"inputs\": %d}", e->width);
}

static void
describe_encoding(StringInfo out, const Encoding *encoding)
{
	appendStringInfoString(out, ", \"encoders\": [");
	for (int i = 0; i < encoding->n_encoders; i++)
	{
		appendStringInfoString(out, i > 0 ? ", " : "");
		describe_encoder(out, &encoding->encoders[i]);
	}
	appendStringInfoString(out, "], \"target\": {\"column\": ");
	escape_json(out, encoding->target);
	appendStringInfo(out, ", \"kind\": \"%s\"", target_names[encoding->target_kind]);
	if (encoding->way > 0)
		appendStringInfo(out, ", \"way\": %d", encoding->way);
	if (encoding->target_kind == TARGET_CLASS)
		appendStringInfo(out, ", \"classes\": %d", encoding->n_classes);
	else if (encoding->target_kind == TARGET_NUMBER)
	{
		append_double(out, "mean", encoding->target_mean);
		append_double(out, "deviation", encoding->target_deviation);
	}
	appendStringInfoChar(out, '}');
	append_names(out, "task", encoding->task);
	append_names(out, "order_by", encoding->order_by);
	if (encoding->weight != NULL)
	{
		appendStringInfoString(out, ", \"weight\": ");
		escape_json(out, encoding->weight);
	}
}

/* One number per knot. */
static void
append_corrections(StringInfo out, const char *key, const real *first, size_t stride, int n)
{
	appendStringInfo(out, ", \"%s\": [", key);
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "%s%.6g", i > 0 ? ", " : "", (double) *(const real *) ((const char *) first + i * stride));
	appendStringInfoChar(out, ']');
}

static void
describe_calibration(StringInfo out, const Component *c)
{
	const Calibration *calibration = &c->calibration;
	int			n = calibration->n;

	if (n == 0)
		return;
	appendStringInfoString(out, ", \"calibration\": {\"rows\": ");
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "%s%.0f", i > 0 ? ", " : "", (double) calibration->rows[i]);
	appendStringInfoChar(out, ']');
	if (c->spec.loss == LOSS_SQUARED)
		append_corrections(out, "variance", &calibration->at[0].variance, sizeof(Correction), n);
	else
		append_corrections(out, "slope", &calibration->at[0].slope, sizeof(Correction), n);
	if (c->spec.loss == LOSS_LOGISTIC)
		append_corrections(out, "offset", &calibration->at[0].offset, sizeof(Correction), n);
	appendStringInfoChar(out, '}');
}

/* Numbers of a component; of a memory, those in use. */
static size_t
parameters_of(const Component *c)
{
	size_t		size = c->list.size;

	return size - task_size(&c->list, INT_MAX) + task_size(&c->list, memory_rows(&c->list, c->theta));
}

/*
 * The learner itself, at the top level.
 */
static void
describe_learner(StringInfo out, const Component *c)
{
	int			memory = memory_rows(&c->list, c->theta);

	appendStringInfo(out, ", \"learner\": \"%s\", \"loss\": \"%s\", \"network\": ",
					 c->learner->name, loss_name(c->spec.loss));
	network_to_json(&c->spec.net, out);
	appendStringInfoString(out, ", \"options\": ");
	options_to_json(&c->spec.options, out);
	appendStringInfo(out, ", \"parameters\": %zu, \"task_parameters\": %zu, \"tensors\": [",
					 parameters_of(c), task_size(&c->list, memory));
	for (int i = 0; i < c->list.n; i++)
	{
		const Tensor *t = &c->list.tensors[i];

		appendStringInfoString(out, i > 0 ? ", {\"name\": " : "{\"name\": ");
		escape_json(out, psprintf("%s/%s", c->prefix, t->name));
		appendStringInfo(out, ", \"shape\": [%d, %d]}", memory_tensor_rows(t, memory), t->cols);
	}
	appendStringInfoChar(out, ']');
}

/*
 * The rows that each class's prototype is made of, by label.  prefix: of the
 * learner's tensors, and of what is said; labels: of an N-way episode, else
 * those of the encoding.
 */
static void
describe_prototypes(StringInfo out, const Component *c, const Learner *learner, const char *prefix,
					const Encoding *encoding, const real *theta, char *const *labels, int n_labels)
{
	static char *const binary[] = {"false", "true"};
	int			at = tensor_find(&c->list, psprintf("%s%s", prefix, learner->prototypes));
	int			rows_at = tensor_find(&c->list, psprintf("%s%s", prefix, learner->prototype_rows));
	const Tensor *sums = &c->list.tensors[at];
	const real *rows = theta + c->list.tensors[rows_at].offset;

	if (encoding->target_kind == TARGET_BINARY)
	{
		labels = binary;
		n_labels = lengthof(binary);
	}
	appendStringInfo(out, ", \"%smemory\": {\"width\": %d, \"prototypes\": {", prefix, sums->cols);
	for (int i = 0; i < Min(n_labels, sums->rows); i++)
	{
		appendStringInfoString(out, i > 0 ? ", " : "");
		escape_json(out, labels[i]);
		appendStringInfo(out, ": %s", isfinite(rows[i]) ?
						 DatumGetCString(DirectFunctionCall1(float4out, Float4GetDatum(rows[i]))) : "null");
	}
	appendStringInfoString(out, "}}");
}

/*
 * What a task's parameters remember of its rows, where that can be told apart.
 */
static void
describe_memory(StringInfo out, const Component *c, const Encoding *encoding, const real *theta,
				char *const *labels, int n_labels)
{
	if (c->learner->prototypes != NULL)
		describe_prototypes(out, c, c->learner, "", encoding, theta, labels, n_labels);
	for (int i = 0; i < c->spec.n_parts; i++)
	{
		const Learner *part = c->spec.parts[i].learner;

		if (part->prototypes != NULL)
			describe_prototypes(out, c, part, psprintf("%s.", part->name), encoding, theta, labels, n_labels);
	}
	for (int i = 0; i < c->list.n; i++)
	{
		const Tensor *t = &c->list.tensors[i];

		if (t->role == TENSOR_MEMORY)
			appendStringInfo(out, ", \"%s\": {\"rows\": %d, \"room\": %d, \"width\": %d}",
							 t->name, memory_used(t, theta + t->offset), t->rows, t->cols);
	}
}

/*
 * Each of what a model holds, the learner first, then the baselines that
 * meta.evaluate puts beside it: enough to tell how they differ.
 */
static void
describe_component(StringInfo out, const Component *c)
{
	bool		steps = false;	/* adapts by gradient steps */

	for (int i = 0; i < c->list.n; i++)
		steps |= c->list.tensors[i].role == TENSOR_ADAPTED && !(c->learner->flags & LEARNER_NO_SUPPORT);
	appendStringInfo(out, "{\"learner\": \"%s\", \"hidden\": ", c->learner->name);
	append_integers(out, c->spec.net.hidden, c->spec.net.n_hidden);
	appendStringInfo(out, ", \"parameters\": %zu", parameters_of(c));
	for (int i = 0; i < c->spec.n_parts; i++)
		appendStringInfo(out, "%s\"%s\"%s", i > 0 ? ", " : ", \"blend_of\": [", c->spec.parts[i].learner->name,
						 i == c->spec.n_parts - 1 ? "]" : "");
	if (steps)
	{
		append_double(out, "inner_lr", c->spec.options.inner_lr);
		appendStringInfo(out, ", \"inner_steps\": %d", c->spec.options.inner_steps);
		if (c->spec.options.adapt_steps > 0)
			appendStringInfo(out, ", \"adapt_steps\": %d", c->spec.options.adapt_steps);
	}
	appendStringInfoChar(out, '}');
}

static void
describe_model(StringInfo out, const bytea *bytes)
{
	Model	   *model = model_decode(bytes);

	appendStringInfo(out, "{\"kind\": \"model\", \"format\": \"%s\", \"digest\": \"%s\", \"bytes\": %zu",
					 PARAMS_FORMAT, model->digest, (size_t) VARSIZE_ANY_EXHDR(bytes));
	if (model->rows > 0)
		appendStringInfo(out, ", \"rows\": " INT64_FORMAT, model->rows);
	describe_learner(out, &model->components[0]);
	describe_calibration(out, &model->components[0]);
	describe_memory(out, &model->components[0], model->encoding, model->components[0].theta,
					model->encoding->classes, model->encoding->n_classes);
	describe_encoding(out, model->encoding);
	appendStringInfoString(out, ", \"components\": [");
	for (int i = 0; i < model->n_components; i++)
	{
		appendStringInfoString(out, i > 0 ? ", " : "");
		describe_component(out, &model->components[i]);
	}
	appendStringInfo(out, "], \"training\": %s}", model->training);
}

static void
describe_task(StringInfo out, const bytea *bytes, const bytea *base_bytes)
{
	char		base[DIGEST_LENGTH + 1];
	int64		rows;
	SafeTensor	phi;
	SafeTensor	labels;

	task_params_open(bytes, base, &rows, &phi, &labels);
	appendStringInfo(out, "{\"kind\": \"task\", \"format\": \"%s\", \"base\": \"%s\", \"rows\": " INT64_FORMAT
					 ", \"bytes\": %zu, \"tensors\": [{\"name\": \"%s\", \"shape\": [" INT64_FORMAT "]}]",
					 PARAMS_FORMAT, base, rows, (size_t) VARSIZE_ANY_EXHDR(bytes), phi.name, (int64) phi.dims[0]);
	if (labels.size > 0)
	{
		char	  **names;
		List	   *list = NIL;
		int			n = task_params_labels(labels.data, labels.size, &names);

		for (int i = 0; i < n; i++)
			list = lappend(list, names[i]);
		append_names(out, "classes", list);
	}
	if (base_bytes != NULL)
	{
		Model	   *model = model_decode(base_bytes);
		const TaskParams *params = task_params_decode(bytes, model);
		Component  *c = &model->components[0];
		bool		episode = model->encoding->way > 0;

		task_scatter(c, params->phi, params->memory, c->theta);
		describe_memory(out, c, model->encoding, c->theta,
						episode ? params->labels : model->encoding->classes,
						episode ? params->n_labels : model->encoding->n_classes);
	}
	appendStringInfoChar(out, '}');
}

Jsonb *
params_describe(const bytea *bytes, const bytea *base)
{
	StringInfoData out;

	initStringInfo(&out);
	if (params_kind(bytes) == PARAMS_TASK)
		describe_task(&out, bytes, base);
	else
		describe_model(&out, bytes);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
