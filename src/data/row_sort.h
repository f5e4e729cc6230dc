/*
 * row_sort.h
 *	  Puts the rows of a source into the order of their bytes.
 *
 * A row is a bytea whose first 8 bytes are its task's key, big-endian.
 */
#ifndef DATA_ROW_SORT_H
#define DATA_ROW_SORT_H

typedef struct RowSort RowSort;

/* Its head: how many of a row's first bytes say where it belongs. */
typedef Size (*RowHead) (const bytea *row);

/* In the current memory context; uses up to maintenance_work_mem and a temporary file. */
extern RowSort *row_sort_create(RowHead head);

/* Copies a row. */
extern void row_sort_put(RowSort *sort, const bytea *row);

/* After the last row; then they can be read. */
extern void row_sort_finish(RowSort *sort);

/* After the last row: begins again.  Rows of equal heads may come in any order now. */
extern void row_sort_rewind(RowSort *sort);

/* The next row, good until the next call; NULL after the last. */
extern const bytea *row_sort_next(RowSort *sort);

/* Frees what it took, and removes its file; an error does that, too. */
extern void row_sort_end(RowSort *sort);

#endif							/* DATA_ROW_SORT_H */
