/* SPDX-License-Identifier: MIT */
/* cuPointerGetAttribute(s). */
#include <string.h>

#include "soft/driver/memory/allocation.h"
#include "soft/driver/memory/virtual.h"
#include "soft/driver/peer.h"

/* What the device of the current context may do there; without one, the memory's own device. */
static int access_to(const struct vgpu_allocation *a)
{
    struct vgpu_context *context;
    bool all =
        a->kind == VGPU_ALLOCATION_HOST || a->kind == VGPU_ALLOCATION_REGISTERED || a->managed;

    if (!all && vgpu_context_enter(&context) == CUDA_SUCCESS && context->device != a->device)
        return a->reach & 1u << context->device->ordinal ||
                       (!a->physical && vgpu_peer_reaches(context->device, a->device))
                   ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE
                   : CU_POINTER_ATTRIBUTE_ACCESS_FLAG_NONE;
    return a->access ? CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE
                     : CU_POINTER_ATTRIBUTE_ACCESS_FLAG_NONE;
}

/* Memory that belongs to no context has none to tell. */
static CUcontext context_of(const struct vgpu_allocation *a)
{
    if (a->pool || a->physical)
        return NULL;
    return (CUcontext)(a->context ? a->context : a->device->primary);
}

/* Of addresses of a mapping, the range is all that was reserved with them. */
static void range_of(const struct vgpu_allocation *a, uint64_t *start, size_t *size)
{
    if (a->physical && vgpu_reservation_find(a->address, start, size))
        return;
    *start = a->address;
    *size = a->size;
}

/* CUDA_ERROR_INVALID_VALUE for an attribute that this pointer has not. */
static CUresult attribute_of(const struct vgpu_allocation *a, uint64_t pointer,
                             CUpointer_attribute attribute, void *out)
{
    bool host = a->kind == VGPU_ALLOCATION_HOST || a->kind == VGPU_ALLOCATION_REGISTERED;
    uint64_t start;
    size_t size;

    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)out = context_of(a);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned int *)out = host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        *(CUdeviceptr *)out = pointer;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        if (!host && !a->managed)
            return CUDA_ERROR_INVALID_VALUE;
        *(void **)out = (void *)(uintptr_t)pointer;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        *(int *)out = a->sync_memops;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
        *(int *)out = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        *(unsigned long long *)out = a->id;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *(int *)out = a->managed;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)out = a->device->ordinal;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        range_of(a, &start, &size);
        *(CUdeviceptr *)out = start;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        range_of(a, &start, &size);
        *(size_t *)out = size;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
        *(CUdeviceptr *)out = a->address;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
        *(size_t *)out = a->size;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *(int *)out = 1;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        *(uint64_t *)out = a->physical ? vgpu_physical_handle_types(a->physical) : 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        *(int *)out = access_to(a);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *(CUmemoryPool *)out = (CUmemoryPool)a->pool;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        *(uint64_t *)out = a->physical ? vgpu_physical_id(a->physical) : a->id;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr ptr)
{
    struct vgpu_allocation found;
    CUresult result = vgpu_driver_ready();

    /* What an address is can be asked in any context, and in one that has failed. */
    if (result != CUDA_SUCCESS)
        return result;
    if (!data)
        return CUDA_ERROR_INVALID_VALUE;
    /* Of addresses that are reserved, but where nothing is mapped, nothing is told. */
    if (!vgpu_allocation_find(ptr, &found))
        return CUDA_ERROR_INVALID_VALUE;
    return attribute_of(&found, ptr, attribute, data);
}

/* What the plural function says of what it cannot tell: nothing, and no device. */
static CUresult say_nothing(CUpointer_attribute attribute, void *out)
{
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        memset(out, 0, 8);
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)out = CU_DEVICE_INVALID;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
        memset(out, 0, 4);
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuPointerGetAttributes(unsigned int numAttributes, CUpointer_attribute *attributes,
                                void **data, CUdeviceptr ptr)
{
    struct vgpu_allocation found;
    CUresult result = vgpu_driver_ready();
    bool known;

    if (result != CUDA_SUCCESS)
        return result;
    if (!attributes || !data)
        return CUDA_ERROR_INVALID_VALUE;
    known = vgpu_allocation_find(ptr, &found);
    for (unsigned int i = 0; i < numAttributes; i++) {
        if (!data[i])
            return CUDA_ERROR_INVALID_VALUE;
        result =
            known ? attribute_of(&found, ptr, attributes[i], data[i]) : CUDA_ERROR_INVALID_VALUE;
        if (result == CUDA_SUCCESS)
            continue;
        result = say_nothing(attributes[i], data[i]);
        if (result != CUDA_SUCCESS)
            return result;
    }
    return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute, CUdeviceptr ptr)
{
    struct vgpu_allocation found;
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    /* Synchronous copies are always ordered with the device here, whether asked for or not. */
    if (!value || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS ||
        !vgpu_allocation_find(ptr, &found))
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_allocation_set_sync_memops(found.address, *(const int *)value != 0);
    return CUDA_SUCCESS;
}
