/* SPDX-License-Identifier: MIT */
/** The payload of vgpuCopyBox: rows and planes from one place to another, as CUDA_MEMCPY3D. */
#ifndef VGPU_PROTOCOL_COPY_H
#define VGPU_PROTOCOL_COPY_H

#include <assert.h>
#include <stdint.h>

enum vgpu_side_kind {
    VGPU_SIDE_DEVICE = 0,  /* at a device pointer */
    VGPU_SIDE_SHARED = 1,  /* of the host, at the address that it has on both sides */
    VGPU_SIDE_STAGING = 2, /* in the channel's staging area, packed: `address` is the offset */
    VGPU_SIDE_ARRAY = 3,   /* in a CUDA array */
};

/** Where a box begins, and how it lies there. */
struct vgpu_box_side {
    uint32_t kind;    /* enum vgpu_side_kind */
    uint32_t array;   /* handle id */
    uint64_t address; /* of the first byte */
    uint64_t pitch;   /* bytes from row to row; of no array */
    uint64_t height;  /* rows from plane to plane; of no array */
    uint64_t x, y, z; /* in an array: bytes, rows, planes */
};

struct vgpu_box {
    uint64_t width; /* bytes */
    uint64_t height;
    uint64_t depth;
    struct vgpu_box_side source;
    struct vgpu_box_side destination;
};

static_assert(sizeof(struct vgpu_box_side) == 56, "wire format");
static_assert(sizeof(struct vgpu_box) == 136, "wire format");

#endif
