/*
 * keys.c
 *	  Which columns of a source are keys.
 *
 * A primary key tells rows apart and says nothing about them; a foreign key
 * is the name of something, whatever its type.  Where tables are joined, a
 * table's primary key stands in as many rows as there are that go with it: it
 * names what the other columns of that table tell about.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "parser/parsetree.h"
#include "rewrite/prs2lock.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "data/keys.h"

/* A column of a table whose rows stand alone, or joined with others. */
static KeyFlags
column_keys(Relation rel, AttrNumber column, bool joined)
{
	Bitmapset  *primary = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	bool		in_primary = bms_is_member(column - FirstLowInvalidHeapAttributeNumber, primary);
	bool		composite = bms_num_members(primary) > 1;
	KeyFlags	keys = 0;
	ListCell   *cell;

	bms_free(primary);
	foreach(cell, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *key = (ForeignKeyCacheInfo *) lfirst(cell);

		for (int i = 0; i < key->nkeys; i++)
			if (key->conkey[i] == column)
				keys |= KEY_NAME;
	}
	if (in_primary && joined)
		keys |= composite ? 0 : KEY_NAME;
	else if (in_primary && !(composite && keys & KEY_NAME))

		/*
		 * A part of a longer key that refers to another table, such as the
		 * item in (student, item), is a property of the row all the same.
		 */
		keys |= KEY_OF_ROW;
	return keys;
}

/* ---- through a query ---- */

/* The query of a view, materialized or not; NULL for what is none. */
static const Query *
view_query(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_VIEW && rel->rd_rel->relkind != RELKIND_MATVIEW)
		return NULL;
	for (int i = 0; i < rel->rd_rules->numLocks; i++)
		if (rel->rd_rules->rules[i]->event == CMD_SELECT)
			return linitial_node(Query, rel->rd_rules->rules[i]->actions);
	return NULL;
}

/* A query, and what it stands in. */
typedef struct Level
{
	const Query *query;
	const struct Level *outer;
} Level;

/* The query whose rows an entry of the range table has; false: there is none, or one that goes on from itself. */
static bool
enter(const Level *at, const RangeTblEntry *entry, Level *within)
{
	ListCell   *cell;

	within->query = NULL;
	within->outer = at;
	if (entry->rtekind == RTE_SUBQUERY)
		within->query = entry->subquery;
	else if (entry->rtekind == RTE_CTE && !entry->self_reference)
	{
		for (int up = entry->ctelevelsup; up > 0; up--)
			at = at->outer;
		within->outer = at;
		foreach(cell, at->query->cteList)
		{
			CommonTableExpr *with = lfirst_node(CommonTableExpr, cell);

			if (strcmp(with->ctename, entry->ctename) == 0 && !with->cterecursive)
				within->query = castNode(Query, with->ctequery);
		}
	}
	return within->query != NULL;
}

/* Do rows of a single table come out of it, each once at most? */
static bool
reads_one_table(const Level *at)
{
	const Query *query = at->query;
	Level		within = {NULL, NULL};
	RangeTblEntry *entry;

	check_stack_depth();
	if (query->setOperations != NULL || query->hasTargetSRFs ||
		list_length(query->jointree->fromlist) != 1 || !IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return false;
	entry = rt_fetch(linitial_node(RangeTblRef, query->jointree->fromlist)->rtindex, query->rtable);
	if (entry->rtekind == RTE_RELATION)
	{
		Relation	rel = table_open(entry->relid, AccessShareLock);
		bool		one;

		within.query = view_query(rel);
		one = within.query == NULL || reads_one_table(&within);
		table_close(rel, NoLock);
		return one;
	}
	return enter(at, entry, &within) && reads_one_table(&within);
}

static KeyFlags result_keys(const Level *at, AttrNumber column, bool joined);

/* Of an expression: 0 unless it is a column as it stands. */
static KeyFlags
expression_keys(const Level *at, const Node *expression, bool joined)
{
	const Var  *var = (const Var *) expression;
	Level		within = {NULL, NULL};
	RangeTblEntry *entry;

	check_stack_depth();
	if (!IsA(expression, Var) || var->varattno <= 0)
		return 0;
	for (int up = var->varlevelsup; up > 0; up--)
		at = at->outer;
	entry = rt_fetch(var->varno, at->query->rtable);
	if (entry->rtekind == RTE_JOIN)
		return expression_keys(at, list_nth(entry->joinaliasvars, var->varattno - 1), joined);
#if PG_VERSION_NUM >= 180000
	if (entry->rtekind == RTE_GROUP)
		return expression_keys(at, list_nth(entry->groupexprs, var->varattno - 1), joined);
#endif
	if (entry->rtekind == RTE_RELATION)
	{
		Relation	rel = table_open(entry->relid, AccessShareLock);
		KeyFlags	keys;

		within.query = view_query(rel);
		keys = within.query != NULL ? result_keys(&within, var->varattno, joined) :
			column_keys(rel, var->varattno, joined);
		table_close(rel, NoLock);
		return keys;
	}
	return enter(at, entry, &within) ? result_keys(&within, var->varattno, joined) : 0;
}

/* Of a column of a query's result. */
static KeyFlags
result_keys(const Level *at, AttrNumber column, bool joined)
{
	if (at->query->setOperations != NULL)
		return 0;
	return expression_keys(at, (Node *) get_tle_by_resno(at->query->targetList, column)->expr, joined);
}

KeyFlags *
query_keys(const Query *query)
{
	int			n = list_length(query->targetList);
	KeyFlags   *keys = palloc(n * sizeof(KeyFlags));
	Level		at = {query, NULL};
	bool		joined = !reads_one_table(&at);

	for (int i = 0; i < n; i++)
		keys[i] = result_keys(&at, i + 1, joined);
	return keys;
}

KeyFlags *
relation_keys(Oid relation)
{
	Relation	rel = table_open(relation, AccessShareLock);
	const Query *view = view_query(rel);
	int			n = RelationGetNumberOfAttributes(rel);
	KeyFlags   *keys;

	if (view != NULL)
		keys = query_keys(view);
	else
	{
		keys = palloc(n * sizeof(KeyFlags));
		for (int i = 0; i < n; i++)
			keys[i] = column_keys(rel, i + 1, false);
	}
	table_close(rel, NoLock);
	return keys;
}
