/* SPDX-License-Identifier: MIT */
/* What CUDA C++ has: memory spaces, symbols, calls, templates, atomics, warps, printing, asserting. */
#include "cases.h"

#include <cassert>
#include <unistd.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__constant__ float table[4] = {1.0f, 2.0f, 3.0f, 4.0f};
__device__ int counter = 5;
__device__ double matrix[3][3];

template <typename T> __global__ void scale(T *values, T by, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        values[i] *= by;
}

template <typename T> static void scale_and_check(T by)
{
    array<T> a(1000);
    for (int i = 0; i < 1000; i++)
        a[i] = (T)i;
    a.send();
    scale<<<8, 128>>>(a.device, by, 1000);
    CHECK(cudaGetLastError());
    a.fetch();
    for (int i = 0; i < 1000; i++)
        EXPECT(a[i] == (T)i * by);
}

static void templates()
{
    scale_and_check<float>(2.5f);
    scale_and_check<double>(0.125);
    scale_and_check<int>(-3);
    scale_and_check<unsigned long long>(1ull << 40);
}

__global__ void reverse_in_shared(int *values)
{
    extern __shared__ int room[];
    room[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    values[threadIdx.x] = room[blockDim.x - 1 - threadIdx.x];
}

static void dynamic_shared()
{
    array<int> a(256);
    for (int i = 0; i < 256; i++)
        a[i] = i;
    a.send();
    reverse_in_shared<<<1, 256, 256 * sizeof(int)>>>(a.device);
    a.fetch();
    for (int i = 0; i < 256; i++)
        EXPECT(a[i] == 255 - i);
    /* More than the default needs the program's word. */
    CHECK(cudaFuncSetAttribute(reverse_in_shared, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               64 << 10));
    reverse_in_shared<<<1, 256, 64 << 10>>>(a.device);
    a.fetch();
    EXPECT(a[3] == 3);
}

__global__ void use_symbols(float *out)
{
    out[threadIdx.x] = table[threadIdx.x] + (float)matrix[1][2];
    atomicAdd(&counter, 1);
}

static void symbols()
{
    array<float> out(4);
    float fresh[4] = {10, 20, 30, 40};
    double one = 0.5;
    void *address;
    size_t size;
    int count;

    CHECK(cudaMemcpyToSymbol(table, fresh, sizeof(fresh)));
    CHECK(cudaMemcpyToSymbol(matrix, &one, sizeof(one), 5 * sizeof(double)));
    CHECK(cudaGetSymbolSize(&size, matrix));
    EXPECT(size == 9 * sizeof(double));
    CHECK(cudaGetSymbolAddress(&address, counter));
    use_symbols<<<1, 4>>>(out.device);
    out.fetch();
    for (int i = 0; i < 4; i++)
        EXPECT(out[i] == fresh[i] + 0.5f);
    CHECK(cudaMemcpyFromSymbol(&count, counter, sizeof(count)));
    EXPECT(count == 9);
    CHECK(cudaMemcpy(&count, address, sizeof(count), cudaMemcpyDeviceToHost));
    EXPECT(count == 9);
}

__global__ void atomics_of_all_kinds(int *i, unsigned long long *l, float *f, double *d)
{
    atomicAdd(&i[0], 1);
    atomicMax(&i[1], (int)threadIdx.x);
    atomicMin(&i[2], -(int)threadIdx.x);
    atomicOr(&i[3], 1 << (threadIdx.x % 32));
    atomicXor(&i[4], 1);
    atomicInc((unsigned *)&i[5], 9);
    atomicAdd(l, 1ull << 33);
    atomicAdd(f, 0.5f);
    atomicAdd(d, 0.25);
    for (int old = i[6], seen; (seen = atomicCAS(&i[6], old, old + 2)) != old;)
        old = seen;
}

static void atomics()
{
    array<int> i(7);
    array<unsigned long long> l(1);
    array<float> f(1);
    array<double> d(1);
    atomics_of_all_kinds<<<4, 64>>>(i.device, l.device, f.device, d.device);
    i.fetch(), l.fetch(), f.fetch(), d.fetch();
    EXPECT(i[0] == 256 && i[1] == 63 && i[2] == -63 && i[3] == -1 && i[4] == 0);
    EXPECT(i[5] == 256 % 10 && i[6] == 512);
    EXPECT(l[0] == 256ull << 33 && f[0] == 128.0f && d[0] == 64.0);
}

__device__ __noinline__ int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__global__ void call_fibonacci(int *out)
{
    out[threadIdx.x] = fibonacci(threadIdx.x);
}

static void recursion()
{
    array<int> out(16);
    call_fibonacci<<<1, 16>>>(out.device);
    out.fetch();
    EXPECT(out[0] == 0 && out[1] == 1 && out[10] == 55 && out[15] == 610);
}

typedef int (*operation)(int, int);
__device__ __noinline__ int plus_(int a, int b) { return a + b; }
__device__ __noinline__ int times_(int a, int b) { return a * b; }
__device__ operation operations[2] = {plus_, times_};

__global__ void call_through_pointers(int *out, operation given)
{
    out[threadIdx.x] = operations[threadIdx.x % 2](threadIdx.x, 3) + given(1, 1);
}

static void function_pointers()
{
    array<int> out(64);
    operation given;
    CHECK(cudaMemcpyFromSymbol(&given, operations, sizeof(given)));
    call_through_pointers<<<1, 64>>>(out.device, given);
    out.fetch();
    for (int i = 0; i < 64; i++)
        EXPECT(out[i] == (i % 2 ? i * 3 : i + 3) + 2);
}

struct shape {
    __device__ virtual float area() const = 0;
};
struct square : shape {
    float side;
    __device__ explicit square(float s) : side(s) {}
    __device__ float area() const override { return side * side; }
};
struct disc : shape {
    float radius;
    __device__ explicit disc(float r) : radius(r) {}
    __device__ float area() const override { return 3.0f * radius * radius; }
};

__global__ void areas(float *out)
{
    square s(threadIdx.x);
    disc d(threadIdx.x);
    const shape *either = threadIdx.x % 2 ? (const shape *)&s : (const shape *)&d;
    out[threadIdx.x] = either->area();
}

static void virtual_functions()
{
    array<float> out(32);
    areas<<<1, 32>>>(out.device);
    out.fetch();
    for (int i = 0; i < 32; i++)
        EXPECT(out[i] == (i % 2 ? 1.0f : 3.0f) * i * i);
}

__global__ void warp_work(unsigned *out)
{
    unsigned lane = threadIdx.x % 32, all = 0xffffffff, sum = lane;
    for (int step = 16; step; step /= 2)
        sum += __shfl_xor_sync(all, sum, step);
    unsigned odd = __ballot_sync(all, lane & 1), same = __match_any_sync(all, lane / 8);
    unsigned reduced = __reduce_add_sync(all, lane);
    if (threadIdx.x == 0) {
        out[0] = sum;
        out[1] = odd;
        out[2] = same;
        out[3] = reduced;
        out[4] = __popc(odd) + __clz(1) + __ffs(8) + __brev(1u) / 0x80000000u;
    }
}

static void warps()
{
    array<unsigned> out(5);
    warp_work<<<1, 32>>>(out.device);
    out.fetch();
    EXPECT(out[0] == 496 && out[1] == 0xaaaaaaaa && out[2] == 0xff && out[3] == 496);
    EXPECT(out[4] == 16 + 31 + 4 + 1);
}

__global__ void small_floats(float *out, float x)
{
    out[0] = __half2float(__hmul(__float2half(x), __float2half(2.0f)));
    out[1] = __bfloat162float(__hadd(__float2bfloat16(x), __float2bfloat16(1.0f)));
    __half2 both = __hfma2(__floats2half2_rn(x, 2 * x), __float2half2_rn(2.0f), __float2half2_rn(1));
    out[2] = __low2float(both);
    out[3] = __high2float(both);
}

static void halves()
{
    array<float> out(4);
    small_floats<<<1, 1>>>(out.device, 1.5f);
    out.fetch();
    EXPECT(out[0] == 3.0f && out[1] == 2.5f && out[2] == 4.0f && out[3] == 7.0f);
}

__global__ void mathematics(double *out, float x, double y)
{
    out[0] = sinf(x) * sinf(x) + cosf(x) * cosf(x);
    out[1] = exp(log(y));
    out[2] = pow(y, 3.0);
    out[3] = erf(y) + erfc(y);
    out[4] = sqrt(y) * rsqrt(y);
    out[5] = sin(1e15) /* the slow path of the reduction */;
    out[6] = tgamma(5.0);
    out[7] = fma(y, y, 1.0);
}

static void math()
{
    array<double> out(8);
    mathematics<<<1, 1>>>(out.device, 0.7f, 1.75);
    out.fetch();
    EXPECT(out[0] > 1 - 1e-6 && out[0] < 1 + 1e-6);
    EXPECT(out[1] > 1.75 - 1e-14 && out[1] < 1.75 + 1e-14);
    EXPECT(out[2] > 5.359374 && out[2] < 5.359376);
    EXPECT(out[3] > 1 - 1e-15 && out[3] < 1 + 1e-15);
    EXPECT(out[4] > 1 - 1e-15 && out[4] < 1 + 1e-15);
    EXPECT(out[5] > 0.858272 && out[5] < 0.858273);
    EXPECT(out[6] > 24 - 1e-12 && out[6] < 24 + 1e-12);
    EXPECT(out[7] == 4.0625);
}

__global__ void speak()
{
    printf("%d of %s: %5.2f %llx %c%%\n", threadIdx.x, "three", threadIdx.x / 2.0, 0x123456789abcull,
           'c');
}

static void print()
{
    char path[] = "/tmp/vgpu-print-XXXXXX", said[400] = "";
    int file = mkstemp(path), before;
    FILE *back;
    EXPECT(file >= 0);
    fflush(stdout);
    before = dup(1);
    dup2(file, 1);
    speak<<<1, 3>>>();
    CHECK(cudaDeviceSynchronize());
    fflush(stdout);
    dup2(before, 1);
    back = fopen(path, "r");
    EXPECT(fread(said, 1, sizeof(said) - 1, back) > 0);
    fclose(back);
    remove(path);
    EXPECT(strcmp(said, "0 of three:  0.00 123456789abc c%\n1 of three:  0.50 123456789abc c%\n"
                        "2 of three:  1.00 123456789abc c%\n") == 0);
}

__global__ void insist(int n)
{
    assert(n > 5);
}

static void assertion()
{
    insist<<<1, 1>>>(6);
    CHECK(cudaDeviceSynchronize());
    insist<<<1, 1>>>(4);
    EXPECT(cudaDeviceSynchronize() == cudaErrorAssert);
    exit(0); /* the context is lost */
}

__global__ void allocate_inside(int *out)
{
    int *own = (int *)malloc(100 * sizeof(int));
    own[99] = threadIdx.x;
    out[threadIdx.x] = own[99];
    free(own);
}

static void device_malloc()
{
    array<int> out(64);
    allocate_inside<<<1, 64>>>(out.device);
    out.fetch();
    EXPECT(out[63] == 63 && out[1] == 1);
}

__global__ void local_arrays(int *out, int at)
{
    int own[64];
    for (int i = 0; i < 64; i++)
        own[(i * 7 + threadIdx.x) % 64] = i;
    out[threadIdx.x] = own[at];
}

static void local_memory()
{
    array<int> out(32);
    local_arrays<<<1, 32>>>(out.device, 7);
    out.fetch();
    for (int t = 0; t < 32; t++)
        EXPECT((out[t] * 7 + t) % 64 == 7);
}

/* CUB and others keep a value and its flag in one vector access: it is never seen half done. */
__global__ void write_and_watch(uint2 *both, int times, int *torn)
{
    for (int i = 0; i < times; i++) {
        unsigned a = i, b = i;
        if (blockIdx.x == 0)
            asm volatile("st.relaxed.gpu.v2.u32 [%0], {%1, %2};" ::"l"(both), "r"(a), "r"(b)
                         : "memory");
        else
            asm volatile("ld.relaxed.gpu.v2.u32 {%0, %1}, [%2];"
                         : "=r"(a), "=r"(b)
                         : "l"(both)
                         : "memory");
        *torn += a != b;
    }
}

static void vectors_are_whole()
{
    array<uint2> both(1);
    array<int> torn(1);
    write_and_watch<<<2, 1>>>(both.device, 100000, torn.device);
    torn.fetch();
    EXPECT(torn[0] == 0);
}

static void lambdas()
{
    array<int> out(32);
    for (int i = 0; i < 32; i++)
        out[i] = i;
    out.send();
    scale<int><<<1, 32>>>(out.device, [](int x) { return x + 1; }(4), 32);
    out.fetch();
    EXPECT(out[31] == 155);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(templates),  CASE(dynamic_shared),    CASE(symbols),           
        CASE(atomics),    CASE(recursion),         CASE(function_pointers), CASE(virtual_functions),
        CASE(warps),      CASE(halves),            CASE(math),              CASE(print),
        CASE(assertion),  CASE(device_malloc),     CASE(local_memory),      CASE(lambdas), CASE(vectors_are_whole),
    };
    return run_cases(argc, argv, cases);
}
