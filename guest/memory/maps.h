/* SPDX-License-Identifier: MIT */
/** What this process has mapped where, as the kernel tells it (/proc/self/maps). */
#ifndef VGPU_GUEST_MAPS_H
#define VGPU_GUEST_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vgpu_mapping {
    uintptr_t start, end;
    int protection; /* PROT_... */
    bool shared, stack;
    uint64_t offset;        /* in the file */
    uint64_t device, inode; /* of the file, as stat tells them; 0: there is none */
};

/** A walk in order of addresses. The mappings it has passed may change meanwhile. */
struct vgpu_maps {
    int file;
    size_t at, filled;
    char text[4096];
};

/** Returns 0 or a negative errno: no descriptor is free, or no /proc is mounted here. */
int vgpu_maps_open(struct vgpu_maps *maps);

/** The next mapping; false if there are no more. */
bool vgpu_maps_next(struct vgpu_maps *maps, struct vgpu_mapping *mapping);

void vgpu_maps_close(struct vgpu_maps *maps);

#endif
