/* SPDX-License-Identifier: MIT */
/**
 * How long records wait in the ring and calls last, into the page. A clock costs as much as all
 * else that the worker adds to a launch, so that calls of classes that come by the hundred thousand
 * are timed now and then, at distances that no pattern of a program meets; rare ones, always.
 * For the worker's thread.
 */
#ifndef VGPU_WORKER_TIMING_H
#define VGPU_WORKER_TIMING_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/ring.h"
#include "protocol/worker.h"

struct vgpu_timing {
    uint32_t until[VGPU_CALL_CLASSES]; /* calls that go by before the next is timed */
    uint32_t random;
    uint64_t next;  /* ring position, from which on a wait begins or ends */
    uint64_t since; /* of the wait that ends there; 0: none is under way */
};

/** Nanoseconds of the monotonic clock. */
uint64_t vgpu_timing_now(void);

/** Chooses the next call of this class that is timed; the time. */
uint64_t vgpu_timing_start(struct vgpu_timing *timing, enum vgpu_call_class which);

/** Before a call: when it began, or 0: it is not timed. */
static inline uint64_t vgpu_timing_begin(struct vgpu_timing *timing, enum vgpu_call_class which)
{
    if (timing->until[which]) {
        timing->until[which]--;
        return 0;
    }
    return vgpu_timing_start(timing, which);
}

/** After a call that is timed. */
void vgpu_timing_end(struct vgpu_worker_page *page, enum vgpu_call_class which, uint64_t began);

/** The record that was just taken out has to wait for a lease: how long, is measured. */
void vgpu_timing_hold(struct vgpu_timing *timing, const struct vgpu_ring_consumer *ring);

/** Ends the wait under way, or begins one: that of the newest record of the ring. `watched`: the
 *  worker was awake when the record came that was just taken out, so that one that came alone did
 *  not wait. */
void vgpu_timing_look(struct vgpu_timing *timing, struct vgpu_worker_page *page,
                      const struct vgpu_ring_consumer *ring, bool watched);

/** Whether a wait begins or ends with the record that was just taken out of the ring: then, as soon
 *  as it may run, vgpu_timing_look(). */
static inline bool vgpu_timing_is_due(const struct vgpu_timing *timing,
                                      const struct vgpu_ring_consumer *ring)
{
    return ring->head >= timing->next;
}

#endif
