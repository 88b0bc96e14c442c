/* SPDX-License-Identifier: MIT */
/**
 * The token bucket of a VM's calls, in its ledger page: one word, the time at which the bucket is
 * empty no longer. Every call moves it on by the time that a call has at this rate; it is never
 * longer ago than the burst, which is what the bucket holds. Workers and the mediator use it at
 * once; relaxed atomics, as it orders nothing. Times are CLOCK_MONOTONIC, nanoseconds.
 */
#ifndef VGPU_PROTOCOL_RATE_H
#define VGPU_PROTOCOL_RATE_H

#include "protocol/worker.h"

#define VGPU_RATE_BURST 50000000u /* nanoseconds whose calls may come at once after a pause */

/** Nanoseconds until the VM's next call is within its rate; 0: now. */
static inline uint64_t vgpu_rate_wait(const struct vgpu_ledger_page *page, uint64_t now)
{
    uint64_t free_at = __atomic_load_n(&page->free_at, __ATOMIC_RELAXED);

    if (__atomic_load_n(&page->rate, __ATOMIC_RELAXED) == 0 || free_at <= now)
        return 0;
    return free_at - now;
}

/** Counts a call, whether or not it had to wait. */
static inline void vgpu_rate_count(struct vgpu_ledger_page *page, uint64_t now)
{
    uint64_t rate = __atomic_load_n(&page->rate, __ATOMIC_RELAXED);
    uint64_t free_at = __atomic_load_n(&page->free_at, __ATOMIC_RELAXED), next;

    if (rate == 0)
        return;
    do {
        next = free_at + VGPU_RATE_BURST < now ? now - VGPU_RATE_BURST : free_at;
        next += 1000000000u / rate;
    } while (!__atomic_compare_exchange_n(&page->free_at, &free_at, next, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
}

#endif
