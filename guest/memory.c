/* SPDX-License-Identifier: MIT */
/* Memory of the device, and memory of the host that programs get from CUDA. */
#include <stdlib.h>
#include <unistd.h>

#include "guest/context.h"
#include "guest/process.h"
#include "protocol/send.h"

/* Takes new memory into the table; gives it back if that fails. */
static CUresult keep(const struct vgpu_caller *caller, CUdeviceptr address, size_t bytes)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_range range = {.start = address,
                               .bytes = bytes,
                               .kind = VGPU_RANGE_DEVICE,
                               .context = caller->current,
                               .id = vgpu_process_new_id(process)};
    if (vgpu_ranges_add(&process->ranges, &range))
        return CUDA_SUCCESS;
    vgpu_send_cuMemFree(caller->channel, caller->context, address);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t bytes)
{
    struct vgpu_caller caller;
    uint64_t start = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (address == NULL || bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuMemAlloc(caller.channel, caller.context, &start, bytes));
    if (error == CUDA_SUCCESS)
        error = keep(&caller, start, bytes);
    if (error == CUDA_SUCCESS)
        *address = start;
    return error;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *address, size_t *pitch, size_t width, size_t height,
                            unsigned int element)
{
    struct vgpu_caller caller;
    uint64_t start = 0, row = 0;
    size_t bytes;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (address == NULL || pitch == NULL || width == 0 || height == 0 ||
        (element != 4 && element != 8 && element != 16))
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_process_note(vgpu_process(),
                              vgpu_send_cuMemAllocPitch(caller.channel, caller.context, &start,
                                                        &row, width, height, element));
    if (error == CUDA_SUCCESS && __builtin_mul_overflow(row, height, &bytes))
        error = CUDA_ERROR_OUT_OF_MEMORY;
    if (error == CUDA_SUCCESS)
        error = keep(&caller, start, bytes);
    if (error == CUDA_SUCCESS) {
        *address = start;
        *pitch = row;
    }
    return error;
}

CUresult cuMemFree_v2(CUdeviceptr address)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error || address == 0)
        return error;
    if (!vgpu_ranges_remove(&process->ranges, address, VGPU_RANGE_DEVICE, &range))
        return CUDA_ERROR_INVALID_VALUE;
    /* It may be another context's than the current one. */
    return vgpu_process_note(
        process, vgpu_send_cuMemFree(caller.channel, range.context->object.id, address));
}

/*
 * Memory of the host. It is ordinary memory: copies go through staging whether a program asks for
 * this kind or not, and the device cannot reach it, so mapping it is refused.
 */

#define HOST_FLAGS                                                                                 \
    (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED)
#define REGISTER_FLAGS                                                                             \
    (CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_IOMEMORY |    \
     CU_MEMHOSTREGISTER_READ_ONLY)

static CUresult keep_host(const struct vgpu_caller *caller, void *memory, size_t bytes,
                          unsigned int flags, enum vgpu_range_kind kind)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_range range = {.start = (uintptr_t)memory,
                               .bytes = bytes,
                               .kind = kind,
                               .flags = flags,
                               .context = caller->current,
                               .id = vgpu_process_new_id(process)};
    return vgpu_ranges_add(&process->ranges, &range) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned int flags)
{
    struct vgpu_caller caller;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (memory == NULL || flags & ~(unsigned int)HOST_FLAGS)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes == 0) {
        *memory = NULL;
        return CUDA_SUCCESS;
    }
    if (__builtin_add_overflow(bytes, page - 1, &whole))
        return CUDA_ERROR_OUT_OF_MEMORY;
    void *made = aligned_alloc(page, whole / page * page);
    if (made == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    error = keep_host(&caller, made, bytes, flags, VGPU_RANGE_HOST);
    if (error)
        free(made);
    else
        *memory = made;
    return error;
}

CUresult cuMemAllocHost_v2(void **memory, size_t bytes)
{
    return cuMemHostAlloc(memory, bytes, 0);
}

CUresult cuMemFreeHost(void *memory)
{
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error || memory == NULL)
        return error;
    if (!vgpu_ranges_remove(&vgpu_process()->ranges, (uintptr_t)memory, VGPU_RANGE_HOST, &range))
        return CUDA_ERROR_INVALID_VALUE;
    free(memory);
    return CUDA_SUCCESS;
}

CUresult cuMemHostRegister_v2(void *memory, size_t bytes, unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (memory == NULL || bytes == 0 || flags & ~(unsigned int)REGISTER_FLAGS)
        return CUDA_ERROR_INVALID_VALUE;
    if (flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (vgpu_ranges_find(&vgpu_process()->ranges, (uintptr_t)memory, &range))
        return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    return keep_host(&caller, memory, bytes, flags, VGPU_RANGE_REGISTERED);
}

CUresult cuMemHostUnregister(void *memory)
{
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (memory == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_ranges_remove(&vgpu_process()->ranges, (uintptr_t)memory, VGPU_RANGE_REGISTERED,
                              &range)
               ? CUDA_SUCCESS
               : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *memory)
{
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (flags == NULL || !vgpu_ranges_find(&vgpu_process()->ranges, (uintptr_t)memory, &range) ||
        range.kind != VGPU_RANGE_HOST)
        return CUDA_ERROR_INVALID_VALUE;
    *flags = range.flags;
    return CUDA_SUCCESS;
}
