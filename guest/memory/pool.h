/* SPDX-License-Identifier: MIT */
/** Memory pools, and which of them is the device's current one. */
#ifndef VGPU_GUEST_POOL_H
#define VGPU_GUEST_POOL_H

#include "guest/process/objects.h"

/** Behind a CUmemoryPool. It is the `owner` of the ranges that come from it. */
struct vgpu_pool {
    struct vgpu_object object;
    bool device; /* the device's own, which is not destroyed */
};

/** The device's pools; `lock` is for both pointers. */
struct vgpu_device_pools {
    pthread_mutex_t lock;
    struct vgpu_pool *own;     /* NULL: nobody has asked for it */
    struct vgpu_pool *current; /* NULL: its own */
};

#endif
