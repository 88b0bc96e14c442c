/* SPDX-License-Identifier: MIT */
#include "admin/output.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define COLUMNS_MAX 64
#define TEXT_MAX    256
#define REALS       JSON_REAL_PRECISION(5)

bool output_parse(const char *text, enum output_form *form)
{
    static const char *const names[] = {
        [OUTPUT_TABLE] = "table", [OUTPUT_JSON] = "json", [OUTPUT_CSV] = "csv"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(names[i], text) == 0) {
            *form = (enum output_form)i;
            return true;
        }
    }
    return false;
}

static bool output_ends(const char *key, const char *end)
{
    size_t length = strlen(key), tail = strlen(end);

    return length > tail && strcmp(key + length - tail, end) == 0;
}

struct output_unit {
    const char *name;
    double most; /* from here on the next one serves */
    double next; /* how many make one of the next; 0: it is the last */
};

static void output_scale(double value, const struct output_unit *unit, char *text, size_t size)
{
    for (; unit->next > 0 && value >= unit->most; unit++)
        value /= unit->next;
    snprintf(text, size, value < 10 && value != (double)(long long)value ? "%.1f%s" : "%.0f%s",
             value, unit->name);
}

static void output_plain(const json_t *value, char *text, size_t size)
{
    if (json_is_string(value))
        snprintf(text, size, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(text, size, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(text, size, "%g", json_real_value(value));
    else
        snprintf(text, size, "%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "");
    /* Whatever it came from: nothing but text goes to a terminal. */
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = '?';
    }
}

void output_value(const char *key, const json_t *value, char *text, size_t size)
{
    static const struct output_unit bytes[] = {
        {"B", 1024, 1024}, {"K", 1024, 1024}, {"M", 1024, 1024}, {"G", 1024, 1024}, {"T", 0, 0}};
    static const struct output_unit times[] = {
        {"ns", 1000, 1000}, {"us", 1000, 1000}, {"ms", 1000, 1000}, {"s", 600, 60},
        {"min", 600, 60},   {"h", 240, 24},     {"d", 0, 0}};
    double number = (double)json_integer_value(value);

    if (json_is_real(value) && output_ends(key, "_percent")) {
        snprintf(text, size, "%.1f%%", json_real_value(value));
    } else if (!json_is_integer(value)) {
        output_plain(value, text, size);
        if (!*text)
            snprintf(text, size, "-");
    } else if (output_ends(key, "_bytes")) {
        output_scale(number, bytes, text, size);
    } else if (output_ends(key, "_ns")) {
        output_scale(number, times, text, size);
    } else if (output_ends(key, "_percent")) {
        snprintf(text, size, "%.0f%%", number);
    } else if (output_ends(key, "_seconds")) {
        snprintf(text, size, "%.0fs", number);
    } else if (strcmp(key, "time_ms") == 0) {
        time_t seconds = (time_t)(number / 1000);
        struct tm when;

        localtime_r(&seconds, &when);
        strftime(text, size, "%F %T", &when);
    } else {
        output_plain(value, text, size);
    }
}

/** The head of a column: its key in capitals, without the unit that the values have. */
static void output_head(const char *key, char *text, size_t size)
{
    static const char *const units[] = {"_bytes", "_ns", "_percent", "_seconds", "_ms"};

    snprintf(text, size, "%s", key);
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (output_ends(text, units[i]))
            text[strlen(text) - strlen(units[i])] = '\0';
    }
    if (output_ends(text, "_per_second"))
        strcpy(text + strlen(text) - strlen("_per_second"), "/s");
    for (; *text; text++)
        *text = *text == '_' ? ' ' : (char)toupper((unsigned char)*text);
}

/** The keys to print, from `columns` or else from the row. Returns their number. */
static int output_keys(const json_t *row, const char *const *columns, const char **keys)
{
    const char *key;
    const json_t *value;
    int count = 0;

    while (columns && columns[count] && count < COLUMNS_MAX) {
        keys[count] = columns[count];
        count++;
    }
    if (count)
        return count;
    json_object_foreach((json_t *)row, key, value)
    {
        if (count < COLUMNS_MAX)
            keys[count++] = key;
    }
    return count;
}

static void output_pad(FILE *out, const char *text, int width, bool right, bool last)
{
    if (last && !right)
        fprintf(out, "%s\n", text);
    else
        fprintf(out, right ? "%*s%s" : "%-*s%s", width, text, last ? "\n" : "  ");
}

void output_table(FILE *out, const json_t *rows, const char *const *columns)
{
    const json_t *first = json_array_get(rows, 0);
    const char *keys[COLUMNS_MAX];
    char text[TEXT_MAX];
    int width[COLUMNS_MAX];
    bool right[COLUMNS_MAX];
    int count = output_keys(first, columns, keys);

    for (int i = 0; i < count; i++) {
        output_head(keys[i], text, sizeof(text));
        width[i] = (int)strlen(text);
        right[i] =
            json_is_number(json_object_get(first, keys[i])) && strcmp(keys[i], "time_ms") != 0;
        for (size_t row = 0; row < json_array_size(rows); row++) {
            output_value(keys[i], json_object_get(json_array_get(rows, row), keys[i]), text,
                         sizeof(text));
            width[i] = (int)strlen(text) > width[i] ? (int)strlen(text) : width[i];
        }
    }
    for (int i = 0; i < count; i++) {
        output_head(keys[i], text, sizeof(text));
        output_pad(out, text, width[i], right[i], i + 1 == count);
    }
    for (size_t row = 0; row < json_array_size(rows); row++) {
        for (int i = 0; i < count; i++) {
            output_value(keys[i], json_object_get(json_array_get(rows, row), keys[i]), text,
                         sizeof(text));
            output_pad(out, text, width[i], right[i], i + 1 == count);
        }
    }
}

static void output_list(const json_t *object)
{
    char head[TEXT_MAX], text[TEXT_MAX];
    const char *key;
    const json_t *value;

    json_object_foreach((json_t *)object, key, value)
    {
        output_head(key, head, sizeof(head));
        output_value(key, value, text, sizeof(text));
        printf("%-28s %s\n", head, text);
    }
}

static void output_csv_field(const char *text, bool last)
{
    if (text[strcspn(text, ",\"\r\n")]) {
        putchar('"');
        for (; *text; text++) {
            if (*text == '"')
                putchar('"');
            putchar(*text);
        }
        putchar('"');
    } else {
        fputs(text, stdout);
    }
    fputs(last ? "\n" : ",", stdout);
}

static void output_csv_row(const json_t *row)
{
    const char *keys[COLUMNS_MAX];
    char text[TEXT_MAX * 4];
    int count = output_keys(row, NULL, keys);

    for (int i = 0; i < count; i++) {
        output_plain(json_object_get(row, keys[i]), text, sizeof(text));
        output_csv_field(text, i + 1 == count);
    }
}

static void output_csv_head(const json_t *row)
{
    const char *keys[COLUMNS_MAX];
    int count = output_keys(row, NULL, keys);

    for (int i = 0; i < count; i++)
        output_csv_field(keys[i], i + 1 == count);
}

static void output_csv(const json_t *rows)
{
    output_csv_head(json_array_get(rows, 0));
    for (size_t row = 0; row < json_array_size(rows); row++)
        output_csv_row(json_array_get(rows, row));
}

void output_print_row(enum output_form form, bool first, const json_t *row,
                      const char *const *columns)
{
    const char *keys[COLUMNS_MAX];
    char text[TEXT_MAX];
    int count;

    if (form == OUTPUT_JSON) {
        json_dumpf(row, stdout, JSON_COMPACT | REALS);
        putchar('\n');
    } else if (form == OUTPUT_CSV) {
        if (first)
            output_csv_head(row);
        output_csv_row(row);
    } else {
        count = output_keys(row, columns, keys);
        for (int i = 0; i < count; i++) {
            output_value(keys[i], json_object_get(row, keys[i]), text, sizeof(text));
            output_pad(stdout, text, 12, false, i + 1 == count);
        }
    }
    fflush(stdout);
}

void output_print(enum output_form form, const json_t *result, const char *const *columns)
{
    json_t *rows =
        json_is_array(result) ? json_incref((json_t *)result) : json_pack("[O]", (json_t *)result);

    if (form == OUTPUT_JSON) {
        json_dumpf(result, stdout, JSON_INDENT(2) | REALS);
        putchar('\n');
    } else if (json_array_size(rows) == 0 || json_object_size(json_array_get(rows, 0)) == 0) {
        /* There is nothing to tell. */
    } else if (form == OUTPUT_CSV) {
        output_csv(rows);
    } else if (json_is_array(result)) {
        output_table(stdout, rows, columns);
    } else {
        output_list(result);
    }
    json_decref(rows);
    fflush(stdout);
}
