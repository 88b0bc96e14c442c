/* SPDX-License-Identifier: MIT */
/* cuMemcpy and its kin for linear memory. */
#include "guest/memory/copy.h"

#include <string.h>

#include "guest/graph/capture.h"
#include "guest/graph/shadow.h"
#include "guest/memory/host_memory.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

/* What the driver has to judge is this call's judgement; `now`: and what is done, this call's work.
 */
static CUresult finish(const struct vgpu_caller *caller, struct vgpu_stream *stream, CUresult error,
                       bool known, bool now)
{
    if (error == CUDA_SUCCESS && now)
        return vgpu_stream_wait(caller, stream);
    return error || known ? error : vgpu_stream_judgement(caller, stream);
}

/* Between the device and memory that it shares: the stream gets to it in its own time. */
static CUresult post_shared(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                            CUresult (*send)(struct vgpu_channel *channel, uint32_t context,
                                             uint64_t destination, uint64_t source, uint64_t bytes,
                                             uint32_t stream),
                            CUdeviceptr destination, CUdeviceptr source, size_t bytes)
{
    CUresult error =
        send(caller->channel, caller->context, destination, source, bytes, stream->object.id);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

/* Whether an upload needs no staging. One that would be waited for is done sooner by way of it, if
 * it is small, because then nobody waits. */
static bool goes_up_directly(const struct vgpu_stream *stream, const void *host, size_t bytes,
                             bool now)
{
    return (!now || bytes > VGPU_STAGING_CHUNK_BYTES || vgpu_capture_of(stream)) &&
           vgpu_host_is_shared(host, bytes);
}

static CUresult arrive(const struct vgpu_caller *caller, struct vgpu_stream *stream)
{
    if (stream != caller->current->legacy)
        return vgpu_stream_wait(caller, stream);
    /* release: pairs with vgpu_context_settle, which then waits for what was posted before */
    __atomic_fetch_add(&caller->current->uploads, 1, __ATOMIC_RELEASE);
    return CUDA_SUCCESS;
}

CUresult vgpu_copy_arrive(CUresult error, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    if (error)
        return error;
    error = vgpu_caller_enter_stream(&caller, handle, &stream);
    return error ? error : arrive(&caller, stream);
}

/* `now`: a synchronous copy. */
static CUresult upload(CUdeviceptr destination, const void *source, size_t bytes, CUstream handle,
                       bool now)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    bool known = true;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error == CUDA_SUCCESS && now)
        error = vgpu_capture_unsafe();
    if (error || bytes == 0)
        return error;
    if (source == NULL || destination == 0)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_copy_check(destination, bytes, &known);
    if (error)
        return error;
    if (goes_up_directly(stream, source, bytes, now)) {
        error = post_shared(&caller, stream, vgpu_send_vgpuCopyFromHost, destination,
                            (uintptr_t)source, bytes);
        return finish(&caller, stream, error, known, now);
    }
    struct vgpu_rows rows = {.device = destination,
                             .device_pitch = bytes,
                             .host = (char *)source,
                             .host_pitch = bytes,
                             .width = bytes,
                             .height = 1,
                             .depth = 1};
    error = vgpu_copy_upload(&caller, stream, &rows);
    error = finish(&caller, stream, error, known, !known && now);
    return error || !now ? error : arrive(&caller, stream);
}

static CUresult download(void *destination, CUdeviceptr source, size_t bytes, CUstream handle,
                         bool now)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    bool known = true;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error == CUDA_SUCCESS && now)
        error = vgpu_capture_unsafe();
    if (error || bytes == 0)
        return error;
    if (source == 0 || destination == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_copy_check(source, bytes, &known);
    if (error)
        return error;
    if (vgpu_host_is_shared(destination, bytes)) {
        error = post_shared(&caller, stream, vgpu_send_vgpuCopyToHost, (uintptr_t)destination,
                            source, bytes);
        return finish(&caller, stream, error, known, now);
    }
    struct vgpu_rows rows = {.device = source,
                             .device_pitch = bytes,
                             .host = destination,
                             .host_pitch = bytes,
                             .width = bytes,
                             .height = 1,
                             .depth = 1};
    return vgpu_copy_download(&caller, stream, &rows);
}

static CUresult within_host(void *destination, const void *source, size_t bytes, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (vgpu_capture_of(stream)) {
        const struct vgpu_shadow_shape from = {
            .host = (char *)source, .width = bytes, .height = 1, .depth = 1};
        const struct vgpu_shadow_shape to = {
            .host = destination, .width = bytes, .height = 1, .depth = 1, .out = true};
        return vgpu_shadow_capture_here(&caller, stream, &to, &from);
    }
    /* In the stream's order, as far as the program can tell. */
    error = vgpu_stream_wait(&caller, stream);
    if (error == CUDA_SUCCESS)
        memmove(destination, source, bytes);
    return error;
}

/* Memory that the device reaches at this address. */
static bool is_device(CUdeviceptr address)
{
    struct vgpu_range range;
    return vgpu_ranges_find(&vgpu_process()->ranges, address, &range) &&
           (range.shared || !vgpu_range_is_host(&range));
}

static CUresult within_device(CUdeviceptr destination, CUdeviceptr source, size_t bytes,
                              CUstream handle, bool now)
{
    CUresult error = cuMemcpyDtoDAsync_v2(destination, source, bytes, handle);
    return now ? vgpu_copy_arrive(error, handle) : error;
}

/* Either pointer may be of either side. */
static CUresult any(CUdeviceptr destination, CUdeviceptr source, size_t bytes, CUstream handle,
                    bool now)
{
    void *to = (void *)(uintptr_t)destination, *from = (void *)(uintptr_t)source;
    bool to_device = is_device(destination), from_device = is_device(source);
    if (to_device && vgpu_host_is_shared(from, bytes))
        return upload(destination, from, bytes, handle, now);
    if (from_device && vgpu_host_is_shared(to, bytes))
        return download(to, source, bytes, handle, now);
    if (to_device)
        return from_device ? within_device(destination, source, bytes, handle, now)
                           : upload(destination, from, bytes, handle, now);
    return from_device ? download(to, source, bytes, handle, now)
                       : within_host(to, from, bytes, handle);
}

static CUresult any_now(CUdeviceptr destination, CUdeviceptr source, size_t bytes, CUstream handle)
{
    return any(destination, source, bytes, handle, true);
}

static CUresult upload_now(CUdeviceptr destination, const void *source, size_t bytes,
                           CUstream handle)
{
    return upload(destination, source, bytes, handle, true);
}

VGPU_PTDS(cuMemcpy, any_now, (CUdeviceptr destination, CUdeviceptr source, size_t bytes),
          destination, source, bytes)
VGPU_PTDS(cuMemcpyHtoD_v2, upload_now, (CUdeviceptr destination, const void *source, size_t bytes),
          destination, source, bytes)
static CUresult download_now(void *destination, CUdeviceptr source, size_t bytes, CUstream handle)
{
    return download(destination, source, bytes, handle, true);
}

VGPU_PTDS(cuMemcpyDtoH_v2, download_now, (void *destination, CUdeviceptr source, size_t bytes),
          destination, source, bytes)

CUresult cuMemcpyAsync(CUdeviceptr destination, CUdeviceptr source, size_t bytes, CUstream stream)
{
    return any(destination, source, bytes, stream, false);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr destination, const void *source, size_t bytes,
                              CUstream stream)
{
    return upload(destination, source, bytes, stream, false);
}

CUresult cuMemcpyDtoHAsync_v2(void *destination, CUdeviceptr source, size_t bytes, CUstream stream)
{
    return download(destination, source, bytes, stream, false);
}

VGPU_PTSZ(cuMemcpyAsync, (CUdeviceptr destination, CUdeviceptr source, size_t n, CUstream stream),
          (destination, source, n, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyHtoDAsync_v2,
          (CUdeviceptr destination, const void *source, size_t n, CUstream stream),
          (destination, source, n, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyDtoHAsync_v2, (void *destination, CUdeviceptr source, size_t n, CUstream stream),
          (destination, source, n, vgpu_per_thread(stream)))
