/*
 * fit.h
 *	  Raw rows, and fitting an encoding to them.
 *
 * A raw row is what goes through the sort before its encoding is known: 64-bit
 * slots of the candidate columns that are no plain numbers, of the target, and
 * of weight and group where there are such; then the plain numbers
 * (data/numbers.h), then the elements of vectors and the bytes of images.  A
 * slot holds the bits of a double (NaN where missing), the hash of a label
 * (LABEL_NULL where missing), or a length (SLOT_NULL where missing).
 */
#ifndef DATA_FIT_H
#define DATA_FIT_H

#include "data/encode.h"
#include "data/labels.h"
#include "data/numbers.h"
#include "data/plan.h"
#include "data/row_reader.h"

#define SLOT_NULL PG_UINT64_MAX

/* What the rows of training tasks say about a candidate. */
typedef struct Stats
{
	LabelDict  *labels;			/* of a category; NULL once given up */
	bool		crowded;		/* it was given up: too many labels */
	int64		n;				/* values seen */
	int64		missing;
	double		mean;
	double		m2;				/* sum of squared distances from the mean */
	int			length;			/* of the first vector, or -1 */
	LabelEntry *current;		/* label in the task that is being read */
	bool		varies;			/* more than one label in some task */
	int			encoder;		/* position in the encoding, or -1 */
	bool		within_task;	/* its labels occur in one task each */
	bool		names_task;		/* tasks have one label each, and labels few
								 * tasks */
} Stats;

typedef struct Fit
{
	SourcePlan *plan;
	int			n_slots;
	int			weight_slot;	/* -1: there is none */
	int			group_slot;		/* likewise */
	uint64	   *slots;			/* of the raw row that was read last */
	int			n_others;
	int		   *others;			/* candidates that have slots, in order */
	Numbers    *numbers;		/* the other candidates */
	int		   *number_of;		/* which these are: of a candidate, or -1 */
	NumberMoments moments;
	int64		rows;			/* that these are of */
	const char *rest;			/* what follows them */
	Stats	   *features;
	Stats		target;
	Stats		weight;
	bool		only_01;		/* all targets are 0 or 1 */
	LabelDict  *groups;
	bool		labelled;		/* there are dictionaries of training tasks' labels */
	int			task;			/* number of the training task being read */
	Encoding   *encoding;
} Fit;

/* Its slot lies behind the others'. */
#define SLOT_TARGET(fit) ((fit)->n_others)

extern Fit *fit_create(SourcePlan *plan, TupleDesc desc);

/*
 * Appends a row of the source; labels are remembered where it belongs to a
 * training task.  row: where its numbers are read from, as numbers_write_row
 * does; NULL: from values and nulls, where the other columns are in any case.
 * Appends nothing for a row that cannot be used.
 */
extern RowStatus raw_append(Fit *fit, const Datum *values, const bool *nulls, HeapTupleHeader row,
							bool train, StringInfo out);

/* Makes a raw row the current one; bytes must stay in place. */
extern void raw_read(Fit *fit, const char *bytes);

/* The hash of the current row's group; LABEL_NULL: it has none. */
extern uint64 fit_group(const Fit *fit);

/* Takes the current row, of a training task, into account. */
extern void fit_begin_task(Fit *fit);
extern void fit_row(Fit *fit);

/* The encoding, in the current memory context; omissions are added to the plan. */
extern Encoding *fit_finish(Fit *fit, const LoadRequest *request);

/* Encodes the current row; as row_reader_features and row_reader_outcome. */
extern RowStatus fit_encode(Fit *fit, float *x, int32 *c, float *y, int32 *class, float *w);

/* Do all labels read as numbers?  Then the user may have meant numbers. */
extern bool labels_are_numbers(char *const *labels, int n);

#endif							/* DATA_FIT_H */
