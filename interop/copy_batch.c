/* SPDX-License-Identifier: MIT */
/* Batches of copies: all of a batch is checked before any of it is submitted. */
#include <stdlib.h>

#include "interop/copy.h"
#include "interop/managed.h"
#include "interop/per_thread.h"

struct batch {
    CUstream stream;
    struct batched {
        CUDA_MEMCPY3D copy;
        bool during_call; /* the source may change when the call returns */
    } * copies;
    size_t count; /* made so far */
};

static CUresult open_batch(struct batch *batch, size_t count, CUstream stream)
{
    CUresult result = vgpu_managed_enter();

    *batch = (struct batch){.stream = stream};
    if (result == CUDA_SUCCESS && (count == 0 || !stream || stream == CU_STREAM_LEGACY))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = vgpu_managed_enter_stream(stream);
    if (result != CUDA_SUCCESS)
        return result;
    batch->copies = calloc(count, sizeof(*batch->copies));
    return batch->copies ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult add(struct batch *batch, const CUDA_MEMCPY3D *copy, CUmemcpySrcAccessOrder order)
{
    CUresult result = vgpu_copy_check_3d(copy, batch->stream);

    if (result == CUDA_SUCCESS && order != CU_MEMCPY_SRC_ACCESS_ORDER_STREAM &&
        order != CU_MEMCPY_SRC_ACCESS_ORDER_ANY &&
        order != CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL)
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        batch->copies[batch->count++] =
            (struct batched){*copy, order == CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL};
    return result;
}

/* Ends the batch; with an error in it nothing is copied. */
static CUresult submit(struct batch *batch, CUresult result)
{
    for (size_t i = 0; result == CUDA_SUCCESS && i < batch->count; i++)
        result = vgpu_copy_submit_3d(&batch->copies[i].copy, batch->stream,
                                     batch->copies[i].during_call);
    free(batch->copies);
    return result;
}

/* Runs of copies have attributes in common: that the runs' beginnings make sense. */
static bool runs_are_right(const size_t *starts, size_t runs, size_t count)
{
    if (!starts || runs == 0 || runs > count || starts[0] != 0)
        return false;
    for (size_t i = 1; i < runs; i++) {
        if (starts[i] <= starts[i - 1] || starts[i] >= count)
            return false;
    }
    return true;
}

/* `failed`: the index of the copy that is wrong, or SIZE_MAX if it is none in particular. */
static CUresult copy_rows(CUdeviceptr *to, CUdeviceptr *from, size_t *sizes, size_t count,
                          CUmemcpyAttributes *attributes, size_t *starts, size_t runs,
                          size_t *failed, CUstream stream)
{
    struct batch batch;
    CUresult result = CUDA_SUCCESS;

    *failed = SIZE_MAX;
    if (!to || !from || !sizes || !attributes || !runs_are_right(starts, runs, count))
        result = CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        result = open_batch(&batch, count, stream);
    if (result != CUDA_SUCCESS)
        return result;
    for (size_t i = 0, run = 0; result == CUDA_SUCCESS && i < count; i++) {
        CUDA_MEMCPY3D copy = {
            .srcMemoryType = CU_MEMORYTYPE_UNIFIED,
            .srcDevice = from[i],
            .dstMemoryType = CU_MEMORYTYPE_UNIFIED,
            .dstDevice = to[i],
            .WidthInBytes = sizes[i],
            .Height = 1,
            .Depth = 1,
        };
        if (run + 1 < runs && starts[run + 1] == i)
            run++;
        result = add(&batch, &copy, attributes[run].srcAccessOrder);
        if (result != CUDA_SUCCESS)
            *failed = i;
    }
    return submit(&batch, result);
}

/* ---- boxes ---- */

/* Bytes of a channel; 0 where it has no such size. */
static size_t channel_of(CUarray_format format)
{
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
    case CU_AD_FORMAT_UNORM_INT8X1:
    case CU_AD_FORMAT_UNORM_INT8X2:
    case CU_AD_FORMAT_UNORM_INT8X4:
    case CU_AD_FORMAT_SNORM_INT8X1:
    case CU_AD_FORMAT_SNORM_INT8X2:
    case CU_AD_FORMAT_SNORM_INT8X4:
        return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
    case CU_AD_FORMAT_UNORM_INT16X1:
    case CU_AD_FORMAT_UNORM_INT16X2:
    case CU_AD_FORMAT_UNORM_INT16X4:
    case CU_AD_FORMAT_SNORM_INT16X1:
    case CU_AD_FORMAT_SNORM_INT16X2:
    case CU_AD_FORMAT_SNORM_INT16X4:
        return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT:
        return 4;
    default:
        return 0;
    }
}

/* 0 for what is no array, or none that lives: the copy's check says so. */
static size_t element_of(const CUmemcpy3DOperand *operand)
{
    CUDA_ARRAY3D_DESCRIPTOR array;

    if (operand->type != CU_MEMCPY_OPERAND_TYPE_ARRAY ||
        cuArray3DGetDescriptor_v2(&array, operand->op.array.array) != CUDA_SUCCESS)
        return 0;
    return channel_of(array.Format) * array.NumChannels;
}

/* One end of a box, in bytes. */
struct box_end {
    CUmemorytype type;
    CUdeviceptr address;
    CUarray array;
    size_t x, y, z;
    size_t pitch;
    size_t height;
};

static CUresult end_of(const CUmemcpy3DOperand *operand, const CUextent3D *extent, size_t element,
                       struct box_end *end)
{
    *end = (struct box_end){.type = CU_MEMORYTYPE_UNIFIED};
    if (operand->type == CU_MEMCPY_OPERAND_TYPE_POINTER) {
        end->address = operand->op.ptr.ptr;
        end->height = operand->op.ptr.layerHeight;
        if ((operand->op.ptr.rowLength && operand->op.ptr.rowLength < extent->width) ||
            (end->height && end->height < extent->height) ||
            __builtin_mul_overflow(operand->op.ptr.rowLength, element, &end->pitch))
            return CUDA_ERROR_INVALID_VALUE;
        return CUDA_SUCCESS;
    }
    if (operand->type != CU_MEMCPY_OPERAND_TYPE_ARRAY)
        return CUDA_ERROR_INVALID_VALUE;
    end->type = CU_MEMORYTYPE_ARRAY;
    end->array = operand->op.array.array;
    end->y = operand->op.array.offset.y;
    end->z = operand->op.array.offset.z;
    return __builtin_mul_overflow(operand->op.array.offset.x, element, &end->x)
               ? CUDA_ERROR_INVALID_VALUE
               : CUDA_SUCCESS;
}

static CUresult add_box(struct batch *batch, const CUDA_MEMCPY3D_BATCH_OP *op)
{
    size_t from_element = element_of(&op->src), to_element = element_of(&op->dst);
    size_t element = from_element ? from_element : to_element ? to_element : 1, width;
    struct box_end to, from;
    CUresult result;

    if (op->extent.width == 0 || op->extent.height == 0 || op->extent.depth == 0 ||
        (from_element && to_element && from_element != to_element) ||
        __builtin_mul_overflow(op->extent.width, element, &width))
        return CUDA_ERROR_INVALID_VALUE;
    result = end_of(&op->dst, &op->extent, element, &to);
    if (result == CUDA_SUCCESS)
        result = end_of(&op->src, &op->extent, element, &from);
    if (result != CUDA_SUCCESS)
        return result;
    const CUDA_MEMCPY3D copy = {
        .srcXInBytes = from.x,
        .srcY = from.y,
        .srcZ = from.z,
        .srcMemoryType = from.type,
        .srcDevice = from.address,
        .srcArray = from.array,
        .srcPitch = from.pitch,
        .srcHeight = from.height,
        .dstXInBytes = to.x,
        .dstY = to.y,
        .dstZ = to.z,
        .dstMemoryType = to.type,
        .dstDevice = to.address,
        .dstArray = to.array,
        .dstPitch = to.pitch,
        .dstHeight = to.height,
        .WidthInBytes = width,
        .Height = op->extent.height,
        .Depth = op->extent.depth,
    };
    return add(batch, &copy, op->srcAccessOrder);
}

static CUresult copy_boxes(size_t count, const CUDA_MEMCPY3D_BATCH_OP *ops, size_t *failed,
                           unsigned long long flags, CUstream stream)
{
    struct batch batch;
    CUresult result;

    *failed = SIZE_MAX;
    if (!ops || flags)
        return CUDA_ERROR_INVALID_VALUE;
    result = open_batch(&batch, count, stream);
    if (result != CUDA_SUCCESS)
        return result;
    for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++) {
        result = add_box(&batch, &ops[i]);
        if (result != CUDA_SUCCESS)
            *failed = i;
    }
    return submit(&batch, result);
}

/* ---- entry points: the older ones say which copy is wrong ---- */

CUresult cuMemcpyBatchAsync(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                            CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs,
                            size_t *failIdx, CUstream hStream)
{
    size_t failed;
    CUresult result =
        copy_rows(dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, &failed, hStream);

    if (failIdx && result != CUDA_SUCCESS)
        *failIdx = failed;
    return result;
}

CUresult cuMemcpyBatchAsync_v2(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *sizes, size_t count,
                               CUmemcpyAttributes *attrs, size_t *attrsIdxs, size_t numAttrs,
                               CUstream hStream)
{
    return cuMemcpyBatchAsync(dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, NULL, hStream);
}

CUresult cuMemcpy3DBatchAsync(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList, size_t *failIdx,
                              unsigned long long flags, CUstream hStream)
{
    size_t failed;
    CUresult result = copy_boxes(numOps, opList, &failed, flags, hStream);

    if (failIdx && result != CUDA_SUCCESS)
        *failIdx = failed;
    return result;
}

CUresult cuMemcpy3DBatchAsync_v2(size_t numOps, CUDA_MEMCPY3D_BATCH_OP *opList,
                                 unsigned long long flags, CUstream hStream)
{
    return cuMemcpy3DBatchAsync(numOps, opList, NULL, flags, hStream);
}

VGPU_PTSZ(cuMemcpyBatchAsync,
          (CUdeviceptr * to, CUdeviceptr *from, size_t *sizes, size_t count,
           CUmemcpyAttributes *attributes, size_t *starts, size_t runs, size_t *failed,
           CUstream stream),
          (to, from, sizes, count, attributes, starts, runs, failed, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpyBatchAsync_v2,
          (CUdeviceptr * to, CUdeviceptr *from, size_t *sizes, size_t count,
           CUmemcpyAttributes *attributes, size_t *starts, size_t runs, CUstream stream),
          (to, from, sizes, count, attributes, starts, runs, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpy3DBatchAsync,
          (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, size_t *failed, unsigned long long flags,
           CUstream stream),
          (count, ops, failed, flags, vgpu_per_thread(stream)))
VGPU_PTSZ(cuMemcpy3DBatchAsync_v2,
          (size_t count, CUDA_MEMCPY3D_BATCH_OP *ops, unsigned long long flags, CUstream stream),
          (count, ops, flags, vgpu_per_thread(stream)))
