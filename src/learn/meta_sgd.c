/*
 * meta_sgd.c
 *	  Meta-SGD: MAML whose every parameter has a learned rate of its own.
 *
 *	  phi_{s+1} = phi_s - a o grad L_support(phi_s)
 *	  theta, a <- Adam(grad mean over tasks of L_query(phi_S))
 *
 * Z. Li, F. Zhou, F. Chen, H. Li, "Meta-SGD: learning to learn quickly for
 * few-shot learning", 2017.  a is a vector as long as theta's adapted part: it
 * learns where to go and how far, and may turn negative.  It starts at
 * inner_lr throughout (in the paper, at random in .005 to .1), and is stored
 * as v, a = inner_lr (1 + 10 v): whatever inner_lr is, it learns as fast.
 */
#include "learn/inner_loop.h"

static const InnerLoop exact = {.kind = INNER_EXACT};

static bool
meta_sgd_layout(const LearnerSpec *spec, TensorList *list)
{
	return network_learner_layout(spec, list) && inner_layout_elementwise(spec, list);
}

static void
meta_sgd_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			   const RowVars *support, const Var *theta, Var *phi)
{
	inner_loop(tape, spec, list, &exact, support, NULL, theta, phi);
}

static Var
meta_sgd_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
				 const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	(void) noise;
	return inner_losses(tape, spec, list, &exact, support, query, theta, progress);
}

const Learner meta_sgd_learner = {
	.name = "meta_sgd",
	.summary = "MAML with a learned rate for every parameter",
	.reference = "Li, Zhou, Chen, Li 2017",
	.layout = meta_sgd_layout,
	.initialise = network_learner_initialise,
	.begin = inner_begin,
	.adapt = meta_sgd_adapt,
	.predict = network_learner_predict,
	.episode = meta_sgd_episode,
};
