/* SPDX-License-Identifier: MIT */
/* A runtime program as users write them; nvcc links its runtime statically. Exits 0 if all is right. */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define CHECK(call)                                                                                \
    do {                                                                                           \
        cudaError_t error = (call);                                                                \
        if (error != cudaSuccess) {                                                                \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                          \
                    cudaGetErrorString(error));                                                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

__device__ int counter = 5;
__constant__ float factor[2] = {2.0f, 3.0f};

__global__ void add(float *sum, const float *a, const float *b, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        sum[i] = a[i] * factor[0] + b[i] * factor[1];
}

__global__ void block_sum(int *out, const int *in)
{
    __shared__ int partial[256];
    partial[threadIdx.x] = in[blockIdx.x * 256 + threadIdx.x];
    __syncthreads();
    for (int step = 128; step; step /= 2) {
        if (threadIdx.x < step)
            partial[threadIdx.x] += partial[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        out[blockIdx.x] = partial[0];
        atomicAdd(&counter, 1);
    }
}

__global__ void speak(int n)
{
    printf("thread %d says %d %.2f %s\n", threadIdx.x, n, 1.5, "hello");
}

static void properties()
{
    cudaDeviceProp properties;
    int count;

    CHECK(cudaGetDeviceCount(&count));
    EXPECT(count == 1);
    CHECK(cudaGetDeviceProperties(&properties, 0));
    EXPECT(strcmp(properties.name, "vgpu Software GPU") == 0);
    EXPECT(properties.major == 13 && properties.minor == 0 && properties.warpSize == 32);
}

static void vectors()
{
    enum { N = 5000 };
    static float a[N], b[N], sum[N];
    float *da, *db, *dsum;

    for (int i = 0; i < N; i++) {
        a[i] = i;
        b[i] = 1;
    }
    CHECK(cudaMalloc(&da, sizeof(a)));
    CHECK(cudaMalloc(&db, sizeof(b)));
    CHECK(cudaMalloc(&dsum, sizeof(sum)));
    CHECK(cudaMemcpy(da, a, sizeof(a), cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(db, b, sizeof(b), cudaMemcpyDefault));
    add<<<(N + 127) / 128, 128>>>(dsum, da, db, N);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(sum, dsum, sizeof(sum), cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++)
        EXPECT(sum[i] == 2 * a[i] + 3);
    CHECK(cudaFree(da));
    CHECK(cudaFree(db));
    CHECK(cudaFree(dsum));
}

static void streams_and_events()
{
    enum { BLOCKS = 20, N = 256 * BLOCKS };
    int *in, *out, *din, *dout, value;
    cudaStream_t one, two;
    cudaEvent_t start, end;
    float milliseconds = -1;

    CHECK(cudaMallocHost(&in, N * sizeof(int)));
    CHECK(cudaMallocHost(&out, BLOCKS * sizeof(int)));
    for (int i = 0; i < N; i++)
        in[i] = i % 7;
    CHECK(cudaStreamCreate(&one));
    CHECK(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking));
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&end));
    CHECK(cudaMallocAsync(&din, N * sizeof(int), one));
    CHECK(cudaMalloc(&dout, BLOCKS * sizeof(int)));
    CHECK(cudaEventRecord(start, one));
    CHECK(cudaMemcpyAsync(din, in, N * sizeof(int), cudaMemcpyHostToDevice, one));
    block_sum<<<BLOCKS, 256, 0, one>>>(dout, din);
    CHECK(cudaEventRecord(end, one));
    CHECK(cudaStreamWaitEvent(two, end, 0));
    CHECK(cudaMemcpyAsync(out, dout, BLOCKS * sizeof(int), cudaMemcpyDeviceToHost, two));
    CHECK(cudaStreamSynchronize(two));
    CHECK(cudaEventElapsedTime(&milliseconds, start, end));
    EXPECT(milliseconds >= 0);
    for (int block = 0; block < BLOCKS; block++) {
        int sum = 0;
        for (int i = 0; i < 256; i++)
            sum += in[block * 256 + i];
        EXPECT(out[block] == sum);
    }
    CHECK(cudaMemcpyFromSymbol(&value, counter, sizeof(value)));
    EXPECT(value == 5 + BLOCKS);
    CHECK(cudaFreeAsync(din, one));
    CHECK(cudaStreamDestroy(one));
    CHECK(cudaStreamDestroy(two));
}

static void errors_and_reset()
{
    int *memory;

    add<<<1, 2000>>>(nullptr, nullptr, nullptr, 1);
    EXPECT(cudaGetLastError() == cudaErrorInvalidValue);
    add<<<1, 1>>>(nullptr, nullptr, nullptr, 1);
    EXPECT(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
    EXPECT(cudaMalloc(&memory, 4) == cudaErrorIllegalAddress);
    cudaDeviceReset();
    cudaGetLastError(); /* the runtime remembers the failure */
    vectors();
}

int main()
{
    properties();
    vectors();
    streams_and_events();
    speak<<<1, 2>>>(7);
    CHECK(cudaDeviceSynchronize());
    errors_and_reset();
    return 0;
}
