// SPDX-License-Identifier: MIT
// The demo's kernels. demo/kernels.ptx is made from this file by `make kernels` and committed, so
// that the demo needs no CUDA toolkit.
#define TILE 16

// c = a * b for square row-major matrices whose side n is a multiple of TILE.
extern "C" __global__ void matrix_multiply(const float *a, const float *b, float *c, int n)
{
    __shared__ float tile_a[TILE][TILE], tile_b[TILE][TILE];
    int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    float sum = 0.0f;
    for (int start = 0; start < n; start += TILE) {
        tile_a[threadIdx.y][threadIdx.x] = a[row * n + start + threadIdx.x];
        tile_b[threadIdx.y][threadIdx.x] = b[(start + threadIdx.y) * n + column];
        __syncthreads();
        for (int k = 0; k < TILE; k++)
            sum += tile_a[threadIdx.y][k] * tile_b[k][threadIdx.x];
        __syncthreads();
    }
    c[row * n + column] = sum;
}

// One partial sum per block of 256 threads.
extern "C" __global__ void reduce_sum(const float *values, float *partial, int count)
{
    __shared__ float warp_sum[8];
    float sum = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        sum += values[i];
    for (int delta = 16; delta; delta /= 2)
        sum += __shfl_down_sync(0xffffffffu, sum, delta);
    if (threadIdx.x % 32 == 0)
        warp_sum[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 8) {
        sum = warp_sum[threadIdx.x];
        for (int delta = 4; delta; delta /= 2)
            sum += __shfl_down_sync(0xffu, sum, delta);
        if (threadIdx.x == 0)
            partial[blockIdx.x] = sum;
    }
}

// Counts of each byte value: shared atomics per block, then global ones.
extern "C" __global__ void histogram(const unsigned char *bytes, unsigned int *counts, int count)
{
    __shared__ unsigned int local[256];
    for (int i = threadIdx.x; i < 256; i += blockDim.x)
        local[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)
        atomicAdd(&local[bytes[i]], 1u);
    __syncthreads();
    for (int i = threadIdx.x; i < 256; i += blockDim.x)
        atomicAdd(&counts[i], local[i]);
}

// Keeps the GPU busy for a while: `rounds` dependent steps per thread.
extern "C" __global__ void spin(unsigned int *out, int rounds)
{
    unsigned int x = threadIdx.x + 1;
    for (int i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = x;
}
