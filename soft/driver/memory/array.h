/* SPDX-License-Identifier: MIT */
/**
 * Arrays: boxes of elements in device memory that programs reach by copies, textures and surfaces
 * only. Here their rows simply lie one after the other.
 */
#ifndef VGPU_SOFT_DRIVER_ARRAY_H
#define VGPU_SOFT_DRIVER_ARRAY_H

#include "soft/driver/context.h"

enum { VGPU_ARRAY_LEVELS = 17 /* of the largest extent */ };

struct vgpu_array {
    struct vgpu_object object;
    struct vgpu_device *device;
    CUDA_ARRAY3D_DESCRIPTOR descriptor;
    struct vgpu_mipmapped_array *whole; /* whose level this is, and whose the memory is; or NULL */
    uint64_t address;
    size_t element; /* bytes */
    size_t row;     /* bytes of elements in a row */
    size_t rows;    /* at least 1 */
    size_t planes;  /* layers too; at least 1 */
    size_t pitch;   /* bytes from row to row */
    size_t slice;   /* bytes from plane to plane */
};

struct vgpu_mipmapped_array {
    struct vgpu_object object;
    struct vgpu_device *device;
    CUDA_ARRAY3D_DESCRIPTOR descriptor;
    uint64_t address;
    uint32_t level_count;
    struct vgpu_array *levels[VGPU_ARRAY_LEVELS];
};

/** Bytes of one element, or 0 if there is no such format. */
size_t vgpu_format_bytes(CUarray_format format, unsigned int channels);

/** An array by its handle, with a reference: INVALID_HANDLE and what vgpu_context_enter() says. */
CUresult vgpu_array_take(CUarray handle, struct vgpu_array **array);
CUresult vgpu_mipmapped_array_take(CUmipmappedArray handle, struct vgpu_mipmapped_array **array);

#endif
