/* SPDX-License-Identifier: MIT */
/* Events of whole contexts: the legacy stream stands for all streams. */
#include <stdlib.h>

#include "soft/driver/graph/capture.h"
#include "soft/driver/stream/event.h"

struct handles {
    CUstream *stream;
    size_t count;
};

/* The context's streams as they are now. One that ends meanwhile has nothing to wait for. */
static CUresult list_streams(struct vgpu_context *context, struct handles *handles)
{
    CUresult result = CUDA_SUCCESS;

    *handles = (struct handles){0};
    pthread_mutex_lock(&vgpu_driver()->lock);
    for (const struct vgpu_stream *stream = context->streams; stream; stream = stream->next)
        handles->count++;
    handles->stream = calloc(handles->count + 1, sizeof(CUstream));
    handles->count = 0;
    if (!handles->stream)
        result = CUDA_ERROR_OUT_OF_MEMORY;
    for (struct vgpu_stream *stream = context->streams; stream && handles->stream;
         stream = stream->next)
        handles->stream[handles->count++] = (CUstream)stream;
    pthread_mutex_unlock(&vgpu_driver()->lock);
    return result;
}

static CUresult gather(CUstream stream, CUevent mark)
{
    CUresult result = cuEventRecord(mark, stream);

    if (result == CUDA_SUCCESS)
        result = cuStreamWaitEvent(NULL, mark, 0);
    return result == CUDA_ERROR_INVALID_HANDLE ? CUDA_SUCCESS : result;
}

static CUresult record(const struct handles *handles, CUevent event)
{
    CUevent mark;
    CUresult result = cuEventCreate(&mark, CU_EVENT_DISABLE_TIMING);

    if (result != CUDA_SUCCESS)
        return result;
    for (size_t i = 0; i < handles->count && result == CUDA_SUCCESS; i++)
        result = gather(handles->stream[i], mark);
    cuEventDestroy_v2(mark);
    return result == CUDA_SUCCESS ? cuEventRecord(event, NULL) : result;
}

static CUresult wait_for(const struct handles *handles, CUevent event)
{
    CUresult result = cuStreamWaitEvent(NULL, event, 0);

    for (size_t i = 0; i < handles->count && result == CUDA_SUCCESS; i++) {
        result = cuStreamWaitEvent(handles->stream[i], event, 0);
        if (result == CUDA_ERROR_INVALID_HANDLE && cuEventQuery(event) != result)
            result = CUDA_SUCCESS;
    }
    return result;
}

static CUresult in_context(CUcontext handle, CUevent event,
                           CUresult (*act)(const struct handles *handles, CUevent event))
{
    struct vgpu_context *context;
    struct handles handles;
    CUcontext popped;
    CUresult result = handle ? cuCtxPushCurrent_v2(handle) : CUDA_ERROR_INVALID_CONTEXT;

    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_context_enter(&context);
    if (result == CUDA_SUCCESS)
        result = vgpu_capture_refuse_context(context);
    if (result == CUDA_SUCCESS) {
        result = list_streams(context, &handles);
        if (result == CUDA_SUCCESS)
            result = act(&handles, event);
        free(handles.stream);
    }
    cuCtxPopCurrent_v2(&popped);
    return result;
}

CUresult cuCtxRecordEvent(CUcontext context, CUevent event)
{
    return in_context(context, event, record);
}

CUresult cuCtxWaitEvent(CUcontext context, CUevent event)
{
    CUresult result = vgpu_event_refuse_captured(event);

    return result == CUDA_SUCCESS ? in_context(context, event, wait_for) : result;
}
