/*
 * keys.h
 *	  Which columns of a source are keys.
 */
#ifndef DATA_KEYS_H
#define DATA_KEYS_H

struct Query;

/* What a column is in the table that it comes from: any of these together. */
typedef uint8 KeyFlags;

#define KEY_OF_ROW	0x01		/* tells rows apart, and says nothing about
								 * them */
#define KEY_NAME	0x02		/* the name of something, whatever its type */

/* Of each column of a table or view, by its number less one. */
extern KeyFlags *relation_keys(Oid relation);

/*
 * Of each column of a SELECT's result, through views, subqueries, joins and
 * WITH, where it is a column of a table as it stands; analysed and rewritten.
 */
extern KeyFlags *query_keys(const struct Query *query);

#endif							/* DATA_KEYS_H */
