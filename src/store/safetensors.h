/*
 * safetensors.h
 *	  Reading and writing the safetensors format.
 *
 * A file is an 8-byte little-endian header length, a JSON header
 * {"__metadata__": {string: string}, name: {"dtype", "shape", "data_offsets"}}
 * and the tensors' bytes.  The reader trusts nothing: every length, offset,
 * count and name is checked before it is used.  It compiles without a server
 * (FRONTEND), so that the unit tests can run it under sanitizers.
 */
#ifndef STORE_SAFETENSORS_H
#define STORE_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest header that is read; the format's own limit. */
#define SAFETENSORS_MAX_HEADER ((size_t) 100 * 1024 * 1024)

typedef enum SafeType
{
	SAFE_F32,
	SAFE_F64,
	SAFE_I32,
	SAFE_I64,
	SAFE_U8
} SafeType;

/* As files name it. */
extern const char *safetensors_type_name(SafeType type);

typedef struct SafeTensor
{
	char	   *name;
	SafeType	type;
	int			n_dims;
	int64_t		dims[4];
	const char *data;			/* into the caller's bytes; unaligned */
	size_t		size;			/* bytes */
} SafeTensor;

typedef struct SafePair
{
	char	   *key;
	char	   *value;
} SafePair;

typedef struct SafeTensors
{
	int			n_tensors;
	SafeTensor *tensors;
	int			n_metadata;
	SafePair   *metadata;
} SafeTensors;

/*
 * Parses size bytes.  Returns NULL and fills out (palloc'd; data points into
 * bytes), or returns a static message that says what is wrong.
 */
extern const char *safetensors_read(const char *bytes, size_t size, SafeTensors *out);

extern const char *safetensors_metadata(const SafeTensors *st, const char *key);
extern const SafeTensor *safetensors_find(const SafeTensors *st, const char *name);

/*
 * Size of the file for these tensors and metadata, and the file itself into
 * bytes (of that size).  The data is padded so that it starts aligned to 8.
 */
extern size_t safetensors_size(const SafeTensors *st);
extern void safetensors_write(const SafeTensors *st, char *bytes);

/* Only what comes before the tensors' bytes. */
extern void safetensors_write_header(const SafeTensors *st, char *bytes);

#endif							/* STORE_SAFETENSORS_H */
