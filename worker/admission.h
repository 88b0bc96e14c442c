/* SPDX-License-Identifier: MIT */
/**
 * What each record has to pass before it is replayed: limits on calls (worker/throttle.h), the
 * lease (worker/lease.h), and calls that would wait (worker/watch.h). While nothing is limited,
 * that is a few loads, because it lies between every two launches. For the worker's thread.
 */
#ifndef VGPU_WORKER_ADMISSION_H
#define VGPU_WORKER_ADMISSION_H

#include "worker/worker.h"

/** Whether the next record may be taken out of the ring. */
static inline bool vgpu_admission_takes(struct vgpu_worker *worker)
{
    const struct vgpu_ledger_page *page = worker->ledger.page;
    const struct vgpu_throttle *throttle = &worker->throttle;
    bool limits = vgpu_throttle_limit(&page->rate) || vgpu_throttle_limit(&page->queue_depth);

    if (!limits && throttle->since == 0 && !throttle->limited)
        return true;
    return vgpu_throttle_admits(worker);
}

/** The record with this sequence was taken out. */
static inline void vgpu_admission_taken(struct vgpu_worker *worker, uint32_t sequence)
{
    worker->throttle.taken = sequence;
    if (vgpu_throttle_limit(&worker->ledger.page->rate))
        vgpu_throttle_count(worker);
}

/** Whether a record that was taken out has the lease that it needs. */
static inline bool vgpu_admission_leased(struct vgpu_worker *worker,
                                         const struct vgpu_call_header *header)
{
    struct vgpu_worker_lease *lease = &worker->page->lease;

    /* Pairs with the mediator's exchanges: what was submitted before is part of what it takes. */
    if (__atomic_load_n(&lease->state, __ATOMIC_ACQUIRE) != VGPU_LEASE_OPEN || lease->wants)
        return vgpu_lease_admits(worker, header);
    vgpu_lease_uncount(lease);
    return true;
}

/** And whether nothing has to be done before it. Only who waits for a reply insists on anything. */
static inline bool vgpu_admission_clear(struct vgpu_worker *worker,
                                        const struct vgpu_call_header *header)
{
    return !(header->flags & VGPU_CALL_INSISTS) || vgpu_watch_admits(worker, header);
}

#endif
