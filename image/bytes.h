/* SPDX-License-Identifier: MIT */
/** Bounded reads of little-endian integers from bytes of any origin and alignment. */
#ifndef VGPU_IMAGE_BYTES_H
#define VGPU_IMAGE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** True if `size` bytes at `offset` lie within `limit`. */
static inline bool vgpu_bytes_within(uint64_t offset, uint64_t size, uint64_t limit)
{
    return offset <= limit && size <= limit - offset;
}

/** The caller has checked that `size` (1 to 8) bytes may be read at `data + offset`. */
static inline uint64_t vgpu_bytes_get(const void *data, size_t offset, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, (const uint8_t *)data + offset, size);
    return value;
}

/** True if the bytes begin with `magic`; reads none behind the first that differs, because what a
 *  program passes as an image may be a shorter string. */
static inline bool vgpu_bytes_begin(const void *data, uint32_t magic)
{
    const uint8_t *bytes = data;

    for (unsigned i = 0; i < sizeof(magic); i++) {
        if (bytes[i] != (uint8_t)(magic >> 8 * i))
            return false;
    }
    return true;
}

#endif
