/*
 * encoding.h
 *	  How a row's columns become numbers: part of every model.
 *
 * An Encoding is chosen and fitted when a model is trained (on the rows of
 * training tasks only), stored in the model as JSON, and applied identically
 * when rows are adapted on, predicted and evaluated.
 */
#ifndef DATA_ENCODING_H
#define DATA_ENCODING_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "learn/learner.h"
#include "nn/network.h"
#include "nn/rows.h"

typedef enum EncoderKind
{
	ENCODER_NUMBER,				/* (value - mean) / deviation; missing: 0 */
	ENCODER_BOOLEAN,			/* 0 or 1; missing: training mean */
	ENCODER_CATEGORY,			/* embedded, or one-hot when few labels */
	ENCODER_VECTOR,				/* fixed length, as it is */
	ENCODER_IMAGE,				/* bytea or integers: 8-bit pixels, scaled to 0..1;
								 * other arrays as they are */
	ENCODER_RAW					/* a number as it is; mean and deviation are for
								 * models of it */
} EncoderKind;

/* What a number was before it became one. */
typedef enum ValueType
{
	VALUE_PLAIN,				/* a number; of a boolean, a boolean */
	VALUE_INTEGER,				/* also 0 and 1 for a boolean */
	VALUE_DATE,					/* these are seconds: see data/column.h */
	VALUE_TIME,
	VALUE_TIMETZ,
	VALUE_TIMESTAMP,
	VALUE_TIMESTAMPTZ,
	VALUE_INTERVAL,
	VALUE_BOOLEAN				/* of what is encoded as a number */
} ValueType;

typedef struct Encoder
{
	char	   *column;			/* exact column name */
	EncoderKind kind;
	ValueType	type;			/* of kinds number, boolean and raw */
	double		mean;
	double		deviation;
	bool		indicator;		/* NULLs occurred in training: one more input,
								 * 1 where the value is missing; of a category
								 * one more code, after those of the labels */
	bool		one_hot;		/* category: inputs instead of an embedding */
	int			width;			/* numeric inputs used, indicator included */
	int			image[3];		/* height, width, channels */
	int			n_labels;
	char	  **labels;			/* sorted bytewise; code = position + 1 */
	struct LabelDict *dict;		/* the same, to be looked up in, once they have
								 * been (encoder_dict); goes with the encoding */
	int			x;				/* first numeric input, or -1 */
	int			c;				/* embedded column, or -1 */
} Encoder;

typedef enum TargetKind
{
	TARGET_NUMBER,
	TARGET_BINARY,				/* boolean, or numbers that are only 0 and 1 */
	TARGET_CLASS				/* text, enum, or an integer declared category */
} TargetKind;

typedef struct Encoding
{
	int			n_encoders;
	Encoder    *encoders;

	char	   *target;			/* column */
	TargetKind	target_kind;
	ValueType	target_type;	/* of numbers and binary targets */
	double		target_mean;	/* 0 and 1 where raw or not a number */
	double		target_deviation;
	int			n_classes;		/* TARGET_CLASS only, else 0 */
	char	  **classes;		/* sorted bytewise */
	int			way;			/* > 0: N-way episodes, TARGET_CLASS with this
								 * many outputs.  Their classes are what the
								 * rows of a task name; n_classes is 0, or how
								 * many a task named whose params these are, in
								 * the order of their outputs */

	List	   *task;			/* column names (char *) */
	List	   *order_by;		/* column names, empty: no order */
	char	   *weight;			/* column, or NULL */
	double		weight_mean;	/* of training rows: weights are divided by it,
								 * so that the mean row counts as one */

	Width		width;
} Encoding;

/* Bounds that a fitted encoding keeps to and a stored one is checked against. */
#define ENCODING_MAX_INPUTS 1048576	/* numeric inputs of a row */
#define ENCODING_MAX_CLASSES 1024
#define ENCODING_MAX_ONE_HOT 8	/* more labels than this are embedded */

/* Tables of embeddings (size: codes and 0), width.c of them. */
extern Embedding *encoding_embeddings(const Encoding *encoding);

/* What its columns became among a row's inputs. */
extern RowColumn *encoding_columns(const Encoding *encoding, int *n);

/*
 * Gives every encoder its numeric inputs or its embedded column, in order, and
 * fills encoding->width.  False where there are more inputs than allowed.
 */
extern bool encoding_layout(Encoding *encoding);

/* "number", "category", ...: the word of a kind. */
extern const char *encoder_kind_name(EncoderKind kind);

/* Is it a category of so many labels that they are embedded? */
static inline bool
encoder_is_table(const Encoder *encoder)
{
	return encoder->kind == ENCODER_CATEGORY && !encoder->one_hot;
}

/* Numbers of the encoder's values themselves, the indicator not counted; not of a table. */
static inline int
encoder_values(const Encoder *encoder)
{
	return encoder->width - (encoder->indicator ? 1 : 0);
}

/* Codes of a category, from 1 on: its labels, and NULL where that occurred in training. */
static inline int
encoder_codes(const Encoder *encoder)
{
	return encoder->n_labels + (encoder->indicator ? 1 : 0);
}

/* The code of NULL: its own, or that of what is not known, 0. */
static inline int32
encoder_null_code(const Encoder *encoder)
{
	return encoder->indicator ? encoder->n_labels + 1 : 0;
}

/* The size of an image column's images. */
static inline Plane
encoder_plane(const Encoder *encoder)
{
	return (Plane) {encoder->image[0], encoder->image[1], encoder->image[2]};
}

/* JSON as a model keeps it (store/params.h), and back; damaged: ERRCODE_DATA_CORRUPTED. */
extern void encoding_to_json(const Encoding *encoding, StringInfo out);
extern Encoding *encoding_from_json(const char *json);

#endif							/* DATA_ENCODING_H */
