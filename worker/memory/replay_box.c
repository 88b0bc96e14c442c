/* SPDX-License-Identifier: MIT */
/* Rows and planes between device memory, arrays, shared memory of the host and staging. */
#include <string.h>

#include "protocol/copy.h"
#include "worker/worker.h"

/* One side as the driver wants it. */
struct side {
    CUmemorytype type;
    void *host;
    CUdeviceptr device;
    CUarray array;
    size_t x, y, z, pitch, height;
};

/* The bytes from the first to the last; false if they are more than there can be. */
static bool span(const struct vgpu_box *box, const struct vgpu_box_side *side, uint64_t *bytes)
{
    uint64_t plane, planes, rows;
    return !__builtin_mul_overflow(side->pitch, side->height, &plane) &&
           !__builtin_mul_overflow(plane, box->depth - 1, &planes) &&
           !__builtin_mul_overflow(side->pitch, box->height - 1, &rows) &&
           !__builtin_add_overflow(planes, rows, bytes) &&
           !__builtin_add_overflow(*bytes, box->width, bytes);
}

static CUresult look_up(struct vgpu_worker *worker, const struct vgpu_box *box,
                        const struct vgpu_box_side *from, struct side *side)
{
    uint64_t bytes;
    *side = (struct side){.device = from->address, .pitch = from->pitch, .height = from->height};
    switch (from->kind) {
    case VGPU_SIDE_DEVICE: /* the driver judges */
        side->type = CU_MEMORYTYPE_DEVICE;
        return CUDA_SUCCESS;
    case VGPU_SIDE_SHARED:
        side->type = CU_MEMORYTYPE_HOST;
        side->host = (void *)(uintptr_t)from->address;
        worker->mappings.in_graphs |= worker->captures > 0;
        return span(box, from, &bytes) && vgpu_mappings_hold(worker, from->address, bytes)
                   ? CUDA_SUCCESS
                   : CUDA_ERROR_INVALID_VALUE;
    case VGPU_SIDE_STAGING:
        side->type = CU_MEMORYTYPE_HOST;
        if (!span(box, from, &bytes) || from->address > UINT32_MAX)
            bytes = UINT64_MAX; /* and so refused like all that is too much */
        side->host = vgpu_worker_staging(worker, (uint32_t)from->address, bytes);
        return side->host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    case VGPU_SIDE_ARRAY:
        side->type = CU_MEMORYTYPE_ARRAY;
        side->x = from->x;
        side->y = from->y;
        side->z = from->z;
        return vgpu_handles_find(worker, VGPU_KIND_ARRAY, from->array, (void **)&side->array);
    default:
        return vgpu_worker_blame(worker, "a copy from or to nowhere");
    }
}

static void account(struct vgpu_worker *worker, const struct vgpu_box *box, CUmemorytype from,
                    CUmemorytype to)
{
    uint64_t bytes = box->width * box->height * box->depth; /* a sum to show, so it may wrap */
    if (from == CU_MEMORYTYPE_HOST)
        __atomic_fetch_add(&worker->page->bytes_to_device, bytes, __ATOMIC_RELAXED);
    if (to == CU_MEMORYTYPE_HOST)
        __atomic_fetch_add(&worker->page->bytes_from_device, bytes, __ATOMIC_RELAXED);
}

CUresult vgpu_replay_vgpuCopyBox(struct vgpu_worker *worker, struct vgpu_call_vgpuCopyBox *call)
{
    struct vgpu_box box;
    struct side from, to;
    if (call->box_bytes != sizeof(box))
        return vgpu_worker_blame(worker, "a copy of another shape");
    memcpy(&box, call->box, sizeof(box));
    if (box.width == 0 || box.height == 0 || box.depth == 0)
        return CUDA_SUCCESS;
    CUresult error = look_up(worker, &box, &box.source, &from);
    if (error == CUDA_SUCCESS)
        error = look_up(worker, &box, &box.destination, &to);
    if (error)
        return error;
    account(worker, &box, from.type, to.type);
    const CUDA_MEMCPY3D copy = {
        .srcMemoryType = from.type,
        .srcHost = from.host,
        .srcDevice = from.device,
        .srcArray = from.array,
        .srcXInBytes = from.x,
        .srcY = from.y,
        .srcZ = from.z,
        .srcPitch = from.pitch,
        .srcHeight = from.height,
        .dstMemoryType = to.type,
        .dstHost = to.host,
        .dstDevice = to.device,
        .dstArray = to.array,
        .dstXInBytes = to.x,
        .dstY = to.y,
        .dstZ = to.z,
        .dstPitch = to.pitch,
        .dstHeight = to.height,
        .WidthInBytes = box.width,
        .Height = box.height,
        .Depth = box.depth,
    };
    return worker->driver->cuMemcpy3DAsync(&copy, call->stream);
}
