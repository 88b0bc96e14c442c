/* SPDX-License-Identifier: MIT */
/**
 * Whether waiting threads should offer the processor to others between looks. To a peer that needs
 * it the offer is the quickest way to the answer. But who computes all the time keeps it for a time
 * slice, milliseconds, where a thread that sleeps gets it back as soon as it is woken: after such a
 * loss the next waits sleep at once.
 */
#ifndef VGPU_PROTOCOL_CROWD_H
#define VGPU_PROTOCOL_CROWD_H

#include <stdbool.h>
#include <stdint.h>

#define VGPU_CROWD_LOSS 500000u /* ns from an offer to the next look: a slice was lost */
/* That sleep at once before the next offer. Each is up to 50 us late, so all of them together cost
 * about as much as the slice that the offer may lose. */
#define VGPU_CROWD_WAITS 64u

/** Of the threads that wait for one peer; zero-initialised: there is no crowd. */
struct vgpu_crowd {
    /* That sleep at once. Atomic, relaxed: a number lost among threads is no matter. */
    uint32_t waits;
};

/** A wait begins: whether it should sleep at once. */
static inline bool vgpu_crowd_begin(struct vgpu_crowd *crowd)
{
    uint32_t waits = __atomic_load_n(&crowd->waits, __ATOMIC_RELAXED);
    if (waits == 0)
        return false;
    __atomic_store_n(&crowd->waits, waits - 1, __ATOMIC_RELAXED);
    return true;
}

/** The processor was offered, and so many nanoseconds later it was ours again. */
static inline void vgpu_crowd_offered(struct vgpu_crowd *crowd, uint64_t nanoseconds)
{
    if (nanoseconds > VGPU_CROWD_LOSS)
        __atomic_store_n(&crowd->waits, VGPU_CROWD_WAITS, __ATOMIC_RELAXED);
}

#endif
