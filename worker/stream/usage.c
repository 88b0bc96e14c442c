/* SPDX-License-Identifier: MIT */
#include "worker/stream/usage.h"

#include "worker/context.h"
#include "worker/graph/capture.h"
#include "worker/stream/wait.h"
#include "worker/worker.h"

const bool vgpu_usage_works[VGPU_CALL_MAX + 1] = {
    [VGPU_CALL_vgpuCopyToDevice] = true,   [VGPU_CALL_vgpuCopyFromDevice] = true,
    [VGPU_CALL_vgpuCopyInline] = true,     [VGPU_CALL_vgpuCopyBox] = true,
    [VGPU_CALL_vgpuCopyToHost] = true,     [VGPU_CALL_vgpuCopyFromHost] = true,
    [VGPU_CALL_cuMemcpyDtoDAsync] = true,  [VGPU_CALL_cuMemsetD8Async] = true,
    [VGPU_CALL_cuMemsetD16Async] = true,   [VGPU_CALL_cuMemsetD32Async] = true,
    [VGPU_CALL_cuMemsetD2D8Async] = true,  [VGPU_CALL_cuMemsetD2D16Async] = true,
    [VGPU_CALL_cuMemsetD2D32Async] = true, [VGPU_CALL_vgpuLaunch] = true,
    [VGPU_CALL_cuGraphLaunch] = true,      [VGPU_CALL_vgpuGraphLaunchJudged] = true,
};

static bool is_recent(const struct vgpu_usage *usage, CUstream stream)
{
    return usage->recent < usage->stream_count &&
           usage->streams[usage->recent].stream == vgpu_mark_stream(stream);
}

/* The one that was named last, or that comes after it, mostly: streams are used in turns. */
static struct vgpu_usage_stream *find(struct vgpu_usage *usage, CUstream stream)
{
    CUstream wanted = vgpu_mark_stream(stream);
    uint32_t place = usage->recent;
    for (uint32_t i = 0; i < usage->stream_count; i++, place++) {
        if (place >= usage->stream_count)
            place = 0;
        if (usage->streams[place].stream == wanted) {
            usage->recent = place;
            return &usage->streams[place];
        }
    }
    return NULL;
}

static void set_fenced(struct vgpu_usage *usage, struct vgpu_usage_stream *entry, bool fenced)
{
    usage->unfenced += entry->fenced - fenced;
    entry->fenced = fenced;
}

static struct vgpu_usage_stream *find_or_add(struct vgpu_worker *worker,
                                             struct vgpu_context *context, CUstream stream)
{
    struct vgpu_usage *usage = &context->usage;
    struct vgpu_usage_stream *entry = find(usage, stream);
    if (entry)
        return entry;
    if (usage->stream_count == VGPU_USAGE_STREAMS)
        vgpu_usage_cover(worker);
    if (usage->stream_count == VGPU_USAGE_STREAMS) /* all of them capture */
        set_fenced(usage, &usage->streams[--usage->stream_count], true);
    usage->recent = usage->stream_count;
    entry = &usage->streams[usage->stream_count++];
    *entry = (struct vgpu_usage_stream){.stream = vgpu_mark_stream(stream), .fenced = true};
    return entry;
}

uint64_t vgpu_usage_idle(struct vgpu_context *context)
{
    struct vgpu_usage *usage = &context->usage;
    if (usage->idle_since) {
        uint64_t time = vgpu_timing_now();
        usage->idle += time - usage->idle_since;
        usage->idle_since = time;
    }
    return usage->idle;
}

static void become_busy(struct vgpu_worker *worker, struct vgpu_usage *usage)
{
    worker->busy_contexts++;
    usage->idle_since = 0;
    usage->begun = true;
}

/* Work comes, to a context that had none. */
__attribute__((cold)) static void end_idleness(struct vgpu_worker *worker,
                                               struct vgpu_context *context, CUstream stream)
{
    struct vgpu_usage *usage = &context->usage;
    vgpu_usage_idle(context);
    if (!usage->begun || !usage->begin_known)
        vgpu_fence_mark(worker, stream, VGPU_MARK_BEGIN); /* which will tell when it begins */
    else
        vgpu_busy_begin(&worker->page->busy, usage->idle_since);
    become_busy(worker, usage);
}

void vgpu_usage_stream(struct vgpu_worker *worker, CUstream stream)
{
    struct vgpu_context *context = worker->current;
    if (context == NULL || worker->record == NULL ||
        !vgpu_usage_brings_work(worker->record->call) ||
        (worker->captures && vgpu_capture_holds(worker, stream)))
        return;
    struct vgpu_usage *usage = &context->usage;
    vgpu_watch_add(worker);
    if (vgpu_usage_is_idle(context) && !vgpu_wait_holds(worker, context, stream))
        end_idleness(worker, context, stream);
    struct vgpu_usage_stream *entry = is_recent(usage, stream)
                                          ? &usage->streams[usage->recent]
                                          : find_or_add(worker, context, stream);
    if (entry->fenced) /* most records come behind others of the same stream */
        set_fenced(usage, entry, false);
}

void vgpu_usage_fenced(struct vgpu_worker *worker, struct vgpu_context *context, CUstream stream,
                       bool event)
{
    if (event)
        vgpu_usage_forget(context, stream);
    else
        set_fenced(&context->usage, find_or_add(worker, context, stream), true);
    if (context->usage.stream_count <= 1)
        vgpu_watch_begin(worker);
}

void vgpu_usage_fenced_all(struct vgpu_worker *worker, struct vgpu_context *context)
{
    for (uint32_t i = 0; i < context->usage.stream_count; i++)
        set_fenced(&context->usage, &context->usage.streams[i], true);
    vgpu_watch_begin(worker);
}

void vgpu_usage_forget(struct vgpu_context *context, CUstream stream)
{
    struct vgpu_usage *usage = &context->usage;
    struct vgpu_usage_stream *entry = find(usage, stream);
    if (entry == NULL)
        return;
    set_fenced(usage, entry, true);
    *entry = usage->streams[--usage->stream_count];
}

void vgpu_usage_cover(struct vgpu_worker *worker)
{
    struct vgpu_context *context = worker->current;
    if (context == NULL)
        return; /* only the current context can have got work since the last time */
    struct vgpu_usage *usage = &context->usage;
    uint32_t kept = 0, unfenced = 0;
    for (uint32_t i = 0; i < usage->stream_count; i++) {
        if (vgpu_capture_holds(worker, usage->streams[i].stream)) {
            unfenced += !usage->streams[i].fenced;
            usage->streams[kept++] = usage->streams[i];
        } else {
            vgpu_fence_mark(worker, usage->streams[i].stream, VGPU_MARK_TIME);
        }
    }
    usage->stream_count = kept;
    usage->unfenced = unfenced;
    vgpu_watch_begin(worker);
}

void vgpu_usage_cover_stream(struct vgpu_worker *worker, CUstream stream)
{
    struct vgpu_context *context = worker->current;
    if (context == NULL || find(&context->usage, stream) == NULL ||
        vgpu_capture_holds(worker, stream))
        return;
    vgpu_usage_forget(context, stream);
    vgpu_fence_mark(worker, stream, VGPU_MARK_TIME);
    if (context->usage.stream_count == 0)
        vgpu_watch_begin(worker);
}

void vgpu_usage_sample(struct vgpu_worker *worker)
{
    struct vgpu_context *context = worker->current;
    if (context == NULL || context->usage.recent >= context->usage.stream_count)
        return;
    vgpu_usage_cover_stream(worker, context->usage.streams[context->usage.recent].stream);
}

/* No work of the context is left. */
static void begin_idleness(struct vgpu_worker *worker, struct vgpu_context *context, bool watched)
{
    struct vgpu_usage *usage = &context->usage;
    usage->idle_since = vgpu_timing_now();
    usage->begin_known = watched;
    if (usage->begun && --worker->busy_contexts == 0)
        vgpu_busy_rest(&worker->page->busy);
}

void vgpu_usage_reached(struct vgpu_worker *worker, struct vgpu_context *context, bool watched)
{
    struct vgpu_usage *usage = &context->usage;
    if (usage->idle_since || usage->pending || usage->unfenced)
        return;
    begin_idleness(worker, context, watched);
}

void vgpu_usage_failed(struct vgpu_worker *worker, struct vgpu_context *context)
{
    struct vgpu_busy *busy = &worker->page->busy;
    uint64_t time = vgpu_timing_now();
    context->usage.stream_count = 0;
    context->usage.unfenced = 0;
    if (context->usage.idle_since)
        return;
    if (busy->since && busy->since < time) { /* no event tells any more how long it worked */
        __atomic_fetch_add(&worker->page->gpu_nanoseconds, time - busy->since, __ATOMIC_RELAXED);
        vgpu_busy_count(busy, busy->since, time);
    }
    begin_idleness(worker, context, false);
}

bool vgpu_usage_is_idle(const struct vgpu_context *context)
{
    return !context->usage.begun || context->usage.idle_since != 0;
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

/* When the GPU reached a mark, `passed` after the last one: not before it was placed, if that is
 * known, and not after now. */
static uint64_t time_of(const struct vgpu_usage *usage, const struct vgpu_mark *mark,
                        uint64_t passed)
{
    uint64_t time = usage->last ? usage->last_time + passed : mark->placed,
             most = vgpu_timing_now();
    if (time < mark->placed)
        time = mark->placed;
    return time && time < most ? time : most;
}

void vgpu_usage_account(struct vgpu_worker *worker, struct vgpu_context *context,
                        const struct vgpu_mark *mark)
{
    struct vgpu_usage *usage = &context->usage;
    CUevent event = mark->event;
    float milliseconds = 0;
    if (usage->last &&
        (worker->driver->cuEventElapsedTime(&milliseconds, usage->last, event) != CUDA_SUCCESS ||
         !(milliseconds > 0))) {
        /* Streams overtake each other: what lies before the account's end is in it already. */
        vgpu_usage_put(worker, context, event);
        return;
    }
    uint64_t passed = (uint64_t)((double)milliseconds * 1e6);
    uint64_t idled = mark->idle - usage->last_idle;
    uint64_t time = time_of(usage, mark, passed);
    if (mark->kind != VGPU_MARK_BEGIN && passed > idled) {
        __atomic_fetch_add(&worker->page->gpu_nanoseconds, passed - idled, __ATOMIC_RELAXED);
        vgpu_busy_count(&worker->page->busy, time - (passed - idled), time);
        vgpu_watch_learn(worker, mark, passed - idled);
        if (mark->waited)
            vgpu_lease_account(worker, passed - idled);
    }
    if (usage->idle_since == 0)
        vgpu_busy_begin(&worker->page->busy, time);
    usage->last_time = time;
    vgpu_usage_put(worker, context, usage->last);
    usage->last = event;
    usage->last_idle = mark->idle;
}

bool vgpu_usage_has_work(struct vgpu_context *context, CUstream stream)
{
    const struct vgpu_usage_stream *entry = find(&context->usage, stream);
    return entry && !entry->fenced;
}

void vgpu_usage_resume(struct vgpu_worker *worker, struct vgpu_context *context,
                       const struct vgpu_mark *mark)
{
    struct vgpu_usage *usage = &context->usage;
    if (!vgpu_usage_is_idle(context)) {
        vgpu_usage_put(worker, context, mark->event);
        return;
    }
    struct vgpu_mark begin = *mark;
    begin.kind = VGPU_MARK_BEGIN;
    begin.idle = vgpu_usage_idle(context);
    become_busy(worker, usage);
    vgpu_usage_account(worker, context, &begin);
}

void vgpu_usage_destroy(struct vgpu_worker *worker, struct vgpu_context *context)
{
    struct vgpu_usage *usage = &context->usage;
    if (!usage->idle_since)
        begin_idleness(worker, context, false);
    if (usage->last)
        worker->driver->cuEventDestroy(usage->last);
    while (usage->pooled)
        worker->driver->cuEventDestroy(usage->pool[--usage->pooled]);
    *usage = (struct vgpu_usage){0};
}
