/*
 * params.h
 *	  What a model and what task params are as bytes, and back.
 *
 * Both are safetensors files.  A model holds everything needed to adapt and
 * predict: the encoding, and one or more components (the learner that was
 * asked for, then the baselines), each a learner with its spec and tensors.
 * Task params hold the tensors that adaptation changed in the main component,
 * and the digest of the model they stand on.
 *
 * Metadata of a model: "format" = "meta/1", "kind" = "model", "crc32c",
 * "learner" (main component), "encoders" (JSON, data/encoding.h), "components"
 * (JSON: an array of {"prefix", "learner", "loss", "network", "options"}),
 * "training" (JSON: scalars about how it was trained); of a self-contained
 * copy of task params also "rows".  Tensors are named "<prefix>/<tensor>", F32,
 * in the order of the components' layouts.  A calibrated component's are
 * followed by one of "<prefix>/calibration.rows", as long as it has knots, and
 * as many corrections at these as its loss has: ".slope" and ".offset", or
 * ".variance".
 * Metadata of task params: "format", "kind" = "task", "crc32c", "base" =
 * digest, "rows" = rows adapted on, 10 digits.  One tensor, "phi": the task's
 * own numbers, whose names and shapes are those of the base, but for the rows
 * of a memory (learn/memory.h): as many as are in use; in N-way episodes
 * a second one, "labels", U8: the classes' names in the order of their
 * outputs, UTF-8, a zero byte after each.
 *
 * "format", "kind" and "crc32c" come first, without blanks, so that they can
 * be found without parsing.  The checksum is the CRC-32C of the whole file as
 * it is while its own eight digits are zeros, in lower-case hexadecimal.
 */
#ifndef STORE_PARAMS_H
#define STORE_PARAMS_H

#include "postgres.h"

#include "data/encoding.h"
#include "learn/calibration.h"

#define PARAMS_FORMAT "meta/1"
#define PARAMS_MAX_SIZE ((Size) 256 * 1024 * 1024)
#define DIGEST_LENGTH 32		/* hexadecimal digits: the first 128 bits of SHA-256 */

/* Tensors of a task's own that lie side by side. */
typedef struct OwnRun
{
	size_t		offset;
	size_t		size;
} OwnRun;

/*
 * The tensors that are a task's own, for params that are taken apart in every
 * row.  With a memory among them their sizes vary from task to task.
 */
typedef struct OwnRuns
{
	bool		memory;
	size_t		size;			/* numbers in all, without a memory's */
	int			n;
	OwnRun	   *runs;			/* NULL: none noted; or there is a memory */
} OwnRuns;

typedef struct Component
{
	char	   *prefix;			/* of its tensors' names */
	const Learner *learner;
	LearnerSpec spec;
	TensorList	list;
	OwnRuns		own;			/* of a model that was decoded */
	real	   *theta;			/* list.size numbers, aligned to 64 */
	Calibration calibration;	/* of its outputs */
} Component;

typedef struct Model
{
	char		digest[DIGEST_LENGTH + 1];	/* of the bytes it was read from */
	Encoding   *encoding;
	int			n_components;
	Component  *components;		/* [0] is the learner itself */
	char	   *training;		/* JSON */
	int64		rows;			/* of a task, that the first component has been
								 * adapted on: 0 but for a self-contained copy */
	int			n_seen;			/* tasks it was trained or validated on, by */
	uint32	   *seen;			/* task_fingerprint, ascending; tensor "tasks" */
} Model;

typedef struct TaskParams
{
	char		base[DIGEST_LENGTH + 1];
	int64		rows;
	const real *phi;			/* the task's own tensors of the base's main
								 * component, in order, without gaps; often in
								 * the bytes themselves */
	size_t		size;			/* numbers */
	int			memory;			/* rows in use of those that are a memory */
	int			n_labels;		/* of an N-way episode, else 0 */
	char	  **labels;			/* the classes its rows named, by output */
} TaskParams;

typedef enum ParamsKind
{
	PARAMS_MODEL,
	PARAMS_TASK
} ParamsKind;

/*
 * What kind of params the bytes are.  Anything that is not params of this
 * extension is an error (ERRCODE_INVALID_BINARY_REPRESENTATION or
 * ERRCODE_DATA_CORRUPTED) with a detail, and the hint to write
 * meta.params('...') where the bytes look like a model's name.
 */
extern ParamsKind params_kind(const bytea *bytes);

/* All in the current memory context.  CRC, names, shapes, counts are checked. */
extern Model *model_decode(const bytea *bytes);
extern bytea *model_encode(const Model *model);
extern TaskParams *task_params_decode(const bytea *bytes, const Model *base);

/* theta: all of a task's parameters (list.size numbers). */
extern bytea *task_params_encode(const Model *base, const real *theta, int64 rows,
								 char *const *labels, int n_labels);

/* Only the "base" of task params (checked to be a digest), cheaply. */
extern void task_params_base(const bytea *bytes, char *base);

/* Is that base a certain one?  Cheaper still; false where it would have to be looked for. */
extern bool task_params_stand_on(const bytea *bytes, const char *base);

/* A self-contained copy: the base model's bytes with the task's tensors laid over. */
extern bytea *task_params_embed(const bytea *task, const bytea *base);

/*
 * Readable contents: meta.describe.  base: of task params, the bytes of the
 * model they stand on, or NULL, which leaves out what only it can name.
 */
extern Jsonb *params_describe(const bytea *bytes, const bytea *base);

/* Hexadecimal digest of a model's bytes, into digest[DIGEST_LENGTH + 1]. */
extern void params_digest(const bytea *bytes, char *digest);

/*
 * Was the task one of those that the model was trained or validated on?  What
 * is kept of a task key is 32 bits of its hash: not the key, and of a million
 * new tasks less than one is taken for one of a thousand seen.
 */
extern uint32 task_fingerprint(uint64 key);
extern bool model_saw_task(const Model *model, uint64 key);

/*
 * How many numbers a task's own tensors are when its memories have this many
 * rows in use, and copying them out of / into a full theta.
 */
extern size_t task_size(const TensorList *list, int memory);
extern void task_gather(const Component *component, const real *theta, int memory, real *phi);
extern void task_scatter(const Component *component, const real *phi, int memory, real *theta);

/* The other way round: how many rows those are; false where no number of them fits. */
extern bool task_memory(const Component *component, size_t size, int *memory);

/* Notes which tensors are a task's own. */
extern void task_note_own(Component *component);

#endif							/* STORE_PARAMS_H */
