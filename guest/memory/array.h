/* SPDX-License-Identifier: MIT */
/** Behind a CUarray. What is linear or in a mipmapped array is said by its description. */
#ifndef VGPU_GUEST_ARRAY_H
#define VGPU_GUEST_ARRAY_H

#include "interop/driver_api.h"

#include <stdbool.h>

#include "guest/process/objects.h"

enum {
    VGPU_ARRAY_PLANES = 3,
    VGPU_ARRAY_LEVELS = 32, /* each is half as large as the one before */
};

struct vgpu_array {
    struct vgpu_object object;
    CUDA_ARRAY3D_DESCRIPTOR is;
    uint32_t block_side;  /* elements: it is made of blocks of that many times that many */
    uint32_t block_bytes; /* 0: not known here */
    bool part;            /* a plane or a level, which goes with the whole */
    struct vgpu_array *planes[VGPU_ARRAY_PLANES]; /* those that were asked for */
};

/** Behind a CUmipmappedArray. */
struct vgpu_mipmap {
    struct vgpu_object object;
    CUDA_ARRAY3D_DESCRIPTOR is;
    uint32_t block_side, block_bytes;             /* as in an array */
    struct vgpu_array *levels[VGPU_ARRAY_LEVELS]; /* those that were asked for */
};

/** A box in an array: bytes, rows of blocks and planes. */
struct vgpu_array_box {
    size_t x, y, z, width, height, depth;
};

/** True if the box is known to be in the array. */
bool vgpu_array_holds(const struct vgpu_array *array, const struct vgpu_array_box *box);

#endif
