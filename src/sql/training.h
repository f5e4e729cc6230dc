/*
 * training.h
 *	  What the procedure and the aggregate of meta.train share: progress,
 *	  reports, and the right to run a stored source again.
 */
#ifndef SQL_TRAINING_H
#define SQL_TRAINING_H

#include "portability/instr_time.h"

#include "compat.h"
#include "store/catalog.h"
#include "train/train.h"

extern double seconds_since(instr_time start);

typedef struct ProgressState
{
	double		last;			/* seconds since the start, of the last line */
	const Phase *phase;			/* that it was about */
	int			iteration;
} ProgressState;

/*
 * A progress line, at most every options.report seconds: iteration of total,
 * loss, validation loss, tasks per second, time left.
 */
extern void progress_notice(ProgressState *state, const Training *training, const Phase *phase, double now);

/* The error of a training that diverged. */
pg_noreturn extern void training_diverged(const Training *training);

/*
 * Scalars about a training, as JSON text for the model and as jsonb for
 * meta.version; only the latter says how long it took, so that the same
 * training gives the same bytes.
 */
extern char *training_summary(const Training *training);
extern Jsonb *training_metrics(const Training *training, double seconds);

/*
 * Whether a training that was stopped was so before the turn of the learner
 * that was asked for: in the pooled network that it begins at.
 */
extern bool training_early(const Training *training);

/* errdetail of the closing NOTICE. */
extern int	training_detail(const Training *training);

/*
 * What the current user may run again: the row of a model, with the source of
 * the training that began last; or the source of a model's version.  An
 * unknown name, no source, or another role's are errors.  Need SPI.
 */
extern ModelRow *stored_source(const char *name);
extern char *version_source(const char *name, const char *digest);

#endif							/* SQL_TRAINING_H */
