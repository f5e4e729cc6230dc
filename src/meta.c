/*
 * meta.c
 *	  Module start.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;
