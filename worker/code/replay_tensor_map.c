/* SPDX-License-Identifier: MIT */
/* Tensor maps are the driver's to encode: their bits are its secret. */
#include <string.h>

#include "protocol/tensor_map.h"
#include "worker/worker.h"

static CUresult encode(const struct vgpu_driver *driver,
                       const struct vgpu_tensor_map_question *question, CUtensorMap *map)
{
    CUtensorMapDataType type = (CUtensorMapDataType)question->type;
    CUtensorMapInterleave interleave = (CUtensorMapInterleave)question->interleave;
    CUtensorMapSwizzle swizzle = (CUtensorMapSwizzle)question->swizzle;
    CUtensorMapL2promotion promotion = (CUtensorMapL2promotion)question->promotion;
    CUtensorMapFloatOOBfill fill = (CUtensorMapFloatOOBfill)question->fill;
    void *address = (void *)question->address; /* NOLINT(performance-no-int-to-ptr) */

    switch (question->kind) {
    case VGPU_TENSOR_MAP_TILED:
        return driver->cuTensorMapEncodeTiled(
            map, type, question->rank, address, question->dimension, question->stride,
            question->box, question->element_stride, interleave, swizzle, promotion, fill);
    case VGPU_TENSOR_MAP_IM2COL:
        return driver->cuTensorMapEncodeIm2col(
            map, type, question->rank, address, question->dimension, question->stride,
            question->lower, question->upper, question->channels, question->pixels,
            question->element_stride, interleave, swizzle, promotion, fill);
    case VGPU_TENSOR_MAP_IM2COL_WIDE:
        if (driver->cuTensorMapEncodeIm2colWide == NULL)
            return CUDA_ERROR_NOT_SUPPORTED;
        return driver->cuTensorMapEncodeIm2colWide(
            map, type, question->rank, address, question->dimension, question->stride,
            question->lower[0], question->upper[0], question->channels, question->pixels,
            question->element_stride, interleave, (CUtensorMapIm2ColWideMode)question->mode,
            swizzle, promotion, fill);
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
}

CUresult vgpu_replay_vgpuTensorMap(struct vgpu_worker *worker, struct vgpu_call_vgpuTensorMap *call)
{
    const struct vgpu_driver *driver = worker->driver;
    struct vgpu_tensor_map_question question;
    CUtensorMap map = {0};
    CUresult error;
    if (call->question_bytes != sizeof(question))
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&question, call->question, sizeof(question));
    if (question.kind == VGPU_TENSOR_MAP_REPLACE) {
        memcpy(&map, question.map, sizeof(map));
        /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
        error = driver->cuTensorMapReplaceAddress(&map, (void *)question.address);
    } else {
        /* The driver reads as many elements as the rank says. */
        if (question.rank == 0 || question.rank > VGPU_TENSOR_RANK_MAX)
            return CUDA_ERROR_INVALID_VALUE;
        error = encode(driver, &question, &map);
    }
    if (error == CUDA_SUCCESS) {
        memcpy(call->map, &map, sizeof(map));
        call->map_bytes = sizeof(map);
    }
    return error;
}
