/* SPDX-License-Identifier: MIT */
/* cuLaunchHostFunc and cuStreamAddCallback: the program's functions at their place in a stream. */
#include "soft/driver/stream/host_function.h"

#include <stdlib.h>

#include "interop/per_thread.h"

struct host_task {
    struct vgpu_task task;
    CUDA_HOST_NODE_PARAMS params;
};

struct callback_task {
    struct vgpu_task task;
    CUstreamCallback callback;
    CUstream stream; /* as the program calls it */
    void *data;
};

void vgpu_call_host(CUhostFn function, void *data)
{
    struct vgpu_thread *thread = vgpu_thread_self();

    if (thread)
        thread->in_callback = true;
    function(data);
    if (thread)
        thread->in_callback = false;
}

static CUresult host_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct host_task *host = (const struct host_task *)task;

    (void)context;
    vgpu_call_host(host->params.fn, host->params.userData);
    return CUDA_SUCCESS;
}

CUresult vgpu_host_task_create(const CUDA_HOST_NODE_PARAMS *params, struct vgpu_task **task)
{
    struct host_task *host;

    if (!params->fn)
        return CUDA_ERROR_INVALID_VALUE;
    host = calloc(1, sizeof(*host));
    if (!host)
        return CUDA_ERROR_OUT_OF_MEMORY;
    host->task =
        (struct vgpu_task){.is_node = true, .type = CU_GRAPH_NODE_TYPE_HOST, .run = host_run};
    host->params = *params;
    *task = &host->task;
    return CUDA_SUCCESS;
}

void vgpu_host_task_params(const struct vgpu_task *task, CUDA_HOST_NODE_PARAMS *params)
{
    *params = ((const struct host_task *)task)->params;
}

CUresult cuLaunchHostFunc(CUstream hStream, CUhostFn fn, void *userData)
{
    struct vgpu_context *context;
    struct vgpu_task *task = NULL;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_host_task_create(&(CUDA_HOST_NODE_PARAMS){fn, userData}, &task);
    return result == CUDA_SUCCESS ? vgpu_stream_submit_to(context, hStream, task, VGPU_SUBMIT_ASYNC)
                                  : result;
}

struct callback {
    const struct callback_task *task;
    CUresult status;
};

static void call_back(void *data)
{
    const struct callback *call = data;

    call->task->callback(call->task->stream, call->status, call->task->data);
}

static CUresult callback_run(struct vgpu_task *task, struct vgpu_context *context)
{
    struct callback call = {(const struct callback_task *)task, vgpu_context_usable(context)};

    vgpu_call_host(call_back, &call);
    return CUDA_SUCCESS;
}

CUresult cuStreamAddCallback(CUstream hStream, CUstreamCallback callback, void *userData,
                             unsigned int flags)
{
    struct vgpu_context *context;
    struct callback_task *task;
    CUresult result = vgpu_context_enter(&context);

    if (result != CUDA_SUCCESS)
        return result;
    if (flags || !callback)
        return CUDA_ERROR_INVALID_VALUE;
    task = calloc(1, sizeof(*task));
    if (!task)
        return CUDA_ERROR_OUT_OF_MEMORY;
    /* A callback hears of errors; a host function is not called after one. */
    task->task = (struct vgpu_task){.always = true, .run = callback_run};
    task->callback = callback;
    task->stream = hStream;
    task->data = userData;
    return vgpu_stream_submit_to(context, hStream, &task->task, VGPU_SUBMIT_ASYNC);
}

VGPU_PTSZ(cuLaunchHostFunc, (CUstream stream, CUhostFn function, void *data),
          (vgpu_per_thread(stream), function, data))
VGPU_PTSZ(cuStreamAddCallback,
          (CUstream stream, CUstreamCallback callback, void *data, unsigned int flags),
          (vgpu_per_thread(stream), callback, data, flags))
