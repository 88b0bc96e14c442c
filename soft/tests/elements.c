/* SPDX-License-Identifier: MIT */
#include "soft/tests/elements.h"

#include <math.h>

const struct type_info types[TYPES] = {
    {"f16", 16, 10, 15}, {"bf16", 16, 7, 127}, {"tf32", 32, 10, 127}, {"e4m3", 8, 3, 7},
    {"e5m2", 8, 2, 15},  {"f32", 32, 23, 127}, {"f64", 64, 52, 1023}, {"s32", 32, 0, 0},
    {"s8", 8, 0, 0},     {"u8", 8, 0, 0},      {"s4", 4, 0, 0},       {"u4", 4, 0, 0},
    {"b1", 1, 0, 0}};

__float128 value_of(enum type t, uint64_t code)
{
    unsigned bits = types[t].bits, exponent_bits = bits - 1 - (unsigned)types[t].mantissa;
    int exponent, m = types[t].mantissa;
    __float128 v;

    switch (t) {
    case F32:
        return (__float128)as_f32(code);
    case F64:
        return (__float128)as_f64(code);
    case S32:
        return (int32_t)code;
    case S8:
        return (int8_t)code;
    case S4:
        return (int)((code & 15) ^ 8) - 8;
    case U8:
    case U4:
    case B1:
        return (__float128)code;
    case TF32: /* the exponent of f32, and its first ten bits */
        return (__float128)as_f32(code & 0xffffe000);
    default:
        break;
    }
    exponent = (int)(code >> m & ((1u << exponent_bits) - 1));
    if (t == E4M3 ? (code & 0x7f) == 0x7f : exponent == (1 << exponent_bits) - 1)
        return (code & ((1u << m) - 1)) != 0 ? (__float128)NAN
               : code >> (bits - 1)          ? -(__float128)INFINITY
                                             : (__float128)INFINITY;
    v = (__float128)(code & ((1u << m) - 1)) / (1 << m) + (exponent > 0);
    exponent = (exponent > 0 ? exponent : 1) - types[t].bias;
    for (; exponent > 0; exponent--)
        v *= 2;
    for (; exponent < 0; exponent++)
        v /= 2;
    return code >> (bits - 1) ? -v : v;
}

uint64_t some_code(enum type t, bool wild)
{
    uint64_t any = random_bits() & (UINT64_MAX >> (64 - types[t].bits)), exponent;

    if (t >= S32 || (wild && random_bits() % 4 == 0))
        return any;
    exponent = (uint64_t)types[t].bias + random_bits() % 4 - 2;
    if (t == TF32)
        return (any & 0x807fffff) | exponent << 23;
    return (any & ~((UINT64_MAX >> (64 - types[t].bits + 1)) &
                    ~((UINT64_C(1) << types[t].mantissa) - 1))) |
           exponent << types[t].mantissa;
}

__float128 magnitude(__float128 v)
{
    return v < 0 ? -v : v;
}

bool good_sum(enum type type, unsigned k, uint64_t got, struct product want)
{
    __float128 v = value_of(type, got), step = type == F64 ? 0x1p-52 : 0x1p-22, bound;
    __float128 most = type == F16 ? 65504 : type == F64 ? (__float128)1e308 : 0x1.fffffep127;

    if (want.sum != want.sum)
        return v != v;
    bound = want.size * step * (k + 1) + (type == F16 ? 0x1p-24 : 0x1p-148);
    if (type == F16)
        bound += magnitude(want.sum) * 0x1p-11;
    if (magnitude(want.sum) + bound >= most)
        return v != v || magnitude(v) >= most - bound || want.sum - want.sum != 0;
    return magnitude(v - want.sum) <= bound;
}

uint64_t integer_sum(const char *suffix, int64_t sum)
{
    if (strstr(suffix, "satfinite") != NULL)
        sum = sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum;
    return (uint32_t)sum;
}
