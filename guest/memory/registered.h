/* SPDX-License-Identifier: MIT */
/**
 * Pages of the program that it has registered: in their place the process has shared memory, which
 * the device reaches, too. A page can be part of several registrations. Any thread may call these.
 */
#ifndef VGPU_GUEST_REGISTERED_H
#define VGPU_GUEST_REGISTERED_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_caller;
struct vgpu_channel;
struct vgpu_registered_piece;

struct vgpu_registered {
    pthread_mutex_t lock;
    struct vgpu_registered_piece *first; /* by address */
};

/**
 * Shares the pages around `memory`. *pieced: they are shared in more than one piece. Returns
 * CUDA_ERROR_NOT_SUPPORTED for what cannot be shared: anything but private memory of the process
 * that it may write to, the stack of the caller, places that the worker has taken; else errors as
 * vgpu_share_over.
 */
CUresult vgpu_registered_share(struct vgpu_registered *registered, const struct vgpu_caller *caller,
                               const void *memory, size_t bytes, bool *pieced);

/** Gives pages that were shared for this registration, and for no other one, back to the process.
 */
void vgpu_registered_unshare(struct vgpu_registered *registered, struct vgpu_channel *channel,
                             const void *memory, size_t bytes);

/** In a forked child, while nothing else runs: what it writes there is no longer its parent's. */
void vgpu_registered_forked(struct vgpu_registered *registered, struct vgpu_channel *channel);

#endif
