/* SPDX-License-Identifier: MIT */
/* Kernel launches: the parameter block where it is, the attributes with the events they name. */
#include <string.h>

#include "protocol/launch.h"
#include "worker/context.h"
#include "worker/worker.h"

static CUresult find_event(struct vgpu_worker *worker, CUevent *event)
{
    uint64_t id = (uintptr_t)*event; /* see protocol/launch.h */
    void *object;
    if (id >= VGPU_HANDLE_MAX)
        return CUDA_ERROR_INVALID_HANDLE;
    CUresult error = vgpu_handles_find(worker, VGPU_KIND_EVENT, (uint32_t)id, &object);
    if (error == CUDA_SUCCESS)
        *event = object;
    return error;
}

static CUresult copy_attributes(struct vgpu_worker *worker, const uint8_t *bytes, uint32_t size,
                                CUlaunchAttribute *attributes, unsigned int *count)
{
    CUresult error = CUDA_SUCCESS;
    *count = size / sizeof(*attributes);
    if (size % sizeof(*attributes) != 0 || *count > VGPU_LAUNCH_ATTRIBUTES_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(attributes, bytes, size);
    for (unsigned int i = 0; i < *count && error == CUDA_SUCCESS; i++) {
        CUevent *event = vgpu_launch_attribute_event(&attributes[i]);
        if (event)
            error = find_event(worker, event);
        else if (!vgpu_launch_attribute_crosses(attributes[i].id))
            error = CUDA_ERROR_INVALID_VALUE;
    }
    return error;
}

static CUresult launch_with_attributes(struct vgpu_worker *worker,
                                       const struct vgpu_call_vgpuLaunch *call)
{
    CUlaunchAttribute attributes[VGPU_LAUNCH_ATTRIBUTES_MAX];
    unsigned int count;
    CUresult error =
        copy_attributes(worker, call->attributes, call->attributes_bytes, attributes, &count);
    return error ? error : vgpu_launch_alone(worker, call, attributes, count);
}

CUresult vgpu_replay_vgpuLaunch(struct vgpu_worker *worker, struct vgpu_call_vgpuLaunch *call)
{
    if (call->parameters_bytes != worker->handles.table[call->function_id].parameter_bytes)
        return CUDA_ERROR_INVALID_VALUE; /* the driver would read past the end of a shorter one */
    worker->current->launched = call->stream;
    if (vgpu_launch_chain_collect(worker, call))
        return CUDA_SUCCESS;
    return call->attributes_bytes ? launch_with_attributes(worker, call)
                                  : vgpu_launch_alone(worker, call, NULL, 0);
}

CUresult vgpu_replay_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    struct vgpu_worker *worker,
    struct vgpu_call_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags *call)
{
    return worker->driver->cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        &call->blocks, call->function, call->block_size, call->dynamic_shared, call->flags);
}

/* The two questions about clusters, which are asked with a launch's shape. */
#define CLUSTER_QUESTION(name, answer)                                                             \
    CUresult vgpu_replay_##name(struct vgpu_worker *worker, struct vgpu_call_##name *call)         \
    {                                                                                              \
        CUlaunchAttribute attributes[VGPU_LAUNCH_ATTRIBUTES_MAX];                                  \
        CUlaunchConfig config = {                                                                  \
            .gridDimX = call->grid_x,                                                              \
            .gridDimY = call->grid_y,                                                              \
            .gridDimZ = call->grid_z,                                                              \
            .blockDimX = call->block_x,                                                            \
            .blockDimY = call->block_y,                                                            \
            .blockDimZ = call->block_z,                                                            \
            .sharedMemBytes = call->shared_bytes,                                                  \
            .attrs = attributes,                                                                   \
        };                                                                                         \
        CUresult error = copy_attributes(worker, call->attributes, call->attributes_bytes,         \
                                         attributes, &config.numAttrs);                            \
        return error ? error : worker->driver->name(&call->answer, call->function, &config);       \
    }

CLUSTER_QUESTION(cuOccupancyMaxActiveClusters, clusters)
CLUSTER_QUESTION(cuOccupancyMaxPotentialClusterSize, size)
