/* SPDX-License-Identifier: MIT */
/** From what a program hands over to a decoded program that modules and libraries share. */
#ifndef VGPU_SOFT_DRIVER_COMPILED_H
#define VGPU_SOFT_DRIVER_COMPILED_H

#include "interop/driver_api.h"
#include "soft/simt/simt.h"

struct vgpu_compiled {
    _Atomic unsigned int references;
    /** NULL if the image has code for GPUs only: it loads, and has no kernel that can be had. */
    struct vgpu_program *program;
};

/**
 * Finds the PTX in `image`, reads it and writes the logs that `options` ask for (they may be
 * none). Errors: INVALID_IMAGE, INVALID_PTX, NO_BINARY_FOR_GPU for a bare cubin, INVALID_VALUE,
 * OUT_OF_MEMORY.
 */
CUresult vgpu_compiled_create(const void *image, unsigned int option_count,
                              const CUjit_option *options, void **values,
                              struct vgpu_compiled **out);

/**
 * What a kernel needs, decoding it if nobody has: what stops that is logged once. Errors:
 * NOT_SUPPORTED, INVALID_PTX, OUT_OF_MEMORY.
 */
CUresult vgpu_compiled_prepare(const struct vgpu_compiled *compiled, uint32_t index,
                               struct vgpu_kernel_needs *needs);

struct vgpu_compiled *vgpu_compiled_share(struct vgpu_compiled *compiled);
void vgpu_compiled_put(struct vgpu_compiled *compiled);

/** Reads a file with a NUL after it that is not counted, for free(). FILE_NOT_FOUND, INVALID_VALUE,
 * INVALID_IMAGE, OUT_OF_MEMORY. */
CUresult vgpu_compiled_read_bytes(const char *path, void **data, size_t *size);

/** The same for an image, which must not claim to be longer than the file. */
CUresult vgpu_compiled_read_file(const char *path, void **image);

#endif
