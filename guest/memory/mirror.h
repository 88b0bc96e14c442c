/* SPDX-License-Identifier: MIT */
/**
 * Managed variables. They are the driver's, in the worker; this process has memory of its own at
 * their addresses. What the program has changed there goes to the variables before the next work
 * for a stream, what the device has changed comes back with the next synchronisation: that is right
 * for programs that touch them on one side at a time. Any thread may call these.
 */
#ifndef VGPU_GUEST_MIRROR_H
#define VGPU_GUEST_MIRROR_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_channel;
struct vgpu_mirror;

struct vgpu_mirrors {
    pthread_mutex_t lock;
    struct vgpu_mirror *first;
    uint32_t count; /* of living ones; atomic */
};

/** Begins to mirror a variable, with its contents. CUDA_ERROR_NOT_SUPPORTED: its address is taken
 * in this process (a line in the log), or the host's driver cannot. */
CUresult vgpu_mirror_begin(struct vgpu_mirrors *mirrors, struct vgpu_channel *channel,
                           uint64_t address, size_t bytes);
/** The variable is gone. */
void vgpu_mirror_end(struct vgpu_mirrors *mirrors, uint64_t address);

/** Before work is submitted, and after it was waited for. One load from memory if there are none.
 */
void vgpu_mirrors_push(struct vgpu_mirrors *mirrors, struct vgpu_channel *channel);
void vgpu_mirrors_pull(struct vgpu_mirrors *mirrors, struct vgpu_channel *channel);

#endif
