/* SPDX-License-Identifier: MIT */
#include "soft/driver/copy.h"

#include <stdlib.h>
#include <string.h>

#include "interop/per_thread.h"
#include "soft/driver/capture.h"

/* Of pageable memory up to this size a copy is made, so that the caller need not wait. */
enum { SNAPSHOT_BYTES = 1 << 20 };

struct copy_task {
    struct vgpu_task task;
    CUDA_MEMCPY3D copy; /* as the program described it */
    struct vgpu_place to;
    struct vgpu_place from;
    struct vgpu_box box;
    void *snapshot;
};

CUresult vgpu_place_check(const struct vgpu_place *place, const struct vgpu_box *box)
{
    size_t planes, rows, bytes;

    if (box->width == 0 || box->height == 0 || box->depth == 0)
        return CUDA_SUCCESS;
    if (__builtin_mul_overflow(box->depth - 1, place->slice, &planes) ||
        __builtin_mul_overflow(box->height - 1, place->pitch, &rows) ||
        __builtin_add_overflow(planes, rows, &bytes) ||
        __builtin_add_overflow(bytes, box->width, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_allocation_check(place->address, bytes, place->side);
}

static void copy_box(const struct vgpu_place *to, const struct vgpu_place *from,
                     const struct vgpu_box *box)
{
    if (box->width == 0) /* then an address may be null */
        return;
    for (size_t z = 0; z < box->depth; z++) {
        for (size_t y = 0; y < box->height; y++) {
            uint64_t target = to->address + z * to->slice + y * to->pitch;
            uint64_t source = from->address + z * from->slice + y * from->pitch;
            memmove((void *)(uintptr_t)target, (const void *)(uintptr_t)source, box->width);
        }
    }
}

static CUresult copy_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct copy_task *copy = (const struct copy_task *)task;

    (void)context;
    copy_box(&copy->to, &copy->from, &copy->box);
    return CUDA_SUCCESS;
}

static void copy_release(struct vgpu_task *task)
{
    free(((struct copy_task *)task)->snapshot);
}

/* Replaces a pageable source by a copy of it. */
static bool take_snapshot(struct copy_task *copy)
{
    const struct vgpu_box *box = &copy->box;
    size_t bytes;

    if (__builtin_mul_overflow(box->width, box->height, &bytes) ||
        __builtin_mul_overflow(bytes, box->depth, &bytes) || bytes > SNAPSHOT_BYTES)
        return false;
    copy->snapshot = malloc(bytes ? bytes : 1);
    if (!copy->snapshot)
        return false;
    struct vgpu_place packed = {.address = (uintptr_t)copy->snapshot,
                                .pitch = box->width,
                                .slice = box->width * box->height};
    copy_box(&packed, &copy->from, box);
    copy->from = packed;
    return true;
}

/* ---- what a copy is ---- */

/* One side of a copy as the API describes it. */
struct side {
    CUmemorytype type;
    uint64_t host;
    uint64_t device;
    size_t x, y, z;
    size_t pitch;
    size_t height;
};

static CUresult place_of(const struct side *side, const struct vgpu_box *box,
                         struct vgpu_place *place)
{
    size_t pitch = side->pitch ? side->pitch : box->width;
    size_t height = side->height ? side->height : box->height;
    size_t reach, offset, plane;

    if (side->type == CU_MEMORYTYPE_HOST)
        *place = (struct vgpu_place){.address = side->host, .side = VGPU_SIDE_HOST};
    else if (side->type == CU_MEMORYTYPE_DEVICE)
        *place = (struct vgpu_place){.address = side->device, .side = VGPU_SIDE_DEVICE};
    else if (side->type == CU_MEMORYTYPE_UNIFIED)
        *place = (struct vgpu_place){.address = side->device, .side = VGPU_SIDE_HOST};
    else
        return side->type == CU_MEMORYTYPE_ARRAY ? CUDA_ERROR_NOT_SUPPORTED
                                                 : CUDA_ERROR_INVALID_VALUE;
    if (__builtin_add_overflow(side->x, box->width, &reach) || (box->height > 1 && reach > pitch))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_add_overflow(side->y, box->height, &reach) || (box->depth > 1 && reach > height))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(pitch, height, &place->slice) ||
        __builtin_mul_overflow(side->z, place->slice, &plane) ||
        __builtin_mul_overflow(side->y, pitch, &offset) ||
        __builtin_add_overflow(offset, plane, &offset) ||
        __builtin_add_overflow(offset, side->x, &offset) ||
        __builtin_add_overflow(place->address, offset, &place->address))
        return CUDA_ERROR_INVALID_VALUE;
    place->pitch = pitch;
    return CUDA_SUCCESS;
}

CUresult vgpu_copy_task_create(const CUDA_MEMCPY3D *copy, struct vgpu_task **task)
{
    const struct side to = {copy->dstMemoryType, (uintptr_t)copy->dstHost,
                            copy->dstDevice,     copy->dstXInBytes,
                            copy->dstY,          copy->dstZ,
                            copy->dstPitch,      copy->dstHeight};
    const struct side from = {copy->srcMemoryType, (uintptr_t)copy->srcHost,
                              copy->srcDevice,     copy->srcXInBytes,
                              copy->srcY,          copy->srcZ,
                              copy->srcPitch,      copy->srcHeight};
    const struct vgpu_box box = {copy->WidthInBytes, copy->Height, copy->Depth};
    struct vgpu_place target, source;
    struct copy_task *created;
    CUresult result =
        copy->srcLOD || copy->dstLOD ? CUDA_ERROR_INVALID_VALUE : place_of(&to, &box, &target);

    if (result == CUDA_SUCCESS)
        result = place_of(&from, &box, &source);
    if (result == CUDA_SUCCESS)
        result = vgpu_place_check(&target, &box);
    if (result == CUDA_SUCCESS)
        result = vgpu_place_check(&source, &box);
    if (result != CUDA_SUCCESS)
        return result;
    created = calloc(1, sizeof(*created));
    if (!created)
        return CUDA_ERROR_OUT_OF_MEMORY;
    created->task = (struct vgpu_task){.is_node = true,
                                       .type = CU_GRAPH_NODE_TYPE_MEMCPY,
                                       .run = copy_run,
                                       .release = copy_release};
    created->copy = *copy;
    created->to = target;
    created->from = source;
    created->box = box;
    *task = &created->task;
    return CUDA_SUCCESS;
}

void vgpu_copy_task_params(const struct vgpu_task *task, CUDA_MEMCPY3D *copy)
{
    *copy = ((const struct copy_task *)task)->copy;
}

/* Whether the caller has to wait, because the program may do what it likes with its own memory when
 * the call returns. A node uses it when it runs. */
static bool has_to_wait(struct vgpu_stream *stream, struct copy_task *copy)
{
    if (vgpu_capture_has(stream))
        return false;
    return vgpu_allocation_is_pageable(copy->to.address) ||
           (vgpu_allocation_is_pageable(copy->from.address) && !take_snapshot(copy));
}

/* Copies in order with the stream. With `wait` it is done on return; otherwise it may be under way,
 * unless the program's own unregistered memory is involved: then the program may use that again. */
static CUresult copy_in(CUstream handle, const CUDA_MEMCPY3D *copy, bool wait)
{
    struct vgpu_context *context;
    struct vgpu_stream *stream;
    struct vgpu_task *task;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_copy_task_create(copy, &task);
    if (result != CUDA_SUCCESS)
        return result;
    result = vgpu_stream_resolve(context, handle, &stream);
    if (result != CUDA_SUCCESS) {
        vgpu_task_put(task);
        return result;
    }
    if (wait)
        result = vgpu_capture_check_wait(stream);
    if (result != CUDA_SUCCESS) {
        vgpu_task_put(task);
    } else {
        wait = wait || has_to_wait(stream, (struct copy_task *)task);
        result =
            vgpu_stream_submit(stream, task, wait ? VGPU_SUBMIT_SYNC : VGPU_SUBMIT_ASYNC, NULL);
    }
    vgpu_object_put(stream);
    return result;
}

/* ---- one row ---- */

static CUresult copy_row(CUstream stream, uint64_t to, CUmemorytype to_type, uint64_t from,
                         CUmemorytype from_type, size_t bytes, bool wait)
{
    CUDA_MEMCPY3D copy = {.WidthInBytes = bytes,
                          .Height = 1,
                          .Depth = 1,
                          .dstMemoryType = to_type,
                          .srcMemoryType = from_type};

    if (to_type == CU_MEMORYTYPE_HOST)
        copy.dstHost = (void *)(uintptr_t)to;
    else
        copy.dstDevice = to;
    if (from_type == CU_MEMORYTYPE_HOST)
        copy.srcHost = (const void *)(uintptr_t)from;
    else
        copy.srcDevice = from;
    return copy_in(stream, &copy, wait);
}

static CUresult htod(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    return copy_row(stream, to, CU_MEMORYTYPE_DEVICE, (uintptr_t)from, CU_MEMORYTYPE_HOST, bytes,
                    true);
}

static CUresult dtoh(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(stream, (uintptr_t)to, CU_MEMORYTYPE_HOST, from, CU_MEMORYTYPE_DEVICE, bytes,
                    true);
}

static CUresult dtod(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(stream, to, CU_MEMORYTYPE_DEVICE, from, CU_MEMORYTYPE_DEVICE, bytes, true);
}

static CUresult any(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(stream, to, CU_MEMORYTYPE_UNIFIED, from, CU_MEMORYTYPE_UNIFIED, bytes, true);
}

VGPU_PTDS(cuMemcpyHtoD_v2, htod, (CUdeviceptr to, const void *from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpyDtoH_v2, dtoh, (void *to, CUdeviceptr from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpyDtoD_v2, dtod, (CUdeviceptr to, CUdeviceptr from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpy, any, (CUdeviceptr to, CUdeviceptr from, size_t bytes), to, from, bytes)

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(hStream, dstDevice, CU_MEMORYTYPE_DEVICE, (uintptr_t)srcHost,
                    CU_MEMORYTYPE_HOST, ByteCount, false);
}

CUresult cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(hStream, (uintptr_t)dstHost, CU_MEMORYTYPE_HOST, srcDevice,
                    CU_MEMORYTYPE_DEVICE, ByteCount, false);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(hStream, dstDevice, CU_MEMORYTYPE_DEVICE, srcDevice, CU_MEMORYTYPE_DEVICE,
                    ByteCount, false);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream)
{
    return copy_row(hStream, dst, CU_MEMORYTYPE_UNIFIED, src, CU_MEMORYTYPE_UNIFIED, ByteCount,
                    false);
}

VGPU_PTSZ(cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyDtoDAsync_v2, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyAsync, (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream),
          (to, from, bytes, vgpu_per_thread(stream)))

/* Devices do not reach each other's memory, but the driver reaches both. */
CUresult cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                      CUcontext srcContext, size_t ByteCount)
{
    (void)dstContext, (void)srcContext;
    return dtod(dstDevice, srcDevice, ByteCount, CU_STREAM_LEGACY);
}

CUresult cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice,
                           CUcontext srcContext, size_t ByteCount, CUstream hStream)
{
    (void)dstContext, (void)srcContext;
    return cuMemcpyDtoDAsync_v2(dstDevice, srcDevice, ByteCount, hStream);
}

/* ---- boxes ---- */

static CUresult copy_2d(const CUDA_MEMCPY2D *copy, CUstream stream, bool wait)
{
    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    return copy_in(stream,
                   &(CUDA_MEMCPY3D){.srcXInBytes = copy->srcXInBytes,
                                    .srcY = copy->srcY,
                                    .srcMemoryType = copy->srcMemoryType,
                                    .srcHost = copy->srcHost,
                                    .srcDevice = copy->srcDevice,
                                    .srcArray = copy->srcArray,
                                    .srcPitch = copy->srcPitch,
                                    .dstXInBytes = copy->dstXInBytes,
                                    .dstY = copy->dstY,
                                    .dstMemoryType = copy->dstMemoryType,
                                    .dstHost = copy->dstHost,
                                    .dstDevice = copy->dstDevice,
                                    .dstArray = copy->dstArray,
                                    .dstPitch = copy->dstPitch,
                                    .WidthInBytes = copy->WidthInBytes,
                                    .Height = copy->Height,
                                    .Depth = 1},
                   wait);
}

static CUresult copy_3d(const CUDA_MEMCPY3D *copy, CUstream stream, bool wait)
{
    return copy ? copy_in(stream, copy, wait) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult copy_2d_now(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return copy_2d(copy, stream, true);
}

static CUresult copy_3d_now(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return copy_3d(copy, stream, true);
}

VGPU_PTDS(cuMemcpy2D_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy2DUnaligned_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy3D_v2, copy_3d_now, (const CUDA_MEMCPY3D *copy), copy)

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *pCopy, CUstream hStream)
{
    return copy_2d(pCopy, hStream, false);
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *pCopy, CUstream hStream)
{
    return copy_3d(pCopy, hStream, false);
}

VGPU_PTSZ(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
