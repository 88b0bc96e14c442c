/* SPDX-License-Identifier: MIT */
/** The image that the guest is sending, piece by piece; a private copy. For the worker's thread. */
#ifndef VGPU_WORKER_IMAGE_BUFFER_H
#define VGPU_WORKER_IMAGE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#define VGPU_IMAGE_MOST_BYTES ((size_t)1 << 30)

struct vgpu_image_buffer {
    uint8_t *bytes; /* size of them, and one that is 0 */
    size_t size, room;
};

void vgpu_image_buffer_clear(struct vgpu_image_buffer *buffer);

/** Returns 0, -E2BIG above VGPU_IMAGE_MOST_BYTES, or -ENOMEM; after an error it is empty. */
int vgpu_image_buffer_append(struct vgpu_image_buffer *buffer, const void *data, size_t bytes);

#endif
