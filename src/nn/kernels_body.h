/*
 * kernels_body.h
 *	  The kernels for one instruction set; included once for each.
 *
 *	KERNEL(name)	name with the instruction set's suffix
 *	KERNEL_TARGET	the attribute that selects it
 *	KERNEL_BYTES	of a vector register
 *	KERNEL_ROWS		rows of a tile, at most 6
 *	KERNEL_VECTORS	vectors of a tile's row, at most 4
 *
 * A tile of the result stays in registers while the inner dimension is run
 * through: each step loads a row of b's columns and multiplies it with one
 * number of a per row.
 */

#define LANES ((int) (KERNEL_BYTES / sizeof(real)))

static const Kernels KERNEL(set);

typedef real KERNEL(vector) __attribute__((vector_size(KERNEL_BYTES), aligned(sizeof(real)), may_alias));

/* A vector's positive numbers, and 0 for the others. */
#define POSITIVE(v) ((__typeof__(v)) ((v > (__typeof__(v)) {0}) & (__typeof__(v > v)) v))

/*
 * Rows [i, i + R) of V vectors of columns from j on; the last vector begins
 * at column last, where it may overlap the one before.  Whether there is a c
 * is asked for each vector: compilers would make two of a loop where it is
 * known, and round the sum with c otherwise in one of them.
 */
#define TILE(NAME, VECTOR, WIDTH, R, V) \
static KERNEL_TARGET void \
NAME(const Product *p, int i, int j, int last) \
{ \
	VECTOR		sum[R][V]; \
	const real *a = p->a + i * p->a_row; \
	const real *b = p->b + j; \
	const real *b_last = p->b + last; \
	const real *c = p->c ? p->c + i * p->c_row : NULL; \
	real	   *to = p->to + (size_t) i * p->m; \
	size_t		a_row = p->a_row; \
	size_t		a_col = p->a_col; \
	size_t		b_row = p->b_row; \
	size_t		c_row = p->c_row; \
	size_t		m = p->m; \
	real		alpha = p->alpha; \
	real		beta = p->beta; \
	int			k = p->k; \
	_Pragma("GCC unroll 8") \
	for (int r = 0; r < R; r++) \
		_Pragma("GCC unroll 8") \
		for (int v = 0; v < V; v++) \
			sum[r][v] = (VECTOR) {0}; \
	for (int q = 0; q < k; q++, a += a_col, b += b_row, b_last += b_row) \
	{ \
		VECTOR		of_b[V]; \
		_Pragma("GCC unroll 8") \
		for (int v = 0; v < V - 1; v++) \
			of_b[v] = *(const VECTOR *) (b + v * (WIDTH)); \
		of_b[V - 1] = *(const VECTOR *) b_last; \
		_Pragma("GCC unroll 8") \
		for (int r = 0; r < R; r++) \
		{ \
			real		of_a = a[r * a_row]; \
			_Pragma("GCC unroll 8") \
			for (int v = 0; v < V; v++) \
				sum[r][v] += of_a * of_b[v]; \
		} \
	} \
	_Pragma("GCC unroll 8") \
	for (int r = 0; r < R; r++) \
		_Pragma("GCC unroll 8") \
		for (int v = 0; v < V; v++) \
		{ \
			int			at = v == V - 1 ? last : j + v * (WIDTH); \
			VECTOR		result = alpha * sum[r][v]; \
			if (p->c) \
				result += beta * *(const VECTOR *) (c + r * c_row + at); \
			*(VECTOR *) (to + r * m + at) = result; \
		} \
}

/*
 * One row alone: several sums, of every so many-th step, or each step would
 * wait for the one before.  SUMS is 2 or 4.  Rectified where it is stored, as a
 * prediction's layers want it; more rows are when they are all there.
 */
#define TILE_OF_ONE(NAME, VECTOR, WIDTH, V, SUMS) \
static KERNEL_TARGET void \
NAME(const Product *p, int i, int j, int last) \
{ \
	VECTOR		sum[SUMS][V]; \
	const real *a = p->a + i * p->a_row; \
	const real *b = p->b + j; \
	const real *b_last = p->b + last; \
	const real *c = p->c ? p->c + i * p->c_row : NULL; \
	real	   *to = p->to + (size_t) i * p->m; \
	size_t		a_col = p->a_col; \
	size_t		b_row = p->b_row; \
	real		alpha = p->alpha; \
	real		beta = p->beta; \
	int			k = p->k; \
	int			q = 0; \
	_Pragma("GCC unroll 8") \
	for (int step = 0; step < SUMS; step++) \
		_Pragma("GCC unroll 8") \
		for (int v = 0; v < V; v++) \
			sum[step][v] = (VECTOR) {0}; \
	for (; q + SUMS <= k; q += SUMS, a += SUMS * a_col, b += SUMS * b_row, b_last += SUMS * b_row) \
		_Pragma("GCC unroll 4") \
		for (int step = 0; step < SUMS; step++) \
		{ \
			real		of_a = a[step * a_col]; \
			_Pragma("GCC unroll 8") \
			for (int v = 0; v < V - 1; v++) \
				sum[step][v] += of_a * *(const VECTOR *) (b + step * b_row + v * (WIDTH)); \
			sum[step][V - 1] += of_a * *(const VECTOR *) (b_last + step * b_row); \
		} \
	for (; q < k; q++, a += a_col, b += b_row, b_last += b_row) \
	{ \
		_Pragma("GCC unroll 8") \
		for (int v = 0; v < V - 1; v++) \
			sum[0][v] += *a * *(const VECTOR *) (b + v * (WIDTH)); \
		sum[0][V - 1] += *a * *(const VECTOR *) b_last; \
	} \
	_Pragma("GCC unroll 8") \
	for (int v = 0; v < V; v++) \
	{ \
		int			at = v == V - 1 ? last : j + v * (WIDTH); \
		VECTOR		total = sum[0][v] + sum[1][v]; \
		VECTOR		result; \
		if (SUMS == 4) \
			total += sum[SUMS - 2][v] + sum[SUMS - 1][v]; \
		result = alpha * total; \
		if (p->c) \
			result += beta * *(const VECTOR *) (c + at); \
		if (p->rectified) \
			result = POSITIVE(result); \
		*(VECTOR *) (to + at) = result; \
	} \
}

#define TILES(V, SUMS) \
	TILE_OF_ONE(KERNEL(tile_1_##V), KERNEL(vector), LANES, V, SUMS) \
	TILE(KERNEL(tile_2_##V), KERNEL(vector), LANES, 2, V) \
	TILE(KERNEL(tile_3_##V), KERNEL(vector), LANES, 3, V) \
	TILE(KERNEL(tile_4_##V), KERNEL(vector), LANES, 4, V) \
	TILE(KERNEL(tile_5_##V), KERNEL(vector), LANES, 5, V) \
	TILE(KERNEL(tile_6_##V), KERNEL(vector), LANES, 6, V)

TILES(1, 4)
TILES(2, 4)
#if KERNEL_VECTORS > 2
TILES(3, 2)
TILES(4, 2)
#endif

#define TILE_ROW(V) { \
	KERNEL(tile_1_##V), KERNEL(tile_2_##V), KERNEL(tile_3_##V), \
	KERNEL(tile_4_##V), KERNEL(tile_5_##V), KERNEL(tile_6_##V) }

static const TileFunction KERNEL(tiles)[KERNEL_VECTORS][KERNEL_ROWS] = {
	TILE_ROW(1),
	TILE_ROW(2),
#if KERNEL_VECTORS > 2
	TILE_ROW(3),
	TILE_ROW(4),
#endif
};

/*
 * Fewer columns than a vector has: one or two halves of a vector, or quarters;
 * two may overlap.  One row alone is summed here as it is among others, so
 * that rows added to a task's memory one after the other are the same numbers
 * as rows added together.
 */
#if KERNEL_BYTES > 32
typedef real KERNEL(half) __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));
TILE(KERNEL(half_1), KERNEL(half), 32 / (int) sizeof(real), 1, 1)
TILE(KERNEL(half_2), KERNEL(half), 32 / (int) sizeof(real), 2, 1)
TILE(KERNEL(half_3), KERNEL(half), 32 / (int) sizeof(real), 3, 1)
TILE(KERNEL(half_4), KERNEL(half), 32 / (int) sizeof(real), 4, 1)
TILE(KERNEL(half_5), KERNEL(half), 32 / (int) sizeof(real), 5, 1)
TILE(KERNEL(half_6), KERNEL(half), 32 / (int) sizeof(real), 6, 1)
TILE(KERNEL(halves_1), KERNEL(half), 32 / (int) sizeof(real), 1, 2)
TILE(KERNEL(halves_2), KERNEL(half), 32 / (int) sizeof(real), 2, 2)
TILE(KERNEL(halves_3), KERNEL(half), 32 / (int) sizeof(real), 3, 2)
TILE(KERNEL(halves_4), KERNEL(half), 32 / (int) sizeof(real), 4, 2)
TILE(KERNEL(halves_5), KERNEL(half), 32 / (int) sizeof(real), 5, 2)
TILE(KERNEL(halves_6), KERNEL(half), 32 / (int) sizeof(real), 6, 2)
static const TileFunction KERNEL(half_tiles)[2][KERNEL_ROWS] = {
	{KERNEL(half_1), KERNEL(half_2), KERNEL(half_3), KERNEL(half_4), KERNEL(half_5), KERNEL(half_6)},
	{KERNEL(halves_1), KERNEL(halves_2), KERNEL(halves_3), KERNEL(halves_4), KERNEL(halves_5), KERNEL(halves_6)}
};
#endif
#if KERNEL_BYTES > 16
typedef real KERNEL(quarter) __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));
TILE(KERNEL(quarter_1), KERNEL(quarter), 16 / (int) sizeof(real), 1, 1)
TILE(KERNEL(quarter_2), KERNEL(quarter), 16 / (int) sizeof(real), 2, 1)
TILE(KERNEL(quarter_3), KERNEL(quarter), 16 / (int) sizeof(real), 3, 1)
TILE(KERNEL(quarter_4), KERNEL(quarter), 16 / (int) sizeof(real), 4, 1)
TILE(KERNEL(quarter_5), KERNEL(quarter), 16 / (int) sizeof(real), 5, 1)
TILE(KERNEL(quarter_6), KERNEL(quarter), 16 / (int) sizeof(real), 6, 1)
TILE(KERNEL(quarters_1), KERNEL(quarter), 16 / (int) sizeof(real), 1, 2)
TILE(KERNEL(quarters_2), KERNEL(quarter), 16 / (int) sizeof(real), 2, 2)
TILE(KERNEL(quarters_3), KERNEL(quarter), 16 / (int) sizeof(real), 3, 2)
TILE(KERNEL(quarters_4), KERNEL(quarter), 16 / (int) sizeof(real), 4, 2)
TILE(KERNEL(quarters_5), KERNEL(quarter), 16 / (int) sizeof(real), 5, 2)
TILE(KERNEL(quarters_6), KERNEL(quarter), 16 / (int) sizeof(real), 6, 2)
static const TileFunction KERNEL(quarter_tiles)[2][KERNEL_ROWS] = {
	{KERNEL(quarter_1), KERNEL(quarter_2), KERNEL(quarter_3), KERNEL(quarter_4), KERNEL(quarter_5), KERNEL(quarter_6)},
	{KERNEL(quarters_1), KERNEL(quarters_2), KERNEL(quarters_3), KERNEL(quarters_4), KERNEL(quarters_5), KERNEL(quarters_6)}
};
#endif

/* All columns in tiles of one row of the table; rows in blocks of about the same size. */
static KERNEL_TARGET void
KERNEL(columns)(const Product *p, const TileFunction *tiles, int j, int last)
{
	int			blocks;

	if (p->n <= KERNEL_ROWS)
	{
		if (p->n > 0)
			tiles[p->n - 1] (p, 0, j, last);
		return;
	}
	blocks = (p->n + KERNEL_ROWS - 1) / KERNEL_ROWS;
	for (int block = 0, i = 0; block < blocks; block++)
	{
		int			rows = p->n / blocks + (block < p->n % blocks ? 1 : 0);

		tiles[rows - 1] (p, i, j, last);
		i += rows;
	}
}

/* The sum of a vector's numbers. */
static inline KERNEL_TARGET real
KERNEL(total)(KERNEL(vector) sums)
{
#ifdef SHUFFLES
	Quad		parts[LANES / 4];

	memcpy(parts, &sums, sizeof(parts));
	_Pragma("GCC unroll 4")
	for (int half = LANES / 8; half > 0; half /= 2)
		_Pragma("GCC unroll 4")
		for (int i = 0; i < half; i++)
			parts[i] += parts[i + half];
	parts[0] += __builtin_shuffle(parts[0], (QuadIndex) {2, 3, 0, 1});
	return parts[0][0] + parts[0][1];
#else
	real		sum = 0;

	for (int lane = 0; lane < LANES; lane++)
		sum += sums[lane];
	return sum;
#endif
}

/* One column: a row of a, without gaps, times a vector without gaps. */
static KERNEL_TARGET __attribute__((noinline)) void
KERNEL(dots)(const Product *p)
{
	int			whole = p->k - p->k % LANES;

	for (int i = 0; i < p->n; i++)
	{
		const real *a = p->a + i * p->a_row;
		KERNEL(vector) sums = {0};
		real		sum;

		for (int q = 0; q < whole; q += LANES)
			sums += *(const KERNEL(vector) *) (a + q) * *(const KERNEL(vector) *) (p->b + q);
		sum = KERNEL(total)(sums);
		for (int q = whole; q < p->k; q++)
			sum += a[q] * p->b[q];
		p->to[i] = p->alpha * sum + (p->c ? p->beta * p->c[i * p->c_row] : 0);
	}
}

/*
 * Very few columns: one number after the other, of several rows at a time, or
 * each sum would wait for itself.
 */
#define NARROW_ROWS 8

static inline KERNEL_TARGET void
KERNEL(narrow_rows)(const Product *p, int i, int rows)
{
	for (int j = 0; j < p->m; j++)
	{
		const real *a = p->a + i * p->a_row;
		const real *b = p->b + j;
		real		sum[NARROW_ROWS] = {0};

		for (int q = 0; q < p->k; q++, a += p->a_col, b += p->b_row)
			for (int r = 0; r < rows; r++)
				sum[r] += a[r * p->a_row] * *b;
		for (int r = 0; r < rows; r++)
			p->to[(size_t) (i + r) * p->m + j] = p->alpha * sum[r] + (p->c ? p->beta * p->c[(i + r) * p->c_row + j] : 0);
	}
}

static KERNEL_TARGET __attribute__((noinline)) void
KERNEL(narrow)(const Product *p)
{
	int			i = 0;

	for (; i + NARROW_ROWS <= p->n; i += NARROW_ROWS)
		KERNEL(narrow_rows)(p, i, NARROW_ROWS);
	for (; i < p->n; i++)
		KERNEL(narrow_rows)(p, i, 1);
}

#undef NARROW_ROWS

/* Fewer columns than a vector has. */
static KERNEL_TARGET __attribute__((noinline)) void
KERNEL(thin_product)(const Product *p)
{
	if (p->m == 1 && p->n > 1 && p->a_row == 1 && p->a_col != 1 && (p->c == NULL || p->c_row == 1))
	{
		/* a column is a row of the transposed product */
		Product		turned = *p;

		turned.n = 1;
		turned.m = p->n;
		turned.a = p->b;
		turned.a_row = 0;
		turned.a_col = p->b_row;
		turned.b = p->a;
		turned.b_row = p->a_col;
		turned.c_row = 0;
		KERNEL(set).product(&turned);
		return;
	}
#if KERNEL_BYTES > 32
	if (p->m >= LANES / 2)
	{
		KERNEL(columns)(p, KERNEL(half_tiles)[p->m > LANES / 2], 0, p->m - LANES / 2);
		return;
	}
#endif
#if KERNEL_BYTES > 16
	if (p->m >= 16 / (int) sizeof(real))
	{
		int			width = 16 / sizeof(real);
		int			j = 0;

		for (; j + 2 * width < p->m; j += width)
			KERNEL(columns)(p, KERNEL(quarter_tiles)[0], j, j);
		KERNEL(columns)(p, KERNEL(quarter_tiles)[j + width < p->m], j, p->m - width);
		return;
	}
#endif
	if (p->m == 1 && p->a_col == 1 && p->b_row == 1)
		KERNEL(dots)(p);
	else
		KERNEL(narrow)(p);
}

static KERNEL_TARGET void
KERNEL(wide_product)(const Product *p)
{
	int			vectors = (p->m + LANES - 1) / LANES;
	int			chunks;

	if (vectors <= KERNEL_VECTORS)
	{
		KERNEL(columns)(p, KERNEL(tiles)[vectors - 1], 0, p->m - LANES);
		return;
	}
	chunks = (vectors + KERNEL_VECTORS - 1) / KERNEL_VECTORS;
	for (int chunk = 0, at = 0; chunk < chunks; chunk++)
	{
		int			v = vectors / chunks + (chunk < vectors % chunks ? 1 : 0);
		int			last = (at + v - 1) * LANES;

		if (last > p->m - LANES)
			last = p->m - LANES;
		KERNEL(columns)(p, KERNEL(tiles)[v - 1], v == 1 ? last : at * LANES, last);
		at += v;
	}
}

static KERNEL_TARGET void
KERNEL(product)(const Product *p)
{
	if (p->m < LANES)
		KERNEL(thin_product)(p);
	else
		KERNEL(wide_product)(p);
	if (p->rectified && (p->m < LANES || p->n > 1))
		KERNEL(set).relu((size_t) p->n * p->m, p->to, p->to);
}

static KERNEL_TARGET void
KERNEL(transpose)(int n, int m, const real *a, real *to)
{
	int			i = 0;

#if defined(SHUFFLES) && KERNEL_BYTES > 16
	for (; i + 8 <= n; i += 8)
	{
		int			j = 0;

		for (; j + 8 <= m; j += 8)
		{
			Eight		r[8];
			Eight		pairs[8];

			/* rows q and q + 4 side by side: their first four numbers, their last four */
			_Pragma("GCC unroll 4")
			for (int q = 0; q < 4; q++)
				_Pragma("GCC unroll 2")
				for (int half = 0; half < 2; half++)
				{
					const real *from = a + (size_t) (i + q) * m + j + 4 * half;

					r[q + 4 * half] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from)),
														   _mm_loadu_ps(from + (size_t) 4 * m), 1);
				}
			_Pragma("GCC unroll 4")
			for (int q = 0; q < 8; q += 2)
			{
				pairs[q] = __builtin_shuffle(r[q], r[q + 1], (EightIndex) {0, 8, 1, 9, 4, 12, 5, 13});
				pairs[q + 1] = __builtin_shuffle(r[q], r[q + 1], (EightIndex) {2, 10, 3, 11, 6, 14, 7, 15});
			}
			_Pragma("GCC unroll 2")
			for (int half = 0; half < 2; half++)
				_Pragma("GCC unroll 2")
				for (int q = 0; q < 2; q++)
				{
					Eight		low = pairs[4 * half + q];
					Eight		high = pairs[4 * half + q + 2];
					real	   *at = to + (size_t) (j + 4 * half + 2 * q) * n + i;

					*(Eight *) at = __builtin_shuffle(low, high, (EightIndex) {0, 1, 8, 9, 4, 5, 12, 13});
					*(Eight *) (at + n) = __builtin_shuffle(low, high, (EightIndex) {2, 3, 10, 11, 6, 7, 14, 15});
				}
		}
		for (; j < m; j++)
			for (int q = i; q < i + 8; q++)
				to[(size_t) j * n + q] = a[(size_t) q * m + j];
	}
#endif
#ifdef SHUFFLES
	for (; i + 4 <= n; i += 4)
	{
		int			j = 0;

		for (; j + 4 <= m; j += 4)
		{
			Quad		r0 = *(const Quad *) (a + (size_t) i * m + j);
			Quad		r1 = *(const Quad *) (a + (size_t) (i + 1) * m + j);
			Quad		r2 = *(const Quad *) (a + (size_t) (i + 2) * m + j);
			Quad		r3 = *(const Quad *) (a + (size_t) (i + 3) * m + j);
			Quad		low01 = __builtin_shuffle(r0, r1, (QuadIndex) {0, 4, 1, 5});
			Quad		high01 = __builtin_shuffle(r0, r1, (QuadIndex) {2, 6, 3, 7});
			Quad		low23 = __builtin_shuffle(r2, r3, (QuadIndex) {0, 4, 1, 5});
			Quad		high23 = __builtin_shuffle(r2, r3, (QuadIndex) {2, 6, 3, 7});

			*(Quad *) (to + (size_t) j * n + i) = __builtin_shuffle(low01, low23, (QuadIndex) {0, 1, 4, 5});
			*(Quad *) (to + (size_t) (j + 1) * n + i) = __builtin_shuffle(low01, low23, (QuadIndex) {2, 3, 6, 7});
			*(Quad *) (to + (size_t) (j + 2) * n + i) = __builtin_shuffle(high01, high23, (QuadIndex) {0, 1, 4, 5});
			*(Quad *) (to + (size_t) (j + 3) * n + i) = __builtin_shuffle(high01, high23, (QuadIndex) {2, 3, 6, 7});
		}
		for (; j < m; j++)
			for (int r = i; r < i + 4; r++)
				to[(size_t) j * n + r] = a[(size_t) r * m + j];
	}
#endif
	for (; i < n; i++)
		for (int j = 0; j < m; j++)
			to[(size_t) j * n + i] = a[(size_t) i * m + j];
}

/* Row by row: each takes its part from those below, in whole vectors. */
static KERNEL_TARGET bool
KERNEL(factor)(int n, int stride, real *u)
{
	typedef KERNEL(vector) Lanes;

	for (int k = 0; k < n; k++)
	{
		real	   *row = u + (size_t) k * stride;
		real		reciprocal;

		if (!(row[k] > 0))
			return false;
		reciprocal = 1 / row[k];
		for (int i = k + 1; i < n; i++)
		{
			real	   *below = u + (size_t) i * stride;
			real		share = row[i] * reciprocal;

			for (int j = i / LANES * LANES; j < stride; j += LANES)
				*(Lanes *) (below + j) -= share * *(const Lanes *) (row + j);
		}
		for (int j = k / LANES * LANES; j < stride; j += LANES)
			*(Lanes *) (row + j) *= reciprocal;
		row[k] = reciprocal;
	}
	return true;
}

/* In whole vectors: what they read beyond a row is the next one, or beside the triangle. */
static KERNEL_TARGET void
KERNEL(symmetric)(int n, int stride, const real *a, real half, const real *plus, real *u)
{
	typedef KERNEL(vector) Lanes;
	real		copy[FACTOR_MAX * FACTOR_MAX];
	real		turned[FACTOR_MAX * FACTOR_MAX];
	int			whole = 0;

	/* rows behind which there is enough of the matrix left */
	while (whole < n && (whole * n + stride) <= n * n)
		whole++;
	for (int i = 0; i < n; i++)
		if (i < whole)
			for (int j = 0; j < stride; j += LANES)
				*(Lanes *) (copy + i * stride + j) = *(const Lanes *) (a + i * n + j);
		else
		{
			memset(copy + i * stride, 0, stride * sizeof(real));
			memcpy(copy + i * stride, a + i * n, n * sizeof(real));
		}
	memset(copy + n * stride, 0, (stride - n) * stride * sizeof(real));
	KERNEL(transpose)(stride, stride, copy, turned);
	for (int i = 0; i < n; i++)
	{
		real	   *to = u + i * stride;

		for (int j = i / LANES * LANES; j < stride; j += LANES)
			*(Lanes *) (to + j) = half * (*(const Lanes *) (copy + i * stride + j) + *(const Lanes *) (turned + i * stride + j));
		if (i < whole)
			for (int j = i / LANES * LANES; j < stride; j += LANES)
				*(Lanes *) (to + j) += *(const Lanes *) (plus + i * n + j);
		else
			for (int j = i; j < n; j++)
				to[j] += plus[i * n + j];
	}
}

static KERNEL_TARGET real
KERNEL(quadratic)(int n, int stride, const real *u, const real *x)
{
	typedef KERNEL(vector) Lanes;
	real		y[FACTOR_MAX];
	real		sum = 0;

#ifdef SHUFFLES
	if (stride == LANES)
	{
		/* all of y stays in a register */
		typedef int32_t Places __attribute__((vector_size(KERNEL_BYTES)));
		Lanes		all = {0};

		memcpy(&all, x, n * sizeof(real));
		for (int k = 0; k < n; k++, u += stride)
		{
			Lanes		yk = __builtin_shuffle(all, (Places) {0} + k);

			sum += yk[0] * yk[0] * u[k];
			all -= yk * *(const Lanes *) u;
		}
		return sum;
	}
#endif
	memcpy(y, x, n * sizeof(real));
	memset(y + n, 0, (stride - n) * sizeof(real));
	for (int k = 0; k < n; k++, u += stride)
	{
		real		yk = y[k];

		sum += yk * yk * u[k];
		for (int j = (k + 1) / LANES * LANES; j < stride; j += LANES)
			*(Lanes *) (y + j) -= yk * *(const Lanes *) (u + j);
	}
	return sum;
}

/* In integers, and without a way out of the loop, so that it goes in vectors. */
static KERNEL_TARGET bool
KERNEL(finite)(size_t n, const real *a)
{
#ifdef NN_DOUBLE
	typedef uint64_t Bits;
	const Bits	least = (Bits) 0x7ff << 52;
#else
	typedef uint32_t Bits;
	const Bits	least = (Bits) 0xff << 23;
#endif
	Bits		found = 0;

	for (size_t i = 0; i < n; i++)
	{
		Bits		bits;

		memcpy(&bits, &a[i], sizeof(bits));
		found |= (bits & least) == least ? 1 : 0;
	}
	return found == 0;
}

static KERNEL_TARGET void
KERNEL(axpy)(size_t n, const real *a, real scale, const real *b, real *to)
{
	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
		to[i] = a[i] + scale * b[i];
}

static KERNEL_TARGET void
KERNEL(multiply)(size_t n, const real *a, const real *b, real *to)
{
	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
		to[i] = a[i] * b[i];
}

static KERNEL_TARGET void
KERNEL(scale)(size_t n, const real *a, real scale, real offset, real *to)
{
	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
		to[i] = scale * a[i] + offset;
}

static KERNEL_TARGET void
KERNEL(relu)(size_t n, const real *a, real *to)
{
	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
		to[i] = a[i] > 0 ? a[i] : 0;
}

static KERNEL_TARGET void
KERNEL(reciprocal)(size_t n, const real *a, real *to)
{
	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
		to[i] = 1 / a[i];
}

static KERNEL_TARGET void
KERNEL(root)(size_t n, const real *a, real *to)
{
	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
		to[i] = (real) sqrt(a[i]);
}

static KERNEL_TARGET void
KERNEL(mask)(size_t n, const real *a, const real *b, real *to)
{
	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
		to[i] = b[i] > 0 ? a[i] : 0;
}

/*
 * 1 / (1 + e^-x), in straight lines: e^y = 2^n e^r, r within ln 2 / 2, by its
 * series.
 */
static inline KERNEL_TARGET real
KERNEL(sigmoid)(real x)
{
#ifdef NN_DOUBLE
	return 1 / (1 + exp(-x));
#else
	float		y = x > 80 ? -80 : x < -80 ? 80 : -x;
	float		n = (y * 1.44269504f + 12582912) - 12582912;	/* 1.5 * 2^23: rounds */
	float		r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
	float		series = 1 + r * (1 + r * (1 / 2.0f + r * (1 / 6.0f + r * (1 / 24.0f + r * (1 / 120.0f + r * (1 / 720.0f))))));
	int32_t		bits = ((int32_t) n + 127) * (1 << 23);
	float		power;

	memcpy(&power, &bits, sizeof(power));
	return 1 / (1 + series * power);
#endif
}

/*
 * What a row's gates before the sigmoid, i, f, g, o, are multiplied with, and
 * their sigmoids, and what is added then: tanh x = 2 sigmoid(2 x) - 1.  So all
 * of a row is one loop, and no vector is left half empty where four times the
 * width is a multiple of it.
 */
static inline KERNEL_TARGET void
KERNEL(gate_factors)(int width, real *factor, real *offset)
{
	for (int j = 0; j < 4 * width; j++)
	{
		bool		new = j >= 2 * width && j < 3 * width;

		factor[j] = new ? 2 : 1;
		offset[j] = new ? -1 : 0;
	}
}

/* The gates of some rows. */
static inline KERNEL_TARGET void
KERNEL(open_gates)(int rows, int width, const real *gates, const real *factor, const real *offset, real *open)
{
	for (int r = 0; r < rows; r++, gates += 4 * width, open += 4 * width)
		_Pragma("GCC ivdep")
		for (int j = 0; j < 4 * width; j++)
			open[j] = factor[j] * KERNEL(sigmoid)(factor[j] * gates[j]) + offset[j];
}

/* The cells of some rows, and what of them is shown, tanh. */
static inline KERNEL_TARGET void
KERNEL(next_cells)(int rows, int width, const real *open, const real *last, real *cell, real *shown)
{
	for (int r = 0; r < rows; r++)
	{
		const real *in = open + r * 4 * width;
		const real *before = last ? last + r * 2 * width + width : NULL;
		real	   *to = cell + r * width;

		if (before)
			_Pragma("GCC ivdep")
			for (int j = 0; j < width; j++)
				to[j] = in[width + j] * before[j] + in[j] * in[2 * width + j];
		else
			_Pragma("GCC ivdep")
			for (int j = 0; j < width; j++)
				to[j] = in[j] * in[2 * width + j];
	}
	_Pragma("GCC ivdep")
	for (int i = 0; i < rows * width; i++)
		shown[i] = 2 * KERNEL(sigmoid)(2 * cell[i]) - 1;
}

static KERNEL_TARGET void
KERNEL(lstm)(size_t rows, int width, const real *gates, const real *last, real *to)
{
	real		factor[4 * LSTM_MAX_WIDTH];
	real		offset[4 * LSTM_MAX_WIDTH];
	real		open[4 * LSTM_MAX_WIDTH];
	real		cell[LSTM_MAX_WIDTH];
	real		shown[LSTM_MAX_WIDTH];
	size_t		most = LSTM_MAX_WIDTH / (width > 0 ? width : 1);	/* rows at once */

	KERNEL(gate_factors)(width, factor, offset);
	for (size_t done = 0; done < rows; done += most)
	{
		int			n = rows - done < most ? rows - done : most;

		KERNEL(open_gates)(n, width, gates + done * 4 * width, factor, offset, open);
		KERNEL(next_cells)(n, width, open, last ? last + done * 2 * width : NULL, cell, shown);
		for (int r = 0; r < n; r++, to += 2 * width)
		{
			const real *out = open + r * 4 * width + 3 * width;

			_Pragma("GCC ivdep")
			for (int j = 0; j < width; j++)
				to[j] = out[j] * shown[r * width + j];
			memcpy(to + width, cell + r * width, width * sizeof(real));
		}
	}
}

static KERNEL_TARGET void
KERNEL(lstm_back)(size_t rows, int width, const real *gates, const real *gradient, const real *last, real *to)
{
	real		factor[4 * LSTM_MAX_WIDTH];
	real		offset[4 * LSTM_MAX_WIDTH];
	real		open[4 * LSTM_MAX_WIDTH];
	real		cell[LSTM_MAX_WIDTH];
	real		shown[LSTM_MAX_WIDTH];
	real		none[LSTM_MAX_WIDTH];
	size_t		most = LSTM_MAX_WIDTH / (width > 0 ? width : 1);

	memset(none, 0, width * sizeof(real));
	KERNEL(gate_factors)(width, factor, offset);
	for (size_t done = 0; done < rows; done += most)
	{
		int			n = rows - done < most ? rows - done : most;
		const real *state = last ? last + done * 2 * width : NULL;

		KERNEL(open_gates)(n, width, gates + done * 4 * width, factor, offset, open);
		KERNEL(next_cells)(n, width, open, state, cell, shown);
		for (int r = 0; r < n; r++, gradient += 2 * width, to += 5 * width)
		{
			const real *in = open + r * 4 * width;
			const real *forget = in + width;
			const real *new = in + 2 * width;
			const real *out = in + 3 * width;
			const real *before = state ? state + r * 2 * width + width : none;
			const real *tanh_cell = shown + r * width;

			_Pragma("GCC ivdep")
			for (int j = 0; j < width; j++)
			{
				real		of_cell = gradient[width + j] + gradient[j] * out[j] * (1 - tanh_cell[j] * tanh_cell[j]);

				to[j] = of_cell * new[j] * in[j] * (1 - in[j]);
				to[width + j] = of_cell * before[j] * forget[j] * (1 - forget[j]);
				to[2 * width + j] = of_cell * in[j] * (1 - new[j] * new[j]);
				to[3 * width + j] = gradient[j] * tanh_cell[j] * out[j] * (1 - out[j]);
				to[4 * width + j] = of_cell * forget[j];
			}
		}
	}
}

static KERNEL_TARGET void
KERNEL(column_squares)(size_t n, int m, const real *a, const real *p, real *s, real *t)
{
	for (; n > 0; n--, a += m)
		_Pragma("GCC ivdep")
		for (int j = 0; j < m; j++)
		{
			real		d = a[j] - p[j];

			s[j] += d;
			t[j] += d * d;
		}
}

static KERNEL_TARGET void
KERNEL(column_products)(size_t n, int m, const real *a, const real *b, const real *p, real *s, real *t)
{
	for (; n > 0; n--, a += m, b += m)
		_Pragma("GCC ivdep")
		for (int j = 0; j < m; j++)
		{
			s[j] += a[j];
			t[j] += a[j] * (b[j] - p[j]);
		}
}

static KERNEL_TARGET void
KERNEL(column_scale)(size_t n, int m, const real *a, const real *p, const real *s, const real *u, real *to)
{
	for (; n > 0; n--, a += m, to += m)
		_Pragma("GCC ivdep")
		for (int j = 0; j < m; j++)
			to[j] = s[j] * (a[j] - p[j]) + u[j];
}

static KERNEL_TARGET void
KERNEL(column_blend)(size_t n, int m, const real *a, const real *s, const real *b, const real *p, const real *t,
					 const real *u, real *to)
{
	for (; n > 0; n--, a += m, b += m, to += m)
		_Pragma("GCC ivdep")
		for (int j = 0; j < m; j++)
			to[j] = s[j] * a[j] + t[j] * (b[j] - p[j]) + u[j];
}

static KERNEL_TARGET void
KERNEL(largest)(size_t n, const real *const a[4], real *to)
{
	const real *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3];

	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
	{
		real		x = a0[i] >= a1[i] ? a0[i] : a1[i];
		real		y = a2[i] >= a3[i] ? a2[i] : a3[i];

		to[i] = x >= y ? x : y;
	}
}

static KERNEL_TARGET void
KERNEL(to_largest)(size_t n, const real *const a[4], const real *from, real *const to[4])
{
	const real *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3];
	real	   *t0 = to[0], *t1 = to[1], *t2 = to[2], *t3 = to[3];

	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
	{
		real		x = a0[i] >= a1[i] ? a0[i] : a1[i];
		real		y = a2[i] >= a3[i] ? a2[i] : a3[i];
		real		above = x >= y ? from[i] : 0;
		real		below = x >= y ? 0 : from[i];

		t0[i] = a0[i] >= a1[i] ? above : 0;
		t1[i] = a0[i] >= a1[i] ? 0 : above;
		t2[i] = a2[i] >= a3[i] ? below : 0;
		t3[i] = a2[i] >= a3[i] ? 0 : below;
	}
}

static KERNEL_TARGET void
KERNEL(blend_largest)(size_t n, const real *const a[4], const real *s, const real *from,
					  const real *p, const real *t, const real *u, real *const to[4])
{
	const real *a0 = a[0], *a1 = a[1], *a2 = a[2], *a3 = a[3];
	real	   *t0 = to[0], *t1 = to[1], *t2 = to[2], *t3 = to[3];

	_Pragma("GCC ivdep")
	for (size_t i = 0; i < n; i++)
	{
		real		x = a0[i] >= a1[i] ? a0[i] : a1[i];
		real		y = a2[i] >= a3[i] ? a2[i] : a3[i];
		real		above = x >= y ? s[i] * from[i] : 0;
		real		below = x >= y ? 0 : s[i] * from[i];

		t0[i] = t[i] * (a0[i] - p[i]) + u[i] + (a0[i] >= a1[i] ? above : 0);
		t1[i] = t[i] * (a1[i] - p[i]) + u[i] + (a0[i] >= a1[i] ? 0 : above);
		t2[i] = t[i] * (a2[i] - p[i]) + u[i] + (a2[i] >= a3[i] ? below : 0);
		t3[i] = t[i] * (a3[i] - p[i]) + u[i] + (a2[i] >= a3[i] ? 0 : below);
	}
}

#include "nn/kernels_winograd.h"

static const Kernels KERNEL(set) = {
	.name = KERNEL_LABEL,
	.product = KERNEL(product),
	.transpose = KERNEL(transpose),
	.factor = KERNEL(factor),
	.quadratic = KERNEL(quadratic),
	.symmetric = KERNEL(symmetric),
	.finite = KERNEL(finite),
	.axpy = KERNEL(axpy),
	.multiply = KERNEL(multiply),
	.scale = KERNEL(scale),
	.relu = KERNEL(relu),
	.reciprocal = KERNEL(reciprocal),
	.root = KERNEL(root),
	.mask = KERNEL(mask),
	.column_squares = KERNEL(column_squares),
	.column_products = KERNEL(column_products),
	.column_scale = KERNEL(column_scale),
	.column_blend = KERNEL(column_blend),
	.largest = KERNEL(largest),
	.to_largest = KERNEL(to_largest),
	.blend_largest = KERNEL(blend_largest),
	.window_of_image = KERNEL(window_of_image),
	.window_of_result = KERNEL(window_of_result),
	.result_of_window = KERNEL(result_of_window),
	.lstm = KERNEL(lstm),
	.lstm_back = KERNEL(lstm_back),
};

#undef TILE_ROW
#undef TILES
#undef TILE
#undef TILE_OF_ONE
#undef POSITIVE
#undef LANES
#undef KERNEL
#undef KERNEL_LABEL
#undef KERNEL_TARGET
#undef KERNEL_BYTES
#undef KERNEL_ROWS
#undef KERNEL_VECTORS
