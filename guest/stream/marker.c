/* SPDX-License-Identifier: MIT */
#include "guest/stream/marker.h"

#include <stdlib.h>

#include "guest/process/process.h"

/* ---- fences that nobody owns, but to which the GPU may still write ---- */

static struct {
    pthread_mutex_t lock;
    struct retired {
        uint32_t fence, value;
    } * table;
    size_t count, room;
    size_t sweep_at; /* as many: else each would have all the others looked at */
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
    graveyard.sweep_at = 2 * kept;
}

/* Of those that nobody owns, too. */
static CUresult take_fence(struct vgpu_channel *channel, struct vgpu_marker *marker)
{
    CUresult error = vgpu_fence_take(channel, &marker->fence, &marker->value);
    if (error != CUDA_ERROR_OUT_OF_MEMORY)
        return error;
    pthread_mutex_lock(&graveyard.lock);
    sweep(channel);
    pthread_mutex_unlock(&graveyard.lock);
    return vgpu_fence_take(channel, &marker->fence, &marker->value);
}

void vgpu_fence_retire(uint32_t fence, uint32_t value)
{
    struct vgpu_channel *channel = vgpu_process()->channel;
    if (vgpu_fence_reached(channel, fence, value)) {
        vgpu_fence_put(channel, fence);
        return;
    }
    pthread_mutex_lock(&graveyard.lock);
    if (graveyard.count >= graveyard.sweep_at)
        sweep(channel);
    bury(fence, value);
    pthread_mutex_unlock(&graveyard.lock);
}

/* ---- markers ---- */

/* Called with the marker's lock, when there is work behind which it does not stand. */
static CUresult post(const struct vgpu_marked *marked, const struct vgpu_caller *caller,
                     uint64_t submitted)
{
    struct vgpu_marker *marker = marked->marker;
    CUresult error = CUDA_SUCCESS;
    if (!marker->taken)
        error = take_fence(caller->channel, marker);
    if (error)
        return error;
    marker->taken = true;
    error = marked->post(caller, marked->argument, marker->fence, marker->value + 1);
    if (error)
        return error;
    marker->value++;
    marker->covered = submitted;
    marker->idle = false;
    return CUDA_SUCCESS;
}

static bool is_idle(const struct vgpu_marker *marker, const struct vgpu_caller *caller)
{
    return marker->idle || !marker->taken ||
           vgpu_fence_reached(caller->channel, marker->fence, marker->value);
}

static uint64_t count(const struct vgpu_marked *marked)
{
    /* acquire: work is counted after it was posted (release), so what we post comes behind it;
     * seq_cst because of vgpu_context_begin_wait */
    return __atomic_load_n(marked->work, __ATOMIC_SEQ_CST);
}

CUresult vgpu_marker_place(const struct vgpu_marked *marked, const struct vgpu_caller *caller,
                           bool *idle, uint32_t *value)
{
    struct vgpu_marker *marker = marked->marker;
    CUresult error = CUDA_SUCCESS;
    pthread_mutex_lock(&marker->lock);
    uint64_t submitted = count(marked);
    if (submitted != marker->covered)
        error = post(marked, caller, submitted);
    *value = marker->value;
    *idle = is_idle(marker, caller);
    pthread_mutex_unlock(&marker->lock);
    return error;
}

CUresult vgpu_marker_query(const struct vgpu_marked *marked, const struct vgpu_caller *caller)
{
    struct vgpu_marker *marker = marked->marker;
    CUresult error;
    pthread_mutex_lock(&marker->lock);
    uint64_t submitted = count(marked);
    if (submitted == marker->covered) {
        error = is_idle(marker, caller) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
    } else {
        error = marked->ask(caller, marked->argument);
        if (error == CUDA_SUCCESS) {
            marker->covered = submitted;
            marker->idle = true;
        } else if (error == CUDA_ERROR_NOT_READY) {
            CUresult posted = post(marked, caller, submitted);
            error = posted ? posted : error;
        }
    }
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
