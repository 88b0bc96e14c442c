/* SPDX-License-Identifier: MIT */
/*
 * Page-locked and managed memory. It is shared with the device, so that copies need no staging and
 * kernels reach it; where it cannot be, it is ordinary memory, which copies treat as any other.
 */
#include "guest/memory/host_memory.h"

#include <stdlib.h>

#include "guest/process/context.h"
#include "guest/process/process.h"
#include "interop/advice.h"
#include "interop/log.h"
#include "interop/managed.h"

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
           !range.pieced && bytes <= range.bytes - (address - range.start);
}

void vgpu_host_release(const struct vgpu_range *range)
{
    struct vgpu_process *process = vgpu_process();
    void *memory = (void *)(uintptr_t)range->start;
    switch (range->kind) {
    case VGPU_RANGE_HOST:
    case VGPU_RANGE_MANAGED:
        if (range->shared)
            vgpu_arena_put(&process->arenas, process->channel, memory, range->bytes);
        else
            free(memory);
        break;
    case VGPU_RANGE_REGISTERED:
        if (range->shared)
            vgpu_registered_unshare(&process->registered, process->channel, memory, range->bytes);
        break;
    case VGPU_RANGE_VARIABLE:
        if (range->mirrored)
            vgpu_mirror_end(&process->mirrors, range->start);
        break;
    default:
        break;
    }
    if (range->kind == VGPU_RANGE_MANAGED || range->mirrored)
        vgpu_advice_forget(range->start, range->bytes);
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
    CUresult error = vgpu_caller_enter_unsafe(&caller);
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

CUresult vgpu_host_free(const struct vgpu_caller *caller, const struct vgpu_range *range)
{
    CUresult error = CUDA_SUCCESS;
    /* The next owner must not meet work that is still under way. */
    if (range->shared)
        error = vgpu_stream_wait(caller, range->context->legacy);
    vgpu_host_release(range);
    return error;
}

CUresult cuMemFreeHost(void *memory)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter_unsafe(&caller);
    if (error || memory == NULL)
        return error;
    if (!vgpu_ranges_remove(&process->ranges, (uintptr_t)memory, VGPU_RANGE_HOST, &range))
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_host_free(&caller, &range);
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
        (range.kind != VGPU_RANGE_HOST && range.kind != VGPU_RANGE_REGISTERED))
        return CUDA_ERROR_INVALID_VALUE;
    *flags = range.flags;
    return CUDA_SUCCESS;
}

/* ---- managed memory ---- */

CUresult cuMemAllocManaged(CUdeviceptr *address, size_t bytes, unsigned int flags)
{
    struct vgpu_caller caller;
    void *memory;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (address == NULL || bytes == 0 ||
        (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST))
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_arena_take(&vgpu_process()->arenas, &caller, bytes, &memory);
    if (error)
        return error;
    struct vgpu_range range = {.start = (uintptr_t)memory,
                               .bytes = bytes,
                               .kind = VGPU_RANGE_MANAGED,
                               .flags = flags,
                               .shared = true};
    error = keep(&caller, &range);
    if (error)
        vgpu_host_release(&range);
    else
        *address = range.start;
    return error;
}

CUresult vgpu_managed_enter(void)
{
    struct vgpu_caller caller;
    return vgpu_caller_enter(&caller);
}

CUresult vgpu_managed_enter_stream(CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    return vgpu_caller_enter_stream(&caller, handle, &stream);
}

bool vgpu_managed_find(uint64_t address, struct vgpu_managed *found)
{
    struct vgpu_range range;
    if (!vgpu_ranges_find(&vgpu_process()->ranges, address, &range) ||
        (range.kind != VGPU_RANGE_MANAGED && !range.mirrored))
        return false;
    *found = (struct vgpu_managed){range.start, range.bytes};
    return true;
}

bool vgpu_managed_has_device(int ordinal)
{
    return ordinal == 0;
}

/* ---- memory of the program's own ---- */

/* Copies reach it as they reach any memory, but kernels do not. */
static void log_unreachable(const void *memory, size_t bytes)
{
    static bool logged;
    /* relaxed: a second line would do no harm */
    if (!__atomic_exchange_n(&logged, true, __ATOMIC_RELAXED))
        vgpu_log(VGPU_LOG_INFO,
                 "registered memory at %p, %zu bytes, is not private memory of this "
                 "process: kernels cannot reach it",
                 memory, bytes);
}

CUresult cuMemHostRegister_v2(void *memory, size_t bytes, unsigned int flags)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter_unsafe(&caller);
    if (error)
        return error;
    if (memory == NULL || bytes == 0 || flags & ~(unsigned int)REGISTER_FLAGS ||
        (uintptr_t)memory + bytes < (uintptr_t)memory)
        return CUDA_ERROR_INVALID_VALUE;
    if (flags & CU_MEMHOSTREGISTER_IOMEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (vgpu_ranges_overlap(&process->ranges, (uintptr_t)memory, bytes, &range))
        return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    range = (struct vgpu_range){
        .start = (uintptr_t)memory, .bytes = bytes, .kind = VGPU_RANGE_REGISTERED, .flags = flags};
    error = vgpu_registered_share(&process->registered, &caller, memory, bytes, &range.pieced);
    if (error && error != CUDA_ERROR_NOT_SUPPORTED)
        return error;
    range.shared = error == CUDA_SUCCESS;
    if (!range.shared)
        log_unreachable(memory, bytes);
    error = keep(&caller, &range);
    if (error)
        vgpu_host_release(&range);
    return error;
}

CUresult cuMemHostUnregister(void *memory)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    struct vgpu_range range;
    CUresult error = vgpu_caller_enter_unsafe(&caller);
    if (error)
        return error;
    if (memory == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if (vgpu_ranges_remove(&process->ranges, (uintptr_t)memory, VGPU_RANGE_REGISTERED, &range))
        return vgpu_host_free(&caller, &range);
    /* Within a registered range, but not its beginning: not the same as not registered. */
    return vgpu_ranges_find(&process->ranges, (uintptr_t)memory, &range) &&
                   (range.kind == VGPU_RANGE_REGISTERED || range.kind == VGPU_RANGE_HOST)
               ? CUDA_ERROR_INVALID_VALUE
               : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

CUresult cuMemHostRegister(void *memory, size_t bytes, unsigned int flags)
{
    return cuMemHostRegister_v2(memory, bytes, flags);
}
