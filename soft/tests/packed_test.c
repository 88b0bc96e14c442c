/* SPDX-License-Identifier: MIT */
/* Pairs in a register, sources of two types, magnitudes, registers of 128 bits, vectors of atomics.
 */
#include "soft/tests/harness.h"

#include <math.h>

/* The same for both halves of a register. */
#define OF_BOTH(name, one)                                                                         \
    REFERENCE(name, (one(a & 0xffff, b & 0xffff) & 0xffff) |                                       \
                        (one(a >> 16 & 0xffff, b >> 16 & 0xffff) & 0xffff) << 16)

/* ---- integers ---- */

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a + b;
}

static uint64_t least_u(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most_u(uint64_t a, uint64_t b)
{
    return a < b ? b : a;
}

static uint64_t least_s(uint64_t a, uint64_t b)
{
    return (uint64_t)((int16_t)a < (int16_t)b ? (int16_t)a : (int16_t)b);
}

static uint64_t most_s(uint64_t a, uint64_t b)
{
    return (uint64_t)((int16_t)a < (int16_t)b ? (int16_t)b : (int16_t)a);
}

static uint64_t least_positive(uint64_t a, uint64_t b)
{
    int64_t v = (int16_t)least_s(a, b);

    return v < 0 ? 0 : (uint64_t)v;
}

OF_BOTH(add_pairs, sum)
OF_BOTH(min_u_pairs, least_u)
OF_BOTH(max_u_pairs, most_u)
OF_BOTH(min_s_pairs, least_s)
OF_BOTH(max_s_pairs, most_s)
OF_BOTH(min_relu_pairs, least_positive)
REFERENCE(min_relu, (int32_t)a < 0 || (int32_t)b < 0 ? 0 : (int32_t)a < (int32_t)b ? a : b)
REFERENCE(max_relu, (int32_t)a < 0 && (int32_t)b < 0 ? 0 : (int32_t)a < (int32_t)b ? b : a)

static int64_t into_32(int64_t v)
{
    return v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v;
}

static int64_t of_24(uint64_t v)
{
    v &= 0xffffff;
    return v & 0x800000 ? (int64_t)v - 0x1000000 : (int64_t)v;
}

/* The quotient by 2^n, downwards. */
static int64_t scaled(int64_t v, int n)
{
    int64_t q = v / (INT64_C(1) << n);

    return q - (q * (INT64_C(1) << n) > v);
}

REFERENCE(mad_sat, into_32(scaled((int64_t)(int32_t)a *(int32_t)b, 32) + (int32_t)c))
REFERENCE(mad24_sat, into_32(scaled(of_24(a) * of_24(b), 16) + (int32_t)c))

static void pairs_of_integers(void **state)
{
    static const struct instruction table[] = {
        {"add.u16x2 %d, %a, %b;", "www", add_pairs, 0},
        {"add.s16x2 %d, %a, %b;", "www", add_pairs, 0},
        {"min.u16x2 %d, %a, %b;", "www", min_u_pairs, 0},
        {"max.u16x2 %d, %a, %b;", "www", max_u_pairs, 0},
        {"min.s16x2 %d, %a, %b;", "www", min_s_pairs, 0},
        {"max.s16x2 %d, %a, %b;", "www", max_s_pairs, 0},
        {"min.relu.s16x2 %d, %a, %b;", "www", min_relu_pairs, 0},
        {"min.relu.s32 %d, %a, %b;", "www", min_relu, 0},
        {"max.relu.s32 %d, %a, %b;", "www", max_relu, 0},
        {"mad.hi.sat.s32 %d, %a, %b, %c;", "wwww", mad_sat, 0},
        {"mad24.hi.sat.s32 %d, %a, %b, %c;", "wwww", mad24_sat, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

/* ---- bits ---- */

/* Bit by bit, as the manual describes it. */
static uint64_t sign_or_zero(uint32_t a, uint64_t n, bool is_signed)
{
    uint32_t r = 0;

    for (uint64_t bit = 0; bit < 32 && n > 0; bit++)
        r |= (bit < n ? a >> bit & 1 : is_signed ? a >> (n - 1) & 1 : 0) << bit;
    return r;
}

static uint64_t run_of_ones(uint64_t from, uint64_t n)
{
    uint32_t r = 0;

    for (uint64_t bit = 0; bit < 32; bit++)
        r |= (uint32_t)(bit >= from && bit < from + n) << bit;
    return r;
}

static uint64_t clamped(uint64_t n)
{
    return n > 32 ? 32 : n;
}

static uint64_t majority(uint64_t a, uint64_t b, uint64_t c)
{
    return (a & b) | (a & c) | (b & c);
}

REFERENCE(szext_clamp_u, sign_or_zero((uint32_t)a, clamped(b), false))
REFERENCE(szext_clamp_s, sign_or_zero((uint32_t)a, clamped(b), true))
REFERENCE(szext_wrap_s, sign_or_zero((uint32_t)a, b & 31, true))
REFERENCE(bmsk_clamp, run_of_ones(clamped(a), clamped(b)))
REFERENCE(bmsk_wrap, run_of_ones(a & 31, b & 31))
REFERENCE(any_majority, majority(a, b, c) != 0)
REFERENCE(majority_and_odd, majority(a, b, c) != 0 && (a & 1) == 0)

static void masks_and_logic(void **state)
{
    static const struct instruction table[] = {
        {"szext.clamp.u32 %d, %a, %b;", "wws", szext_clamp_u, 0},
        {"szext.clamp.s32 %d, %a, %b;", "wws", szext_clamp_s, 0},
        {"szext.wrap.s32 %d, %a, %b;", "wws", szext_wrap_s, 0},
        {"bmsk.clamp.b32 %d, %a, %b;", "wss", bmsk_clamp, 0},
        {"bmsk.wrap.b32 %d, %a, %b;", "wss", bmsk_wrap, 0},
        {"setp.ne.u32 test, 0, 0; lop3.or.b32 _|%d, %a, %b, %c, 0xe8, test;", "pwww", any_majority,
         0},
        {".reg .b32 v; and.b32 v, %a, 1; setp.eq.u32 test, v, 1;"
         " lop3.and.b32 v|%d, %a, %b, %c, 0xe8, !test;",
         "pwww", majority_and_odd, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

/* ---- floating point ---- */

#define LOW(v)    as_f32((uint32_t)(v))
#define HIGH(v)   as_f32((v) >> 32)
#define TWO(x, y) (of_f32(x) | of_f32(y) << 32)

REFERENCE(add_f32x2, TWO(LOW(a) + LOW(b), HIGH(a) + HIGH(b)))
REFERENCE(sub_f32x2, TWO(LOW(a) - LOW(b), HIGH(a) - HIGH(b)))
REFERENCE(mul_f32x2, TWO(LOW(a) * LOW(b), HIGH(a) * HIGH(b)))
REFERENCE(fma_f32x2, TWO(fmaf(LOW(a), LOW(b), LOW(c)), fmaf(HIGH(a), HIGH(b), HIGH(c))))

/* The value of an f16, by the definition of the format. */
static float half_value(uint64_t code)
{
    int exponent = (int)(code >> 10 & 31);
    float v = exponent == 31  ? (code & 1023) != 0 ? NAN : INFINITY
              : exponent == 0 ? ldexpf((float)(code & 1023), -24)
                              : ldexpf((float)(1024 + (code & 1023)), exponent - 25);

    return code >> 15 ? -v : v;
}

static float brain_value(uint64_t code)
{
    return as_f32(code << 16);
}

REFERENCE(add_mixed, of_f32(half_value(a) + as_f32(b)))
REFERENCE(sub_mixed, of_f32(brain_value(a) - as_f32(b)))
REFERENCE(fma_mixed, of_f32(fmaf(half_value(a), half_value(b), as_f32(c))))

static float least_number(float a, float b)
{
    return isnan(a) ? b : isnan(b) ? a : a < b || (a == b && signbit(a)) ? a : b;
}

static float most_number(float a, float b)
{
    return isnan(a) ? b : isnan(b) ? a : a > b || (a == b && !signbit(a)) ? a : b;
}

static uint64_t with_sign(float magnitude, uint64_t a, uint64_t b)
{
    return isnan(magnitude) ? 0x7fffffff : of_f32(magnitude) | ((a ^ b) & 0x80000000);
}

REFERENCE(min_xorsign, with_sign(least_number(fabsf(as_f32(a)), fabsf(as_f32(b))), a, b))
REFERENCE(max_xorsign, with_sign(most_number(fabsf(as_f32(a)), fabsf(as_f32(b))), a, b))
REFERENCE(max_xorsign_nan, isnan(as_f32(a)) || isnan(as_f32(b))
                               ? 0x7fffffff
                               : with_sign(most_number(fabsf(as_f32(a)), fabsf(as_f32(b))), a, b))

/* Of 16-bit codes, whose magnitudes are in the order of their values. */
static uint64_t least_magnitude(uint64_t a, uint64_t b, uint64_t infinity)
{
    uint64_t x = a & 0x7fff, y = b & 0x7fff, r = x < y ? x : y;

    if (x > infinity && y > infinity)
        return 0x7fff;
    r = x > infinity ? y : y > infinity ? x : r;
    return r | ((a ^ b) & 0x8000);
}

static uint64_t least_half(uint64_t a, uint64_t b)
{
    return least_magnitude(a, b, 0x7c00);
}

REFERENCE(min_xorsign_h, least_magnitude(a, b, 0x7c00))
REFERENCE(min_xorsign_b, least_magnitude(a, b, 0x7f80))
OF_BOTH(min_xorsign_hh, least_half)
REFERENCE(min_of_three, of_f32(least_number(least_number(as_f32(a), as_f32(b)), as_f32(c))))
REFERENCE(max_of_three_abs,
          of_f32(most_number(most_number(fabsf(as_f32(a)), fabsf(as_f32(b))), fabsf(as_f32(c)))))

static void made_of_others(void **state)
{
    static const struct instruction table[] = {
        {"add.rn.f32x2 %d, %a, %b;", "vvv", add_f32x2, NEWER},
        {"sub.rn.f32x2 %d, %a, %b;", "vvv", sub_f32x2, NEWER},
        {"mul.rn.f32x2 %d, %a, %b;", "vvv", mul_f32x2, NEWER},
        {"fma.rn.f32x2 %d, %a, %b, %c;", "vvvv", fma_f32x2, NEWER},
        {"add.f32.f16 %d, %a, %b;", "fef", add_mixed, NEWER},
        {"sub.f32.bf16 %d, %a, %b;", "fbf", sub_mixed, NEWER},
        {"fma.rn.f32.f16 %d, %a, %b, %c;", "feef", fma_mixed, NEWER},
        {"min.xorsign.abs.f32 %d, %a, %b;", "fff", min_xorsign, 0},
        {"max.xorsign.abs.f32 %d, %a, %b;", "fff", max_xorsign, 0},
        {"max.NaN.xorsign.abs.f32 %d, %a, %b;", "fff", max_xorsign_nan, 0},
        {"min.xorsign.abs.f16 %d, %a, %b;", "eee", min_xorsign_h, 0},
        {"min.xorsign.abs.bf16 %d, %a, %b;", "bbb", min_xorsign_b, 0},
        {"min.xorsign.abs.f16x2 %d, %a, %b;", "EEE", min_xorsign_hh, 0},
        {"min.f32 %d, %a, %b, %c;", "ffff", min_of_three, NEWER},
        {"max.abs.f32 %d, %a, %b, %c;", "ffff", max_of_three_abs, NEWER},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

/* ---- conversions that stay finite ---- */

/* What f16 and tf32 make of a number that is too large for them. */
static uint64_t finite_half(uint64_t a, uint64_t b, uint64_t c)
{
    float v = as_f32(a), m = fabsf(v), r;
    int exponent = 0;

    (void)b, (void)c;
    if (isnan(v))
        return 0x7fff;
    if (m == 0)
        return a >> 31 << 15;
    if (m >= 65520)
        return 0x7bff | a >> 31 << 15;
    frexpf(m, &exponent);
    exponent = exponent - 11 < -24 ? -24 : exponent - 11;
    r = rintf(ldexpf(m, -exponent)); /* in units of the last place */
    return (uint64_t)(r + (float)(exponent > -24 ? (exponent + 24) * 1024 : 0)) | a >> 31 << 15;
}

static uint64_t finite_tf32(uint64_t a, uint64_t b, uint64_t c)
{
    uint32_t m = (uint32_t)a & 0x7fffffff, low = m & 0x1fff;

    (void)b, (void)c;
    if (m > 0x7f800000)
        return 0x7fffffff;
    m = (m - low) + (low >= 0x1000 ? 0x2000 : 0); /* ties away from zero */
    return (m >= 0x7f800000 ? 0x7f7fe000 : m) | (a & 0x80000000);
}

static void conversions(void **state)
{
    static const struct instruction table[] = {
        {"cvt.rn.satfinite.f16.f32 %d, %a;", "ef", finite_half, NEWER},
        {"cvt.rna.satfinite.tf32.f32 %d, %a;", "wf", finite_tf32, NEWER},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

/* ---- memory ---- */

REFERENCE(swapped_halves, a >> 32 | b << 32)
REFERENCE(bytes_turned, __builtin_bswap32((uint32_t)a))

static void wide_registers(void **state)
{
    static const struct instruction table[] = {
        {".reg .b128 v; .reg .b64 x, y; mov.b128 v, {%a, %b}; mov.b128 {x, y}, v;"
         " shr.b64 x, x, 32; shl.b64 y, y, 32; or.b64 %d, x, y;",
         "qqq", swapped_halves, 0},
        {".reg .b8 e, f, g, h; mov.b32 {e, f, g, h}, %a; mov.b32 %d, {h, g, f, e};", "ww",
         bytes_turned, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void wide_memory(void **state)
{
    static const char text[] =
        ".version 8.8\n.target sm_100\n.address_size 64\n"
        ".visible .entry k(.param .u64 out, .param .u64 in)\n{\n.reg .b64 o, i, m, x, y;\n"
        ".reg .b32 t, r<9>;\n.reg .b128 v, u;\nld.param.u64 o, [out];\nld.param.u64 i, [in];\n"
        "mov.u32 t, %tid.x;\nmul.wide.u32 m, t, 64;\nadd.u64 o, o, m;\nadd.u64 i, i, m;\n"
        "ld.global.v8.b32 {r1, r2, r3, r4, r5, r6, r7, r8}, [i];\n"
        "st.global.v8.b32 [o], {r8, r7, r6, r5, r4, r3, r2, r1};\n"
        "ld.global.b128 v, [i+32];\nmov.b128 u, v;\nst.global.b128 [o+48], u;\n"
        "atom.global.exch.b128 v, [o+48], v;\nmov.b128 {x, y}, v;\nadd.u64 x, x, 1;\n"
        "mov.b128 v, {x, y};\natom.global.cas.b128 u, [o+48], u, v;\n"
        "atom.global.cas.b128 v, [o+48], u, u;\nst.global.b128 [o+32], v;\nret;\n}\n";
    uint32_t *memory[2];
    struct rig rig;

    (void)state;
    if (!rig_try(&rig, text))
        skip();
    for (unsigned n = 0; n < 2; n++)
        memory[n] = rig_allocate(&rig, 32 * 64);
    for (uint32_t n = 0; n < 32 * 16; n++)
        memory[1][n] = n * 7;
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, memory);
    for (uint32_t n = 0; n < 32 * 16; n++) {
        uint32_t of = n / 16 * 16, at = n % 16;
        uint32_t want = at < 8 ? (of + 7 - at) * 7 : (of + 8 + at % 4) * 7 + (at % 4 == 0);

        assert_int_equal(memory[0][n], want);
    }
    rig_drop(&rig);
}

/* All threads add to the same vector; each gets a different old value of each element. */
static void vectors_of_atomics(void **state)
{
    static const char text[] = HEADER
        ".visible .entry k(.param .u64 out, .param .u64 in)\n{\n.reg .b64 o, i, m;\n"
        ".reg .b32 t, h<5>;\n.reg .f32 v, f<5>;\nld.param.u64 o, [out];\nld.param.u64 i, [in];\n"
        "mov.u32 t, %tid.x;\nmul.wide.u32 m, t, 16;\nadd.u64 m, i, m;\n"
        "mov.f32 f1, 0f3F800000;\nmov.f32 f2, 0f40000000;\nmov.f32 f3, 0f40400000;\n"
        "mov.f32 f4, 0f40800000;\n"
        "atom.global.add.v4.f32 {f1, f2, f3, f4}, [o], {f1, f2, f3, f4};\n"
        "st.global.v4.f32 [m], {f1, f2, f3, f4};\n"
        "red.global.add.v2.f32 [o+16], {f1, f1};\n"
        "mov.b32 h1, 0x3c003c00;\nmov.b32 h2, 0x40004000;\nmov.b32 h3, 0xbc00c000;\n"
        "red.global.add.noftz.v2.f16x2 [o+24], {h1, h2};\n"
        "red.global.min.noftz.v2.bf16x2 [o+32], {h3, h1};\n"
        "red.global.max.noftz.v2.f16x2 [o+40], {h3, h2};\nret;\n}\n";
    uint32_t seen[4] = {0}, half[6];
    float *memory[2];
    struct rig rig;

    (void)state;
    rig_load(&rig, text);
    memory[0] = rig_allocate(&rig, 64);
    memory[1] = rig_allocate(&rig, 32 * 16);
    rig_run(&rig, "k", (struct geometry){1, 32, 0}, memory);
    for (unsigned n = 0; n < 32 * 4; n++) {
        unsigned step = n % 4 + 1, old = (unsigned)(memory[1][n] / (float)step);

        assert_true(old < 32 && memory[1][n] == (float)(old * step));
        seen[n % 4] |= UINT32_C(1) << old;
    }
    for (unsigned n = 0; n < 4; n++) {
        assert_int_equal(seen[n], UINT32_MAX);
        assert_true(memory[0][n] == (float)(32 * (n + 1)));
    }
    /* The sum of the old values 0 to 31. */
    assert_true(memory[0][4] == 496 && memory[0][5] == 496);
    memcpy(half, memory[0] + 6, sizeof(half));
    assert_int_equal(half[0], 0x50005000); /* 32 */
    assert_int_equal(half[1], 0x54005400); /* 64 */
    assert_int_equal(half[2], 0xbc00c000);
    assert_int_equal(half[3], 0);
    assert_int_equal(half[4], 0);
    assert_int_equal(half[5], 0x40004000);
    rig_drop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_integers),  cmocka_unit_test(masks_and_logic),
        cmocka_unit_test(made_of_others),     cmocka_unit_test(conversions),
        cmocka_unit_test(wide_registers),     cmocka_unit_test(wide_memory),
        cmocka_unit_test(vectors_of_atomics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
