/*
 * learner.c
 *	  The table of learners, and the losses they share.
 */
#include "learn/learner.h"

#include <string.h>

#include "learn/vars.h"

const Learner *const learners[] = {
	&auto_learner,
	&maml_learner,
	&fomaml_learner,
	&meta_sgd_learner,
	&anil_learner,
	&cavia_learner,
	&reptile_learner,
	&lstm_learner,
	&alpaca_learner,
	&cnp_learner,
	&vaml_learner,
	&ridge_learner,
	&prototypical_learner,
	&matching_learner,
	&mann_learner,
	&pooled_learner,
	&random_intercept_learner,
	&finetune_learner,
	&single_task_learner,
	NULL
};

const Learner *
learner_find(const char *name)
{
	for (const Learner *const *l = learners; *l; l++)
		if (strcmp((*l)->name, name) == 0)
			return *l;
	return NULL;
}

const char *
learner_closest(const char *name)
{
	Closest		closest = {name, NULL, 0};

	for (const Learner *const *l = learners; *l; l++)
		closest_offer(&closest, (*l)->name);
	return closest_found(&closest);
}

int
learner_max_tensors(const Network *net)
{
	return network_count(net) + net->n_embeddings + 48;
}

bool
learner_supports(const Learner *learner, LossKind loss)
{
	unsigned	against = loss == LOSS_SOFTMAX ? LEARNER_NO_CLASSES : loss == LOSS_SQUARED ? LEARNER_NO_NUMBERS : 0;

	return (learner->flags & against) == 0;
}

/*
 * squared: (o - y)^2;  logistic: log(1 + e^o) - o y;
 * softmax: log sum_c e^o_c - sum_c o_c y_c
 */
Var
loss_rows(Tape *tape, LossKind kind, Var outputs, Var y)
{
	Shape		s = tape_shape(tape, outputs);

	switch (kind)
	{
		case LOSS_SQUARED:
			return tape_unary(tape, UNARY_SQUARE, 0, tape_axpy(tape, outputs, -1, y));
		case LOSS_LOGISTIC:
			return tape_axpy(tape, tape_unary(tape, UNARY_SOFTPLUS, 0, outputs), -1,
							 tape_multiply(tape, outputs, y));
		case LOSS_SOFTMAX:
			return tape_axpy(tape, tape_logsumexp(tape, outputs), -1,
							 tape_sum(tape, tape_multiply(tape, outputs, y), shape(s.tasks, s.rows, 1)));
	}
	return TAPE_NONE;
}

Var
gaussian_surprise(Tape *tape, Var square, Var variance)
{
	return tape_axpy(tape, vars_divide(tape, square, variance), 1, tape_unary(tape, UNARY_LOG, 0, variance));
}

Var
surprise_rows(Tape *tape, LossKind kind, Var outputs, Var variance, Var y)
{
	Var			losses = loss_rows(tape, kind, outputs, y);

	return kind == LOSS_SQUARED ? tape_scale(tape, gaussian_surprise(tape, losses, variance), 0.5, 0) : losses;
}

/* As loss_mean, of losses that are already there, (tasks, rows, 1). */
static Var
weighted_mean(Tape *tape, Var rows, Var w)
{
	int			tasks = tape_shape(tape, rows).tasks;
	Var			total = tape_sum(tape, w, shape(tape_shape(tape, w).tasks, 1, 1));

	/* 1e-30 is lost in any real total, and turns 0 / 0 into 0 */
	Var			share = tape_multiply(tape, w, tape_unary(tape, UNARY_RECIPROCAL, 0,
														  tape_scale(tape, total, 1, 1e-30)));

	return tape_sum(tape, tape_multiply(tape, rows, share), shape(tasks, 1, 1));
}

Var
share_by_rows(Tape *tape, Var w)
{
	Var			in_task = tape_sum(tape, w, shape(tape_shape(tape, w).tasks, 1, 1));
	Var			total = tape_sum(tape, in_task, shape(1, 1, 1));
	Var			with_rows = tape_sum(tape, tape_unary(tape, UNARY_RELU, 1, in_task), shape(1, 1, 1));

	return tape_multiply(tape, with_rows,
						 tape_unary(tape, UNARY_RECIPROCAL, 0, tape_scale(tape, total, 1, 1e-30)));
}

Var
mean_by_rows(Tape *tape, Var rows, Var w)
{
	int			tasks = tape_shape(tape, rows).tasks;
	Var			share = share_by_rows(tape, w);

	return tape_multiply(tape, share, tape_sum(tape, tape_multiply(tape, rows, w), shape(tasks, 1, 1)));
}

Var
loss_mean(Tape *tape, LossKind kind, Var outputs, Var y, Var w)
{
	return weighted_mean(tape, loss_rows(tape, kind, outputs, y), w);
}

RowVars
rows_leaves(Tape *tape, const LearnerSpec *spec, int tasks, int rows)
{
	RowVars		vars;

	vars.x = tape_leaf(tape, shape(tasks, rows, spec->net.inputs + spec->net.given), NULL);
	vars.c = spec->net.n_embeddings == 0 ? TAPE_NONE :
		tape_index(tape, shape(tasks, rows, spec->net.n_embeddings));
	vars.y = tape_leaf(tape, shape(tasks, rows, spec->net.outputs), NULL);
	vars.w = tape_leaf(tape, shape(tasks, rows, 1), NULL);
	tape_weigh(tape, vars.x, vars.w);
	return vars;
}

/*
 * Copies a block of (tasks, rows, width) elements to one of wide columns,
 * zeroing what is padding.
 */
static void
copy_padded(char *to, Shape s, int wide, const char *from, const Rows *rows, int width, size_t element)
{
	size_t		to_row = wide * element;
	size_t		row = width * element;

	if (to_row == 0)
		return;
	memset(to, 0, (size_t) s.tasks * s.rows * to_row);
	for (int t = 0; t < rows->tasks; t++)
	{
		char	   *task = to + (size_t) t * s.rows * to_row;
		const char *own = from + (size_t) t * rows->rows * row;

		if (row == to_row)
			memcpy(task, own, rows->rows * row);
		else
			for (int r = 0; r < rows->rows; r++)
				memcpy(task + r * to_row, own + r * row, row);
	}
}

void
rows_copy(const Tape *tape, const RowVars *vars, const Rows *rows)
{
	Shape		s = tape_shape(tape, vars->w);

	copy_padded((char *) tape_data(tape, vars->x), s, tape_shape(tape, vars->x).cols, (const char *) rows->x, rows, rows->width.x, sizeof(real));
	copy_padded((char *) tape_data(tape, vars->y), s, rows->width.y, (const char *) rows->y, rows, rows->width.y, sizeof(real));
	copy_padded((char *) tape_data(tape, vars->w), s, 1, (const char *) rows->w, rows, 1, sizeof(real));
	if (vars->c != TAPE_NONE)
		copy_padded((char *) tape_index_data(tape, vars->c), s, rows->width.c, (const char *) rows->c, rows, rows->width.c, sizeof(int32_t));
}
