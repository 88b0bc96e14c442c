/* SPDX-License-Identifier: MIT */
/* Managed memory, and what interop/managed.c has to know of it. */
#include "interop/managed.h"

#include "soft/driver/graph/capture.h"
#include "soft/driver/memory/allocation.h"
#include "soft/driver/stream/stream.h"

CUresult cuMemAllocManaged(CUdeviceptr *dptr, size_t bytesize, unsigned int flags)
{
    struct vgpu_context *context;
    uint64_t address;
    CUresult result = vgpu_capture_enter_unsafe(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!dptr || (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_capture_check_unsafe();
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_allocation_create(context, VGPU_ALLOCATION_MANAGED, bytesize, flags, &address);
    if (result == CUDA_SUCCESS)
        *dptr = address;
    return result;
}

CUresult vgpu_managed_enter(void)
{
    struct vgpu_context *context;

    return vgpu_context_enter(&context);
}

CUresult vgpu_managed_enter_stream(CUstream handle)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(handle, &stream);

    if (result == CUDA_SUCCESS)
        vgpu_object_put(stream);
    return result;
}

bool vgpu_managed_find(uint64_t address, struct vgpu_managed *managed)
{
    struct vgpu_allocation found;

    if (!vgpu_allocation_find(address, &found) || !found.managed)
        return false;
    *managed = (struct vgpu_managed){found.address, found.size};
    return true;
}

bool vgpu_managed_has_device(int ordinal)
{
    return vgpu_device_get(ordinal) != NULL;
}
