/* SPDX-License-Identifier: MIT */
/** Which parts of a stretch of memory are free: first fit, neighbours are joined. Not locked. */
#ifndef VGPU_GUEST_SPANS_H
#define VGPU_GUEST_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_span {
    uint64_t start;
    uint64_t bytes;
};

struct vgpu_spans {
    struct vgpu_span *table; /* free ones, by start, never touching */
    size_t count, room;
    size_t taken; /* pieces that are not free */
};

/** All of start..start+bytes is free. False: no memory. */
bool vgpu_spans_init(struct vgpu_spans *spans, uint64_t start, uint64_t bytes);
void vgpu_spans_destroy(struct vgpu_spans *spans);

/** Takes `bytes` out at a multiple of `alignment` (a power of two). False: they are nowhere. */
bool vgpu_spans_take(struct vgpu_spans *spans, uint64_t bytes, uint64_t alignment, uint64_t *start);

/** Puts back what was taken. Never fails: take keeps the room that this needs. */
void vgpu_spans_put(struct vgpu_spans *spans, uint64_t start, uint64_t bytes);

/** True if all of the stretch, which has so many bytes, is free. */
bool vgpu_spans_whole(const struct vgpu_spans *spans, uint64_t bytes);

#endif
