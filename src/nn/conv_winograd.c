/*
 * conv_winograd.c
 *	  Convolution with 4 multiplications where the sum has 9.
 *
 *	  Y = A' [ (G W G') * (B' X B) ] A
 *
 * for each 2 x 2 pixels Y of the result and the 4 x 4 pixels X around them,
 * one channel and filter; * is by element, and A, B, G have entries 0, +-1 and
 * +-1/2.  (A. Lavin, S. Gray, "Fast algorithms for convolutional neural
 * networks", CVPR 2016, F(2 x 2, 3 x 3).)  Summed over the channels, each of
 * the 16 elements is a product of matrices, (windows, channels) by (channels,
 * filters).  The gradient of x is a convolution by the filters turned about,
 * and that of w the same form, read the other way:
 *
 *	  dW = G' [ sum over windows of (B' X B) * (A dY A') ] G
 */
#include "nn/convolution.h"

#include <string.h>

#include "nn/kernels.h"

/* Elements of a window. */
#define ELEMENTS 16

/* Windows of x and of y at a time, in bytes, if that is one image at least. */
#define WINDOW_BYTES (1024 * 1024)

/* Whole vectors of any width: see kernels.h. */
#define VECTOR_NUMBERS 16

/* Windows of an image, and as many of what becomes of it. */
static size_t
windows_of(Plane plane)
{
	return (size_t) ((plane.height + 1) / 2) * ((plane.width + 1) / 2);
}

static size_t
filters_size(const Convolution *c)
{
	return (size_t) c->in.channels * c->out.channels;
}

/*
 * Not of filters that no cache holds, for which the kernels are not made.  Not
 * of a single window: kernels sum one row alone in another order, and an
 * image must come to the same numbers alone and among others.
 */
bool
winograd_fits(const Convolution *c)
{
	return c->stride == 1 && c->in.channels % VECTOR_NUMBERS == 0 && c->out.channels % VECTOR_NUMBERS == 0 &&
		filters_size(c) <= CONVOLUTION_CACHED && windows_of(c->in) > 1;
}

static int
images_at_once(const Convolution *c)
{
	size_t		bytes = windows_of(c->in) * ELEMENTS * (c->in.channels + c->out.channels) * sizeof(real);

	return bytes < WINDOW_BYTES ? (int) (WINDOW_BYTES / bytes) : 1;
}

/* Memory of a run. */
typedef struct Room
{
	int			images;			/* at a time */
	real	   *filters;		/* (16, channels, filters) */
	real	   *spare;			/* filters turned about; or a pixel */
	real	   *windows_x;		/* (16, windows, channels) */
	real	   *windows_y;		/* (16, windows, filters) */
} Room;

static Room
make_room(const Convolution *c, real *scratch)
{
	Room		r;

	r.images = images_at_once(c);
	r.filters = scratch;
	r.spare = r.filters + ELEMENTS * filters_size(c);
	r.windows_x = r.spare + 9 * filters_size(c);
	r.windows_y = r.windows_x + r.images * windows_of(c->in) * ELEMENTS * c->in.channels;
	return r;
}

static size_t
winograd_scratch(const Convolution *c)
{
	return (ELEMENTS + 9) * filters_size(c) +
		images_at_once(c) * windows_of(c->in) * ELEMENTS * ((size_t) c->in.channels + c->out.channels);
}

/* ---- filters ---- */

/* to = G w G' of n filters, whose pixels are w[0] to w[8]. */
static void
filters_to_windows(size_t n, const real *const w[9], real *to)
{
	for (size_t i = 0; i < n; i++)
	{
		real		t[4][3];

		for (int l = 0; l < 3; l++)
		{
			real		ends = w[l][i] + w[6 + l][i];

			t[0][l] = w[l][i];
			t[1][l] = (ends + w[3 + l][i]) / 2;
			t[2][l] = (ends - w[3 + l][i]) / 2;
			t[3][l] = w[6 + l][i];
		}
		for (int k = 0; k < 4; k++)
		{
			real	   *row = to + 4 * k * n + i;

			row[0] = t[k][0];
			row[n] = (t[k][0] + t[k][1] + t[k][2]) / 2;
			row[2 * n] = (t[k][0] - t[k][1] + t[k][2]) / 2;
			row[3 * n] = t[k][2];
		}
	}
}

/* w += G' m G of n filters */
static void
filters_from_windows(size_t n, const real *m, real *w)
{
	for (size_t i = 0; i < n; i++)
	{
		real		t[3][4];

		for (int l = 0; l < 4; l++)
		{
			const real *column = m + l * n + i;

			t[0][l] = column[0] + (column[4 * n] + column[8 * n]) / 2;
			t[1][l] = (column[4 * n] - column[8 * n]) / 2;
			t[2][l] = (column[4 * n] + column[8 * n]) / 2 + column[12 * n];
		}
		for (int k = 0; k < 3; k++)
		{
			real	   *row = w + 3 * k * n + i;

			row[0] += t[k][0] + (t[k][1] + t[k][2]) / 2;
			row[n] += (t[k][1] - t[k][2]) / 2;
			row[2 * n] += (t[k][1] + t[k][2]) / 2 + t[k][3];
		}
	}
}

/* ---- images ---- */

/*
 * Of size x size pixels, the first at row i, column j of an image: pointers to
 * those inside of it, and to spare for the others.
 */
static inline void
pixels_at(Plane plane, const real *image, int i, int j, int size, const real *spare, const real **pixels)
{
	for (int k = i; k < i + size; k++)
	{
		bool		inside = k >= 0 && k < plane.height;
		ptrdiff_t	at = ((ptrdiff_t) k * plane.width + j) * plane.channels;

		for (int l = j; l < j + size; l++, at += plane.channels)
			*pixels++ = inside && l >= 0 && l < plane.width ? image + at : spare;
	}
}

/* B' x B of the windows of n images, (16, windows, channels); spare is a pixel of 0 */
static void
images_to_windows(Plane plane, int n, const real *x, const real *spare, real *to)
{
	size_t		step = n * windows_of(plane) * plane.channels;
	const real *pixels[16];

	for (; n > 0; n--, x += plane_size(plane))
		for (int i = -1; i < plane.height - 1; i += 2)
			for (int j = -1; j < plane.width - 1; j += 2, to += plane.channels)
			{
				pixels_at(plane, x, i, j, 4, spare, pixels);
				kernels()->window_of_image(plane.channels, pixels, step, to);
			}
}

/* A y A', likewise, of what the windows give */
static void
results_to_windows(Plane plane, int n, const real *y, const real *spare, real *to)
{
	size_t		step = n * windows_of(plane) * plane.channels;
	const real *pixels[4];

	for (; n > 0; n--, y += plane_size(plane))
		for (int i = 0; i < plane.height; i += 2)
			for (int j = 0; j < plane.width; j += 2, to += plane.channels)
			{
				pixels_at(plane, y, i, j, 2, spare, pixels);
				kernels()->window_of_result(plane.channels, pixels, step, to);
			}
}

/* y = A' m A; into spare goes what is outside */
static void
results_from_windows(Plane plane, int n, const real *m, real *spare, real *y)
{
	size_t		step = n * windows_of(plane) * plane.channels;
	real	   *pixels[4];

	for (; n > 0; n--, y += plane_size(plane))
		for (int i = 0; i < plane.height; i += 2)
			for (int j = 0; j < plane.width; j += 2, m += plane.channels)
			{
				pixels_at(plane, y, i, j, 2, spare, (const real **) pixels);
				kernels()->result_of_window(plane.channels, m, step, pixels);
			}
}

/* ---- the three, for n images ---- */

/* y = conv(x, w), with r->filters of w */
static void
convolve(const Convolution *c, const Room *r, int n, const real *x, real *y)
{
	int			channels = c->in.channels;
	int			filters = c->out.channels;

	for (int done = 0; done < n; done += r->images)
	{
		int			m = n - done < r->images ? n - done : r->images;
		int			windows = (int) (m * windows_of(c->in));

		convolution_pause(c);
		memset(r->spare, 0, channels * sizeof(real));
		images_to_windows(c->in, m, x + done * plane_size(c->in), r->spare, r->windows_x);
		for (int e = 0; e < ELEMENTS; e++)
		{
			Product		p = {windows, filters, channels,
				r->windows_x + (size_t) e * windows * channels, channels, 1,
				r->filters + e * filters_size(c), filters, NULL, 0, 1, 0,
				r->windows_y + (size_t) e * windows * filters, false};

			kernels()->product(&p);
		}
		results_from_windows(c->out, m, r->windows_y, r->spare, y + done * plane_size(c->out));
	}
}

static void
winograd_images(const Convolution *c, int n, const real *x, const real *w, real *y, real *scratch)
{
	Room		r = make_room(c, scratch);
	const real *pixels[9];

	for (int i = 0; i < 9; i++)
		pixels[i] = w + i * filters_size(c);
	filters_to_windows(filters_size(c), pixels, r.filters);
	convolve(c, &r, n, x, y);
}

/* by the filters turned about, with channels and filters exchanged */
static void
winograd_input(const Convolution *c, int n, const real *g, const real *w, real *x, real *scratch)
{
	Convolution back = {c->out, c->in, c->stride, c->interrupt};
	Room		r = make_room(&back, scratch);
	const real *pixels[9];

	for (int i = 0; i < 9; i++)
	{
		real	   *turned = r.spare + i * filters_size(c);

		kernels()->transpose(c->in.channels, c->out.channels, w + i * filters_size(c), turned);
		pixels[8 - i] = turned;
	}
	filters_to_windows(filters_size(c), pixels, r.filters);
	convolve(&back, &r, n, g, x);
}

static void
winograd_filters(const Convolution *c, int n, const real *x, const real *g, real *w, real *scratch)
{
	Room		r = make_room(c, scratch);
	int			channels = c->in.channels;
	int			filters = c->out.channels;

	memset(r.filters, 0, ELEMENTS * filters_size(c) * sizeof(real));
	memset(r.spare, 0, (channels > filters ? channels : filters) * sizeof(real));
	for (int done = 0; done < n; done += r.images)
	{
		int			m = n - done < r.images ? n - done : r.images;
		int			windows = (int) (m * windows_of(c->in));

		convolution_pause(c);
		images_to_windows(c->in, m, x + done * plane_size(c->in), r.spare, r.windows_x);
		results_to_windows(c->out, m, g + done * plane_size(c->out), r.spare, r.windows_y);
		for (int e = 0; e < ELEMENTS; e++)
		{
			real	   *sum = r.filters + e * filters_size(c);
			Product		p = {channels, filters, windows,
				r.windows_x + (size_t) e * windows * channels, 1, channels,
				r.windows_y + (size_t) e * windows * filters, filters, sum, filters, 1, 1, sum, false};

			kernels()->product(&p);
		}
	}
	filters_from_windows(filters_size(c), r.filters, w);
}

const ConvolutionMethod convolution_by_winograd = {winograd_scratch, winograd_images, winograd_input, winograd_filters};
