/* SPDX-License-Identifier: MIT */
/* f16 and bf16 against exact arithmetic in 113 bits and a rounding of the tests' own. */
#include "soft/tests/harness.h"

#include <math.h>

enum format { F16, BF16 };

static const int mantissa_bits[] = {10, 7}, least_exponent[] = {-14, -126};
static const uint64_t infinite[] = {0x7c00, 0x7f80};

/* The value of a code, by the definition of the format. */
static __float128 value(enum format f, uint64_t code)
{
    int m = mantissa_bits[f], exponent = (int)((code & 0x7fff) >> m), e = least_exponent[f] - m;
    __float128 v = (__float128)(code & ((1u << m) - 1));

    if ((code & 0x7fff) > infinite[f])
        return (__float128)NAN;
    if ((code & 0x7fff) == infinite[f])
        return code & 0x8000 ? -(__float128)INFINITY : (__float128)INFINITY;
    if (exponent > 0) {
        v += 1u << m;
        e += exponent - 1;
    }
    for (; e > 0; e--)
        v *= 2;
    for (; e < 0; e++)
        v /= 2;
    return code & 0x8000 ? -v : v;
}

/* The code nearest to v, by bisection over the codes, which are in the order of their values. */
static uint64_t nearest(enum format f, __float128 v, bool negative_zero)
{
    uint64_t sign = v < 0 || (v == 0 && negative_zero) ? 0x8000 : 0, low = 0, high = infinite[f];
    __float128 a = v < 0 ? -v : v, below, above;

    if (v != v)
        return 0x7fff;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;

        if (value(f, middle) <= a)
            low = middle;
        else
            high = middle;
    }
    /* Overflow is decided as if exponents went on. */
    below = value(f, low);
    above = high == infinite[f] ? below + (below - value(f, low - 1)) : value(f, high);
    if (a - below > above - a || (a - below == above - a && (low & 1) != 0))
        low = high;
    return sign | low;
}

#define OP(name, F, EXPR, ZERO)                                                                    \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        __float128 x = value(F, a), y = value(F, b), z = value(F, c);                              \
        bool sa = a >> 15 & 1, sb = b >> 15 & 1, sc = c >> 15 & 1;                                 \
        (void)x, (void)y, (void)z, (void)sa, (void)sb, (void)sc;                                   \
        return nearest(F, (EXPR), (ZERO));                                                         \
    }
#define PACKED(name, one)                                                                          \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        return one(a & 0xffff, b & 0xffff, c & 0xffff) | one(a >> 16, b >> 16, c >> 16) << 16;     \
    }
#define BOTH(op, EXPR, ZERO)                                                                       \
    OP(op##_h, F16, EXPR, ZERO)                                                                    \
    OP(op##_b, BF16, EXPR, ZERO)                                                                   \
    PACKED(op##_hh, op##_h)                                                                        \
    PACKED(op##_bb, op##_b)

/* A term so small that 113 bits lose it: one that is not lost says the same. */
static __float128 audible(__float128 z, __float128 other)
{
    __float128 least = (other < 0 ? -other : other) / (1 << 30) / (1 << 30);

    if (other - other != 0 || other == 0)
        return z;
    if (z > 0 && z < least)
        return least;
    return z < 0 && -z < least ? -least : z;
}

BOTH(add, x + y, sa &&sb)
BOTH(sub, x - y, sa && !sb)
BOTH(mul, x *y, sa != sb)
BOTH(fma, audible(x *y, z) + audible(z, x *y), (sa != sb) && sc)

#define SIGNS(name, EXPR)                                                                          \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        (void)b, (void)c;                                                                          \
        return (EXPR);                                                                             \
    }
SIGNS(neg_h, (a & 0x7fff) > 0x7c00 ? 0x7fff : a ^ 0x8000)
SIGNS(abs_h, (a & 0x7fff) > 0x7c00 ? 0x7fff : a & 0x7fff)
SIGNS(neg_b, (a & 0x7fff) > 0x7f80 ? 0x7fff : a ^ 0x8000)
PACKED(neg_bb, neg_b)
PACKED(abs_hh, abs_h)

static uint64_t pick(enum format f, uint64_t a, uint64_t b, bool least, bool nan)
{
    __float128 x = value(f, a), y = value(f, b);

    if (x != x || y != y)
        return nan || (x != x && y != y) ? 0x7fff : x != x ? b : a;
    if (x == y)
        return least == (a >> 15 & 1) ? a : b;
    return (x < y) == least ? a : b;
}

static uint64_t min_h(uint64_t a, uint64_t b, uint64_t c)
{
    (void)c;
    return pick(F16, a, b, true, false);
}

static uint64_t max_b_nan(uint64_t a, uint64_t b, uint64_t c)
{
    (void)c;
    return pick(BF16, a, b, false, true);
}
PACKED(min_hh, min_h)

static uint64_t fma_sat(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t r = fma_h(a, b, c);

    return r > 0x7c00 ? 0 : r > 0x3c00 ? 0x3c00 : r;
}

static uint64_t fma_relu(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t r = fma_b(a, b, c);

    return r & 0x8000 ? 0 : r;
}

static uint64_t lt_h(uint64_t a, uint64_t b, uint64_t c)
{
    (void)c;
    return value(F16, a) < value(F16, b);
}

static uint64_t geu_b(uint64_t a, uint64_t b, uint64_t c)
{
    (void)c;
    return !(value(BF16, a) < value(BF16, b));
}

static uint64_t set_gt_hh(uint64_t a, uint64_t b, uint64_t c)
{
    return lt_h(b & 0xffff, a & 0xffff, c) * 0x3c00 | lt_h(b >> 16, a >> 16, c) * 0x3c000000;
}

static uint64_t to_f32_h(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    return of_f32((float)value(F16, a)) | (a == 0x8000 ? 0x80000000u : 0);
}

static uint64_t to_f32_b(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    return a << 16;
}

static uint64_t from_f32_h(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    return nearest(F16, (__float128)as_f32(a), a >> 31);
}

static uint64_t from_f32_b(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    return nearest(BF16, (__float128)as_f32(a), a >> 31);
}

static uint64_t from_f64_h(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    if (isnan(as_f64(a)))
        return a >> 63 << 15 | 0x7e00 | (a >> 42 & 0x3ff);
    return nearest(F16, (__float128)as_f64(a), a >> 63);
}

/* Towards zero: the nearest code, or the one before it. */
static uint64_t from_f32_h_rz(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t r = from_f32_h(a, b, c);
    __float128 v = (__float128)as_f32(a), n = value(F16, r);

    if (v != v || v == n)
        return r;
    return (n < 0 ? -n : n) > (v < 0 ? -v : v) ? r - 1 : r;
}

static uint64_t from_s32_h(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    return nearest(F16, (__float128)(int32_t)a, false);
}

static uint64_t from_u64_b(uint64_t a, uint64_t b, uint64_t c)
{
    (void)b, (void)c;
    return nearest(BF16, (__float128)a, false);
}

static uint64_t to_s32_h(uint64_t a, uint64_t b, uint64_t c)
{
    __float128 v = value(F16, a);

    (void)b, (void)c;
    return v != v ? 0 : v > 70000 ? INT32_MAX : v < -70000 ? (uint64_t)INT32_MIN : (uint64_t)(int)v;
}

static uint64_t pair_h(uint64_t a, uint64_t b, uint64_t c)
{
    return from_f32_h(a, 0, c) << 16 | from_f32_h(b, 0, c);
}

static uint64_t pair_b(uint64_t a, uint64_t b, uint64_t c)
{
    return from_f32_b(a, 0, c) << 16 | from_f32_b(b, 0, c);
}

static void arithmetic(void **state)
{
    static const struct instruction table[] = {
        {"add.f16 %d, %a, %b;", "eee", add_h, 0},
        {"add.rn.f16x2 %d, %a, %b;", "EEE", add_hh, 0},
        {"add.rn.bf16 %d, %a, %b;", "bbb", add_b, 0},
        {"add.rn.bf16x2 %d, %a, %b;", "BBB", add_bb, 0},
        {"sub.f16 %d, %a, %b;", "eee", sub_h, 0},
        {"sub.f16x2 %d, %a, %b;", "EEE", sub_hh, 0},
        {"sub.bf16 %d, %a, %b;", "bbb", sub_b, 0},
        {"sub.bf16x2 %d, %a, %b;", "BBB", sub_bb, 0},
        {"mul.f16 %d, %a, %b;", "eee", mul_h, 0},
        {"mul.f16x2 %d, %a, %b;", "EEE", mul_hh, 0},
        {"mul.bf16 %d, %a, %b;", "bbb", mul_b, 0},
        {"mul.bf16x2 %d, %a, %b;", "BBB", mul_bb, 0},
        {"fma.rn.f16 %d, %a, %b, %c;", "eeee", fma_h, 0},
        {"fma.rn.f16x2 %d, %a, %b, %c;", "EEEE", fma_hh, 0},
        {"fma.rn.bf16 %d, %a, %b, %c;", "bbbb", fma_b, 0},
        {"fma.rn.bf16x2 %d, %a, %b, %c;", "BBBB", fma_bb, 0},
        {"fma.rn.sat.f16 %d, %a, %b, %c;", "eeee", fma_sat, 0},
        {"fma.rn.relu.bf16 %d, %a, %b, %c;", "bbbb", fma_relu, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void order_and_sign(void **state)
{
    static const struct instruction table[] = {
        {"neg.f16 %d, %a;", "ee", neg_h, 0},
        {"neg.bf16x2 %d, %a;", "BB", neg_bb, 0},
        {"abs.f16 %d, %a;", "ee", abs_h, 0},
        {"abs.f16x2 %d, %a;", "EE", abs_hh, 0},
        {"min.f16 %d, %a, %b;", "eee", min_h, 0},
        {"min.f16x2 %d, %a, %b;", "EEE", min_hh, 0},
        {"max.NaN.bf16 %d, %a, %b;", "bbb", max_b_nan, 0},
        {"setp.lt.f16 %d, %a, %b;", "pee", lt_h, 0},
        {"setp.geu.bf16 %d, %a, %b;", "pbb", geu_b, 0},
        {"set.gt.f16x2.f16x2 %d, %a, %b;", "EEE", set_gt_hh, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void conversions(void **state)
{
    static const struct instruction table[] = {
        {"cvt.f32.f16 %d, %a;", "fe", to_f32_h, 0},
        {"cvt.f32.bf16 %d, %a;", "fb", to_f32_b, 0},
        {"cvt.rn.f16.f32 %d, %a;", "ef", from_f32_h, 0},
        {"cvt.rz.f16.f32 %d, %a;", "ef", from_f32_h_rz, 0},
        {"cvt.rn.bf16.f32 %d, %a;", "bf", from_f32_b, 0},
        {"cvt.rn.f16.f64 %d, %a;", "ed", from_f64_h, 0},
        {"cvt.rn.f16.s32 %d, %a;", "ew", from_s32_h, 0},
        {"cvt.rn.bf16.u64 %d, %a;", "bq", from_u64_b, 0},
        {"cvt.rzi.s32.f16 %d, %a;", "we", to_s32_h, 0},
        {"cvt.rn.f16x2.f32 %d, %a, %b;", "Eff", pair_h, 0},
        {"cvt.rn.bf16x2.f32 %d, %a, %b;", "Bff", pair_b, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arithmetic),
        cmocka_unit_test(order_and_sign),
        cmocka_unit_test(conversions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
