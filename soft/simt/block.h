/* SPDX-License-Identifier: MIT */
/** A host thread's place to run blocks in: memory that is kept from one block to the next. */
#ifndef VGPU_SOFT_BLOCK_H
#define VGPU_SOFT_BLOCK_H

#include <stdatomic.h>

#include "soft/simt/warp.h"

/** What the threads that run one launch share. */
struct vgpu_grid {
    const struct vgpu_launch *launch;
    const struct vgpu_placed_kernel *placed;
    const struct vgpu_function *kernel;
    uint64_t blocks;     /* or clusters of them */
    uint32_t cluster[3]; /* blocks of one along each axis, at least 1 */
    uint64_t id;
    uint64_t workspace;           /* of a cooperative grid; see %envreg1 */
    struct vgpu_meeting *meeting; /* of a cooperative grid, or NULL */
    _Atomic uint64_t next;        /* block to hand out; relaxed: only the number matters */
    _Atomic int stop;             /* set with the fault; relaxed: a hint to stop early */
};

struct vgpu_runner;

/** A runner for the thread numbered `worker` of `worker_count`; NULL when out of memory. */
struct vgpu_runner *vgpu_runner_create(uint32_t worker, uint32_t worker_count);
void vgpu_runner_destroy(struct vgpu_runner *runner);

/** Gets ready for blocks of `grid`. 0 or -ENOMEM. */
int vgpu_runner_begin(struct vgpu_runner *runner, struct vgpu_grid *grid);
/** What the blocks since vgpu_runner_begin() did; NULL unless a profile is wanted. */
const struct vgpu_counts *vgpu_runner_counts(const struct vgpu_runner *runner);
/** Runs block `index`, or all of cluster `index`; 0, or -EFAULT with *fault filled in. */
int vgpu_runner_block(struct vgpu_runner *runner, uint64_t index, struct vgpu_fault *fault);

#endif
