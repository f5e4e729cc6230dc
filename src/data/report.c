/*
 * report.c
 *	  The NOTICE that tells what became of a source.
 */
#include "postgres.h"

#include "data/report.h"

char *
describe_skipped(const RowCounts *counts)
{
	static const char *const reasons[ROW_STATUS_COUNT] = {
		[ROW_NO_TASK] = "without a task key",
		[ROW_NO_TARGET] = "without a target",
		[ROW_NO_WEIGHT] = "without a weight",
		[ROW_OTHER_TARGET] = "with a target that no training task has",
	};
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < ROW_STATUS_COUNT; i++)
		if (reasons[i] != NULL && counts->of[i] > 0)
			appendStringInfo(&out, "%s" INT64_FORMAT " %s", out.len > 0 ? ", " : "",
							 counts->of[i], reasons[i]);
	return out.data;
}

void
report_skipped(const RowCounts *counts)
{
	int64		skipped = counts->read - counts->of[ROW_USABLE];

	if (skipped > 0)
		ereport(NOTICE,
				(errmsg("left out " INT64_FORMAT " of " INT64_FORMAT " rows: %s",
						skipped, counts->read, describe_skipped(counts))));
}

static void
describe_encoder(StringInfo out, const Encoder *encoder)
{
	appendStringInfo(out, "\"%s\" (", encoder->column);
	switch (encoder->kind)
	{
		case ENCODER_CATEGORY:
			appendStringInfo(out, "category of %d labels%s, %s", encoder->n_labels,
							 encoder->indicator ? " and NULL" : "", encoder->one_hot ? "one-hot" : "embedded");
			break;
		case ENCODER_VECTOR:
			appendStringInfo(out, "vector of %d", encoder_values(encoder));
			break;
		case ENCODER_IMAGE:
			appendStringInfo(out, "image %dx%dx%d", encoder->image[0], encoder->image[1], encoder->image[2]);
			break;
		default:
			appendStringInfoString(out, encoder_kind_name(encoder->kind));
			break;
	}
	appendStringInfo(out, "%s)", encoder->indicator && encoder->kind != ENCODER_CATEGORY ?
					 ", with an indicator of missing values" : "");
}

static void
describe_target(StringInfo out, const SourcePlan *plan, const Encoding *encoding)
{
	appendStringInfo(out, "Target: \"%s\" (", encoding->target);
	switch (encoding->target_kind)
	{
		case TARGET_NUMBER:
			appendStringInfo(out, plan->target_plan == TARGET_PLAN_RAW ? "number, as it is)" : "number)");
			break;
		case TARGET_BINARY:
			appendStringInfoString(out, "binary)");
			break;
		case TARGET_CLASS:
			if (encoding->way > 0)
			{
				appendStringInfo(out, "%d-way: which of %d tasks a row is of)", encoding->way, encoding->way);
				break;
			}
			appendStringInfo(out, "%d classes)", encoding->n_classes);
			if (plan->target.class == COLUMN_LABEL && encoding->n_classes > 10 &&
				labels_are_numbers(encoding->classes, encoding->n_classes))
				appendStringInfoString(out, "; its labels are numbers: cast it to float8 to learn it as a number");
			break;
	}
}

/* Categories that stand for the task. */
static void
describe_overlap(StringInfo out, const SourcePlan *plan, const Fit *fit)
{
	for (int i = 0; i < plan->n_candidates; i++)
	{
		const Stats *stats = &fit->features[i];
		const char *name = plan->candidates[i].column.name;

		if (stats->encoder < 0)
			continue;
		if (stats->within_task)
			appendStringInfo(out, "\nNote: nearly every label of \"%s\" occurs in one task only, so it takes over what distinguishes tasks and says nothing about a new one; consider the option exclude.", name);
		else if (stats->names_task)
			appendStringInfo(out, "\nNote: \"%s\" has one label per task, and each stands for few tasks, so it takes over much of what distinguishes tasks; consider the option exclude.", name);
	}
}

void
report_fitted(const SourcePlan *plan, const Fit *fit, const TaskSet *set, const RowCounts *counts)
{
	const Encoding *encoding = set->encoding;
	int			n[3] = {0, 0, 0};
	StringInfoData detail;

	for (int i = 0; i < set->n_tasks; i++)
		n[set->tasks[i].role]++;

	initStringInfo(&detail);
	describe_target(&detail, plan, encoding);
	appendStringInfoString(&detail, "\nFeatures: ");
	for (int i = 0; i < encoding->n_encoders; i++)
	{
		if (i > 0)
			appendStringInfoString(&detail, ", ");
		describe_encoder(&detail, &encoding->encoders[i]);
	}
	if (plan->n_omissions > 0)
	{
		appendStringInfoString(&detail, "\nLeft out: ");
		for (int i = 0; i < plan->n_omissions; i++)
			appendStringInfo(&detail, "%s\"%s\" (%s)", i > 0 ? ", " : "",
							 plan->omissions[i].name, plan->omissions[i].reason);
	}
	if (counts->of[ROW_USABLE] < counts->read)
		appendStringInfo(&detail, "\nSkipped rows: %s", describe_skipped(counts));
	describe_overlap(&detail, plan, fit);

	ereport(NOTICE,
			(errmsg("learning from " INT64_FORMAT " rows of %d tasks: %d to train, %d to validate, %d to test",
					set->n_rows, set->n_tasks, n[TASK_TRAIN], n[TASK_VALIDATION], n[TASK_TEST]),
			 errdetail_internal("%s", detail.data)));
	pfree(detail.data);
}
