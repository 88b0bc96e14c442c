/* SPDX-License-Identifier: MIT */
/* Tensor maps: the host's driver encodes them. */
#include "interop/driver_api.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "guest/process/caller.h"
#include "guest/process/process.h"
#include "protocol/send.h"
#include "protocol/tensor_map.h"

#define MAP_ALIGNMENT 64u

struct vgpu_known_tensor_map {
    struct vgpu_tensor_map_question question;
    uint64_t map[CU_TENSOR_MAP_NUM_QWORDS];
};

static unsigned int place_of(const struct vgpu_tensor_map_question *question)
{
    uint64_t words[sizeof(*question) / sizeof(uint64_t)], hash = 0;
    memcpy(words, question, sizeof(words));
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        hash = (hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15); /* Fibonacci hashing */
    return (unsigned int)(hash >> 32) % VGPU_TENSOR_MAPS_KNOWN;
}

static bool look_up(const struct vgpu_tensor_map_question *question, CUtensorMap *map)
{
    struct vgpu_tensor_maps *maps = &vgpu_process()->tensor_maps;
    pthread_mutex_lock(&maps->lock);
    const struct vgpu_known_tensor_map *found = maps->known[place_of(question)];
    bool same = found && memcmp(&found->question, question, sizeof(*question)) == 0;
    if (same)
        memcpy(map, found->map, sizeof(found->map));
    pthread_mutex_unlock(&maps->lock);
    return same;
}

static void remember(const struct vgpu_tensor_map_question *question, const uint64_t *map)
{
    struct vgpu_tensor_maps *maps = &vgpu_process()->tensor_maps;
    pthread_mutex_lock(&maps->lock);
    struct vgpu_known_tensor_map **place = &maps->known[place_of(question)];
    if (*place == NULL)
        *place = malloc(sizeof(**place));
    if (*place) {
        (*place)->question = *question;
        memcpy((*place)->map, map, sizeof((*place)->map));
    }
    pthread_mutex_unlock(&maps->lock);
}

static CUresult ask(CUtensorMap *map, const struct vgpu_tensor_map_question *question)
{
    struct vgpu_caller caller;
    uint64_t answer[CU_TENSOR_MAP_NUM_QWORDS];
    size_t bytes = 0;
    CUresult error = vgpu_caller_enter(&caller);
    if (error || look_up(question, map))
        return error;
    error = vgpu_process_note(
        vgpu_process(), vgpu_send_vgpuTensorMap(caller.channel, caller.context, question,
                                                sizeof(*question), answer, sizeof(answer), &bytes));
    if (error == CUDA_SUCCESS && bytes != sizeof(answer))
        error = CUDA_ERROR_UNKNOWN;
    if (error)
        return error;
    memcpy(map, answer, sizeof(answer));
    remember(question, answer);
    return CUDA_SUCCESS;
}

/* What all kinds have. False: the driver would refuse it, too. */
static bool describe(struct vgpu_tensor_map_question *question, const CUtensorMap *map,
                     cuuint32_t rank, const void *address, const cuuint64_t *dimensions,
                     const cuuint64_t *strides, const cuuint32_t *element_strides)
{
    if (map == NULL || (uintptr_t)map % MAP_ALIGNMENT || rank == 0 || rank > VGPU_TENSOR_RANK_MAX ||
        dimensions == NULL || element_strides == NULL || (rank > 1 && strides == NULL))
        return false;
    question->rank = rank;
    question->address = (uintptr_t)address;
    memcpy(question->dimension, dimensions, rank * sizeof(*dimensions));
    if (rank > 1)
        memcpy(question->stride, strides, (rank - 1) * sizeof(*strides));
    memcpy(question->element_stride, element_strides, rank * sizeof(*element_strides));
    return true;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                void *address, const cuuint64_t *dimensions,
                                const cuuint64_t *strides, const cuuint32_t *box,
                                const cuuint32_t *element_strides, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                CUtensorMapFloatOOBfill fill)
{
    struct vgpu_tensor_map_question question = {.kind = VGPU_TENSOR_MAP_TILED,
                                                .type = type,
                                                .interleave = interleave,
                                                .swizzle = swizzle,
                                                .promotion = promotion,
                                                .fill = fill};
    if (!describe(&question, map, rank, address, dimensions, strides, element_strides) ||
        box == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(question.box, box, rank * sizeof(*box));
    return ask(map, &question);
}

CUresult cuTensorMapEncodeIm2col(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                 void *address, const cuuint64_t *dimensions,
                                 const cuuint64_t *strides, const int *lower, const int *upper,
                                 cuuint32_t channels, cuuint32_t pixels,
                                 const cuuint32_t *element_strides,
                                 CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                 CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
    struct vgpu_tensor_map_question question = {.kind = VGPU_TENSOR_MAP_IM2COL,
                                                .type = type,
                                                .interleave = interleave,
                                                .channels = channels,
                                                .pixels = pixels,
                                                .swizzle = swizzle,
                                                .promotion = promotion,
                                                .fill = fill};
    /* A corner is a place in the image, and there is one from rank 3 on. */
    if (!describe(&question, map, rank, address, dimensions, strides, element_strides) ||
        rank < 3 || lower == NULL || upper == NULL)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(question.lower, lower, (rank - 2) * sizeof(*lower));
    memcpy(question.upper, upper, (rank - 2) * sizeof(*upper));
    return ask(map, &question);
}

CUresult cuTensorMapEncodeIm2colWide(CUtensorMap *map, CUtensorMapDataType type, cuuint32_t rank,
                                     void *address, const cuuint64_t *dimensions,
                                     const cuuint64_t *strides, int lower, int upper,
                                     cuuint32_t channels, cuuint32_t pixels,
                                     const cuuint32_t *element_strides,
                                     CUtensorMapInterleave interleave,
                                     CUtensorMapIm2ColWideMode mode, CUtensorMapSwizzle swizzle,
                                     CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
    struct vgpu_tensor_map_question question = {.kind = VGPU_TENSOR_MAP_IM2COL_WIDE,
                                                .type = type,
                                                .interleave = interleave,
                                                .lower = {lower},
                                                .upper = {upper},
                                                .channels = channels,
                                                .pixels = pixels,
                                                .mode = mode,
                                                .swizzle = swizzle,
                                                .promotion = promotion,
                                                .fill = fill};
    if (!describe(&question, map, rank, address, dimensions, strides, element_strides))
        return CUDA_ERROR_INVALID_VALUE;
    return ask(map, &question);
}

CUresult cuTensorMapReplaceAddress(CUtensorMap *map, void *address)
{
    struct vgpu_tensor_map_question question = {.kind = VGPU_TENSOR_MAP_REPLACE,
                                                .address = (uintptr_t)address};
    if (map == NULL || (uintptr_t)map % MAP_ALIGNMENT)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(question.map, map, sizeof(question.map));
    return ask(map, &question);
}
