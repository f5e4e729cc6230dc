/*
 * plan.h
 *	  What each column of a source is for, before any row is read.
 */
#ifndef DATA_PLAN_H
#define DATA_PLAN_H

#include "data/column.h"
#include "data/loader.h"

/* A column that may become a feature. */
typedef struct FeatureCandidate
{
	Column		column;
	EncoderKind kind;
	int			image[3];
	bool		asked;			/* named in features or encode: not dropped */
} FeatureCandidate;

/* A column that will be none, and why. */
typedef struct Omission
{
	char	   *name;
	char	   *reason;
} Omission;

/* How the target is read; what is left open is decided by the rows. */
typedef enum TargetPlan
{
	TARGET_PLAN_OPEN,			/* a number: binary where only 0 and 1 occur */
	TARGET_PLAN_NUMBER,
	TARGET_PLAN_RAW,
	TARGET_PLAN_BINARY,
	TARGET_PLAN_CLASS,
	TARGET_PLAN_EPISODE			/* whatever the label, it is one of an episode */
} TargetPlan;

typedef struct SourcePlan
{
	int			n_task;
	Column	   *task;
	int			n_order;
	Column	   *order;
	bool		weighted;
	Column		weight;
	bool		grouped;
	Column		by;
	Column		target;
	TargetPlan	target_plan;
	int			n_candidates;
	FeatureCandidate *candidates;
	int			n_omissions;
	Omission   *omissions;		/* room for one per column of the row */
} SourcePlan;

/*
 * Resolves the request's names against the row type; faults of names, types
 * and encoders are raised here.  For a given encoding only the task key and
 * "by" are resolved: the rest is the row reader's.
 */
extern SourcePlan *plan_create(const LoadRequest *request, TupleDesc desc);

extern void plan_omit(SourcePlan *plan, const char *name, const char *reason);

#endif							/* DATA_PLAN_H */
