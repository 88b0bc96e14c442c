/* SPDX-License-Identifier: MIT */
/* Textures and surfaces as programs of the runtime use them. */
#include "cases.h"

#include <cmath>
#include <vector>

static cudaTextureObject_t texture_of(cudaArray_t array, cudaTextureFilterMode filter,
                                      cudaTextureAddressMode mode, bool normalized,
                                      cudaTextureReadMode read = cudaReadModeElementType)
{
    cudaResourceDesc resource = {};
    cudaTextureDesc how = {};
    cudaTextureObject_t texture;
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    for (auto &dimension : how.addressMode)
        dimension = mode;
    how.filterMode = filter;
    how.readMode = read;
    how.normalizedCoords = normalized;
    CHECK(cudaCreateTextureObject(&texture, &resource, &how, nullptr));
    return texture;
}

__global__ void sample(cudaTextureObject_t texture, float *out, int width, int height, float shift)
{
    int x = threadIdx.x, y = blockIdx.x;
    out[y * width + x] = tex2D<float>(texture, (x + 0.5f + shift) / width, (y + 0.5f) / height);
}

static void wrapped_and_filtered()
{
    constexpr int width = 32, height = 8;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    std::vector<float> in(width * height);
    array<float> out(width * height);
    cudaArray_t image;
    for (int i = 0; i < width * height; i++)
        in[i] = (float)(i % width * 4);
    CHECK(cudaMallocArray(&image, &format, width, height));
    CHECK(cudaMemcpy2DToArray(image, 0, 0, in.data(), width * 4, width * 4, height,
                              cudaMemcpyHostToDevice));
    cudaTextureObject_t texture =
        texture_of(image, cudaFilterModeLinear, cudaAddressModeWrap, true);
    sample<<<height, width>>>(texture, out.device, width, height, 0.25f);
    CHECK(cudaGetLastError());
    out.fetch();
    for (int x = 0; x + 1 < width; x++)
        EXPECT(fabsf(out[x] - (in[x] + 1.0f)) < 0.05f);
    /* Beyond the last column comes the first one. */
    EXPECT(fabsf(out[width - 1] - 0.75f * in[width - 1]) < 0.5f);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFreeArray(image));
}

__global__ void negate(cudaSurfaceObject_t surface)
{
    uchar4 pixel;
    surf2Dread(&pixel, surface, (int)(threadIdx.x * sizeof(pixel)), blockIdx.x);
    pixel.x = 255 - pixel.x;
    pixel.w = 9;
    surf2Dwrite(pixel, surface, (int)(threadIdx.x * sizeof(pixel)), blockIdx.x);
}

static void surface_of_bytes()
{
    constexpr int width = 16, height = 4;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<uchar4>();
    std::vector<uchar4> pixels(width * height, make_uchar4(1, 2, 3, 4));
    cudaResourceDesc resource = {};
    cudaSurfaceObject_t surface;
    cudaArray_t image;
    pixels[width + 2].x = 200;
    CHECK(cudaMallocArray(&image, &format, width, height, cudaArraySurfaceLoadStore));
    CHECK(cudaMemcpy2DToArray(image, 0, 0, pixels.data(), width * 4, width * 4, height,
                              cudaMemcpyHostToDevice));
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = image;
    CHECK(cudaCreateSurfaceObject(&surface, &resource));
    negate<<<height, width>>>(surface);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy2DFromArray(pixels.data(), width * 4, image, 0, 0, width * 4, height,
                                cudaMemcpyDeviceToHost));
    EXPECT(pixels[width + 2].x == 55 && pixels[0].x == 254);
    EXPECT(pixels[5].y == 2 && pixels[5].w == 9);
    CHECK(cudaDestroySurfaceObject(surface));
    CHECK(cudaFreeArray(image));
}

__global__ void fetch(cudaTextureObject_t texture, int *out, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] = tex1Dfetch<int>(texture, count - 1 - i);
}

static void plain_memory()
{
    constexpr int count = 1000;
    array<int> in(count), out(count);
    cudaResourceDesc resource = {};
    cudaTextureDesc how = {};
    cudaTextureObject_t texture;
    for (int i = 0; i < count; i++)
        in[i] = i * i;
    in.send();
    resource.resType = cudaResourceTypeLinear;
    resource.res.linear.devPtr = in.device;
    resource.res.linear.desc = cudaCreateChannelDesc<int>();
    resource.res.linear.sizeInBytes = count * sizeof(int);
    CHECK(cudaCreateTextureObject(&texture, &resource, &how, nullptr));
    fetch<<<4, 256>>>(texture, out.device, count);
    CHECK(cudaGetLastError());
    out.fetch();
    for (int i = 0; i < count; i++)
        EXPECT(out[i] == in[count - 1 - i]);
    CHECK(cudaDestroyTextureObject(texture));
}

__global__ void all_layers(cudaTextureObject_t texture, float *out)
{
    out[threadIdx.x] = tex2DLayered<float>(texture, 1.5f, 0.5f, threadIdx.x);
}

__global__ void all_depths(cudaTextureObject_t texture, float *out)
{
    out[threadIdx.x] = tex3D<float>(texture, 1.5f, 0.5f, threadIdx.x + 0.5f);
}

static void layers_and_depth()
{
    constexpr int side = 4, planes = 6;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<unsigned short>();
    std::vector<unsigned short> in(side * side * planes);
    cudaExtent extent = make_cudaExtent(side, side, planes);
    array<float> out(planes);
    for (int i = 0; i < side * side * planes; i++)
        in[i] = (unsigned short)(i * 600);
    for (unsigned int flags : {0u, (unsigned int)cudaArrayLayered}) {
        cudaMemcpy3DParms copy = {};
        cudaArray_t image;
        CHECK(cudaMalloc3DArray(&image, &format, extent, flags));
        copy.srcPtr = make_cudaPitchedPtr(in.data(), side * 2, side, side);
        copy.dstArray = image;
        copy.extent = extent;
        copy.kind = cudaMemcpyHostToDevice;
        CHECK(cudaMemcpy3D(&copy));
        cudaTextureObject_t texture = texture_of(image, cudaFilterModePoint, cudaAddressModeClamp,
                                                 false, cudaReadModeNormalizedFloat);
        if (flags)
            all_layers<<<1, planes>>>(texture, out.device);
        else
            all_depths<<<1, planes>>>(texture, out.device);
        CHECK(cudaGetLastError());
        out.fetch();
        for (int z = 0; z < planes; z++)
            EXPECT(fabsf(out[z] - in[z * side * side + 1] / 65535.0f) < 1e-5f);
        CHECK(cudaDestroyTextureObject(texture));
        CHECK(cudaFreeArray(image));
    }
}

__global__ void gather(cudaTextureObject_t texture, float4 *out)
{
    *out = tex2Dgather<float4>(texture, 1.0f, 1.0f, 0);
}

static void gathered()
{
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    const float in[4] = {1, 2, 3, 4};
    array<float4> out(1);
    cudaArray_t image;
    CHECK(cudaMallocArray(&image, &format, 2, 2, cudaArrayTextureGather));
    CHECK(cudaMemcpy2DToArray(image, 0, 0, in, 8, 8, 2, cudaMemcpyHostToDevice));
    cudaTextureObject_t texture =
        texture_of(image, cudaFilterModePoint, cudaAddressModeClamp, false);
    gather<<<1, 1>>>(texture, out.device);
    CHECK(cudaGetLastError());
    out.fetch();
    EXPECT(out[0].x == 3 && out[0].y == 4 && out[0].z == 2 && out[0].w == 1);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFreeArray(image));
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {CASE(wrapped_and_filtered), CASE(surface_of_bytes),
                                      CASE(plain_memory), CASE(layers_and_depth), CASE(gathered)};
    return run_cases(argc, argv, cases);
}
