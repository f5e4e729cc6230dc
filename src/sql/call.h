/*
 * call.h
 *	  Arguments and results of functions that SQL calls.
 */
#ifndef SQL_CALL_H
#define SQL_CALL_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/tuplestore.h"

/* An argument that is NULL is an error, which names it. */
extern void call_require(FunctionCallInfo fcinfo, int n, const char *name);

/* A text argument, in the current memory context: required, or NULL where it is NULL. */
extern char *call_text(FunctionCallInfo fcinfo, int n, const char *name);
extern char *call_optional_text(FunctionCallInfo fcinfo, int n);

/*
 * Where a set-returning function puts its rows, all in one call.  *desc: of the
 * rows, with one column where the function returns a set of plain values;
 * function: its name, for the error where a set has no place.
 */
extern Tuplestorestate *call_rows(FunctionCallInfo fcinfo, const char *function, TupleDesc *desc);

#endif							/* SQL_CALL_H */
