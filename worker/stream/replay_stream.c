/* SPDX-License-Identifier: MIT */
/* The streams of a context: those that the program has made, and those that were destroyed with
 * work to do. */
#include <stdlib.h>

#include "worker/context.h"
#include "worker/graph/capture.h"
#include "worker/worker.h"

void vgpu_context_add_stream(struct vgpu_worker *worker, uint32_t id)
{
    struct vgpu_context *context = worker->current;
    CUstream stream = worker->handles.table[id].object;
    unsigned int flags = 0;
    int priority = 0;
    if (context == NULL || worker->driver->cuStreamGetFlags(stream, &flags) != CUDA_SUCCESS ||
        worker->driver->cuStreamGetPriority(stream, &priority) != CUDA_SUCCESS)
        return;
    if (context->stream_count == context->stream_room) {
        uint32_t room = context->stream_room ? context->stream_room * 2 : 16;
        uint32_t *grown = reallocarray(context->streams, room, sizeof(*grown));
        if (grown == NULL)
            return;
        context->streams = grown;
        context->stream_room = room;
    }
    context->streams[context->stream_count++] = id;
    worker->handles.table[id].blocks = !(flags & CU_STREAM_NON_BLOCKING);
    worker->handles.table[id].joined = true; /* there is nothing in it yet */
    worker->handles.table[id].has_attributes = priority != 0;
}

void vgpu_context_drop_stream(struct vgpu_worker *worker, struct vgpu_context *context, uint32_t id,
                              CUstream stream)
{
    if (context == NULL)
        return;
    vgpu_usage_forget(context, stream);
    vgpu_launch_chain_forget_stream(worker, context, stream);
    if (context->launched == stream)
        context->launched = NULL;
    for (uint32_t i = 0; i < context->stream_count; i++) {
        if (context->streams[i] == id) {
            context->streams[i] = context->streams[--context->stream_count];
            return;
        }
    }
}

/* Makes our own stream wait for another. One event serves for all: a wait is for the record that
 * was the last when it was made. */
static CUresult join(struct vgpu_worker *worker, struct vgpu_context *context, CUstream stream)
{
    const struct vgpu_driver *driver = worker->driver;
    CUresult error = CUDA_SUCCESS;
    if (context->join == NULL)
        error = driver->cuEventCreate(&context->join, CU_EVENT_DISABLE_TIMING);
    if (error == CUDA_SUCCESS)
        error = driver->cuEventRecord(context->join, stream);
    return error ? error : driver->cuStreamWaitEvent(context->gather, context->join, 0);
}

void vgpu_context_let_go(struct vgpu_worker *worker, struct vgpu_context *context, bool all)
{
    const struct vgpu_driver *driver = worker->driver;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < context->leaving_count; i++) {
        CUstream stream = context->leaving[i];
        if (!all && driver->cuStreamQuery(stream) == CUDA_ERROR_NOT_READY)
            context->leaving[kept++] = stream;
        else
            driver->cuStreamDestroy(stream);
    }
    context->leaving_count = kept;
}

static bool has_to_be_joined(const struct vgpu_worker *worker, const struct vgpu_handle *handle)
{
    return !handle->blocks && !handle->joined && !vgpu_capture_holds(worker, handle->object);
}

/* Makes our own stream wait for those that do not block. */
static CUresult join_all(struct vgpu_worker *worker, struct vgpu_context *context)
{
    CUresult error = CUDA_SUCCESS;
    if (context->gather == NULL)
        error =
            worker->driver->cuStreamCreateWithPriority(&context->gather, CU_STREAM_NON_BLOCKING, 0);
    for (uint32_t i = 0; i < context->stream_count && error == CUDA_SUCCESS; i++) {
        struct vgpu_handle *handle = &worker->handles.table[context->streams[i]];
        if (!has_to_be_joined(worker, handle))
            continue;
        error = join(worker, context, handle->object);
        handle->joined = error == CUDA_SUCCESS;
    }
    for (uint32_t i = 0; i < context->leaving_count && error == CUDA_SUCCESS; i++)
        error = join(worker, context, context->leaving[i]);
    if (error == CUDA_SUCCESS)
        vgpu_context_let_go(worker, context, true); /* their work is waited for */
    context->gathers = true;
    return error ? error : join(worker, context, NULL);
}

/* Programs keep streams that they do not use: PyTorch has 128. */
static bool has_news(struct vgpu_worker *worker, const struct vgpu_context *context)
{
    for (uint32_t i = 0; i < context->stream_count; i++) {
        const struct vgpu_handle *handle = &worker->handles.table[context->streams[i]];
        if (has_to_be_joined(worker, handle))
            return true;
    }
    return context->leaving_count > 0;
}

CUresult vgpu_context_gather(struct vgpu_worker *worker, CUstream *stream)
{
    struct vgpu_context *context = worker->current;
    *stream = NULL;
    if (vgpu_capture_holds(worker, NULL))
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    if (!has_news(worker, context)) {
        if (context->gathers &&
            worker->driver->cuStreamQuery(context->gather) != CUDA_ERROR_NOT_READY)
            context->gathers = false;
        if (!context->gathers)
            return CUDA_SUCCESS;
    }
    CUresult error = join_all(worker, context);
    if (error == CUDA_SUCCESS)
        *stream = context->gather;
    return error;
}

bool vgpu_context_is_done(const struct vgpu_worker *worker, bool all)
{
    const struct vgpu_driver *driver = worker->driver;
    const struct vgpu_context *context = worker->current;
    if (worker->captures) /* a stream that is captured must not be asked */
        return false;
    for (uint32_t i = 0; i < context->stream_count; i++) {
        const struct vgpu_handle *handle = &worker->handles.table[context->streams[i]];
        if ((all || handle->blocks) &&
            driver->cuStreamQuery(handle->object) == CUDA_ERROR_NOT_READY)
            return false;
    }
    for (uint32_t i = 0; i < context->leaving_count && all; i++) {
        if (driver->cuStreamQuery(context->leaving[i]) == CUDA_ERROR_NOT_READY)
            return false;
    }
    return driver->cuStreamQuery(NULL) != CUDA_ERROR_NOT_READY;
}

static bool make_leave(struct vgpu_context *context, CUstream stream)
{
    if (context->leaving_count == context->leaving_room) {
        uint32_t room = context->leaving_room ? context->leaving_room * 2 : 16;
        CUstream *grown = reallocarray(context->leaving, room, sizeof(CUstream));
        if (grown == NULL)
            return false;
        context->leaving = grown;
        context->leaving_room = room;
    }
    context->leaving[context->leaving_count++] = stream;
    return true;
}

/* A synchronisation with the context is also one with what destroyed streams still do, so such a
 * stream stays until its work is done or has been joined. */
CUresult vgpu_replay_cuStreamDestroy(struct vgpu_worker *worker,
                                     struct vgpu_call_cuStreamDestroy *call)
{
    const struct vgpu_driver *driver = worker->driver;
    struct vgpu_context *context = worker->current;
    unsigned int flags = 0;
    vgpu_context_let_go(worker, context, false);
    if (!vgpu_capture_holds(worker, call->stream) &&
        driver->cuStreamGetFlags(call->stream, &flags) == CUDA_SUCCESS &&
        flags & CU_STREAM_NON_BLOCKING &&
        driver->cuStreamQuery(call->stream) == CUDA_ERROR_NOT_READY &&
        make_leave(context, call->stream))
        return CUDA_SUCCESS;
    return driver->cuStreamDestroy(call->stream);
}
