/* SPDX-License-Identifier: MIT */
/**
 * How long from exec to the first result of a kernel? BENCH_START in the environment: the monotonic
 * nanoseconds at which the program was started.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/programs/bench.h"

int main(void)
{
    const char *text = getenv("BENCH_START");
    uint64_t main_began = bench_now();
    uint64_t start = text ? strtoull(text, NULL, 10) : main_began;
    CUcontext context;
    CUmodule module;
    CUfunction busy;
    CUdeviceptr memory;
    unsigned int rounds = 1, result = 0;
    void *parameters[] = {&memory, &rounds};
    BENCH(cuInit(0));
    uint64_t initialised = bench_now();
    BENCH(cuDevicePrimaryCtxRetain(&context, 0));
    BENCH(cuCtxSetCurrent(context));
    BENCH(cuMemAlloc(&memory, 4));
    uint64_t allocated = bench_now();
    BENCH(cuModuleLoadData(&module, bench_kernels));
    BENCH(cuModuleGetFunction(&busy, module, "busy"));
    uint64_t loaded = bench_now();
    BENCH(cuLaunchKernel(busy, 1, 1, 1, 1, 1, 1, 0, NULL, parameters, NULL));
    BENCH(cuMemcpyDtoH(&result, memory, sizeof(result)));
    uint64_t done = bench_now();
    if (result != 1u * 1664525u + 1013904223u) {
        fprintf(stderr, "start: the kernel's result is wrong\n");
        return 1;
    }
    printf("start.load_program %.6g ms\n", (double)(main_began - start) / 1e6);
    printf("start.init %.6g ms\n", (double)(initialised - main_began) / 1e6);
    printf("start.context %.6g ms\n", (double)(allocated - initialised) / 1e6);
    printf("start.module %.6g ms\n", (double)(loaded - allocated) / 1e6);
    printf("start.first_launch %.6g ms\n", (double)(done - loaded) / 1e6);
    printf("start.exec_to_result %.6g ms\n", (double)(done - start) / 1e6);
    return 0;
}
