/*
 * tape_private.h
 *	  What the files that implement the tape share.
 */
#ifndef NN_TAPE_PRIVATE_H
#define NN_TAPE_PRIVATE_H

#include "nn/kernels.h"
#include "nn/tape.h"

typedef enum OpCode
{
	OP_LEAF,
	OP_INDEX,
	OP_DETACH,
	OP_SURROGATE,
	OP_AFFINE,
	OP_MATMUL_SUM,
	OP_TRANSPOSE,
	OP_RESHAPE,
	OP_SOLVE,
	OP_AXPY,
	OP_SCALE,
	OP_MULTIPLY,
	OP_SUM,
	OP_EXPAND,
	OP_COLUMNS,
	OP_GATHER,
	OP_SCATTER,
	OP_UNARY,
	OP_LOGSUMEXP,
	OP_SOFTMAX,
	OP_LEAST,
	OP_LSTM,
	OP_LSTM_BACK,
	OP_CONVOLVE,				/* y = conv(x, w) */
	OP_CONVOLVE_INPUT,			/* its gradient of x, from that of y and w */
	OP_CONVOLVE_FILTERS,		/* its gradient of w, from x and that of y */
	OP_PICK,					/* in[0] where in[1] is the largest of 2 x 2 */
	OP_SPREAD,					/* in[0] to where in[1] is */
	OP_NORMALISE,
	OP_NORMALISE_INPUT,			/* its gradient of x */
	OP_NORMALISE_POOLED,		/* the largest of 2 x 2 of what it makes of x */
	OP_NORMALISE_POOLED_INPUT,	/* its gradient of x */
	OP_MOMENTS,
	/* of finished tapes only */
	OP_MASK,					/* in[0] where in[1] > 0 */
	OP_FACTOR,					/* of in[0], or of in[1] + scale (in[0] +
								 * in[0]^T), to solve with */
	OP_QUADRATIC,				/* x a^-1 x^T of each row, with a's factor */
	OP_CONCATENATE,				/* columns of in[0], then those of in[1] */
	OP_COUNT
} OpCode;

/*
 * Unknowns of a linear system that is solved by loops over rows; a library
 * takes longer to begin.
 */
#define SMALL_SYSTEM FACTOR_MAX

/* Columns of a factor in memory: of a small one whole vectors of any width. */
static inline int
factor_stride(int n)
{
	return n <= SMALL_SYSTEM ? (n + 15) / 16 * 16 : n;
}

/* A tape has thousands of nodes, so what is small takes a byte. */
struct TapeNode
{
	uint8_t		op;				/* OpCode */
	uint8_t		kind;			/* OP_UNARY: UnaryKind */
	uint8_t		order;
	uint8_t		stride;			/* of a convolution */
	bool		transpose_a;	/* matrix products */
	bool		transpose_b;
	bool		factored;		/* OP_SOLVE: in[0] is the factor */
	uint8_t		level;			/* of a leaf; of any node, once finished */
	bool		constant;		/* OP_LEAF: of tape_constant */
	bool		rectified;		/* OP_AFFINE: negative numbers become 0 */
	bool		brief;			/* no interrupt need be served after it */
	Shape		shape;
	real	   *data;			/* shape_size(shape) numbers */
	union
	{
		int32_t    *index;		/* OP_INDEX */
		real	   *scratch;	/* OP_SOLVE: the factor */
		Product    *ready;		/* OP_AFFINE: all but what it reads and
								 * writes; or NULL */
	};
	Var			in[3];			/* operands, TAPE_NONE where unused */
	real		scale;			/* OP_AXPY, OP_SCALE; of a matrix product */
	real		offset;			/* OP_SCALE; of what is added to a product */
	int			from;			/* OP_COLUMNS; OP_GATHER, OP_SCATTER: the
								 * index column */
	int			width;			/* OP_COLUMNS */
	int			to;
	Plane		plane;			/* of a convolution's x, of what is pooled */
	Var			weights;		/* OP_LEAF: see tape_weigh */
};

/*
 * An operation: how it is computed, and which nodes compute the gradient of
 * its operands.  backward sets in_gradients[i] only where wanted[i]; what it
 * leaves at TAPE_NONE is zero.
 */
typedef struct Operation
{
	const char *name;
	int			operands;		/* that it cannot do without */
	void		(*forward) (const Tape *tape, const TapeNode *node);
	void		(*backward) (Tape *tape, Var node, Var gradient, const bool *wanted, Var *in_gradients);
} Operation;

extern const Operation operations[OP_COUNT];

/*
 * Appends a node and returns its number; the memory for its numbers comes
 * later, from tape_memory.  What the
 * operation needs besides is filled in through tape_node(), whose pointer is
 * good until the next append.
 */
extern Var	tape_append(Tape *tape, OpCode op, Shape s, Var a, Var b, Var c);

/* The same of an operation on images: see TapeNode.plane. */
extern Var	tape_append_plane(Tape *tape, OpCode op, Shape s, Plane plane, Var a, Var b, Var c);

/* Sets the tape's fault, if it has none yet; returns TAPE_NONE. */
extern Var	tape_fault(Tape *tape, const char *fault);

/* Gives memory to nodes from first on that have none yet. */
extern void tape_memory(Tape *tape, int first);

/* finish_memory.c: memory for a finished tape's nodes, shared where one is done with. */
extern void tape_share_memory(Tape *tape, const bool *kept);

static inline TapeNode *
tape_node(const Tape *tape, Var v)
{
	return &tape->nodes[v];
}

/* The common shape of two operands that are repeated to each other. */
extern bool shape_common(Shape a, Shape b, Shape *common);

/* Elements of a node: its shape was valid when it was appended. */
static inline size_t
node_size(const TapeNode *node)
{
	return (size_t) node->shape.tasks * node->shape.rows * node->shape.cols;
}

/* About how many multiplications a node takes. */
extern double node_cost(const Tape *tape, const TapeNode *node);

/* ops_matrix.c */

/* Notes of a finished tape's product what is the same in every run. */
extern void affine_prepare(Tape *tape, TapeNode *node);
extern void affine_forward(const Tape *tape, const TapeNode *node);
extern void affine_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void matmul_sum_forward(const Tape *tape, const TapeNode *node);
extern void matmul_sum_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void transpose_forward(const Tape *tape, const TapeNode *node);
extern void transpose_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

/* ops_solve.c */
extern void factor_forward(const Tape *tape, const TapeNode *node);
extern void quadratic_forward(const Tape *tape, const TapeNode *node);
extern void solve_forward(const Tape *tape, const TapeNode *node);
extern void solve_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

/*
 * to (n, m) = alpha op(a) op(b) + beta c, with rows of c c_row apart; c may be
 * NULL, or to.
 */
extern void run_product(const real *a, bool transpose_a, const real *b, bool transpose_b, int n, int m, int k,
						real alpha, const real *c, size_t c_row, real beta, real *to);

/* ops_shape.c */
extern void axpy_forward(const Tape *tape, const TapeNode *node);
extern void axpy_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void scale_forward(const Tape *tape, const TapeNode *node);
extern void scale_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void multiply_forward(const Tape *tape, const TapeNode *node);
extern void multiply_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void sum_forward(const Tape *tape, const TapeNode *node);
extern void sum_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void concatenate_forward(const Tape *tape, const TapeNode *node);
extern void expand_forward(const Tape *tape, const TapeNode *node);
extern void expand_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void columns_forward(const Tape *tape, const TapeNode *node);
extern void columns_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void gather_forward(const Tape *tape, const TapeNode *node);
extern void gather_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void scatter_forward(const Tape *tape, const TapeNode *node);
extern void scatter_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

extern void reshape_forward(const Tape *tape, const TapeNode *node);
extern void reshape_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

/* ops_function.c */
extern void unary_forward(const Tape *tape, const TapeNode *node);
extern void unary_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void mask_forward(const Tape *tape, const TapeNode *node);
extern void logsumexp_forward(const Tape *tape, const TapeNode *node);
extern void logsumexp_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void softmax_forward(const Tape *tape, const TapeNode *node);
extern void softmax_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void least_forward(const Tape *tape, const TapeNode *node);

/* ops_lstm.c */
extern void lstm_forward(const Tape *tape, const TapeNode *node);
extern void lstm_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void lstm_back_forward(const Tape *tape, const TapeNode *node);
extern void lstm_back_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

/* ops_conv.c */
extern size_t convolve_scratch(const Tape *tape, const TapeNode *node);
extern double convolve_cost(const Tape *tape, const TapeNode *node);
extern void convolve_forward(const Tape *tape, const TapeNode *node);
extern void convolve_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void convolve_input_forward(const Tape *tape, const TapeNode *node);
extern void convolve_input_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void convolve_filters_forward(const Tape *tape, const TapeNode *node);
extern void convolve_filters_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

/* Images per task of shape s; -1 where its numbers make no whole ones. */
extern int	count_images(Shape s, Plane plane);

/* ops_pool.c */
extern void pick_forward(const Tape *tape, const TapeNode *node);
extern void pick_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void spread_forward(const Tape *tape, const TapeNode *node);
extern void spread_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);

/* a where x is the largest of 2 x 2 pixels; a put there, and 0 elsewhere */
extern Var	tape_pick(Tape *tape, Var a, Var x, Plane plane);
extern Var	tape_spread(Tape *tape, Var a, Var x, Plane plane);

/* Are these images that can be pooled? */
extern bool images_pool(Shape s, Plane plane);

/* Where in an image the four pixels are that (i, j) of the pooled ones is of. */
typedef struct PoolWindow
{
	size_t		at[4];
} PoolWindow;

static inline PoolWindow
pool_window(Plane plane, int i, int j)
{
	size_t		row = (size_t) plane.width * plane.channels;
	size_t		first = 2 * i * row + (size_t) 2 * j * plane.channels;
	PoolWindow	window = {{first, first + plane.channels, first + row, first + row + plane.channels}};

	return window;
}

/* Row i of an image's pooled pixels. */
extern void pool_row(const real *image, Plane plane, int i, real *to);

/* ops_norm.c */
extern size_t normalise_scratch(const TapeNode *node);
extern void normalise_forward(const Tape *tape, const TapeNode *node);
extern void normalise_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void normalise_input_forward(const Tape *tape, const TapeNode *node);
extern void normalise_input_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern size_t normalise_pooled_scratch(const TapeNode *node);
extern void normalise_pooled_forward(const Tape *tape, const TapeNode *node);
extern void normalise_pooled_backward(Tape *tape, Var v, Var g, const bool *wanted, Var *out);
extern void normalise_pooled_input_forward(const Tape *tape, const TapeNode *node);
extern void normalise_pooled_input_backward(Tape *tape, Var v, Var h, const bool *wanted, Var *out);
extern void moments_forward(const Tape *tape, const TapeNode *node);

#endif							/* NN_TAPE_PRIVATE_H */
