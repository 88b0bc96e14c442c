/* SPDX-License-Identifier: MIT */
#include "separate.h"

static __device__ int own = 40; /* another one than its namesake in separate.cu */
__device__ int defined_there = 100;
__constant__ float factor[2] = {1, 1000};

__device__ int twice(int x)
{
    return 2 * x + own + defined_here;
}

__device__ transform twice_by_pointer = twice;

__global__ void other(int *out)
{
    *out = own;
}

void launch_other(int *out)
{
    other<<<1, 1>>>(out);
}
