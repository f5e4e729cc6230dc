/*
 * labels.h
 *	  The labels of a category, by the hash of their text.
 *
 * Rows on their way to the sort carry the hash alone; the dictionary holds
 * each text once.  Two labels of one hash are an error, not a guess: with 64
 * bits and a quarter of a million labels it has a chance of 2e-9.
 */
#ifndef DATA_LABELS_H
#define DATA_LABELS_H

#include "postgres.h"

#include "data/hash.h"

/*
 * A category's dictionary is given up beyond this many labels, or this many
 * bytes of text.  Constants, not a share of some memory setting: which
 * columns a model has must not depend on the server's configuration.
 */
#define LABELS_MAX 262144
#define LABELS_MAX_BYTES (64 * 1024 * 1024)

/* What a row carries where the category is NULL. */
#define LABEL_NULL UINT64CONST(0)

typedef struct LabelEntry
{
	uint64		hash;
	char	   *text;			/* ends with a zero byte */
	int32		length;
	int64		rows;			/* training rows that have it */
	int32		code;			/* 1.. in bytewise order of the texts, once sorted */
	int32		task;			/* number of the task it was last seen in, or -1 */
	bool		many_tasks;		/* seen in more than one */
	char		status;			/* of simplehash */
} LabelEntry;

typedef struct LabelDict
{
	MemoryContext context;
	struct label_hash *table;
	char	   *column;
	int			n;
	Size		bytes;
} LabelDict;

extern LabelDict *label_dict_create(const char *column);
extern void label_dict_free(LabelDict *dict);

/* The entry of a label, made where there is none. */
extern LabelEntry *label_dict_add(LabelDict *dict, uint64 hash, const char *text, int length);

/* The entry of a hash, or NULL. */
extern LabelEntry *label_dict_find(LabelDict *dict, uint64 hash);

/* The code of a label, or 0 where it is none of the dictionary's. */
extern int32 label_dict_code(LabelDict *dict, const char *text, int length);

/* Gives codes in bytewise order; returns the texts in that order, as copies. */
extern char **label_dict_sort(LabelDict *dict);

/* The dictionary of labels that have their codes already. */
extern LabelDict *label_dict_from(const char *column, char **labels, int n);

static inline uint64
label_hash_text(const char *text, int length)
{
	uint64		hash = hash_bytes64(text, (Size) length);

	return hash == LABEL_NULL ? 1 : hash;
}

#endif							/* DATA_LABELS_H */
