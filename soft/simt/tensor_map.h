/* SPDX-License-Identifier: MIT */
/**
 * A tensor in memory and the box of it that a copy is of: what a CUtensorMap holds here. The driver
 * makes it; kernels may have written anything there, so what a copy uses of it is checked.
 */
#ifndef VGPU_SOFT_TENSOR_MAP_H
#define VGPU_SOFT_TENSOR_MAP_H

#include <stdint.h>

#define VGPU_TENSOR_MAP_MAGIC UINT32_C(0x70616d74)
#define VGPU_TENSOR_RANK      5

#define VGPU_TENSOR_PLAIN 255

/**
 * How 16 bytes of shared memory are exchanged, so that columns are in several banks: within a span
 * of so many bytes, which each row of a box takes, also where the row itself is shorter.
 */
enum vgpu_tensor_swizzle {
    VGPU_SWIZZLE_NONE,
    VGPU_SWIZZLE_32,
    VGPU_SWIZZLE_64,
    VGPU_SWIZZLE_128,
};

struct vgpu_tensor_map {
    uint32_t magic;
    uint8_t rank;    /* 1 to 5 */
    uint8_t element; /* bytes: 1, 2, 4 or 8 */
    uint8_t type;    /* enum vgpu_reduction_type, or VGPU_TENSOR_PLAIN: nothing is reduced of it */
    uint8_t swizzle; /* enum vgpu_tensor_swizzle */
    uint64_t fill;   /* bits of an element beyond the tensor */
    uint64_t address;
    uint64_t stride[VGPU_TENSOR_RANK - 1]; /* bytes, of the dimensions but the first */
    uint32_t last[VGPU_TENSOR_RANK];       /* index of the last element */
    uint16_t box[VGPU_TENSOR_RANK];        /* 1 to 256 elements */
    uint16_t step[VGPU_TENSOR_RANK];       /* 1 to 8: every such element of the box */
};

/** Bytes of shared memory that 16 bytes are exchanged within; 0: they are not. */
static inline uint32_t vgpu_tensor_span(uint8_t swizzle)
{
    return swizzle != VGPU_SWIZZLE_NONE ? 16u << swizzle : 0;
}

/** Bytes of a CUtensorMap. */
#define VGPU_TENSOR_MAP_BYTES 128u
_Static_assert(sizeof(struct vgpu_tensor_map) <= VGPU_TENSOR_MAP_BYTES, "it has to fit");

/** What handlers are told in x: to shared memory, from it, or, with an operation added, reduced. */
enum vgpu_tensor_copy { VGPU_TENSOR_LOAD, VGPU_TENSOR_STORE, VGPU_TENSOR_REDUCE };

#endif
