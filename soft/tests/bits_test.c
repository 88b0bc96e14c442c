/* SPDX-License-Identifier: MIT */
/* Logic, shifts, bit fields, permutation and selection against C. */
#include "soft/tests/harness.h"

static uint64_t shift_left(uint64_t a, uint64_t n)
{
    return n > 63 ? 0 : a << n;
}

static uint64_t shift_right(uint64_t a, uint64_t n)
{
    return n > 63 ? 0 : a >> n;
}

static int64_t shift_signed(int64_t a, uint64_t n)
{
    return a >> (n > 63 ? 63 : n);
}

static uint64_t count_ones(uint64_t a)
{
    uint64_t n = 0;

    for (; a != 0; a >>= 1)
        n += a & 1;
    return n;
}

static uint64_t highest(uint64_t a)
{
    uint64_t n = UINT64_MAX;

    for (; a != 0; a >>= 1)
        n++;
    return n;
}

static uint64_t reversed(uint64_t a, int bits)
{
    uint64_t r = 0;

    for (int n = 0; n < bits; n++)
        r |= (a >> n & 1) << (bits - 1 - n);
    return r;
}

/* Bit by bit, as the manual describes it. */
static uint64_t field(uint64_t a, uint64_t position, uint64_t length, int bits, bool is_signed)
{
    uint64_t sign = 0, r = 0;

    if (bits == 32) {
        position &= 255;
        length &= 255;
    }
    if (is_signed && length > 0)
        sign = a >> (position + length - 1 < (uint64_t)bits - 1 ? position + length - 1
                                                                : (uint64_t)bits - 1) &
               1;
    for (uint64_t n = 0; n < (uint64_t)bits; n++) {
        bool inside = n < length && position + n < (uint64_t)bits;

        r |= (inside ? a >> (position + n) & 1 : sign) << n;
    }
    return r;
}

static uint64_t inserted(uint64_t a, uint64_t b, uint64_t position, uint64_t length, int bits)
{
    if (bits == 32) {
        position &= 255;
        length &= 255;
    }
    for (uint64_t n = 0; n < length && position + n < (uint64_t)bits; n++) {
        b &= ~(UINT64_C(1) << (position + n));
        b |= (a >> n & 1) << (position + n);
    }
    return b;
}

static uint64_t by_table(uint64_t a, uint64_t b, uint64_t c, unsigned table)
{
    uint64_t r = 0;

    for (int n = 0; n < 32; n++)
        r |= (uint64_t)(table >> ((a >> n & 1) << 2 | (b >> n & 1) << 1 | (c >> n & 1)) & 1) << n;
    return r;
}

static uint64_t permuted(uint64_t a, uint64_t b, uint64_t selectors)
{
    uint64_t r = 0;

    for (int n = 0; n < 4; n++) {
        unsigned select = selectors >> 4 * n & 15;
        uint64_t byte = ((select & 7) < 4 ? a >> 8 * (select & 3) : b >> 8 * (select & 3)) & 255;

        if (select & 8)
            byte = byte & 128 ? 255 : 0;
        r |= byte << 8 * n;
    }
    return r;
}

static uint64_t nth(uint64_t a, uint64_t base, int32_t n)
{
    if (n == 0)
        return a >> base & 1 ? base : UINT64_MAX;
    for (int at = (int)base; at >= 0 && at<32; at += n> 0 ? 1 : -1) {
        if ((a >> at & 1) != 0) {
            n += n > 0 ? -1 : 1;
            if (n == 0)
                return (uint64_t)at;
        }
    }
    return UINT64_MAX;
}

REFERENCE(same, a)
REFERENCE(and_, a &b)
REFERENCE(or_, a | b)
REFERENCE(xor_, a ^ b)
REFERENCE(not_, ~a)
REFERENCE(cnot_, a == 0)
REFERENCE(shl16, b > 15 ? 0 : a << b)
REFERENCE(shl32, b > 31 ? 0 : a << b)
REFERENCE(shl64, shift_left(a, b))
REFERENCE(shr_u, shift_right(a, b))
REFERENCE(shr_s16, shift_signed((int16_t)a, b))
REFERENCE(shr_s32, shift_signed((int32_t)a, b))
REFERENCE(shr_s64, shift_signed((int64_t)a, b))
REFERENCE(shf_l_wrap, (b << 32 | a) << (c & 31) >> 32)
REFERENCE(shf_l_clamp, c >= 32 ? a : (b << 32 | a) << c >> 32)
REFERENCE(shf_r_wrap, (b << 32 | a) >> (c & 31))
REFERENCE(shf_r_clamp, c >= 32 ? b : (b << 32 | a) >> c)
REFERENCE(popc_, count_ones(a))
REFERENCE(clz32, 31 - highest(a))
REFERENCE(clz64, 63 - highest(a))
REFERENCE(brev32, reversed(a, 32))
REFERENCE(brev64, reversed(a, 64))
REFERENCE(bfind_u, highest(a))
REFERENCE(bfind_s32, highest((uint32_t)((int32_t)a < 0 ? ~a : a)))
REFERENCE(bfind_s64, highest((int64_t)a < 0 ? ~a : a))
REFERENCE(bfind_amount, a == 0 ? UINT64_MAX : 31 - highest(a))
REFERENCE(bfe_u32, field(a, b, c, 32, false))
REFERENCE(bfe_s32, field(a, b, c, 32, true))
REFERENCE(bfe_u64, field(a, b, c, 64, false))
REFERENCE(bfe_s64, field(a, b, c, 64, true))
REFERENCE(bfi32, inserted(a, b, c, 7, 32))
REFERENCE(bfi32_long, inserted(a, b, 5, c, 32))
REFERENCE(bfi64, inserted(a, b, c, 13, 64))
REFERENCE(lop_96, by_table(a, b, c, 0x96))
REFERENCE(lop_e8, by_table(a, b, c, 0xe8))
REFERENCE(lop_1b, by_table(a, b, c, 0x1b))
REFERENCE(prmt_, permuted(a, b, c))
REFERENCE(prmt_f4e, (b << 32 | a) >> 8 * (c & 3))
REFERENCE(prmt_rc16, (a >> 16 * (c & 1) & 0xffff) * 0x10001)
REFERENCE(fns_, nth(a, b & 31, (int32_t)c >> 1))
REFERENCE(selp_, c & 1 ? a : b)
REFERENCE(slct_s, (int32_t)c >= 0 ? a : b)
REFERENCE(slct_f, as_f32(c) >= 0 ? a : b)
REFERENCE(slct_f_ftz, as_f32(c) > -0x1p-126f ? a : b)

static void logic(void **state)
{
    static const struct instruction table[] = {
        {"and.b16 %d, %a, %b;", "hhh", and_, 0},  {"and.b32 %d, %a, %b;", "www", and_, 0},
        {"and.b64 %d, %a, %b;", "qqq", and_, 0},  {"or.b16 %d, %a, %b;", "hhh", or_, 0},
        {"or.b32 %d, %a, %b;", "www", or_, 0},    {"or.b64 %d, %a, %b;", "qqq", or_, 0},
        {"xor.b16 %d, %a, %b;", "hhh", xor_, 0},  {"xor.b32 %d, %a, %b;", "www", xor_, 0},
        {"xor.b64 %d, %a, %b;", "qqq", xor_, 0},  {"not.b16 %d, %a;", "hh", not_, 0},
        {"not.b32 %d, %a;", "ww", not_, 0},       {"not.b64 %d, %a;", "qq", not_, 0},
        {"cnot.b32 %d, %a;", "ww", cnot_, 0},     {"cnot.b64 %d, %a;", "qq", cnot_, 0},
        {"and.pred %d, %a, %b;", "ppp", and_, 0}, {"or.pred %d, %a, %b;", "ppp", or_, 0},
        {"xor.pred %d, %a, %b;", "ppp", xor_, 0}, {"not.pred %d, %a;", "pp", not_, 0},
        {"mov.pred %d, %a;", "pp", same, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void shifts(void **state)
{
    static const struct instruction table[] = {
        {"shl.b16 %d, %a, %b;", "hhs", shl16, 0},
        {"shl.b32 %d, %a, %b;", "wws", shl32, 0},
        {"shl.b64 %d, %a, %b;", "qqs", shl64, 0},
        {"shr.u16 %d, %a, %b;", "hhs", shr_u, 0},
        {"shr.u32 %d, %a, %b;", "wws", shr_u, 0},
        {"shr.b64 %d, %a, %b;", "qqs", shr_u, 0},
        {"shr.s16 %d, %a, %b;", "hhs", shr_s16, 0},
        {"shr.s32 %d, %a, %b;", "wws", shr_s32, 0},
        {"shr.s64 %d, %a, %b;", "qqs", shr_s64, 0},
        {"shf.l.wrap.b32 %d, %a, %b, %c;", "wwws", shf_l_wrap, 0},
        {"shf.l.clamp.b32 %d, %a, %b, %c;", "wwws", shf_l_clamp, 0},
        {"shf.r.wrap.b32 %d, %a, %b, %c;", "wwws", shf_r_wrap, 0},
        {"shf.r.clamp.b32 %d, %a, %b, %c;", "wwws", shf_r_clamp, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void counting(void **state)
{
    static const struct instruction table[] = {
        {"popc.b32 %d, %a;", "ww", popc_, 0},
        {"popc.b64 %d, %a;", "wq", popc_, 0},
        {"clz.b32 %d, %a;", "ww", clz32, 0},
        {"clz.b64 %d, %a;", "wq", clz64, 0},
        {"brev.b32 %d, %a;", "ww", brev32, 0},
        {"brev.b64 %d, %a;", "qq", brev64, 0},
        {"bfind.u32 %d, %a;", "ww", bfind_u, 0},
        {"bfind.u64 %d, %a;", "wq", bfind_u, 0},
        {"bfind.s32 %d, %a;", "ww", bfind_s32, 0},
        {"bfind.s64 %d, %a;", "wq", bfind_s64, 0},
        {"bfind.shiftamt.u32 %d, %a;", "ww", bfind_amount, 0},
        {".reg .b32 x, y; and.b32 x, %b, 31; shr.s32 y, %c, 1; fns.b32 %d, %a, x, y;", "wwsw", fns_,
         0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void bit_fields(void **state)
{
    static const struct instruction table[] = {
        {"bfe.u32 %d, %a, %b, %c;", "wwss", bfe_u32, 0},
        {"bfe.s32 %d, %a, %b, %c;", "wwss", bfe_s32, 0},
        {"bfe.u64 %d, %a, %b, %c;", "qqss", bfe_u64, 0},
        {"bfe.s64 %d, %a, %b, %c;", "qqss", bfe_s64, 0},
        {"bfi.b32 %d, %a, %b, %c, 7;", "wwws", bfi32, 0},
        {"bfi.b32 %d, %a, %b, 5, %c;", "wwws", bfi32_long, 0},
        {"bfi.b64 %d, %a, %b, %c, 13;", "qqqs", bfi64, 0},
        {"lop3.b32 %d, %a, %b, %c, 0x96;", "wwww", lop_96, 0},
        {"lop3.b32 %d, %a, %b, %c, 0xE8;", "wwww", lop_e8, 0},
        {"lop3.b32 %d, %a, %b, %c, 27;", "wwww", lop_1b, 0},
        {"prmt.b32 %d, %a, %b, %c;", "wwww", prmt_, 0},
        {"prmt.b32.f4e %d, %a, %b, %c;", "wwww", prmt_f4e, 0},
        {"prmt.b32.rc16 %d, %a, %b, %c;", "wwww", prmt_rc16, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void selection(void **state)
{
    static const struct instruction table[] = {
        {"selp.b16 %d, %a, %b, %c;", "hhhp", selp_, 0},
        {"selp.s32 %d, %a, %b, %c;", "wwwp", selp_, 0},
        {"selp.f64 %d, %a, %b, %c;", "qqqp", selp_, 0},
        {"slct.u32.s32 %d, %a, %b, %c;", "wwww", slct_s, 0},
        {"slct.u64.s32 %d, %a, %b, %c;", "qqqw", slct_s, 0},
        {"slct.f32.f32 %d, %a, %b, %c;", "wwwf", slct_f, 0},
        {"slct.ftz.f32.f32 %d, %a, %b, %c;", "wwwf", slct_f_ftz, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logic),      cmocka_unit_test(shifts),    cmocka_unit_test(counting),
        cmocka_unit_test(bit_fields), cmocka_unit_test(selection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
