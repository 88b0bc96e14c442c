/* SPDX-License-Identifier: MIT */
/* cuMemcpy and its kin for linear memory. */
#include "guest/copy.h"

#include <string.h>

#include "guest/context.h"
#include "guest/process.h"
#include "interop/per_thread.h"

/* What the driver has to judge is waited for, so that its judgement is this call's. */
static CUresult finish(const struct vgpu_caller *caller, struct vgpu_stream *stream, CUresult error,
                       bool known)
{
    return error || known ? error : vgpu_stream_wait(caller, stream);
}

static CUresult upload(CUdeviceptr destination, const void *source, size_t bytes, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    bool known = true;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error || bytes == 0)
        return error;
    if (source == NULL || destination == 0)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_copy_check(destination, bytes, &known);
    if (error)
        return error;
    struct vgpu_rows rows = {.device = destination,
                             .device_pitch = bytes,
                             .host = (char *)source,
                             .host_pitch = bytes,
                             .width = bytes,
                             .height = 1};
    error = vgpu_copy_upload(&caller, stream, &rows);
    return finish(&caller, stream, error, known);
}

static CUresult download(void *destination, CUdeviceptr source, size_t bytes, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    bool known = true;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error || bytes == 0)
        return error;
    if (source == 0 || destination == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    error = vgpu_copy_check(source, bytes, &known);
    if (error)
        return error;
    struct vgpu_rows rows = {.device = source,
                             .device_pitch = bytes,
                             .host = destination,
                             .host_pitch = bytes,
                             .width = bytes,
                             .height = 1};
    return vgpu_copy_download(&caller, stream, &rows);
}

static CUresult within_host(void *destination, const void *source, size_t bytes, CUstream handle)
{
    /* In the stream's order, as far as the program can tell. */
    CUresult error = cuStreamSynchronize(handle);
    if (error == CUDA_SUCCESS)
        memmove(destination, source, bytes);
    return error;
}

static bool is_device(CUdeviceptr address)
{
    struct vgpu_range range;
    return vgpu_ranges_find(&vgpu_process()->ranges, address, &range) &&
           !vgpu_range_is_host(&range);
}

/* Either pointer may be of either side. */
static CUresult any(CUdeviceptr destination, CUdeviceptr source, size_t bytes, CUstream handle)
{
    void *to = (void *)(uintptr_t)destination, *from = (void *)(uintptr_t)source;
    if (is_device(destination))
        return is_device(source) ? cuMemcpyDtoDAsync_v2(destination, source, bytes, handle)
                                 : upload(destination, from, bytes, handle);
    return is_device(source) ? download(to, source, bytes, handle)
                             : within_host(to, from, bytes, handle);
}

CUresult vgpu_copy_arrive(CUresult error, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    if (error == CUDA_SUCCESS)
        error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (stream != caller.current->legacy)
        return vgpu_stream_wait(&caller, stream);
    /* release: pairs with vgpu_context_settle, which then waits for what was posted before */
    __atomic_fetch_add(&caller.current->uploads, 1, __ATOMIC_RELEASE);
    return CUDA_SUCCESS;
}

static CUresult any_now(CUdeviceptr destination, CUdeviceptr source, size_t bytes, CUstream handle)
{
    return vgpu_copy_arrive(any(destination, source, bytes, handle), handle);
}

static CUresult upload_now(CUdeviceptr destination, const void *source, size_t bytes,
                           CUstream handle)
{
    return vgpu_copy_arrive(upload(destination, source, bytes, handle), handle);
}

VGPU_PTDS(cuMemcpy, any_now, (CUdeviceptr destination, CUdeviceptr source, size_t bytes),
          destination, source, bytes)
VGPU_PTDS(cuMemcpyHtoD_v2, upload_now, (CUdeviceptr destination, const void *source, size_t bytes),
          destination, source, bytes)
VGPU_PTDS(cuMemcpyDtoH_v2, download, (void *destination, CUdeviceptr source, size_t bytes),
          destination, source, bytes)

CUresult cuMemcpyAsync(CUdeviceptr destination, CUdeviceptr source, size_t bytes, CUstream stream)
{
    return any(destination, source, bytes, stream);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr destination, const void *source, size_t bytes,
                              CUstream stream)
{
    return upload(destination, source, bytes, stream);
}

CUresult cuMemcpyDtoHAsync_v2(void *destination, CUdeviceptr source, size_t bytes, CUstream stream)
{
    return download(destination, source, bytes, stream);
}

VGPU_PTSZ(cuMemcpyAsync, (CUdeviceptr destination, CUdeviceptr source, size_t n, CUstream stream),
          (destination, source, n, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyHtoDAsync_v2,
          (CUdeviceptr destination, const void *source, size_t n, CUstream stream),
          (destination, source, n, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyDtoHAsync_v2, (void *destination, CUdeviceptr source, size_t n, CUstream stream),
          (destination, source, n, vgpu_per_thread(stream)))
