/* SPDX-License-Identifier: MIT */
/* Allocating and freeing. */
#include <string.h>

#include "interop/per_thread.h"
#include "soft/driver/allocation.h"
#include "soft/driver/stream.h"

enum { PITCH_ALIGNMENT = 512 };

static CUresult allocate(CUdeviceptr *out, size_t size, enum vgpu_allocation_kind kind,
                         unsigned int flags)
{
    struct vgpu_context *context;
    uint64_t address;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_allocation_create(context, kind, size, flags, &address);
    if (result == CUDA_SUCCESS)
        *out = address;
    return result;
}

/* Work that is under way may use what is freed: wait for it, as the hardware's driver does. */
static CUresult free_when_idle(uint64_t address, unsigned int kinds, CUresult not_found)
{
    struct vgpu_allocation found;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!vgpu_allocation_find(address, &found) || found.address != address ||
        !(kinds & 1u << found.kind))
        return not_found;
    /* A failed context keeps its memory until it is destroyed, and says why. */
    result = vgpu_context_usable(found.context);
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_context_drain(found.context);
    return vgpu_allocation_free(address, kinds) == CUDA_SUCCESS ? CUDA_SUCCESS : not_found;
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

CUresult cuMemAllocManaged(CUdeviceptr *dptr, size_t bytesize, unsigned int flags)
{
    if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST)
        return CUDA_ERROR_INVALID_VALUE;
    return allocate(dptr, bytesize, VGPU_ALLOCATION_MANAGED, flags);
}

CUresult cuMemFree_v2(CUdeviceptr dptr)
{
    if (dptr == 0)
        return vgpu_driver_ready();
    return free_when_idle(dptr,
                          1u << VGPU_ALLOCATION_DEVICE | 1u << VGPU_ALLOCATION_MANAGED |
                              1u << VGPU_ALLOCATION_POOL,
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

/* ---- page-locked host memory ---- */

CUresult cuMemHostAlloc(void **pp, size_t bytesize, unsigned int Flags)
{
    const unsigned int known =
        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!pp || (Flags & ~known))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytesize == 0) { /* nothing, and no error */
        *pp = NULL;
        return CUDA_SUCCESS;
    }
    return vgpu_allocation_create_host(context, bytesize, Flags, pp);
}

CUresult cuMemAllocHost_v2(void **pp, size_t bytesize)
{
    return cuMemHostAlloc(pp, bytesize, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE);
}

CUresult cuMemFreeHost(void *p)
{
    if (!p)
        return vgpu_driver_ready();
    return free_when_idle((uintptr_t)p, 1u << VGPU_ALLOCATION_HOST, CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMemHostRegister_v2(void *p, size_t bytesize, unsigned int Flags)
{
    const unsigned int known =
        CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_READ_ONLY;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (Flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (Flags & ~known)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_allocation_register(context, p, bytesize, Flags);
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
    return free_when_idle((uintptr_t)p, 1u << VGPU_ALLOCATION_REGISTERED,
                          find_host(p, &found) ? CUDA_ERROR_INVALID_VALUE
                                               : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
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

/* ---- hints about managed memory, which is always where it is needed ---- */

static CUresult check_managed(CUdeviceptr address, size_t size)
{
    struct vgpu_allocation found;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (size == 0 || !vgpu_allocation_find(address, &found) ||
        found.kind != VGPU_ALLOCATION_MANAGED ||
        size > found.size - (size_t)(address - found.address))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

CUresult cuMemAdvise_v2(CUdeviceptr devPtr, size_t count, CUmem_advise advice,
                        CUmemLocation location)
{
    (void)location;
    if (advice < CU_MEM_ADVISE_SET_READ_MOSTLY || advice > CU_MEM_ADVISE_UNSET_ACCESSED_BY)
        return CUDA_ERROR_INVALID_VALUE;
    return check_managed(devPtr, count);
}

CUresult cuMemAdvise(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device)
{
    (void)device;
    return cuMemAdvise_v2(devPtr, count, advice, (CUmemLocation){0});
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr devPtr, size_t count, CUmemLocation location,
                               unsigned int flags, CUstream hStream)
{
    struct vgpu_context *context;
    struct vgpu_stream *stream;
    CUresult result = check_managed(devPtr, count);

    (void)location;
    if (result == CUDA_SUCCESS && flags)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_context_enter(&context);
    if (result == CUDA_SUCCESS)
        result = vgpu_stream_resolve(context, hStream, &stream);
    if (result == CUDA_SUCCESS)
        vgpu_object_put(stream);
    return result;
}

CUresult cuMemPrefetchAsync(CUdeviceptr devPtr, size_t count, CUdevice dstDevice, CUstream hStream)
{
    if (dstDevice != CU_DEVICE_CPU && !vgpu_device_get(dstDevice))
        return CUDA_ERROR_INVALID_DEVICE;
    return cuMemPrefetchAsync_v2(devPtr, count, (CUmemLocation){0}, 0, hStream);
}

CUresult cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t length,
                                unsigned int flags)
{
    if (flags & ~7u)
        return CUDA_ERROR_INVALID_VALUE;
    return cuMemPrefetchAsync_v2(dptr, length ? length : 1, (CUmemLocation){0}, 0, hStream);
}

VGPU_PTSZ(cuMemPrefetchAsync, (CUdeviceptr address, size_t size, CUdevice to, CUstream stream),
          (address, size, to, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemPrefetchAsync_v2,
          (CUdeviceptr address, size_t size, CUmemLocation to, unsigned int flags, CUstream stream),
          (address, size, to, flags, vgpu_per_thread(stream)))
VGPU_PTSZ(cuStreamAttachMemAsync,
          (CUstream stream, CUdeviceptr address, size_t length, unsigned int flags),
          (vgpu_per_thread(stream), address, length, flags))
