/* SPDX-License-Identifier: MIT */
/* Tensor maps: what is encoded depends on all that is said, and on nothing else. */
#include <string.h>

#include "tests/driver_api/check.h"

enum { SKIPPED = 77, WIDTH = 256, HEIGHT = 128 };

struct tiling {
    cuuint64_t dimensions[2], strides[1];
    cuuint32_t box[2], steps[2];
};

static const struct tiling plain = {{WIDTH, HEIGHT}, {WIDTH * 4}, {32, 16}, {1, 1}};

static CUresult encode(CUtensorMap *map, CUdeviceptr memory, const struct tiling *tiling,
                       cuuint32_t rank, CUtensorMapSwizzle swizzle)
{
    memset(map, 0, sizeof(*map));
    return cuTensorMapEncodeTiled(
        map, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, rank, (void *)memory, tiling->dimensions,
        tiling->strides, tiling->box, tiling->steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

static void test_tiled(CUdeviceptr memory)
{
    CUtensorMap first, second;
    struct tiling other = plain;
    CHECK(encode(&first, memory, &plain, 2, CU_TENSOR_MAP_SWIZZLE_NONE));
    CHECK(encode(&second, memory, &plain, 2, CU_TENSOR_MAP_SWIZZLE_NONE));
    EXPECT(memcmp(&first, &second, sizeof(first)) == 0);
    CHECK(encode(&second, memory, &plain, 2, CU_TENSOR_MAP_SWIZZLE_128B));
    EXPECT(memcmp(&first, &second, sizeof(first)) != 0);
    other.box[1] = 8;
    CHECK(encode(&second, memory, &other, 2, CU_TENSOR_MAP_SWIZZLE_NONE));
    EXPECT(memcmp(&first, &second, sizeof(first)) != 0);
    /* Only the address is another. */
    CHECK(encode(&second, memory + 4096, &plain, 2, CU_TENSOR_MAP_SWIZZLE_NONE));
    EXPECT(memcmp(&first, &second, sizeof(first)) != 0);
    CHECK(cuTensorMapReplaceAddress(&first, (void *)(memory + 4096)));
    EXPECT(memcmp(&first, &second, sizeof(first)) == 0);
}

static void test_im2col(CUdeviceptr memory)
{
    static const cuuint64_t dimensions[] = {64, 16, 16, 2}, strides[] = {256, 4096, 65536};
    static const int lower[] = {-1, -1}, upper[] = {1, 1};
    static const cuuint32_t steps[] = {1, 1, 1, 1};
    CUtensorMap map;
    CUresult error;
    memset(&map, 0, sizeof(map));
    error = cuTensorMapEncodeIm2col(
        &map, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4, (void *)memory, dimensions, strides, lower, upper,
        32, 64, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    if (error == CUDA_ERROR_NOT_SUPPORTED) /* by the software GPU */
        return;
    CHECK(error);
    EXPECT(map.opaque[0] != 0);
}

static CUresult encode_wide(CUtensorMap *map, CUdeviceptr memory, cuuint32_t rank, int lower,
                            CUtensorMapIm2ColWideMode mode)
{
    static const cuuint64_t dimensions[] = {64, 16, 16, 2}, strides[] = {128, 2048, 32768};
    static const cuuint32_t steps[] = {1, 1, 1, 1};
    memset(map, 0, sizeof(*map));
    return cuTensorMapEncodeIm2colWide(
        map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, rank, (void *)memory, dimensions, strides, lower, 1,
        64, 64, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, mode, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

/* They are encoded for devices whose kernels cannot use them, too. */
static void test_im2col_wide(CUdeviceptr memory)
{
    CUtensorMap map, other;
    CUresult error = encode_wide(&map, memory, 4, -1, CU_TENSOR_MAP_IM2COL_WIDE_MODE_W);
    if (error == CUDA_ERROR_NOT_SUPPORTED) /* by the software GPU */
        return;
    CHECK(error);
    EXPECT(map.opaque[0] != 0);
    CHECK(encode_wide(&other, memory, 4, -2, CU_TENSOR_MAP_IM2COL_WIDE_MODE_W));
    EXPECT(memcmp(&map, &other, sizeof(map)) != 0);
    CHECK(encode_wide(&other, memory, 4, -1, CU_TENSOR_MAP_IM2COL_WIDE_MODE_W128));
    EXPECT(encode_wide(&other, memory, 2, -1, CU_TENSOR_MAP_IM2COL_WIDE_MODE_W) ==
           CUDA_ERROR_INVALID_VALUE);
}

static void test_wrong_values(CUdeviceptr memory)
{
    CUtensorMap map;
    struct tiling other = plain;
    EXPECT(encode(&map, memory + 1, &plain, 2, CU_TENSOR_MAP_SWIZZLE_NONE) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(encode(&map, memory, &plain, 0, CU_TENSOR_MAP_SWIZZLE_NONE) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(encode(&map, memory, &plain, 6, CU_TENSOR_MAP_SWIZZLE_NONE) == CUDA_ERROR_INVALID_VALUE);
    other.box[0] = 257;
    EXPECT(encode(&map, memory, &other, 2, CU_TENSOR_MAP_SWIZZLE_NONE) == CUDA_ERROR_INVALID_VALUE);
}

int main(void)
{
    int supported = 0;
    check_context();
    CHECK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED, 0));
    if (!supported)
        return SKIPPED;
    CUdeviceptr memory = check_memory(1 << 20);
    test_tiled(memory);
    test_im2col(memory);
    test_im2col_wide(memory);
    test_wrong_values(memory);
    return 0;
}
