/* SPDX-License-Identifier: MIT */
#include "guest/stream/stream.h"

#include "guest/graph/capture.h"
#include "guest/memory/freed.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "guest/stream/event.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

void vgpu_stream_submitted(struct vgpu_stream *stream)
{
    struct vgpu_context *context = stream->object.context;
    /* release: pairs with vgpu_marker_place, which then posts its fence behind this work. The
     * context's first: what is done of streams is never more than that. seq_cst: see
     * vgpu_context_begin_wait. */
    __atomic_fetch_add(&context->work, 1, __ATOMIC_SEQ_CST);
    uint64_t waits = __atomic_load_n(&context->waits, __ATOMIC_SEQ_CST);
    /* acquire: who finds the number here finds it in the legacy stream, too, which is idle only
     * with all others; that is raised first */
    if (__atomic_load_n(&stream->waits, __ATOMIC_ACQUIRE) < waits) {
        vgpu_raise(&context->legacy->waits, waits);
        vgpu_raise(&stream->waits, waits);
    }
    __atomic_fetch_add(&stream->work, 1, __ATOMIC_RELEASE);
}

/* Whether the program has been told, by a wait or an event behind all of its work, that the stream
 * is idle. The driver may say otherwise for a moment yet: it has the record of that event, or a
 * mark of the worker's, to retire behind the fence that the guest saw. */
static bool known_idle(const struct vgpu_stream *stream)
{
    const struct vgpu_context *context = stream->object.context;
    /* acquire: pair with vgpu_raise; what was done before is seen */
    uint64_t waits = __atomic_load_n(&stream->waits, __ATOMIC_ACQUIRE);
    if (waits < __atomic_load_n(&context->waits_over, __ATOMIC_ACQUIRE))
        return true;
    if (!(stream->flags & CU_STREAM_NON_BLOCKING) &&
        waits < __atomic_load_n(&context->legacy_waits_over, __ATOMIC_ACQUIRE) &&
        stream != context->legacy)
        return true;
    return __atomic_load_n(&stream->reached, __ATOMIC_ACQUIRE) == vgpu_stream_counted(stream);
}

/* The same, also where an event is behind all of it that the program has not asked for. For
 * queries: a wait would be spared its fence now and then, and what a program sends should not
 * depend on when it does. */
static bool seen_idle(const struct vgpu_caller *caller, struct vgpu_stream *stream)
{
    if (known_idle(stream))
        return true;
    struct vgpu_stream_fence *recorded = &stream->recorded;
    pthread_mutex_lock(&recorded->lock);
    uint64_t counted = recorded->counted;
    bool reached = counted && vgpu_fence_reached(caller->channel, recorded->fence, recorded->value);
    pthread_mutex_unlock(&recorded->lock);
    if (reached)
        vgpu_stream_reached(stream, counted);
    return known_idle(stream);
}

static CUresult post_fence(const struct vgpu_caller *caller, void *argument, uint32_t fence,
                           uint32_t value)
{
    const struct vgpu_stream *stream = argument;
    return vgpu_send_vgpuFence(caller->channel, stream->object.context->object.id,
                               stream->object.id, fence, value);
}

static CUresult ask_driver(const struct vgpu_caller *caller, void *argument)
{
    const struct vgpu_stream *stream = argument;
    return vgpu_process_note(
        vgpu_process(), vgpu_send_cuStreamQuery(caller->channel, stream->object.context->object.id,
                                                stream->object.id));
}

static struct vgpu_marked marked(struct vgpu_stream *stream)
{
    return (struct vgpu_marked){.marker = &stream->marker,
                                .work = stream->watched,
                                .argument = stream,
                                .post = post_fence,
                                .ask = ask_driver};
}

/* So much of the stream's work is done: who waits for the whole context need not ask for it. */
static void note_done(struct vgpu_stream *stream, uint64_t work)
{
    uint64_t done = __atomic_load_n(&stream->done, __ATOMIC_RELAXED);
    while (work > done) {
        /* release: pairs with the look at the context's sum */
        if (__atomic_compare_exchange_n(&stream->done, &done, work, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            __atomic_fetch_add(&stream->object.context->done, work - done, __ATOMIC_RELEASE);
            return;
        }
    }
}

void vgpu_stream_fenced(struct vgpu_stream *stream, uint32_t fence, uint32_t value,
                        uint64_t counted)
{
    struct vgpu_stream_fence *recorded = &stream->recorded;
    pthread_mutex_lock(&recorded->lock);
    recorded->fence = fence;
    recorded->value = value;
    recorded->counted = counted;
    pthread_mutex_unlock(&recorded->lock);
}

void vgpu_stream_reached(struct vgpu_stream *stream, uint64_t counted)
{
    if (__atomic_load_n(&stream->reached, __ATOMIC_RELAXED) >= counted)
        return; /* who has said so has told the context */
    vgpu_raise(&stream->reached, counted);
    if (stream->watched == &stream->work)
        note_done(stream, counted);
}

CUresult vgpu_stream_wait(const struct vgpu_caller *caller, struct vgpu_stream *stream)
{
    struct vgpu_context *context = stream->object.context;
    struct vgpu_marked what = marked(stream);
    if (vgpu_capture_of(stream)) /* nothing of it runs before the graph is launched */
        return CUDA_SUCCESS;
    vgpu_freed_tell(caller->channel);
    /* acquire: the fence comes behind the work that was counted */
    uint64_t work = __atomic_load_n(&stream->work, __ATOMIC_ACQUIRE), wait = 0;
    uint64_t counted = vgpu_stream_counted(stream);
    bool idle = known_idle(stream);
    uint32_t value = 0;
    CUresult error = CUDA_SUCCESS;
    if (!idle) {
        if (stream == context->legacy)
            wait = vgpu_context_begin_wait(context);
        error = vgpu_marker_place(&what, caller, &idle, &value);
    }
    if (error == CUDA_SUCCESS)
        error = vgpu_caller_finish(caller, &stream->marker, idle, value);
    if (error == CUDA_SUCCESS) {
        vgpu_stream_reached(stream, counted);
        note_done(stream, work);
        vgpu_raise(&context->legacy_waits_over, wait); /* 0: no such wait */
    }
    return error;
}

CUresult vgpu_stream_judgement(const struct vgpu_caller *caller, const struct vgpu_stream *stream)
{
    return vgpu_capture_of(stream) ? CUDA_SUCCESS : vgpu_caller_ask(caller);
}

/* ---- life ---- */

void vgpu_stream_end(struct vgpu_stream *stream)
{
    vgpu_marker_end(&stream->marker);
    pthread_mutex_destroy(&stream->recorded.lock);
}

static void end_stream(struct vgpu_object *object)
{
    struct vgpu_stream *stream = (struct vgpu_stream *)object;
    vgpu_capture_forget(stream);
    vgpu_stream_end(stream);
}

void vgpu_stream_begin(struct vgpu_stream *stream)
{
    stream->work = stream->done = stream->reached = 0;
    stream->recorded = (struct vgpu_stream_fence){.lock = PTHREAD_MUTEX_INITIALIZER};
    stream->marker = (struct vgpu_marker){.lock = PTHREAD_MUTEX_INITIALIZER};
}

CUresult vgpu_stream_create(const struct vgpu_caller *caller, unsigned int flags, int priority,
                            struct vgpu_stream **out)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_stream *stream =
        vgpu_object_take(&process->objects, sizeof(*stream), caller->current);
    if (stream == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->object.end = end_stream;
    stream->flags = flags;
    stream->priority = priority;
    stream->unique = vgpu_process_new_id(process);
    stream->watched = &stream->work;
    vgpu_stream_begin(stream);
    CUresult error = vgpu_send_cuStreamCreateWithPriority(caller->channel, caller->context,
                                                          stream->object.id, flags, priority);
    if (error) {
        vgpu_object_put(&process->objects, &stream->object);
        return error;
    }
    vgpu_object_publish(&stream->object, VGPU_KIND_STREAM);
    *out = stream;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    pthread_mutex_lock(&process->lock);
    if (!process->priorities_known) {
        struct vgpu_device_info info;
        size_t bytes;
        error = vgpu_send_vgpuDeviceInfo(caller.channel, caller.context, 0, &info, sizeof(info),
                                         &bytes);
        if (error == CUDA_SUCCESS && bytes == sizeof(info)) {
            process->info.priority_least = info.priority_least;
            process->info.priority_greatest = info.priority_greatest;
            process->priorities_known = true;
        }
    }
    pthread_mutex_unlock(&process->lock);
    if (least)
        *least = process->info.priority_least;
    if (greatest)
        *greatest = process->info.priority_greatest;
    return error;
}

CUresult cuStreamCreateWithPriority(CUstream *handle, unsigned int flags, int priority)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    int least = 0, greatest = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    if (handle == NULL || flags > CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    if (priority) {
        error = cuCtxGetStreamPriorityRange(&least, &greatest);
        if (error)
            return error;
        priority = priority > least ? least : priority < greatest ? greatest : priority;
    }
    error = vgpu_stream_create(&caller, flags, priority, &stream);
    if (error == CUDA_SUCCESS)
        *handle = vgpu_object_handle(stream);
    return error;
}

CUresult cuStreamCreate(CUstream *handle, unsigned int flags)
{
    return cuStreamCreateWithPriority(handle, flags, 0);
}

CUresult cuStreamDestroy_v2(CUstream handle)
{
    struct vgpu_process *process = vgpu_process();
    struct vgpu_caller caller;
    CUresult error = vgpu_caller_enter(&caller);
    if (error)
        return error;
    struct vgpu_object *object = vgpu_object_find(&process->objects, handle, VGPU_KIND_STREAM);
    if (object == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    vgpu_caller_follow(&caller, object);
    vgpu_freed_tell(caller.channel); /* as long as it can be done in this stream's order */
    error = vgpu_send_cuStreamDestroy(caller.channel, caller.context, object->id);
    if (error == CUDA_SUCCESS)
        vgpu_object_put(&process->objects, object);
    return error;
}

extern __typeof__(cuStreamDestroy_v2) cuStreamDestroy __attribute__((alias("cuStreamDestroy_v2")));

/* ---- waiting ---- */

CUresult cuStreamQuery(CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_find_stream(&caller, handle, &stream);
    if (error == CUDA_SUCCESS)
        error = vgpu_capture_ask_stream(stream, false);
    if (error == CUDA_SUCCESS)
        error = vgpu_capture_unsafe();
    if (error)
        return error;
    if (!seen_idle(&caller, stream)) {
        struct vgpu_marked what = marked(stream);
        uint64_t counted = vgpu_stream_counted(stream);
        error = vgpu_marker_query(&what, &caller);
        if (error == CUDA_SUCCESS)
            vgpu_stream_reached(stream, counted);
    }
    if (error)
        return error;
    vgpu_shadows_collect();
    vgpu_mirrors_pull(&vgpu_process()->mirrors, caller.channel);
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error == CUDA_SUCCESS)
        error = vgpu_capture_wait_stream(stream);
    return error ? error : vgpu_stream_wait(&caller, stream);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    struct vgpu_event *event =
        vgpu_object_find(&vgpu_process()->objects, event_handle, VGPU_KIND_EVENT);
    if (event == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    if (flags & ~(unsigned int)CU_EVENT_WAIT_EXTERNAL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_capture_join(stream, event, flags);
    if (error || (!vgpu_event_recorded(event) && !flags))
        return error;
    error = vgpu_send_cuStreamWaitEvent(caller.channel, caller.context, stream->object.id,
                                        event->object.id, flags);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

/* ---- what a stream says of itself ---- */

/* `captured`: whether it says that during a capture, too. */
#define STREAM_QUERY(out, captured, statement)                                                     \
    struct vgpu_caller caller;                                                                     \
    struct vgpu_stream *stream;                                                                    \
    CUresult error = vgpu_caller_find_stream(&caller, handle, &stream);                            \
    if (error)                                                                                     \
        return error;                                                                              \
    if ((out) == NULL)                                                                             \
        return CUDA_ERROR_INVALID_VALUE;                                                           \
    error = vgpu_capture_ask_stream(stream, captured);                                             \
    if (error)                                                                                     \
        return error;                                                                              \
    statement;                                                                                     \
    return CUDA_SUCCESS;

CUresult cuStreamGetPriority(CUstream handle, int *priority){
    STREAM_QUERY(priority, true, *priority = stream->priority)}

CUresult cuStreamGetFlags(CUstream handle,
                          unsigned int *flags){STREAM_QUERY(flags, false, *flags = stream->flags)}

CUresult cuStreamGetId(CUstream handle,
                       unsigned long long *id){STREAM_QUERY(id, false, *id = stream->unique)}

CUresult
    cuStreamGetDevice(CUstream handle, CUdevice *device){STREAM_QUERY(device, false, *device = 0)}

CUresult cuStreamGetCtx(CUstream handle, CUcontext *context){
    STREAM_QUERY(context, true, *context = vgpu_object_handle(caller.current))}

CUresult cuStreamGetCtx_v2(CUstream handle, CUcontext *context, CUgreenCtx *green)
{
    STREAM_QUERY(context, true, *context = vgpu_object_handle(caller.current);
                 if (green) *green = NULL)
}

CUresult cuStreamGetGreenCtx(CUstream handle, CUgreenCtx *green){
    STREAM_QUERY(green, true, *green = NULL)} /* there are none */

VGPU_PTSZ(cuStreamQuery, (CUstream handle), (vgpu_per_thread(handle)))
    VGPU_PTSZ(cuStreamSynchronize, (CUstream handle), (vgpu_per_thread(handle)))
        VGPU_PTSZ(cuStreamWaitEvent, (CUstream handle, CUevent event, unsigned int flags),
                  (vgpu_per_thread(handle), event, flags))
            VGPU_PTSZ(cuStreamGetPriority, (CUstream handle, int *priority),
                      (vgpu_per_thread(handle), priority))
                VGPU_PTSZ(cuStreamGetFlags, (CUstream handle, unsigned int *flags),
                          (vgpu_per_thread(handle), flags))
                    VGPU_PTSZ(cuStreamGetId, (CUstream handle, unsigned long long *id),
                              (vgpu_per_thread(handle), id))
                        VGPU_PTSZ(cuStreamGetDevice, (CUstream handle, CUdevice *device),
                                  (vgpu_per_thread(handle), device))
                            VGPU_PTSZ(cuStreamGetCtx, (CUstream handle, CUcontext *context),
                                      (vgpu_per_thread(handle), context))
                                VGPU_PTSZ(cuStreamGetCtx_v2,
                                          (CUstream handle, CUcontext *context, CUgreenCtx *green),
                                          (vgpu_per_thread(handle), context, green))
