/* SPDX-License-Identifier: MIT */
#include "bench/soft/native.h"

void native_add(const float *restrict a, const float *restrict b, float *restrict c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        c[i] = a[i] + b[i];
}

/* One row of one tile: its sums stay in vector registers. */
#define WIDTH 64

void native_multiply(const float *restrict a, const float *restrict b, float *restrict c, size_t n)
{
    for (size_t column = 0; column < n; column += WIDTH) {
        for (size_t row = 0; row < n; row++) {
            float sums[WIDTH] = {0};

            for (size_t k = 0; k < n; k++) {
                for (size_t x = 0; x < WIDTH; x++)
                    sums[x] += a[row * n + k] * b[k * n + column + x];
            }
            for (size_t x = 0; x < WIDTH; x++)
                c[row * n + column + x] = sums[x];
        }
    }
}

void native_sum(const float *in, float *out, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += in[i];
    *out += sum;
}

void native_histogram(const unsigned int *restrict in, unsigned int *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[in[i] % 256]++;
}
