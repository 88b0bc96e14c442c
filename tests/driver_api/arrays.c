/* SPDX-License-Identifier: MIT */
/* Arrays of all shapes, copies from and to them, mipmapped arrays. */
#include <string.h>

#include "tests/driver_api/check.h"

static CUDA_ARRAY3D_DESCRIPTOR shape(size_t width, size_t height, size_t depth,
                                     CUarray_format format, unsigned int channels,
                                     unsigned int flags)
{
    return (CUDA_ARRAY3D_DESCRIPTOR){width, height, depth, format, channels, flags};
}

static unsigned char *pattern(size_t bytes, unsigned int seed)
{
    unsigned char *memory = malloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        memory[i] = (unsigned char)((i * 131 + (i >> 8) * 7 + seed) & 0xff);
    return memory;
}

/* Up in one piece, down in one piece and in part. */
static void round_trip(CUDA_ARRAY3D_DESCRIPTOR is, size_t element)
{
    size_t row = is.Width * element, height = is.Height ? is.Height : 1;
    size_t depth = is.Depth ? is.Depth : 1, bytes = row * height * depth;
    unsigned char *up = pattern(bytes, (unsigned int)bytes), *down = calloc(1, bytes);
    CUarray array;
    CUDA_ARRAY3D_DESCRIPTOR said;
    CUDA_MEMCPY3D copy;
    CHECK(cuArray3DCreate(&array, &is));
    CHECK(cuArray3DGetDescriptor(&said, array));
    EXPECT(said.Width == is.Width && said.Height == is.Height && said.Depth == is.Depth &&
           said.Format == is.Format && said.NumChannels == is.NumChannels);
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = up;
    copy.srcPitch = row;
    copy.srcHeight = height;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = array;
    copy.WidthInBytes = row;
    copy.Height = height;
    copy.Depth = depth;
    CHECK(cuMemcpy3D(&copy));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = array;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = down;
    copy.dstPitch = row;
    copy.dstHeight = height;
    copy.WidthInBytes = row;
    copy.Height = height;
    copy.Depth = depth;
    CHECK(cuMemcpy3D(&copy));
    EXPECT(memcmp(up, down, bytes) == 0);
    memset(down, 0, bytes);
    copy.srcXInBytes = element;
    copy.srcY = height / 2;
    copy.srcZ = depth / 2;
    copy.WidthInBytes = row - element;
    copy.Height = height - height / 2;
    copy.Depth = depth - depth / 2;
    CHECK(cuMemcpy3D(&copy));
    for (size_t z = 0; z < copy.Depth; z++) {
        for (size_t y = 0; y < copy.Height; y++)
            EXPECT(memcmp(down + (z * height + y) * row,
                          up + ((z + copy.srcZ) * height + y + copy.srcY) * row + element,
                          copy.WidthInBytes) == 0);
    }
    CHECK(cuArrayDestroy(array));
    free(up);
    free(down);
}

static void test_shapes(void)
{
    round_trip(shape(100, 0, 0, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0), 1);
    round_trip(shape(1000, 0, 0, CU_AD_FORMAT_FLOAT, 4, 0), 16);
    round_trip(shape(33, 17, 0, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0), 4);
    round_trip(shape(640, 480, 0, CU_AD_FORMAT_HALF, 2, 0), 4);
    round_trip(shape(1500, 1100, 0, CU_AD_FORMAT_FLOAT, 1, 0), 4); /* more than a few MiB */
    round_trip(shape(21, 13, 7, CU_AD_FORMAT_SIGNED_INT16, 1, 0), 2);
    round_trip(shape(64, 0, 5, CU_AD_FORMAT_UNSIGNED_INT32, 1, CUDA_ARRAY3D_LAYERED), 4);
    round_trip(shape(64, 32, 5, CU_AD_FORMAT_FLOAT, 2, CUDA_ARRAY3D_LAYERED), 8);
    round_trip(shape(16, 16, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP), 4);
    round_trip(shape(64, 64, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_SURFACE_LDST), 4);
}

static void test_line_copies(void)
{
    const CUDA_ARRAY_DESCRIPTOR line = {
        .Width = 4096, .Format = CU_AD_FORMAT_UNSIGNED_INT8, .NumChannels = 1};
    CUarray first, second;
    CUDA_ARRAY_DESCRIPTOR said;
    unsigned char *up = pattern(4096, 3), *down = calloc(1, 4096);
    CUdeviceptr memory = check_memory(4096);
    CHECK(cuArrayCreate(&first, &line));
    CHECK(cuArrayCreate(&second, &line));
    CHECK(cuArrayGetDescriptor(&said, first));
    EXPECT(said.Width == 4096 && said.Height == 0 && said.NumChannels == 1);
    CHECK(cuMemcpyHtoA(first, 0, up, 4096));
    CHECK(cuMemcpyAtoA(second, 100, first, 200, 3000));
    CHECK(cuMemcpyAtoD(memory + 8, second, 100, 3000));
    CHECK(cuMemcpyDtoH(down, memory + 8, 3000));
    EXPECT(memcmp(down, up + 200, 3000) == 0);
    CHECK(cuMemcpyDtoA(second, 1, memory + 8, 50));
    memset(down, 0, 4096);
    CHECK(cuMemcpyAtoH(down, second, 1, 50));
    EXPECT(memcmp(down, up + 200, 50) == 0);
    memset(up, 0x5c, 64);
    CHECK(cuMemcpyHtoAAsync(first, 64, up, 64, NULL));
    CHECK(cuMemcpyAtoHAsync(down, first, 64, 64, NULL));
    CHECK(cuStreamSynchronize(NULL));
    EXPECT(memcmp(down, up, 64) == 0);
    CHECK(cuArrayDestroy(first));
    CHECK(cuArrayDestroy(second));
    CHECK(cuMemFree(memory));
    free(up);
    free(down);
}

/* From pitched device memory and back, in a stream of its own. */
static void test_pitched(void)
{
    const CUDA_ARRAY_DESCRIPTOR is = {
        .Width = 50, .Height = 40, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    unsigned char *up = pattern(200 * 40, 9), *down = calloc(1, 200 * 40);
    CUarray array;
    CUdeviceptr memory;
    CUstream stream;
    size_t pitch;
    CUDA_MEMCPY2D copy;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemAllocPitch(&memory, &pitch, 200, 40, 4));
    CHECK(cuArrayCreate(&array, &is));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = up;
    copy.srcPitch = 200;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = memory;
    copy.dstPitch = pitch;
    copy.WidthInBytes = 200;
    copy.Height = 40;
    CHECK(cuMemcpy2DAsync(&copy, stream));
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = memory;
    copy.srcPitch = pitch;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = array;
    CHECK(cuMemcpy2DAsync(&copy, stream));
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = array;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = down;
    copy.dstPitch = 200;
    CHECK(cuMemcpy2DAsync(&copy, stream));
    CHECK(cuStreamSynchronize(stream));
    EXPECT(memcmp(up, down, 200 * 40) == 0);
    copy.srcXInBytes = 4; /* beyond its right end */
    EXPECT(cuMemcpy2D(&copy) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuArrayDestroy(array));
    CHECK(cuMemFree(memory));
    CHECK(cuStreamDestroy(stream));
    free(up);
    free(down);
}

static void test_mipmaps(void)
{
    const CUDA_ARRAY3D_DESCRIPTOR is = shape(64, 32, 0, CU_AD_FORMAT_FLOAT, 1, 0);
    CUmipmappedArray mipmap;
    CUarray level, again, beyond;
    CUDA_ARRAY3D_DESCRIPTOR said;
    unsigned char *up = pattern(16 * 8 * 4, 1), *down = calloc(1, 16 * 8 * 4);
    CHECK(cuMipmappedArrayCreate(&mipmap, &is, 4));
    CHECK(cuMipmappedArrayGetLevel(&level, mipmap, 2));
    CHECK(cuMipmappedArrayGetLevel(&again, mipmap, 2));
    EXPECT(level == again);
    CHECK(cuArray3DGetDescriptor(&said, level));
    EXPECT(said.Width == 16 && said.Height == 8 && said.Depth == 0);
    CUDA_MEMCPY2D copy;
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = up;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = level;
    copy.WidthInBytes = 64;
    copy.Height = 8;
    CHECK(cuMemcpy2D(&copy));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = level;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = down;
    copy.WidthInBytes = 64;
    copy.Height = 8;
    CHECK(cuMemcpy2D(&copy));
    EXPECT(memcmp(up, down, 16 * 8 * 4) == 0);
    EXPECT(cuMipmappedArrayGetLevel(&beyond, mipmap, 4) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMipmappedArrayDestroy(mipmap));
    CHECK(cuMipmappedArrayCreate(&mipmap, &is, 99)); /* as many as there can be */
    CHECK(cuMipmappedArrayGetLevel(&level, mipmap, 6));
    CHECK(cuArray3DGetDescriptor(&said, level));
    EXPECT(said.Width == 1 && said.Height == 1);
    EXPECT(cuMipmappedArrayGetLevel(&beyond, mipmap, 7) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMipmappedArrayDestroy(mipmap));
    free(up);
    free(down);
}

static void test_refusals(void)
{
    CUDA_ARRAY3D_DESCRIPTOR is = shape(64, 32, 0, CU_AD_FORMAT_FLOAT, 3, 0);
    CUarray array, plane;
    size_t most = 0;
    EXPECT(cuArray3DCreate(&array, &is) == CUDA_ERROR_INVALID_VALUE); /* 3 channels */
    is.NumChannels = 1;
    EXPECT(cuArray3DCreate(NULL, &is) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuArray3DCreate(&array, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuArrayDestroy(NULL) == CUDA_ERROR_INVALID_HANDLE);
    is.Width = 0;
    EXPECT(cuArray3DCreate(&array, &is) == CUDA_ERROR_INVALID_VALUE);
    is.Width = 64;
    CHECK(cuArray3DCreate(&array, &is));
    EXPECT(cuArrayGetPlane(&plane, array, 0) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuArrayDestroy(array));
    CHECK(cuDeviceGetTexture1DLinearMaxWidth(&most, CU_AD_FORMAT_FLOAT, 1, 0));
    EXPECT(most >= 1u << 27);
}

int main(void)
{
    check_context();
    test_shapes();
    test_line_copies();
    test_pitched();
    test_mipmaps();
    test_refusals();
    printf("arrays: all is well\n");
    return 0;
}
