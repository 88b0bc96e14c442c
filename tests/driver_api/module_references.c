/* SPDX-License-Identifier: MIT */
/* Texture and surface references of modules: kernels read what is bound to the names they use. */
#include <string.h>

#define CUDA_ENABLE_DEPRECATED
#include "tests/driver_api/check.h"
#include "tests/driver_api/references.h"

enum { COUNT = 32, WIDTH = 16, HEIGHT = 8, SKIPPED = 77 };

/* ---- what kernels read ---- */

static float sample(CUmodule module, float x, float y, float level)
{
    CUdeviceptr out = check_memory(sizeof(float));
    void *parameters[] = {&out, &x, &y, &level};
    float value;
    CHECK(cuLaunchKernel(check_function(module, "sample"), 1, 1, 1, 1, 1, 1, 0, NULL, parameters,
                         NULL));
    CHECK(cuMemcpyDtoH(&value, out, sizeof(value)));
    CHECK(cuMemFree(out));
    return value;
}

static int is_close(float value, float expected)
{
    return value - expected < 0.02f && expected - value < 0.02f;
}

static CUdeviceptr line_of(float first)
{
    float values[COUNT];
    CUdeviceptr memory = check_memory(sizeof(values));
    for (int i = 0; i < COUNT; i++)
        values[i] = first + (float)i;
    CHECK(cuMemcpyHtoD(memory, values, sizeof(values)));
    return memory;
}

/* The first row of a plane is first, first + 1 and so on, and each further one is 100 more. */
static void fill_array(CUarray array, int width, int height, float first)
{
    float values[WIDTH * HEIGHT];
    CUDA_MEMCPY2D copy;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++)
            values[y * width + x] = first + (float)(x + 100 * y);
    }
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = values;
    copy.srcPitch = (size_t)width * sizeof(float);
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = array;
    copy.WidthInBytes = (size_t)width * sizeof(float);
    copy.Height = (size_t)height;
    CHECK(cuMemcpy2D(&copy));
}

static CUarray make_array(float first, unsigned int flags)
{
    const CUDA_ARRAY3D_DESCRIPTOR is = {WIDTH, HEIGHT, 0, CU_AD_FORMAT_FLOAT, 1, flags};
    CUarray array;
    CHECK(cuArray3DCreate(&array, &is));
    fill_array(array, WIDTH, HEIGHT, first);
    return array;
}

/* ---- tests ---- */

static void test_names(CUmodule module)
{
    CUtexref texture, same;
    CUsurfref surface;
    CUarray array = make_array(0, 0), said = NULL;
    CHECK(cuModuleGetTexRef(&texture, module, "plane"));
    CHECK(cuModuleGetSurfRef(&surface, module, "canvas"));
    EXPECT(cuModuleGetTexRef(&same, module, "nothing") == CUDA_ERROR_NOT_FOUND);
    EXPECT(cuModuleGetSurfRef(&surface, module, "nothing") == CUDA_ERROR_NOT_FOUND);
    EXPECT(cuModuleGetTexRef(&same, module, "number") == CUDA_ERROR_NOT_FOUND);
    EXPECT(cuModuleGetTexRef(NULL, module, "plane") == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleGetTexRef(&same, module, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleGetSurfRef(NULL, module, "canvas") == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleGetSurfRef(&surface, module, NULL) == CUDA_ERROR_INVALID_VALUE);

    /* There is one of a name, whoever asks for it. */
    CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    CHECK(cuTexRefSetFilterMode(texture, CU_TR_FILTER_MODE_LINEAR));
    CHECK(cuModuleGetTexRef(&same, module, "plane"));
    CHECK(cuTexRefGetArray(&said, same));
    EXPECT(said == array);
    CHECK(cuTexRefSetFilterMode(same, CU_TR_FILTER_MODE_POINT));
    CUfilter_mode filter = CU_TR_FILTER_MODE_LINEAR;
    CHECK(cuTexRefGetFilterMode(&filter, texture));
    EXPECT(filter == CU_TR_FILTER_MODE_POINT);
    CHECK(cuArrayDestroy(array));
}

/* The names of one module are not those of another one of the same image. */
static void test_modules(CUmodule module)
{
    CUarray first = make_array(1000, 0), second = make_array(2000, 0), said = NULL;
    CUtexref texture, other;
    CUmodule again;
    CHECK(cuModuleLoadData(&again, references_ptx));
    CHECK(cuModuleGetTexRef(&texture, module, "plane"));
    CHECK(cuModuleGetTexRef(&other, again, "plane"));
    EXPECT(cuTexRefGetArray(&said, other) == CUDA_ERROR_INVALID_VALUE); /* nothing yet */
    CHECK(cuTexRefSetArray(texture, first, CU_TRSA_OVERRIDE_FORMAT));
    CHECK(cuTexRefSetArray(other, second, CU_TRSA_OVERRIDE_FORMAT));
    EXPECT(sample(module, 3.5f, 2.5f, 0) == 1203);
    EXPECT(sample(again, 3.5f, 2.5f, 0) == 2203);
    CHECK(cuModuleUnload(again));
    EXPECT(sample(module, 4.5f, 2.5f, 0) == 1204);
    CHECK(cuArrayDestroy(first));
    CHECK(cuArrayDestroy(second));
}

static void test_reading(CUmodule module)
{
    CUarray array = make_array(0, 0);
    CUtexref texture;
    CHECK(cuModuleGetTexRef(&texture, module, "plane"));
    CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    EXPECT(sample(module, 5.5f, 3.5f, 0) == 305);
    CHECK(cuTexRefSetFilterMode(texture, CU_TR_FILTER_MODE_LINEAR));
    EXPECT(is_close(sample(module, 6.0f, 4.0f, 0), 355.5f));
    CHECK(cuTexRefSetFilterMode(texture, CU_TR_FILTER_MODE_POINT));
    CHECK(cuTexRefSetAddressMode(texture, 0, CU_TR_ADDRESS_MODE_CLAMP));
    CHECK(cuTexRefSetAddressMode(texture, 1, CU_TR_ADDRESS_MODE_CLAMP));
    EXPECT(sample(module, 99.5f, -7.5f, 0) == WIDTH - 1);
    CHECK(cuTexRefSetFlags(texture, CU_TRSF_NORMALIZED_COORDINATES));
    CHECK(cuTexRefSetAddressMode(texture, 0, CU_TR_ADDRESS_MODE_WRAP));
    EXPECT(sample(module, 1.0f + 2.5f / WIDTH, 1.5f / HEIGHT, 0) == 102);
    CHECK(cuTexRefSetFlags(texture, 0));
    CHECK(cuTexRefSetAddressMode(texture, 0, CU_TR_ADDRESS_MODE_CLAMP));
    CHECK(cuArrayDestroy(array));
}

static void test_pitched_memory(CUmodule module)
{
    const CUDA_ARRAY_DESCRIPTOR is = {
        .Width = WIDTH, .Height = HEIGHT, .Format = CU_AD_FORMAT_FLOAT, .NumChannels = 1};
    CUarray array = make_array(7, 0), bound;
    CUdeviceptr memory, said = 0;
    CUtexref texture;
    size_t pitch;
    int alignment, pitch_alignment;
    float row[WIDTH];
    CHECK(cuDeviceGetAttribute(&alignment, CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 0));
    CHECK(cuDeviceGetAttribute(&pitch_alignment, CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT, 0));
    CHECK(cuMemAllocPitch(&memory, &pitch, WIDTH * sizeof(float), HEIGHT + 1, 4));
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++)
            row[x] = (float)(5000 + x + 100 * y);
        CHECK(cuMemcpyHtoD(memory + (size_t)y * pitch, row, sizeof(row)));
    }
    CHECK(cuModuleGetTexRef(&texture, module, "plane"));
    CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    EXPECT(cuTexRefGetAddress(&said, texture) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuTexRefSetAddress2D(texture, &is, memory + 4, pitch) == CUDA_ERROR_INVALID_VALUE);
    if (pitch_alignment > 1)
        EXPECT(cuTexRefSetAddress2D(texture, &is, memory, pitch + 1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuTexRefSetAddress2D(texture, &is, memory, pitch));
    CHECK(cuTexRefGetAddress(&said, texture));
    EXPECT(said == memory && memory % (CUdeviceptr)alignment == 0);
    EXPECT(cuTexRefGetArray(&bound, texture) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(sample(module, 2.5f, 1.5f, 0) == 5102);
    EXPECT(sample(module, WIDTH - 0.5f, HEIGHT - 0.5f, 0) == 5000 + WIDTH - 1 + 100 * (HEIGHT - 1));
    CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    CHECK(cuMemFree(memory));
    EXPECT(sample(module, 2.5f, 1.5f, 0) == 109);
    CHECK(cuArrayDestroy(array));
}

static void test_mipmaps(CUmodule module)
{
    const CUDA_ARRAY3D_DESCRIPTOR is = {WIDTH, HEIGHT, 0, CU_AD_FORMAT_FLOAT, 1, 0};
    CUmipmappedArray mipmap, said = NULL;
    CUarray level, array = make_array(0, 0);
    CUfilter_mode filter = CU_TR_FILTER_MODE_LINEAR;
    CUtexref texture;
    CHECK(cuMipmappedArrayCreate(&mipmap, &is, 2));
    for (unsigned int i = 0; i < 2; i++) {
        CHECK(cuMipmappedArrayGetLevel(&level, mipmap, i));
        fill_array(level, WIDTH >> i, HEIGHT >> i, (float)(1000 * (i + 1)));
    }
    CHECK(cuModuleGetTexRef(&texture, module, "plane"));
    CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    EXPECT(cuTexRefGetMipmappedArray(&said, texture) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuTexRefSetMipmappedArray(texture, mipmap, 0));
    CHECK(cuTexRefGetMipmappedArray(&said, texture));
    EXPECT(said == mipmap);
    CHECK(cuTexRefSetFlags(texture, CU_TRSF_NORMALIZED_COORDINATES));
    CHECK(cuTexRefSetMipmappedArray(texture, mipmap, CU_TRSA_OVERRIDE_FORMAT));
    CHECK(cuTexRefGetMipmappedArray(&said, texture));
    EXPECT(said == mipmap);
    EXPECT(cuTexRefGetArray(&level, texture) == CUDA_ERROR_INVALID_VALUE);

    /* Levels are read with coordinates from 0 to 1: (5.5, 3.5) of the large one. */
    const float x = 5.5f / WIDTH, y = 3.5f / HEIGHT;
    CHECK(cuTexRefSetMipmapLevelClamp(texture, 0.0f, 1.0f));
    CHECK(cuTexRefSetMipmapFilterMode(texture, CU_TR_FILTER_MODE_POINT));
    CHECK(cuTexRefGetMipmapFilterMode(&filter, texture));
    EXPECT(filter == CU_TR_FILTER_MODE_POINT);
    EXPECT(sample(module, x, y, 1.0f) == 2102);
    EXPECT(sample(module, x, y, 0.25f) == 1305);
    CHECK(cuTexRefSetMipmapFilterMode(texture, CU_TR_FILTER_MODE_LINEAR));
    CHECK(cuTexRefGetMipmapFilterMode(&filter, texture));
    EXPECT(filter == CU_TR_FILTER_MODE_LINEAR);
    EXPECT(is_close(sample(module, x, y, 0.25f), 1305 + (2102 - 1305) * 0.25f));
    CHECK(cuTexRefSetMipmapLevelClamp(texture, 1.0f, 1.0f));
    EXPECT(sample(module, x, y, 0.25f) == 2102);

    CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
    CHECK(cuTexRefSetFlags(texture, 0));
    EXPECT(cuTexRefGetMipmappedArray(&said, texture) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuMipmappedArrayDestroy(mipmap));
    CHECK(cuArrayDestroy(array));
}

/* Levels bring their format along, whatever was said before. */
static void test_format(void)
{
    const CUDA_ARRAY3D_DESCRIPTOR is = {WIDTH, HEIGHT, 0, CU_AD_FORMAT_HALF, 2, 0};
    CUarray_format format = CU_AD_FORMAT_FLOAT;
    CUmipmappedArray mipmap;
    CUtexref texture;
    int channels = 0;
    CHECK(cuMipmappedArrayCreate(&mipmap, &is, 2));
    CHECK(cuTexRefCreate(&texture));
    CHECK(cuTexRefSetFlags(texture, CU_TRSF_NORMALIZED_COORDINATES));
    CHECK(cuTexRefSetFormat(texture, CU_AD_FORMAT_UNSIGNED_INT8, 4));
    CHECK(cuTexRefSetMipmappedArray(texture, mipmap, CU_TRSA_OVERRIDE_FORMAT));
    CHECK(cuTexRefGetFormat(&format, &channels, texture));
    EXPECT(format == CU_AD_FORMAT_HALF && channels == 2);
    CHECK(cuTexRefDestroy(texture));
    CHECK(cuMipmappedArrayDestroy(mipmap));
}

static float value_in(CUarray array, size_t x, size_t y)
{
    CUDA_MEMCPY2D copy;
    float value = -1;
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = array;
    copy.srcXInBytes = x * sizeof(float);
    copy.srcY = y;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = &value;
    copy.WidthInBytes = sizeof(float);
    copy.Height = 1;
    CHECK(cuMemcpy2D(&copy));
    return value;
}

static void copy_row(CUmodule module)
{
    CUdeviceptr unused = 0;
    void *parameters[] = {&unused};
    CHECK(cuLaunchKernel(check_function(module, "copy_row"), 1, 1, 1, WIDTH, 1, 1, 0, NULL,
                         parameters, NULL));
}

static void test_surface(CUmodule module)
{
    CUarray plain = make_array(0, 0), said = NULL;
    CUarray first = make_array(3, CUDA_ARRAY3D_SURFACE_LDST);
    CUarray second = make_array(50, CUDA_ARRAY3D_SURFACE_LDST);
    CUsurfref surface, same;
    CHECK(cuModuleGetSurfRef(&surface, module, "canvas"));
    EXPECT(cuSurfRefGetArray(&said, surface) == CUDA_ERROR_INVALID_VALUE); /* nothing yet */
    EXPECT(cuSurfRefSetArray(surface, plain, 0) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuSurfRefSetArray(surface, second, 1) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuSurfRefSetArray(surface, first, 0));
    CHECK(cuSurfRefGetArray(&said, surface));
    EXPECT(said == first);
    copy_row(module);
    CHECK(cuSurfRefSetArray(surface, second, 0)); /* for what is launched from here on */
    copy_row(module);
    for (size_t x = 0; x < WIDTH; x++) {
        EXPECT(value_in(first, x, 1) == 10.0f * (3.0f + (float)x));
        EXPECT(value_in(second, x, 1) == 10.0f * (50.0f + (float)x));
    }
    CHECK(cuModuleGetSurfRef(&same, module, "canvas"));
    CHECK(cuSurfRefGetArray(&said, same));
    EXPECT(said == second);
    CHECK(cuArrayDestroy(plain));
    CHECK(cuArrayDestroy(first));
    CHECK(cuArrayDestroy(second));
}

/* The launches that references are as old as. */
static void test_legacy_launches(CUmodule module)
{
    CUfunction scale = check_function(module, "scale_line");
    CUdeviceptr memory = line_of(4), other = line_of(900), out = check_memory(COUNT * 4);
    float values[COUNT];
    CUtexref line;
    CHECK(cuModuleGetTexRef(&line, module, "line"));
    CHECK(cuTexRefSetFormat(line, CU_AD_FORMAT_FLOAT, 1));
    CHECK(cuTexRefSetAddress(NULL, line, memory, COUNT * 4));
    CHECK(cuFuncSetBlockShape(scale, COUNT, 1, 1));
    CHECK(cuParamSetv(scale, 0, &out, sizeof(out)));
    CHECK(cuParamSetf(scale, 8, 0.5f));
    CHECK(cuParamSetSize(scale, 12));
    CHECK(cuParamSetTexRef(scale, CU_PARAM_TR_DEFAULT, line));
    CHECK(cuParamSetTexRef(scale, 0, line)); /* that it has units, too */
    CHECK(cuLaunch(scale));
    CHECK(cuMemcpyDtoH(values, out, sizeof(values)));
    for (int i = 0; i < COUNT; i++)
        EXPECT(values[i] == 0.5f * (float)(4 + i));
    CHECK(cuParamSetf(scale, 8, -3.0f));
    CHECK(cuTexRefSetAddress(NULL, line, other, COUNT * 4));
    CHECK(cuLaunchGrid(scale, 1, 1));
    CHECK(cuMemcpyDtoH(values, out, sizeof(values)));
    for (int i = 0; i < COUNT; i++)
        EXPECT(values[i] == -3.0f * (float)(900 + i));
    CHECK(cuMemFree(memory));
    CHECK(cuMemFree(other));
    CHECK(cuMemFree(out));
}

/* References go with their module, whatever is bound to them. */
static void test_many_modules(void)
{
    CUarray array = make_array(0, CUDA_ARRAY3D_SURFACE_LDST);
    for (int i = 0; i < 200; i++) {
        CUmodule module;
        CUtexref texture;
        CUsurfref surface;
        CHECK(cuModuleLoadData(&module, references_ptx));
        CHECK(cuModuleGetTexRef(&texture, module, "plane"));
        CHECK(cuModuleGetSurfRef(&surface, module, "canvas"));
        CHECK(cuTexRefSetArray(texture, array, CU_TRSA_OVERRIDE_FORMAT));
        CHECK(cuSurfRefSetArray(surface, array, 0));
        CHECK(cuModuleUnload(module));
    }
    CHECK(cuArrayDestroy(array));
}

int main(void)
{
    CUmodule module;
    CUtexref texture;
    check_context();
    CHECK(cuModuleLoadData(&module, references_ptx));
    CUresult error = cuModuleGetTexRef(&texture, module, "line");
    if (error == CUDA_ERROR_NOT_SUPPORTED) {
        printf("skipped: this driver has no texture references\n");
        return SKIPPED;
    }
    CHECK(error);
    test_surface(module);
    test_names(module);
    test_modules(module);
    test_reading(module);
    test_pitched_memory(module);
    test_mipmaps(module);
    test_format();
    test_legacy_launches(module);
    test_many_modules();
    CHECK(cuModuleUnload(module));
    printf("module references: all is well\n");
    return 0;
}
