/* SPDX-License-Identifier: MIT */
/* cvt among integers, f32 and f64 against C. */
#include "soft/tests/harness.h"

#include <fenv.h>
#include <math.h>

/* A NaN keeps its sign and what fits of its payload. */
static uint64_t shortened(uint64_t a, float f)
{
    return isnan(f) ? (a >> 63 << 31 | 0x7fc00000 | (a >> 29 & 0x7fffff)) : of_f32(f);
}

static volatile double v64;
static volatile int64_t vi;
static volatile uint64_t vu;

#define IN_MODE(mode, EXPR)                                                                        \
    ({                                                                                             \
        fesetround(mode);                                                                          \
        volatile __typeof__(EXPR) result = (EXPR);                                                 \
        fesetround(FE_TONEAREST);                                                                  \
        result;                                                                                    \
    })

static int64_t clamp(int64_t a, int64_t low, int64_t high)
{
    return a < low ? low : a > high ? high : a;
}

/* A value already rounded to an integer, as a signed or unsigned number of `bits` bits. */
static uint64_t limited(double v, int bits, bool is_signed, uint64_t nan)
{
    double top = ldexp(1, is_signed ? bits - 1 : bits), bottom = is_signed ? -top : 0;

    if (isnan(v))
        return nan;
    if (v >= top)
        return is_signed ? (UINT64_C(1) << (bits - 1)) - 1 : UINT64_MAX >> (64 - bits);
    if (v <= bottom)
        return is_signed ? UINT64_MAX << (bits - 1) : 0;
    return is_signed ? (uint64_t)(int64_t)v : (uint64_t)v;
}

static double flushed(float a)
{
    return fpclassify(a) == FP_SUBNORMAL ? copysign(0, (double)a) : (double)a;
}

#define TOP64 (UINT64_C(1) << 63)

REFERENCE(low, a)
REFERENCE(s8_to_s32, (int8_t)a)
REFERENCE(u8_of, (uint8_t)a)
REFERENCE(s16_of, (int16_t)a)
REFERENCE(s32_of, (int32_t)a)
REFERENCE(sat_s8, clamp((int32_t)a, -128, 127))
REFERENCE(sat_u16, clamp((int32_t)a, 0, 65535))
REFERENCE(sat_u32, clamp((int64_t)a, 0, UINT32_MAX))
REFERENCE(sat_s32, a > INT32_MAX ? INT32_MAX : a)
REFERENCE(f32_s32, of_f32((float)(int32_t)a))
REFERENCE(f32_u32, of_f32((float)(uint32_t)a))
REFERENCE(f32_s64, of_f32((float)(int64_t)a))
REFERENCE(f32_u64, of_f32((float)a))
REFERENCE(f32_u64_rz, of_f32((vu = a, IN_MODE(FE_TOWARDZERO, (float)vu))))
REFERENCE(f32_s32_rm, of_f32((vi = (int32_t)a, IN_MODE(FE_DOWNWARD, (float)vi))))
REFERENCE(f32_u8, of_f32((float)(uint8_t)a))
REFERENCE(f64_s32, of_f64((int32_t)a))
REFERENCE(f64_u64, of_f64((double)a))
REFERENCE(f64_s64_rp, of_f64((vi = (int64_t)a, IN_MODE(FE_UPWARD, (double)vi))))
REFERENCE(s32_f32, limited(trunc((double)as_f32(a)), 32, true, 0))
REFERENCE(s32_f32_rn, limited(rint((double)as_f32(a)), 32, true, 0))
REFERENCE(s32_f32_ftz, limited(ceil(flushed(as_f32(a))), 32, true, 0))
REFERENCE(u32_f32, limited(trunc((double)as_f32(a)), 32, false, 0))
REFERENCE(s64_f32, limited(floor((double)as_f32(a)), 64, true, TOP64))
REFERENCE(u64_f32, limited(trunc((double)as_f32(a)), 64, false, TOP64))
REFERENCE(u16_f32, limited(trunc((double)as_f32(a)), 16, false, 0))
REFERENCE(s8_f32, limited(rint((double)as_f32(a)), 8, true, 0))
REFERENCE(s32_f64, limited(trunc(as_f64(a)), 32, true, 0x80000000))
REFERENCE(u32_f64, limited(ceil(as_f64(a)), 32, false, 0x80000000))
REFERENCE(s64_f64, limited(rint(as_f64(a)), 64, true, TOP64))
REFERENCE(u64_f64, limited(trunc(as_f64(a)), 64, false, TOP64))
REFERENCE(f64_f32, of_f64((double)as_f32(a)))
REFERENCE(f64_f32_ftz, of_f64(flushed(as_f32(a))))
REFERENCE(f32_f64, shortened(a, (float)as_f64(a)))
REFERENCE(f32_f64_rz, shortened(a, (v64 = as_f64(a), IN_MODE(FE_TOWARDZERO, (float)v64))))
REFERENCE(f32_f64_rp, shortened(a, (v64 = as_f64(a), IN_MODE(FE_UPWARD, (float)v64))))
REFERENCE(rni, of_f32(rintf(as_f32(a))))
REFERENCE(rzi, of_f32(truncf(as_f32(a))))
REFERENCE(rmi64, of_f64(floor(as_f64(a))))
REFERENCE(rpi64, of_f64(ceil(as_f64(a))))
REFERENCE(sat_f32, of_f32(as_f32(a) >= 1 ? 1.0f : as_f32(a) > 0 ? as_f32(a) : 0.0f))

static void integers(void **state)
{
    static const struct instruction table[] = {
        {"cvt.u16.u32 %d, %a;", "hw", low, 0},
        {"cvt.u32.u16 %d, %a;", "wh", low, 0},
        {"cvt.u64.u32 %d, %a;", "qw", low, 0},
        {"cvt.u32.u64 %d, %a;", "wq", low, 0},
        {"cvt.s64.s32 %d, %a;", "qw", s32_of, 0},
        {"cvt.s32.s16 %d, %a;", "wh", s16_of, 0},
        {"cvt.s32.s8 %d, %a;", "ww", s8_to_s32, 0},
        {"cvt.s16.s8 %d, %a;", "hh", s8_to_s32, 0},
        {"cvt.u16.u8 %d, %a;", "hh", u8_of, 0},
        {"cvt.u32.u8 %d, %a;", "ww", u8_of, 0},
        {"cvt.s64.s8 %d, %a;", "qh", s8_to_s32, 0},
        {"cvt.u8.u32 %d, %a;", "hw", u8_of, 0},
        {"cvt.s8.s32 %d, %a;", "ww", s8_to_s32, 0},
        {"cvt.s64.s16 %d, %a;", "qq", s16_of, 0},
        {"cvt.sat.s8.s32 %d, %a;", "ww", sat_s8, 0},
        {"cvt.sat.u16.s32 %d, %a;", "hw", sat_u16, 0},
        {"cvt.sat.u32.s64 %d, %a;", "wq", sat_u32, 0},
        {"cvt.sat.s32.u32 %d, %a;", "ww", sat_s32, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void integers_to_floats(void **state)
{
    static const struct instruction table[] = {
        {"cvt.rn.f32.s32 %d, %a;", "fw", f32_s32, 0},
        {"cvt.rn.f32.u32 %d, %a;", "fw", f32_u32, 0},
        {"cvt.rn.f32.s64 %d, %a;", "fq", f32_s64, 0},
        {"cvt.rn.f32.u64 %d, %a;", "fq", f32_u64, 0},
        {"cvt.rz.f32.u64 %d, %a;", "fq", f32_u64_rz, 0},
        {"cvt.rm.f32.s32 %d, %a;", "fw", f32_s32_rm, 0},
        {"cvt.rn.f32.u8 %d, %a;", "fh", f32_u8, 0},
        {"cvt.rn.f64.s32 %d, %a;", "dw", f64_s32, 0},
        {"cvt.rn.f64.u64 %d, %a;", "dq", f64_u64, 0},
        {"cvt.rp.f64.s64 %d, %a;", "dq", f64_s64_rp, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void floats_to_integers(void **state)
{
    static const struct instruction table[] = {
        {"cvt.rzi.s32.f32 %d, %a;", "wf", s32_f32, 0},
        {"cvt.rni.s32.f32 %d, %a;", "wf", s32_f32_rn, 0},
        {"cvt.rpi.ftz.s32.f32 %d, %a;", "wf", s32_f32_ftz, 0},
        {"cvt.rzi.u32.f32 %d, %a;", "wf", u32_f32, 0},
        {"cvt.rmi.s64.f32 %d, %a;", "qf", s64_f32, 0},
        {"cvt.rzi.u64.f32 %d, %a;", "qf", u64_f32, 0},
        {"cvt.rzi.u16.f32 %d, %a;", "hf", u16_f32, 0},
        {"cvt.rni.s8.f32 %d, %a;", "wf", s8_f32, 0},
        {"cvt.rzi.s32.f64 %d, %a;", "wd", s32_f64, 0},
        {"cvt.rpi.u32.f64 %d, %a;", "wd", u32_f64, 0},
        {"cvt.rni.s64.f64 %d, %a;", "qd", s64_f64, 0},
        {"cvt.rzi.u64.f64 %d, %a;", "qd", u64_f64, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

static void floats(void **state)
{
    static const struct instruction table[] = {
        {"cvt.f64.f32 %d, %a;", "df", f64_f32, 0},
        {"cvt.ftz.f64.f32 %d, %a;", "df", f64_f32_ftz, 0},
        {"cvt.rn.f32.f64 %d, %a;", "fd", f32_f64, 0},
        {"cvt.rz.f32.f64 %d, %a;", "fd", f32_f64_rz, 0},
        {"cvt.rp.f32.f64 %d, %a;", "fd", f32_f64_rp, 0},
        {"cvt.rni.f32.f32 %d, %a;", "ff", rni, 0},
        {"cvt.rzi.f32.f32 %d, %a;", "ff", rzi, 0},
        {"cvt.rmi.f64.f64 %d, %a;", "dd", rmi64, 0},
        {"cvt.rpi.f64.f64 %d, %a;", "dd", rpi64, 0},
        {"cvt.sat.f32.f32 %d, %a;", "ff", sat_f32, 0},
    };

    (void)state;
    check_instructions(table, COUNT(table));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),
        cmocka_unit_test(integers_to_floats),
        cmocka_unit_test(floats_to_integers),
        cmocka_unit_test(floats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
