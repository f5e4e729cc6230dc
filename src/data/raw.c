/*
 * raw.c
 *	  Raw rows: what goes through the sort before the encoding is known.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "data/fit.h"

static inline uint64
double_bits(double value)
{
	uint64		bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* The hash of a value's label, which goes into the dictionary where there is one. */
static uint64
label_slot(Column *column, Datum value, LabelDict *dict)
{
	char		buffer[LABEL_BUFFER];
	int			length;
	const char *text = column_label(column, value, buffer, &length);
	uint64		hash = label_hash_text(text, length);

	if (dict != NULL)
		label_dict_add(dict, hash, text, length);
	return hash;
}

/*
 * A dictionary that outgrows its bounds is given up, and its column with it.
 * That depends on the set of labels alone, not on the order they come in.
 */
static void
bound_labels(Stats *stats, const FeatureCandidate *candidate)
{
	if (stats->labels->n <= LABELS_MAX && stats->labels->bytes <= LABELS_MAX_BYTES)
		return;
	if (candidate->asked)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("column \"%s\" has too many distinct values for a category", candidate->column.name),
				 errdetail("A category has at most %d labels of %d bytes in all.", LABELS_MAX, LABELS_MAX_BYTES),
				 errhint("Leave the column out, or group its values in the source.")));
	label_dict_free(stats->labels);
	stats->labels = NULL;
	stats->crowded = true;
}

static RowStatus
target_slot(Fit *fit, const Datum *values, const bool *nulls, bool train, uint64 *slot)
{
	SourcePlan *plan = fit->plan;
	Column	   *target = &plan->target;
	double		number;

	if (nulls[target->at])
		return ROW_NO_TARGET;
	if (plan->target_plan == TARGET_PLAN_EPISODE)
	{
		*slot = 0;
		return ROW_USABLE;
	}
	if (plan->target_plan == TARGET_PLAN_CLASS)
	{
		LabelDict  *classes = fit->target.labels;

		if (target->class == COLUMN_NUMBER && isnan(column_number(target, values[target->at])))
			return ROW_NO_TARGET;
		*slot = label_slot(target, values[target->at], train ? classes : NULL);
		if (classes->n > ENCODING_MAX_CLASSES)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the target \"%s\" has more than %d classes", target->name, ENCODING_MAX_CLASSES),
					 errhint("If it holds numbers, cast it in a SELECT: %s::float8; otherwise group its values.",
							 target->name)));
		return ROW_USABLE;
	}
	number = column_number(target, values[target->at]);
	if (isnan(number))
		return ROW_NO_TARGET;
	*slot = double_bits(number + 0.0);
	return ROW_USABLE;
}

static uint64
feature_slot(Fit *fit, int i, Datum value, bool train)
{
	FeatureCandidate *candidate = &fit->plan->candidates[i];
	Stats	   *stats = &fit->features[i];
	uint64		slot;

	switch (candidate->kind)
	{
		case ENCODER_CATEGORY:
			/* the hash also of a column that was given up: rows are sorted by it */
			slot = label_slot(&candidate->column, value, train ? stats->labels : NULL);
			if (train && !stats->crowded)
				bound_labels(stats, candidate);
			return slot;
		default:
			return double_bits(column_number(&candidate->column, value) + 0.0);
	}
}

/* Appends a vector's elements or an image's bytes, and returns their number. */
static uint64
append_rest(FeatureCandidate *candidate, Datum value, StringInfo out)
{
	int			length;

	if (candidate->column.class == COLUMN_BYTES)
	{
		const unsigned char *bytes = column_bytes(&candidate->column, value, &length);

		appendBinaryStringInfo(out, (const char *) bytes, length);
	}
	else
	{
		float	   *floats = candidate->kind == ENCODER_IMAGE ?
			column_pixels(&candidate->column, value, candidate->image, &length) :
			column_vector(&candidate->column, value, &length);

		appendBinaryStringInfo(out, (const char *) floats, length * (int) sizeof(float));
		pfree(floats);
	}
	return (uint64) length;
}

RowStatus
raw_append(Fit *fit, const Datum *values, const bool *nulls, HeapTupleHeader row,
		   bool train, StringInfo out)
{
	SourcePlan *plan = fit->plan;
	uint64	   *slots = fit->slots;
	int			begin = out->len;
	int			size = fit->n_slots * (int) sizeof(uint64) + (int) fit->numbers->bytes;
	char	   *numbers;
	RowStatus	status;

	if (plan->weighted)
	{
		const Column *column = &plan->weight;
		double		weight = 0;

		if (!nulls[column->at])
			weight = check_weight(column, column_number(column, values[column->at]));
		if (weight == 0)
			return ROW_NO_WEIGHT;
		slots[fit->weight_slot] = double_bits(weight);
	}

	/* after the weight, because it makes the label known */
	status = target_slot(fit, values, nulls, train, &slots[SLOT_TARGET(fit)]);
	if (status != ROW_USABLE)
		return status;

	if (plan->grouped)
		slots[fit->group_slot] = nulls[plan->by.at] ? LABEL_NULL
			: label_slot(&plan->by, values[plan->by.at], fit->groups);

	/* slots and numbers go in front of the rest, which is not known to be there yet */
	enlargeStringInfo(out, size);
	out->len += size;
	for (int other = 0; other < fit->n_others; other++)
	{
		int			i = fit->others[other];
		FeatureCandidate *candidate = &plan->candidates[i];
		Datum		value = values[candidate->column.at];
		bool		null = nulls[candidate->column.at];

		if (candidate->kind == ENCODER_VECTOR || candidate->kind == ENCODER_IMAGE)
			slots[other] = null ? SLOT_NULL : append_rest(candidate, value, out);
		else if (!null)
			slots[other] = feature_slot(fit, i, value, train);
		else
			slots[other] = candidate->kind == ENCODER_CATEGORY ? LABEL_NULL : double_bits(NAN);
	}
	memcpy(out->data + begin, slots, fit->n_slots * sizeof(uint64));
	numbers = out->data + begin + fit->n_slots * sizeof(uint64);
	if (row != NULL)
		numbers_write_row(fit->numbers, row, numbers);
	else
	{
		numbers_read(fit->numbers, values, nulls);
		numbers_write(fit->numbers, numbers);
	}
	return ROW_USABLE;
}

void
raw_read(Fit *fit, const char *bytes)
{
	memcpy(fit->slots, bytes, fit->n_slots * sizeof(uint64));
	bytes += fit->n_slots * sizeof(uint64);
	numbers_take(fit->numbers, bytes);
	fit->rest = bytes + fit->numbers->bytes;
}
