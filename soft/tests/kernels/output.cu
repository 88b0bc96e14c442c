/* SPDX-License-Identifier: MIT */
/* printf, assert, trap, and accesses that must fail. */
#include <cassert>
#include <cstdio>

extern "C" __global__ void print_all(int n)
{
    printf("block %d thread %d\n", blockIdx.x, threadIdx.x);
    if (threadIdx.x == 1) {
        printf("%5d|%-5d|%05d|%+d|%x|%X|%o|%u|%c|%s|%%\n", n, n, n, n, 255, 255, 8, -1, 'z', "text");
        printf("%.3f|%10.2e|%g|%lld|%llu|%p\n", 3.14159, 12345.678, 0.5, -5000000000LL,
               18446744073709551615ULL, (void *)0x1234);
        printf("%*d|%.*f|%ld\n", 6, 42, 2, 2.71828, -7L);
    }
}

extern "C" __global__ void check(const int *in)
{
    assert(in[threadIdx.x] != 13);
}

extern "C" __global__ void stop(const int *in)
{
    if (in[threadIdx.x] == 13)
        __trap();
}

extern "C" __global__ void store(int *to, int index)
{
    to[(long long)index * threadIdx.x] = 1;
}

extern "C" __global__ void misaligned(char *to)
{
    *(int *)(to + threadIdx.x) = 1;
}

extern "C" __global__ void beyond_shared(int *out, int index)
{
    __shared__ int space[32];
    space[threadIdx.x] = threadIdx.x;
    out[threadIdx.x] = space[index];
}

extern "C" __global__ void heap(int **out)
{
    int *p = (int *)malloc(16);
    p[0] = threadIdx.x;
    out[threadIdx.x] = p;
    if (threadIdx.x == 3)
        free(p);
}
