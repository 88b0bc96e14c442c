// SPDX-License-Identifier: MIT
// An ordinary CUDA runtime program, built by nvcc with its default static cudart.
#include <cstdio>
#include <cstdlib>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        cudaError_t error = call;                                                                  \
        if (error != cudaSuccess) {                                                                \
            fprintf(stderr, "runtime_api: %s: %s\n", #call, cudaGetErrorString(error));            \
            exit(2);                                                                               \
        }                                                                                          \
    } while (0)

__global__ void saxpy(float a, const float *x, float *y, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        y[i] = a * x[i] + y[i];
    if (i == 0)
        printf("  hello from block %d of %d on the GPU\n", blockIdx.x, gridDim.x);
}

int main()
{
    const int count = 1 << 18;
    cudaDeviceProp properties;
    CHECK(cudaGetDeviceProperties(&properties, 0));
    printf("CUDA runtime API on %s, %zu MiB\n", properties.name, properties.totalGlobalMem >> 20);
    float *x = new float[count], *y = new float[count], *device_x, *device_y;
    for (int i = 0; i < count; i++) {
        x[i] = (float)(i % 1000);
        y[i] = (float)(i % 7);
    }
    CHECK(cudaMalloc(&device_x, count * sizeof(float)));
    CHECK(cudaMalloc(&device_y, count * sizeof(float)));
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaMemcpyAsync(device_x, x, count * sizeof(float), cudaMemcpyHostToDevice, stream));
    CHECK(cudaMemcpyAsync(device_y, y, count * sizeof(float), cudaMemcpyHostToDevice, stream));
    saxpy<<<(count + 255) / 256, 256, 0, stream>>>(2.0f, device_x, device_y, count);
    CHECK(cudaGetLastError());
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemcpy(y, device_y, count * sizeof(float), cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < count; i++)
        wrong += y[i] != 2.0f * (float)(i % 1000) + (float)(i % 7);
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaFree(device_x));
    CHECK(cudaFree(device_y));
    CHECK(cudaDeviceReset());
    printf("  %-28s %s\n", "saxpy of 256 Ki floats", wrong ? "FAIL" : "PASS");
    return wrong != 0;
}
