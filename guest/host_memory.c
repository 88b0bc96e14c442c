/* SPDX-License-Identifier: MIT */
/*
 * Page-locked memory. It is shared with the device, so that copies need no staging and kernels
 * reach it; where it cannot be, it is ordinary memory, which copies treat as any other.
 */
#include "guest/host_memory.h"

#include <stdlib.h>

#include "guest/context.h"
#include "guest/process.h"

#define PAGE ((size_t)4096)
#define ALLOC_FLAGS                                                                                \
    (CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED)
#define REGISTER_FLAGS                                                                             \
    (CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP | CU_MEMHOSTREGISTER_IOMEMORY |    \
     CU_MEMHOSTREGISTER_READ_ONLY)

bool vgpu_host_is_shared(const void *memory, size_t bytes)
{
    struct vgpu_range range;
    uintptr_t address = (uintptr_t)memory;
    return vgpu_ranges_find(&vgpu_process()->ranges, address, &range) && range.shared &&
           bytes <= range.bytes - (address - range.start);
}

void vgpu_host_release(const struct vgpu_range *range)
{
    struct vgpu_process *process = vgpu_process();
    void *memory = (void *)(uintptr_t)range->start;
    if (range->kind != VGPU_RANGE_HOST && range->kind != VGPU_RANGE_MANAGED)
        return;
    if (range->shared)
        vgpu_arena_put(&process->arenas, process->channel, memory, range->bytes);
    else
        free(memory);
}

static CUresult keep(const struct vgpu_caller *caller, struct vgpu_range *range)
{
    struct vgpu_process *process = vgpu_process();
    range->context = caller->current;
    range->id = vgpu_process_new_id(process);
    return vgpu_ranges_add(&process->ranges, range) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult take(const struct vgpu_caller *caller, struct vgpu_range *range)
{
    size_t whole;
    void *memory = NULL;
    CUresult error = vgpu_arena_take(&vgpu_process()->arenas, caller, range->bytes, &memory);
    range->shared = error == CUDA_SUCCESS;
    if (error == CUDA_ERROR_NOT_SUPPORTED) {
        if (!__builtin_add_overflow(range->bytes, PAGE - 1, &whole))
            memory = aligned_alloc(PAGE, whole / PAGE * PAGE);
        error = memory ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    range->start = (uintptr_t)memory;
    return error;
}

CUresult cuMemHostAlloc(void **memory, size_t bytes, unsigned int flags)
{
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (memory == NULL || flags & ~(unsigned int)ALLOC_FLAGS)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes == 0) {
        *memory = NULL;
        return CUDA_SUCCESS;
    }
    struct vgpu_range range = {.bytes = bytes, .kind = VGPU_RANGE_HOST, .flags = flags};
    error = take(&caller, &range);
    if (error)
        return error;
    error = keep(&caller, &range);
    if (error)
        vgpu_host_release(&range);
    else
        *memory = (void *)(uintptr_t)range.start;
    return error;
}

CUresult cuMemAllocHost_v2(void **memory, size_t bytes)
{
    return cuMemHostAlloc(memory, bytes, CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_PORTABLE);
}

CUresult cuMemFreeHost(void *memory)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error || memory == NULL)
        return error;
    if (!vgpu_ranges_remove(&process->ranges, (uintptr_t)memory, VGPU_RANGE_HOST, &range))
        return CUDA_ERROR_INVALID_VALUE;
    /* The next owner must not meet copies that are still under way. */
    if (range.shared)
        error = vgpu_stream_wait(&caller, range.context->legacy);
    vgpu_host_release(&range);
    return error;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *memory, unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (address == NULL || memory == NULL || flags != 0 ||
        !vgpu_ranges_find(&vgpu_process()->ranges, (uintptr_t)memory, &range) ||
        !vgpu_range_is_host(&range))
        return CUDA_ERROR_INVALID_VALUE;
    if (!range.shared)
        return CUDA_ERROR_NOT_SUPPORTED;
    *address = (uintptr_t)memory;
    return CUDA_SUCCESS;
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

/* ---- memory of the program's own ---- */

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
    range = (struct vgpu_range){
        .start = (uintptr_t)memory, .bytes = bytes, .kind = VGPU_RANGE_REGISTERED, .flags = flags};
    return keep(&caller, &range);
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
