/*
 * options.h
 *	  Every option of a training: one table that serves parsing, errors,
 *	  meta.options and the documentation.
 */
#ifndef LEARN_OPTIONS_H
#define LEARN_OPTIONS_H

#include "nn/network.h"

/* null: decided later */
#define OPTION_UNSET (-1)

typedef enum OptionType
{
	OPTION_INTEGER,
	OPTION_NUMBER,
	OPTION_BOOLEAN,
	OPTION_CHOICE,				/* one of a list of words, stored as int */
	OPTION_WIDTHS,				/* array of integers: hidden */
	OPTION_RANGE,				/* a number or [low, high]: shots */
	OPTION_TEXT,				/* free text: weight */
	OPTION_OBJECT,				/* JSON object of strings: encode */
	OPTION_LIST					/* JSON array of strings: exclude */
} OptionType;

/* How the outer rate goes on; in the order of the option's words. */
typedef enum OuterSchedule
{
	SCHEDULE_LINEAR,			/* falls, near to 0 at the last iteration */
	SCHEDULE_CONSTANT
} OuterSchedule;

/* What inner steps descend; in the order of the option's words. */
typedef enum InnerLoss
{
	INNER_LOSS_MEAN,
	INNER_LOSS_SHRUNK			/* sum of losses / (rows + c), c learned */
} InnerLoss;

/* The resolved values, by the names SQL uses. */
typedef struct Options
{
	/* the network */
	int			n_hidden;
	int			hidden[NETWORK_MAX_HIDDEN];
	int			activation;		/* UnaryKind */
	int			network;		/* NetworkKind */
	int			filters;
	int			norm;			/* NormKind, or OPTION_UNSET: by network and learner */
	bool		skip;
	bool		start_pooled;	/* meta-training begins at the pooled network */
	/* inner loop */
	int			inner_steps;
	int			adapt_steps;	/* when adapting; 0: inner_steps */
	int			inner_batch;	/* rows of an inner step, at most; 0: all */
	double		inner_lr;
	bool		step_rates;		/* learned, per tensor and step */
	bool		multi_step;		/* the outer loss counts all steps at first */
	int			inner_loss;		/* InnerLoss, or OPTION_UNSET: by shots */
	/* a Bayesian last layer */
	int			features;
	int			context;
	/* a generative learner */
	int			latent;
	int			samples;
	double		kl_weight;
	double		row_weight;
	/* metric-based learners */
	bool		full_context;
	int			memory;
	/* outer loop */
	double		outer_lr;
	int			schedule;		/* OuterSchedule */
	int			iterations;
	int			meta_batch;
	/* rows and tasks */
	int			shots[2];		/* lowest, highest */
	int			query;
	bool		rotations;		/* further classes by quarter turns of images */
	double		augment;		/* strength of random distortions of images */
	int			way;			/* 0: tasks are the task key's */
	double		validation;
	double		test;
	int			patience;
	int			metric;			/* METRIC_... of nn/metrics.h, or OPTION_UNSET */
	int			loss;			/* LossKind, or OPTION_UNSET: by target */
	double		weight_decay;
	double		clip;			/* norm of the outer gradient; 0: off */
	int64_t		seed;
	const char *weight;			/* column, or NULL */
	/* running */
	double		checkpoint;		/* seconds */
	double		report;			/* seconds */
	int			keep;			/* versions */
	double		time_limit;		/* seconds; 0: none */
} Options;

typedef struct OptionInfo
{
	const char *name;
	OptionType	type;
	const char *fallback;		/* default, as JSON text */
	double		low;			/* range of numbers, ends included */
	double		high;
	const char *choices;		/* words parted by '|', for OPTION_CHOICE */
	size_t		offset;			/* in Options; (size_t) -1 for encode, exclude */
	const char *meaning;
	const char *algorithms;		/* names parted by '|' of those that it changes
								 * anything for; NULL: all */
} OptionInfo;

/* Ended by a NULL name. */
extern const OptionInfo option_table[];

/* By name, or NULL. */
extern const OptionInfo *option_find(const char *name);

/*
 * The name, of those in small letters that are offered one by one, that takes
 * the fewest edits from a mistyped one; NULL where these are more than half of
 * its letters.
 */
typedef struct Closest
{
	const char *mistyped;
	const char *name;			/* NULL: none was offered yet */
	int			edits;
} Closest;

extern void closest_offer(Closest *closest, const char *name);
extern const char *closest_found(const Closest *closest);

/* The closest name of an option. */
extern const char *option_closest(const char *name);

/* Whether an algorithm learns or adapts otherwise by an option. */
extern bool option_concerns(const OptionInfo *info, const char *algorithm);

/*
 * Sets one option from numbers (integer, number, boolean as 0 or 1, choice as
 * its position, widths, range).  Returns NULL, or a static message that says
 * what is allowed.
 */
extern const char *option_set(Options *options, const OptionInfo *info, const double *values, int n);

/* Sets a choice by its word. */
extern const char *option_set_word(Options *options, const OptionInfo *info, const char *word);

/* All defaults of the table, then the learner's own (see Learner.defaults). */
extern void options_default(Options *options, const char *learner_defaults);

#endif							/* LEARN_OPTIONS_H */
