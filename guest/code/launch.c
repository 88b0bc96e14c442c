/* SPDX-License-Identifier: MIT */
#include "guest/code/launch.h"

#include <string.h>

#include "guest/process/context.h"
#include "guest/process/process.h"
#include "guest/stream/event.h"
#include "interop/per_thread.h"
#include "protocol/launch.h"
#include "protocol/send.h"

#define PARAMETERS_MOST 32768u /* bytes; CUDA allows 32,764 */

static bool exceeds(unsigned int value, CUdevice_attribute limit)
{
    return value == 0 || value > (unsigned int)vgpu_process_attribute(vgpu_process(), limit);
}

/* What NVIDIA's driver refuses at once. */
static CUresult check_shape(const CUlaunchConfig *config, const struct vgpu_function *function)
{
    const int32_t *attribute = function->info->attribute;
    int shared = attribute[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES];
    uint64_t threads;
    if (exceeds(config->gridDimX, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X) ||
        exceeds(config->gridDimY, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y) ||
        exceeds(config->gridDimZ, CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z) ||
        exceeds(config->blockDimX, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X) ||
        exceeds(config->blockDimY, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y) ||
        exceeds(config->blockDimZ, CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z))
        return CUDA_ERROR_INVALID_VALUE;
    /* Each factor is a device's limit at most, so this cannot wrap. */
    threads = (uint64_t)config->blockDimX * config->blockDimY * config->blockDimZ;
    if (threads > (unsigned int)vgpu_process_attribute(vgpu_process(),
                                                       CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK))
        return CUDA_ERROR_INVALID_VALUE;
    if (threads > (unsigned int)attribute[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK])
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    if (shared > 0 && config->sharedMemBytes > (unsigned int)shared)
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* All blocks of a cooperative launch must fit on the device at once. */
static CUresult check_cooperative(const struct vgpu_caller *caller, const CUlaunchConfig *config,
                                  struct vgpu_function *function)
{
    int blocks = 0, processors;
    CUresult error = vgpu_occupancy(
        caller, function, (int)(config->blockDimX * config->blockDimY * config->blockDimZ),
        config->sharedMemBytes, 0, &blocks);
    if (error)
        return error;
    processors = vgpu_process_attribute(vgpu_process(), CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    __uint128_t grid = (__uint128_t)config->gridDimX * config->gridDimY * config->gridDimZ;
    return grid > (uint64_t)blocks * (uint64_t)processors ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
                                                          : CUDA_SUCCESS;
}

/* Blocks of clusters: that every GPU with clusters takes, and kernels that say they may have more.
 */
#define PORTABLE_CLUSTER_BLOCKS 8u
#define LARGE_CLUSTER_BLOCKS    16u

struct shape {
    unsigned int x, y, z;
};

/* The clusters that a launch asks for, or else its kernel requires; 0: none. */
static struct shape cluster_of(const CUlaunchConfig *config, const struct vgpu_function *function)
{
    const int32_t *required = &function->info->attribute[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH];
    struct shape shape = {(unsigned int)required[0], (unsigned int)required[1],
                          (unsigned int)required[2]};
    for (unsigned int i = 0; i < config->numAttrs; i++) {
        const CUlaunchAttribute *attribute = &config->attrs[i];
        if (attribute->id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            shape = (struct shape){attribute->value.clusterDim.x, attribute->value.clusterDim.y,
                                   attribute->value.clusterDim.z};
    }
    return shape;
}

/* Whether there may be something wrong with the clusters of a launch, which the driver judges: each
 * GPU has limits of its own. */
static bool has_doubtful_clusters(const CUlaunchConfig *config,
                                  const struct vgpu_function *function)
{
    const int32_t *attribute = function->info->attribute;
    const int32_t *required = &attribute[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH];
    struct shape shape = cluster_of(config, function);
    if (shape.x == 0 && shape.y == 0 && shape.z == 0)
        return attribute[CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET] != 0;
    if (shape.x == 0 || shape.y == 0 || shape.z == 0 || config->gridDimX % shape.x ||
        config->gridDimY % shape.y || config->gridDimZ % shape.z)
        return true;
    unsigned int most = attribute[CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED]
                            ? LARGE_CLUSTER_BLOCKS
                            : PORTABLE_CLUSTER_BLOCKS;
    /* Each is a divisor of a grid's side, so this cannot wrap. */
    return (__uint128_t)shape.x * shape.y * shape.z > most ||
           (required[0] &&
            (shape.x != (unsigned int)required[0] || shape.y != (unsigned int)required[1] ||
             shape.z != (unsigned int)required[2]));
}

#define EVENTS_MAX 2u /* of a launch: one of each kind */

/* A launch's attributes as they cross, and the events that it records. */
struct attributes {
    CUlaunchAttribute list[VGPU_LAUNCH_ATTRIBUTES_MAX];
    struct vgpu_event *events[EVENTS_MAX];
    unsigned int event_count;
};

/* Such an event is told of by its id. */
static CUresult name_event(const struct vgpu_caller *caller, struct attributes *attributes,
                           CUevent *name)
{
    struct vgpu_event *event = vgpu_object_find(&vgpu_process()->objects, *name, VGPU_KIND_EVENT);
    if (event == NULL || event->object.context != caller->current)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!(event->flags & CU_EVENT_DISABLE_TIMING))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (event->flags & CU_EVENT_INTERPROCESS || attributes->event_count == EVENTS_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    attributes->events[attributes->event_count++] = event;
    *name = (CUevent)(uintptr_t)event->object.id; /* NOLINT(performance-no-int-to-ptr) */
    return CUDA_SUCCESS;
}

static CUresult take_attributes(const struct vgpu_caller *caller, const CUlaunchConfig *config,
                                struct vgpu_function *function, struct attributes *attributes)
{
    CUresult error = CUDA_SUCCESS;
    attributes->event_count = 0;
    if (config->numAttrs > VGPU_LAUNCH_ATTRIBUTES_MAX ||
        (config->numAttrs && config->attrs == NULL))
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < config->numAttrs && error == CUDA_SUCCESS; i++) {
        CUlaunchAttribute *attribute = &attributes->list[i];
        *attribute = config->attrs[i];
        CUevent *event = vgpu_launch_attribute_event(attribute);
        if (event)
            error = name_event(caller, attributes, event);
        else if (!vgpu_launch_attribute_crosses(attribute->id))
            error = CUDA_ERROR_INVALID_VALUE; /* for streams or graphs only, or nothing known */
        else if (attribute->id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && attribute->value.cooperative)
            error = check_cooperative(caller, config, function);
    }
    return error;
}

static CUresult send(const struct vgpu_caller *caller, const CUlaunchConfig *config,
                     struct vgpu_stream *stream, const struct vgpu_function *function,
                     const struct attributes *attributes, void *const *parameters,
                     void *const *extra)
{
    _Alignas(16) char block[PARAMETERS_MOST];
    const struct vgpu_function_info *info = function->info;
    if (info->parameter_bytes > sizeof(block))
        return CUDA_ERROR_NOT_SUPPORTED;
    CUresult error = vgpu_launch_pack(info, parameters, extra, block);
    if (error)
        return error;
    error = vgpu_send_vgpuLaunch(
        caller->channel, caller->context, function->object.id, config->gridDimX, config->gridDimY,
        config->gridDimZ, config->blockDimX, config->blockDimY, config->blockDimZ,
        config->sharedMemBytes, stream->object.id, block, info->parameter_bytes, attributes->list,
        config->numAttrs * sizeof(*attributes->list));
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    for (unsigned int i = 0; i < attributes->event_count && error == CUDA_SUCCESS; i++)
        error = vgpu_event_launched(caller, attributes->events[i], stream);
    return error;
}

static CUresult launch(const CUlaunchConfig *config, CUfunction handle, void **parameters,
                       void **extra)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct attributes attributes;
    CUresult error = vgpu_caller_enter_stream(&caller, config->hStream, &stream);
    if (error)
        return error;
    struct vgpu_function *function =
        vgpu_object_find(&process->objects, handle, VGPU_KIND_LAUNCHABLE);
    if (function == NULL ||
        (function->object.context && function->object.context != caller.current))
        return CUDA_ERROR_INVALID_HANDLE;
    error = check_shape(config, function);
    if (error == CUDA_SUCCESS)
        error = take_attributes(&caller, config, function, &attributes);
    if (error == CUDA_SUCCESS)
        error = send(&caller, config, stream, function, &attributes, parameters, extra);
    if (error == CUDA_SUCCESS && has_doubtful_clusters(config, function))
        error = vgpu_caller_ask(&caller);
    if (error == CUDA_SUCCESS && process->launch_blocking)
        error = vgpu_stream_wait(&caller, stream);
    return error;
}

CUresult cuLaunchKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                        unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                        unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                        void **parameters, void **extra)
{
    CUlaunchConfig config = {.gridDimX = grid_x,
                             .gridDimY = grid_y,
                             .gridDimZ = grid_z,
                             .blockDimX = block_x,
                             .blockDimY = block_y,
                             .blockDimZ = block_z,
                             .sharedMemBytes = shared_bytes,
                             .hStream = stream};
    return launch(&config, function, parameters, extra);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters,
                          void **extra)
{
    return config ? launch(config, function, parameters, extra) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned int grid_x, unsigned int grid_y,
                                   unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                                   unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                                   void **parameters)
{
    CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE, .value.cooperative = 1};
    CUlaunchConfig config = {.gridDimX = grid_x,
                             .gridDimY = grid_y,
                             .gridDimZ = grid_z,
                             .blockDimX = block_x,
                             .blockDimY = block_y,
                             .blockDimZ = block_z,
                             .sharedMemBytes = shared_bytes,
                             .hStream = stream,
                             .attrs = &attribute,
                             .numAttrs = 1};
    return launch(&config, function, parameters, NULL);
}

VGPU_PTSZ(cuLaunchKernel,
          (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
           unsigned int block_x, unsigned int block_y, unsigned int block_z,
           unsigned int shared_bytes, CUstream stream, void **parameters, void **extra),
          (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,
           vgpu_per_thread(stream), parameters, extra))
VGPU_PTSZ(cuLaunchCooperativeKernel,
          (CUfunction function, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
           unsigned int block_x, unsigned int block_y, unsigned int block_z,
           unsigned int shared_bytes, CUstream stream, void **parameters),
          (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,
           vgpu_per_thread(stream), parameters))

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function, void **parameters,
                               void **extra)
{
    if (config == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    CUlaunchConfig own = *config;
    own.hStream = vgpu_per_thread(config->hStream);
    return launch(&own, function, parameters, extra);
}
