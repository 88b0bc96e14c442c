/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <time.h>

#include "interop/per_thread.h"
#include "soft/driver/stream.h"

struct vgpu_event {
    struct vgpu_object object;
    struct vgpu_context *context;
    unsigned int flags;
    /* Guarded by the driver's lock. */
    struct vgpu_mark recorded; /* the last record */
    uint64_t records;          /* how many there were */
    uint64_t time;             /* nanoseconds, when the last record was reached */
};

static void destroy_event(struct vgpu_object *object)
{
    struct vgpu_event *event = (struct vgpu_event *)object;

    vgpu_object_put(event->recorded.stream);
    free(event);
}

/* An event that can be used: its context and the current one are whole. */
static CUresult enter(CUevent handle, struct vgpu_event **event)
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

static CUresult record_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct record_task *record = (const struct record_task *)task;
    struct timespec now;

    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (record->record == record->event->records)
        record->event->time = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return CUDA_SUCCESS;
}

static void record_release(struct vgpu_task *task)
{
    vgpu_object_put(((struct record_task *)task)->event);
}

static CUresult record(struct vgpu_event *event, struct vgpu_stream *stream)
{
    struct record_task *task = calloc(1, sizeof(*task));
    struct vgpu_stream *old = NULL;
    struct vgpu_mark mark;
    CUresult result;

    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    task->task.run = record_run;
    task->task.release = record_release;
    task->event = vgpu_object_share(event);
    pthread_mutex_lock(&vgpu_driver()->lock);
    task->record = ++event->records;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    result = vgpu_stream_submit(stream, &task->task, VGPU_SUBMIT_INSTANT, &mark);
    if (result != CUDA_SUCCESS)
        return result;
    pthread_mutex_lock(&vgpu_driver()->lock);
    old = event->recorded.stream;
    event->recorded = (struct vgpu_mark){vgpu_object_share(stream), mark.sequence};
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_put(old);
    return CUDA_SUCCESS;
}

CUresult cuEventRecordWithFlags(CUevent hEvent, CUstream hStream, unsigned int flags)
{
    struct vgpu_stream *stream = NULL;
    struct vgpu_event *event;
    CUresult result = enter(hEvent, &event);

    if (result != CUDA_SUCCESS)
        return result;
    if (flags & ~(unsigned int)CU_EVENT_RECORD_EXTERNAL)
        result = CUDA_ERROR_INVALID_VALUE;
    else
        result = vgpu_stream_resolve(event->context, hStream, &stream);
    if (result == CUDA_SUCCESS) {
        result =
            stream->context == event->context ? record(event, stream) : CUDA_ERROR_INVALID_HANDLE;
        vgpu_object_put(stream);
    }
    vgpu_object_put(event);
    return result;
}

CUresult cuEventRecord(CUevent hEvent, CUstream hStream)
{
    return cuEventRecordWithFlags(hEvent, hStream, CU_EVENT_RECORD_DEFAULT);
}

/* The event's last record, with a reference to its stream if there is one. */
static struct vgpu_mark last_record(struct vgpu_event *event)
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
    CUresult result = enter(hEvent, &event);

    if (result != CUDA_SUCCESS)
        return result;
    if (!vgpu_mark_reached(&event->recorded))
        result = CUDA_ERROR_NOT_READY;
    else
        result = vgpu_context_usable(event->context);
    vgpu_object_put(event);
    return result;
}

CUresult cuEventSynchronize(CUevent hEvent)
{
    struct vgpu_event *event;
    struct vgpu_mark mark;
    CUresult result = enter(hEvent, &event);

    if (result != CUDA_SUCCESS)
        return result;
    mark = last_record(event);
    vgpu_mark_wait(&mark);
    vgpu_object_put(mark.stream);
    result = vgpu_context_usable(event->context);
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
    result = enter(hStart, &start);
    if (result != CUDA_SUCCESS)
        return result;
    result = enter(hEnd, &end);
    if (result == CUDA_SUCCESS) {
        result = elapsed(pMilliseconds, start, end);
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

static CUresult wait_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)task, (void)context;
    return CUDA_SUCCESS;
}

CUresult cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags)
{
    struct vgpu_context *context;
    struct vgpu_event *event;
    struct vgpu_task *task;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS && (Flags & ~(unsigned int)CU_EVENT_WAIT_EXTERNAL))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = enter(hEvent, &event);
    if (result != CUDA_SUCCESS)
        return result;
    task = calloc(1, sizeof(*task));
    if (task)
        task->after = calloc(1, sizeof(*task->after));
    if (!task || !task->after) {
        free(task);
        vgpu_object_put(event);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    task->run = wait_run;
    task->after[0] = last_record(event);
    task->after_count = 1;
    vgpu_object_put(event);
    return vgpu_stream_submit_to(context, hStream, task, VGPU_SUBMIT_INSTANT);
}

VGPU_PTSZ(cuEventRecord, (CUevent event, CUstream stream), (event, vgpu_per_thread(stream)))
VGPU_PTSZ(cuEventRecordWithFlags, (CUevent event, CUstream stream, unsigned int flags),
          (event, vgpu_per_thread(stream), flags))
VGPU_PTSZ(cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned int flags),
          (vgpu_per_thread(stream), event, flags))
