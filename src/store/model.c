/*
 * model.c
 *	  A model as bytes, and back.
 *
 * The metadata say how the numbers are to be understood: the encoding of rows,
 * and for each component its learner, network and options.  From these the
 * learner lays out its tensors again, and they must be exactly the ones in the
 * file.  So a file can only be read into memory that its own bytes fill, and
 * what a learner does with a network cannot reach beyond it.
 */
#include "postgres.h"

#include <limits.h>

#include "port/pg_bswap.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "learn/memory.h"
#include "store/model_private.h"

#define SEEN_TENSOR "tasks"
#define THETA_ALIGNMENT 64

uint32
task_fingerprint(uint64 key)
{
	return (uint32) (key >> 32);
}

static int
compare_fingerprints(const void *a, const void *b)
{
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

bool
model_saw_task(const Model *model, uint64 key)
{
	uint32		fingerprint = task_fingerprint(key);

	return model->n_seen > 0 &&
		bsearch(&fingerprint, model->seen, model->n_seen, sizeof(uint32), compare_fingerprints) != NULL;
}

/* The fingerprints as a tensor: little-endian integers, ascending. */
static void
add_seen(SafeTensors *st, const Model *model)
{
	SafeTensor *tensor = &st->tensors[st->n_tensors++];
	uint32	   *sorted = (uint32 *) MemoryContextAllocHuge(CurrentMemoryContext,
														   mul_size(model->n_seen, sizeof(uint32)));

	memcpy(sorted, model->seen, model->n_seen * sizeof(uint32));
	qsort(sorted, model->n_seen, sizeof(uint32), compare_fingerprints);
#ifdef WORDS_BIGENDIAN
	for (int i = 0; i < model->n_seen; i++)
		sorted[i] = pg_bswap32(sorted[i]);
#endif
	tensor->name = pstrdup(SEEN_TENSOR);
	tensor->type = SAFE_I32;
	tensor->n_dims = 1;
	tensor->dims[0] = model->n_seen;
	tensor->size = model->n_seen * sizeof(uint32);
	tensor->data = (const char *) sorted;
}

static void
read_seen(Model *model, const SafeTensor *tensor)
{
	if (tensor->type != SAFE_I32 || tensor->n_dims != 1 || tensor->dims[0] > INT_MAX)
		params_damaged("The tensor \"%s\" is not a list of integers.", SEEN_TENSOR);
	model->n_seen = (int) tensor->dims[0];
	model->seen = (uint32 *) MemoryContextAllocHuge(CurrentMemoryContext, tensor->size + 1);
	memcpy(model->seen, tensor->data, tensor->size);
#ifdef WORDS_BIGENDIAN
	for (int i = 0; i < model->n_seen; i++)
		model->seen[i] = pg_bswap32(model->seen[i]);
#endif
	for (int i = 1; i < model->n_seen; i++)
		if (model->seen[i] < model->seen[i - 1])
			params_damaged("The tensor \"%s\" is not in order.", SEEN_TENSOR);
}

/* A component's tensors and its calibration's; returns their size in bytes. */
static size_t
add_component(SafeTensors *st, const Component *c)
{
	int			memory = memory_rows(&c->list, c->theta);
	size_t		bytes = 0;

	for (int i = 0; i < c->list.n; i++)
	{
		const Tensor *from = &c->list.tensors[i];
		SafeTensor *to = &st->tensors[st->n_tensors++];
		int			rows = memory_tensor_rows(from, memory);
		size_t		n = (size_t) rows * from->cols;

		to->name = psprintf("%s/%s", c->prefix, from->name);
		to->type = SAFE_F32;
		to->n_dims = 2;
		to->dims[0] = rows;
		to->dims[1] = from->cols;
		to->size = n * sizeof(real);
		to->data = (const char *) (c->theta + from->offset);
#ifdef WORDS_BIGENDIAN
		{
			char	   *swapped = (char *) MemoryContextAllocHuge(CurrentMemoryContext, to->size + 1);

			floats_to_file(swapped, c->theta + from->offset, n);
			to->data = swapped;
		}
#endif
		bytes += to->size;
	}
	return bytes + calibration_add(st, c);
}

static void
add_model_metadata(SafeTensors *st, const Model *model)
{
	StringInfoData encoders;
	StringInfoData components;

	initStringInfo(&encoders);
	encoding_to_json(model->encoding, &encoders);
	initStringInfo(&components);
	components_to_json(model, &components);
	st->metadata = (SafePair *) palloc(8 * sizeof(SafePair));
	params_add_metadata(st, "format", PARAMS_FORMAT);
	params_add_metadata(st, "kind", "model");
	params_add_metadata(st, "crc32c", CRC_BLANK);
	params_add_metadata(st, "learner", model->components[0].learner->name);
	params_add_metadata(st, "encoders", encoders.data);
	params_add_metadata(st, "components", components.data);
	params_add_metadata(st, "training", model->training != NULL ? model->training : "{}");
	if (model->rows > 0)
		params_add_metadata(st, "rows", psprintf(INT64_FORMAT, model->rows));
}

bytea *
model_encode(const Model *model)
{
	SafeTensors st = {0};
	size_t		max = 1;		/* the tensor of tasks seen */
	size_t		bytes = 0;
	size_t		size;
	bytea	   *result;

	for (int i = 0; i < model->n_components; i++)
		max += model->components[i].list.n + CALIBRATION_TENSORS;
	st.tensors = (SafeTensor *) palloc0(max * sizeof(SafeTensor));
	for (int i = 0; i < model->n_components; i++)
		bytes += add_component(&st, &model->components[i]);
	if (model->n_seen > 0)
	{
		add_seen(&st, model);
		bytes += st.tensors[st.n_tensors - 1].size;
	}
	add_model_metadata(&st, model);

	size = safetensors_size(&st);
	if (size - bytes > SAFETENSORS_MAX_HEADER)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("description of the model takes %zu MB, and at most %zu MB can be stored",
						(size - bytes) / (1024 * 1024) + 1, SAFETENSORS_MAX_HEADER / (1024 * 1024)),
				 errhint("Leave out categories with very many values: see the option \"exclude\".")));
	if (size > PARAMS_MAX_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("model takes %zu MB, and at most %zu MB can be stored",
						size / (1024 * 1024) + 1, (size_t) (PARAMS_MAX_SIZE / (1024 * 1024))),
				 errhint("Make hidden layers narrower, or leave out categories with very many values.")));
	result = (bytea *) palloc(VARHDRSZ + size);
	SET_VARSIZE(result, VARHDRSZ + size);
	safetensors_write(&st, VARDATA(result));
	params_seal(VARDATA(result), size);
	return result;
}

/*
 * Lets the learner lay out its tensors again.
 */
static void
lay_out(Component *component)
{
	TensorList *list = &component->list;
	int			max = learner_max_tensors(&component->spec.net) * (1 + component->spec.n_parts);

	memset(list, 0, sizeof(*list));
	list->tensors = (Tensor *) palloc0(mul_size(max, sizeof(Tensor)));
	list->max = max;
	if (!component->learner->layout(&component->spec, list))
		params_damaged("The component \"%s\" does not describe a network that can be laid out.", component->prefix);
	task_note_own(component);
}

bool
tensor_has_name(const SafeTensor *found, const char *prefix, const char *name)
{
	size_t		length = strlen(prefix);

	return strncmp(found->name, prefix, length) == 0 && found->name[length] == '/' &&
		strcmp(found->name + length + 1, name) == 0;
}

/* Is it the tensor that the learner laid out?  Of a memory it may be fewer rows. */
static bool
is_tensor(const SafeTensor *found, const char *prefix, const Tensor *expected)
{
	return tensor_has_name(found, prefix, expected->name) && found->type == SAFE_F32 && found->n_dims == 2 &&
		(found->dims[0] == expected->rows ||
		 (expected->role == TENSOR_MEMORY && found->dims[0] < expected->rows)) &&
		found->dims[1] == expected->cols;
}

/*
 * Reads a component whose tensors are the next ones of the file; returns how
 * many they are.
 */
static int
read_component(Component *component, JsonbContainer *object, const Encoding *encoding,
			   const SafeTensors *st, int first)
{
	TensorList *list = &component->list;

	component_from_json(component, object, encoding);
	lay_out(component);
	if (list->n > st->n_tensors - first)
		params_damaged("The component \"%s\" lacks tensors.", component->prefix);

	/* only now is the size known to be one that the file has */
	for (int i = 0; i < list->n; i++)
		if (!is_tensor(&st->tensors[first + i], component->prefix, &list->tensors[i]))
			params_damaged("The component \"%s\" lacks the tensor \"%s\" of %d by %d numbers.", component->prefix,
						   list->tensors[i].name, list->tensors[i].rows, list->tensors[i].cols);
	if (list->size > PARAMS_MAX_SIZE / sizeof(real))
		params_damaged("The component \"%s\" has room for more numbers than a model may have.", component->prefix);
	component->theta = (real *) TYPEALIGN(THETA_ALIGNMENT, palloc0(list->size * sizeof(real) + THETA_ALIGNMENT));
	for (int i = 0; i < list->n; i++)
		floats_from_file(component->theta + list->tensors[i].offset, st->tensors[first + i].data,
						 st->tensors[first + i].size / sizeof(real));
	return list->n + calibration_read(component, st, first + list->n);
}

/* Rows that a self-contained copy was adapted on, which other models do not say. */
static int64
read_rows(const SafeTensors *st)
{
	const char *text = safetensors_metadata(st, "rows");
	size_t		length = text ? strlen(text) : 0;

	if (text == NULL)
		return 0;
	if (length == 0 || length > 10 || strspn(text, "0123456789") != length)
		params_damaged("Their count of rows is not a number.");
	return strtoll(text, NULL, 10);
}

Model *
model_decode(const bytea *bytes)
{
	Model	   *model = (Model *) palloc0(sizeof(Model));
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "meta params header", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	SafeTensors st;
	JsonbContainer *components;
	char	   *encoders;
	int			at = 0;

	/* What is parsed goes before the model does, which may be kept for long. */
	if (params_open(bytes, &st) != PARAMS_MODEL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("params are those of a task, not of a model")));
	encoders = params_metadata(&st, "encoders");
	components = components_parse(&st);
	(void) metadata_parse(params_metadata(&st, "training"), "training");
	MemoryContextSwitchTo(old);

	model->encoding = encoding_from_json(encoders);
	model->training = pstrdup(params_metadata(&st, "training"));
	model->rows = read_rows(&st);
	model->n_components = (int) JsonContainerSize(components);
	model->components = (Component *) palloc0(model->n_components * sizeof(Component));
	for (int i = 0; i < model->n_components; i++)
		at += read_component(&model->components[i],
							 getIthJsonbValueFromContainer(components, (uint32) i)->val.binary.data,
							 model->encoding, &st, at);
	if (at < st.n_tensors && strcmp(st.tensors[at].name, SEEN_TENSOR) == 0)
		read_seen(model, &st.tensors[at++]);
	if (at != st.n_tensors)
		params_damaged("They hold %d tensors more than their components have.", st.n_tensors - at);
	if (strcmp(model->components[0].learner->name, params_metadata(&st, "learner")) != 0)
		params_damaged("Their metadata \"learner\" is not the first component's.");

	params_digest(bytes, model->digest);
	MemoryContextDelete(scratch);
	return model;
}
