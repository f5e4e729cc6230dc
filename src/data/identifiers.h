/*
 * identifiers.h
 *	  Column names as users write them, and help where one is mistyped.
 */
#ifndef DATA_IDENTIFIERS_H
#define DATA_IDENTIFIERS_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "nodes/pg_list.h"

/*
 * "a, b, \"camelCase\"" → list of column names, folded unless quoted; what
 * names the argument in the error.
 */
extern List *identifier_list(const char *text, const char *what);

extern bool name_in_list(const List *names, const char *name);

/* As a message has them: "a", "camelCase". */
extern char *names_quoted(const List *names);

/*
 * A hint for a name that no column of a row type has: the column that takes the
 * fewest edits, or else all of them.
 */
extern char *column_hint(TupleDesc desc, const char *name);

#endif							/* DATA_IDENTIFIERS_H */
