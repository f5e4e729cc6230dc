/*
 * lstm.c
 *	  The LSTM meta-learner beside gradient descent from the start that it has
 *	  learned, in the numeric core without a server.  See lstm.sh.
 *
 *	lstm FILE SHOTS QUERY STEPS ITERATIONS WIDTH [SEED]
 *
 * FILE has a row per line: task (rows of one follow each other), target,
 * inputs; all numbers.  "sinusoid" makes the waves of the MAML paper instead.
 * Of ten tasks one is for validation, two are for tests.  Support and query
 * are drawn anew whenever a task is trained on; a test task's are drawn once.
 *
 * "Tuned" descent takes the rate, of RATES of them a quarter of a decade
 * apart, that validates best at the same number of steps; so it is as well
 * tuned as a rate can be.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "learn/apply.h"
#include "learn/meta_step.h"
#include "nn/outer.h"

#define RATES 25
#define FIRST_RATE 1e-5
#define META_BATCH 16
#define VALIDATIONS 40
#define MAX_TEST_QUERY 40
#define MAX_INPUTS 256

typedef struct Task
{
	int			first;
	int			rows;
} Task;

static struct
{
	int			inputs;
	int			n_rows;
	int			n_tasks;
	real	   *x;
	real	   *y;
	Task	   *tasks;
} data;

static Rng rng;
static int	shots;
static int	max_query;

static void *
room(size_t n, size_t size)
{
	void	   *p = calloc(n + 1, size);

	if (p == NULL)
		abort();
	return p;
}

/* ---- data ---- */

static void
add_row(long task, double y, const double *x)
{
	static int	max_rows;
	static int	max_tasks;
	static long last;

	if (data.n_rows == max_rows)
	{
		max_rows = max_rows ? 2 * max_rows : 1 << 16;
		data.x = realloc(data.x, sizeof(real) * max_rows * data.inputs);
		data.y = realloc(data.y, sizeof(real) * max_rows);
	}
	if (data.n_tasks == 0 || task != last)
	{
		if (data.n_tasks == max_tasks)
		{
			max_tasks = max_tasks ? 2 * max_tasks : 1 << 12;
			data.tasks = realloc(data.tasks, sizeof(Task) * max_tasks);
		}
		data.tasks[data.n_tasks++] = (Task) {data.n_rows, 0};
		last = task;
	}
	data.tasks[data.n_tasks - 1].rows++;
	for (int j = 0; j < data.inputs; j++)
		data.x[data.n_rows * data.inputs + j] = x[j];
	data.y[data.n_rows++] = y;
}

static void
make_sinusoids(void)
{
	data.inputs = 1;
	for (int task = 0; task < 20000; task++)
	{
		double		amplitude = 0.1 + 4.9 * rng_uniform(&rng);
		double		phase = 3.14159265358979 * rng_uniform(&rng);

		for (int r = 0; r < 50; r++)
		{
			double		x = -5 + 10 * rng_uniform(&rng);

			add_row(task, amplitude * sin(x - phase), &x);
		}
	}
}

static void
read_file(const char *name)
{
	FILE	   *file = fopen(name, "r");
	char		line[1 << 14];

	if (file == NULL)
	{
		perror(name);
		exit(1);
	}
	while (fgets(line, sizeof(line), file))
	{
		double		numbers[MAX_INPUTS + 2];
		char	   *at = line;
		int			n = 0;

		for (char *end; n < MAX_INPUTS + 2; at = end)
		{
			numbers[n] = strtod(at, &end);
			if (end == at)
				break;
			n++;
		}
		if (data.inputs == 0)
			data.inputs = n - 2;
		if (n - 2 != data.inputs || n < 3)
		{
			fprintf(stderr, "%s: a line of %d numbers\n", name, n);
			exit(1);
		}
		add_row((long) numbers[0], numbers[1], numbers + 2);
	}
	fclose(file);
}

/* Tasks with more rows than shots, of the tenths [from, to). */
static int
choose_tasks(int from, int to, const Task **chosen)
{
	int			n = 0;

	for (int t = 0; t < data.n_tasks; t++)
		if (t % 10 >= from && t % 10 < to && data.tasks[t].rows > shots)
			chosen[n++] = &data.tasks[t];
	return n;
}

/* Mean 0 and deviation 1 throughout, by the tasks that are trained on. */
static void
standardise(const Task **train, int n)
{
	for (int j = -1; j < data.inputs; j++)
	{
		real	   *column = j < 0 ? data.y : data.x + j;
		int			step = j < 0 ? 1 : data.inputs;
		double		sum = 0,
					squares = 0,
					rows = 0;

		for (int t = 0; t < n; t++)
			for (int r = train[t]->first; r < train[t]->first + train[t]->rows; r++)
			{
				sum += column[r * step];
				squares += (double) column[r * step] * column[r * step];
				rows++;
			}
		sum /= rows;
		squares = sqrt(squares / rows - sum * sum);
		for (int r = 0; r < data.n_rows; r++)
			column[r * step] = (column[r * step] - sum) / (squares > 1e-6 ? squares : 1);
		if (j < 0)
			printf("target: deviation %.3f\n", squares);
	}
}

/* ---- rows of tasks ---- */

static Rows
make_rows(int tasks, int rows)
{
	Rows		r = {{data.inputs, 0, 1}, tasks, rows, NULL, NULL, NULL, NULL};
	size_t		n = (size_t) tasks * rows;

	r.x = room(n * data.inputs, sizeof(real));
	r.c = room(n, sizeof(int32_t));
	r.y = room(n, sizeof(real));
	r.w = room(n, sizeof(real));
	return r;
}

/* Draws support and query of a task to place t; returns how many query rows. */
static int
draw(const Task *task, Rows *support, Rows *query, int t)
{
	static int *order;
	static int	most;
	int			n = shots + max_query < task->rows ? shots + max_query : task->rows;

	if (task->rows > most)
		order = realloc(order, sizeof(int) * (most = task->rows));
	for (int i = 0; i < task->rows; i++)
		order[i] = i;
	memset(query->w + t * query->rows, 0, sizeof(real) * query->rows);
	for (int i = 0; i < n; i++)
	{
		int			j = i + (int) rng_below(&rng, task->rows - i);
		int			row = order[j];
		Rows	   *to = i < shots ? support : query;
		int			at = t * to->rows + (i < shots ? i : i - shots);

		order[j] = order[i];
		memcpy(to->x + (size_t) at * data.inputs, data.x + (size_t) (task->first + row) * data.inputs, sizeof(real) * data.inputs);
		to->y[at] = data.y[task->first + row];
		to->w[at] = 1;
	}
	return n - shots;
}

/* Tasks whose support and query stay. */
typedef struct Panel
{
	int			n;
	Rows	   *support;
	Rows	   *query;
} Panel;

static Panel
make_panel(const Task **tasks, int n, int most)
{
	Panel		panel = {n < most ? n : most, NULL, NULL};

	panel.support = room(panel.n, sizeof(Rows));
	panel.query = room(panel.n, sizeof(Rows));
	for (int t = 0; t < panel.n; t++)
	{
		panel.support[t] = make_rows(1, shots);
		panel.query[t] = make_rows(1, max_query);
		panel.query[t].rows = draw(tasks[t], &panel.support[t], &panel.query[t], 0);
	}
	return panel;
}

/* Mean squared error of each task after adapting; returns their mean. */
static double
score(Applier *applier, const Panel *panel, real *phi, double *errors)
{
	double		sum = 0;

	for (int t = 0; t < panel->n; t++)
	{
		real		outputs[MAX_TEST_QUERY];
		double		error = 0;

		if (applier_adapt(applier, &panel->support[t], NULL, phi) != NULL)
			return INFINITY;
		applier_predict(applier, phi, &panel->query[t], outputs);
		for (int r = 0; r < panel->query[t].rows; r++)
			error += (outputs[r] - panel->query[t].y[r]) * (outputs[r] - panel->query[t].y[r]);
		error /= panel->query[t].rows;
		if (errors)
			errors[t] = error;
		sum += error;
	}
	return sum / panel->n;
}

/* ---- learners ---- */

typedef struct Model
{
	const Learner *learner;
	LearnerSpec spec;
	TensorList	list;
	Tensor		tensors[64];
	real	   *theta;
	Applier    *applier;
	Arena	   *arena;
} Model;

static void
make_model(Model *model, const char *learner, int steps, int width)
{
	memset(model, 0, sizeof(*model));
	model->learner = learner_find(learner);
	options_default(&model->spec.options, model->learner->defaults);
	model->spec.options.inner_steps = steps;
	model->spec.options.inner_loss = INNER_LOSS_MEAN;
	if (getenv("RATE"))
		model->spec.options.outer_lr = atof(getenv("RATE"));
	model->spec.loss = LOSS_SQUARED;
	model->spec.net.inputs = data.inputs;
	model->spec.net.n_hidden = 2;
	model->spec.net.hidden[0] = model->spec.net.hidden[1] = width;
	model->spec.net.activation = UNARY_RELU;
	model->spec.net.outputs = 1;
	model->list.tensors = model->tensors;
	model->list.max = 64;
	if (!model->learner->layout(&model->spec, &model->list))
		abort();
	model->theta = room(model->list.size, sizeof(real));
	model->arena = room(1, sizeof(Arena));
	arena_init(model->arena, grow, NULL, (size_t) 4 << 30);
	model->applier = applier_create(model->arena, model->learner, &model->spec, &model->list, model->theta, NULL);
}

/* What the outer step goes by: a rate that falls to 3 % of the first. */
typedef struct Pace
{
	const Options *options;
	int			iterations;
} Pace;

static StepRates
rates(const void *context, int64_t step)
{
	const Pace *pace = context;

	return (StepRates) {
		pace->options->outer_lr * fmax(1 - (double) step / pace->iterations, 0.03), pace->options->weight_decay,
		1 - fmax(0.01, 10.0 / (step + 10))
	};
}

static void
train(Model *model, const Task **tasks, int n, const Panel *validation, int iterations, real *phi)
{
	static MetaStep step;
	size_t		size = model->list.size;
	Pace		pace = {&model->spec.options, iterations};
	Rng			first = rng_stream(1, RNG_INITIALISE, 0, 0);
	Arena		arena;
	Adam		adam = {room(size, sizeof(real)), room(size, sizeof(real))};
	int32_t    *rows_at = room(outer_rows(&model->list) + 1, sizeof(int32_t));
	real	   *average = room(size, sizeof(real));
	real	   *held = room(size, sizeof(real));
	real	   *kept = room(size, sizeof(real));
	double		best = INFINITY;
	Outer	   *outer;
	Rows		support = make_rows(META_SLICE, shots);
	Rows		query = make_rows(META_SLICE, max_query);

	arena_init(&arena, grow, NULL, (size_t) 4 << 30);
	model->learner->initialise(&model->spec, &model->list, &first, model->theta);
	memcpy(average, model->theta, sizeof(real) * size);
	memcpy(kept, model->theta, sizeof(real) * size);
	meta_step_init(&step, &arena, model->learner, &model->spec, &model->list, model->theta, shots, shots, max_query, NULL);
	outer = outer_create(&arena, &model->list, model->theta, average, &adam, rows_at, false, pace.options->clip, rates, &pace);
	if (step.fault || outer == NULL)
	{
		fprintf(stderr, "%s\n", step.fault ? step.fault : "out of memory");
		exit(1);
	}
	for (int i = 1; i <= iterations; i++)
	{
		outer_begin(outer, i - 1);
		for (int slice = 0; slice < META_BATCH / META_SLICE; slice++)
		{
			for (int t = 0; t < META_SLICE; t++)
				draw(tasks[rng_below(&rng, n)], &support, &query, t);
			meta_step_run(&step, &support, &query, (double) i / iterations, outer->gradient);
		}
		outer_step(outer, 1.0 / META_BATCH);
		if (i % (iterations / VALIDATIONS > 0 ? iterations / VALIDATIONS : 1) == 0)
		{
			double		loss;

			memcpy(held, model->theta, sizeof(real) * size);
			memcpy(model->theta, average, sizeof(real) * size);
			loss = score(model->applier, validation, phi, NULL);
			if (loss < best)
				memcpy(kept, average, sizeof(real) * size);
			best = fmin(best, loss);
			memcpy(model->theta, held, sizeof(real) * size);
			if (getenv("VERBOSE"))
				fprintf(stderr, "%d %.4f\n", i, loss);
		}
	}
	memcpy(model->theta, kept, sizeof(real) * size);
}

/* Another way to adapt from the same start, at the rate that validates best. */
static double
tune(const char *learner, const Model *start, const Panel *validation, const Panel *test, real *phi, double *errors)
{
	Model		model;
	double		best = INFINITY;
	double		best_rate = 0;

	make_model(&model, learner, start->spec.options.inner_steps, start->spec.net.hidden[0]);
	for (int i = 0; i < model.list.n; i++)
	{
		int			j = tensor_find(&start->list, model.tensors[i].name);

		memcpy(model.theta + model.tensors[i].offset, start->theta + start->tensors[j].offset,
			   sizeof(real) * model.tensors[i].rows * model.tensors[i].cols);
	}

	/* the rate is a constant of the tapes, so each has its own */
	for (int i = 0; i <= RATES; i++)
	{
		Arena		arena;
		double		loss;

		model.spec.options.inner_lr = i == RATES ? best_rate : FIRST_RATE * pow(10, i / 4.0);
		arena_init(&arena, grow, NULL, (size_t) 1 << 30);
		model.applier = applier_create(&arena, model.learner, &model.spec, &model.list, model.theta, NULL);
		loss = score(model.applier, i == RATES ? test : validation, phi, i == RATES ? errors : NULL);
		if (i == RATES)
		{
			printf("%-28s rate %-10.5g", model.learner->name, best_rate);
			return loss;
		}
		if (loss < best)
		{
			best = loss;
			best_rate = model.spec.options.inner_lr;
		}
	}
	return NAN;
}

/*
 * The same for descent by gradients that are shortened where lstm's are: lstm,
 * with gates that are told nothing.
 */
static double
tune_shortened(const Model *start, const Panel *validation, const Panel *test, real *phi, double *errors)
{
	Model		model = *start;
	double		best = INFINITY;
	double		best_rate = 0;
	const Tensor *bias = NULL;

	model.theta = room(model.list.size, sizeof(real));
	memcpy(model.theta, start->theta, sizeof(real) * model.list.size);
	for (int i = 0; i < model.list.n; i++)
	{
		const Tensor *tensor = &start->tensors[i];

		if (strncmp(tensor->name, "step.", 5) == 0)
			memset(model.theta + tensor->offset, 0, sizeof(real) * tensor->rows * tensor->cols);
		if (strcmp(tensor->name, "step.bias") == 0)
			bias = tensor;
	}
	arena_init(model.arena = room(1, sizeof(Arena)), grow, NULL, (size_t) 1 << 30);
	model.applier = applier_create(model.arena, model.learner, &model.spec, &model.list, model.theta, NULL);
	model.theta[bias->offset] = 60;
	for (int i = 0; i <= RATES; i++)
	{
		double		rate = i == RATES ? best_rate : FIRST_RATE * pow(10, i / 4.0);
		double		loss;

		if (rate >= 1)
			continue;
		model.theta[bias->offset + 1] = -log(1 / rate - 1);
		loss = score(model.applier, i == RATES ? test : validation, phi, i == RATES ? errors : NULL);
		if (i == RATES)
		{
			printf("%-28s rate %-10.5g", "fomaml, gradients shortened", best_rate);
			return loss;
		}
		if (loss < best)
		{
			best = loss;
			best_rate = rate;
		}
	}
	return NAN;
}

static void
report(double loss, const double *errors, const double *lstm, int n)
{
	double		mean = 0,
				squares = 0;

	printf("%10.4f", loss);
	for (int t = 0; t < n; t++)
		mean += (lstm[t] - errors[t]) / n;
	for (int t = 0; t < n; t++)
		squares += pow(lstm[t] - errors[t] - mean, 2);
	if (errors != lstm)
		printf("   lstm - this: %+.4f +- %.4f", mean, 1.96 * sqrt(squares / (n - 1.0) / n));
	printf("\n");
}

int
main(int argc, char **argv)
{
	int			steps = argc > 4 ? atoi(argv[4]) : 0;
	static Model model;
	Model		none;
	const Task **tasks;
	int			n;
	Panel		validation,
				test;
	real	   *phi;
	double	   *lstm,
			   *errors;
	double		loss;

	if (argc < 7)
	{
		fprintf(stderr, "usage: lstm FILE SHOTS QUERY STEPS ITERATIONS WIDTH [SEED]\n");
		return 1;
	}
	rng = rng_stream(argc > 7 ? atoi(argv[7]) : 0, RNG_SAMPLE, 0, 0);
	shots = atoi(argv[2]);
	max_query = atoi(argv[3]) < MAX_TEST_QUERY ? atoi(argv[3]) : MAX_TEST_QUERY;
	if (strcmp(argv[1], "sinusoid") == 0)
		make_sinusoids();
	else
		read_file(argv[1]);
	tasks = room(data.n_tasks, sizeof(Task *));
	n = choose_tasks(3, 10, tasks);
	standardise(tasks, n);
	printf("%d tasks to train on, %d inputs, %d shots, %d steps\n", n, data.inputs, shots, steps);
	make_model(&model, "lstm", steps, atoi(argv[6]));
	phi = room(model.list.size, sizeof(real));
	lstm = room(data.n_tasks, sizeof(double));
	errors = room(data.n_tasks, sizeof(double));

	n = choose_tasks(0, 1, tasks);
	validation = make_panel(tasks, n, 500);
	n = choose_tasks(1, 3, tasks);
	test = make_panel(tasks, n, 2000);
	n = choose_tasks(3, 10, tasks);
	train(&model, tasks, n, &validation, atoi(argv[5]), phi);

	printf("mean squared error of the standardised target, %d test tasks\n", test.n);
	loss = score(model.applier, &test, phi, lstm);
	printf("%-44s", "lstm");
	report(loss, lstm, lstm, test.n);
	make_model(&none, "lstm", 0, atoi(argv[6]));
	memcpy(none.theta, model.theta, sizeof(real) * model.list.size);
	loss = score(none.applier, &test, phi, errors);
	printf("%-44s", "its start, not adapted");
	report(loss, errors, lstm, test.n);
	loss = tune("fomaml", &model, &validation, &test, phi, errors);
	printf("%-*s", 44 - 28 - 15 - 1, "");
	report(loss, errors, lstm, test.n);
	loss = tune_shortened(&model, &validation, &test, phi, errors);
	printf("%-*s", 44 - 28 - 15 - 1, "");
	report(loss, errors, lstm, test.n);
	loss = tune("reptile", &model, &validation, &test, phi, errors);
	printf("%-*s", 44 - 28 - 15 - 1, "");
	report(loss, errors, lstm, test.n);
	return 0;
}
