/* SPDX-License-Identifier: MIT */
/* Arithmetic of f32 and f64. x: rounding, y: flags. */
#include <math.h>
#include <string.h>
#include <xmmintrin.h>

#include "soft/simt/half.h"
#include "soft/simt/lanes.h"

/* A result that is not a number is always the same one, with f32. */
static inline float canonical_f32(float a)
{
    return a != a ? vgpu_float_of(VGPU_NAN_F32) : a;
}

static inline double canonical_f64(double a)
{
    return a;
}

static inline float flush_f32(float a)
{
    return __builtin_fabsf(a) < 0x1p-126f ? __builtin_copysignf(0.0f, a) : a;
}

static inline double flush_f64(double a)
{
    return a;
}

/* NaN saturates to zero. */
#define SATURATE(a) ((a) > 0 ? ((a) < 1 ? (a) : 1) : 0)

/* The processor's rounding (which is to nearest all the time), for the time between two barriers:
   values go through memory, so the compiler cannot move arithmetic across them. */
static inline unsigned begin_rounding(unsigned rounding)
{
    static const unsigned bits[] = {_MM_ROUND_NEAREST, _MM_ROUND_TOWARD_ZERO, _MM_ROUND_DOWN,
                                    _MM_ROUND_UP};
    unsigned before;

    if (rounding == VGPU_RN)
        return 0;
    before = _mm_getcsr();
    _mm_setcsr((before & ~(unsigned)_MM_ROUND_MASK) | bits[rounding & 3]);
    __asm__ volatile("" ::: "memory");
    return before;
}

static inline void end_rounding(unsigned before)
{
    __asm__ volatile("" ::: "memory");
    if (before != 0)
        _mm_setcsr(before);
}

/* The general form: flushed copies of the sources, the rounding asked for, the result's flags. */
#define GENERAL_FORM(T, F, SOURCES, EXPR)                                                          \
    do {                                                                                           \
        T copy[3][VGPU_LANES], result[VGPU_LANES];                                                 \
        const T *from[3] = {ra, rb, rc};                                                           \
        unsigned before;                                                                           \
        for (unsigned n = 0; n < (SOURCES); n++) {                                                 \
            if (i->y & VGPU_FTZ)                                                                   \
                LANE_LOOP copy[n][l] = flush_##F(from[n][l]);                                      \
            else                                                                                   \
                memcpy(copy[n], from[n], sizeof(copy[n]));                                         \
        }                                                                                          \
        before = begin_rounding(i->x);                                                             \
        __asm__ volatile("" : "+m"(copy));                                                         \
        LANE_LOOP                                                                                  \
        {                                                                                          \
            T a = copy[0][l], b = (SOURCES) > 1 ? copy[1][l] : 0;                                  \
            T c = (SOURCES) > 2 ? copy[2][l] : 0;                                                  \
            (void)b;                                                                               \
            (void)c;                                                                               \
            result[l] = (EXPR);                                                                    \
        }                                                                                          \
        __asm__ volatile("" : "+m"(result));                                                       \
        end_rounding(before);                                                                      \
        if (i->y & VGPU_FTZ)                                                                       \
            LANE_LOOP result[l] = flush_##F(result[l]);                                            \
        if (i->y & VGPU_SAT)                                                                       \
            LANE_LOOP result[l] = SATURATE(result[l]);                                             \
        STORE_LANES(d, m, canonical_##F(result[l]));                                               \
    } while (0)

#define DEFINE_FLOAT1(name, T, F, EXPR)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A), *rb = ra, *rc = ra;                                          \
        if (i->x != VGPU_RN || i->y != 0) {                                                        \
            GENERAL_FORM(T, F, 1, EXPR);                                                           \
            return 0;                                                                              \
        }                                                                                          \
        STORE_LANES(d, m, ({                                                                       \
                        T a = ra[l];                                                               \
                        canonical_##F(EXPR);                                                       \
                    }));                                                                           \
        return 0;                                                                                  \
    }

#define DEFINE_FLOAT2(name, T, F, EXPR)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A), *rb = ROW(T, VGPU_B), *rc = ra;                              \
        if (i->x != VGPU_RN || i->y != 0) {                                                        \
            GENERAL_FORM(T, F, 2, EXPR);                                                           \
            return 0;                                                                              \
        }                                                                                          \
        STORE_LANES(d, m, ({                                                                       \
                        T a = ra[l], b = rb[l];                                                    \
                        canonical_##F(EXPR);                                                       \
                    }));                                                                           \
        return 0;                                                                                  \
    }

#define DEFINE_FLOAT3(name, T, F, EXPR)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A), *rb = ROW(T, VGPU_B), *rc = ROW(T, VGPU_C);                  \
        if (i->x != VGPU_RN || i->y != 0) {                                                        \
            GENERAL_FORM(T, F, 3, EXPR);                                                           \
            return 0;                                                                              \
        }                                                                                          \
        STORE_LANES(d, m, ({                                                                       \
                        T a = ra[l], b = rb[l], c = rc[l];                                         \
                        canonical_##F(EXPR);                                                       \
                    }));                                                                           \
        return 0;                                                                                  \
    }

/* The upper half of an f64, to nearest; what has no bit of its exponent set is zero. */
static inline double high_f64(double a, bool round)
{
    uint64_t bits;

    memcpy(&bits, &a, sizeof(bits));
    if ((bits >> 52 & 0x7ff) == 0)
        bits &= UINT64_C(1) << 63;
    else if (round && (bits >> 52 & 0x7ff) != 0x7ff)
        bits += UINT64_C(0x80000000);
    bits &= ~(uint64_t)UINT32_MAX;
    memcpy(&a, &bits, sizeof(a));
    return a;
}

/* Library functions: one lane at a time, and only those of the mask. */
#define DEFINE_FUNCTION(name, T, F, EXPR)                                                          \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A);                                                              \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            T a = i->y & VGPU_FTZ ? flush_##F(ra[l]) : ra[l], r;                                   \
            if (!LANE_ON(m, l))                                                                    \
                continue;                                                                          \
            r = (EXPR);                                                                            \
            d[l] = canonical_##F(i->y & VGPU_FTZ ? flush_##F(r) : r);                              \
        }                                                                                          \
        return 0;                                                                                  \
    }

/* clang-format off */
#define FLOAT1_OPS(X)                                                                              \
    X(rcp_f32, float, f32, 1.0f / a)                                                               \
    X(rcp_f64, double, f64, 1.0 / a)                                                               \
    X(sqrt_f32, float, f32, __builtin_sqrtf(a))                                                    \
    X(sqrt_f64, double, f64, __builtin_sqrt(a))                                                    \
    X(rsqrt_f64, double, f64, 1.0 / __builtin_sqrt(a))

#define FLOAT2_OPS(X)                                                                              \
    X(add_f32, float, f32, a + b)                                                                  \
    X(sub_f32, float, f32, a - b)                                                                  \
    X(mul_f32, float, f32, a * b)                                                                  \
    X(div_f32, float, f32, a / b)                                                                  \
    X(add_f64, double, f64, a + b)                                                                 \
    X(sub_f64, double, f64, a - b)                                                                 \
    X(mul_f64, double, f64, a * b)                                                                 \
    X(div_f64, double, f64, a / b)

#define FLOAT3_OPS(X)                                                                              \
    X(fma_f32, float, f32, __builtin_fmaf(a, b, c))                                                \
    X(fma_f64, double, f64, __builtin_fma(a, b, c))

#define FUNCTION_OPS(X)                                                                            \
    X(rsqrt_f32, float, f32, (float)(1.0 / sqrt((double)a)))                                       \
    X(sin_f32, float, f32, (float)sin((double)a))                                                  \
    X(cos_f32, float, f32, (float)cos((double)a))                                                  \
    X(lg2_f32, float, f32, log2f(a))                                                               \
    X(ex2_f32, float, f32, exp2f(a))                                                               \
    X(tanh_f32, float, f32, tanhf(a))                                                              \
    X(rcp_high_f64, double, f64, high_f64(1.0 / high_f64(a, false), true))                         \
    X(rsqrt_high_f64, double, f64, high_f64(1.0 / __builtin_sqrt(high_f64(a, false)), true))
/* clang-format on */

FLOAT1_OPS(DEFINE_FLOAT1)
FLOAT2_OPS(DEFINE_FLOAT2)
FLOAT3_OPS(DEFINE_FLOAT3)
FUNCTION_OPS(DEFINE_FUNCTION)

/* Minimum and maximum: the number wins over NaN, unless .NaN; -0 is less than +0. */
static inline float zero_f32(float a, float b, bool least)
{
    uint32_t x = vgpu_bits_of(a), y = vgpu_bits_of(b);

    return vgpu_float_of(least ? x | y : x & y);
}

static inline double zero_f64(double a, double b, bool least)
{
    return __builtin_signbit(a) == least ? a : b;
}

#define DEFINE_MINMAX(name, T, F, LEAST, OP)                                                       \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A), *rb = ROW(T, VGPU_B);                                        \
        bool flush = i->y & VGPU_FTZ, nan = i->y & VGPU_NAN;                                       \
        STORE_LANES(d, m, ({                                                                       \
                        T a = flush ? flush_##F(ra[l]) : ra[l];                                    \
                        T b = flush ? flush_##F(rb[l]) : rb[l];                                    \
                        T r = a == b ? zero_##F(a, b, LEAST) : a OP b ? a : b;                     \
                        r = a != a ? (nan ? a : b) : b != b ? (nan ? b : a) : r;                   \
                        canonical_##F(r);                                                          \
                    }));                                                                           \
        return 0;                                                                                  \
    }

#define MINMAX_OPS(X)                                                                              \
    X(min_f32, float, f32, true, <)                                                                \
    X(max_f32, float, f32, false, >)                                                               \
    X(min_f64, double, f64, true, <)                                                               \
    X(max_f64, double, f64, false, >)
MINMAX_OPS(DEFINE_MINMAX)

/* Signs of numbers; f32 has one NaN here too, and the payloads of f64 pass through. */
#define DEFINE_SIGN(name, T, F, EXPR)                                                              \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A);                                                              \
        bool flush = i->y & VGPU_FTZ;                                                              \
        STORE_LANES(d, m, ({                                                                       \
                        T a = flush ? flush_##F(ra[l]) : ra[l];                                    \
                        canonical_##F(EXPR);                                                       \
                    }));                                                                           \
        return 0;                                                                                  \
    }

#define SIGN_OPS(X)                                                                                \
    X(abs_f32, float, f32, __builtin_fabsf(a))                                                     \
    X(neg_f32, float, f32, -a)                                                                     \
    X(abs_f64, double, f64, __builtin_fabs(a))                                                     \
    X(neg_f64, double, f64, -a)
SIGN_OPS(DEFINE_SIGN)

/* copysign d, a, b: the sign of a, the value of b */
#define COPYSIGN_OPS(X)                                                                            \
    X(copysign_f32, float, float, float, __builtin_copysignf(b, a))                                \
    X(copysign_f64, double, double, double, __builtin_copysign(b, a))
COPYSIGN_OPS(DEFINE_BINARY)

/* Conversions between f32 and f64, and rounding to integers in the same format. x 255: none. */
HANDLER(cvt_f64_f32)
{
    double *d = ROW(double, VGPU_D);
    const float *ra = ROW(float, VGPU_A);
    bool flush = i->y & VGPU_FTZ, saturate = i->y & VGPU_SAT;

    STORE_LANES(d, m, ({
                    double r = (double)(flush ? flush_f32(ra[l]) : ra[l]);

                    saturate ? SATURATE(r) : r;
                }));
    return 0;
}

/* A NaN keeps what fits of its payload, as the processor does it. */
HANDLER(cvt_f32_f64)
{
    float *d = ROW(float, VGPU_D), result[VGPU_LANES];
    double copy[VGPU_LANES];
    unsigned before;

    memcpy(copy, ROW(double, VGPU_A), sizeof(copy));
    before = begin_rounding(i->x);
    __asm__ volatile("" : "+m"(copy));
    LANE_LOOP result[l] = (float)copy[l];
    __asm__ volatile("" : "+m"(result));
    end_rounding(before);
    if (i->y & VGPU_FTZ)
        LANE_LOOP result[l] = flush_f32(result[l]);
    if (i->y & VGPU_SAT)
        LANE_LOOP result[l] = SATURATE(result[l]);
    STORE_LANES(d, m, result[l]);
    return 0;
}

#define DEFINE_ROUND(name, T, F, NEAREST, ZERO, DOWN, UP)                                          \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A);                                                              \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            T a = i->y & VGPU_FTZ ? flush_##F(ra[l]) : ra[l];                                      \
            if (i->x != 255)                                                                       \
                a = i->x == VGPU_RN   ? NEAREST(a)                                                 \
                    : i->x == VGPU_RZ ? ZERO(a)                                                    \
                    : i->x == VGPU_RM ? DOWN(a)                                                    \
                                      : UP(a);                                                     \
            if (i->y & VGPU_SAT)                                                                   \
                a = SATURATE(a);                                                                   \
            if (LANE_ON(m, l))                                                                     \
                d[l] = canonical_##F(a);                                                           \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define ROUND_OPS(X)                                                                               \
    X(round_f32, float, f32, rintf, truncf, floorf, ceilf)                                         \
    X(round_f64, double, f64, rint, trunc, floor, ceil)
ROUND_OPS(DEFINE_ROUND)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_float)[] = {
    FLOAT1_OPS(OP_ENTRY) FLOAT2_OPS(OP_ENTRY) FLOAT3_OPS(OP_ENTRY) FUNCTION_OPS(OP_ENTRY)
        MINMAX_OPS(OP_ENTRY) SIGN_OPS(OP_ENTRY) COPYSIGN_OPS(OP_ENTRY) ROUND_OPS(OP_ENTRY)
            OP_ENTRY(cvt_f64_f32) OP_ENTRY(cvt_f32_f64) OP_END};
