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
 * The task of a copy, as a graph's node has it, too: pageable memory is used when the task runs.
 * All kinds of copies are described as 3D ones.
 */
CUresult vgpu_copy_task_create(const CUDA_MEMCPY3D *copy, struct vgpu_task **task);
/** What it was created from. */
void vgpu_copy_task_params(const struct vgpu_task *task, CUDA_MEMCPY3D *copy);

/** The same for a fill. */
CUresult vgpu_fill_task_create(const CUDA_MEMSET_NODE_PARAMS *fill, struct vgpu_task **task);
void vgpu_fill_task_params(const struct vgpu_task *task, CUDA_MEMSET_NODE_PARAMS *fill);

#endif
