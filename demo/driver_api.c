/* SPDX-License-Identifier: MIT */
/**
 * A CUDA driver-API program: tiled matrix multiplication, reduction, histogram, each checked
 * against the CPU of the machine it runs on. It knows nothing of vgpu: it is linked with -lcuda
 * only.
 *
 *   driver_api          run once, print a line per test
 *   driver_api loop N   repeat for N seconds (to be interrupted by tests of failure)
 */
#include <cuda.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "demo/kernels.h"

#define MATRIX_SIDE   256
#define VALUE_COUNT   (1 << 20)
#define REDUCE_BLOCKS 64
#define THREADS       256

static void require(CUresult error, const char *what)
{
    const char *name = NULL, *text = NULL;
    if (error == CUDA_SUCCESS)
        return;
    cuGetErrorName(error, &name);
    cuGetErrorString(error, &text);
    fprintf(stderr, "driver_api: %s: %s (%d): %s\n", what, name ? name : "?", error,
            text ? text : "unknown error");
    exit(2);
}

#define CHECK(call) require(call, #call)

static unsigned int random_state = 12345;

static unsigned int next_random(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static void fill(float *values, int count)
{
    for (int i = 0; i < count; i++)
        values[i] = (float)(next_random() % 2000) / 1000.0f - 1.0f;
}

static CUdeviceptr upload(const void *data, size_t bytes)
{
    CUdeviceptr pointer;
    CHECK(cuMemAlloc(&pointer, bytes));
    CHECK(cuMemcpyHtoD(pointer, data, bytes));
    return pointer;
}

static int report(const char *name, int wrong, const char *detail)
{
    printf("  %-28s %s%s\n", name, wrong ? "FAIL" : "PASS", detail);
    return wrong != 0;
}

static int test_matrix_multiply(CUmodule module)
{
    enum { n = MATRIX_SIDE };
    static float a[n * n], b[n * n], c[n * n];
    fill(a, n * n);
    fill(b, n * n);
    CUfunction function;
    CHECK(cuModuleGetFunction(&function, module, "matrix_multiply"));
    CUdeviceptr da = upload(a, sizeof(a)), db = upload(b, sizeof(b)), dc;
    CHECK(cuMemAlloc(&dc, sizeof(c)));
    int side = n;
    void *parameters[] = {&da, &db, &dc, &side};
    CHECK(cuLaunchKernel(function, n / 16, n / 16, 1, 16, 16, 1, 0, NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(c, dc, sizeof(c)));
    int wrong = 0;
    for (int row = 0; row < n; row++)
        for (int column = 0; column < n; column++) {
            double sum = 0;
            for (int k = 0; k < n; k++)
                sum += (double)a[row * n + k] * b[k * n + column];
            wrong += fabs(sum - c[row * n + column]) > 1e-3;
        }
    CHECK(cuMemFree(da));
    CHECK(cuMemFree(db));
    CHECK(cuMemFree(dc));
    return report("matrix multiply 256x256", wrong, "");
}

static int test_reduction(CUmodule module)
{
    static float values[VALUE_COUNT], partial[REDUCE_BLOCKS];
    fill(values, VALUE_COUNT);
    CUfunction function;
    CHECK(cuModuleGetFunction(&function, module, "reduce_sum"));
    CUdeviceptr input = upload(values, sizeof(values)), output;
    CHECK(cuMemAlloc(&output, sizeof(partial)));
    int count = VALUE_COUNT;
    CUstream stream;
    CUevent start, stop;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&start, CU_EVENT_DEFAULT));
    CHECK(cuEventCreate(&stop, CU_EVENT_DEFAULT));
    void *parameters[] = {&input, &output, &count};
    CHECK(cuEventRecord(start, stream));
    CHECK(
        cuLaunchKernel(function, REDUCE_BLOCKS, 1, 1, THREADS, 1, 1, 0, stream, parameters, NULL));
    CHECK(cuEventRecord(stop, stream));
    CHECK(cuMemcpyDtoHAsync(partial, output, sizeof(partial), stream));
    CHECK(cuStreamSynchronize(stream));
    float milliseconds;
    CHECK(cuEventElapsedTime(&milliseconds, start, stop));
    double expected = 0, sum = 0;
    for (int i = 0; i < VALUE_COUNT; i++)
        expected += values[i];
    for (int i = 0; i < REDUCE_BLOCKS; i++)
        sum += partial[i];
    char detail[64];
    snprintf(detail, sizeof(detail), "  (kernel %.3f ms)", milliseconds);
    CHECK(cuEventDestroy(start));
    CHECK(cuEventDestroy(stop));
    CHECK(cuStreamDestroy(stream));
    CHECK(cuMemFree(input));
    CHECK(cuMemFree(output));
    return report("reduction of 1 Mi floats", fabs(sum - expected) > 0.05 || milliseconds <= 0,
                  detail);
}

static int test_histogram(CUmodule module)
{
    static unsigned char bytes[VALUE_COUNT];
    unsigned int counts[256], expected[256] = {0};
    for (int i = 0; i < VALUE_COUNT; i++) {
        bytes[i] = (unsigned char)next_random();
        expected[bytes[i]]++;
    }
    CUfunction function;
    CHECK(cuModuleGetFunction(&function, module, "histogram"));
    CUdeviceptr input = upload(bytes, sizeof(bytes)), output;
    CHECK(cuMemAlloc(&output, sizeof(counts)));
    CHECK(cuMemsetD32(output, 0, 256));
    int count = VALUE_COUNT;
    void *parameters[] = {&input, &output, &count};
    CHECK(cuLaunchKernel(function, 32, 1, 1, THREADS, 1, 1, 0, NULL, parameters, NULL));
    CHECK(cuMemcpyDtoH(counts, output, sizeof(counts)));
    CHECK(cuMemFree(input));
    CHECK(cuMemFree(output));
    return report("histogram of 1 Mi bytes", memcmp(counts, expected, sizeof(counts)) != 0, "");
}

int main(int argc, char **argv)
{
    int seconds = argc == 3 && strcmp(argv[1], "loop") == 0 ? atoi(argv[2]) : 0;
    CHECK(cuInit(0));
    CUdevice device;
    CHECK(cuDeviceGet(&device, 0));
    char name[128];
    CHECK(cuDeviceGetName(name, sizeof(name), device));
    int version, major, minor;
    CHECK(cuDriverGetVersion(&version));
    CHECK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    CHECK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
    printf("CUDA driver API %d.%d on %s (compute capability %d.%d)\n", version / 1000,
           version % 1000 / 10, name, major, minor);
    CUcontext context;
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    CUmodule module;
    CHECK(cuModuleLoadData(&module, kernels_ptx));
    int failed = 0;
    time_t end = time(NULL) + seconds;
    do {
        failed += test_matrix_multiply(module);
        failed += test_reduction(module);
        failed += test_histogram(module);
        fflush(stdout);
    } while (failed == 0 && time(NULL) < end);
    CHECK(cuModuleUnload(module));
    CHECK(cuDevicePrimaryCtxRelease(device));
    return failed != 0;
}
