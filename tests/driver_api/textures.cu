/* SPDX-License-Identifier: MIT */
/* Device code of the textures program; scripts/ptx makes textures.ptx of it. */
#include <cuda_runtime.h>

extern "C" __global__ void fetch_line(float *out, cudaTextureObject_t texture, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] = tex1Dfetch<float>(texture, i);
}

/* Samples at x = (i + shift) / scale, and the same way downwards. */
extern "C" __global__ void sample_plane(float *out, cudaTextureObject_t texture, int width,
                                        int height, float shift, float x_scale, float y_scale)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < width && y < height)
        out[y * width + x] =
            tex2D<float>(texture, ((float)x + shift) / x_scale, ((float)y + shift) / y_scale);
}

extern "C" __global__ void sample_layer(float *out, cudaTextureObject_t texture, int width,
                                        int height, int layer)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < width && y < height)
        out[y * width + x] = tex2DLayered<float>(texture, (float)x + 0.5f, (float)y + 0.5f, layer);
}

extern "C" __global__ void sample_volume(float *out, cudaTextureObject_t texture, int width,
                                         int height, int z)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < width && y < height)
        out[y * width + x] =
            tex3D<float>(texture, (float)x + 0.5f, (float)y + 0.5f, (float)z + 0.5f);
}

/* Adds 1 to every element of a plane. */
extern "C" __global__ void increase(cudaSurfaceObject_t surface, int width, int height)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < width && y < height) {
        float value = surf2Dread<float>(surface, x * 4, y);
        surf2Dwrite(value + 1.0f, surface, x * 4, y);
    }
}
