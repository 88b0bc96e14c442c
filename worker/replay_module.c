/* SPDX-License-Identifier: MIT */
/* Modules, libraries and what is in them. Images are checked before a driver sees them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/info.h"
#include "worker/context.h"
#include "worker/image_parts.h"
#include "worker/worker.h"

#define LOG_BYTES (VGPU_REPLY_PAYLOAD_MAX / 2)

CUresult vgpu_replay_vgpuImageAppend(struct vgpu_worker *worker,
                                     struct vgpu_call_vgpuImageAppend *call)
{
    const void *piece = vgpu_worker_staging(worker, call->staging, call->count);
    if (piece == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (call->first)
        vgpu_image_buffer_clear(&worker->image);
    int error = vgpu_image_buffer_append(&worker->image, piece, call->count);
    if (error)
        return error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
    return CUDA_SUCCESS;
}

/* Checks the image that was assembled. */
static CUresult check_image(struct vgpu_worker *worker, struct vgpu_image_parts *parts)
{
    int error = vgpu_image_parts_find(parts, &worker->image);
    if (error)
        return error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
    worker->prints |= parts->prints;
    return CUDA_SUCCESS;
}

/* What the driver's compiler says: two buffers, and the options that name them. */
struct compiler_log {
    char info[LOG_BYTES], error[LOG_BYTES];
    CUjit_option option[4];
    void *value[4];
    unsigned int options;
};

static void prepare_log(struct compiler_log *log, bool wanted)
{
    log->info[0] = log->error[0] = 0;
    log->options = wanted ? 4 : 0;
    log->option[0] = CU_JIT_INFO_LOG_BUFFER;
    log->value[0] = log->info;
    log->option[1] = CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES;
    log->value[1] = (void *)sizeof(log->info);
    log->option[2] = CU_JIT_ERROR_LOG_BUFFER;
    log->value[2] = log->error;
    log->option[3] = CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;
    log->value[3] = (void *)sizeof(log->error);
}

/* Both texts, each with its NUL, information first. */
static uint32_t pack_log(const struct compiler_log *log, uint8_t *reply)
{
    if (log->options == 0)
        return 0;
    size_t info = strnlen(log->info, sizeof(log->info) - 1);
    size_t error = strnlen(log->error, sizeof(log->error) - 1);
    memcpy(reply, log->info, info);
    reply[info] = 0;
    memcpy(reply + info + 1, log->error, error);
    reply[info + 1 + error] = 0;
    return (uint32_t)(info + error + 2);
}

CUresult vgpu_replay_cuModuleLoadData(struct vgpu_worker *worker,
                                      struct vgpu_call_cuModuleLoadData *call)
{
    struct vgpu_image_parts parts;
    struct compiler_log log;
    prepare_log(&log, call->wants_log);
    CUresult error = check_image(worker, &parts);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuModuleLoadDataEx(&call->module, parts.image, log.options,
                                                   log.option, log.value);
    call->log_bytes = pack_log(&log, call->log);
    vgpu_image_buffer_clear(&worker->image);
    return error;
}

CUresult vgpu_replay_cuLibraryLoadData(struct vgpu_worker *worker,
                                       struct vgpu_call_cuLibraryLoadData *call)
{
    struct vgpu_image_parts parts;
    struct compiler_log log;
    prepare_log(&log, call->wants_log);
    CUresult error = check_image(worker, &parts);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuLibraryLoadData(&call->library, parts.image, log.option,
                                                  log.value, log.options, NULL, NULL, 0);
    call->log_bytes = pack_log(&log, call->log);
    vgpu_image_buffer_clear(&worker->image);
    return error;
}

/* One look at a function or a kernel, whichever it is. */
struct launchable {
    CUfunction function;
    CUkernel kernel; /* NULL: it is a function */
    CUdevice device;
};

static CUresult get_attribute(const struct vgpu_driver *driver, const struct launchable *what,
                              CUfunction_attribute attribute, int *value)
{
    if (what->kernel)
        return driver->cuKernelGetAttribute(value, attribute, what->kernel, what->device);
    return driver->cuFuncGetAttribute(value, attribute, what->function);
}

static CUresult get_parameter(const struct vgpu_driver *driver, const struct launchable *what,
                              size_t index, size_t *offset, size_t *size)
{
    if (what->kernel)
        return driver->cuKernelGetParamInfo(what->kernel, index, offset, size);
    return driver->cuFuncGetParamInfo(what->function, index, offset, size);
}

/* Describes it for the guest, and notes with its handle how many bytes of parameters it takes. */
static CUresult describe(struct vgpu_worker *worker, uint32_t id, const struct launchable *what,
                         uint8_t *reply, uint32_t *reply_bytes)
{
    struct vgpu_function_info info;
    CUresult error = CUDA_SUCCESS;
    memset(&info, 0, sizeof(info));
    for (uint32_t i = 0; i < CU_FUNC_ATTRIBUTE_MAX && i < VGPU_FUNCTION_ATTRIBUTES; i++) {
        int value = 0;
        if (get_attribute(worker->driver, what, (CUfunction_attribute)i, &value) == CUDA_SUCCESS)
            info.attribute[i] = value;
    }
    for (;;) {
        size_t offset = 0, size = 0, end;
        error = get_parameter(worker->driver, what, info.parameter_count, &offset, &size);
        if (error != CUDA_SUCCESS)
            break; /* INVALID_VALUE: there are no more */
        if (__builtin_add_overflow(offset, size, &end) || end > VGPU_PAYLOAD_MAX ||
            info.parameter_count == VGPU_PARAMETERS_MAX)
            return CUDA_ERROR_NOT_SUPPORTED;
        info.parameter[info.parameter_count++] =
            (struct vgpu_parameter){.offset = (uint32_t)offset, .size = (uint32_t)size};
        if (end > info.parameter_bytes)
            info.parameter_bytes = (uint32_t)end;
    }
    if (error != CUDA_ERROR_INVALID_VALUE)
        return error;
    worker->handles.table[id].parameter_bytes = info.parameter_bytes;
    *reply_bytes = (uint32_t)(offsetof(struct vgpu_function_info, parameter) +
                              info.parameter_count * sizeof(info.parameter[0]));
    memcpy(reply, &info, *reply_bytes);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_cuModuleGetFunction(struct vgpu_worker *worker,
                                         struct vgpu_call_cuModuleGetFunction *call)
{
    CUresult error = worker->driver->cuModuleGetFunction(&call->function, call->module, call->name);
    if (error)
        return error;
    struct launchable what = {.function = call->function};
    return describe(worker, call->function_id, &what, call->info, &call->info_bytes);
}

static CUresult get_kernel(struct vgpu_worker *worker, struct vgpu_call_cuLibraryGetKernel *call)
{
    CUresult error = worker->driver->cuLibraryGetKernel(&call->kernel, call->library, call->name);
    if (error)
        return error;
    struct launchable what = {.kernel = call->kernel,
                              .device = worker->current ? worker->current->device : 0};
    return describe(worker, call->kernel_id, &what, call->info, &call->info_bytes);
}

CUresult vgpu_replay_cuLibraryGetKernel(struct vgpu_worker *worker,
                                        struct vgpu_call_cuLibraryGetKernel *call)
{
    bool borrowed;
    CUresult error = get_kernel(worker, call);
    if (error != CUDA_ERROR_INVALID_CONTEXT)
        return error;
    /* Drivers differ in whether a kernel's parameters are known where there is no context. */
    error = vgpu_context_borrow(worker, &borrowed);
    if (error == CUDA_SUCCESS)
        error = get_kernel(worker, call);
    if (borrowed)
        vgpu_context_give_back(worker);
    return error;
}

CUresult vgpu_replay_cuKernelGetFunction(struct vgpu_worker *worker,
                                         struct vgpu_call_cuKernelGetFunction *call)
{
    CUresult error = worker->driver->cuKernelGetFunction(&call->function, call->kernel);
    if (error)
        return error;
    struct launchable what = {.function = call->function};
    return describe(worker, call->function_id, &what, call->info, &call->info_bytes);
}

/* A name with its NUL, or nothing where it does not fit a reply. */
static CUresult answer_name(const char *name, uint8_t *reply, uint32_t *bytes)
{
    size_t length = strlen(name) + 1;
    if (length > VGPU_REPLY_PAYLOAD_MAX)
        return CUDA_ERROR_NOT_SUPPORTED;
    memcpy(reply, name, length);
    *bytes = (uint32_t)length;
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuModuleFunctionName(struct vgpu_worker *worker,
                                            struct vgpu_call_vgpuModuleFunctionName *call)
{
    const struct vgpu_driver *driver = worker->driver;
    CUfunction *functions;
    const char *name = NULL;
    unsigned int count = 0;
    CUresult error = driver->cuModuleGetFunctionCount(&count, call->module);
    if (error == CUDA_SUCCESS && call->index >= count)
        error = CUDA_ERROR_INVALID_VALUE;
    if (error)
        return error;
    functions = calloc(count, sizeof(CUfunction));
    if (functions == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = driver->cuModuleEnumerateFunctions(functions, count, call->module);
    if (error == CUDA_SUCCESS)
        error = driver->cuFuncGetName(&name, functions[call->index]);
    free(functions);
    return error ? error : answer_name(name, call->name, &call->name_bytes);
}

CUresult vgpu_replay_vgpuLibraryKernelName(struct vgpu_worker *worker,
                                           struct vgpu_call_vgpuLibraryKernelName *call)
{
    const struct vgpu_driver *driver = worker->driver;
    CUkernel *kernels;
    const char *name = NULL;
    unsigned int count = 0;
    CUresult error = driver->cuLibraryGetKernelCount(&count, call->library);
    if (error == CUDA_SUCCESS && call->index >= count)
        error = CUDA_ERROR_INVALID_VALUE;
    if (error)
        return error;
    kernels = calloc(count, sizeof(CUkernel));
    if (kernels == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = driver->cuLibraryEnumerateKernels(kernels, count, call->library);
    if (error == CUDA_SUCCESS)
        error = driver->cuKernelGetName(&name, kernels[call->index]);
    free(kernels);
    return error ? error : answer_name(name, call->name, &call->name_bytes);
}
