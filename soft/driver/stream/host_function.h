/* SPDX-License-Identifier: MIT */
/** The program's functions that the driver calls. */
#ifndef VGPU_SOFT_DRIVER_HOST_FUNCTION_H
#define VGPU_SOFT_DRIVER_HOST_FUNCTION_H

#include "soft/driver/stream/stream.h"

/** Calls it in this thread, where the driver refuses calls meanwhile. */
void vgpu_call_host(CUhostFn function, void *data);

/** Errors: INVALID_VALUE, OUT_OF_MEMORY. */
CUresult vgpu_host_task_create(const CUDA_HOST_NODE_PARAMS *params, struct vgpu_task **task);
void vgpu_host_task_params(const struct vgpu_task *task, CUDA_HOST_NODE_PARAMS *params);

#endif
