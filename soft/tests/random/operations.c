/* SPDX-License-Identifier: MIT */
/* Instructions whose results PTX defines to the bit, and the same in C. */
#include "soft/tests/random/kernel.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

#define VALUE(name, expression)                                                                    \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)b;                                                                                   \
        (void)c;                                                                                   \
        return (uint64_t)(expression);                                                             \
    }

#define S16(x)    ((int64_t)(int16_t)(x))
#define S32(x)    ((int64_t)(int32_t)(x))
#define S64(x)    ((int64_t)(x))
#define LOW(x)    ((uint64_t)(uint32_t)(x))
#define HALF(x)   ((uint64_t)(uint16_t)(x))
#define MIN(x, y) ((x) < (y) ? (x) : (y))
#define MAX(x, y) ((x) > (y) ? (x) : (y))

typedef unsigned __int128 wide;
typedef __int128 wide_signed;

static uint64_t shift_left(uint64_t x, uint64_t by, unsigned bits)
{
    return by >= bits ? 0 : x << by;
}

static uint64_t shift_right(uint64_t x, uint64_t by, unsigned bits)
{
    return by >= bits ? 0 : x >> by;
}

static uint64_t shift_signed(int64_t x, uint64_t by, unsigned bits)
{
    return (uint64_t)(x >> (by >= bits ? bits - 1 : by));
}

static uint64_t reversed(uint64_t x, unsigned bits)
{
    uint64_t r = 0;

    for (unsigned n = 0; n < bits; n++)
        r |= (x >> n & 1) << (bits - 1 - n);
    return r;
}

static uint64_t highest(uint64_t x)
{
    return x == 0 ? UINT32_MAX : 63 - (uint64_t)__builtin_clzll(x);
}

static uint64_t extract(uint64_t x, uint64_t position, uint64_t length, unsigned bits, bool sign)
{
    uint64_t r = 0, fill;

    position &= 0xff;
    length &= 0xff;
    if (!sign || length == 0)
        fill = 0;
    else
        fill = x >> MIN(position + length - 1, bits - 1) & 1;
    for (unsigned n = 0; n < bits; n++)
        r |= (n < length && position + n < bits ? x >> (position + n) & 1 : fill) << n;
    return r;
}

static uint64_t insert(uint64_t x, uint64_t into, uint64_t position, uint64_t length, unsigned bits)
{
    position &= 0xff;
    length &= 0xff;
    for (unsigned n = 0; n < length && position + n < bits; n++) {
        into &= ~(UINT64_C(1) << (position + n));
        into |= (x >> n & 1) << (position + n);
    }
    return into;
}

static uint64_t permuted(uint64_t a, uint64_t b, uint64_t selector)
{
    uint64_t both = LOW(a) | b << 32, r = 0;

    for (unsigned n = 0; n < 4; n++) {
        unsigned s = selector >> 4 * n & 15;
        uint64_t byte = both >> 8 * (s & 7) & 0xff;

        r |= (s & 8 ? (byte & 0x80 ? 0xffu : 0) : byte) << 8 * n;
    }
    return r;
}

static uint64_t by_table(uint64_t a, uint64_t b, uint64_t c, unsigned table)
{
    uint64_t r = 0;

    for (unsigned n = 0; n < 32; n++)
        r |= (uint64_t)(table >> ((a >> n & 1) << 2 | (b >> n & 1) << 1 | (c >> n & 1)) & 1) << n;
    return r;
}

static uint64_t dot(uint64_t a, uint64_t b, uint64_t c, bool sign)
{
    for (unsigned n = 0; n < 32; n += 8)
        c += (uint64_t)((sign ? (int64_t)(int8_t)(a >> n) : (int64_t)(a >> n & 0xff)) *
                        (int64_t)(b >> n & 0xff));
    return c;
}

VALUE(add, a + b)
VALUE(sub, a - b)
VALUE(mul, a *b)
VALUE(mad, a *b + c)
VALUE(hi_u32, a *b >> 32)
VALUE(hi_s32, S32(a) * S32(b) >> 32)
VALUE(hi_u64, (wide)a *b >> 64)
VALUE(hi_s64, (wide_signed)S64(a) * S64(b) >> 64)
VALUE(mad_hi, (S32(a) * S32(b) >> 32) + S32(c))
VALUE(wide_s32, S32(a) * S32(b))
VALUE(mad_wide, a *b + c)
VALUE(mul24, (S32(a << 8) >> 8) * (S32(b << 8) >> 8))
VALUE(sad, (S32(a) > S32(b) ? S32(a) - S32(b) : S32(b) - S32(a)) + S32(c))
VALUE(div_u32, a / (b | 1))
VALUE(rem_u32, a % (b | 1))
VALUE(div_s32, S32(a) / S64(HALF(b) | 1))
VALUE(rem_s32, S32(a) % S64(HALF(b) | 1))
VALUE(div_u64, a / (b | 1))
VALUE(rem_s64, S64(a) % S64(LOW(b) | 1))
VALUE(min_s32, MIN(S32(a), S32(b)))
VALUE(max_u32, MAX(a, b))
VALUE(min_u64, MIN(a, b))
VALUE(max_s64, MAX(S64(a), S64(b)))
VALUE(neg, 0 - a)
VALUE(and_, a &b)
VALUE(or_, a | b)
VALUE(xor_, a ^ b)
VALUE(not_, ~a)
VALUE(cnot, a == 0)
VALUE(shl32, shift_left(a, b, 32))
VALUE(shr32, shift_right(a, b, 32))
VALUE(sar32, shift_signed(S32(a), b, 32))
VALUE(shl64, shift_left(a, b, 64))
VALUE(shr64, shift_right(a, b, 64))
VALUE(sar64, shift_signed(S64(a), b, 64))
VALUE(funnel_left, ((b << 32 | a) << (c & 31)) >> 32)
VALUE(funnel_right, (b << 32 | a) >> MIN(c, 32))
VALUE(popc32, __builtin_popcountll(a))
VALUE(clz32, a == 0 ? 32 : __builtin_clz((unsigned)a))
VALUE(clz64, a == 0 ? 64 : __builtin_clzll(a))
VALUE(brev32, reversed(a, 32))
VALUE(brev64, reversed(a, 64))
VALUE(bfind_u32, highest(a))
VALUE(bfind_s32, highest(LOW(S32(a) < 0 ? ~a : a)))
VALUE(bfind_u64, highest(a))
VALUE(bfe_u32, extract(a, b, c, 32, false))
VALUE(bfe_s32, extract(a, b, c, 32, true))
/* What positions above 255 mean to 64-bit forms is not what PTX says of them. */
VALUE(bfe_s64, extract(a, b & 127, c & 127, 64, true))
VALUE(bfi32, insert(a, b, c, 9, 32))
VALUE(bfi64, insert(a, b, 21, c & 127, 64))
VALUE(prmt, permuted(a, b, c))
VALUE(lop_96, by_table(a, b, c, 0x96))
VALUE(lop_2d, by_table(a, b, c, 0x2d))
VALUE(dp4a_u, dot(a, b, c, false))
VALUE(dp4a_s, dot(a, b, c, true))
VALUE(carry, c + (LOW(a) + LOW(b) > UINT32_MAX))
VALUE(borrow, c - (LOW(a) < LOW(b)))
VALUE(half_mad, LOW(S16(HALF(S16(a) * S16(b) + S16(c)))))
VALUE(half_wide, S16(a) * S16(b))
VALUE(half_min, HALF(MIN(S16(a), S16(b))))
VALUE(half_shift, HALF(shift_signed(S16(a), b, 16)))
VALUE(widen_s, S32(a))
VALUE(widen_u, a)
VALUE(narrow, a)
VALUE(narrow_sat, MAX(MIN(S64(a), INT32_MAX), INT32_MIN))
VALUE(sat_u8, MAX(MIN(S32(a), 255), 0))
VALUE(sign_s8, (int64_t)(int8_t)a)
VALUE(pack, LOW(a) | b << 32)
VALUE(unpack_high, a >> 32)
VALUE(swap_halves, a << 16 | LOW(a) >> 16)
VALUE(set_lt, S32(a) < S32(b) ? UINT32_MAX : 0)
VALUE(slct, S32(c) >= 0 ? a : b)
VALUE(select_even, c % 2 == 0 ? a : b)

/* ---- floating point ---- */

static float f32(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float f;

    memcpy(&f, &low, sizeof(f));
    return f;
}

static uint64_t bits32(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return f != f ? 0x7fffffff : bits;
}

static double f64(uint64_t bits)
{
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

static uint64_t bits64(double d)
{
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    return d != d ? UINT64_C(0x7ff8000000000000) : bits;
}

static float smaller(float a, float b)
{
    if (a != a || b != b)
        return a != a ? b : a;
    return a < b || (a == b && signbit(a)) ? a : b;
}

static float larger(float a, float b)
{
    if (a != a || b != b)
        return a != a ? b : a;
    return a > b || (a == b && !signbit(a)) ? a : b;
}

#define ROUNDED(name, mode, type, bits, expression)                                                \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        int before = fegetround();                                                                 \
        volatile type result;                                                                      \
                                                                                                   \
        (void)b;                                                                                   \
        (void)c;                                                                                   \
        fesetround(mode);                                                                          \
        result = (expression);                                                                     \
        fesetround(before);                                                                        \
        return bits(result);                                                                       \
    }

ROUNDED(add_rn, FE_TONEAREST, float, bits32, f32(a) + f32(b))
ROUNDED(add_rz, FE_TOWARDZERO, float, bits32, f32(a) + f32(b))
ROUNDED(sub_rm, FE_DOWNWARD, float, bits32, f32(a) - f32(b))
ROUNDED(mul_rn, FE_TONEAREST, float, bits32, f32(a) * f32(b))
ROUNDED(mul_rp, FE_UPWARD, float, bits32, f32(a) * f32(b))
ROUNDED(fma_rn, FE_TONEAREST, float, bits32, fmaf(f32(a), f32(b), f32(c)))
ROUNDED(fma_rz, FE_TOWARDZERO, float, bits32, fmaf(f32(a), f32(b), f32(c)))
ROUNDED(div_rn, FE_TONEAREST, float, bits32, f32(a) / f32(b))
ROUNDED(sqrt_rn, FE_TONEAREST, float, bits32, sqrtf(f32(a)))
ROUNDED(rcp_rn, FE_TONEAREST, float, bits32, 1.0f / f32(a))
ROUNDED(of_s32, FE_TONEAREST, float, bits32, (float)(int32_t)a)
ROUNDED(of_u32_rz, FE_TOWARDZERO, float, bits32, (float)(uint32_t)a)
ROUNDED(of_s64, FE_TONEAREST, double, bits64, (double)(int64_t)a)
ROUNDED(of_f64, FE_TONEAREST, float, bits32, (float)f64(a))
ROUNDED(add_f64, FE_TONEAREST, double, bits64, f64(a) + f64(b))
ROUNDED(mul_f64_rm, FE_DOWNWARD, double, bits64, f64(a) * f64(b))
ROUNDED(fma_f64, FE_TONEAREST, double, bits64, fma(f64(a), f64(b), f64(c)))
ROUNDED(div_f64, FE_TONEAREST, double, bits64, f64(a) / f64(b))
ROUNDED(sqrt_f64, FE_TONEAREST, double, bits64, sqrt(f64(a)))
VALUE(min_f32, bits32(smaller(f32(a), f32(b))))
VALUE(max_f32, bits32(larger(f32(a), f32(b))))
VALUE(of_f32, bits64((double)f32(a)))

/* What bits a NaN has is said for arithmetic of f32 only. */
#define ONE_NAN32(instruction)                                                                     \
    "{ .reg .pred p; .reg .b32 x; " instruction                                                    \
    " testp.notanumber.f32 p, x; selp.b32 %d, 0x7fffffff, x, p; }"
#define ONE_NAN64(instruction)                                                                     \
    "{ .reg .pred p; .reg .b64 x; " instruction                                                    \
    " testp.notanumber.f64 p, x; selp.b64 %d, 0x7ff8000000000000, x, p; }"

const struct operation operations[] = {
    {"add.u32 %d, %a, %b;", "www", add},
    {"sub.s32 %d, %a, %b;", "www", sub},
    {"mul.lo.u32 %d, %a, %b;", "www", mul},
    {"mad.lo.s32 %d, %a, %b, %c;", "wwww", mad},
    {"mul.hi.u32 %d, %a, %b;", "www", hi_u32},
    {"mul.hi.s32 %d, %a, %b;", "www", hi_s32},
    {"mad.hi.s32 %d, %a, %b, %c;", "wwww", mad_hi},
    {"mul24.lo.s32 %d, %a, %b;", "www", mul24},
    {"sad.s32 %d, %a, %b, %c;", "wwww", sad},
    {"{ .reg .b32 x; or.b32 x, %b, 1; div.u32 %d, %a, x; }", "www", div_u32},
    {"{ .reg .b32 x; or.b32 x, %b, 1; rem.u32 %d, %a, x; }", "www", rem_u32},
    {"{ .reg .b32 x; and.b32 x, %b, 0xffff; or.b32 x, x, 1; div.s32 %d, %a, x; }", "www", div_s32},
    {"{ .reg .b32 x; and.b32 x, %b, 0xffff; or.b32 x, x, 1; rem.s32 %d, %a, x; }", "www", rem_s32},
    {"min.s32 %d, %a, %b;", "www", min_s32},
    {"max.u32 %d, %a, %b;", "www", max_u32},
    {"neg.s32 %d, %a;", "ww", neg},
    {"and.b32 %d, %a, %b;", "www", and_},
    {"or.b32 %d, %a, %b;", "www", or_},
    {"xor.b32 %d, %a, %b;", "www", xor_},
    {"not.b32 %d, %a;", "ww", not_},
    {"cnot.b32 %d, %a;", "ww", cnot},
    {"shl.b32 %d, %a, %b;", "www", shl32},
    {"shr.u32 %d, %a, %b;", "www", shr32},
    {"shr.s32 %d, %a, %b;", "www", sar32},
    {"shf.l.wrap.b32 %d, %a, %b, %c;", "wwww", funnel_left},
    {"shf.r.clamp.b32 %d, %a, %b, %c;", "wwww", funnel_right},
    {"popc.b32 %d, %a;", "ww", popc32},
    {"clz.b32 %d, %a;", "ww", clz32},
    {"brev.b32 %d, %a;", "ww", brev32},
    {"bfind.u32 %d, %a;", "ww", bfind_u32},
    {"bfind.s32 %d, %a;", "ww", bfind_s32},
    {"bfe.u32 %d, %a, %b, %c;", "wwss", bfe_u32},
    {"bfe.s32 %d, %a, %b, %c;", "wwss", bfe_s32},
    {"bfi.b32 %d, %a, %b, %c, 9;", "wwws", bfi32},
    {"prmt.b32 %d, %a, %b, %c;", "wwww", prmt},
    {"lop3.b32 %d, %a, %b, %c, 0x96;", "wwww", lop_96},
    {"lop3.b32 %d, %a, %b, %c, 0x2d;", "wwww", lop_2d},
    {"dp4a.u32.u32 %d, %a, %b, %c;", "wwww", dp4a_u},
    {"dp4a.s32.u32 %d, %a, %b, %c;", "wwww", dp4a_s},
    {"{ .reg .b32 x; add.cc.u32 x, %a, %b; addc.u32 %d, %c, 0; }", "wwww", carry},
    {"{ .reg .b32 x; sub.cc.u32 x, %a, %b; subc.u32 %d, %c, 0; }", "wwww", borrow},
    {"{ .reg .b16 x, y, z; cvt.u16.u32 x, %a; cvt.u16.u32 y, %b; cvt.u16.u32 z, %c; "
     "mad.lo.s16 x, x, y, z; cvt.s32.s16 %d, x; }",
     "wwww", half_mad},
    {"{ .reg .b16 x, y; cvt.u16.u32 x, %a; cvt.u16.u32 y, %b; mul.wide.s16 %d, x, y; }", "www",
     half_wide},
    {"{ .reg .b16 x, y; cvt.u16.u32 x, %a; cvt.u16.u32 y, %b; min.s16 x, x, y; "
     "cvt.u32.u16 %d, x; }",
     "www", half_min},
    /* ptxas 13.0 takes the low 16 bits of an amount that is a number: min keeps it small. */
    {"{ .reg .b16 x; .reg .b32 y; cvt.u16.u32 x, %a; min.u32 y, %b, 255; shr.s16 x, x, y; "
     "cvt.u32.u16 %d, x; }",
     "www", half_shift},
    {"cvt.sat.u8.s32 %d, %a;", "ww", sat_u8},
    {"cvt.s32.s8 %d, %a;", "ww", sign_s8},
    {"{ .reg .b16 x, y; mov.b32 {x, y}, %a; mov.b32 %d, {y, x}; }", "ww", swap_halves},
    {"set.lt.u32.s32 %d, %a, %b;", "www", set_lt},
    {"slct.u32.s32 %d, %a, %b, %c;", "wwww", slct},
    {"{ .reg .pred p; .reg .b32 x; and.b32 x, %c, 1; setp.eq.u32 p, x, 0; "
     "selp.b32 %d, %a, %b, p; }",
     "wwww", select_even},
    {"add.u64 %d, %a, %b;", "qqq", add},
    {"sub.s64 %d, %a, %b;", "qqq", sub},
    {"mul.lo.u64 %d, %a, %b;", "qqq", mul},
    {"mad.lo.u64 %d, %a, %b, %c;", "qqqq", mad},
    {"mul.hi.u64 %d, %a, %b;", "qqq", hi_u64},
    {"mul.hi.s64 %d, %a, %b;", "qqq", hi_s64},
    {"mul.wide.s32 %d, %a, %b;", "qww", wide_s32},
    {"mad.wide.u32 %d, %a, %b, %c;", "qwwq", mad_wide},
    {"{ .reg .b64 x; or.b64 x, %b, 1; div.u64 %d, %a, x; }", "qqq", div_u64},
    {"{ .reg .b64 x; and.b64 x, %b, 0xffffffff; or.b64 x, x, 1; rem.s64 %d, %a, x; }", "qqq",
     rem_s64},
    {"min.u64 %d, %a, %b;", "qqq", min_u64},
    {"max.s64 %d, %a, %b;", "qqq", max_s64},
    {"xor.b64 %d, %a, %b;", "qqq", xor_},
    {"and.b64 %d, %a, %b;", "qqq", and_},
    {"not.b64 %d, %a;", "qq", not_},
    {"shl.b64 %d, %a, %b;", "qqw", shl64},
    {"shr.u64 %d, %a, %b;", "qqw", shr64},
    {"shr.s64 %d, %a, %b;", "qqw", sar64},
    {"popc.b64 %d, %a;", "wq", popc32},
    {"clz.b64 %d, %a;", "wq", clz64},
    {"brev.b64 %d, %a;", "qq", brev64},
    {"bfind.u64 %d, %a;", "wq", bfind_u64},
    {"{ .reg .b32 x, y; and.b32 x, %b, 127; and.b32 y, %c, 127; bfe.s64 %d, %a, x, y; }", "qqss",
     bfe_s64},
    {"{ .reg .b32 x; and.b32 x, %c, 127; bfi.b64 %d, %a, %b, 21, x; }", "qqqs", bfi64},
    {"cvt.s64.s32 %d, %a;", "qw", widen_s},
    {"cvt.u64.u32 %d, %a;", "qw", widen_u},
    {"cvt.u32.u64 %d, %a;", "wq", narrow},
    {"cvt.sat.s32.s64 %d, %a;", "wq", narrow_sat},
    {"mov.b64 %d, {%a, %b};", "qww", pack},
    {"{ .reg .b32 x; mov.b64 {x, %d}, %a; }", "wq", unpack_high},
    {"add.rn.f32 %d, %a, %b;", "fff", add_rn},
    {"add.rz.f32 %d, %a, %b;", "fff", add_rz},
    {"sub.rm.f32 %d, %a, %b;", "fff", sub_rm},
    {"mul.rn.f32 %d, %a, %b;", "fff", mul_rn},
    {"mul.rp.f32 %d, %a, %b;", "fff", mul_rp},
    {"fma.rn.f32 %d, %a, %b, %c;", "ffff", fma_rn},
    {"fma.rz.f32 %d, %a, %b, %c;", "ffff", fma_rz},
    {ONE_NAN32("div.rn.f32 x, %a, %b;"), "fff", div_rn},
    {ONE_NAN32("sqrt.rn.f32 x, %a;"), "ff", sqrt_rn},
    {ONE_NAN32("rcp.rn.f32 x, %a;"), "ff", rcp_rn},
    {ONE_NAN32("min.f32 x, %a, %b;"), "fff", min_f32},
    {ONE_NAN32("max.f32 x, %a, %b;"), "fff", max_f32},
    {"cvt.rn.f32.s32 %d, %a;", "fw", of_s32},
    {"cvt.rz.f32.u32 %d, %a;", "fw", of_u32_rz},
    {"cvt.rn.f64.s64 %d, %a;", "dq", of_s64},
    {ONE_NAN32("cvt.rn.f32.f64 x, %a;"), "fd", of_f64},
    {ONE_NAN64("cvt.f64.f32 x, %a;"), "df", of_f32},
    {ONE_NAN64("add.rn.f64 x, %a, %b;"), "ddd", add_f64},
    {ONE_NAN64("mul.rm.f64 x, %a, %b;"), "ddd", mul_f64_rm},
    {ONE_NAN64("fma.rn.f64 x, %a, %b, %c;"), "dddd", fma_f64},
    {ONE_NAN64("div.rn.f64 x, %a, %b;"), "ddd", div_f64},
    {ONE_NAN64("sqrt.rn.f64 x, %a;"), "dd", sqrt_f64},
};

const uint32_t operation_count = sizeof(operations) / sizeof(operations[0]);
