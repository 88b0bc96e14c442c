/* SPDX-License-Identifier: MIT */
/* Texture references, which are deprecated: what is set is what is told. */
#include <string.h>

#define CUDA_ENABLE_DEPRECATED
#include "tests/driver_api/check.h"

enum { SKIPPED = 77 };

static void test_state(CUtexref texture)
{
    CUarray_format format = CU_AD_FORMAT_HALF;
    CUaddress_mode mode = CU_TR_ADDRESS_MODE_WRAP;
    CUfilter_mode filter = CU_TR_FILTER_MODE_POINT;
    int channels = 0, anisotropy = 0;
    unsigned int flags = 0;
    float bias = 0, least = 0, most = 0;
    CHECK(cuTexRefSetFormat(texture, CU_AD_FORMAT_FLOAT, 2));
    CHECK(cuTexRefGetFormat(&format, &channels, texture));
    EXPECT(format == CU_AD_FORMAT_FLOAT && channels == 2);
    CHECK(cuTexRefSetAddressMode(texture, 1, CU_TR_ADDRESS_MODE_CLAMP));
    CHECK(cuTexRefGetAddressMode(&mode, texture, 1));
    EXPECT(mode == CU_TR_ADDRESS_MODE_CLAMP);
    CHECK(cuTexRefSetFilterMode(texture, CU_TR_FILTER_MODE_LINEAR));
    CHECK(cuTexRefGetFilterMode(&filter, texture));
    EXPECT(filter == CU_TR_FILTER_MODE_LINEAR);
    CHECK(cuTexRefSetFlags(texture, CU_TRSF_NORMALIZED_COORDINATES));
    CHECK(cuTexRefGetFlags(&flags, texture));
    EXPECT(flags == CU_TRSF_NORMALIZED_COORDINATES);
    CHECK(cuTexRefSetMaxAnisotropy(texture, 4));
    CHECK(cuTexRefGetMaxAnisotropy(&anisotropy, texture));
    EXPECT(anisotropy == 4);
    CHECK(cuTexRefSetMipmapLevelBias(texture, 0.5f));
    CHECK(cuTexRefGetMipmapLevelBias(&bias, texture));
    EXPECT(bias == 0.5f);
    CHECK(cuTexRefSetMipmapLevelClamp(texture, 1.0f, 3.0f));
    CHECK(cuTexRefGetMipmapLevelClamp(&least, &most, texture));
    EXPECT(least == 1.0f && most == 3.0f);
}

static void test_border(CUtexref texture)
{
    float color[4] = {0.25f, 0.5f, 0.75f, 1.0f}, said[4] = {0};
    CHECK(cuTexRefSetBorderColor(texture, color));
    CHECK(cuTexRefGetBorderColor(said, texture));
    for (int i = 0; i < 4; i++)
        EXPECT(said[i] == color[i]);
}

static void test_bindings(CUtexref texture)
{
    const CUDA_ARRAY_DESCRIPTOR is = {
        .Width = 64, .Height = 64, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    CUarray array, bound = NULL;
    CUdeviceptr memory = check_memory(65536), said = 0;
    size_t offset = 99;
    CHECK(cuArrayCreate(&array, &is));
    CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    CHECK(cuTexRefGetArray(&bound, texture));
    EXPECT(bound == array);
    CHECK(cuTexRefSetFormat(texture, CU_AD_FORMAT_FLOAT, 1));
    CHECK(cuTexRefSetAddress(&offset, texture, memory, 65536));
    EXPECT(offset == 0);
    CHECK(cuTexRefGetAddress(&said, texture));
    EXPECT(said == memory);
    EXPECT(cuTexRefSetArray(texture, NULL, CU_TRSA_OVERRIDE_FORMAT) != CUDA_SUCCESS);
    CHECK(cuArrayDestroy(array));
    CHECK(cuMemFree(memory));
}

int main(void)
{
    CUtexref texture;
    check_context();
    CUresult error = cuTexRefCreate(&texture);
    if (error == CUDA_ERROR_NOT_SUPPORTED) {
        printf("skipped: this driver has no texture references\n");
        return SKIPPED;
    }
    CHECK(error);
    test_state(texture);
    test_border(texture);
    test_bindings(texture);
    CHECK(cuTexRefDestroy(texture));
    printf("texture references: all is well\n");
    return 0;
}
