/* SPDX-License-Identifier: MIT */
/* Contexts of other devices, of which there are none. */
#include "guest/process/context.h"
#include "guest/process/process.h"

/* CUDA_ERROR_INVALID_CONTEXT if the other context is none. */
static CUresult enter(CUcontext handle)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    return handle && vgpu_context_find(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

CUresult cuCtxEnablePeerAccess(CUcontext other, unsigned int flags)
{
    CUresult error = enter(other);
    if (error)
        return error;
    return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
}

CUresult cuCtxDisablePeerAccess(CUcontext other)
{
    CUresult error = enter(other);
    return error ? error : CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
}
