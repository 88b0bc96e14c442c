/* SPDX-License-Identifier: MIT */
/* What handles of streams mean: default streams, and those that programs make and destroy. */
#include <stdlib.h>

#include "soft/driver/stream/stream.h"

/* A thread's own default stream in one context. */
struct vgpu_thread_stream {
    struct vgpu_thread_stream *next;
    uint64_t context_id;
    struct vgpu_stream *stream; /* with a reference */
};

/* ---- default streams ---- */

void vgpu_thread_close_streams(struct vgpu_thread *thread)
{
    while (thread->streams) {
        struct vgpu_thread_stream *own = thread->streams;
        thread->streams = own->next;
        vgpu_stream_close(own->stream);
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

CUresult vgpu_stream_enter(CUstream handle, struct vgpu_stream **stream)
{
    struct vgpu_context *context;
    CUresult result = vgpu_context_enter(&context);

    return result == CUDA_SUCCESS ? vgpu_stream_resolve(context, handle, stream) : result;
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
    vgpu_stream_close(stream);
    vgpu_object_put(stream);
    return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream hStream)
{
    return cuStreamDestroy_v2(hStream);
}
