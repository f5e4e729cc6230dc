/*
 * memory.h
 *	  A training's memory, and what it says when that is full.
 */
#ifndef TRAIN_MEMORY_H
#define TRAIN_MEMORY_H

#include "compat.h"
#include "nn/arena.h"

/* An arena over a child of the current memory context, up to maintenance_work_mem. */
extern Arena *memory_arena(const char *name);

/* The error of a training's arena that is full. */
pg_noreturn extern void memory_error(void);

/* The error of a tape's or an applier's fault, which may be that one. */
pg_noreturn extern void computation_error(const char *what, const char *fault);

/* For Tape.interrupt. */
extern void check_interrupts(void);

#endif							/* TRAIN_MEMORY_H */
