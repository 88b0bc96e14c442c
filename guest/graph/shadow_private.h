/* SPDX-License-Identifier: MIT */
/** What a shadow is, for those who make shadows and those who launch with them. */
#ifndef VGPU_GUEST_SHADOW_PRIVATE_H
#define VGPU_GUEST_SHADOW_PRIVATE_H

#include "guest/graph/shadow.h"

struct vgpu_shadow {
    uint32_t references; /* atomic */
    struct vgpu_shadow_shape shape;
    char *memory;
    size_t bytes;
    /* What the program's memory is known to hold, or NULL: with the lock of the runs. */
    char *known;
};

/** Whether a set has a shadow: its use, or NULL. */
struct vgpu_shadow_use *vgpu_shadow_set_find(const struct vgpu_shadow_set *set,
                                             const struct vgpu_shadow *shadow);

#endif
