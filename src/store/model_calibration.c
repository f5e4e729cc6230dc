/*
 * model_calibration.c
 *	  A component's calibration as tensors of a model, and back.
 */
#include "postgres.h"

#include <math.h>

#include "store/model_private.h"

/* The vectors of a calibration, as they follow each other in the file. */
static const struct
{
	const char *name;
	size_t		offset;
	size_t		stride;
	bool		of_numbers;		/* with the squared loss */
	bool		of_classes;		/* with the others */
}			vectors[CALIBRATION_TENSORS] = {
	{"calibration.rows", offsetof(Calibration, rows), sizeof(real), true, true},
	{"calibration.slope", offsetof(Calibration, at) + offsetof(Correction, slope), sizeof(Correction), false, true},
	{"calibration.offset", offsetof(Calibration, at) + offsetof(Correction, offset), sizeof(Correction), false, true},
	{"calibration.variance", offsetof(Calibration, at) + offsetof(Correction, variance), sizeof(Correction), true, false},
};

static bool
has_vector(LossKind loss, int i)
{
	return loss == LOSS_SQUARED ? vectors[i].of_numbers : vectors[i].of_classes;
}

static real *
vector_element(const Calibration *calibration, int i, int knot)
{
	return (real *) ((char *) calibration + vectors[i].offset + knot * vectors[i].stride);
}

size_t
calibration_add(SafeTensors *st, const Component *component)
{
	const Calibration *calibration = &component->calibration;
	size_t		size = 0;

	for (int i = 0; i < CALIBRATION_TENSORS && calibration->n > 0; i++)
	{
		SafeTensor *tensor = &st->tensors[st->n_tensors];
		real		values[CALIBRATION_KNOTS];
		char	   *data;

		if (!has_vector(component->spec.loss, i))
			continue;
		for (int knot = 0; knot < calibration->n; knot++)
			values[knot] = *vector_element(calibration, i, knot);
		data = (char *) palloc(sizeof(values));
		floats_to_file(data, values, calibration->n);
		tensor->name = psprintf("%s/%s", component->prefix, vectors[i].name);
		tensor->type = SAFE_F32;
		tensor->n_dims = 1;
		tensor->dims[0] = calibration->n;
		tensor->size = calibration->n * sizeof(real);
		tensor->data = data;
		size += tensor->size;
		st->n_tensors++;
	}
	return size;
}

/* Knots ascend from 0 or more, factors are positive, and all is finite. */
static void
check_calibration(const Component *component)
{
	const Calibration *c = &component->calibration;

	for (int i = 0; i < c->n; i++)
		if (!(c->rows[i] >= 0) || !isfinite(c->rows[i]) || (i > 0 && !(c->rows[i] > c->rows[i - 1])) ||
			!(c->at[i].slope > 0) || !isfinite(c->at[i].slope) || !isfinite(c->at[i].offset) ||
			!(c->at[i].variance > 0) || !isfinite(c->at[i].variance))
			params_damaged("The calibration of the component \"%s\" is out of range.", component->prefix);
}

int
calibration_read(Component *component, const SafeTensors *st, int first)
{
	Calibration *calibration = &component->calibration;
	int			at = first;

	memset(calibration, 0, sizeof(*calibration));
	for (int i = 0; i < CALIBRATION_KNOTS; i++)
		calibration->at[i] = (Correction) {1, 0, 1};
	for (int i = 0; i < CALIBRATION_TENSORS; i++)
	{
		const char *name = vectors[i].name;
		const SafeTensor *tensor = at < st->n_tensors ? &st->tensors[at] : NULL;
		real		values[CALIBRATION_KNOTS];

		if (!has_vector(component->spec.loss, i))
			continue;
		if (tensor == NULL || !tensor_has_name(tensor, component->prefix, name))
		{
			if (i == 0)
				return 0;
			params_damaged("The component \"%s\" lacks the tensor \"%s\".", component->prefix, name);
		}
		if (i == 0)
			calibration->n = (int) Min(tensor->dims[0], CALIBRATION_KNOTS + 1);
		if (tensor->type != SAFE_F32 || tensor->n_dims != 1 || tensor->dims[0] != calibration->n ||
			calibration->n < 1 || calibration->n > CALIBRATION_KNOTS)
			params_damaged("The tensor \"%s\" of the component \"%s\" is not a list of as many numbers as it has knots.",
						   name, component->prefix);
		floats_from_file(values, tensor->data, calibration->n);
		for (int knot = 0; knot < calibration->n; knot++)
			*vector_element(calibration, i, knot) = values[knot];
		at++;
	}
	check_calibration(component);
	return at - first;
}
