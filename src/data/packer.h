/*
 * packer.h
 *	  Encoded rows, given in the order of tasks, become a task set.
 *
 * A packed row is width.x floats, width.c codes, the target (a float, or a
 * class as an integer), the weight, how many rows right before it have its
 * order_by values, and its offset (taskset_set_offsets).  A record is the same
 * up to the weight, followed by the hash of the row's group.
 */
#ifndef DATA_PACKER_H
#define DATA_PACKER_H

#include "storage/fd.h"

#include "data/labels.h"
#include "data/taskset.h"

typedef struct PackedRows
{
	MemoryContext context;		/* holds all of it; closes the file when it goes */
	Width		width;
	bool		classes;		/* the target is a class */
	Size		row_bytes;
	char	   *memory;			/* all rows, where they fit */
	File		file;			/* otherwise; 0 while there is none */
	off_t		file_size;
	char	   *window;			/* rows read last */
	int64		window_first;
	int64		window_rows;
	int64		window_capacity;
} PackedRows;

/* Offsets within a packed row or record. */
#define PACKED_C(p) ((Size) (p)->width.x * sizeof(float))
#define PACKED_Y(p) (PACKED_C(p) + (Size) (p)->width.c * sizeof(int32))
#define PACKED_W(p) (PACKED_Y(p) + sizeof(float))
#define PACKED_TIES(p) (PACKED_W(p) + sizeof(float))
#define PACKED_OFFSET(p) (PACKED_TIES(p) + sizeof(int32))

typedef struct Packer Packer;

/*
 * The task set goes to the memory context result.  groups: the dictionary of
 * the "by" column, or NULL.  sorted: records of equal task and order come in
 * the order of their bytes already.
 */
extern Packer *packer_create(MemoryContext result, const Encoding *encoding,
							 const struct Options *options, LabelDict *groups, bool sorted);

/*
 * Where the record of a row is to be written, aligned as floats are.  The first
 * 8 bytes of task are its key, big-endian.  A row that is not ended is none.
 */
extern char *packer_begin_row(Packer *packer, const char *task, int task_length,
							  const char *order, int order_length);
extern void packer_end_row(Packer *packer);

extern TaskSet *packer_finish(Packer *packer);

/* Bytes of a record of an encoding. */
extern Size record_bytes(const Encoding *encoding);

#endif							/* DATA_PACKER_H */
