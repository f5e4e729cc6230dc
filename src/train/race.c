/*
 * race.c
 *	  Which phase of a training is next.
 *
 * The pooled phases come first.  Where there are several learners to choose
 * among, each then runs a heat, a fraction of its iterations, after which only
 * those that validate nearly as well as the leader go on to the end.  What is
 * next follows from the phases' states alone, so that a resumed training takes
 * the same turns.
 */
#include "postgres.h"

#include <math.h>

#include "train/race.h"

/* Share of the iterations that a heat takes. */
#define HEAT 0.2

/* Validation loss, relative to the leader's, from which a learner goes no further. */
#define HOPELESS 1.03

/* Where a heat ends: right after a validation. */
static int
heat_end(const Phase *phase)
{
	int			interval = phase_validation_interval(&phase->spec.options);
	int			iterations = phase->spec.options.iterations;
	int			heat = ((int) (iterations * HEAT) + interval - 1) / interval * interval;

	return Min(heat, iterations);
}

/* Ends the phases that have fallen behind, when all have just run their heats. */
static void
drop_hopeless(Training *training)
{
	double		leader = INFINITY;

	for (int p = training->first_candidate; p < training->n_phases; p++)
	{
		const Phase *phase = &training->phases[p];

		if (phase->iteration > heat_end(phase))
			return;				/* that was decided before; a longer run's loss says nothing of a heat's */
		leader = Min(leader, phase->best_loss);
	}
	for (int p = training->first_candidate; p < training->n_phases; p++)
		if (training->phases[p].best_loss > HOPELESS * leader)
			phase_withdraw(&training->phases[p]);
}

Phase *
race_next(Training *training, int *until)
{
	bool		race = training->n_phases - training->first_candidate > 1;

	for (int heat = 0; heat <= (int) race; heat++)
	{
		for (int p = 0; p < training->n_phases; p++)
		{
			Phase	   *phase = &training->phases[p];
			bool		short_run = race && heat == 0 && p >= training->first_candidate;

			*until = short_run ? heat_end(phase) : phase->spec.options.iterations;
			if (!phase->done && phase->iteration < *until)
				return phase;
		}
		if (race && heat == 0)
			drop_hopeless(training);
	}
	return NULL;
}
