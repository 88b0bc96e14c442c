/* SPDX-License-Identifier: MIT */
#include "worker/stream/wait.h"

#include "worker/context.h"
#include "worker/graph/capture.h"
#include "worker/worker.h"

void vgpu_wait_place(struct vgpu_worker *worker, CUstream stream)
{
    if (worker->current && !vgpu_capture_holds(worker, stream))
        vgpu_fence_mark(worker, stream, VGPU_MARK_WAIT);
}

void vgpu_wait_place_behind(struct vgpu_worker *worker, CUstream stream)
{
    if (worker->fences.waits)
        vgpu_wait_place(worker, stream);
}

static bool is_in(const struct vgpu_mark *mark, const struct vgpu_context *context, CUstream stream)
{
    return mark->context == context && mark->stream == stream;
}

bool vgpu_wait_holds(const struct vgpu_worker *worker, const struct vgpu_context *context,
                     CUstream stream)
{
    const struct vgpu_fences *fences = &worker->fences;
    if (fences->waits == 0)
        return false;
    for (uint32_t i = 0; i < fences->count; i++) {
        const struct vgpu_mark *mark = &fences->marks[i];
        if (mark->kind == VGPU_MARK_WAIT && is_in(mark, context, vgpu_mark_stream(stream)))
            return true;
    }
    return false;
}

/* The next mark of the same stream; NULL: none, or another wait comes first. */
static struct vgpu_mark *next_behind(struct vgpu_worker *worker, const struct vgpu_mark *mark)
{
    struct vgpu_fences *fences = &worker->fences;
    for (uint32_t i = (uint32_t)(mark - fences->marks) + 1; i < fences->count; i++) {
        if (is_in(&fences->marks[i], mark->context, mark->stream))
            return fences->marks[i].kind == VGPU_MARK_WAIT ? NULL : &fences->marks[i];
    }
    return NULL;
}

void vgpu_wait_end(struct vgpu_worker *worker, struct vgpu_mark *wait, bool over)
{
    struct vgpu_context *context = wait->context;
    struct vgpu_mark *behind = over ? next_behind(worker, wait) : NULL;
    worker->fences.waits--;
    if (behind || (over && vgpu_usage_has_work(context, wait->stream)))
        vgpu_usage_resume(worker, context, wait);
    else
        vgpu_usage_put(worker, context, wait->event);
    uint64_t idle = vgpu_usage_idle(context);
    for (; behind; behind = next_behind(worker, behind)) { /* as if it had been placed now */
        behind->waits = false;
        behind->idle = idle;
        vgpu_lease_resume(worker, behind);
        context->usage.pending += behind->kind != VGPU_MARK_BEGIN;
    }
    wait->context = NULL;
}

void vgpu_wait_reached(struct vgpu_worker *worker, const struct vgpu_mark *reached)
{
    for (struct vgpu_mark *mark = worker->fences.marks; mark < reached; mark++) {
        if (mark->kind == VGPU_MARK_WAIT && is_in(mark, reached->context, reached->stream))
            vgpu_wait_end(worker, mark, true);
    }
}
