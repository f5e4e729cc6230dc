/*
 * pooled.c
 *	  One network for all rows, and what can be had from it without
 *	  meta-learning.
 *
 * pooled ignores tasks.  finetune takes gradient steps on a task's rows from
 * the pooled parameters: MAML's adaptation without MAML's training.
 * single_task takes them from a random start: what a task's own rows alone
 * can tell.  Both have steps and rate chosen on validation tasks.
 */
#include "learn/inner_loop.h"

#include <string.h>

static const InnerLoop first_order = {.kind = INNER_FIRST_ORDER};

static bool
pooled_layout(const LearnerSpec *spec, TensorList *list)
{
	return network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list);
}

static void
pooled_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const Var *theta, Var *phi)
{
	(void) tape;
	(void) spec;
	(void) support;
	memcpy(phi, theta, list->n * sizeof(Var));
}

static void
finetune_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			   const RowVars *support, const Var *theta, Var *phi)
{
	inner_loop(tape, spec, list, &first_order, support, NULL, theta, phi);
}

/* Nothing else is learned here, so the linear path adapts as well. */
static bool
single_task_layout(const LearnerSpec *spec, TensorList *list)
{
	return network_layout(&spec->net, TENSOR_ADAPTED, TENSOR_ADAPTED, list);
}

const Learner pooled_learner = {
	.name = "pooled",
	.summary = "one model for all rows; ignores tasks (baseline)",
	.layout = pooled_layout,
	.initialise = network_learner_initialise,
	.adapt = pooled_adapt,
	.predict = network_learner_predict,
	.flags = LEARNER_NO_SUPPORT,
};

const Learner finetune_learner = {
	.name = "finetune",
	.summary = "the pooled model, then gradient steps on the task's rows (baseline)",
	.layout = network_learner_layout,
	.initialise = network_learner_initialise,
	.adapt = finetune_adapt,
	.predict = network_learner_predict,
	.flags = LEARNER_FIXED | LEARNER_TUNED,
};

const Learner single_task_learner = {
	.name = "single_task",
	.summary = "the task's own rows only, from a random start (baseline)",
	.layout = single_task_layout,
	.initialise = network_learner_initialise,
	.adapt = finetune_adapt,
	.predict = network_learner_predict,
	.flags = LEARNER_FIXED | LEARNER_TUNED | LEARNER_NO_POOL,
};
