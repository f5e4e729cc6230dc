/*
 * seen_rows.c
 *	  A task's rows as inner steps see them.
 */
#include "learn/seen_rows.h"

#include "learn/vars.h"

static bool
is_adapted(const TensorList *list, const char *name)
{
	int			i = tensor_find(list, name);

	return i >= 0 && list->tensors[i].role == TENSOR_ADAPTED;
}

SeenRows
see_rows(Tape *tape, const LearnerSpec *spec, const TensorList *list, NetworkView view,
		 const RowVars *rows, const Var *theta)
{
	SeenRows	seen;

	see_batches(tape, spec, list, view, rows, theta, 1, &seen);
	return seen;
}

int
count_batches(const Tape *tape, const RowVars *rows, int most)
{
	int			n = tape_shape(tape, rows->w).rows;

	return most == 0 || n <= most ? 1 : (n - 1) / most + 1;
}

void
see_batches(Tape *tape, const LearnerSpec *spec, const TensorList *list, NetworkView view,
			const RowVars *rows, const Var *theta, int n, SeenRows *batches)
{
	const Network *net = &spec->net;
	NetworkInput all = network_input(tape, net, theta, rows->x, rows->c);

	for (int i = 0; i < n; i++)
	{
		SeenRows   *seen = &batches[i];

		seen->input.x = vars_deal_rows(tape, all.x, n, i);
		seen->input.in = all.in == all.x ? seen->input.x : vars_deal_rows(tape, all.in, n, i);
		seen->input.wide = vars_deal_rows(tape, all.wide, n, i);
		seen->y = vars_deal_rows(tape, rows->y, n, i);
		seen->w = vars_deal_rows(tape, rows->w, n, i);
		seen->input.w = all.w == rows->w ? seen->w : vars_deal_rows(tape, all.w, n, i);
		seen->steps_linear = is_adapted(list, "skip.weight");
		seen->linear = seen->steps_linear ? TAPE_NONE : network_linear(tape, net, theta, &seen->input);
		seen->hidden = view || is_adapted(list, "layer.0.weight") ? TAPE_NONE :
			network_hidden(tape, net, theta, &seen->input);
	}
}

Var
seen_loss(Tape *tape, const LearnerSpec *spec, const TensorList *list, NetworkView view,
		  const SeenRows *seen, const Var *phi, Var *vars)
{
	const Network *net = &spec->net;
	Var			hidden;
	Var			linear;

	if (view)
	{
		view(tape, spec, list, phi, vars);
		phi = vars;
	}
	hidden = seen->hidden != TAPE_NONE ? seen->hidden : network_hidden(tape, net, phi, &seen->input);
	linear = seen->steps_linear ? network_linear(tape, net, phi, &seen->input) : seen->linear;
	return loss_mean(tape, spec->loss, network_head(tape, net, phi, hidden, linear), seen->y, seen->w);
}
