/*
 * learner.h
 *	  The one interface that every algorithm implements.
 *
 * A learner describes its tensors and appends two computations to a tape:
 * adapt (support rows -> the parameters of one task) and predict (parameters,
 * row -> outputs).  Meta-training differentiates the loss of predict(adapt())
 * on the query rows; applying a model replays the same two computations, so
 * what was trained is what is used.
 *
 * Adding an algorithm is one new file, and its name in learner.c.
 */
#ifndef LEARN_LEARNER_H
#define LEARN_LEARNER_H

#include "learn/options.h"
#include "nn/network.h"

typedef enum LossKind
{
	LOSS_SQUARED,				/* on the encoded target */
	LOSS_LOGISTIC,				/* target 0 or 1, one output: a logit */
	LOSS_SOFTMAX				/* one-hot target, one output per class */
} LossKind;

/* A learner that a blend is made of; network and loss are the blend's. */
typedef struct LearnerPart
{
	const struct Learner *learner;
	Options		options;
} LearnerPart;

/* What a column of the source became among a row's inputs. */
typedef enum InputKind
{
	INPUT_NUMBER,				/* one number */
	INPUT_BOOLEAN,				/* 0 or 1 */
	INPUT_ONE_HOT,				/* a category: width numbers, one of which is 1,
								 * or none where it is not known */
	INPUT_TABLE,				/* a category: a code */
	INPUT_OTHER					/* width numbers: a vector, an image */
} InputKind;

typedef struct RowColumn
{
	InputKind	kind;
	int			at;				/* its first number; of a table, which code */
	int			width;			/* numbers, the indicator not counted; 0 of a table */
	bool		indicator;		/* one more number follows: 1 where it is missing */
	real		missing;		/* what the number is then */
	real		mean;			/* of numbers as they come, and their deviation; */
	real		deviation;		/* 0 and 1 of those that are standardised */
} RowColumn;

/* Everything that is fixed before the first iteration. */
typedef struct LearnerSpec
{
	Network		net;
	int			n_columns;		/* whose inputs the network's are, in order */
	const RowColumn *columns;
	LossKind	loss;
	Options		options;		/* of learn/options.h, resolved */
	int			n_parts;		/* of a blend (LEARNER_BLEND), else 0 */
	const LearnerPart *parts;
} LearnerSpec;

/* Padded rows as leaves of a tape; see nn/rows.h. */
typedef struct RowVars
{
	Var			x;				/* (tasks, rows, inputs) */
	Var			c;				/* (tasks, rows, embeddings), or TAPE_NONE */
	Var			y;				/* (tasks, rows, outputs) */
	Var			w;				/* (tasks, rows, 1); 0 for padding */
} RowVars;

/* Leaves for tasks x rows padded rows of the spec's network. */
extern RowVars rows_leaves(Tape *tape, const LearnerSpec *spec, int tasks, int rows);

/*
 * Copies rows into the leaves: fewer tasks or rows than the leaves have are
 * padded with weight 0.
 */
extern void rows_copy(const Tape *tape, const RowVars *vars, const Rows *rows);

typedef struct Learner
{
	const char *name;
	const char *summary;		/* one line for meta.algorithms */
	const char *reference;		/* paper, or NULL */
	const char *defaults;		/* options that differ from the table's, as
								 * "key value" pairs parted by ';', or NULL */

	/* Appends the learner's tensors to the list; false when it is full. */
	bool		(*layout) (const LearnerSpec *spec, TensorList *list);

	/* First values of all tensors. */
	void		(*initialise) (const LearnerSpec *spec, const TensorList *list, Rng *rng, real *values);

	/*
	 * Moves first values to what is known when the outer loop begins: the
	 * variance between tasks and within them of what the pooled network
	 * leaves, of the encoded target (logits for classes).  May be NULL.
	 */
	void		(*begin) (const LearnerSpec *spec, const TensorList *list, double between, double within, real *values);

	/*
	 * Appends the adaptation.  theta holds one Var per tensor of the list; phi
	 * gets one per tensor: the same Var where a task keeps what is shared.
	 * For adapting further, theta's adapted and state tensors are a task's
	 * own.  A memory (TENSOR_MEMORY) is the exception: theta's has no rows, and
	 * phi gets those to add, (tasks, rows, cols), in the order of the support.
	 */
	void		(*adapt) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
						  const RowVars *support, const Var *theta, Var *phi);

	/* Appends the outputs of rows x, c: (tasks, rows, outputs), logits for classes. */
	Var			(*predict) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
							const Var *phi, Var x, Var c);

	/*
	 * Appends the variance of rows' outcomes around their predictions, noise
	 * included, (tasks, rows, 1), for the squared loss; NULL where the learner
	 * has no predictive distribution.
	 */
	Var			(*variance) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
							 const Var *phi, Var x, Var c);

	/*
	 * Appends the loss of each task's query rows that the outer loop descends,
	 * (tasks, 1, 1); NULL: the mean loss of the predictions.
	 */
	Var			(*losses) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
						   const Var *phi, const RowVars *query);

	/*
	 * Appends adaptation and loss in one, for a learner whose outer loop
	 * descends more than the loss of what adapt ends with: (tasks, 1, 1).
	 * progress is a leaf (1, 1, 1), the share of the iterations that are done;
	 * noise one of standard normal numbers, or TAPE_NONE: see noise below.
	 * NULL: adapt, then losses.
	 */
	Var			(*episode) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
							const RowVars *support, const RowVars *query, const Var *theta,
							Var progress, Var noise);

	/*
	 * Random numbers that an episode wants per task, other ones in each
	 * meta-iteration: (rows, cols) of noise, (tasks, rows, cols).  NULL: none.
	 */
	void		(*noise) (const LearnerSpec *spec, int *rows, int *cols);

	/*
	 * Appends what one meta-iteration computes, for a learner that does not
	 * descend the gradient of its query loss; NULL for one that does.
	 * gradients[i] is for tensor i, summed over the tasks; losses is (tasks,
	 * 1, 1), for reports.
	 */
	void		(*outer) (Tape *tape, const LearnerSpec *spec, const TensorList *list,
						  const RowVars *support, const RowVars *query, const Var *theta,
						  Var *losses, Var *gradients);

	/* For a learner that models whole rows: see learn/generate.h; else NULL. */
	const struct Generative *generative;

	/*
	 * Where a task's own tensors are prototypes of classes: the names of that
	 * of (classes, width) numbers, and of that of the rows they are made of,
	 * (classes, 1).
	 */
	const char *prototypes;
	const char *prototype_rows;

	/*
	 * Rows that are adapted on at once at most, where adapting takes a tape as
	 * long as the rows; 0: as many as any learner (learn/apply.h).  Only for
	 * LEARNER_ADDITIVE.
	 */
	int			portion;

	/*
	 * Tasks that validations look at, at most, where adapting takes long; 0:
	 * as many as for any learner.
	 */
	int			validation_tasks;

	unsigned	flags;
} Learner;

#define LEARNER_NO_SUPPORT	0x01	/* adapt ignores the support (pooled) */
#define LEARNER_PLAIN_OUTER 0x02	/* the outer step is SGD with a rate that
									 * decays linearly, not Adam (Reptile) */
#define LEARNER_FIXED		0x04	/* nothing to learn in an outer loop of its
									 * own: starts from, and keeps, the pooled
									 * parameters */
#define LEARNER_NO_POOL		0x08	/* does not start from the pooled parameters */
#define LEARNER_TUNED		0x10	/* its inner steps and rate are chosen on
									 * validation tasks */
#define LEARNER_ADDITIVE	0x20	/* adapting on some rows and then on others is
									 * adapting on all of them: exactly for
									 * numbers, nearly for logits, whose
									 * posteriors are approximate */
#define LEARNER_NO_CLASSES	0x40	/* one output: no softmax loss */
#define LEARNER_NO_NUMBERS	0x80	/* classes only: no squared loss */
#define LEARNER_BLEND		0x100	/* several learners as one: its spec says
									 * which; chosen by a training, on
									 * validation tasks */

/* Each is in the file of its name, or in that of what it is a form of. */
extern const Learner auto_learner;
extern const Learner maml_learner;
extern const Learner fomaml_learner;
extern const Learner meta_sgd_learner;
extern const Learner anil_learner;
extern const Learner cavia_learner;
extern const Learner reptile_learner;
extern const Learner lstm_learner;
extern const Learner alpaca_learner;
extern const Learner cnp_learner;
extern const Learner vaml_learner;
extern const Learner ridge_learner;
extern const Learner prototypical_learner;
extern const Learner matching_learner;
extern const Learner mann_learner;
extern const Learner pooled_learner;
extern const Learner random_intercept_learner;
extern const Learner finetune_learner;
extern const Learner single_task_learner;

/* All of them, in the order in which they are listed; ended by NULL. */
extern const Learner *const learners[];

/* By name, or NULL. */
extern const Learner *learner_find(const char *name);

/* The name that is closest to a mistyped one, or NULL: see learn/options.h. */
extern const char *learner_closest(const char *name);

/* No learner has more tensors than this. */
extern int	learner_max_tensors(const Network *net);

extern bool learner_supports(const Learner *learner, LossKind loss);

/* Loss of every row: outputs, y (tasks, rows, outputs) -> (tasks, rows, 1). */
extern Var	loss_rows(Tape *tape, LossKind kind, Var outputs, Var y);

/*
 * Weighted mean of the rows' losses per task, (tasks, 1, 1).  A task whose
 * weights are all 0 has loss 0 and no gradient.
 */
extern Var	loss_mean(Tape *tape, LossKind kind, Var outputs, Var y, Var w);

/*
 * Twice the negative log likelihood of numbers around their predictions, less
 * log 2 pi: square / v + log v of rows' squared errors and variances.
 */
extern Var	gaussian_surprise(Tape *tape, Var square, Var variance);

#define LOG_2_PI 1.8378770664093453

/*
 * Minus the log likelihood of every row's target, (tasks, rows, 1), of numbers
 * less log 2 pi / 2; variance (tasks, rows, 1) is theirs, and not looked at for
 * classes.
 */
extern Var	surprise_rows(Tape *tape, LossKind kind, Var outputs, Var variance, Var y);

/*
 * Sums of the rows' losses per task, (tasks, 1, 1), scaled so that they add up
 * to as many mean losses over all rows as there are tasks with rows: a task
 * counts by its rows.  Where tasks are short, most of what they give is noise
 * if one with a single query row counts as much as one with twenty.
 */
extern Var	mean_by_rows(Tape *tape, Var rows, Var w);

/* What it scales the sums by, (1, 1, 1). */
extern Var	share_by_rows(Tape *tape, Var w);

#endif							/* LEARN_LEARNER_H */
