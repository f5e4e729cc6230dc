/*
 * safetensors_write.c
 *	  Writing the safetensors format.
 *
 * The same tensors and metadata give the same bytes: both stand in the order
 * they are given in, and the header is padded with blanks to a multiple of 8.
 */
#ifdef FRONTEND
#include "postgres_fe.h"
#else
#include "postgres.h"
#endif

#include "store/safetensors.h"

/*
 * The header is put together twice, first to be measured (to is NULL) and
 * then to be written, so nothing is allocated.
 */
typedef struct Writer
{
	char	   *to;				/* or NULL */
	size_t		length;
} Writer;

static void
put_bytes(Writer *w, const char *bytes, size_t n)
{
	if (w->to != NULL)
		memcpy(w->to + w->length, bytes, n);
	w->length += n;
}

static void
put_text(Writer *w, const char *text)
{
	put_bytes(w, text, strlen(text));
}

static void
put_integer(Writer *w, uint64 value)
{
	char		digits[24];

	snprintf(digits, sizeof(digits), UINT64_FORMAT, value);
	put_text(w, digits);
}

static void
put_string(Writer *w, const char *text)
{
	put_text(w, "\"");
	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c < 0x20)
		{
			char		escape[8];

			snprintf(escape, sizeof(escape), "\\u%04x", c);
			put_text(w, escape);
		}
		else
		{
			if (c == '"' || c == '\\')
				put_text(w, "\\");
			put_bytes(w, text, 1);
		}
	}
	put_text(w, "\"");
}

static void
put_header(Writer *w, const SafeTensors *st)
{
	uint64		at = 0;

	put_text(w, "{");
	if (st->n_metadata > 0)
	{
		put_text(w, "\"__metadata__\":{");
		for (int i = 0; i < st->n_metadata; i++)
		{
			put_text(w, i > 0 ? "," : "");
			put_string(w, st->metadata[i].key);
			put_text(w, ":");
			put_string(w, st->metadata[i].value);
		}
		put_text(w, "}");
	}
	for (int i = 0; i < st->n_tensors; i++)
	{
		const SafeTensor *t = &st->tensors[i];

		put_text(w, i > 0 || st->n_metadata > 0 ? "," : "");
		put_string(w, t->name);
		put_text(w, ":{\"dtype\":\"");
		put_text(w, safetensors_type_name(t->type));
		put_text(w, "\",\"shape\":[");
		for (int d = 0; d < t->n_dims; d++)
		{
			put_text(w, d > 0 ? "," : "");
			put_integer(w, (uint64) t->dims[d]);
		}
		put_text(w, "],\"data_offsets\":[");
		put_integer(w, at);
		put_text(w, ",");
		at += t->size;
		put_integer(w, at);
		put_text(w, "]}");
	}
	put_text(w, "}");
	while (w->length % 8 != 0)
		put_text(w, " ");
}

size_t
safetensors_size(const SafeTensors *st)
{
	Writer		w = {NULL, 0};
	size_t		size;

	put_header(&w, st);
	size = 8 + w.length;
	for (int i = 0; i < st->n_tensors; i++)
		size += st->tensors[i].size;
	return size;
}

static void
put_file_header(Writer *w, const SafeTensors *st, char *bytes)
{
	w->to = bytes + 8;
	w->length = 0;
	put_header(w, st);
	for (int i = 0; i < 8; i++)
		bytes[i] = (char) ((uint64) w->length >> (8 * i) & 0xff);
}

void
safetensors_write_header(const SafeTensors *st, char *bytes)
{
	Writer		w;

	put_file_header(&w, st, bytes);
}

void
safetensors_write(const SafeTensors *st, char *bytes)
{
	Writer		w;

	put_file_header(&w, st, bytes);
	for (int i = 0; i < st->n_tensors; i++)
		put_bytes(&w, st->tensors[i].data, st->tensors[i].size);
}
