/* SPDX-License-Identifier: MIT */
#include "soft/driver/copy.h"

#include <stdlib.h>
#include <string.h>

#include "interop/per_thread.h"

/* Of pageable memory up to this size a copy is made, so that the caller need not wait. */
enum { SNAPSHOT_BYTES = 1 << 20 };

struct copy_task {
    struct vgpu_task task;
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

CUresult vgpu_copy(CUstream stream, const struct vgpu_place *to, const struct vgpu_place *from,
                   const struct vgpu_box *box, bool wait)
{
    struct vgpu_context *context;
    struct copy_task *copy;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_place_check(to, box);
    if (result == CUDA_SUCCESS)
        result = vgpu_place_check(from, box);
    if (result != CUDA_SUCCESS)
        return result;
    copy = calloc(1, sizeof(*copy));
    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    copy->task.run = copy_run;
    copy->task.release = copy_release;
    copy->to = *to;
    copy->from = *from;
    copy->box = *box;
    if (!wait && vgpu_allocation_is_pageable(to->address))
        wait = true;
    if (!wait && vgpu_allocation_is_pageable(from->address) && !take_snapshot(copy))
        wait = true;
    return vgpu_stream_submit_to(context, stream, &copy->task,
                                 wait ? VGPU_SUBMIT_SYNC : VGPU_SUBMIT_ASYNC);
}

/* ---- one row ---- */

static CUresult copy_row(CUstream stream, uint64_t to, enum vgpu_side to_side, uint64_t from,
                         enum vgpu_side from_side, size_t bytes, bool wait)
{
    return vgpu_copy(stream, &(struct vgpu_place){.address = to, .side = to_side},
                     &(struct vgpu_place){.address = from, .side = from_side},
                     &(struct vgpu_box){bytes, 1, 1}, wait);
}

static CUresult htod(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    return copy_row(stream, to, VGPU_SIDE_DEVICE, (uintptr_t)from, VGPU_SIDE_HOST, bytes, true);
}

static CUresult dtoh(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(stream, (uintptr_t)to, VGPU_SIDE_HOST, from, VGPU_SIDE_DEVICE, bytes, true);
}

static CUresult dtod(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(stream, to, VGPU_SIDE_DEVICE, from, VGPU_SIDE_DEVICE, bytes, true);
}

static CUresult any(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy_row(stream, to, VGPU_SIDE_HOST, from, VGPU_SIDE_HOST, bytes, true);
}

VGPU_PTDS(cuMemcpyHtoD_v2, htod, (CUdeviceptr to, const void *from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpyDtoH_v2, dtoh, (void *to, CUdeviceptr from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpyDtoD_v2, dtod, (CUdeviceptr to, CUdeviceptr from, size_t bytes), to, from, bytes)
VGPU_PTDS(cuMemcpy, any, (CUdeviceptr to, CUdeviceptr from, size_t bytes), to, from, bytes)

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr dstDevice, const void *srcHost, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(hStream, dstDevice, VGPU_SIDE_DEVICE, (uintptr_t)srcHost, VGPU_SIDE_HOST,
                    ByteCount, false);
}

CUresult cuMemcpyDtoHAsync_v2(void *dstHost, CUdeviceptr srcDevice, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(hStream, (uintptr_t)dstHost, VGPU_SIDE_HOST, srcDevice, VGPU_SIDE_DEVICE,
                    ByteCount, false);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount,
                              CUstream hStream)
{
    return copy_row(hStream, dstDevice, VGPU_SIDE_DEVICE, srcDevice, VGPU_SIDE_DEVICE, ByteCount,
                    false);
}

CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream)
{
    return copy_row(hStream, dst, VGPU_SIDE_HOST, src, VGPU_SIDE_HOST, ByteCount, false);
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

/* One side of a 2D or 3D copy as the API describes it. */
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

static CUresult copy_sides(const struct side *to, const struct side *from,
                           const struct vgpu_box *box, CUstream stream, bool wait)
{
    struct vgpu_place target, source;
    CUresult result = place_of(to, box, &target);

    if (result == CUDA_SUCCESS)
        result = place_of(from, box, &source);
    return result == CUDA_SUCCESS ? vgpu_copy(stream, &target, &source, box, wait) : result;
}

static CUresult copy_2d(const CUDA_MEMCPY2D *copy, CUstream stream, bool wait)
{
    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    return copy_sides(&(struct side){copy->dstMemoryType, (uintptr_t)copy->dstHost, copy->dstDevice,
                                     copy->dstXInBytes, copy->dstY, 0, copy->dstPitch, 0},
                      &(struct side){copy->srcMemoryType, (uintptr_t)copy->srcHost, copy->srcDevice,
                                     copy->srcXInBytes, copy->srcY, 0, copy->srcPitch, 0},
                      &(struct vgpu_box){copy->WidthInBytes, copy->Height, 1}, stream, wait);
}

static CUresult copy_3d(const CUDA_MEMCPY3D *copy, CUstream stream, bool wait)
{
    if (!copy || copy->srcLOD || copy->dstLOD)
        return CUDA_ERROR_INVALID_VALUE;
    return copy_sides(
        &(struct side){copy->dstMemoryType, (uintptr_t)copy->dstHost, copy->dstDevice,
                       copy->dstXInBytes, copy->dstY, copy->dstZ, copy->dstPitch, copy->dstHeight},
        &(struct side){copy->srcMemoryType, (uintptr_t)copy->srcHost, copy->srcDevice,
                       copy->srcXInBytes, copy->srcY, copy->srcZ, copy->srcPitch, copy->srcHeight},
        &(struct vgpu_box){copy->WidthInBytes, copy->Height, copy->Depth}, stream, wait);
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
