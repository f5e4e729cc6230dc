/*
 * source.c
 *	  A source: a table, a view, or a SELECT, read as the caller.
 *
 * The query is parsed, analyzed, planned and run here, as COPY (query) TO
 * does it, and not through a cursor: a cursor that fetches piecemeal never
 * gets parallel workers, and its rows would be copied twice.  The rows go
 * straight into the loader.
 *
 * Permissions and row level security are the current user's.  Only a SELECT
 * that writes nothing and locks nothing passes, and the functions that it calls
 * find themselves in a read-only transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/regproc.h"

#include "compat.h"
#include "data/source.h"

#define SOURCE_HINT "A source is the name of a table or view, or a SELECT, as in 'SELECT * FROM responses WHERE year = 2024'."

/* ---- names ---- */

/*
 * Is it a name, possibly qualified and quoted?  A query never is: the shortest
 * ones have a space or a parenthesis outside quotes.
 */
static bool
is_name(const char *text)
{
	const char *p = text;

	for (;;)
	{
		if (*p == '"')
		{
			const char *begin = ++p;

			while (*p != '\0' && (*p != '"' || p[1] == '"'))
				p += *p == '"' ? 2 : 1;
			if (*p != '"' || p == begin)
				return false;
			p++;
		}
		else
		{
			if (!(isalpha((unsigned char) *p) || *p == '_' || IS_HIGHBIT_SET(*p)))
				return false;
			while (isalnum((unsigned char) *p) || *p == '_' || *p == '$' || IS_HIGHBIT_SET(*p))
				p++;
		}
		if (*p == '\0')
			return true;
		if (*p++ != '.')
			return false;
	}
}

static char *
trim(const char *text)
{
	const char *white = " \t\r\n\f\v";
	Size		length;

	text += strspn(text, white);
	length = strlen(text);
	while (length > 0 && strchr(white, text[length - 1]) != NULL)
		length--;
	return pnstrdup(text, length);
}

static char *
qualify_relation(const char *name)
{
	RangeVar   *var = makeRangeVarFromNameList(qualified_name_list(name));
	Oid			relation = RangeVarGetRelid(var, AccessShareLock, true);
	HeapTuple	tuple;
	Form_pg_class class;
	char	   *qualified;

	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("source \"%s\" does not exist", name),
				 strncmp(name, "pg_temp", strlen("pg_temp")) == 0
				 ? errdetail("It is the name of a temporary table, which goes with its session.")
				 : errdetail("No table or view of that name is in the search path, or in the schema that it names."),
				 errhint(SOURCE_HINT)));
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	class = (Form_pg_class) GETSTRUCT(tuple);
	switch (class->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("source \"%s\" is not a table or view", name),
					 errhint(SOURCE_HINT)));
	}
	qualified = quote_qualified_identifier(get_namespace_name(class->relnamespace),
										   NameStr(class->relname));
	ReleaseSysCache(tuple);
	return qualified;
}

/* ---- queries ---- */

/*
 * An error's position is one in the source, not in the statement that the
 * client sent.
 */
static void
source_error(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
		if (geterrcode() == ERRCODE_SYNTAX_ERROR)
			errhint(SOURCE_HINT);
	}
}

static void
push_source_error(ErrorContextCallback *callback, const char *text)
{
	callback->callback = source_error;
	callback->arg = unconstify(char *, text);
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

static void
reject(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("a source must be a table, a view or a SELECT that only reads"),
			 errdetail_internal("%s", detail),
			 errhint("%s", hint)));
}

/* Anything within a parsed SELECT that would write, create or lock. */
static bool
reject_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_InsertStmt:
		case T_UpdateStmt:
		case T_DeleteStmt:
		CASE_MERGE
			reject("Its WITH clause has a statement that writes.",
				   "Write first, in a statement of its own, and let the source only read.");
			break;
		case T_IntoClause:
			reject("It is a SELECT INTO, which creates a table.", "Leave out INTO.");
			break;
		case T_LockingClause:
			reject("It locks rows.", "Leave out FOR UPDATE, FOR SHARE and their kin.");
			break;
		default:
			break;
	}
	return raw_expression_tree_walker(node, reject_walker, context);
}

static RawStmt *
parse_source(const char *text)
{
	ErrorContextCallback callback;
	List	   *statements;
	RawStmt    *statement;

	push_source_error(&callback, text);
	statements = pg_parse_query(text);
	error_context_stack = callback.previous;

	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the source is empty"),
				 errhint(SOURCE_HINT)));
	if (list_length(statements) > 1)
		reject(psprintf("It consists of %d statements.", list_length(statements)),
			   "Give one SELECT; a WITH clause may hold further ones.");
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt))
		reject(psprintf("It is a statement of the kind %s.", CreateCommandName(statement->stmt)),
			   SOURCE_HINT);
	reject_walker(statement->stmt, NULL);
	return statement;
}

char *
source_qualify(const char *source)
{
	char	   *text = trim(source);

	if (is_name(text))
		return qualify_relation(text);
	parse_source(text);
	return text;
}

/* ---- reading ---- */

typedef struct LoaderReceiver
{
	DestReceiver pub;
	MemoryContext result;
	LoadRequest request;
	Loader	   *loader;
} LoaderReceiver;

static void
receive_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	LoaderReceiver *receiver = (LoaderReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->result);

	receiver->loader = loader_create(&receiver->request, desc);
	MemoryContextSwitchTo(old);
}

/* The row of a table as it lies in its page, or NULL. */
static HeapTupleHeader
stored_row(TupleTableSlot *slot)
{
	HeapTuple	tuple = TTS_IS_BUFFERTUPLE(slot) ? ((HeapTupleTableSlot *) slot)->tuple : NULL;

	return tuple == NULL ? NULL : tuple->t_data;
}

static bool
receive_slot(TupleTableSlot *slot, DestReceiver *self)
{
	Loader	   *loader = ((LoaderReceiver *) self)->loader;
	HeapTupleHeader row = stored_row(slot);

	if (row != NULL && loader_add_row(loader, row))
		return true;
	slot_getallattrs(slot);
	loader_add(loader, slot->tts_values, slot->tts_isnull);
	return true;
}

static void
receive_nothing(DestReceiver *self)
{
}

static Query *
analyze_source(RawStmt *statement, const char *text)
{
	List	   *queries = analyze_and_rewrite(statement, text);
	Query	   *query;

	if (list_length(queries) != 1)
		reject("A rule turns it into something else.", SOURCE_HINT);
	query = linitial_node(Query, queries);
	if (query->commandType != CMD_SELECT || query->utilityStmt != NULL ||
		query->hasModifyingCTE || query->rowMarks != NIL)
		reject("It writes or locks.", SOURCE_HINT);
	return query;
}

TaskSet *
source_load(const char *source, const LoadRequest *request)
{
	ErrorContextCallback callback;
	LoaderReceiver receiver;
	MemoryContext result = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(result, "meta source", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	char	   *text;
	Query	   *query;
	PlannedStmt *plan;
	QueryDesc  *desc;
	TaskSet    *set;
	bool		read_only = XactReadOnly;

	text = source_qualify(source);
	if (is_name(text))
		text = psprintf("SELECT * FROM %s", text);

	memset(&receiver, 0, sizeof(receiver));
	receiver.pub.receiveSlot = receive_slot;
	receiver.pub.rStartup = receive_startup;
	receiver.pub.rShutdown = receive_nothing;
	receiver.pub.rDestroy = receive_nothing;
	receiver.pub.mydest = DestNone;
	receiver.result = result;
	receiver.request = *request;

	if (ActiveSnapshotSet())
	{
		PushCopiedSnapshot(GetActiveSnapshot());
		UpdateActiveSnapshotCommandId();
	}
	else
		PushActiveSnapshot(GetTransactionSnapshot());

	/* after an error, the transaction or subtransaction sets it back */
	XactReadOnly = true;
	push_source_error(&callback, text);
	query = analyze_source(parse_source(text), text);
	receiver.request.keys = query_keys(query);
	plan = pg_plan_query(query, text, CURSOR_OPT_PARALLEL_OK, NULL);
	desc = CreateQueryDesc(plan, text, GetActiveSnapshot(), InvalidSnapshot, &receiver.pub, NULL, NULL, 0);
	ExecutorStart(desc, 0);
	executor_run(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	error_context_stack = callback.previous;
	XactReadOnly = read_only;
	PopActiveSnapshot();

	/* without a snapshot: sorting and packing need not hold back vacuum */
	MemoryContextSwitchTo(result);
	set = loader_finish(receiver.loader);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return set;
}
