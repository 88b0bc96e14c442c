/* SPDX-License-Identifier: MIT */
/* Arrays and mipmapped arrays: charged for their elements, and cleared before they are used. */
#include "worker/memory/array.h"
#include "worker/memory/pool.h"
#include "worker/worker.h"

/* Memory for these is brought by others, later. */
#define WITHOUT_MEMORY (CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING)

/* Under what the ledger knows an array: no address is that high. */
static CUdeviceptr key_of(const void *array)
{
    return (CUdeviceptr)(uintptr_t)array | 1ull << 63;
}

/* Charges what is to be made. */
static CUresult charge(struct vgpu_worker *worker, const CUDA_ARRAY3D_DESCRIPTOR *wanted,
                       uint32_t levels, uint64_t *bytes)
{
    if (wanted->Flags & WITHOUT_MEMORY)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (!vgpu_array_bytes(wanted, levels, bytes) || *bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_pools_charge(worker, *bytes) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult note(struct vgpu_worker *worker, const void *array, uint64_t bytes)
{
    return vgpu_ledger_add(&worker->ledger, key_of(array), bytes, worker->current) < 0
               ? CUDA_ERROR_OUT_OF_MEMORY
               : CUDA_SUCCESS;
}

CUresult vgpu_replay_cuArray3DCreate(struct vgpu_worker *worker,
                                     struct vgpu_call_cuArray3DCreate *call)
{
    const struct vgpu_driver *driver = worker->driver;
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {.Width = call->width,
                                            .Height = call->height,
                                            .Depth = call->depth,
                                            .Format = (CUarray_format)call->format,
                                            .NumChannels = call->channels,
                                            .Flags = call->flags};
    uint64_t bytes;
    CUresult error = charge(worker, &wanted, 0, &bytes);
    if (error)
        return error;
    error = driver->cuArray3DCreate(&call->array, &wanted);
    if (error) {
        vgpu_ledger_return(&worker->ledger, bytes);
        return error;
    }
    error = vgpu_array_clear(worker, call->array);
    if (error == CUDA_SUCCESS)
        error = note(worker, call->array, bytes);
    if (error) {
        driver->cuArrayDestroy(call->array);
        vgpu_ledger_return(&worker->ledger, bytes);
    }
    vgpu_array_blocks(&wanted, &call->block_side, &call->block_bytes);
    return error;
}

CUresult vgpu_replay_cuArrayDestroy(struct vgpu_worker *worker,
                                    struct vgpu_call_cuArrayDestroy *call)
{
    if (worker->handles.table[call->array_id].owner) {
        call->array = NULL; /* the id stays */
        return vgpu_worker_blame(worker, "a part of an array is destroyed by itself");
    }
    CUresult error = worker->driver->cuArrayDestroy(call->array);
    if (error == CUDA_SUCCESS)
        vgpu_ledger_remove(&worker->ledger, key_of(call->array));
    return error;
}

CUresult vgpu_replay_cuArrayGetPlane(struct vgpu_worker *worker,
                                     struct vgpu_call_cuArrayGetPlane *call)
{
    CUDA_ARRAY3D_DESCRIPTOR is = {0};
    CUresult error = worker->driver->cuArrayGetPlane(&call->plane, call->array, call->index);
    if (error == CUDA_SUCCESS)
        error = worker->driver->cuArray3DGetDescriptor(&is, call->plane);
    call->width = is.Width;
    call->height = is.Height;
    call->format = is.Format;
    call->channels = is.NumChannels;
    return error;
}

static CUresult clear_levels(struct vgpu_worker *worker, CUmipmappedArray mipmap, uint32_t levels)
{
    CUresult error = CUDA_SUCCESS;
    for (uint32_t i = 0; i < levels && error == CUDA_SUCCESS; i++) {
        CUarray level;
        error = worker->driver->cuMipmappedArrayGetLevel(&level, mipmap, i);
        if (error == CUDA_ERROR_INVALID_VALUE && i > 0)
            return CUDA_SUCCESS; /* there are not as many as were asked for */
        if (error == CUDA_SUCCESS)
            error = vgpu_array_clear(worker, level);
    }
    return error;
}

/* As many as there can be, down to one element, or at least one. */
static uint32_t clamp_levels(const CUDA_ARRAY3D_DESCRIPTOR *wanted, uint32_t levels)
{
    uint64_t largest = wanted->Width | wanted->Height;
    uint32_t most = 1;
    if (!(wanted->Flags & (CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_CUBEMAP)))
        largest |= wanted->Depth;
    while (largest >>= 1)
        most++;
    return levels == 0 ? 1 : levels < most ? levels : most;
}

CUresult vgpu_replay_cuMipmappedArrayCreate(struct vgpu_worker *worker,
                                            struct vgpu_call_cuMipmappedArrayCreate *call)
{
    const struct vgpu_driver *driver = worker->driver;
    const CUDA_ARRAY3D_DESCRIPTOR wanted = {.Width = call->width,
                                            .Height = call->height,
                                            .Depth = call->depth,
                                            .Format = (CUarray_format)call->format,
                                            .NumChannels = call->channels,
                                            .Flags = call->flags};
    uint32_t levels = clamp_levels(&wanted, call->levels);
    uint64_t bytes;
    CUresult error = charge(worker, &wanted, levels, &bytes);
    if (error)
        return error;
    error = driver->cuMipmappedArrayCreate(&call->mipmap, &wanted, levels);
    if (error) {
        vgpu_ledger_return(&worker->ledger, bytes);
        return error;
    }
    error = clear_levels(worker, call->mipmap, levels);
    if (error == CUDA_SUCCESS)
        error = note(worker, call->mipmap, bytes);
    if (error) {
        driver->cuMipmappedArrayDestroy(call->mipmap);
        vgpu_ledger_return(&worker->ledger, bytes);
    }
    vgpu_array_blocks(&wanted, &call->block_side, &call->block_bytes);
    return error;
}

CUresult vgpu_replay_cuMipmappedArrayDestroy(struct vgpu_worker *worker,
                                             struct vgpu_call_cuMipmappedArrayDestroy *call)
{
    CUresult error = worker->driver->cuMipmappedArrayDestroy(call->mipmap);
    if (error == CUDA_SUCCESS)
        vgpu_ledger_remove(&worker->ledger, key_of(call->mipmap));
    return error;
}
