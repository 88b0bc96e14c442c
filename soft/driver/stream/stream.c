/* SPDX-License-Identifier: MIT */
#include "soft/driver/stream/stream.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "interop/thread.h"
#include "soft/driver/graph/capture.h"

/* A task at its place in a stream. */
struct vgpu_stream_entry {
    struct vgpu_stream_entry *next;
    uint64_t sequence;
    struct vgpu_mark *after; /* what must be reached before */
    size_t after_count;
    CUresult *outcome; /* where who waits wants the result, or NULL */
    struct vgpu_task *task;
};

static void destroy_stream(struct vgpu_object *object)
{
    struct vgpu_stream *stream = (struct vgpu_stream *)object;

    pthread_cond_destroy(&stream->work);
    pthread_cond_destroy(&stream->progress);
    free(stream);
}

static struct vgpu_stream *create(struct vgpu_context *context)
{
    struct vgpu_stream *stream =
        vgpu_object_create(VGPU_OBJECT_STREAM, sizeof(*stream), context, destroy_stream);

    if (!stream)
        return NULL;
    stream->context = context;
    stream->id = vgpu_driver_new_id();
    stream->last = &stream->first;
    stream->awaited = UINT64_MAX;
    vgpu_stream_init_attributes(stream);
    pthread_cond_init(&stream->work, NULL);
    pthread_cond_init(&stream->progress, NULL);
    return stream;
}

/* With the driver's lock. Who waits is woken at what it waits for, and not at all that comes
 * before: waking a thread takes longer than going on to the next task. */
static void complete(struct vgpu_stream *stream, uint64_t sequence)
{
    stream->completed = sequence;
    if (sequence < stream->awaited)
        return;
    stream->awaited = UINT64_MAX;
    pthread_cond_broadcast(&stream->progress);
}

struct vgpu_stream *vgpu_timeline_create(struct vgpu_context *context)
{
    struct vgpu_stream *timeline = create(context);

    if (timeline)
        timeline->submitted = 1;
    return timeline;
}

void vgpu_timeline_reach(struct vgpu_stream *timeline)
{
    pthread_mutex_lock(&vgpu_driver()->lock);
    complete(timeline, 1);
    pthread_mutex_unlock(&vgpu_driver()->lock);
}

struct vgpu_stream *vgpu_stream_create(struct vgpu_context *context, unsigned int flags,
                                       int priority)
{
    struct vgpu_stream *stream = create(context);

    if (!stream)
        return NULL;
    stream->flags = flags;
    stream->priority = priority;
    stream->non_blocking = flags & CU_STREAM_NON_BLOCKING;
    pthread_mutex_lock(&vgpu_driver()->lock);
    stream->next = context->streams;
    context->streams = stream;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return stream;
}

/* ---- tasks ---- */

struct vgpu_task *vgpu_task_share(struct vgpu_task *task)
{
    /* Relaxed: whoever shares has a reference already. */
    atomic_fetch_add_explicit(&task->shares, 1, memory_order_relaxed);
    return task;
}

void vgpu_task_put(struct vgpu_task *task)
{
    /* Acquire and release: the last holder sees what the others did. */
    if (!task || atomic_fetch_sub_explicit(&task->shares, 1, memory_order_acq_rel) != 0)
        return;
    if (task->release)
        task->release(task);
    free(task);
}

static void free_entry(struct vgpu_stream_entry *entry)
{
    vgpu_task_put(entry->task);
    for (size_t i = 0; i < entry->after_count; i++)
        vgpu_object_put(entry->after[i].stream);
    free(entry->after);
    free(entry);
}

/* The functions from here to the next headline are called with the driver's lock held. */

static bool reached(const struct vgpu_mark *mark)
{
    return !mark->stream || mark->stream->completed >= mark->sequence;
}

static void wait_for(const struct vgpu_mark *mark)
{
    while (!reached(mark)) {
        if (mark->sequence < mark->stream->awaited)
            mark->stream->awaited = mark->sequence;
        vgpu_thread_wait_second(&mark->stream->progress, &vgpu_driver()->lock);
    }
}

static bool may_start(const struct vgpu_stream *stream, const struct vgpu_stream_entry *entry)
{
    if (stream->completed + 1 != entry->sequence)
        return false;
    for (size_t i = 0; i < entry->after_count; i++) {
        if (!reached(&entry->after[i]))
            return false;
    }
    return true;
}

/* Runs a task whose turn it is, without the lock, and frees the entry. */
static CUresult run(struct vgpu_stream *stream, struct vgpu_stream_entry *entry)
{
    struct vgpu_context *context = stream->context;
    struct vgpu_task *task = entry->task;
    uint64_t sequence = entry->sequence;
    CUresult *outcome = entry->outcome;
    CUresult result;

    pthread_mutex_unlock(&vgpu_driver()->lock);
    result = vgpu_context_cancelled(context)
                 ? CUDA_ERROR_CONTEXT_IS_DESTROYED
                 : (CUresult)atomic_load_explicit(&context->failed, memory_order_acquire);
    if (result == CUDA_SUCCESS || task->always)
        result = task->run(task, context);
    free_entry(entry);
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (outcome)
        *outcome = result;
    complete(stream, sequence);
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
        struct vgpu_stream_entry *entry = stream->first;
        if (!entry) {
            if (stream->closing)
                break;
            pthread_cond_wait(&stream->work, &vgpu_driver()->lock);
            continue;
        }
        /* A task that its submitter runs may be before this one. */
        wait_for(&(struct vgpu_mark){stream, entry->sequence - 1});
        for (size_t i = 0; i < entry->after_count; i++)
            wait_for(&entry->after[i]);
        stream->first = entry->next;
        if (!stream->first)
            stream->last = &stream->first;
        run(stream, entry);
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
    if (vgpu_driver()->has_processor_set)
        pthread_attr_setaffinity_np(&attributes, sizeof(vgpu_driver()->processor_set),
                                    &vgpu_driver()->processor_set);
    error = vgpu_thread_create(&thread, &attributes, stream_main, stream);
    pthread_attr_destroy(&attributes);
    stream->has_thread = error == 0;
    return error ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

static bool add_mark(struct vgpu_stream_entry *entry, const struct vgpu_mark *mark)
{
    struct vgpu_mark *after =
        reallocarray(entry->after, entry->after_count + 1, sizeof(*entry->after));

    if (!after)
        return false;
    entry->after = after;
    after[entry->after_count++] =
        (struct vgpu_mark){vgpu_object_share(mark->stream), mark->sequence};
    return true;
}

static bool add_end(struct vgpu_stream_entry *entry, struct vgpu_stream *stream)
{
    return stream->completed == stream->submitted ||
           add_mark(entry, &(struct vgpu_mark){stream, stream->submitted});
}

/* The legacy stream waits for all blocking streams, and they for it. */
static bool add_barriers(struct vgpu_stream *stream, struct vgpu_stream_entry *entry)
{
    struct vgpu_stream *legacy = stream->context->legacy;

    if (stream->non_blocking)
        return true;
    if (stream != legacy)
        return add_end(entry, legacy);
    for (struct vgpu_stream *other = stream->context->streams; other; other = other->next) {
        if (other != legacy && !other->non_blocking && !add_end(entry, other))
            return false;
    }
    return true;
}

/* Puts an entry behind all others, for the stream's thread. */
static void append(struct vgpu_stream *stream, struct vgpu_stream_entry *entry)
{
    entry->sequence = ++stream->submitted;
    *stream->last = entry;
    stream->last = &entry->next;
    pthread_cond_signal(&stream->work);
}

/* Adds an entry, or says that it was refused, and stays the caller's. */
static CUresult submit(struct vgpu_stream *stream, struct vgpu_stream_entry *entry,
                       enum vgpu_submission how, struct vgpu_mark *mark, bool *refused)
{
    CUresult outcome = CUDA_SUCCESS, result = CUDA_SUCCESS;
    uint64_t sequence = stream->submitted + 1;

    if (stream->closing)
        result = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    else if (!add_barriers(stream, entry))
        result = CUDA_ERROR_OUT_OF_MEMORY;
    entry->sequence = sequence;
    if (result == CUDA_SUCCESS && how != VGPU_SUBMIT_ASYNC && may_start(stream, entry)) {
        stream->submitted++;
        if (mark)
            *mark = (struct vgpu_mark){stream, stream->submitted};
        return run(stream, entry);
    }
    if (result == CUDA_SUCCESS)
        result = start_thread(stream);
    if (result != CUDA_SUCCESS) {
        *refused = true;
        return result;
    }
    if (how == VGPU_SUBMIT_SYNC)
        entry->outcome = &outcome; // cppcheck-suppress autoVariables ; we wait for it below
    append(stream, entry);
    if (mark)
        *mark = (struct vgpu_mark){stream, stream->submitted};
    if (how == VGPU_SUBMIT_SYNC)
        wait_for(&(struct vgpu_mark){stream, sequence});
    return outcome;
}

/* ---- end of the functions that need the lock ---- */

CUresult vgpu_stream_submit_after(struct vgpu_stream *stream, struct vgpu_task *task,
                                  enum vgpu_submission how, const struct vgpu_mark *after,
                                  struct vgpu_mark *mark)
{
    struct vgpu_stream_entry *entry = calloc(1, sizeof(*entry));
    bool refused = false;
    CUresult result;

    if (!entry) {
        vgpu_task_put(task);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    entry->task = task;
    if (after && after->stream && !add_mark(entry, after)) {
        free_entry(entry);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    pthread_mutex_lock(&vgpu_driver()->lock);
    result = submit(stream, entry, how, mark, &refused);
    pthread_mutex_unlock(&vgpu_driver()->lock);
    if (refused)
        free_entry(entry);
    return result;
}

CUresult vgpu_stream_submit(struct vgpu_stream *stream, struct vgpu_task *task,
                            enum vgpu_submission how, struct vgpu_mark *mark)
{
    CUresult result;

    if (vgpu_capture_take(stream, task, how, &result))
        return result;
    return vgpu_stream_submit_after(stream, task, how, NULL, mark);
}

CUresult vgpu_stream_submit_to(struct vgpu_context *context, CUstream handle,
                               struct vgpu_task *task, enum vgpu_submission how)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_resolve(context, handle, &stream);

    if (result != CUDA_SUCCESS) {
        vgpu_task_put(task);
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

struct keep_task {
    struct vgpu_task task;
    void *object; /* with a reference */
};

static CUresult keep_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)task, (void)context;
    return CUDA_SUCCESS;
}

static void keep_release(struct vgpu_task *task)
{
    vgpu_object_put(((struct keep_task *)task)->object);
}

/* Lock held. Also in a stream that is closing, which ends when nothing is in it. */
static bool keep_in(struct vgpu_stream *stream, void *object)
{
    struct keep_task *task = calloc(1, sizeof(*task));
    struct vgpu_stream_entry *entry = calloc(1, sizeof(*entry));

    if (!task || !entry || start_thread(stream) != CUDA_SUCCESS) {
        free(task);
        free(entry);
        return false;
    }
    task->task = (struct vgpu_task){.run = keep_run, .release = keep_release};
    task->object = vgpu_object_share(object);
    entry->task = &task->task;
    append(stream, entry);
    return true;
}

void vgpu_context_keep(struct vgpu_context *context, void *object)
{
    bool kept = true;

    pthread_mutex_lock(&vgpu_driver()->lock);
    for (struct vgpu_stream *s = context->streams; s && kept; s = s->next) {
        if (s->completed != s->submitted)
            kept = keep_in(s, object);
    }
    pthread_mutex_unlock(&vgpu_driver()->lock);
    if (!kept)
        vgpu_context_drain(context);
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

void vgpu_stream_close(struct vgpu_stream *stream)
{
    bool mine;

    vgpu_capture_forget_stream(stream);
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
        vgpu_stream_close(stream);
        vgpu_object_put(stream);
        pthread_mutex_lock(&vgpu_driver()->lock);
    }
    while (context->streams)
        vgpu_thread_wait(&vgpu_driver()->stream_gone, &vgpu_driver()->lock);
    pthread_mutex_unlock(&vgpu_driver()->lock);
}
