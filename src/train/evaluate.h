/*
 * evaluate.h
 *	  K-shot results on held-out tasks, with intervals over tasks.
 */
#ifndef TRAIN_EVALUATE_H
#define TRAIN_EVALUATE_H

#include "nn/metrics.h"
#include "train/score.h"

/*
 * Of fewer tasks, or of episodes of fewer classes, no interval is given: drawn
 * again and again from so few, it would be far too narrow.
 */
#define INTERVAL_TASKS 5

/* One figure. */
typedef struct Figure
{
	int			shots;
	Metric		metric;
	const char *method;			/* "adapted", "prior", or a baseline */
	int			group;			/* -1: all tasks */
	double		value;
	double		lower;			/* 95 % interval over tasks or episodes; NaN
								 * where the metric is undefined, or tasks are
								 * few */
	double		upper;
	double		difference;		/* to random_intercept, on the same tasks; NaN
								 * for itself and where there is none */
	double		difference_lower;
	double		difference_upper;
	int64		tasks;			/* or episodes */
	int64		rows;
} Figure;

/* Receives results in the order of shots, metrics, methods, groups. */
typedef void (*FigureEmit) (void *context, const Figure *result);

/*
 * Judges a model's components on a panel.  by_group adds the results of each
 * group of tasks.
 */
extern void evaluate_model(const Model *model, const Panel *panel, const int *shots, int n_shots,
						   uint64 seed, bool by_group, FigureEmit emit, void *context);

#endif							/* TRAIN_EVALUATE_H */
