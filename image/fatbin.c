/* SPDX-License-Identifier: MIT */
#include "image/fatbin.h"

#include <errno.h>

#include "image/bytes.h"
#include "image/image.h"

/* Offsets in the container's header and in that of an entry. */
enum { HEADER_VERSION = 4, HEADER_OWN_SIZE = 6, HEADER_REST = 8, HEADER_BYTES = 16 };
enum {
    ENTRY_KIND = 0,
    ENTRY_OWN_SIZE = 4,
    ENTRY_PADDED_SIZE = 8,
    ENTRY_COMPRESSED_SIZE = 16,
    ENTRY_ARCHITECTURE = 28,
    ENTRY_FLAGS = 40,
    ENTRY_EXPANDED_SIZE = 56,
    ENTRY_BYTES = 64,
};

int vgpu_fatbin_size(const void *data, size_t limit, size_t *size)
{
    uint64_t header, rest;

    if (limit < HEADER_BYTES || vgpu_bytes_get(data, 0, 4) != VGPU_FATBIN_MAGIC ||
        vgpu_bytes_get(data, HEADER_VERSION, 2) != 1)
        return -EINVAL;
    header = vgpu_bytes_get(data, HEADER_OWN_SIZE, 2);
    rest = vgpu_bytes_get(data, HEADER_REST, 8);
    if (header < HEADER_BYTES || !vgpu_bytes_within(header, rest, limit))
        return -EINVAL;
    *size = (size_t)(header + rest);
    return 0;
}

void vgpu_fatbin_make_header(uint8_t *header, uint64_t rest)
{
    const uint32_t magic = VGPU_FATBIN_MAGIC;
    const uint16_t version = 1, own = HEADER_BYTES;

    memcpy(header, &magic, sizeof(magic));
    memcpy(header + HEADER_VERSION, &version, sizeof(version));
    memcpy(header + HEADER_OWN_SIZE, &own, sizeof(own));
    memcpy(header + HEADER_REST, &rest, sizeof(rest));
}

int vgpu_fatbin_next(struct vgpu_fatbin_walk *walk, struct vgpu_fatbin_entry *entry)
{
    const char *data = walk->data;
    uint64_t own, padded, compressed;
    size_t end;

    if (vgpu_fatbin_size(data, walk->size, &end) < 0)
        return -EINVAL;
    if (walk->offset == 0)
        walk->offset = (size_t)vgpu_bytes_get(data, HEADER_OWN_SIZE, 2);
    if (walk->offset == end)
        return 0;
    if (!vgpu_bytes_within(walk->offset, ENTRY_BYTES, end))
        return -EINVAL;
    data += walk->offset;
    own = vgpu_bytes_get(data, ENTRY_OWN_SIZE, 4);
    padded = vgpu_bytes_get(data, ENTRY_PADDED_SIZE, 8);
    compressed = vgpu_bytes_get(data, ENTRY_COMPRESSED_SIZE, 4);
    if (own < ENTRY_BYTES || !vgpu_bytes_within(walk->offset, own, end) ||
        !vgpu_bytes_within(walk->offset + own, padded, end))
        return -EINVAL;
    *entry = (struct vgpu_fatbin_entry){
        .record = data,
        .record_bytes = (size_t)(own + padded),
        .kind = (uint32_t)vgpu_bytes_get(data, ENTRY_KIND, 2),
        .architecture = (uint32_t)vgpu_bytes_get(data, ENTRY_ARCHITECTURE, 4),
        .flags = vgpu_bytes_get(data, ENTRY_FLAGS, 8),
        .payload = data + own,
        .payload_bytes = (size_t)padded,
        .expanded_bytes = (size_t)padded,
    };
    if (entry->flags & (VGPU_FATBIN_LZ4 | VGPU_FATBIN_ZSTD)) {
        if (compressed > padded)
            return -EINVAL;
        entry->payload_bytes = (size_t)compressed;
        entry->expanded_bytes = (size_t)vgpu_bytes_get(data, ENTRY_EXPANDED_SIZE, 8);
    }
    walk->offset += (size_t)(own + padded);
    return 1;
}

bool vgpu_fatbin_ptx_fits(const struct vgpu_fatbin_entry *entry, uint32_t device)
{
    if (entry->kind != VGPU_FATBIN_PTX)
        return false;
    if (entry->flags & VGPU_FATBIN_ARCHITECTURE_SPECIFIC)
        return entry->architecture == device;
    if (entry->flags & VGPU_FATBIN_FAMILY_SPECIFIC)
        return entry->architecture / 10 == device / 10 && entry->architecture <= device;
    return entry->architecture <= device;
}

bool vgpu_fatbin_cubin_fits(const struct vgpu_fatbin_entry *entry, uint32_t device)
{
    if (entry->kind != VGPU_FATBIN_CUBIN)
        return false;
    if (entry->flags & VGPU_FATBIN_ARCHITECTURE_SPECIFIC)
        return entry->architecture == device;
    return entry->architecture / 10 == device / 10 && entry->architecture <= device;
}
