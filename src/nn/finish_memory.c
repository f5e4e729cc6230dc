/*
 * finish_memory.c
 *	  Memory for the nodes of a finished tape.
 *
 * A node's numbers are dead after the last operation that reads them, and
 * their place is then free for others; so a replay works within a region that
 * is often a tenth of what all nodes would take, and stays in a processor's
 * cache.  Places are chosen first fit, in the order of evaluation.  What is
 * kept from one run to the next keeps its place.
 */
#include "nn/tape_private.h"

#define LINE 16					/* numbers; places begin on whole lines */

typedef struct Gap
{
	size_t		from;
	size_t		size;
} Gap;

typedef struct Region
{
	Gap		   *gaps;			/* ascending, none adjacent */
	int			n;
	size_t		end;			/* numbers in all */
} Region;

static size_t
place_size(const TapeNode *node)
{
	size_t		size = shape_size(node->shape);

	return size == 0 ? LINE : (size + LINE - 1) / LINE * LINE;
}

static void
remove_gap(Region *region, int i)
{
	region->n--;
	for (; i < region->n; i++)
		region->gaps[i] = region->gaps[i + 1];
}

static size_t
take(Region *region, size_t size)
{
	size_t		from;

	for (int i = 0; i < region->n; i++)
	{
		Gap		   *gap = &region->gaps[i];

		if (gap->size < size)
			continue;
		from = gap->from;
		gap->from += size;
		gap->size -= size;
		if (gap->size == 0)
			remove_gap(region, i);
		return from;
	}
	/* a gap at the end grows */
	if (region->n > 0 && region->gaps[region->n - 1].from + region->gaps[region->n - 1].size == region->end)
	{
		from = region->gaps[region->n - 1].from;
		region->n--;
	}
	else
		from = region->end;
	region->end = from + size;
	return from;
}

static void
give_back(Region *region, size_t from, size_t size)
{
	int			i = region->n;

	while (i > 0 && region->gaps[i - 1].from > from)
		i--;
	for (int j = region->n; j > i; j--)
		region->gaps[j] = region->gaps[j - 1];
	region->gaps[i].from = from;
	region->gaps[i].size = size;
	region->n++;
	if (i + 1 < region->n && from + size == region->gaps[i + 1].from)
	{
		region->gaps[i].size += region->gaps[i + 1].size;
		remove_gap(region, i + 1);
	}
	if (i > 0 && region->gaps[i - 1].from + region->gaps[i - 1].size == from)
	{
		region->gaps[i - 1].size += region->gaps[i].size;
		remove_gap(region, i);
	}
}

/* May the result be written over its operand i? */
static bool
in_place(const Tape *tape, const TapeNode *node, int i)
{
	Var			v = node->in[i];

	if (v == TAPE_NONE || !shape_equal(tape->nodes[v].shape, node->shape))
		return false;
	switch (node->op)
	{
		case OP_AXPY:
		case OP_MULTIPLY:
		case OP_MASK:
		case OP_SCALE:
		case OP_UNARY:
			return true;
		case OP_AFFINE:
			/* a product reads what it adds tile by tile, where tiles do not overlap */
			return i == 2 && node->shape.cols % 16 == 0 && v != node->in[0] && v != node->in[1];
		default:
			return false;
	}
}

void
tape_share_memory(Tape *tape, const bool *kept)
{
	int			n = tape->n_nodes;
	Var		   *last = arena_alloc(tape->arena, n + 1, sizeof(Var));
	size_t	   *place = arena_alloc(tape->arena, n + 1, sizeof(size_t));
	Region		region = {0};
	real	   *memory;

	region.gaps = arena_alloc(tape->arena, n + 1, sizeof(Gap));
	if (last == NULL || place == NULL || region.gaps == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	for (Var v = 0; v < n; v++)
	{
		last[v] = kept[v] ? n : v;
		for (int i = 0; i < 3; i++)
		{
			Var			in = tape->nodes[v].in[i];

			if (in == TAPE_NONE)
				continue;
			/* what a higher level reads may be there from an earlier run */
			if (tape->nodes[in].level < tape->nodes[v].level)
				last[in] = n;
			else if (last[in] < v)
				last[in] = v;
		}
	}

	for (Var v = 0; v < n; v++)
	{
		const TapeNode *node = &tape->nodes[v];
		Var			given = TAPE_NONE;

		if (node->op == OP_LEAF || node->op == OP_INDEX)
			continue;
		for (int i = 0; i < 3 && given == TAPE_NONE; i++)
			if (in_place(tape, node, i) && last[node->in[i]] == v && tape->nodes[node->in[i]].op != OP_LEAF)
				given = node->in[i];
		place[v] = given != TAPE_NONE ? place[given] : take(&region, place_size(node));
		for (int i = 0; i < 3; i++)
		{
			Var			in = node->in[i];
			bool		again = (i > 0 && in == node->in[0]) || (i > 1 && in == node->in[1]);

			if (in != TAPE_NONE && in != given && !again && last[in] == v &&
				tape->nodes[in].op != OP_LEAF && tape->nodes[in].op != OP_INDEX)
				give_back(&region, place[in], place_size(&tape->nodes[in]));
		}
		if (last[v] == v)
			give_back(&region, place[v], place_size(node)); /* nobody reads it */
	}

	memory = arena_alloc(tape->arena, region.end + 1, sizeof(real));
	if (memory == NULL)
	{
		tape_fault(tape, "out of memory");
		return;
	}
	for (Var v = 0; v < n; v++)
		if (tape->nodes[v].op != OP_LEAF && tape->nodes[v].op != OP_INDEX)
			tape->nodes[v].data = memory + place[v];
	tape_memory(tape, 0);
}
