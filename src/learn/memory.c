/*
 * memory.c
 *	  A task's memory: tensors of as many rows as there were support rows.
 */
#include "learn/memory.h"

#include <string.h>

int
memory_used(const Tensor *tensor, const real *numbers)
{
	int			used = 0;

	while (used < tensor->rows && numbers[(size_t) used * tensor->cols] > 0)
		used++;
	return used;
}

int
memory_rows(const TensorList *list, const real *values)
{
	int			most = 0;

	for (int i = 0; i < list->n; i++)
		if (list->tensors[i].role == TENSOR_MEMORY)
		{
			int			used = memory_used(&list->tensors[i], values + list->tensors[i].offset);

			most = used > most ? used : most;
		}
	return most;
}

void
memory_append(const Tensor *tensor, real *numbers, const real *rows, int n)
{
	size_t		width = tensor->cols;
	int			used = memory_used(tensor, numbers);
	int			added = 0;
	int			skip;
	int			oldest;

	for (int i = 0; i < n; i++)
		added += rows[i * width] > 0;

	/* of what is added, only as much as there is room for is the newest */
	skip = added > tensor->rows ? added - tensor->rows : 0;
	added -= skip;
	oldest = used + added > tensor->rows ? used + added - tensor->rows : 0;
	used -= oldest;
	if (oldest > 0)
		memmove(numbers, numbers + oldest * width, used * width * sizeof(real));
	for (int i = 0; i < n; i++)
		if (rows[i * width] > 0 && --skip < 0)
			memcpy(numbers + width * used++, rows + i * width, width * sizeof(real));
}

int
memory_tensor_rows(const Tensor *tensor, int used)
{
	return tensor->role == TENSOR_MEMORY && used < tensor->rows ? used : tensor->rows;
}

Var
memory_leaf(Tape *tape, const Tensor *tensor, int used, const real *numbers)
{
	return tape_leaf(tape, shape(1, memory_tensor_rows(tensor, used), tensor->cols), (real *) numbers);
}
