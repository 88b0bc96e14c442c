/* SPDX-License-Identifier: MIT */
/** From what a program says of a node to what the node does, and back. */
#ifndef VGPU_SOFT_DRIVER_NODE_TASK_H
#define VGPU_SOFT_DRIVER_NODE_TASK_H

#include "soft/driver/graph/graph.h"

/** Whether the unused bytes are zero, as they have to be; INVALID_VALUE if not, or if NULL. */
CUresult vgpu_node_params_check(const CUgraphNodeParams *params);

/**
 * The task of a node of a type that has one: kernels, copies, fills, host functions, events,
 * batches. NOT_SUPPORTED for other types. Called without the graphs' lock.
 */
CUresult vgpu_node_task_create(const CUgraphNodeParams *params, struct vgpu_task **task);

/** What a node of such a type does. Pointers are the task's. */
void vgpu_node_task_params(CUgraphNodeType type, const struct vgpu_task *task,
                           CUgraphNodeParams *params);

/** Type and parameters of each older call. */
CUgraphNodeParams vgpu_kernel_node_params(const CUDA_KERNEL_NODE_PARAMS *kernel);
CUgraphNodeParams vgpu_kernel_node_params_v1(const CUDA_KERNEL_NODE_PARAMS_v1 *kernel);
CUgraphNodeParams vgpu_copy_node_params(const CUDA_MEMCPY3D *copy, CUcontext context);
CUgraphNodeParams vgpu_fill_node_params(const CUDA_MEMSET_NODE_PARAMS_v1 *fill, CUcontext context);
CUgraphNodeParams vgpu_host_node_params(const CUDA_HOST_NODE_PARAMS_v1 *host);
CUgraphNodeParams vgpu_batch_node_params(const CUDA_BATCH_MEM_OP_NODE_PARAMS_v1 *batch);
CUgraphNodeParams vgpu_child_node_params(CUgraph child);
CUgraphNodeParams vgpu_record_node_params(CUevent event);
CUgraphNodeParams vgpu_wait_node_params(CUevent event);

#endif
