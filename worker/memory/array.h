/* SPDX-License-Identifier: MIT */
/** How large arrays are, and how they are cleared. */
#ifndef VGPU_WORKER_ARRAY_H
#define VGPU_WORKER_ARRAY_H

#include <cuda.h>
#include <stdbool.h>
#include <stdint.h>

struct vgpu_worker;

/** The bytes of an array, without what the driver adds to align it; of a mipmapped one (`levels`
 *  is not 0) those of all levels. False: no such format, or more bytes than there can be. */
bool vgpu_array_bytes(const CUDA_ARRAY3D_DESCRIPTOR *array, uint32_t levels, uint64_t *bytes);

/** What an array is made of: blocks of `side` times `side` elements. 0 bytes if it lies in several
 *  planes, which are arrays by themselves. */
void vgpu_array_blocks(const CUDA_ARRAY3D_DESCRIPTOR *array, uint32_t *side, uint32_t *bytes);

/** Clears an array of the current context, which may have been another VM's memory, and returns
 *  when that is done. The software GPU clears by itself. */
CUresult vgpu_array_clear(struct vgpu_worker *worker, CUarray array);

#endif
