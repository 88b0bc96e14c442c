/* SPDX-License-Identifier: MIT */
/** Links under way. For the worker's thread. */
#ifndef VGPU_WORKER_LINKER_H
#define VGPU_WORKER_LINKER_H

#include "worker/code/jit.h"

struct vgpu_context;
struct vgpu_worker;

struct vgpu_linker {
    struct vgpu_linker *next; /* of the worker's */
    const struct vgpu_context *context;
    CUlinkState state;
    struct vgpu_jit jit; /* the driver writes into it until the link is destroyed */
};

/** Destroys those that were made in a context which ends. */
void vgpu_linkers_end(struct vgpu_worker *worker, const struct vgpu_context *context);

#endif
