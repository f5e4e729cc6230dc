/*
 * seen_rows.h
 *	  A task's rows as inner steps see them: with all about them computed once
 *	  that no step changes.
 */
#ifndef LEARN_SEEN_ROWS_H
#define LEARN_SEEN_ROWS_H

#include "learn/learner.h"

/* The network's tensors, into vars, from a learner's own. */
typedef void (*NetworkView) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
							 const Var *phi, Var *vars);

typedef struct SeenRows
{
	NetworkInput input;			/* categories are looked up once: no task
								 * adapts their tables */
	Var			y;
	Var			w;
	Var			linear;			/* the linear path; TAPE_NONE: there is none,
								 * or steps change it */
	Var			hidden;			/* the last hidden layer; TAPE_NONE: steps
								 * change it */
	bool		steps_linear;	/* do they? */
} SeenRows;

/* The rows under theta; view: NULL where a learner's tensors are the network's. */
extern SeenRows see_rows(Tape *tape, const LearnerSpec *spec, const TensorList *list, NetworkView view,
						 const RowVars *rows, const Var *theta);

/* How many batches the rows make where none may have more than so many; 0: as many as there are. */
extern int	count_batches(const Tape *tape, const RowVars *rows, int most);

/*
 * The same of n batches: rows are dealt out one by one, so that each batch has
 * of every class where they come class by class.
 */
extern void see_batches(Tape *tape, const LearnerSpec *spec, const TensorList *list, NetworkView view,
						const RowVars *rows, const Var *theta, int n, SeenRows *batches);

/* Mean loss of rows under phi, (tasks, 1, 1); vars: room for a Var per tensor. */
extern Var	seen_loss(Tape *tape, const LearnerSpec *spec, const TensorList *list, NetworkView view,
					  const SeenRows *seen, const Var *phi, Var *vars);

#endif							/* LEARN_SEEN_ROWS_H */
