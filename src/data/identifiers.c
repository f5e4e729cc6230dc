/*
 * identifiers.c
 *	  Column names as users write them, and help where one is mistyped.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#include "data/identifiers.h"

/* The names of a list; false where it cannot be read. */
static bool
read_identifiers(const char *text, List **names)
{
	return SplitIdentifierString(pstrdup(text), ',', names);
}

List *
identifier_list(const char *text, const char *what)
{
	List	   *names;
	List	   *result = NIL;
	ListCell   *cell;

	if (text == NULL || text[strspn(text, " \t\r\n\f\v")] == '\0')
		return NIL;

	if (!read_identifiers(text, &names))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("invalid list of columns for %s: %s", what, text),
				 errdetail("Column names are parted by commas; those with capital letters, spaces or other special characters stand in double quotes."),
				 errhint("Write it like this: student_id, \"sectionId\".")));

	foreach(cell, names)
	{
		char	   *name = (char *) lfirst(cell);

		if (name_in_list(result, name))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" stands twice in the list for %s", name, what)));
		result = lappend(result, name);
	}
	list_free(names);
	return result;
}

bool
same_identifiers(const char *a, const char *b)
{
	List	   *names;
	List	   *others;
	ListCell   *cell;

	if (!read_identifiers(a, &names) || !read_identifiers(b, &others) || list_length(names) != list_length(others))
		return false;
	foreach(cell, names)
		if (!name_in_list(others, (const char *) lfirst(cell)))
			return false;
	return true;
}

char *
identifiers_quoted(const char *text)
{
	List	   *names;

	return read_identifiers(text, &names) ? names_quoted(names) : psprintf("\"%s\"", text);
}

bool
name_in_list(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp((const char *) lfirst(cell), name) == 0)
			return true;
	return false;
}

char *
names_quoted(const List *names)
{
	StringInfoData out;
	ListCell   *cell;

	initStringInfo(&out);
	foreach(cell, names)
		appendStringInfo(&out, "%s\"%s\"", out.len > 0 ? ", " : "", (const char *) lfirst(cell));
	return out.data;
}

char *
column_hint(TupleDesc desc, const char *name)
{
	StringInfoData columns;
	int			length = (int) strlen(name);
	int			best = Min(length / 2, 3) + 1;
	const char *closest = NULL;
	int			n = 0;

	initStringInfo(&columns);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *other = NameStr(att->attname);
		int			distance;

		if (att->attisdropped)
			continue;
		if (pg_strcasecmp(other, name) == 0)
			distance = 0;
		else
			distance = varstr_levenshtein_less_equal(name, length, other, (int) strlen(other),
													 1, 1, 1, best, true);
		if (distance < best)
		{
			best = distance;
			closest = other;
		}
		if (n++ < 30)
			appendStringInfo(&columns, "%s\"%s\"", n > 1 ? ", " : "", other);
		else if (n == 31)
			appendStringInfoString(&columns, ", ...");
	}
	if (closest != NULL)
		return psprintf("Perhaps you meant the column %s.", quote_identifier(closest));
	if (n == 0)
		return "The row has no columns.";
	return psprintf("The columns are %s.", columns.data);
}
