/* SPDX-License-Identifier: MIT */
/* Functions of the program in the order of a stream. */
#include "guest/graph/capture.h"
#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "guest/stream/upcall.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

typedef CUresult send_function(struct vgpu_channel *channel, uint32_t current, uint32_t stream,
                               uint32_t upcall);

static CUresult submit(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                       const struct vgpu_upcall *upcall, send_function *send)
{
    uint32_t id;
    CUresult error = vgpu_upcall_register(upcall, &id);
    if (error)
        return error;
    error = send(caller->channel, caller->context, stream->object.id, id);
    if (error)
        vgpu_upcall_forget(id);
    else
        vgpu_stream_submitted(stream);
    return error;
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (function == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    /* A captured function runs whenever the graph does. */
    bool captured = vgpu_capture_of(stream) != 0;
    struct vgpu_upcall upcall = {
        .host = function, .data = data, .use = captured ? VGPU_UPCALL_OFTEN : VGPU_UPCALL_SOON};
    error = submit(&caller, stream, &upcall, vgpu_send_vgpuHostFunction);
    if (error == CUDA_SUCCESS && captured)
        vgpu_capture_host(stream);
    return error;
}

CUresult cuStreamAddCallback(CUstream handle, CUstreamCallback callback, void *data,
                             unsigned int flags)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (callback == NULL || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (vgpu_capture_of(stream))
        return vgpu_capture_wait_stream(stream);
    return submit(
        &caller, stream,
        &(struct vgpu_upcall){
            .callback = callback, .stream = handle, .data = data, .use = VGPU_UPCALL_SOON},
        vgpu_send_vgpuStreamCallback);
}

VGPU_PTSZ(cuLaunchHostFunc, (CUstream stream, CUhostFn function, void *data),
          (vgpu_per_thread(stream), function, data))
VGPU_PTSZ(cuStreamAddCallback,
          (CUstream stream, CUstreamCallback callback, void *data, unsigned int flags),
          (vgpu_per_thread(stream), callback, data, flags))
