/* SPDX-License-Identifier: MIT */
/* cuSOLVER: factorisations and what is solved with them. */
#include "cases.h"

#include <cmath>
#include <cusolverDn.h>

enum { N = 40 };

static double entry(int i, int j)
{
    return sin(i * 1.3 + j * 0.7) + (i == j ? 10 : 0);
}

static cusolverDnHandle_t handle()
{
    cusolverDnHandle_t h;
    CALL(cusolverDnCreate(&h));
    return h;
}

static void right_side(array<double> &b)
{
    for (int i = 0; i < N; i++) {
        b[i] = 0;
        for (int j = 0; j < N; j++)
            b[i] += entry(i, j) * (j + 1);
    }
    b.send();
}

static void expect_solution(array<double> &b)
{
    CHECK(cudaDeviceSynchronize());
    b.fetch();
    for (int i = 0; i < N; i++)
        EXPECT(fabs(b[i] - (i + 1)) < 1e-9);
}

static void lu()
{
    cusolverDnHandle_t h = handle();
    array<double> a(N * N), b(N);
    array<int> pivots(N), info(1);
    int room_count;
    for (int i = 0; i < N * N; i++)
        a[i] = entry(i % N, i / N);
    a.send(), right_side(b);
    CALL(cusolverDnDgetrf_bufferSize(h, N, N, a.device, N, &room_count));
    array<double> room(room_count);
    CALL(cusolverDnDgetrf(h, N, N, a.device, N, room.device, pivots.device, info.device));
    CALL(cusolverDnDgetrs(h, CUBLAS_OP_N, N, 1, a.device, N, pivots.device, b.device, N,
                          info.device));
    info.fetch();
    EXPECT(info[0] == 0);
    expect_solution(b);
}

static double symmetric(int i, int j)
{
    return entry(i < j ? i : j, i < j ? j : i) + (i == j ? N : 0);
}

static void cholesky()
{
    cusolverDnHandle_t h = handle();
    array<double> a(N * N), b(N);
    array<int> info(1);
    int room_count;
    for (int i = 0; i < N * N; i++)
        a[i] = symmetric(i % N, i / N);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            b[i] += symmetric(i, j) * (j + 1);
    a.send(), b.send();
    CALL(cusolverDnDpotrf_bufferSize(h, CUBLAS_FILL_MODE_LOWER, N, a.device, N, &room_count));
    array<double> room(room_count);
    CALL(cusolverDnDpotrf(h, CUBLAS_FILL_MODE_LOWER, N, a.device, N, room.device, room_count,
                          info.device));
    CALL(cusolverDnDpotrs(h, CUBLAS_FILL_MODE_LOWER, N, 1, a.device, N, b.device, N, info.device));
    expect_solution(b);
}

static void qr()
{
    cusolverDnHandle_t h = handle();
    cublasHandle_t blas;
    array<double> a(N * N), b(N), tau(N);
    array<int> info(1);
    int one, two;
    double alpha = 1;
    for (int i = 0; i < N * N; i++)
        a[i] = entry(i % N, i / N);
    a.send(), right_side(b);
    CALL(cublasCreate(&blas));
    CALL(cusolverDnDgeqrf_bufferSize(h, N, N, a.device, N, &one));
    CALL(cusolverDnDormqr_bufferSize(h, CUBLAS_SIDE_LEFT, CUBLAS_OP_T, N, 1, N, a.device, N,
                                     tau.device, b.device, N, &two));
    array<double> room(one > two ? one : two);
    CALL(cusolverDnDgeqrf(h, N, N, a.device, N, tau.device, room.device, one, info.device));
    CALL(cusolverDnDormqr(h, CUBLAS_SIDE_LEFT, CUBLAS_OP_T, N, 1, N, a.device, N, tau.device,
                          b.device, N, room.device, two, info.device));
    CALL(cublasDtrsm(blas, CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N,
                     CUBLAS_DIAG_NON_UNIT, N, 1, &alpha, a.device, N, b.device, N));
    expect_solution(b);
}

static void eigenvalues()
{
    cusolverDnHandle_t h = handle();
    array<double> a(N * N), w(N);
    array<int> info(1);
    int room_count;
    double trace = 0, sum = 0;
    for (int i = 0; i < N * N; i++)
        a[i] = symmetric(i % N, i / N);
    for (int i = 0; i < N; i++)
        trace += symmetric(i, i);
    a.send();
    CALL(cusolverDnDsyevd_bufferSize(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, N,
                                     a.device, N, w.device, &room_count));
    array<double> room(room_count);
    CALL(cusolverDnDsyevd(h, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_LOWER, N, a.device, N,
                          w.device, room.device, room_count, info.device));
    CHECK(cudaDeviceSynchronize());
    w.fetch(), a.fetch(), info.fetch();
    EXPECT(info[0] == 0);
    for (int i = 0; i < N; i++)
        sum += w[i];
    EXPECT(fabs(sum - trace) < 1e-8);
    for (int e = 0; e < N; e += 13) {
        for (int i = 0; i < N; i++) {
            double product = 0;
            for (int j = 0; j < N; j++)
                product += symmetric(i, j) * a[e * N + j];
            EXPECT(fabs(product - w[e] * a[e * N + i]) < 1e-8);
        }
    }
}

static void singular_values()
{
    cusolverDnHandle_t h = handle();
    array<double> a(N * N), s(N), u(N * N), vt(N * N);
    array<int> info(1);
    int room_count;
    for (int i = 0; i < N * N; i++)
        a[i] = entry(i % N, i / N);
    a.send();
    CALL(cusolverDnDgesvd_bufferSize(h, N, N, &room_count));
    array<double> room(room_count), other(N);
    CALL(cusolverDnDgesvd(h, 'A', 'A', N, N, a.device, N, s.device, u.device, N, vt.device, N,
                          room.device, room_count, other.device, info.device));
    CHECK(cudaDeviceSynchronize());
    s.fetch(), u.fetch(), vt.fetch();
    for (int i = 0; i < N; i += 7) {
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += u[k * N + i] * s[k] * vt[j * N + k];
            EXPECT(fabs(sum - entry(i, j)) < 1e-8);
        }
    }
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(lu), CASE(cholesky), CASE(qr), CASE(eigenvalues), CASE(singular_values),
    };
    return run_cases(argc, argv, cases);
}
