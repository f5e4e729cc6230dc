/*
 * image.h
 *	  Images as training shows them: turned, and distorted at random.
 *
 * An image is height * width pixels, row by row from the top, of as many
 * numbers as it has channels (Plane).
 */
#ifndef NN_IMAGE_H
#define NN_IMAGE_H

#include "nn/rng.h"
#include "nn/tape.h"

/*
 * Where a pixel comes from: matrix * (y, x) + shift, each place in pixels from
 * the middle of the image, y downwards.
 */
typedef struct AffineMap
{
	double		matrix[2][2];
	double		shift[2];
} AffineMap;

/*
 * A random map: a turn by up to 15 degrees either way, a scale of up to 15 per
 * cent more or less in each direction, a shear of up to .15 and a shift of up
 * to a tenth of the image, each uniform, all times strength (0: the image as
 * it is).
 */
extern AffineMap image_draw_map(Rng *rng, double strength, Plane plane);

/*
 * Each pixel becomes that nearest to where the map has it from, so that no
 * shades come up that were not there; beyond the edge it is the edge's.
 * scratch holds an image.
 */
extern void image_distort(real *image, Plane plane, const AffineMap *map, real *scratch);

/* Turns a square image by so many quarters of a circle, anticlockwise. */
extern void image_turn(real *image, Plane plane, int quarters, real *scratch);

#endif							/* NN_IMAGE_H */
