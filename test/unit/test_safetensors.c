/*
 * test_safetensors.c
 *	  The safetensors reader on good, damaged and malicious bytes.
 *
 * Links src/store/safetensors*.c, compiled with FRONTEND, and PostgreSQL's
 * libpgcommon and libpgport; see the Makefile.  Every file is read from a
 * block of exactly its size, so that the address sanitizer sees a read past
 * its end.
 */
#include "store/safetensors.h"

#include <stdint.h>

#include "tap.h"

/*
 * What the reader allocates is freed with a memory context in the server, and
 * not at all here.
 */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* A file: the length of the header, the header, n bytes of data. */
static char *
make_file(const char *header, size_t n, size_t *size)
{
	size_t		length = strlen(header);
	char	   *bytes = malloc(8 + length + n);

	for (int i = 0; i < 8; i++)
		bytes[i] = (char) ((uint64_t) length >> (8 * i) & 0xff);
	memcpy(bytes + 8, header, length);
	for (size_t i = 0; i < n; i++)
		bytes[8 + length + i] = (char) (i * 7 + 1);
	*size = 8 + length + n;
	return bytes;
}

/* What the reader says of a header followed by n bytes. */
static const char *
read_header(const char *header, size_t n)
{
	SafeTensors st;
	size_t		size;
	char	   *bytes = make_file(header, n, &size);
	const char *fault = safetensors_read(bytes, size, &st);

	free(bytes);
	return fault;
}

/* Every tensor lies within the file and is as long as its shape says. */
static bool
in_range(const SafeTensors *st, const char *bytes, size_t size)
{
	static const size_t width[] = {4, 8, 4, 8, 1};
	size_t		total = 0;

	for (int i = 0; i < st->n_tensors; i++)
	{
		const SafeTensor *t = &st->tensors[i];
		size_t		n = width[t->type];

		if (t->n_dims < 0 || t->n_dims > 4)
			return false;
		for (int d = 0; d < t->n_dims; d++)
			n *= (size_t) t->dims[d];
		if (n != t->size || t->data < bytes + 8 || t->size > (size_t) (bytes + size - t->data))
			return false;
		total += n;
	}
	return total <= size - 8;
}

/* Reads from a block of exactly that size; false if what comes out is wrong. */
static bool
survives(const char *bytes, size_t size, bool must_fail)
{
	SafeTensors st;
	char	   *copy = malloc(size > 0 ? size : 1);
	const char *fault;
	bool		survived;

	memcpy(copy, bytes, size);
	fault = safetensors_read(copy, size, &st);
	survived = fault != NULL || (!must_fail && in_range(&st, copy, size));
	free(copy);
	return survived;
}

static char *
sample(size_t *size)
{
	static float weights[6] = {1.5f, -2, 0, 3e-20f, 1e20f, 7};
	static float bias[2] = {-1, 1};
	static uint8_t raw[3] = {0, 127, 255};
	SafeTensor	tensors[] = {
		{"main/layer.0.weight", SAFE_F32, 2, {3, 2}, (const char *) weights, sizeof(weights)},
		{"bias \"quoted\\\"", SAFE_F32, 2, {1, 2}, (const char *) bias, sizeof(bias)},
		{"nothing", SAFE_I64, 3, {2, 0, 5}, "", 0},
		{"raw", SAFE_U8, 1, {3}, (const char *) raw, sizeof(raw)},
		{"scalar", SAFE_F32, 0, {0}, (const char *) bias, sizeof(float)},
	};
	SafePair	metadata[] = {
		{"format", "meta/1"},
		{"json", "{\"a\": [1, \"b\\\\c\"]}\n\t\x01"},
		{"umlaut", "Sch\xc3\xbcler \xf0\x9f\x8e\x93"},
	};
	SafeTensors st = {5, tensors, 3, metadata};
	char	   *bytes;

	*size = safetensors_size(&st);
	bytes = malloc(*size);
	safetensors_write(&st, bytes);
	return bytes;
}

static void
test_round_trip(void)
{
	size_t		size;
	char	   *bytes = sample(&size);
	SafeTensors st;
	const SafeTensor *t;
	float		number;
	size_t		again_size;
	char	   *again;

	is_string(safetensors_read(bytes, size, &st), NULL, "what was written is read");
	ok(st.n_tensors == 5 && st.n_metadata == 3, "tensors and metadata are counted");
	t = safetensors_find(&st, "main/layer.0.weight");
	ok(t != NULL && t->type == SAFE_F32 && t->n_dims == 2 && t->dims[0] == 3 && t->dims[1] == 2 && t->size == 24,
	   "a tensor has its type and shape");
	memcpy(&number, t->data + 12, sizeof(number));
	ok(number == 3e-20f, "a tensor has its numbers");
	ok((t->data - bytes) % 8 == 0, "data begin aligned");
	t = safetensors_find(&st, "bias \"quoted\\\"");
	ok(t != NULL && t->size == 8, "a name may need escapes");
	t = safetensors_find(&st, "nothing");
	ok(t != NULL && t->size == 0 && t->n_dims == 3, "a tensor may be empty");
	t = safetensors_find(&st, "scalar");
	ok(t != NULL && t->n_dims == 0 && t->size == 4, "a tensor may be a scalar");
	ok(safetensors_find(&st, "main/layer.0") == NULL, "a name that is not there is not found");
	is_string(safetensors_metadata(&st, "json"), "{\"a\": [1, \"b\\\\c\"]}\n\t\x01", "JSON and control characters survive in a string");
	is_string(safetensors_metadata(&st, "umlaut"), "Sch\xc3\xbcler \xf0\x9f\x8e\x93", "UTF-8 survives");
	is_string(safetensors_metadata(&st, "none"), NULL, "a key that is not there is not found");

	again_size = safetensors_size(&st);
	again = malloc(again_size);
	safetensors_write(&st, again);
	ok(again_size == size && memcmp(again, bytes, size) == 0, "written again, the bytes are the same");
	free(again);
	free(bytes);
}

static void
test_truncation(void)
{
	size_t		size;
	char	   *bytes = sample(&size);
	size_t		bad = 0;

	for (size_t n = 0; n < size; n++)
		bad += !survives(bytes, n, true);
	ok(bad == 0, "each of %zu truncations is refused (%zu were not)", size, bad);
	free(bytes);
}

/* Every byte of length and header, to every other value. */
static void
test_corruption(void)
{
	size_t		size;
	char	   *bytes = sample(&size);
	size_t		header = 8 + (unsigned char) bytes[0] + 256 * (size_t) (unsigned char) bytes[1];
	size_t		bad = 0;

	for (size_t at = 0; at < header; at++)
	{
		char		was = bytes[at];

		for (int value = 0; value < 256; value++)
		{
			bytes[at] = (char) value;
			bad += !survives(bytes, size, false);
		}
		bytes[at] = was;
	}
	ok(bad == 0, "each change of one of %zu header bytes is refused or harmless (%zu were not)", header, bad);
	ok(survives(bytes, size, false) && !survives(bytes, size, true), "the test can fail");
	free(bytes);
}

/* Two bytes at random, and blocks moved about: a generator of its own. */
static void
test_mutation(void)
{
	size_t		size;
	char	   *bytes = sample(&size);
	char	   *copy = malloc(size);
	uint32_t	state = 12345;
	size_t		bad = 0;

#define NEXT() (state = state * 1664525u + 1013904223u, state >> 8)
	for (int i = 0; i < 20000; i++)
	{
		int			changes = 1 + (int) (NEXT() % 4);

		memcpy(copy, bytes, size);
		for (int c = 0; c < changes; c++)
		{
			size_t		at = NEXT() % size;
			size_t		from = NEXT() % size;
			size_t		n = NEXT() % 16;

			if (NEXT() % 2 == 0)
				copy[at] = (char) NEXT();
			else if (at + n <= size && from + n <= size)
				memmove(copy + at, copy + from, n);
		}
		bad += !survives(copy, size, false);
	}
	ok(bad == 0, "mutated files are refused or harmless (%zu of 20000 were not)", bad);
	free(copy);
	free(bytes);
}

static void
test_lengths(void)
{
	static const uint64_t lengths[] = {1, 9, 100, 1u << 20, 1u << 31, UINT64_C(1) << 32, INT64_MAX,
	UINT64_C(1) << 63, UINT64_MAX - 8, UINT64_MAX - 7, UINT64_MAX};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		size_t		size;
		char	   *bytes = make_file("{}      ", 0, &size);

		for (int b = 0; b < 8; b++)
			bytes[b] = (char) (lengths[i] >> (8 * b) & 0xff);
		ok(survives(bytes, size, true), "a header length of %llu is refused", (unsigned long long) lengths[i]);
		free(bytes);
	}
	{
		size_t		size;
		size_t		length = (size_t) 101 * 1024 * 1024;
		char	   *header = malloc(length + 1);
		char	   *bytes;
		SafeTensors st;

		memset(header, ' ', length);
		header[0] = '{';
		header[1] = '}';
		header[length] = '\0';
		bytes = make_file(header, 0, &size);
		is_string(safetensors_read(bytes, size, &st), "the header is longer than 100 MB", "a header of more than 100 MB is refused");
		free(header);
		free(bytes);
	}
	is_string(read_header("{}", 0), NULL, "a file may be empty");
	is_string(read_header("{\"__metadata__\":{}}   ", 0), NULL, "blanks may follow the header");
}

#define A "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"

static void
test_structure(void)
{
	static const struct
	{
		const char *header;
		size_t		n;
		const char *fault;
	}			cases[] = {
		{"{" A "}", 8, NULL},
		{"{" A ",\"b\":{\"data_offsets\":[8,9],\"shape\":[],\"dtype\":\"U8\"}}", 9, NULL},
		{"{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}," A "}", 9, NULL},
		{"{" A "}", 7, "a tensor's offsets lie outside of the file"},
		{"{" A "}", 9, "there are bytes that no tensor accounts for"},
		{"{" A "," A "}", 8, "two tensors have the same name"},
		{"{" A ",\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[8,9]}}", 9, "two tensors have the same name"},
		{"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "the tensors overlap, or leave a gap"},
		{"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "the tensors overlap, or leave a gap"},
		{"{" A ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}", 20, "the tensors overlap, or leave a gap"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "a tensor's offsets lie outside of the file"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "a tensor's offsets do not agree with its type and shape"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,2],\"data_offsets\":[0,0]}}", 0, "a tensor's offsets do not agree with its type and shape"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "a tensor's offsets do not agree with its type and shape"},
		{"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,9223372036854775807,0],\"data_offsets\":[0,0]}}", 0, NULL},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,0]}}", 0, "a dimension or offset is not an integer of 64 bits from 0"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}", 0, "a dimension or offset is not an integer of 64 bits from 0"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "a dimension or offset is not an integer of 64 bits from 0"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8e0]}}", 8, "a dimension or offset is not an integer of 64 bits from 0"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8, "a dimension or offset is not an integer of 64 bits from 0"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "a tensor has more than 4 dimensions"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "a tensor's offsets are not two numbers"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, "a tensor's offsets are not two numbers"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[[2]],\"data_offsets\":[0,8]}}", 8, "an array stands where none belongs"},
		{"{\"a\":{\"dtype\":[\"F32\"],\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "an array stands where none belongs"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,8]}}", 8, "a tensor's description holds an object"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "a field of a tensor's description is of the wrong kind"},
		{"{\"a\":{\"dtype\":1,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "a field of a tensor's description is of the wrong kind"},
		{"{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "a tensor is of an unknown type"},
		{"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "a field of a tensor's description occurs twice"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "a tensor's description has an unknown field"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "a tensor lacks its type, its shape or its offsets"},
		{"{\"a\":{}}", 0, "a tensor lacks its type, its shape or its offsets"},
		{"{\"a\":[]}", 0, "an array stands where none belongs"},
		{"{\"a\":1}", 0, "a tensor's description is not an object"},
		{"{\"__metadata__\":{\"a\":\"b\"},\"__metadata__\":{}}", 0, "\"__metadata__\" occurs twice"},
		{"{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0, "a metadata key occurs twice"},
		{"{\"__metadata__\":{\"a\":1}}", 0, "a metadata value is not a string"},
		{"{\"__metadata__\":{\"a\":null}}", 0, "a metadata value is not a string"},
		{"{\"__metadata__\":{\"a\":{}}}", 0, "a metadata value is not a string"},
		{"{\"__metadata__\":{\"a\":[]}}", 0, "a metadata value is not a string"},
		{"{\"__metadata__\":\"a\"}", 0, "a tensor's description is not an object"},
		{"", 0, "the header does not begin with \"{\""},
		{"[]", 0, "the header does not begin with \"{\""},
		{" {}", 0, "the header does not begin with \"{\""},
		{"{", 0, "the header is not valid JSON"},
		{"{}{}", 0, "the header is not valid JSON"},
		{"{\"a", 0, "the header is not valid JSON"},
		{"{\"a\\", 0, "the header is not valid JSON"},
		{"{\"a\\u", 0, "the header is not valid JSON"},
		{"{\"a\\u00", 0, "the header is not valid JSON"},
		{"{\"\\ud800\":1}", 0, "the header is not valid JSON"},
		{"{\"\\u0000\":1}", 0, "the header is not valid JSON"},
		{"{\"a\n\":1}", 0, "the header is not valid JSON"},
		{"{\"a\":{\"dtype\":nul", 0, "the header is not valid JSON"},
		{"{\"\xff\":1}", 0, "the header is not UTF-8"},
		{"{\"\xc0\x80\":1}", 0, "the header is not UTF-8"},
		{"{\"\xed\xa0\x80\":1}", 0, "the header is not UTF-8"},
		{"{\"\xf0\x9f\x8e", 0, "the header is not UTF-8"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		is_string(read_header(cases[i].header, cases[i].n), cases[i].fault, "header %zu: %s", i,
				  cases[i].fault != NULL ? cases[i].fault : "is valid");
}

/* A header of many times the same text, closed or not. */
static const char *
read_repeated(const char *begin, const char *repeated, int n, const char *end)
{
	size_t		length = strlen(repeated);
	char	   *header = malloc(strlen(begin) + n * length + strlen(end) + 1);
	char	   *at = header + sprintf(header, "%s", begin);
	const char *fault;

	for (int i = 0; i < n; i++)
	{
		memcpy(at, repeated, length);
		at += length;
	}
	strcpy(at, end);
	fault = read_header(header, 0);
	free(header);
	return fault;
}

static void
test_excess(void)
{
	is_string(read_repeated("{\"a\":", "[", 10000000, ""), "the header is nested too deeply", "arrays ten million deep are refused");
	is_string(read_repeated("", "{\"a\":", 2000000, ""), "the header is nested too deeply", "objects two million deep are refused");
	is_string(read_repeated("{\"__metadata__\":{\"[[[[[[[[[[[[{{{{{{{{{{\":\"", "[", 1000, "\"}}"), NULL,
			  "brackets in strings do not count");
	is_string(read_repeated("{\"__metadata__\":{\"a\":\"\"", ",\"b\":\"\"", 2000, "}}"), "there are too many metadata values",
			  "too many metadata values are refused");
	is_string(read_repeated("{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
							",\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", 200000, "}"),
			  "there are too many tensors", "too many tensors are refused");
}

int
main(void)
{
	test_round_trip();
	test_truncation();
	test_corruption();
	test_mutation();
	test_lengths();
	test_structure();
	test_excess();
	return tap_done();
}
