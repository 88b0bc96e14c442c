/* SPDX-License-Identifier: MIT */
#include "soft/driver/stream.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A thread's own default stream in one context. */
struct vgpu_thread_stream {
    struct vgpu_thread_stream *next;
    uint64_t context_id;
    struct vgpu_stream *stream; /* with a reference */
};

static void destroy_stream(struct vgpu_object *object)
{
    struct vgpu_stream *stream = (struct vgpu_stream *)object;

    pthread_cond_destroy(&stream->work);
    pthread_cond_destroy(&stream->progress);
    free(stream);
}

struct vgpu_stream *vgpu_stream_create(struct vgpu_context *context, unsigned int flags,
                                       int priority)
{
    struct vgpu_stream *stream =
        vgpu_object_create(VGPU_OBJECT_STREAM, sizeof(*stream), context, destroy_stream);

    if (!stream)
        return NULL;
    stream->context = context;
    stream->id = vgpu_driver_new_id();
    stream->flags = flags;
    stream->priority = priority;
    stream->non_blocking = flags & CU_STREAM_NON_BLOCKING;
    stream->last = &stream->first;
    vgpu_stream_init_attributes(stream);
    pthread_cond_init(&stream->work, NULL);
    pthread_cond_init(&stream->progress, NULL);
    pthread_mutex_lock(&vgpu_driver()->lock);
    stream->next = context->streams;
    context->streams = stream;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return stream;
}

/* ---- tasks ---- */

void vgpu_task_discard(struct vgpu_task *task)
{
    if (task->release)
        task->release(task);
    for (size_t i = 0; i < task->after_count; i++)
        vgpu_object_put(task->after[i].stream);
    free(task->after);
    free(task);
}

/* The functions from here to the next headline are called with the driver's lock held. */

static bool reached(const struct vgpu_mark *mark)
{
    return !mark->stream || mark->stream->completed >= mark->sequence;
}

static void wait_for(const struct vgpu_mark *mark)
{
    while (!reached(mark))
        pthread_cond_wait(&mark->stream->progress, &vgpu_driver()->lock);
}

static bool may_start(const struct vgpu_stream *stream, const struct vgpu_task *task)
{
    if (stream->completed + 1 != task->sequence)
        return false;
    for (size_t i = 0; i < task->after_count; i++) {
        if (!reached(&task->after[i]))
            return false;
    }
    return true;
}

/* Runs a task whose turn it is, without the lock, and frees it. */
static CUresult run(struct vgpu_stream *stream, struct vgpu_task *task)
{
    struct vgpu_context *context = stream->context;
    uint64_t sequence = task->sequence;
    CUresult *outcome = task->outcome;
    CUresult result;

    pthread_mutex_unlock(&vgpu_driver()->lock);
    result = vgpu_context_cancelled(context)
                 ? CUDA_ERROR_CONTEXT_IS_DESTROYED
                 : (CUresult)atomic_load_explicit(&context->failed, memory_order_acquire);
    if (result == CUDA_SUCCESS || task->always)
        result = task->run(task, context);
    vgpu_task_discard(task);
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (outcome)
        *outcome = result;
    stream->completed = sequence;
    pthread_cond_broadcast(&stream->progress);
    return result;
}

static void leave_context(struct vgpu_stream *stream)
{
    struct vgpu_stream **link = &stream->context->streams;

    while (*link != stream)
        link = &(*link)->next;
    *link = stream->next;
    pthread_cond_broadcast(&vgpu_driver()->stream_gone);
}

static void *stream_main(void *argument)
{
    struct vgpu_stream *stream = argument;

    pthread_mutex_lock(&vgpu_driver()->lock);
    for (;;) {
        struct vgpu_task *task = stream->first;
        if (!task) {
            if (stream->closing)
                break;
            pthread_cond_wait(&stream->work, &vgpu_driver()->lock);
            continue;
        }
        /* A task that its submitter runs may be before this one. */
        wait_for(&(struct vgpu_mark){stream, task->sequence - 1});
        for (size_t i = 0; i < task->after_count; i++)
            wait_for(&task->after[i]);
        stream->first = task->next;
        if (!stream->first)
            stream->last = &stream->first;
        run(stream, task);
    }
    leave_context(stream);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    vgpu_object_put(stream);
    return NULL;
}

static CUresult start_thread(struct vgpu_stream *stream)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int error;

    if (stream->has_thread)
        return CUDA_SUCCESS;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    error = pthread_create(&thread, &attributes, stream_main, stream);
    pthread_attr_destroy(&attributes);
    stream->has_thread = error == 0;
    return error ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static bool add_mark(struct vgpu_task *task, struct vgpu_stream *stream)
{
    struct vgpu_mark *after =
        reallocarray(task->after, task->after_count + 1, sizeof(*task->after));

    if (!after)
        return false;
    task->after = after;
    after[task->after_count++] = (struct vgpu_mark){vgpu_object_share(stream), stream->submitted};
    return true;
}

/* The legacy stream waits for all blocking streams, and they for it. */
static bool add_barriers(struct vgpu_stream *stream, struct vgpu_task *task)
{
    struct vgpu_stream *legacy = stream->context->legacy;

    if (stream->non_blocking)
        return true;
    if (stream != legacy)
        return legacy->completed == legacy->submitted || add_mark(task, legacy);
    for (struct vgpu_stream *other = stream->context->streams; other; other = other->next) {
        if (other != legacy && !other->non_blocking && other->completed != other->submitted &&
            !add_mark(task, other))
            return false;
    }
    return true;
}

static CUresult submit(struct vgpu_stream *stream, struct vgpu_task *task, enum vgpu_submission how,
                       struct vgpu_mark *mark)
{
    CUresult outcome = CUDA_SUCCESS, result;

    if (stream->closing || !add_barriers(stream, task)) {
        vgpu_task_discard(task);
        return stream->closing ? CUDA_ERROR_CONTEXT_IS_DESTROYED : CUDA_ERROR_OUT_OF_MEMORY;
    }
    task->sequence = stream->submitted + 1;
    if (how != VGPU_SUBMIT_ASYNC && may_start(stream, task)) {
        stream->submitted++;
        if (mark)
            *mark = (struct vgpu_mark){stream, stream->submitted};
        return run(stream, task);
    }
    result = start_thread(stream);
    if (result != CUDA_SUCCESS) {
        vgpu_task_discard(task);
        return result;
    }
    stream->submitted++;
    if (mark)
        *mark = (struct vgpu_mark){stream, stream->submitted};
    if (how == VGPU_SUBMIT_SYNC)
        task->outcome = &outcome; // cppcheck-suppress autoVariables ; we wait for it below
    *stream->last = task;
    stream->last = &task->next;
    pthread_cond_signal(&stream->work);
    if (how == VGPU_SUBMIT_SYNC)
        wait_for(&(struct vgpu_mark){stream, task->sequence});
    return outcome;
}

/* ---- end of the functions that need the lock ---- */

CUresult vgpu_stream_submit(struct vgpu_stream *stream, struct vgpu_task *task,
                            enum vgpu_submission how, struct vgpu_mark *mark)
{
    CUresult result;

    pthread_mutex_lock(&vgpu_driver()->lock);
    result = submit(stream, task, how, mark);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return result;
}

CUresult vgpu_stream_submit_to(struct vgpu_context *context, CUstream handle,
                               struct vgpu_task *task, enum vgpu_submission how)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_resolve(context, handle, &stream);

    if (result != CUDA_SUCCESS) {
        vgpu_task_discard(task);
        return result;
    }
    result = vgpu_stream_submit(stream, task, how, NULL);
    vgpu_object_put(stream);
    return result;
}

bool vgpu_mark_reached(const struct vgpu_mark *mark)
{
    bool is;

    pthread_mutex_lock(&vgpu_driver()->lock);
    is = reached(mark);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return is;
}

void vgpu_mark_wait(const struct vgpu_mark *mark)
{
    pthread_mutex_lock(&vgpu_driver()->lock);
    wait_for(mark);
    pthread_mutex_unlock(&vgpu_driver()->lock);
}

/* The first stream of the context that is not idle, with a reference; NULL if all are. */
static struct vgpu_stream *busy_stream(struct vgpu_context *context)
{
    struct vgpu_stream *stream = context->streams;

    while (stream && stream->completed == stream->submitted)
        stream = stream->next;
    return stream ? vgpu_object_share(stream) : NULL;
}

void vgpu_context_drain(struct vgpu_context *context)
{
    struct vgpu_stream *stream;

    pthread_mutex_lock(&vgpu_driver()->lock);
    while ((stream = busy_stream(context))) {
        wait_for(&(struct vgpu_mark){stream, stream->submitted});
        pthread_mutex_unlock(&vgpu_driver()->lock);
        vgpu_object_put(stream);
        pthread_mutex_lock(&vgpu_driver()->lock);
    }
    pthread_mutex_unlock(&vgpu_driver()->lock);
}

void vgpu_device_drain(const struct vgpu_device *device)
{
    struct vgpu_context *context;

    /* Contexts are only ever added, in front. */
    pthread_mutex_lock(&vgpu_driver()->lock);
    context = vgpu_driver()->contexts;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    for (; context; context = context->next) {
        if (context->device == device)
            vgpu_context_drain(context);
    }
}

/* Ends a stream after what is in it; its reference of the context's list goes with it. Lock held;
 * true if the caller has to give that reference back. */
static bool close_stream(struct vgpu_stream *stream)
{
    if (stream->closing)
        return false;
    stream->closing = true;
    pthread_cond_signal(&stream->work);
    if (stream->has_thread)
        return false;
    /* What its submitter runs itself ends before the submitter returns. */
    wait_for(&(struct vgpu_mark){stream, stream->submitted});
    leave_context(stream);
    return true;
}

static void close_and_put(struct vgpu_stream *stream)
{
    bool mine;

    pthread_mutex_lock(&vgpu_driver()->lock);
    mine = close_stream(stream);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    if (mine)
        vgpu_object_put(stream);
}

void vgpu_context_close_streams(struct vgpu_context *context)
{
    struct vgpu_stream *stream;

    pthread_mutex_lock(&vgpu_driver()->lock);
    for (;;) {
        stream = context->streams;
        while (stream && stream->closing)
            stream = stream->next;
        if (!stream)
            break;
        vgpu_object_share(stream);
        pthread_mutex_unlock(&vgpu_driver()->lock);
        close_and_put(stream);
        vgpu_object_put(stream);
        pthread_mutex_lock(&vgpu_driver()->lock);
    }
    while (context->streams)
        pthread_cond_wait(&vgpu_driver()->stream_gone, &vgpu_driver()->lock);
    pthread_mutex_unlock(&vgpu_driver()->lock);
}

/* ---- default streams ---- */

void vgpu_thread_close_streams(struct vgpu_thread *thread)
{
    while (thread->streams) {
        struct vgpu_thread_stream *own = thread->streams;
        thread->streams = own->next;
        close_and_put(own->stream);
        vgpu_object_put(own->stream);
        free(own);
    }
}

static CUresult own_stream(struct vgpu_context *context, struct vgpu_stream **stream)
{
    struct vgpu_thread *thread = vgpu_thread_self();
    struct vgpu_thread_stream *own;

    if (!thread)
        return CUDA_ERROR_OUT_OF_MEMORY;
    for (own = thread->streams; own; own = own->next) {
        if (own->context_id == context->id) {
            *stream = vgpu_object_share(own->stream);
            return CUDA_SUCCESS;
        }
    }
    own = calloc(1, sizeof(*own));
    if (!own)
        return CUDA_ERROR_OUT_OF_MEMORY;
    own->stream = vgpu_stream_create(context, CU_STREAM_DEFAULT, 0);
    if (!own->stream) {
        free(own);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_object_share(own->stream);
    own->context_id = context->id;
    own->next = thread->streams;
    thread->streams = own;
    *stream = vgpu_object_share(own->stream);
    return CUDA_SUCCESS;
}

CUresult vgpu_stream_resolve(struct vgpu_context *context, CUstream handle,
                             struct vgpu_stream **stream)
{
    CUresult result;

    if (handle == CU_STREAM_PER_THREAD)
        return own_stream(context, stream);
    if (!handle || handle == CU_STREAM_LEGACY) {
        pthread_mutex_lock(&vgpu_driver()->lock);
        *stream = context->legacy ? vgpu_object_share(context->legacy) : NULL;
        pthread_mutex_unlock(&vgpu_driver()->lock);
        return *stream ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    *stream = vgpu_object_take(handle, VGPU_OBJECT_STREAM);
    if (!*stream)
        return CUDA_ERROR_INVALID_HANDLE;
    result = vgpu_context_usable((*stream)->context);
    if (result != CUDA_SUCCESS)
        vgpu_object_put(*stream);
    return result;
}

/* ---- creating and destroying ---- */

CUresult cuStreamCreateWithPriority(CUstream *phStream, unsigned int flags, int priority)
{
    struct vgpu_context *context;
    struct vgpu_stream *stream;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (!phStream || (flags & ~(unsigned int)CU_STREAM_NON_BLOCKING))
        return CUDA_ERROR_INVALID_VALUE;
    if (priority > VGPU_PRIORITY_LEAST)
        priority = VGPU_PRIORITY_LEAST;
    if (priority < VGPU_PRIORITY_GREATEST)
        priority = VGPU_PRIORITY_GREATEST;
    stream = vgpu_stream_create(context, flags, priority);
    if (!stream)
        return CUDA_ERROR_OUT_OF_MEMORY;
    vgpu_object_share(stream);
    vgpu_object_publish(stream);
    *phStream = (CUstream)stream;
    return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *phStream, unsigned int Flags)
{
    return cuStreamCreateWithPriority(phStream, Flags, VGPU_PRIORITY_LEAST);
}

CUresult cuStreamDestroy_v2(CUstream hStream)
{
    CUresult result = vgpu_driver_ready();
    struct vgpu_stream *stream;

    if (result != CUDA_SUCCESS)
        return result;
    stream = vgpu_object_withdraw(hStream, VGPU_OBJECT_STREAM);
    if (!stream)
        return CUDA_ERROR_INVALID_HANDLE;
    close_and_put(stream);
    vgpu_object_put(stream);
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream hStream)
{
    return cuStreamDestroy_v2(hStream);
}
