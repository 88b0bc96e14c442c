/* SPDX-License-Identifier: MIT */
/* f32 and f64 arithmetic and comparisons against C. */
#include "soft/tests/harness.h"

#include <fenv.h>
#include <math.h>

static volatile float x32, y32, z32, r32;
static volatile double x64, y64, z64, r64;

/* The expression under a rounding mode; volatile operands keep it where it is. */
#define F32(name, MODE, EXPR)                                                                      \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        x32 = as_f32(a);                                                                           \
        y32 = as_f32(b);                                                                           \
        z32 = as_f32(c);                                                                           \
        fesetround(MODE);                                                                          \
        r32 = (EXPR);                                                                              \
        fesetround(FE_TONEAREST);                                                                  \
        return of_f32(r32);                                                                        \
    }
#define F64(name, MODE, EXPR)                                                                      \
    static uint64_t name(uint64_t a, uint64_t b, uint64_t c)                                       \
    {                                                                                              \
        x64 = as_f64(a);                                                                           \
        y64 = as_f64(b);                                                                           \
        z64 = as_f64(c);                                                                           \
        fesetround(MODE);                                                                          \
        r64 = (EXPR);                                                                              \
        fesetround(FE_TONEAREST);                                                                  \
        return of_f64(r64);                                                                        \
    }

static float ftz(float a)
{
    return fpclassify(a) == FP_SUBNORMAL ? copysignf(0, a) : a;
}

static float sat(float a)
{
    return a >= 1 ? 1.0f : a > 0 ? a : 0.0f;
}

/* A number wins over what is none; -0 is below +0. */
static double least(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) ? b : a;
    if (a == b)
        return signbit(a) ? a : b;
    return a < b ? a : b;
}

static double most(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) ? b : a;
    if (a == b)
        return signbit(a) ? b : a;
    return a > b ? a : b;
}

#define MODES(X, name, EXPR)                                                                       \
    X(name##_rn, FE_TONEAREST, EXPR)                                                               \
    X(name##_rz, FE_TOWARDZERO, EXPR)                                                              \
    X(name##_rm, FE_DOWNWARD, EXPR)                                                                \
    X(name##_rp, FE_UPWARD, EXPR)

MODES(F32, add32, x32 + y32)
MODES(F32, sub32, x32 - y32)
MODES(F32, mul32, x32 *y32)
MODES(F32, div32, x32 / y32)
MODES(F32, fma32, fmaf(x32, y32, z32))
MODES(F32, rcp32, 1 / x32)
MODES(F32, sqrt32, sqrtf(x32))
MODES(F64, add64, x64 + y64)
MODES(F64, sub64, x64 - y64)
MODES(F64, mul64, x64 *y64)
MODES(F64, div64, x64 / y64)
MODES(F64, fma64, fma(x64, y64, z64))
MODES(F64, rcp64, 1 / x64)
MODES(F64, sqrt64, sqrt(x64))
F32(add_ftz, FE_TONEAREST, ftz(ftz(x32) + ftz(y32)))
F32(mul_ftz, FE_TONEAREST, ftz(ftz(x32) * ftz(y32)))
F32(fma_ftz, FE_TONEAREST, ftz(fmaf(ftz(x32), ftz(y32), ftz(z32))))
F32(fma_ftz_rz, FE_TOWARDZERO, ftz(fmaf(ftz(x32), ftz(y32), ftz(z32))))
F32(add_sat, FE_TONEAREST, sat(x32 + y32))
F32(fma_sat, FE_TONEAREST, sat(fmaf(x32, y32, z32)))
F32(mul_ftz_sat, FE_TONEAREST, sat(ftz(ftz(x32) * ftz(y32))))
F32(min32, FE_TONEAREST, (float)least((double)x32, (double)y32))
F32(max32, FE_TONEAREST, (float)most((double)x32, (double)y32))
F32(min_nan, FE_TONEAREST, x32 != x32 || y32 != y32 ? NAN : (float)least((double)x32, (double)y32))
F32(max_ftz, FE_TONEAREST, (float)most((double)ftz(x32), (double)ftz(y32)))
F64(min64, FE_TONEAREST, least(x64, y64))
F64(max64, FE_TONEAREST, most(x64, y64))
F32(rsqrt32, FE_TONEAREST, 1 / sqrtf(x32))
F32(sin32, FE_TONEAREST, (float)sin((double)x32))
F32(cos32, FE_TONEAREST, (float)cos((double)x32))
F32(lg2, FE_TONEAREST, (float)log2((double)x32))
F32(ex2, FE_TONEAREST, (float)exp2((double)x32))
F32(ex2_ftz, FE_TONEAREST, ftz((float)exp2((double)ftz(x32))))
F32(tanh32, FE_TONEAREST, (float)tanh((double)x32))
REFERENCE(abs32, of_f32(as_f32(a & 0x7fffffff)))
REFERENCE(neg32, of_f32(as_f32(a ^ 0x80000000)))
REFERENCE(abs64, a &INT64_MAX)
REFERENCE(neg64, a ^ (uint64_t)1 << 63)
REFERENCE(copysign32, (b & 0x7fffffff) | (a & 0x80000000))
REFERENCE(copysign64, (b & INT64_MAX) | (a & (uint64_t)1 << 63))

static void rounded(void **state)
{
    static const struct instruction table[] = {
#define FOUR(op, letters, base, args)                                                              \
    {op ".rn" args, letters, base##_rn, 0}, {op ".rz" args, letters, base##_rz, 0},                \
        {op ".rm" args, letters, base##_rm, 0}, {op ".rp" args, letters, base##_rp, 0}
        FOUR("add", "fff", add32, ".f32 %d, %a, %b;"),
        FOUR("sub", "fff", sub32, ".f32 %d, %a, %b;"),
        FOUR("mul", "fff", mul32, ".f32 %d, %a, %b;"),
        FOUR("div", "fff", div32, ".f32 %d, %a, %b;"),
        FOUR("fma", "ffff", fma32, ".f32 %d, %a, %b, %c;"),
        FOUR("rcp", "ff", rcp32, ".f32 %d, %a;"),
        FOUR("sqrt", "ff", sqrt32, ".f32 %d, %a;"),
        FOUR("add", "ddd", add64, ".f64 %d, %a, %b;"),
        FOUR("sub", "ddd", sub64, ".f64 %d, %a, %b;"),
        FOUR("mul", "ddd", mul64, ".f64 %d, %a, %b;"),
        FOUR("div", "ddd", div64, ".f64 %d, %a, %b;"),
        FOUR("fma", "dddd", fma64, ".f64 %d, %a, %b, %c;"),
        FOUR("rcp", "dd", rcp64, ".f64 %d, %a;"),
        FOUR("sqrt", "dd", sqrt64, ".f64 %d, %a;"),
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void flags(void **state)
{
    static const struct instruction table[] = {
        {"add.f32 %d, %a, %b;", "fff", add32_rn, 0},
        {"add.ftz.f32 %d, %a, %b;", "fff", add_ftz, 0},
        {"add.sat.f32 %d, %a, %b;", "fff", add_sat, 0},
        {"mul.ftz.f32 %d, %a, %b;", "fff", mul_ftz, 0},
        {"mul.ftz.sat.f32 %d, %a, %b;", "fff", mul_ftz_sat, 0},
        {"fma.rn.ftz.f32 %d, %a, %b, %c;", "ffff", fma_ftz, 0},
        {"fma.rz.ftz.f32 %d, %a, %b, %c;", "ffff", fma_ftz_rz, 0},
        {"fma.rn.sat.f32 %d, %a, %b, %c;", "ffff", fma_sat, 0},
        {"mad.rn.f32 %d, %a, %b, %c;", "ffff", fma32_rn, 0},
        {"min.f32 %d, %a, %b;", "fff", min32, 0},
        {"max.f32 %d, %a, %b;", "fff", max32, 0},
        {"min.NaN.f32 %d, %a, %b;", "fff", min_nan, 0},
        {"max.ftz.f32 %d, %a, %b;", "fff", max_ftz, 0},
        {"min.f64 %d, %a, %b;", "ddd", min64, 0},
        {"max.f64 %d, %a, %b;", "ddd", max64, 0},
        {"abs.f32 %d, %a;", "ff", abs32, 0},
        {"neg.f32 %d, %a;", "ff", neg32, 0},
        {"abs.f64 %d, %a;", "dd", abs64, 0},
        {"neg.f64 %d, %a;", "dd", neg64, 0},
        {"copysign.f32 %d, %a, %b;", "fff", copysign32, 0},
        {"copysign.f64 %d, %a, %b;", "ddd", copysign64, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void functions(void **state)
{
    static const struct instruction table[] = {
        {"div.approx.f32 %d, %a, %b;", "fff", div32_rn, 2},
        {"div.full.f32 %d, %a, %b;", "fff", div32_rn, 2},
        {"rcp.approx.f32 %d, %a;", "ff", rcp32_rn, 1},
        {"sqrt.approx.f32 %d, %a;", "ff", sqrt32_rn, 1},
        {"rsqrt.approx.f32 %d, %a;", "ff", rsqrt32, 2},
        {"sin.approx.f32 %d, %a;", "ff", sin32, 2},
        {"cos.approx.f32 %d, %a;", "ff", cos32, 2},
        {"lg2.approx.f32 %d, %a;", "ff", lg2, 2},
        {"ex2.approx.f32 %d, %a;", "ff", ex2, 2},
        {"ex2.approx.ftz.f32 %d, %a;", "ff", ex2_ftz, 2},
        {"tanh.approx.f32 %d, %a;", "ff", tanh32, 4},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

/* ---- comparisons ---- */

#define ORDERED(a, b) (!isnan(a) && !isnan(b))
#define COMPARISONS(X, AS)                                                                         \
    X(eq, ORDERED(AS(a), AS(b)) && AS(a) == AS(b))                                                 \
    X(ne, ORDERED(AS(a), AS(b)) && AS(a) != AS(b))                                                 \
    X(lt, ORDERED(AS(a), AS(b)) && AS(a) < AS(b))                                                  \
    X(le, ORDERED(AS(a), AS(b)) && AS(a) <= AS(b))                                                 \
    X(gt, ORDERED(AS(a), AS(b)) && AS(a) > AS(b))                                                  \
    X(ge, ORDERED(AS(a), AS(b)) && AS(a) >= AS(b))                                                 \
    X(equ, !ORDERED(AS(a), AS(b)) || AS(a) == AS(b))                                               \
    X(neu, !ORDERED(AS(a), AS(b)) || AS(a) != AS(b))                                               \
    X(ltu, !ORDERED(AS(a), AS(b)) || AS(a) < AS(b))                                                \
    X(leu, !ORDERED(AS(a), AS(b)) || AS(a) <= AS(b))                                               \
    X(gtu, !ORDERED(AS(a), AS(b)) || AS(a) > AS(b))                                                \
    X(geu, !ORDERED(AS(a), AS(b)) || AS(a) >= AS(b))                                               \
    X(num, ORDERED(AS(a), AS(b)))                                                                  \
    X(nan, !ORDERED(AS(a), AS(b)))
#define COMPARE32(name, EXPR) REFERENCE(name##_32, EXPR)
#define COMPARE64(name, EXPR) REFERENCE(name##_64, EXPR)
COMPARISONS(COMPARE32, as_f32)
COMPARISONS(COMPARE64, as_f64)
REFERENCE(lt_ftz, ftz(as_f32(a)) < ftz(as_f32(b)))
REFERENCE(eq_ftz, ftz(as_f32(a)) == ftz(as_f32(b)))
REFERENCE(set_lt, as_f32(a) < as_f32(b) ? 0x3f800000 : 0)
REFERENCE(set_ge, as_f64(a) >= as_f64(b) ? UINT64_MAX : 0)
REFERENCE(is_finite, isfinite(as_f32(a)))
REFERENCE(is_infinite, isinf(as_f64(a)) != 0)
REFERENCE(is_normal, fpclassify(as_f32(a)) == FP_NORMAL || as_f32(a) == 0)
REFERENCE(is_subnormal, fpclassify(as_f64(a)) == FP_SUBNORMAL)
REFERENCE(is_nan, isnan(as_f32(a)))
REFERENCE(is_number, !isnan(as_f64(a)))

static void comparisons(void **state)
{
    static const struct instruction table[] = {
#define ROW32(name, EXPR) {"setp." #name ".f32 %d, %a, %b;", "pff", name##_32, 0},
#define ROW64(name, EXPR) {"setp." #name ".f64 %d, %a, %b;", "pdd", name##_64, 0},
        COMPARISONS(ROW32, as_f32)
            COMPARISONS(ROW64, as_f64){"setp.lt.ftz.f32 %d, %a, %b;", "pff", lt_ftz, 0},
        {"setp.eq.ftz.f32 %d, %a, %b;", "pff", eq_ftz, 0},
        {"set.lt.f32.f32 %d, %a, %b;", "fff", set_lt, 0},
        {"set.ge.u32.f64 %d, %a, %b;", "wdd", set_ge, 0},
        {"testp.finite.f32 %d, %a;", "pf", is_finite, 0},
        {"testp.infinite.f64 %d, %a;", "pd", is_infinite, 0},
        {"testp.normal.f32 %d, %a;", "pf", is_normal, 0},
        {"testp.subnormal.f64 %d, %a;", "pd", is_subnormal, 0},
        {"testp.notanumber.f32 %d, %a;", "pf", is_nan, 0},
        {"testp.number.f64 %d, %a;", "pd", is_number, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

REFERENCE(lt_s32, (int32_t)a < (int32_t)b)
REFERENCE(lt_u, a < b)
REFERENCE(ge_s16, (int16_t)a >= (int16_t)b)
REFERENCE(gt_s64, (int64_t)a > (int64_t)b)
REFERENCE(le_u, a <= b)
REFERENCE(eq_i, a == b)
REFERENCE(ne_i, a != b)
REFERENCE(lt_and, ((int32_t)a < (int32_t)b) & c)
REFERENCE(lt_or_not, ((int32_t)a < (int32_t)b) | !c)
REFERENCE(gt_xor, (a > b) ^ c)
REFERENCE(not_gt_and, (a <= b) & c)

static void integer_comparisons(void **state)
{
    static const struct instruction table[] = {
        {"setp.lt.s32 %d, %a, %b;", "pww", lt_s32, 0},
        {"setp.lt.u32 %d, %a, %b;", "pww", lt_u, 0},
        {"setp.lo.u64 %d, %a, %b;", "pqq", lt_u, 0},
        {"setp.ge.s16 %d, %a, %b;", "phh", ge_s16, 0},
        {"setp.gt.s64 %d, %a, %b;", "pqq", gt_s64, 0},
        {"setp.ls.u16 %d, %a, %b;", "phh", le_u, 0},
        {"setp.eq.b32 %d, %a, %b;", "pww", eq_i, 0},
        {"setp.ne.s64 %d, %a, %b;", "pqq", ne_i, 0},
        {"setp.lt.and.s32 %d, %a, %b, %c;", "pwwp", lt_and, 0},
        {"setp.lt.or.s32 %d, %a, %b, !%c;", "pwwp", lt_or_not, 0},
        {"setp.gt.xor.u32 %d, %a, %b, %c;", "pwwp", gt_xor, 0},
        {".reg .pred q; setp.gt.and.u32 q|%d, %a, %b, %c;", "pwwp", not_gt_and, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounded),
        cmocka_unit_test(flags),
        cmocka_unit_test(functions),
        cmocka_unit_test(comparisons),
        cmocka_unit_test(integer_comparisons),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
