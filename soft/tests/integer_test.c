/* SPDX-License-Identifier: MIT */
/* Integer arithmetic against C. */
#include "soft/tests/harness.h"

#define S16(x) ((int64_t)(int16_t)(x))
#define S32(x) ((int64_t)(int32_t)(x))
#define S64(x) ((int64_t)(x))
#define S24(x) ((int64_t)((int32_t)((uint32_t)(x) << 8) >> 8))
#define U24(x) ((x)&0xffffff)

static int64_t divide(int64_t a, int64_t b)
{
    return b == 0 ? -1 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

static int64_t remainder_of(int64_t a, int64_t b)
{
    return b == 0 ? -1 : b == -1 ? 0 : a % b;
}

static int64_t limit32(int64_t a)
{
    return a > INT32_MAX ? INT32_MAX : a < INT32_MIN ? INT32_MIN : a;
}

static int64_t dot4(uint64_t a, uint64_t b, uint64_t c, bool sa, bool sb)
{
    int64_t sum = S32(c);

    for (int n = 0; n < 4; n++) {
        int64_t x = a >> 8 * n & 0xff, y = b >> 8 * n & 0xff;

        sum += (sa ? (int8_t)x : x) * (sb ? (int8_t)y : y);
    }
    return sum;
}

static int64_t dot2(uint64_t a, uint64_t b, uint64_t c, int first, bool sa, bool sb)
{
    int64_t sum = S32(c);

    for (int n = 0; n < 2; n++) {
        int64_t x = a >> 16 * n & 0xffff, y = b >> 8 * (first + n) & 0xff;

        sum += (sa ? (int16_t)x : x) * (sb ? (int8_t)y : y);
    }
    return sum;
}

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
typedef unsigned __int128 wide_unsigned;
typedef __int128 wide_signed;

REFERENCE(add, a + b)
REFERENCE(sub, a - b)
REFERENCE(mul, a *b)
REFERENCE(mad, a *b + c)
REFERENCE(hi_u16, a *b >> 16)
REFERENCE(hi_s16, S16(a) * S16(b) >> 16)
REFERENCE(hi_u32, a *b >> 32)
REFERENCE(hi_s32, S32(a) * S32(b) >> 32)
REFERENCE(hi_u64, (wide_unsigned)a *b >> 64)
REFERENCE(hi_s64, (wide_signed)S64(a) * S64(b) >> 64)
REFERENCE(mad_hi_s32, (S32(a) * S32(b) >> 32) + S32(c))
REFERENCE(mad_hi_u32, (a * b >> 32) + c)
REFERENCE(mad_hi_s64, (uint64_t)((wide_signed)S64(a) * S64(b) >> 64) + c)
REFERENCE(mad_hi_u64, (uint64_t)((wide_unsigned)a *b >> 64) + c)
REFERENCE(wide_s16, S16(a) * S16(b))
REFERENCE(wide_s32, S32(a) * S32(b))
REFERENCE(mad_wide_s16, S16(a) * S16(b) + S32(c))
REFERENCE(mad_wide_s32, (uint64_t)(S32(a) * S32(b)) + c)
REFERENCE(mul24_u, U24(a) * U24(b))
REFERENCE(mul24_s, S24(a) * S24(b))
REFERENCE(mul24_hi_u, U24(a) * U24(b) >> 16)
REFERENCE(mul24_hi_s, S24(a) * S24(b) >> 16)
REFERENCE(mad24_u, U24(a) * U24(b) + c)
REFERENCE(mad24_s, S24(a) * S24(b) + S32(c))
REFERENCE(add_sat, limit32(S32(a) + S32(b)))
REFERENCE(sub_sat, limit32(S32(a) - S32(b)))
REFERENCE(div_u16, b == 0 ? UINT64_MAX : a / b)
REFERENCE(div_s16, divide(S16(a), S16(b)))
REFERENCE(div_u, b == 0 ? UINT64_MAX : a / b)
REFERENCE(div_s32, divide(S32(a), S32(b)))
REFERENCE(div_s64, divide(S64(a), S64(b)))
REFERENCE(rem_u, b == 0 ? UINT64_MAX : a % b)
REFERENCE(rem_s16, remainder_of(S16(a), S16(b)))
REFERENCE(rem_s32, remainder_of(S32(a), S32(b)))
REFERENCE(rem_s64, remainder_of(S64(a), S64(b)))
REFERENCE(neg, 0 - a)
REFERENCE(abs_s16, S16(a) < 0 ? 0 - a : a)
REFERENCE(abs_s32, S32(a) < 0 ? 0 - a : a)
REFERENCE(abs_s64, S64(a) < 0 ? 0 - a : a)
REFERENCE(min_u, MIN(a, b))
REFERENCE(max_u, MAX(a, b))
REFERENCE(min_s16, MIN(S16(a), S16(b)))
REFERENCE(max_s16, MAX(S16(a), S16(b)))
REFERENCE(min_s32, MIN(S32(a), S32(b)))
REFERENCE(max_s32, MAX(S32(a), S32(b)))
REFERENCE(min_s64, MIN(S64(a), S64(b)))
REFERENCE(max_s64, MAX(S64(a), S64(b)))
REFERENCE(sad_u, c + (a < b ? b - a : a - b))
REFERENCE(sad_s32, c + (uint64_t)(S32(a) < S32(b) ? S32(b) - S32(a) : S32(a) - S32(b)))
REFERENCE(dp4a_uu, dot4(a, b, c, false, false))
REFERENCE(dp4a_us, dot4(a, b, c, false, true))
REFERENCE(dp4a_su, dot4(a, b, c, true, false))
REFERENCE(dp4a_ss, dot4(a, b, c, true, true))
REFERENCE(dp2a_lo_ss, dot2(a, b, c, 0, true, true))
REFERENCE(dp2a_hi_us, dot2(a, b, c, 2, false, true))
REFERENCE(carry_add, (a + c < a) + b + 1)
REFERENCE(carry_add32, ((a + c) >> 32) + b + 1)
REFERENCE(carry_sub32, 1 - b - (a < c))
REFERENCE(carry_mad, ((a * b & 0xffffffff) + c) >> 32)
REFERENCE(carry_mad_hi, ((wide_unsigned)a * b + c) >> 64)
REFERENCE(identity, a)

static void arithmetic(void **state)
{
    static const struct instruction table[] = {
        {"add.u16 %d, %a, %b;", "hhh", add, 0},
        {"add.s32 %d, %a, %b;", "www", add, 0},
        {"add.u64 %d, %a, %b;", "qqq", add, 0},
        {"add.sat.s32 %d, %a, %b;", "www", add_sat, 0},
        {"sub.s16 %d, %a, %b;", "hhh", sub, 0},
        {"sub.u32 %d, %a, %b;", "www", sub, 0},
        {"sub.s64 %d, %a, %b;", "qqq", sub, 0},
        {"sub.sat.s32 %d, %a, %b;", "www", sub_sat, 0},
        {"mul.lo.u16 %d, %a, %b;", "hhh", mul, 0},
        {"mul.lo.s32 %d, %a, %b;", "www", mul, 0},
        {"mul.lo.u64 %d, %a, %b;", "qqq", mul, 0},
        {"mul.hi.u16 %d, %a, %b;", "hhh", hi_u16, 0},
        {"mul.hi.s16 %d, %a, %b;", "hhh", hi_s16, 0},
        {"mul.hi.u32 %d, %a, %b;", "www", hi_u32, 0},
        {"mul.hi.s32 %d, %a, %b;", "www", hi_s32, 0},
        {"mul.hi.u64 %d, %a, %b;", "qqq", hi_u64, 0},
        {"mul.hi.s64 %d, %a, %b;", "qqq", hi_s64, 0},
        {"mul.wide.u16 %d, %a, %b;", "whh", mul, 0},
        {"mul.wide.s16 %d, %a, %b;", "whh", wide_s16, 0},
        {"mul.wide.u32 %d, %a, %b;", "qww", mul, 0},
        {"mul.wide.s32 %d, %a, %b;", "qww", wide_s32, 0},
        {"mad.lo.u16 %d, %a, %b, %c;", "hhhh", mad, 0},
        {"mad.lo.s32 %d, %a, %b, %c;", "wwww", mad, 0},
        {"mad.lo.s64 %d, %a, %b, %c;", "qqqq", mad, 0},
        {"mad.hi.s32 %d, %a, %b, %c;", "wwww", mad_hi_s32, 0},
        {"mad.hi.u32 %d, %a, %b, %c;", "wwww", mad_hi_u32, 0},
        {"mad.hi.s64 %d, %a, %b, %c;", "qqqq", mad_hi_s64, 0},
        {"mad.hi.u64 %d, %a, %b, %c;", "qqqq", mad_hi_u64, 0},
        {"mad.wide.u16 %d, %a, %b, %c;", "whhw", mad, 0},
        {"mad.wide.s16 %d, %a, %b, %c;", "whhw", mad_wide_s16, 0},
        {"mad.wide.u32 %d, %a, %b, %c;", "qwwq", mad, 0},
        {"mad.wide.s32 %d, %a, %b, %c;", "qwwq", mad_wide_s32, 0},
        {"mul24.lo.u32 %d, %a, %b;", "www", mul24_u, 0},
        {"mul24.lo.s32 %d, %a, %b;", "www", mul24_s, 0},
        {"mul24.hi.u32 %d, %a, %b;", "www", mul24_hi_u, 0},
        {"mul24.hi.s32 %d, %a, %b;", "www", mul24_hi_s, 0},
        {"mad24.lo.u32 %d, %a, %b, %c;", "wwww", mad24_u, 0},
        {"mad24.lo.s32 %d, %a, %b, %c;", "wwww", mad24_s, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void division(void **state)
{
    static const struct instruction table[] = {
        {"div.u16 %d, %a, %b;", "hhh", div_u16, 0}, {"div.s16 %d, %a, %b;", "hhh", div_s16, 0},
        {"div.u32 %d, %a, %b;", "www", div_u, 0},   {"div.s32 %d, %a, %b;", "www", div_s32, 0},
        {"div.u64 %d, %a, %b;", "qqq", div_u, 0},   {"div.s64 %d, %a, %b;", "qqq", div_s64, 0},
        {"rem.u16 %d, %a, %b;", "hhh", rem_u, 0},   {"rem.s16 %d, %a, %b;", "hhh", rem_s16, 0},
        {"rem.u32 %d, %a, %b;", "www", rem_u, 0},   {"rem.s32 %d, %a, %b;", "www", rem_s32, 0},
        {"rem.u64 %d, %a, %b;", "qqq", rem_u, 0},   {"rem.s64 %d, %a, %b;", "qqq", rem_s64, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void order_and_sign(void **state)
{
    static const struct instruction table[] = {
        {"neg.s16 %d, %a;", "hh", neg, 0},
        {"neg.s32 %d, %a;", "ww", neg, 0},
        {"neg.s64 %d, %a;", "qq", neg, 0},
        {"abs.s16 %d, %a;", "hh", abs_s16, 0},
        {"abs.s32 %d, %a;", "ww", abs_s32, 0},
        {"abs.s64 %d, %a;", "qq", abs_s64, 0},
        {"min.u16 %d, %a, %b;", "hhh", min_u, 0},
        {"max.u16 %d, %a, %b;", "hhh", max_u, 0},
        {"min.u32 %d, %a, %b;", "www", min_u, 0},
        {"max.u32 %d, %a, %b;", "www", max_u, 0},
        {"min.u64 %d, %a, %b;", "qqq", min_u, 0},
        {"max.u64 %d, %a, %b;", "qqq", max_u, 0},
        {"min.s16 %d, %a, %b;", "hhh", min_s16, 0},
        {"max.s16 %d, %a, %b;", "hhh", max_s16, 0},
        {"min.s32 %d, %a, %b;", "www", min_s32, 0},
        {"max.s32 %d, %a, %b;", "www", max_s32, 0},
        {"min.s64 %d, %a, %b;", "qqq", min_s64, 0},
        {"max.s64 %d, %a, %b;", "qqq", max_s64, 0},
        {"sad.u16 %d, %a, %b, %c;", "hhhh", sad_u, 0},
        {"sad.u32 %d, %a, %b, %c;", "wwww", sad_u, 0},
        {"sad.s32 %d, %a, %b, %c;", "wwww", sad_s32, 0},
        {"sad.u64 %d, %a, %b, %c;", "qqqq", sad_u, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void dot_products(void **state)
{
    static const struct instruction table[] = {
        {"dp4a.u32.u32 %d, %a, %b, %c;", "wwww", dp4a_uu, 0},
        {"dp4a.u32.s32 %d, %a, %b, %c;", "wwww", dp4a_us, 0},
        {"dp4a.s32.u32 %d, %a, %b, %c;", "wwww", dp4a_su, 0},
        {"dp4a.s32.s32 %d, %a, %b, %c;", "wwww", dp4a_ss, 0},
        {"dp2a.lo.s32.s32 %d, %a, %b, %c;", "wwww", dp2a_lo_ss, 0},
        {"dp2a.hi.u32.s32 %d, %a, %b, %c;", "wwww", dp2a_hi_us, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void carry_chains(void **state)
{
    static const struct instruction table[] = {
        {".reg .u32 x; add.cc.u32 x, %a, %c; addc.u32 %d, %b, 1;", "wwww", carry_add32, 0},
        {".reg .u64 x; add.cc.u64 x, %a, %c; addc.cc.u64 %d, %b, 1;", "qqqq", carry_add, 0},
        {".reg .u32 x, y; sub.cc.u32 x, %a, %c; mov.u32 y, 1; subc.u32 %d, y, %b;", "wwww",
         carry_sub32, 0},
        {".reg .u32 x, y; mov.u32 y, 0; mad.lo.cc.u32 x, %a, %b, %c; addc.u32 %d, y, 0;", "wwww",
         carry_mad, 0},
        {".reg .u64 x; mad.lo.cc.u64 x, %a, %b, %c; madc.hi.u64 %d, %a, %b, 0;", "qqqq",
         carry_mad_hi, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void moves(void **state)
{
    static const struct instruction table[] = {
        {"mov.b16 %d, %a;", "hh", identity, 0},
        {"mov.u32 %d, %a;", "ww", identity, 0},
        {"mov.f64 %d, %a;", "qq", identity, 0},
        {".reg .b16 x, y; mov.b32 {x, y}, %a; mov.b32 %d, {x, y};", "ww", identity, 0},
        {".reg .b32 x, y; mov.b64 {x, y}, %a; mov.b64 %d, {x, y};", "qq", identity, 0},
        {".reg .b16 x, y, z, t; mov.b64 {x, y, z, t}, %a; mov.b64 %d, {x, y, z, t};", "qq",
         identity, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arithmetic),     cmocka_unit_test(division),
        cmocka_unit_test(order_and_sign), cmocka_unit_test(dot_products),
        cmocka_unit_test(carry_chains),   cmocka_unit_test(moves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
