/* SPDX-License-Identifier: MIT */
#include "worker/throttle.h"

#include "protocol/rate.h"
#include "worker/worker.h"

#define QUEUED_MOST (VGPU_RING_BYTES / VGPU_RECORD_ALIGNMENT)
#define PAUSE_MOST  10000000u /* nanoseconds: the limit may be lifted meanwhile */
#define PAUSE_LEAST 20000u
#define CALM_FRACTION                                                                              \
    2u /* of the depth, at which a guest that sleeps is woken: not for each call */

/* Written by this thread alone, read by the mediator. */
static void add(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + value, __ATOMIC_RELAXED);
}

/* Records that wait in the ring, as the guest says: only its own channel suffers from a lie. */
static uint32_t waiting(const struct vgpu_worker *worker)
{
    const struct vgpu_channel_header *header = vgpu_worker_channel(worker);
    uint32_t pushed = __atomic_load_n(&header->ring.pushed, __ATOMIC_RELAXED);
    uint32_t count = pushed - worker->throttle.taken;

    return count < QUEUED_MOST ? count : QUEUED_MOST;
}

/* Relaxed, all of it: the guest decides on nothing else by it, and a sleeper is woken with a fence.
 */
static void allow(struct vgpu_worker *worker, bool limited, uint32_t room)
{
    struct vgpu_channel_header *header = vgpu_worker_channel(worker);
    struct vgpu_throttle *throttle = &worker->throttle;
    uint32_t allowed = throttle->taken + room;

    if (limited && allowed != throttle->allowed)
        __atomic_store_n(&header->allowed, allowed, __ATOMIC_RELAXED);
    if (limited != throttle->limited)
        __atomic_store_n(&header->limited, limited, __ATOMIC_RELAXED);
    throttle->allowed = allowed;
    throttle->limited = limited;
}

static void set_busy(struct vgpu_worker *worker, bool busy)
{
    if (busy == worker->throttle.busy)
        return;
    worker->throttle.busy = busy;
    if (busy)
        add(&worker->page->throttle.busy, 1);
    else
        vgpu_worker_wake(worker);
}

/* The VM's depth, less what waits in other channels. A channel always has room for one record, or
 * its worker could sleep and never see that there is more. */
static void watch_queue(struct vgpu_worker *worker, uint32_t queued, uint64_t depth)
{
    struct vgpu_throttle *throttle = &worker->throttle;
    uint64_t *sum = &worker->ledger.page->queued;

    if (queued != throttle->queued) {
        __atomic_fetch_add(sum, (uint64_t)queued - throttle->queued, __ATOMIC_RELAXED);
        throttle->queued = queued;
        __atomic_store_n(&worker->page->throttle.queued, queued, __ATOMIC_RELAXED);
    }
    uint64_t others = __atomic_load_n(sum, __ATOMIC_RELAXED) - queued;
    uint32_t room = others < depth ? (uint32_t)(depth - others) : 1;
    allow(worker, depth != 0, room);
    set_busy(worker, depth && queued >= (throttle->busy ? room / CALM_FRACTION + 1 : room));
}

static void watch_rate(struct vgpu_worker *worker, bool late)
{
    struct vgpu_throttle *throttle = &worker->throttle;

    if (late == (throttle->since != 0))
        return;
    if (late) {
        throttle->since = vgpu_timing_now();
        add(&worker->page->throttle.throttled, 1);
    } else {
        add(&worker->page->throttle.nanoseconds, vgpu_timing_now() - throttle->since);
        throttle->since = 0;
    }
}

bool vgpu_throttle_admits(struct vgpu_worker *worker)
{
    const struct vgpu_ledger_page *page = worker->ledger.page;
    uint64_t rate = vgpu_throttle_limit(&page->rate);
    uint64_t depth = vgpu_throttle_limit(&page->queue_depth);

    uint32_t queued = waiting(worker);
    watch_queue(worker, depth ? queued : 0, depth);
    bool late = rate && queued && vgpu_rate_wait(page, vgpu_timing_now()) > 0;
    watch_rate(worker, late);
    return !late;
}

void vgpu_throttle_count(struct vgpu_worker *worker)
{
    vgpu_rate_count(worker->ledger.page, vgpu_timing_now());
}

uint64_t vgpu_throttle_pause(const struct vgpu_worker *worker)
{
    if (worker->throttle.since == 0)
        return 0;
    uint64_t wait = vgpu_rate_wait(worker->ledger.page, vgpu_timing_now());
    return wait < PAUSE_LEAST ? PAUSE_LEAST : wait > PAUSE_MOST ? PAUSE_MOST : wait;
}
