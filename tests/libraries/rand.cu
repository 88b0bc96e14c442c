/* SPDX-License-Identifier: MIT */
/* cuRAND: each generator is the same on the host and on the device, and so are their numbers.
   (MT19937 is right, too, but gets its states ready for a minute on the software GPU.) */
#include "cases.h"

#include <cmath>
#include <curand.h>
#include <curand_kernel.h>

enum { N = 20000 };

static void moments(const float *values, double mean, double variance)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++)
        sum += values[i], squares += (double)values[i] * values[i];
    sum /= N, squares = squares / N - sum * sum;
    EXPECT(fabs(sum - mean) < 0.05 * sqrt(variance) + 0.01 && fabs(squares - variance) < 0.05 * variance);
}

static void generator(curandRngType_t type)
{
    curandGenerator_t device, host;
    array<float> uniform(N), normal(N);
    float *same = (float *)malloc(N * sizeof(float));
    CALL(curandCreateGenerator(&device, type));
    CALL(curandCreateGeneratorHost(&host, type));
    if (type < CURAND_RNG_QUASI_DEFAULT) {
        CALL(curandSetPseudoRandomGeneratorSeed(device, 1234));
        CALL(curandSetPseudoRandomGeneratorSeed(host, 1234));
    }
    CALL(curandGenerateUniform(device, uniform.device, N));
    CALL(curandGenerateUniform(host, same, N));
    CHECK(cudaDeviceSynchronize());
    uniform.fetch();
    moments(uniform.host, 0.5, 1.0 / 12);
    for (int i = 0; i < N; i++)
        EXPECT(uniform[i] > 0 && uniform[i] <= 1 && uniform[i] == same[i]);
    CALL(curandGenerateNormal(device, normal.device, N, 1.0f, 2.0f));
    CHECK(cudaDeviceSynchronize());
    normal.fetch();
    moments(normal.host, 1, 4);
    CALL(curandDestroyGenerator(device));
    CALL(curandDestroyGenerator(host));
    free(same);
}

static void xorwow() { generator(CURAND_RNG_PSEUDO_XORWOW); }
static void mrg32k3a() { generator(CURAND_RNG_PSEUDO_MRG32K3A); }
static void mtgp32() { generator(CURAND_RNG_PSEUDO_MTGP32); }
static void philox() { generator(CURAND_RNG_PSEUDO_PHILOX4_32_10); }
static void sobol32() { generator(CURAND_RNG_QUASI_SOBOL32); }
static void scrambled_sobol32() { generator(CURAND_RNG_QUASI_SCRAMBLED_SOBOL32); }

static void poisson()
{
    curandGenerator_t g;
    array<unsigned> values(N);
    double sum = 0;
    CALL(curandCreateGenerator(&g, CURAND_RNG_PSEUDO_PHILOX4_32_10));
    CALL(curandGeneratePoisson(g, values.device, N, 5.0));
    CHECK(cudaDeviceSynchronize());
    values.fetch();
    for (int i = 0; i < N; i++)
        sum += values[i];
    EXPECT(fabs(sum / N - 5) < 0.1);
}

__global__ void draw(float *out)
{
    curandStatePhilox4_32_10_t state;
    curand_init(99, threadIdx.x, 0, &state);
    for (int i = 0; i < 100; i++)
        out[threadIdx.x * 100 + i] = curand_uniform(&state);
}

static void in_kernels()
{
    array<float> out(200 * 100);
    draw<<<1, 200>>>(out.device);
    CHECK(cudaDeviceSynchronize());
    out.fetch();
    moments(out.host, 0.5, 1.0 / 12);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(xorwow),  CASE(mrg32k3a), CASE(mtgp32),   CASE(philox),
        CASE(sobol32), CASE(poisson),  CASE(scrambled_sobol32), CASE(in_kernels),
    };
    return run_cases(argc, argv, cases);
}
