/*
 * fit.c
 *	  Fitting an encoding to the rows of training tasks.
 *
 * Means and deviations are Welford's: one pass, in the order of the sort, so
 * that equal rows give equal bits.  (B. P. Welford, "Note on a method for
 * calculating corrected sums of squares and products", 1962.)
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"

#include "data/fit.h"
#include "learn/options.h"

/* A text with more labels than this, in more than half of its rows, is dropped. */
#define DISTINCT_MIN 50
#define DISTINCT_SHARE 0.5

/* A label that stands for fewer tasks than this, on average, stands for few. */
#define FEW_TASKS 4

/* From this share of rows on, a statement is made that holds for "nearly" all. */
#define NEARLY_ALL 0.95

Fit *
fit_create(SourcePlan *plan, TupleDesc desc)
{
	Fit		   *fit = palloc0(sizeof(Fit));
	int			room = Max(plan->n_candidates, 1);

	fit->plan = plan;
	fit->others = palloc0(sizeof(int) * room);
	fit->number_of = palloc0(sizeof(int) * room);
	fit->numbers = numbers_create(room);
	fit->moments.n = palloc0(sizeof(double) * room);
	fit->moments.mean = palloc0(sizeof(double) * room);
	fit->moments.m2 = palloc0(sizeof(double) * room);
	fit->features = palloc0(sizeof(Stats) * room);
	for (int i = 0; i < plan->n_candidates; i++)
	{
		const FeatureCandidate *candidate = &plan->candidates[i];

		fit->features[i].length = -1;
		fit->features[i].encoder = -1;
		fit->labelled |= candidate->kind == ENCODER_CATEGORY;
		if (candidate->kind == ENCODER_CATEGORY)
			fit->features[i].labels = label_dict_create(candidate->column.name);
		if ((candidate->kind == ENCODER_NUMBER || candidate->kind == ENCODER_RAW) &&
			numbers_add(fit->numbers, desc, &candidate->column, NULL))
			fit->number_of[i] = fit->numbers->n - 1;
		else
		{
			fit->number_of[i] = -1;
			fit->others[fit->n_others++] = i;
		}
	}
	fit->n_slots = fit->n_others + 1;
	fit->weight_slot = plan->weighted ? fit->n_slots++ : -1;
	fit->group_slot = plan->grouped ? fit->n_slots++ : -1;
	fit->slots = palloc0(sizeof(uint64) * fit->n_slots);
	fit->labelled |= plan->target_plan == TARGET_PLAN_CLASS;
	if (plan->target_plan == TARGET_PLAN_CLASS)
		fit->target.labels = label_dict_create(plan->target.name);
	if (plan->grouped)
		fit->groups = label_dict_create(plan->by.name);
	fit->only_01 = true;
	fit->task = -1;
	return fit;
}

/* ---- reading the rows ---- */

static inline double
slot_double(uint64 slot)
{
	double		value;

	memcpy(&value, &slot, sizeof(value));
	return value;
}

static inline void
add_number(Stats *stats, double value)
{
	double		distance;

	if (isnan(value))
	{
		stats->missing++;
		return;
	}
	stats->n++;
	distance = value - stats->mean;
	stats->mean += distance / (double) stats->n;
	stats->m2 += distance * (value - stats->mean);
}

static void
add_label(Stats *stats, uint64 hash, int task)
{
	LabelEntry *entry;

	if (hash == LABEL_NULL)
	{
		stats->missing++;
		return;
	}
	stats->n++;
	entry = label_dict_find(stats->labels, hash);
	if (entry == NULL)
		elog(ERROR, "a label is not in its dictionary");
	entry->rows++;
	if (entry->task >= 0 && entry->task != task)
		entry->many_tasks = true;
	entry->task = task;
	if (stats->current != NULL && stats->current != entry)
		stats->varies = true;
	stats->current = entry;
}

void
fit_begin_task(Fit *fit)
{
	fit->task++;
	for (int i = 0; i < fit->plan->n_candidates; i++)
		fit->features[i].current = NULL;
}

void
fit_row(Fit *fit)
{
	const SourcePlan *plan = fit->plan;

	fit->rows++;
	numbers_add_moments(fit->numbers, &fit->moments);
	for (int other = 0; other < fit->n_others; other++)
	{
		int			i = fit->others[other];
		Stats	   *stats = &fit->features[i];
		uint64		slot = fit->slots[other];

		switch (plan->candidates[i].kind)
		{
			case ENCODER_CATEGORY:
				if (!stats->crowded)
					add_label(stats, slot, fit->task);
				break;
			case ENCODER_VECTOR:
			case ENCODER_IMAGE:
				if (slot == SLOT_NULL)
					stats->missing++;
				else
				{
					stats->n++;
					if (stats->length < 0)
						stats->length = (int) slot;
				}
				break;
			case ENCODER_BOOLEAN:
				/* here, where the order of rows does not depend on the source */
				encode_check_boolean(plan->candidates[i].column.name, slot_double(slot));
				add_number(stats, slot_double(slot));
				break;
			default:
				add_number(stats, slot_double(slot));
				break;
		}
	}
	if (plan->weighted)
		add_number(&fit->weight, slot_double(fit->slots[fit->weight_slot]));
	if (plan->target_plan == TARGET_PLAN_CLASS)
		add_label(&fit->target, fit->slots[SLOT_TARGET(fit)], fit->task);
	else if (plan->target_plan != TARGET_PLAN_EPISODE)
	{
		double		value = slot_double(fit->slots[SLOT_TARGET(fit)]);

		if (value != 0 && value != 1)
			fit->only_01 = false;
		add_number(&fit->target, value);
	}
}

/* ---- deciding ---- */

static double
deviation_of(const char *column, const Stats *stats)
{
	double		deviation = stats->n > 0 ? sqrt(stats->m2 / (double) stats->n) : 0;

	if (!isfinite(deviation))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("column \"%s\" holds values that are too large to be standardised", column),
				 errdetail("The squares of their distances to the mean are beyond the range of float8."),
				 errhint("Write NULL in the source where such a value stands for a missing one, or scale the column there.")));
	return deviation > 0 ? deviation : 1;
}

bool
labels_are_numbers(char *const *labels, int n)
{
	for (int i = 0; i < n; i++)
	{
		char	   *end;

		(void) strtod(labels[i], &end);
		if (end == labels[i] || *end != '\0')
			return false;
	}
	return n > 0;
}

/* Why a column that nobody asked for is no feature, or NULL. */
static const char *
reason_to_omit(const FeatureCandidate *candidate, const Stats *stats)
{
	if (stats->crowded)
		return "more distinct values than a category can have";
	if (stats->n == 0)
		return "no values";
	if (candidate->kind == ENCODER_CATEGORY)
	{
		if (stats->labels->n > DISTINCT_MIN &&
			stats->labels->n > DISTINCT_SHARE * (double) stats->n)
		{
			char	  **labels = label_dict_sort(stats->labels);

			if (labels_are_numbers(labels, stats->labels->n) && candidate->column.class == COLUMN_LABEL)
				return "values are nearly all distinct; they are numbers: cast to float8 to use them";
			return "values are nearly all distinct";
		}
		if (stats->labels->n == 1 && stats->missing == 0)
			return "constant";
	}
	else if (candidate->kind != ENCODER_VECTOR && candidate->kind != ENCODER_IMAGE)
	{
		if (stats->m2 == 0 && stats->missing == 0)
			return "constant";
	}
	return NULL;
}

/*
 * A category that stands for the task soaks up what distinguishes tasks, and
 * has nothing to say about a new one.
 */
static void
compare_with_task(Stats *stats, int n_tasks)
{
	int64		single = 0;
	char	  **labels = label_dict_sort(stats->labels);

	for (int i = 0; i < stats->labels->n; i++)
	{
		LabelEntry *entry = label_dict_find(stats->labels,
											label_hash_text(labels[i], (int) strlen(labels[i])));

		if (!entry->many_tasks)
			single += entry->rows;
	}
	if (n_tasks < 2 || stats->labels->n < 2)
		return;
	stats->within_task = (double) single >= NEARLY_ALL * (double) stats->n;
	stats->names_task = !stats->within_task && !stats->varies &&
		(double) stats->labels->n * FEW_TASKS > (double) n_tasks;
}

static void
fit_encoder(Fit *fit, int i, Encoder *encoder)
{
	const FeatureCandidate *candidate = &fit->plan->candidates[i];
	Stats	   *stats = &fit->features[i];

	encoder->column = pstrdup(candidate->column.name);
	encoder->kind = candidate->kind;
	encoder->mean = 0;
	encoder->deviation = 1;
	encoder->width = 1;
	encoder->indicator = stats->missing > 0;
	switch (candidate->kind)
	{
		case ENCODER_NUMBER:
			encoder->type = value_type(&candidate->column, false);
			encoder->mean = stats->mean;
			encoder->deviation = deviation_of(encoder->column, stats);
			break;
		case ENCODER_BOOLEAN:
			encoder->type = value_type(&candidate->column, true);
			encoder->mean = stats->mean;
			break;
		case ENCODER_RAW:
			encoder->type = value_type(&candidate->column, false);
			if (isfinite(stats->m2))
			{
				encoder->mean = stats->mean;
				encoder->deviation = deviation_of(encoder->column, stats);
			}
			break;
		case ENCODER_CATEGORY:
			encoder->labels = label_dict_sort(stats->labels);
			encoder->n_labels = stats->labels->n;
			encoder->one_hot = encoder_codes(encoder) <= ENCODING_MAX_ONE_HOT;
			encoder->width = encoder->one_hot ? encoder->n_labels : 0;
			compare_with_task(stats, fit->task + 1);
			break;
		case ENCODER_VECTOR:
			if (stats->length < 1)
				ereport(ERROR,
						(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						 errmsg("column \"%s\" has no vector with elements among the training rows",
								encoder->column),
						 errhint("Leave the column out with the option exclude.")));
			encoder->width = stats->length;
			break;
		case ENCODER_IMAGE:
			memcpy(encoder->image, candidate->image, sizeof(encoder->image));
			encoder->width = candidate->image[0] * candidate->image[1] * candidate->image[2];
			break;
	}
	if (encoder->indicator && !encoder_is_table(encoder))
		encoder->width++;
}

static void
single_value(const char *target, const char *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the target \"%s\" has only one value among the training rows", target),
			 errdetail("It is %s in all of them, so there is nothing to learn.", value),
			 errhint("Check the source's conditions, or give it rows with other values.")));
}

static void
fit_target(Fit *fit, const Options *options, Encoding *encoding)
{
	const Stats *stats = &fit->target;
	TargetPlan	plan = fit->plan->target_plan;

	encoding->target = pstrdup(fit->plan->target.name);
	encoding->target_mean = 0;
	encoding->target_deviation = 1;
	if (plan == TARGET_PLAN_EPISODE)
	{
		encoding->target_kind = TARGET_CLASS;
		encoding->way = options->way;
		return;
	}
	if (plan == TARGET_PLAN_CLASS)
	{
		encoding->target_kind = TARGET_CLASS;
		encoding->classes = label_dict_sort(stats->labels);
		encoding->n_classes = stats->labels->n;
		if (encoding->n_classes < 2)
			single_value(encoding->target, psprintf("\"%s\"", encoding->classes[0]));
		return;
	}
	if (stats->m2 == 0)
		single_value(encoding->target,
					 fit->plan->target.class != COLUMN_BOOLEAN ? psprintf("%g", stats->mean)
					 : stats->mean != 0 ? "true" : "false");
	if (plan == TARGET_PLAN_BINARY && !fit->only_01)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the target \"%s\" holds values other than 0 and 1", encoding->target),
				 errdetail("The logistic loss and the encoder \"boolean\" are for booleans and for numbers that are only 0 and 1."),
				 errhint("Use the loss \"squared\" for numbers, or \"softmax\" for classes.")));
	if (plan == TARGET_PLAN_BINARY || (plan == TARGET_PLAN_OPEN && fit->only_01))
	{
		encoding->target_kind = TARGET_BINARY;
		encoding->target_type = value_type(&fit->plan->target, true);
		return;
	}
	encoding->target_kind = TARGET_NUMBER;
	encoding->target_type = value_type(&fit->plan->target, false);
	if (plan != TARGET_PLAN_RAW)
	{
		encoding->target_mean = stats->mean;
		encoding->target_deviation = deviation_of(encoding->target, stats);
	}
}

static List *
copy_names(const List *names)
{
	List	   *copy = NIL;
	ListCell   *cell;

	foreach(cell, names)
		copy = lappend(copy, pstrdup((const char *) lfirst(cell)));
	return copy;
}

Encoding *
fit_finish(Fit *fit, const LoadRequest *request)
{
	SourcePlan *plan = fit->plan;
	Encoding   *encoding = palloc0(sizeof(Encoding));

	for (int i = 0; i < plan->n_candidates; i++)
		if (fit->number_of[i] >= 0)
		{
			Stats	   *stats = &fit->features[i];
			int			number = fit->number_of[i];

			stats->n = (int64) fit->moments.n[number];
			stats->missing = fit->rows - stats->n;
			stats->mean = fit->moments.mean[number];
			stats->m2 = fit->moments.m2[number];
		}
	fit_target(fit, request->options, encoding);
	encoding->encoders = palloc0(sizeof(Encoder) * Max(plan->n_candidates, 1));
	for (int i = 0; i < plan->n_candidates; i++)
	{
		FeatureCandidate *candidate = &plan->candidates[i];
		const char *reason = candidate->asked ? NULL : reason_to_omit(candidate, &fit->features[i]);

		if (reason != NULL)
		{
			plan_omit(plan, candidate->column.name, reason);
			continue;
		}
		fit->features[i].encoder = encoding->n_encoders;
		fit_encoder(fit, i, &encoding->encoders[encoding->n_encoders++]);
	}
	if (encoding->n_encoders == 0)
	{
		StringInfoData list;

		initStringInfo(&list);
		for (int i = 0; i < plan->n_omissions; i++)
			appendStringInfo(&list, "%s\"%s\" (%s)", i > 0 ? ", " : "",
							 plan->omissions[i].name, plan->omissions[i].reason);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the source has no column that can be a feature"),
				 plan->n_omissions > 0 ? errdetail("Left out: %s.", list.data) : 0,
				 errhint("Add columns to the source, or name columns in features.")));
	}
	encoding->task = copy_names(request->task);
	encoding->order_by = copy_names(request->order_by);
	encoding->weight = plan->weighted ? pstrdup(plan->weight.name) : NULL;
	encoding->weight_mean = plan->weighted ? fit->weight.mean : 1;
	if (!encoding_layout(encoding))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the features make more than %d numeric inputs", ENCODING_MAX_INPUTS),
				 errhint("Name fewer or shorter vectors in features.")));
	for (int i = 0; i < plan->n_candidates; i++)
		if (fit->number_of[i] >= 0)
			numbers_set_encoder(fit->numbers, fit->number_of[i],
								fit->features[i].encoder < 0 ? NULL : &encoding->encoders[fit->features[i].encoder]);
	fit->encoding = encoding;
	return encoding;
}

/* ---- encoding raw rows ---- */

static inline int32
slot_code(LabelDict *labels, uint64 hash)
{
	LabelEntry *entry = label_dict_find(labels, hash);

	return entry == NULL ? 0 : entry->code;
}

static void
encode_features(Fit *fit, float *x, int32 *c)
{
	const SourcePlan *plan = fit->plan;
	const char *rest = fit->rest;

	numbers_encode(fit->numbers, x);
	for (int other = 0; other < fit->n_others; other++)
	{
		int			i = fit->others[other];
		const Stats *stats = &fit->features[i];
		const Encoder *encoder;
		uint64		slot = fit->slots[other];
		bool		is_bytes = plan->candidates[i].column.class == COLUMN_BYTES;

		if (stats->encoder < 0)
		{
			if (plan->candidates[i].kind == ENCODER_VECTOR || plan->candidates[i].kind == ENCODER_IMAGE)
				rest += slot == SLOT_NULL ? 0 : slot * (is_bytes ? 1 : sizeof(float));
			continue;
		}
		encoder = &fit->encoding->encoders[stats->encoder];
		switch (encoder->kind)
		{
			case ENCODER_CATEGORY:
				encode_code(encoder, slot == LABEL_NULL ? encoder_null_code(encoder) : slot_code(stats->labels, slot), x, c);
				break;
			case ENCODER_VECTOR:
			case ENCODER_IMAGE:
				if (slot == SLOT_NULL)
					encode_floats(encoder, NULL, 0, x + encoder->x);
				else if (is_bytes)
				{
					encode_pixels(encoder, (const unsigned char *) rest, (int) slot, x + encoder->x);
					rest += slot;
				}
				else
				{
					encode_floats(encoder, rest, (int) slot, x + encoder->x);
					rest += slot * sizeof(float);
				}
				break;
			default:
				encode_number(encoder, slot_double(slot), x + encoder->x);
				break;
		}
	}
}

uint64
fit_group(const Fit *fit)
{
	return fit->group_slot < 0 ? LABEL_NULL : fit->slots[fit->group_slot];
}

RowStatus
fit_encode(Fit *fit, float *x, int32 *c, float *y, int32 *class, float *w)
{
	const Encoding *encoding = fit->encoding;
	uint64		slot = fit->slots[SLOT_TARGET(fit)];

	if (encoding->way > 0)
		*class = 0;
	else if (encoding->target_kind == TARGET_CLASS)
	{
		int32		code = slot_code(fit->target.labels, slot);

		if (code == 0)
			return ROW_OTHER_TARGET;
		*class = code - 1;
	}
	else
	{
		double		value = slot_double(slot);

		if (encoding->target_kind == TARGET_BINARY && value != 0 && value != 1)
			return ROW_OTHER_TARGET;
		*y = encode_target_number(encoding, value);
	}
	*w = encode_weight(fit->encoding, fit->weight_slot < 0 ? 1 : slot_double(fit->slots[fit->weight_slot]));
	encode_features(fit, x, c);
	return ROW_USABLE;
}
