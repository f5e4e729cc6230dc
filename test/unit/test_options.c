/*
 * test_options.c
 *	  The table of options: consistent, and refusing what it should.
 */
#include "learn/learner.h"
#include "learn/options.h"
#include "nn/metrics.h"
#include "tap.h"

static void
test_table(void)
{
	bool		documented = true;
	bool		unique = true;
	bool		short_enough = true;
	bool		found = true;
	char		choices[200] = "";

	for (const OptionInfo *a = option_table; a->name != NULL; a++)
	{
		size_t		length = strlen(a->meaning);

		documented = documented && length > 10 && a->meaning[length - 1] == '.';
		short_enough = short_enough && strlen(a->name) < 32;
		found = found && option_find(a->name) == a;
		for (const OptionInfo *b = option_table; b->name != NULL; b++)
			unique = unique && (a == b || strcmp(a->name, b->name) != 0);
	}
	ok(documented, "every meaning is a sentence");
	ok(unique, "no name occurs twice");
	ok(short_enough, "names are short");
	ok(found, "option_find finds every option");
	ok(option_find("hiddenx") == NULL && option_find("") == NULL && option_find("Hidden") == NULL,
	   "and nothing else");

	for (int m = 0; m < METRIC_CHOICES; m++)
		sprintf(choices + strlen(choices), "%s%s", m > 0 ? "|" : "", metric_names[m]);
	is_string(option_find("metric")->choices, choices, "the metrics of metrics.h may be chosen, in its order");
}

static void
test_defaults(void)
{
	Options		o;

	memset(&o, 0x5A, sizeof(o));
	options_default(&o, NULL);
	ok(o.n_hidden == 2 && o.hidden[0] == 64 && o.hidden[1] == 64, "hidden [64, 64]");
	ok(o.activation == UNARY_RELU && o.skip, "activation relu, skip true");
	ok(o.inner_steps == 5 && o.inner_lr == 0.01, "inner_steps 5, inner_lr 0.01");
	ok(o.outer_lr == 0.001 && o.iterations == 2000 && o.meta_batch == 32,
	   "outer_lr 0.001, iterations 2000, meta_batch 32");
	ok(o.shots[0] == 0 && o.shots[1] == 20 && o.query == 20 && o.way == 0, "shots [0, 20], query 20, way 0");
	ok(o.validation == 0.1 && o.test == 0.1 && o.patience == 10, "validation 0.1, test 0.1, patience 10");
	ok(o.metric == OPTION_UNSET && o.loss == OPTION_UNSET, "metric and loss are decided later");
	ok(o.weight_decay == 0.0001 && o.clip == 10 && o.seed == 0 && o.weight == NULL,
	   "weight_decay 0.0001, clip 10, seed 0, no weight");
	ok(o.checkpoint == 10 && o.report == 5 && o.keep == 3 && o.time_limit == 0,
	   "checkpoint 10, report 5, keep 3, time_limit 0");

	options_default(&o, "inner_steps 1;inner_lr 0.4; hidden [40, 40,8] ;activation tanh; shots 5; skip false; loss squared;");
	ok(o.inner_steps == 1 && o.inner_lr == 0.4, "a learner's own numbers");
	ok(o.n_hidden == 3 && o.hidden[1] == 40 && o.hidden[2] == 8, "its own widths");
	ok(o.activation == UNARY_TANH && o.loss == LOSS_SQUARED && !o.skip, "its own words and truth values");
	ok(o.shots[0] == 5 && o.shots[1] == 5, "its own range");
	ok(o.outer_lr == 0.001, "and the table's where it has none");
	options_default(&o, "hidden []");
	ok(o.n_hidden == 0, "no hidden layers");
	options_default(&o, "");
	ok(o.n_hidden == 2, "no defaults of its own");
}

static const char *
set(Options *o, const char *name, int n, double a, double b)
{
	double		values[2] = {a, b};

	return option_set(o, option_find(name), values, n);
}

static void
test_numbers(void)
{
	Options		o;

	options_default(&o, NULL);
	ok(set(&o, "inner_steps", 1, 3, 0) == NULL && o.inner_steps == 3, "an integer is set");
	is_string(set(&o, "inner_steps", 1, 2.5, 0), "must be an integer between 0 and 1000", "a fraction is none");
	is_string(set(&o, "inner_steps", 1, -1, 0), "must be an integer between 0 and 1000", "too small");
	ok(set(&o, "inner_steps", 1, 1e300, 0) != NULL && set(&o, "inner_steps", 1, NAN, 0) != NULL,
	   "too large, not a number");
	ok(set(&o, "inner_steps", 2, 1, 2) != NULL && set(&o, "inner_steps", 0, 0, 0) != NULL, "not one number");
	ok(o.inner_steps == 3, "what is refused changes nothing");

	ok(set(&o, "inner_lr", 1, 0.5, 0) == NULL && o.inner_lr == 0.5, "a number is set");
	is_string(set(&o, "inner_lr", 1, 101, 0), "must be a number between 0 and 100", "out of range");
	ok(set(&o, "outer_lr", 1, 0, 0) != NULL, "an outer learning rate of 0 learns nothing");
	ok(set(&o, "outer_lr", 1, 1, 0) == NULL && o.outer_lr == 1, "ranges include their ends");
	ok(set(&o, "test", 1, INFINITY, 0) != NULL && set(&o, "test", 1, NAN, 0) != NULL, "infinity and NaN are refused");

	ok(set(&o, "seed", 1, 9007199254740992.0, 0) == NULL && o.seed == INT64_C(9007199254740992), "a large seed");
	ok(set(&o, "seed", 1, -5, 0) == NULL && o.seed == -5, "a negative seed");
	ok(set(&o, "seed", 1, 1e18, 0) != NULL, "a seed that JSON numbers cannot hold");

	ok(set(&o, "way", 1, 5, 0) == NULL && o.way == 5, "way 5");
	ok(set(&o, "way", 1, 0, 0) == NULL && o.way == 0, "way 0");
	is_string(set(&o, "way", 1, 1, 0), "must be 0, or an integer between 2 and 1000", "way 1 is nothing to choose from");

	ok(set(&o, "skip", 1, 0, 0) == NULL && !o.skip, "a truth value");
	is_string(set(&o, "skip", 1, 2, 0), "must be true or false", "is 0 or 1");
}

static void
test_arrays(void)
{
	Options		o;
	double		many[NETWORK_MAX_HIDDEN + 1];

	options_default(&o, NULL);
	ok(set(&o, "shots", 1, 5, 0) == NULL && o.shots[0] == 5 && o.shots[1] == 5, "shots 5");
	ok(set(&o, "shots", 2, 1, 10) == NULL && o.shots[0] == 1 && o.shots[1] == 10, "shots [1, 10]");
	is_string(set(&o, "shots", 2, 10, 1),
			  "must be an integer, or an array of a lowest and a highest, between 0 and 10000", "shots [10, 1]");
	ok(set(&o, "shots", 2, 1, 10001) != NULL && set(&o, "shots", 2, -1, 1) != NULL &&
	   set(&o, "shots", 2, 0.5, 1) != NULL && set(&o, "shots", 0, 0, 0) != NULL && set(&o, "shots", 3, 1, 1) != NULL,
	   "and what is no range");
	ok(o.shots[0] == 1 && o.shots[1] == 10, "changes nothing");

	for (int i = 0; i <= NETWORK_MAX_HIDDEN; i++)
		many[i] = i + 1;
	ok(option_set(&o, option_find("hidden"), many, NETWORK_MAX_HIDDEN) == NULL &&
	   o.n_hidden == NETWORK_MAX_HIDDEN && o.hidden[NETWORK_MAX_HIDDEN - 1] == NETWORK_MAX_HIDDEN,
	   "as many layers as there may be");
	is_string(option_set(&o, option_find("hidden"), many, NETWORK_MAX_HIDDEN + 1),
			  "must be an array of at most 8 integers between 1 and 4096", "one more");
	ok(set(&o, "hidden", 2, 64, 0) != NULL && o.n_hidden == NETWORK_MAX_HIDDEN && o.hidden[0] == 1, "a layer of nothing");
	ok(set(&o, "hidden", 0, 0, 0) == NULL && o.n_hidden == 0, "no layers");
}

static void
test_words(void)
{
	Options		o;

	options_default(&o, NULL);
	ok(option_set_word(&o, option_find("activation"), "relu") == NULL && o.activation == UNARY_RELU, "relu");
	ok(option_set_word(&o, option_find("activation"), "tanh") == NULL && o.activation == UNARY_TANH, "tanh");
	ok(option_set_word(&o, option_find("activation"), "sigmoid") == NULL && o.activation == UNARY_SIGMOID, "sigmoid");
	ok(option_set_word(&o, option_find("activation"), "softplus") == NULL && o.activation == UNARY_SOFTPLUS, "softplus");
	is_string(option_set_word(&o, option_find("activation"), "gelu"),
			  "must be one of relu, tanh, sigmoid, softplus", "another word is refused with the list");
	ok(option_set_word(&o, option_find("activation"), "rel") != NULL &&
	   option_set_word(&o, option_find("activation"), "") != NULL &&
	   option_set_word(&o, option_find("activation"), "relu|tanh") != NULL, "parts and lists are no words");
	ok(o.activation == UNARY_SOFTPLUS, "what is refused changes nothing");

	ok(option_set_word(&o, option_find("loss"), "softmax") == NULL && o.loss == LOSS_SOFTMAX, "softmax");
	ok(option_set_word(&o, option_find("loss"), "logistic") == NULL && o.loss == LOSS_LOGISTIC, "logistic");
	ok(option_set_word(&o, option_find("loss"), "squared") == NULL && o.loss == LOSS_SQUARED, "squared");
	ok(option_set_word(&o, option_find("metric"), "ece") == NULL && o.metric == METRIC_ECE, "ece");
	ok(set(&o, "metric", 1, METRIC_AUC, 0) == NULL && o.metric == METRIC_AUC, "a word by its position");
	ok(set(&o, "metric", 1, METRIC_CHOICES, 0) != NULL && set(&o, "metric", 1, -1, 0) != NULL &&
	   set(&o, "metric", 1, NAN, 0) != NULL, "positions have an end");
	ok(option_set_word(&o, option_find("inner_steps"), "five") != NULL, "a number is no word");
	ok(set(&o, "weight", 1, 1, 0) != NULL && set(&o, "encode", 1, 1, 0) != NULL &&
	   set(&o, "exclude", 1, 1, 0) != NULL, "texts, objects and lists are no numbers");
}

static void
test_closest(void)
{
	is_string(option_closest("inner_step"), "inner_steps", "a letter missing");
	is_string(option_closest("inner_stepss"), "inner_steps", "one too many");
	is_string(option_closest("ouetr_lr"), "outer_lr", "two swapped");
	is_string(option_closest("Hidden"), "hidden", "another case");
	is_string(option_closest("meta_batch_size"), "meta_batch", "a longer name");
	is_string(option_closest("iteration"), "iterations", "singular");
	is_string(option_closest("wieght_decay"), "weight_decay", "a long one");
	is_string(option_closest("seed"), "seed", "a right one");
	ok(option_closest("learning_rate") == NULL, "a name that resembles none");
	ok(option_closest("a name that is much longer than any name of the table could ever be, and then some") == NULL,
	   "a very long one");
}

/* A learner's defaults are read when a training starts: they must be valid. */
static void
test_learner_defaults(void)
{
	for (int i = 0; learners[i] != NULL; i++)
	{
		Options		o;

		options_default(&o, learners[i]->defaults);	/* asserts */
		ok(learner_find(learners[i]->name) == learners[i], "defaults of %s are valid", learners[i]->name);
	}
}

int
main(void)
{
	test_table();
	test_defaults();
	test_numbers();
	test_arrays();
	test_words();
	test_closest();
	test_learner_defaults();
	return tap_done();
}
