/* SPDX-License-Identifier: MIT */
/* cuFunc*: attributes and names of functions. A CUkernel is taken for a function everywhere. */
#include "soft/driver/code/library.h"
#include "soft/driver/code/module.h"

CUresult vgpu_function_resolve(struct vgpu_context *context, CUfunction handle,
                               struct vgpu_function **function)
{
    struct vgpu_entry *entry;
    CUresult result;

    *function = vgpu_object_take(handle, VGPU_OBJECT_FUNCTION);
    if (*function)
        return CUDA_SUCCESS;
    entry = vgpu_object_take(handle, VGPU_OBJECT_ENTRY);
    if (!entry)
        return CUDA_ERROR_INVALID_HANDLE;
    result = vgpu_entry_function(entry, context, function);
    vgpu_object_put(entry);
    return result;
}

static CUresult enter(CUfunction handle, struct vgpu_function **function)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    return result == CUDA_SUCCESS ? vgpu_function_resolve(context, handle, function) : result;
}

uint32_t vgpu_kernel_dynamic_limit(const struct vgpu_kernel_needs *needs,
                                   const struct vgpu_kernel_settings *settings)
{
    int set = settings->max_dynamic_shared;

    if (set > 0)
        return (uint32_t)set;
    return needs->static_shared_bytes < VGPU_SOFT_BLOCK_SHARED
               ? VGPU_SOFT_BLOCK_SHARED - needs->static_shared_bytes
               : 0;
}

CUresult vgpu_kernel_attribute(const struct vgpu_kernel_info *info,
                               const struct vgpu_kernel_needs *needs,
                               const struct vgpu_kernel_settings *settings,
                               CUfunction_attribute attribute, int *value)
{
    unsigned int at;

    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        *value = (int)info->max_threads;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
        *value = (int)needs->static_shared_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
        *value = (int)info->constant_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
        *value = (int)needs->local_bytes;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NUM_REGS:
        *value = (int)needs->register_count;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        *value = (int)info->target;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
        *value = vgpu_driver()->capability;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        *value = (int)vgpu_kernel_dynamic_limit(needs, settings);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        *value = settings->carveout;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
        *value = info->explicit_cluster;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
        at = attribute - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH;
        *value = (int)(info->cluster[0] ? info->cluster[at] : settings->cluster[at]);
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        *value = settings->large_clusters;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        *value = settings->cluster_policy;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
        *value = 0;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

static CUresult set(const struct vgpu_kernel_info *info, const struct vgpu_kernel_needs *needs,
                    struct vgpu_kernel_settings *settings, CUfunction_attribute attribute,
                    int value)
{
    int64_t room = (int64_t)VGPU_SOFT_BLOCK_SHARED_OPTIN - (int64_t)needs->static_shared_bytes;
    unsigned int at;

    switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
        if (value < 0 || value > room)
            return CUDA_ERROR_INVALID_VALUE;
        settings->max_dynamic_shared = value;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
        if (value < -1 || value > 100)
            return CUDA_ERROR_INVALID_VALUE;
        settings->carveout = value;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
        settings->large_clusters = value != 0;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
        settings->cluster_policy = value;
        return CUDA_SUCCESS;
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
    case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
        at = attribute - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH;
        /* What its code has said stays. */
        if (value < 0 || (info->cluster[0] && info->cluster[at] != (uint32_t)value))
            return CUDA_ERROR_INVALID_VALUE;
        settings->cluster[at] = (uint32_t)value;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult vgpu_kernel_set_attribute(const struct vgpu_kernel_info *info,
                                   const struct vgpu_kernel_needs *needs,
                                   struct vgpu_kernel_settings *settings,
                                   CUfunction_attribute attribute, int value)
{
    CUresult result = set(info, needs, settings, attribute, value);

    if (result == CUDA_SUCCESS)
        settings->told |= 1u << attribute;
    return result;
}

void vgpu_kernel_settings_inherit(struct vgpu_kernel_settings *settings,
                                  const struct vgpu_kernel_settings *kernel)
{
    uint32_t news = kernel->told & ~settings->told;

    if (news & 1u << CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        settings->max_dynamic_shared = (int)kernel->max_dynamic_shared;
    if (news & 1u << CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
        settings->carveout = (int)kernel->carveout;
    if (news & 1u << CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE)
        settings->cluster_policy = (int)kernel->cluster_policy;
    if (news & 1u << CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED)
        settings->large_clusters = (bool)kernel->large_clusters;
    for (unsigned int n = 0; n < 3; n++) {
        if (news & 1u << (CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH + n))
            settings->cluster[n] = (uint32_t)kernel->cluster[n];
    }
}

void vgpu_function_required_cluster(const struct vgpu_function *function, uint32_t cluster[3])
{
    const uint32_t *own = function->info.cluster;

    for (int n = 0; n < 3; n++)
        cluster[n] = own[0] ? own[n] : (uint32_t)function->settings.cluster[n];
}

CUresult cuFuncGetAttribute(int *pi, CUfunction_attribute attrib, CUfunction hfunc)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_function *function;
    CUresult result = enter(hfunc, &function);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_function_prepare(function, &needs);
    if (result == CUDA_SUCCESS)
        result = vgpu_kernel_attribute(&function->info, &needs, &function->settings, attrib, pi);
    vgpu_object_put(function);
    return result;
}

CUresult cuFuncSetAttribute(CUfunction hfunc, CUfunction_attribute attrib, int value)
{
    struct vgpu_kernel_needs needs;
    struct vgpu_function *function;
    CUresult result = enter(hfunc, &function);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_function_prepare(function, &needs);
    if (result == CUDA_SUCCESS)
        result =
            vgpu_kernel_set_attribute(&function->info, &needs, &function->settings, attrib, value);
    vgpu_object_put(function);
    return result;
}

CUresult cuFuncSetCacheConfig(CUfunction hfunc, CUfunc_cache config)
{
    struct vgpu_function *function;
    CUresult result = enter(hfunc, &function);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_object_put(function);
    return (unsigned int)config > CU_FUNC_CACHE_PREFER_EQUAL ? CUDA_ERROR_INVALID_VALUE
                                                             : CUDA_SUCCESS;
}

/* The size of banks is fixed. */
CUresult cuFuncSetSharedMemConfig(CUfunction hfunc, CUsharedconfig config)
{
    struct vgpu_function *function;
    CUresult result = enter(hfunc, &function);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_object_put(function);
    return (unsigned int)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE
               ? CUDA_ERROR_INVALID_VALUE
               : CUDA_SUCCESS;
}

CUresult cuFuncGetModule(CUmodule *hmod, CUfunction hfunc)
{
    struct vgpu_function *function;
    CUresult result = enter(hfunc, &function);

    if (result != CUDA_SUCCESS)
        return result;
    if (hmod)
        *hmod = (CUmodule)function->module;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(function);
    return result;
}

CUresult cuFuncGetName(const char **name, CUfunction hfunc)
{
    struct vgpu_function *function;
    CUresult result = enter(hfunc, &function);

    if (result != CUDA_SUCCESS)
        return result;
    if (name)
        *name = function->info.name;
    else
        result = CUDA_ERROR_INVALID_VALUE;
    vgpu_object_put(function);
    return result;
}

CUresult cuFuncGetParamInfo(CUfunction func, size_t paramIndex, size_t *paramOffset,
                            size_t *paramSize)
{
    struct vgpu_function *function;
    CUresult result = enter(func, &function);

    if (result != CUDA_SUCCESS)
        return result;
    if (!paramOffset || paramIndex >= function->info.parameter_count) {
        result = CUDA_ERROR_INVALID_VALUE;
    } else {
        *paramOffset = function->info.parameter_offset[paramIndex];
        if (paramSize)
            *paramSize = function->info.parameter_size[paramIndex];
    }
    vgpu_object_put(function);
    return result;
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction function)
{
    CUresult result = cuFuncLoad(function);

    if (result == CUDA_SUCCESS && !state)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *state = CU_FUNCTION_LOADING_STATE_LOADED;
    return result;
}

CUresult cuFuncLoad(CUfunction function)
{
    struct vgpu_function *found;
    CUresult result = enter(function, &found);

    if (result == CUDA_SUCCESS)
        vgpu_object_put(found);
    return result;
}
