/* SPDX-License-Identifier: MIT */
/**
 * The pool of host threads that run blocks, one per processor. A thread takes the next block of a
 * launch when it is done with one, so that all of them are busy whatever blocks cost, and blocks
 * start in ascending order, which kernels that look back at earlier blocks rely on. The thread that
 * launches is one of those that run it. Launches that are under way at the same time share the
 * others evenly: threads change from one to another between two blocks.
 */
#ifndef VGPU_SOFT_POOL_H
#define VGPU_SOFT_POOL_H

#include "soft/simt/block.h"

/** A launch under way. Zero but for grid's launch, placed, kernel and blocks when it begins. */
struct vgpu_job {
    struct vgpu_grid grid;
    struct vgpu_fault fault; /* of the first failure */
    int error;
    /* The pool's, under its lock. */
    struct vgpu_job *next;
    uint32_t working; /* pool threads in it */
    uint32_t parting; /* those of them that have no more to do there */
    uint32_t wanted;  /* pool threads that may still join */
    uint32_t most;    /* pool threads that are of use */
    /* Pool threads that should go elsewhere. Relaxed: it is looked at again with the lock. */
    _Atomic int leaving;
};

/** Runs all blocks on the pool and the calling thread; the result is in `error` and `fault`. */
void vgpu_pool_run(struct vgpu_job *job);

/** Gives a job that is run in another way its number. */
void vgpu_pool_number(struct vgpu_job *job);

/** How many processors this process may use. */
uint32_t vgpu_pool_processors(void);

/**
 * Runs blocks of a job until there are none, or, for a thread of the pool, until it is wanted
 * elsewhere: then true. Any thread with a runner of its own.
 */
bool vgpu_job_run(struct vgpu_job *job, struct vgpu_runner *runner, bool of_the_pool);

/** Notes a failure, the first of which counts, and stops the other blocks. */
void vgpu_job_fail(struct vgpu_job *job, int error, const struct vgpu_fault *fault);

#endif
