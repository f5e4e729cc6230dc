/*
 * safetensors.c
 *	  Reading the safetensors format.
 *
 * The header is read by PostgreSQL's own JSON parser.  Before it runs, one
 * pass over the bytes makes sure of what the parser takes for granted or
 * handles differently from version to version: that the text is UTF-8, and
 * that it is not nested deeper than the format needs, so the parser's
 * recursion is bounded without a server's stack check.
 *
 * What is parsed is then checked as a whole: names are unique, every tensor's
 * bytes are what its type and shape say, and, in the order of their offsets,
 * the tensors follow each other from the first byte of the buffer to the last.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

#ifdef FRONTEND
#include "common/fe_memutils.h"
#endif

#include "compat.h"
#include "store/safetensors.h"

#define MAX_NESTING 8

/*
 * A name takes tens of bytes when it is parsed, so a header of the greatest
 * length could take gigabytes; no model comes near these counts.
 */
#define MAX_TENSORS 100000
#define MAX_METADATA 1000
#define MAX_DIMS ((int) lengthof(((SafeTensor *) NULL)->dims))

static const struct
{
	const char *name;
	size_t		size;
}			types[] = {
	[SAFE_F32] = {"F32", 4},
	[SAFE_F64] = {"F64", 8},
	[SAFE_I32] = {"I32", 4},
	[SAFE_I64] = {"I64", 8},
	[SAFE_U8] = {"U8", 1},
};

const char *
safetensors_type_name(SafeType type)
{
	return types[type].name;
}

/* Where in the header the parser is. */
typedef enum HeaderPlace
{
	AT_TOP,						/* the whole, or a name */
	AT_METADATA,				/* inside "__metadata__" */
	AT_TENSOR,					/* inside a tensor's object */
	AT_SHAPE,					/* inside its array "shape" */
	AT_OFFSETS					/* inside its array "data_offsets" */
} HeaderPlace;

/* Fields of a tensor, as bits: which have been seen. */
#define FIELD_TYPE 1
#define FIELD_SHAPE 2
#define FIELD_OFFSETS 4
#define ALL_FIELDS 7

/* A tensor with the place of its bytes, while the header is read. */
typedef struct HeaderTensor
{
	SafeTensor	tensor;
	uint64		begin;
	uint64		end;
} HeaderTensor;

typedef struct Header
{
	const char *fault;			/* the first one, or NULL */
	int			depth;			/* of objects and arrays */
	HeaderPlace place;
	char	   *key;			/* name that was read last */

	HeaderTensor *tensors;
	int			n_tensors;
	int			max_tensors;
	int			fields;			/* of the last tensor */
	int			n_offsets;

	SafePair   *metadata;
	int			n_metadata;
	int			max_metadata;
	bool		has_metadata;
} Header;

/* Room for one more element of an array that doubles. */
#define GROW(array, n, max, type) \
	do { \
		if ((n) == (max)) \
		{ \
			(max) = (max) == 0 ? 8 : (max) * 2; \
			(array) = (array) == NULL ? (type *) palloc((max) * sizeof(type)) : \
				(type *) repalloc((array), (max) * sizeof(type)); \
		} \
	} while (0)

static void
header_fault(Header *h, const char *fault)
{
	if (h->fault == NULL)
		h->fault = fault;
}

/*
 * A nonnegative integer, digits only, as dimensions and offsets are.
 */
static bool
read_integer(const char *token, int64 *value)
{
	int64		v = 0;

	if (*token == '\0')
		return false;
	for (; *token != '\0'; token++)
	{
		int			digit = *token - '0';

		if (digit < 0 || digit > 9 || v > (PG_INT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*value = v;
	return true;
}

static JsonActionResult
object_start(void *state)
{
	Header	   *h = (Header *) state;

	if (h->fault == NULL)
	{
		if (h->depth == 0)
			h->place = AT_TOP;
		else if (h->depth == 1 && strcmp(h->key, "__metadata__") == 0)
		{
			if (h->has_metadata)
				header_fault(h, "\"__metadata__\" occurs twice");
			h->has_metadata = true;
			h->place = AT_METADATA;
		}
		else if (h->depth == 1)
		{
			HeaderTensor *t;

			if (h->n_tensors == MAX_TENSORS)
				header_fault(h, "there are too many tensors");
			GROW(h->tensors, h->n_tensors, h->max_tensors, HeaderTensor);
			t = &h->tensors[h->n_tensors++];
			memset(t, 0, sizeof(*t));
			t->tensor.name = h->key;
			h->fields = 0;
			h->n_offsets = 0;
			h->place = AT_TENSOR;
		}
		else if (h->place == AT_METADATA)
			header_fault(h, "a metadata value is not a string");
		else
			header_fault(h, "a tensor's description holds an object");
		h->depth++;
	}
	JSON_ACTION_RESULT(h->fault == NULL);
}

static JsonActionResult
object_end(void *state)
{
	Header	   *h = (Header *) state;

	if (h->fault == NULL)
	{
		if (h->place == AT_TENSOR && h->fields != ALL_FIELDS)
			header_fault(h, "a tensor lacks its type, its shape or its offsets");
		h->depth--;
		h->place = AT_TOP;
	}
	JSON_ACTION_RESULT(h->fault == NULL);
}

static JsonActionResult
field_start(void *state, char *name, bool isnull)
{
	Header	   *h = (Header *) state;

	if (h->fault == NULL)
	{
		h->key = name;
		if (h->place == AT_TENSOR)
		{
			int			field = 0;

			if (strcmp(name, "dtype") == 0)
				field = FIELD_TYPE;
			else if (strcmp(name, "shape") == 0)
				field = FIELD_SHAPE;
			else if (strcmp(name, "data_offsets") == 0)
				field = FIELD_OFFSETS;
			if (field == 0)
				header_fault(h, "a tensor's description has an unknown field");
			else if (h->fields & field)
				header_fault(h, "a field of a tensor's description occurs twice");
			h->fields |= field;
		}
	}
	JSON_ACTION_RESULT(h->fault == NULL);
}

static JsonActionResult
array_start(void *state)
{
	Header	   *h = (Header *) state;

	if (h->fault == NULL)
	{
		if (h->place == AT_TENSOR && strcmp(h->key, "shape") == 0)
			h->place = AT_SHAPE;
		else if (h->place == AT_TENSOR && strcmp(h->key, "data_offsets") == 0)
			h->place = AT_OFFSETS;
		else if (h->place == AT_METADATA)
			header_fault(h, "a metadata value is not a string");
		else
			header_fault(h, "an array stands where none belongs");
		h->depth++;
	}
	JSON_ACTION_RESULT(h->fault == NULL);
}

static JsonActionResult
array_end(void *state)
{
	Header	   *h = (Header *) state;

	if (h->fault == NULL)
	{
		if (h->place == AT_OFFSETS && h->n_offsets != 2)
			header_fault(h, "a tensor's offsets are not two numbers");
		h->depth--;
		h->place = AT_TENSOR;
	}
	JSON_ACTION_RESULT(h->fault == NULL);
}

/*
 * A scalar inside a tensor's description.
 */
static void
tensor_scalar(Header *h, const char *token, JsonTokenType type)
{
	HeaderTensor *t = &h->tensors[h->n_tensors - 1];
	int64		value;

	if (h->place == AT_TENSOR)
	{
		if (type != JSON_TOKEN_STRING || strcmp(h->key, "dtype") != 0)
		{
			header_fault(h, "a field of a tensor's description is of the wrong kind");
			return;
		}
		for (int i = 0; i < (int) lengthof(types); i++)
			if (strcmp(types[i].name, token) == 0)
			{
				t->tensor.type = (SafeType) i;
				return;
			}
		header_fault(h, "a tensor is of an unknown type");
		return;
	}

	if (type != JSON_TOKEN_NUMBER || !read_integer(token, &value))
		header_fault(h, "a dimension or offset is not an integer of 64 bits from 0");
	else if (h->place == AT_SHAPE)
	{
		if (t->tensor.n_dims == MAX_DIMS)
			header_fault(h, "a tensor has more than 4 dimensions");
		else
			t->tensor.dims[t->tensor.n_dims++] = value;
	}
	else if (h->n_offsets == 2)
		header_fault(h, "a tensor's offsets are not two numbers");
	else if (h->n_offsets++ == 0)
		t->begin = (uint64) value;
	else
		t->end = (uint64) value;
}

static JsonActionResult
scalar(void *state, char *token, JsonTokenType type)
{
	Header	   *h = (Header *) state;

	if (h->fault == NULL)
	{
		if (h->depth < 2)
			header_fault(h, h->depth == 0 ? "the header is not a JSON object" :
						 "a tensor's description is not an object");
		else if (h->place == AT_METADATA)
		{
			if (type != JSON_TOKEN_STRING)
				header_fault(h, "a metadata value is not a string");
			else if (h->n_metadata == MAX_METADATA)
				header_fault(h, "there are too many metadata values");
			else
			{
				GROW(h->metadata, h->n_metadata, h->max_metadata, SafePair);
				h->metadata[h->n_metadata].key = h->key;
				h->metadata[h->n_metadata].value = token;
				h->n_metadata++;
			}
		}
		else
			tensor_scalar(h, token, type);
	}
	JSON_ACTION_RESULT(h->fault == NULL);
}

/*
 * The pass before the parser; see the head of this file.
 */
static const char *
scan_header(const char *json, size_t length)
{
	const unsigned char *at = (const unsigned char *) json;
	const unsigned char *end = at + length;
	bool		in_string = false;
	int			depth = 0;

	if (length == 0 || json[0] != '{')
		return "the header does not begin with \"{\"";
	while (at < end)
	{
		int			width = 1;

		if (*at == '\0')
			return "the header holds a zero byte";
		if (IS_HIGHBIT_SET(*at))
		{
			width = pg_encoding_mblen(PG_UTF8, (const char *) at);
			if (width > end - at || !pg_utf8_islegal(at, width))
				return "the header is not UTF-8";
		}
		else if (in_string)
		{
			/* skip what a backslash escapes, but not half a character */
			if (*at == '\\' && end - at > 1 && !IS_HIGHBIT_SET(at[1]))
				width = 2;
			else if (*at == '"')
				in_string = false;
		}
		else if (*at == '"')
			in_string = true;
		else if (*at == '{' || *at == '[')
		{
			if (++depth > MAX_NESTING)
				return "the header is nested too deeply";
		}
		else if (*at == '}' || *at == ']')
			depth--;
		at += width;
	}
	return NULL;
}

static const char *
parse_header(Header *h, const char *json, size_t length)
{
	JsonSemAction actions;
	JsonLexContext *lex;
	JsonParseErrorType result;
	const char *fault = scan_header(json, length);

	if (fault != NULL)
		return fault;

	memset(&actions, 0, sizeof(actions));
	actions.semstate = h;
	actions.object_start = object_start;
	actions.object_end = object_end;
	actions.array_start = array_start;
	actions.array_end = array_end;
	actions.object_field_start = field_start;
	actions.scalar = scalar;

	lex = json_lexer(json, length, PG_UTF8, true);
	result = pg_parse_json(lex, &actions);
	if (h->fault != NULL)
		return h->fault;
	if (result != JSON_SUCCESS)
		return "the header is not valid JSON";
	return NULL;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp((*(const HeaderTensor *const *) a)->tensor.name,
				  (*(const HeaderTensor *const *) b)->tensor.name);
}

static int
compare_places(const void *a, const void *b)
{
	const HeaderTensor *x = *(const HeaderTensor *const *) a;
	const HeaderTensor *y = *(const HeaderTensor *const *) b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	if (x->end != y->end)
		return x->end < y->end ? -1 : 1;
	return 0;
}

static int
compare_pairs(const void *a, const void *b)
{
	return strcmp((*(const SafePair *const *) a)->key, (*(const SafePair *const *) b)->key);
}

/*
 * Bytes of a tensor by its type and shape; false where they are more than a
 * file can have.
 */
static bool
tensor_bytes(const SafeTensor *tensor, uint64 *bytes)
{
	uint64		n = types[tensor->type].size;

	/* first, because 0 of anything is nothing, in whatever order */
	for (int i = 0; i < tensor->n_dims; i++)
		if (tensor->dims[i] == 0)
		{
			*bytes = 0;
			return true;
		}
	for (int i = 0; i < tensor->n_dims; i++)
	{
		if ((uint64) tensor->dims[i] > (uint64) PG_INT64_MAX / n)
			return false;
		n *= (uint64) tensor->dims[i];
	}
	*bytes = n;
	return true;
}

/*
 * The checks that need all of the header, and where each tensor's bytes are.
 */
static const char *
place_tensors(Header *h, const char *data, uint64 size)
{
	HeaderTensor **order = (HeaderTensor **) palloc((h->n_tensors + 1) * sizeof(HeaderTensor *));
	const char *fault = NULL;
	uint64		at = 0;

	for (int i = 0; i < h->n_tensors; i++)
		order[i] = &h->tensors[i];

	qsort(order, h->n_tensors, sizeof(HeaderTensor *), compare_names);
	for (int i = 1; i < h->n_tensors; i++)
		if (strcmp(order[i - 1]->tensor.name, order[i]->tensor.name) == 0)
			fault = "two tensors have the same name";

	qsort(order, h->n_tensors, sizeof(HeaderTensor *), compare_places);
	for (int i = 0; i < h->n_tensors && fault == NULL; i++)
	{
		HeaderTensor *t = order[i];
		uint64		bytes;

		if (t->begin > t->end || t->end > size)
			fault = "a tensor's offsets lie outside of the file";
		else if (t->begin != at)
			fault = "the tensors overlap, or leave a gap";
		else if (!tensor_bytes(&t->tensor, &bytes) || bytes != t->end - t->begin)
			fault = "a tensor's offsets do not agree with its type and shape";
		else
		{
			t->tensor.data = data + t->begin;
			t->tensor.size = (size_t) bytes;
			at = t->end;
		}
	}
	if (fault == NULL && at != size)
		fault = "there are bytes that no tensor accounts for";
	pfree(order);
	return fault;
}

static const char *
check_metadata(const Header *h)
{
	const SafePair **order = (const SafePair **) palloc((h->n_metadata + 1) * sizeof(SafePair *));
	const char *fault = NULL;

	for (int i = 0; i < h->n_metadata; i++)
		order[i] = &h->metadata[i];
	qsort(order, h->n_metadata, sizeof(SafePair *), compare_pairs);
	for (int i = 1; i < h->n_metadata; i++)
		if (strcmp(order[i - 1]->key, order[i]->key) == 0)
			fault = "a metadata key occurs twice";
	pfree(order);
	return fault;
}

const char *
safetensors_read(const char *bytes, size_t size, SafeTensors *out)
{
	Header		h;
	uint64		length = 0;
	const char *fault;

	memset(out, 0, sizeof(*out));
	if (size < 8)
		return "there are fewer than 8 bytes";
	for (int i = 7; i >= 0; i--)
		length = length << 8 | (unsigned char) bytes[i];
	if (length > size - 8)
		return "the header is longer than the file";
	if (length > SAFETENSORS_MAX_HEADER)
		return "the header is longer than 100 MB";

	memset(&h, 0, sizeof(h));
	fault = parse_header(&h, bytes + 8, (size_t) length);
	if (fault == NULL)
		fault = check_metadata(&h);
	if (fault == NULL)
		fault = place_tensors(&h, bytes + 8 + length, size - 8 - length);
	if (fault != NULL)
		return fault;

	out->n_tensors = h.n_tensors;
	out->tensors = (SafeTensor *) palloc((h.n_tensors + 1) * sizeof(SafeTensor));
	for (int i = 0; i < h.n_tensors; i++)
		out->tensors[i] = h.tensors[i].tensor;
	out->n_metadata = h.n_metadata;
	out->metadata = h.metadata;
	return NULL;
}

const char *
safetensors_metadata(const SafeTensors *st, const char *key)
{
	for (int i = 0; i < st->n_metadata; i++)
		if (strcmp(st->metadata[i].key, key) == 0)
			return st->metadata[i].value;
	return NULL;
}

const SafeTensor *
safetensors_find(const SafeTensors *st, const char *name)
{
	for (int i = 0; i < st->n_tensors; i++)
		if (strcmp(st->tensors[i].name, name) == 0)
			return &st->tensors[i];
	return NULL;
}
