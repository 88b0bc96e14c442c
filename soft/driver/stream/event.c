/* SPDX-License-Identifier: MIT */
#include "soft/driver/stream/event.h"

#include <stdlib.h>
#include <time.h>

#include "interop/per_thread.h"
#include "soft/driver/graph/capture.h"

struct vgpu_event {
    struct vgpu_object object;
    struct vgpu_context *context;
    unsigned int flags;
    /* Guarded by the driver's lock. */
    struct vgpu_mark recorded;     /* the last record */
    uint64_t recorded_as;          /* its number */
    uint64_t records;              /* how many there were */
    uint64_t time;                 /* nanoseconds, when the last record was reached */
    struct vgpu_captured captured; /* if that was in a capturing stream */
};

static void destroy_event(struct vgpu_object *object)
{
    struct vgpu_event *event = (struct vgpu_event *)object;

    vgpu_captured_destroy(&event->captured);
    vgpu_object_put(event->recorded.stream);
    free(event);
}

/* An event that can be used: its context and the current one are whole. */
CUresult vgpu_event_take(CUevent handle, struct vgpu_event **event)
{
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    *event = vgpu_object_take(handle, VGPU_OBJECT_EVENT);
    if (!*event)
        return CUDA_ERROR_INVALID_HANDLE;
    result = vgpu_context_usable((*event)->context);
    if (result != CUDA_SUCCESS)
        vgpu_object_put(*event);
    return result;
}

CUresult vgpu_event_check_untimed(CUevent handle)
{
    struct vgpu_event *event;
    CUresult result = vgpu_event_take(handle, &event);

    if (result != CUDA_SUCCESS)
        return result;
    result = event->flags & CU_EVENT_DISABLE_TIMING ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
    vgpu_object_put(event);
    return result;
}

CUresult vgpu_event_refuse_captured(CUevent handle)
{
    struct vgpu_event *event;
    CUresult result = vgpu_event_take(handle, &event);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_refuse_event(&event->captured);
    vgpu_object_put(event);
    return result;
}

CUresult cuEventCreate(CUevent *phEvent, unsigned int Flags)
{
    const unsigned int known =
        CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS;
    struct vgpu_context *context;
    struct vgpu_event *event;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!phEvent || (Flags & ~known))
        return CUDA_ERROR_INVALID_VALUE;
    if (Flags & CU_EVENT_INTERPROCESS)
        return Flags & CU_EVENT_DISABLE_TIMING ? CUDA_ERROR_NOT_SUPPORTED
                                               : CUDA_ERROR_INVALID_VALUE;
    event = vgpu_object_create(VGPU_OBJECT_EVENT, sizeof(*event), context, destroy_event);
    if (!event)
        return CUDA_ERROR_OUT_OF_MEMORY;
    event->context = context;
    event->flags = Flags;
    vgpu_object_publish(event);
    *phEvent = (CUevent)event;
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent hEvent)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_event *event;

    if (result != CUDA_SUCCESS)
        return result;
    event = vgpu_object_withdraw(hEvent, VGPU_OBJECT_EVENT);
    if (!event)
        return CUDA_ERROR_INVALID_HANDLE;
    /* It is gone also when the context's failure is what the caller is told. */
    result = vgpu_context_usable(event->context);
    vgpu_object_put(event);
    return result;
}

CUresult cuEventDestroy(CUevent hEvent)
{
    return cuEventDestroy_v2(hEvent);
}

/* ---- recording ---- */

struct record_task {
    struct vgpu_task task;
    struct vgpu_event *event; /* with a reference */
    uint64_t record;
};

void vgpu_event_reached(struct vgpu_event *event, uint64_t record)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (record == event->records)
        event->time = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    pthread_mutex_unlock(&vgpu_driver()->lock);
}

static CUresult record_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct record_task *record = (const struct record_task *)task;

    (void)context;
    vgpu_event_reached(record->event, record->record);
    return CUDA_SUCCESS;
}

static void record_release(struct vgpu_task *task)
{
    vgpu_object_put(((struct record_task *)task)->event);
}

/* The event means `mark` from now on, unless another thread has made a later record known. */
static void set_mark(struct vgpu_event *event, const struct vgpu_mark *mark, uint64_t record)
{
    struct vgpu_stream *old = NULL;

    pthread_mutex_lock(&vgpu_driver()->lock);
    if (record > event->recorded_as) {
        old = event->recorded.stream;
        event->recorded = (struct vgpu_mark){vgpu_object_share(mark->stream), mark->sequence};
        event->recorded_as = record;
    }
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_put(old);
}

static uint64_t next_record(struct vgpu_event *event)
{
    uint64_t record;

    pthread_mutex_lock(&vgpu_driver()->lock);
    record = ++event->records;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return record;
}

uint64_t vgpu_event_record_at(struct vgpu_event *event, const struct vgpu_mark *mark)
{
    uint64_t record = next_record(event);

    vgpu_captured_clear(&event->captured);
    set_mark(event, mark, record);
    return record;
}

static CUresult record(struct vgpu_event *event, struct vgpu_stream *stream)
{
    struct record_task *task = calloc(1, sizeof(*task));
    struct vgpu_mark mark;
    uint64_t number;
    CUresult result;

    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    task->task.run = record_run;
    task->task.release = record_release;
    task->event = vgpu_object_share(event);
    task->record = number = next_record(event);
    result = vgpu_stream_submit(stream, &task->task, VGPU_SUBMIT_INSTANT, &mark);
    if (result != CUDA_SUCCESS)
        return result;
    vgpu_captured_clear(&event->captured);
    set_mark(event, &mark, number);
    return CUDA_SUCCESS;
}

/* An external record in a capturing stream is a node; any other is a position in the capture. */
static CUresult capture_record(struct vgpu_event *event, struct vgpu_stream *stream,
                               unsigned int flags)
{
    struct vgpu_task *task;
    CUresult result;

    if (!(flags & CU_EVENT_RECORD_EXTERNAL))
        return vgpu_capture_record(stream, &event->captured);
    result = vgpu_event_task_create((CUevent)event, CU_GRAPH_NODE_TYPE_EVENT_RECORD, &task);
    return result == CUDA_SUCCESS ? vgpu_stream_submit(stream, task, VGPU_SUBMIT_ASYNC, NULL)
                                  : result;
}

static CUresult record_in(struct vgpu_event *event, struct vgpu_stream *stream, unsigned int flags)
{
    if (stream->context != event->context)
        return CUDA_ERROR_INVALID_HANDLE;
    if (vgpu_capture_has(stream))
        return capture_record(event, stream, flags);
    if (flags & CU_EVENT_RECORD_EXTERNAL)
        return CUDA_ERROR_INVALID_VALUE;
    return record(event, stream);
}

CUresult cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags)
{
    struct vgpu_stream *stream = NULL;
    struct vgpu_event *event;
    CUresult result = vgpu_event_take(hEvent, &event);

    if (result != CUDA_SUCCESS)
        return result;
    if (flags & ~(unsigned int)CU_EVENT_RECORD_EXTERNAL)
        result = CUDA_ERROR_INVALID_VALUE;
    else
        result = vgpu_stream_resolve(event->context, hStream, &stream);
    if (result == CUDA_SUCCESS) {
        result = record_in(event, stream, flags);
        vgpu_object_put(stream);
    }
    vgpu_object_put(event);
    return result;
}

CUresult cuEventRecord(CUevent hEvent, CUstream hStream)
{
    return cuEventRecordWithFlags(hEvent, hStream, CU_EVENT_RECORD_DEFAULT);
}

struct vgpu_mark vgpu_event_mark(struct vgpu_event *event)
{
    struct vgpu_mark mark;

    pthread_mutex_lock(&vgpu_driver()->lock);
    mark = event->recorded;
    if (mark.stream)
        vgpu_object_share(mark.stream);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return mark;
}

/* ---- asking and waiting ---- */

CUresult cuEventQuery(CUevent hEvent)
{
    struct vgpu_event *event;
    CUresult result = vgpu_event_take(hEvent, &event);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_check_event(&event->captured);
    if (result == CUDA_SUCCESS)
        result = vgpu_mark_reached(&event->recorded) ? vgpu_context_usable(event->context)
                                                     : CUDA_ERROR_NOT_READY;
    vgpu_object_put(event);
    return result;
}

CUresult cuEventSynchronize(CUevent hEvent)
{
    struct vgpu_event *event;
    struct vgpu_mark mark;
    CUresult result = vgpu_event_take(hEvent, &event);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_check_event(&event->captured);
    if (result == CUDA_SUCCESS) {
        mark = vgpu_event_mark(event);
        vgpu_mark_wait(&mark);
        vgpu_object_put(mark.stream);
        result = vgpu_context_usable(event->context);
    }
    vgpu_object_put(event);
    return result;
}

static CUresult elapsed(float *milliseconds, struct vgpu_event *start, struct vgpu_event *end)
{
    CUresult result = CUDA_SUCCESS;

    pthread_mutex_lock(&vgpu_driver()->lock);
    if (!start->recorded.stream || !end->recorded.stream ||
        ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
        result = CUDA_ERROR_INVALID_HANDLE;
    else if (start->recorded.stream->completed < start->recorded.sequence ||
             end->recorded.stream->completed < end->recorded.sequence)
        result = CUDA_ERROR_NOT_READY;
    else
        *milliseconds = (float)((double)(int64_t)(end->time - start->time) / 1e6);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return result;
}

CUresult cuEventElapsedTime_v2(float *pMilliseconds, CUevent hStart, CUevent hEnd)
{
    struct vgpu_event *start, *end;
    CUresult result;

    if (!pMilliseconds)
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_event_take(hStart, &start);
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_event_take(hEnd, &end);
    if (result == CUDA_SUCCESS) {
        result = vgpu_captured_is(&start->captured) || vgpu_captured_is(&end->captured)
                     ? CUDA_ERROR_CAPTURED_EVENT
                     : elapsed(pMilliseconds, start, end);
        vgpu_object_put(end);
    }
    vgpu_object_put(start);
    return result;
}

CUresult cuEventElapsedTime(float *pMilliseconds, CUevent hStart, CUevent hEnd)
{
    return cuEventElapsedTime_v2(pMilliseconds, hStart, hEnd);
}

/* ---- other streams ---- */

static CUresult nothing_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)task, (void)context;
    return CUDA_SUCCESS;
}

static CUresult wait_for_mark(struct vgpu_stream *stream, struct vgpu_event *event)
{
    struct vgpu_task *task = calloc(1, sizeof(*task));
    struct vgpu_mark mark;
    CUresult result;

    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    task->run = nothing_run;
    mark = vgpu_event_mark(event);
    result = vgpu_stream_submit_after(stream, task, VGPU_SUBMIT_INSTANT, &mark, NULL);
    vgpu_object_put(mark.stream);
    return result;
}

static CUresult wait_in(struct vgpu_stream *stream, struct vgpu_event *event, unsigned int flags)
{
    bool recorded = event->recorded.stream != NULL;
    struct vgpu_task *task;
    CUresult result;

    if (flags & CU_EVENT_WAIT_EXTERNAL) {
        if (!vgpu_capture_has(stream))
            return CUDA_ERROR_INVALID_VALUE;
        result = vgpu_event_task_create((CUevent)event, CU_GRAPH_NODE_TYPE_WAIT_EVENT, &task);
        return result == CUDA_SUCCESS ? vgpu_stream_submit(stream, task, VGPU_SUBMIT_ASYNC, NULL)
                                      : result;
    }
    if (vgpu_capture_wait(stream, &event->captured, recorded, &result))
        return result;
    return wait_for_mark(stream, event);
}

CUresult cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags)
{
    struct vgpu_context *context;
    struct vgpu_stream *stream;
    struct vgpu_event *event;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS && (Flags & ~(unsigned int)CU_EVENT_WAIT_EXTERNAL))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_event_take(hEvent, &event);
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_stream_resolve(context, hStream, &stream);
    if (result == CUDA_SUCCESS) {
        result = wait_in(stream, event, Flags);
        vgpu_object_put(stream);
    }
    vgpu_object_put(event);
    return result;
}

/* ---- nodes of graphs ---- */

struct event_task {
    struct vgpu_task task;
    struct vgpu_event *event; /* with a reference */
};

static void event_task_release(struct vgpu_task *task)
{
    vgpu_object_put(((struct event_task *)task)->event);
}

CUresult vgpu_event_task_create(CUevent handle, CUgraphNodeType type, struct vgpu_task **task)
{
    struct vgpu_event *event = vgpu_object_take(handle, VGPU_OBJECT_EVENT);
    struct event_task *created = event ? calloc(1, sizeof(*created)) : NULL;

    if (!created) {
        vgpu_object_put(event);
        return event ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    }
    created->task = (struct vgpu_task){
        .is_node = true, .type = type, .run = nothing_run, .release = event_task_release};
    created->event = event;
    *task = &created->task;
    return CUDA_SUCCESS;
}

struct vgpu_event *vgpu_event_of_task(const struct vgpu_task *task)
{
    return ((const struct event_task *)task)->event;
}

VGPU_PTSZ(cuEventRecord, (CUevent event, CUstream stream), (event, vgpu_per_thread(stream)))
VGPU_PTSZ(cuEventRecordWithFlags, (CUevent event, CUstream stream, unsigned int flags),
          (event, vgpu_per_thread(stream), flags))
VGPU_PTSZ(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned int flags),
          (vgpu_per_thread(stream), event, flags))
