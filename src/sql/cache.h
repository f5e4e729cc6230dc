/*
 * cache.h
 *	  Decoded models, kept per backend by digest.
 */
#ifndef SQL_CACHE_H
#define SQL_CACHE_H

#include "postgres.h"

#include "store/params.h"

/*
 * The decoded model of a digest, or NULL where it is not cached.  It stays in
 * place until the memory context owner is reset or deleted.
 */
extern const Model *cache_pin(const char *digest, MemoryContext owner);

/*
 * Decodes a model's bytes, which must have the given digest, into the cache,
 * and pins it.
 */
extern const Model *cache_add(const bytea *bytes, const char *digest, MemoryContext owner);

#endif							/* SQL_CACHE_H */
