/*
 * plane.h
 *	  The size of images, and what layers make of it.
 */
#ifndef NN_PLANE_H
#define NN_PLANE_H

#include <stddef.h>

/*
 * Images of height x width pixels of so many channels: row by row, pixel by
 * pixel, the channels of a pixel side by side.
 */
typedef struct Plane
{
	int			height;
	int			width;
	int			channels;
} Plane;

/* Numbers of an image. */
static inline size_t
plane_size(Plane plane)
{
	return (size_t) plane.height * plane.width * plane.channels;
}

/* What a convolution by so many filters makes of it. */
static inline Plane
plane_convolved(Plane plane, int stride, int filters)
{
	Plane		to = {(plane.height - 1) / stride + 1, (plane.width - 1) / stride + 1, filters};

	return to;
}

/* What pooling makes of it. */
static inline Plane
plane_pooled(Plane plane)
{
	Plane		to = {plane.height / 2, plane.width / 2, plane.channels};

	return to;
}

#endif							/* NN_PLANE_H */
