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

#include "utils/memutils.h"

#include "train/calibrate.h"

/* Validation tasks, and query rows of each, at most. */
#define CALIBRATION_TASKS 400
#define CALIBRATION_QUERY 40

/* Outputs that are held at a time: of very many classes, those of fewer tasks. */
#define MAX_OUTPUTS (4 * 1024 * 1024)

/* The correction after so many shots, on rows that follow them. */
static Correction
fit(const Panel *panel, const Component *component, int shots)
{
	int			width = component->spec.net.outputs;
	PanelOutputs all;
	CalibrationRows rows;

	if (panel->n_query * width > MAX_OUTPUTS)
		panel = panel_thin(panel, Max(1, (int) ((double) panel->n_tasks * MAX_OUTPUTS / panel->n_query / width)));
	/* a task that it diverges on says nothing of the others */
	all = panel_outputs(panel, component, shots, true);
	rows = (CalibrationRows) {
		all.n_rows, all.n_tasks, width, all.outputs, all.y, all.w, all.variances
	};
	return calibration_fit(component->spec.loss, &rows);
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
