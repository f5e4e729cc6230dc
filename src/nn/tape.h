/*
 * tape.h
 *	  A reverse-mode autodiff tape whose gradients are themselves on the tape.
 *
 * A tape is a list of nodes in the order of evaluation.  Building it computes
 * nothing: each call below appends a node and returns its number.
 * tape_gradient() appends the nodes that compute a gradient, so a gradient can
 * be used and differentiated like any other node: exact second-order MAML is
 * a forward pass, a gradient, an update, another forward pass and another
 * gradient.  A built tape is replayed with tape_run() on new numbers; nothing
 * is allocated then, but for the memory of nodes that the first run is the
 * first to see.
 *
 * tape_finish() rewrites a tape that is complete: what nobody asked for is
 * not computed, equal nodes are computed once, products swallow the sums
 * around them, and nodes share memory.
 *
 * Every tensor has the shape (tasks, rows, cols).  Where two operands are
 * combined, a dimension of 1 is repeated along the other's: tasks 1 means
 * "shared by all tasks", as meta-parameters are.
 *
 * Faults: a shape that does not fit, or memory that runs out, sets
 * tape->fault once; from then on every call returns TAPE_NONE and
 * tape_run() does nothing.  Callers check tape->fault when they are done
 * building.
 */
#ifndef NN_TAPE_H
#define NN_TAPE_H

#include "nn/arena.h"
#include "nn/plane.h"

/*
 * PostgreSQL's primnodes.h has a struct of this name; whoever needs both
 * includes PostgreSQL's headers first.
 */
#define Var TapeVar
typedef int Var;				/* number of a node */

#define TAPE_NONE (-1)

typedef struct Shape
{
	int			tasks;
	int			rows;
	int			cols;
} Shape;

/* Elementwise functions; each is known together with its derivatives. */
typedef enum UnaryKind
{
	UNARY_RELU,
	UNARY_TANH,
	UNARY_SIGMOID,
	UNARY_SOFTPLUS,				/* log(1 + e^x) */
	UNARY_EXP,
	UNARY_LOG,
	UNARY_RECIPROCAL,
	UNARY_SQRT,
	UNARY_SQUARE
} UnaryKind;

/* Highest derivative that a UnaryKind has on the tape. */
#define UNARY_MAX_ORDER 4

typedef struct TapeNode TapeNode;

/* How often leaves change; see tape_set_level. */
#define TAPE_LEVELS 3

typedef struct Tape
{
	Arena	   *arena;
	TapeNode   *nodes;
	int			n_nodes;
	int			max_nodes;
	int			n_ready;		/* nodes that have their memory */
	bool		finished;		/* by tape_finish */
	int			level_start[TAPE_LEVELS];	/* finished: first node of a level */
	Var		   *map;			/* finished: the node that stands for one built,
								 * or TAPE_NONE */
	int			n_built;
	real	   *scratch;		/* of one operation at a time */
	size_t		scratch_size;
	const char *fault;			/* what went wrong while building, or NULL */
	void		(*interrupt) (void);	/* called after operations of a run, of a
										 * finished tape not after each brief
										 * one; may longjmp; may be NULL */
} Tape;

extern Shape shape(int tasks, int rows, int cols);
extern size_t shape_size(Shape s);
extern bool shape_equal(Shape a, Shape b);

extern void tape_init(Tape *tape, Arena *arena);
extern Shape tape_shape(const Tape *tape, Var v);

/* The numbers of a node: there after tape_run; writable for leaves. */
extern real *tape_data(const Tape *tape, Var v);

/* The integers of a tape_index leaf. */
extern int32_t *tape_index_data(const Tape *tape, Var v);

/* ---- leaves ---- */

/*
 * A leaf of the given shape.  With data NULL it gets memory of its own
 * (zeroed); otherwise it reads the caller's, which must stay in place.
 */
extern Var	tape_leaf(Tape *tape, Shape s, real *data);

/* Makes a leaf read other memory from the next run on. */
extern void tape_bind(Tape *tape, Var leaf, const real *data);

/*
 * Notes that the rows of a leaf count as w (tasks, rows, 1) says: not at all
 * where it is 0.  Who sees only the leaf can ask; TAPE_NONE: all count alike.
 */
extern void tape_weigh(Tape *tape, Var leaf, Var w);
extern Var	tape_weights(const Tape *tape, Var leaf);

/*
 * Tells how often a leaf changes, 0 (the least, which is where all begin) to
 * TAPE_LEVELS - 1.  A finished tape can be run from a level on: what depends on
 * leaves of lower levels alone is kept from the run before.
 */
extern void tape_set_level(Tape *tape, Var leaf, int level);

/* A leaf of integers, for tape_gather; own memory, zeroed. */
extern Var	tape_index(Tape *tape, Shape s);

/* A number everywhere: (1, 1, 1). */
extern Var	tape_constant(Tape *tape, real value);

/* ---- linear ---- */

/*
 * op(a) op(b) + c, per task; op transposes where told.  c may be TAPE_NONE
 * and is otherwise repeated to the result's shape (a bias is (., 1, m)).
 *   a (tasks, n, k), b (tasks, k, m), result (tasks, n, m).
 */
extern Var	tape_affine(Tape *tape, Var a, bool transpose_a, Var b, bool transpose_b, Var c);

/* The same without c, summed over the tasks: result (1, n, m). */
extern Var	tape_matmul_sum(Tape *tape, Var a, bool transpose_a, Var b, bool transpose_b);

/* a + scale * b, each repeated to the common shape. */
extern Var	tape_axpy(Tape *tape, Var a, real scale, Var b);

/* scale * a + offset */
extern Var	tape_scale(Tape *tape, Var a, real scale, real offset);

/* a * b elementwise, each repeated to the common shape. */
extern Var	tape_multiply(Tape *tape, Var a, Var b);

/* Sum over the dimensions in which s is 1 and a is not. */
extern Var	tape_sum(Tape *tape, Var a, Shape s);

/* Repeat a along the dimensions in which it is 1, to shape s. */
extern Var	tape_expand(Tape *tape, Var a, Shape s);

/*
 * Columns [from, from + width) of a, placed at [to, to + width) of a result
 * of cols columns whose others are 0.  A slice and a padding in one.
 */
extern Var	tape_columns(Tape *tape, Var a, int from, int width, int to, int cols);

/* a^T per task: (tasks, cols, rows) */
extern Var	tape_transpose(Tape *tape, Var a);

/* The same numbers per task in other rows: rows * cols must stay. */
extern Var	tape_reshape(Tape *tape, Var a, int rows, int cols);

/*
 * Rows of a table by number: table (1 or tasks, size, width), column col of
 * index (tasks, rows, .), result (tasks, rows, width).
 */
extern Var	tape_gather(Tape *tape, Var table, Var index, int col);

/* Does nothing of the tape so far read the leaf but gathering, as a table? */
extern bool tape_only_gathered(const Tape *tape, Var leaf);

/*
 * Solution of a X = b for symmetric positive definite a, by Cholesky.
 *   a (tasks, n, n), b (tasks, n, m).  A system that is singular by rounding is
 * solved with a little more on its diagonal.  One that is not positive definite
 * gives NaN throughout its task's X; the caller sees it as a diverged loss.
 */
extern Var	tape_solve(Tape *tape, Var a, Var b);

/*
 * ---- images: ops_conv.c, ops_pool.c ----
 *
 * A tensor of images is (tasks, images height width, channels), or (tasks,
 * images, height width channels): the same numbers in the same order.
 */

/*
 * Convolution by 3 x 3 filters with stride 1 or 2 and a border of zeros:
 *	  y[i, j, f] = sum_{k, l, c} x[stride i + k - 1, stride j + l - 1, c] w[(k, l, c), f]
 * w (1 or tasks, 9 channels, filters); result (tasks, images pixels, filters).
 */
extern Var	tape_convolve(Tape *tape, Var x, Plane plane, int stride, Var w);

/* The largest of each 2 x 2 pixels; a last odd row or column is left out. */
extern Var	tape_pool(Tape *tape, Var x, Plane plane);

/* ---- batch normalisation: ops_norm.c ---- */

#define NORM_EPSILON 1e-3

/*
 * (x - mean) / sqrt(variance + eps) + shift, with mean and variance of each
 * column over a task's rows.  x (tasks, rows space, cols); rows of which w
 * (tasks, rows, 1; TAPE_NONE: none) is 0 do not count, and are shift
 * themselves.  shift (1 or tasks, 1, cols).
 */
extern Var	tape_normalise(Tape *tape, Var x, Var w, Var shift);

/*
 * tape_pool of that.  What rises with a number is as large for the largest as
 * it can be, so that means and variances are of all pixels, and only what is
 * left is normalised.  Rows do not hold parts of images.
 */
extern Var	tape_normalise_pooled(Tape *tape, Var x, Plane plane, Var w, Var shift);

/*
 * Those means and variances, (tasks, 2, cols), for a task without rows those
 * of rest (1 or tasks, 2, cols).  No gradient flows through them.
 */
extern Var	tape_moments(Tape *tape, Var x, Var w, Var rest);

/* ---- elementwise and row functions ---- */

/* The order-th derivative of kind at a; order 0 is the function itself. */
extern Var	tape_unary(Tape *tape, UnaryKind kind, int order, Var a);

/* log of the sum of exp over the columns: (tasks, rows, 1) */
extern Var	tape_logsumexp(Tape *tape, Var a);

/* exp(a - logsumexp(a)) over the columns */
extern Var	tape_softmax(Tape *tape, Var a);

/*
 * 1 for the least of each row, else 0; of equal ones the first.  Constant
 * almost everywhere: no gradient.
 */
extern Var	tape_least(Tape *tape, Var a);

/* a, through which no gradient flows; no copy. */
extern Var	tape_detach(Tape *tape, Var a);

/*
 * a, whose gradient is that of b, of the same shape and numbers: for what is
 * better worked out in one way and differentiated in another.  No copy.
 */
extern Var	tape_surrogate(Tape *tape, Var a, Var b);

/*
 * One step of a long short-term memory (learn/lstm_cell.h): gates (tasks, rows,
 * 4 width) before the sigmoid, in the order input, forget, new, output; the
 * last state (repeated to tasks and rows; 2 width), hidden then cell, or
 * TAPE_NONE for zeros.  Result (tasks, rows, 2 width), the next state.
 */
extern Var	tape_lstm(Tape *tape, Var gates, Var last);

/* ---- gradients ---- */

/*
 * Appends the nodes that compute d(sum of all elements of y)/d(wrt[i]) and
 * stores their numbers in gradients[i], of wrt[i]'s shape.  A wrt[i] on which
 * y does not depend gets zeros.
 */
extern void tape_gradient(Tape *tape, Var y, const Var *wrt, int n, Var *gradients);

/* ---- running ---- */

/*
 * Rewrites the tape for replaying, and takes its memory.  Only the roots (a
 * TAPE_NONE among them is passed over) and the leaves can be looked at
 * afterwards, and nothing can be added.  Rounding may differ from that of the
 * tape as it was built, but is the same in every run.
 */
extern void tape_finish(Tape *tape, const Var *roots, int n);

/* About how many multiplications a run takes. */
extern double tape_cost(const Tape *tape);

/* Evaluates all nodes. */
extern void tape_run(Tape *tape);

/*
 * Evaluates what depends on leaves of this level or higher ones, of a finished
 * tape of which all was evaluated before.
 */
extern void tape_run_from(Tape *tape, int level);

#endif							/* NN_TAPE_H */
