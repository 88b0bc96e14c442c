/* SPDX-License-Identifier: MIT */
/* What the guest waits for: fences behind a stream, behind a context, behind an event. */
#include "worker/context.h"
#include "worker/worker.h"

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
    /* The legacy stream waits for blocking streams by itself, for the others after the join. If
     * that fails, the fence still comes: the guest finds the error before it. */
    CUresult error = vgpu_context_join(worker);
    if (error)
        vgpu_worker_defer(worker, error);
    vgpu_fence_place(worker, NULL, call->fence, call->value);
    vgpu_usage_fenced_all(worker->current);
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuEventRecord(struct vgpu_worker *worker,
                                     struct vgpu_call_vgpuEventRecord *call)
{
    if (!is_fence(worker, call->fence))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult error = worker->driver->cuEventRecordWithFlags(call->event, call->stream, call->flags);
    if (error)
        vgpu_worker_defer(worker, error);
    vgpu_fence_place(worker, call->stream, call->fence, call->value);
    return CUDA_SUCCESS;
}
