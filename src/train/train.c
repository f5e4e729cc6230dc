/*
 * train.c
 *	  A training from packed tasks to a model: its phases in turn, then the
 *	  baselines.
 */
#include "postgres.h"

#include "storage/shmem.h"
#include "utils/memutils.h"

#include "data/identifiers.h"
#include "nn/conv_network.h"
#include "store/options_json.h"
#include "train/baselines.h"
#include "train/blend_fit.h"
#include "train/calibrate.h"
#include "train/race.h"
#include "train/task_prior.h"

/* What validation looks at: enough to tell learners apart, and quick. */
#define VALIDATION_TASKS 400
#define VALIDATION_QUERY 40
static const int validation_shots[] = {0, 1, 3, 5, 10, 20};

/* Share of validation tasks that must have rows for a number of shots. */
#define VALIDATION_SHARE 0.4

/* A pooled network has seen enough after this many meta-iterations. */
#define POOLED_ITERATIONS 3000
#define POOLED_RATE 0.003

/* Rows of a category, on average, per column of its table. */
#define ROWS_PER_WIDTH 20

/* With fewer training tasks there is nothing to cross-fit. */
#define MIN_CROSS_FIT_TASKS 8

/* The way out where rows tie. */
#define UNTIE "Give order_by a finer column, or a further one that breaks ties."

/* Tells where ties leave little to adapt on, or to judge adapting by. */
static void
notice_ties(const TaskSet *set, int highest, int without_ties)
{
	int			tasks = 0;
	int			tied = 0;

	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN)
		{
			tasks++;
			tied += set->tasks[t].rows > 1 && set->tasks[t].most_shots == 0;
		}
	if (tied > tasks / 2)
		ereport(NOTICE,
				(errmsg("in %d of %d tasks to train on, all rows tie in order_by %s", tied, tasks,
						names_quoted(set->encoding->order_by)),
				 errdetail("Rows that tie are never parted into support and query, so these tasks have no support rows."),
				 errhint(UNTIE)));
	else if (highest < without_ties)
		ereport(NOTICE,
				(errmsg("validation has up to %d support rows instead of %d, because rows of a task tie in order_by %s",
						highest, without_ties, names_quoted(set->encoding->order_by)),
				 errdetail("Rows that tie are never parted into support and query."),
				 errhint(UNTIE)));
}

static void
choose_validation(Training *training)
{
	TaskSet    *set = training->set;
	const Options *options = &training->options;
	Validation *validation = &training->validation;
	int			without_ties;
	int			highest = panel_usable_shots(set, TASK_VALIDATION, validation_shots, lengthof(validation_shots),
											 VALIDATION_SHARE, &without_ties);
	const Panel *panel;

	highest = Min(highest, options->shots[1]);
	notice_ties(set, highest, Min(without_ties, options->shots[1]));
	panel = panel_create(set, TASK_VALIDATION, options->seed, highest, VALIDATION_TASKS, VALIDATION_QUERY);
	for (int i = 0; i < lengthof(validation_shots); i++)
		if (validation_shots[i] >= options->shots[0] && validation_shots[i] <= highest)
			validation->shots[validation->n_shots++] = validation_shots[i];
	if (validation->n_shots == 0)
		validation->shots[validation->n_shots++] = highest;
	if (panel->n_tasks > 0)
		validation->panel = panel;
}

/* Raises what would leave validation nothing to compare. */
static void
check_metric(const Training *training)
{
	const Encoding *encoding = training->set->encoding;
	int			metric = training->options.metric;
	int			n_classes = metric_classes(training->loss, encoding->width.y);
	StringInfoData fitting;

	if (metric == OPTION_UNSET || metric_fits(metric, n_classes))
		return;
	initStringInfo(&fitting);
	for (int m = 0; m < METRIC_CHOICES; m++)
		if (metric_fits(m, n_classes))
			appendStringInfo(&fitting, "%s%s", fitting.len > 0 ? ", " : "", metric_names[m]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("metric \"%s\" does not fit the target \"%s\"", metric_names[metric], encoding->target),
			 errhint("Leave out the option metric, or choose one of %s.", fitting.data)));
}

static bool
can_cross_fit(const TaskSet *set)
{
	int			tasks[2] = {0, 0};

	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN)
			tasks[task_fold(&set->tasks[t])]++;
	return tasks[0] >= MIN_CROSS_FIT_TASKS / 2 && tasks[1] >= MIN_CROSS_FIT_TASKS / 2;
}

LossKind
training_loss(const Options *options, const Encoding *encoding)
{
	if (options->loss != OPTION_UNSET)
		return options->loss;
	return encoding->target_kind == TARGET_BINARY ? LOSS_LOGISTIC :
		encoding->target_kind == TARGET_CLASS ? LOSS_SOFTMAX : LOSS_SQUARED;
}

/*
 * Tables of categories, narrower where a category has few rows: what a
 * handful of rows is to tell about one is best a number or two, or it is learned by
 * heart.
 */
static const Embedding *
table_widths(const TaskSet *set)
{
	Embedding  *embeddings = encoding_embeddings(set->encoding);
	int64		rows = 0;

	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN)
			rows += set->tasks[t].rows;
	for (int j = 0; j < set->encoding->width.c; j++)
	{
		int64		most = rows / ((int64) embeddings[j].size * ROWS_PER_WIDTH);

		embeddings[j].width = (int) Max(1, Min(embeddings[j].width, most));
		embeddings[j].rare = most == 0;
	}
	return embeddings;
}

/* The one image among the columns. */
static const Encoder *
find_image(const Encoding *encoding, const char *network)
{
	const Encoder *image = NULL;

	for (int i = 0; i < encoding->n_encoders; i++)
	{
		const Encoder *encoder = &encoding->encoders[i];

		if (encoder->kind != ENCODER_IMAGE)
			continue;
		if (image != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the network \"%s\" sees one image, and columns \"%s\" and \"%s\" both are images",
							network, image->column, encoder->column),
					 errhint("Leave one out by the option exclude, or encode it as vector.")));
		image = encoder;
	}
	if (image == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the network \"%s\" needs a column of images, and there is none", network),
				 errhint("Say which column holds pixels with the option encode: {\"photo\": \"image 28x28\"}.")));
	return image;
}

/* An option that is about images needs some. */
static void
require_images(const Encoding *encoding, const char *option)
{
	for (int i = 0; i < encoding->n_encoders; i++)
		if (encoding->encoders[i].kind == ENCODER_IMAGE)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the option %s needs a column of images, and there is none", option),
			 errhint("Say which column holds pixels with the option encode: {\"photo\": \"image 28x28\"}.")));
}

/* Quarter turns need images to turn, as classes to be told apart. */
static void
check_rotations(const Encoding *encoding)
{
	if (encoding->way == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the option rotations is for N-way episodes"),
				 errhint("Leave it out, or set the option way.")));
	require_images(encoding, "rotations");
	for (int i = 0; i < encoding->n_encoders; i++)
	{
		const Encoder *encoder = &encoding->encoders[i];

		if (encoder->kind == ENCODER_IMAGE && encoder->image[0] != encoder->image[1])
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the images of column \"%s\" are not squares, and cannot be turned by 90 degrees", encoder->column),
					 errhint("Leave out the option rotations.")));
	}
}

/* Tells of classes that are too small for what an episode asks of them. */
static void
notice_small_classes(const Training *training)
{
	const TaskSet *set = training->set;
	const Options *options = &training->options;
	int			classes = 0;
	int			small = 0;

	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role == TASK_TRAIN)
		{
			classes++;
			small += set->tasks[t].rows < options->shots[1] + options->query;
		}
	if (small > 0)
		ereport(NOTICE,
				(errmsg("%d of %d classes to train on have fewer than %d rows, %d for support and %d for the query", small, classes,
						options->shots[1] + options->query, options->shots[1], options->query),
				 errdetail("They are given fewer query rows in an episode, and where they have none left for one, fewer support rows."),
				 errhint("Lower the option shots or query for episodes that are all alike.")));
}

/* Hidden layers, or in their place convolutions by the option network. */
static void
choose_network(Training *training)
{
	const Options *options = &training->options;
	const Encoding *encoding = training->set->encoding;
	Network    *net = &training->net;
	const char *word = choice_word("network", options->network);
	const Encoder *image;

	net->inputs = encoding->width.x;
	net->n_embeddings = encoding->width.c;
	net->embeddings = table_widths(training->set);
	net->n_hidden = options->n_hidden;
	memcpy(net->hidden, options->hidden, sizeof(net->hidden));
	net->activation = options->activation;
	net->outputs = encoding->width.y;
	net->skip = options->skip;
	net->kind = (NetworkKind) options->network;
	net->norm = options->norm != OPTION_UNSET ? (NormKind) options->norm :
		net->kind == NETWORK_MLP ? NORM_NONE : NORM_RUNNING;
	if (net->kind == NETWORK_MLP)
		return;
	image = find_image(encoding, word);
	if (Min(image->image[0], image->image[1]) < conv_least_side(net->kind))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the images of column \"%s\" are too small for the network \"%s\"", image->column, word),
				 errdetail("They are %dx%d pixels, and %d to each side are the least.", image->image[0], image->image[1],
						   conv_least_side(net->kind)),
				 errhint("Choose the network \"conv4\", or leave out the option network.")));
	net->image = encoder_plane(image);
	net->image_at = image->x;
	net->skip = false;
	net->n_hidden = CONV_LAYERS;
	for (int l = 0; l < CONV_LAYERS; l++)
		net->hidden[l] = options->filters;
}

static void
add_phase(Training *training, const char *name, const Learner *learner, const LearnerSpec *spec, int fold)
{
	phase_init(&training->phases[training->n_phases++], name, learner, spec, fold);
}

/*
 * An encoding is fitted to what its training's options say of the target; one
 * that is read from a checkpoint may meet options that were changed since.
 */
static void
check_target(const Training *training)
{
	const Encoding *encoding = training->set->encoding;
	TargetKind	kind = encoding->target_kind;

	if ((training->loss == LOSS_SOFTMAX) == (kind == TARGET_CLASS) &&
		(training->loss == LOSS_LOGISTIC) == (kind == TARGET_BINARY) &&
		training->options.way == encoding->way)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the options are for another kind of target than the training began with"),
			 errdetail("The target \"%s\" was encoded for other values of the options \"loss\" and \"way\".", encoding->target),
			 errhint("Set these options back, or begin anew with CALL meta.train.")));
}

/* Raises that the learner cannot learn such a target. */
static void
check_learner(const Training *training)
{
	const Learner *learner = training->learner;
	const Encoding *encoding = training->set->encoding;

	if (learner_supports(learner, training->loss))
		return;
	if (training->loss == LOSS_SQUARED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("algorithm \"%s\" does not learn numbers", learner->name),
				 errdetail("The target \"%s\" is learned as a number, and it tells classes apart.", encoding->target),
				 errhint("Choose an algorithm such as matching or alpaca, or a target of classes: see the option \"encode\".")));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("algorithm \"%s\" does not learn classes", learner->name),
			 errdetail("The target \"%s\" has %d classes.", encoding->target, encoding->width.y),
			 errhint("Choose an algorithm such as maml, or a numeric or boolean target.")));
}

/*
 * The spec of the pooled network.  The learner's rates and batches are not
 * meant for it: the baseline is the same beside every learner.
 */
static LearnerSpec
pooled_spec(const Training *training, const LearnerSpec *spec)
{
	const Options *options = &training->options;
	LearnerSpec pooled = *spec;
	Options		usual;

	if (strcmp(training->learner->name, "pooled") == 0)
		return pooled;
	options_default(&usual, NULL);
	pooled.options.meta_batch = usual.meta_batch;
	pooled.options.outer_lr = POOLED_RATE;
	pooled.options.schedule = usual.schedule;
	pooled.options.weight_decay = usual.weight_decay;
	pooled.options.clip = usual.clip;
	pooled.options.patience = Min(options->patience, usual.patience);
	pooled.options.iterations = Min(options->iterations, POOLED_ITERATIONS);
	return pooled;
}

/* The pooled network, its cross-fitted copies, then the learner or those to choose among. */
static void
add_phases(Training *training, LearnerSpec spec, const Candidate *candidates, int n_candidates)
{
	const Learner *learner = training->learner;
	const Learner *pooled = learner_find("pooled");
	LearnerSpec of_pooled = pooled_spec(training, &spec);

	/* classes that get another output in each episode can only be told apart by adapting */
	if (training->set->encoding->way == 0)
		add_phase(training, "pooled", pooled, &of_pooled, FOLD_ALL);
	if (training->loss == LOSS_SQUARED && can_cross_fit(training->set))
		for (int fold = 0; fold < 2; fold++)
			add_phase(training, fold == 0 ? "cross-fit 1" : "cross-fit 2", pooled, &of_pooled, fold);

	training->first_candidate = training->n_phases;
	if (learner->flags & LEARNER_BLEND)
		for (int i = 0; i < n_candidates; i++)
		{
			spec.options = candidates[i].options;
			/* the blend's network is that of all its parts, and sees no task's rows by itself */
			spec.options.norm = training->net.norm = training->net.norm != NORM_NONE ? NORM_RUNNING : NORM_NONE;
			add_phase(training, candidates[i].learner->name, candidates[i].learner, &spec, FOLD_ALL);
		}
	else if (!(learner->flags & LEARNER_FIXED) && learner != pooled)
		add_phase(training, learner->name, learner, &spec, FOLD_ALL);
	training->main_phase = training->first_candidate < training->n_phases ? training->first_candidate : 0;
}

Training *
training_create(const Learner *learner, const Options *options, TaskSet *set,
				const Candidate *candidates, int n_candidates)
{
	Training   *training = palloc0(sizeof(Training));
	LearnerSpec spec = {0};

	training->learner = learner;
	training->options = *options;
	training->set = set;
	training->final_loss = NAN;
	training->loss = training_loss(options, set->encoding);
	check_target(training);
	check_learner(training);
	check_metric(training);
	choose_network(training);
	if (options->rotations)
		check_rotations(set->encoding);
	if (options->augment > 0)
		require_images(set->encoding, "augment");
	choose_validation(training);
	if (set->encoding->way > 0)
		notice_small_classes(training);

	spec.net = training->net;
	spec.columns = encoding_columns(set->encoding, &spec.n_columns);
	spec.loss = training->loss;
	spec.options = *options;
	if (options->inner_loss == OPTION_UNSET)
		spec.options.inner_loss = options->shots[0] < options->shots[1] ? INNER_LOSS_SHRUNK : INNER_LOSS_MEAN;
	add_phases(training, spec, candidates, n_candidates);
	for (int p = 0; p < training->n_phases; p++)
		phase_check(&training->phases[p], set, &training->validation);
	baselines_check(training);
	return training;
}

typedef struct TickContext
{
	const Training *training;
	TrainingTick tick;
	void	   *context;
	bool		stopped;
} TickContext;

static bool
phase_tick(void *context, const Phase *phase, bool validated)
{
	TickContext *tc = context;

	tc->stopped = tc->tick(tc->context, tc->training, phase, validated);
	return tc->stopped;
}

/*
 * The learner begins where the pooled network ended.  One that has begun, and
 * goes on from a checkpoint, is only given what a checkpoint does not hold.
 */
static void
start_pooled(Training *training, Phase *phase)
{
	const Phase *pooled = &training->phases[0];
	bool		linear = false;
	VarianceComponents v;

	if (phase->iteration == 0)
		tensors_copy(&phase->list, phase->theta, &pooled->list, pooled->best);
	if (phase->learner->begin == NULL)
		return;
	linear = start_linear(training, phase, &v);
	if (phase->iteration > 0)
		return;
	if (!linear)
		v = pooled_components(training);
	phase->learner->begin(&phase->spec, &phase->list, v.task, v.noise, phase->theta);
}

/*
 * One of several learners can fail without the others; a learner that was
 * asked for cannot.
 */
static bool
can_spare(const Training *training, const Phase *phase)
{
	return phase >= &training->phases[training->first_candidate] &&
		training->n_phases - training->first_candidate > 1;
}

bool
training_run(Training *training, TrainingTick tick, void *context)
{
	TickContext tc = {training, tick, context, false};
	Phase	   *phase;
	int			until;

	while ((phase = race_next(training, &until)) != NULL)
	{
		training->phase = (int) (phase - training->phases);
		/* what comes before candidates is the pooled network */
		if (training->first_candidate > 0 && training->phase >= training->first_candidate && training->options.start_pooled)
			start_pooled(training, phase);
		phase_run(phase, training->set, &training->validation, until, phase_tick, &tc);
		if (phase->diverged && can_spare(training, phase))
			phase_withdraw(phase);
		if (tc.stopped || phase->diverged)
			return false;
	}
	training->phase = training->n_phases - 1;
	return true;
}

void
component_from_phase(Component *component, const Phase *phase)
{
	component->prefix = pstrdup(phase->learner->name);
	component->learner = phase->learner;
	component->spec = phase->spec;
	component->spec.net.given = false;	/* for trainings only */
	component->list = phase->list;
	component->theta = phase->best;
}

/* The component of the learner that was asked for. */
static void
main_component(Training *training, Component *component)
{
	const Phase *phase = &training->phases[training->main_phase];

	if (training->learner->flags & LEARNER_BLEND)
	{
		blend_fit(training, component);
		return;
	}
	if (training->learner->flags & LEARNER_FIXED)
	{
		baseline_fit(training, training->learner, component);
		return;
	}
	if (phase->iteration == 0 && training->main_phase > 0 && training->options.start_pooled)
		tensors_copy(&phase->list, phase->best, &training->phases[0].list, training->phases[0].best);
	component_from_phase(component, phase);
}

/* So that evaluating on another source can leave them out. */
static void
remember_tasks(Model *model, const TaskSet *set)
{
	model->seen = MemoryContextAllocHuge(CurrentMemoryContext, mul_size(set->n_tasks + 1, sizeof(uint32)));
	for (int t = 0; t < set->n_tasks; t++)
		if (set->tasks[t].role != TASK_TEST)
			model->seen[model->n_seen++] = task_fingerprint(set->tasks[t].key);
}

/* A baseline, and a blend, are another thing than the network whose iterations were validated. */
static void
judge_final(Training *training, const Component *component)
{
	const Validation *validation = &training->validation;
	MemoryContext own;
	MemoryContext old;

	if (validation->panel == NULL || component->learner == training->phases[training->main_phase].learner)
		return;
	own = AllocSetContextCreate(CurrentMemoryContext, "meta final loss", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(own);
	training->final_loss = scorer_loss(scorer_create(memory_arena("final loss"), memory_error, validation->panel, component->learner,
													 &component->spec, &component->list, component->theta),
									   validation->shots, validation->n_shots);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}

Model *
training_finish(Training *training)
{
	static const char *const baselines[] = {"pooled", "random_intercept", "single_task"};
	Model	   *model = palloc0(sizeof(Model));

	model->encoding = (Encoding *) training->set->encoding;
	remember_tasks(model, training->set);
	model->components = palloc0(sizeof(Component) * (1 + lengthof(baselines)));
	main_component(training, &model->components[model->n_components++]);
	task_prior_fit(training, &model->components[0]);
	for (int i = 0; i < lengthof(baselines); i++)
	{
		const Learner *learner = learner_find(baselines[i]);
		Component  *component = &model->components[model->n_components];
		const Phase *pooled = &training->phases[0];

		if (learner == model->components[0].learner ||
			(model->encoding->way > 0 && !(learner->flags & LEARNER_NO_POOL)))
			continue;
		if (learner == pooled->learner)
			component_from_phase(component, pooled);
		else
			baseline_fit(training, learner, component);
		model->n_components++;
	}
	calibrate(training, model);
	judge_final(training, &model->components[0]);
	return model;
}
