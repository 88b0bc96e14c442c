/* SPDX-License-Identifier: MIT */
/* Control flow: divergent loops, early returns, calls, recursion, tables. */
extern "C" __global__ void collatz(const unsigned long long *start, int *steps, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, count = 0;
    if (i >= n)
        return;
    unsigned long long v = start[i];
    while (v != 1) {
        if (v == 0) {
            steps[i] = -1;
            return;
        }
        v = v % 2 == 0 ? v / 2 : 3 * v + 1;
        count++;
    }
    steps[i] = count;
}

__device__ __noinline__ int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__device__ __noinline__ int twice(int x)
{
    return 2 * x;
}

__device__ __noinline__ int square(int x)
{
    return x * x;
}

__device__ __noinline__ int negative(int x)
{
    return -x;
}

typedef int (*operation)(int);
__device__ operation operations[3] = {twice, square, negative};

struct triple {
    int a, b;
    double c;
};

__device__ __noinline__ struct triple make(int i, double d)
{
    struct triple t = {i, i * i, d / 2};
    return t;
}

extern "C" __global__ void calls(const int *in, int *out)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, v = in[i];
    struct triple t = make(v, v * 3.0);
    out[i] = fibonacci(v % 13) + operations[v % 3](v) * 1000 + t.b + (int)t.c;
}

extern "C" __global__ void cases(const int *in, int *out)
{
    int i = threadIdx.x, v = in[i];
    switch (v) {
    case 0: v = v * 3 + i; break;
    case 1: v = 17 - i; break;
    case 2: v ^= i * 5; break;
    case 3: v = i / 3; /* falls through */
    case 4: v += 8; break;
    case 5: v = i % 7; break;
    case 6: v = -i; break;
    case 7: v = i << 3; break;
    default: v = 99;
    }
    out[i] = v;
}

__device__ __noinline__ int deep(int n)
{
    volatile int space[8];
    space[n & 7] = n;
    return deep(n + 1) + space[n & 7];
}

extern "C" __global__ void endless_recursion(int *out)
{
    out[threadIdx.x] = deep(threadIdx.x);
}

extern "C" __global__ void endless_loop(volatile int *flag)
{
    while (*flag == 0)
        ;
}
