/*
 * phase.c
 *	  One outer loop: meta-iterations, validation, early stopping.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "learn/meta_step.h"
#include "train/phase.h"

/* The rate falls linearly to this share of itself at the last iteration. */
#define FINAL_RATE 0.03

/* Validations in a training that is not stopped early. */
#define VALIDATIONS 40

static real *
numbers(size_t n)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, mul_size(n + 1, sizeof(real)),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

void
phase_init(Phase *phase, const char *name, const Learner *learner, const LearnerSpec *spec, int fold)
{
	Rng			rng = rng_stream(spec->options.seed, RNG_INITIALISE, 0, 0);
	int			max = network_count(&spec->net) + 32;

	memset(phase, 0, sizeof(*phase));
	phase->name = name;
	phase->learner = learner;
	phase->spec = *spec;
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
	phase->theta = numbers(phase->list.size);
	phase->best = numbers(phase->list.size);
	phase->adam.first = numbers(phase->list.size);
	phase->adam.second = numbers(phase->list.size);
	phase->best_loss = INFINITY;
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

int
phase_validation_interval(const Options *options)
{
	return Max(1, options->iterations / VALIDATIONS);
}

/* One meta-iteration; returns the mean loss of its tasks. */
static double
meta_iteration(Phase *phase, MetaStep *step, Sampler *sampler, Rows *support, Rows *query, real *gradient)
{
	const Options *options = &phase->spec.options;
	double		loss = 0;
	double		decay = 1 - (double) phase->iteration / options->iterations;
	real		share = 1.0 / options->meta_batch;

	memset(gradient, 0, phase->list.size * sizeof(real));
	for (int place = 0; place < options->meta_batch; place += META_SLICE)
	{
		sampler_fill(sampler, phase->iteration, place, Min(META_SLICE, options->meta_batch - place), support, query);
		loss += meta_step_run(step, support, query, gradient);
	}
	for (size_t i = 0; i < phase->list.size; i++)
		gradient[i] *= share;

	if (phase->learner->flags & LEARNER_PLAIN_OUTER)
		sgd_step(&phase->list, phase->theta, gradient, options->outer_lr * decay);
	else
	{
		gradient_clip(gradient, phase->list.size, options->clip);
		adam_step(&phase->adam, &phase->list, phase->theta, gradient, phase->iteration + 1,
				  options->outer_lr * Max(decay, FINAL_RATE), options->weight_decay);
	}
	return loss / options->meta_batch;
}

/* Keeps the best parameters; true when patience is at its end. */
static bool
validate(Phase *phase, Scorer *scorer, const Validation *validation)
{
	double		loss;

	if (scorer == NULL)
	{
		memcpy(phase->best, phase->theta, phase->list.size * sizeof(real));
		phase->best_iteration = phase->iteration;
		return false;
	}
	loss = scorer_loss(scorer, validation->shots, validation->n_shots);
	phase->validation_loss = loss;
	if (loss < phase->best_loss)
	{
		phase->best_loss = loss;
		phase->best_iteration = phase->iteration;
		phase->strikes = 0;
		memcpy(phase->best, phase->theta, phase->list.size * sizeof(real));
	}
	else
		phase->strikes++;
	return phase->spec.options.patience > 0 && phase->strikes >= phase->spec.options.patience;
}

void
phase_run(Phase *phase, TaskSet *set, const Validation *validation, PhaseTick tick, void *context)
{
	MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta phase", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	const Options *options = &phase->spec.options;
	bool		no_support = (phase->learner->flags & LEARNER_NO_SUPPORT) != 0;
	int			shots[2] = {no_support ? 0 : options->shots[0], no_support ? 0 : options->shots[1]};

	/* without support rows, all of a task's share goes to the query */
	int			query = no_support ? options->query + options->shots[1] : options->query;
	int			interval = phase_validation_interval(options);
	Arena	   *arena = memory_arena(phase->name);
	Sampler    *sampler = sampler_create(set, options, shots, query, phase->fold);
	Scorer	   *scorer = NULL;
	real	   *gradient = numbers(phase->list.size);
	MetaStep   *step = palloc(sizeof(MetaStep));
	Rows		support,
				query_rows;

	if (sampler->n_tasks == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no task has enough rows to train on"),
				 errdetail("A task needs more rows than the fewest support rows, %d.", shots[0]),
				 errhint("Lower the option shots, or choose a task key that more rows share.")));
	rows_allocate(&support, set->encoding->width, META_SLICE, shots[1]);
	rows_allocate(&query_rows, set->encoding->width, META_SLICE, query);
	meta_step_init(step, arena, phase->learner, &phase->spec, &phase->list, phase->theta,
				   shots[0], shots[1], query, check_interrupts);
	if (step->fault)
	{
		if (strcmp(step->fault, "out of memory") == 0)
			memory_error();
		elog(ERROR, "cannot build the computation of \"%s\": %s", phase->learner->name, step->fault);
	}
	if (validation->panel)
		scorer = scorer_create(arena, validation->panel, phase->learner, &phase->spec, &phase->list, phase->theta);

	while (!phase->done)
	{
		bool		validated = false;

		CHECK_FOR_INTERRUPTS();
		if (phase->iteration == 0)
			validate(phase, scorer, validation);
		phase->train_loss = meta_iteration(phase, step, sampler, &support, &query_rows, gradient);
		if (!isfinite(phase->train_loss))
		{
			phase->diverged = true;
			break;
		}
		phase->iteration++;
		if (phase->iteration % interval == 0 || phase->iteration >= options->iterations)
		{
			validated = true;
			if (validate(phase, scorer, validation))
				phase->done = true;
		}
		if (phase->iteration >= options->iterations)
			phase->done = true;
		if (tick(context, phase, validated))
			break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(own);
}
