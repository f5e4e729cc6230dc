/*
 * apply.h
 *	  A trained component at work: adapt to one task, predict rows.
 *
 * Replays the same computations that training differentiated, for one task at
 * a time.  Tapes are built on first use, one per rounded-up number of rows,
 * and kept; nothing is allocated when a shape is seen again.
 */
#ifndef LEARN_APPLY_H
#define LEARN_APPLY_H

#include "learn/learner.h"

typedef struct Applier Applier;

/*
 * NULL when the arena is full.  theta (list->size numbers) must stay in
 * place; it may change between calls.  interrupt may be NULL.
 */
extern Applier *applier_create(Arena *arena, const Learner *learner, const LearnerSpec *spec,
							   const TensorList *list, const real *theta, void (*interrupt) (void));

/*
 * To be called first: rows that are predicted together are normalised over
 * themselves, where the network normalises a task's rows (NORM_BATCH), and not
 * by the moments of the support.  What a row is predicted then depends on the
 * others.
 */
extern void applier_transductive(Applier *applier);

/*
 * Builds the tapes for up to so many support rows and rows to predict, so that
 * nothing is allocated later.  Returns NULL or a static message.
 */
extern const char *applier_reserve(Applier *applier, int support_rows, int rows);

/*
 * More rows than this are adapted on in portions, where the learner's state
 * makes that the same; other learners see this many of them, evenly spread.
 */
#define ADAPT_MAX_ROWS 1024

/* From now on, what is no task's own is not written to the result of adapting. */
extern void applier_own_only(Applier *applier);

/*
 * Adapts on one task's rows (support->tasks is 1; rows 0 is legal and gives
 * the prior).  from: a task's full parameters (list->size numbers) to go on
 * from, or NULL for theta.  to: the result, list->size numbers.  What is no
 * task's own (tensor_is_own) is always read from theta, here and below.
 * Returns NULL or a static message: out of memory, or numbers that are no
 * longer finite.
 */
extern const char *applier_adapt(Applier *applier, const Rows *support, const real *from, real *to);

/*
 * Outputs of rows->rows rows (rows->tasks is 1; y and w are not looked at)
 * under a task's parameters phi: (rows, outputs), logits for classes, into
 * outputs.  Returns NULL or a static message.
 */
extern const char *applier_predict(Applier *applier, const real *phi, const Rows *rows, real *outputs);

/*
 * Promises that theta stays as it is, and that phi, in one place, holds the
 * same numbers in all that is predicted under the same version; what depends
 * on these alone is then worked out once.  0, where it begins, promises nothing.
 */
extern void applier_version(Applier *applier, uint64_t version);

/*
 * Variances of the outcomes of the same rows, noise included, on the encoded
 * target; only for a learner that has them (Learner.variance).
 */
extern const char *applier_variance(Applier *applier, const real *phi, const Rows *rows, real *variances);

/*
 * Outputs (n, width) to what users see, values (n, width): with the squared
 * loss back on the target's scale, from a logit a probability, from logits
 * probabilities.
 */
extern void outputs_to_values(LossKind loss, double mean, double deviation,
							  const real *outputs, size_t n, int width, double *values);

#endif							/* LEARN_APPLY_H */
