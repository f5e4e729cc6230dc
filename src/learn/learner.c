/*
 * learner.c
 *	  The table of learners, and the losses they share.
 */
#include "learn/learner.h"

#include <string.h>

extern const Learner maml_learner;
extern const Learner fomaml_learner;
extern const Learner reptile_learner;
extern const Learner pooled_learner;
extern const Learner random_intercept_learner;
extern const Learner finetune_learner;
extern const Learner single_task_learner;

const Learner *const learners[] = {
	&maml_learner,
	&fomaml_learner,
	&reptile_learner,
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
loss_mean(Tape *tape, LossKind kind, Var outputs, Var y, Var w)
{
	Var			rows = loss_rows(tape, kind, outputs, y);
	int			tasks = tape_shape(tape, rows).tasks;
	Var			total = tape_sum(tape, w, shape(tape_shape(tape, w).tasks, 1, 1));

	/* 1e-30 is lost in any real total, and turns 0 / 0 into 0 */
	Var			share = tape_multiply(tape, w, tape_unary(tape, UNARY_RECIPROCAL, 0,
														  tape_scale(tape, total, 1, 1e-30)));

	return tape_sum(tape, tape_multiply(tape, rows, share), shape(tasks, 1, 1));
}
