/* SPDX-License-Identifier: MIT */
#include "soft/driver/code/module.h"

#include <errno.h>
#include <stdlib.h>

#include "soft/driver/code/library.h"
#include "soft/driver/memory/allocation.h"
#include "soft/driver/memory/texture_reference.h"
#include "soft/driver/stream/stream.h"

/* Managed variables are known as such by their addresses, as allocations are. */
static void forget_managed(struct vgpu_module *module)
{
    const char *name;
    uint64_t address;
    size_t size;

    for (uint32_t i = 0; vgpu_image_managed(module->image, i, &name, &address, &size) == 0; i++)
        vgpu_allocation_free(address, 1u << VGPU_ALLOCATION_VARIABLE);
}

static CUresult add_managed(struct vgpu_module *module)
{
    CUresult result = CUDA_SUCCESS;
    const char *name;
    uint64_t address;
    size_t size;

    for (uint32_t i = 0; result == CUDA_SUCCESS &&
                         vgpu_image_managed(module->image, i, &name, &address, &size) == 0;
         i++)
        result = vgpu_allocation_add_variable(module->context, address, size ? size : 1);
    return result;
}

static void destroy_module(struct vgpu_object *object)
{
    struct vgpu_module *module = (struct vgpu_module *)object;

    if (module->image) {
        forget_managed(module);
        vgpu_image_destroy(module->image);
    }
    vgpu_compiled_put(module->compiled);
    pthread_mutex_destroy(&module->lock);
    free(module->functions);
    free(module);
}

static void destroy_function(struct vgpu_object *object)
{
    struct vgpu_function *function = (struct vgpu_function *)object;

    vgpu_object_put(function->module);
    free(function);
}

static CUresult place_variables(struct vgpu_module *module)
{
    struct vgpu_program *program = module->compiled->program;
    int error;

    if (!program)
        return CUDA_SUCCESS;
    module->kernel_count = vgpu_program_kernel_count(program);
    module->functions =
        calloc(module->kernel_count ? module->kernel_count : 1, sizeof(*module->functions));
    if (!module->functions)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = vgpu_image_create(program, module->context->device->memory, &module->image);
    if (error < 0)
        return error == -ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_IMAGE;
    return add_managed(module);
}

CUresult vgpu_module_create(struct vgpu_context *context, struct vgpu_compiled *compiled,
                            struct vgpu_module **out)
{
    struct vgpu_module *module =
        vgpu_object_create(VGPU_OBJECT_MODULE, sizeof(*module), context, destroy_module);
    CUresult result;

    if (!module)
        return CUDA_ERROR_OUT_OF_MEMORY;
    module->context = context;
    module->compiled = vgpu_compiled_share(compiled);
    pthread_mutex_init(&module->lock, NULL);
    result = place_variables(module);
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(module);
        return result;
    }
    vgpu_object_share(module);
    vgpu_object_publish(module);
    *out = module;
    return CUDA_SUCCESS;
}

bool vgpu_module_close(struct vgpu_module *module)
{
    if (!vgpu_object_withdraw(module, VGPU_OBJECT_MODULE))
        return false;
    pthread_mutex_lock(&module->lock);
    for (uint32_t i = 0; i < module->kernel_count; i++) {
        struct vgpu_function *function = module->functions[i];
        module->functions[i] = NULL;
        if (function)
            vgpu_object_put(vgpu_object_withdraw(function, VGPU_OBJECT_FUNCTION));
    }
    pthread_mutex_unlock(&module->lock);
    vgpu_texture_references_end(module);
    vgpu_object_put(module);
    return true;
}

CUresult vgpu_module_function(struct vgpu_module *module, uint32_t index,
                              struct vgpu_function **out)
{
    struct vgpu_function *function;

    pthread_mutex_lock(&module->lock);
    function = module->functions[index];
    if (function) {
        /* A handle that context death has ended is made anew for nobody. */
        function = vgpu_object_take(function, VGPU_OBJECT_FUNCTION);
        pthread_mutex_unlock(&module->lock);
        *out = function;
        return function ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    function = vgpu_object_create(VGPU_OBJECT_FUNCTION, sizeof(*function), module->context,
                                  destroy_function);
    if (function) {
        function->module = vgpu_object_share(module);
        function->index = index;
        function->settings.carveout = -1;
        vgpu_program_kernel_info(module->compiled->program, index, &function->info);
        module->functions[index] = function;
        vgpu_object_share(function);
        vgpu_object_publish(function);
    }
    pthread_mutex_unlock(&module->lock);
    *out = function;
    return function ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult vgpu_compiled_find(const struct vgpu_compiled *compiled, const char *name, uint32_t *index)
{
    int found;

    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    if (!compiled->program)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    found = vgpu_program_find_kernel(compiled->program, name);
    if (found < 0)
        return CUDA_ERROR_NOT_FOUND;
    *index = (uint32_t)found;
    return CUDA_SUCCESS;
}

/* ---- loading ---- */

static CUresult load(CUmodule *out, const void *image, unsigned int count, CUjit_option *options,
                     void **values)
{
    struct vgpu_compiled *compiled;
    struct vgpu_context *context;
    struct vgpu_module *module;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_compiled_create(image, count, options, values, &compiled);
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_module_create(context, compiled, &module);
    vgpu_compiled_put(compiled);
    if (result != CUDA_SUCCESS)
        return result;
    *out = (CUmodule)module;
    vgpu_object_put(module);
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image)
{
    return load(module, image, 0, NULL, NULL);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
                            CUjit_option *options, void **optionValues)
{
    return load(module, image, numOptions, options, optionValues);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *fatCubin)
{
    return load(module, fatCubin, 0, NULL, NULL);
}

CUresult cuModuleLoad(CUmodule *module, const char *fname)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);
    void *image;

    if (result == CUDA_SUCCESS)
        result = vgpu_compiled_read_file(fname, &image);
    if (result != CUDA_SUCCESS)
        return result;
    result = load(module, image, 0, NULL, NULL);
    free(image);
    return result;
}

/* A module by its handle, with a reference. */
static CUresult enter(CUmodule handle, struct vgpu_module **module)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    *module = vgpu_object_take(handle, VGPU_OBJECT_MODULE);
    return *module ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuModuleUnload(CUmodule hmod)
{
    struct vgpu_module *module;
    CUresult result = enter(hmod, &module);

    if (result != CUDA_SUCCESS)
        return result;
    /* Kernels that run hold the module, but its variables may be used by others' copies. */
    vgpu_context_drain(module->context);
    if (!vgpu_module_close(module))
        result = CUDA_ERROR_INVALID_HANDLE;
    vgpu_object_put(module);
    return result;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
    const char *wanted = getenv("CUDA_MODULE_LOADING");

    if (!mode)
        return CUDA_ERROR_INVALID_VALUE;
    *mode = wanted && wanted[0] == 'E' ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING;
    return CUDA_SUCCESS;
}

/* ---- what is in it ---- */

CUresult cuModuleGetFunction(CUfunction *hfunc, CUmodule hmod, const char *name)
{
    struct vgpu_function *function;
    struct vgpu_module *module;
    CUresult result = enter(hmod, &module);
    uint32_t index;

    if (result != CUDA_SUCCESS)
        return result;
    result = hfunc ? vgpu_compiled_find(module->compiled, name, &index) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_module_function(module, index, &function);
    if (result == CUDA_SUCCESS) {
        *hfunc = (CUfunction)function;
        vgpu_object_put(function);
    }
    vgpu_object_put(module);
    return result;
}

CUresult cuModuleGetFunctionCount(unsigned int *count, CUmodule mod)
{
    struct vgpu_module *module;
    CUresult result = enter(mod, &module);

    if (result != CUDA_SUCCESS)
        return result;
    if (count)
        *count = module->kernel_count;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(module);
    return result;
}

CUresult cuModuleEnumerateFunctions(CUfunction *functions, unsigned int numFunctions, CUmodule mod)
{
    struct vgpu_module *module;
    CUresult result = enter(mod, &module);

    if (result != CUDA_SUCCESS)
        return result;
    if (!functions && numFunctions)
        result = CUDA_ERROR_INVALID_VALUE;
    for (uint32_t i = 0; result == CUDA_SUCCESS && i < numFunctions && i < module->kernel_count;
         i++) {
        struct vgpu_function *function;
        result = vgpu_module_function(module, i, &function);
        if (result == CUDA_SUCCESS) {
            functions[i] = (CUfunction)function;
            vgpu_object_put(function);
        }
    }
    vgpu_object_put(module);
    return result;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr *dptr, size_t *bytes, CUmodule hmod, const char *name)
{
    struct vgpu_module *module;
    CUresult result = enter(hmod, &module);
    uint64_t address;
    size_t size;

    if (result != CUDA_SUCCESS)
        return result;
    if (!name || (!dptr && !bytes)) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else if (!module->image || vgpu_image_global(module->image, name, &address, &size) < 0) {
        result = CUDA_ERROR_NOT_FOUND;
    } else {
        vgpu_device_note_range(module->context->device, address, size);
        if (dptr)
            *dptr = address;
        if (bytes)
            *bytes = size;
    }
    vgpu_object_put(module);
    return result;
}
