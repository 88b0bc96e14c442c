/* SPDX-License-Identifier: MIT */
/* Device code of the benchmarks; scripts/ptx makes kernels.ptx of it. */

extern "C" __global__ void empty(void)
{
}

/* Parameters as an elementwise kernel of a framework has them. */
extern "C" __global__ void scale(float *out, const float *in, float factor, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] = factor * in[i];
}

/* Keeps one thread busy for a while. */
extern "C" __global__ void busy(volatile unsigned int *out, unsigned int rounds)
{
    unsigned int x = 1;
    for (unsigned int i = 0; i < rounds; i++)
        x = x * 1664525u + 1013904223u;
    *out = x;
}
