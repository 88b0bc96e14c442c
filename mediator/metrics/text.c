/* SPDX-License-Identifier: MIT */
#include "mediator/metrics/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_POWER 9u  /* 0.5 us */
#define LAST_POWER  32u /* 4.3 s; the last bucket of protocol/latency.h has no end */

static bool vgpu_text_reserve(struct vgpu_text *text, size_t bytes)
{
    size_t room = text->room ? text->room : 4096;

    while (room - text->length < bytes)
        room *= 2;
    if (text->failed || room == text->room)
        return !text->failed;
    char *grown = realloc(text->bytes, room);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->bytes = grown;
    text->room = room;
    return true;
}

static void vgpu_text_put(struct vgpu_text *text, const char *bytes, size_t length)
{
    if (!vgpu_text_reserve(text, length))
        return;
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void vgpu_text_print(struct vgpu_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** At most 255 bytes. */
static void vgpu_text_print(struct vgpu_text *text, const char *format, ...)
{
    char line[256];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (length > 0)
        vgpu_text_put(text, line,
                      (size_t)length < sizeof(line) ? (size_t)length : sizeof(line) - 1);
}

static void vgpu_text_escaped(struct vgpu_text *text, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n')
            vgpu_text_put(text, "\\n", 2);
        else if (*value == '\\' || *value == '"')
            vgpu_text_print(text, "\\%c", *value);
        else
            vgpu_text_put(text, value, 1);
    }
}

void vgpu_text_family(struct vgpu_text *text, const char *name, const char *type, const char *help)
{
    vgpu_text_put(text, "# HELP ", 7);
    vgpu_text_put(text, name, strlen(name));
    vgpu_text_put(text, " ", 1);
    vgpu_text_put(text, help, strlen(help));
    vgpu_text_print(text, "\n# TYPE %s %s\n", name, type);
}

/** `name` with `suffix`, and labels, to which `bound` is added as le unless it is NULL. */
static void vgpu_text_start(struct vgpu_text *text, const char *name, const char *suffix,
                            const struct vgpu_label *labels, const char *bound)
{
    const char *separator = "{";

    vgpu_text_put(text, name, strlen(name));
    vgpu_text_put(text, suffix, strlen(suffix));
    for (uint32_t i = 0; labels && i < VGPU_TEXT_LABELS && labels[i].name; i++) {
        vgpu_text_print(text, "%s%s=\"", separator, labels[i].name);
        vgpu_text_escaped(text, labels[i].value);
        vgpu_text_put(text, "\"", 1);
        separator = ",";
    }
    if (bound)
        vgpu_text_print(text, "%sle=\"%s\"", separator, bound);
    if (bound || *separator == ',')
        vgpu_text_put(text, "}", 1);
    vgpu_text_put(text, " ", 1);
}

void vgpu_text_number(struct vgpu_text *text, const char *name, const struct vgpu_label *labels,
                      uint64_t value)
{
    vgpu_text_start(text, name, "", labels, NULL);
    vgpu_text_print(text, "%" PRIu64 "\n", value);
}

static void vgpu_text_put_fraction(struct vgpu_text *text, uint64_t value, uint32_t digits)
{
    uint64_t unit = 1;

    for (uint32_t i = 0; i < digits; i++)
        unit *= 10;
    vgpu_text_print(text, "%" PRIu64 ".%0*" PRIu64 "\n", value / unit, (int)digits, value % unit);
}

void vgpu_text_fraction(struct vgpu_text *text, const char *name, const struct vgpu_label *labels,
                        uint64_t value, uint32_t digits)
{
    vgpu_text_start(text, name, "", labels, NULL);
    vgpu_text_put_fraction(text, value, digits);
}

/** Counts of workers can be anything; a sum that is too large stays the largest. */
static void vgpu_text_sum(uint64_t *sum, uint64_t count)
{
    if (__builtin_add_overflow(*sum, count, sum))
        *sum = UINT64_MAX;
}

void vgpu_text_histogram(struct vgpu_text *text, const char *name, const struct vgpu_label *labels,
                         const struct vgpu_histogram *histogram, uint32_t step)
{
    uint64_t sum = 0;
    uint32_t bucket = 0;
    char bound[32];

    for (uint32_t power = FIRST_POWER; power <= LAST_POWER; power += step) {
        while (bucket < VGPU_LATENCY_BUCKETS && vgpu_latency_floor(bucket) < 1ull << power)
            vgpu_text_sum(&sum, histogram->bucket[bucket++]);
        snprintf(bound, sizeof(bound), "%.10g", (double)(1ull << power) / 1e9);
        vgpu_text_start(text, name, "_bucket", labels, bound);
        vgpu_text_print(text, "%" PRIu64 "\n", sum);
    }
    while (bucket < VGPU_LATENCY_BUCKETS)
        vgpu_text_sum(&sum, histogram->bucket[bucket++]);
    vgpu_text_start(text, name, "_bucket", labels, "+Inf");
    vgpu_text_print(text, "%" PRIu64 "\n", sum);
    vgpu_text_start(text, name, "_sum", labels, NULL);
    vgpu_text_put_fraction(text, histogram->sum, 9);
    vgpu_text_start(text, name, "_count", labels, NULL);
    vgpu_text_print(text, "%" PRIu64 "\n", sum);
}
