/* SPDX-License-Identifier: MIT */
#include "guest/process/caller.h"

#include "guest/graph/capture.h"
#include "guest/graph/shadow.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "protocol/send.h"

CUresult vgpu_caller_may_wait(void)
{
    CUresult error = vgpu_process_ready(vgpu_process());
    return error == CUDA_SUCCESS && vgpu_thread_place.upcall ? CUDA_ERROR_NOT_PERMITTED : error;
}

CUresult vgpu_caller_begin(struct vgpu_caller *caller)
{
    struct vgpu_process *process = vgpu_process();
    CUresult error = vgpu_caller_may_wait();
    if (process->trace)
        __atomic_fetch_add(&process->entered, 1, __ATOMIC_RELAXED);
    if (error == CUDA_SUCCESS)
        error = vgpu_process_collect(process);
    if (error == CUDA_SUCCESS)
        *caller = (struct vgpu_caller){process->channel, 0, NULL};
    return error;
}

void vgpu_caller_follow(struct vgpu_caller *caller, const struct vgpu_object *object)
{
    caller->current = object->context;
    caller->context = caller->current->object.id;
}

CUresult vgpu_caller_enter(struct vgpu_caller *caller)
{
    CUresult error = vgpu_caller_begin(caller);
    if (error)
        return error;
    struct vgpu_context *current = vgpu_thread_current();
    if (current == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!vgpu_context_usable(current))
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    caller->current = current;
    caller->context = current->object.id;
    return CUDA_SUCCESS;
}

CUresult vgpu_caller_enter_unsafe(struct vgpu_caller *caller)
{
    CUresult error = vgpu_caller_enter(caller);
    return error ? error : vgpu_capture_unsafe();
}

CUresult vgpu_caller_find_stream(struct vgpu_caller *caller, CUstream handle,
                                 struct vgpu_stream **stream)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    if (handle == NULL || handle == CU_STREAM_LEGACY) {
        *stream = caller->current->legacy;
        return CUDA_SUCCESS;
    }
    if (handle == CU_STREAM_PER_THREAD)
        return vgpu_stream_of_thread(caller, stream);
    *stream = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_STREAM);
    if (*stream == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    vgpu_caller_follow(caller, &(*stream)->object);
    return CUDA_SUCCESS;
}

CUresult vgpu_caller_enter_stream(struct vgpu_caller *caller, CUstream handle,
                                  struct vgpu_stream **stream)
{
    CUresult error = vgpu_caller_find_stream(caller, handle, stream);
    if (error == CUDA_SUCCESS)
        error = vgpu_capture_admit(*stream);
    if (error == CUDA_SUCCESS)
        vgpu_mirrors_push(&vgpu_process()->mirrors, caller->channel);
    if (error == CUDA_SUCCESS && (*stream)->flags & CU_STREAM_NON_BLOCKING)
        error = vgpu_context_settle(caller);
    return error;
}

CUresult vgpu_caller_wait(const struct vgpu_caller *caller, uint32_t fence, uint32_t value)
{
    struct vgpu_process *process = vgpu_process();
    CUresult error = CUDA_SUCCESS;
    bool reached = false;
    /* A fence of failed work still comes, but who waits for a dead context need not wait for it. */
    while (error == CUDA_SUCCESS && !reached) {
        error = vgpu_fence_wait(caller->channel, fence, value);
        reached = vgpu_fence_reached(caller->channel, fence, value);
        if (error == CUDA_SUCCESS)
            error = vgpu_process_collect(process);
    }
    vgpu_channel_flush_console(caller->channel);
    vgpu_shadows_collect();
    vgpu_mirrors_pull(&process->mirrors, caller->channel);
    return error ? error : vgpu_process_take_deferred(process);
}

CUresult vgpu_caller_ask(const struct vgpu_caller *caller)
{
    struct vgpu_process *process = vgpu_process();
    uint64_t limit;
    /* Any exchange: with its reply, what the driver said of the records before it is here. */
    CUresult error =
        vgpu_send_cuCtxGetLimit(caller->channel, caller->context, &limit, CU_LIMIT_STACK_SIZE);
    if (error == CUDA_SUCCESS)
        error = vgpu_process_collect(process);
    return error ? error : vgpu_process_take_deferred(process);
}

CUresult vgpu_caller_finish(const struct vgpu_caller *caller, const struct vgpu_marker *marker,
                            bool idle, uint32_t value)
{
    struct vgpu_process *process = vgpu_process();
    if (!idle)
        return vgpu_caller_wait(caller, marker->fence, value);
    CUresult error = vgpu_process_collect(process);
    vgpu_channel_flush_console(caller->channel);
    vgpu_shadows_collect();
    vgpu_mirrors_pull(&process->mirrors, caller->channel);
    return error ? error : vgpu_process_take_deferred(process);
}
