/* SPDX-License-Identifier: MIT */
#include "soft/driver/memory/copy.h"

#include <stdlib.h>
#include <string.h>

#include "interop/copy.h"
#include "soft/driver/graph/capture.h"

/* Of pageable memory up to this size a copy is made, so that the caller need not wait. */
enum { SNAPSHOT_BYTES = 1 << 20 };

struct copy_task {
    struct vgpu_task task;
    CUDA_MEMCPY3D copy;   /* as the program described it */
    struct vgpu_place to; /* with a reference to its array */
    struct vgpu_place from;
    struct vgpu_box box;
    void *snapshot; /* of the source, or NULL */
};

CUresult vgpu_place_check(const struct vgpu_place *place, const struct vgpu_box *box)
{
    size_t planes, rows, bytes;

    if (place->array || box->width == 0 || box->height == 0 || box->depth == 0)
        return CUDA_SUCCESS;
    if (__builtin_mul_overflow(box->depth - 1, place->slice, &planes) ||
        __builtin_mul_overflow(box->height - 1, place->pitch, &rows) ||
        __builtin_add_overflow(planes, rows, &bytes) ||
        __builtin_add_overflow(bytes, box->width, &bytes))
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_allocation_check(place->address, bytes, place->side);
}

/* ---- what the API describes ---- */

/* One side of a copy. */
struct side {
    CUmemorytype type;
    uint64_t host;
    uint64_t device;
    CUarray array;
    size_t x, y, z;
    size_t pitch;
    size_t height;
};

/* Fills in where a box lies in an array, and takes a reference to the array. */
static CUresult place_in_array(const struct side *side, const struct vgpu_box *box,
                               struct vgpu_place *place)
{
    struct vgpu_array *array = vgpu_object_take(side->array, VGPU_OBJECT_ARRAY);
    size_t x, y, z;

    if (!array)
        return CUDA_ERROR_INVALID_HANDLE;
    if (side->x % array->element || box->width % array->element ||
        __builtin_add_overflow(side->x, box->width, &x) || x > array->row ||
        __builtin_add_overflow(side->y, box->height, &y) || y > array->rows ||
        __builtin_add_overflow(side->z, box->depth, &z) || z > array->planes) {
        vgpu_object_put(array);
        return CUDA_ERROR_INVALID_VALUE;
    }
    *place = (struct vgpu_place){
        .address = array->address + side->z * array->slice + side->y * array->pitch + side->x,
        .pitch = array->pitch,
        .slice = array->slice,
        .side = VGPU_SIDE_DEVICE,
        .array = array,
    };
    return CUDA_SUCCESS;
}

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
        return side->type == CU_MEMORYTYPE_ARRAY ? place_in_array(side, box, place)
                                                 : CUDA_ERROR_INVALID_VALUE;
    if (__builtin_add_overflow(side->x, box->width, &reach) ||
        ((box->height > 1 || box->depth > 1) && reach > pitch))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_add_overflow(side->y, box->height, &reach) ||
        ((box->depth > 1 || side->height) && reach > height))
        return CUDA_ERROR_INVALID_VALUE;
    if (__builtin_mul_overflow(pitch, height, &place->slice) ||
        __builtin_mul_overflow(side->z, place->slice, &plane) ||
        __builtin_mul_overflow(side->y, pitch, &offset) ||
        __builtin_add_overflow(offset, plane, &offset) ||
        __builtin_add_overflow(offset, side->x, &offset) ||
        __builtin_add_overflow(place->address, offset, &place->address))
        return CUDA_ERROR_INVALID_VALUE;
    place->pitch = pitch;
    return vgpu_place_check(place, box);
}

static CUresult find_places(struct copy_task *copy)
{
    const CUDA_MEMCPY3D *p = &copy->copy;
    CUresult result;

    if (p->srcLOD || p->dstLOD)
        return CUDA_ERROR_INVALID_VALUE;
    copy->box = (struct vgpu_box){p->WidthInBytes, p->Height, p->Depth};
    result =
        place_of(&(struct side){p->dstMemoryType, (uintptr_t)p->dstHost, p->dstDevice, p->dstArray,
                                p->dstXInBytes, p->dstY, p->dstZ, p->dstPitch, p->dstHeight},
                 &copy->box, &copy->to);
    if (result != CUDA_SUCCESS)
        return result;
    return place_of(&(struct side){p->srcMemoryType, (uintptr_t)p->srcHost, p->srcDevice,
                                   p->srcArray, p->srcXInBytes, p->srcY, p->srcZ, p->srcPitch,
                                   p->srcHeight},
                    &copy->box, &copy->from);
}

/* ---- copying ---- */

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
    struct copy_task *copy = (struct copy_task *)task;

    vgpu_object_put(copy->to.array);
    vgpu_object_put(copy->from.array);
    free(copy->snapshot);
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

CUresult vgpu_copy_task_create(const CUDA_MEMCPY3D *copy, struct vgpu_task **task)
{
    struct copy_task *created;
    CUresult result;

    if (!copy)
        return CUDA_ERROR_INVALID_VALUE;
    created = calloc(1, sizeof(*created));
    if (!created)
        return CUDA_ERROR_OUT_OF_MEMORY;
    created->task = (struct vgpu_task){.is_node = true,
                                       .type = CU_GRAPH_NODE_TYPE_MEMCPY,
                                       .run = copy_run,
                                       .release = copy_release};
    created->copy = *copy;
    result = find_places(created);
    if (result == CUDA_SUCCESS)
        *task = &created->task;
    else
        vgpu_task_put(&created->task);
    return result;
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

CUresult vgpu_copy_submit(struct vgpu_stream *stream, struct vgpu_task *task,
                          enum vgpu_copy_mode mode)
{
    bool wait = mode == VGPU_COPY_WAIT;
    CUresult result = wait ? vgpu_capture_check_wait(stream) : CUDA_SUCCESS;

    if (result != CUDA_SUCCESS) {
        vgpu_task_put(task);
        return result;
    }
    if (mode == VGPU_COPY_ASYNC)
        wait = has_to_wait(stream, (struct copy_task *)task);
    return vgpu_stream_submit(stream, task, wait ? VGPU_SUBMIT_SYNC : VGPU_SUBMIT_ASYNC, NULL);
}

CUresult vgpu_copy(const CUDA_MEMCPY3D *copy, CUstream handle, enum vgpu_copy_mode mode)
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
    result = vgpu_copy_submit(stream, task, mode);
    vgpu_object_put(stream);
    return result;
}

/* ---- for interop/copy.h ---- */

CUresult vgpu_copy_check_3d(const CUDA_MEMCPY3D *copy, CUstream stream)
{
    struct vgpu_task *task;
    CUresult result = vgpu_copy_task_create(copy, &task);

    (void)stream;
    if (result == CUDA_SUCCESS)
        vgpu_task_put(task);
    return result;
}

CUresult vgpu_copy_submit_3d(const CUDA_MEMCPY3D *copy, CUstream stream, bool during_call)
{
    return vgpu_copy(copy, stream, during_call ? VGPU_COPY_WAIT : VGPU_COPY_ORDER);
}

CUresult vgpu_copy_refuse_capture(CUstream handle)
{
    struct vgpu_stream *stream;
    CUresult result = vgpu_stream_enter(handle, &stream);

    if (result != CUDA_SUCCESS)
        return result;
    if (vgpu_capture_has(stream))
        result = vgpu_capture_check_wait(stream);
    vgpu_object_put(stream);
    return result;
}

CUresult vgpu_copy_check_context(CUcontext handle)
{
    struct vgpu_context *context;

    return vgpu_context_named(handle, &context);
}
