/* SPDX-License-Identifier: MIT */
/** Which parts of a window are taken. The list is private: nothing of it lies in the window. */
#ifndef VGPU_MEDIATOR_EXTENT_H
#define VGPU_MEDIATOR_EXTENT_H

#include <stdint.h>

struct vgpu_extent {
    struct vgpu_extent *next; /* the next higher one */
    uint64_t offset;          /* bytes, multiple of VGPU_EXTENT_ALIGNMENT */
    uint64_t size;            /* bytes, multiple of VGPU_EXTENT_ALIGNMENT */
};

struct vgpu_extents {
    uint64_t first; /* lowest offset that may be handed out */
    uint64_t end;   /* first byte that may not */
    struct vgpu_extent *taken;
};

/** Both bounds are brought to multiples of VGPU_EXTENT_ALIGNMENT inside first..end. */
void vgpu_extents_init(struct vgpu_extents *extents, uint64_t first, uint64_t end);
void vgpu_extents_clear(struct vgpu_extents *extents);

/** First fit; `size` is rounded up. Returns 0, -EINVAL (size 0), -ENOSPC or -ENOMEM. */
int vgpu_extent_take(struct vgpu_extents *extents, uint64_t size, uint64_t *offset);

/** Returns 0, or -ENOENT if no extent starts at `offset`. */
int vgpu_extent_put(struct vgpu_extents *extents, uint64_t offset);

#endif
