/* SPDX-License-Identifier: MIT */
/* cuStream* beyond creating and destroying: waiting, properties. */
#include <stdlib.h>

#include "interop/per_thread.h"
#include "soft/driver/graph/capture.h"

/* ---- waiting ---- */

static CUresult nothing_run(struct vgpu_task *task, struct vgpu_context *context)
{
    (void)task;
    return vgpu_context_usable(context);
}

CUresult cuStreamSynchronize(CUstream hStream)
{
    struct vgpu_stream *stream;
    struct vgpu_task *task;
    CUresult result = vgpu_stream_enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_check_wait(stream);
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(stream);
        return result;
    }
    /* A task, so that the legacy stream waits for the streams that it waits for. */
    task = calloc(1, sizeof(*task));
    if (task) {
        task->run = nothing_run;
        result = vgpu_stream_submit(stream, task, VGPU_SUBMIT_SYNC, NULL);
    } else {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    vgpu_object_put(stream);
    return result;
}

/* For the legacy stream: the blocking streams count, too. */
static bool is_idle(const struct vgpu_stream *stream)
{
    bool idle = stream->completed == stream->submitted;

    if (stream != stream->context->legacy)
        return idle;
    for (const struct vgpu_stream *other = stream->context->streams; other && idle;
         other = other->next)
        idle = other->non_blocking || other->completed == other->submitted;
    return idle;
}

CUresult cuStreamQuery(CUstream hStream)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(hStream, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_capture_check_ask(stream, false);
    if (result == CUDA_SUCCESS)
        result = vgpu_capture_check_unsafe();
    if (result != CUDA_SUCCESS) {
        vgpu_object_put(stream);
        return result;
    }
    pthread_mutex_lock(&vgpu_driver()->lock);
    if (!is_idle(stream))
        result = CUDA_ERROR_NOT_READY;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    if (result == CUDA_SUCCESS)
        result = vgpu_context_usable(stream->context);
    vgpu_object_put(stream);
    return result;
}

/* ---- properties ---- */

/* Reads one number of a stream; `out` may not be NULL. `captured`: also during a capture. */
#define STREAM_PROPERTY(name, type, out, captured, expression)                                     \
    CUresult name(CUstream handle, type *out)                                                      \
    {                                                                                              \
        struct vgpu_stream *stream;                                                                \
        CUresult result = vgpu_stream_enter(handle, &stream);                                      \
        if (result != CUDA_SUCCESS)                                                                \
            return result;                                                                         \
        result = (out) ? vgpu_capture_check_ask(stream, captured) : CUDA_ERROR_INVALID_VALUE;      \
        if (result == CUDA_SUCCESS)                                                                \
            *out = expression;                                                                     \
        vgpu_object_put(stream);                                                                   \
        return result;                                                                             \
    }                                                                                              \
    VGPU_PTSZ(name, (CUstream handle, type * out), (vgpu_per_thread(handle), out))

STREAM_PROPERTY(cuStreamGetFlags, unsigned int, flags, false, stream->flags)
STREAM_PROPERTY(cuStreamGetPriority, int, priority, true, stream->priority)
STREAM_PROPERTY(cuStreamGetId, unsigned long long, id, false, stream->id)
STREAM_PROPERTY(cuStreamGetDevice, CUdevice, device, false, stream->context->device->ordinal)
STREAM_PROPERTY(cuStreamGetCtx, CUcontext, context, true, (CUcontext)stream->context)

CUresult cuStreamGetCtx_v2(CUstream hStream, CUcontext *pCtx, CUgreenCtx *pGreenCtx)
{
    if (pGreenCtx)
        *pGreenCtx = NULL;
    return cuStreamGetCtx(hStream, pCtx);
}

CUresult cuStreamGetGreenCtx(CUstream hStream, CUgreenCtx *phCtx)
{
    CUcontext context;
    CUresult result = phCtx ? cuStreamGetCtx(hStream, &context) : CUDA_ERROR_INVALID_VALUE;

    if (result == CUDA_SUCCESS)
        *phCtx = NULL; /* there are none */
    return result;
}

VGPU_PTSZ(cuStreamSynchronize, (CUstream stream), (vgpu_per_thread(stream)))
VGPU_PTSZ(cuStreamQuery, (CUstream stream), (vgpu_per_thread(stream)))
VGPU_PTSZ(cuStreamGetCtx_v2, (CUstream stream, CUcontext *context, CUgreenCtx *green),
          (vgpu_per_thread(stream), context, green))
