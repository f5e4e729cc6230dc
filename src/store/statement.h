/*
 * statement.h
 *	  Statements on the extension's tables, prepared, through SPI.
 *
 * A statement is prepared once per backend; the plan cache plans it again when
 * the role changes, as row level security needs.  SPI is connected by the
 * caller.
 */
#ifndef STORE_STATEMENT_H
#define STORE_STATEMENT_H

#include "postgres.h"

#include "executor/spi.h"

#define MAX_ARGUMENTS 12

typedef struct Statement
{
	SPIPlanPtr	plan;			/* NULL: not prepared yet */
	int			n;				/* arguments */
	Oid			types[MAX_ARGUMENTS];
	const char *sql;
} Statement;

typedef struct Arguments
{
	Datum		values[MAX_ARGUMENTS];
	char		nulls[MAX_ARGUMENTS];
} Arguments;

/* Set argument i, from 0: NULL is NULL, and NaN, which stands for "not known". */
extern void argument_text(Arguments *arguments, int i, const char *value);
extern void argument_datum(Arguments *arguments, int i, Datum value);
extern void argument_number(Arguments *arguments, int i, double value);

/*
 * Runs a statement; the result is SPI's.  Lookups use the snapshot of the query
 * that they are part of, which lets them run in parallel workers too; a
 * procedure that has committed has none, and a new one is as good.  Where the
 * extension's schema has been renamed it is an error.  The current memory context
 * stays what it is.
 */
extern void statement_run(Statement *s, const Arguments *arguments, bool lookup);

/*
 * A column, from 1, of the first row of the result: as it is there, 0 where it
 * is NULL; or in a memory context, NULL where it is NULL, as text or, of a value
 * of variable length, detoasted.
 */
extern Datum result_datum(int column);
extern char *result_text(int column, MemoryContext context);
extern struct varlena *result_bytes(int column, MemoryContext context);

#endif							/* STORE_STATEMENT_H */
