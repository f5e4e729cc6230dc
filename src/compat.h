/*
 * compat.h
 *	  What differs between PostgreSQL 13 and 18, in one place.
 *
 * Include it after PostgreSQL's own headers: each part is there when the
 * header it shims was included before.
 */
#ifndef META_COMPAT_H
#define META_COMPAT_H

#if PG_VERSION_NUM < 130000
#error "meta needs PostgreSQL 13 or later"
#endif

/* varlena macros moved out of postgres.h in 16 */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* ---- c.h: a prefix since 18 ---- */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* ---- SHA-256: a context of its own until 13, pg_cryptohash since 14 ---- */
#ifndef FRONTEND
#include "common/sha2.h"
#if PG_VERSION_NUM >= 140000
#include "common/cryptohash.h"

typedef pg_cryptohash_ctx *Sha256;
#else
typedef pg_sha256_ctx *Sha256;
#endif

static inline Sha256
sha256_begin(void)
{
#if PG_VERSION_NUM >= 140000
	Sha256		sha = pg_cryptohash_create(PG_SHA256);

	if (sha == NULL || pg_cryptohash_init(sha) < 0)
		elog(ERROR, "could not start a SHA-256 digest");
#else
	Sha256		sha = palloc(sizeof(pg_sha256_ctx));

	pg_sha256_init(sha);
#endif
	return sha;
}

static inline void
sha256_add(Sha256 sha, const void *bytes, size_t size)
{
#if PG_VERSION_NUM >= 140000
	if (pg_cryptohash_update(sha, (const uint8 *) bytes, size) < 0)
		elog(ERROR, "could not continue a SHA-256 digest");
#else
	pg_sha256_update(sha, (const uint8 *) bytes, size);
#endif
}

/* Fills hex[65] and frees the state. */
static inline void
sha256_end(Sha256 sha, char *hex)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];

#if PG_VERSION_NUM >= 140000
	if (pg_cryptohash_final(sha, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not finish a SHA-256 digest");
	pg_cryptohash_free(sha);
#else
	pg_sha256_final(sha, digest);
	pfree(sha);
#endif
	for (int i = 0; i < PG_SHA256_DIGEST_LENGTH; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}
#endif							/* FRONTEND */

/* ---- catalog/pg_type.h: money's type had another name until 13 ---- */
#if defined(PG_TYPE_D_H) && !defined(MONEYOID)
#define MONEYOID CASHOID
#endif

/* ---- catalog/pg_operator.h: a name for bytea's < ---- */
#ifndef ByteaLessOperator
#define ByteaLessOperator 1957
#endif

/* ---- utils/tuplesort.h: flags instead of a bool since 15, copy since 16 ---- */
#ifdef TUPLESORT_H

#if PG_VERSION_NUM >= 150000
#define SORT_READ_ONCE TUPLESORT_NONE
#else
#define SORT_READ_ONCE false
#endif

/*
 * The next datum, by reference.  Until 15 it is always a copy in the current
 * memory context, since 16 it is so where asked for; callers reset.
 */
static inline bool
sort_next(Tuplesortstate *sort, Datum *value)
{
	bool		null;

#if PG_VERSION_NUM >= 160000
	return tuplesort_getdatum(sort, true, false, value, &null, NULL);
#else
	return tuplesort_getdatum(sort, true, value, &null, NULL);
#endif
}
#endif							/* TUPLESORT_H */

/* ---- executor/executor.h: no execute_once since 18 ---- */
#ifdef EXECUTOR_H
#if PG_VERSION_NUM >= 180000
#define executor_run(desc) ExecutorRun((desc), ForwardScanDirection, 0)
#else
#define executor_run(desc) ExecutorRun((desc), ForwardScanDirection, 0, true)
#endif
#endif							/* EXECUTOR_H */

/* ---- tcop/tcopprot.h: renamed in 15 ---- */
#ifdef TCOPPROT_H
#if PG_VERSION_NUM >= 150000
#define analyze_and_rewrite(raw, text) \
	pg_analyze_and_rewrite_fixedparams((raw), (text), NULL, 0, NULL)
#else
#define analyze_and_rewrite(raw, text) \
	pg_analyze_and_rewrite((raw), (text), NULL, 0, NULL)
#endif
#endif							/* TCOPPROT_H */

/* ---- utils/snapmgr.h: snapshots count completed transactions since 14 ---- */
#ifdef SNAPMGR_H
#if PG_VERSION_NUM >= 140000
#define snapshot_commits(snapshot) ((snapshot)->snapXactCompletionCount)
#else
#define snapshot_commits(snapshot) UINT64CONST(0)
#endif
#endif							/* SNAPMGR_H */

/* ---- nodes/parsenodes.h: MERGE in a WITH clause since 17 ---- */
#if defined(PARSENODES_H) && PG_VERSION_NUM >= 170000
#define CASE_MERGE case T_MergeStmt:
#else
#define CASE_MERGE
#endif

/* ---- utils/builtins.h: pg_lltoa returns the length since 14 ---- */
#ifdef BUILTINS_H
static inline int
int64_text(int64 value, char *buffer)
{
#if PG_VERSION_NUM >= 140000
	return pg_lltoa(value, buffer);
#else
	pg_lltoa(value, buffer);
	return (int) strlen(buffer);
#endif
}
#endif							/* BUILTINS_H */

/* ---- utils/regproc.h: an error context argument since 16 ---- */
#if defined(REGPROC_H) && PG_VERSION_NUM >= 160000
#define qualified_name_list(text) stringToQualifiedNameList((text), NULL)
#elif defined(REGPROC_H)
#define qualified_name_list(text) stringToQualifiedNameList(text)
#endif

/* ---- utils/timestamp.h: infinite intervals since 17 ---- */
#if defined(TIMESTAMP_H) && !defined(INTERVAL_NOT_FINITE)
#define INTERVAL_NOT_FINITE(i) false
#endif

/*
 * ---- common/jsonapi.h: actions of the parser can stop it since 16, before
 * they can only take note; the caller may give the lexer's memory since 17 ----
 */
#ifdef JSONAPI_H

#if PG_VERSION_NUM >= 160000
typedef JsonParseErrorType JsonActionResult;
#define JSON_ACTION_RESULT(ok) return (ok) ? JSON_SUCCESS : JSON_SEM_ACTION_FAILED
#else
typedef void JsonActionResult;
#define JSON_ACTION_RESULT(ok) return
#endif

#if PG_VERSION_NUM >= 170000
#define json_lexer(json, length, encoding, escapes) \
	makeJsonLexContextCstringLen(NULL, (json), (length), (encoding), (escapes))
#else
#define json_lexer(json, length, encoding, escapes) \
	makeJsonLexContextCstringLen((char *) (json), (int) (length), (encoding), (escapes))
#endif
#endif							/* JSONAPI_H */

#endif							/* META_COMPAT_H */
