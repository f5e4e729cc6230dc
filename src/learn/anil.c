/*
 * anil.c
 *	  ANIL (almost no inner loop): MAML whose steps move the head alone.
 *
 *	  W_0 = W,  W_{s+1} = W_s - alpha grad_W L_support(h(x) W_s)
 *	  theta <- Adam(grad_theta mean over tasks of L_query(h(x) W_S))
 *
 * A. Raghu, M. Raghu, S. Bengio, O. Vinyals, "Rapid learning or feature reuse?
 * Towards understanding the effectiveness of MAML", ICLR 2020.  The layers h
 * are the same for all tasks: they are run once over a task's rows, whatever
 * the number of steps, and nothing is differentiated twice through them.
 */
#include "learn/inner_loop.h"

static const InnerLoop exact = {.kind = INNER_EXACT};

static bool
anil_layout(const LearnerSpec *spec, TensorList *list)
{
	if (!network_layout(&spec->net, TENSOR_SHARED, TENSOR_SHARED, list))
		return false;
	list->tensors[tensor_find(list, "head.weight")].role = TENSOR_ADAPTED;
	list->tensors[tensor_find(list, "head.bias")].role = TENSOR_ADAPTED;
	return inner_layout(spec, list);
}

static void
anil_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
		   const RowVars *support, const Var *theta, Var *phi)
{
	inner_loop(tape, spec, list, &exact, support, NULL, theta, phi);
}

static Var
anil_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			 const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	(void) noise;
	return inner_losses(tape, spec, list, &exact, support, query, theta, progress);
}

const Learner anil_learner = {
	.name = "anil",
	.summary = "MAML whose steps move the last layer alone: small params, fast",
	.reference = "Raghu, Raghu, Bengio, Vinyals 2020",
	.defaults = "inner_steps 3; inner_lr 0.1; step_rates true",
	.layout = anil_layout,
	.initialise = network_learner_initialise,
	.begin = inner_begin,
	.adapt = anil_adapt,
	.predict = network_learner_predict,
	.episode = anil_episode,
};
