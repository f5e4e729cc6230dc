/*
 * convolution.h
 *	  Convolution of images by filters of 3 x 3 pixels, and its two gradients,
 *	  as loops over memory; ops_conv.c has them on the tape.
 *
 *	  y[i, j, f] = sum over k, l in -1 .. 1 and channels c of
 *				   x[stride i + k, stride j + l, c] w[k, l, c, f]
 *
 * with 0 for what is outside of x.  Images are row by row, pixel by pixel, the
 * channels of a pixel side by side; filters are (9 channels, filters), a patch
 * of 3 x 3 pixels likewise.
 */
#ifndef NN_CONVOLUTION_H
#define NN_CONVOLUTION_H

#include <stdbool.h>

#include "nn/plane.h"
#include "nn/real.h"

typedef struct Convolution
{
	Plane		in;				/* x, its channels those of w */
	Plane		out;			/* y, its channels the filters */
	int			stride;
	void		(*interrupt) (void);	/* called between parts of the work; or NULL */
} Convolution;

/*
 * A way to compute it, for n images and one set of filters.  All are the same
 * bilinear form <y, conv(x, w)>, so that each is a gradient of the others.
 */
typedef struct ConvolutionMethod
{
	/* Numbers of memory that the others need. */
	size_t		(*scratch) (const Convolution *c);

	/* y = conv(x, w) */
	void		(*images) (const Convolution *c, int n, const real *x, const real *w, real *y, real *scratch);

	/* The gradient of x, from that of y, g. */
	void		(*input) (const Convolution *c, int n, const real *g, const real *w, real *x, real *scratch);

	/* Adds the gradient of w, from that of y, g. */
	void		(*filters) (const Convolution *c, int n, const real *x, const real *g, real *w, real *scratch);
} ConvolutionMethod;

/* Numbers of a matrix that a cache holds. */
#define CONVOLUTION_CACHED (128 * 1024)

/* Any: conv_patches.c. */
extern const ConvolutionMethod convolution_by_patches;

/* Fewer multiplications, for some: conv_winograd.c. */
extern const ConvolutionMethod convolution_by_winograd;
extern bool winograd_fits(const Convolution *c);

/* To be called where the work may be left off. */
static inline void
convolution_pause(const Convolution *c)
{
	if (c->interrupt)
		c->interrupt();
}

/* The better of them. */
static inline const ConvolutionMethod *
convolution_method(const Convolution *c)
{
	return winograd_fits(c) ? &convolution_by_winograd : &convolution_by_patches;
}

#endif							/* NN_CONVOLUTION_H */
