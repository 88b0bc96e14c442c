/* SPDX-License-Identifier: MIT */
/**
 * Device memory that the guest has freed, kept for some milliseconds: programs that allocate and
 * free in turns get the same memory again, which need not be cleared for them, and nobody waits for
 * a driver that gives memory back. It stays charged. What does not fit goes, before the driver is
 * asked for more. For the worker's thread.
 */
#ifndef VGPU_WORKER_RESERVE_H
#define VGPU_WORKER_RESERVE_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

#define VGPU_RESERVE_BLOCKS      16u
#define VGPU_RESERVE_BYTES       ((uint64_t)512 << 20)
#define VGPU_RESERVE_NANOSECONDS 10000000u

struct vgpu_worker;
struct vgpu_context;

struct vgpu_reserve {
    struct vgpu_reserve_block {
        CUdeviceptr address;
        uint64_t bytes;
        const struct vgpu_context *context;
    } blocks[VGPU_RESERVE_BLOCKS]; /* the oldest first */
    uint32_t count;
    uint64_t bytes; /* of all */
};

/** Takes over an allocation of the ledger that the guest has freed, after it has waited for the
 * work that may use it; or frees it. The driver's error, or CUDA_ERROR_INVALID_VALUE: there is
 * none, or it is free already.
 */
CUresult vgpu_reserve_free(struct vgpu_worker *worker, CUdeviceptr address);

/** An allocation of exactly so many bytes of the current context, charged and in the ledger; 0:
 *  there is none. */
CUdeviceptr vgpu_reserve_take(struct vgpu_worker *worker, uint64_t bytes);

/** Whether an address is in memory that is kept. */
bool vgpu_reserve_holds(const struct vgpu_reserve *reserve, CUdeviceptr address);

/** Frees all. */
void vgpu_reserve_empty(struct vgpu_worker *worker);

/** A context goes, and its memory with it. */
void vgpu_reserve_forget(struct vgpu_reserve *reserve, const struct vgpu_context *context);

#endif
