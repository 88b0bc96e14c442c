/* SPDX-License-Identifier: MIT */
/* What needs more of a stack than calls of functions that are known: "...", alloca, recursion. */
#include "cases.h"

#include <alloca.h>
#include <cstdarg>

__device__ __noinline__ double sum(const char *kinds, ...)
{
    double total = 0;
    va_list rest;

    va_start(rest, kinds);
    for (; *kinds; kinds++) {
        if (*kinds == 'i')
            total += va_arg(rest, int);
        else if (*kinds == 'd')
            total += va_arg(rest, double);
        else
            total += (double)va_arg(rest, long long);
    }
    va_end(rest);
    return total;
}

typedef double (*variadic)(const char *, ...);
__device__ variadic chosen = sum;

__global__ void sums(double *out, int n)
{
    variadic function = chosen;
    int i = threadIdx.x;

    out[3 * i] = sum("idl", n + i, 2.5, 1ll << 40);
    out[3 * i + 1] = sum("");
    out[3 * i + 2] = i % 3 == 0 ? function("dd", 1.0, 0.5) : function("iiid", i, i, i, 0.25);
}

static void variadic_functions()
{
    array<double> out(3 * 64);

    sums<<<1, 64>>>(out.device, 7);
    CHECK(cudaGetLastError());
    out.fetch();
    for (int i = 0; i < 64; i++) {
        EXPECT(out[3 * i] == 7 + i + 2.5 + (double)(1ll << 40));
        EXPECT(out[3 * i + 1] == 0);
        EXPECT(out[3 * i + 2] == (i % 3 == 0 ? 1.5 : 3 * i + 0.25));
    }
}

/* The sum of squares below n, by way of n bytes for each thread, and of a function's own. */
__device__ __noinline__ int sum_of(const unsigned char *values, int n)
{
    unsigned char *copy = (unsigned char *)alloca(n + 1);
    int total = 0;

    for (int i = 0; i < n; i++)
        copy[n - i] = values[i];
    for (int i = n; i > 0; i--)
        total += copy[i];
    return total;
}

__global__ void allocate(int *out)
{
    int n = threadIdx.x % 16 + 1;
    unsigned char *values = (unsigned char *)alloca(n);
    double *aligned = (double *)alloca(n * sizeof(double));

    for (int i = 0; i < n; i++)
        values[i] = (unsigned char)(i * i), aligned[i] = i;
    out[threadIdx.x] = sum_of(values, n);
    for (int i = 0; i < n; i++)
        out[threadIdx.x] += values[i] == i * i && aligned[i] == i ? 0 : 1000000;
}

static void allocated_on_the_stack()
{
    array<int> out(96);

    allocate<<<1, 96>>>(out.device);
    CHECK(cudaGetLastError());
    out.fetch();
    for (int i = 0; i < 96; i++) {
        int expected = 0;

        for (int k = 0; k < i % 16 + 1; k++)
            expected += k * k & 255;
        EXPECT(out[i] == expected);
    }
}

/* Each call has arrays of its own, which those that it calls must leave alone. */
__device__ __noinline__ int climb(int depth, int seed)
{
    int own[5];

    for (int i = 0; i < 5; i++)
        own[i] = seed * (i + 1);
    if (depth > 0)
        own[seed % 5] += climb(depth - 1, own[depth % 5] % 1000 + 1);
    return own[0] + own[1] + own[2] + own[3] + own[4];
}

static int climb_here(int depth, int seed)
{
    int own[5];

    for (int i = 0; i < 5; i++)
        own[i] = seed * (i + 1);
    if (depth > 0)
        own[seed % 5] += climb_here(depth - 1, own[depth % 5] % 1000 + 1);
    return own[0] + own[1] + own[2] + own[3] + own[4];
}

__global__ void climbs(int *out)
{
    out[threadIdx.x] = climb(threadIdx.x % 20, threadIdx.x + 3);
}

static void recursion_with_arrays()
{
    array<int> out(64);

    CHECK(cudaDeviceSetLimit(cudaLimitStackSize, 16384));
    climbs<<<1, 64>>>(out.device);
    CHECK(cudaGetLastError());
    out.fetch();
    for (int i = 0; i < 64; i++)
        EXPECT(out[i] == climb_here(i % 20, i + 3));
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {CASE(variadic_functions), CASE(allocated_on_the_stack),
                                      CASE(recursion_with_arrays)};
    return run_cases(argc, argv, cases);
}
