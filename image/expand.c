/* SPDX-License-Identifier: MIT */
/* What is inside of an entry, decompressed. */
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
