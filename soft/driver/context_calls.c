/* SPDX-License-Identifier: MIT */
/* cuCtx*: what can be asked of a context and set of it. */
#include "interop/context_flags.h"
#include "soft/driver/graph/capture.h"

CUresult cuCtxGetDevice_v2(CUdevice *device, CUcontext ctx)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_find(ctx, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    *device = context->device->ordinal;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
    return cuCtxGetDevice_v2(device, NULL);
}

CUresult cuCtxGetId(CUcontext ctx, unsigned long long *ctxId)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_find(ctx, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!ctxId)
        return CUDA_ERROR_INVALID_VALUE;
    if (!context->alive)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    *ctxId = context->id;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext ctx, unsigned int *version)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_find(ctx, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = context->api_version;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetFlags(unsigned int *flags)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_find(NULL, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = context->flags;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned int flags)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_find(NULL, &context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!vgpu_context_flags_valid(flags))
        return CUDA_ERROR_INVALID_VALUE;
    context->flags = flags;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetLimit(size_t *pvalue, CUlimit limit)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pvalue || (unsigned int)limit >= CU_LIMIT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    if (limit == CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH)
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    *pvalue = context->limits[limit];
    return CUDA_SUCCESS;
}

CUresult cuCtxSetLimit(CUlimit limit, size_t value)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if ((unsigned int)limit >= CU_LIMIT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    if (limit > CU_LIMIT_PERSISTING_L2_CACHE_SIZE || limit == CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH)
        return CUDA_ERROR_UNSUPPORTED_LIMIT;
    context->limits[limit] = value;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCacheConfig(CUfunc_cache *pconfig)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pconfig)
        return CUDA_ERROR_INVALID_VALUE;
    *pconfig = (CUfunc_cache)context->cache_config;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCacheConfig(CUfunc_cache config)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if ((unsigned int)config > CU_FUNC_CACHE_PREFER_EQUAL)
        return CUDA_ERROR_INVALID_VALUE;
    context->cache_config = (int)config;
    return CUDA_SUCCESS;
}

/* The size of banks is fixed: it is told, and setting it does nothing. */
CUresult cuCtxGetSharedMemConfig(CUsharedconfig *pConfig)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pConfig)
        return CUDA_ERROR_INVALID_VALUE;
    *pConfig = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetSharedMemConfig(CUsharedconfig config)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    return (unsigned int)config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE
               ? CUDA_ERROR_INVALID_VALUE
               : CUDA_SUCCESS;
}

/* No lines persist. */
CUresult cuCtxResetPersistingL2Cache(void)
{
    struct vgpu_context *context;

    return vgpu_context_enter(&context);
}

CUresult cuCtxGetStreamPriorityRange(int *leastPriority, int *greatestPriority)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (leastPriority)
        *leastPriority = VGPU_PRIORITY_LEAST;
    if (greatestPriority)
        *greatestPriority = VGPU_PRIORITY_GREATEST;
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize_v2(CUcontext ctx)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_named(ctx, &context);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_check_context(context);
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_context_drain(context);
    return vgpu_context_usable(context);
}

CUresult cuCtxSynchronize(void)
{
    return cuCtxSynchronize_v2(NULL);
}
