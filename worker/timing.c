/* SPDX-License-Identifier: MIT */
#include "worker/timing.h"

#include <time.h>

#define WAIT_STRIDE (32u * 128) /* bytes of records, about, from a wait to the next */

/* Calls of a class go by for each that is timed, on average half of this. */
static const uint32_t strides[VGPU_CALL_CLASSES] = {
    [VGPU_CLASS_OTHER] = 8,     [VGPU_CLASS_LAUNCH] = 64, [VGPU_CLASS_COPY_IN] = 64,
    [VGPU_CLASS_COPY_OUT] = 64, [VGPU_CLASS_COPY] = 64,   [VGPU_CLASS_ALLOC] = 8,
    [VGPU_CLASS_SYNC] = 64,     [VGPU_CLASS_MODULE] = 1,
};

uint64_t vgpu_timing_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* 0 to limit - 1; any distribution without a period will do. */
static uint32_t draw(struct vgpu_timing *timing, uint32_t limit)
{
    timing->random = timing->random * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)timing->random * limit >> 32);
}

uint64_t vgpu_timing_start(struct vgpu_timing *timing, enum vgpu_call_class which)
{
    timing->until[which] = draw(timing, strides[which]);
    return vgpu_timing_now();
}

void vgpu_timing_end(struct vgpu_worker_page *page, enum vgpu_call_class which, uint64_t began)
{
    vgpu_histogram_count(&page->times.call[which], vgpu_timing_now() - began);
}

void vgpu_timing_hold(struct vgpu_timing *timing, const struct vgpu_ring_consumer *ring)
{
    if (timing->since)
        return; /* it is part of the wait under way */
    timing->since = vgpu_timing_now();
    timing->next = ring->head;
}

void vgpu_timing_look(struct vgpu_timing *timing, struct vgpu_worker_page *page,
                      const struct vgpu_ring_consumer *ring, bool watched)
{
    /* relaxed: it is only compared */
    uint64_t tail = __atomic_load_n(&ring->indices->tail, __ATOMIC_RELAXED);
    if (timing->since) {
        vgpu_histogram_count(&page->times.wait, vgpu_timing_now() - timing->since);
        timing->since = 0;
    } else if (tail > ring->head && tail - ring->head <= VGPU_RING_BYTES) {
        timing->since = vgpu_timing_now();
        timing->next = tail;
        return;
    } else if (watched) {
        vgpu_histogram_count(&page->times.wait, 0);
    }
    timing->next = ring->head + draw(timing, 2 * WAIT_STRIDE);
}
