/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interop/log.h"
#include "interop/per_thread.h"
#include "soft/driver/code/kernel_task.h"
#include "soft/driver/stream/event.h"

struct launch_task {
    struct vgpu_task task;
    struct vgpu_function *function; /* with a reference */
    CUDA_KERNEL_NODE_PARAMS params; /* as given, but with the arguments below */
    bool cooperative;
    bool explicit_cluster;
    uint32_t cluster[3]; /* blocks, at least 1 along each axis */
    unsigned int attribute_count;
    CUlaunchAttribute *attributes;
    size_t parameter_bytes;
    unsigned char *parameters; /* the packed block, behind the pointers */
    void *extra[5];            /* the arguments as a block ... */
    void *pointers[];          /* ... or one by one */
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
        .grid = {work->params.gridDimX, work->params.gridDimY, work->params.gridDimZ},
        .block = {work->params.blockDimX, work->params.blockDimY, work->params.blockDimZ},
        .dynamic_shared_bytes = work->params.sharedMemBytes,
        .cluster = {work->cluster[0], work->cluster[1], work->cluster[2]},
        .explicit_cluster = work->explicit_cluster,
        .cooperative = work->cooperative,
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
    struct launch_task *launch = (struct launch_task *)task;

    vgpu_object_put(launch->function);
    free(launch->attributes);
}

/* ---- arguments ---- */

static CUresult check_shape(const CUDA_KERNEL_NODE_PARAMS *params,
                            const struct vgpu_function *function)
{
    uint64_t threads = (uint64_t)params->blockDimX * params->blockDimY * params->blockDimZ;
    struct vgpu_kernel_needs needs;
    CUresult result;

    if (params->gridDimX == 0 || params->gridDimY == 0 || params->gridDimZ == 0 || threads == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (params->gridDimX > 2147483647 || params->gridDimY > 65535 || params->gridDimZ > 65535 ||
        params->blockDimX > 1024 || params->blockDimY > 1024 || params->blockDimZ > 64 ||
        threads > VGPU_SOFT_BLOCK_THREADS || threads > function->info.max_threads)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_function_prepare(function, &needs);
    if (result == CUDA_SUCCESS &&
        params->sharedMemBytes > vgpu_kernel_dynamic_limit(&needs, &function->settings))
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

/* The function that the parameters mean, with a reference. */
static CUresult resolve(struct vgpu_context *context, const CUDA_KERNEL_NODE_PARAMS *params,
                        struct vgpu_function **function)
{
    CUresult result = CUDA_SUCCESS;

    if (params->func)
        return vgpu_function_resolve(context, params->func, function);
    if (params->ctx)
        result = vgpu_context_named(params->ctx, &context);
    return result == CUDA_SUCCESS
               ? vgpu_function_resolve(context, (CUfunction)params->kern, function)
               : result;
}

/* ---- clusters ---- */

/* What the launch asks for, or the kernel does. */
static void set_cluster(struct launch_task *task, const CUlaunchAttributeValue *wanted)
{
    uint32_t *cluster = task->cluster;

    vgpu_function_required_cluster(task->function, cluster);
    task->explicit_cluster = cluster[0] || cluster[1] || cluster[2];
    if (!task->explicit_cluster)
        cluster[0] = cluster[1] = cluster[2] = 1;
    if (!wanted)
        return;
    task->cluster[0] = wanted->clusterDim.x;
    task->cluster[1] = wanted->clusterDim.y;
    task->cluster[2] = wanted->clusterDim.z;
    task->explicit_cluster = true;
}

/* Of a size that may be, and as many of them as fill the grid. */
static CUresult check_cluster(const struct launch_task *task)
{
    const struct vgpu_kernel_info *info = &task->function->info;
    const uint32_t grid[3] = {task->params.gridDimX, task->params.gridDimY, task->params.gridDimZ};
    CUresult result;

    if (!task->explicit_cluster)
        return info->explicit_cluster ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
    result = vgpu_function_check_cluster(task->function, task->cluster);
    for (int n = 0; n < 3 && result == CUDA_SUCCESS; n++) {
        if (grid[n] % task->cluster[n] != 0)
            result = CUDA_ERROR_INVALID_CLUSTER_SIZE;
    }
    return result;
}

/* How the program gets the arguments back. */
static void keep_arguments(struct launch_task *task)
{
    const struct vgpu_kernel_info *info = &task->function->info;

    task->params.kernelParams = NULL;
    if (task->params.extra) {
        task->extra[0] = CU_LAUNCH_PARAM_BUFFER_POINTER;
        task->extra[1] = task->parameters;
        task->extra[2] = CU_LAUNCH_PARAM_BUFFER_SIZE;
        task->extra[3] = &task->parameter_bytes;
        task->extra[4] = CU_LAUNCH_PARAM_END;
        task->params.extra = task->extra;
        return;
    }
    for (uint32_t i = 0; i < info->parameter_count; i++)
        task->pointers[i] = task->parameters + info->parameter_offset[i];
    if (info->parameter_count)
        task->params.kernelParams = task->pointers;
}

/* The function's reference goes to the task, or back. */
static CUresult create(struct vgpu_function *function, const CUDA_KERNEL_NODE_PARAMS *params,
                       struct launch_task **out)
{
    size_t room = function->info.parameter_count * sizeof(void *);
    CUresult result = check_shape(params, function);
    struct launch_task *task = NULL;

    if (result == CUDA_SUCCESS) {
        task = calloc(1, sizeof(*task) + room + function->info.parameter_bytes);
        result = task ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == CUDA_SUCCESS) {
        task->parameters = (unsigned char *)task->pointers + room;
        result = pack(&function->info, params->kernelParams, params->extra, task->parameters);
    }
    if (result != CUDA_SUCCESS) {
        free(task);
        vgpu_object_put(function);
        return result;
    }
    task->task = (struct vgpu_task){.is_node = true,
                                    .type = CU_GRAPH_NODE_TYPE_KERNEL,
                                    .run = launch_run,
                                    .release = launch_release};
    task->function = function;
    set_cluster(task, NULL);
    task->parameter_bytes = function->info.parameter_bytes;
    task->params = *params;
    keep_arguments(task);
    *out = task;
    return CUDA_SUCCESS;
}

CUresult vgpu_kernel_task_create(struct vgpu_context *context,
                                 const CUDA_KERNEL_NODE_PARAMS *params, struct vgpu_task **task)
{
    struct vgpu_function *function;
    struct launch_task *launch;
    CUresult result = resolve(context, params, &function);

    if (result == CUDA_SUCCESS)
        result = create(function, params, &launch);
    if (result == CUDA_SUCCESS)
        *task = &launch->task;
    return result;
}

void vgpu_kernel_task_params(const struct vgpu_task *task, CUDA_KERNEL_NODE_PARAMS *params)
{
    const struct launch_task *launch = (const struct launch_task *)task;

    *params = launch->params;
    /* A kernel that was taken for a function is told, too: by it programs know what they launched.
     */
    if (params->func && params->func != (CUfunction)launch->function)
        params->kern = (CUkernel)params->func;
    params->func = (CUfunction)launch->function;
}

const struct vgpu_function *vgpu_kernel_task_function(const struct vgpu_task *task)
{
    return ((const struct launch_task *)task)->function;
}

bool vgpu_kernel_task_is_programmatic(const struct vgpu_task *task)
{
    const struct launch_task *launch = (const struct launch_task *)task;

    for (unsigned int i = 0; i < launch->attribute_count; i++) {
        if (launch->attributes[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            return launch->attributes[i].value.programmaticStreamSerializationAllowed;
    }
    return false;
}

void vgpu_kernel_node_captured(struct vgpu_node *node, int priority)
{
    const struct launch_task *launch = (const struct launch_task *)node->task;

    node->attributes_set = 1u << CU_LAUNCH_ATTRIBUTE_PRIORITY;
    node->attributes[CU_LAUNCH_ATTRIBUTE_PRIORITY].priority = priority;
    for (unsigned int i = 0; i < launch->attribute_count; i++) {
        unsigned int id = launch->attributes[i].id;
        if (id >= VGPU_NODE_ATTRIBUTES ||
            id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
            continue;
        node->attributes_set |= 1u << id;
        node->attributes[id] = launch->attributes[i].value;
    }
}

/* ---- launching ---- */

static CUresult submit(struct vgpu_context *context, CUstream handle, struct launch_task *task)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_resolve(context, handle, &stream);

    if (result != CUDA_SUCCESS) {
        vgpu_task_put(&task->task);
        return result;
    }
    if (stream->context == task->function->module->context) {
        bool waits = vgpu_driver()->launch_blocking && stream->member == NULL;
        result = vgpu_stream_submit(stream, &task->task,
                                    waits ? VGPU_SUBMIT_SYNC : VGPU_SUBMIT_ASYNC, NULL);
    } else {
        vgpu_task_put(&task->task);
        result = CUDA_ERROR_INVALID_HANDLE;
    }
    vgpu_object_put(stream);
    return result;
}

/* Blocks that may wait for each other must all be there at once. */
static CUresult check_cooperative(const struct launch_task *task)
{
    const CUDA_KERNEL_NODE_PARAMS *params = &task->params;
    uint64_t blocks = (uint64_t)params->gridDimX * params->gridDimY * params->gridDimZ;
    struct vgpu_kernel_needs needs;
    CUresult result;
    int room;

    result = vgpu_function_prepare(task->function, &needs);
    if (result != CUDA_SUCCESS)
        return result;
    room = vgpu_function_blocks(task->function, &needs,
                                (int)(params->blockDimX * params->blockDimY * params->blockDimZ),
                                params->sharedMemBytes);
    return blocks > (uint64_t)room * (uint64_t)vgpu_driver()->processors
               ? CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE
               : CUDA_SUCCESS;
}

static CUresult take_attributes(struct launch_task *task, const CUlaunchAttribute *attributes,
                                unsigned int count)
{
    if (count == 0)
        return CUDA_SUCCESS;
    task->attributes = calloc(count, sizeof(*attributes));
    if (!task->attributes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(task->attributes, attributes, count * sizeof(*attributes));
    task->attribute_count = count;
    for (unsigned int i = 0; i < count; i++) {
        if (attributes[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
            task->cooperative = attributes[i].value.cooperative;
        else if (attributes[i].id == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION)
            set_cluster(task, &attributes[i].value);
    }
    return CUDA_SUCCESS;
}

static CUresult launch(const CUDA_KERNEL_NODE_PARAMS *params, CUstream stream,
                       const CUlaunchAttribute *attributes, unsigned int attribute_count)
{
    struct vgpu_function *function;
    struct vgpu_context *context;
    struct launch_task *task;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_function_resolve(context, params->func, &function);
    if (result == CUDA_SUCCESS)
        result = create(function, params, &task);
    if (result != CUDA_SUCCESS)
        return result;
    result = take_attributes(task, attributes, attribute_count);
    if (result == CUDA_SUCCESS)
        result = check_cluster(task);
    if (result == CUDA_SUCCESS && task->cooperative)
        result = check_cooperative(task);
    if (result != CUDA_SUCCESS) {
        vgpu_task_put(&task->task);
        return result;
    }
    return submit(context, stream, task);
}

CUresult cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                        unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                        unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                        void **kernelParams, void **extra)
{
    return launch(&(CUDA_KERNEL_NODE_PARAMS){.func = f,
                                             .gridDimX = gridDimX,
                                             .gridDimY = gridDimY,
                                             .gridDimZ = gridDimZ,
                                             .blockDimX = blockDimX,
                                             .blockDimY = blockDimY,
                                             .blockDimZ = blockDimZ,
                                             .sharedMemBytes = sharedMemBytes,
                                             .kernelParams = kernelParams,
                                             .extra = extra},
                  hStream, NULL, 0);
}

CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                   unsigned int gridDimZ, unsigned int blockDimX,
                                   unsigned int blockDimY, unsigned int blockDimZ,
                                   unsigned int sharedMemBytes, CUstream hStream,
                                   void **kernelParams)
{
    const CUlaunchAttribute together = {.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
                                        .value.cooperative = 1};

    return launch(&(CUDA_KERNEL_NODE_PARAMS){.func = f,
                                             .gridDimX = gridDimX,
                                             .gridDimY = gridDimY,
                                             .gridDimZ = gridDimZ,
                                             .blockDimX = blockDimX,
                                             .blockDimY = blockDimY,
                                             .blockDimZ = blockDimZ,
                                             .sharedMemBytes = sharedMemBytes,
                                             .kernelParams = kernelParams},
                  hStream, &together, 1);
}

CUresult vgpu_launch_attribute_check(CUlaunchAttributeID id, const CUlaunchAttributeValue *value)
{
    switch (id) {
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        return value->clusterDim.x && value->clusterDim.y && value->clusterDim.z
                   ? CUDA_SUCCESS
                   : CUDA_ERROR_INVALID_CLUSTER_SIZE;
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT:
        return vgpu_event_check_untimed(value->programmaticEvent.event);
    case CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT:
        return vgpu_event_check_untimed(value->launchCompletionEvent.event);
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
    case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    case CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING:
        return CUDA_SUCCESS;
    default: /* for streams or graphs only, or nothing known */
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult check_attributes(const CUlaunchConfig *config)
{
    CUresult result = CUDA_SUCCESS;

    if (config->numAttrs && !config->attrs)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < config->numAttrs && result == CUDA_SUCCESS; i++)
        result = vgpu_launch_attribute_check(config->attrs[i].id, &config->attrs[i].value);
    return result;
}

/* Here a kernel is done before anything that waits for its beginning may run. */
static CUresult record_events(const CUlaunchConfig *config)
{
    CUresult result = CUDA_SUCCESS;

    for (unsigned int i = 0; i < config->numAttrs && result == CUDA_SUCCESS; i++) {
        const CUlaunchAttribute *attribute = &config->attrs[i];
        if (attribute->id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT)
            result = cuEventRecord(attribute->value.programmaticEvent.event, config->hStream);
        if (attribute->id == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT)
            result = cuEventRecord(attribute->value.launchCompletionEvent.event, config->hStream);
    }
    return result;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **kernelParams,
                          void **extra)
{
    CUresult result = config ? check_attributes(config) : CUDA_ERROR_INVALID_VALUE;

    if (result != CUDA_SUCCESS)
        return result;
    result = launch(&(CUDA_KERNEL_NODE_PARAMS){.func = f,
                                               .gridDimX = config->gridDimX,
                                               .gridDimY = config->gridDimY,
                                               .gridDimZ = config->gridDimZ,
                                               .blockDimX = config->blockDimX,
                                               .blockDimY = config->blockDimY,
                                               .blockDimZ = config->blockDimZ,
                                               .sharedMemBytes = config->sharedMemBytes,
                                               .kernelParams = kernelParams,
                                               .extra = extra},
                    config->hStream, config->attrs, config->numAttrs);
    return result == CUDA_SUCCESS ? record_events(config) : result;
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

VGPU_PTSZ(cuLaunchCooperativeKernel,
          (CUfunction f, unsigned int gx, unsigned int gy, unsigned int gz, unsigned int bx,
           unsigned int by, unsigned int bz, unsigned int shared, CUstream stream,
           void **parameters),
          (f, gx, gy, gz, bx, by, bz, shared, vgpu_per_thread(stream), parameters))
