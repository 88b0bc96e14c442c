/* SPDX-License-Identifier: MIT */
/** From descriptions of textures and surfaces to what kernels use. */
#ifndef VGPU_SOFT_DRIVER_TEXTURE_H
#define VGPU_SOFT_DRIVER_TEXTURE_H

#include "soft/driver/memory/array.h"
#include "soft/simt/texture.h"

/**
 * Checks the descriptions and fills in `texture`; `*holder` becomes the array that it reads, with a
 * reference, or NULL. `how` is NULL for a surface; `view` may be NULL. Errors: INVALID_VALUE, and
 * NOT_SUPPORTED for formats of blocks.
 */
CUresult vgpu_texture_describe(const CUDA_RESOURCE_DESC *resource, const CUDA_TEXTURE_DESC *how,
                               const CUDA_RESOURCE_VIEW_DESC *view, struct vgpu_texture *texture,
                               void **holder);

#endif
