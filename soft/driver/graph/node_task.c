/* SPDX-License-Identifier: MIT */
#include "soft/driver/graph/node_task.h"

#include "soft/driver/code/kernel_task.h"
#include "soft/driver/graph/graph_memory.h"
#include "soft/driver/memory/copy.h"
#include "soft/driver/stream/batch_task.h"
#include "soft/driver/stream/event.h"
#include "soft/driver/stream/host_function.h"

/* Bytes of the union that a type uses; the rest has to be zero. */
static size_t bytes_of(CUgraphNodeType type)
{
    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        return sizeof(CUDA_KERNEL_NODE_PARAMS_v3);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return sizeof(CUDA_MEMCPY_NODE_PARAMS);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return sizeof(CUDA_MEMSET_NODE_PARAMS_v2);
    case CU_GRAPH_NODE_TYPE_HOST:
        return sizeof(CUDA_HOST_NODE_PARAMS_v2);
    case CU_GRAPH_NODE_TYPE_GRAPH:
        return sizeof(CUDA_CHILD_GRAPH_NODE_PARAMS);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return sizeof(CUDA_EVENT_WAIT_NODE_PARAMS);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return sizeof(CUDA_EVENT_RECORD_NODE_PARAMS);
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_SIGNAL:
        return sizeof(CUDA_EXT_SEM_SIGNAL_NODE_PARAMS_v2);
    case CU_GRAPH_NODE_TYPE_EXT_SEMAS_WAIT:
        return sizeof(CUDA_EXT_SEM_WAIT_NODE_PARAMS_v2);
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        return sizeof(CUDA_MEM_ALLOC_NODE_PARAMS_v2);
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        return sizeof(CUDA_MEM_FREE_NODE_PARAMS);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        return sizeof(CUDA_BATCH_MEM_OP_NODE_PARAMS_v2);
    case CU_GRAPH_NODE_TYPE_CONDITIONAL:
        return sizeof(CUDA_CONDITIONAL_NODE_PARAMS);
    default:
        return 0;
    }
}

CUresult vgpu_node_params_check(const CUgraphNodeParams *params)
{
    const unsigned char *bytes;

    if (!params || (unsigned int)params->type > CU_GRAPH_NODE_TYPE_CONDITIONAL ||
        params->reserved0[0] || params->reserved0[1] || params->reserved0[2] || params->reserved2)
        return CUDA_ERROR_INVALID_VALUE;
    bytes = (const unsigned char *)params->reserved1;
    for (size_t i = bytes_of(params->type); i < sizeof(params->reserved1); i++) {
        if (bytes[i])
            return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}

/* ---- there ---- */

static CUresult create_fill(struct vgpu_context *context, const CUDA_MEMSET_NODE_PARAMS_v2 *fill,
                            struct vgpu_task **task)
{
    CUresult result = fill->ctx ? vgpu_context_named(fill->ctx, &context) : CUDA_SUCCESS;

    if (result != CUDA_SUCCESS)
        return result;
    return vgpu_fill_task_create(&(CUDA_MEMSET_NODE_PARAMS){fill->dst, fill->pitch, fill->value,
                                                            fill->elementSize, fill->width,
                                                            fill->height},
                                 task);
}

static CUresult create_copy(struct vgpu_context *context, const CUDA_MEMCPY_NODE_PARAMS *copy,
                            struct vgpu_task **task)
{
    CUresult result = copy->copyCtx ? vgpu_context_named(copy->copyCtx, &context) : CUDA_SUCCESS;

    if (result == CUDA_SUCCESS && (copy->flags || copy->reserved))
        result = CUDA_ERROR_INVALID_VALUE;
    return result == CUDA_SUCCESS ? vgpu_copy_task_create(&copy->copyParams, task) : result;
}

CUresult vgpu_node_task_create(const CUgraphNodeParams *params, struct vgpu_task **task)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    switch (params->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
        const CUDA_KERNEL_NODE_PARAMS_v3 *kernel = &params->kernel;
        const CUDA_KERNEL_NODE_PARAMS plain = {
            kernel->func,         kernel->gridDimX,  kernel->gridDimY,  kernel->gridDimZ,
            kernel->blockDimX,    kernel->blockDimY, kernel->blockDimZ, kernel->sharedMemBytes,
            kernel->kernelParams, kernel->extra,     kernel->kern,      kernel->ctx};
        return vgpu_kernel_task_create(context, &plain, task);
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        return create_copy(context, &params->memcpy, task);
    case CU_GRAPH_NODE_TYPE_MEMSET:
        return create_fill(context, &params->memset, task);
    case CU_GRAPH_NODE_TYPE_HOST:
        return vgpu_host_task_create(
            &(CUDA_HOST_NODE_PARAMS){params->host.fn, params->host.userData}, task);
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        return vgpu_event_task_create(params->eventWait.event, params->type, task);
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        return vgpu_event_task_create(params->eventRecord.event, params->type, task);
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        return vgpu_batch_task_create(
            &(CUDA_BATCH_MEM_OP_NODE_PARAMS){params->memOp.ctx, params->memOp.count,
                                             params->memOp.paramArray, params->memOp.flags},
            task);
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

/* ---- and back ---- */

void vgpu_node_task_params(CUgraphNodeType type, const struct vgpu_task *task,
                           CUgraphNodeParams *params)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUDA_MEMSET_NODE_PARAMS fill;
    CUDA_HOST_NODE_PARAMS host;
    CUDA_BATCH_MEM_OP_NODE_PARAMS batch;
    CUDA_MEM_ALLOC_NODE_PARAMS alloc;

    *params = (CUgraphNodeParams){.type = type};
    switch (type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        vgpu_kernel_task_params(task, &kernel);
        *params = vgpu_kernel_node_params(&kernel);
        break;
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        vgpu_copy_task_params(task, &params->memcpy.copyParams);
        break;
    case CU_GRAPH_NODE_TYPE_MEMSET:
        vgpu_fill_task_params(task, &fill);
        *params = vgpu_fill_node_params(&fill, NULL);
        break;
    case CU_GRAPH_NODE_TYPE_HOST:
        vgpu_host_task_params(task, &host);
        *params = vgpu_host_node_params(&host);
        break;
    case CU_GRAPH_NODE_TYPE_WAIT_EVENT:
        *params = vgpu_wait_node_params((CUevent)vgpu_event_of_task(task));
        break;
    case CU_GRAPH_NODE_TYPE_EVENT_RECORD:
        *params = vgpu_record_node_params((CUevent)vgpu_event_of_task(task));
        break;
    case CU_GRAPH_NODE_TYPE_BATCH_MEM_OP:
        vgpu_batch_task_params(task, &batch);
        *params = vgpu_batch_node_params(&batch);
        break;
    case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
        vgpu_graph_memory_params(task, &alloc);
        params->alloc = (CUDA_MEM_ALLOC_NODE_PARAMS_v2){
            alloc.poolProps, alloc.accessDescs, alloc.accessDescCount, alloc.bytesize, alloc.dptr};
        break;
    case CU_GRAPH_NODE_TYPE_MEM_FREE:
        vgpu_graph_memory_params(task, &alloc);
        params->free.dptr = alloc.dptr;
        break;
    default:
        break;
    }
}

CUgraphNodeParams vgpu_kernel_node_params(const CUDA_KERNEL_NODE_PARAMS *kernel)
{
    return (CUgraphNodeParams){
        .type = CU_GRAPH_NODE_TYPE_KERNEL,
        .kernel = {kernel->func, kernel->gridDimX, kernel->gridDimY, kernel->gridDimZ,
                   kernel->blockDimX, kernel->blockDimY, kernel->blockDimZ, kernel->sharedMemBytes,
                   kernel->kernelParams, kernel->extra, kernel->kern, kernel->ctx}};
}

CUgraphNodeParams vgpu_kernel_node_params_v1(const CUDA_KERNEL_NODE_PARAMS_v1 *kernel)
{
    return (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_KERNEL,
                               .kernel = {kernel->func, kernel->gridDimX, kernel->gridDimY,
                                          kernel->gridDimZ, kernel->blockDimX, kernel->blockDimY,
                                          kernel->blockDimZ, kernel->sharedMemBytes,
                                          kernel->kernelParams, kernel->extra, NULL, NULL}};
}

CUgraphNodeParams vgpu_copy_node_params(const CUDA_MEMCPY3D *copy, CUcontext context)
{
    return (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_MEMCPY,
                               .memcpy = {.copyCtx = context, .copyParams = *copy}};
}

CUgraphNodeParams vgpu_fill_node_params(const CUDA_MEMSET_NODE_PARAMS_v1 *fill, CUcontext context)
{
    return (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_MEMSET,
                               .memset = {fill->dst, fill->pitch, fill->value, fill->elementSize,
                                          fill->width, fill->height, context}};
}

CUgraphNodeParams vgpu_host_node_params(const CUDA_HOST_NODE_PARAMS_v1 *host)
{
    return (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_HOST, .host = {host->fn, host->userData}};
}

CUgraphNodeParams vgpu_batch_node_params(const CUDA_BATCH_MEM_OP_NODE_PARAMS_v1 *batch)
{
    return (CUgraphNodeParams){
        .type = CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
        .memOp = {batch->ctx, batch->count, batch->paramArray, batch->flags}};
}

CUgraphNodeParams vgpu_child_node_params(CUgraph child)
{
    return (CUgraphNodeParams){
        .type = CU_GRAPH_NODE_TYPE_GRAPH,
        .graph = {.graph = child, .ownership = CU_GRAPH_CHILD_GRAPH_OWNERSHIP_CLONE}};
}

CUgraphNodeParams vgpu_record_node_params(CUevent event)
{
    return (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_EVENT_RECORD, .eventRecord = {event}};
}

CUgraphNodeParams vgpu_wait_node_params(CUevent event)
{
    return (CUgraphNodeParams){.type = CU_GRAPH_NODE_TYPE_WAIT_EVENT, .eventWait = {event}};
}
