/* SPDX-License-Identifier: MIT */
/**
 * Memory pools of the driver. What a pool has reserved is charged to the VM, whether the guest uses
 * it or not. A driver gives memory back when somebody synchronises with it, which a worker never
 * does; so its pools keep what they have until they are trimmed here, in quiet moments and when
 * memory is short. For the worker's thread.
 */
#ifndef VGPU_WORKER_POOL_H
#define VGPU_WORKER_POOL_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#include "worker/memory/spans.h"

struct vgpu_worker;

struct vgpu_pool {
    struct vgpu_pool *next;
    CUmemoryPool object;
    bool device;             /* the device's own, which is not destroyed */
    bool leaving;            /* destroyed by the guest while memory from it is in use */
    uint64_t charged;        /* bytes: what it had reserved when it was last asked */
    uint64_t threshold;      /* bytes that it may keep although they are not used */
    struct vgpu_spans clean; /* what was cleared since the memory became this process's */
};

struct vgpu_pools {
    struct vgpu_pool *first;
    bool untidy;     /* memory was freed since they were last trimmed */
    uint64_t graphs; /* bytes of graphs that ended, which the driver has yet to give up */
};

/** Takes a pool of the driver into the list. CUDA_ERROR_OUT_OF_MEMORY. */
CUresult vgpu_pool_take(struct vgpu_worker *worker, CUmemoryPool object, bool device,
                        struct vgpu_pool **pool);

/** Allocates in a stream's order and charges what the pool grows by. The memory is clear when the
 *  stream gets there. CUDA_ERROR_OUT_OF_MEMORY above the VM's quota. */
CUresult vgpu_pool_allocate(struct vgpu_worker *worker, struct vgpu_pool *pool, uint64_t bytes,
                            CUstream stream, CUdeviceptr *address);

/** Gives back what is not used beyond `keep` bytes. */
CUresult vgpu_pool_trim(struct vgpu_worker *worker, struct vgpu_pool *pool, uint64_t keep);

/** The guest is done with the pool: it ends when no memory from it is in use and nothing runs. */
void vgpu_pool_leave(struct vgpu_worker *worker, struct vgpu_pool *pool);

/** Trims all pools to their thresholds if memory was freed since the last time. */
void vgpu_pools_tidy(struct vgpu_worker *worker);

/** Charges the VM for memory that the driver is to be asked for next; false, and nothing is
 * charged, above its quota. What was freed, and is kept for what fits better, goes first if it is
 * short or could be. */
bool vgpu_pools_charge(struct vgpu_worker *worker, uint64_t bytes);

/** Frees the list; the driver's pools go with the process. */
void vgpu_pools_destroy(struct vgpu_pools *pools);

#endif
