/* SPDX-License-Identifier: MIT */
#include "soft/driver/code/library.h"

#include <stdlib.h>
#include <string.h>

#include "soft/driver/stream/stream.h"

struct placement {
    struct placement *next;
    struct vgpu_module *module; /* with a reference */
};

struct vgpu_library {
    struct vgpu_object object;
    struct vgpu_compiled *compiled;
    uint32_t kernel_count;
    struct vgpu_library *next; /* of all libraries */
    pthread_mutex_t lock;
    struct vgpu_entry **entries; /* those that were asked for; the table has the references */
    struct placement *placements;
};

/* All loaded libraries. Taken before the lock of one of them. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vgpu_library *all;

static void destroy_library(struct vgpu_object *object)
{
    struct vgpu_library *library = (struct vgpu_library *)object;

    vgpu_compiled_put(library->compiled);
    pthread_mutex_destroy(&library->lock);
    free(library->entries);
    free(library);
}

static void destroy_entry(struct vgpu_object *object)
{
    struct vgpu_entry *entry = (struct vgpu_entry *)object;

    vgpu_object_put(entry->library);
    free(entry);
}

/* ---- loading ---- */

static CUresult create(CUlibrary *out, struct vgpu_compiled *compiled)
{
    struct vgpu_library *library =
        vgpu_object_create(VGPU_OBJECT_LIBRARY, sizeof(*library), NULL, destroy_library);

    if (!library)
        return CUDA_ERROR_OUT_OF_MEMORY;
    library->compiled = vgpu_compiled_share(compiled);
    pthread_mutex_init(&library->lock, NULL);
    if (compiled->program)
        library->kernel_count = vgpu_program_kernel_count(compiled->program);
    library->entries =
        calloc(library->kernel_count ? library->kernel_count : 1, sizeof(*library->entries));
    if (!library->entries) {
        vgpu_object_put(library);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    pthread_mutex_lock(&all_lock);
    library->next = all;
    all = library;
    pthread_mutex_unlock(&all_lock);
    vgpu_object_publish(library);
    *out = (CUlibrary)library;
    return CUDA_SUCCESS;
}

static CUresult check_library_options(const CUlibraryOption *options, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        if (!options || (unsigned int)options[i] >= CU_LIBRARY_NUM_OPTIONS)
            return CUDA_ERROR_INVALID_VALUE;
        /* Pointers to functions that are the same on host and device: there are none. */
        if (options[i] == CU_LIBRARY_HOST_UNIVERSAL_FUNCTION_AND_DATA_TABLE)
            return CUDA_ERROR_NOT_SUPPORTED;
    }
    return CUDA_SUCCESS;
}

CUresult cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
                           void **jitOptionsValues, unsigned int numJitOptions,
                           CUlibraryOption *libraryOptions, void **libraryOptionValues,
                           unsigned int numLibraryOptions)
{
    struct vgpu_compiled *compiled;
    CUresult result = vgpu_driver_ready();

    (void)libraryOptionValues; /* may be NULL even when there are options */
    if (result != CUDA_SUCCESS)
        return result;
    if (!library)
        return CUDA_ERROR_INVALID_VALUE;
    result = check_library_options(libraryOptions, numLibraryOptions);
    if (result == CUDA_SUCCESS)
        result = vgpu_compiled_create(code, numJitOptions, jitOptions, jitOptionsValues, &compiled);
    if (result != CUDA_SUCCESS)
        return result;
    result = create(library, compiled);
    vgpu_compiled_put(compiled);
    return result;
}

CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *fileName, CUjit_option *jitOptions,
                               void **jitOptionsValues, unsigned int numJitOptions,
                               CUlibraryOption *libraryOptions, void **libraryOptionValues,
                               unsigned int numLibraryOptions)
{
    CUresult result = vgpu_driver_ready();
    void *image;

    if (result == CUDA_SUCCESS)
        result = vgpu_compiled_read_file(fileName, &image);
    if (result != CUDA_SUCCESS)
        return result;
    result = cuLibraryLoadData(library, image, jitOptions, jitOptionsValues, numJitOptions,
                               libraryOptions, libraryOptionValues, numLibraryOptions);
    free(image);
    return result;
}

static void close_entries(struct vgpu_library *library)
{
    for (uint32_t i = 0; i < library->kernel_count; i++) {
        struct vgpu_entry *entry = library->entries[i];
        library->entries[i] = NULL;
        if (entry)
            vgpu_object_put(vgpu_object_withdraw(entry, VGPU_OBJECT_ENTRY));
    }
}

CUresult cuLibraryUnload(CUlibrary handle)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_library *library;
    struct placement *placements;

    if (result != CUDA_SUCCESS)
        return result;
    library = vgpu_object_withdraw(handle, VGPU_OBJECT_LIBRARY);
    if (!library)
        return CUDA_ERROR_INVALID_HANDLE;
    pthread_mutex_lock(&all_lock);
    for (struct vgpu_library **link = &all; *link; link = &(*link)->next) {
        if (*link == library) {
            *link = library->next;
            break;
        }
    }
    pthread_mutex_unlock(&all_lock);
    pthread_mutex_lock(&library->lock);
    close_entries(library);
    placements = library->placements;
    library->placements = NULL;
    pthread_mutex_unlock(&library->lock);
    while (placements) {
        struct placement *placement = placements;
        placements = placement->next;
        vgpu_context_drain(placement->module->context); /* as for cuModuleUnload */
        vgpu_module_close(placement->module);
        vgpu_object_put(placement->module);
        free(placement);
    }
    vgpu_object_put(library);
    return CUDA_SUCCESS;
}

static void forget_in(struct vgpu_library *library, const struct vgpu_context *context)
{
    struct placement **link = &library->placements;

    while (*link) {
        struct placement *placement = *link;
        if (placement->module->context != context) {
            link = &placement->next;
            continue;
        }
        *link = placement->next;
        vgpu_module_close(placement->module);
        vgpu_object_put(placement->module);
        free(placement);
    }
}

void vgpu_library_forget_context(const struct vgpu_context *context)
{
    pthread_mutex_lock(&all_lock);
    for (struct vgpu_library *library = all; library; library = library->next) {
        pthread_mutex_lock(&library->lock);
        forget_in(library, context);
        pthread_mutex_unlock(&library->lock);
    }
    pthread_mutex_unlock(&all_lock);
}

/* ---- in a context ---- */

/* The library's module in a context, with a reference. */
static CUresult place(struct vgpu_library *library, struct vgpu_context *context,
                      struct vgpu_module **module)
{
    CUresult result = CUDA_SUCCESS;
    struct placement *placement;

    if (!library->compiled->program)
        return CUDA_ERROR_NO_BINARY_FOR_GPU;
    pthread_mutex_lock(&library->lock);
    placement = library->placements;
    while (placement && placement->module->context != context)
        placement = placement->next;
    if (!placement) {
        placement = calloc(1, sizeof(*placement));
        result = placement ? vgpu_module_create(context, library->compiled, &placement->module)
                           : CUDA_ERROR_OUT_OF_MEMORY;
        if (result == CUDA_SUCCESS) {
            placement->next = library->placements;
            library->placements = placement;
        } else {
            free(placement);
        }
    }
    if (result == CUDA_SUCCESS)
        *module = vgpu_object_share(placement->module);
    pthread_mutex_unlock(&library->lock);
    return result;
}

CUresult vgpu_entry_function(struct vgpu_entry *entry, struct vgpu_context *context,
                             struct vgpu_function **function)
{
    struct vgpu_module *module;
    CUresult result = place(entry->library, context, &module);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_module_function(module, entry->index, function);
    vgpu_object_put(module);
    /* What was set of the kernel holds wherever it is used. */
    if (result == CUDA_SUCCESS)
        vgpu_kernel_settings_inherit(&(*function)->settings, &entry->settings);
    return result;
}

/* ---- what is in it ---- */

static CUresult enter(CUlibrary handle, struct vgpu_library **library)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    *library = vgpu_object_take(handle, VGPU_OBJECT_LIBRARY);
    return *library ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static CUresult entry_of(struct vgpu_library *library, uint32_t index, CUkernel *out)
{
    struct vgpu_entry *entry;

    pthread_mutex_lock(&library->lock);
    entry = library->entries[index];
    if (!entry) {
        entry = vgpu_object_create(VGPU_OBJECT_ENTRY, sizeof(*entry), NULL, destroy_entry);
        if (entry) {
            entry->library = vgpu_object_share(library);
            entry->index = index;
            entry->settings.carveout = -1;
            vgpu_program_kernel_info(library->compiled->program, index, &entry->info);
            library->entries[index] = entry;
            vgpu_object_publish(entry);
        }
    }
    pthread_mutex_unlock(&library->lock);
    *out = (CUkernel)entry;
    return entry ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuLibraryGetKernel(CUkernel *pKernel, CUlibrary handle, const char *name)
{
    struct vgpu_library *library;
    CUresult result = enter(handle, &library);
    uint32_t index;

    if (result != CUDA_SUCCESS)
        return result;
    result =
        pKernel ? vgpu_compiled_find(library->compiled, name, &index) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = entry_of(library, index, pKernel);
    vgpu_object_put(library);
    return result;
}

CUresult cuLibraryGetKernelCount(unsigned int *count, CUlibrary lib)
{
    struct vgpu_library *library;
    CUresult result = enter(lib, &library);

    if (result != CUDA_SUCCESS)
        return result;
    if (count)
        *count = library->kernel_count;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(library);
    return result;
}

CUresult cuLibraryEnumerateKernels(CUkernel *kernels, unsigned int numKernels, CUlibrary lib)
{
    struct vgpu_library *library;
    CUresult result = enter(lib, &library);

    if (result != CUDA_SUCCESS)
        return result;
    if (!kernels && numKernels)
        result = CUDA_ERROR_INVALID_VALUE;
    for (uint32_t i = 0; result == CUDA_SUCCESS && i < numKernels && i < library->kernel_count; i++)
        result = entry_of(library, i, &kernels[i]);
    vgpu_object_put(library);
    return result;
}

CUresult cuLibraryGetModule(CUmodule *pMod, CUlibrary handle)
{
    struct vgpu_context *context;
    struct vgpu_library *library;
    struct vgpu_module *module;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = enter(handle, &library);
    if (result != CUDA_SUCCESS)
        return result;
    result = pMod ? place(library, context, &module) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        *pMod = (CUmodule)module;
        vgpu_object_put(module);
    }
    vgpu_object_put(library);
    return result;
}

CUresult cuLibraryGetGlobal(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
    CUmodule module;
    CUresult result = cuLibraryGetModule(&module, library);

    return result == CUDA_SUCCESS ? cuModuleGetGlobal_v2(dptr, bytes, module, name) : result;
}

/* The runtime asks before there is a context, or when that of another copy of it has ended: then it
   is the first device's primary one, which the program is about to use. */
static CUresult place_managed(CUlibrary handle, struct vgpu_module **module)
{
    struct vgpu_context *context;
    struct vgpu_library *library;
    CUresult result = enter(handle, &library);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_context_enter(&context);
    if (result == CUDA_ERROR_INVALID_CONTEXT || result == CUDA_ERROR_CONTEXT_IS_DESTROYED) {
        context = vgpu_device_get(0)->primary;
        result = CUDA_SUCCESS;
    }
    if (result == CUDA_SUCCESS)
        result = place(library, context, module);
    vgpu_object_put(library);
    return result;
}

CUresult cuLibraryGetManaged(CUdeviceptr *dptr, size_t *bytes, CUlibrary library, const char *name)
{
    struct vgpu_module *module;
    const char *found;
    uint64_t address;
    size_t size;
    CUresult result =
        name && (dptr || bytes) ? place_managed(library, &module) : CUDA_ERROR_INVALID_VALUE;

    if (result != CUDA_SUCCESS)
        return result;
    result = CUDA_ERROR_NOT_FOUND;
    for (uint32_t i = 0; result == CUDA_ERROR_NOT_FOUND && module->image &&
                         vgpu_image_managed(module->image, i, &found, &address, &size) == 0;
         i++) {
        if (strcmp(found, name) != 0)
            continue;
        if (dptr)
            *dptr = address;
        if (bytes)
            *bytes = size;
        result = CUDA_SUCCESS;
    }
    vgpu_object_put(module);
    return result;
}

/* ---- kernels ---- */

static CUresult enter_kernel(CUkernel handle, struct vgpu_entry **entry)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    *entry = vgpu_object_take(handle, VGPU_OBJECT_ENTRY);
    return *entry ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuKernelGetFunction(CUfunction *pFunc, CUkernel kernel)
{
    struct vgpu_function *function;
    struct vgpu_context *context;
    struct vgpu_entry *entry;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = enter_kernel(kernel, &entry);
    if (result != CUDA_SUCCESS)
        return result;
    result = pFunc ? vgpu_entry_function(entry, context, &function) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS) {
        *pFunc = (CUfunction)function;
        vgpu_object_put(function);
    }
    vgpu_object_put(entry);
    return result;
}

CUresult cuKernelGetLibrary(CUlibrary *pLib, CUkernel kernel)
{
    struct vgpu_entry *entry;
    CUresult result = enter_kernel(kernel, &entry);

    if (result != CUDA_SUCCESS)
        return result;
    if (pLib)
        *pLib = (CUlibrary)entry->library;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(entry);
    return result;
}

static CUresult prepare(const struct vgpu_entry *entry, CUdevice device,
                        struct vgpu_kernel_needs *needs)
{
    return vgpu_device_get(device)
               ? vgpu_compiled_prepare(entry->library->compiled, entry->index, needs)
               : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuKernelGetAttribute(int *pi, CUfunction_attribute attrib, CUkernel kernel, CUdevice dev)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_entry *entry;
    CUresult result = enter_kernel(kernel, &entry);

    if (result != CUDA_SUCCESS)
        return result;
    result = prepare(entry, dev, &needs);
    if (result == CUDA_SUCCESS)
        result = vgpu_kernel_attribute(&entry->info, &needs, &entry->settings, attrib, pi);
    vgpu_object_put(entry);
    return result;
}

/* Those that the kernel has become already. */
static void tell_functions(struct vgpu_entry *entry)
{
    struct vgpu_library *library = entry->library;

    pthread_mutex_lock(&library->lock);
    for (const struct placement *p = library->placements; p; p = p->next) {
        struct vgpu_module *module = p->module;

        pthread_mutex_lock(&module->lock);
        if (module->functions[entry->index])
            vgpu_kernel_settings_inherit(&module->functions[entry->index]->settings,
                                         &entry->settings);
        pthread_mutex_unlock(&module->lock);
    }
    pthread_mutex_unlock(&library->lock);
}

CUresult cuKernelSetAttribute(CUfunction_attribute attrib, int val, CUkernel kernel, CUdevice dev)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_entry *entry;
    CUresult result = enter_kernel(kernel, &entry);

    if (result != CUDA_SUCCESS)
        return result;
    result = prepare(entry, dev, &needs);
    if (result == CUDA_SUCCESS)
        result = vgpu_kernel_set_attribute(&entry->info, &needs, &entry->settings, attrib, val);
    if (result == CUDA_SUCCESS)
        tell_functions(entry);
    vgpu_object_put(entry);
    return result;
}

CUresult cuKernelSetCacheConfig(CUkernel kernel, CUfunc_cache config, CUdevice dev)
{
    struct vgpu_entry *entry;
    CUresult result = enter_kernel(kernel, &entry);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_object_put(entry);
    if ((unsigned int)config > CU_FUNC_CACHE_PREFER_EQUAL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_device_get(dev) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuKernelGetName(const char **name, CUkernel hfunc)
{
    struct vgpu_entry *entry;
    CUresult result = enter_kernel(hfunc, &entry);

    if (result != CUDA_SUCCESS)
        return result;
    if (name)
        *name = entry->info.name;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(entry);
    return result;
}

CUresult cuKernelGetParamInfo(CUkernel kernel, size_t paramIndex, size_t *paramOffset,
                              size_t *paramSize)
{
    struct vgpu_entry *entry;
    CUresult result = enter_kernel(kernel, &entry);

    if (result != CUDA_SUCCESS)
        return result;
    if (!paramOffset || paramIndex >= entry->info.parameter_count) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else {
        *paramOffset = entry->info.parameter_offset[paramIndex];
        if (paramSize)
            *paramSize = entry->info.parameter_size[paramIndex];
    }
    vgpu_object_put(entry);
    return result;
}
