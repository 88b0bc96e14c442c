/* SPDX-License-Identifier: MIT */
/* Texture and surface objects: what kernels read through them, and what is said of them. */
#include <string.h>

#include "tests/driver_api/check.h"
#include "tests/driver_api/textures.h"

enum { WIDTH = 40, HEIGHT = 24, DEPTH = 3, SKIPPED = 77 };

static float value_at(int x, int y, int z)
{
    return (float)(x + 100 * y + 10000 * z);
}

static float *plane_values(int z)
{
    float *values = malloc(WIDTH * HEIGHT * sizeof(float));
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++)
            values[y * WIDTH + x] = value_at(x, y, z);
    }
    return values;
}

static CUarray make_array(size_t depth, unsigned int flags)
{
    const CUDA_ARRAY3D_DESCRIPTOR is = {WIDTH, HEIGHT, depth, CU_AD_FORMAT_FLOAT, 1, flags};
    CUarray array;
    CHECK(cuArray3DCreate(&array, &is));
    for (size_t z = 0; z < (depth ? depth : 1); z++) {
        float *values = plane_values((int)z);
        CUDA_MEMCPY3D copy;
        memset(&copy, 0, sizeof(copy));
        copy.srcMemoryType = CU_MEMORYTYPE_HOST;
        copy.srcHost = values;
        copy.srcPitch = WIDTH * sizeof(float);
        copy.srcHeight = HEIGHT;
        copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
        copy.dstArray = array;
        copy.dstZ = z;
        copy.WidthInBytes = WIDTH * sizeof(float);
        copy.Height = HEIGHT;
        copy.Depth = 1;
        CHECK(cuMemcpy3D(&copy));
        free(values);
    }
    return array;
}

static CUDA_RESOURCE_DESC of_array(CUarray array)
{
    CUDA_RESOURCE_DESC resource;
    memset(&resource, 0, sizeof(resource));
    resource.resType = CU_RESOURCE_TYPE_ARRAY;
    resource.res.array.hArray = array;
    return resource;
}

static CUDA_TEXTURE_DESC how_to_read(CUaddress_mode mode, CUfilter_mode filter, unsigned int flags)
{
    CUDA_TEXTURE_DESC how;
    memset(&how, 0, sizeof(how));
    for (int i = 0; i < 3; i++)
        how.addressMode[i] = mode;
    how.filterMode = filter;
    how.flags = flags;
    return how;
}

static CUtexObject make_texture(const CUDA_RESOURCE_DESC *resource, const CUDA_TEXTURE_DESC *how)
{
    CUtexObject texture;
    CUresult error = cuTexObjectCreate(&texture, resource, how, NULL);
    if (error == CUDA_ERROR_NOT_SUPPORTED) {
        printf("skipped: this driver has no textures\n");
        exit(SKIPPED);
    }
    CHECK(error);
    return texture;
}

/* Runs a kernel over the plane; its first parameter is *memory, where `out` comes from. */
static void run(CUfunction function, CUdeviceptr *memory, void **parameters, float *out)
{
    *memory = check_memory(WIDTH * HEIGHT * sizeof(float));
    CHECK(cuLaunchKernel(function, (WIDTH + 7) / 8, (HEIGHT + 7) / 8, 1, 8, 8, 1, 0, NULL,
                         parameters, NULL));
    CHECK(cuMemcpyDtoH(out, *memory, WIDTH * HEIGHT * sizeof(float)));
    CHECK(cuMemFree(*memory));
}

static void sample(CUmodule module, CUtexObject texture, float shift, float x_scale, float y_scale,
                   float *out)
{
    CUdeviceptr memory;
    int width = WIDTH, height = HEIGHT;
    void *parameters[] = {&memory, &texture, &width, &height, &shift, &x_scale, &y_scale};
    run(check_function(module, "sample_plane"), &memory, parameters, out);
}

static void test_linear_memory(CUmodule module)
{
    enum { COUNT = WIDTH * HEIGHT };
    float *up = plane_values(0), down[COUNT];
    CUdeviceptr memory = check_memory(sizeof(down)), out = check_memory(sizeof(down));
    CUDA_RESOURCE_DESC resource;
    CUDA_TEXTURE_DESC how = how_to_read(CU_TR_ADDRESS_MODE_CLAMP, CU_TR_FILTER_MODE_POINT, 0);
    int count = COUNT;
    memset(&resource, 0, sizeof(resource));
    resource.resType = CU_RESOURCE_TYPE_LINEAR;
    resource.res.linear.devPtr = memory;
    resource.res.linear.format = CU_AD_FORMAT_FLOAT;
    resource.res.linear.numChannels = 1;
    resource.res.linear.sizeInBytes = sizeof(down);
    CHECK(cuMemcpyHtoD(memory, up, sizeof(down)));
    CUtexObject texture = make_texture(&resource, &how);
    void *parameters[] = {&out, &texture, &count};
    CHECK(cuLaunchKernel(check_function(module, "fetch_line"), (COUNT + 63) / 64, 1, 1, 64, 1, 1, 0,
                         NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(down, out, sizeof(down)));
    for (int i = 0; i < COUNT; i++)
        EXPECT(up[i] == down[i]);
    CHECK(cuTexObjectDestroy(texture));
    CHECK(cuTexObjectDestroy(texture)); /* what is none may be destroyed, too */
    CHECK(cuTexObjectDestroy(0));
    CHECK(cuTexObjectDestroy(77777));
    CHECK(cuMemFree(memory));
    CHECK(cuMemFree(out));
    free(up);
}

static void test_planes(CUmodule module)
{
    CUarray array = make_array(0, 0);
    CUDA_RESOURCE_DESC resource = of_array(array);
    CUDA_TEXTURE_DESC how = how_to_read(CU_TR_ADDRESS_MODE_CLAMP, CU_TR_FILTER_MODE_POINT, 0);
    float out[WIDTH * HEIGHT];
    CUtexObject texture = make_texture(&resource, &how);
    sample(module, texture, 0.5f, 1, 1, out);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        EXPECT(out[i] == value_at(i % WIDTH, i / WIDTH, 0));
    CHECK(cuTexObjectDestroy(texture));

    /* Between four texels; at the far edges the last ones are repeated. */
    how = how_to_read(CU_TR_ADDRESS_MODE_CLAMP, CU_TR_FILTER_MODE_LINEAR, 0);
    texture = make_texture(&resource, &how);
    sample(module, texture, 1.0f, 1, 1, out);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        int x = i % WIDTH, y = i / WIDTH;
        float expected =
            value_at(x, y, 0) + (x + 1 < WIDTH ? 0.5f : 0.0f) + (y + 1 < HEIGHT ? 50.0f : 0.0f);
        EXPECT(out[i] - expected < 0.01f && expected - out[i] < 0.01f);
    }
    CHECK(cuTexObjectDestroy(texture));

    /* Outside is the border. */
    how = how_to_read(CU_TR_ADDRESS_MODE_BORDER, CU_TR_FILTER_MODE_POINT, 0);
    how.borderColor[0] = -7.0f;
    texture = make_texture(&resource, &how);
    sample(module, texture, 2.5f, 1, 1, out);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        int x = i % WIDTH + 2, y = i / WIDTH + 2;
        EXPECT(out[i] == (x < WIDTH && y < HEIGHT ? value_at(x, y, 0) : -7.0f));
    }
    CHECK(cuTexObjectDestroy(texture));

    /* Coordinates from 0 to 1, which begin anew. */
    how = how_to_read(CU_TR_ADDRESS_MODE_WRAP, CU_TR_FILTER_MODE_POINT,
                      CU_TRSF_NORMALIZED_COORDINATES);
    texture = make_texture(&resource, &how);
    sample(module, texture, 3.5f, WIDTH, HEIGHT, out);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        EXPECT(out[i] == value_at((i % WIDTH + 3) % WIDTH, (i / WIDTH + 3) % HEIGHT, 0));
    CHECK(cuTexObjectDestroy(texture));
    CHECK(cuArrayDestroy(array));
}

static void test_layers_and_volumes(CUmodule module)
{
    CUarray layers = make_array(DEPTH, CUDA_ARRAY3D_LAYERED), volume = make_array(DEPTH, 0);
    CUDA_RESOURCE_DESC of_layers = of_array(layers), of_volume = of_array(volume);
    CUDA_TEXTURE_DESC how = how_to_read(CU_TR_ADDRESS_MODE_CLAMP, CU_TR_FILTER_MODE_POINT, 0);
    CUtexObject first = make_texture(&of_layers, &how), second = make_texture(&of_volume, &how);
    int width = WIDTH, height = HEIGHT, z = 1;
    float out[WIDTH * HEIGHT];
    CUdeviceptr memory;
    void *of_first[] = {&memory, &first, &width, &height, &z};
    void *of_second[] = {&memory, &second, &width, &height, &z};
    EXPECT(first != second);
    for (z = 0; z < DEPTH; z++) {
        run(check_function(module, "sample_layer"), &memory, of_first, out);
        for (int i = 0; i < WIDTH * HEIGHT; i++)
            EXPECT(out[i] == value_at(i % WIDTH, i / WIDTH, z));
        run(check_function(module, "sample_volume"), &memory, of_second, out);
        for (int i = 0; i < WIDTH * HEIGHT; i++)
            EXPECT(out[i] == value_at(i % WIDTH, i / WIDTH, z));
    }
    CHECK(cuTexObjectDestroy(first));
    CHECK(cuTexObjectDestroy(second));
    CHECK(cuArrayDestroy(layers));
    CHECK(cuArrayDestroy(volume));
}

static void test_surfaces(CUmodule module)
{
    CUarray array = make_array(0, CUDA_ARRAY3D_SURFACE_LDST);
    CUDA_RESOURCE_DESC resource = of_array(array), said;
    CUsurfObject surface;
    float out[WIDTH * HEIGHT] = {0};
    CUDA_MEMCPY2D copy;
    int width = WIDTH, height = HEIGHT;
    CHECK(cuSurfObjectCreate(&surface, &resource));
    CHECK(cuSurfObjectGetResourceDesc(&said, surface));
    EXPECT(said.resType == CU_RESOURCE_TYPE_ARRAY && said.res.array.hArray == array);
    void *parameters[] = {&surface, &width, &height};
    CHECK(cuLaunchKernel(check_function(module, "increase"), (WIDTH + 7) / 8, (HEIGHT + 7) / 8, 1,
                         8, 8, 1, 0, NULL, parameters, NULL));
    memset(&copy, 0, sizeof(copy));
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = array;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = out;
    copy.WidthInBytes = WIDTH * sizeof(float);
    copy.Height = HEIGHT;
    CHECK(cuMemcpy2D(&copy));
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        EXPECT(out[i] == value_at(i % WIDTH, i / WIDTH, 0) + 1);
    CHECK(cuSurfObjectDestroy(surface));
    CHECK(cuArrayDestroy(array));
}

static void test_descriptions(void)
{
    CUarray array = make_array(0, 0);
    CUDA_RESOURCE_DESC resource = of_array(array), said;
    CUDA_TEXTURE_DESC how = how_to_read(CU_TR_ADDRESS_MODE_MIRROR, CU_TR_FILTER_MODE_LINEAR,
                                        CU_TRSF_NORMALIZED_COORDINATES),
                      said_how;
    CUDA_RESOURCE_VIEW_DESC view;
    CUtexObject texture = make_texture(&resource, &how);
    CHECK(cuTexObjectGetResourceDesc(&said, texture));
    EXPECT(said.resType == CU_RESOURCE_TYPE_ARRAY && said.res.array.hArray == array);
    CHECK(cuTexObjectGetTextureDesc(&said_how, texture));
    EXPECT(said_how.addressMode[1] == CU_TR_ADDRESS_MODE_MIRROR &&
           said_how.filterMode == CU_TR_FILTER_MODE_LINEAR &&
           said_how.flags == CU_TRSF_NORMALIZED_COORDINATES);
    CHECK(cuTexObjectGetResourceViewDesc(&view, texture)); /* of a texture that has none */
    EXPECT(cuTexObjectCreate(&texture, NULL, &how, NULL) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuTexObjectCreate(NULL, &resource, &how, NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuTexObjectDestroy(texture));
    CHECK(cuArrayDestroy(array));
}

int main(void)
{
    CUmodule module;
    check_context();
    test_descriptions();
    CHECK(cuModuleLoadData(&module, textures_ptx));
    test_linear_memory(module);
    test_planes(module);
    test_layers_and_volumes(module);
    test_surfaces(module);
    printf("textures: all is well\n");
    return 0;
}
