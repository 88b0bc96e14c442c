/* SPDX-License-Identifier: MIT */
/* Separate compilation (-rdc): names of one translation unit that another uses. */
#include "cases.h"
#include "separate.h"

static __device__ int own = 3;
__device__ int defined_here = 50;

__global__ void across(int *out)
{
    out[threadIdx.x] = twice(threadIdx.x) + defined_there + own + (int)factor[1];
}

static void functions_and_variables()
{
    array<int> out(4);
    across<<<1, 4>>>(out.device);
    CHECK(cudaGetLastError());
    out.fetch();
    for (int i = 0; i < 4; i++)
        EXPECT(out[i] == 2 * i + 40 + 50 + 100 + 3 + 1000);
}

static void symbols_of_another_unit()
{
    array<int> out(4);
    float fresh[2] = {0, 2000};
    int there = 7;
    CHECK(cudaMemcpyToSymbol(factor, fresh, sizeof(fresh)));
    CHECK(cudaMemcpyToSymbol(defined_there, &there, sizeof(there)));
    across<<<1, 4>>>(out.device);
    out.fetch();
    EXPECT(out[1] == 2 + 40 + 50 + 7 + 3 + 2000);
}

static void kernels_of_another_unit()
{
    array<int> out(1);
    launch_other(out.device);
    out.fetch();
    EXPECT(out[0] == 40);
}

__global__ void call_given(int *out, transform given)
{
    out[threadIdx.x] = given(threadIdx.x);
}

static void pointers_across_units()
{
    array<int> out(4);
    transform given;
    CHECK(cudaMemcpyFromSymbol(&given, twice_by_pointer, sizeof(given)));
    call_given<<<1, 4>>>(out.device, given);
    out.fetch();
    EXPECT(out[3] == 2 * 3 + 40 + 50);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(functions_and_variables),
        CASE(symbols_of_another_unit),
        CASE(kernels_of_another_unit),
        CASE(pointers_across_units),
    };
    return run_cases(argc, argv, cases);
}
