/*
 * phase.c
 *	  One outer loop: meta-iterations, validation, early stopping.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "train/parallel.h"

/* The rate falls linearly to this share of itself at the last iteration. */
#define FINAL_RATE 0.03

/*
 * Weight of the past in the running average of the parameters (Polyak and
 * Juditsky, "Acceleration of stochastic approximation by averaging", 1992).
 * A meta-batch is small and its gradient noisy; the average is not, and a
 * validation then compares learning instead of luck.
 */
#define AVERAGE_DECAY 0.99

/*
 * Of a learner that models whole rows, their loss counts for so much of its
 * weight in training: enough for it to go on while rows are still being
 * learned, and little beside what is predicted.
 */
#define ROWS_SHARE 0.1

/* Validations in a training that is not stopped early. */
#define VALIDATIONS 40

static real *
numbers(size_t n)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, mul_size(n + 1, sizeof(real)),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

void
choose_norm(const Learner *learner, LearnerSpec *spec)
{
	int			max = learner_max_tensors(&spec->net);
	TensorList	list = {palloc0(mul_size(max, sizeof(Tensor))), 0, max, 0};
	int			first;

	spec->net.norm = NORM_NONE;
	if (spec->options.norm != OPTION_UNSET)
	{
		spec->net.norm = (NormKind) spec->options.norm;
		if (spec->net.norm == NORM_BATCH && learner->flags & LEARNER_NO_SUPPORT)
			spec->net.norm = NORM_RUNNING;
	}
	else if (spec->net.kind != NETWORK_MLP && learner->layout(spec, &list))
	{
		first = tensor_find(&list, "layer.0.weight");
		spec->net.norm = first >= 0 && list.tensors[first].role == TENSOR_ADAPTED ? NORM_BATCH : NORM_RUNNING;
	}
	pfree(list.tensors);
}

void
phase_init(Phase *phase, const char *name, const Learner *learner, const LearnerSpec *spec, int fold)
{
	Rng			rng = rng_stream(spec->options.seed, RNG_INITIALISE, 0, 0);
	int			max;

	memset(phase, 0, sizeof(*phase));
	phase->name = name;
	phase->learner = learner;
	phase->spec = *spec;
	choose_norm(learner, &phase->spec);
	max = learner_max_tensors(&phase->spec.net);
	phase->fold = fold;
	phase->list.max = max;
	phase->list.tensors = palloc0(mul_size(max, sizeof(Tensor)));
	if (!learner->layout(&phase->spec, &phase->list))
		elog(ERROR, "learner \"%s\" has more than %d tensors", learner->name, max);
	if (phase->list.size > PARAMS_MAX_SIZE / sizeof(real))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the model would have %zu parameters, more than the %zu that may be stored",
						phase->list.size, (size_t) (PARAMS_MAX_SIZE / sizeof(real))),
				 errhint("Lower the option hidden, or leave out columns with very many categories by the option exclude.")));

	/*
	 * The gradient alone would be too large: phase_check would say so, but
	 * only after all phases have taken memory for their state.
	 */
	if (phase->list.size > (size_t) maintenance_work_mem * 1024 / sizeof(real))
		memory_error();
	CHECK_FOR_INTERRUPTS();
	phase->theta = numbers(phase->list.size);
	phase->average = numbers(phase->list.size);
	phase->best = numbers(phase->list.size);
	phase->adam.first = numbers(phase->list.size);
	phase->adam.second = numbers(phase->list.size);
	phase->rows_at = MemoryContextAllocExtended(CurrentMemoryContext, mul_size(outer_rows(&phase->list) + 1, sizeof(int32)),
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	phase->best_score = phase->best_loss = INFINITY;
	phase->metric = NAN;
	phase->validation_loss = NAN;
	phase->train_loss = NAN;
	learner->initialise(&phase->spec, &phase->list, &rng, phase->theta);
	memcpy(phase->best, phase->theta, phase->list.size * sizeof(real));
}

void
tensors_copy(const TensorList *to_list, real *to, const TensorList *from_list, const real *from)
{
	for (int i = 0; i < to_list->n; i++)
	{
		const Tensor *tensor = &to_list->tensors[i];
		int			j = tensor_find(from_list, tensor->name);

		if (j >= 0 && from_list->tensors[j].rows == tensor->rows && from_list->tensors[j].cols == tensor->cols)
			memcpy(to + tensor->offset, from + from_list->tensors[j].offset,
				   (size_t) tensor->rows * tensor->cols * sizeof(real));
	}
}

void
phase_give_effects(Phase *phase)
{
	phase->spec.net.given = true;
	phase->list.n = 0;
	phase->list.size = 0;
	if (!phase->learner->layout(&phase->spec, &phase->list))
		elog(ERROR, "learner \"%s\" has more than %d tensors", phase->learner->name, phase->list.max);
}

int
phase_validation_interval(const Options *options)
{
	return Max(1, options->iterations / VALIDATIONS);
}

/* What the iterations work with, in the current memory context. */
typedef struct Bench
{
	Sampler    *sampler;
	MetaStep	step;
	Scorer	   *scorer;			/* NULL without validation tasks */
	Rows		support;
	Rows		query;
	Outer	   *outer;
	Team	   *team;			/* NULL: no workers */
	Arena	   *arena;
	MemoryContext nothing;		/* see checked_iteration */
} Bench;

/* What a phase's steps go by: StepRatesOf. */
static StepRates
step_rates(const void *context, int64 step)
{
	const Phase *phase = context;
	const Options *options = &phase->spec.options;
	double		decay = options->schedule == SCHEDULE_CONSTANT ? 1 : 1 - (step - 1.0) / options->iterations;
	StepRates	rates;

	if (!(phase->learner->flags & LEARNER_PLAIN_OUTER))
		decay = Max(decay, FINAL_RATE);
	rates.rate = options->outer_lr * decay;
	rates.weight_decay = options->weight_decay;
	/* the first iterations are forgotten sooner */
	rates.keep = Min(AVERAGE_DECAY, step / (step + 9.0));
	return rates;
}

/* One meta-iteration; returns the mean loss of its tasks, or NaN. */
static double
meta_iteration(Phase *phase, Bench *bench)
{
	const Options *options = &phase->spec.options;
	double		progress = (double) phase->iteration / options->iterations;
	double		loss = 0;

	outer_begin(bench->outer, phase->iteration);
	if (bench->team == NULL || !team_gradient(bench->team, progress, bench->outer, &loss))
		for (int place = 0; place < options->meta_batch; place += META_SLICE)
		{
			sampler_fill(bench->sampler, phase->iteration, place, Min(META_SLICE, options->meta_batch - place),
						 &bench->support, &bench->query);
			outer_see(bench->outer, &bench->support);
			outer_see(bench->outer, &bench->query);
			meta_step_draw(&bench->step, phase->iteration, place);
			loss += meta_step_run(&bench->step, &bench->support, &bench->query, progress, bench->outer->gradient);
		}

	/* numbers that are not finite must not reach the parameters */
	if (!isfinite(outer_step(bench->outer, 1.0 / options->meta_batch)))
		return NAN;
	return loss / options->meta_batch;
}

/*
 * The same, in a build that looks for memory taken in the loop (META_DEBUG):
 * after the first meta-iteration of a run none is, of the arena, of the current
 * context, or of any other that has to grow for it.  Beginning a parallel
 * section is another matter.
 */
static double
checked_iteration(Phase *phase, Bench *bench, bool first)
{
#ifdef META_DEBUG
	MemoryContext old = CurrentMemoryContext;
	uint64		requests = bench->arena->requests;
	Size		allocated;
	double		loss;

	if (first || bench->team != NULL)
		return meta_iteration(phase, bench);
	if (bench->nothing == NULL)
		bench->nothing = AllocSetContextCreate(CurrentMemoryContext, "meta iteration", ALLOCSET_SMALL_SIZES);
	allocated = MemoryContextMemAllocated(TopMemoryContext, true);
	MemoryContextSwitchTo(bench->nothing);
	loss = meta_iteration(phase, bench);
	MemoryContextSwitchTo(old);
	if (!MemoryContextIsEmpty(bench->nothing) || bench->arena->requests != requests ||
		MemoryContextMemAllocated(TopMemoryContext, true) != allocated)
		elog(ERROR, "meta-iteration %d of %s took memory", phase->iteration, phase->name);
	return loss;
#else
	return meta_iteration(phase, bench);
#endif
}

/* ---- whole rows, learned on after patience has ended ---- */

static bool
is_of_rows(const Phase *phase, const Tensor *tensor)
{
	const char *begin = phase->learner->generative->tensors;

	return strncmp(tensor->name, begin, strlen(begin)) == 0;
}

/* Copies the tensors that serve whole rows alone, or the others. */
static void
copy_tensors(const Phase *phase, bool of_rows, real *to, const real *from)
{
	for (int i = 0; i < phase->list.n; i++)
	{
		const Tensor *tensor = &phase->list.tensors[i];

		if (is_of_rows(phase, tensor) == of_rows)
			memcpy(to + tensor->offset, from + tensor->offset, (Size) tensor->rows * tensor->cols * sizeof(real));
	}
}

/* Loss of whole rows, given as many rows as validation goes to. */
static double
rows_loss(const Bench *bench, const Validation *validation)
{
	return scorer_rows_loss(bench->scorer, validation->shots[validation->n_shots - 1]);
}

/*
 * What is predicted is often at its best long before whole rows are learned.
 * Its parameters then stay as they are in best, and the others go on, from
 * where they have got to; false where there are none.
 */
static bool
begin_rows(Phase *phase, Bench *bench, const Validation *validation)
{
	real	   *average;

	if (phase->rows_only || bench->scorer->generator == NULL)
		return false;
	average = numbers(phase->list.size);
	memcpy(average, phase->average, phase->list.size * sizeof(real));
	memcpy(phase->average, phase->best, phase->list.size * sizeof(real));
	phase->rows_only = true;
	phase->strikes = 0;
	phase->rows_score = rows_loss(bench, validation);
	copy_tensors(phase, true, phase->average, average);
	copy_tensors(phase, false, phase->theta, phase->best);
	pfree(average);
	return true;
}

/* What the outer loop moves: in that part of a training, nothing else. */
static const TensorList *
moved(const Phase *phase)
{
	TensorList *list;

	if (!phase->rows_only)
		return &phase->list;
	list = palloc(sizeof(TensorList));
	*list = phase->list;
	list->tensors = palloc(mul_size(list->n, sizeof(Tensor)));
	memcpy(list->tensors, phase->list.tensors, list->n * sizeof(Tensor));
	for (int i = 0; i < list->n; i++)
		if (!is_of_rows(phase, &list->tensors[i]))
			list->tensors[i].role = TENSOR_FIXED;
	return list;
}

static void
validate_rows(Phase *phase, const Bench *bench, const Validation *validation)
{
	double		score = rows_loss(bench, validation);

	if (score < phase->rows_score)
	{
		phase->rows_score = score;
		phase->strikes = 0;
		copy_tensors(phase, true, phase->best, phase->average);
	}
	else
		phase->strikes++;
}

/* ---- validation ---- */

/* Notes what validation tasks say, and keeps the parameters if they are the best. */
static void
validate_predictions(Phase *phase, const Bench *bench, const Validation *validation)
{
	Scorer	   *scorer = bench->scorer;
	int			metric = phase->spec.options.metric;
	double		score;

	score = phase->validation_loss = scorer_loss(scorer, validation->shots, validation->n_shots);
	score += ROWS_SHARE * phase->spec.options.row_weight *
		rows_loss(bench, validation);
	if (metric != OPTION_UNSET)
	{
		phase->metric = scorer_metric(scorer, metric, validation->shots, validation->n_shots);
		score = metric_larger_is_better(metric) ? -phase->metric : phase->metric;
		/* undefined on these tasks, and then always: all of one class, say */
		if (isnan(score))
			score = phase->validation_loss;
	}
	if (score < phase->best_score)
	{
		phase->best_score = score;
		phase->best_loss = phase->validation_loss;
		phase->best_iteration = phase->iteration;
		phase->strikes = 0;
		memcpy(phase->best, phase->average, phase->list.size * sizeof(real));
	}
	else
		phase->strikes++;
}

/* Keeps the best parameters; true when patience is at its end. */
static bool
validate(Phase *phase, Bench *bench, const Validation *validation)
{
	outer_settle(bench->outer, phase->iteration);
	if (bench->scorer == NULL)
	{
		memcpy(phase->best, phase->average, phase->list.size * sizeof(real));
		phase->best_iteration = phase->iteration;
		return false;
	}
	if (phase->rows_only)
		validate_rows(phase, bench, validation);
	else
		validate_predictions(phase, bench, validation);
	return phase->spec.options.patience > 0 && phase->strikes >= phase->spec.options.patience;
}

static Bench *
bench_create(Phase *phase, TaskSet *set, const Validation *validation)
{
	Bench	   *bench = palloc0(sizeof(Bench));
	const Options *options = &phase->spec.options;
	bool		no_support = (phase->learner->flags & LEARNER_NO_SUPPORT) != 0;
	int			shots[2] = {no_support ? 0 : options->shots[0], no_support ? 0 : options->shots[1]};

	/* without support rows, all of a task's share goes to the query */
	int			query = no_support ? options->query + options->shots[1] : options->query;
	Width		width = set->encoding->width;
	int			way = set->encoding->way;
	int			classes = Max(way, 1);	/* that rows are counted for */
	Arena	   *arena = memory_arena(phase->name);
	const Panel *panel = validation->panel;

	bench->arena = arena;
	bench->sampler = sampler_create(set, options, shots, query, phase->fold);
	if (bench->sampler->n_tasks < way)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%d-way episodes need %d tasks to train on, and there are %d", way, way, bench->sampler->n_tasks),
				 errdetail("Only tasks with more than %d rows count, and those for validation and test do not.", shots[0]),
				 errhint("Lower the option way or shots, or give the source more tasks.")));
	if (bench->sampler->n_tasks == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no task has enough rows to train on"),
				 errdetail("A task needs more rows than the fewest support rows, %d.", shots[0]),
				 errhint("Lower the option shots, or choose a task key that more rows share.")));
	meta_step_init(&bench->step, arena, phase->learner, &phase->spec, &phase->list, phase->theta,
				   classes * shots[0], classes * shots[1], classes * query, check_interrupts);
	if (bench->step.fault)
		computation_error(phase->learner->name, bench->step.fault);

	width.x += phase->spec.net.given;

	/* no more than the tapes' own leaves, which the arena had room for */
	rows_allocate(&bench->support, width, META_SLICE, classes * shots[1]);
	rows_allocate(&bench->query, width, META_SLICE, classes * query);
	bench->outer = outer_create(arena, moved(phase), phase->theta, phase->average, &phase->adam, phase->rows_at,
								(phase->learner->flags & LEARNER_PLAIN_OUTER) != 0,
								phase->learner->flags & LEARNER_PLAIN_OUTER ? 0 : options->clip, step_rates, phase);
	if (bench->outer == NULL)
		memory_error();
	bench->team = team_create(phase, &bench->step, bench->sampler, &(TeamSizes) {
		classes * shots[0], classes * shots[1], classes * query, width
	});
	if (panel && phase->learner->validation_tasks > 0)
		panel = panel_thin(panel, phase->learner->validation_tasks);
	if (panel)
		bench->scorer = scorer_create(arena, memory_error, panel, phase->learner, &phase->spec, &phase->list,
									  phase->average);
	/* as the loss is in training */
	if (bench->scorer && phase->spec.net.norm == NORM_BATCH)
		applier_transductive(bench->scorer->applier);
	if (bench->scorer)
	{
		scorer_want_rows(bench->scorer, arena, &phase->list, phase->average);
		scorer_reserve(bench->scorer);
	}
	return bench;
}

void
phase_check(Phase *phase, TaskSet *set, const Validation *validation)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta phase", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);

	bench_create(phase, set, validation);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}

/* True where it is to go on with whole rows alone, for which another bench is needed. */
static bool
run_iterations(Phase *phase, Bench *bench, const Validation *validation, int until, PhaseTick tick, void *context)
{
	const Options *options = &phase->spec.options;
	int			interval = phase_validation_interval(options);
	bool		first = true;

	while (!phase->done && phase->iteration < until)
	{
		bool		validated = false;
		bool		rows_begin = false;

		CHECK_FOR_INTERRUPTS();
		if (phase->iteration == 0)
		{
			/* the start is what is kept if nothing validates */
			memcpy(phase->average, phase->theta, phase->list.size * sizeof(real));
			memcpy(phase->best, phase->theta, phase->list.size * sizeof(real));
			validate(phase, bench, validation);
		}
		phase->train_loss = checked_iteration(phase, bench, first);
		first = false;
		if (!isfinite(phase->train_loss))
		{
			phase->diverged = true;
			return false;
		}
		phase->iteration++;
		if (phase->iteration % interval == 0 || phase->iteration >= options->iterations)
		{
			validated = true;
			if (validate(phase, bench, validation))
			{
				rows_begin = phase->iteration < options->iterations && begin_rows(phase, bench, validation);
				phase->done = !rows_begin;
			}
		}
		if (phase->iteration >= options->iterations)
			phase->done = true;
		if (tick(context, phase, validated))
		{
			/* what was learned since the last validation may be the best */
			if (!validated)
				validate(phase, bench, validation);
			return false;
		}
		if (rows_begin)
			return true;
	}
	return false;
}

/* As phase_run; true where it is to be called again. */
static bool
run_part(Phase *phase, TaskSet *set, const Validation *validation, int until, PhaseTick tick, void *context)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta phase", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	Bench	   *bench = bench_create(phase, set, validation);
	volatile bool again = false;

	PG_TRY();
	{
		again = run_iterations(phase, bench, validation, until, tick, context);
		team_leave();
	}
	PG_CATCH();
	{
		/* the transaction's abort ends the workers */
		team_forget();
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
	return again;
}

void
phase_run(Phase *phase, TaskSet *set, const Validation *validation, int until, PhaseTick tick, void *context)
{
	while (run_part(phase, set, validation, until, tick, context))
		;
}

void
phase_withdraw(Phase *phase)
{
	phase->done = true;
	phase->diverged = false;
	phase->best_score = phase->best_loss = INFINITY;
}
