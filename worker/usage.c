/* SPDX-License-Identifier: MIT */
#include "worker/usage.h"

#include "worker/context.h"
#include "worker/worker.h"

/* The calls that bring work to the GPU; each names one stream. */
static const bool brings_work[VGPU_CALL_MAX + 1] = {
    [VGPU_CALL_vgpuCopyToDevice] = true,   [VGPU_CALL_vgpuCopyFromDevice] = true,
    [VGPU_CALL_vgpuCopyInline] = true,     [VGPU_CALL_vgpuCopy2D] = true,
    [VGPU_CALL_cuMemcpyDtoDAsync] = true,  [VGPU_CALL_cuMemsetD8Async] = true,
    [VGPU_CALL_cuMemsetD16Async] = true,   [VGPU_CALL_cuMemsetD32Async] = true,
    [VGPU_CALL_cuMemsetD2D8Async] = true,  [VGPU_CALL_cuMemsetD2D16Async] = true,
    [VGPU_CALL_cuMemsetD2D32Async] = true, [VGPU_CALL_vgpuLaunch] = true,
};

static CUstream canonical(CUstream stream)
{
    return stream == CU_STREAM_LEGACY ? NULL : stream;
}

void vgpu_usage_stream(struct vgpu_worker *worker, CUstream stream)
{
    struct vgpu_context *context = worker->current;
    if (context == NULL || worker->call > VGPU_CALL_MAX || !brings_work[worker->call])
        return;
    struct vgpu_usage *usage = &context->usage;
    if (!usage->busy) {
        vgpu_fence_mark(worker, stream, VGPU_MARK_BEGIN);
        usage->busy = true;
    }
    stream = canonical(stream);
    for (uint32_t i = 0; i < usage->uncovered_count; i++) {
        if (usage->uncovered[i] == stream)
            return;
    }
    if (usage->uncovered_count == VGPU_USAGE_STREAMS)
        vgpu_usage_cover(worker);
    usage->uncovered[usage->uncovered_count++] = stream;
}

void vgpu_usage_covered(struct vgpu_usage *usage, CUstream stream)
{
    stream = canonical(stream);
    for (uint32_t i = 0; i < usage->uncovered_count; i++) {
        if (usage->uncovered[i] == stream) {
            usage->uncovered[i] = usage->uncovered[--usage->uncovered_count];
            return;
        }
    }
}

void vgpu_usage_covered_all(struct vgpu_usage *usage)
{
    usage->uncovered_count = 0;
}

void vgpu_usage_cover(struct vgpu_worker *worker)
{
    struct vgpu_context *context = worker->current;
    if (context == NULL)
        return; /* only the current context can have got work since the last time */
    for (uint32_t i = 0; i < context->usage.uncovered_count; i++)
        vgpu_fence_mark(worker, context->usage.uncovered[i], VGPU_MARK_TIME);
    vgpu_usage_covered_all(&context->usage);
}

CUresult vgpu_usage_take(struct vgpu_worker *worker, struct vgpu_context *context, CUevent *event)
{
    struct vgpu_usage *usage = &context->usage;
    if (usage->pooled) {
        *event = usage->pool[--usage->pooled];
        return CUDA_SUCCESS;
    }
    return worker->driver->cuEventCreate(event, CU_EVENT_DEFAULT);
}

void vgpu_usage_put(struct vgpu_worker *worker, struct vgpu_context *context, CUevent event)
{
    struct vgpu_usage *usage = &context->usage;
    if (event == NULL)
        return;
    if (usage->pooled < VGPU_USAGE_POOL)
        usage->pool[usage->pooled++] = event;
    else
        worker->driver->cuEventDestroy(event);
}

void vgpu_usage_account(struct vgpu_worker *worker, struct vgpu_context *context, CUevent event,
                        bool begins)
{
    struct vgpu_usage *usage = &context->usage;
    float milliseconds = 0;
    if (usage->last &&
        (worker->driver->cuEventElapsedTime(&milliseconds, usage->last, event) != CUDA_SUCCESS ||
         !(milliseconds > 0))) {
        /* Streams overtake each other: what lies before the account's end is in it already. */
        vgpu_usage_put(worker, context, event);
        return;
    }
    if (usage->last && !begins)
        __atomic_fetch_add(&worker->page->gpu_nanoseconds, (uint64_t)((double)milliseconds * 1e6),
                           __ATOMIC_RELAXED);
    vgpu_usage_put(worker, context, usage->last);
    usage->last = event;
}

void vgpu_usage_destroy(struct vgpu_worker *worker, struct vgpu_context *context)
{
    struct vgpu_usage *usage = &context->usage;
    if (usage->last)
        worker->driver->cuEventDestroy(usage->last);
    while (usage->pooled)
        worker->driver->cuEventDestroy(usage->pool[--usage->pooled]);
    *usage = (struct vgpu_usage){0};
}
