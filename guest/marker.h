/* SPDX-License-Identifier: MIT */
/**
 * "All that was submitted so far is done": a fence word that is posted behind the work when somebody
 * asks, and not again before there is new work. That makes a query of an idle stream a load from
 * memory. Any thread may call these.
 */
#ifndef VGPU_GUEST_MARKER_H
#define VGPU_GUEST_MARKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/caller.h"

/** Zero-initialised means: nothing was submitted yet. */
struct vgpu_marker {
    pthread_mutex_t lock;
    bool taken; /* `fence` is ours */
    uint32_t fence;
    uint32_t value;   /* that was posted last */
    uint64_t covered; /* how much of the work it stands behind */
};

/** Posts a fence with this value where the marker belongs. */
typedef CUresult vgpu_marker_post(const struct vgpu_caller *caller, void *argument, uint32_t fence,
                                  uint32_t value);

/**
 * Makes the marker stand behind all that `work` (an atomic count) counts now. *idle: there is
 * nothing to wait for. Otherwise wait for marker->fence to reach *value.
 */
CUresult vgpu_marker_place(struct vgpu_marker *marker, const struct vgpu_caller *caller,
                           const uint64_t *work, vgpu_marker_post *post, void *argument, bool *idle,
                           uint32_t *value);

/** Gives the fence up. */
void vgpu_marker_end(struct vgpu_marker *marker);

/** Gives up a fence to which `value` was posted; another can have it when that has arrived. */
void vgpu_fence_retire(uint32_t fence, uint32_t value);

#endif
