/* SPDX-License-Identifier: MIT */
/** What the driver is asked for when a program encodes a tensor map. */
#ifndef VGPU_PROTOCOL_TENSOR_MAP_H
#define VGPU_PROTOCOL_TENSOR_MAP_H

#include <assert.h>
#include <cuda.h>
#include <stdint.h>

#define VGPU_TENSOR_RANK_MAX 5u

enum vgpu_tensor_map_kind {
    VGPU_TENSOR_MAP_TILED = 1,
    VGPU_TENSOR_MAP_IM2COL,
    VGPU_TENSOR_MAP_IM2COL_WIDE,
    VGPU_TENSOR_MAP_REPLACE, /* only `address` and `map` count */
};

/** Arrays are as long as the rank says (strides: one less; corners: two less); the rest is 0. */
struct vgpu_tensor_map_question {
    uint32_t kind; /* enum vgpu_tensor_map_kind */
    uint32_t type;
    uint32_t rank;
    uint32_t interleave;
    uint64_t address;
    uint64_t dimension[VGPU_TENSOR_RANK_MAX];
    uint64_t stride[VGPU_TENSOR_RANK_MAX];
    uint32_t box[VGPU_TENSOR_RANK_MAX]; /* tiled only */
    uint32_t element_stride[VGPU_TENSOR_RANK_MAX];
    int32_t lower[VGPU_TENSOR_RANK_MAX]; /* corners; the wide kind has one */
    int32_t upper[VGPU_TENSOR_RANK_MAX];
    uint32_t channels;
    uint32_t pixels;
    uint32_t mode; /* wide only */
    uint32_t swizzle;
    uint32_t promotion;
    uint32_t fill;
    uint64_t map[CU_TENSOR_MAP_NUM_QWORDS];
};

static_assert(sizeof(struct vgpu_tensor_map_question) == 336, "wire layout");

#endif
