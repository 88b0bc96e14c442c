/* SPDX-License-Identifier: MIT */
/* Matrix instructions, with the layouts of fragments spelled out as the PTX manual has them. */
#include "cases.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>

using namespace nvcuda;

static int number(int i, int salt)
{
    return (i * 7 + i / 5 * 3 + salt) % 9 - 4;
}

/* c (m x n) = a (m x k, by rows) * b (k x n, by columns) + c, with elements of T. */
template <typename TA, typename TC, void (*kernel)(const TA *, const TA *, TC *)>
static void multiply(int m, int n, int k)
{
    array<TA> a(m * k), b(k * n);
    array<TC> c(m * n);
    for (int i = 0; i < m * k; i++)
        a[i] = (TA)(float)number(i, 1);
    for (int i = 0; i < k * n; i++)
        b[i] = (TA)(float)number(i, 2);
    for (int i = 0; i < m * n; i++)
        c[i] = (TC)(float)number(i, 3);
    a.send(), b.send(), c.send();
    kernel<<<1, 32>>>(a.device, b.device, c.device);
    CHECK(cudaGetLastError());
    c.fetch();
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            int want = number(i * n + j, 3);
            for (int l = 0; l < k; l++)
                want += number(i * k + l, 1) * number(j * k + l, 2);
            EXPECT((double)(float)c[i * n + j] == want);
        }
}

#define GROUP  ((int)threadIdx.x >> 2)
#define MEMBER ((int)threadIdx.x & 3)

template <typename T> __device__ unsigned two(const T *p)
{
    return *(const unsigned *)p;
}

#define F32_MMA(FORM, K)                                                                           \
    float d[4];                                                                                    \
    for (int i = 0; i < 4; i++)                                                                    \
        d[i] = c[(GROUP + 8 * (i / 2)) * 8 + MEMBER * 2 + i % 2];                                  \
    asm volatile("mma.sync.aligned." FORM " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "              \
                 "{%0,%1,%2,%3};"                                                                  \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                  \
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));        \
    for (int i = 0; i < 4; i++)                                                                    \
        c[(GROUP + 8 * (i / 2)) * 8 + MEMBER * 2 + i % 2] = d[i];

template <typename T> __device__ void fragments_of_16(const T *a, const T *b, unsigned *ra,
                                                      unsigned *rb)
{
    ra[0] = two(a + GROUP * 16 + MEMBER * 2);
    ra[1] = two(a + (GROUP + 8) * 16 + MEMBER * 2);
    ra[2] = two(a + GROUP * 16 + MEMBER * 2 + 8);
    ra[3] = two(a + (GROUP + 8) * 16 + MEMBER * 2 + 8);
    rb[0] = two(b + GROUP * 16 + MEMBER * 2);
    rb[1] = two(b + GROUP * 16 + MEMBER * 2 + 8);
}

__global__ void f16(const __half *a, const __half *b, float *c)
{
    unsigned ra[4], rb[2];
    fragments_of_16(a, b, ra, rb);
    F32_MMA("m16n8k16.row.col.f32.f16.f16.f32", 16)
}

__global__ void bf16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *c)
{
    unsigned ra[4], rb[2];
    fragments_of_16(a, b, ra, rb);
    F32_MMA("m16n8k16.row.col.f32.bf16.bf16.f32", 16)
}

__global__ void tf32(const float *a, const float *b, float *c)
{
    unsigned ra[4], rb[2];
    ra[0] = __float_as_uint(a[GROUP * 8 + MEMBER]);
    ra[1] = __float_as_uint(a[(GROUP + 8) * 8 + MEMBER]);
    ra[2] = __float_as_uint(a[GROUP * 8 + MEMBER + 4]);
    ra[3] = __float_as_uint(a[(GROUP + 8) * 8 + MEMBER + 4]);
    rb[0] = __float_as_uint(b[GROUP * 8 + MEMBER]);
    rb[1] = __float_as_uint(b[GROUP * 8 + MEMBER + 4]);
    F32_MMA("m16n8k8.row.col.f32.tf32.tf32.f32", 8)
}

__global__ void s8(const signed char *a, const signed char *b, int *c)
{
    unsigned ra[4], rb[2];
    int d[4];
    for (int i = 0; i < 4; i++) {
        ra[i] = *(const unsigned *)(a + (GROUP + 8 * (i % 2)) * 32 + MEMBER * 4 + i / 2 * 16);
        d[i] = c[(GROUP + 8 * (i / 2)) * 8 + MEMBER * 2 + i % 2];
    }
    for (int i = 0; i < 2; i++)
        rb[i] = *(const unsigned *)(b + GROUP * 32 + MEMBER * 4 + i * 16);
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]));
    for (int i = 0; i < 4; i++)
        c[(GROUP + 8 * (i / 2)) * 8 + MEMBER * 2 + i % 2] = d[i];
}

__global__ void f64(const double *a, const double *b, double *c)
{
    double d[2] = {c[GROUP * 8 + MEMBER * 2], c[GROUP * 8 + MEMBER * 2 + 1]};
    asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
                 : "+d"(d[0]), "+d"(d[1])
                 : "d"(a[GROUP * 4 + MEMBER]), "d"(b[GROUP * 4 + MEMBER]));
    c[GROUP * 8 + MEMBER * 2] = d[0];
    c[GROUP * 8 + MEMBER * 2 + 1] = d[1];
}

static void mma_f16() { multiply<__half, float, f16>(16, 8, 16); }
static void mma_bf16() { multiply<__nv_bfloat16, float, bf16>(16, 8, 16); }
static void mma_tf32() { multiply<float, float, tf32>(16, 8, 8); }
static void mma_s8() { multiply<signed char, int, s8>(16, 8, 32); }
static void mma_f64() { multiply<double, double, f64>(8, 8, 4); }

template <typename TA, typename TC, int M, int N, int K>
__global__ void with_wmma(const TA *a, const TA *b, TC *c)
{
    wmma::fragment<wmma::matrix_a, M, N, K, TA, wmma::row_major> fa;
    wmma::fragment<wmma::matrix_b, M, N, K, TA, wmma::col_major> fb;
    wmma::fragment<wmma::accumulator, M, N, K, TC> fc;
    wmma::load_matrix_sync(fa, a, K);
    wmma::load_matrix_sync(fb, b, K);
    wmma::load_matrix_sync(fc, c, N, wmma::mem_row_major);
    wmma::mma_sync(fc, fa, fb, fc);
    wmma::store_matrix_sync(c, fc, N, wmma::mem_row_major);
}

static void wmma_f16_square()
{
    multiply<__half, float, with_wmma<__half, float, 16, 16, 16>>(16, 16, 16);
}

static void wmma_f16_tall()
{
    multiply<__half, __half, with_wmma<__half, __half, 32, 8, 16>>(32, 8, 16);
}

static void wmma_bf16_wide()
{
    multiply<__nv_bfloat16, float, with_wmma<__nv_bfloat16, float, 8, 32, 16>>(8, 32, 16);
}

static void wmma_s8()
{
    multiply<signed char, int, with_wmma<signed char, int, 16, 16, 16>>(16, 16, 16);
}

static void wmma_f64()
{
    multiply<double, double, with_wmma<double, double, 8, 8, 4>>(8, 8, 4);
}

__global__ void move_matrices(const unsigned short *in, unsigned short *out)
{
    __shared__ __align__(16) unsigned short rows[32 * 8];
    unsigned r[4], t[2];
    for (int i = 0; i < 8; i++)
        rows[threadIdx.x * 8 + i] = in[threadIdx.x * 8 + i];
    __syncwarp();
    unsigned at = (unsigned)__cvta_generic_to_shared(rows + threadIdx.x * 8);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(t[0])
                 : "r"(at));
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(t[1]) : "r"(r[1]));
    for (int n = 0; n < 4; n++)
        ((unsigned *)out)[n * 32 + threadIdx.x] = r[n];
    for (int n = 0; n < 2; n++)
        ((unsigned *)out)[(4 + n) * 32 + threadIdx.x] = t[n];
}

static void matrices_move()
{
    array<unsigned short> in(4 * 64), out(6 * 64);
    for (int i = 0; i < 4 * 64; i++)
        in[i] = i;
    in.send();
    move_matrices<<<1, 32>>>(in.device, out.device);
    CHECK(cudaGetLastError());
    out.fetch();
    for (int i = 0; i < 4 * 64; i++)
        EXPECT(out[i] == i);
    for (int i = 0; i < 64; i++) {
        EXPECT(out[4 * 64 + i] == i % 8 * 8 + i / 8);
        EXPECT(out[5 * 64 + i] == 64 + i % 8 * 8 + i / 8);
    }
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(mma_f16),       CASE(mma_bf16),       CASE(mma_tf32), CASE(mma_s8),   CASE(mma_f64),
        CASE(wmma_f16_square), CASE(wmma_f16_tall), CASE(wmma_bf16_wide), CASE(wmma_s8),
        CASE(wmma_f64),      CASE(matrices_move),
    };
    return run_cases(argc, argv, cases);
}
