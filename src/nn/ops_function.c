/*
 * ops_function.c
 *	  Elementwise functions with their derivatives of every order needed, and
 *	  functions of a row.
 */
#include "nn/tape_private.h"

#include <string.h>
#include <tgmath.h>

#include "nn/kernels.h"

/* ---- elementwise functions ---- */

static inline real
sigmoid(real x)
{
	return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static inline real
softplus(real x)
{
	return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

/* order-th derivative of the logistic function, from its value p */
static inline real
sigmoid_derivative(real p, int order)
{
	real		q = p * (1 - p);

	switch (order)
	{
		case 0:
			return p;
		case 1:
			return q;
		case 2:
			return q * (1 - 2 * p);
		case 3:
			return q * (1 - 6 * q);
		default:
			return q * (1 - 2 * p) * (1 - 12 * q);
	}
}

/* order-th derivative of tanh, from its value y */
static inline real
tanh_derivative(real y, int order)
{
	real		q = 1 - y * y;

	switch (order)
	{
		case 0:
			return y;
		case 1:
			return q;
		case 2:
			return -2 * y * q;
		case 3:
			return q * (6 * y * y - 2);
		default:
			return q * y * (16 - 24 * y * y);
	}
}

/* order-th derivative of x^power */
static inline real
power_derivative(real x, real power, int order)
{
	real		factor = 1;

	for (int i = 0; i < order; i++)
		factor *= power - i;
	return factor == 0 ? 0 : factor * pow(x, power - order);
}

Var
tape_unary(Tape *tape, UnaryKind kind, int order, Var a)
{
	Var			v;

	if (tape->fault)
		return TAPE_NONE;
	if (order < 0 || order > UNARY_MAX_ORDER)
		return tape_fault(tape, "no derivative of this order");
	v = tape_append(tape, OP_UNARY, tape_shape(tape, a), a, TAPE_NONE, TAPE_NONE);
	if (v != TAPE_NONE)
	{
		tape_node(tape, v)->kind = kind;
		tape_node(tape, v)->order = order;
	}
	return v;
}

void
unary_forward(const Tape *tape, const TapeNode *node)
{
	const real *a = tape_node(tape, node->in[0])->data;
	real	   *to = node->data;
	size_t		n = node_size(node);
	int			order = node->order;

	switch (node->kind)
	{
		case UNARY_RELU:
			if (order == 0)
				kernels()->relu(n, a, to);
			else
				for (size_t i = 0; i < n; i++)
					to[i] = order == 1 && a[i] > 0 ? 1 : 0;
			break;
		case UNARY_TANH:
			for (size_t i = 0; i < n; i++)
				to[i] = tanh_derivative(tanh(a[i]), order);
			break;
		case UNARY_SIGMOID:
			for (size_t i = 0; i < n; i++)
				to[i] = sigmoid_derivative(sigmoid(a[i]), order);
			break;
		case UNARY_SOFTPLUS:
			for (size_t i = 0; i < n; i++)
				to[i] = order == 0 ? softplus(a[i]) : sigmoid_derivative(sigmoid(a[i]), order - 1);
			break;
		case UNARY_EXP:
			for (size_t i = 0; i < n; i++)
				to[i] = exp(a[i]);
			break;
		case UNARY_LOG:
			for (size_t i = 0; i < n; i++)
				to[i] = order == 0 ? (real) log(a[i]) : power_derivative(a[i], -1, order - 1);
			break;
		case UNARY_RECIPROCAL:
			if (order == 0)
				kernels()->reciprocal(n, a, to);
			else
				for (size_t i = 0; i < n; i++)
					to[i] = power_derivative(a[i], -1, order);
			break;
		case UNARY_SQRT:
			if (order == 0)
				kernels()->root(n, a, to);
			else
				for (size_t i = 0; i < n; i++)
					to[i] = power_derivative(a[i], (real) 0.5, order);
			break;
		case UNARY_SQUARE:
			if (order == 0)
				kernels()->multiply(n, a, a, to);
			else
				for (size_t i = 0; i < n; i++)
					to[i] = order == 1 ? 2 * a[i] : order == 2 ? 2 : 0;
			break;
	}
}

/* y = f^(k)(a):  da = g f^(k+1)(a) */
void
unary_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);

	if (!wanted[0])
		return;
	if (node.kind == UNARY_RELU && node.order >= 1)
		return;					/* zero almost everywhere */
	out[0] = tape_multiply(tape, g, tape_unary(tape, node.kind, node.order + 1, node.in[0]));
}

/* What a product with the first derivative of relu comes to. */
void
mask_forward(const Tape *tape, const TapeNode *node)
{
	kernels()->mask(node_size(node), tape_node(tape, node->in[0])->data,
					tape_node(tape, node->in[1])->data, node->data);
}

/* ---- functions of a row ---- */

Var
tape_logsumexp(Tape *tape, Var a)
{
	Shape		s = tape_shape(tape, a);

	return tape_append(tape, OP_LOGSUMEXP, shape(s.tasks, s.rows, 1), a, TAPE_NONE, TAPE_NONE);
}

static inline real
row_maximum(const real *row, int n)
{
	real		max = row[0];

	for (int c = 1; c < n; c++)
		if (row[c] > max)
			max = row[c];
	return max;
}

void
logsumexp_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	size_t		rows = (size_t) a->shape.tasks * a->shape.rows;
	int			n = a->shape.cols;

	for (size_t r = 0; r < rows; r++)
	{
		const real *row = a->data + r * n;
		real		max = row_maximum(row, n);
		real		sum = 0;

		for (int c = 0; c < n; c++)
			sum += exp(row[c] - max);
		node->data[r] = max + log(sum);
	}
}

/* da = g softmax(a) */
void
logsumexp_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	if (wanted[0])
		out[0] = tape_multiply(tape, tape_softmax(tape, tape_node(tape, v)->in[0]), g);
}

Var
tape_softmax(Tape *tape, Var a)
{
	return tape_append(tape, OP_SOFTMAX, tape_shape(tape, a), a, TAPE_NONE, TAPE_NONE);
}

void
softmax_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	size_t		rows = (size_t) a->shape.tasks * a->shape.rows;
	int			n = a->shape.cols;

	for (size_t r = 0; r < rows; r++)
	{
		const real *row = a->data + r * n;
		real	   *to = node->data + r * n;
		real		max = row_maximum(row, n);
		real		sum = 0;

		for (int c = 0; c < n; c++)
		{
			to[c] = exp(row[c] - max);
			sum += to[c];
		}
		for (int c = 0; c < n; c++)
			to[c] /= sum;
	}
}

/* y = softmax(a):  da = y (g - sum_c g y) */
void
softmax_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	Shape		s = tape_shape(tape, v);
	Var			gy;

	if (!wanted[0])
		return;
	gy = tape_multiply(tape, g, v);
	out[0] = tape_axpy(tape, gy, -1,
					   tape_multiply(tape, v, tape_sum(tape, gy, shape(s.tasks, s.rows, 1))));
}

Var
tape_least(Tape *tape, Var a)
{
	return tape_append(tape, OP_LEAST, tape_shape(tape, a), a, TAPE_NONE, TAPE_NONE);
}

void
least_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *a = tape_node(tape, node->in[0]);
	size_t		rows = (size_t) a->shape.tasks * a->shape.rows;
	int			cols = a->shape.cols;

	memset(node->data, 0, rows * cols * sizeof(real));
	for (size_t r = 0; r < rows; r++)
	{
		const real *row = a->data + r * cols;
		int			least = 0;

		for (int c = 1; c < cols; c++)
			if (row[c] < row[least])
				least = c;
		node->data[r * cols + least] = 1;
	}
}
