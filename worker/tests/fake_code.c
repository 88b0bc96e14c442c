/* SPDX-License-Identifier: MIT */
/* The fake driver's modules, libraries, functions and launches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/tests/fake_objects.h"

static CUresult f_load(CUmodule *module, const void *image, unsigned int count,
                       CUjit_option *options, void **values)
{
    CUresult error = fake_fail_once();
    for (unsigned int i = 0; i < count; i++) {
        if (options[i] == CU_JIT_INFO_LOG_BUFFER)
            strcpy(values[i], "info text");
        if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
            strcpy(values[i], error ? "error text" : "");
    }
    if (error)
        return error;
    fake.loads += ((const char *)image)[0] != 0;
    memcpy(fake.image, image, sizeof(fake.image));
    *module = (CUmodule)fake_make(MODULE, machine.current);
    return CUDA_SUCCESS;
}
static CUresult f_unload(CUmodule module)
{
    fake_forget_owned(fake_need(module, MODULE));
    fake_forget(fake_need(module, MODULE));
    return fake_check();
}
static CUresult f_function(CUfunction *function, CUmodule module, const char *name)
{
    struct fake_object *owner = fake_need(module, MODULE);
    if (strcmp(name, "missing") == 0)
        return CUDA_ERROR_NOT_FOUND;
    struct fake_object *made = fake_make(FUNCTION, machine.current);
    made->owner = owner;
    *function = (CUfunction)made;
    return fake_check();
}
static CUresult f_global(CUdeviceptr *address, size_t *bytes, CUmodule module, const char *name)
{
    fake_need(module, MODULE);
    *address = 0x1000;
    *bytes = strlen(name);
    return fake_check();
}
static CUresult f_function_count(unsigned int *count, CUmodule module)
{
    fake_need(module, MODULE);
    *count = 3;
    return fake_check();
}
static CUresult f_functions(CUfunction *functions, unsigned int count, CUmodule module)
{
    struct fake_object *owner = fake_need(module, MODULE);
    for (unsigned int i = 0; i < count && i < 3; i++) {
        struct fake_object *made = fake_make(FUNCTION, machine.current);
        made->owner = owner;
        functions[i] = (CUfunction)made;
    }
    return fake_check();
}
static CUresult f_function_name(const char **name, CUfunction function)
{
    fake_need(function, FUNCTION);
    *name = fake.function_name ? fake.function_name : "name of a function";
    return CUDA_SUCCESS;
}
static CUresult f_kernels(CUkernel *kernels, unsigned int count, CUlibrary library)
{
    struct fake_object *owner = fake_need(library, LIBRARY);
    for (unsigned int i = 0; i < count && i < 2; i++) {
        struct fake_object *made = fake_make(KERNEL, NULL);
        made->owner = owner;
        kernels[i] = (CUkernel)made;
    }
    return CUDA_SUCCESS;
}
static CUresult f_kernel_name(const char **name, CUkernel kernel)
{
    fake_need(kernel, KERNEL);
    *name = "name of a kernel";
    return CUDA_SUCCESS;
}
static CUresult f_library(CUlibrary *library, const void *code, CUjit_option *options,
                          void **values, unsigned int count, CUlibraryOption *library_options,
                          void **library_values, unsigned int library_count)
{
    (void)options, (void)values, (void)library_options, (void)library_values;
    if (count > 4 || library_count)
        fake_die("options of a library");
    fake.loads += ((const char *)code)[0] != 0;
    *library = (CUlibrary)fake_make(LIBRARY, NULL);
    return CUDA_SUCCESS;
}
static CUresult f_library_unload(CUlibrary library)
{
    fake_forget_owned(fake_need(library, LIBRARY));
    fake_forget(fake_need(library, LIBRARY));
    return CUDA_SUCCESS;
}
static CUresult f_kernel(CUkernel *kernel, CUlibrary library, const char *name)
{
    struct fake_object *owner = fake_need(library, LIBRARY);
    if (strcmp(name, "missing") == 0)
        return CUDA_ERROR_NOT_FOUND;
    struct fake_object *made = fake_make(KERNEL, NULL);
    made->owner = owner;
    *kernel = (CUkernel)made;
    return CUDA_SUCCESS;
}
static CUresult f_library_module(CUmodule *module, CUlibrary library)
{
    struct fake_object *owner = fake_need(library, LIBRARY);
    struct fake_object *made = fake_make(MODULE, machine.current);
    made->owner = owner;
    *module = (CUmodule)made;
    return fake_check();
}
static CUresult f_library_global(CUdeviceptr *address, size_t *bytes, CUlibrary library,
                                 const char *name)
{
    fake_need(library, LIBRARY);
    *address = 0x2000;
    *bytes = strlen(name);
    return fake_check();
}
static CUresult f_kernel_count(unsigned int *count, CUlibrary library)
{
    fake_need(library, LIBRARY);
    *count = 2;
    return CUDA_SUCCESS;
}
static CUresult f_kernel_function(CUfunction *function, CUkernel kernel)
{
    struct fake_object *owner = fake_need(kernel, KERNEL);
    struct fake_object *made = fake_make(FUNCTION, machine.current);
    made->owner = owner;
    *function = (CUfunction)made;
    return fake_check();
}
static CUresult f_kernel_attribute(int *value, CUfunction_attribute attribute, CUkernel kernel,
                                   CUdevice device)
{
    (void)device;
    fake_need(kernel, KERNEL);
    *value = 200 + (int)attribute;
    return CUDA_SUCCESS;
}
static CUresult f_kernel_set(CUfunction_attribute attribute, int value, CUkernel kernel,
                             CUdevice device)
{
    (void)attribute, (void)value, (void)device;
    fake_need(kernel, KERNEL);
    return CUDA_SUCCESS;
}
static CUresult parameter(size_t index, size_t *offset, size_t *size)
{
    *offset = index * 8;
    *size = index < 2 ? 8 : 4;
    return index < 3 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
static CUresult f_kernel_parameter(CUkernel kernel, size_t index, size_t *offset, size_t *size)
{
    fake_need(kernel, KERNEL);
    return parameter(index, offset, size);
}
static CUresult f_function_attribute(int *value, CUfunction_attribute attribute,
                                     CUfunction function)
{
    fake_need(function, FUNCTION);
    *value = 100 + (int)attribute;
    return fake_check();
}
static CUresult f_function_set(CUfunction function, CUfunction_attribute attribute, int value)
{
    (void)attribute, (void)value;
    fake_need(function, FUNCTION);
    return fake_check();
}
static CUresult f_cache(CUfunction function, CUfunc_cache config)
{
    (void)config;
    fake_need(function, FUNCTION);
    return fake_check();
}
static CUresult f_function_parameter(CUfunction function, size_t index, size_t *offset,
                                     size_t *size)
{
    fake_need(function, FUNCTION);
    return parameter(index, offset, size);
}
static void need_launchable(CUfunction function)
{
    for (struct fake_object *object = machine.objects; object; object = object->next) {
        if ((void *)object == (void *)function && object->kind == KERNEL)
            return;
    }
    fake_need(function, FUNCTION);
}
static CUresult f_occupancy(int *blocks, CUfunction function, int block, size_t shared,
                            unsigned int flags)
{
    (void)block, (void)shared, (void)flags;
    need_launchable(function);
    *blocks = 9;
    return fake_check();
}
static CUresult f_clusters(int *count, CUfunction function, const CUlaunchConfig *config)
{
    need_launchable(function);
    *count = (int)config->numAttrs + 1;
    return fake_check();
}

static CUresult f_shared(size_t *bytes, CUfunction function, int blocks, int block)
{
    (void)blocks, (void)block;
    need_launchable(function);
    *bytes = 4321;
    return fake_check();
}
static CUresult f_launch(const CUlaunchConfig *config, CUfunction function, void **parameters,
                         void **extra)
{
    CUresult error = fake_fail_once();
    need_launchable(function);
    if (error)
        return error;
    if (config->gridDimX == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (extra) {
        if (extra[0] != CU_LAUNCH_PARAM_BUFFER_POINTER || extra[2] != CU_LAUNCH_PARAM_BUFFER_SIZE ||
            extra[4] != CU_LAUNCH_PARAM_END || *(size_t *)extra[3] != FAKE_PARAMETER_BYTES)
            fake_die("parameters that the function does not have");
        fake.parameter_bytes = *(size_t *)extra[3];
        memcpy(fake.parameters, extra[1], fake.parameter_bytes);
    } else if (parameters == NULL) {
        fake_die("no parameters");
    }
    fake.launches++;
    fake.launched = *config;
    return fake_queue(config->hStream, (struct fake_operation){.kind = LAUNCH});
}
static CUresult f_link_create(unsigned int count, CUjit_option *options, void **values,
                              CUlinkState *state)
{
    struct fake_object *link = fake_make(LINK, machine.current);
    CUresult error = fake_fail_once();
    if (error) {
        fake_forget(link);
        return error;
    }
    for (unsigned int i = 0; i < count; i++) {
        if (options[i] == CU_JIT_INFO_LOG_BUFFER)
            fake.link_log = values[i];
        if (options[i] == CU_JIT_GLOBAL_SYMBOL_NAMES)
            fake.link_symbols = values[i];
    }
    link->memory = NULL;
    *state = (CUlinkState)link;
    return fake_check();
}
static CUresult f_link_add(CUlinkState state, CUjitInputType type, void *data, size_t bytes,
                           const char *name, unsigned int count, CUjit_option *options,
                           void **values)
{
    (void)type, (void)count, (void)options, (void)values;
    fake_need(state, LINK);
    if (fake.link_log)
        snprintf(fake.link_log, 5000, "%s: %.*s", name, (int)bytes, (char *)data);
    return fake_fail_once();
}
static CUresult f_link_complete(CUlinkState state, void **cubin, size_t *bytes)
{
    static char linked[] = "what was linked";
    fake_need(state, LINK);
    *cubin = linked;
    *bytes = sizeof(linked);
    return fake_fail_once();
}
static CUresult f_link_destroy(CUlinkState state)
{
    fake_forget(fake_need(state, LINK));
    return CUDA_SUCCESS;
}
void fake_code_add(struct vgpu_driver *table)
{
    table->cuModuleEnumerateFunctions = f_functions;
    table->cuFuncGetName = f_function_name;
    table->cuLibraryEnumerateKernels = f_kernels;
    table->cuKernelGetName = f_kernel_name;
    table->cuOccupancyAvailableDynamicSMemPerBlock = f_shared;
    table->cuOccupancyMaxActiveClusters = f_clusters;
    table->cuOccupancyMaxPotentialClusterSize = f_clusters;
    table->cuModuleLoadDataEx = f_load;
    table->cuModuleUnload = f_unload;
    table->cuLinkCreate = f_link_create;
    table->cuLinkAddData = f_link_add;
    table->cuLinkComplete = f_link_complete;
    table->cuLinkDestroy = f_link_destroy;
    table->cuModuleGetFunction = f_function;
    table->cuModuleGetGlobal = f_global;
    table->cuModuleGetFunctionCount = f_function_count;
    table->cuLibraryLoadData = f_library;
    table->cuLibraryUnload = f_library_unload;
    table->cuLibraryGetKernel = f_kernel;
    table->cuLibraryGetModule = f_library_module;
    table->cuLibraryGetGlobal = f_library_global;
    table->cuLibraryGetManaged = f_library_global;
    table->cuLibraryGetKernelCount = f_kernel_count;
    table->cuKernelGetFunction = f_kernel_function;
    table->cuKernelGetAttribute = f_kernel_attribute;
    table->cuKernelSetAttribute = f_kernel_set;
    table->cuKernelGetParamInfo = f_kernel_parameter;
    table->cuFuncGetAttribute = f_function_attribute;
    table->cuFuncSetAttribute = f_function_set;
    table->cuFuncSetCacheConfig = f_cache;
    table->cuFuncGetParamInfo = f_function_parameter;
    table->cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags = f_occupancy;
    table->cuLaunchKernelEx = f_launch;
}
