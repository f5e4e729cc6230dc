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

/* Whether two such lists name the same columns, in any order. */
extern bool same_identifiers(const char *a, const char *b);

/* Such a list as messages have it: each name in double quotes. */
extern char *identifiers_quoted(const char *text);

extern bool name_in_list(const List *names, const char *name);

/* As a message has them: "a", "camelCase". */
extern char *names_quoted(const List *names);

/*
 * A hint for a name that no column of a row type has: the column that takes the
 * fewest edits, or else all of them.
 */
extern char *column_hint(TupleDesc desc, const char *name);

#endif							/* DATA_IDENTIFIERS_H */
