/* SPDX-License-Identifier: MIT */
/* The rules of stream capture. */
#include "guest/graph/capture.h"

#include <stdlib.h>

#include "guest/graph/capture_list.h"
#include "guest/graph/graph.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "guest/stream/event.h"

static bool nothing_captures(void)
{
    /* Relaxed: who begins a capture while another thread works has no order to rely on. */
    return __atomic_load_n(&vgpu_process()->captures.count, __ATOMIC_RELAXED) == 0;
}

/* With the lock. */
static struct vgpu_capture *find(unsigned long long id)
{
    struct vgpu_capture *capture = id ? vgpu_process()->captures.list : NULL;
    while (capture && capture->id != id)
        capture = capture->next;
    return capture;
}

struct vgpu_capture *vgpu_capture_find(const struct vgpu_stream *stream)
{
    return find(__atomic_load_n(&stream->capture, __ATOMIC_RELAXED));
}

unsigned long long vgpu_capture_of(const struct vgpu_stream *stream)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    if (nothing_captures())
        return 0;
    pthread_mutex_lock(&captures->lock);
    const struct vgpu_capture *capture = vgpu_capture_find(stream);
    unsigned long long id = capture ? capture->id : 0;
    pthread_mutex_unlock(&captures->lock);
    return id;
}

static bool is_legacy(const struct vgpu_stream *stream)
{
    return stream == stream->object.context->legacy;
}

/* The legacy stream would wait for a capture of its context. */
static struct vgpu_capture *in_the_way(const struct vgpu_stream *stream)
{
    struct vgpu_capture *capture = is_legacy(stream) ? vgpu_process()->captures.list : NULL;
    while (capture && !(capture->blocking && capture->context == stream->object.context))
        capture = capture->next;
    return capture;
}

bool vgpu_capture_blocks(const struct vgpu_stream *stream)
{
    return in_the_way(stream) != NULL;
}

static CUresult invalidate(struct vgpu_capture *capture, CUresult error)
{
    capture->invalidated = true;
    return error;
}

CUresult vgpu_capture_admit(const struct vgpu_stream *stream)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    CUresult error = CUDA_SUCCESS;
    if (nothing_captures())
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture && capture->invalidated)
        error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    capture = in_the_way(stream);
    if (capture)
        error = invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    pthread_mutex_unlock(&captures->lock);
    return error;
}

/* Whether the modes of a capture and of the calling thread prohibit unsafe calls. */
static bool prohibits(const struct vgpu_capture *capture, const struct vgpu_thread *thread)
{
    CUstreamCaptureMode mode = thread ? thread->capture_mode : CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (mode == CU_STREAM_CAPTURE_MODE_RELAXED)
        return false;
    if (capture->thread == thread)
        return capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    return capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL && mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
}

/* Invalidates what prohibits the call. With the lock. */
static CUresult check_unsafe(void)
{
    const struct vgpu_thread *thread = vgpu_thread();
    CUresult error = CUDA_SUCCESS;
    for (struct vgpu_capture *capture = vgpu_process()->captures.list; capture;
         capture = capture->next) {
        if (prohibits(capture, thread)) {
            capture->invalidated = true;
            error = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return error;
}

bool vgpu_capture_any(void)
{
    return !nothing_captures();
}

CUresult vgpu_capture_unsafe(void)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    if (nothing_captures())
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    CUresult error = check_unsafe();
    pthread_mutex_unlock(&captures->lock);
    return error;
}

CUresult vgpu_capture_wait_stream(const struct vgpu_stream *stream)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    if (nothing_captures())
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    CUresult error =
        capture ? invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) : check_unsafe();
    pthread_mutex_unlock(&captures->lock);
    return error;
}

CUresult vgpu_capture_ask_stream(const struct vgpu_stream *stream, bool captured)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    CUresult error = CUDA_SUCCESS;
    if (nothing_captures())
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = captured ? NULL : vgpu_capture_find(stream);
    if (capture)
        error = invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    capture = in_the_way(stream);
    if (capture)
        error = invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    pthread_mutex_unlock(&captures->lock);
    return error;
}

CUresult vgpu_capture_wait_context(const struct vgpu_context *context)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    CUresult error = CUDA_SUCCESS;
    if (nothing_captures())
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    for (struct vgpu_capture *capture = captures->list; capture; capture = capture->next) {
        if (capture->context == context)
            error = invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    CUresult unsafe = check_unsafe();
    pthread_mutex_unlock(&captures->lock);
    return error ? error : unsafe;
}

CUresult vgpu_capture_wait_event(const struct vgpu_event *event)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    unsigned long long id = __atomic_load_n(&event->capture, __ATOMIC_RELAXED);
    if (id == 0 && nothing_captures())
        return CUDA_SUCCESS;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = find(id);
    if (capture)
        capture->invalidated = true;
    CUresult error = id ? CUDA_ERROR_CAPTURED_EVENT : check_unsafe();
    pthread_mutex_unlock(&captures->lock);
    return error;
}

/* A stream is told to wait for an event of a capture. With the lock. */
static CUresult join(struct vgpu_capture *capture, struct vgpu_stream *stream)
{
    struct vgpu_capture *own = vgpu_capture_find(stream);
    if (capture->invalidated)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (own && own != capture) {
        own->invalidated = true;
        return invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    }
    if (is_legacy(stream))
        return invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    __atomic_store_n(&stream->capture, capture->id, __ATOMIC_RELAXED);
    capture->blocking |= !(stream->flags & CU_STREAM_NON_BLOCKING);
    return CUDA_SUCCESS;
}

CUresult vgpu_capture_join(struct vgpu_stream *stream, struct vgpu_event *event, unsigned int flags)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    unsigned long long id = __atomic_load_n(&event->capture, __ATOMIC_RELAXED);
    if (nothing_captures()) {
        if (flags & CU_EVENT_WAIT_EXTERNAL)
            return CUDA_ERROR_INVALID_VALUE;
        return id ? CUDA_ERROR_CAPTURED_EVENT : CUDA_SUCCESS;
    }
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *own = vgpu_capture_find(stream), *other = find(id);
    CUresult error = CUDA_SUCCESS;
    if (flags & CU_EVENT_WAIT_EXTERNAL)
        error = own ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    else if (other)
        error = join(other, stream);
    else if (id)
        error = CUDA_ERROR_CAPTURED_EVENT;
    else if (own && vgpu_event_recorded(event))
        error = invalidate(own, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    pthread_mutex_unlock(&captures->lock);
    return error;
}

void vgpu_capture_host(const struct vgpu_stream *stream)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture)
        capture->needs.hosts = true;
    pthread_mutex_unlock(&captures->lock);
}

void vgpu_capture_record(const struct vgpu_stream *stream)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture)
        capture->needs.partial = true;
    pthread_mutex_unlock(&captures->lock);
}

void vgpu_capture_add(struct vgpu_capture *capture)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    capture->next = captures->list;
    captures->list = capture;
    __atomic_fetch_add(&captures->count, 1, __ATOMIC_RELAXED);
}

void vgpu_capture_remove(struct vgpu_capture *capture)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    struct vgpu_capture **link = &captures->list;
    while (*link != capture)
        link = &(*link)->next;
    *link = capture->next;
    __atomic_fetch_sub(&captures->count, 1, __ATOMIC_RELAXED);
    vgpu_shadow_set_clear(&capture->needs.shadows);
    free(capture->dependencies);
    free(capture->dependency_data);
    free(capture);
}

void vgpu_capture_forget(const struct vgpu_stream *stream)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    if (nothing_captures())
        return;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture && capture->origin == stream)
        vgpu_capture_remove(capture);
    else if (capture)
        capture->invalidated = true;
    pthread_mutex_unlock(&captures->lock);
}
