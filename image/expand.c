/* SPDX-License-Identifier: MIT */
/* What is inside of an entry: decompressed, and the PTX that suits a device. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#include <zstd.h>

#include "image/image.h"

static int decompress(const struct vgpu_fatbin_entry *entry, char *out)
{
    size_t size = entry->expanded_bytes;

    if (entry->flags & VGPU_FATBIN_ZSTD)
        return ZSTD_decompress(out, size, entry->payload, entry->payload_bytes) == size ? 0
                                                                                        : -EINVAL;
    if (size > LZ4_MAX_INPUT_SIZE || entry->payload_bytes > INT_MAX)
        return -EINVAL;
    return LZ4_decompress_safe(entry->payload, out, (int)entry->payload_bytes, (int)size) ==
                   (int)size
               ? 0
               : -EINVAL;
}

int vgpu_fatbin_expand(const struct vgpu_fatbin_entry *entry, size_t limit, void **data,
                       size_t *size)
{
    int error = 0;
    char *out;

    if (entry->expanded_bytes > limit || entry->expanded_bytes > VGPU_CODE_MOST_BYTES)
        return -E2BIG;
    out = malloc(entry->expanded_bytes + 1);
    if (!out)
        return -ENOMEM;
    if (entry->flags & (VGPU_FATBIN_LZ4 | VGPU_FATBIN_ZSTD))
        error = decompress(entry, out);
    else
        memcpy(out, entry->payload, entry->payload_bytes);
    if (error < 0) {
        free(out);
        return error;
    }
    out[entry->expanded_bytes] = '\0';
    *data = out;
    *size = entry->expanded_bytes;
    return 0;
}

/* The best entry of one fatbin: 1 found, 0 none, negative errno. */
static int best_entry(const struct vgpu_code_part *part, uint32_t device,
                      struct vgpu_fatbin_entry *best)
{
    struct vgpu_fatbin_walk walk = {.data = part->data, .size = part->size};
    struct vgpu_fatbin_entry entry;
    int found = 0, more;

    while ((more = vgpu_fatbin_next(&walk, &entry)) > 0) {
        if (!vgpu_fatbin_ptx_fits(&entry, device))
            continue;
        if (!found || entry.architecture > best->architecture)
            *best = entry;
        found = 1;
    }
    return more < 0 ? more : found;
}

int vgpu_code_best_ptx(const struct vgpu_code *code, uint32_t device, size_t limit, char **text,
                       size_t *length)
{
    struct vgpu_fatbin_entry entry = {.kind = VGPU_FATBIN_PTX};
    int found = 0;
    void *data;
    size_t size;

    if (code->kind == VGPU_CODE_PTX) {
        entry.payload = code->parts[0].data;
        entry.payload_bytes = entry.expanded_bytes = code->parts[0].size;
        found = 1;
    }
    for (uint32_t i = 0; code->kind == VGPU_CODE_FATBIN && !found && i < code->part_count; i++) {
        found = best_entry(&code->parts[i], device, &entry);
        if (found < 0)
            return found;
    }
    if (!found)
        return -ENOENT;
    found = vgpu_fatbin_expand(&entry, limit, &data, &size);
    if (found < 0)
        return found;
    *text = data;
    *length = strnlen(data, size);
    return 0;
}
