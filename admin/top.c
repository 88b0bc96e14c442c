/* SPDX-License-Identifier: MIT */
#include "admin/top.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/screen.h"

/** Who waits longer than this connects for each look: the mediator hangs up on the silent. */
#define SILENCE_MOST 1.0

/** The columns by which rows can be sorted, and the keys that choose them. */
static const struct top_order {
    char key;
    const char *column; /* the greatest first; the name is sorted as text */
    const char *name;
} top_orders[] = {
    {'g', "gpu_percent", "GPU"},
    {'m', "memory_used_bytes", "memory"},
    {'c', "calls_per_second", "calls"},
    {'n', "vm", "name"},
};

struct top {
    struct client *client;
    double interval;
    enum output_form form;
    bool is_live; /* on a terminal */
    const struct top_order *order;
    json_t *health;
    json_t *before;
    double looked; /* when `before` was */
    json_t *rows;
};

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

static const char *top_name(const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "vm"));

    return name ? name : "";
}

static const json_t *top_find(const json_t *rows, const char *vm)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);

        if (strcmp(top_name(row), vm) == 0)
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
    double busy = (double)top_rate(before, now, "gpu_ns", seconds) / 1e7;

    return json_pack(
        "{s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "vm", top_name(now), "gpu_percent", busy,
        "calls_per_second", top_rate(before, now, "calls", seconds), "to_device_per_second_bytes",
        top_rate(before, now, "to_device_bytes", seconds), "from_device_per_second_bytes",
        top_rate(before, now, "from_device_bytes", seconds), "memory_used_bytes",
        top_number(now, "memory_used_bytes"), "memory_quota_bytes",
        top_number(now, "memory_quota_bytes"), "p99_ns", top_number(now, "p99_ns"), "channels",
        top_number(now, "channels"));
}

static int top_compare(const void *one, const void *other, void *user)
{
    const json_t *a = *(json_t *const *)one, *b = *(json_t *const *)other;
    const struct top *top = user;
    double of_a = json_number_value(json_object_get(a, top->order->column));
    double of_b = json_number_value(json_object_get(b, top->order->column));

    if (of_a != of_b)
        return of_b > of_a ? 1 : -1;
    return strcmp(top_name(a), top_name(b));
}

static void top_sort(struct top *top)
{
    size_t count = json_array_size(top->rows);
    json_t **rows = reallocarray(NULL, count + 1, sizeof(json_t *));

    if (!rows)
        return;
    for (size_t i = 0; i < count; i++)
        rows[i] = json_incref(json_array_get(top->rows, i));
    qsort_r(rows, count, sizeof(*rows), top_compare, top);
    json_array_clear(top->rows);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(top->rows, rows[i]);
    free(rows);
}

/** Looks at the counters, and at what has become of them since the last time. */
static enum admin_status top_look(struct top *top)
{
    json_t *now = NULL;
    enum admin_status status = ADMIN_DONE;

    if (top->before && top->interval > SILENCE_MOST) {
        client_close(top->client);
        status = client_connect(top->client->path, top->client);
    }
    if (status == ADMIN_DONE)
        status = client_ask(top->client, json_pack("{s:s}", "verb", "show-metrics"), &now);
    if (status != ADMIN_DONE)
        return status;
    double at = top_now();
    json_decref(top->rows);
    top->rows = json_array();
    for (size_t i = 0; i < json_array_size(now); i++) {
        const json_t *row = json_array_get(now, i);

        json_array_append_new(top->rows,
                              top_row(top_find(top->before, top_name(row)), row, at - top->looked));
    }
    json_decref(top->before);
    top->before = now;
    top->looked = at;
    return ADMIN_DONE;
}

/** The line above the table. */
static void top_print_head(const struct top *top, FILE *out)
{
    double busy = 0;
    json_int_t used = 0;
    char used_text[32], total_text[32], clock[16];
    time_t now = time(NULL);
    struct tm when;

    for (size_t i = 0; i < json_array_size(top->rows); i++) {
        busy += json_number_value(json_object_get(json_array_get(top->rows, i), "gpu_percent"));
        used += top_number(json_array_get(top->rows, i), "memory_used_bytes");
    }
    json_t *number = json_integer(used);
    output_value("memory_used_bytes", number, used_text, sizeof(used_text));
    json_decref(number);
    output_value("memory_total_bytes", json_object_get(top->health, "memory_total_bytes"),
                 total_text, sizeof(total_text));
    const char *gpu = json_string_value(json_object_get(top->health, "gpu"));
    localtime_r(&now, &when);
    strftime(clock, sizeof(clock), "%T", &when);
    fprintf(out, "%s  %s: %.0f%% busy, %s of %s in use, %zu VMs\n", clock, gpu ? gpu : "GPU", busy,
            used_text, total_text, json_array_size(top->rows));
    fprintf(out, "by %s; sort: g GPU, m memory, c calls, n name; q quits\n\n", top->order->name);
}

static void top_show(struct top *top)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = top->is_live ? open_memstream(&text, &size) : NULL;

    top_sort(top);
    if (!out) {
        output_print(top->form, top->rows, NULL);
        return;
    }
    top_print_head(top, out);
    if (json_array_size(top->rows))
        output_table(out, top->rows, NULL);
    fclose(out);
    screen_draw(text);
    free(text);
}

static void top_choose(struct top *top, int key)
{
    for (size_t i = 0; i < sizeof(top_orders) / sizeof(*top_orders); i++) {
        if (top_orders[i].key == key)
            top->order = &top_orders[i];
    }
}

/** Until the next look is due. False: it is the end. */
static bool top_wait(struct top *top, const struct screen *screen, double until)
{
    double left;

    while ((left = until - top_now()) > 0) {
        if (!top->is_live) {
            if (!client_pause((int)(left * 1e3) + 1))
                return false;
            continue;
        }
        int key = screen_wait(screen, left);
        if (key == 'q' || key == 'Q' || key == SCREEN_END)
            return false;
        top_choose(top, key);
        if (key != SCREEN_TIME && top->rows)
            top_show(top);
    }
    return true;
}

enum admin_status top_run(struct client *client, enum output_form form, double interval,
                          unsigned long count)
{
    struct top top = {.client = client,
                      .interval = interval,
                      .form = form,
                      .order = top_orders,
                      .looked = top_now()};
    struct screen screen = {.signals = -1};
    enum admin_status status =
        client_ask(client, json_pack("{s:s}", "verb", "show-health"), &top.health);

    if (status == ADMIN_DONE)
        status = top_look(&top);
    if (status == ADMIN_DONE && form == OUTPUT_TABLE)
        top.is_live = screen_open(&screen);
    if (status == ADMIN_DONE && top.is_live)
        top_show(&top);
    for (unsigned long i = 0; status == ADMIN_DONE && !ferror(stdout) && (count == 0 || i < count);
         i++) {
        if (!top_wait(&top, &screen, top.looked + interval))
            break;
        status = top_look(&top);
        if (status == ADMIN_DONE)
            top_show(&top);
    }
    screen_close(&screen);
    json_decref(top.health);
    json_decref(top.before);
    json_decref(top.rows);
    return status;
}
