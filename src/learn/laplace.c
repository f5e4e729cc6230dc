/*
 * laplace.c
 *	  The posterior of a logistic last layer, as a normal around its mode.
 *
 * Newton's steps to the mode of w, from the prior N(mean, (P + lambda I)^-1):
 *
 *	  step = H^-1 (psi' v (y - p) - (P + lambda I) (w - mean)),
 *	  H = lambda I + P + psi' v p (1 - p) psi,
 *
 * each bent so that it cannot overshoot (vars_bend); then P + psi' v p (1 - p)
 * psi at the mode (Laplace's approximation: D. J. C. MacKay, "The evidence
 * framework applied to classification networks", 1992).
 */
#include "learn/laplace.h"

#include "learn/vars.h"

#define NEWTON_STEPS 5

Var
laplace_penalised(Tape *tape, Var precision, Var penalty)
{
	Var			identity = vars_identity(tape, tape_shape(tape, precision).rows);

	precision = tape_scale(tape, tape_axpy(tape, precision, 1, tape_transpose(tape, precision)), 0.5, 0);
	return tape_axpy(tape, precision, 1, penalty == TAPE_NONE ? identity : tape_multiply(tape, identity, penalty));
}

void
laplace_adapt(Tape *tape, const RowVars *rows, Var psi, Var offset, Var penalty,
			  Var mean, Var precision, Var *mode, Var *curved)
{
	Var			prior = laplace_penalised(tape, precision, penalty);
	Var			w = mean;

	for (int step = 0;; step++)
	{
		Var			p = tape_unary(tape, UNARY_SIGMOID, 0, tape_affine(tape, psi, false, w, false, offset));
		Var			curvature = tape_multiply(tape, rows->w, vars_bernoulli_variance(tape, p));
		Var			pull;

		*curved = tape_affine(tape, tape_multiply(tape, psi, curvature), true, psi, false, precision);
		if (step == NEWTON_STEPS)
			break;
		pull = tape_multiply(tape, rows->w, tape_axpy(tape, rows->y, -1, p));
		pull = tape_affine(tape, psi, true, pull, false, TAPE_NONE);
		pull = tape_axpy(tape, pull, -1, tape_affine(tape, prior, false, tape_axpy(tape, w, -1, mean), false, TAPE_NONE));
		w = tape_axpy(tape, w, 1, vars_bend(tape, tape_solve(tape, laplace_penalised(tape, *curved, penalty), pull)));
	}
	*mode = w;
}
