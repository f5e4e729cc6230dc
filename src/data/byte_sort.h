/*
 * byte_sort.h
 *	  Sorts byteas by their bytes, in memory.
 */
#ifndef DATA_BYTE_SORT_H
#define DATA_BYTE_SORT_H

/* prefix: of the sort, the bytes where strings begin to differ. */
typedef struct ByteString
{
	uint64		prefix;
	const bytea *bytes;			/* with a header of 4 bytes */
} ByteString;

/* What byte strings are but their headers. */
#define BYTES_OF(string) ((const char *) VARDATA((string)->bytes))
#define SIZE_OF(string) ((Size) VARSIZE((string)->bytes) - VARHDRSZ)

/*
 * Puts n > 0 strings into the order of memcmp, a beginning before what goes on.
 * Returns how many first bytes they share.  spare: room for n.
 */
extern Size bytes_sort(ByteString *strings, ByteString *spare, Size n);

#endif							/* DATA_BYTE_SORT_H */
