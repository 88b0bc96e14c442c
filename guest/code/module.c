/* SPDX-License-Identifier: MIT */
/* Modules: code loaded into one context. */
#include <stdlib.h>

#include "guest/code/code.h"
#include "guest/code/image_upload.h"
#include "guest/code/jit.h"
#include "guest/memory/texture_reference.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "image/image.h"
#include "protocol/send.h"

static void end_module(struct vgpu_object *object)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_module *module = (struct vgpu_module *)object;
    pthread_mutex_lock(&process->code_lock);
    for (struct vgpu_module **link = module->list; link && *link; link = &(*link)->next) {
        if (*link == module) {
            *link = module->next;
            break;
        }
    }
    pthread_mutex_unlock(&process->code_lock);
    vgpu_functions_end(&module->functions);
    vgpu_references_end(&module->references);
    vgpu_ranges_forget(&process->ranges, NULL, module);
}

static CUresult take(const struct vgpu_caller *caller, struct vgpu_module **out)
{
    struct vgpu_module *module =
        vgpu_object_take(&vgpu_process()->objects, sizeof(*module), caller->current);
    if (module == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    module->object.end = end_module;
    *out = module;
    return CUDA_SUCCESS;
}

struct load {
    const struct vgpu_caller *caller;
    uint32_t module;
    struct vgpu_jit_options jit;
};

static CUresult send_load(struct vgpu_channel *channel, const struct vgpu_image_hash *hash,
                          size_t hash_bytes, void *data)
{
    const struct load *load = data;
    uint8_t reply[VGPU_REPLY_PAYLOAD_MAX];
    size_t bytes = 0;
    CUresult error = vgpu_send_cuModuleLoadData(channel, load->caller->context, load->module, hash,
                                                hash_bytes, load->jit.request, load->jit.bytes,
                                                reply, sizeof(reply), &bytes);
    vgpu_jit_answered(channel, &load->jit.outputs, reply, bytes);
    return error;
}

static CUresult load_image(CUmodule *handle, const struct vgpu_image_source *source,
                           struct load *load)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_module *module;
    CUresult error = take(load->caller, &module);
    if (error)
        return error;
    load->module = module->object.id;
    error = vgpu_image_load(source, load->caller->channel, send_load, load);
    if (error) {
        vgpu_object_put(&process->objects, &module->object);
        return vgpu_process_note(process, error);
    }
    vgpu_object_publish(&module->object, VGPU_KIND_MODULE);
    *handle = vgpu_object_handle(module);
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int count,
                            CUjit_option *options, void **values)
{
    struct vgpu_caller caller;
    struct load load = {.caller = &caller};
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (module == NULL || image == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_jit_options_parse(&load.jit, count, options, values);
    if (error)
        return error;
    error = load_image(module, &(struct vgpu_image_source){image, VGPU_CODE_UNBOUNDED}, &load);
    vgpu_jit_options_end(&load.jit);
    return error;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image)
{
    return cuModuleLoadDataEx(module, image, 0, NULL, NULL);
}

CUresult cuModuleLoad(CUmodule *module, const char *path)
{
    struct vgpu_caller caller;
    struct load load = {.caller = &caller};
    char *data;
    size_t bytes;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (module == NULL || path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_image_read(path, &data, &bytes);
    if (error)
        return error;
    error = load_image(module, &(struct vgpu_image_source){data, bytes + 1}, &load);
    free(data);
    return error;
}

static CUresult enter(struct vgpu_caller *caller, CUmodule handle, struct vgpu_module **module)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    *module = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_MODULE);
    if (*module == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    vgpu_caller_follow(caller, &(*module)->object);
    return CUDA_SUCCESS;
}

CUresult cuModuleUnload(CUmodule handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_module *module;
    CUresult error = enter(&caller, handle, &module);
    if (error)
        return error;
    if (module->library)
        return CUDA_ERROR_NOT_PERMITTED; /* it goes with its library */
    error = vgpu_send_cuModuleUnload(caller.channel, caller.context, module->object.id);
    vgpu_channel_flush_console(caller.channel);
    vgpu_object_put(&process->objects, &module->object);
    return vgpu_process_note(process, error);
}

static const struct vgpu_function_source functions_of_module = {vgpu_send_cuModuleGetFunction,
                                                                vgpu_send_cuModuleGetFunctionCount,
                                                                vgpu_send_vgpuModuleFunctionName};

CUresult cuModuleGetFunction(CUfunction *handle, CUmodule module_handle, const char *name)
{
    struct vgpu_caller caller;
    struct vgpu_module *module;
    CUresult error = enter(&caller, module_handle, &module);
    if (error)
        return error;
    if (handle == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_function_get(&functions_of_module, &caller, caller.current, &module->object,
                             &module->functions, name, (void **)handle);
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int room, CUmodule handle)
{
    struct vgpu_caller caller;
    struct vgpu_module *module;
    CUresult error = enter(&caller, handle, &module);
    if (error)
        return error;
    if (functions == NULL || room == 0)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_functions_enumerate(&functions_of_module, &caller, caller.current, &module->object,
                                    &module->functions, (void **)functions, room);
}

CUresult vgpu_variable_keep(const struct vgpu_caller *caller, const struct vgpu_object *owner,
                            CUdeviceptr start, size_t bytes)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_range range = {.start = start,
                               .bytes = bytes,
                               .kind = VGPU_RANGE_VARIABLE,
                               .context = caller->current,
                               .owner = owner,
                               .id = vgpu_process_new_id(process)};
    return bytes == 0 || vgpu_ranges_add(&process->ranges, &range) ? CUDA_SUCCESS
                                                                   : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuLibraryGetModule(CUmodule *handle, CUlibrary library_handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_module *module;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct vgpu_library *library =
        vgpu_object_find(&process->objects, library_handle, VGPU_KIND_LIBRARY);
    if (library == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (handle == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&process->code_lock);
    module = library->modules;
    while (module && module->object.context != caller.current)
        module = module->next;
    pthread_mutex_unlock(&process->code_lock);
    if (module == NULL) {
        error = take(&caller, &module);
        if (error)
            return error;
        error = vgpu_send_cuLibraryGetModule(caller.channel, caller.context, module->object.id,
                                             library->object.id);
        if (error) {
            vgpu_object_put(&process->objects, &module->object);
            return vgpu_process_note(process, error);
        }
        module->library = &library->object;
        pthread_mutex_lock(&process->code_lock);
        module->list = &library->modules;
        module->next = library->modules;
        library->modules = module;
        pthread_mutex_unlock(&process->code_lock);
        vgpu_object_publish(&module->object, VGPU_KIND_MODULE);
    }
    *handle = vgpu_object_handle(module);
    return CUDA_SUCCESS;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
    struct vgpu_process *process = vgpu_process();
    CUresult error = vgpu_process_ready(process);
    if (error)
        return error;
    if (mode == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    *mode = process->loading;
    return CUDA_SUCCESS;
}
