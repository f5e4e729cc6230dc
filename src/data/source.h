/*
 * source.h
 *	  A source: a table, a view, or a SELECT, read as the caller.
 */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include "data/loader.h"

/*
 * Loads a table's, view's or SELECT's rows, read as the current user in one
 * snapshot (which is released before the rows are sorted and packed).  The
 * request's keys need not be set.
 */
extern TaskSet *source_load(const char *source, const LoadRequest *request);

/*
 * "[schema.]relation" resolved and schema-qualified, or the SELECT as it is;
 * errors for what is neither.
 */
extern char *source_qualify(const char *source);

#endif							/* DATA_SOURCE_H */
