/* SPDX-License-Identifier: MIT */
/* What arrays need that others bring the memory for, and that other arrays are not asked. */
#include <string.h>

#include "tests/driver_api/check.h"

static int supports(CUdevice_attribute attribute)
{
    int value = 0;
    CHECK(cuDeviceGetAttribute(&value, attribute, 0));
    return value;
}

static CUDA_ARRAY3D_DESCRIPTOR shape(unsigned int flags)
{
    return (CUDA_ARRAY3D_DESCRIPTOR){1024, 1024, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1, flags};
}

static void test_plain(void)
{
    CUDA_ARRAY3D_DESCRIPTOR is = shape(0);
    CUDA_ARRAY_MEMORY_REQUIREMENTS needs;
    CUDA_ARRAY_SPARSE_PROPERTIES tiles;
    CUmipmappedArray mipmap;
    CUarray array, level;
    CHECK(cuArray3DCreate(&array, &is));
    CHECK(cuMipmappedArrayCreate(&mipmap, &is, 3));
    CHECK(cuMipmappedArrayGetLevel(&level, mipmap, 1));
    EXPECT(cuArrayGetMemoryRequirements(&needs, array, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMipmappedArrayGetMemoryRequirements(&needs, mipmap, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuArrayGetSparseProperties(&tiles, array) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuArrayGetSparseProperties(&tiles, level) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMipmappedArrayGetSparseProperties(&tiles, mipmap) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMipmappedArrayDestroy(mipmap));
    CHECK(cuArrayDestroy(array));
}

/* There are such arrays where the device says so. */
static void test_deferred(void)
{
    CUDA_ARRAY3D_DESCRIPTOR is = shape(CUDA_ARRAY3D_DEFERRED_MAPPING);
    CUDA_ARRAY_MEMORY_REQUIREMENTS whole = {0}, levels = {0};
    CUmipmappedArray mipmap;
    CUarray array;
    if (!supports(CU_DEVICE_ATTRIBUTE_DEFERRED_MAPPING_CUDA_ARRAY_SUPPORTED)) {
        EXPECT(cuArray3DCreate(&array, &is) != CUDA_SUCCESS);
        EXPECT(cuMipmappedArrayCreate(&mipmap, &is, 3) != CUDA_SUCCESS);
        return;
    }
    CHECK(cuArray3DCreate(&array, &is));
    CHECK(cuArrayGetMemoryRequirements(&whole, array, 0));
    EXPECT(whole.size >= (size_t)1024 * 1024 * 4 && whole.alignment > 0);
    CHECK(cuMipmappedArrayCreate(&mipmap, &is, 3));
    CHECK(cuMipmappedArrayGetMemoryRequirements(&levels, mipmap, 0));
    EXPECT(levels.size > whole.size && levels.alignment > 0);
    CHECK(cuMipmappedArrayDestroy(mipmap));
    CHECK(cuArrayDestroy(array));
}

static void test_sparse(void)
{
    CUDA_ARRAY3D_DESCRIPTOR is = shape(CUDA_ARRAY3D_SPARSE);
    CUDA_ARRAY_SPARSE_PROPERTIES of_array, of_mipmap;
    CUmipmappedArray mipmap;
    CUarray array;
    if (!supports(CU_DEVICE_ATTRIBUTE_SPARSE_CUDA_ARRAY_SUPPORTED)) {
        EXPECT(cuArray3DCreate(&array, &is) != CUDA_SUCCESS);
        EXPECT(cuMipmappedArrayCreate(&mipmap, &is, 3) != CUDA_SUCCESS);
        return;
    }
    memset(&of_array, 0xff, sizeof(of_array));
    memset(&of_mipmap, 0xff, sizeof(of_mipmap));
    CHECK(cuArray3DCreate(&array, &is));
    CHECK(cuArrayGetSparseProperties(&of_array, array));
    EXPECT(of_array.miptailFirstLevel == 0);
    CHECK(cuMipmappedArrayCreate(&mipmap, &is, 3));
    CHECK(cuMipmappedArrayGetSparseProperties(&of_mipmap, mipmap));
    EXPECT(of_array.tileExtent.width > 0 &&
           of_array.tileExtent.width == of_mipmap.tileExtent.width);
    EXPECT(of_array.tileExtent.height > 0 &&
           of_array.tileExtent.height == of_mipmap.tileExtent.height);
    CHECK(cuMipmappedArrayDestroy(mipmap));
    CHECK(cuArrayDestroy(array));
}

int main(void)
{
    check_context();
    test_plain();
    test_deferred();
    test_sparse();
    printf("array_memory: all is well\n");
    return 0;
}
