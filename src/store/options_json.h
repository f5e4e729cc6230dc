/*
 * options_json.h
 *	  Options as JSON, and back.
 */
#ifndef STORE_OPTIONS_JSON_H
#define STORE_OPTIONS_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "learn/options.h"

/* An object of all options that are set. */
extern void options_to_json(const Options *options, StringInfo out);

/* Sets what the object holds; a value that is not allowed is ERRCODE_DATA_CORRUPTED. */
extern void options_from_json(Options *options, JsonbContainer *object);

/* Appends the value of one option; false, and nothing, where it is not set. */
extern bool option_to_json(const Options *options, const OptionInfo *info, StringInfo out);

/* The word at a position among an option's choices, in the current memory context. */
extern char *choice_word(const char *option, int position);

/* Appends the word at a position among an option's choices, quoted. */
extern void append_choice(StringInfo out, const char *option, int position);

extern void append_integers(StringInfo out, const int *values, int n);

extern double json_number(const JsonbValue *value);

#endif							/* STORE_OPTIONS_JSON_H */
