/* SPDX-License-Identifier: MIT */
/* Page-locked host memory: allocated, or the program's own and registered. */
#include "soft/driver/graph/capture.h"
#include "soft/driver/memory/allocation.h"

CUresult cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags)
{
    const unsigned int known =
        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    struct vgpu_context *context;
    CUresult result = vgpu_capture_enter_unsafe(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pp || (Flags & ~known))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytesize == 0) { /* nothing, and no error */
        *pp = NULL;
        return CUDA_SUCCESS;
    }
    result = vgpu_capture_check_unsafe();
    return result == CUDA_SUCCESS ? vgpu_allocation_create_host(context, bytesize, Flags, pp)
                                  : result;
}

CUresult cuMemAllocHost_v2(void **pp, size_t bytesize)
{
    return cuMemHostAlloc(pp, bytesize, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE);
}

CUresult cuMemFreeHost(void *p)
{
    if (!p)
        return vgpu_driver_ready();
    return vgpu_allocation_free_when_idle((uintptr_t)p, 1u << VGPU_ALLOCATION_HOST,
                                          CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMemHostRegister_v2(void *p, size_t bytesize, unsigned int Flags)
{
    const unsigned int known =
        CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_READ_ONLY;
    struct vgpu_context *context;
    CUresult result = vgpu_capture_enter_unsafe(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (Flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (Flags & ~known)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_capture_check_unsafe();
    return result == CUDA_SUCCESS ? vgpu_allocation_register(context, p, bytesize, Flags) : result;
}

CUresult cuMemHostRegister(void *p, size_t bytesize, unsigned int Flags)
{
    return cuMemHostRegister_v2(p, bytesize, Flags);
}

static bool find_host(const void *p, struct vgpu_allocation *found)
{
    return p && vgpu_allocation_find((uintptr_t)p, found) &&
           (found->kind == VGPU_ALLOCATION_HOST || found->kind == VGPU_ALLOCATION_REGISTERED);
}

CUresult cuMemHostUnregister(void *p)
{
    struct vgpu_allocation found;

    if (!p)
        return CUDA_ERROR_INVALID_VALUE;
    /* Within a registered range, but not its beginning: not the same as not registered. */
    return vgpu_allocation_free_when_idle(
        (uintptr_t)p, 1u << VGPU_ALLOCATION_REGISTERED,
        find_host(p, &found) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *pdptr, void *p, unsigned int Flags)
{
    struct vgpu_allocation found;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pdptr || Flags || !find_host(p, &found))
        return CUDA_ERROR_INVALID_VALUE;
    *pdptr = (uintptr_t)p;
    return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int *pFlags, void *p)
{
    struct vgpu_allocation found;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pFlags || !find_host(p, &found))
        return CUDA_ERROR_INVALID_VALUE;
    *pFlags = found.flags;
    return CUDA_SUCCESS;
}
