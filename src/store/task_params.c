/*
 * task_params.c
 *	  What adapting to a task returns, as bytes, and back.
 *
 * A safetensors file with a tensor "phi": the task's own tensors of the base's
 * learner, one after the other.  Their names and shapes are the base's, so the
 * header stays at some two hundred bytes for any network.  Of a memory only
 * the rows in use are there, and how many those are follows from the count of
 * numbers.  An N-way episode's params have a second tensor, "labels".
 *
 * Params are decoded for every row that is predicted from other ones than the
 * row before, so it must not cost a JSON parser.  For a given count of
 * numbers, and of bytes of labels, every byte of the header but those of three
 * fields of fixed width is always the same: the header is made once, and a
 * file is compared with it.  A file that differs is parsed, to tell what is
 * wrong with it.
 */
#include "postgres.h"

#include <limits.h>

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "learn/memory.h"
#include "store/crc32c.h"
#include "store/params_private.h"

#define ROWS_DIGITS 10
#define ROWS_BLANK "0000000000"
#define ROWS_MAX INT64CONST(9999999999)
#define BASE_BLANK "00000000000000000000000000000000"

/* Where the fields stand, and what stands between them. */
#define BEFORE_CRC PARAMS_BEGIN_KIND("task")
#define BEFORE_BASE "\",\"base\":\""
#define BEFORE_ROWS "\",\"rows\":\""
#define BEFORE_NUMBERS "\"},\"phi\":{\"dtype\":\"F32\",\"shape\":["
#define CRC_AT (HEADER_LENGTH + sizeof(BEFORE_CRC) - 1)
#define BASE_AT (CRC_AT + CRC_DIGITS + sizeof(BEFORE_BASE) - 1)
#define ROWS_AT (BASE_AT + DIGEST_LENGTH + sizeof(BEFORE_ROWS) - 1)
#define REST_AT (ROWS_AT + ROWS_DIGITS)

#define NUMBERS_AT (REST_AT + sizeof(BEFORE_NUMBERS) - 1)

#define MAX_TASK_HEADER 512

/* The header for a count of numbers and of labels' bytes, its fields blank. */
typedef struct TaskHeader
{
	size_t		numbers;
	size_t		labels;
	size_t		length;			/* with the 8 bytes before it; 0: not made */
	char		bytes[HEADER_LENGTH + MAX_TASK_HEADER];
} TaskHeader;

/*
 * A query seldom deals with more models than a few at a time, but with tasks
 * whose memories differ.
 */
static TaskHeader headers[32];
static int	next_header = 0;

static const TaskHeader *
task_header(size_t numbers, size_t labels)
{
	TaskHeader *header;
	SafePair	metadata[5];
	SafeTensor	tensors[2] = {{"phi", SAFE_F32, 1}, {"labels", SAFE_U8, 1}};
	SafeTensors st = {labels > 0 ? 2 : 1, tensors, 0, metadata};
	size_t		size;

	for (int i = 0; i < (int) lengthof(headers); i++)
		if (headers[i].length > 0 && headers[i].numbers == numbers && headers[i].labels == labels)
			return &headers[i];

	tensors[0].dims[0] = (int64_t) numbers;
	tensors[0].size = numbers * sizeof(real);
	tensors[1].dims[0] = (int64_t) labels;
	tensors[1].size = labels;
	params_add_metadata(&st, "format", PARAMS_FORMAT);
	params_add_metadata(&st, "kind", "task");
	params_add_metadata(&st, "crc32c", CRC_BLANK);
	params_add_metadata(&st, "base", BASE_BLANK);
	params_add_metadata(&st, "rows", ROWS_BLANK);

	header = &headers[next_header];
	header->length = 0;
	size = safetensors_size(&st) - tensors[0].size - labels;
	if (size > sizeof(header->bytes))
		elog(ERROR, "header of task params takes %zu bytes", size);
	safetensors_write_header(&st, header->bytes);
	header->numbers = numbers;
	header->labels = labels;
	header->length = size;
	next_header = (next_header + 1) % (int) lengthof(headers);
	return header;
}

/*
 * Do the bytes have the header, whatever its fields are?
 */
static bool
has_header(const char *data, size_t size, const TaskHeader *header)
{
	const char *bytes = header->bytes;

	return size == header->length + header->numbers * sizeof(real) + header->labels &&
		memcmp(data, bytes, CRC_AT) == 0 &&
		memcmp(data + CRC_AT + CRC_DIGITS, bytes + CRC_AT + CRC_DIGITS, BASE_AT - CRC_AT - CRC_DIGITS) == 0 &&
		memcmp(data + BASE_AT + DIGEST_LENGTH, bytes + BASE_AT + DIGEST_LENGTH, ROWS_AT - BASE_AT - DIGEST_LENGTH) == 0 &&
		memcmp(data + REST_AT, bytes + REST_AT, header->length - REST_AT) == 0;
}

static void
take_base(const char *from, char *base)
{
	memcpy(base, from, DIGEST_LENGTH);
	base[DIGEST_LENGTH] = '\0';
	if (!digest_is_valid(base))
		params_damaged("Their base is not a digest.");
}

static int64
take_rows(const char *from)
{
	int64		rows = 0;

	for (int i = 0; i < ROWS_DIGITS; i++)
	{
		if (from[i] < '0' || from[i] > '9')
			params_damaged("Their count of rows is not a number.");
		rows = rows * 10 + (from[i] - '0');
	}
	return rows;
}

static void
check_crc(const char *data, size_t size)
{
	if (!crc_is_sealed(data, size, CRC_AT))
		params_damaged("Their checksum does not match: they were changed after they were written.");
}

/*
 * The parts of any valid task params; phi and labels are not looked at more
 * closely.
 */
void
task_params_open(const bytea *bytes, char *base, int64 *rows, SafeTensor *phi, SafeTensor *labels)
{
	SafeTensors st;
	const SafeTensor *found;
	char	   *text;

	if (params_open(bytes, &st) != PARAMS_TASK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("params are those of a model, not of a task")));

	text = params_metadata(&st, "base");
	if (strlen(text) != DIGEST_LENGTH)
		params_damaged("Their base is not a digest.");
	take_base(text, base);
	text = params_metadata(&st, "rows");
	if (strlen(text) != ROWS_DIGITS)
		params_damaged("Their count of rows is not a number.");
	*rows = take_rows(text);

	found = safetensors_find(&st, "phi");
	if (found == NULL || found->type != SAFE_F32 || found->n_dims != 1)
		params_damaged("They lack the tensor \"phi\".");
	*phi = *found;

	memset(labels, 0, sizeof(*labels));
	found = safetensors_find(&st, "labels");
	if (found != NULL)
		*labels = *found;
	if (st.n_tensors != (found == NULL ? 1 : 2) ||
		(found != NULL && (found->type != SAFE_U8 || found->n_dims != 1)))
		params_damaged("They hold something else than the tensors \"phi\" and \"labels\".");
}

int
task_params_labels(const char *bytes, size_t size, char ***labels)
{
	int			n = 0;

	for (size_t i = 0; i < size; i++)
		n += bytes[i] == '\0';
	if (n > ENCODING_MAX_CLASSES || (size > 0 && bytes[size - 1] != '\0'))
		params_damaged("They have too many labels, or one without an end.");
	*labels = (char **) palloc(sizeof(char *) * Max(n, 1));
	n = 0;
	for (size_t at = 0; at < size; at += strlen(bytes + at) + 1)
	{
		/* a copy in either case, which ends with its zero byte */
		char	   *label = pstrdup(bytes + at);

		if (!pg_verify_mbstr(PG_UTF8, label, (int) strlen(label), true))
			params_damaged("A label is not UTF-8.");
		(*labels)[n] = pg_any_to_server(label, (int) strlen(label), PG_UTF8);
		for (int i = 0; i < n; i++)
			if (strcmp((*labels)[i], (*labels)[n]) == 0)
				params_damaged("A label occurs twice.");
		n++;
	}
	return n;
}

void
task_params_base(const bytea *bytes, char *base)
{
	const char *data = VARDATA_ANY(bytes);
	size_t		size = VARSIZE_ANY_EXHDR(bytes);
	SafeTensor	phi;
	SafeTensor	labels;
	int64		rows;

	/* What comes before the base is the same for all counts of numbers. */
	if (size >= REST_AT &&
		memcmp(data + HEADER_LENGTH, BEFORE_CRC, sizeof(BEFORE_CRC) - 1) == 0 &&
		memcmp(data + CRC_AT + CRC_DIGITS, BEFORE_BASE, sizeof(BEFORE_BASE) - 1) == 0)
	{
		/* or a base that is damaged would be reported as one that is missing */
		check_crc(data, size);
		take_base(data + BASE_AT, base);
	}
	else
		task_params_open(bytes, base, &rows, &phi, &labels);
}

/* Without a look at the checksum: whoever decodes them checks it. */
bool
task_params_stand_on(const bytea *bytes, const char *base)
{
	const char *data = VARDATA_ANY(bytes);

	return VARSIZE_ANY_EXHDR(bytes) >= REST_AT &&
		memcmp(data + HEADER_LENGTH, BEFORE_CRC, sizeof(BEFORE_CRC) - 1) == 0 &&
		memcmp(data + CRC_AT + CRC_DIGITS, BEFORE_BASE, sizeof(BEFORE_BASE) - 1) == 0 &&
		memcmp(data + BASE_AT, base, DIGEST_LENGTH) == 0;
}

/*
 * The count of numbers that the header states, if it is one that can be
 * foretold; else 0.
 */
static size_t
stated_numbers(const char *data, size_t size)
{
	size_t		numbers = 0;

	if (size < NUMBERS_AT || memcmp(data + REST_AT, BEFORE_NUMBERS, sizeof(BEFORE_NUMBERS) - 1) != 0)
		return 0;
	for (size_t at = NUMBERS_AT; at < size && data[at] >= '0' && data[at] <= '9' && numbers < size; at++)
		numbers = numbers * 10 + (data[at] - '0');
	return numbers;
}

/*
 * Bytes of labels, likewise.
 */
static size_t
guess_labels(const char *data, size_t size, size_t numbers)
{
	size_t		header = HEADER_LENGTH;

	if (size < HEADER_LENGTH)
		return 0;
	for (int i = 0; i < 4; i++)
		header += (size_t) (unsigned char) data[i] << (8 * i);
	return header + numbers * sizeof(real) < size ? size - header - numbers * sizeof(real) : 0;
}

/*
 * The rows in use of the task's memories, whose numbers are as many as these.
 */
static int
rows_of_memory(const Component *component, size_t numbers)
{
	const TensorList *list = &component->list;
	int			memory;

	if (task_memory(component, numbers, &memory))
		return memory;
	if (task_size(list, INT_MAX) == task_size(list, 0))
		params_damaged("They hold %zu numbers where their base has %zu to adapt.", numbers, task_size(list, 0));
	params_damaged("They hold %zu numbers, which is no number of rows of a memory that their base has room for.", numbers);
	return 0;					/* not reached */
}

/*
 * A row of a memory ends it where it has no weight.
 */
static void
check_memory(const Component *component, const TaskParams *params)
{
	const TensorList *list = &component->list;
	const real *phi = params->phi;

	if (component->own.runs != NULL)
		return;

	for (int i = 0; i < list->n; i++)
	{
		Tensor		t = list->tensors[i];

		t.rows = memory_tensor_rows(&t, params->memory);
		if (t.role == TENSOR_MEMORY && memory_used(&t, phi) < t.rows)
			params_damaged("A row of the memory has no weight.");
		if (tensor_is_own(&t))
			phi += (size_t) t.rows * t.cols;
	}
}

TaskParams *
task_params_decode(const bytea *bytes, const Model *base)
{
	const char *data = VARDATA_ANY(bytes);
	size_t		size = VARSIZE_ANY_EXHDR(bytes);
	TaskParams *params = (TaskParams *) palloc(sizeof(TaskParams));
	const Component *component = &base->components[0];
	const TaskHeader *header = NULL;
	const char *numbers;
	const char *labels;
	size_t		labels_size;

	params->size = stated_numbers(data, size);
	labels_size = base->encoding->way > 0 ? guess_labels(data, size, params->size) : 0;
	if (task_memory(component, params->size, &params->memory))
		header = task_header(params->size, labels_size);
	if (header != NULL && has_header(data, size, header))
	{
		check_crc(data, size);
		if (memcmp(data + BASE_AT, base->digest, DIGEST_LENGTH) == 0)
			memcpy(params->base, base->digest, sizeof(params->base));
		else
			take_base(data + BASE_AT, params->base);
		params->rows = take_rows(data + ROWS_AT);
		numbers = data + header->length;
		labels = numbers + params->size * sizeof(real);
	}
	else
	{
		SafeTensor	phi;
		SafeTensor	found;

		task_params_open(bytes, params->base, &params->rows, &phi, &found);
		params->size = phi.size / sizeof(real);
		params->memory = rows_of_memory(component, params->size);
		numbers = phi.data;
		labels = found.data;
		labels_size = found.size;
	}
	if (strcmp(params->base, base->digest) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("params do not stand on this model"),
				 errdetail("Their base is %s, and the model is %s.", params->base, base->digest)));

	params->phi = floats_of_file(numbers, params->size);
	check_memory(component, params);
	params->n_labels = task_params_labels(labels, labels_size, &params->labels);
	if (params->n_labels > base->encoding->way)
		params_damaged("They name %d classes where their base tells %d apart.", params->n_labels, base->encoding->way);
	return params;
}

bytea *
task_params_encode(const Model *base, const real *theta, int64 rows, char *const *labels, int n_labels)
{
	const Component *component = &base->components[0];
	int			memory = memory_rows(&component->list, theta);
	size_t		numbers = task_size(&component->list, memory);
	real	   *phi;
	StringInfoData names;
	const TaskHeader *header;
	size_t		size;
	bytea	   *result;
	char	   *data;
	char		digits[ROWS_DIGITS + 1];

	initStringInfo(&names);
	for (int i = 0; i < n_labels; i++)
	{
		const char *name = pg_server_to_any(labels[i], (int) strlen(labels[i]), PG_UTF8);

		appendBinaryStringInfo(&names, name, (int) strlen(name) + 1);
	}
	header = task_header(numbers, names.len);
	size = header->length + numbers * sizeof(real) + names.len;
	result = (bytea *) palloc(VARHDRSZ + size);
	data = VARDATA(result);

	Assert(digest_is_valid(base->digest));
	SET_VARSIZE(result, VARHDRSZ + size);
	memcpy(data, header->bytes, header->length);
	memcpy(data + BASE_AT, base->digest, DIGEST_LENGTH);
	snprintf(digits, sizeof(digits), "%010lld", (long long) Min(Max(rows, 0), ROWS_MAX));
	memcpy(data + ROWS_AT, digits, ROWS_DIGITS);
	phi = (real *) (data + header->length);
#ifndef WORDS_BIGENDIAN
	if ((uintptr_t) phi % sizeof(real) == 0)
		task_gather(component, theta, memory, phi);
	else
#endif
	{
		phi = (real *) MemoryContextAllocHuge(CurrentMemoryContext, sizeof(real) * Max(numbers, 1));
		task_gather(component, theta, memory, phi);
		floats_to_file(data + header->length, phi, numbers);
		pfree(phi);
	}
	memcpy(data + size - names.len, names.data, names.len);
	crc_to_digits(crc32c_with_hole(data, size, CRC_AT), data + CRC_AT);
	return result;
}

bytea *
task_params_embed(const bytea *task, const bytea *base)
{
	Model	   *model = model_decode(base);
	TaskParams *params = task_params_decode(task, model);

	/* The baselines are not this task's: they would only take room. */
	model->n_components = 1;
	model->n_seen = 0;			/* nobody evaluates a task's params */
	model->rows = Min(model->rows + params->rows, ROWS_MAX);
	if (model->encoding->way > 0)
	{
		model->encoding->classes = params->labels;
		model->encoding->n_classes = params->n_labels;
	}
	task_scatter(&model->components[0], params->phi, params->memory, model->components[0].theta);
	return model_encode(model);
}
