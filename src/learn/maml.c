/*
 * maml.c
 *	  Model-agnostic meta-learning, exact and first-order.
 *
 *	  phi_0 = theta,  phi_{s+1} = phi_s - alpha grad L_support(phi_s)
 *	  theta <- Adam(grad_theta mean over tasks of L_query(phi_S))
 *
 * C. Finn, P. Abbeel, S. Levine, "Model-agnostic meta-learning for fast
 * adaptation of deep networks", ICML 2017.  L is the mean over a task's rows
 * (the authors' code divides by the shots and sums over classes).
 *
 * What a task adapts are the layers and the head.  Tables of categories and
 * the linear path are learned by the outer loop alone: a handful of rows shows
 * a handful of categories, and a copy of a table per task would cost more than
 * everything else.
 */
#include "learn/inner_loop.h"

static const InnerLoop exact = {.kind = INNER_EXACT};
static const InnerLoop first_order = {.kind = INNER_FIRST_ORDER};

static bool
maml_layout(const LearnerSpec *spec, TensorList *list)
{
	return network_learner_layout(spec, list) && inner_layout(spec, list);
}

static void
maml_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
		   const RowVars *support, const Var *theta, Var *phi)
{
	inner_loop(tape, spec, list, &exact, support, NULL, theta, phi);
}

static Var
maml_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	(void) noise;
	return inner_losses(tape, spec, list, &exact, support, query, theta, progress);
}

static void
fomaml_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const Var *theta, Var *phi)
{
	inner_loop(tape, spec, list, &first_order, support, NULL, theta, phi);
}

static Var
fomaml_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			   const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	(void) noise;
	return inner_losses(tape, spec, list, &first_order, support, query, theta, progress);
}

const Learner maml_learner = {
	.name = "maml",
	.summary = "gradient steps from a learned start, trained through the steps (second order)",
	.reference = "Finn, Abbeel, Levine 2017",
	.layout = maml_layout,
	.initialise = network_learner_initialise,
	.begin = inner_begin,
	.adapt = maml_adapt,
	.predict = network_learner_predict,
	.episode = maml_episode,
};

const Learner fomaml_learner = {
	.name = "fomaml",
	.summary = "MAML without second derivatives: cheaper, nearly as good",
	.reference = "Finn, Abbeel, Levine 2017",
	.layout = maml_layout,
	.initialise = network_learner_initialise,
	.begin = inner_begin,
	.adapt = fomaml_adapt,
	.predict = network_learner_predict,
	.episode = fomaml_episode,
};
