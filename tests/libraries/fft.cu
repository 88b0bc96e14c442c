/* SPDX-License-Identifier: MIT */
/* cuFFT of many sizes against the sums that define the transform. */
#include "cases.h"

#include <cmath>
#include <complex>
#include <cufft.h>

static double value(int i, int salt)
{
    return sin(0.37 * i + salt) + (i * 13 + salt) % 7 * 0.25;
}

template <typename T> static void check(const T *got, int n, int first, int count, double accuracy)
{
    /* A few frequencies tell; all of a long one would take a while. */
    int step = count > 64 ? count / 37 : 1;
    for (int k = 0; k < count; k += step) {
        std::complex<double> want = 0;
        for (int i = 0; i < n; i++)
            want += std::complex<double>(value(first + i, 1), value(first + i, 2)) *
                    std::polar(1.0, -2 * M_PI * ((double)k * i / n));
        EXPECT(fabs(want.real() - got[k].x) < accuracy * n);
        EXPECT(fabs(want.imag() - got[k].y) < accuracy * n);
    }
}

template <int N> static void complex_size()
{
    array<cufftComplex> a(N);
    cufftHandle plan;
    for (int i = 0; i < N; i++)
        a[i] = {(float)value(i, 1), (float)value(i, 2)};
    a.send();
    CALL(cufftPlan1d(&plan, N, CUFFT_C2C, 1));
    CALL(cufftExecC2C(plan, a.device, a.device, CUFFT_FORWARD));
    CHECK(cudaDeviceSynchronize());
    a.fetch();
    check(a.host, N, 0, N, 2e-6);
    CALL(cufftExecC2C(plan, a.device, a.device, CUFFT_INVERSE));
    CHECK(cudaDeviceSynchronize());
    a.fetch();
    for (int i = 0; i < N; i++)
        EXPECT(fabs(a[i].x / N - value(i, 1)) < 1e-4 && fabs(a[i].y / N - value(i, 2)) < 1e-4);
    CALL(cufftDestroy(plan));
}

static void c2c_powers()
{
    complex_size<2>(), complex_size<8>(), complex_size<64>(), complex_size<512>();
    complex_size<4096>();
}

static void c2c_large()
{
    complex_size<32768>();
}

static void c2c_mixed()
{
    complex_size<6>(), complex_size<100>(), complex_size<360>(), complex_size<1155>();
}

static void c2c_primes()
{
    complex_size<17>(), complex_size<127>(), complex_size<1009>();
}

static void z2z()
{
    enum { N = 240 };
    array<cufftDoubleComplex> a(N);
    cufftHandle plan;
    for (int i = 0; i < N; i++)
        a[i] = {value(i, 1), value(i, 2)};
    a.send();
    CALL(cufftPlan1d(&plan, N, CUFFT_Z2Z, 1));
    CALL(cufftExecZ2Z(plan, a.device, a.device, CUFFT_FORWARD));
    CHECK(cudaDeviceSynchronize());
    a.fetch();
    check(a.host, N, 0, N, 1e-13);
}

static void r2c_and_back()
{
    enum { N = 256 };
    array<float> a(N), back(N);
    array<cufftComplex> f(N / 2 + 1);
    cufftHandle there, again;
    for (int i = 0; i < N; i++)
        a[i] = (float)value(i, 1);
    a.send();
    CALL(cufftPlan1d(&there, N, CUFFT_R2C, 1));
    CALL(cufftPlan1d(&again, N, CUFFT_C2R, 1));
    CALL(cufftExecR2C(there, a.device, f.device));
    CALL(cufftExecC2R(again, f.device, back.device));
    CHECK(cudaDeviceSynchronize());
    back.fetch();
    for (int i = 0; i < N; i++)
        EXPECT(fabs(back[i] / N - a[i]) < 1e-5);
}

static void batches()
{
    enum { N = 48, BATCHES = 10 };
    array<cufftComplex> a(N * BATCHES);
    cufftHandle plan;
    for (int i = 0; i < N * BATCHES; i++)
        a[i] = {(float)value(i, 1), (float)value(i, 2)};
    a.send();
    CALL(cufftPlan1d(&plan, N, CUFFT_C2C, BATCHES));
    CALL(cufftExecC2C(plan, a.device, a.device, CUFFT_FORWARD));
    CHECK(cudaDeviceSynchronize());
    a.fetch();
    for (int b = 0; b < BATCHES; b++)
        check(a.host + b * N, N, b * N, N, 2e-6);
}

static void two_dimensions()
{
    enum { N = 32, M = 24 };
    array<cufftComplex> a(N * M);
    cufftHandle plan;
    for (int i = 0; i < N * M; i++)
        a[i] = {(float)value(i, 1), (float)value(i, 2)};
    a.send();
    CALL(cufftPlan2d(&plan, N, M, CUFFT_C2C));
    CALL(cufftExecC2C(plan, a.device, a.device, CUFFT_FORWARD));
    CALL(cufftExecC2C(plan, a.device, a.device, CUFFT_INVERSE));
    CHECK(cudaDeviceSynchronize());
    a.fetch();
    for (int i = 0; i < N * M; i++)
        EXPECT(fabs(a[i].x / (N * M) - value(i, 1)) < 1e-5);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(c2c_powers),   CASE(c2c_large), CASE(c2c_mixed),      CASE(c2c_primes), CASE(z2z),
        CASE(r2c_and_back), CASE(batches),   CASE(two_dimensions),
    };
    return run_cases(argc, argv, cases);
}
