/*
 * conv_network.h
 *	  What network.c leaves to conv_network.c.
 */
#ifndef NN_CONV_NETWORK_H
#define NN_CONV_NETWORK_H

#include "nn/network.h"

/* Numbers that the layers make of an image, and inputs beside the image. */
extern int	conv_features(const Network *net);
extern int	conv_others(const Network *net);

/* Pixels of the smallest image that the kind of network can do something with. */
extern int	conv_least_side(NetworkKind kind);

/*
 * The layers' result, (tasks, rows, features + others); layer: the first
 * one's tensors.  What each layer sees before it is normalised into seen
 * (n_hidden), if it is not NULL.
 */
extern Var	conv_layers(Tape *tape, const Network *net, const Var *layer, const NetworkInput *input, Var *seen);

/*
 * What normalising by moments that are there comes to: rows times rate plus
 * shift, (1 or tasks, 1, width) each.
 */
extern void network_normalisation(Tape *tape, const Var *layer, Var *rate, Var *shift);

/* A layer's rows, normalised by its moments or, without them, over themselves, and its bias added. */
extern Var	network_normalise(Tape *tape, const Var *layer, Var rows, Var w);

#endif							/* NN_CONV_NETWORK_H */
