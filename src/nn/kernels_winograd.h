/*
 * kernels_winograd.h
 *	  The kernels of conv_winograd.c, included by kernels_body.h: the channels of
 *	  some pixels in vectors, of which there is no rest.
 */

/* to = B' d B of 4 x 4 pixels */
static KERNEL_TARGET void
KERNEL(window_of_image)(int n, const real *const d[16], size_t step, real *to)
{
	typedef KERNEL(vector) V;

	for (int i = 0; i < n; i += LANES)
	{
		V			t[4][4];

		_Pragma("GCC unroll 4")
		for (int l = 0; l < 4; l++)
		{
			V			d0 = *(const V *) (d[l] + i);
			V			d1 = *(const V *) (d[4 + l] + i);
			V			d2 = *(const V *) (d[8 + l] + i);
			V			d3 = *(const V *) (d[12 + l] + i);

			t[0][l] = d0 - d2;
			t[1][l] = d1 + d2;
			t[2][l] = d2 - d1;
			t[3][l] = d1 - d3;
		}
		_Pragma("GCC unroll 4")
		for (int k = 0; k < 4; k++)
		{
			real	   *row = to + 4 * k * step + i;

			*(V *) row = t[k][0] - t[k][2];
			*(V *) (row + step) = t[k][1] + t[k][2];
			*(V *) (row + 2 * step) = t[k][2] - t[k][1];
			*(V *) (row + 3 * step) = t[k][1] - t[k][3];
		}
	}
}

/* to = A y A' of 2 x 2 pixels */
static KERNEL_TARGET void
KERNEL(window_of_result)(int n, const real *const y[4], size_t step, real *to)
{
	typedef KERNEL(vector) V;

	for (int i = 0; i < n; i += LANES)
	{
		V			t[4][2];

		_Pragma("GCC unroll 2")
		for (int l = 0; l < 2; l++)
		{
			V			y0 = *(const V *) (y[l] + i);
			V			y1 = *(const V *) (y[2 + l] + i);

			t[0][l] = y0;
			t[1][l] = y0 + y1;
			t[2][l] = y0 - y1;
			t[3][l] = -y1;
		}
		_Pragma("GCC unroll 4")
		for (int k = 0; k < 4; k++)
		{
			real	   *row = to + 4 * k * step + i;

			*(V *) row = t[k][0];
			*(V *) (row + step) = t[k][0] + t[k][1];
			*(V *) (row + 2 * step) = t[k][0] - t[k][1];
			*(V *) (row + 3 * step) = -t[k][1];
		}
	}
}

/* y = A' m A, 2 x 2 pixels */
static KERNEL_TARGET void
KERNEL(result_of_window)(int n, const real *m, size_t step, real *const y[4])
{
	typedef KERNEL(vector) V;

	for (int i = 0; i < n; i += LANES)
	{
		V			t[2][4];

		_Pragma("GCC unroll 4")
		for (int l = 0; l < 4; l++)
		{
			V			m0 = *(const V *) (m + l * step + i);
			V			m1 = *(const V *) (m + (4 + l) * step + i);
			V			m2 = *(const V *) (m + (8 + l) * step + i);
			V			m3 = *(const V *) (m + (12 + l) * step + i);

			t[0][l] = m0 + m1 + m2;
			t[1][l] = m1 - m2 - m3;
		}
		_Pragma("GCC unroll 2")
		for (int k = 0; k < 2; k++)
		{
			*(V *) (y[2 * k] + i) = t[k][0] + t[k][1] + t[k][2];
			*(V *) (y[2 * k + 1] + i) = t[k][1] - t[k][2] - t[k][3];
		}
	}
}
