/* SPDX-License-Identifier: MIT */
#include "worker/fence.h"

#include <stdlib.h>

#include "worker/context.h"
#include "worker/log.h"
#include "worker/worker.h"

/* Events that a thorough look asks the driver about: the oldest, for they are reached first. */
#define EVENTS_ASKED 16u

/* A fence whose word does not come after its event was seen done this often was overwritten by the
 * guest: it is not waited for any longer. */
#define PASSED_MOST 64u

void vgpu_fences_destroy(struct vgpu_fences *fences)
{
    free(fences->marks);
    *fences = (struct vgpu_fences){0};
}

static uint32_t *fence_word(const struct vgpu_worker *worker, uint32_t fence)
{
    return (uint32_t *)(worker->extent + VGPU_CHANNEL_FENCES_OFFSET) + fence;
}

static bool is_behind(uint32_t word, uint32_t value)
{
    return (int32_t)(value - word) > 0;
}

static void write_fence(const struct vgpu_worker *worker, uint32_t fence, uint32_t value)
{
    uint32_t *word = fence_word(worker, fence);
    /* A later value may be there already, if streams overtook each other: never step back. */
    if (is_behind(__atomic_load_n(word, __ATOMIC_RELAXED), value))
        __atomic_store_n(word, value, __ATOMIC_RELEASE); /* pairs with the guest's acquire */
}

/* A fence that nothing will write any more: first the reason, then the fence. */
static void fail_fence(struct vgpu_worker *worker, uint32_t fence, uint32_t value, CUresult error)
{
    vgpu_worker_defer(worker, error);
    write_fence(worker, fence, value);
    vgpu_worker_wake(worker);
}

static void reach(struct vgpu_worker *worker, struct vgpu_mark *mark)
{
    mark->reached = true;
    worker->fences.unreached--;
    mark->context->usage.pending--;
}

/* Ends what is left of a failed context: nothing of it will be reached. */
static void fail_context(struct vgpu_worker *worker, struct vgpu_context *context, CUresult error)
{
    vgpu_worker_defer(worker, error);
    for (uint32_t i = 0; i < worker->fences.count; i++) {
        struct vgpu_mark *mark = &worker->fences.marks[i];
        if (mark->context != context || mark->reached)
            continue;
        if (mark->kind == VGPU_MARK_GPU || mark->kind == VGPU_MARK_CPU)
            write_fence(worker, mark->fence, mark->value);
        reach(worker, mark);
    }
    vgpu_worker_wake(worker);
}

static void finish_by_cpu(struct vgpu_worker *worker, struct vgpu_mark *mark)
{
    if (worker->prints) { /* a synchronising call, and only that, brings out what was printed */
        worker->driver->cuEventSynchronize(mark->event);
        vgpu_console_publish(&worker->console, vgpu_worker_channel(worker));
    }
    write_fence(worker, mark->fence, mark->value);
    reach(worker, mark);
}

/* Returns true if the mark was newly reached, or has failed. */
static bool look_at(struct vgpu_worker *worker, struct vgpu_mark *mark, bool ask)
{
    if (mark->kind == VGPU_MARK_GPU) {
        uint32_t word = __atomic_load_n(fence_word(worker, mark->fence), __ATOMIC_ACQUIRE);
        if (!is_behind(word, mark->value)) {
            reach(worker, mark);
            return true;
        }
    }
    if (!ask && mark->kind != VGPU_MARK_CPU)
        return false;
    CUresult error = worker->driver->cuEventQuery(mark->event);
    if (error == CUDA_ERROR_NOT_READY)
        return false;
    if (error != CUDA_SUCCESS)
        fail_context(worker, mark->context, error);
    else if (mark->kind == VGPU_MARK_CPU)
        finish_by_cpu(worker, mark);
    else if (mark->kind == VGPU_MARK_TIME)
        reach(worker, mark);
    else if (mark->passed++ < PASSED_MOST)
        return false; /* the event is just before the fence: its word comes now */
    else
        reach(worker, mark);
    return true;
}

/* Takes out the marks that were reached and that the driver has done with, and accounts them. */
static void settle(struct vgpu_worker *worker)
{
    struct vgpu_fences *fences = &worker->fences;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fences->count; i++) {
        struct vgpu_mark *mark = &fences->marks[i];
        CUresult error = CUDA_ERROR_NOT_READY;
        if (mark->reached)
            error = worker->driver->cuEventQuery(mark->event);
        if (error == CUDA_SUCCESS)
            vgpu_usage_account(worker, mark->context, mark->event, mark->kind == VGPU_MARK_BEGIN);
        else if (error != CUDA_ERROR_NOT_READY)
            vgpu_usage_put(worker, mark->context, mark->event);
        else
            fences->marks[kept++] = *mark;
    }
    fences->count = kept;
}

static bool grow(struct vgpu_fences *fences)
{
    uint32_t room = fences->room ? fences->room * 2 : 64;
    struct vgpu_mark *marks = reallocarray(fences->marks, room, sizeof(*marks));
    if (marks == NULL)
        return false;
    fences->marks = marks;
    fences->room = room;
    return true;
}

/* Room for one more mark: when there are too many, the oldest is waited for. */
static bool make_room(struct vgpu_worker *worker)
{
    struct vgpu_fences *fences = &worker->fences;
    if (fences->count == VGPU_MARKS_MAX) {
        vgpu_fence_poll(worker, true);
        while (fences->count == VGPU_MARKS_MAX) {
            worker->driver->cuEventSynchronize(fences->marks[0].event);
            vgpu_fence_poll(worker, true);
        }
    }
    return fences->count < fences->room || grow(fences);
}

static CUresult add_mark(struct vgpu_worker *worker, CUstream stream, struct vgpu_mark mark)
{
    struct vgpu_context *context = worker->current;
    if (!make_room(worker))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_usage_take(worker, context, &mark.event);
    if (error)
        return error;
    error = worker->driver->cuEventRecord(mark.event, stream);
    if (error) {
        vgpu_usage_put(worker, context, mark.event);
        return error;
    }
    mark.context = context;
    mark.reached = mark.kind == VGPU_MARK_BEGIN;
    if (!mark.reached) {
        worker->fences.unreached++;
        context->usage.pending++;
    }
    worker->fences.marks[worker->fences.count++] = mark;
    return CUDA_SUCCESS;
}

void vgpu_fence_mark(struct vgpu_worker *worker, CUstream stream, enum vgpu_mark_kind kind)
{
    add_mark(worker, stream, (struct vgpu_mark){.kind = kind});
}

static CUresult let_gpu_write(struct vgpu_worker *worker, CUstream stream, uint32_t fence,
                              uint32_t value)
{
    CUdeviceptr word =
        worker->current->extent + VGPU_CHANNEL_FENCES_OFFSET + fence * sizeof(uint32_t);
    CUresult error =
        worker->driver->cuStreamWriteValue32(stream, word, value, CU_STREAM_WRITE_VALUE_DEFAULT);
    if (error != CUDA_ERROR_NOT_SUPPORTED)
        return error;
    vgpu_log("the driver cannot write fences: the worker does it");
    worker->fences.by_cpu = true;
    worker->fences.marks[worker->fences.count - 1].kind = VGPU_MARK_CPU;
    return CUDA_SUCCESS;
}

void vgpu_fence_place(struct vgpu_worker *worker, CUstream stream, uint32_t fence, uint32_t value)
{
    bool by_cpu = worker->fences.by_cpu || worker->prints || worker->current->extent == 0;
    struct vgpu_mark mark = {
        .kind = by_cpu ? VGPU_MARK_CPU : VGPU_MARK_GPU, .fence = fence, .value = value};
    CUresult error = add_mark(worker, stream, mark);
    if (error) {
        fail_fence(worker, fence, value, error);
        return;
    }
    if (!by_cpu)
        error = let_gpu_write(worker, stream, fence, value);
    if (error) { /* what was added keeps the time, and is no fence any more */
        worker->fences.marks[worker->fences.count - 1].kind = VGPU_MARK_TIME;
        fail_fence(worker, fence, value, error);
    }
    vgpu_usage_covered(&worker->current->usage, stream);
}

/* An interval of work ends where nothing is under way and nothing lacks a mark. */
static void note_idleness(struct vgpu_worker *worker)
{
    for (struct vgpu_context *context = worker->contexts; context; context = context->next) {
        if (context->usage.pending == 0 && context->usage.uncovered_count == 0)
            context->usage.busy = false;
    }
}

bool vgpu_fence_poll(struct vgpu_worker *worker, bool thorough)
{
    struct vgpu_fences *fences = &worker->fences;
    bool progress = false;
    uint32_t asked = 0;
    for (uint32_t i = 0; i < fences->count && fences->unreached; i++) {
        if (!fences->marks[i].reached)
            progress |= look_at(worker, &fences->marks[i], thorough && asked++ < EVENTS_ASKED);
    }
    if (progress) {
        vgpu_worker_wake(worker);
        note_idleness(worker);
    }
    if (thorough)
        settle(worker);
    return progress;
}

void vgpu_fence_finish(struct vgpu_worker *worker, struct vgpu_context *context)
{
    struct vgpu_fences *fences = &worker->fences;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fences->count; i++) {
        struct vgpu_mark *mark = &fences->marks[i];
        if (mark->context != context) {
            fences->marks[kept++] = *mark;
            continue;
        }
        CUresult error = worker->driver->cuEventSynchronize(mark->event);
        if (!mark->reached && mark->kind == VGPU_MARK_TIME)
            reach(worker, mark);
        else if (!mark->reached && error)
            fail_context(worker, context, error);
        else if (!mark->reached)
            finish_by_cpu(worker, mark); /* what the GPU writes, it has written or is about to */
        if (error == CUDA_SUCCESS)
            vgpu_usage_account(worker, context, mark->event, mark->kind == VGPU_MARK_BEGIN);
        else
            vgpu_usage_put(worker, context, mark->event);
    }
    fences->count = kept;
    vgpu_worker_wake(worker);
}
