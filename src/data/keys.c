/*
 * keys.c
 *	  Which columns of a table are keys.
 *
 * A primary key tells rows apart and says nothing about them; a foreign key
 * is the name of something, whatever its type.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "nodes/bitmapset.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "data/plan.h"

void
relation_keys(Oid relation, List **primary, List **foreign)
{
	Relation	rel = table_open(relation, AccessShareLock);
	Bitmapset  *keys;
	ListCell   *cell;
	int			at = -1;

	*primary = *foreign = NIL;
	if (rel->rd_rel->relkind == RELKIND_RELATION || rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		keys = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
		while ((at = bms_next_member(keys, at)) >= 0)
		{
			int			number = at + FirstLowInvalidHeapAttributeNumber;

			*primary = lappend(*primary,
							   pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), number - 1)->attname)));
		}
		foreach(cell, RelationGetFKeyList(rel))
		{
			ForeignKeyCacheInfo *key = (ForeignKeyCacheInfo *) lfirst(cell);

			for (int i = 0; i < key->nkeys; i++)
				*foreign = lappend(*foreign,
								   pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), key->conkey[i] - 1)->attname)));
		}
	}
	table_close(rel, NoLock);
}
