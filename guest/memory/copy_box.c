/* SPDX-License-Identifier: MIT */
/* cuMemcpy2D and cuMemcpy3D: rows and planes of linear memory and of arrays. */
#include <string.h>

#include "guest/graph/capture.h"
#include "guest/graph/shadow.h"
#include "guest/memory/array.h"
#include "guest/memory/copy.h"
#include "guest/memory/host_memory.h"
#include "guest/process/context.h"
#include "guest/process/process.h"
#include "interop/copy.h"
#include "interop/per_thread.h"
#include "protocol/copy.h"
#include "protocol/send.h"

/* One side of a copy, whatever it is made of. What is linear starts at `box.address`. */
struct side {
    bool staged;  /* ordinary memory of this process: it goes by way of staging */
    size_t plane; /* bytes from plane to plane */
    struct vgpu_box_side box;
};

/* What the program says of a side. */
struct place {
    CUmemorytype type;
    const void *host;
    CUdeviceptr device;
    CUarray array;
    size_t x, y, z, pitch, height;
};

static bool is_linear(const struct side *side)
{
    return side->box.kind != VGPU_SIDE_ARRAY;
}

static char *host_of(const struct side *side)
{
    return (char *)(uintptr_t)side->box.address;
}

/* Where the side begins. A pitch of 0 means that rows are packed, a height of 0 that planes are. */
static CUresult place_linear(struct side *side, const struct place *place,
                             const struct vgpu_box *box, CUdeviceptr base)
{
    size_t rows, planes, offset, row, needed;
    if (base == 0 || __builtin_add_overflow(place->x, box->width, &row) ||
        __builtin_add_overflow(place->y, box->height, &needed))
        return CUDA_ERROR_INVALID_VALUE;
    side->box.pitch = place->pitch ? place->pitch : row;
    side->box.height = place->height ? place->height : box->height;
    /* Rows and planes may not overlap, unless there is but one. */
    if ((side->box.pitch < row && (box->height > 1 || box->depth > 1)) ||
        (place->height && place->height < needed) ||
        __builtin_mul_overflow(side->box.pitch, side->box.height, &side->plane) ||
        __builtin_mul_overflow(side->box.pitch, place->y, &rows) ||
        __builtin_mul_overflow(side->plane, place->z, &planes) ||
        __builtin_add_overflow(rows, planes, &offset) ||
        __builtin_add_overflow(offset, place->x, &offset) ||
        __builtin_add_overflow(base, offset, &side->box.address))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

static CUresult place_array(struct side *side, const struct place *place,
                            const struct vgpu_box *box, bool *known)
{
    const struct vgpu_array *array =
        vgpu_object_find(&vgpu_process()->objects, place->array, VGPU_KIND_ARRAY);
    if (array == NULL)
        return CUDA_ERROR_INVALID_HANDLE;
    side->box.kind = VGPU_SIDE_ARRAY;
    side->box.array = array->object.id;
    side->box.x = place->x;
    side->box.y = place->y;
    side->box.z = place->z;
    const struct vgpu_array_box in = {place->x,   place->y,    place->z,
                                      box->width, box->height, box->depth};
    if (!vgpu_array_holds(array, &in))
        *known = false; /* the driver judges */
    return CUDA_SUCCESS;
}

/* Whose memory it is. */
static CUresult check_linear(struct side *side, CUmemorytype type, const struct vgpu_box *box,
                             bool *known)
{
    struct vgpu_range range;
    size_t bytes, planes, end;
    if (!vgpu_copy_span(side->box.pitch, box->width, box->height, &bytes) ||
        __builtin_mul_overflow(side->plane, box->depth - 1, &planes) ||
        __builtin_add_overflow(bytes, planes, &bytes) ||
        __builtin_add_overflow(side->box.address, bytes, &end))
        return CUDA_ERROR_INVALID_VALUE;
    if (vgpu_host_is_shared(host_of(side), bytes)) {
        side->box.kind = VGPU_SIDE_SHARED;
        return CUDA_SUCCESS;
    }
    side->box.kind = VGPU_SIDE_DEVICE;
    side->staged = type == CU_MEMORYTYPE_HOST ||
                   (type == CU_MEMORYTYPE_UNIFIED &&
                    (!vgpu_ranges_find(&vgpu_process()->ranges, side->box.address, &range) ||
                     vgpu_range_is_host(&range)));
    return side->staged ? CUDA_SUCCESS : vgpu_copy_check(side->box.address, bytes, known);
}

static CUresult place_side(struct side *side, const struct place *place, const struct vgpu_box *box,
                           bool *known)
{
    CUresult error;
    *side = (struct side){0};
    switch (place->type) {
    case CU_MEMORYTYPE_HOST:
        error = place_linear(side, place, box, (uintptr_t)place->host);
        break;
    case CU_MEMORYTYPE_DEVICE:
    case CU_MEMORYTYPE_UNIFIED:
        error = place_linear(side, place, box, place->device);
        break;
    case CU_MEMORYTYPE_ARRAY:
        return place_array(side, place, box, known);
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return error ? error : check_linear(side, place->type, box, known);
}

/* ---- the copy itself ---- */

static CUresult copy_directly(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                              const struct vgpu_box *box)
{
    CUresult error = vgpu_send_vgpuCopyBox(caller->channel, caller->context, stream->object.id, box,
                                           sizeof(*box));
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    return error;
}

static struct vgpu_shadow_shape shape_of(const struct side *side, const struct vgpu_box *box,
                                         bool out)
{
    return (struct vgpu_shadow_shape){.host = host_of(side),
                                      .width = box->width,
                                      .height = box->height,
                                      .depth = box->depth,
                                      .pitch = side->box.pitch,
                                      .plane = side->plane,
                                      .out = out};
}

/* Between memory of this process that no device reaches: in the stream's order, as far as the
 * program can tell. */
static CUresult copy_here(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                          const struct side *to, const struct side *from,
                          const struct vgpu_box *box)
{
    if (vgpu_capture_of(stream)) {
        const struct vgpu_shadow_shape source = shape_of(from, box, false);
        const struct vgpu_shadow_shape target = shape_of(to, box, true);
        return vgpu_shadow_capture_here(caller, stream, &target, &source);
    }
    CUresult error = vgpu_stream_wait(caller, stream);
    if (error)
        return error;
    for (size_t plane = 0; plane < box->depth; plane++) {
        for (size_t row = 0; row < box->height; row++)
            memmove(host_of(to) + plane * to->plane + row * to->box.pitch,
                    host_of(from) + plane * from->plane + row * from->box.pitch, box->width);
    }
    return CUDA_SUCCESS;
}

static CUresult copy_staged(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                            const struct side *to, const struct side *from,
                            const struct vgpu_box *box)
{
    const struct side *device = to->staged ? from : to, *host = to->staged ? to : from;
    const struct vgpu_rows rows = {.device = device->box.address,
                                   .device_pitch = device->box.pitch,
                                   .device_plane = device->plane,
                                   .array = is_linear(device) ? NULL : &device->box,
                                   .host = host_of(host),
                                   .host_pitch = host->box.pitch,
                                   .host_plane = host->plane,
                                   .width = box->width,
                                   .height = box->height,
                                   .depth = box->depth};
    return to->staged ? vgpu_copy_download(caller, stream, &rows)
                      : vgpu_copy_upload(caller, stream, &rows);
}

/* A copy whose sides were looked at. Nothing is copied if the box is empty. */
struct plan {
    struct vgpu_box box;
    struct side to, from;
    bool known; /* the driver has nothing left to judge */
};

static bool is_type(CUmemorytype type, const void *host, CUdeviceptr device, CUarray array)
{
    switch (type) {
    case CU_MEMORYTYPE_HOST:
        return host != NULL;
    case CU_MEMORYTYPE_DEVICE:
    case CU_MEMORYTYPE_UNIFIED:
        return device != 0;
    case CU_MEMORYTYPE_ARRAY:
        return array != NULL;
    default:
        return false;
    }
}

static CUresult make_plan(const CUDA_MEMCPY3D *copy, struct plan *plan)
{
    if (copy == NULL || copy->srcLOD || copy->dstLOD ||
        !is_type(copy->srcMemoryType, copy->srcHost, copy->srcDevice, copy->srcArray) ||
        !is_type(copy->dstMemoryType, copy->dstHost, copy->dstDevice, copy->dstArray))
        return CUDA_ERROR_INVALID_VALUE;
    const struct place from = {.type = copy->srcMemoryType,
                               .host = copy->srcHost,
                               .device = copy->srcDevice,
                               .array = copy->srcArray,
                               .x = copy->srcXInBytes,
                               .y = copy->srcY,
                               .z = copy->srcZ,
                               .pitch = copy->srcPitch,
                               .height = copy->srcHeight};
    const struct place to = {.type = copy->dstMemoryType,
                             .host = copy->dstHost,
                             .device = copy->dstDevice,
                             .array = copy->dstArray,
                             .x = copy->dstXInBytes,
                             .y = copy->dstY,
                             .z = copy->dstZ,
                             .pitch = copy->dstPitch,
                             .height = copy->dstHeight};
    *plan = (struct plan){
        .box = {.width = copy->WidthInBytes, .height = copy->Height, .depth = copy->Depth},
        .known = true};
    if (copy->WidthInBytes == 0 || copy->Height == 0 || copy->Depth == 0) {
        plan->box = (struct vgpu_box){0};
        return CUDA_SUCCESS;
    }
    CUresult error = place_side(&plan->from, &from, &plan->box, &plan->known);
    return error ? error : place_side(&plan->to, &to, &plan->box, &plan->known);
}

/* `now`: the program may use its memory when this returns. */
static CUresult carry_out(const struct vgpu_caller *caller, struct vgpu_stream *stream,
                          struct plan *plan, bool now)
{
    CUresult error = CUDA_SUCCESS;
    bool waits = now && !plan->known;
    if (plan->box.depth == 0)
        return CUDA_SUCCESS;
    if (plan->to.staged && plan->from.staged) {
        error = copy_here(caller, stream, &plan->to, &plan->from, &plan->box);
    } else if (plan->to.staged || plan->from.staged) {
        error = copy_staged(caller, stream, &plan->to, &plan->from, &plan->box);
    } else {
        plan->box.source = plan->from.box;
        plan->box.destination = plan->to.box;
        error = copy_directly(caller, stream, &plan->box);
        waits = waits || (now && (plan->from.box.kind == VGPU_SIDE_SHARED ||
                                  plan->to.box.kind == VGPU_SIDE_SHARED));
    }
    if (error == CUDA_SUCCESS && waits)
        return vgpu_stream_wait(caller, stream);
    return error || plan->known ? error : vgpu_stream_judgement(caller, stream);
}

static CUresult copy_3d(const CUDA_MEMCPY3D *copy, CUstream handle, bool now)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct plan plan = {.known = true};
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error == CUDA_SUCCESS && now)
        error = vgpu_capture_unsafe();
    if (error == CUDA_SUCCESS)
        error = make_plan(copy, &plan);
    return error ? error : carry_out(&caller, stream, &plan, now);
}

/* ---- for interop/copy.h ---- */

CUresult vgpu_copy_check_3d(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    struct plan plan = {.known = true};
    (void)stream;
    return make_plan(copy, &plan);
}

CUresult vgpu_copy_submit_3d(const CUDA_MEMCPY3D *copy, CUstream handle, bool during_call)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    struct plan plan = {.known = true};
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error == CUDA_SUCCESS)
        error = make_plan(copy, &plan);
    /* In the stream's order means, too, that what is staged is read when the stream gets there. */
    if (error == CUDA_SUCCESS && plan.from.staged && !during_call)
        error = vgpu_stream_wait(&caller, stream);
    return error ? error : carry_out(&caller, stream, &plan, during_call);
}

CUresult vgpu_copy_refuse_capture(CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error)
        return error;
    return vgpu_capture_of(stream) ? vgpu_capture_wait_stream(stream) : CUDA_SUCCESS;
}

CUresult vgpu_copy_check_context(CUcontext handle)
{
    return vgpu_context_find(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

/* ---- entry points ---- */

static CUresult copy_2d(const CUDA_MEMCPY2D *copy, CUstream stream, bool now)
{
    if (copy == NULL) {
        CUresult error = vgpu_process_ready(vgpu_process());
        return error ? error : CUDA_ERROR_INVALID_VALUE;
    }
    CUDA_MEMCPY3D deep = vgpu_copy_as_box(copy);
    return copy_3d(&deep, stream, now);
}

static CUresult copy_2d_now(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return vgpu_copy_arrive(copy_2d(copy, stream, true), stream);
}

static CUresult copy_3d_now(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return vgpu_copy_arrive(copy_3d(copy, stream, true), stream);
}

VGPU_PTDS(cuMemcpy2D_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy2DUnaligned_v2, copy_2d_now, (const CUDA_MEMCPY2D *copy), copy)
VGPU_PTDS(cuMemcpy3D_v2, copy_3d_now, (const CUDA_MEMCPY3D *copy), copy)

CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D *copy, CUstream stream)
{
    return copy_2d(copy, stream, false);
}

CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    return copy_3d(copy, stream, false);
}

VGPU_PTSZ(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *copy, CUstream stream),
          (copy, vgpu_per_thread(stream)))
