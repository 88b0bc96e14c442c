/* SPDX-License-Identifier: MIT */
/* Questions about pointers, answered from the table of ranges. */
#include "guest/process/context.h"
#include "guest/process/process.h"

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr address)
{
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (!vgpu_ranges_find(&vgpu_process()->ranges, address, &range) ||
        (vgpu_range_is_host(&range) && !range.shared))
        return CUDA_ERROR_NOT_FOUND;
    if (base)
        *base = range.start;
    if (bytes)
        *bytes = range.bytes;
    return CUDA_SUCCESS;
}

/* The name that one side has for the memory: the same for both, or none. */
static CUresult answer_address(void *data, CUdeviceptr address, bool reached)
{
    if (!reached)
        return CUDA_ERROR_INVALID_VALUE;
    *(CUdeviceptr *)data = address;
    return CUDA_SUCCESS;
}

/* Of what is mapped, the range is all that was reserved with it. */
static struct vgpu_range whole_range(const struct vgpu_range *range)
{
    struct vgpu_range reservation;
    if (range->kind == VGPU_RANGE_MAPPED &&
        vgpu_ranges_find(&vgpu_process()->reservations, range->start, &reservation))
        return reservation;
    return *range;
}

static CUresult answer(void *data, CUpointer_attribute attribute, CUdeviceptr address,
                       const struct vgpu_range *range)
{
    bool host = vgpu_range_is_host(range);
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
        *(CUcontext *)data = range->context ? vgpu_object_handle(range->context) : NULL;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *(unsigned int *)data =
            host && range->kind != VGPU_RANGE_MANAGED ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
        *(unsigned long long *)data = range->id;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
        return answer_address(data, address, !host || range->shared);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
        return answer_address(data, address, host || range->mirrored);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *(unsigned int *)data = range->kind == VGPU_RANGE_MANAGED || range->mirrored;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        *(unsigned int *)data = range->sync_memops;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
        *(unsigned int *)data = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
        *(unsigned long long *)data = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        *(unsigned long long *)data = range->id;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPED:
        *(unsigned int *)data = 1;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = 0;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
        *(CUdeviceptr *)data = whole_range(range).start;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
        *(size_t *)data = whole_range(range).bytes;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
        *(CUdeviceptr *)data = range->start;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
        *(size_t *)data = range->bytes;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
        *(unsigned int *)data = CU_POINTER_ATTRIBUTE_ACCESS_FLAG_READWRITE;
        return CUDA_SUCCESS;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *(void **)data = range->kind == VGPU_RANGE_DEVICE && range->owner
                             ? vgpu_object_handle(range->owner)
                             : NULL;
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr address)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_range range;
    CUresult error = vgpu_process_ready(process);
    if (error)
        return error;
    if (data == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    /* Of addresses that are reserved, but where nothing is mapped, nothing is told. */
    return vgpu_ranges_find(&process->ranges, address, &range)
               ? answer(data, attribute, address, &range)
               : CUDA_ERROR_INVALID_VALUE;
}

/* What cuPointerGetAttributes says where there is no answer: zeros, and -2 for the device. */
static void answer_nothing(void *data, CUpointer_attribute attribute)
{
    switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
        *(void **)data = NULL;
        break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
        *(unsigned long long *)data = 0;
        break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *(int *)data = -2;
        break;
    default:
        *(unsigned int *)data = 0;
    }
}

CUresult cuPointerGetAttributes(unsigned int count, CUpointer_attribute *attributes, void **data,
                                CUdeviceptr address)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_range range;
    CUresult error = vgpu_process_ready(process);
    if (error)
        return error;
    if (count == 0 || attributes == NULL || data == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    bool known = vgpu_ranges_find(&process->ranges, address, &range);
    for (unsigned int i = 0; i < count; i++) {
        if (!known || answer(data[i], attributes[i], address, &range) != CUDA_SUCCESS)
            answer_nothing(data[i], attributes[i]);
    }
    return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void *value, CUpointer_attribute attribute,
                               CUdeviceptr address)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    /* Synchronous copies are ordered with the device here, whether asked for or not. */
    if (value == NULL || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS ||
        !vgpu_ranges_set_sync_memops(&process->ranges, address, *(const unsigned int *)value != 0))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}
