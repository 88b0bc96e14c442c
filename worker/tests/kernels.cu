// SPDX-License-Identifier: MIT
// What test_driver has a driver run. kernels.ptx is made from this by `make kernels`.

extern "C" __global__ void scale(float *values, float factor, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        values[i] *= factor;
}

extern "C" __global__ void empty(void)
{
}

// Keeps a multiprocessor busy for a while.
extern "C" __global__ void toil(unsigned int *out, int rounds)
{
    unsigned int x = threadIdx.x;
    for (int i = 0; i < rounds; i++)
        x = x * 1664525u + 1013904223u;
    out[threadIdx.x] = x;
}

extern "C" __global__ void fault(int *nowhere)
{
    *nowhere = 1;
}
