/* SPDX-License-Identifier: MIT */
/* Device code of the driver-API programs; scripts/ptx makes kernels.ptx of it. */
#include <stdio.h>

__device__ int counter;
__device__ float table[1024];
__constant__ int scale = 3;

extern "C" __global__ void fill(unsigned int *out, unsigned int value, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] = value + i;
}

extern "C" __global__ void add_scaled(unsigned int *out, const unsigned int *in, int count)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        out[i] += scale * in[i];
}

extern "C" __global__ void count_threads(void)
{
    atomicAdd(&counter, 1);
}

struct mixed {
    char small;
    double wide;
    short last;
};

/* Parameters of many sizes and alignments, to be found where they were put. */
extern "C" __global__ void parameters(unsigned long long *out, char a, short b, int c, long long d,
                                      float e, double f, struct mixed g, char h)
{
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
    out[4] = (unsigned long long)e;
    out[5] = (unsigned long long)f;
    out[6] = g.small;
    out[7] = (unsigned long long)g.wide;
    out[8] = g.last;
    out[9] = h;
}

extern "C" __global__ void dynamic_shared(unsigned int *out, int words)
{
    extern __shared__ unsigned int shared[];
    for (int i = threadIdx.x; i < words; i += blockDim.x)
        shared[i] = i * 7;
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned int sum = 0;
        for (int i = 0; i < words; i++)
            sum += shared[i];
        *out = sum;
    }
}

extern "C" __global__ void write_to(unsigned int *address)
{
    *address = 1;
}

extern "C" __global__ void trap(void)
{
    asm volatile("trap;");
}

/* Keeps one thread busy for a while. */
extern "C" __global__ void busy(volatile unsigned int *out, unsigned int rounds)
{
    unsigned int x = 1;
    for (unsigned int i = 0; i < rounds; i++)
        x = x * 1664525u + 1013904223u;
    *out = x;
}

extern "C" __global__ void say(int value)
{
    printf("device says %d\n", value);
}
