/* SPDX-License-Identifier: MIT */
/* Modules, libraries and what is in them. Images are checked before a driver sees them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/info.h"
#include "worker/code/image_parts.h"
#include "worker/context.h"
#include "worker/log.h"
#include "worker/worker.h"

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

/* The image under its hash: what was uploaded must have that one, else the cache must have it. */
static CUresult find_image(struct vgpu_worker *worker, const struct vgpu_image_hash *hash,
                           bool *uploaded)
{
    struct vgpu_image_hash found;
    *uploaded = worker->image.size > 0;
    if (!*uploaded)
        return vgpu_image_cache_load(&worker->images, hash, &worker->image)
                   ? CUDA_SUCCESS
                   : (CUresult)VGPU_IMAGE_MISSING;
    vgpu_image_hash(worker->image.bytes, worker->image.size, &found);
    if (memcmp(&found, hash, sizeof(found)) == 0)
        return CUDA_SUCCESS;
    vgpu_log("an image is not what the guest said");
    __atomic_fetch_add(&worker->images.counters->mismatched, 1, __ATOMIC_RELAXED);
    return CUDA_ERROR_INVALID_IMAGE;
}

/* What a module and a library have in common when they are loaded. */
struct load {
    const uint8_t *hash, *options;
    uint32_t hash_bytes, options_bytes; /* no hash: an image that is not worth a name */
    struct vgpu_image_parts parts;
    struct vgpu_jit jit;
    struct vgpu_image_hash name;
    bool uploaded;
};

static CUresult begin_load(struct vgpu_worker *worker, struct load *load)
{
    CUresult error = CUDA_SUCCESS;
    if (load->hash_bytes != 0 && load->hash_bytes != sizeof(load->name))
        return vgpu_worker_blame(worker, "a hash of another length");
    if (load->hash_bytes) {
        memcpy(&load->name, load->hash, sizeof(load->name));
        error = find_image(worker, &load->name, &load->uploaded);
    }
    if (error)
        return error;
    int wrong = vgpu_image_parts_find(&load->parts, &worker->image);
    if (wrong)
        return wrong == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
    error = vgpu_jit_create(&load->jit, load->options, load->options_bytes);
    if (error == CUDA_SUCCESS)
        worker->prints |= load->parts.prints;
    return error;
}

/* Answers what the compiler said; what a driver has taken is kept for the next one. */
static uint32_t end_load(struct vgpu_worker *worker, struct load *load, CUresult error,
                         uint8_t *reply, uint32_t room)
{
    vgpu_jit_outbox_clear(&worker->outbox);
    uint32_t bytes = vgpu_jit_answer(&load->jit, &worker->outbox, reply, room);
    vgpu_jit_destroy(&load->jit);
    if (error == CUDA_SUCCESS && load->uploaded)
        vgpu_image_cache_store(&worker->images, &load->name, &worker->image);
    return bytes;
}

CUresult vgpu_replay_cuModuleLoadData(struct vgpu_worker *worker,
                                      struct vgpu_call_cuModuleLoadData *call)
{
    struct load load = {.hash = call->hash,
                        .hash_bytes = call->hash_bytes,
                        .options = call->options,
                        .options_bytes = call->options_bytes};
    CUresult error = begin_load(worker, &load);
    if (error == CUDA_SUCCESS) {
        error = worker->driver->cuModuleLoadDataEx(&call->module, load.parts.image, load.jit.count,
                                                   load.jit.option, load.jit.value);
        call->log_bytes = end_load(worker, &load, error, call->log, call->log_capacity);
    }
    vgpu_image_buffer_clear(&worker->image);
    return error;
}

CUresult vgpu_replay_cuLibraryLoadData(struct vgpu_worker *worker,
                                       struct vgpu_call_cuLibraryLoadData *call)
{
    struct load load = {.hash = call->hash,
                        .hash_bytes = call->hash_bytes,
                        .options = call->options,
                        .options_bytes = call->options_bytes};
    CUresult error = begin_load(worker, &load);
    if (error == CUDA_SUCCESS) {
        error = worker->driver->cuLibraryLoadData(&call->library, load.parts.image, load.jit.option,
                                                  load.jit.value, load.jit.count, NULL, NULL, 0);
        call->log_bytes = end_load(worker, &load, error, call->log, call->log_capacity);
    }
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

/* What a node of a graph, which was of another kernel before, need not take over. */
static bool has_clusters(const struct vgpu_function_info *info)
{
    for (int i = CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET;
         i <= CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH; i++) {
        if (info->attribute[i])
            return true;
    }
    return false;
}

/* Describes it for the guest, and notes with its handle what launches have to know. */
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
    worker->handles.table[id].goes_alone = has_clusters(&info);
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
    /* It is described for our own sake: what the guest would hear it knows of the kernel. */
    uint8_t description[sizeof(struct vgpu_function_info)];
    uint32_t bytes;
    struct launchable what = {.function = call->function};
    return describe(worker, call->function_id, &what, description, &bytes);
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

/* The name of number call->index of what a module or library has: functions or kernels. */
#define ANSWER_NAME_OF(type, owner, get_count, enumerate, get_name)                                \
    const struct vgpu_driver *driver = worker->driver;                                             \
    const char *name = NULL;                                                                       \
    unsigned int count = 0;                                                                        \
    CUresult error = driver->get_count(&count, owner);                                             \
    if (error == CUDA_SUCCESS && call->index >= count)                                             \
        error = CUDA_ERROR_INVALID_VALUE;                                                          \
    if (error)                                                                                     \
        return error;                                                                              \
    type *all = calloc(count, sizeof(type));                                                       \
    if (all == NULL)                                                                               \
        return CUDA_ERROR_OUT_OF_MEMORY;                                                           \
    error = driver->enumerate(all, count, owner);                                                  \
    if (error == CUDA_SUCCESS)                                                                     \
        error = driver->get_name(&name, all[call->index]);                                         \
    free(all);                                                                                     \
    return error ? error : answer_name(name, call->name, &call->name_bytes);

CUresult vgpu_replay_vgpuModuleFunctionName(struct vgpu_worker *worker,
                                            struct vgpu_call_vgpuModuleFunctionName *call){
    ANSWER_NAME_OF(CUfunction, call->module, cuModuleGetFunctionCount, cuModuleEnumerateFunctions,
                   cuFuncGetName)}

CUresult vgpu_replay_vgpuLibraryKernelName(struct vgpu_worker *worker,
                                           struct vgpu_call_vgpuLibraryKernelName *call)
{
    ANSWER_NAME_OF(CUkernel, call->library, cuLibraryGetKernelCount, cuLibraryEnumerateKernels,
                   cuKernelGetName)
}

/* One that is to have clusters goes alone, as one does that was compiled for them. */
static void note_attribute(struct vgpu_worker *worker, enum vgpu_kind kind, const void *object,
                           uint32_t attribute)
{
    if (attribute >= CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET)
        worker->handles.table[vgpu_handles_id(worker, kind, object)].goes_alone = true;
}

CUresult vgpu_replay_cuFuncSetAttribute(struct vgpu_worker *worker,
                                        struct vgpu_call_cuFuncSetAttribute *call)
{
    note_attribute(worker, VGPU_KIND_FUNCTION, call->function, call->attribute);
    return worker->driver->cuFuncSetAttribute(call->function, (CUfunction_attribute)call->attribute,
                                              call->value);
}

CUresult vgpu_replay_cuKernelSetAttribute(struct vgpu_worker *worker,
                                          struct vgpu_call_cuKernelSetAttribute *call)
{
    note_attribute(worker, VGPU_KIND_KERNEL, call->kernel, call->attribute);
    return worker->driver->cuKernelSetAttribute((CUfunction_attribute)call->attribute, call->value,
                                                call->kernel, call->device);
}
