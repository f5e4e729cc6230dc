/*
 * model_private.h
 *	  What the files that turn a model into bytes share: model.c,
 *	  model_json.c, model_calibration.c.
 */
#ifndef STORE_MODEL_PRIVATE_H
#define STORE_MODEL_PRIVATE_H

#include "utils/jsonb.h"

#include "store/params_private.h"

/* ---- model.c ---- */

/* Is it the component's tensor of that name? */
extern bool tensor_has_name(const SafeTensor *found, const char *prefix, const char *name);

/* ---- model_json.c ---- */

/* Appends an array of the components' learners, networks and options. */
extern void components_to_json(const Model *model, StringInfo out);

/* That array again, checked to be one of objects. */
extern JsonbContainer *components_parse(const SafeTensors *st);

/*
 * Reads what one of the objects says; the network must fit the rows that the
 * encoding makes.  Tensors are not laid out yet.
 */
extern void component_from_json(Component *component, JsonbContainer *object, const Encoding *encoding);

/* Text to jsonb; text that is not JSON is damage, not a user's mistake. */
extern Jsonb *metadata_parse(const char *text, const char *key);

/* ---- model_calibration.c ---- */

#define CALIBRATION_TENSORS 4	/* at most, of a component */

/* Appends the calibration's tensors, if there is one, and returns their size. */
extern size_t calibration_add(SafeTensors *st, const Component *component);

/*
 * Reads the calibration that begins with the first tensor, if it does: models
 * from before there were any have none.  Returns how many tensors it is.
 */
extern int	calibration_read(Component *component, const SafeTensors *st, int first);

#endif							/* STORE_MODEL_PRIVATE_H */
