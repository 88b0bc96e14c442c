/* SPDX-License-Identifier: MIT */
#include "worker/code/image_buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void vgpu_image_buffer_clear(struct vgpu_image_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct vgpu_image_buffer){0};
}

int vgpu_image_buffer_append(struct vgpu_image_buffer *buffer, const void *data, size_t bytes)
{
    size_t size;
    int error = 0;
    if (__builtin_add_overflow(buffer->size, bytes, &size) || size > VGPU_IMAGE_MOST_BYTES)
        error = -E2BIG;
    if (error == 0 && size + 1 > buffer->room) {
        /* Doubled, but only as the pieces arrive: nobody gets memory for what he announces. */
        size_t room = size + 1 > buffer->room * 2 ? size + 1 : buffer->room * 2;
        uint8_t *grown = realloc(buffer->bytes, room);
        if (grown == NULL)
            error = -ENOMEM;
        else {
            buffer->bytes = grown;
            buffer->room = room;
        }
    }
    if (error) {
        vgpu_image_buffer_clear(buffer);
        return error;
    }
    memcpy(buffer->bytes + buffer->size, data, bytes);
    buffer->size = size;
    buffer->bytes[size] = 0;
    return 0;
}
