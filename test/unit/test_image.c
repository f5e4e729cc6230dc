/*
 * test_image.c
 *	  Images that training turns and distorts, pixel by pixel.
 */
#include <string.h>

#include "nn/image.h"
#include "tap.h"

#define HEIGHT 3
#define WIDTH 4
#define SIDE 3
#define CHANNELS 2
#define DRAWS 2000

/* Every number tells its place: row, column, channel. */
static void
number(real *image, Plane p)
{
	for (int i = 0; i < p.height * p.width * p.channels; i++)
		image[i] = 100 * (i / p.channels / p.width) + 10 * (i / p.channels % p.width) + i % p.channels;
}

static bool
pixel_is(const real *image, Plane p, int y, int x, int from_y, int from_x)
{
	const real *at = image + (y * p.width + x) * p.channels;

	for (int c = 0; c < p.channels; c++)
		if (at[c] != 100 * from_y + 10 * from_x + c)
			return false;
	return true;
}

static void
test_turns(void)
{
	Plane		p = {SIDE, SIDE, CHANNELS};
	real		image[SIDE * SIDE * CHANNELS];
	real		scratch[SIDE * SIDE * CHANNELS];

	for (int quarters = 0; quarters < 4; quarters++)
	{
		bool		good = true;

		number(image, p);
		image_turn(image, p, quarters, scratch);
		for (int y = 0; y < SIDE; y++)
			for (int x = 0; x < SIDE; x++)
			{
				int			from_y = y;
				int			from_x = x;

				/* anticlockwise: what was on the right comes to the top */
				for (int turn = 0; turn < quarters; turn++)
				{
					int			old = from_y;

					from_y = from_x;
					from_x = SIDE - 1 - old;
				}
				good = good && pixel_is(image, p, y, x, from_y, from_x);
			}
		ok(good, "%d quarters of a circle", quarters);
	}
}

static void
test_maps(void)
{
	Plane		p = {HEIGHT, WIDTH, CHANNELS};
	real		image[HEIGHT * WIDTH * CHANNELS];
	real		scratch[HEIGHT * WIDTH * CHANNELS];
	AffineMap	same = {{{1, 0}, {0, 1}}, {0, 0}};
	AffineMap	moved = {{{1, 0}, {0, 1}}, {-1, 2}};
	AffineMap	mirrored = {{{1, 0}, {0, -1}}, {0, 0}};
	bool		good[3] = {true, true, true};
	const AffineMap *maps[3] = {&same, &moved, &mirrored};

	for (int m = 0; m < 3; m++)
	{
		number(image, p);
		image_distort(image, p, maps[m], scratch);
		for (int y = 0; y < HEIGHT; y++)
			for (int x = 0; x < WIDTH; x++)
			{
				int			from_y = m == 1 ? (y == 0 ? 0 : y - 1) : y;
				int			from_x = m == 0 ? x : m == 1 ? (x + 2 > WIDTH - 1 ? WIDTH - 1 : x + 2) : WIDTH - 1 - x;

				good[m] = good[m] && pixel_is(image, p, y, x, from_y, from_x);
			}
	}
	ok(good[0], "the same map leaves an image as it is");
	ok(good[1], "a shift moves it, and repeats its edge");
	ok(good[2], "columns in the opposite order mirror it, about its middle");
}

/* Over many draws each of what a map is made of comes near its bounds, and never beyond. */
static void
test_draws(void)
{
	Plane		p = {10, 20, 1};
	Rng			rng = rng_stream(0, RNG_AUGMENT, 0, 0);
	double		turn = 0,
				area = 0,
				down = 0,
				right = 0;
	AffineMap	map;

	for (int i = 0; i < DRAWS; i++)
	{
		map = image_draw_map(&rng, 1, p);
		/* the second column is not sheared */
		turn = fmax(turn, fabs(atan2(-map.matrix[0][1], map.matrix[1][1])));
		area = fmax(area, fabs(log(map.matrix[0][0] * map.matrix[1][1] - map.matrix[0][1] * map.matrix[1][0])));
		down = fmax(down, fabs(map.shift[0]));
		right = fmax(right, fabs(map.shift[1]));
	}
	ok(turn > 0.95 * M_PI / 12 && turn <= M_PI / 12, "turned by up to 15 degrees");
	ok(area > 0.9 * 0.3 && area <= 0.3 + 1e-12, "scaled by up to 15 %% in each direction");
	ok(down > 0.95 && down <= 1, "moved up or down by up to a tenth of the height");
	ok(right > 1.9 && right <= 2, "moved to the sides by up to a tenth of the width");

	map = image_draw_map(&rng, 0, p);
	ok(map.matrix[0][0] == 1 && map.matrix[0][1] == 0 && map.matrix[1][0] == 0 && map.matrix[1][1] == 1 &&
	   map.shift[0] == 0 && map.shift[1] == 0, "strength 0 changes nothing");
}

int
main(void)
{
	test_turns();
	test_maps();
	test_draws();
	return tap_done();
}
