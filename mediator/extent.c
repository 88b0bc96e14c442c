/* SPDX-License-Identifier: MIT */
#include "mediator/extent.h"

#include <errno.h>
#include <stdlib.h>

#include "protocol/window.h"

#define ALIGNMENT_MASK ((uint64_t)VGPU_EXTENT_ALIGNMENT - 1)

void vgpu_extents_init(struct vgpu_extents *extents, uint64_t first, uint64_t end)
{
    if (__builtin_add_overflow(first, ALIGNMENT_MASK, &first))
        first = UINT64_MAX;
    extents->first = first & ~ALIGNMENT_MASK;
    extents->end = end & ~ALIGNMENT_MASK;
    extents->taken = NULL;
}

void vgpu_extents_clear(struct vgpu_extents *extents)
{
    while (extents->taken) {
        struct vgpu_extent *extent = extents->taken;

        extents->taken = extent->next;
        free(extent);
    }
}

int vgpu_extent_take(struct vgpu_extents *extents, uint64_t size, uint64_t *offset)
{
    struct vgpu_extent **place = &extents->taken;
    uint64_t start = extents->first;
    struct vgpu_extent *extent;

    if (size == 0)
        return -EINVAL;
    if (__builtin_add_overflow(size, ALIGNMENT_MASK, &size))
        return -ENOSPC;
    size &= ~ALIGNMENT_MASK;
    while (*place && (*place)->offset - start < size) {
        start = (*place)->offset + (*place)->size;
        place = &(*place)->next;
    }
    if (!*place && (start > extents->end || extents->end - start < size))
        return -ENOSPC;
    extent = malloc(sizeof(*extent));
    if (!extent)
        return -ENOMEM;
    *extent = (struct vgpu_extent){.next = *place, .offset = start, .size = size};
    *place = extent;
    *offset = start;
    return 0;
}

int vgpu_extent_put(struct vgpu_extents *extents, uint64_t offset)
{
    for (struct vgpu_extent **place = &extents->taken; *place; place = &(*place)->next) {
        if ((*place)->offset == offset) {
            struct vgpu_extent *extent = *place;

            *place = extent->next;
            free(extent);
            return 0;
        }
    }
    return -ENOENT;
}
