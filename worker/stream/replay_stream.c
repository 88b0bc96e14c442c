/* SPDX-License-Identifier: MIT */
/* The streams of a context: those that the legacy stream does not wait for by itself, and those
 * that were destroyed with work to do. */
#include <stdlib.h>

#include "worker/context.h"
#include "worker/graph/capture.h"
#include "worker/worker.h"

void vgpu_context_add_stream(struct vgpu_worker *worker, uint32_t id)
{
    struct vgpu_context *context = worker->current;
    CUstream stream = worker->handles.table[id].object;
    unsigned int flags = 0;
    if (context == NULL || worker->driver->cuStreamGetFlags(stream, &flags) != CUDA_SUCCESS ||
        !(flags & CU_STREAM_NON_BLOCKING))
        return;
    if (context->free_stream_count == context->free_stream_room) {
        uint32_t room = context->free_stream_room ? context->free_stream_room * 2 : 16;
        uint32_t *grown = reallocarray(context->free_streams, room, sizeof(*grown));
        if (grown == NULL)
            return;
        context->free_streams = grown;
        context->free_stream_room = room;
    }
    context->free_streams[context->free_stream_count++] = id;
}

void vgpu_context_drop_stream(struct vgpu_context *context, uint32_t id, CUstream stream)
{
    if (context == NULL)
        return;
    vgpu_usage_forget(context, stream);
    for (uint32_t i = 0; i < context->free_stream_count; i++) {
        if (context->free_streams[i] == id) {
            context->free_streams[i] = context->free_streams[--context->free_stream_count];
            return;
        }
    }
}

/* Makes the legacy stream wait for another. One event serves for all: a wait is for the record that
 * was the last when it was made. */
static CUresult join(struct vgpu_worker *worker, struct vgpu_context *context, CUstream stream)
{
    const struct vgpu_driver *driver = worker->driver;
    CUresult error = CUDA_SUCCESS;
    if (context->join == NULL)
        error = driver->cuEventCreate(&context->join, CU_EVENT_DISABLE_TIMING);
    if (error == CUDA_SUCCESS)
        error = driver->cuEventRecord(context->join, stream);
    return error ? error : driver->cuStreamWaitEvent(NULL, context->join, 0);
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

CUresult vgpu_context_join(struct vgpu_worker *worker)
{
    struct vgpu_context *context = worker->current;
    if (vgpu_capture_holds(worker, NULL))
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    CUresult error = CUDA_SUCCESS;
    /* Programs keep streams that they do not use: PyTorch has 128. */
    for (uint32_t i = 0; i < context->free_stream_count && error == CUDA_SUCCESS; i++) {
        struct vgpu_handle *handle = &worker->handles.table[context->free_streams[i]];
        if (handle->joined || vgpu_capture_holds(worker, handle->object))
            continue;
        error = join(worker, context, handle->object);
        handle->joined = error == CUDA_SUCCESS;
    }
    for (uint32_t i = 0; i < context->leaving_count && error == CUDA_SUCCESS; i++)
        error = join(worker, context, context->leaving[i]);
    if (error == CUDA_SUCCESS)
        vgpu_context_let_go(worker, context, true); /* the legacy stream waits for their work */
    return error;
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
