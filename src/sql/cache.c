/*
 * cache.c
 *	  Decoded models, kept per backend by digest.
 *
 * Decoding a model costs about as much as thousands of predictions, so a
 * decoded model outlives the statement that needed it.  The digest is the
 * only key: it names the bytes and nothing else, so an entry never goes stale,
 * and there is nothing to invalidate.  Nor is the cache an authority: whether
 * the current user may use a model is asked of the catalog, once per
 * statement, before the cache is asked for the numbers (sql/callsite.c).
 *
 * Entries in use are pinned by a callback on a memory context of the user, so
 * an error releases them like everything else.  The others are dropped, the
 * longest unused first, when there are more than CACHE_MODELS of them or when
 * they take more than CACHE_BYTES.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "sql/cache.h"

#define CACHE_MODELS 8
#define CACHE_BYTES ((Size) 64 * 1024 * 1024)

typedef struct CacheEntry
{
	dlist_node	node;			/* in entries, most recently used first */
	MemoryContext context;		/* holds this entry and its model */
	const Model *model;
	int			pins;
} CacheEntry;

typedef struct CachePin
{
	MemoryContextCallback callback;
	CacheEntry *entry;
} CachePin;

static MemoryContext cache_context = NULL;
static dlist_head entries = DLIST_STATIC_INIT(entries);

/*
 * Drops unpinned entries beyond the bounds.
 */
static void
cache_trim(void)
{
	dlist_mutable_iter iter;
	Size		bytes = 0;
	int			models = 0;

	dlist_foreach_modify(iter, &entries)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, iter.cur);
		Size		size;

		if (entry->pins > 0)
			continue;
		/* it grows: labels are entered when they are first read by */
		size = MemoryContextMemAllocated(entry->context, true);
		bytes += size;
		models++;
		if (models > CACHE_MODELS || bytes > CACHE_BYTES)
		{
			bytes -= size;
			models--;
			dlist_delete(&entry->node);
			MemoryContextDelete(entry->context);
		}
	}
}

static void
cache_unpin(void *arg)
{
	CachePin   *pin = (CachePin *) arg;

	Assert(pin->entry->pins > 0);
	if (--pin->entry->pins == 0)
		cache_trim();
}

static const Model *
cache_pin_entry(CacheEntry *entry, MemoryContext owner)
{
	CachePin   *pin = (CachePin *) MemoryContextAlloc(owner, sizeof(CachePin));

	pin->entry = entry;
	pin->callback.func = cache_unpin;
	pin->callback.arg = pin;
	MemoryContextRegisterResetCallback(owner, &pin->callback);
	entry->pins++;
	dlist_move_head(&entries, &entry->node);
	return entry->model;
}

const Model *
cache_pin(const char *digest, MemoryContext owner)
{
	dlist_iter	iter;

	dlist_foreach(iter, &entries)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, iter.cur);

		if (memcmp(entry->model->digest, digest, DIGEST_LENGTH) == 0)
			return cache_pin_entry(entry, owner);
	}
	return NULL;
}

const Model *
cache_add(const bytea *bytes, const char *digest, MemoryContext owner)
{
	MemoryContext context;
	MemoryContext old;
	CacheEntry *entry;

	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(TopMemoryContext,
											  "meta model cache",
											  ALLOCSET_SMALL_SIZES);

	/* Becomes the cache's only when it is whole: an error frees it. */
	context = AllocSetContextCreate(CurrentMemoryContext,
									"meta model",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	entry = (CacheEntry *) palloc0(sizeof(CacheEntry));
	entry->context = context;
	entry->model = model_decode(bytes);
	MemoryContextSwitchTo(old);

	/*
	 * A digest is looked up on behalf of whoever may read it, so bytes must
	 * not pass for those of another model, whatever a table says.
	 */
	if (memcmp(entry->model->digest, digest, DIGEST_LENGTH) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the stored model %s does not have the digest it is stored under", digest),
				 errdetail("Its bytes have the digest %s.", entry->model->digest)));

	MemoryContextSetParent(context, cache_context);
	dlist_push_head(&entries, &entry->node);
	return cache_pin_entry(entry, owner);
}
