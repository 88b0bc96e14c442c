/* SPDX-License-Identifier: MIT */
/* Integers to integers of other widths, and integers to and from floating point. */
#include <fenv.h>
#include <math.h>

#include "soft/simt/half.h"
#include "soft/simt/lanes.h"

/* ext_T_A_D: the low bits of a row of A bits as type T, extended (or cut) to D bits. */
#define EXTEND(X, S, T, A)                                                                         \
    X(ext_##S##_##A##_16, uint16_t, uint##A##_t, (T)a)                                             \
    X(ext_##S##_##A##_32, uint32_t, uint##A##_t, (uint32_t)(T)a)                                   \
    X(ext_##S##_##A##_64, uint64_t, uint##A##_t, (uint64_t)(T)a)
/* clang-format off */
#define EXTEND_OPS(X)                                                                              \
    EXTEND(X, u8, uint8_t, 16) EXTEND(X, s8, int8_t, 16)                                           \
    EXTEND(X, u16, uint16_t, 16) EXTEND(X, s16, int16_t, 16)                                       \
    EXTEND(X, u8, uint8_t, 32) EXTEND(X, s8, int8_t, 32)                                           \
    EXTEND(X, u16, uint16_t, 32) EXTEND(X, s16, int16_t, 32)                                       \
    EXTEND(X, u32, uint32_t, 32) EXTEND(X, s32, int32_t, 32)                                       \
    EXTEND(X, u8, uint8_t, 64) EXTEND(X, s8, int8_t, 64)                                           \
    EXTEND(X, u16, uint16_t, 64) EXTEND(X, s16, int16_t, 64)                                       \
    EXTEND(X, u32, uint32_t, 64) EXTEND(X, s32, int32_t, 64)                                       \
    EXTEND(X, u64, uint64_t, 64) EXTEND(X, s64, int64_t, 64)

#define CLAMP(a, low, high) ((a) < (low) ? (low) : (a) > (high) ? (high) : (a))
#define CLAMPS(X, A)                                                                               \
    X(clamp_s##A##_u8, int##A##_t, int##A##_t, CLAMP(a, 0, UINT8_MAX))                             \
    X(clamp_s##A##_s8, int##A##_t, int##A##_t, CLAMP(a, INT8_MIN, INT8_MAX))                       \
    X(clamp_s##A##_u16, int##A##_t, int##A##_t, CLAMP(a, 0, UINT16_MAX))                           \
    X(clamp_s##A##_s16, int##A##_t, int##A##_t, CLAMP(a, INT16_MIN, INT16_MAX))                    \
    X(clamp_u##A##_u8, uint##A##_t, uint##A##_t, a > UINT8_MAX ? UINT8_MAX : a)                    \
    X(clamp_u##A##_s8, uint##A##_t, uint##A##_t, a > INT8_MAX ? INT8_MAX : a)                      \
    X(clamp_u##A##_u16, uint##A##_t, uint##A##_t, a > UINT16_MAX ? UINT16_MAX : a)                 \
    X(clamp_u##A##_s16, uint##A##_t, uint##A##_t, a > INT16_MAX ? INT16_MAX : a)
#define CLAMP_OPS(X)                                                                               \
    CLAMPS(X, 32) CLAMPS(X, 64)                                                                    \
    X(clamp_s64_u32, int64_t, int64_t, CLAMP(a, 0, (int64_t)UINT32_MAX))                           \
    X(clamp_s64_s32, int64_t, int64_t, CLAMP(a, (int64_t)INT32_MIN, (int64_t)INT32_MAX))           \
    X(clamp_s64_u64, int64_t, int64_t, a < 0 ? 0 : a)                                              \
    X(clamp_s64_s64, int64_t, int64_t, a)                                                          \
    X(clamp_u64_u32, uint64_t, uint64_t, a > UINT32_MAX ? UINT32_MAX : a)                          \
    X(clamp_u64_s32, uint64_t, uint64_t, a > INT32_MAX ? INT32_MAX : a)                            \
    X(clamp_u64_u64, uint64_t, uint64_t, a)                                                        \
    X(clamp_u64_s64, uint64_t, uint64_t, a > INT64_MAX ? INT64_MAX : a)
/* clang-format on */
EXTEND_OPS(DEFINE_UNARY)
CLAMP_OPS(DEFINE_UNARY)

/* ---- integers to floating point ---- */

static const int rounding_modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};

#define SATURATE(a) ((a) > 0 ? ((a) < 1 ? (a) : 1) : 0)

/* The copy goes through memory on both sides: the conversion stays where the rounding is set. */
#define DEFINE_FROM_INTEGER(name, TD, TA)                                                          \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        TD *d = ROW(TD, VGPU_D), result[VGPU_LANES];                                               \
        TA copy[VGPU_LANES];                                                                       \
        memcpy(copy, ROW(TA, VGPU_A), sizeof(copy));                                               \
        if (i->x != VGPU_RN)                                                                       \
            fesetround(rounding_modes[i->x & 3]);                                                  \
        __asm__ volatile("" : "+m"(copy)::"memory");                                               \
        LANE_LOOP result[l] = (TD)copy[l];                                                         \
        __asm__ volatile("" : "+m"(result)::"memory");                                             \
        if (i->x != VGPU_RN)                                                                       \
            fesetround(FE_TONEAREST);                                                              \
        if (i->y & VGPU_SAT)                                                                       \
            LANE_LOOP result[l] = SATURATE(result[l]);                                             \
        STORE_LANES(d, m, result[l]);                                                              \
        return 0;                                                                                  \
    }

#define FROM_INTEGER_OPS(X)                                                                        \
    X(cvt_f32_u32, float, uint32_t)                                                                \
    X(cvt_f32_s32, float, int32_t)                                                                 \
    X(cvt_f32_u64, float, uint64_t)                                                                \
    X(cvt_f32_s64, float, int64_t)                                                                 \
    X(cvt_f64_u32, double, uint32_t)                                                               \
    X(cvt_f64_s32, double, int32_t)                                                                \
    X(cvt_f64_u64, double, uint64_t)                                                               \
    X(cvt_f64_s64, double, int64_t)
FROM_INTEGER_OPS(DEFINE_FROM_INTEGER)

/* An integer of up to 64 bits as a double that rounds to shorter formats as the integer would. */
static inline double odd_u64(uint64_t a)
{
    /* Above 53 bits the low 11 only matter as "more than nothing". */
    if (a >> 53 != 0)
        a = (a & ~UINT64_C(0xfff)) | ((a & 0xfff) != 0 ? UINT64_C(0x800) : 0);
    return (double)a;
}

static inline double odd_s64(int64_t a)
{
    return a < 0 ? -odd_u64(0 - (uint64_t)a) : odd_u64((uint64_t)a);
}

#define DEFINE_HALF_FROM_INTEGER(name, TA, ODD, NARROW)                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint16_t *d = ROW(uint16_t, VGPU_D);                                                       \
        const TA *a = ROW(TA, VGPU_A);                                                             \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            double v = ODD(a[l]);                                                                  \
            if (i->y & VGPU_SAT)                                                                   \
                v = SATURATE(v);                                                                   \
            if (LANE_ON(m, l))                                                                     \
                d[l] = NARROW(v, i->x);                                                            \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define HALF_FROM_INTEGER_OPS(X)                                                                   \
    X(cvt_f16_u32, uint32_t, (double), vgpu_to_f16_one)                                            \
    X(cvt_f16_s32, int32_t, (double), vgpu_to_f16_one)                                             \
    X(cvt_f16_u64, uint64_t, odd_u64, vgpu_to_f16_one)                                             \
    X(cvt_f16_s64, int64_t, odd_s64, vgpu_to_f16_one)                                              \
    X(cvt_bf16_u32, uint32_t, (double), vgpu_to_bf16_one)                                          \
    X(cvt_bf16_s32, int32_t, (double), vgpu_to_bf16_one)                                           \
    X(cvt_bf16_u64, uint64_t, odd_u64, vgpu_to_bf16_one)                                           \
    X(cvt_bf16_s64, int64_t, odd_s64, vgpu_to_bf16_one)
HALF_FROM_INTEGER_OPS(DEFINE_HALF_FROM_INTEGER)

/* ---- floating point to integers ---- */

static inline double integral(double a, unsigned rounding)
{
    return rounding == VGPU_RN   ? rint(a)
           : rounding == VGPU_RZ ? trunc(a)
           : rounding == VGPU_RM ? floor(a)
                                 : ceil(a);
}

static inline double flushed(float a, unsigned flags)
{
    return flags & VGPU_FTZ && __builtin_fabsf(a) < 0x1p-126f ? __builtin_copysign(0.0, (double)a)
                                                              : (double)a;
}

#define AS_F64(a)  (a)
#define AS_F32(a)  flushed(a, i->y)
#define AS_F16(a)  ((double)vgpu_f16_value(a))
#define AS_BF16(a) ((double)vgpu_bf16_value(a))

/* Values out of range become the nearest limit. NAN_RESULT is what is not a number. */
#define DEFINE_TO_INTEGER(name, TD, TA, AS, LOW, BELOW, ABOVE, HIGH, NAN_RESULT)                   \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        TD *d = ROW(TD, VGPU_D);                                                                   \
        const TA *ra = ROW(TA, VGPU_A);                                                            \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            double a;                                                                              \
            if (!LANE_ON(m, l))                                                                    \
                continue;                                                                          \
            a = integral(AS(ra[l]), i->x);                                                         \
            d[l] = a != a ? (NAN_RESULT) : a <= (BELOW) ? (LOW) : a >= (ABOVE) ? (HIGH) : (TD)a;   \
        }                                                                                          \
        return 0;                                                                                  \
    }

/* A NaN becomes 0, except that f64 and 64-bit results have the top bit alone. */
#define TO_INTEGERS(X, F, TA, AS, NAN32)                                                           \
    X(cvt_s32_##F, int32_t, TA, AS, INT32_MIN, -0x1p31, 0x1p31, INT32_MAX,                         \
      (int32_t)((NAN32) ? INT32_MIN : 0))                                                          \
    X(cvt_u32_##F, uint32_t, TA, AS, 0, 0.0, 0x1p32, UINT32_MAX, (NAN32) ? UINT32_C(1) << 31 : 0)  \
    X(cvt_s64_##F, int64_t, TA, AS, INT64_MIN, -0x1p63, 0x1p63, INT64_MAX, INT64_MIN)              \
    X(cvt_u64_##F, uint64_t, TA, AS, 0, 0.0, 0x1p64, UINT64_MAX, UINT64_C(1) << 63)

#define TO_INTEGER_OPS(X)                                                                          \
    TO_INTEGERS(X, f16, uint16_t, AS_F16, 0)                                                       \
    TO_INTEGERS(X, bf16, uint16_t, AS_BF16, 0)                                                     \
    TO_INTEGERS(X, f32, float, AS_F32, 0)                                                          \
    TO_INTEGERS(X, f64, double, AS_F64, 1)
TO_INTEGER_OPS(DEFINE_TO_INTEGER)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_convert)[] = {
    EXTEND_OPS(OP_ENTRY) CLAMP_OPS(OP_ENTRY) FROM_INTEGER_OPS(OP_ENTRY)
        HALF_FROM_INTEGER_OPS(OP_ENTRY) TO_INTEGER_OPS(OP_ENTRY) OP_END};
