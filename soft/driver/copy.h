/* SPDX-License-Identifier: MIT */
/** Copies and fills: every kind of both is one of a box of rows. */
#ifndef VGPU_SOFT_DRIVER_COPY_H
#define VGPU_SOFT_DRIVER_COPY_H

#include "soft/driver/allocation.h"
#include "soft/driver/stream.h"

/** Where a box of rows lies in memory; all in bytes. */
struct vgpu_place {
    uint64_t address;
    size_t pitch; /* from row to row */
    size_t slice; /* from plane to plane */
    enum vgpu_side side;
};

struct vgpu_box {
    size_t width; /* bytes */
    size_t height;
    size_t depth;
};

/** Checks that all of the box lies in memory that the place's side allows. */
CUresult vgpu_place_check(const struct vgpu_place *place, const struct vgpu_box *box);

/**
 * Copies in order with `stream`. With `wait` it is done on return; otherwise it may be under way,
 * unless the program's own unregistered memory is involved: then the program may use that again.
 */
CUresult vgpu_copy(CUstream stream, const struct vgpu_place *to, const struct vgpu_place *from,
                   const struct vgpu_box *box, bool wait);

#endif
