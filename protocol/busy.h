/* SPDX-License-Identifier: MIT */
/**
 * When the GPU worked for a worker, on the host's monotonic clock, as well as events tell: what was
 * busy of each of the last few seconds' slots of a millisecond. With it the mediator finds out what
 * workers used the GPU at the same time, and shares that time between them (mediator/gpu_time.h).
 * Kept by one writer, the worker, with plain stores; the mediator bounds what it reads.
 */
#ifndef VGPU_PROTOCOL_BUSY_H
#define VGPU_PROTOCOL_BUSY_H

#include <stdint.h>

#define VGPU_BUSY_SHIFT       20u
#define VGPU_BUSY_NANOSECONDS (1u << VGPU_BUSY_SHIFT) /* of a slot */
#define VGPU_BUSY_SLOTS       4096u                   /* 4.3 s */

struct vgpu_busy {
    uint64_t since; /* there has been work since then that is in no slot; 0: there is none */
    uint64_t slot[VGPU_BUSY_SLOTS]; /* number of the slot << 21 | nanoseconds of it, at [number] */
};

static inline void vgpu_busy_add(struct vgpu_busy *busy, uint64_t number, uint64_t nanoseconds)
{
    uint64_t *slot = &busy->slot[number % VGPU_BUSY_SLOTS];
    uint64_t value = *slot;

    if (value >> (VGPU_BUSY_SHIFT + 1) != number)
        value = number << (VGPU_BUSY_SHIFT + 1);
    /* Two contexts can be busy at once: no more than all of it. */
    uint64_t room = VGPU_BUSY_NANOSECONDS - (value & (2 * VGPU_BUSY_NANOSECONDS - 1));
    nanoseconds = nanoseconds < room ? nanoseconds : room;
    __atomic_store_n(slot, value + nanoseconds, __ATOMIC_RELAXED);
}

/** Worker: there is work, since `at`, which is not 0; what was before is counted. */
static inline void vgpu_busy_begin(struct vgpu_busy *busy, uint64_t at)
{
    __atomic_store_n(&busy->since, at, __ATOMIC_RELAXED);
}

/** Worker: there was work from `from` to `to`. */
static inline void vgpu_busy_count(struct vgpu_busy *busy, uint64_t from, uint64_t to)
{
    const uint64_t most = (uint64_t)(VGPU_BUSY_SLOTS - 1) << VGPU_BUSY_SHIFT;

    if (to > most && from < to - most)
        from = to - most;
    while (from < to) {
        uint64_t number = from >> VGPU_BUSY_SHIFT;
        uint64_t end = (number + 1) << VGPU_BUSY_SHIFT;

        end = end < to ? end : to;
        vgpu_busy_add(busy, number, end - from);
        from = end;
    }
}

/** Worker: there is no work. */
static inline void vgpu_busy_rest(struct vgpu_busy *busy)
{
    /* Pairs with the mediator's acquire: who sees that it has ended sees when it was. */
    __atomic_store_n(&busy->since, 0, __ATOMIC_RELEASE);
}

/** Mediator: busy nanoseconds of a slot, of which nothing lies after `now`; `since` was loaded
 *  before, to acquire. */
static inline uint64_t vgpu_busy_read(const struct vgpu_busy *busy, uint64_t since, uint64_t number,
                                      uint64_t now)
{
    uint64_t value = __atomic_load_n(&busy->slot[number % VGPU_BUSY_SLOTS], __ATOMIC_RELAXED);
    uint64_t start = number << VGPU_BUSY_SHIFT, end = start + VGPU_BUSY_NANOSECONDS;
    uint64_t sum = 0;

    if (value >> (VGPU_BUSY_SHIFT + 1) == number)
        sum = value & (2 * VGPU_BUSY_NANOSECONDS - 1);
    end = end < now ? end : now;
    start = start > since ? start : since;
    if (since && start < end)
        sum += end - start;
    return sum < VGPU_BUSY_NANOSECONDS ? sum : VGPU_BUSY_NANOSECONDS;
}

#endif
