/* SPDX-License-Identifier: MIT */
/* What CUDA keeps per thread: the stack of contexts and the thread's own streams. */
#include "guest/process/context.h"

#include <stdlib.h>

#include "guest/process/process.h"
#include "protocol/send.h"

_Thread_local struct vgpu_thread_place vgpu_thread_place;
static pthread_key_t at_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void end_streams(struct vgpu_thread *thread)
{
    struct vgpu_process *process = vgpu_process();
    bool ready = vgpu_process_ready(process) == CUDA_SUCCESS;
    while (thread->streams) {
        struct vgpu_thread_stream *entry = thread->streams;
        thread->streams = entry->next;
        /* A context that has ended has taken its streams along, and the slot may be another's. */
        if (ready && vgpu_context_usable(entry->context) &&
            entry->context->unique == entry->unique) {
            vgpu_freed_tell(process->channel);
            vgpu_send_cuStreamDestroy(process->channel, entry->context->object.id,
                                      entry->stream->object.id);
            vgpu_object_put(&process->objects, &entry->stream->object);
        }
        free(entry);
    }
}

static void end_thread(void *data)
{
    struct vgpu_thread *thread = data;
    end_streams(thread);
    free(thread->stack);
    free(thread);
    vgpu_thread_place.thread = NULL;
}

static void make_key(void)
{
    pthread_key_create(&at_exit, end_thread);
}

struct vgpu_thread *vgpu_thread(void)
{
    if (vgpu_thread_place.thread)
        return vgpu_thread_place.thread;
    struct vgpu_thread *thread = calloc(1, sizeof(*thread));
    if (thread == NULL)
        return NULL;
    pthread_once(&once, make_key);
    if (pthread_setspecific(at_exit, thread) != 0) {
        free(thread);
        return NULL;
    }
    vgpu_thread_place.thread = thread;
    return thread;
}

CUresult vgpu_thread_push(struct vgpu_context *context)
{
    struct vgpu_thread *thread = vgpu_thread();
    if (thread == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (thread->depth == thread->room) {
        size_t room = thread->room ? thread->room * 2 : 8;
        struct vgpu_context **grown =
            reallocarray(thread->stack, room, sizeof(struct vgpu_context *));
        if (grown == NULL)
            return CUDA_ERROR_OUT_OF_MEMORY;
        thread->stack = grown;
        thread->room = room;
    }
    thread->stack[thread->depth++] = context;
    return CUDA_SUCCESS;
}

CUresult vgpu_thread_set(struct vgpu_context *context)
{
    struct vgpu_thread *thread = vgpu_thread_place.thread;
    if (thread && thread->depth)
        thread->depth--;
    return context ? vgpu_thread_push(context) : CUDA_SUCCESS;
}

static struct vgpu_stream *known_stream(const struct vgpu_thread *thread,
                                        const struct vgpu_context *context)
{
    for (const struct vgpu_thread_stream *entry = thread->streams; entry; entry = entry->next) {
        if (entry->context == context && entry->unique == context->unique)
            return entry->stream;
    }
    return NULL;
}

CUresult vgpu_stream_of_thread(const struct vgpu_caller *caller, struct vgpu_stream **stream)
{
    struct vgpu_thread *thread = vgpu_thread();
    if (thread == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *stream = known_stream(thread, caller->current);
    if (*stream)
        return CUDA_SUCCESS;
    struct vgpu_thread_stream *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult error = vgpu_stream_create(caller, CU_STREAM_DEFAULT, 0, stream);
    if (error) {
        free(entry);
        return error;
    }
    *entry = (struct vgpu_thread_stream){.next = thread->streams,
                                         .context = caller->current,
                                         .unique = caller->current->unique,
                                         .stream = *stream};
    thread->streams = entry;
    return CUDA_SUCCESS;
}
