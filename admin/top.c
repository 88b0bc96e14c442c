/* SPDX-License-Identifier: MIT */
#include "admin/top.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static double top_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static json_int_t top_number(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

static const json_t *top_find(const json_t *rows, const char *vm)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *name = json_string_value(json_object_get(row, "vm"));

        if (name && strcmp(name, vm) == 0)
            return row;
    }
    return NULL;
}

/** What a counter grew by in a second; 0 if the VM was not there before. */
static json_int_t top_rate(const json_t *before, const json_t *now, const char *key, double seconds)
{
    json_int_t grown = top_number(now, key) - top_number(before, key);

    return before && grown > 0 ? (json_int_t)((double)grown / seconds) : 0;
}

static json_t *top_row(const json_t *before, const json_t *now, double seconds)
{
    const char *vm = json_string_value(json_object_get(now, "vm"));
    json_int_t busy = top_rate(before, now, "gpu_ns", seconds) / 10000000;

    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "vm", vm ? vm : "", "gpu_percent", busy,
        "calls_per_second", top_rate(before, now, "calls", seconds), "to_device_per_second_bytes",
        top_rate(before, now, "to_device_bytes", seconds), "from_device_per_second_bytes",
        top_rate(before, now, "from_device_bytes", seconds), "memory_used_bytes",
        top_number(now, "memory_used_bytes"), "memory_quota_bytes",
        top_number(now, "memory_quota_bytes"), "channels", top_number(now, "channels"));
}

static json_t *top_rows(const json_t *before, const json_t *now, double seconds)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < json_array_size(now); i++) {
        const json_t *row = json_array_get(now, i);
        const char *vm = json_string_value(json_object_get(row, "vm"));

        json_array_append_new(rows, top_row(top_find(before, vm ? vm : ""), row, seconds));
    }
    return rows;
}

enum admin_status top_run(FILE *stream, enum output_form form, double interval, unsigned long count)
{
    json_t *before = NULL, *now = NULL;
    double looked = top_now();
    enum admin_status status =
        client_ask(stream, json_pack("{s:s}", "verb", "show-metrics"), &before);

    for (unsigned long i = 0; status == ADMIN_DONE && (count == 0 || i < count); i++) {
        usleep((useconds_t)(interval * 1e6));
        status = client_ask(stream, json_pack("{s:s}", "verb", "show-metrics"), &now);
        if (status != ADMIN_DONE)
            break;
        double at = top_now();
        json_t *rows = top_rows(before, now, at - looked);
        if (form == OUTPUT_TABLE && isatty(STDOUT_FILENO))
            fputs("\033[H\033[2J", stdout); /* home, and all clear */
        output_print(form, rows, NULL);
        json_decref(rows);
        json_decref(before);
        before = now;
        looked = at;
    }
    json_decref(before);
    return status;
}
