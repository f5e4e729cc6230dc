/*
 * cavia.c
 *	  CAVIA (fast context adaptation via meta-learning): a task adapts a few
 *	  further inputs of the network, and nothing else.
 *
 *	  layer 1: act(x W + c U + b),  c_0 = 0
 *	  c_{s+1} = c_s - alpha grad_c L_support(c_s)
 *	  theta, U <- Adam(grad mean over tasks of L_query(c_S))
 *
 * L. Zintgraf, K. Shiarlis, V. Kurin, K. Hofmann, S. Whiteson, "Fast context
 * adaptation via meta-learning", ICML 2019.  The option context is how many
 * inputs: these numbers are all that is stored of a task.  They are the same
 * for all its rows, so c U is a shift of the first layer's bias.  The rate
 * matters little, for U scales with it.
 */
#include "learn/inner_loop.h"

#include <math.h>
#include <string.h>

#define CONTEXT "context"
#define CONTEXT_WEIGHT "context.weight" /* U: (context, width of the first layer) */

/* The bias that the context shifts. */
static const char *
first_bias(const Network *net)
{
	return net->n_hidden > 0 ? "layer.0.bias" : "head.bias";
}

/* The network that a task's context makes. */
static void
with_context(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var *vars)
{
	int			bias = tensor_find(list, first_bias(&spec->net));

	memcpy(vars, phi, list->n * sizeof(Var));
	vars[bias] = tape_affine(tape, phi[tensor_find(list, CONTEXT)], false,
							 phi[tensor_find(list, CONTEXT_WEIGHT)], false, phi[bias]);
}

static const InnerLoop exact = {.kind = INNER_EXACT, .view = with_context};

static bool
cavia_layout(const LearnerSpec *spec, TensorList *list)
{
	const Network *net = &spec->net;
	int			width = net->n_hidden > 0 ? net->hidden[0] : net->outputs;

	return network_layout(net, TENSOR_SHARED, TENSOR_SHARED, list) &&
		tensor_add(list, CONTEXT_WEIGHT, spec->options.context, width, TENSOR_SHARED) >= 0 &&
		tensor_add(list, CONTEXT, 1, spec->options.context, TENSOR_STATE) >= 0 &&
		inner_layout(spec, list);
}

/* U as if the context were inputs like the others. */
static void
cavia_initialise(const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values)
{
	const Tensor *tensor = &list->tensors[tensor_find(list, CONTEXT_WEIGHT)];
	double		deviation = sqrt(1.0 / (network_in_width(&spec->net) + spec->options.context));

	network_initialise(&spec->net, list, rng, values);
	tensor_fill_normal(tensor, deviation, rng, values);
}

static void
cavia_adapt(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			const RowVars *support, const Var *theta, Var *phi)
{
	inner_loop(tape, spec, list, &exact, support, NULL, theta, phi);
}

static Var
cavia_predict(Tape *tape, const LearnerSpec *spec, const TensorList *list, const Var *phi, Var x, Var c)
{
	Var		   *vars = arena_alloc(tape->arena, list->n, sizeof(Var));

	if (vars == NULL)
	{
		tape->fault = "out of memory";
		return TAPE_NONE;
	}
	with_context(tape, spec, list, phi, vars);
	return network_forward(tape, &spec->net, vars, x, c);
}

static Var
cavia_episode(Tape *tape, const LearnerSpec *spec, const TensorList *list,
			  const RowVars *support, const RowVars *query, const Var *theta, Var progress, Var noise)
{
	(void) noise;
	return inner_losses(tape, spec, list, &exact, support, query, theta, progress);
}

const Learner cavia_learner = {
	.name = "cavia",
	.summary = "gradient steps on a few context inputs: a task's params are these numbers",
	.reference = "Zintgraf, Shiarlis, Kurin, Hofmann, Whiteson 2019",
	.defaults = "inner_lr 1; context 5",
	.layout = cavia_layout,
	.initialise = cavia_initialise,
	.begin = inner_begin,
	.adapt = cavia_adapt,
	.predict = cavia_predict,
	.episode = cavia_episode,
};
