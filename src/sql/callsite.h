/*
 * callsite.h
 *	  What one place in a query knows about the models it uses.
 *
 * A call site is a function's or aggregate's place in a running query
 * (fn_extra).  It resolves a model's name once per statement, decodes params
 * only when they change, and keeps what a row needs besides: the reader of its
 * row type, and the learner ready to run.
 */
#ifndef SQL_CALLSITE_H
#define SQL_CALLSITE_H

#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"

#include "compat.h"
#include "data/row_reader.h"
#include "learn/apply.h"
#include "learn/generate.h"
#include "store/params.h"

typedef struct CallSite CallSite;

/* A row type whose columns were matched with a model's. */
typedef struct RowType
{
	struct RowType *next;
	Oid			type;
	int32		typmod;
	uint64		identifier;		/* of the type's present definition */
	bool		with_target;
	TupleDesc	desc;
	RowReader  *reader;
	Datum	   *values;			/* the row at hand, deformed */
	bool	   *nulls;
} RowType;

/* A model in use at a call site. */
typedef struct Binding
{
	MemoryContext context;		/* of all below; holds the pin on the model */
	const Model *model;
	const Component *component; /* the model's learner */
	bool		asked;			/* the catalog was, in this statement, whether
								 * the current user may read the model */
	bool		stored;			/* ... what it said */
	uint64		used;			/* when, for eviction */

	RowType    *row_types;
	RowType    *row_type;		/* of the last row, or NULL */
	float	   *x;				/* one row: width.x, c and y numbers */
	int32	   *c;
	float	   *y;
	StringInfoData key;			/* its order key */
	real	   *outputs;		/* width.y numbers */
	double	   *values;

	MemoryContext apply_context;
	Arena		arena;
	Applier    *applier;
	bool		applier_fresh;	/* has run nothing yet */
	real	   *room;			/* (list.size) for such tensors; or NULL */
	const real *phi;			/* a task's own tensors, of the one at hand, at
								 * their places: in room, or as they lie in
								 * its params; or NULL */
	bool		lent;			/* the latter */
	uint64		phi_serial;		/* of the subject they are; 0: of none */
	uint64		phi_version;	/* another one whenever phi is another */
	Generator  *generator;		/* of a learner that models rows; or NULL */
	Correction	correction;		/* of what they predict */
	int			n_labels;		/* classes that the parameters tell apart, by */
	char	  **labels;			/* output: a task's own in N-way episodes */
	MemoryContext label_context;	/* of those; or NULL */
} Binding;

/* What a model or params argument stands for. */
typedef struct Subject
{
	char		digest[DIGEST_LENGTH + 1];	/* of the model */
	ParamsKind	kind;			/* PARAMS_TASK: with parameters of a task */
	uint64		serial;			/* another one whenever the value is another;
								 * never 0 */
} Subject;

/*
 * The call site of the function being called.  arg is the argument that holds
 * a name or params, looked at for being a literal; -1 where there is none.
 */
extern CallSite *callsite_get(FunctionCallInfo fcinfo, int arg);

/*
 * What an argument stands for: a model's name, or params.  The subject stays
 * in place until the next call.
 */
extern const Subject *callsite_name(CallSite *site, Datum name);
extern const Subject *callsite_params(CallSite *site, Datum params);

/* The bytes of the argument last given to callsite_params, detoasted at most once. */
extern bytea *callsite_bytes(CallSite *site, Datum params);

/*
 * The model of a digest, in place until the next call.  With model NULL the
 * catalog must have it for the current user, or it is an error; otherwise
 * these are its bytes.
 */
extern Binding *callsite_bind(CallSite *site, const char *digest, const bytea *model);

/* The error of params whose model's version, of that digest, is not there for the current user. */
pg_noreturn extern void callsite_missing_version(const char *digest);

/*
 * The binding of a function's first argument, params or (by_name) a model's
 * name, with its parameters in place: see binding_set_phi.  check, unless
 * NULL, is called before these are looked at.
 */
extern Binding *callsite_task(FunctionCallInfo fcinfo, bool by_name, void (*check) (const Binding *binding));

/* Does the catalog have the model, for the current user? */
extern bool callsite_is_stored(Binding *binding);

/*
 * Encodes a row to adapt on, a composite Datum, into binding->x, binding->c,
 * binding->y and w.  Of its type's values and nulls those of its target and of
 * its order are there.  NULL: there is nothing to learn from it.  A row that
 * does not suit the model is an error.
 */
extern RowType *binding_read_support(Binding *binding, Datum row, float *w);

/* Encodes the features of a row to predict into binding->x and binding->c. */
extern void binding_read(Binding *binding, Datum row);

/*
 * Makes binding->phi the parameters of a task, or with task NULL those
 * adapted on no rows at all.  Returns how many rows they were adapted on,
 * not counting those that the model already holds.
 *
 * kept tells that the bytes stay where they are while these parameters are
 * binding->phi.  Then they may be read where they are, which saves a row with
 * params of its own a copy; binding_take_phi makes that copy, whose vectors
 * are aligned, once there is another row with them.
 */
extern int64 binding_set_phi(Binding *binding, const bytea *task, bool kept);
extern void binding_take_phi(Binding *binding);

/*
 * Adapts and predicts: see applier_adapt and applier_predict.  Memory that runs
 * out is an error, and so is a fault in predicting.  binding_adapt returns NULL,
 * or why rows cannot be adapted on.  binding_predict and binding_variance use
 * binding->phi, and what they return is calibrated.
 */
pg_noreturn extern void binding_out_of_memory(const char *what, int rows);
extern const char *binding_adapt(Binding *binding, const Rows *support, const real *from, real *to);
extern void binding_predict(Binding *binding, const Rows *rows, real *outputs);
extern void binding_variance(Binding *binding, const Rows *rows, real *variances);

/*
 * What makes up rows, and the error of one of its messages.  Only for a learner
 * that models rows.
 */
extern Generator *binding_generator(Binding *binding);
extern void binding_generator_fault(const char *fault);

#endif							/* SQL_CALLSITE_H */
