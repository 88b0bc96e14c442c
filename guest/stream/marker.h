/* SPDX-License-Identifier: MIT */
/**
 * "All that was submitted so far is done": a fence word that is posted behind the work when
 * somebody asks, and not again before there is new work. That makes a query of an idle stream a
 * load from memory. Any thread may call these.
 */
#ifndef VGPU_GUEST_MARKER_H
#define VGPU_GUEST_MARKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/process/caller.h"

/** Zero-initialised means: nothing was submitted yet. */
struct vgpu_marker {
    pthread_mutex_t lock;
    bool taken; /* `fence` is ours */
    uint32_t fence;
    uint32_t value;   /* that was posted last, or that it was taken with */
    uint64_t covered; /* how much of the work it stands behind */
    bool idle;        /* the driver said that all of that was done */
};

/** What a marker belongs to. */
struct vgpu_marked {
    struct vgpu_marker *marker;
    const uint64_t *work; /* count of what was submitted; atomic */
    void *argument;       /* of the functions */
    /** Posts a fence with this value behind the work. */
    CUresult (*post)(const struct vgpu_caller *caller, void *argument, uint32_t fence,
                     uint32_t value);
    /** Asks the driver whether all is done: CUDA_SUCCESS or NOT_READY. */
    CUresult (*ask)(const struct vgpu_caller *caller, void *argument);
};

/** Makes the marker stand behind all work. *idle: it is done. Otherwise marker->fence reaches
 *  *value when it is. */
CUresult vgpu_marker_place(const struct vgpu_marked *marked, const struct vgpu_caller *caller,
                           bool *idle, uint32_t *value);

/**
 * CUDA_SUCCESS if all work is done, or NOT_READY. After new work the driver is asked, because a
 * fence that is only now posted would say "not ready" of what is long done; while it is busy the
 * fence is looked at.
 */
CUresult vgpu_marker_query(const struct vgpu_marked *marked, const struct vgpu_caller *caller);

/** Raises a number that only grows, and that any thread may raise (release), to at least this. */
static inline void vgpu_raise(uint64_t *number, uint64_t least)
{
    uint64_t now = __atomic_load_n(number, __ATOMIC_RELAXED);
    while (now < least && !__atomic_compare_exchange_n(number, &now, least, true, __ATOMIC_RELEASE,
                                                       __ATOMIC_RELAXED))
        ;
}

/** Gives the fence up. */
void vgpu_marker_end(struct vgpu_marker *marker);

/** Gives up a fence to which `value` was posted; another can have it when that has arrived. */
void vgpu_fence_retire(uint32_t fence, uint32_t value);

#endif
