/* SPDX-License-Identifier: MIT */
/** Copies and fills: every kind of both is one of a box of rows. */
#ifndef VGPU_SOFT_DRIVER_COPY_H
#define VGPU_SOFT_DRIVER_COPY_H

#include "soft/driver/memory/allocation.h"
#include "soft/driver/memory/array.h"
#include "soft/driver/stream/stream.h"

/** Where a box of rows lies in memory; all in bytes. */
struct vgpu_place {
    uint64_t address;
    size_t pitch; /* from row to row */
    size_t slice; /* from plane to plane */
    enum vgpu_side side;
    struct vgpu_array *array; /* that it is in, and that bounds it; or NULL */
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

enum vgpu_copy_mode {
    VGPU_COPY_WAIT,  /* it is done on return */
    VGPU_COPY_ASYNC, /* it may be under way, but the program may use its unregistered memory again
                      */
    VGPU_COPY_ORDER, /* it may be under way, and all memory is used in order with the stream */
};

/** Puts the task of a copy at a stream's end and owns it from then on, also on errors. */
CUresult vgpu_copy_submit(struct vgpu_stream *stream, struct vgpu_task *task,
                          enum vgpu_copy_mode mode);

/** Creates and submits. */
CUresult vgpu_copy(const CUDA_MEMCPY3D *copy, CUstream stream, enum vgpu_copy_mode mode);

/** The task of a fill. */
CUresult vgpu_fill_task_create(const CUDA_MEMSET_NODE_PARAMS *fill, struct vgpu_task **task);
void vgpu_fill_task_params(const struct vgpu_task *task, CUDA_MEMSET_NODE_PARAMS *fill);

#endif
