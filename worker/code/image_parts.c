/* SPDX-License-Identifier: MIT */
#include "worker/code/image_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WRAPPER_MAGIC    0x466243b1u
#define WRAPPER_LINKED   2u
#define FATBIN_ALIGNMENT 8u

static bool mentions_printing(const void *code, size_t bytes)
{
    return memmem(code, bytes, "vprintf", 7) != NULL;
}

/* Every entry of a fatbin must be whole; on the way it shows whether one prints. */
static int check_fatbin(const struct vgpu_code_part *part, bool *prints)
{
    struct vgpu_fatbin_walk walk = {.data = part->data, .size = part->size};
    struct vgpu_fatbin_entry entry;
    int more;
    while ((more = vgpu_fatbin_next(&walk, &entry)) > 0) {
        void *code;
        size_t bytes;
        if (entry.kind != VGPU_FATBIN_PTX && entry.kind != VGPU_FATBIN_CUBIN)
            continue;
        int error = vgpu_fatbin_expand(&entry, VGPU_IMAGE_MOST_BYTES, &code, &bytes);
        if (error)
            return error;
        *prints |= mentions_printing(code, bytes);
        free(code);
    }
    return more;
}

static int check(const struct vgpu_code *code, bool *prints)
{
    if (code->kind == VGPU_CODE_FATBIN)
        return check_fatbin(&code->parts[0], prints);
    *prints |= mentions_printing(code->parts[0].data, code->parts[0].size);
    return 0;
}

/* Text needs no terminator of its own: the byte behind the image is ours and 0. To anything else
 * that byte does not belong. */
static int find(const uint8_t *bytes, size_t size, struct vgpu_code *code)
{
    if (vgpu_code_find(bytes, size, code) == 0)
        return 0;
    int error = vgpu_code_find(bytes, size + 1, code);
    return error == 0 && code->kind != VGPU_CODE_PTX ? -EINVAL : error;
}

int vgpu_image_parts_find(struct vgpu_image_parts *parts, const struct vgpu_image_buffer *buffer)
{
    struct vgpu_code code;
    size_t count = 0;
    memset(parts, 0, sizeof(*parts));
    if (buffer->size == 0)
        return -EINVAL;
    for (size_t at = 0; at < buffer->size; at += code.parts[0].size) {
        int error = find(buffer->bytes + at, buffer->size - at, &code);
        if (error == 0 && code.kind != VGPU_CODE_PTX && code.parts[0].size > buffer->size - at)
            error = -EINVAL;
        if (error == 0)
            error = check(&code, &parts->prints);
        if (error)
            return error;
        if (count == VGPU_CODE_PARTS)
            return -E2BIG;
        if (count > 0 && (code.kind != VGPU_CODE_FATBIN || at % FATBIN_ALIGNMENT != 0))
            return -EINVAL;
        if (count > 0)
            parts->linked[count - 1] = buffer->bytes + at;
        count++;
        if (code.kind != VGPU_CODE_FATBIN)
            break; /* only fatbins come in several */
    }
    parts->image = buffer->bytes;
    if (count > 1) {
        parts->wrapper.magic = WRAPPER_MAGIC;
        parts->wrapper.version = WRAPPER_LINKED;
        parts->wrapper.fatbin = buffer->bytes;
        parts->wrapper.linked = parts->linked;
        parts->image = &parts->wrapper;
    }
    return 0;
}
