/* SPDX-License-Identifier: MIT */
/** Waiting for values in memory and writing them: what streams and nodes of graphs do in batches.
 */
#ifndef VGPU_SOFT_DRIVER_BATCH_TASK_H
#define VGPU_SOFT_DRIVER_BATCH_TASK_H

#include "soft/driver/stream/stream.h"

/** Checks and copies the operations. Errors: INVALID_VALUE, NOT_SUPPORTED, OUT_OF_MEMORY. */
CUresult vgpu_batch_task_create(const CUDA_BATCH_MEM_OP_NODE_PARAMS *batch,
                                struct vgpu_task **task);

/** What it was created from; the operations are the task's. */
void vgpu_batch_task_params(const struct vgpu_task *task, CUDA_BATCH_MEM_OP_NODE_PARAMS *batch);

/** False if its first operation would have to wait. */
bool vgpu_batch_task_is_ready(const struct vgpu_task *task);

#endif
