/* SPDX-License-Identifier: MIT */
/**
 * Memory of pools that was freed in a stream's order, of which the host is not told yet: who
 * allocates as much in the same stream gets it back, in that order, without an exchange. The host
 * is told before anything is asked of it or waited for. Any thread may call these.
 */
#ifndef VGPU_GUEST_FREED_H
#define VGPU_GUEST_FREED_H

#include "interop/driver_api.h"

#include <pthread.h>
#include <stdbool.h>

#include "guest/process/caller.h"

#define VGPU_FREED_BLOCKS 8u
#define VGPU_FREED_BYTES  ((size_t)16 << 20) /* of all */

struct vgpu_pool;
struct vgpu_stream;

/** Of a process; zero and its lock initialised to begin with. */
struct vgpu_freed {
    pthread_mutex_t lock;
    struct vgpu_freed_block {
        CUdeviceptr start;
        size_t bytes;
        const struct vgpu_pool *pool;
        struct vgpu_stream *stream;
        unsigned long long unique; /* of the stream: its slot may have been used again */
        uint32_t context;
    } blocks[VGPU_FREED_BLOCKS]; /* the oldest first */
    uint32_t count;              /* atomic */
    size_t bytes;
};

/** Keeps a block; false: it is too large, the host is to be told. */
bool vgpu_freed_keep(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                     const struct vgpu_pool *pool, CUdeviceptr start, size_t bytes);

/** A block of exactly so many bytes; 0: there is none. */
CUdeviceptr vgpu_freed_take(const struct vgpu_stream *stream, const struct vgpu_pool *pool,
                            size_t bytes);

/** Tells the host of all. */
void vgpu_freed_tell(struct vgpu_channel *channel);

#endif
