/* SPDX-License-Identifier: MIT */
/** Launches of kernels as tasks: what a stream runs and a kernel node does. */
#ifndef VGPU_SOFT_DRIVER_KERNEL_TASK_H
#define VGPU_SOFT_DRIVER_KERNEL_TASK_H

#include "soft/driver/code/module.h"
#include "soft/driver/graph/graph.h"

/**
 * Checks a launch and copies its arguments. `params->func` may be a CUkernel, too; if it is NULL,
 * `kern` is meant, in `ctx` or else in `context`.
 */
CUresult vgpu_kernel_task_create(struct vgpu_context *context,
                                 const CUDA_KERNEL_NODE_PARAMS *params, struct vgpu_task **task);

/** What it was created from. The arguments are the task's. */
void vgpu_kernel_task_params(const struct vgpu_task *task, CUDA_KERNEL_NODE_PARAMS *params);

const struct vgpu_function *vgpu_kernel_task_function(const struct vgpu_task *task);

/** True if it may start before the kernel before it has ended. */
bool vgpu_kernel_task_is_programmatic(const struct vgpu_task *task);

/** Refuses an attribute that would change the meaning of a launch; the rest are wishes. */
CUresult vgpu_launch_attribute_check(CUlaunchAttributeID id, const CUlaunchAttributeValue *value);

/** Gives a node the launch attributes that its kernel was launched with. Graphs' lock held. */
void vgpu_kernel_node_captured(struct vgpu_node *node, int priority);

#endif
