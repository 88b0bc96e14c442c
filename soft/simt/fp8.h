/* SPDX-License-Identifier: MIT */
/** The 8-bit floating-point formats: values of codes, and codes of values. */
#ifndef VGPU_SOFT_FP8_H
#define VGPU_SOFT_FP8_H

#include "soft/simt/half.h"

#define VGPU_NAN_8 0x7fu

static inline float vgpu_e5m2_value(uint8_t code)
{
    return vgpu_f16_value((uint16_t)(code << 8));
}

/* Four bits of exponent, no infinity: the largest code alone is not a number. */
static inline float vgpu_e4m3_value(uint8_t code)
{
    uint32_t sign = (uint32_t)(code & 0x80u) << 24, rest = code & 0x7fu;

    if (rest == 0x7fu)
        return vgpu_float_of(sign | VGPU_NAN_F32);
    /* Exponents differ by 120; the product is exact, for subnormals too. */
    return vgpu_float_of(sign | vgpu_bits_of(vgpu_float_of(rest << 20) * 0x1p120f));
}

/** To nearest, ties to even; what is too large becomes the largest number (.satfinite). */
static inline uint8_t vgpu_to_8(float v, int mantissa, int bias, uint8_t largest)
{
    float a = __builtin_fabsf(v), scaled;
    uint8_t sign = signbit(v) ? 0x80u : 0;
    int exponent, unit;
    uint32_t whole;

    if (v != v)
        return VGPU_NAN_8;
    if (a == 0)
        return sign;
    exponent = a < 0x1p-40f ? -40 : a > 0x1p40f ? 40 : ilogbf(a);
    unit = (exponent > 1 - bias ? exponent : 1 - bias) - mantissa;
    if (exponent >= 40)
        return sign | largest;
    scaled = ldexpf(a, -unit);
    whole = (uint32_t)rintf(scaled);
    if (exponent >= 1 - bias)
        whole += (uint32_t)(exponent + bias - 1) << mantissa;
    return sign | (uint8_t)(whole > largest ? largest : whole);
}

static inline uint8_t vgpu_to_e4m3(float v)
{
    return vgpu_to_8(v, 3, 7, 0x7e);
}

static inline uint8_t vgpu_to_e5m2(float v)
{
    return vgpu_to_8(v, 2, 15, 0x7b);
}

#endif
