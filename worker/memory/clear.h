/* SPDX-License-Identifier: MIT */
/** Memory that comes to a VM may have been another's: it is cleared before it is given out. */
#ifndef VGPU_WORKER_CLEAR_H
#define VGPU_WORKER_CLEAR_H

#include <cuda.h>
#include <stdint.h>

struct vgpu_worker;

/**
 * The stream on which memory is cleared: the one into which the program launches its kernels, if it
 * is idle or becomes so within 2 ms, else our own of the current context. An H200 takes up to 12 %
 * longer for graphs of small kernels, for as long as the process lives, once kernels, as the driver
 * clears by, have run in streams that the program does not use.
 */
CUresult vgpu_clear_stream(struct vgpu_worker *worker, CUstream *stream);

/**
 * Posts the clearing of memory to a stream. Zeros that nobody will read soon shall not stay in the
 * GPU's cache: kernels whose loads are marked as streaming would not get room there again, until
 * something else has pushed the zeros out (a product with a matrix that fits the cache took 20 %
 * longer, for as long as the program ran). The stream's attributes are as before afterwards.
 */
CUresult vgpu_clear_in(struct vgpu_worker *worker, CUdeviceptr address, uint64_t bytes,
                       CUstream stream);

/** Counts what is cleared in another way. */
void vgpu_clear_count(struct vgpu_worker *worker, uint64_t bytes);

/**
 * Clears memory that the current context can write, on vgpu_clear_stream(), and returns when that
 * is done: about 0.3 ms a GiB on a data centre GPU, and the wait for kernels that occupy it. The
 * software GPU clears by itself.
 */
CUresult vgpu_clear(struct vgpu_worker *worker, CUdeviceptr address, uint64_t bytes);

/** The same for physical memory that is mapped nowhere, in any context or none. `bytes` is a
 *  multiple of the driver's granularity. */
CUresult vgpu_clear_physical(struct vgpu_worker *worker, CUmemGenericAllocationHandle physical,
                             uint64_t bytes);

#endif
