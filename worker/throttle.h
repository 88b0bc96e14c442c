/* SPDX-License-Identifier: MIT */
/**
 * A VM's limits on calls: how many a second, and how many may wait. Beyond the rate the worker
 * takes nothing out of the ring; beyond the depth it marks the channel BUSY, and the guest keeps
 * its calls until the mark is gone. No call is lost or answered with an error. Both limits are in
 * the VM's ledger page, where all of its workers see them change with the next record; without them
 * that look is all they cost (worker/admission.h). For the worker's thread.
 */
#ifndef VGPU_WORKER_THROTTLE_H
#define VGPU_WORKER_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct vgpu_worker;

struct vgpu_throttle {
    uint32_t taken;   /* sequence of the record that was taken out last; by the loop */
    uint32_t queued;  /* what this worker has added to its VM's sum of calls that wait */
    uint64_t since;   /* records wait for the rate since then; 0: they do not */
    uint32_t allowed; /* what the guest was told, if it is limited */
    bool limited;
    bool busy; /* it has reached that, and not yet gone down by half */
};

/** One of the two limits as the mediator has set it last. Relaxed: it takes effect when it is seen.
 */
static inline uint64_t vgpu_throttle_limit(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/** Whether the next record may be taken out of the ring. If not, ask again after
 *  vgpu_throttle_pause(). To be asked before each record while there are limits, and once more when
 *  they are gone: the guest is told. */
bool vgpu_throttle_admits(struct vgpu_worker *worker);

/** A record was taken out while there is a rate. */
void vgpu_throttle_count(struct vgpu_worker *worker);

/** Nanoseconds until it makes sense to ask again: short enough to see a limit that was lifted. 0:
 *  nothing waits for the rate. */
uint64_t vgpu_throttle_pause(const struct vgpu_worker *worker);

#endif
