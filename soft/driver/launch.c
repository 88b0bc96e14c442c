/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interop/log.h"
#include "interop/per_thread.h"
#include "soft/driver/module.h"
#include "soft/driver/stream.h"

struct launch_task {
    struct vgpu_task task;
    struct vgpu_function *function; /* with a reference */
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t dynamic_shared;
    unsigned char parameters[];
};

static CUresult result_of(enum vgpu_fault_kind kind)
{
    switch (kind) {
    case VGPU_FAULT_ILLEGAL_ADDRESS:
        return CUDA_ERROR_ILLEGAL_ADDRESS;
    case VGPU_FAULT_MISALIGNED_ADDRESS:
        return CUDA_ERROR_MISALIGNED_ADDRESS;
    case VGPU_FAULT_ASSERT:
        return CUDA_ERROR_ASSERT;
    case VGPU_FAULT_ILLEGAL_INSTRUCTION:
        return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    case VGPU_FAULT_NO_MEMORY:
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    case VGPU_FAULT_CANCELLED:
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    default:
        return CUDA_ERROR_LAUNCH_FAILED;
    }
}

static void print(void *context, const char *text, size_t length)
{
    (void)context;
    fwrite(text, 1, length, stdout);
}

static CUresult launch_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct launch_task *work = (const struct launch_task *)task;
    struct vgpu_launch launch = {
        .image = work->function->module->image,
        .kernel = work->function->index,
        .grid = {work->grid[0], work->grid[1], work->grid[2]},
        .block = {work->block[0], work->block[1], work->block[2]},
        .dynamic_shared_bytes = work->dynamic_shared,
        .parameters = work->parameters,
        .print = print,
        .cancel = &context->cancel,
    };
    struct vgpu_fault fault = {.kind = VGPU_FAULT_NONE};
    int error = vgpu_simt_run(&launch, &fault);
    CUresult result;

    fflush(stdout);
    if (error == 0)
        return CUDA_SUCCESS;
    if (fault.kind == VGPU_FAULT_NONE)
        fault.kind = VGPU_FAULT_NO_MEMORY;
    result = result_of(fault.kind);
    if (fault.kind != VGPU_FAULT_CANCELLED && fault.text[0])
        vgpu_log(VGPU_LOG_ERROR, "%s", fault.text);
    else if (fault.kind != VGPU_FAULT_CANCELLED)
        vgpu_log(VGPU_LOG_ERROR, "kernel %s: no memory to run it", work->function->info.name);
    vgpu_context_fail(context, result);
    return result;
}

static void launch_release(struct vgpu_task *task)
{
    vgpu_object_put(((struct launch_task *)task)->function);
}

/* ---- arguments ---- */

/* The shape of a launch as the program gave it. */
struct shape {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t dynamic_shared;
    CUstream stream;
};

static CUresult check_shape(const struct shape *shape, const struct vgpu_function *function)
{
    uint64_t threads = (uint64_t)shape->block[0] * shape->block[1] * shape->block[2];
    struct vgpu_kernel_needs needs;
    CUresult result;

    if (shape->grid[0] == 0 || shape->grid[1] == 0 || shape->grid[2] == 0 || threads == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (shape->grid[0] > 2147483647 || shape->grid[1] > 65535 || shape->grid[2] > 65535 ||
        shape->block[0] > 1024 || shape->block[1] > 1024 || shape->block[2] > 64 ||
        threads > VGPU_SOFT_BLOCK_THREADS || threads > function->info.max_threads)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_function_prepare(function, &needs);
    if (result == CUDA_SUCCESS &&
        shape->dynamic_shared > vgpu_kernel_dynamic_limit(&needs, &function->settings))
        result = CUDA_ERROR_INVALID_VALUE;
    return result;
}

static CUresult pack_separate(const struct vgpu_kernel_info *info, void **parameters,
                              unsigned char *block)
{
    for (uint32_t i = 0; i < info->parameter_count; i++) {
        if (!parameters[i])
            return CUDA_ERROR_INVALID_VALUE;
        memcpy(block + info->parameter_offset[i], parameters[i], info->parameter_size[i]);
    }
    return CUDA_SUCCESS;
}

/* A list of name, value, name, value ... that ends with CU_LAUNCH_PARAM_END. */
static CUresult pack_buffer(const struct vgpu_kernel_info *info, void **extra, unsigned char *block)
{
    const void *buffer = NULL;
    size_t size = 0;

    for (int i = 0; extra[i] != CU_LAUNCH_PARAM_END; i += 2) {
        if (extra[i] == CU_LAUNCH_PARAM_BUFFER_POINTER)
            buffer = extra[i + 1];
        else if (extra[i] == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[i + 1])
            size = *(const size_t *)extra[i + 1];
        else
            return CUDA_ERROR_INVALID_VALUE;
    }
    if (size && !buffer)
        return CUDA_ERROR_INVALID_VALUE;
    /* As on hardware: less than all is taken, and a block that is larger when aligned is too much.
     */
    if (size > (info->parameter_bytes + 7u) / 8 * 8)
        return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
    if (size > info->parameter_bytes)
        size = info->parameter_bytes;
    if (size)
        memcpy(block, buffer, size);
    return CUDA_SUCCESS;
}

static CUresult pack(const struct vgpu_kernel_info *info, void **parameters, void **extra,
                     unsigned char *block)
{
    if (parameters && extra)
        return CUDA_ERROR_INVALID_VALUE;
    if (extra)
        return pack_buffer(info, extra, block);
    if (info->parameter_count == 0)
        return CUDA_SUCCESS;
    return parameters ? pack_separate(info, parameters, block) : CUDA_ERROR_INVALID_VALUE;
}

/* The function's reference goes to the task, or back. */
static CUresult submit(struct vgpu_context *context, struct vgpu_function *function,
                       const struct shape *shape, void **parameters, void **extra)
{
    CUresult result = check_shape(shape, function);
    struct launch_task *task = NULL;
    struct vgpu_stream *stream;

    if (result == CUDA_SUCCESS) {
        task = calloc(1, sizeof(*task) + function->info.parameter_bytes);
        result = task ? pack(&function->info, parameters, extra, task->parameters)
                      : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == CUDA_SUCCESS)
        result = vgpu_stream_resolve(context, shape->stream, &stream);
    if (result != CUDA_SUCCESS) {
        free(task);
        vgpu_object_put(function);
        return result;
    }
    task->task.run = launch_run;
    task->task.release = launch_release;
    task->function = function;
    memcpy(task->grid, shape->grid, sizeof(task->grid));
    memcpy(task->block, shape->block, sizeof(task->block));
    task->dynamic_shared = shape->dynamic_shared;
    if (stream->context == function->module->context) {
        result = vgpu_stream_submit(stream, &task->task, VGPU_SUBMIT_ASYNC, NULL);
    } else {
        vgpu_task_discard(&task->task);
        result = CUDA_ERROR_INVALID_HANDLE;
    }
    vgpu_object_put(stream);
    return result;
}

static CUresult launch(CUfunction handle, const struct shape *shape, void **parameters,
                       void **extra)
{
    struct vgpu_function *function;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_function_resolve(context, handle, &function);
    if (result != CUDA_SUCCESS)
        return result;
    return submit(context, function, shape, parameters, extra);
}

CUresult cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                        unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                        unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                        void **kernelParams, void **extra)
{
    return launch(f,
                  &(struct shape){{gridDimX, gridDimY, gridDimZ},
                                  {blockDimX, blockDimY, blockDimZ},
                                  sharedMemBytes,
                                  hStream},
                  kernelParams, extra);
}

/* Refuses what would change the meaning of the launch; the rest are wishes. */
static CUresult check_attributes(const CUlaunchConfig *config)
{
    if (config->numAttrs && !config->attrs)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < config->numAttrs; i++) {
        const CUlaunchAttributeValue *value = &config->attrs[i].value;
        switch (config->attrs[i].id) {
        case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
            if (value->cooperative)
                return CUDA_ERROR_NOT_SUPPORTED;
            break;
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
            if (value->clusterDim.x > 1 || value->clusterDim.y > 1 || value->clusterDim.z > 1)
                return CUDA_ERROR_NOT_SUPPORTED;
            break;
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
        case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
        case CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE:
            return CUDA_ERROR_NOT_SUPPORTED;
        default:
            break;
        }
    }
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **kernelParams,
                          void **extra)
{
    CUresult result = config ? check_attributes(config) : CUDA_ERROR_INVALID_VALUE;

    if (result != CUDA_SUCCESS)
        return result;
    return launch(f,
                  &(struct shape){{config->gridDimX, config->gridDimY, config->gridDimZ},
                                  {config->blockDimX, config->blockDimY, config->blockDimZ},
                                  config->sharedMemBytes,
                                  config->hStream},
                  kernelParams, extra);
}

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction f, void **kernelParams,
                               void **extra)
{
    CUlaunchConfig own;

    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    own = *config;
    own.hStream = vgpu_per_thread(config->hStream);
    return cuLaunchKernelEx(&own, f, kernelParams, extra);
}

VGPU_PTSZ(cuLaunchKernel,
          (CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
           unsigned int by, unsigned int bz, unsigned int shared, CUstream stream,
           void **parameters, void **extra),
          (f, gx, gy, gz, bx, by, bz, shared, vgpu_per_thread(stream), parameters, extra))
