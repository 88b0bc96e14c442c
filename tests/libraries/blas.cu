/* SPDX-License-Identifier: MIT */
/* cuBLAS and cuBLASLt against sums made on the host. */
#include "cases.h"

#include <cmath>
#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <type_traits>

/* Small whole numbers: every format here holds them and their sums exactly. */
static int number(size_t i, int salt)
{
    return (int)((i * 7 + (i / 11) * 3 + salt) % 5) - 2;
}

template <typename T> static void fill(array<T> &a, int salt)
{
    for (size_t i = 0; i < a.count; i++)
        a[i] = (T)(float)number(i, salt);
    a.send();
}

static double product(bool ta, bool tb, int i, int j, int m, int n, int k)
{
    double sum = 0;
    for (int l = 0; l < k; l++)
        sum += number(ta ? (size_t)i * k + l : (size_t)l * m + i, 1) *
               number(tb ? (size_t)l * n + j : (size_t)j * k + l, 2);
    return sum;
}

template <typename T> static void check(array<T> &c, bool ta, bool tb, int m, int n, int k,
                                        double alpha, double beta)
{
    CHECK(cudaDeviceSynchronize());
    c.fetch();
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m; i++)
            EXPECT((double)(float)c[(size_t)j * m + i] ==
                   alpha * product(ta, tb, i, j, m, n, k) + beta * number((size_t)j * m + i, 3));
}

static cublasHandle_t handle()
{
    cublasHandle_t h;
    CALL(cublasCreate(&h));
    return h;
}

template <typename T, typename F> static void gemm(F call, int m, int n, int k)
{
    cublasHandle_t h = handle();
    for (int way = 0; way < 4; way++) {
        array<T> a((size_t)m * k), b((size_t)k * n), c((size_t)m * n);
        T alpha = (T)2, beta = (T)1;
        bool ta = way & 1, tb = way & 2;
        fill(a, 1), fill(b, 2), fill(c, 3);
        CALL(call(h, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, k,
                  &alpha, a.device, ta ? k : m, b.device, tb ? n : k, &beta, c.device, m));
        check(c, ta, tb, m, n, k, 2, 1);
    }
}

static void sgemm()
{
    gemm<float>(cublasSgemm, 64, 64, 64);
}

static void sgemm_odd()
{
    gemm<float>(cublasSgemm, 33, 17, 51);
}

static void sgemm_large()
{
    gemm<float>(cublasSgemm, 300, 260, 128);
}

static void dgemm()
{
    gemm<double>(cublasDgemm, 48, 40, 56);
}

static void hgemm()
{
    cublasHandle_t h = handle();
    array<__half> a(64 * 64), b(64 * 64), c(64 * 64);
    __half alpha = 1, beta = 1;
    fill(a, 1), fill(b, 2), fill(c, 3);
    CALL(cublasHgemm(h, CUBLAS_OP_N, CUBLAS_OP_N, 64, 64, 64, &alpha, a.device, 64, b.device, 64,
                     &beta, c.device, 64));
    check(c, false, false, 64, 64, 64, 1, 1);
}

template <typename TA, typename TC> static void gemm_ex(cudaDataType ta, cudaDataType tc,
                                                        cublasComputeType_t compute, int n)
{
    cublasHandle_t h = handle();
    array<TA> a(n * n), b(n * n);
    array<TC> c(n * n);
    float alpha = 1, beta = 1;
    int ialpha = 1, ibeta = 1;
    bool whole = compute == CUBLAS_COMPUTE_32I;
    fill(a, 1), fill(b, 2), fill(c, 3);
    CALL(cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, whole ? (void *)&ialpha : &alpha,
                      a.device, ta, n, b.device, ta, n, whole ? (void *)&ibeta : &beta, c.device,
                      tc, n, compute, CUBLAS_GEMM_DEFAULT));
    check(c, true, false, n, n, n, 1, 1);
}

static void gemm_half_float()
{
    gemm_ex<__half, float>(CUDA_R_16F, CUDA_R_32F, CUBLAS_COMPUTE_32F, 64);
}

static void gemm_half_half()
{
    gemm_ex<__half, __half>(CUDA_R_16F, CUDA_R_16F, CUBLAS_COMPUTE_32F, 128);
}

static void gemm_bfloat()
{
    gemm_ex<__nv_bfloat16, __nv_bfloat16>(CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, 64);
}

static void gemm_tf32()
{
    gemm_ex<float, float>(CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, 64);
}

static void gemm_int8()
{
    gemm_ex<signed char, int>(CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, 256);
}

static void gemm_int8_small()
{
    gemm_ex<signed char, int>(CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, 64);
}

static void strided_batches()
{
    cublasHandle_t h = handle();
    const int n = 20, batches = 5;
    array<float> a(n * n), b(n * n), c(n * n * batches);
    float alpha = 1, beta = 0;
    fill(a, 1), fill(b, 2);
    CALL(cublasSgemmStridedBatched(h, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &alpha, a.device, n, 0,
                                   b.device, n, 0, &beta, c.device, n, n * n, batches));
    CHECK(cudaDeviceSynchronize());
    c.fetch();
    for (int i = 0; i < n * n * batches; i++)
        EXPECT(c[i] == product(false, false, i % n, i / n % n, n, n, n));
}

static void batches_by_pointers()
{
    cublasHandle_t h = handle();
    const int n = 12, batches = 3;
    array<double> a(n * n), b(n * n), c(n * n * batches);
    array<double *> pa(batches), pb(batches), pc(batches);
    double alpha = 1, beta = 0;
    fill(a, 1), fill(b, 2);
    for (int i = 0; i < batches; i++)
        pa[i] = a.device, pb[i] = b.device, pc[i] = c.device + i * n * n;
    pa.send(), pb.send(), pc.send();
    CALL(cublasDgemmBatched(h, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &alpha, pa.device, n, pb.device,
                            n, &beta, pc.device, n, batches));
    CHECK(cudaDeviceSynchronize());
    c.fetch();
    for (int i = 0; i < n * n * batches; i++)
        EXPECT(c[i] == product(false, false, i % n, i / n % n, n, n, n));
}

static void vectors()
{
    cublasHandle_t h = handle();
    const int n = 1000;
    array<float> x(n), y(n);
    float dot, norm, sum, alpha = 3;
    double want_dot = 0, want_norm = 0, want_sum = 0;
    int largest;
    fill(x, 1), fill(y, 2);
    for (int i = 0; i < n; i++) {
        want_dot += x[i] * y[i];
        want_norm += x[i] * x[i];
        want_sum += fabs(x[i]);
    }
    CALL(cublasSdot(h, n, x.device, 1, y.device, 1, &dot));
    CALL(cublasSnrm2(h, n, x.device, 1, &norm));
    CALL(cublasSasum(h, n, x.device, 1, &sum));
    CALL(cublasIsamax(h, n, x.device, 1, &largest));
    EXPECT(dot == want_dot && fabs(norm - sqrt(want_norm)) < 1e-4 && sum == want_sum);
    EXPECT(fabs(x[largest - 1]) == 2);
    CALL(cublasSaxpy(h, n, &alpha, x.device, 1, y.device, 1));
    CALL(cublasSscal(h, n, &alpha, y.device, 1));
    CHECK(cudaDeviceSynchronize());
    y.fetch();
    for (int i = 0; i < n; i++)
        EXPECT(y[i] == 3 * (3 * number(i, 1) + number(i, 2)));
}

static void matrix_vector()
{
    cublasHandle_t h = handle();
    const int m = 100, n = 70;
    for (int t = 0; t < 2; t++) {
        array<float> a(m * n), x(t ? m : n), y(t ? n : m);
        float alpha = 1, beta = 0;
        fill(a, 1), fill(x, 2);
        CALL(cublasSgemv(h, t ? CUBLAS_OP_T : CUBLAS_OP_N, m, n, &alpha, a.device, m, x.device, 1,
                         &beta, y.device, 1));
        CHECK(cudaDeviceSynchronize());
        y.fetch();
        for (int i = 0; i < (t ? n : m); i++) {
            double want = 0;
            for (int j = 0; j < (t ? m : n); j++)
                want += number(t ? i * m + j : j * m + i, 1) * number(j, 2);
            EXPECT(y[i] == want);
        }
    }
}

static void triangular_solve()
{
    cublasHandle_t h = handle();
    const int n = 40;
    array<double> a(n * n), b(n * 3);
    double alpha = 1;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++)
            a[j * n + i] = i < j ? 99 : i == j ? 2 : 0.01 * number(i + j, 1);
    for (int i = 0; i < n * 3; i++)
        b[i] = 0;
    /* b = A x for x = 1, 2, ... */
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++)
                b[c * n + i] += a[j * n + i] * (j + 1 + c);
    a.send(), b.send();
    CALL(cublasDtrsm(h, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_LOWER, CUBLAS_OP_N,
                     CUBLAS_DIAG_NON_UNIT, n, 3, &alpha, a.device, n, b.device, n));
    CHECK(cudaDeviceSynchronize());
    b.fetch();
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < n; i++)
            EXPECT(fabs(b[c * n + i] - (i + 1 + c)) < 1e-9);
}

static void complex_gemm()
{
    cublasHandle_t h = handle();
    const int n = 24;
    array<cuComplex> a(n * n), b(n * n), c(n * n);
    cuComplex alpha = {1, 0}, beta = {0, 0};
    for (int i = 0; i < n * n; i++) {
        a[i] = {(float)number(i, 1), (float)number(i, 2)};
        b[i] = {(float)number(i, 3), (float)number(i, 4)};
    }
    a.send(), b.send();
    CALL(cublasCgemm(h, CUBLAS_OP_N, CUBLAS_OP_N, n, n, n, &alpha, a.device, n, b.device, n, &beta,
                     c.device, n));
    CHECK(cudaDeviceSynchronize());
    c.fetch();
    for (int i = 0; i < n * n; i++) {
        float x = 0, y = 0;
        for (int l = 0; l < n; l++) {
            cuComplex p = cuCmulf(a[l * n + i % n], b[i / n * n + l]);
            x += p.x, y += p.y;
        }
        EXPECT(c[i].x == x && c[i].y == y);
    }
}

/* As PyTorch's linear layers use it: a bias and a ReLU after the product. */
static void lt_epilogue()
{
    cublasLtHandle_t lt;
    cublasLtMatmulDesc_t what;
    cublasLtMatrixLayout_t la, lb, lc;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found[1];
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_RELU_BIAS;
    const int m = 64, n = 32, k = 48;
    array<float> a(m * k), b(k * n), c(m * n), bias(m);
    float alpha = 1, beta = 0;
    size_t room_bytes = 1 << 20;
    void *room;
    int count = 0;

    fill(a, 1), fill(b, 2), fill(bias, 3);
    CHECK(cudaMalloc(&room, room_bytes));
    CALL(cublasLtCreate(&lt));
    CALL(cublasLtMatmulDescCreate(&what, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CALL(cublasLtMatmulDescSetAttribute(what, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                        sizeof(epilogue)));
    CALL(cublasLtMatmulDescSetAttribute(what, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.device,
                                        sizeof(bias.device)));
    CALL(cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, m, k, m));
    CALL(cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, k, n, k));
    CALL(cublasLtMatrixLayoutCreate(&lc, CUDA_R_32F, m, n, m));
    CALL(cublasLtMatmulPreferenceCreate(&preference));
    CALL(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                              &room_bytes, sizeof(room_bytes)));
    CALL(cublasLtMatmulAlgoGetHeuristic(lt, what, la, lb, lc, lc, preference, 1, found, &count));
    EXPECT(count == 1);
    CALL(cublasLtMatmul(lt, what, &alpha, a.device, la, b.device, lb, &beta, c.device, lc, c.device,
                        lc, &found[0].algo, room, room_bytes, 0));
    CHECK(cudaDeviceSynchronize());
    c.fetch();
    for (int i = 0; i < m * n; i++) {
        double want = product(false, false, i % m, i / m, m, n, k) + number(i % m, 3);
        EXPECT(c[i] == (want > 0 ? want : 0));
    }
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(sgemm),           CASE(sgemm_odd),      CASE(sgemm_large),      CASE(dgemm),
        CASE(hgemm),           CASE(gemm_half_float), CASE(gemm_half_half),  CASE(gemm_bfloat),
        CASE(gemm_tf32),       CASE(gemm_int8),      CASE(strided_batches),  CASE(batches_by_pointers),
        CASE(vectors),         CASE(matrix_vector),  CASE(triangular_solve), CASE(complex_gemm),
        CASE(lt_epilogue), CASE(gemm_int8_small),
    };
    return run_cases(argc, argv, cases);
}
