/* SPDX-License-Identifier: MIT */
#include "bench/programs/bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/programs/kernels.h"

const char *const bench_kernels = kernels_ptx;

void bench_check(CUresult error, const char *what, const char *file, int line)
{
    const char *name = NULL;
    if (error == CUDA_SUCCESS)
        return;
    cuGetErrorName(error, &name);
    fprintf(stderr, "%s:%d: %s: %s (%d)\n", file, line, what, name ? name : "?", (int)error);
    exit(1);
}

void bench_fail(const char *what)
{
    perror(what);
    exit(1);
}

void bench_begin(struct bench *bench, int argc, char **argv)
{
    *bench = (struct bench){0};
    for (int i = 1; i < argc; i++)
        bench->small |= strcmp(argv[i], "--small") == 0;
    const char *turns = getenv("BENCH_TURNS");
    bench->waits_for_turns = turns != NULL;
    bench->turns_left = turns ? (unsigned int)strtoul(turns, NULL, 10) : 1;
    BENCH(cuInit(0));
    BENCH(cuDevicePrimaryCtxRetain(&bench->context, 0));
    BENCH(cuCtxSetCurrent(bench->context));
    BENCH(cuModuleLoadData(&bench->module, bench_kernels));
    BENCH(cuModuleGetFunction(&bench->empty, bench->module, "empty"));
    BENCH(cuModuleGetFunction(&bench->scale, bench->module, "scale"));
    BENCH(cuModuleGetFunction(&bench->busy, bench->module, "busy"));
    BENCH(cuMemAlloc(&bench->memory, 1 << 20));
    bench_launch(bench, NULL);
    bench_launch_scale(bench, NULL);
    BENCH(cuCtxSynchronize());
}

bool bench_turn(struct bench *bench)
{
    int character = '\n';
    if (bench->turns_left == 0)
        return false;
    bench->turns_left--;
    if (bench->waits_for_turns) {
        printf("turn\n");
        fflush(stdout);
        while ((character = getchar()) != '\n' && character != EOF)
            ;
    }
    return character != EOF;
}

void bench_launch(const struct bench *bench, CUstream stream)
{
    BENCH(cuLaunchKernel(bench->empty, 1, 1, 1, 1, 1, 1, 0, stream, NULL, NULL));
}

void bench_launch_scale(const struct bench *bench, CUstream stream)
{
    CUdeviceptr out = bench->memory, in = bench->memory + 4096;
    float factor = 1;
    int count = 1024;
    void *parameters[] = {&out, &in, &factor, &count};
    BENCH(cuLaunchKernel(bench->scale, 8, 1, 1, 128, 1, 1, 0, stream, parameters, NULL));
}

void bench_launch_busy(const struct bench *bench, CUstream stream)
{
    CUdeviceptr out = bench->memory;
    unsigned int rounds = bench_times(bench, 2000000, 500000);
    void *parameters[] = {&out, &rounds};
    BENCH(cuLaunchKernel(bench->busy, 1, 1, 1, 1, 1, 1, 0, stream, parameters, NULL));
}

void *bench_allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

uint64_t bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void bench_add(struct bench_samples *samples, uint64_t start, double calls)
{
    double passed = (double)(bench_now() - start);
    if (samples->count < BENCH_SAMPLES_MAX)
        samples->sample[samples->count++] = passed / calls;
}

static int by_size(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

void bench_print(struct bench_samples *samples, const char *unit, double amount, const char *name,
                 ...)
{
    va_list arguments;
    if (samples->count == 0)
        return;
    qsort(samples->sample, samples->count, sizeof(*samples->sample), by_size);
    double median = samples->sample[samples->count / 2], value = median;
    if (strcmp(unit, "us") == 0)
        value = median / 1e3;
    else if (strcmp(unit, "ms") == 0)
        value = median / 1e6;
    else if (strcmp(unit, "1/s") == 0)
        value = amount * 1e9 / median;
    else if (strcmp(unit, "GB/s") == 0)
        value = amount / median;
    va_start(arguments, name);
    vprintf(name, arguments);
    va_end(arguments);
    printf(" %.6g %s\n", value, unit);
    fflush(stdout);
    samples->count = 0;
}
