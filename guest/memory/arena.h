/* SPDX-License-Identifier: MIT */
/**
 * Shared memory in large pieces, out of which programs get theirs without an exchange with the
 * host. Any thread may call these.
 */
#ifndef VGPU_GUEST_ARENA_H
#define VGPU_GUEST_ARENA_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct vgpu_arena;
struct vgpu_caller;
struct vgpu_channel;

struct vgpu_arenas {
    pthread_mutex_t lock;
    struct vgpu_arena *first;
    bool impossible; /* nothing can be shared: known from the first try */
};

/**
 * Memory at a multiple of 512 bytes, or of the page size if it is as large as a page. Returns
 * errors as vgpu_share_anywhere.
 */
CUresult vgpu_arena_take(struct vgpu_arenas *arenas, const struct vgpu_caller *caller, size_t bytes,
                         void **memory);

/** Frees what was taken with the same `bytes`. The device must have finished with it. */
void vgpu_arena_put(struct vgpu_arenas *arenas, struct vgpu_channel *channel, void *memory,
                    size_t bytes);

#endif
