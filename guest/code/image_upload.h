/* SPDX-License-Identifier: MIT */
/** Images on their way to the host. */
#ifndef VGPU_GUEST_IMAGE_UPLOAD_H
#define VGPU_GUEST_IMAGE_UPLOAD_H

#include "interop/driver_api.h"
#include <stddef.h>

#include "image/hash.h"

struct vgpu_channel;

struct vgpu_image_source {
    const void *image;
    size_t limit; /* bytes that may be read there, or VGPU_CODE_UNBOUNDED */
};

/** Sends the call that loads an image: with its hash, or none (0 bytes) if it is not worth one. */
typedef CUresult vgpu_image_loader(struct vgpu_channel *channel, const struct vgpu_image_hash *hash,
                                   size_t hash_bytes, void *data);

/**
 * Has an image loaded: asks for it by its hash, and sends what the GPU can use of it only if the
 * host has it not. `load` is called under the process's image_lock, perhaps twice.
 * CUDA_ERROR_INVALID_IMAGE, OUT_OF_MEMORY, or what `load` says.
 */
CUresult vgpu_image_load(const struct vgpu_image_source *source, struct vgpu_channel *channel,
                         vgpu_image_loader *load, void *data);

/** Sends bytes as they are, for the call that must follow under the process's image_lock. */
CUresult vgpu_image_send(struct vgpu_channel *channel, const void *data, size_t bytes);

/** Reads a file into new memory with a NUL behind it. CUDA_ERROR_FILE_NOT_FOUND, OUT_OF_MEMORY. */
CUresult vgpu_image_read(const char *path, char **data, size_t *bytes);

#endif
