/* SPDX-License-Identifier: MIT */
#include "guest/stream/event.h"

#include "guest/graph/capture.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

#define FLAGS (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS)

/* Fences cost the GPU as much as a small kernel. Where only streams wait for events, there are
 * none; what the program asks for then, the driver is asked for. Of a program's records at least
 * one in five is asked for, or else an event of which that is not known yet gets no fence. */
#define UNASKED_MOST 16u
#define ASKED_WEIGHT 4u

/* An event's last fence and value, if it was recorded. */
struct event_view {
    struct vgpu_event *event;
    bool recorded;
    bool apart; /* only the driver knows of it */
    bool done;
    uint64_t records;
    uint32_t fence, value;
    struct vgpu_stream *stream;
    unsigned long long unique;
    uint64_t counted;
};

static void count_asked(bool asked)
{
    uint32_t *unasked = &vgpu_process()->unasked;
    /* relaxed: a number lost among threads is no matter */
    uint32_t count = __atomic_load_n(unasked, __ATOMIC_RELAXED);
    if (asked)
        count = count > ASKED_WEIGHT ? count - ASKED_WEIGHT : 0;
    else
        count = count < UNASKED_MOST ? count + 1 : UNASKED_MOST;
    __atomic_store_n(unasked, count, __ATOMIC_RELAXED);
}

/* Enters and finds the event, for which the program asks. */
static CUresult enter(struct vgpu_caller *caller, CUevent handle, struct event_view *view)
{
    CUresult error = vgpu_caller_enter(caller);
    if (error)
        return error;
    struct vgpu_event *event = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_EVENT);
    if (event == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    pthread_mutex_lock(&event->lock);
    *view = (struct event_view){
        .event = event,
        .recorded = event->recorded,
        .apart = event->in_graph || (event->recorded && !event->fenced && !event->done),
        .done = event->done && !event->in_graph,
        .records = event->records,
        .fence = event->fence,
        .value = event->value,
        .stream = event->stream,
        .unique = event->unique,
        .counted = event->counted,
    };
    event->asked = true;
    pthread_mutex_unlock(&event->lock);
    return vgpu_capture_wait_event(event);
}

/* The record that was looked at is done, and so is what its stream had before. */
static void tell_stream(const struct event_view *view)
{
    const struct vgpu_context *context = view->event->object.context;
    struct vgpu_stream *stream = view->stream;
    if (stream == NULL)
        return;
    if (stream != context->legacy) /* which lives as long as the event */
        stream = vgpu_object_find(&vgpu_process()->objects, vgpu_object_handle(stream),
                                  VGPU_KIND_STREAM);
    if (stream && stream->unique == view->unique)
        vgpu_stream_reached(stream, view->counted);
}

/* The driver has said that the event is done: of the record that was looked at, if there is no
 * newer one. */
static void note_apart(const struct event_view *view)
{
    struct vgpu_event *event = view->event;
    pthread_mutex_lock(&event->lock);
    bool same = event->records == view->records && !event->in_graph;
    event->done |= same;
    pthread_mutex_unlock(&event->lock);
    if (same)
        tell_stream(view);
}

/* Of an event without a fence, or that a graph records, only the driver knows. */
static CUresult query_apart(const struct vgpu_caller *caller, const struct event_view *view)
{
    const struct vgpu_event *event = view->event;
    CUresult error = vgpu_process_note(
        vgpu_process(), vgpu_send_cuEventQuery(caller->channel, event->object.context->object.id,
                                               event->object.id));
    if (error == CUDA_SUCCESS)
        note_apart(view);
    return error;
}

static CUresult take_waiter(const struct vgpu_caller *caller, struct vgpu_stream **waiter)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_context *context = caller->current;
    *waiter = NULL;
    pthread_mutex_lock(&process->context_lock);
    if (context->waiter_count)
        *waiter = context->waiters[--context->waiter_count];
    pthread_mutex_unlock(&process->context_lock);
    return *waiter ? CUDA_SUCCESS : vgpu_stream_create(caller, CU_STREAM_NON_BLOCKING, 0, waiter);
}

static void put_waiter(struct vgpu_context *context, struct vgpu_stream *waiter)
{
    struct vgpu_process *process = vgpu_process();
    pthread_mutex_lock(&process->context_lock);
    bool kept = vgpu_object_lives(&waiter->object) && context->waiter_count < VGPU_WAITERS;
    if (kept)
        context->waiters[context->waiter_count++] = waiter;
    pthread_mutex_unlock(&process->context_lock);
    if (!kept)
        cuStreamDestroy_v2(vgpu_object_handle(waiter));
}

/* A stream that nobody else has waits for the event; the caller waits for that stream. */
static CUresult wait_apart(struct vgpu_caller *caller, const struct event_view *view)
{
    const struct vgpu_event *event = view->event;
    struct vgpu_stream *waiter;
    vgpu_caller_follow(caller, &event->object);
    CUresult error = take_waiter(caller, &waiter);
    if (error)
        return error;
    error = vgpu_send_cuStreamWaitEvent(caller->channel, caller->context, waiter->object.id,
                                        event->object.id, 0);
    if (error == CUDA_SUCCESS) {
        vgpu_stream_submitted(waiter);
        error = vgpu_stream_wait(caller, waiter);
    }
    put_waiter(caller->current, waiter);
    if (error == CUDA_SUCCESS)
        note_apart(view);
    return error;
}

static bool complete(const struct vgpu_caller *caller, const struct event_view *view)
{
    return !view->recorded || view->apart || view->done ||
           vgpu_fence_reached(caller->channel, view->fence, view->value);
}

bool vgpu_event_recorded(struct vgpu_event *event)
{
    pthread_mutex_lock(&event->lock);
    bool recorded = event->recorded || event->in_graph || event->capture;
    pthread_mutex_unlock(&event->lock);
    return recorded;
}

void vgpu_event_in_graph(struct vgpu_event *event)
{
    pthread_mutex_lock(&event->lock);
    event->in_graph = true;
    pthread_mutex_unlock(&event->lock);
}

static void end_event(struct vgpu_object *object)
{
    struct vgpu_event *event = (struct vgpu_event *)object;
    if (event->recorded)
        count_asked(event->asked);
    if (event->taken)
        vgpu_fence_retire(event->fence, event->value);
    pthread_mutex_destroy(&event->lock);
}

CUresult cuEventCreate(CUevent *handle, unsigned int flags)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (handle == NULL || flags & ~(unsigned int)FLAGS)
        return CUDA_ERROR_INVALID_VALUE;
    if (flags & CU_EVENT_INTERPROCESS)
        return flags & CU_EVENT_DISABLE_TIMING ? CUDA_ERROR_NOT_SUPPORTED
                                               : CUDA_ERROR_INVALID_VALUE;
    struct vgpu_event *event = vgpu_object_take(&process->objects, sizeof(*event), caller.current);
    if (event == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    event->object.end = end_event;
    event->flags = flags;
    pthread_mutex_init(&event->lock, NULL);
    error = vgpu_send_cuEventCreate(caller.channel, caller.context, event->object.id, flags);
    if (error) {
        vgpu_object_put(&process->objects, &event->object);
        return error;
    }
    vgpu_object_publish(&event->object, VGPU_KIND_EVENT);
    *handle = vgpu_object_handle(event);
    return CUDA_SUCCESS;
}

/* How a record is sent. */
typedef CUresult post_function(const struct vgpu_caller *caller, const struct vgpu_event *event,
                               const struct vgpu_stream *stream, unsigned int flags);

static CUresult post_unfenced(const struct vgpu_caller *caller, const struct vgpu_event *event,
                              const struct vgpu_stream *stream, unsigned int flags)
{
    return vgpu_send_vgpuEventRecord(caller->channel, caller->context, event->object.id,
                                     stream->object.id, flags, VGPU_NO_FENCE, 0);
}

static CUresult post_record(const struct vgpu_caller *caller, const struct vgpu_event *event,
                            const struct vgpu_stream *stream, unsigned int flags)
{
    return vgpu_send_vgpuEventRecord(caller->channel, caller->context, event->object.id,
                                     stream->object.id, flags, event->fence, event->value + 1);
}

static CUresult post_context_record(const struct vgpu_caller *caller,
                                    const struct vgpu_event *event,
                                    const struct vgpu_stream *stream, unsigned int flags)
{
    (void)stream, (void)flags;
    return vgpu_send_vgpuContextRecord(caller->channel, caller->context, event->object.id,
                                       event->fence, event->value + 1);
}

/* The launch before it has recorded the event; who asks here learns of it when the kernel is done.
 */
static CUresult post_fence(const struct vgpu_caller *caller, const struct vgpu_event *event,
                           const struct vgpu_stream *stream, unsigned int flags)
{
    (void)flags;
    return vgpu_send_vgpuFence(caller->channel, caller->context, stream->object.id, event->fence,
                               event->value + 1);
}

/* Called with the event's lock. */
static bool wants_fence(const struct vgpu_event *event)
{
    if (event->recorded)
        count_asked(event->asked);
    return event->asked ||
           __atomic_load_n(&vgpu_process()->unasked, __ATOMIC_RELAXED) < UNASKED_MOST;
}

/* Counts a record that was posted when so much was counted; how much is done when it is. What
 * others count meanwhile may have been posted behind it, so then its own number is not known. */
static uint64_t count_record(struct vgpu_stream *stream, uint64_t counted)
{
    vgpu_stream_submitted(stream);
    return counted + (vgpu_stream_counted(stream) == counted + 1);
}

/* *fenced is false if there is none for it, because the program has so many events. Called with the
 * event's lock. */
static CUresult take_fence(const struct vgpu_caller *caller, struct vgpu_event *event,
                           post_function *post, bool *fenced)
{
    CUresult error = CUDA_SUCCESS;
    if (!event->taken && post == post_context_record) /* it knows no other way */
        error = vgpu_fence_take(caller->channel, &event->fence, &event->value);
    else if (!event->taken)
        error = vgpu_fence_take_spare(caller->channel, &event->fence, &event->value);
    event->taken |= error == CUDA_SUCCESS;
    *fenced = event->taken;
    return error == CUDA_ERROR_OUT_OF_MEMORY && post != post_context_record ? CUDA_SUCCESS : error;
}

/* Of two streams the one that comes later may be that of the earlier record, which would have the
 * fence step back: it is given up. Called with the event's lock. */
static void change_writer(const struct vgpu_caller *caller, struct vgpu_event *event,
                          const struct vgpu_stream *stream, bool of_context)
{
    bool same = event->unique == stream->unique && !event->of_context && !of_context;
    if (event->taken && !same && !vgpu_fence_reached(caller->channel, event->fence, event->value)) {
        vgpu_fence_retire(event->fence, event->value);
        event->taken = false;
    }
}

/* `stream` gets the record, or is the legacy one of the context that does. */
static CUresult record(const struct vgpu_caller *caller, struct vgpu_event *event,
                       struct vgpu_stream *stream, unsigned int flags, post_function *post)
{
    CUresult error = CUDA_SUCCESS;
    pthread_mutex_lock(&event->lock);
    uint64_t counted = vgpu_stream_counted(stream);
    bool fenced = post != post_record || wants_fence(event);
    change_writer(caller, event, stream, post == post_context_record);
    if (fenced)
        error = take_fence(caller, event, post, &fenced);
    if (fenced && error == CUDA_SUCCESS)
        error = post(caller, event, stream, flags);
    else if (post == post_record && error == CUDA_SUCCESS)
        error = post_unfenced(caller, event, stream, flags);
    if (error == CUDA_SUCCESS) {
        event->recorded = true;
        event->fenced = fenced;
        event->asked = event->done = false;
        event->records++;
        event->value += fenced;
        __atomic_store_n(&event->capture, 0, __ATOMIC_RELAXED);
        event->stream = stream;
        event->unique = stream->unique;
        event->of_context = post == post_context_record;
        event->counted = post == post_fence ? counted /* as the launch is */
                                            : count_record(stream, counted);
        if (fenced)
            vgpu_stream_fenced(stream, event->fence, event->value, event->counted);
    }
    pthread_mutex_unlock(&event->lock);
    return error;
}

CUresult vgpu_event_launched(const struct vgpu_caller *caller, struct vgpu_event *event,
                             struct vgpu_stream *stream)
{
    unsigned long long capture = vgpu_capture_of(stream);
    if (capture) {
        __atomic_store_n(&event->capture, capture, __ATOMIC_RELAXED);
        return CUDA_SUCCESS;
    }
    return record(caller, event, stream, 0, post_fence);
}

/* In a capture nothing is done yet, so that there is no fence; a node that records the event
 * whenever the graph runs is another thing than the event as a place in the capture. */
static CUresult record_captured(const struct vgpu_caller *caller, struct vgpu_event *event,
                                const struct vgpu_stream *stream, unsigned long long capture,
                                unsigned int flags)
{
    pthread_mutex_lock(&event->lock);
    if (flags & CU_EVENT_RECORD_EXTERNAL)
        event->in_graph = true;
    else
        __atomic_store_n(&event->capture, capture, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&event->lock);
    if (flags & CU_EVENT_RECORD_EXTERNAL)
        vgpu_capture_record(stream);
    return vgpu_send_cuEventRecordWithFlags(caller->channel, caller->context, event->object.id,
                                            stream->object.id, flags);
}

CUresult cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, stream_handle, &stream);
    if (error)
        return error;
    struct vgpu_event *event = vgpu_object_find(&vgpu_process()->objects, handle, VGPU_KIND_EVENT);
    if (event == NULL || event->object.context != caller.current)
        return CUDA_ERROR_INVALID_HANDLE;
    if (flags & ~(unsigned int)CU_EVENT_RECORD_EXTERNAL)
        return CUDA_ERROR_INVALID_VALUE;
    unsigned long long capture = vgpu_capture_of(stream);
    if (capture)
        return record_captured(&caller, event, stream, capture, flags);
    if (flags & CU_EVENT_RECORD_EXTERNAL)
        return CUDA_ERROR_INVALID_VALUE;
    return record(&caller, event, stream, flags, post_record);
}

CUresult cuEventRecord(CUevent handle, CUstream stream)
{
    return cuEventRecordWithFlags(handle, stream, 0);
}

static CUresult enter_context(struct vgpu_caller *caller, CUcontext handle, CUevent event_handle,
                              struct vgpu_event **event)
{
    CUresult error = vgpu_caller_begin(caller);
    if (error)
        return error;
    struct vgpu_context *context = handle ? vgpu_context_find(handle) : NULL;
    if (context == NULL)
        return CUDA_ERROR_INVALID_CONTEXT;
    *event = vgpu_object_find(&vgpu_process()->objects, event_handle, VGPU_KIND_EVENT);
    caller->current = context;
    caller->context = context->object.id;
    return *event ? vgpu_capture_wait_context(context) : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuCtxRecordEvent(CUcontext context, CUevent handle)
{
    struct vgpu_caller caller;
    struct vgpu_event *event;
    CUresult error = enter_context(&caller, context, handle, &event);
    if (error)
        return error;
    if (event->object.context != caller.current)
        return CUDA_ERROR_INVALID_HANDLE;
    return record(&caller, event, caller.current->legacy, 0, post_context_record);
}

CUresult cuCtxWaitEvent(CUcontext context, CUevent handle)
{
    struct vgpu_caller caller;
    struct vgpu_event *event;
    CUresult error = enter_context(&caller, context, handle, &event);
    if (error || !vgpu_event_recorded(event))
        return error;
    error = vgpu_send_cuCtxWaitEvent(caller.channel, caller.context, event->object.id);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(caller.current->legacy);
    return error;
}

CUresult cuEventQuery(CUevent handle)
{
    struct vgpu_caller caller;
    struct event_view view;
    CUresult error = enter(&caller, handle, &view);
    if (error)
        return error;
    if (view.apart)
        error = query_apart(&caller, &view);
    else if (!complete(&caller, &view))
        error = CUDA_ERROR_NOT_READY;
    else
        tell_stream(&view);
    if (error)
        return error;
    vgpu_shadows_collect();
    vgpu_mirrors_pull(&vgpu_process()->mirrors, caller.channel);
    return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent handle)
{
    struct vgpu_caller caller;
    struct event_view view;
    CUresult error = enter(&caller, handle, &view);
    if (error)
        return error;
    if (view.apart)
        return wait_apart(&caller, &view);
    if (!view.recorded || view.done)
        return CUDA_SUCCESS;
    error = vgpu_caller_wait(&caller, view.fence, view.value);
    if (error == CUDA_SUCCESS)
        tell_stream(&view);
    return error;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start_handle, CUevent end_handle)
{
    struct vgpu_caller caller;
    struct event_view start, end;
    CUresult error = enter(&caller, start_handle, &start);
    if (error == CUDA_SUCCESS)
        error = enter(&caller, end_handle, &end);
    if (error)
        return error;
    if (milliseconds == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    if ((start.event->flags | end.event->flags) & CU_EVENT_DISABLE_TIMING ||
        !(start.recorded || start.event->in_graph) || !(end.recorded || end.event->in_graph))
        return CUDA_ERROR_INVALID_HANDLE;
    for (int i = 0; i < 2; i++) {
        const struct event_view *view = i ? &end : &start;
        error = view->apart ? query_apart(&caller, view) : CUDA_SUCCESS;
        if (error)
            return error;
    }
    if (!complete(&caller, &start) || !complete(&caller, &end))
        return CUDA_ERROR_NOT_READY;
    return vgpu_process_note(
        vgpu_process(), vgpu_send_cuEventElapsedTime(caller.channel, caller.context, milliseconds,
                                                     start.event->object.id, end.event->object.id));
}

extern __typeof__(cuEventElapsedTime) cuEventElapsedTime_v2
    __attribute__((alias("cuEventElapsedTime")));

VGPU_PTSZ(cuEventRecord, (CUevent event, CUstream stream), (event, vgpu_per_thread(stream)))
VGPU_PTSZ(cuEventRecordWithFlags, (CUevent event, CUstream stream, unsigned int flags),
          (event, vgpu_per_thread(stream), flags))
