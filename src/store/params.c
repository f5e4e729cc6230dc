/*
 * params.c
 *	  What models and task params have in common as files: what kind the bytes
 *	  are, whether they are whole, what names them.
 *
 * Bytes reach us from anyone, so nothing here or above believes them: the
 * checksum tells damage from damage done on purpose not at all, and every
 * count is checked again where it is used (store/model.c,
 * store/task_params.c).
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "compat.h"
#include "learn/memory.h"
#include "store/crc32c.h"
#include "store/params_private.h"

/* The longest bytes that could be meant as a model's name. */
#define MAX_NAME_BYTES 200

/*
 * The bytes as text, where they could be a model's name cast to bytea.
 */
static char *
bytes_as_name(const bytea *bytes)
{
	const char *data = VARDATA_ANY(bytes);
	Size		size = VARSIZE_ANY_EXHDR(bytes);

	if (size == 0 || size > MAX_NAME_BYTES)
		return NULL;
	for (Size i = 0; i < size; i++)
		if ((unsigned char) data[i] < 0x20 || data[i] == 0x7f)
			return NULL;
	if (!pg_verifymbstr(data, (int) size, true))
		return NULL;
	return pnstrdup(data, size);
}

/*
 * Is this how a file of this version begins?
 */
static bool
begins_with(const char *data, Size size, const char *text)
{
	Size		length = strlen(text);

	return size >= HEADER_LENGTH + length && memcmp(data + HEADER_LENGTH, text, length) == 0;
}

/*
 * Raises the error for bytes that are not params.  fault, a part of a
 * sentence, is what is wrong with them as a file, or NULL where they are
 * somebody else's file.
 */
static void
raise_foreign(const bytea *bytes, const char *fault)
{
	char	   *name = bytes_as_name(bytes);

	if (fault != NULL && begins_with(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), PARAMS_BEGIN))
		params_damaged("They are not a valid safetensors file: %s.", fault);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("bytea value is not params"),
			 fault != NULL ?
			 errdetail("It is not a safetensors file: %s.", fault) :
			 errdetail("It is a safetensors file, but not one that meta wrote."),
			 name != NULL ?
			 errhint("To use the model of that name, write meta.params(%s).", quote_literal_cstr(name)) :
			 errhint("Params are what meta.params('...'), meta.adapt and the aggregate meta.train return.")));
}

/*
 * The kind that the metadata tell, in a format that we read.
 */
static ParamsKind
kind_of(const bytea *bytes, const SafeTensors *st)
{
	const char *format = safetensors_metadata(st, "format");
	const char *kind = safetensors_metadata(st, "kind");

	if (format == NULL || kind == NULL || strncmp(format, "meta/", 5) != 0)
		raise_foreign(bytes, NULL);
	if (strcmp(format, PARAMS_FORMAT) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("params have a format that is not known"),
				 errdetail("Their format is not \"%s\".", PARAMS_FORMAT),
				 errhint("A later version of meta wrote them: update the extension.")));
	if (strcmp(kind, "model") == 0)
		return PARAMS_MODEL;
	if (strcmp(kind, "task") == 0)
		return PARAMS_TASK;
	params_damaged("They are neither a model nor those of a task.");
	return PARAMS_MODEL;		/* not reached */
}

ParamsKind
params_kind(const bytea *bytes)
{
	const char *data = VARDATA_ANY(bytes);
	Size		size = VARSIZE_ANY_EXHDR(bytes);
	SafeTensors st;
	const char *fault;

	/* Enough to choose who decodes, and whoever decodes checks all of it. */
	if (begins_with(data, size, PARAMS_BEGIN_KIND("task")))
		return PARAMS_TASK;
	if (begins_with(data, size, PARAMS_BEGIN_KIND("model")))
		return PARAMS_MODEL;

	fault = safetensors_read(data, size, &st);
	if (fault != NULL)
		raise_foreign(bytes, fault);
	return kind_of(bytes, &st);
}

/* ---- the checksum ---- */

void
crc_to_digits(uint32 crc, char *digits)
{
	for (int i = 0; i < CRC_DIGITS; i++)
		digits[i] = "0123456789abcdef"[crc >> (28 - 4 * i) & 15];
}

bool
crc_is_sealed(const char *bytes, size_t size, size_t at)
{
	char		digits[CRC_DIGITS];

	crc_to_digits(crc32c_with_hole(bytes, size, at), digits);
	return memcmp(bytes + at, digits, CRC_DIGITS) == 0;
}

/*
 * Where the digits stand, or 0.
 */
static size_t
crc_position(const char *data, size_t size)
{
	size_t		at = 0;

	if (begins_with(data, size, PARAMS_BEGIN_KIND("task")))
		at = HEADER_LENGTH + strlen(PARAMS_BEGIN_KIND("task"));
	else if (begins_with(data, size, PARAMS_BEGIN_KIND("model")))
		at = HEADER_LENGTH + strlen(PARAMS_BEGIN_KIND("model"));
	return at + CRC_DIGITS <= size ? at : 0;
}

void
params_seal(char *bytes, size_t size)
{
	size_t		at = crc_position(bytes, size);

	Assert(at > 0);
	crc_to_digits(crc32c_with_hole(bytes, size, at), bytes + at);
}

ParamsKind
params_open(const bytea *bytes, SafeTensors *st)
{
	const char *data = VARDATA_ANY(bytes);
	size_t		size = VARSIZE_ANY_EXHDR(bytes);
	const char *fault = safetensors_read(data, size, st);
	ParamsKind	kind;
	size_t		crc_at;

	if (fault != NULL)
		raise_foreign(bytes, fault);
	kind = kind_of(bytes, st);

	crc_at = crc_position(data, size);
	if (crc_at == 0 || !crc_is_sealed(data, size, crc_at))
		params_damaged("Their checksum does not match: they were changed after they were written.");
	return kind;
}

/* ---- metadata, numbers, names ---- */

char *
params_metadata(const SafeTensors *st, const char *key)
{
	const char *value = safetensors_metadata(st, key);

	if (value == NULL)
		params_damaged("They lack the metadata \"%s\".", key);
	return pg_any_to_server(value, (int) strlen(value), PG_UTF8);
}

void
params_add_metadata(SafeTensors *st, const char *key, const char *value)
{
	SafePair   *pair = &st->metadata[st->n_metadata++];

	pair->key = pstrdup(key);
	pair->value = pg_server_to_any(value, (int) strlen(value), PG_UTF8);
}

#ifdef WORDS_BIGENDIAN
static void
swap_floats(char *to, const char *from, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		uint32		word;

		memcpy(&word, from + i * sizeof(word), sizeof(word));
		word = pg_bswap32(word);
		memcpy(to + i * sizeof(word), &word, sizeof(word));
	}
}
#endif

StaticAssertDecl(sizeof(real) == 4, "params hold numbers of 32 bits");

void
floats_from_file(real *to, const char *from, size_t n)
{
#ifdef WORDS_BIGENDIAN
	swap_floats((char *) to, from, n);
#else
	memcpy(to, from, n * sizeof(real));
#endif
}

const real *
floats_of_file(const char *from, size_t n)
{
	real	   *copy;

#ifndef WORDS_BIGENDIAN
	if ((uintptr_t) from % sizeof(real) == 0)
		return (const real *) from;
#endif
	copy = (real *) palloc(Max(n, 1) * sizeof(real));
	floats_from_file(copy, from, n);
	return copy;
}

void
floats_to_file(char *to, const real *from, size_t n)
{
#ifdef WORDS_BIGENDIAN
	swap_floats(to, (const char *) from, n);
#else
	memcpy(to, from, n * sizeof(real));
#endif
}

bool
digest_is_valid(const char *digest)
{
	return strspn(digest, "0123456789abcdef") == DIGEST_LENGTH && digest[DIGEST_LENGTH] == '\0';
}

void
params_digest(const bytea *bytes, char *digest)
{
	bytea	   *sha = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(bytes)));

	hex_encode(VARDATA_ANY(sha), DIGEST_LENGTH / 2, digest);
	digest[DIGEST_LENGTH] = '\0';
	pfree(sha);
}

/* ---- the numbers that are a task's own ---- */

/* Numbers of a tensor that are stored. */
static size_t
stored_size(const Tensor *tensor, int memory)
{
	return (size_t) memory_tensor_rows(tensor, memory) * tensor->cols;
}

size_t
task_size(const TensorList *list, int memory)
{
	size_t		size = 0;

	for (int i = 0; i < list->n; i++)
		if (tensor_is_own(&list->tensors[i]))
			size += stored_size(&list->tensors[i], memory);
	return size;
}

void
task_note_own(Component *component)
{
	const TensorList *list = &component->list;
	OwnRuns    *own = &component->own;

	memset(own, 0, sizeof(*own));
	own->runs = (OwnRun *) palloc(sizeof(OwnRun) * Max(list->n, 1));
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *t = &list->tensors[i];
		size_t		n = (size_t) t->rows * t->cols;
		OwnRun	   *last = own->n > 0 ? &own->runs[own->n - 1] : NULL;

		if (t->role == TENSOR_MEMORY)
			own->memory = true;
		if (!tensor_is_own(t))
			continue;
		own->size += n;
		if (last != NULL && last->offset + last->size == t->offset)
			last->size += n;
		else
		{
			own->runs[own->n].offset = t->offset;
			own->runs[own->n++].size = n;
		}
	}
	if (own->memory)
	{
		pfree(own->runs);
		own->runs = NULL;
	}
}

bool
task_memory(const Component *component, size_t size, int *memory)
{
	const TensorList *list = &component->list;
	int			room = 0;
	int			low = 0;
	size_t		others = 0;

	*memory = 0;
	if (component->own.runs != NULL)
		return component->own.size == size;
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *t = &list->tensors[i];

		if (t->role == TENSOR_MEMORY)
			room = Max(room, t->rows);
		else if (tensor_is_own(t))
			others += (size_t) t->rows * t->cols;
	}
	if (room == 0)
		return others == size;

	/* sizes grow with the rows */
	for (int high = room; low < high;)
	{
		int			middle = low + (high - low) / 2;

		if (task_size(list, middle) < size)
			low = middle + 1;
		else
			high = middle;
	}
	*memory = low;
	return task_size(list, low) == size;
}

void
task_gather(const Component *component, const real *theta, int memory, real *phi)
{
	const TensorList *list = &component->list;
	const OwnRuns *own = &component->own;

	if (own->runs != NULL)
	{
		for (int i = 0; i < own->n; phi += own->runs[i++].size)
			memcpy(phi, theta + own->runs[i].offset, own->runs[i].size * sizeof(real));
		return;
	}
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *t = &list->tensors[i];
		size_t		n = stored_size(t, memory);

		if (tensor_is_own(t))
		{
			memcpy(phi, theta + t->offset, n * sizeof(real));
			phi += n;
		}
	}
}

void
task_scatter(const Component *component, const real *phi, int memory, real *theta)
{
	const TensorList *list = &component->list;
	const OwnRuns *own = &component->own;

	if (own->runs != NULL)
	{
		for (int i = 0; i < own->n; phi += own->runs[i++].size)
			memcpy(theta + own->runs[i].offset, phi, own->runs[i].size * sizeof(real));
		return;
	}
	for (int i = 0; i < list->n; i++)
	{
		const Tensor *t = &list->tensors[i];

		if (tensor_is_own(t))
		{
			size_t		n = stored_size(t, memory);
			size_t		room = (size_t) t->rows * t->cols;

			memcpy(theta + t->offset, phi, n * sizeof(real));
			memset(theta + t->offset + n, 0, (room - n) * sizeof(real));
			phi += n;
		}
	}
}
