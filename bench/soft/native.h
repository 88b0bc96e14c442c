/* SPDX-License-Identifier: MIT */
/** The kernels as plain C on one core, compiled for the processor they run on. */
#ifndef VGPU_BENCH_SOFT_NATIVE_H
#define VGPU_BENCH_SOFT_NATIVE_H

#include <stddef.h>

/** c[i] = a[i] + b[i] for `n` elements. */
void native_add(const float *a, const float *b, float *c, size_t n);
/** c = a * b for matrices of n rows and columns, row by row; n is a multiple of 64. */
void native_multiply(const float *a, const float *b, float *c, size_t n);
/** *out += the sum of `n` elements. */
void native_sum(const float *in, float *out, size_t n);
/** out[in[i] % 256]++ for `n` elements. */
void native_histogram(const unsigned int *in, unsigned int *out, size_t n);

#endif
