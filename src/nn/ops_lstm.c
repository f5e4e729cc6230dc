/*
 * ops_lstm.c
 *	  A step of a long short-term memory as one operation.
 *
 *	  c' = sigma(f) c + sigma(i) tanh(g),  h' = sigma(o) tanh(c')
 *
 * It could be put together from the operations that there are; but where it
 * runs over every coordinate of a network, as in learn/lstm.c, most of the time
 * goes into reading and writing what lies between them.  The gradient is one
 * operation, too.  That operation's own gradient is rarely wanted, and is put
 * together.
 */
#include "nn/tape_private.h"

#include "nn/kernels.h"

static int
width_of(const Tape *tape, Var gates)
{
	return tape_shape(tape, gates).cols / 4;
}

Var
tape_lstm(Tape *tape, Var gates, Var last)
{
	Shape		s = tape_shape(tape, gates);

	if (tape->fault)
		return TAPE_NONE;
	if (s.cols % 4 != 0 || s.cols / 4 > LSTM_MAX_WIDTH ||
		(last != TAPE_NONE && tape_shape(tape, last).cols != s.cols / 2))
		return tape_fault(tape, "shapes do not fit in a long short-term memory");
	s.cols /= 2;
	if (last != TAPE_NONE)
		last = tape_expand(tape, last, s);
	return tape->fault ? TAPE_NONE : tape_append(tape, OP_LSTM, s, gates, last, TAPE_NONE);
}

void
lstm_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *last = node->in[1] == TAPE_NONE ? NULL : tape_node(tape, node->in[1]);

	kernels()->lstm((size_t) node->shape.tasks * node->shape.rows, node->shape.cols / 2,
					tape_node(tape, node->in[0])->data, last ? last->data : NULL, node->data);
}

void
lstm_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	Shape		s = node.shape;
	int			width = s.cols / 2;
	Var			back = tape_append(tape, OP_LSTM_BACK, shape(s.tasks, s.rows, 5 * width), node.in[0], g, node.in[1]);

	if (wanted[0])
		out[0] = tape_columns(tape, back, 0, 4 * width, 0, 4 * width);
	if (wanted[1])
		out[1] = tape_columns(tape, back, 4 * width, width, width, 2 * width);
}

void
lstm_back_forward(const Tape *tape, const TapeNode *node)
{
	const TapeNode *last = node->in[2] == TAPE_NONE ? NULL : tape_node(tape, node->in[2]);

	kernels()->lstm_back((size_t) node->shape.tasks * node->shape.rows, node->shape.cols / 5,
						 tape_node(tape, node->in[0])->data, tape_node(tape, node->in[1])->data,
						 last ? last->data : NULL, node->data);
}

static Var
gate(Tape *tape, Var gates, int which, UnaryKind kind)
{
	int			width = width_of(tape, gates);

	return tape_unary(tape, kind, 0, tape_columns(tape, gates, which * width, width, 0, width));
}

/* The step, put together. */
static Var
step(Tape *tape, Var gates, Var last)
{
	int			width = width_of(tape, gates);
	Var			cell = tape_multiply(tape, gate(tape, gates, 0, UNARY_SIGMOID), gate(tape, gates, 2, UNARY_TANH));
	Var			hidden;

	if (last != TAPE_NONE)
		cell = tape_axpy(tape, cell, 1, tape_multiply(tape, gate(tape, gates, 1, UNARY_SIGMOID),
													  tape_columns(tape, last, width, width, 0, width)));
	hidden = tape_multiply(tape, gate(tape, gates, 3, UNARY_SIGMOID), tape_unary(tape, UNARY_TANH, 0, cell));
	return tape_axpy(tape, tape_columns(tape, hidden, 0, width, 0, 2 * width), 1,
					 tape_columns(tape, cell, 0, width, width, 2 * width));
}

/*
 * The operands are copied first: gradients end at the copies, whatever the
 * operands are made of.
 */
void
lstm_back_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out)
{
	TapeNode	node = *tape_node(tape, v);
	int			width = node.shape.cols / 5;
	int			n = node.in[2] == TAPE_NONE ? 2 : 3;
	Var			copies[3] = {TAPE_NONE, TAPE_NONE, TAPE_NONE};
	Var			wrt[2];
	Var			first[2];
	Var			again[3];
	Var			back;

	for (int i = 0; i < n; i++)
		copies[i] = tape_scale(tape, node.in[i], 1, 0);
	wrt[0] = copies[0];
	wrt[1] = copies[2];
	tape_gradient(tape, tape_multiply(tape, step(tape, copies[0], copies[2]), copies[1]), wrt, n - 1, first);
	back = tape_columns(tape, first[0], 0, 4 * width, 0, 5 * width);
	if (n == 3)
		back = tape_axpy(tape, back, 1, tape_columns(tape, first[1], width, width, 4 * width, 5 * width));
	tape_gradient(tape, tape_multiply(tape, back, g), copies, n, again);
	for (int i = 0; i < n; i++)
		if (wanted[i])
			out[i] = again[i];
}
