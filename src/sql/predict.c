/*
 * predict.c
 *	  meta.predict, meta.predict_interval, meta.classify, meta.probabilities:
 *	  parameters and a row -> what is expected of it.
 *
 * All take params or a model's name, which stands for the prior: the
 * model adapted on no rows.  A row costs its encoding and the learner's
 * arithmetic; the rest is done when the parameters or the row type change.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"
#include "sql/callsite.h"

/* Does the model say how far off it may be? */
static void
check_interval(const Binding *binding)
{
	const Component *component = binding->component;

	if (component->spec.loss != LOSS_SQUARED)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the model's target \"%s\" is not a number, so its predictions have no interval",
						binding->model->encoding->target),
				 errhint("A probability says how sure it is: use meta.predict or meta.probabilities.")));
	if (component->learner->variance == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("algorithm \"%s\" has no predictive distribution", component->learner->name),
				 errhint("Train with alpaca, cnp, vaml or random_intercept.")));
}

/* Is what is asked for something that the model's target has? */
static void
check_value(const Binding *binding)
{
	const Encoding *encoding = binding->model->encoding;

	if (encoding->target_kind == TARGET_CLASS)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the model's target \"%s\" is a class, not a number", encoding->target),
				 errhint("Use meta.classify for the most probable class, or meta.probabilities for all of them.")));
}

static void
check_class(const Binding *binding)
{
	const Encoding *encoding = binding->model->encoding;

	if (encoding->target_kind == TARGET_NUMBER)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("the model's target \"%s\" is a number, not a class", encoding->target),
				 errhint("Use meta.predict for its value.")));
}

/* The row that binding->x and binding->c hold. */
static Rows
one_row(const Binding *binding)
{
	Rows		rows;

	memset(&rows, 0, sizeof(rows));
	rows.width = binding->model->encoding->width;
	rows.tasks = 1;
	rows.rows = 1;
	rows.x = binding->x;
	rows.c = binding->c;
	return rows;
}

/*
 * Predicts the row that is the second argument under the params, or the prior
 * of the model, that is the first.  The result's values are the target's value
 * or its probability of being true, or one probability per class.
 */
static Binding *
predict_row(FunctionCallInfo fcinfo, bool by_name, void (*check) (const Binding *binding))
{
	Binding    *binding = callsite_task(fcinfo, by_name, check);
	const Encoding *encoding = binding->model->encoding;
	Rows		rows;
	int			width;
	int			i;

	if (encoding->way > 0 && binding->n_labels == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no classes to tell apart"),
				 errdetail("The model learned to tell any %d classes apart, and rows that name them are yet to come.", encoding->way),
				 errhint("Adapt it to rows of each class, with meta.adapt.")));

	binding_read(binding, PG_GETARG_DATUM(1));
	rows = one_row(binding);
	binding_predict(binding, &rows, binding->outputs);
	/* of an N-way episode with fewer classes, the other outputs stand for nothing */
	width = encoding->way > 0 ? binding->n_labels : encoding->width.y;
	outputs_to_values(binding->component->spec.loss, encoding->target_mean, encoding->target_deviation,
					  binding->outputs, 1, width, binding->values);
	for (i = 0; i < width; i++)
		if (!isfinite(binding->values[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("the prediction is not a finite number"),
					 errhint("A value of the row lies far outside of what the model was trained on.")));
	return binding;
}

/* ---- the value, or the probability of true ---- */

PG_FUNCTION_INFO_V1(meta_predict_model);
Datum
meta_predict_model(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(predict_row(fcinfo, true, check_value)->values[0]);
}

PG_FUNCTION_INFO_V1(meta_predict_params);
Datum
meta_predict_params(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(predict_row(fcinfo, false, check_value)->values[0]);
}

/* ---- an interval ---- */

/* The number of standard deviations that a normal variable stays within with this probability. */
static double
normal_within(double coverage)
{
	double		low = 0;
	double		high = 40;		/* beyond what a double tells from 1 */

	while (high - low > 1e-12 * (1 + low))
	{
		double		middle = (low + high) / 2;

		if (erf(middle / sqrt(2.0)) < coverage)
			low = middle;
		else
			high = middle;
	}
	return (low + high) / 2;
}

static Datum
interval(FunctionCallInfo fcinfo, bool by_name)
{
	double		coverage = PG_GETARG_FLOAT8(2);
	Binding    *binding;
	Rows		rows;
	TupleDesc	desc;
	real		variance;
	double		reach;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (!(coverage > 0 && coverage < 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("coverage must be between 0 and 1, not %g", coverage),
				 errhint("0.9 gives an interval that nine of ten outcomes fall into.")));
	binding = predict_row(fcinfo, by_name, check_interval);
	rows = one_row(binding);
	binding_variance(binding, &rows, &variance);
	reach = normal_within(coverage) * sqrt(variance) * binding->model->encoding->target_deviation;
	values[0] = Float8GetDatum(binding->values[0] - reach);
	values[1] = Float8GetDatum(binding->values[0] + reach);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(meta_predict_interval_model);
Datum
meta_predict_interval_model(PG_FUNCTION_ARGS)
{
	return interval(fcinfo, true);
}

PG_FUNCTION_INFO_V1(meta_predict_interval_params);
Datum
meta_predict_interval_params(PG_FUNCTION_ARGS)
{
	return interval(fcinfo, false);
}

/* ---- the most probable class ---- */

static Datum
most_probable(const Binding *binding)
{
	const Encoding *encoding = binding->model->encoding;
	int			best = 0;
	int			i;

	if (encoding->target_kind == TARGET_BINARY)
		return CStringGetTextDatum(binding->values[0] >= 0.5 ? "true" : "false");
	for (i = 1; i < binding->n_labels; i++)
		if (binding->values[i] > binding->values[best])
			best = i;
	return CStringGetTextDatum(binding->labels[best]);
}

PG_FUNCTION_INFO_V1(meta_classify_model);
Datum
meta_classify_model(PG_FUNCTION_ARGS)
{
	return most_probable(predict_row(fcinfo, true, check_class));
}

PG_FUNCTION_INFO_V1(meta_classify_params);
Datum
meta_classify_params(PG_FUNCTION_ARGS)
{
	return most_probable(predict_row(fcinfo, false, check_class));
}

/* ---- every class with its probability ---- */

static void
push_probability(JsonbParseState **state, char *label, double probability)
{
	JsonbValue	key;
	JsonbValue	value;

	key.type = jbvString;
	key.val.string.val = label;
	key.val.string.len = strlen(label);
	pushJsonbValue(state, WJB_KEY, &key);

	value.type = jbvNumeric;
	value.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(probability)));
	pushJsonbValue(state, WJB_VALUE, &value);
}

static Datum
all_probabilities(const Binding *binding)
{
	const Encoding *encoding = binding->model->encoding;
	JsonbParseState *state = NULL;
	int			i;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (encoding->target_kind == TARGET_BINARY)
	{
		double		p = binding->values[0];

		push_probability(&state, "false", 1 - p);
		push_probability(&state, "true", p);
	}
	else
		for (i = 0; i < binding->n_labels; i++)
			push_probability(&state, binding->labels[i], binding->values[i]);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

PG_FUNCTION_INFO_V1(meta_probabilities_model);
Datum
meta_probabilities_model(PG_FUNCTION_ARGS)
{
	return all_probabilities(predict_row(fcinfo, true, check_class));
}

PG_FUNCTION_INFO_V1(meta_probabilities_params);
Datum
meta_probabilities_params(PG_FUNCTION_ARGS)
{
	return all_probabilities(predict_row(fcinfo, false, check_class));
}
