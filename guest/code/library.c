/* SPDX-License-Identifier: MIT */
/* Libraries: code that is loaded into every context when it is used there. */
#include <stdlib.h>

#include "guest/code/code.h"
#include "guest/code/image_upload.h"
#include "guest/code/jit.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "image/image.h"
#include "protocol/send.h"

static void end_library(struct vgpu_object *object)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_library *library = (struct vgpu_library *)object;
    vgpu_functions_end(&library->kernels);
    for (;;) {
        pthread_mutex_lock(&process->code_lock);
        struct vgpu_module *module = library->modules;
        if (module) {
            library->modules = module->next;
            module->list = NULL;
        }
        pthread_mutex_unlock(&process->code_lock);
        if (module == NULL)
            break;
        vgpu_object_put(&process->objects, &module->object);
    }
    vgpu_ranges_forget(&process->ranges, NULL, library);
}

struct load {
    const struct vgpu_caller *caller;
    uint32_t library;
    struct vgpu_jit_options jit;
};

static CUresult send_load(struct vgpu_channel *channel, const struct vgpu_image_hash *hash,
                          size_t hash_bytes, void *data)
{
    const struct load *load = data;
    uint8_t reply[VGPU_REPLY_PAYLOAD_MAX];
    size_t bytes = 0;
    CUresult error = vgpu_send_cuLibraryLoadData(channel, load->caller->context, load->library,
                                                 hash, hash_bytes, load->jit.request,
                                                 load->jit.bytes, reply, sizeof(reply), &bytes);
    vgpu_jit_answered(channel, &load->jit.outputs, reply, bytes);
    return error;
}

static CUresult load_image(CUlibrary *handle, const struct vgpu_image_source *source,
                           struct load *load)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_library *library = vgpu_object_take(&process->objects, sizeof(*library), NULL);
    if (library == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    library->object.end = end_library;
    load->library = library->object.id;
    CUresult error = vgpu_image_load(source, load->caller->channel, send_load, load);
    if (error) {
        vgpu_object_put(&process->objects, &library->object);
        return vgpu_process_note(process, error);
    }
    vgpu_object_publish(&library->object, VGPU_KIND_LIBRARY);
    *handle = vgpu_object_handle(library);
    return CUDA_SUCCESS;
}

/* The values may be missing, and that the image stays where it is needs nothing of us. A table of
 * the program's own addresses is nothing that the host could use. */
static CUresult check_options(const CUlibraryOption *options, unsigned int count)
{
    if (count && options == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned int i = 0; i < count; i++) {
        if (options[i] == CU_LIBRARY_HOST_UNIVERSAL_FUNCTION_AND_DATA_TABLE)
            return CUDA_ERROR_NOT_SUPPORTED;
    }
    return CUDA_SUCCESS;
}

CUresult cuLibraryLoadData(CUlibrary *library, const void *image, CUjit_option *jit_options,
                           void **jit_values, unsigned int jit_count, CUlibraryOption *options,
                           void **values, unsigned int count)
{
    struct vgpu_caller caller;
    struct load load = {.caller = &caller};
    CUresult error = vgpu_caller_begin(&caller);
    (void)values;
    if (error)
        return error;
    if (library == NULL || image == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = check_options(options, count);
    if (error == CUDA_SUCCESS)
        error = vgpu_jit_options_parse(&load.jit, jit_count, jit_options, jit_values);
    if (error)
        return error;
    error = load_image(library, &(struct vgpu_image_source){image, VGPU_CODE_UNBOUNDED}, &load);
    vgpu_jit_options_end(&load.jit);
    return error;
}

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *path, CUjit_option *jit_options,
                               void **jit_values, unsigned int jit_count, CUlibraryOption *options,
                               void **values, unsigned int count)
{
    struct vgpu_caller caller;
    struct load load = {.caller = &caller};
    char *data;
    size_t bytes;
    CUresult error = vgpu_caller_begin(&caller);
    (void)values;
    if (error)
        return error;
    if (library == NULL || path == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = check_options(options, count);
    if (error == CUDA_SUCCESS)
        error = vgpu_image_read(path, &data, &bytes);
    if (error)
        return error;
    error = vgpu_jit_options_parse(&load.jit, jit_count, jit_options, jit_values);
    if (error == CUDA_SUCCESS) {
        error = load_image(library, &(struct vgpu_image_source){data, bytes + 1}, &load);
        vgpu_jit_options_end(&load.jit);
    }
    free(data);
    return error;
}

static CUresult enter(struct vgpu_caller *caller, CUlibrary handle, struct vgpu_library **library)
{
    CUresult error = vgpu_caller_begin(caller);
    if (error)
        return error;
    *library = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_LIBRARY);
    return *library ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static const struct vgpu_function_source kernels_of_library = {vgpu_send_cuLibraryGetKernel,
                                                               vgpu_send_cuLibraryGetKernelCount,
                                                               vgpu_send_vgpuLibraryKernelName};

CUresult cuLibraryGetKernel(CUkernel *handle, CUlibrary library_handle, const char *name)
{
    struct vgpu_caller caller;
    struct vgpu_library *library;
    CUresult error = enter(&caller, library_handle, &library);
    if (error)
        return error;
    if (handle == NULL || name == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_function_get(&kernels_of_library, &caller, NULL, &library->object,
                             &library->kernels, name, (void **)handle);
}

CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int room, CUlibrary handle)
{
    struct vgpu_caller caller;
    struct vgpu_library *library;
    CUresult error = enter(&caller, handle, &library);
    if (error)
        return error;
    if (kernels == NULL || room == 0)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_functions_enumerate(&kernels_of_library, &caller, NULL, &library->object,
                                    &library->kernels, (void **)kernels, room);
}

/* Only a device whose functions have addresses in the program knows any. */
CUresult cuLibraryGetUnifiedFunction(void **function, CUlibrary handle, const char *name)
{
    struct vgpu_caller caller;
    struct vgpu_library *library;
    CUresult error = enter(&caller, handle, &library);
    if (error)
        return error;
    return function == NULL || name == NULL ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_NOT_FOUND;
}
