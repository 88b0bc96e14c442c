/* SPDX-License-Identifier: MIT */
/** Stream-ordered allocation: one pool per device, which keeps nothing. */
#ifndef VGPU_SOFT_DRIVER_POOL_H
#define VGPU_SOFT_DRIVER_POOL_H

#include "soft/driver/driver.h"

/** The default pool of a device; lives as long as the process. NULL if out of memory. */
struct vgpu_pool *vgpu_pool_create_default(struct vgpu_device *device);

#endif
