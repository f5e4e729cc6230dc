/*
 * tape.c
 *	  Building and running a tape; its gradients.
 *
 * The operations themselves, each with its derivative beside it, are in
 * ops_*.c.
 */
#include "nn/tape_private.h"

#include <string.h>

static void surrogate_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

const Operation operations[OP_COUNT] = {
	[OP_LEAF] = {"leaf", 0, NULL, NULL},
	[OP_INDEX] = {"index", 0, NULL, NULL},
	[OP_DETACH] = {"detach", 1, NULL, NULL},
	[OP_SURROGATE] = {"surrogate", 2, NULL, surrogate_backward},
	[OP_AFFINE] = {"affine", 2, affine_forward, affine_backward},
	[OP_MATMUL_SUM] = {"matmul_sum", 2, matmul_sum_forward, matmul_sum_backward},
	[OP_TRANSPOSE] = {"transpose", 1, transpose_forward, transpose_backward},
	[OP_RESHAPE] = {"reshape", 1, reshape_forward, reshape_backward},
	[OP_SOLVE] = {"solve", 2, solve_forward, solve_backward},
	[OP_AXPY] = {"axpy", 2, axpy_forward, axpy_backward},
	[OP_SCALE] = {"scale", 1, scale_forward, scale_backward},
	[OP_MULTIPLY] = {"multiply", 2, multiply_forward, multiply_backward},
	[OP_SUM] = {"sum", 1, sum_forward, sum_backward},
	[OP_EXPAND] = {"expand", 1, expand_forward, expand_backward},
	[OP_COLUMNS] = {"columns", 1, columns_forward, columns_backward},
	[OP_GATHER] = {"gather", 2, gather_forward, gather_backward},
	[OP_SCATTER] = {"scatter", 2, scatter_forward, scatter_backward},
	[OP_UNARY] = {"unary", 1, unary_forward, unary_backward},
	[OP_LOGSUMEXP] = {"logsumexp", 1, logsumexp_forward, logsumexp_backward},
	[OP_SOFTMAX] = {"softmax", 1, softmax_forward, softmax_backward},
	[OP_LEAST] = {"least", 1, least_forward, NULL},
	[OP_LSTM] = {"lstm", 1, lstm_forward, lstm_backward},
	[OP_LSTM_BACK] = {"lstm_back", 2, lstm_back_forward, lstm_back_backward},
	[OP_CONVOLVE] = {"convolve", 2, convolve_forward, convolve_backward},
	[OP_CONVOLVE_INPUT] = {"convolve_input", 2, convolve_input_forward, convolve_input_backward},
	[OP_CONVOLVE_FILTERS] = {"convolve_filters", 2, convolve_filters_forward, convolve_filters_backward},
	[OP_PICK] = {"pick", 2, pick_forward, pick_backward},
	[OP_SPREAD] = {"spread", 2, spread_forward, spread_backward},
	[OP_NORMALISE] = {"normalise", 1, normalise_forward, normalise_backward},
	[OP_NORMALISE_INPUT] = {"normalise_input", 2, normalise_input_forward, normalise_input_backward},
	[OP_NORMALISE_POOLED] = {"normalise_pooled", 1, normalise_pooled_forward, normalise_pooled_backward},
	[OP_NORMALISE_POOLED_INPUT] = {"normalise_pooled_input", 2, normalise_pooled_input_forward, normalise_pooled_input_backward},
	[OP_MOMENTS] = {"moments", 1, moments_forward, NULL},
	[OP_MASK] = {"mask", 2, mask_forward, NULL},
	[OP_FACTOR] = {"factor", 1, factor_forward, NULL},
	[OP_QUADRATIC] = {"quadratic", 2, quadratic_forward, NULL},
	[OP_CONCATENATE] = {"concatenate", 2, concatenate_forward, NULL},
};

Shape
shape(int tasks, int rows, int cols)
{
	Shape		s = {tasks, rows, cols};

	return s;
}

/* Can the elements be counted, in bytes too? */
static bool
shape_valid(Shape s)
{
	size_t		size;

	return s.tasks >= 0 && s.rows >= 0 && s.cols >= 0 &&
		!__builtin_mul_overflow((size_t) s.tasks, (size_t) s.rows, &size) &&
		!__builtin_mul_overflow(size, (size_t) s.cols, &size) &&
		!__builtin_mul_overflow(size, sizeof(double), &size);
}

/* The number of elements; 0 for a shape that no memory could hold. */
size_t
shape_size(Shape s)
{
	return shape_valid(s) ? (size_t) s.tasks * s.rows * s.cols : 0;
}

bool
shape_equal(Shape a, Shape b)
{
	return a.tasks == b.tasks && a.rows == b.rows && a.cols == b.cols;
}

static bool
dimension_common(int a, int b, int *common)
{
	*common = a == 1 ? b : a;
	return a == b || a == 1 || b == 1;
}

bool
shape_common(Shape a, Shape b, Shape *common)
{
	return dimension_common(a.tasks, b.tasks, &common->tasks) &&
		dimension_common(a.rows, b.rows, &common->rows) &&
		dimension_common(a.cols, b.cols, &common->cols);
}

void
tape_init(Tape *tape, Arena *arena)
{
	memset(tape, 0, sizeof(*tape));
	tape->arena = arena;
}

Var
tape_fault(Tape *tape, const char *fault)
{
	if (tape->fault == NULL)
		tape->fault = fault;
	return TAPE_NONE;
}

/*
 * The node that a caller's number stands for, or NULL: after a fault there may
 * be fewer than it has numbers of.
 */
static inline TapeNode *
find_node(const Tape *tape, Var v)
{
	if (tape->finished)
		v = v >= 0 && v < tape->n_built ? tape->map[v] : TAPE_NONE;
	return v >= 0 && v < tape->n_nodes ? &tape->nodes[v] : NULL;
}

Shape
tape_shape(const Tape *tape, Var v)
{
	const TapeNode *node = find_node(tape, v);

	return node == NULL ? shape(0, 0, 0) : node->shape;
}

real *
tape_data(const Tape *tape, Var v)
{
	const TapeNode *node = find_node(tape, v);

	return node == NULL ? NULL : node->data;
}

int32_t *
tape_index_data(const Tape *tape, Var v)
{
	const TapeNode *node = find_node(tape, v);

	return node == NULL ? NULL : node->index;
}

Var
tape_append(Tape *tape, OpCode op, Shape s, Var a, Var b, Var c)
{
	TapeNode   *node;

	if (tape->fault)
		return TAPE_NONE;
	if (tape->finished)
		return tape_fault(tape, "the tape is finished");
	if (!shape_valid(s))
		return tape_fault(tape, "a shape is larger than any memory");
	if ((operations[op].operands > 0 && a == TAPE_NONE) ||
		(operations[op].operands > 1 && b == TAPE_NONE))
		return tape_fault(tape, "an operand is missing");
	if (tape->n_nodes == tape->max_nodes)
	{
		/* An arena cannot give back: doubling wastes at most as much again. */
		int			max = tape->max_nodes ? 2 * tape->max_nodes : 64;
		TapeNode   *nodes = arena_alloc(tape->arena, max, sizeof(TapeNode));

		if (nodes == NULL)
			return tape_fault(tape, "out of memory");
		if (tape->n_nodes > 0)
			memcpy(nodes, tape->nodes, tape->n_nodes * sizeof(TapeNode));
		tape->nodes = nodes;
		tape->max_nodes = max;
	}
	node = &tape->nodes[tape->n_nodes];
	memset(node, 0, sizeof(*node));
	node->op = op;
	node->shape = s;
	node->in[0] = a;
	node->in[1] = b;
	node->in[2] = c;
	node->weights = TAPE_NONE;
	return tape->n_nodes++;
}

Var
tape_append_plane(Tape *tape, OpCode op, Shape s, Plane plane, Var a, Var b, Var c)
{
	Var			v = tape_append(tape, op, s, a, b, c);

	if (v != TAPE_NONE)
		tape_node(tape, v)->plane = plane;
	return v;
}

/* Has it the numbers of its first operand? */
static inline bool
is_alias(const TapeNode *node)
{
	return node->op == OP_DETACH || node->op == OP_SURROGATE;
}

static real *
numbers(Tape *tape, Shape s)
{
	real	   *data = arena_alloc(tape->arena, shape_size(s) ? shape_size(s) : 1, sizeof(real));

	if (data == NULL)
		tape_fault(tape, "out of memory");
	return data;
}

/* What an operation works with besides, shared by all. */
static size_t
scratch_needed(const Tape *tape, const TapeNode *node)
{
	switch (node->op)
	{
		case OP_CONVOLVE:
		case OP_CONVOLVE_INPUT:
		case OP_CONVOLVE_FILTERS:
			return convolve_scratch(tape, node);
		case OP_NORMALISE:
		case OP_NORMALISE_INPUT:
		case OP_MOMENTS:
			return normalise_scratch(node);
		case OP_NORMALISE_POOLED:
		case OP_NORMALISE_POOLED_INPUT:
			return normalise_pooled_scratch(node);
		default:
			return 0;
	}
}

void
tape_memory(Tape *tape, int first)
{
	size_t		scratch = tape->scratch_size;

	for (Var v = first; v < tape->n_nodes; v++)
	{
		size_t		needed = scratch_needed(tape, &tape->nodes[v]);

		scratch = needed > scratch ? needed : scratch;
	}
	if (scratch > tape->scratch_size)
	{
		tape->scratch = arena_alloc(tape->arena, scratch, sizeof(real));
		tape->scratch_size = scratch;
		if (tape->scratch == NULL)
			tape_fault(tape, "out of memory");
	}
	for (Var v = first; v < tape->n_nodes && !tape->fault; v++)
	{
		TapeNode   *node = &tape->nodes[v];

		if (node->op == OP_SOLVE && !node->factored)
			node->scratch = numbers(tape, shape(1, node->shape.rows, factor_stride(node->shape.rows)));
		if (node->data == NULL && node->op != OP_INDEX && !is_alias(node))
			node->data = numbers(tape, node->shape);
	}
	tape->n_ready = tape->n_nodes;
}

Var
tape_leaf(Tape *tape, Shape s, real *data)
{
	Var			v = tape_append(tape, OP_LEAF, s, TAPE_NONE, TAPE_NONE, TAPE_NONE);

	if (v == TAPE_NONE)
		return TAPE_NONE;
	tape->nodes[v].data = data ? data : numbers(tape, s);
	return tape->fault ? TAPE_NONE : v;
}

void
tape_weigh(Tape *tape, Var leaf, Var w)
{
	if (!tape->fault)
		tape_node(tape, leaf)->weights = w;
}

Var
tape_weights(const Tape *tape, Var leaf)
{
	return tape->fault || leaf == TAPE_NONE ? TAPE_NONE : tape_node(tape, leaf)->weights;
}

void
tape_bind(Tape *tape, Var leaf, const real *data)
{
	find_node(tape, leaf)->data = (real *) data;	/* a leaf is only read */
}

void
tape_set_level(Tape *tape, Var leaf, int level)
{
	TapeNode   *node = find_node(tape, leaf);

	if (node != NULL)
		node->level = (uint8_t) level;
}

Var
tape_index(Tape *tape, Shape s)
{
	Var			v = tape_append(tape, OP_INDEX, s, TAPE_NONE, TAPE_NONE, TAPE_NONE);

	if (v == TAPE_NONE)
		return TAPE_NONE;
	tape->nodes[v].index = arena_alloc(tape->arena, shape_size(s) ? shape_size(s) : 1, sizeof(int32_t));
	if (tape->nodes[v].index == NULL)
		return tape_fault(tape, "out of memory");
	return v;
}

Var
tape_constant(Tape *tape, real value)
{
	Var			v = tape_leaf(tape, shape(1, 1, 1), NULL);

	if (v != TAPE_NONE)
	{
		tape->nodes[v].data[0] = value;
		tape->nodes[v].constant = true;
	}
	return v;
}

Var
tape_detach(Tape *tape, Var a)
{
	return tape_append(tape, OP_DETACH, tape_shape(tape, a), a, TAPE_NONE, TAPE_NONE);
}

Var
tape_surrogate(Tape *tape, Var a, Var b)
{
	if (!tape->fault && !shape_equal(tape_shape(tape, a), tape_shape(tape, b)))
		return tape_fault(tape, "a surrogate has another shape");
	return tape_append(tape, OP_SURROGATE, tape_shape(tape, a), a, b, TAPE_NONE);
}

static void
surrogate_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	(void) tape;
	(void) v;
	if (wanted[1])
		out[1] = g;
}

/*
 * Reverse accumulation.  A node takes part when it depends on one of wrt and
 * y depends on it; only those get a gradient.
 */
void
tape_gradient(Tape *tape, Var y, const Var *wrt, int n, Var *gradients)
{
	int			n_before = tape->n_nodes;
	bool	   *depends;
	Var		   *adjoint;
	Var			one;

	for (int i = 0; i < n; i++)
	{
		gradients[i] = TAPE_NONE;
		if (wrt[i] == TAPE_NONE)
			tape_fault(tape, "gradient with respect to no node");
	}
	if (tape->fault || y == TAPE_NONE)
	{
		tape_fault(tape, "gradient of no node");
		return;
	}
	depends = arena_alloc(tape->arena, n_before, sizeof(bool));
	adjoint = arena_alloc(tape->arena, n_before, sizeof(Var));
	if (depends == NULL || adjoint == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}

	for (Var v = 0; v < n_before; v++)
		adjoint[v] = TAPE_NONE;
	for (int i = 0; i < n; i++)
		depends[wrt[i]] = true;
	for (Var v = 0; v <= y; v++)
	{
		const TapeNode *node = &tape->nodes[v];

		if (node->op == OP_DETACH)
			continue;
		for (int i = node->op == OP_SURROGATE; i < 3; i++)
			if (node->in[i] != TAPE_NONE && depends[node->in[i]])
				depends[v] = true;
	}

	one = tape_constant(tape, 1);
	adjoint[y] = tape_expand(tape, one, tape_shape(tape, y));

	for (Var v = y; v >= 0 && !tape->fault; v--)
	{
		const Operation *operation = &operations[tape->nodes[v].op];
		Var			in[3];
		Var			in_gradients[3] = {TAPE_NONE, TAPE_NONE, TAPE_NONE};
		bool		wanted[3];

		if (!depends[v] || adjoint[v] == TAPE_NONE || operation->backward == NULL)
			continue;
		for (int i = 0; i < 3; i++)
		{
			in[i] = tape->nodes[v].in[i];
			wanted[i] = in[i] != TAPE_NONE && depends[in[i]];
		}
		operation->backward(tape, v, adjoint[v], wanted, in_gradients);
		for (int i = 0; i < 3; i++)
		{
			if (in_gradients[i] == TAPE_NONE)
				continue;
			if (adjoint[in[i]] == TAPE_NONE)
				adjoint[in[i]] = in_gradients[i];
			else
				adjoint[in[i]] = tape_axpy(tape, adjoint[in[i]], 1, in_gradients[i]);
		}
	}

	for (int i = 0; i < n; i++)
	{
		gradients[i] = adjoint[wrt[i]];
		if (gradients[i] == TAPE_NONE)	/* y does not depend on it: zeros */
			gradients[i] = tape_expand(tape, tape_constant(tape, 0), tape_shape(tape, wrt[i]));
	}
}

double
node_cost(const Tape *tape, const TapeNode *node)
{
	double		size = shape_size(node->shape);
	Shape		a = node->in[0] == TAPE_NONE ? shape(1, 1, 1) : tape->nodes[node->in[0]].shape;

	switch (node->op)
	{
		case OP_AFFINE:
			return size * (node->transpose_a ? a.rows : a.cols);
		case OP_MATMUL_SUM:
			return size * a.tasks * (node->transpose_a ? a.rows : a.cols);
		case OP_SOLVE:
		case OP_FACTOR:
			return size * a.rows;
		case OP_QUADRATIC:
			return size * a.rows * a.cols;
		case OP_CONVOLVE:
		case OP_CONVOLVE_INPUT:
		case OP_CONVOLVE_FILTERS:
			return convolve_cost(tape, node);
		default:
			return size;
	}
}

double
tape_cost(const Tape *tape)
{
	double		cost = 0;

	for (Var v = 0; v < tape->n_nodes; v++)
		cost += node_cost(tape, &tape->nodes[v]);
	return cost;
}

static void
run_nodes(Tape *tape, Var first)
{
	if (!tape->fault && tape->n_ready < tape->n_nodes)
		tape_memory(tape, tape->n_ready);
	if (tape->fault)
		return;
	for (Var v = first; v < tape->n_nodes; v++)
	{
		TapeNode   *node = &tape->nodes[v];

		if (is_alias(node))
			node->data = tape->nodes[node->in[0]].data; /* no copy */
		if (operations[node->op].forward == NULL)
			continue;
		operations[node->op].forward(tape, node);
		if (tape->interrupt && !node->brief)
			tape->interrupt();
	}
}

void
tape_run(Tape *tape)
{
	run_nodes(tape, 0);
}

void
tape_run_from(Tape *tape, int level)
{
	run_nodes(tape, tape->level_start[level]);
}
