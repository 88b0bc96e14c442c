/* SPDX-License-Identifier: MIT */
/* cuTensorMap*: a CUtensorMap is a struct vgpu_tensor_map here. */
#include "soft/simt/tensor_map.h"

#include <string.h>

#include "soft/driver/driver.h"
#include "soft/ptx/program.h"

_Static_assert(sizeof(CUtensorMap) == VGPU_TENSOR_MAP_BYTES, "the size is the driver's");

/* NaNs with all bits but the sign, as arithmetic makes them. */
static const struct {
    uint8_t element, type;
    bool is_float;
    uint64_t nan;
} types[] = {
    [CU_TENSOR_MAP_DATA_TYPE_UINT8] = {1, VGPU_TENSOR_PLAIN, false, 0},
    [CU_TENSOR_MAP_DATA_TYPE_UINT16] = {2, VGPU_TENSOR_PLAIN, false, 0},
    [CU_TENSOR_MAP_DATA_TYPE_UINT32] = {4, VGPU_REDUCE_U32, false, 0},
    [CU_TENSOR_MAP_DATA_TYPE_INT32] = {4, VGPU_REDUCE_S32, false, 0},
    [CU_TENSOR_MAP_DATA_TYPE_UINT64] = {8, VGPU_REDUCE_U64, false, 0},
    [CU_TENSOR_MAP_DATA_TYPE_INT64] = {8, VGPU_REDUCE_S64, false, 0},
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT16] = {2, VGPU_REDUCE_F16, true, 0x7fff},
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT32] = {4, VGPU_REDUCE_F32, true, 0x7fffffff},
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT64] = {8, VGPU_REDUCE_F64, true, 0x7fffffffffffffff},
    [CU_TENSOR_MAP_DATA_TYPE_BFLOAT16] = {2, VGPU_REDUCE_BF16, true, 0x7fff},
    [CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ] = {4, VGPU_REDUCE_F32, true, 0x7fffffff},
    [CU_TENSOR_MAP_DATA_TYPE_TFLOAT32] = {4, VGPU_REDUCE_F32, true, 0x7fffffff},
    [CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ] = {4, VGPU_REDUCE_F32, true, 0x7fffffff},
};

static bool is_known(CUtensorMapDataType type)
{
    return (unsigned int)type < sizeof(types) / sizeof(types[0]);
}

/* What NVIDIA's driver has and this one does not. */
static bool is_supported(CUtensorMapDataType type, CUtensorMapInterleave interleave,
                         CUtensorMapSwizzle swizzle)
{
    /* Elements of the other types would be converted on their way. */
    return type != CU_TENSOR_MAP_DATA_TYPE_FLOAT32_FTZ &&
           type != CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 &&
           type != CU_TENSOR_MAP_DATA_TYPE_TFLOAT32_FTZ &&
           interleave == CU_TENSOR_MAP_INTERLEAVE_NONE && swizzle <= CU_TENSOR_MAP_SWIZZLE_128B;
}

static CUresult fill_in(struct vgpu_tensor_map *map, uint32_t rank, const cuuint64_t *dimensions,
                        const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps)
{
    for (uint32_t d = 0; d < rank; d++) {
        if (dimensions[d] == 0 || dimensions[d] > UINT64_C(1) << 32 || box[d] == 0 ||
            box[d] > 256 || steps[d] == 0 || steps[d] > 8)
            return CUDA_ERROR_INVALID_VALUE;
        if (d > 0 && (strides[d - 1] % 16 != 0 || strides[d - 1] >= UINT64_C(1) << 40))
            return CUDA_ERROR_INVALID_VALUE;
        map->last[d] = (uint32_t)(dimensions[d] - 1);
        map->box[d] = (uint16_t)box[d];
        map->step[d] = d > 0 ? (uint16_t)steps[d] : 1; /* the first one is not looked at */
        if (d > 0)
            map->stride[d - 1] = strides[d - 1];
    }
    return CUDA_SUCCESS;
}

CUresult cuTensorMapEncodeTiled(CUtensorMap *tensorMap, CUtensorMapDataType tensorDataType,
                                cuuint32_t tensorRank, void *globalAddress,
                                const cuuint64_t *globalDim, const cuuint64_t *globalStrides,
                                const cuuint32_t *boxDim, const cuuint32_t *elementStrides,
                                CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                CUtensorMapL2promotion l2Promotion, CUtensorMapFloatOOBfill oobFill)
{
    struct vgpu_tensor_map map = {.magic = VGPU_TENSOR_MAP_MAGIC};
    CUresult result = vgpu_driver_ready();
    uint32_t row;

    if (result != CUDA_SUCCESS)
        return result;
    if (!tensorMap || (uintptr_t)tensorMap % 64 != 0 || tensorRank == 0 ||
        tensorRank > VGPU_TENSOR_RANK || !globalAddress || (uintptr_t)globalAddress % 16 != 0 ||
        !globalDim || (tensorRank > 1 && !globalStrides) || !boxDim || !elementStrides ||
        (unsigned int)l2Promotion > CU_TENSOR_MAP_L2_PROMOTION_L2_256B ||
        (unsigned int)oobFill > CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA ||
        (unsigned int)interleave > CU_TENSOR_MAP_INTERLEAVE_32B ||
        (unsigned int)swizzle > CU_TENSOR_MAP_SWIZZLE_128B_ATOM_64B)
        return CUDA_ERROR_INVALID_VALUE;
    if (!is_known(tensorDataType) || !is_supported(tensorDataType, interleave, swizzle))
        return CUDA_ERROR_NOT_SUPPORTED;
    if (oobFill && !types[tensorDataType].is_float)
        return CUDA_ERROR_INVALID_VALUE;
    result = fill_in(&map, tensorRank, globalDim, globalStrides, boxDim, elementStrides);
    if (result != CUDA_SUCCESS)
        return result;
    map.rank = (uint8_t)tensorRank;
    map.element = types[tensorDataType].element;
    map.type = types[tensorDataType].type;
    map.swizzle = (uint8_t)swizzle;
    map.fill = oobFill ? types[tensorDataType].nan : 0;
    map.address = (uintptr_t)globalAddress;
    row = boxDim[0] * map.element;
    if (row % 16 != 0 || (swizzle && row > vgpu_tensor_span(map.swizzle)))
        return CUDA_ERROR_INVALID_VALUE;
    memset(tensorMap, 0, sizeof(*tensorMap));
    memcpy(tensorMap, &map, sizeof(map));
    return CUDA_SUCCESS;
}

CUresult cuTensorMapReplaceAddress(CUtensorMap *tensorMap, void *globalAddress)
{
    struct vgpu_tensor_map map;
    CUresult result = vgpu_driver_ready();

    if (result != CUDA_SUCCESS)
        return result;
    if (!tensorMap || !globalAddress || (uintptr_t)globalAddress % 16 != 0)
        return CUDA_ERROR_INVALID_VALUE;
    memcpy(&map, tensorMap, sizeof(map));
    if (map.magic != VGPU_TENSOR_MAP_MAGIC)
        return CUDA_ERROR_INVALID_VALUE;
    map.address = (uintptr_t)globalAddress;
    memcpy(tensorMap, &map, sizeof(map));
    return CUDA_SUCCESS;
}
