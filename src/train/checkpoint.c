/*
 * checkpoint.c
 *	  The state of a training as bytes: a safetensors file with the encoding,
 *	  a digest of the packed tasks, and for every phase its parameters,
 *	  optimiser state and counters.  Never a row.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "store/safetensors.h"
#include "train/checkpoint.h"

#define CHECKPOINT_FORMAT "meta checkpoint/1"

/* What a phase keeps: the vectors, by name. */
static const struct
{
	const char *name;
	size_t		offset;
}			vectors[] = {
	{"theta", offsetof(Phase, theta)},
	{"average", offsetof(Phase, average)},
	{"best", offsetof(Phase, best)},
	{"adam.first", offsetof(Phase, adam) + offsetof(Adam, first)},
	{"adam.second", offsetof(Phase, adam) + offsetof(Adam, second)},
};

/* And the step that each row of tables by rows has got to; without it, all have got to the last. */
#define ROWS_AT "rows_at"

static real *
phase_vector(const Phase *phase, int i)
{
	return *(real *const *) ((const char *) phase + vectors[i].offset);
}

bytea *
checkpoint_encode(const Training *training)
{
	int			max = training->n_phases * (lengthof(vectors) + 1);
	SafeTensors st = {0};
	StringInfoData encoders;
	bytea	   *bytes;
	Size		size;

	st.tensors = palloc0(sizeof(SafeTensor) * max);
	st.metadata = palloc0(sizeof(SafePair) * (training->n_phases + 4));
	initStringInfo(&encoders);
	encoding_to_json(training->set->encoding, &encoders);
	st.metadata[st.n_metadata++] = (SafePair) {"format", CHECKPOINT_FORMAT};
	/* a safetensors header is UTF-8, whatever the database is */
	st.metadata[st.n_metadata++] = (SafePair) {"encoders", pg_server_to_any(encoders.data, encoders.len, PG_UTF8)};
	st.metadata[st.n_metadata++] = (SafePair) {"tasks", (char *) training->set->digest};
	st.metadata[st.n_metadata++] = (SafePair) {"phase", psprintf("%d", training->phase)};

	for (int p = 0; p < training->n_phases; p++)
	{
		const Phase *phase = &training->phases[p];

		/* 17 digits: the same number comes back */
		st.metadata[st.n_metadata++] = (SafePair) {
			psprintf("phase %d", p),
			psprintf("%d %d %d %d %.17g %.17g %.17g %.17g %.17g %d %.17g", phase->iteration, phase->best_iteration, phase->strikes,
					 phase->done, phase->best_score, phase->best_loss, phase->train_loss, phase->validation_loss,
					 phase->metric, phase->rows_only, phase->rows_score)
		};
		if (phase->iteration == 0 && p != training->phase)
			continue;			/* not begun: made anew from the seed */
		for (int i = 0; i < lengthof(vectors); i++)
		{
			SafeTensor *tensor = &st.tensors[st.n_tensors];

			if (phase->done && strcmp(vectors[i].name, "best") != 0)
				continue;		/* ended: only its result is needed */
			tensor->name = psprintf("%d/%s", p, vectors[i].name);
			tensor->type = SAFE_F32;
			tensor->n_dims = 1;
			tensor->dims[0] = phase->list.size;
			tensor->data = (const char *) phase_vector(phase, i);
			tensor->size = phase->list.size * sizeof(real);
			st.n_tensors++;
		}
		if (!phase->done && !phase->rows_only && outer_rows(&phase->list) > 0)
			st.tensors[st.n_tensors++] = (SafeTensor) {
				.name = psprintf("%d/%s", p, ROWS_AT), .type = SAFE_I32, .n_dims = 1, .dims = {outer_rows(&phase->list)},
				.data = (const char *) phase->rows_at, .size = outer_rows(&phase->list) * sizeof(int32)
			};
	}
	size = safetensors_size(&st);
	if (!AllocSizeIsValid(size + VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a checkpoint of this training would take %zu bytes, more than a value may have", size),
				 errhint("Lower the option hidden, or leave out columns with very many categories by the option exclude.")));
	bytes = palloc(size + VARHDRSZ);
	SET_VARSIZE(bytes, size + VARHDRSZ);
	safetensors_write(&st, VARDATA(bytes));
	return bytes;
}

static void
read_checkpoint(const bytea *state, SafeTensors *st)
{
	const char *fault = safetensors_read(VARDATA_ANY(state), VARSIZE_ANY_EXHDR(state), st);
	const char *format;

	if (fault)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the checkpoint is damaged: %s", fault),
				 errhint("Train the model anew.")));
	format = safetensors_metadata(st, "format");
	if (format == NULL || strcmp(format, CHECKPOINT_FORMAT) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the checkpoint has an unknown format"),
				 errhint("Train the model anew.")));
}

static const char *
required(const SafeTensors *st, const char *key)
{
	const char *value = safetensors_metadata(st, key);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the checkpoint is damaged: \"%s\" is missing", key),
				 errhint("Train the model anew.")));
	return value;
}

Encoding *
checkpoint_encoding(const bytea *state)
{
	SafeTensors st;
	const char *encoders;

	read_checkpoint(state, &st);
	encoders = required(&st, "encoders");
	return encoding_from_json(pg_any_to_server(encoders, (int) strlen(encoders), PG_UTF8));
}

static void
restore_rows_at(const SafeTensors *st, int p, Phase *phase)
{
	const SafeTensor *tensor = safetensors_find(st, psprintf("%d/%s", p, ROWS_AT));
	size_t		n = outer_rows(&phase->list);

	for (size_t i = 0; i < n; i++)
		phase->rows_at[i] = phase->iteration;
	if (tensor == NULL)
		return;
	if (tensor->type != SAFE_I32 || tensor->size != n * sizeof(int32))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the checkpoint is damaged: phase %d has no \"%s\" of the right size", p, ROWS_AT),
				 errhint("Train the model anew.")));
	memcpy(phase->rows_at, tensor->data, tensor->size);
	for (size_t i = 0; i < n; i++)
		if (phase->rows_at[i] < 0 || phase->rows_at[i] < phase->iteration - OUTER_SETTLES || phase->rows_at[i] > phase->iteration)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the checkpoint is damaged: a row of phase %d is at step %d of %d", p, phase->rows_at[i], phase->iteration),
					 errhint("Train the model anew.")));
}

void
checkpoint_restore(Training *training, const bytea *state)
{
	SafeTensors st;

	read_checkpoint(state, &st);
	if (strcmp(required(&st, "tasks"), training->set->digest) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the source has changed since the training was interrupted"),
				 errdetail("Going on would not give the model that the uninterrupted training would have given."),
				 errhint("Train anew with CALL meta.train.")));

	training->phase = atoi(required(&st, "phase"));
	if (training->phase < 0 || training->phase >= training->n_phases)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the checkpoint is damaged: it is of phase %d of %d", training->phase, training->n_phases),
				 errhint("Train the model anew.")));
	for (int p = 0; p < training->n_phases; p++)
	{
		Phase	   *phase = &training->phases[p];
		int			done;
		int			rows_only = 0;
		int			read = sscanf(required(&st, psprintf("phase %d", p)), "%d %d %d %d %lf %lf %lf %lf %lf %d %lf",
								  &phase->iteration, &phase->best_iteration, &phase->strikes, &done,
								  &phase->best_score, &phase->best_loss, &phase->train_loss, &phase->validation_loss,
								  &phase->metric, &rows_only, &phase->rows_score);

		/* of before whole rows were learned on: the first nine */
		if ((read != 9 && read != 11) || (rows_only != 0 && phase->learner->generative == NULL))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the checkpoint is damaged: the counters of phase %d cannot be read", p),
					 errhint("Train the model anew.")));
		if (phase->iteration < 0 || phase->iteration > phase->spec.options.iterations)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the checkpoint is damaged: iteration %d of phase %d", phase->iteration, p),
					 errhint("Train the model anew.")));
		phase->rows_only = rows_only != 0;
		phase->done = done != 0 || phase->iteration == phase->spec.options.iterations;
		for (int i = 0; i < lengthof(vectors); i++)
		{
			const SafeTensor *tensor = safetensors_find(&st, psprintf("%d/%s", p, vectors[i].name));

			if (tensor == NULL && (phase->iteration == 0 || (phase->done && strcmp(vectors[i].name, "best") != 0)))
				continue;
			if (tensor == NULL || tensor->type != SAFE_F32 || tensor->size != phase->list.size * sizeof(real))
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("the checkpoint is damaged: phase %d has no \"%s\" of the right size", p, vectors[i].name),
						 errhint("Train the model anew.")));
			memcpy(phase_vector(phase, i), tensor->data, tensor->size);
		}
		if (!phase->done && phase->iteration > 0)
			restore_rows_at(&st, p, phase);
	}
}
