/* SPDX-License-Identifier: MIT */
/** A set of addresses, as spans that neither overlap nor touch. For one thread. */
#ifndef VGPU_WORKER_SPANS_H
#define VGPU_WORKER_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_span {
    uint64_t start, end; /* of bytes from start up to, not including, end */
};

/** Zeroed, it is empty. */
struct vgpu_spans {
    struct vgpu_span *table; /* by start */
    size_t count, room;
};

/** Frees it and leaves it empty. */
void vgpu_spans_clear(struct vgpu_spans *spans);

/** Adds [start, end); start < end. Returns 0, or -ENOMEM and the set is as it was. */
int vgpu_spans_add(struct vgpu_spans *spans, uint64_t start, uint64_t end);

/** True if all of [start, end) is in the set; start < end. */
bool vgpu_spans_hold(const struct vgpu_spans *spans, uint64_t start, uint64_t end);

#endif
