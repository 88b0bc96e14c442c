/* SPDX-License-Identifier: MIT */
/** Behind a CUarray. What is linear or in a mipmapped array is said by its description. */
#ifndef VGPU_GUEST_ARRAY_H
#define VGPU_GUEST_ARRAY_H

#include "interop/driver_api.h"

#include <stdbool.h>

#include "guest/objects.h"

enum {
    VGPU_ARRAY_PLANES = 3,
    VGPU_ARRAY_LEVELS = 32, /* each is half as large as the one before */
};

struct vgpu_array {
    struct vgpu_object object;
    CUDA_ARRAY3D_DESCRIPTOR is;
    bool part; /* a plane or a level, which goes with the whole */
    struct vgpu_array *planes[VGPU_ARRAY_PLANES]; /* those that were asked for */
};

/** Behind a CUmipmappedArray. */
struct vgpu_mipmap {
    struct vgpu_object object;
    CUDA_ARRAY3D_DESCRIPTOR is;
    struct vgpu_array *levels[VGPU_ARRAY_LEVELS]; /* those that were asked for */
};

#endif
