/*
 * options_json.c
 *	  Options as JSON, and back.
 *
 * Options are stored by name and read over the present defaults: a name that
 * is not known any more is passed over, and one that was not known then has
 * its default, which keeps old files readable.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "store/options_json.h"
#include "store/params_private.h"

/* ---- to JSON ---- */

static void
append_number(StringInfo out, double value)
{
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (isnan(value) || isinf(value))
		elog(ERROR, "a number of a model's description is not finite");
	double_to_shortest_decimal_buf(value, digits);
	appendStringInfoString(out, digits);
}

char *
choice_word(const char *option, int position)
{
	const char *word = option_find(option)->choices;

	for (; position > 0; position--)
		word = strchr(word, '|') + 1;
	return pnstrdup(word, strcspn(word, "|"));
}

void
append_choice(StringInfo out, const char *option, int position)
{
	appendStringInfo(out, "\"%s\"", choice_word(option, position));
}

void
append_integers(StringInfo out, const int *values, int n)
{
	appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "%s%d", i > 0 ? ", " : "", values[i]);
	appendStringInfoChar(out, ']');
}

bool
option_to_json(const Options *options, const OptionInfo *info, StringInfo out)
{
	const char *field;

	if (info->offset == (size_t) -1)
		return false;			/* said by the encoders */
	field = (const char *) options + info->offset;

	switch (info->type)
	{
		case OPTION_INTEGER:
			if (info->offset == offsetof(Options, seed))
				appendStringInfo(out, INT64_FORMAT, (int64) options->seed);
			else
				appendStringInfo(out, "%d", *(const int *) field);
			return true;
		case OPTION_NUMBER:
			append_number(out, *(const double *) field);
			return true;
		case OPTION_BOOLEAN:
			appendStringInfoString(out, *(const bool *) field ? "true" : "false");
			return true;
		case OPTION_CHOICE:
			if (*(const int *) field == OPTION_UNSET)
				return false;
			append_choice(out, info->name, *(const int *) field);
			return true;
		case OPTION_WIDTHS:
			append_integers(out, (const int *) field, options->n_hidden);
			return true;
		case OPTION_RANGE:
			append_integers(out, (const int *) field, 2);
			return true;
		case OPTION_TEXT:
			if (*(const char *const *) field == NULL)
				return false;
			escape_json(out, *(const char *const *) field);
			return true;
		case OPTION_OBJECT:
		case OPTION_LIST:
			break;
	}
	return false;
}

void
options_to_json(const Options *options, StringInfo out)
{
	const char *separator = "";

	appendStringInfoChar(out, '{');
	for (const OptionInfo *info = option_table; info->name != NULL; info++)
	{
		StringInfoData value;

		initStringInfo(&value);
		if (option_to_json(options, info, &value))
		{
			appendStringInfo(out, "%s\"%s\": %s", separator, info->name, value.data);
			separator = ", ";
		}
		pfree(value.data);
	}
	appendStringInfoChar(out, '}');
}

/* ---- from JSON ---- */

double
json_number(const JsonbValue *value)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
}

/*
 * Sets an option from its stored value.
 */
static void
read_option(Options *options, const OptionInfo *info, JsonbValue *value)
{
	double		values[NETWORK_MAX_HIDDEN];
	int			n = -1;
	const char *fault;

	if (value->type == jbvString)
	{
		char	   *text = pnstrdup(value->val.string.val, value->val.string.len);

		if (info->type == OPTION_TEXT)
		{
			*(const char **) ((char *) options + info->offset) = text;
			return;
		}
		fault = option_set_word(options, info, text);
	}
	else
	{
		if (value->type == jbvNumeric)
		{
			values[0] = json_number(value);
			n = 1;
		}
		else if (value->type == jbvBool)
		{
			values[0] = value->val.boolean;
			n = 1;
		}
		else if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
				 JsonContainerSize(value->val.binary.data) <= NETWORK_MAX_HIDDEN)
		{
			n = (int) JsonContainerSize(value->val.binary.data);
			for (int i = 0; i < n; i++)
			{
				JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, (uint32) i);

				values[i] = element->type == jbvNumeric ? json_number(element) : NAN;
			}
		}
		fault = n >= 0 && info->type != OPTION_CHOICE ? option_set(options, info, values, n) : "is of the wrong type";
	}
	if (fault != NULL)
		params_damaged("The option \"%s\" %s.", info->name, fault);
}

void
options_from_json(Options *options, JsonbContainer *object)
{
	for (const OptionInfo *info = option_table; info->name != NULL; info++)
	{
		JsonbValue *value = getKeyJsonValueFromContainer(object, info->name, (int) strlen(info->name), NULL);

		if (value != NULL && info->offset != (size_t) -1)
			read_option(options, info, value);
	}
}
