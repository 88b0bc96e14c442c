/* SPDX-License-Identifier: MIT */
#include "guest/marker.h"

#include <stdlib.h>

#include "guest/process.h"

CUresult vgpu_marker_place(struct vgpu_marker *marker, const struct vgpu_caller *caller,
                           const uint64_t *work, vgpu_marker_post *post, void *argument, bool *idle,
                           uint32_t *value)
{
    CUresult error = CUDA_SUCCESS;
    pthread_mutex_lock(&marker->lock);
    /* acquire: work is counted after it was posted (release), so the fence comes behind it */
    uint64_t submitted = __atomic_load_n(work, __ATOMIC_ACQUIRE);
    if (submitted != marker->covered) {
        if (!marker->taken)
            error = vgpu_fence_take(caller->channel, &marker->fence);
        if (error == CUDA_SUCCESS) {
            marker->taken = true;
            error = post(caller, argument, marker->fence, marker->value + 1);
        }
        if (error == CUDA_SUCCESS) {
            marker->value++;
            marker->covered = submitted;
        }
    }
    *value = marker->value;
    *idle = !marker->taken || vgpu_fence_reached(caller->channel, marker->fence, marker->value);
    pthread_mutex_unlock(&marker->lock);
    return error;
}

void vgpu_marker_end(struct vgpu_marker *marker)
{
    if (marker->taken)
        vgpu_fence_retire(marker->fence, marker->value);
    marker->taken = false;
    pthread_mutex_destroy(&marker->lock);
}

/* ---- fences that nobody owns, but to which the GPU may still write ---- */

static struct {
    pthread_mutex_t lock;
    struct retired {
        uint32_t fence, value;
    } *table;
    size_t count, room;
} graveyard = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool bury(uint32_t fence, uint32_t value)
{
    if (graveyard.count == graveyard.room) {
        size_t room = graveyard.room ? graveyard.room * 2 : 64;
        struct retired *grown = reallocarray(graveyard.table, room, sizeof(*grown));
        if (grown == NULL)
            return false; /* the fence stays taken */
        graveyard.table = grown;
        graveyard.room = room;
    }
    graveyard.table[graveyard.count++] = (struct retired){fence, value};
    return true;
}

static void sweep(struct vgpu_channel *channel)
{
    size_t kept = 0;
    for (size_t i = 0; i < graveyard.count; i++) {
        struct retired retired = graveyard.table[i];
        if (vgpu_fence_reached(channel, retired.fence, retired.value))
            vgpu_fence_put(channel, retired.fence);
        else
            graveyard.table[kept++] = retired;
    }
    graveyard.count = kept;
}

void vgpu_fence_retire(uint32_t fence, uint32_t value)
{
    struct vgpu_channel *channel = vgpu_process()->channel;
    if (vgpu_fence_reached(channel, fence, value)) {
        vgpu_fence_put(channel, fence);
        return;
    }
    pthread_mutex_lock(&graveyard.lock);
    sweep(channel);
    bury(fence, value);
    pthread_mutex_unlock(&graveyard.lock);
}
