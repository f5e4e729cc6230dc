/*
 * report.h
 *	  The NOTICE that tells what became of a source.
 */
#ifndef DATA_REPORT_H
#define DATA_REPORT_H

#include "data/fit.h"
#include "data/taskset.h"

/* How many rows of the source could not be used, and why. */
typedef struct RowCounts
{
	int64		read;
	int64		of[ROW_STATUS_COUNT];
} RowCounts;

/* One NOTICE: what was chosen, left out and skipped. */
extern void report_fitted(const SourcePlan *plan, const Fit *fit, const TaskSet *set, const RowCounts *counts);

/* One NOTICE where rows were skipped: for an encoding that was given. */
extern void report_skipped(const RowCounts *counts);

/* "3 without a target, 2 without a task key" */
extern char *describe_skipped(const RowCounts *counts);

#endif							/* DATA_REPORT_H */
