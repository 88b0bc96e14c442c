/* SPDX-License-Identifier: MIT */
/* cuMemset and its kin. */
#include "guest/context.h"
#include "guest/copy.h"
#include "interop/per_thread.h"
#include "protocol/send.h"

/* A fill of `height` rows of `width` elements; one row if it is linear. */
struct fill {
    CUdeviceptr destination;
    size_t pitch;
    unsigned int value;
    unsigned int element; /* bytes: 1, 2 or 4 */
    size_t width, height;
};

static CUresult send_linear(const struct vgpu_caller *caller, const struct fill *fill, uint32_t id)
{
    switch (fill->element) {
    case 1:
        return vgpu_send_cuMemsetD8Async(caller->channel, caller->context, fill->destination,
                                         fill->value, fill->width, id);
    case 2:
        return vgpu_send_cuMemsetD16Async(caller->channel, caller->context, fill->destination,
                                          fill->value, fill->width, id);
    default:
        return vgpu_send_cuMemsetD32Async(caller->channel, caller->context, fill->destination,
                                          fill->value, fill->width, id);
    }
}

static CUresult send_rows(const struct vgpu_caller *caller, const struct fill *fill, uint32_t id)
{
    switch (fill->element) {
    case 1:
        return vgpu_send_cuMemsetD2D8Async(caller->channel, caller->context, fill->destination,
                                           fill->pitch, fill->value, fill->width, fill->height, id);
    case 2:
        return vgpu_send_cuMemsetD2D16Async(caller->channel, caller->context, fill->destination,
                                            fill->pitch, fill->value, fill->width, fill->height,
                                            id);
    default:
        return vgpu_send_cuMemsetD2D32Async(caller->channel, caller->context, fill->destination,
                                            fill->pitch, fill->value, fill->width, fill->height,
                                            id);
    }
}

static CUresult check(const struct fill *fill, bool *known)
{
    size_t row, bytes;
    if (__builtin_mul_overflow(fill->width, fill->element, &row) ||
        !vgpu_copy_span(fill->pitch, row, fill->height, &bytes) ||
        fill->destination % fill->element != 0 ||
        (fill->height > 1 && (fill->pitch < row || fill->pitch % fill->element != 0)))
        return CUDA_ERROR_INVALID_VALUE;
    return vgpu_copy_check(fill->destination, bytes, known);
}

static CUresult run(const struct fill *fill, CUstream handle)
{
    struct vgpu_caller caller;
    struct vgpu_stream *stream;
    bool known = true;
    CUresult error = vgpu_caller_enter_stream(&caller, handle, &stream);
    if (error || fill->width == 0 || fill->height == 0)
        return error;
    error = check(fill, &known);
    if (error)
        return error;
    error = fill->height == 1 ? send_linear(&caller, fill, stream->object.id)
                              : send_rows(&caller, fill, stream->object.id);
    if (error == CUDA_SUCCESS)
        vgpu_stream_submitted(stream);
    /* Where the driver has to judge the address, its judgement is this call's. */
    return error || known ? error : vgpu_stream_wait(&caller, stream);
}

/* The four functions for linear memory and the four for rows, for one size of element. */
#define FILLS(bits, type)                                                                          \
    static CUresult fill_d##bits(CUdeviceptr destination, type value, size_t count,                \
                                 CUstream stream)                                                  \
    {                                                                                              \
        struct fill fill = {destination, 0, value, bits / 8, count, 1};                            \
        return run(&fill, stream);                                                                 \
    }                                                                                              \
    static CUresult fill_d2d##bits(CUdeviceptr destination, size_t pitch, type value,              \
                                   size_t width, size_t height, CUstream stream)                   \
    {                                                                                              \
        struct fill fill = {destination, pitch, value, bits / 8, width, height};                   \
        return run(&fill, stream);                                                                 \
    }                                                                                              \
    VGPU_PTDS(cuMemsetD##bits##_v2, fill_d##bits,                                                  \
              (CUdeviceptr destination, type value, size_t count), destination, value, count)      \
    VGPU_PTDS(cuMemsetD2D##bits##_v2, fill_d2d##bits,                                              \
              (CUdeviceptr destination, size_t pitch, type value, size_t width, size_t height),    \
              destination, pitch, value, width, height)                                            \
    CUresult cuMemsetD##bits##Async(CUdeviceptr destination, type value, size_t count,             \
                                    CUstream stream)                                               \
    {                                                                                              \
        return fill_d##bits(destination, value, count, stream);                                    \
    }                                                                                              \
    CUresult cuMemsetD2D##bits##Async(CUdeviceptr destination, size_t pitch, type value,           \
                                      size_t width, size_t height, CUstream stream)                \
    {                                                                                              \
        return fill_d2d##bits(destination, pitch, value, width, height, stream);                   \
    }                                                                                              \
    VGPU_PTSZ(cuMemsetD##bits##Async,                                                              \
              (CUdeviceptr destination, type value, size_t count, CUstream stream),                \
              (destination, value, count, vgpu_per_thread(stream)))                                \
    VGPU_PTSZ(cuMemsetD2D##bits##Async,                                                            \
              (CUdeviceptr destination, size_t pitch, type value, size_t width, size_t height,     \
               CUstream stream),                                                                   \
              (destination, pitch, value, width, height, vgpu_per_thread(stream)))

FILLS(8, unsigned char)
FILLS(16, unsigned short)
FILLS(32, unsigned int)
