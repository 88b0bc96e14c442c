/* SPDX-License-Identifier: MIT */
/** An answer's result on stdout. */
#ifndef VGPU_ADMIN_OUTPUT_H
#define VGPU_ADMIN_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum output_form {
    OUTPUT_TABLE, /* for people: scaled units */
    OUTPUT_JSON,  /* all there is, in plain units */
    OUTPUT_CSV,   /* the same; RFC 4180 */
};

/** "table", "json" or "csv"; false if it is none of them. */
bool output_parse(const char *text, enum output_form *form);

/** An object or an array of objects. `columns`: those of a table, up to the first NULL; none: all.
 */
void output_print(enum output_form form, const json_t *result, const char *const *columns);

/** Rows, of which there is one at least, as a table for people. */
void output_table(FILE *out, const json_t *rows, const char *const *columns);

/** One row of many that come one by one: JSON is then a line for each. The first one of CSV comes
 *  with the heads of its columns. */
void output_print_row(enum output_form form, bool first, const json_t *row,
                      const char *const *columns);

/** As a table shows the value of this key. */
void output_value(const char *key, const json_t *value, char *text, size_t size);

#endif
