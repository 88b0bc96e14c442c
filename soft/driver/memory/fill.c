/* SPDX-License-Identifier: MIT */
/* cuMemset*: rows of a repeated element. */
#include <stdlib.h>
#include <string.h>

#include "interop/per_thread.h"
#include "soft/driver/memory/copy.h"

struct fill_task {
    struct vgpu_task task;
    CUDA_MEMSET_NODE_PARAMS fill; /* as the program described it */
    struct vgpu_place place;
    struct vgpu_box box;
};

static void fill_row(void *row, size_t width, uint32_t value, unsigned int element)
{
    uint16_t *halves = row;
    uint32_t *words = row;

    if (element == 1)
        memset(row, (int)value, width);
    for (size_t i = 0; element == 2 && i < width / 2; i++)
        halves[i] = (uint16_t)value;
    for (size_t i = 0; element == 4 && i < width / 4; i++)
        words[i] = value;
}

static CUresult fill_run(struct vgpu_task *task, struct vgpu_context *context)
{
    const struct fill_task *fill = (const struct fill_task *)task;

    (void)context;
    for (size_t y = 0; y < fill->box.height; y++)
        fill_row((void *)(uintptr_t)(fill->place.address + y * fill->place.pitch), fill->box.width,
                 fill->fill.value, fill->fill.elementSize);
    return CUDA_SUCCESS;
}

CUresult vgpu_fill_task_create(const CUDA_MEMSET_NODE_PARAMS *fill, struct vgpu_task **task)
{
    struct vgpu_place place = {
        .address = fill->dst, .pitch = fill->pitch, .side = VGPU_SIDE_DEVICE};
    struct vgpu_box box = {.height = fill->height, .depth = 1};
    unsigned int element = fill->elementSize;
    struct fill_task *created;
    CUresult result;

    if ((element != 1 && element != 2 && element != 4) ||
        __builtin_mul_overflow(fill->width, element, &box.width) || fill->dst % element ||
        (fill->height > 1 && (fill->pitch < box.width || fill->pitch % element)))
        return CUDA_ERROR_INVALID_VALUE;
    result = vgpu_place_check(&place, &box);
    if (result != CUDA_SUCCESS)
        return result;
    created = calloc(1, sizeof(*created));
    if (!created)
        return CUDA_ERROR_OUT_OF_MEMORY;
    created->task =
        (struct vgpu_task){.is_node = true, .type = CU_GRAPH_NODE_TYPE_MEMSET, .run = fill_run};
    created->fill = *fill;
    created->place = place;
    created->box = box;
    *task = &created->task;
    return CUDA_SUCCESS;
}

void vgpu_fill_task_params(const struct vgpu_task *task, CUDA_MEMSET_NODE_PARAMS *fill)
{
    *fill = ((const struct fill_task *)task)->fill;
}

/* `width` and `height` count elements and rows. */
static CUresult fill(CUdeviceptr to, size_t pitch, uint32_t value, unsigned int element,
                     size_t width, size_t height, CUstream stream, bool wait)
{
    struct vgpu_context *context;
    struct vgpu_task *task;
    CUresult result = vgpu_context_enter(&context);

    if (result == CUDA_SUCCESS)
        result = vgpu_fill_task_create(
            &(CUDA_MEMSET_NODE_PARAMS){to, pitch, value, element, width, height}, &task);
    if (result != CUDA_SUCCESS)
        return result;
    return vgpu_stream_submit_to(context, stream, task,
                                 wait ? VGPU_SUBMIT_SYNC : VGPU_SUBMIT_ASYNC);
}

/* The six functions and their twins for one element type: TYPE of BYTES bytes, called BITS. */
#define FILL_FUNCTIONS(bits, type, bytes)                                                          \
    static CUresult fill_##bits(CUdeviceptr to, type value, size_t count, CUstream stream)         \
    {                                                                                              \
        return fill(to, 0, value, bytes, count, 1, stream, true);                                  \
    }                                                                                              \
    static CUresult fill_2d_##bits(CUdeviceptr to, size_t pitch, type value, size_t width,         \
                                   size_t height, CUstream stream)                                 \
    {                                                                                              \
        return fill(to, pitch, value, bytes, width, height, stream, true);                         \
    }                                                                                              \
    VGPU_PTDS(cuMemsetD##bits##_v2, fill_##bits, (CUdeviceptr to, type value, size_t count), to,   \
              value, count)                                                                        \
    VGPU_PTDS(cuMemsetD2D##bits##_v2, fill_2d_##bits,                                              \
              (CUdeviceptr to, size_t pitch, type value, size_t width, size_t height), to, pitch,  \
              value, width, height)                                                                \
    CUresult cuMemsetD##bits##Async(CUdeviceptr to, type value, size_t count, CUstream stream)     \
    {                                                                                              \
        return fill(to, 0, value, bytes, count, 1, stream, false);                                 \
    }                                                                                              \
    CUresult cuMemsetD2D##bits##Async(CUdeviceptr to, size_t pitch, type value, size_t width,      \
                                      size_t height, CUstream stream)                              \
    {                                                                                              \
        return fill(to, pitch, value, bytes, width, height, stream, false);                        \
    }                                                                                              \
    VGPU_PTSZ(cuMemsetD##bits##Async, (CUdeviceptr to, type value, size_t count, CUstream stream), \
              (to, value, count, vgpu_per_thread(stream)))                                         \
    VGPU_PTSZ(                                                                                     \
        cuMemsetD2D##bits##Async,                                                                  \
        (CUdeviceptr to, size_t pitch, type value, size_t width, size_t height, CUstream stream),  \
        (to, pitch, value, width, height, vgpu_per_thread(stream)))

FILL_FUNCTIONS(8, unsigned char, 1)
FILL_FUNCTIONS(16, unsigned short, 2)
FILL_FUNCTIONS(32, unsigned int, 4)
