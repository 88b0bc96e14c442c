/* SPDX-License-Identifier: MIT */
/* Functions and kernels: their life, their names, attributes and parameters. */
#include <stdlib.h>
#include <string.h>

#include "guest/code/code.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"

/* ---- life ---- */

void vgpu_functions_end(struct vgpu_function **list)
{
    struct vgpu_process *process = vgpu_process();
    for (;;) {
        pthread_mutex_lock(&process->code_lock);
        struct vgpu_function *function = *list;
        if (function) {
            *list = function->next;
            function->list = NULL;
        }
        pthread_mutex_unlock(&process->code_lock);
        if (function == NULL)
            return;
        vgpu_object_put(&process->objects, &function->object);
    }
}

static void unlink_function(struct vgpu_function *function)
{
    struct vgpu_process *process = vgpu_process();
    pthread_mutex_lock(&process->code_lock);
    for (struct vgpu_function **link = function->list; link && *link; link = &(*link)->next) {
        if (*link == function) {
            *link = function->next;
            break;
        }
    }
    function->list = NULL;
    pthread_mutex_unlock(&process->code_lock);
}

static void end_function(struct vgpu_object *object)
{
    struct vgpu_function *function = (struct vgpu_function *)object;
    unlink_function(function);
    vgpu_functions_end(&function->functions);
    free(function->name);
    free(function->info);
}

static struct vgpu_function *take(struct vgpu_context *context)
{
    struct vgpu_function *function =
        vgpu_object_take(&vgpu_process()->objects, sizeof(*function), context);
    if (function)
        function->object.end = end_function;
    return function;
}

static void discard(struct vgpu_function *function)
{
    vgpu_object_put(&vgpu_process()->objects, &function->object);
}

/* Makes a function or kernel in `list` of one whose id the host has been told; `info` is what it
 * said of it. */
static CUresult add(struct vgpu_function *function, struct vgpu_object *owner,
                    struct vgpu_function **list, const char *name,
                    const struct vgpu_function_info *info, size_t info_bytes)
{
    struct vgpu_process *process = vgpu_process();
    size_t least = offsetof(struct vgpu_function_info, parameter);
    if (info_bytes < least || info->parameter_count > VGPU_PARAMETERS_MAX ||
        info_bytes - least < info->parameter_count * sizeof(info->parameter[0]))
        return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    function->name = strdup(name);
    function->info = malloc(info_bytes);
    if (function->name == NULL || function->info == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(function->info, info, info_bytes);
    function->owner = owner;
    pthread_mutex_lock(&process->code_lock);
    function->list = list;
    function->next = *list;
    *list = function;
    pthread_mutex_unlock(&process->code_lock);
    vgpu_object_publish(&function->object,
                        owner->tag == VGPU_KIND_LIBRARY ? VGPU_KIND_KERNEL : VGPU_KIND_FUNCTION);
    return CUDA_SUCCESS;
}

/* The function of that name, or of that context (the other is NULL), or NULL. */
static struct vgpu_function *find(struct vgpu_function *const *list, const char *name,
                                  const struct vgpu_context *context)
{
    struct vgpu_process *process = vgpu_process();
    pthread_mutex_lock(&process->code_lock);
    struct vgpu_function *function = *list;
    while (function && ((name && strcmp(function->name, name) != 0) ||
                        (context && function->object.context != context)))
        function = function->next;
    pthread_mutex_unlock(&process->code_lock);
    return function;
}

CUresult vgpu_function_get(const struct vgpu_function_source *source,
                           const struct vgpu_caller *caller, struct vgpu_context *context,
                           struct vgpu_object *owner, struct vgpu_function **list, const char *name,
                           void **handle)
{
    struct vgpu_function_info info;
    size_t bytes;
    struct vgpu_function *function = find(list, name, NULL);
    if (function == NULL) {
        function = take(context);
        if (function == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        CUresult error = source->get(caller->channel, caller->context, function->object.id,
                                     owner->id, name, &info, sizeof(info), &bytes);
        if (error == CUDA_SUCCESS)
            error = add(function, owner, list, name, &info, bytes);
        if (error) {
            discard(function);
            return vgpu_process_note(vgpu_process(), error);
        }
    }
    *handle = vgpu_object_handle(function);
    return CUDA_SUCCESS;
}

CUresult vgpu_functions_enumerate(const struct vgpu_function_source *source,
                                  const struct vgpu_caller *caller, struct vgpu_context *context,
                                  struct vgpu_object *owner, struct vgpu_function **list,
                                  void **handles, unsigned int room)
{
    struct vgpu_process *process = vgpu_process();
    char name[VGPU_REPLY_PAYLOAD_MAX];
    uint32_t count = 0;
    size_t bytes;
    CUresult error = vgpu_process_note(
        process, source->count(caller->channel, caller->context, &count, owner->id));
    for (unsigned int i = 0; error == CUDA_SUCCESS && i < count && i < room; i++) {
        error = vgpu_process_note(process, source->name(caller->channel, caller->context, owner->id,
                                                        i, name, sizeof(name), &bytes));
        if (error == CUDA_SUCCESS)
            error = vgpu_function_get(source, caller, context, owner, list, name, &handles[i]);
    }
    return error;
}

static CUresult enter(struct vgpu_caller *caller, const void *handle, enum vgpu_kind kind,
                      struct vgpu_function **function)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    *function = vgpu_object_find(&vgpu_process()->objects, handle, kind);
    return *function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* Kernels are asked about without a context, too. */
static CUresult enter_kernel(CUkernel handle, struct vgpu_function **kernel)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_begin(&caller);
    if (error)
        return error;
    *kernel = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_KERNEL);
    return *kernel ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static size_t info_bytes(const struct vgpu_function_info *info)
{
    return offsetof(struct vgpu_function_info, parameter) +
           info->parameter_count * sizeof(info->parameter[0]);
}

CUresult cuKernelGetFunction(CUfunction *handle, CUkernel kernel_handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_function *kernel, *function;
    CUresult error = enter(&caller, kernel_handle, VGPU_KIND_KERNEL, &kernel);
    if (error)
        return error;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    function = find(&kernel->functions, NULL, caller.current);
    if (function == NULL) {
        /* It is the kernel, seen from a context: nothing new is to be learnt of it. */
        function = take(caller.current);
        if (function == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        error = vgpu_send_cuKernelGetFunction(caller.channel, caller.context, function->object.id,
                                              kernel->object.id);
        if (error == CUDA_SUCCESS)
            error = add(function, &kernel->object, &kernel->functions, kernel->name, kernel->info,
                        info_bytes(kernel->info));
        if (error) {
            discard(function);
            return vgpu_process_note(process, error);
        }
    }
    *handle = vgpu_object_handle(function);
    return CUDA_SUCCESS;
}

/* ---- what they say of themselves ---- */

static CUresult get_attribute(const struct vgpu_function *function, int *value,
                              CUfunction_attribute attribute)
{
    if (value == NULL || (unsigned int)attribute >= CU_FUNC_ATTRIBUTE_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    *value = function->info->attribute[attribute];
    return CUDA_SUCCESS;
}

static CUresult get_parameter(const struct vgpu_function *function, size_t index, size_t *offset,
                              size_t *bytes)
{
    if (offset == NULL || index >= function->info->parameter_count)
        return CUDA_ERROR_INVALID_VALUE;
    *offset = function->info->parameter[index].offset;
    if (bytes)
        *bytes = function->info->parameter[index].size;
    return CUDA_SUCCESS;
}

static CUresult get_name(const struct vgpu_function *function, const char **name)
{
    if (name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *name = function->name;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction handle)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, VGPU_KIND_LAUNCHABLE, &function);
    return error ? error : get_attribute(function, value, attribute);
}

CUresult cuKernelGetAttribute(int *value, CUfunction_attribute attribute, CUkernel handle,
                              CUdevice device)
{
    struct vgpu_function *kernel;
    CUresult error = enter_kernel(handle, &kernel);
    if (error)
        return error;
    return device == 0 ? get_attribute(kernel, value, attribute) : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t *offset, size_t *bytes)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, VGPU_KIND_LAUNCHABLE, &function);
    return error ? error : get_parameter(function, index, offset, bytes);
}

CUresult cuKernelGetParamInfo(CUkernel handle, size_t index, size_t *offset, size_t *bytes)
{
    struct vgpu_function *kernel;
    CUresult error = enter_kernel(handle, &kernel);
    return error ? error : get_parameter(kernel, index, offset, bytes);
}

CUresult cuFuncGetName(const char **name, CUfunction handle)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, VGPU_KIND_LAUNCHABLE, &function);
    return error ? error : get_name(function, name);
}

CUresult cuKernelGetName(const char **name, CUkernel handle)
{
    struct vgpu_function *kernel;
    CUresult error = enter_kernel(handle, &kernel);
    return error ? error : get_name(kernel, name);
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction handle)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, VGPU_KIND_FUNCTION, &function);
    if (error)
        return error;
    if (module == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (function->owner->tag == VGPU_KIND_KERNEL) {
        const struct vgpu_function *kernel = (const struct vgpu_function *)function->owner;
        return cuLibraryGetModule(module, vgpu_object_handle(kernel->owner));
    }
    *module = vgpu_object_handle(function->owner);
    return CUDA_SUCCESS;
}

CUresult cuKernelGetLibrary(CUlibrary *library, CUkernel handle)
{
    struct vgpu_function *kernel;
    CUresult error = enter_kernel(handle, &kernel);
    if (error)
        return error;
    if (library == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *library = vgpu_object_handle(kernel->owner);
    return CUDA_SUCCESS;
}

/* Functions are described when they are got, so they are always loaded. */
CUresult cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction handle)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, VGPU_KIND_FUNCTION, &function);
    if (error)
        return error;
    if (state == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *state = CU_FUNCTION_LOADING_STATE_LOADED;
    return CUDA_SUCCESS;
}

CUresult cuFuncLoad(CUfunction handle)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    return enter(&caller, handle, VGPU_KIND_FUNCTION, &function);
}

/* ---- changing attributes ---- */

static bool may_change(CUfunction_attribute attribute)
{
    return attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ||
           attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT ||
           (attribute >= CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET &&
            attribute < CU_FUNC_ATTRIBUTE_MAX);
}

/* What a function was told itself goes before what its kernel is told. */
static void change(struct vgpu_function *function, CUfunction_attribute attribute, int value,
                   bool itself)
{
    uint32_t bit = 1u << attribute;
    pthread_mutex_lock(&vgpu_process()->code_lock);
    if (itself || !(function->told & bit)) {
        function->info->attribute[attribute] = value;
        memset(function->occupancy, 0, sizeof(function->occupancy));
    }
    if (itself)
        function->told |= bit;
    pthread_mutex_unlock(&vgpu_process()->code_lock);
}

/* Whether it was told just that before. */
static bool knows(const struct vgpu_function *function, CUfunction_attribute attribute, int value)
{
    pthread_mutex_lock(&vgpu_process()->code_lock);
    bool told = function->told & 1u << attribute && function->info->attribute[attribute] == value;
    pthread_mutex_unlock(&vgpu_process()->code_lock);
    return told;
}

static CUresult set_kernel_attribute(struct vgpu_function *kernel, CUfunction_attribute attribute,
                                     int value)
{
    struct vgpu_process *process = vgpu_process();
    const struct vgpu_context *context = vgpu_thread_current();
    CUresult error;
    if (!may_change(attribute))
        return CUDA_ERROR_INVALID_VALUE;
    if (knows(kernel, attribute, value))
        return CUDA_SUCCESS;
    if (context == NULL || !vgpu_context_usable(context))
        context = process->primary;
    if (!vgpu_context_usable(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    error = vgpu_send_cuKernelSetAttribute(process->channel, context->object.id, attribute, value,
                                           kernel->object.id, 0);
    if (error)
        return vgpu_process_note(process, error);
    change(kernel, attribute, value, true);
    /* Its functions are the kernel, seen from a context. */
    for (struct vgpu_function *function = kernel->functions; function; function = function->next)
        change(function, attribute, value, false);
    return CUDA_SUCCESS;
}

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel handle,
                              CUdevice device)
{
    struct vgpu_function *kernel;
    CUresult error = enter_kernel(handle, &kernel);
    if (error)
        return error;
    return device == 0 ? set_kernel_attribute(kernel, attribute, value) : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, VGPU_KIND_LAUNCHABLE, &function);
    if (error)
        return error;
    if (function->object.tag == VGPU_KIND_KERNEL)
        return set_kernel_attribute(function, attribute, value);
    if (!may_change(attribute))
        return CUDA_ERROR_INVALID_VALUE;
    if (knows(function, attribute, value))
        return CUDA_SUCCESS;
    error = vgpu_send_cuFuncSetAttribute(caller.channel, caller.context, function->object.id,
                                         attribute, value);
    if (error == CUDA_SUCCESS)
        change(function, attribute, value, true);
    return vgpu_process_note(vgpu_process(), error);
}

/* A preference that GPUs of today read from the carve-out attribute instead. */
CUresult cuKernelSetCacheConfig(CUkernel handle, CUfunc_cache config, CUdevice device)
{
    struct vgpu_function *kernel;
    CUresult error = enter_kernel(handle, &kernel);
    if (error)
        return error;
    if (config > CU_FUNC_CACHE_PREFER_EQUAL)
        return CUDA_ERROR_INVALID_VALUE;
    return device == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuFuncSetSharedMemConfig(CUfunction handle, CUsharedconfig config)
{
    struct vgpu_caller caller;
    struct vgpu_function *function;
    CUresult error = enter(&caller, handle, VGPU_KIND_LAUNCHABLE, &function);
    if (error)
        return error;
    return config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE ? CUDA_ERROR_INVALID_VALUE
                                                              : CUDA_SUCCESS;
}
