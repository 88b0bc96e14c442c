/* SPDX-License-Identifier: MIT */
/** Writes the text format of Prometheus (0.0.4) into a buffer that grows. */
#ifndef VGPU_MEDIATOR_METRICS_TEXT_H
#define VGPU_MEDIATOR_METRICS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/latency.h"

#define VGPU_TEXT_LABELS 6u

struct vgpu_text {
    char *bytes; /* the owner's to free */
    size_t length;
    size_t room;
    bool failed; /* out of memory: nothing more is written */
};

/** Name and value; the value may be any text. NULL, NULL: no label. */
struct vgpu_label {
    const char *name;
    const char *value;
};

/** The lines before a metric's samples. `type`: counter, gauge or histogram. */
void vgpu_text_family(struct vgpu_text *text, const char *name, const char *type, const char *help);

/* Samples; labels end with the first whose name is NULL, or after VGPU_TEXT_LABELS. */
void vgpu_text_number(struct vgpu_text *text, const char *name, const struct vgpu_label *labels,
                      uint64_t value);
/** `value` / 10^`digits`, exactly; digits 1..9. */
void vgpu_text_fraction(struct vgpu_text *text, const char *name, const struct vgpu_label *labels,
                        uint64_t value, uint32_t digits);
/** The lines of a histogram of nanoseconds, in seconds: a bucket for each power of `2^step`
 *  nanoseconds, from half a microsecond to 4 seconds. */
void vgpu_text_histogram(struct vgpu_text *text, const char *name, const struct vgpu_label *labels,
                         const struct vgpu_histogram *histogram, uint32_t step);

#endif
