/*
 * inner_loop.h
 *	  Gradient steps on one task's rows, as nodes of a tape.
 */
#ifndef LEARN_INNER_LOOP_H
#define LEARN_INNER_LOOP_H

#include "learn/seen_rows.h"

typedef enum InnerKind
{
	INNER_EXACT,				/* SGD; gradients flow through its gradients */
	INNER_FIRST_ORDER,			/* SGD; they do not */
	INNER_ADAM,					/* Adam with beta1 = 0, as Reptile uses it; first
								 * order; see inner_layout_adam */
	INNER_LEARNED				/* a learned rule; first order */
} InnerKind;

/* What a learned rule is told about one tensor at one step. */
typedef struct InnerStep
{
	const LearnerSpec *spec;
	const Var  *theta;
	Var			value;			/* (tasks, rows, cols) */
	Var			gradient;		/* of the same shape; a constant, but for what is
								 * learned about rates */
	Var			loss;			/* (tasks, 1, 1), a constant */
	Var			rows;			/* weights of the task's rows, (tasks, rows, 1) */
} InnerStep;

/*
 * The tensor's next value.  memory is what the rule keeps about it from step to
 * step, TAPE_NONE at first.
 */
#define INNER_MEMORY 3
typedef Var (*InnerRule) (Tape *tape, const InnerStep *step, Var *memory);

/* What tells the learners apart that adapt by gradient steps. */
typedef struct InnerLoop
{
	InnerKind	kind;
	NetworkView view;			/* NULL: a learner's tensors are the network's */
	InnerRule	rule;			/* of INNER_LEARNED */
	double		longest;		/* a longer gradient of a task, all tensors
								 * together, is scaled down to it; 0: none is.
								 * The scale is a constant to outer gradients */
} InnerLoop;

/*
 * spec->options.inner_steps steps at rate inner_lr on the mean loss of each
 * task's rows, from theta's adapted and state tensors; the others are passed
 * on.  The steps take the rows, then the further ones (NULL: there are none),
 * and so on in turn, each in batches of inner_batch.  phi gets one Var per
 * tensor of the list; one that is a task's own has a matrix per task.  What the
 * steps do not change is computed once: with an adapted head alone, all the
 * rest.
 *
 * Learned rates and the like are used where the list has their tensors, see
 * inner_layout.
 */
extern void inner_loop(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
					   const RowVars *rows, const RowVars *further,
					   const Var *theta, Var *phi);

/*
 * Learner.episode for a learner whose adapt is inner_loop on the support: the
 * query loss after it, and with the option multi_step those after each step.
 */
extern Var	inner_losses(Tape *tape, const LearnerSpec *spec, const TensorList *list, const InnerLoop *loop,
						 const RowVars *support, const RowVars *query, const Var *theta, Var progress);

/*
 * Appends what the options ask to be learned about the steps, after the
 * tensors that they move; false when the list is full.
 *	  step_rates: "step_rate.<tensor>" (1, inner_steps), v: a rate is exp(4 v)
 *	  times inner_lr
 *	  inner_loss "shrunk": "shrink" (1, 1), v: steps descend sum of losses /
 *	  (rows + c) instead of their mean, c = 3 exp(4 v)
 * All are 0 at first.
 */
extern bool inner_layout(const LearnerSpec *spec, TensorList *list);

/* The same with a factor for every number that is moved: "rate.<tensor>", v: 1 + 10 v. */
extern bool inner_layout_elementwise(const LearnerSpec *spec, TensorList *list);

/*
 * The same with what INNER_ADAM divides by, which training keeps: an average of
 * the squares of a tensor's gradients, "second.<tensor>", and the share of
 * squares in it that were seen, "second_share" (1, 1), 0 at first.  After the
 * loop, phi has them as the steps left them, per task.
 */
extern bool inner_layout_adam(const LearnerSpec *spec, TensorList *list);

/*
 * What those averages are moved by, from theta and the phi of inner_loop: the
 * sum over the tasks of (average - what the steps saw), their gradients.
 * present: 1 for a task, 0 for the padding of a meta-batch, (tasks, 1, 1).
 */
extern void inner_average_squares(Tape *tape, const LearnerSpec *spec, const TensorList *list, Var present,
								  const Var *theta, const Var *phi, Var *gradients);

/* Learner.begin: c starts at the ratio of the variances, as for a shrunken mean. */
extern void inner_begin(const LearnerSpec *spec, const TensorList *list, double between, double within, real *values);

/* The network's layout and forward pass, as most learners use them. */
extern bool network_learner_layout(const LearnerSpec *spec, TensorList *list);
extern void network_learner_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values);
extern Var	network_learner_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list,
									const Var *phi, Var x, Var c);

#endif							/* LEARN_INNER_LOOP_H */
