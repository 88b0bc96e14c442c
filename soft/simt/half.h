/* SPDX-License-Identifier: MIT */
/** 16-bit floating-point formats: to float and back, many at a time, and any rounding one by one.
 */
#ifndef VGPU_SOFT_HALF_H
#define VGPU_SOFT_HALF_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __F16C__
#include <immintrin.h>
#endif

#include "soft/ptx/program.h"

/* The one NaN that results have. */
#define VGPU_NAN_16  0x7fffu
#define VGPU_NAN_F32 0x7fffffffu

static inline float vgpu_float_of(uint32_t bits)
{
    float f;

    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline uint32_t vgpu_bits_of(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float vgpu_f16_value(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu;

    if (rest >= 0x7c00u) /* infinity and NaN */
        return vgpu_float_of(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    /* Exponents differ by 112; the product is exact, for subnormals too. */
    return vgpu_float_of(sign | vgpu_bits_of(vgpu_float_of(rest << 13) * 0x1p112f));
}

static inline float vgpu_bf16_value(uint16_t h)
{
    return vgpu_float_of((uint32_t)h << 16);
}

static inline void vgpu_from_f16(const uint16_t *from, float *to, unsigned n)
{
#ifdef __F16C__
    for (unsigned k = 0; k < n; k += 8)
        _mm256_storeu_ps(to + k, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + k))));
#else
    for (unsigned k = 0; k < n; k++)
        to[k] = vgpu_f16_value(from[k]);
#endif
}

static inline void vgpu_from_bf16(const uint16_t *from, float *to, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        to[k] = vgpu_bf16_value(from[k]);
}

/**
 * Rounds to a format of `mantissa` explicit bits and exponent bias `bias`, from a value that has at
 * most 53 bits (or was rounded to odd, which rounds the same).
 */
static inline uint16_t vgpu_narrow(double x, unsigned rounding, int mantissa, int bias)
{
    uint16_t infinite = (uint16_t)((unsigned)(2 * bias + 1) << mantissa), code;
    uint16_t sign = signbit(x) ? 0x8000u : 0;
    double a = fabs(x), scaled;
    int exponent, unit;
    uint64_t whole;
    bool up;

    if (x != x)
        return VGPU_NAN_16;
    if (isinf(x))
        return sign | infinite;
    if (a == 0)
        return sign;
    exponent = a < 0x1p-1000 ? -1001 : ilogb(a);
    up = rounding == VGPU_RN || rounding == (sign ? VGPU_RM : VGPU_RP);
    if (exponent > bias)
        return sign | (up ? infinite : infinite - 1);
    unit = (exponent > 1 - bias ? exponent : 1 - bias) - mantissa;
    scaled = ldexp(a, -unit);
    whole = (uint64_t)scaled;
    scaled -= (double)whole;
    if (rounding == VGPU_RN)
        whole += scaled > 0.5 || (scaled == 0.5 && (whole & 1) != 0);
    else
        whole += scaled > 0 && up;
    /* A carry out of the mantissa goes to the exponent by itself, up to infinity. */
    code = (uint16_t)whole;
    if (exponent >= 1 - bias)
        code = (uint16_t)(((unsigned)(exponent + bias - 1) << mantissa) + whole);
    return sign | code;
}

static inline uint16_t vgpu_to_f16_one(double x, unsigned rounding)
{
    return vgpu_narrow(x, rounding, 10, 15);
}

static inline uint16_t vgpu_to_bf16_one(double x, unsigned rounding)
{
    return vgpu_narrow(x, rounding, 7, 127);
}

/** To nearest, ties to even. */
static inline void vgpu_to_bf16(const float *from, uint16_t *to, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        uint32_t bits = vgpu_bits_of(from[k]);
        uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;

        to[k] = (uint16_t)(from[k] != from[k] ? VGPU_NAN_16 : rounded);
    }
}

static inline void vgpu_to_f16(const float *from, uint16_t *to, unsigned n)
{
#ifdef __F16C__
    for (unsigned k = 0; k < n; k += 8) {
        __m256 v = _mm256_loadu_ps(from + k);
        __m128i h = _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);

        _mm_storeu_si128((__m128i *)(to + k), h);
    }
    for (unsigned k = 0; k < n; k++)
        to[k] = (uint16_t)((to[k] & 0x7fffu) > 0x7c00u ? VGPU_NAN_16 : to[k]);
#else
    for (unsigned k = 0; k < n; k++)
        to[k] = vgpu_to_f16_one((double)from[k], VGPU_RN);
#endif
}

/** a + b with the lost part kept as the last bit: rounds right when it is rounded again. */
static inline double vgpu_add_odd(double a, double b)
{
    double sum = a + b, part = sum - a, lost = (a - (sum - part)) + (b - part);
    uint64_t bits;

    if (lost == 0 || lost != lost || isinf(sum))
        return sum;
    memcpy(&bits, &sum, sizeof(bits));
    if ((bits & 1) == 0)
        bits += (lost > 0) == (sum > 0) ? 1 : UINT64_MAX;
    memcpy(&sum, &bits, sizeof(sum));
    return sum;
}

#endif
