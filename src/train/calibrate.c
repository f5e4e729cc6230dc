/*
 * calibrate.c
 *	  Makes what a training ends with as sure as it is right.
 *
 * Each component is calibrated by itself on the validation tasks, at each
 * number of shots that they are judged at: the learner because few rows make
 * it too sure or not sure enough, and the baselines because a comparison with
 * them would otherwise be won by calibration alone.
 *
 * For k shots the rows are those that follow the first k, of all tasks that
 * have more than k: what a model will be asked for.  The panel of validation
 * compares numbers of shots on the same rows, and so looks only at long tasks,
 * and at their later rows; corrected for these, a model was less right about a
 * task's next rows than without any correction.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "train/train.h"

/* Validation tasks, and query rows of each, at most. */
#define CALIBRATION_TASKS 400
#define CALIBRATION_QUERY 40

/* Outputs that are held at a time: of very many classes, those of fewer tasks. */
#define MAX_OUTPUTS (4 * 1024 * 1024)

/* The rows of a panel's tasks, predicted; arrays to be filled. */
typedef struct Predicted
{
	CalibrationRows rows;
	real	   *outputs;
	real	   *y;
	real	   *w;
	real	   *variances;
} Predicted;

static real *
numbers(int64 rows, int width)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, mul_size(mul_size(rows, width) + 1, sizeof(real)));
}

static void
predicted_add(Predicted *predicted, const Scorer *scorer, int n)
{
	size_t		at = predicted->rows.n;
	size_t		width = predicted->rows.width;

	memcpy(predicted->outputs + at * width, scorer->outputs, n * width * sizeof(real));
	memcpy(predicted->y + at * width, scorer->query.y, n * width * sizeof(real));
	memcpy(predicted->w + at, scorer->query.w, n * sizeof(real));
	if (scorer->variances)
		memcpy(predicted->variances + at, scorer->variances, n * sizeof(real));
	predicted->rows.n += n;
	predicted->rows.tasks++;
}

/* The correction after so many shots, on rows that follow them. */
static Correction
fit(const Panel *panel, const Component *component, int shots)
{
	const LearnerSpec *spec = &component->spec;
	int			width = spec->net.outputs;
	Predicted	predicted = {{0}};
	Scorer	   *scorer;

	if (panel->n_query * width > MAX_OUTPUTS)
		panel = panel_thin(panel, Max(1, (int) ((double) panel->n_tasks * MAX_OUTPUTS / panel->n_query / width)));
	scorer = scorer_create(memory_arena("calibrate"), panel, component->learner, spec,
						   &component->list, component->theta);
	scorer_want_variances(scorer);
	predicted.rows.width = width;
	predicted.rows.outputs = predicted.outputs = numbers(panel->n_query, width);
	predicted.rows.y = predicted.y = numbers(panel->n_query, width);
	predicted.rows.w = predicted.w = numbers(panel->n_query, 1);
	if (scorer->variances)
		predicted.rows.variances = predicted.variances = numbers(panel->n_query, 1);
	for (int t = 0; t < panel->n_tasks; t++)
	{
		CHECK_FOR_INTERRUPTS();
		/* a task that it diverges on says nothing of the others */
		if (scorer_task(scorer, &panel->tasks[t], shots))
			predicted_add(&predicted, scorer, panel->tasks[t].n_query);
	}
	return calibration_fit(spec->loss, &predicted.rows);
}

static void
calibrate_component(const Validation *validation, const Panel *const *panels, Component *component)
{
	Calibration *calibration = &component->calibration;

	/* a number without a predictive distribution claims nothing */
	if (component->spec.loss == LOSS_SQUARED && component->learner->variance == NULL)
		return;

	/* without support rows, one number of them is like another */
	calibration->n = component->learner->flags & LEARNER_NO_SUPPORT ? 1 : validation->n_shots;
	for (int k = 0; k < calibration->n; k++)
	{
		MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "meta calibration", ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(own);

		/* in N-way episodes, shots are of each class */
		calibration->rows[k] = validation->shots[k] * Max(panels[k]->way, 1);
		calibration->at[k] = fit(panels[k], component, validation->shots[k]);
		MemoryContextSwitchTo(old);
		MemoryContextDelete(own);
	}
	calibration_smooth(calibration);
}

void
calibrate(const Training *training, Model *model)
{
	const Validation *validation = &training->validation;
	const Panel *panels[lengthof(validation->shots)];

	if (validation->panel == NULL)
		return;
	for (int k = 0; k < validation->n_shots; k++)
		panels[k] = panel_create(training->set, TASK_VALIDATION, training->options.seed, validation->shots[k],
								 CALIBRATION_TASKS, CALIBRATION_QUERY);
	for (int i = 0; i < model->n_components; i++)
		calibrate_component(validation, panels, &model->components[i]);
}
