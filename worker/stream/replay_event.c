/* SPDX-License-Identifier: MIT */
/* What the guest waits for: fences behind a stream, behind a context, behind an event. */
#include "worker/context.h"
#include "worker/stream/wait.h"
#include "worker/worker.h"

enum { LOOKS = 50 }; /* at events that are done soon */

static bool is_fence(struct vgpu_worker *worker, uint32_t fence)
{
    if (fence < VGPU_FENCES)
        return true;
    vgpu_worker_blame(worker, "a fence that there is not");
    return false;
}

CUresult vgpu_replay_vgpuFence(struct vgpu_worker *worker, struct vgpu_call_vgpuFence *call)
{
    if (!is_fence(worker, call->fence))
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_fence_place(worker, call->stream, call->fence, call->value);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuFenceContext(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuFenceContext *call)
{
    if (!is_fence(worker, call->fence))
        return CUDA_ERROR_INVALID_VALUE;
    /* If that fails, the fence still comes: the guest finds the error before it. */
    CUstream stream;
    CUresult error = vgpu_context_gather(worker, &stream);
    if (error)
        vgpu_worker_defer(worker, error);
    vgpu_wait_place_behind(worker, stream);
    vgpu_fence_place(worker, stream, call->fence, call->value);
    vgpu_usage_fenced_all(worker, worker->current);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuEventRecord(struct vgpu_worker *worker,
                                     struct vgpu_call_vgpuEventRecord *call)
{
    if (call->fence != VGPU_NO_FENCE && !is_fence(worker, call->fence))
        return CUDA_ERROR_INVALID_VALUE;
    /* The fence first: what another stream does after it has waited for the event comes after the
     * fence, too, so a guest that sees the one done sees the other done. */
    if (call->fence != VGPU_NO_FENCE)
        vgpu_fence_place(worker, call->stream, call->fence, call->value);
    CUresult error = worker->driver->cuEventRecordWithFlags(call->event, call->stream, call->flags);
    if (error)
        vgpu_worker_defer(worker, error);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuContextRecord(struct vgpu_worker *worker,
                                       struct vgpu_call_vgpuContextRecord *call)
{
    const struct vgpu_driver *driver = worker->driver;
    if (!is_fence(worker, call->fence))
        return CUDA_ERROR_INVALID_VALUE;
    CUstream stream;
    CUresult error = vgpu_context_gather(worker, &stream);
    vgpu_wait_place_behind(worker, stream);
    vgpu_fence_place(worker, stream, call->fence, call->value);
    vgpu_usage_fenced_all(worker, worker->current);
    if (error == CUDA_SUCCESS)
        error = driver->cuCtxRecordEvent(worker->current->object, call->event);
    if (error == CUDA_ERROR_NOT_SUPPORTED)
        error = driver->cuEventRecord(call->event, stream);
    return error;
}

CUresult vgpu_replay_cuStreamWaitEvent(struct vgpu_worker *worker,
                                       struct vgpu_call_cuStreamWaitEvent *call)
{
    if (worker->fences.waits)
        vgpu_usage_cover_stream(worker, call->stream);
    CUresult error = worker->driver->cuStreamWaitEvent(call->stream, call->event, call->flags);
    if (error == CUDA_SUCCESS)
        vgpu_wait_place_behind(worker, call->stream);
    return error;
}

CUresult vgpu_replay_cuCtxWaitEvent(struct vgpu_worker *worker,
                                    struct vgpu_call_cuCtxWaitEvent *call)
{
    const struct vgpu_driver *driver = worker->driver;
    const struct vgpu_context *context = worker->current;
    CUresult error = driver->cuCtxWaitEvent(context->object, call->event);
    if (error != CUDA_ERROR_NOT_SUPPORTED)
        return error;
    /* Blocking streams wait for the legacy one. */
    error = driver->cuStreamWaitEvent(NULL, call->event, 0);
    for (uint32_t i = 0; i < context->stream_count && error == CUDA_SUCCESS; i++) {
        struct vgpu_handle *handle = &worker->handles.table[context->streams[i]];
        if (handle->blocks)
            continue;
        error = driver->cuStreamWaitEvent(handle->object, call->event, 0);
        handle->joined = false;
    }
    return error;
}

/* Who has found an event or a stream done waits for it without us: what was printed comes out now.
 */
CUresult vgpu_replay_cuEventQuery(struct vgpu_worker *worker, struct vgpu_call_cuEventQuery *call)
{
    CUresult error = worker->driver->cuEventQuery(call->event);
    if (error == CUDA_SUCCESS && worker->prints)
        error = worker->driver->cuEventSynchronize(call->event);
    return error;
}

CUresult vgpu_replay_cuStreamQuery(struct vgpu_worker *worker, struct vgpu_call_cuStreamQuery *call)
{
    CUresult error = worker->driver->cuStreamQuery(call->stream);
    if (error == CUDA_SUCCESS && worker->prints)
        error = worker->driver->cuStreamSynchronize(call->stream);
    return error;
}

/* The guest has seen both fences: the events, right behind them, may still be on their way. */
CUresult vgpu_replay_cuEventElapsedTime(struct vgpu_worker *worker,
                                        struct vgpu_call_cuEventElapsedTime *call)
{
    const struct vgpu_driver *driver = worker->driver;
    CUresult error = CUDA_ERROR_NOT_READY;
    /* Mostly it takes a microsecond, less than a synchronisation. */
    for (int i = 0; i < LOOKS && error == CUDA_ERROR_NOT_READY; i++)
        error = driver->cuEventElapsedTime(&call->milliseconds, call->start, call->end);
    if (error != CUDA_ERROR_NOT_READY)
        return error;
    error = driver->cuEventSynchronize(call->start);
    if (error == CUDA_SUCCESS)
        error = driver->cuEventSynchronize(call->end);
    if (error)
        return error;
    return driver->cuEventElapsedTime(&call->milliseconds, call->start, call->end);
}
