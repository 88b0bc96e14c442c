/* SPDX-License-Identifier: MIT */
/** Pools of stream-ordered memory. A pool keeps nothing that is not in use. */
#ifndef VGPU_SOFT_DRIVER_MEMORY_POOL_H
#define VGPU_SOFT_DRIVER_MEMORY_POOL_H

#include <stdbool.h>

#include "soft/driver/driver.h"
#include "soft/driver/object.h"

struct vgpu_memory_pool {
    struct vgpu_object object;
    struct vgpu_device *device;
    CUmemPoolProps properties;
    bool is_default;
    pthread_mutex_t lock; /* of the following */
    bool may_reuse[3];    /* CU_MEMPOOL_ATTR_REUSE_*, told back */
    uint32_t reach;       /* bit by ordinal: other devices that were given access */
    uint64_t threshold;   /* CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, told back */
    uint64_t used;
    uint64_t used_high;
    uint64_t reserved_high; /* of what is used, too: that is all that is reserved */
};

/** Makes the default pools of a device. */
CUresult vgpu_memory_pool_open_device(struct vgpu_device *device);

/** The current pool of pinned memory of a device, with a reference. */
struct vgpu_memory_pool *vgpu_memory_pool_current(struct vgpu_device *device);

/** A pool by its handle, with a reference: NOT_INITIALIZED or INVALID_VALUE. */
CUresult vgpu_memory_pool_take(CUmemoryPool handle, struct vgpu_memory_pool **pool);

/** Allocates from the pool, at once. */
CUresult vgpu_memory_pool_allocate(struct vgpu_memory_pool *pool, size_t size, uint64_t *address);

/** Notes that `size` bytes of the pool's were freed. */
void vgpu_memory_pool_note_free(struct vgpu_memory_pool *pool, size_t size);

#endif
