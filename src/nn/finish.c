/*
 * finish.c
 *	  Rewriting a complete tape for replaying.
 *
 * The nodes that the roots need are appended to a new list in order, through
 * functions that simplify as they go (finish_rewrite.c) and take matrices of
 * low rank apart (finish_rank.c).  In a second pass products swallow the sums
 * they are used in, once.  Then what remains gets its memory (finish_memory.c).
 */
#include "nn/finish_private.h"

#include <string.h>

/* Multiplications that interrupts may wait for: some ten microseconds. */
#define INTERRUPT_COST 100000

/* ---- second pass: products swallow sums ---- */

static void
count_uses(const Tape *tape, const bool *live, int *uses)
{
	for (Var v = 0; v < tape->n_nodes; v++)
		for (int i = 0; i < 3; i++)
			if (live[v] && tape->nodes[v].in[i] != TAPE_NONE)
				uses[tape->nodes[v].in[i]]++;
}

/* Is v a product without an added term, wanted only once, of shape s? */
static bool
lone_product(const Tape *tape, Var v, const int *uses, Shape s)
{
	const TapeNode *node = &tape->nodes[v];

	return node->op == OP_AFFINE && !node->rectified && node->in[2] == TAPE_NONE && uses[v] == 1 && shape_equal(node->shape, s);
}

/*
 * Is v the sum over columns of x * (a^-1 x^T)^T, of which nothing else is
 * wanted?  Predictions' variances are.
 */
static bool
find_quadratic(const Tape *tape, Var v, const int *uses, Var *factor, Var *x)
{
	const TapeNode *nodes = tape->nodes;
	const TapeNode *sum = &nodes[v];
	const TapeNode *product;

	if (sum->op != OP_SUM || sum->shape.cols != 1 || uses[sum->in[0]] != 1)
		return false;
	product = &nodes[sum->in[0]];
	if (product->op != OP_MULTIPLY || product->shape.tasks != sum->shape.tasks || product->shape.rows != sum->shape.rows)
		return false;
	for (int side = 0; side < 2; side++)
	{
		Var			back = product->in[1 - side];
		Var			solved = nodes[back].in[0];

		*x = product->in[side];
		if (nodes[back].op != OP_TRANSPOSE || uses[back] != 1 ||
			nodes[solved].op != OP_SOLVE || !nodes[solved].factored || uses[solved] != 1 ||
			nodes[solved].shape.rows > SMALL_SYSTEM)
			continue;
		*factor = nodes[solved].in[0];
		if (nodes[nodes[solved].in[1]].op == OP_TRANSPOSE && nodes[nodes[solved].in[1]].in[0] == *x &&
			shape_equal(nodes[*x].shape, product->shape) && nodes[*factor].shape.tasks == product->shape.tasks)
			return true;
	}
	return false;
}

/* Is v the whole of another node's columns, from column `to` on? */
static bool
is_placed(const Tape *tape, Var v, int to)
{
	const TapeNode *node = &tape->nodes[v];

	return node->op == OP_COLUMNS && node->from == 0 && node->to == to &&
		node->width == tape->nodes[node->in[0]].shape.cols;
}

/* Is v a matrix's columns beside another's, as a sum of both? */
static bool
find_concatenation(const Tape *tape, Var v, Var *left, Var *right)
{
	const TapeNode *nodes = tape->nodes;
	const TapeNode *sum = &nodes[v];

	if (sum->op != OP_AXPY || sum->scale != 1)
		return false;
	for (int side = 0; side < 2; side++)
	{
		Var			a = sum->in[side];
		Var			b = sum->in[1 - side];

		if (!is_placed(tape, a, 0) || !is_placed(tape, b, nodes[a].width) || nodes[a].width + nodes[b].width != sum->shape.cols)
			continue;
		*left = nodes[a].in[0];
		*right = nodes[b].in[0];
		return true;
	}
	return false;
}

static void
fuse(Tape *tape, const bool *live, const int *uses)
{
	for (Var v = 0; v < tape->n_nodes; v++)
	{
		TapeNode   *node = &tape->nodes[v];
		TapeNode	product;
		Var			c;
		Var			factor;

		if (!live[v])
			continue;
		if (find_quadratic(tape, v, uses, &factor, &c))
		{
			node->op = OP_QUADRATIC;
			node->in[0] = factor;
			node->in[1] = c;
			continue;
		}
		if (find_concatenation(tape, v, &factor, &c))
		{
			node->op = OP_CONCATENATE;
			node->in[0] = factor;
			node->in[1] = c;
			continue;
		}
		if (node->op == OP_UNARY && node->kind == UNARY_RELU && node->order == 0 && uses[node->in[0]] == 1 &&
			tape->nodes[node->in[0]].op == OP_AFFINE && !tape->nodes[node->in[0]].rectified)
		{
			product = tape->nodes[node->in[0]];
			product.rectified = true;
			*node = product;
			continue;
		}
		if (node->op == OP_SCALE && node->offset == 0 && uses[node->in[0]] == 1 && !tape->nodes[node->in[0]].rectified &&
			(tape->nodes[node->in[0]].op == OP_AFFINE || tape->nodes[node->in[0]].op == OP_MATMUL_SUM))
		{
			product = tape->nodes[node->in[0]];
			product.scale *= node->scale;
			product.offset *= node->scale;
			*node = product;
			continue;
		}
		if (node->op != OP_AXPY)
			continue;
		if (lone_product(tape, node->in[1], uses, node->shape) &&
			tape->nodes[node->in[0]].shape.cols == node->shape.cols)
		{
			c = node->in[0];
			product = tape->nodes[node->in[1]];
			product.scale *= node->scale;
			product.offset = 1;
		}
		else if (lone_product(tape, node->in[0], uses, node->shape) &&
				 tape->nodes[node->in[1]].shape.cols == node->shape.cols)
		{
			c = node->in[1];
			product = tape->nodes[node->in[0]];
			product.offset = node->scale;
		}
		else
			continue;
		product.in[2] = c;
		*node = product;
	}
}

/* What the kept nodes need. */
static void
mark_live(const Tape *tape, const bool *kept, bool *live)
{
	memcpy(live, kept, tape->n_nodes * sizeof(bool));
	for (Var v = tape->n_nodes - 1; v >= 0; v--)
		for (int i = 0; i < 3; i++)
			if (live[v] && tape->nodes[v].in[i] != TAPE_NONE)
				live[tape->nodes[v].in[i]] = true;
}

/* Leaves out what nobody needs; kept moves along. */
static void
compact(Tape *tape, const bool *live, bool *kept, Var *moved)
{
	int			n = 0;

	for (Var v = 0; v < tape->n_nodes; v++)
	{
		moved[v] = TAPE_NONE;
		if (!live[v])
			continue;
		for (int i = 0; i < 3; i++)
			if (tape->nodes[v].in[i] != TAPE_NONE)
				tape->nodes[v].in[i] = moved[tape->nodes[v].in[i]];
		tape->nodes[n] = tape->nodes[v];
		kept[n] = kept[v];
		moved[v] = n++;
	}
	tape->n_nodes = n;
	for (Var v = 0; v < tape->n_built; v++)
		if (tape->map[v] != TAPE_NONE)
			tape->map[v] = moved[tape->map[v]];
}

/*
 * Puts what depends on leaves that seldom change first.  Operands have no
 * higher level than their node, so they stay in front of it.
 */
static void
order_by_level(Tape *tape, bool *kept, Var *moved)
{
	TapeNode   *nodes;
	bool	   *were_kept;
	int			n = 0;
	int			highest = 0;

	for (Var v = 0; v < tape->n_nodes; v++)
	{
		TapeNode   *node = &tape->nodes[v];

		for (int i = 0; i < 3; i++)
			if (node->in[i] != TAPE_NONE)
				node->level = (uint8_t) most(node->level, tape->nodes[node->in[i]].level);
		highest = most(highest, node->level);
	}
	if (highest == 0)
		return;
	nodes = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(TapeNode));
	were_kept = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(bool));
	if (nodes == NULL || were_kept == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	memcpy(nodes, tape->nodes, tape->n_nodes * sizeof(TapeNode));
	memcpy(were_kept, kept, tape->n_nodes * sizeof(bool));
	for (int level = 0; level < TAPE_LEVELS; level++)
	{
		tape->level_start[level] = n;
		for (Var v = 0; v < tape->n_nodes; v++)
			if (nodes[v].level == level)
			{
				kept[n] = were_kept[v];
				moved[v] = n++;
			}
	}
	for (Var v = 0; v < tape->n_nodes; v++)
	{
		TapeNode   *to = &tape->nodes[moved[v]];

		*to = nodes[v];
		for (int i = 0; i < 3; i++)
			if (to->in[i] != TAPE_NONE)
				to->in[i] = moved[to->in[i]];
	}
	for (Var v = 0; v < tape->n_built; v++)
		if (tape->map[v] != TAPE_NONE)
			tape->map[v] = moved[tape->map[v]];
}

/*
 * What can be settled before the first run: products, and after which
 * operations interrupts are served.
 */
static void
prepare(Tape *tape)
{
	double		since = 0;

	for (Var v = 0; v < tape->n_nodes && !tape->fault; v++)
	{
		TapeNode   *node = &tape->nodes[v];

		if (node->op == OP_AFFINE)
			affine_prepare(tape, node);
		since += node_cost(tape, node);
		node->brief = since < INTERRUPT_COST;
		if (!node->brief)
			since = 0;
	}
}

void
tape_finish(Tape *tape, const Var *roots, int n)
{
	Rewrite		rw = {0};
	bool	   *wanted = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(bool));
	bool	   *kept,
			   *live;
	int		   *uses;
	Var		   *moved;

	if (tape->fault || tape->finished)
	{
		tape_fault(tape, "the tape is finished");
		return;
	}
	rw.tape = tape;
	rw.built = tape->nodes;
	rw.n_buckets = 2 * tape->n_nodes + 1;
	rw.buckets = arena_alloc(tape->arena, rw.n_buckets, sizeof(Var));
	rw.map = tape->map = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(Var));
	if (wanted == NULL || rw.buckets == NULL || rw.map == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	for (unsigned i = 0; i < rw.n_buckets; i++)
		rw.buckets[i] = TAPE_NONE;

	for (int i = 0; i < n; i++)
		if (roots[i] != TAPE_NONE)
			wanted[roots[i]] = true;
	for (Var v = tape->n_nodes - 1; v >= 0; v--)
		for (int i = 0; i < 3; i++)
			if (wanted[v] && rw.built[v].in[i] != TAPE_NONE)
				wanted[rw.built[v].in[i]] = true;

	tape->n_built = tape->n_nodes;
	tape->nodes = NULL;
	tape->n_nodes = tape->max_nodes = 0;
	for (Var v = 0; v < tape->n_built && !tape->fault; v++)
		rw.map[v] = wanted[v] || rw.built[v].op == OP_LEAF || rw.built[v].op == OP_INDEX ?
			put_built(&rw, &rw.built[v]) : TAPE_NONE;
	if (tape->fault)
		return;

	kept = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(bool));
	live = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(bool));
	uses = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(int));
	moved = arena_alloc(tape->arena, tape->n_nodes + 1, sizeof(Var));
	if (kept == NULL || live == NULL || uses == NULL || moved == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	for (Var v = 0; v < tape->n_nodes; v++)
		kept[v] = tape->nodes[v].op == OP_LEAF || tape->nodes[v].op == OP_INDEX;
	for (int i = 0; i < n; i++)
		if (roots[i] != TAPE_NONE)
			kept[rw.map[roots[i]]] = true;
	mark_live(tape, kept, live);
	count_uses(tape, live, uses);
	for (Var v = 0; v < tape->n_nodes; v++)
		uses[v] += kept[v] ? 2 : 0;
	fuse(tape, live, uses);
	mark_live(tape, kept, live);
	compact(tape, live, kept, moved);
	order_by_level(tape, kept, moved);
	if (tape->fault)
		return;
	tape->finished = true;
	tape_share_memory(tape, kept);
	prepare(tape);
}
