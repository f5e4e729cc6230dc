/*
 * core.h
 *	  What programs that run the numeric core without a server share.
 */
#ifndef BENCH_CORE_H
#define BENCH_CORE_H

#include <stdlib.h>
#include <time.h>

/* Seconds of processor time that this process has taken. */
static inline double
processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* For arena_init; nothing is given back. */
static inline void *
grow(void *context, size_t size)
{
	(void) context;
	return malloc(size);
}

#endif							/* BENCH_CORE_H */
