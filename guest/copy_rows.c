/* SPDX-License-Identifier: MIT */
/* cuMemcpy2D and cuMemcpy3D: rows and planes of linear memory. There are no arrays. */
#include <string.h>

#include "guest/context.h"
#include "guest/copy.h"
#include "guest/process.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

/* One side of a copy, whatever it is made of: where the first byte is and how rows and planes lie.
 */
struct side {
    bool device;
    CUdeviceptr start;
    size_t pitch; /* between rows */
    size_t plane; /* between planes */
};

struct box {
    size_t width, height, depth;
};

static CUresult place_start(struct side *side, CUdeviceptr base, size_t x, size_t y, size_t z)
{
    size_t rows, planes, offset;
    if (__builtin_mul_overflow(side->pitch, y, &rows) ||
        __builtin_mul_overflow(side->plane, z, &planes) ||
        __builtin_add_overflow(rows, planes, &offset) ||
        __builtin_add_overflow(offset, x, &offset) ||
        __builtin_add_overflow(base, offset, &side->start))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult choose(struct side *side, CUmemorytype type, const void *host, CUdeviceptr device,
                       CUdeviceptr *base)
{
    struct vgpu_range range;
    switch (type) {
    case CU_MEMORYTYPE_HOST:
        side->device = false;
        *base = (uintptr_t)host;
        break;
    case CU_MEMORYTYPE_DEVICE:
        side->device = true;
        *base = device;
        break;
    case CU_MEMORYTYPE_UNIFIED:
        side->device = vgpu_ranges_find(&vgpu_process()->ranges, device, &range) &&
                       !vgpu_range_is_host(&range);
        *base = device;
        break;
    case CU_MEMORYTYPE_ARRAY:
        return CUDA_ERROR_NOT_SUPPORTED;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return *base ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* Rows may not overlap, unless there is but one; a pitch of 0 means that they are packed. */
static CUresult check_side(struct side *side, const struct box *box, size_t x, bool *known)
{
    size_t bytes, row, planes;
    if (__builtin_add_overflow(x, box->width, &row))
        return CUDA_ERROR_INVALID_VALUE;
    if (side->pitch < row && (box->height > 1 || box->depth > 1))
        return CUDA_ERROR_INVALID_VALUE;
    if (!vgpu_copy_span(side->pitch, box->width, box->height, &bytes) ||
        __builtin_mul_overflow(side->plane, box->depth - 1, &planes) ||
        __builtin_add_overflow(bytes, planes, &bytes) || side->start + bytes < side->start)
        return CUDA_ERROR_INVALID_VALUE;
    return side->device ? vgpu_copy_check(side->start, bytes, known) : CUDA_SUCCESS;
}

static CUresult copy_plane(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                           const struct side *to, const struct side *from, const struct box *box)
{
    const struct side *device = to->device ? to : from, *host = to->device ? from : to;
    if (to->device && from->device) {
        CUresult error = vgpu_send_vgpuCopy2D(caller->channel, caller->context, to->start,
                                              to->pitch, from->start, from->pitch, box->width,
                                              box->height, stream->object.id);
        if (error == CUDA_SUCCESS)
            vgpu_stream_submitted(stream);
        return error;
    }
    if (!to->device && !from->device) {
        for (size_t row = 0; row < box->height; row++)
            memmove((char *)(uintptr_t)to->start + row * to->pitch,
                    (char *)(uintptr_t)from->start + row * from->pitch, box->width);
        return CUDA_SUCCESS;
    }
    struct vgpu_rows rows = {.device = device->start,
                             .device_pitch = device->pitch,
                             .host = (char *)(uintptr_t)host->start,
                             .host_pitch = host->pitch,
                             .width = box->width,
                             .height = box->height};
    return to->device ? vgpu_copy_upload(caller, stream, &rows)
                      : vgpu_copy_download(caller, stream, &rows);
}

static CUresult copy_box(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                         struct side to, struct side from, const struct box *box, bool known)
{
    CUresult error = CUDA_SUCCESS;
    if (!to.device && !from.device)
        error = vgpu_stream_wait(caller, stream);
    for (size_t plane = 0; error == CUDA_SUCCESS && plane < box->depth; plane++) {
        error = copy_plane(caller, stream, &to, &from, box);
        to.start += to.plane;
        from.start += from.plane;
    }
    return error || known ? error : vgpu_stream_wait(caller, stream);
}

static CUresult copy_3d(const CUDA_MEMCPY3D *copy, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct side to, from;
    CUdeviceptr to_base, from_base;
    bool known = true;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    if (copy == NULL || copy->srcLOD || copy->dstLOD)
        return CUDA_ERROR_INVALID_VALUE;
    struct box box = {copy->WidthInBytes, copy->Height, copy->Depth};
    error = choose(&from, copy->srcMemoryType, copy->srcHost, copy->srcDevice, &from_base);
    if (error == CUDA_SUCCESS)
        error = choose(&to, copy->dstMemoryType, copy->dstHost, copy->dstDevice, &to_base);
    if (error || box.width == 0 || box.height == 0 || box.depth == 0)
        return error;
    from.pitch = copy->srcPitch ? copy->srcPitch : box.width + copy->srcXInBytes;
    to.pitch = copy->dstPitch ? copy->dstPitch : box.width + copy->dstXInBytes;
    if ((copy->srcHeight && copy->srcHeight < copy->srcY + box.height) ||
        (copy->dstHeight && copy->dstHeight < copy->dstY + box.height) ||
        __builtin_mul_overflow(from.pitch, copy->srcHeight ? copy->srcHeight : box.height,
                               &from.plane) ||
        __builtin_mul_overflow(to.pitch, copy->dstHeight ? copy->dstHeight : box.height, &to.plane))
        return CUDA_ERROR_INVALID_VALUE;
    error = place_start(&from, from_base, copy->srcXInBytes, copy->srcY, copy->srcZ);
    if (error == CUDA_SUCCESS)
        error = place_start(&to, to_base, copy->dstXInBytes, copy->dstY, copy->dstZ);
    if (error == CUDA_SUCCESS)
        error = check_side(&from, &box, copy->srcXInBytes, &known);
    if (error == CUDA_SUCCESS)
        error = check_side(&to, &box, copy->dstXInBytes, &known);
    return error ? error : copy_box(&caller, stream, to, from, &box, known);
}

static CUresult copy_2d(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    if (copy == NULL) {
        CUresult error = vgpu_process_ready(vgpu_process());
        return error ? error : CUDA_ERROR_INVALID_VALUE;
    }
    CUDA_MEMCPY3D deep = {
        .srcXInBytes = copy->srcXInBytes,
        .srcY = copy->srcY,
        .srcMemoryType = copy->srcMemoryType,
        .srcHost = copy->srcHost,
        .srcDevice = copy->srcDevice,
        .srcPitch = copy->srcPitch,
        .dstXInBytes = copy->dstXInBytes,
        .dstY = copy->dstY,
        .dstMemoryType = copy->dstMemoryType,
        .dstHost = copy->dstHost,
        .dstDevice = copy->dstDevice,
        .dstPitch = copy->dstPitch,
        .WidthInBytes = copy->WidthInBytes,
        .Height = copy->Height,
        .Depth = 1,
    };
    return copy_3d(&deep, stream);
}

static CUresult copy_2d_now(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return vgpu_copy_arrive(copy_2d(copy, stream), stream);
}

static CUresult copy_3d_now(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return vgpu_copy_arrive(copy_3d(copy, stream), stream);
}

VGPU_PTDS(cuMemcpy2D_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy2DUnaligned_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy3D_v2, copy_3d_now, (const CUDA_MEMCPY3D *copy), copy)

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return copy_2d(copy, stream);
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return copy_3d(copy, stream);
}

VGPU_PTSZ(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
