/* SPDX-License-Identifier: MIT */
/* What brings functions of the guest's program to the driver. */
#include <limits.h>

#include "worker/graph/capture.h"
#include "worker/stream/upcall.h"
#include "worker/stream/wait.h"
#include "worker/worker.h"

CUresult vgpu_replay_vgpuHostFunction(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuHostFunction *call)
{
    CUgraph graph = NULL;
    void *data = vgpu_upcall_data(worker, call->upcall);
    if (data == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    CUuserObject object;
    vgpu_usage_cover_stream(worker, call->stream);
    CUresult error = vgpu_capture_graph(worker, call->stream, &graph);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuLaunchHostFunc(call->stream, vgpu_upcall_run, data);
    if (error == CUDA_SUCCESS && graph)
        error = vgpu_upcall_bind(worker, graph, data, &object);
    if (error == CUDA_SUCCESS)
        vgpu_wait_place(worker, call->stream);
    return error;
}

CUresult vgpu_replay_vgpuStreamCallback(struct vgpu_worker *worker,
                                        struct vgpu_call_vgpuStreamCallback *call)
{
    void *data = vgpu_upcall_data(worker, call->upcall);
    if (data == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    vgpu_usage_cover_stream(worker, call->stream);
    CUresult error =
        worker->driver->cuStreamAddCallback(call->stream, vgpu_upcall_callback, data, 0);
    if (error == CUDA_SUCCESS)
        vgpu_wait_place(worker, call->stream);
    return error;
}

/* ---- user objects: the driver trusts its caller not to release what it does not hold ---- */

CUresult vgpu_user_object_spend(struct vgpu_worker *worker, uint32_t id, uint32_t count)
{
    uint32_t *held = &worker->handles.table[id].references;
    if (count > *held)
        return CUDA_ERROR_INVALID_VALUE;
    *held -= count;
    return CUDA_SUCCESS;
}

CUresult vgpu_replay_vgpuUserObjectCreate(struct vgpu_worker *worker,
                                          struct vgpu_call_vgpuUserObjectCreate *call)
{
    void *data = vgpu_upcall_data(worker, call->upcall);
    if (data == NULL || call->references == 0 || call->references > INT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult error = worker->driver->cuUserObjectCreate(
        &call->object, data, vgpu_upcall_run, call->references, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC);
    if (error == CUDA_SUCCESS)
        worker->handles.table[call->object_id].references = call->references;
    return error;
}

CUresult vgpu_replay_vgpuUserObjectRetain(struct vgpu_worker *worker,
                                          struct vgpu_call_vgpuUserObjectRetain *call)
{
    uint32_t *held = &worker->handles.table[call->object_id].references;
    uint32_t sum;
    if (call->count == 0 || *held == 0 || __builtin_add_overflow(*held, call->count, &sum) ||
        sum > INT_MAX)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult error = worker->driver->cuUserObjectRetain(call->object, call->count);
    if (error == CUDA_SUCCESS)
        *held = sum;
    return error;
}

CUresult vgpu_replay_vgpuUserObjectRelease(struct vgpu_worker *worker,
                                           struct vgpu_call_vgpuUserObjectRelease *call)
{
    CUresult error = vgpu_user_object_spend(worker, call->object_id, call->count);
    return error ? error : worker->driver->cuUserObjectRelease(call->object, call->count);
}

/* The destructor has run: the driver has freed it. */
CUresult vgpu_replay_vgpuUserObjectForget(struct vgpu_worker *worker,
                                          struct vgpu_call_vgpuUserObjectForget *call)
{
    (void)worker;
    (void)call;
    return CUDA_SUCCESS;
}
