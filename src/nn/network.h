/*
 * network.h
 *	  The networks that learners are made of, and the tensors they consist of.
 *
 * A multi-layer perceptron over numeric inputs and embedded categories, with
 * an optional linear path beside it ("wide and deep": Cheng et al., 2016):
 *
 *	  in  = [x, embedding_1[c_1], ..., embedding_n[c_n]]
 *	  out = head(act(layer_k(... act(layer_1(in)))))
 *		  + x skip + sum_j wide_j[c_j]					(where skip is on)
 *
 * Tensor names, in this order: "embedding.<j>" (size, width), "wide.<j>"
 * (size, outputs), "skip.weight" (inputs, outputs), "layer.<l>.weight" (in,
 * out), "layer.<l>.bias" (1, out), "layer.<l>.moments" (2, out) where layers
 * are normalised, "head.weight", "head.bias".  Weights are stored (in, out), so
 * that a row of inputs is multiplied from the left.
 *
 * Or the layers are convolutions of an image that is among the inputs: see
 * conv_network.c.  Then "layer.<l>.weight" is (9 channels, filters).
 */
#ifndef NN_NETWORK_H
#define NN_NETWORK_H

#include "nn/rng.h"
#include "nn/rows.h"
#include "nn/tape.h"

#define NETWORK_MAX_HIDDEN 8
#define TENSOR_NAME_LENGTH 48

typedef struct Embedding
{
	int			size;			/* categories, "unknown" (code 0) included */
	int			width;
	bool		rare;			/* a category has too few rows to learn a vector
								 * from */
} Embedding;

/* In the order of the words of the option network. */
typedef enum NetworkKind
{
	NETWORK_MLP,
	NETWORK_CONV4,				/* strides of 2, and the mean over pixels at the
								 * end (Finn et al. 2017) */
	NETWORK_CONV4_POOL,			/* maximum pooling, and all pixels at the end
								 * (Vinyals et al. 2016, Snell et al. 2017) */
	NETWORK_CONV4_FLAT			/* strides of 2, and all pixels at the end
								 * (Nichol et al. 2018) */
} NetworkKind;

/*
 * How layers are normalised, if at all: act((z - mean) / deviation + bias).
 * In the order of the words of the option norm.
 */
typedef enum NormKind
{
	NORM_NONE,
	NORM_BATCH,					/* over the rows at hand; rows that are predicted
								 * one by one, over the support */
	NORM_RUNNING				/* in training over the rows at hand, then by
								 * averages that were kept in training */
} NormKind;

#define CONV_LAYERS 4

typedef struct Network
{
	int			inputs;			/* numeric inputs */
	int			n_embeddings;
	const Embedding *embeddings;
	int			n_hidden;
	int			hidden[NETWORK_MAX_HIDDEN];
	UnaryKind	activation;
	int			outputs;
	bool		skip;			/* a linear path beside the layers */
	bool		given;			/* in a training: categories' effects in the
								 * linear path are given, not learned, nor are
								 * vectors of rare ones; rows have one number
								 * more than inputs, added to those effects */
	NetworkKind kind;
	NormKind	norm;
	Plane		image;			/* of a convolutional network */
	int			image_at;		/* its first input */
} Network;

/* What a training does with a tensor. */
typedef enum TensorRole
{
	TENSOR_SHARED,				/* learned by the outer loop, not adapted */
	TENSOR_ADAPTED,				/* learned by the outer loop and adapted: a
								 * task has its own */
	TENSOR_STATE,				/* not learned; a task has its own */
	TENSOR_FIXED,				/* neither: set once, when training ends */
	TENSOR_RUNNING,				/* moments of a layer's rows, an average that
								 * training keeps */
	TENSOR_MOMENTS,				/* the same, but a task has its own: those of its
								 * support; see learn/moments.h */
	TENSOR_AVERAGE,				/* an average of something else that training
								 * keeps */
	TENSOR_MEMORY				/* as TENSOR_STATE, with a row per support
								 * row: see learn/memory.h */
} TensorRole;

typedef struct Tensor
{
	char		name[TENSOR_NAME_LENGTH];
	int			rows;
	int			cols;
	TensorRole	role;
	size_t		offset;			/* of its first number in the flat vector */
	bool		by_rows;		/* a table of which a meta-iteration sees few rows,
								 * and is only ever looked up in: see
								 * nn/outer.h */
	int			column;			/* of a table: whose codes number its rows */
} Tensor;

/* Rows from which on a table of categories is by_rows. */
#define TABLE_BY_ROWS 1280

/* Does a task have its own? */
static inline bool
tensor_is_own(const Tensor *tensor)
{
	return tensor->role == TENSOR_ADAPTED || tensor->role == TENSOR_STATE || tensor->role == TENSOR_MOMENTS ||
		tensor->role == TENSOR_MEMORY;
}

/* The tensors of a learner, laid out one after the other in a flat vector. */
typedef struct TensorList
{
	Tensor	   *tensors;
	int			n;
	int			max;
	size_t		size;			/* numbers in all */
} TensorList;

/*
 * Appends a tensor and returns its position, or -1 when the list is full
 * (max) or the size overflows.
 */
extern int	tensor_add(TensorList *list, const char *name, int rows, int cols, TensorRole role);

/* Position of a name, or -1. */
extern int	tensor_find(const TensorList *list, const char *name);

/* Draws a tensor's numbers in values, normal around 0. */
extern void tensor_fill_normal(const Tensor *tensor, double deviation, Rng *rng, real *values);

/* How many tensors network_layout appends. */
extern int	network_count(const Network *net);

/* Is it learned by the outer loop's gradient? */
static inline bool
tensor_learned(const Tensor *tensor)
{
	return tensor->role == TENSOR_SHARED || tensor->role == TENSOR_ADAPTED;
}

/* Are they the moments that a layer's rows are normalised by? */
static inline bool
tensor_is_moments(const Tensor *tensor)
{
	return tensor->role == TENSOR_RUNNING || tensor->role == TENSOR_MOMENTS;
}

/* Is it an average that the outer loop keeps? */
static inline bool
tensor_averaged(const Tensor *tensor)
{
	return tensor_is_moments(tensor) || tensor->role == TENSOR_AVERAGE;
}

/*
 * Appends the network's tensors.  The layers and the head get role body, the
 * linear path's weights role linear; tables of categories are TENSOR_SHARED.
 * False when the list is full.
 */
extern bool network_layout(const Network *net, TensorRole body, TensorRole linear, TensorList *list);

/*
 * First values of all the list's tensors: He-normal layers for relu,
 * Glorot-normal otherwise; a head N(0, 1 / inputs), N(0, 0.05^2) beside a linear
 * path, 0 where it is the only layer; embeddings N(0, 0.3^2); all else 0.
 * Layers and head are smaller where tasks adapt an MLP that batches normalise:
 * see network.c.
 */
extern void network_initialise(const Network *net, const TensorList *list, Rng *rng, real *values);

/*
 * In vars, "layer.<l>.moments" may be TAPE_NONE: rows are normalised over
 * themselves then, as far as they count (see tape_weigh).
 *
 * Outputs (tasks, rows, net->outputs) for inputs x (tasks, rows, inputs) and
 * codes c (tasks, rows, n_embeddings; TAPE_NONE without embeddings).  vars
 * holds one Var per tensor of the layout, from the network's first.
 */
extern Var	network_forward(Tape *tape, const Network *net, const Var *vars, Var x, Var c);

/*
 * The same in two parts, for learners that run the layers several times on
 * the same rows: looking up categories, whose tables no task adapts, and the
 * rest.  A lookup's gradient is as large as its table, so it should be made
 * once.
 */
typedef struct NetworkInput
{
	Var			x;
	Var			in;				/* numbers and embeddings, (tasks, rows, .) */
	Var			w;				/* which rows count, for normalisation; or
								 * TAPE_NONE: all */
	Var			wide;			/* sum_j wide_j[c_j], or TAPE_NONE */
} NetworkInput;

typedef struct NetworkLayers
{
	Var			in;				/* as NetworkInput.in */
	Var			hidden;			/* the last hidden layer; in, where there is
								 * none */
	Var			out;			/* (tasks, rows, net->outputs) */
} NetworkLayers;

extern NetworkInput network_input(Tape *tape, const Network *net, const Var *vars, Var x, Var c);
extern NetworkLayers network_layers(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input);

/*
 * And the layers in three parts, for what a learner's steps do not change:
 * the last hidden layer, the linear path (x skip + wide; TAPE_NONE where
 * there is none), and the outputs from both.
 */
extern Var	network_hidden(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input);
extern Var	network_linear(Tape *tape, const Network *net, const Var *vars, const NetworkInput *input);
extern Var	network_head(Tape *tape, const Network *net, const Var *vars, Var hidden, Var linear);

/*
 * Moments of all layers over the rows themselves, whatever vars say of them:
 * moments[l] for l < net->n_hidden.  Where no row counts, those of rest, which
 * has a Var for every tensor as vars has.
 */
extern void network_moments(Tape *tape, const Network *net, const Var *vars, const Var *rest,
							const NetworkInput *input, Var *moments);

/* Position of "layer.<l>.moments" in the network's tensors. */
extern int	network_moments_at(const Network *net, int l);

/* Columns of NetworkLayers.in and .hidden. */
extern int	network_in_width(const Network *net);
extern int	network_hidden_width(const Network *net);

#endif							/* NN_NETWORK_H */
