/*
 * conv_patches.c
 *	  Convolution as products of matrices: patches of 3 x 3 pixels are laid out
 *	  as rows of one, for as many images at a time as a cache holds.
 */
#include "nn/convolution.h"

#include <string.h>

#include "nn/kernels.h"
#include "nn/tape_private.h"

/* Patches that are laid out at a time, in bytes, if that is one image at least. */
#define PATCH_BYTES (768 * 1024)

/* Numbers of a patch. */
static int
patch_size(const Convolution *c)
{
	return 9 * c->in.channels;
}

/* Patches of an image, which are pixels of the result. */
static size_t
patches_of(const Convolution *c)
{
	return (size_t) c->out.height * c->out.width;
}

/* Images at a time. */
static int
images_at_once(const Convolution *c)
{
	size_t		bytes = patches_of(c) * patch_size(c) * sizeof(real);

	return bytes < PATCH_BYTES ? (int) (PATCH_BYTES / bytes) : 1;
}

static size_t
patches_scratch(const Convolution *c)
{
	/* and the transpose of the filters */
	return images_at_once(c) * patches_of(c) * patch_size(c) + (size_t) patch_size(c) * c->out.channels + 16;
}

static inline void
copy_numbers(real *to, const real *from, int n)
{
	if (n <= 12)
		for (int i = 0; i < n; i++)
			to[i] = from[i];
	else
		memcpy(to, from, n * sizeof(real));
}

/*
 * Calls for each row k of 3 pixels of each patch: what is inside the image, as
 * offset and length in the patch's row and offset in the image.
 */
#define EACH_PATCH_ROW(g, body) \
	for (int i = 0; i < (g)->out.height; i++) \
		for (int j = 0; j < (g)->out.width; j++) \
			for (int k = 0; k < 3; k++, patch_row += width) \
			{ \
				int			y = i * (g)->stride + k - 1; \
				int			x = j * (g)->stride - 1; \
				int			first = x < 0 ? -x : 0; \
				int			last = x + 3 > (g)->in.width ? (g)->in.width - x : 3; \
				bool		inside = y >= 0 && y < (g)->in.height && first < last; \
				size_t		at = inside ? ((size_t) y * (g)->in.width + x + first) * channels : 0; \
				int			from = first * channels; \
				int			n = inside ? (last - first) * channels : 0; \
				body \
			}

/* The patches of an image as rows. */
static void
lay_out(const Convolution *g, const real *image, real *patch_row)
{
	int			channels = g->in.channels;
	int			width = 3 * channels;

	EACH_PATCH_ROW(g,
				   if (n < width)
				   memset(patch_row, 0, width * sizeof(real));
				   copy_numbers(patch_row + from, image + at, n);)
}

/* The sum of patches where they overlap, as an image. */
static void
put_back(const Convolution *g, const real *patch_row, real *image)
{
	int			channels = g->in.channels;
	int			width = 3 * channels;
	const Kernels *k_ = kernels();

	memset(image, 0, plane_size(g->in) * sizeof(real));
	EACH_PATCH_ROW(g,
				   if (n > 0)
				   k_->axpy(n, image + at, 1, patch_row + from, image + at);)
}

static void
lay_out_images(const Convolution *c, int n, const real *x, real *patches)
{
	for (int i = 0; i < n; i++)
		lay_out(c, x + i * plane_size(c->in), patches + i * patches_of(c) * patch_size(c));
}

/*
 * to (n, m) = op(a) b + c.  These are long but narrow: where b fits a cache,
 * the kernels for small matrices are faster than the library, which packs a.
 */
static void
product(const real *a, bool transpose_a, const real *b, int n, int m, int k, const real *c, real *to)
{
	if ((size_t) k * m <= CONVOLUTION_CACHED && (c == NULL || m % 16 == 0))
	{
		Product		p = {n, m, k, a, transpose_a ? 1 : k, transpose_a ? n : 1, b, m, c, m, 1, 1, to, false};

		kernels()->product(&p);
	}
	else
		run_product(a, transpose_a, b, false, n, m, k, 1, c, m, 1, to);
}

static void
patches_images(const Convolution *c, int n, const real *x, const real *w, real *y, real *scratch)
{
	int			most = images_at_once(c);

	for (int done = 0; done < n; done += most)
	{
		int			m = n - done < most ? n - done : most;

		convolution_pause(c);
		lay_out_images(c, m, x + done * plane_size(c->in), scratch);
		product(scratch, false, w, (int) (m * patches_of(c)), c->out.channels, patch_size(c),
				NULL, y + done * plane_size(c->out));
	}
}

static void
patches_input(const Convolution *c, int n, const real *g, const real *w, real *x, real *scratch)
{
	int			most = images_at_once(c);
	real	   *turned = scratch + (most * patches_of(c) * patch_size(c) + 15) / 16 * 16;

	/* a product by a transpose is slow */
	kernels()->transpose(patch_size(c), c->out.channels, w, turned);
	for (int done = 0; done < n; done += most)
	{
		int			m = n - done < most ? n - done : most;

		convolution_pause(c);
		product(g + done * plane_size(c->out), false, turned, (int) (m * patches_of(c)), patch_size(c),
				c->out.channels, NULL, scratch);
		for (int i = 0; i < m; i++)
			put_back(c, scratch + i * patches_of(c) * patch_size(c), x + (done + i) * plane_size(c->in));
	}
}

static void
patches_filters(const Convolution *c, int n, const real *x, const real *g, real *w, real *scratch)
{
	int			most = images_at_once(c);

	for (int done = 0; done < n; done += most)
	{
		int			m = n - done < most ? n - done : most;

		convolution_pause(c);
		lay_out_images(c, m, x + done * plane_size(c->in), scratch);
		product(scratch, true, g + done * plane_size(c->out), patch_size(c), c->out.channels,
				(int) (m * patches_of(c)), w, w);
	}
}

const ConvolutionMethod convolution_by_patches = {patches_scratch, patches_images, patches_input, patches_filters};
