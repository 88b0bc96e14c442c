/* SPDX-License-Identifier: MIT */
/* Allocating and freeing device memory. */
#include "soft/driver/graph/capture.h"
#include "soft/driver/graph/graph_memory.h"
#include "soft/driver/memory/allocation.h"

enum { PITCH_ALIGNMENT = 512 };

static CUresult allocate(CUdeviceptr *out, size_t size, enum vgpu_allocation_kind kind,
                         unsigned int flags)
{
    struct vgpu_context *context;
    uint64_t address;
    CUresult result = vgpu_capture_enter_unsafe(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_capture_check_unsafe();
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_allocation_create(context, kind, size, flags, &address);
    if (result == CUDA_SUCCESS)
        *out = address;
    return result;
}

CUresult cuMemAlloc_v2(CUdeviceptr *dptr, size_t bytesize)
{
    return allocate(dptr, bytesize, VGPU_ALLOCATION_DEVICE, 0);
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *dptr, size_t *pPitch, size_t WidthInBytes, size_t Height,
                            unsigned int ElementSizeBytes)
{
    size_t pitch, bytes;
    CUresult result;

    if (!pPitch || WidthInBytes == 0 || Height == 0 ||
        (ElementSizeBytes != 4 && ElementSizeBytes != 8 && ElementSizeBytes != 16))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_add_overflow(WidthInBytes, PITCH_ALIGNMENT - 1, &pitch))
        return CUDA_ERROR_OUT_OF_MEMORY;
    pitch -= pitch % PITCH_ALIGNMENT;
    if (__builtin_mul_overflow(pitch, Height, &bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    result = cuMemAlloc_v2(dptr, bytes);
    if (result == CUDA_SUCCESS)
        *pPitch = pitch;
    return result;
}

/* What a launch of a graph has left allocated. */
static CUresult free_of_graph(const struct vgpu_allocation *found)
{
    CUresult result = vgpu_capture_check_unsafe();

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_device_drain(found->device);
    return vgpu_graph_memory_free(found->address);
}

CUresult cuMemFree_v2(CUdeviceptr dptr)
{
    struct vgpu_allocation found;
    CUresult result = vgpu_driver_ready();

    if (dptr == 0 || result != CUDA_SUCCESS)
        return result;
    if (vgpu_allocation_find(dptr, &found) && found.address == dptr &&
        found.kind == VGPU_ALLOCATION_GRAPH)
        return free_of_graph(&found);
    return vgpu_allocation_free_when_idle(
        dptr,
        1u << VGPU_ALLOCATION_DEVICE | 1u << VGPU_ALLOCATION_MANAGED | 1u << VGPU_ALLOCATION_POOL,
        CUDA_ERROR_INVALID_VALUE);
}

/* Either may be missing, as with NVIDIA's driver. */
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    size_t unwanted;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    vgpu_memory_info(context->device->memory, free_bytes ? free_bytes : &unwanted,
                     total ? total : &unwanted);
    return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *pbase, size_t *psize, CUdeviceptr dptr)
{
    struct vgpu_allocation found;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!vgpu_allocation_find(dptr, &found))
        return CUDA_ERROR_NOT_FOUND;
    if (pbase)
        *pbase = found.address;
    if (psize)
        *psize = found.size;
    return CUDA_SUCCESS;
}
