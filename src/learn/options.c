/*
 * options.c
 *	  Every option of a training: one table that serves parsing, errors,
 *	  meta.options and the documentation.
 *
 * Defaults are kept as JSON text, as users see them, and read from it by the
 * small parser at the end of this file; a learner's own defaults are read by
 * the same one.
 */
#include "learn/options.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(Options, name)
#define NO_FIELD ((size_t) -1)

#define MAX_WIDTH 4096

/* The largest integer that a double, and so JSON everywhere, holds exactly. */
#define MAX_SEED 9007199254740992.0

#define DAYS(n) ((n) * 86400.0)

#define ALL NULL

/* algorithms that adapt by gradient steps */
#define INNER_STEPS "maml|fomaml|meta_sgd|anil|cavia|reptile|lstm"

/* ... and those that do so from where there was no outer loop for it; validation tasks tell them how far */
#define BASELINE_STEPS "|finetune|single_task"

/* algorithms with an outer loop by Adam */
#define ADAM "maml|fomaml|meta_sgd|anil|cavia|lstm|alpaca|cnp|vaml|ridge|prototypical|matching|mann"

const OptionInfo option_table[] = {
	/* the network */
	{"hidden", OPTION_WIDTHS, "[64, 64]", 1, MAX_WIDTH, NULL, FIELD(hidden),
	"Widths of the network's hidden layers, at most 8; [] is a linear model. Convolutional networks have filters instead.", ALL},
	/* the words in the order of UnaryKind */
	{"activation", OPTION_CHOICE, "\"relu\"", 0, 0, "relu|tanh|sigmoid|softplus", FIELD(activation),
	"Activation function of the hidden layers.", ALL},
	/* the words in the order of NetworkKind */
	{"network", OPTION_CHOICE, "\"mlp\"", 0, 0, "mlp|conv4|conv4_pool|conv4_flat", FIELD(network),
	"Network: hidden layers on all inputs, or four 3x3 convolutions of an image column, with strides of 2 and a mean at the end, with maximum pooling, or with strides and no mean.", ALL},
	{"filters", OPTION_INTEGER, "64", 1, 1024, NULL, FIELD(filters),
	"Filters of each convolution.", ALL},
	/* the words in the order of NormKind */
	{"norm", OPTION_CHOICE, "null", 0, 0, "none|batch|running", FIELD(norm),
	"Batch normalisation of the layers: over the rows at hand (a row alone: by its task's support rows), or after training by running averages; null is none, and for images batch where tasks adapt the layers, else running.", ALL},
	{"skip", OPTION_BOOLEAN, "true", 0, 1, NULL, FIELD(skip),
	"Whether a linear path leads past the hidden layers (wide and deep); past convolutions none does.", ALL},

	{"start_pooled", OPTION_BOOLEAN, "true", 0, 1, NULL, FIELD(start_pooled),
	"Whether meta-training begins at the pooled network instead of at random.", ADAM "|reptile"},

	/* inner loop */
	{"inner_steps", OPTION_INTEGER, "5", 0, 1000, NULL, FIELD(inner_steps),
	"Gradient steps on one task.", INNER_STEPS BASELINE_STEPS},
	{"adapt_steps", OPTION_INTEGER, "0", 0, 1000, NULL, FIELD(adapt_steps),
	"Gradient steps when adapting, where they should be others than the inner steps of training; 0 takes as many.", INNER_STEPS},
	{"inner_batch", OPTION_INTEGER, "0", 0, 10000, NULL, FIELD(inner_batch),
	"Rows of a task that one gradient step takes, at most: the rows are dealt into as many batches, which steps take in turn; 0 takes all.", INNER_STEPS BASELINE_STEPS},
	{"inner_lr", OPTION_NUMBER, "0.01", 0, 100, NULL, FIELD(inner_lr),
	"Learning rate of the inner steps, on the mean loss of the encoded target; lstm has learned its own.", "maml|fomaml|meta_sgd|anil|cavia|reptile" BASELINE_STEPS},
	{"step_rates", OPTION_BOOLEAN, "false", 0, 1, NULL, FIELD(step_rates),
	"Whether every tensor has a learned rate of its own at each inner step (MAML++).", INNER_STEPS},
	{"multi_step", OPTION_BOOLEAN, "false", 0, 1, NULL, FIELD(multi_step),
	"Whether the outer loss counts the results of all inner steps in the first tenth of the iterations (MAML++).", "maml|fomaml|meta_sgd|anil|cavia|lstm"},
	/* the words in the order of InnerLoss */
	{"inner_loss", OPTION_CHOICE, "null", 0, 0, "mean|shrunk", FIELD(inner_loss),
	"What inner steps descend: the mean loss of k rows, or their sum over k + c with a learned c; null takes the latter where shots is a range.", INNER_STEPS},

	/* a Bayesian last layer */
	{"features", OPTION_INTEGER, "12", 1, 256, NULL, FIELD(features),
	"Features of the last layer that a task has of its own (alpaca, ridge), besides the intercept; coordinates of the space in which rows are compared (prototypical, matching) or remembered (mann), or that a task bends (vaml).", "alpaca|ridge|prototypical|matching|mann|vaml"},
	{"context", OPTION_INTEGER, "16", 0, 256, NULL, FIELD(context),
	"Width of the summary of the support rows (alpaca, cnp, vaml), or context inputs (cavia), or of the LSTM (lstm, mann); 0 is none.", "alpaca|cnp|vaml|cavia|lstm|mann"},

	/* a generative learner */
	{"latent", OPTION_INTEGER, "8", 0, 256, NULL, FIELD(latent),
	"Latent variables that tell tasks apart, besides their level (vaml).", "vaml"},
	{"samples", OPTION_INTEGER, "20", 1, 256, NULL, FIELD(samples),
	"Draws of the latent variables over which predictions are averaged (vaml).", "vaml"},
	{"kl_weight", OPTION_NUMBER, "0.2", 0, 1000, NULL, FIELD(kl_weight),
	"Weight of the divergence between what the support rows and what all rows say of a task (vaml).", "vaml"},
	{"row_weight", OPTION_NUMBER, "0.05", 0, 1000, NULL, FIELD(row_weight),
	"Weight of the likelihood of whole rows beside that of their targets (vaml); 0 learns no rows to make up.", "vaml"},

	/* metric-based learners */
	{"full_context", OPTION_BOOLEAN, "false", 0, 1, NULL, FIELD(full_context),
	"Whether support rows are seen in the light of each other, in their order, by LSTMs (matching).", "matching"},
	{"memory", OPTION_INTEGER, "128", 1, 1024, NULL, FIELD(memory),
	"Support rows that a task keeps, no fewer than training shows (matching), or slots of its memory (mann); the oldest, or the least used, are forgotten.", "matching|mann"},

	/* outer loop */
	{"outer_lr", OPTION_NUMBER, "0.001", 1e-9, 1, NULL, FIELD(outer_lr),
	"Learning rate of the outer loop.", ADAM "|reptile|pooled"},
	/* the words in the order of OuterSchedule */
	{"schedule", OPTION_CHOICE, "\"linear\"", 0, 0, "linear|constant", FIELD(schedule),
	"Whether the outer rate falls linearly until the last iteration, or stays.", ADAM "|reptile|pooled"},
	{"iterations", OPTION_INTEGER, "2000", 1, 10000000, NULL, FIELD(iterations),
	"Meta-iterations: steps of the outer loop.", ALL},
	{"meta_batch", OPTION_INTEGER, "32", 1, 4096, NULL, FIELD(meta_batch),
	"Tasks per meta-iteration.", ADAM "|reptile|pooled"},

	/* rows and tasks */
	{"shots", OPTION_RANGE, "[0, 20]", 0, 10000, NULL, FIELD(shots),
	"Support rows per task: a number, or a range from which each task draws.", ALL},
	{"query", OPTION_INTEGER, "20", 1, 10000, NULL, FIELD(query),
	"Query rows per task, at most.", ALL},
	{"way", OPTION_INTEGER, "0", 0, 1000, NULL, FIELD(way),
	"Classes of an episode, 2 or more; 0 takes the task key's own tasks.", ALL},
	{"rotations", OPTION_BOOLEAN, "false", 0, 1, NULL, FIELD(rotations),
	"Whether images turned by 90, 180 and 270 degrees are further classes to train episodes on.", ALL},
	{"augment", OPTION_NUMBER, "0", 0, 2, NULL, FIELD(augment),
	"How strongly images are distorted in training, at random; 1: turned by up to 15 degrees, scaled by 15 %, moved by a tenth.", ALL},
	{"validation", OPTION_NUMBER, "0.1", 0, 0.9, NULL, FIELD(validation),
	"Share of the tasks kept for validation.", ALL},
	{"test", OPTION_NUMBER, "0.1", 0, 0.9, NULL, FIELD(test),
	"Share of the tasks kept for evaluation.", ALL},
	{"patience", OPTION_INTEGER, "10", 0, 1000000, NULL, FIELD(patience),
	"Validations without improvement before training stops; 0 never stops early.", ALL},
	/* the words in the order of Metric */
	{"metric", OPTION_CHOICE, "null", 0, 0, "rmse|mae|r2|log_loss|brier|accuracy|auc|ece|auc_by_task", FIELD(metric),
	"Metric that is compared on validation tasks; null takes the loss.", ALL},
	/* the words in the order of LossKind */
	{"loss", OPTION_CHOICE, "null", 0, 0, "squared|logistic|softmax", FIELD(loss),
	"Loss that is minimised; null chooses by the target's type.", ALL},
	{"weight_decay", OPTION_NUMBER, "0.0001", 0, 1, NULL, FIELD(weight_decay),
	"Decoupled weight decay of the outer loop, times the learning rate.", ADAM "|pooled"},
	{"clip", OPTION_NUMBER, "10", 0, 1e9, NULL, FIELD(clip),
	"Largest norm of the outer gradient, beyond which it is scaled down; 0 is off.", ADAM "|pooled"},
	{"seed", OPTION_INTEGER, "0", -MAX_SEED, MAX_SEED, NULL, FIELD(seed),
	"Seed of all random numbers, and of the split into training, validation and test tasks.", ALL},
	{"weight", OPTION_TEXT, "null", 0, 0, NULL, FIELD(weight),
	"Column that holds a weight for every row; null weighs all rows alike.", ALL},

	/* columns */
	{"encode", OPTION_OBJECT, "{}", 0, 0, NULL, NO_FIELD,
	"Encoders by column, where the automatic choice is wrong: number, category, boolean, vector, raw, image HxW or image HxWxC.", ALL},
	{"exclude", OPTION_LIST, "[]", 0, 0, NULL, NO_FIELD,
	"Columns to leave out of the features.", ALL},

	/* running */
	{"checkpoint", OPTION_NUMBER, "10", 0, DAYS(365), NULL, FIELD(checkpoint),
	"Seconds between checkpoints.", ALL},
	{"report", OPTION_NUMBER, "5", 0, DAYS(365), NULL, FIELD(report),
	"Seconds between progress lines.", ALL},
	{"keep", OPTION_INTEGER, "3", 1, 1000000, NULL, FIELD(keep),
	"Versions of a model that are kept.", ALL},
	{"time_limit", OPTION_NUMBER, "0", 0, DAYS(365), NULL, FIELD(time_limit),
	"Seconds after which training ends with the best so far, or with the version that there was, if the algorithm's turn has not come; what is then fitted and calibrated takes its own time. meta.resume goes on for as long again. 0 is no limit.", ALL},
	{NULL}
};

const OptionInfo *
option_find(const char *name)
{
	for (const OptionInfo *info = option_table; info->name != NULL; info++)
		if (strcmp(info->name, name) == 0)
			return info;
	return NULL;
}

#define MAX_NAME 32

/*
 * Edits (insertions, deletions, replacements, swaps of neighbours) that turn
 * a into b; case does not count.  b is a name of the table; of a, no more is
 * looked at than a name could resemble.
 */
static int
edit_distance(const char *a, const char *b)
{
	int			rows[3][MAX_NAME + 1];	/* of the matrix, in turn */
	int			n = (int) strnlen(a, 2 * MAX_NAME);
	int			m = (int) strnlen(b, MAX_NAME);

	for (int j = 0; j <= m; j++)
		rows[0][j] = j;
	for (int i = 1; i <= n; i++)
	{
		int		   *row = rows[i % 3];
		const int  *last = rows[(i + 2) % 3];
		const int  *before = rows[(i + 1) % 3];

		row[0] = i;
		for (int j = 1; j <= m; j++)
		{
			int			x = tolower((unsigned char) a[i - 1]);
			int			best = last[j - 1] + (x != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && x == b[j - 2] && tolower((unsigned char) a[i - 2]) == b[j - 1] &&
				before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[n % 3][m];
}

void
closest_offer(Closest *closest, const char *name)
{
	int			edits = edit_distance(closest->mistyped, name);

	if (closest->name == NULL || edits < closest->edits)
	{
		closest->name = name;
		closest->edits = edits;
	}
}

const char *
closest_found(const Closest *closest)
{
	return closest->name && 2 * (size_t) closest->edits <= strlen(closest->mistyped) ? closest->name : NULL;
}

const char *
option_closest(const char *name)
{
	Closest		closest = {name, NULL, 0};

	for (const OptionInfo *info = option_table; info->name != NULL; info++)
		closest_offer(&closest, info->name);
	return closest_found(&closest);
}

/* How many words a choice has. */
static int
count_choices(const char *choices)
{
	int			n = 1;

	for (; *choices != '\0'; choices++)
		n += *choices == '|';
	return n;
}

/* What is allowed, as a static message. */
static const char *
allowed(const OptionInfo *info)
{
	static char message[256];

	switch (info->type)
	{
		case OPTION_INTEGER:
			if (info->offset == FIELD(way))
				snprintf(message, sizeof(message), "must be 0, or an integer between 2 and %.0f", info->high);
			else
				snprintf(message, sizeof(message), "must be an integer between %.0f and %.0f", info->low, info->high);
			break;
		case OPTION_NUMBER:
			snprintf(message, sizeof(message), "must be a number between %.9g and %.9g", info->low, info->high);
			break;
		case OPTION_BOOLEAN:
			return "must be true or false";
		case OPTION_CHOICE:
			{
				size_t		at = (size_t) snprintf(message, sizeof(message), "must be one of ");

				for (const char *c = info->choices; *c != '\0' && at + 3 < sizeof(message); c++)
				{
					message[at++] = *c == '|' ? ',' : *c;
					if (*c == '|')
						message[at++] = ' ';
				}
				message[at] = '\0';
				break;
			}
		case OPTION_WIDTHS:
			snprintf(message, sizeof(message), "must be an array of at most %d integers between %.0f and %.0f",
					 NETWORK_MAX_HIDDEN, info->low, info->high);
			break;
		case OPTION_RANGE:
			snprintf(message, sizeof(message), "must be an integer, or an array of a lowest and a highest, between %.0f and %.0f",
					 info->low, info->high);
			break;
		case OPTION_TEXT:
			return "must be a string";
		case OPTION_OBJECT:
			return "must be an object whose values are strings";
		case OPTION_LIST:
			return "must be an array of strings";
	}
	return message;
}

/* Comparisons with NaN are false, so it is never within. */
static bool
within(const OptionInfo *info, double value, bool integer)
{
	return value >= info->low && value <= info->high && (!integer || value == floor(value));
}

const char *
option_set(Options *options, const OptionInfo *info, const double *values, int n)
{
	char	   *field = (char *) options + info->offset;

	switch (info->type)
	{
		case OPTION_INTEGER:
			if (n != 1 || !within(info, values[0], true) ||
				(info->offset == FIELD(way) && values[0] == 1))
				return allowed(info);
			if (info->offset == FIELD(seed))
				*(int64_t *) field = (int64_t) values[0];
			else
				*(int *) field = (int) values[0];
			return NULL;

		case OPTION_NUMBER:
			if (n != 1 || !within(info, values[0], false))
				return allowed(info);
			*(double *) field = values[0];
			return NULL;

		case OPTION_BOOLEAN:
			if (n != 1 || (values[0] != 0 && values[0] != 1))
				return allowed(info);
			*(bool *) field = values[0] != 0;
			return NULL;

		case OPTION_CHOICE:
			if (n != 1 || !(values[0] >= 0 && values[0] < count_choices(info->choices)) ||
				values[0] != floor(values[0]))
				return allowed(info);
			*(int *) field = (int) values[0];
			return NULL;

		case OPTION_WIDTHS:
			if (n < 0 || n > NETWORK_MAX_HIDDEN)
				return allowed(info);
			for (int i = 0; i < n; i++)
				if (!within(info, values[i], true))
					return allowed(info);
			for (int i = 0; i < n; i++)
				((int *) field)[i] = (int) values[i];
			options->n_hidden = n;
			return NULL;

		case OPTION_RANGE:
			if (n < 1 || n > 2 || !within(info, values[0], true) ||
				!within(info, values[n - 1], true) || values[0] > values[n - 1])
				return allowed(info);
			((int *) field)[0] = (int) values[0];
			((int *) field)[1] = (int) values[n - 1];
			return NULL;

		case OPTION_TEXT:
		case OPTION_OBJECT:
		case OPTION_LIST:
			break;				/* not numbers */
	}
	return allowed(info);
}

/* Position of a word of length characters among the choices, or -1. */
static int
choice_position(const char *choices, const char *word, size_t length)
{
	for (int position = 0;; position++)
	{
		size_t		end = strcspn(choices, "|");

		if (end == length && memcmp(choices, word, length) == 0)
			return position;
		if (choices[end] == '\0')
			return -1;
		choices += end + 1;
	}
}

bool
option_concerns(const OptionInfo *info, const char *algorithm)
{
	return info->algorithms == NULL || choice_position(info->algorithms, algorithm, strlen(algorithm)) >= 0;
}

const char *
option_set_word(Options *options, const OptionInfo *info, const char *word)
{
	int			position;

	if (info->type != OPTION_CHOICE ||
		(position = choice_position(info->choices, word, strlen(word))) < 0)
		return allowed(info);
	*(int *) ((char *) options + info->offset) = position;
	return NULL;
}

/*
 * Sets an option from JSON text that stands in this program: a number, an
 * array of numbers, true, false, null, or a word with or without quotes.
 * Returns false where it is not understood or not allowed.
 */
static bool
set_from_text(Options *options, const OptionInfo *info, const char *text, size_t length)
{
	double		values[NETWORK_MAX_HIDDEN];
	const char *end = text + length;
	int			n = 0;

	if (info->offset == NO_FIELD)
		return true;			/* kept by whoever reads the columns */

	if (length == 4 && memcmp(text, "null", 4) == 0)
	{
		char	   *field = (char *) options + info->offset;

		if (info->type == OPTION_TEXT)
			*(const char **) field = NULL;
		else if (info->type == OPTION_CHOICE)
			*(int *) field = OPTION_UNSET;
		return info->type == OPTION_TEXT || info->type == OPTION_CHOICE;
	}
	if (info->type == OPTION_CHOICE)
	{
		bool		quoted = length >= 2 && text[0] == '"';

		values[0] = choice_position(info->choices, text + quoted, length - 2 * quoted);
		return option_set(options, info, values, 1) == NULL;
	}
	if (info->type == OPTION_BOOLEAN)
	{
		values[0] = length == 4 && memcmp(text, "true", 4) == 0;
		return (values[0] == 1 || (length == 5 && memcmp(text, "false", 5) == 0)) &&
			option_set(options, info, values, 1) == NULL;
	}

	while (text < end)
	{
		char	   *after;

		if (strchr("[], ", *text) != NULL)
		{
			text++;
			continue;
		}
		if (n == NETWORK_MAX_HIDDEN)
			return false;
		values[n++] = strtod(text, &after);
		if (after == text)
			return false;
		text = after;
	}
	return option_set(options, info, values, n) == NULL;
}

void
options_default(Options *options, const char *learner_defaults)
{
	const char *pair = learner_defaults;

	memset(options, 0, sizeof(*options));
	for (const OptionInfo *info = option_table; info->name != NULL; info++)
	{
		bool		valid = set_from_text(options, info, info->fallback, strlen(info->fallback));

		assert(valid);
		(void) valid;
	}

	while (pair != NULL && *pair != '\0')
	{
		size_t		length = strcspn(pair, ";");
		const char *end = pair + length;
		size_t		key;
		char		name[MAX_NAME];
		const OptionInfo *info = NULL;

		while (pair < end && *pair == ' ')
			pair++;
		if (pair < end)
		{
			const char *last = end;
			const char *value;

			key = strcspn(pair, " ;");
			snprintf(name, sizeof(name), "%.*s", (int) key, pair);
			value = pair + key;
			while (value < end && *value == ' ')
				value++;
			while (last > value && last[-1] == ' ')
				last--;
			info = option_find(name);

			/* A learner's defaults are ours: the unit tests read them all. */
			if (info == NULL || !set_from_text(options, info, value, (size_t) (last - value)))
				assert(false);
		}
		pair = *end == ';' ? end + 1 : end;
	}
}
