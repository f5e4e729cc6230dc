/*
 * labels.c
 *	  The labels of a category, by the hash of their text.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "data/labels.h"

#define SH_PREFIX label
#define SH_ELEMENT_TYPE LabelEntry
#define SH_KEY_TYPE uint64
#define SH_KEY hash
#define SH_HASH_KEY(table, key) ((uint32) (key))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

LabelDict *
label_dict_create(const char *column)
{
	LabelDict  *dict = palloc0(sizeof(LabelDict));

	dict->context = AllocSetContextCreate(CurrentMemoryContext, "meta labels",
										  ALLOCSET_DEFAULT_SIZES);
	dict->table = label_create(dict->context, 64, NULL);
	dict->column = pstrdup(column);
	return dict;
}

void
label_dict_free(LabelDict *dict)
{
	MemoryContextDelete(dict->context);
	pfree(dict->column);
	pfree(dict);
}

LabelEntry *
label_dict_add(LabelDict *dict, uint64 hash, const char *text, int length)
{
	bool		found;
	LabelEntry *entry = label_insert(dict->table, hash, &found);

	if (!found)
	{
		/* where a database knows no encoding, text may be anything; models are in UTF-8 */
		if (GetDatabaseEncoding() == PG_SQL_ASCII && !pg_verify_mbstr(PG_UTF8, text, length, true))
			ereport(ERROR,
					(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
					 errmsg("column \"%s\" holds text that is not valid in UTF-8", dict->column),
					 errdetail("The encoding of the database is SQL_ASCII, and models keep labels in UTF-8."),
					 errhint("Leave the column out with the option exclude, or convert its text to UTF-8 in the source.")));
		entry->text = MemoryContextAlloc(dict->context, length + 1);
		memcpy(entry->text, text, length);
		entry->text[length] = '\0';
		entry->length = length;
		entry->rows = 0;
		entry->code = 0;
		entry->task = -1;
		entry->many_tasks = false;
		dict->n++;
		dict->bytes += length;
	}
	else if (entry->length != length || memcmp(entry->text, text, length) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("two labels of column \"%s\" have the same hash", dict->column),
				 errdetail("They are \"%s\" and \"%.*s\".", entry->text, length, text),
				 errhint("Rename one of them in the source.")));
	return entry;
}

LabelEntry *
label_dict_find(LabelDict *dict, uint64 hash)
{
	return label_lookup(dict->table, hash);
}

int32
label_dict_code(LabelDict *dict, const char *text, int length)
{
	LabelEntry *entry = label_lookup(dict->table, label_hash_text(text, length));

	if (entry == NULL || entry->length != length || memcmp(entry->text, text, length) != 0)
		return 0;
	return entry->code;
}

static int
compare_entries(const void *a, const void *b)
{
	return strcmp((*(LabelEntry *const *) a)->text, (*(LabelEntry *const *) b)->text);
}

char	  **
label_dict_sort(LabelDict *dict)
{
	LabelEntry **entries = palloc(sizeof(LabelEntry *) * Max(dict->n, 1));
	char	  **labels = palloc(sizeof(char *) * Max(dict->n, 1));
	label_iterator it;
	LabelEntry *entry;
	int			n = 0;

	label_start_iterate(dict->table, &it);
	while ((entry = label_iterate(dict->table, &it)) != NULL)
		entries[n++] = entry;
	Assert(n == dict->n);
	qsort(entries, n, sizeof(LabelEntry *), compare_entries);
	for (int i = 0; i < n; i++)
	{
		entries[i]->code = i + 1;
		labels[i] = pstrdup(entries[i]->text);
	}
	pfree(entries);
	return labels;
}

LabelDict *
label_dict_from(const char *column, char **labels, int n)
{
	LabelDict  *dict = label_dict_create(column);

	for (int i = 0; i < n; i++)
	{
		int			length = (int) strlen(labels[i]);

		label_dict_add(dict, label_hash_text(labels[i], length), labels[i], length)->code = i + 1;
	}
	return dict;
}
