/*
 * params_private.h
 *	  What models and task params have in common as files.
 */
#ifndef STORE_PARAMS_PRIVATE_H
#define STORE_PARAMS_PRIVATE_H

#include "postgres.h"

#include "store/params.h"
#include "store/safetensors.h"

/*
 * How every file of ours begins, after the length of its header: format, kind
 * and checksum are the first metadata, in this order, so they are found
 * without parsing.  "crc32c" is the CRC-32C of the whole file, as it is while
 * these eight digits are zeros.
 */
#define PARAMS_BEGIN "{\"__metadata__\":{\"format\":\"meta/"
#define PARAMS_BEGIN_KIND(kind) \
	"{\"__metadata__\":{\"format\":\"" PARAMS_FORMAT "\",\"kind\":\"" kind "\",\"crc32c\":\""
#define CRC_DIGITS 8
#define CRC_BLANK "00000000"

#define HEADER_LENGTH 8			/* bytes that hold the header's length */

/* The bytes were params once; the arguments make the detail, a sentence. */
#define params_damaged(...) \
	ereport(ERROR, \
			(errcode(ERRCODE_DATA_CORRUPTED), \
			 errmsg("the params are damaged"), \
			 errdetail(__VA_ARGS__)))

/*
 * Parses params and checks format and checksum; see params_kind for the
 * errors.  The tensors point into bytes.
 */
extern ParamsKind params_open(const bytea *bytes, SafeTensors *st);

/* A metadata value in the database's encoding; it must be there. */
extern char *params_metadata(const SafeTensors *st, const char *key);

/* Appends metadata; values become UTF-8.  st->metadata has room. */
extern void params_add_metadata(SafeTensors *st, const char *key, const char *value);

/* Fills in the checksum of a file whose digits are CRC_BLANK. */
extern void params_seal(char *bytes, size_t size);

extern void crc_to_digits(uint32 crc, char *digits);

/* Are the digits there those of the checksum? */
extern bool crc_is_sealed(const char *bytes, size_t size, size_t at);

/* n numbers as the file holds them: little-endian, anywhere. */
extern void floats_from_file(real *to, const char *from, size_t n);
extern const real *floats_of_file(const char *from, size_t n);	/* in place where that can be */
extern void floats_to_file(char *to, const real *from, size_t n);

/* The parts of any task params, whatever their base; labels may have size 0. */
extern void task_params_open(const bytea *bytes, char *base, int64 *rows, SafeTensor *phi, SafeTensor *labels);

/* The labels that size bytes hold; returns how many. */
extern int	task_params_labels(const char *bytes, size_t size, char ***labels);

extern bool digest_is_valid(const char *digest);

/* Parts of a model's JSON that meta.describe shows as they are. */
extern void network_to_json(const Network *net, StringInfo out);
extern const char *loss_name(LossKind loss);

#endif							/* STORE_PARAMS_PRIVATE_H */
