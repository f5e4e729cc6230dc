/*
 * image.c
 *	  Images as training shows them: turned, and distorted at random.
 */
#include <math.h>
#include <string.h>

#include "nn/image.h"

#define MOST_TURN (3.14159265358979323846 / 12)
#define MOST_SCALE 0.15			/* of the logarithm */
#define MOST_SHEAR 0.15
#define MOST_SHIFT 0.1			/* of height and width */

/* uniform in [-most, most) */
static double
either_way(Rng *rng, double most)
{
	return most * (2 * rng_uniform(rng) - 1);
}

AffineMap
image_draw_map(Rng *rng, double strength, Plane plane)
{
	double		turn = either_way(rng, strength * MOST_TURN);
	double		scale_y = exp(either_way(rng, strength * MOST_SCALE));
	double		scale_x = exp(either_way(rng, strength * MOST_SCALE));
	double		shear = either_way(rng, strength * MOST_SHEAR);
	AffineMap	map;

	/* scaled, sheared along x, turned */
	map.matrix[0][0] = scale_y * (cos(turn) - shear * sin(turn));
	map.matrix[0][1] = -scale_x * sin(turn);
	map.matrix[1][0] = scale_y * (sin(turn) + shear * cos(turn));
	map.matrix[1][1] = scale_x * cos(turn);
	map.shift[0] = either_way(rng, strength * MOST_SHIFT * plane.height);
	map.shift[1] = either_way(rng, strength * MOST_SHIFT * plane.width);
	return map;
}

/* The pixel nearest to a place, from 0 to n - 1. */
static int
nearest(double place, int n)
{
	return place <= 0 ? 0 : place >= n - 1 ? n - 1 : (int) (place + 0.5);
}

void
image_distort(real *image, Plane plane, const AffineMap *map, real *scratch)
{
	double		middle_y = (plane.height - 1) / 2.0;
	double		middle_x = (plane.width - 1) / 2.0;
	real	   *to = scratch;

	for (int i = 0; i < plane.height; i++)
		for (int j = 0; j < plane.width; j++, to += plane.channels)
		{
			double		y = i - middle_y;
			double		x = j - middle_x;
			int			from_y = nearest(map->matrix[0][0] * y + map->matrix[0][1] * x + map->shift[0] + middle_y, plane.height);
			int			from_x = nearest(map->matrix[1][0] * y + map->matrix[1][1] * x + map->shift[1] + middle_x, plane.width);

			memcpy(to, image + ((size_t) from_y * plane.width + from_x) * plane.channels, plane.channels * sizeof(real));
		}
	memcpy(image, scratch, (to - scratch) * sizeof(real));
}

void
image_turn(real *image, Plane plane, int quarters, real *scratch)
{
	static const AffineMap maps[4] = {
		{{{1, 0}, {0, 1}}, {0, 0}},
		{{{0, 1}, {-1, 0}}, {0, 0}},
		{{{-1, 0}, {0, -1}}, {0, 0}},
		{{{0, -1}, {1, 0}}, {0, 0}}
	};

	if (quarters > 0)
		image_distort(image, plane, &maps[quarters], scratch);
}
