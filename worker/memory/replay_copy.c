/* SPDX-License-Identifier: MIT */
/* Copies between the guest's staging memory, records and the device. Staging rows are packed. */
#include "worker/graph/capture.h"
#include "worker/worker.h"

static void count(uint64_t *counter, uint64_t bytes)
{
    __atomic_fetch_add(counter, bytes, __ATOMIC_RELAXED);
}

/* The staging memory of width x height bytes, or NULL after blaming. */
static void *staging_rows(struct vgpu_worker *worker, uint32_t offset, uint64_t width,
                          uint64_t height, uint64_t *bytes)
{
    if (__builtin_mul_overflow(width, height, bytes))
        *bytes = UINT64_MAX; /* and so refused like all that is too much */
    return vgpu_worker_staging(worker, offset, *bytes);
}

CUresult vgpu_replay_vgpuCopyToDevice(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuCopyToDevice *call)
{
    uint64_t bytes;
    void *rows = staging_rows(worker, call->staging, call->width, call->height, &bytes);
    if (rows == NULL || bytes == 0)
        return rows ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (vgpu_capture_holds(worker, call->stream))
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    count(&worker->page->bytes_to_device, bytes);
    if (call->height == 1)
        return worker->driver->cuMemcpyHtoDAsync(call->destination, rows, bytes, call->stream);
    CUDA_MEMCPY2D copy = {
        .srcMemoryType = CU_MEMORYTYPE_HOST,
        .srcHost = rows,
        .srcPitch = call->width,
        .dstMemoryType = CU_MEMORYTYPE_DEVICE,
        .dstDevice = call->destination,
        .dstPitch = call->pitch,
        .WidthInBytes = call->width,
        .Height = call->height,
    };
    return worker->driver->cuMemcpy2DAsync(&copy, call->stream);
}

CUresult vgpu_replay_vgpuCopyFromDevice(struct vgpu_worker *worker,
                                        struct vgpu_call_vgpuCopyFromDevice *call)
{
    uint64_t bytes;
    void *rows = staging_rows(worker, call->staging, call->width, call->height, &bytes);
    if (rows == NULL || bytes == 0)
        return rows ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (vgpu_capture_holds(worker, call->stream))
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    count(&worker->page->bytes_from_device, bytes);
    if (call->height == 1)
        return worker->driver->cuMemcpyDtoHAsync(rows, call->source, bytes, call->stream);
    CUDA_MEMCPY2D copy = {
        .srcMemoryType = CU_MEMORYTYPE_DEVICE,
        .srcDevice = call->source,
        .srcPitch = call->pitch,
        .dstMemoryType = CU_MEMORYTYPE_HOST,
        .dstHost = rows,
        .dstPitch = call->width,
        .WidthInBytes = call->width,
        .Height = call->height,
    };
    return worker->driver->cuMemcpy2DAsync(&copy, call->stream);
}

/* The record's payload is pageable memory that the next record overwrites. That is safe: CUDA
 * stages host-to-device copies of up to 64 KiB before it returns, and no payload is larger. */
CUresult vgpu_replay_vgpuCopyInline(struct vgpu_worker *worker,
                                    struct vgpu_call_vgpuCopyInline *call)
{
    if (call->data_bytes == 0)
        return CUDA_SUCCESS;
    if (vgpu_capture_holds(worker, call->stream)) /* the graph would read what is gone by then */
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    count(&worker->page->bytes_to_device, call->data_bytes);
    return worker->driver->cuMemcpyHtoDAsync(call->destination, call->data, call->data_bytes,
                                             call->stream);
}

/* From and to memory that the guest shares with the device: nothing is staged, and the stream gets
 * to it in its own time. */
CUresult vgpu_replay_vgpuCopyToHost(struct vgpu_worker *worker,
                                    struct vgpu_call_vgpuCopyToHost *call)
{
    if (!vgpu_mappings_hold(worker, call->destination, call->bytes))
        return CUDA_ERROR_INVALID_VALUE;
    worker->mappings.in_graphs |= worker->captures > 0;
    count(&worker->page->bytes_from_device, call->bytes);
    return worker->driver->cuMemcpyDtoHAsync((void *)(uintptr_t)call->destination, call->source,
                                             call->bytes, call->stream);
}

CUresult vgpu_replay_vgpuCopyFromHost(struct vgpu_worker *worker,
                                      struct vgpu_call_vgpuCopyFromHost *call)
{
    if (!vgpu_mappings_hold(worker, call->source, call->bytes))
        return CUDA_ERROR_INVALID_VALUE;
    worker->mappings.in_graphs |= worker->captures > 0;
    count(&worker->page->bytes_to_device, call->bytes);
    return worker->driver->cuMemcpyHtoDAsync(
        call->destination, (const void *)(uintptr_t)call->source, call->bytes, call->stream);
}
