/* SPDX-License-Identifier: MIT */
/* Copies from and to ordinary memory of the program that a stream captures. */
#include "guest/graph/capture_list.h"
#include "guest/graph/graph.h"
#include "guest/memory/copy.h"
#include "guest/process/process.h"
#include "guest/stream/stream.h"
#include "protocol/copy.h"
#include "protocol/send.h"

static CUresult record(const struct vgpu_caller *caller, const struct vgpu_stream *stream,
                       const struct vgpu_rows *rows, bool upload, const void *memory)
{
    struct vgpu_box_side host = {.kind = VGPU_SIDE_SHARED,
                                 .address = (uintptr_t)memory,
                                 .pitch = rows->width,
                                 .height = rows->height};
    struct vgpu_box_side device = {
        .kind = VGPU_SIDE_DEVICE,
        .address = rows->device,
        .pitch = rows->device_pitch,
        .height = rows->depth > 1 ? rows->device_plane / rows->device_pitch : rows->height};
    if (rows->array)
        device = *rows->array;
    const struct vgpu_box box = {.width = rows->width,
                                 .height = rows->height,
                                 .depth = rows->depth,
                                 .source = upload ? host : device,
                                 .destination = upload ? device : host};
    return vgpu_send_vgpuCopyBox(caller->channel, caller->context, stream->object.id, &box,
                                 sizeof(box));
}

CUresult vgpu_shadow_capture(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                             const struct vgpu_rows *rows, bool upload)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    const struct vgpu_shadow_shape shape = {.host = rows->host,
                                            .width = rows->width,
                                            .height = rows->height,
                                            .depth = rows->depth,
                                            .pitch = rows->host_pitch,
                                            .plane = rows->host_plane,
                                            .out = !upload};
    CUresult error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED; /* it has just ended */
    void *memory;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture)
        error = vgpu_shadow_make(caller, &shape, &capture->needs.shadows, &memory);
    if (error == CUDA_SUCCESS)
        error = record(caller, stream, rows, upload, memory);
    pthread_mutex_unlock(&captures->lock);
    return error;
}

CUresult vgpu_shadow_capture_here(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                                  const struct vgpu_shadow_shape *to,
                                  const struct vgpu_shadow_shape *from)
{
    struct vgpu_captures *captures = &vgpu_process()->captures;
    CUresult error = CUDA_ERROR_STREAM_CAPTURE_INVALIDATED; /* it has just ended */
    void *source, *target;
    pthread_mutex_lock(&captures->lock);
    struct vgpu_capture *capture = vgpu_capture_find(stream);
    if (capture)
        error = vgpu_shadow_make(caller, from, &capture->needs.shadows, &source);
    if (error == CUDA_SUCCESS)
        error = vgpu_shadow_make(caller, to, &capture->needs.shadows, &target);
    if (error == CUDA_SUCCESS)
        error = vgpu_send_vgpuCopyFromHost(
            caller->channel, caller->context, (uintptr_t)target, (uintptr_t)source,
            from->width * from->height * from->depth, stream->object.id);
    pthread_mutex_unlock(&captures->lock);
    return error;
}
