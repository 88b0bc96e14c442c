/* SPDX-License-Identifier: MIT */
#include "worker/stream/fence.h"

#include <stdlib.h>

#include "worker/context.h"
#include "worker/graph/capture.h"
#include "worker/log.h"
#include "worker/stream/wait.h"
#include "worker/worker.h"

/* Each costs as much as a launch: so many answers of "not yet" a look takes. */
#define QUESTIONS_MOST 4u

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

static bool has_fence(const struct vgpu_mark *mark)
{
    return mark->kind == VGPU_MARK_GPU || mark->kind == VGPU_MARK_CPU;
}

const struct vgpu_mark *vgpu_fence_oldest(const struct vgpu_worker *worker)
{
    const struct vgpu_fences *fences = &worker->fences;
    for (uint32_t i = 0; i < fences->count; i++) {
        if (!fences->marks[i].waits)
            return &fences->marks[i];
    }
    return NULL;
}

/* Ends a mark: its event is accounted or given back, and it is free to be taken out. */
static void end_mark(struct vgpu_worker *worker, struct vgpu_mark *mark, bool reached)
{
    struct vgpu_context *context = mark->context;
    if (mark->waits && reached)
        vgpu_wait_reached(worker, mark);
    if (mark->kind == VGPU_MARK_WAIT) {
        vgpu_wait_end(worker, mark, reached);
        return;
    }
    if (mark->kind != VGPU_MARK_BEGIN && !mark->waits)
        context->usage.pending--;
    vgpu_lease_resume(worker, mark);
    if (mark->event && reached)
        vgpu_usage_account(worker, context, mark);
    else
        vgpu_usage_put(worker, context, mark->event);
    mark->context = NULL;
}

static void take_out_ended(struct vgpu_fences *fences)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < fences->count; i++) {
        if (fences->marks[i].context)
            fences->marks[kept++] = fences->marks[i];
    }
    fences->count = kept;
}

/* Ends what is left of a failed context: nothing of it will be reached. The reason comes before the
 * fences; where there are none, nobody waits, and the guest's next fence finds it out. */
static void fail_context(struct vgpu_worker *worker, struct vgpu_context *context, CUresult error)
{
    for (uint32_t i = 0; i < worker->fences.count; i++) {
        struct vgpu_mark *mark = &worker->fences.marks[i];
        if (mark->context != context)
            continue;
        if (has_fence(mark)) {
            vgpu_worker_defer(worker, error);
            write_fence(worker, mark->fence, mark->value);
        }
        end_mark(worker, mark, false);
    }
    take_out_ended(&worker->fences);
    vgpu_usage_failed(worker, context);
    vgpu_worker_wake(worker);
}

static void write_by_cpu(struct vgpu_worker *worker, const struct vgpu_mark *mark)
{
    if (worker->prints) { /* a synchronising call, and only that, brings out what was printed */
        worker->driver->cuEventSynchronize(mark->event);
        vgpu_console_publish(&worker->console, vgpu_worker_channel(worker));
    }
    write_fence(worker, mark->fence, mark->value);
}

/* An event behind fences was reached, and so they were. Those whose words say otherwise have been
 * overwritten by the guest, and are not waited for. */
static void end_fences_before(struct vgpu_worker *worker, const struct vgpu_mark *event)
{
    for (struct vgpu_mark *mark = worker->fences.marks; mark < event; mark++) {
        if (mark->context == event->context && mark->stream == event->stream &&
            mark->kind == VGPU_MARK_GPU)
            end_mark(worker, mark, true);
    }
}

/* CUDA_SUCCESS when the mark was reached, CUDA_ERROR_NOT_READY, or the fault of its context. */
static CUresult look_at(struct vgpu_worker *worker, const struct vgpu_mark *mark, bool ask)
{
    if (mark->kind == VGPU_MARK_GPU) {
        /* pairs with the GPU's write: what it wrote before is there when this is */
        uint32_t word = __atomic_load_n(fence_word(worker, mark->fence), __ATOMIC_ACQUIRE);
        return is_behind(word, mark->value) ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
    }
    if (!ask && mark->kind != VGPU_MARK_CPU)
        return CUDA_ERROR_NOT_READY;
    return worker->driver->cuEventQuery(mark->event);
}

/* What was placed before a mark may have been reached since it was looked at: who sees the later
 * fence must see the earlier one. */
static void write_before(struct vgpu_worker *worker, const struct vgpu_mark *last)
{
    for (struct vgpu_mark *mark = worker->fences.marks; mark < last; mark++) {
        if (mark->context == last->context && mark->kind == VGPU_MARK_CPU &&
            worker->driver->cuEventQuery(mark->event) == CUDA_SUCCESS) {
            write_by_cpu(worker, mark);
            end_mark(worker, mark, true);
        }
    }
}

/* What one look has found. */
struct look {
    bool thorough, news, ended;
    bool wakes;             /* the guest may wait for some of it */
    uint32_t questions;     /* that may still be answered with "not yet" */
    struct vgpu_mark until; /* nothing behind it in its stream is reached; a copy */
    struct vgpu_context *failed;
    CUresult failure;
};

static bool is_behind_until(const struct look *look, const struct vgpu_mark *mark)
{
    return look->until.context == mark->context && look->until.stream == mark->stream &&
           mark->kind != VGPU_MARK_CPU;
}

static bool may_ask(const struct look *look, const struct vgpu_fences *fences, uint32_t place)
{
    return look->thorough && look->questions > 0 && place >= fences->asking;
}

/* Returns false when its context has failed. */
static bool look_at_place(struct vgpu_worker *worker, struct look *look, uint32_t place)
{
    struct vgpu_fences *fences = &worker->fences;
    struct vgpu_mark *mark = &fences->marks[place];
    if (mark->context == NULL || is_behind_until(look, mark))
        return true;
    bool ask = may_ask(look, fences, place);
    CUresult error = look_at(worker, mark, ask);
    if (error == CUDA_ERROR_NOT_READY) {
        if (ask && mark->event) {
            look->until = *mark;
            if (--look->questions == 0)
                fences->asking = place + 1;
        }
        return true;
    }
    if (error) {
        look->failed = mark->context;
        look->failure = error;
        return false;
    }
    if (mark->kind == VGPU_MARK_TIME)
        end_fences_before(worker, mark);
    if (mark->kind == VGPU_MARK_CPU) {
        write_before(worker, mark);
        write_by_cpu(worker, mark);
    }
    look->news |= mark->kind != VGPU_MARK_BEGIN && mark->kind != VGPU_MARK_WAIT;
    look->wakes |= mark->kind == VGPU_MARK_CPU || !vgpu_bell_is_hung(worker);
    look->ended = true;
    end_mark(worker, mark, true);
    return true;
}

bool vgpu_fence_poll(struct vgpu_worker *worker, bool thorough)
{
    struct vgpu_fences *fences = &worker->fences;
    struct look look = {.thorough = thorough, .questions = QUESTIONS_MOST};
    vgpu_bell_look(worker);
    fences->first_asked = thorough && fences->asking == 0;
    for (uint32_t i = 0; i < fences->count; i++) {
        if (!look_at_place(worker, &look, i))
            break;
    }
    if (thorough && look.questions) /* all were asked */
        fences->asking = 0;
    if (look.ended) /* most looks of a busy worker find nothing */
        take_out_ended(fences);
    if (look.failed)
        fail_context(worker, look.failed, look.failure);
    if (look.news || look.failed) {
        if (look.wakes || look.failed)
            vgpu_worker_wake(worker);
        for (struct vgpu_context *context = worker->contexts; context; context = context->next)
            vgpu_usage_reached(worker, context, !fences->unwatched);
    }
    return look.news || look.failed;
}

static bool make_room(struct vgpu_fences *fences)
{
    if (fences->count < fences->room)
        return true;
    uint32_t room = fences->room ? fences->room * 2 : 64;
    struct vgpu_mark *marks = reallocarray(fences->marks, room, sizeof(*marks));
    if (marks == NULL)
        return false;
    fences->marks = marks;
    fences->room = room;
    return true;
}

static CUresult place_event(struct vgpu_worker *worker, struct vgpu_mark *mark)
{
    CUresult error = vgpu_usage_take(worker, mark->context, &mark->event);
    if (error)
        return error;
    mark->idle = vgpu_usage_idle(mark->context);
    mark->placed = vgpu_usage_is_idle(mark->context) ? vgpu_timing_now() : 0;
    error = worker->driver->cuEventRecord(mark->event, mark->stream);
    if (error)
        vgpu_usage_put(worker, mark->context, mark->event);
    return error;
}

static CUresult place_write(struct vgpu_worker *worker, const struct vgpu_mark *mark)
{
    CUdeviceptr word =
        mark->context->extent + VGPU_CHANNEL_FENCES_OFFSET + mark->fence * sizeof(uint32_t);
    return worker->driver->cuStreamWriteValue32(mark->stream, word, mark->value,
                                                CU_STREAM_WRITE_VALUE_DEFAULT);
}

static CUresult place(struct vgpu_worker *worker, struct vgpu_mark mark)
{
    CUresult error;
    vgpu_launch_chain_go(worker); /* a mark is behind all that was let in before */
    if (!make_room(&worker->fences))
        return CUDA_ERROR_OUT_OF_MEMORY;
    mark.context = worker->current;
    mark.stream = vgpu_mark_stream(mark.stream);
    mark.batch = worker->lease.filling;
    mark.number = worker->fences.placed++;
    mark.waits = mark.waited =
        mark.kind == VGPU_MARK_WAIT || vgpu_wait_holds(worker, mark.context, mark.stream);
    if (mark.kind == VGPU_MARK_GPU)
        error = place_write(worker, &mark);
    else
        error = place_event(worker, &mark);
    if (error)
        return error;
    error = vgpu_bell_hang(worker, &mark);
    if (error) {
        vgpu_usage_put(worker, mark.context, mark.event);
        return error;
    }
    if (mark.kind == VGPU_MARK_WAIT)
        worker->fences.waits++;
    else if (mark.kind != VGPU_MARK_BEGIN && !mark.waits)
        mark.context->usage.pending++;
    vgpu_watch_mark(worker, &mark);
    worker->fences.marks[worker->fences.count++] = mark;
    return CUDA_SUCCESS;
}

void vgpu_fence_mark(struct vgpu_worker *worker, CUstream stream, enum vgpu_mark_kind kind)
{
    CUresult error = place(worker, (struct vgpu_mark){.stream = stream, .kind = kind});
    /* Without it nobody would find out that fences before it do not come. */
    if (error && kind == VGPU_MARK_TIME)
        fail_context(worker, worker->current, error);
}

void vgpu_fence_place(struct vgpu_worker *worker, CUstream stream, uint32_t fence, uint32_t value)
{
    struct vgpu_context *context = worker->current;
    struct vgpu_mark mark = {
        .stream = stream, .kind = VGPU_MARK_GPU, .fence = fence, .value = value};
    if (worker->fences.by_cpu || worker->prints || context->extent == 0)
        mark.kind = VGPU_MARK_CPU;
    /* Else who waits for each launch, and has only fences, would never get to know any. */
    if (mark.kind == VGPU_MARK_GPU && vgpu_watch_wonders(worker))
        vgpu_usage_cover_stream(worker, stream);
    /* A thread of the guest may have begun a capture since another asked for the fence. */
    CUresult error = vgpu_capture_holds(worker, stream) ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
                                                        : place(worker, mark);
    if (error == CUDA_ERROR_NOT_SUPPORTED && mark.kind == VGPU_MARK_GPU) {
        vgpu_log("the driver cannot write fences: the worker does it");
        worker->fences.by_cpu = true;
        mark.kind = VGPU_MARK_CPU;
        error = place(worker, mark);
    }
    if (error) { /* nothing will write it any more: first the reason, then the fence */
        vgpu_worker_defer(worker, error);
        write_fence(worker, fence, value);
        vgpu_worker_wake(worker);
    } else {
        vgpu_usage_fenced(worker, context, stream, mark.kind == VGPU_MARK_CPU);
    }
}

void vgpu_fence_finish(struct vgpu_worker *worker, struct vgpu_context *context)
{
    CUresult error = worker->driver->cuCtxSynchronize();
    if (error)
        fail_context(worker, context, error);
    for (uint32_t i = 0; i < worker->fences.count; i++) {
        struct vgpu_mark *mark = &worker->fences.marks[i];
        if (mark->context != context)
            continue;
        if (mark->kind == VGPU_MARK_CPU)
            write_by_cpu(worker, mark);
        end_mark(worker, mark, true);
    }
    take_out_ended(&worker->fences);
    vgpu_worker_wake(worker);
}
