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

/* ---- utils/tuplesort.h: flags instead of a bool since 15, copy since 16 ---- */
#ifdef TUPLESORT_H

#if PG_VERSION_NUM >= 150000
#define SORT_READ_ONCE TUPLESORT_NONE
#define SORT_READ_AGAIN TUPLESORT_RANDOMACCESS
#else
#define SORT_READ_ONCE false
#define SORT_READ_AGAIN true
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

/* ---- storage/buffile.h: BufFileReadExact since 16 ---- */
#ifdef BUFFILE_H
static inline void
file_read(BufFile *file, void *to, size_t size)
{
#if PG_VERSION_NUM >= 160000
	BufFileReadExact(file, to, size);
#else
	if (BufFileRead(file, to, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from the temporary file of packed rows")));
#endif
}
#endif							/* BUFFILE_H */

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
