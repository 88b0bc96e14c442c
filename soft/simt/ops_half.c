/* SPDX-License-Identifier: MIT */
/* Arithmetic and conversions of f16, bf16 and their pairs: widened, computed, rounded again. */
#include <math.h>

#include "soft/simt/half.h"
#include "soft/simt/lanes.h"

#define MOST (2 * VGPU_LANES)

enum format { F16, BF16 };

static inline void widen(enum format f, const uint16_t *from, float *to, unsigned n)
{
    if (f == F16)
        vgpu_from_f16(from, to, n);
    else
        vgpu_from_bf16(from, to, n);
}

static inline void narrow(enum format f, const float *from, uint16_t *to, unsigned n)
{
    if (f == F16)
        vgpu_to_f16(from, to, n);
    else
        vgpu_to_bf16(from, to, n);
}

static inline uint16_t narrow_double(enum format f, double v)
{
    return f == F16 ? vgpu_to_f16_one(v, VGPU_RN) : vgpu_to_bf16_one(v, VGPU_RN);
}

/* Subnormals of f16; bf16 has no .ftz. */
static inline void flush(const struct vgpu_inst *i, enum format f, float *v, unsigned n)
{
    if (f != F16 || !(i->y & VGPU_FTZ))
        return;
    for (unsigned k = 0; k < n; k++)
        v[k] = __builtin_fabsf(v[k]) < 0x1p-14f ? __builtin_copysignf(0.0f, v[k]) : v[k];
}

/* .sat, .relu and the flushing of results, then the lanes of the mask to the row. */
static inline void put(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m, enum format f,
                       uint16_t *h, unsigned n)
{
    uint16_t *d = row_of(w, i->row[VGPU_D]);
    uint16_t one = f == F16 ? 0x3c00 : 0x3f80, least = f == F16 ? 0x400 : 0x80;

    for (unsigned k = 0; k < n; k++) {
        uint16_t v = h[k], magnitude = v & 0x7fff;
        bool negative = v & 0x8000;

        if (i->y & VGPU_FTZ && f == F16 && magnitude < least)
            v &= 0x8000;
        if (i->y & VGPU_FINITE && magnitude == (f == F16 ? 0x7c00 : 0x7f80))
            v--;
        if (i->y & VGPU_SAT)
            v = magnitude > (f == F16 ? 0x7c00 : 0x7f80) || negative ? 0 : v > one ? one : v;
        if (i->y & VGPU_RELU && negative && v != VGPU_NAN_16)
            v = 0;
        h[k] = v;
    }
    if (m == VGPU_ALL_LANES) {
        memcpy(d, h, n * sizeof(*d));
        return;
    }
    for (unsigned k = 0; k < n; k++) {
        if (LANE_ON(m, k * VGPU_LANES / n))
            d[k] = h[k];
    }
}

/* One rounding to 16 bits of a result in f32: exact before that, for add, sub and mul. */
#define DEFINE_HALF2(name, FORMAT, N, EXPR)                                                        \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        float ra[MOST], rb[MOST];                                                                  \
        uint16_t h[MOST];                                                                          \
        widen(FORMAT, ROW(uint16_t, VGPU_A), ra, N);                                               \
        widen(FORMAT, ROW(uint16_t, VGPU_B), rb, N);                                               \
        flush(i, FORMAT, ra, N);                                                                   \
        flush(i, FORMAT, rb, N);                                                                   \
        for (unsigned k = 0; k < (N); k++) {                                                       \
            float a = ra[k], b = rb[k];                                                            \
            ra[k] = (EXPR);                                                                        \
        }                                                                                          \
        narrow(FORMAT, ra, h, N);                                                                  \
        put(w, i, m, FORMAT, h, N);                                                                \
        return 0;                                                                                  \
    }

/* bf16 has the range of f32: results are computed in f64, inexact sums with a sticky last bit. */
#define DEFINE_BRAIN2(name, N, EXPR)                                                               \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        float ra[MOST], rb[MOST];                                                                  \
        uint16_t h[MOST];                                                                          \
        widen(BF16, ROW(uint16_t, VGPU_A), ra, N);                                                 \
        widen(BF16, ROW(uint16_t, VGPU_B), rb, N);                                                 \
        for (unsigned k = 0; k < (N); k++) {                                                       \
            double a = (double)ra[k], b = (double)rb[k];                                           \
            h[k] = narrow_double(BF16, (EXPR));                                                    \
        }                                                                                          \
        put(w, i, m, BF16, h, N);                                                                  \
        return 0;                                                                                  \
    }

#define DEFINE_HALF_FMA(name, FORMAT, N)                                                           \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        float ra[MOST], rb[MOST], rc[MOST];                                                        \
        uint16_t h[MOST];                                                                          \
        widen(FORMAT, ROW(uint16_t, VGPU_A), ra, N);                                               \
        widen(FORMAT, ROW(uint16_t, VGPU_B), rb, N);                                               \
        widen(FORMAT, ROW(uint16_t, VGPU_C), rc, N);                                               \
        flush(i, FORMAT, ra, N);                                                                   \
        flush(i, FORMAT, rb, N);                                                                   \
        flush(i, FORMAT, rc, N);                                                                   \
        for (unsigned k = 0; k < (N); k++)                                                         \
            h[k] =                                                                                 \
                narrow_double(FORMAT, vgpu_add_odd((double)ra[k] * (double)rb[k], (double)rc[k])); \
        put(w, i, m, FORMAT, h, N);                                                                \
        return 0;                                                                                  \
    }

/* -0 is less than +0; a number wins over NaN unless .NaN. */
static inline float least_of(float a, float b, unsigned flags)
{
    if (a != a)
        return flags & VGPU_NAN ? a : b;
    if (b != b)
        return flags & VGPU_NAN ? b : a;
    return a == b ? (signbit(a) ? a : b) : a < b ? a : b;
}

static inline float most_of(float a, float b, unsigned flags)
{
    if (a != a)
        return flags & VGPU_NAN ? a : b;
    if (b != b)
        return flags & VGPU_NAN ? b : a;
    return a == b ? (signbit(a) ? b : a) : a > b ? a : b;
}

#define DEFINE_HALF_FUNCTION(name, FORMAT, N, EXPR)                                                \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        float ra[MOST];                                                                            \
        uint16_t h[MOST];                                                                          \
        widen(FORMAT, ROW(uint16_t, VGPU_A), ra, N);                                               \
        flush(i, FORMAT, ra, N);                                                                   \
        for (unsigned k = 0; k < (N); k++) {                                                       \
            double a = (double)ra[k];                                                              \
            h[k] = LANE_ON(m, k * VGPU_LANES / (N)) ? narrow_double(FORMAT, (EXPR)) : 0;           \
        }                                                                                          \
        put(w, i, m, FORMAT, h, N);                                                                \
        return 0;                                                                                  \
    }

/* Signs are bits, except that there is one NaN. */
#define DEFINE_HALF_SIGN(name, FORMAT, N, EXPR)                                                    \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const uint16_t *ra = ROW(uint16_t, VGPU_A);                                                \
        uint16_t h[MOST];                                                                          \
        for (unsigned k = 0; k < (N); k++) {                                                       \
            uint16_t a = ra[k];                                                                    \
            h[k] = (uint16_t)((a & 0x7fff) > ((FORMAT) == F16 ? 0x7c00 : 0x7f80) ? VGPU_NAN_16     \
                                                                                 : (EXPR));        \
        }                                                                                          \
        put(w, i, m, FORMAT, h, N);                                                                \
        return 0;                                                                                  \
    }

/* clang-format off */
#define FORMATS(X, op, EXPR)                                                                       \
    X(op##_f16, F16, VGPU_LANES, EXPR) X(op##_f16x2, F16, MOST, EXPR)                              \
    X(op##_bf16, BF16, VGPU_LANES, EXPR) X(op##_bf16x2, BF16, MOST, EXPR)
#define HALF2_OPS(X)                                                                               \
    X(add_f16, F16, VGPU_LANES, a + b) X(add_f16x2, F16, MOST, a + b)                              \
    X(sub_f16, F16, VGPU_LANES, a - b) X(sub_f16x2, F16, MOST, a - b)                              \
    X(mul_f16, F16, VGPU_LANES, a * b) X(mul_f16x2, F16, MOST, a * b)                              \
    FORMATS(X, min, least_of(a, b, i->y)) FORMATS(X, max, most_of(a, b, i->y))
#define BRAIN2_OPS(X)                                                                              \
    X(add_bf16, VGPU_LANES, vgpu_add_odd(a, b)) X(add_bf16x2, MOST, vgpu_add_odd(a, b))            \
    X(sub_bf16, VGPU_LANES, vgpu_add_odd(a, -b)) X(sub_bf16x2, MOST, vgpu_add_odd(a, -b))          \
    X(mul_bf16, VGPU_LANES, a * b) X(mul_bf16x2, MOST, a * b)
#define FMA_OPS(X)                                                                                 \
    X(fma_f16, F16, VGPU_LANES) X(fma_f16x2, F16, MOST)                                            \
    X(fma_bf16, BF16, VGPU_LANES) X(fma_bf16x2, BF16, MOST)
#define FUNCTION_OPS(X) FORMATS(X, ex2, exp2(a)) FORMATS(X, tanh, tanh(a))
#define SIGN_OPS(X) FORMATS(X, abs, a & 0x7fff) FORMATS(X, neg, a ^ 0x8000)
/* clang-format on */

HALF2_OPS(DEFINE_HALF2)
BRAIN2_OPS(DEFINE_BRAIN2)
FMA_OPS(DEFINE_HALF_FMA)
FUNCTION_OPS(DEFINE_HALF_FUNCTION)
SIGN_OPS(DEFINE_HALF_SIGN)

/* ---- conversions ---- */

#define DEFINE_TO_F32(name, FORMAT)                                                                \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        float *d = ROW(float, VGPU_D), v[VGPU_LANES];                                              \
        widen(FORMAT, ROW(uint16_t, VGPU_A), v, VGPU_LANES);                                       \
        if (i->y & VGPU_SAT)                                                                       \
            LANE_LOOP v[l] = v[l] > 0 ? (v[l] < 1 ? v[l] : 1) : 0;                                 \
        STORE_LANES(d, m, v[l] != v[l] && (FORMAT) == F16 ? vgpu_float_of(VGPU_NAN_F32) : v[l]);   \
        return 0;                                                                                  \
    }

#define DEFINE_TO_F64(name, FORMAT)                                                                \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        double *d = ROW(double, VGPU_D);                                                           \
        float v[VGPU_LANES];                                                                       \
        widen(FORMAT, ROW(uint16_t, VGPU_A), v, VGPU_LANES);                                       \
        if (i->y & VGPU_SAT)                                                                       \
            LANE_LOOP v[l] = v[l] > 0 ? (v[l] < 1 ? v[l] : 1) : 0;                                 \
        STORE_LANES(d, m, (double)v[l]);                                                           \
        return 0;                                                                                  \
    }

static inline float input_f32(float a, unsigned flags)
{
    return flags & VGPU_FTZ && __builtin_fabsf(a) < 0x1p-126f ? __builtin_copysignf(0.0f, a) : a;
}

#define DEFINE_FROM_F32(name, FORMAT, ONE)                                                         \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const float *a = ROW(float, VGPU_A);                                                       \
        struct vgpu_inst plain = *i;                                                               \
        uint16_t h[MOST];                                                                          \
        float v[VGPU_LANES];                                                                       \
        LANE_LOOP v[l] = input_f32(a[l], i->y);                                                    \
        if (i->x == VGPU_RN)                                                                       \
            narrow(FORMAT, v, h, VGPU_LANES);                                                      \
        for (unsigned l = 0; l < VGPU_LANES && i->x != VGPU_RN; l++)                               \
            h[l] = ONE((double)v[l], i->x);                                                        \
        plain.y &= (uint8_t)~VGPU_FTZ; /* it is about the source here */                           \
        put(w, &plain, m, FORMAT, h, VGPU_LANES);                                                  \
        return 0;                                                                                  \
    }

/* From f64, a NaN keeps its sign and what fits of its payload. */
static inline uint16_t shortened_nan(enum format f, double a)
{
    uint64_t bits;
    unsigned mantissa = f == F16 ? 10 : 7;

    memcpy(&bits, &a, sizeof(bits));
    return (uint16_t)((bits >> 63 << 15) | (f == F16 ? 0x7c00 : 0x7f80) | 1u << (mantissa - 1) |
                      ((bits & 0xfffffffffffff) >> (52 - mantissa)));
}

#define DEFINE_FROM_F64(name, FORMAT, ONE)                                                         \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const double *a = ROW(double, VGPU_A);                                                     \
        uint16_t h[MOST];                                                                          \
        for (unsigned l = 0; l < VGPU_LANES; l++)                                                  \
            h[l] = a[l] != a[l] ? shortened_nan(FORMAT, a[l]) : ONE(a[l], i->x);                   \
        put(w, i, m, FORMAT, h, VGPU_LANES);                                                       \
        return 0;                                                                                  \
    }

/* d = a in the upper half, b in the lower */
#define DEFINE_PAIR(name, FORMAT, ONE)                                                             \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const float *a = ROW(float, VGPU_A), *b = ROW(float, VGPU_B);                              \
        struct vgpu_inst plain = *i;                                                               \
        uint16_t h[MOST];                                                                          \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            h[2 * l] = ONE((double)input_f32(b[l], i->y), i->x);                                   \
            h[2 * l + 1] = ONE((double)input_f32(a[l], i->y), i->x);                               \
        }                                                                                          \
        plain.y &= (uint8_t)~VGPU_FTZ;                                                             \
        put(w, &plain, m, FORMAT, h, MOST);                                                        \
        return 0;                                                                                  \
    }

/* Between the two 16-bit formats, and rounding to integers in one of them. x 255: no rounding. */
#define DEFINE_ACROSS(name, FROM, FORMAT, ONE)                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        float v[VGPU_LANES];                                                                       \
        uint16_t h[MOST];                                                                          \
        widen(FROM, ROW(uint16_t, VGPU_A), v, VGPU_LANES);                                         \
        for (unsigned l = 0; l < VGPU_LANES; l++)                                                  \
            h[l] = ONE((double)v[l], i->x);                                                        \
        put(w, i, m, FORMAT, h, VGPU_LANES);                                                       \
        return 0;                                                                                  \
    }

static inline uint16_t integral(enum format f, double v, unsigned rounding)
{
    return narrow_double(f, rounding == VGPU_RN   ? rint(v)
                            : rounding == VGPU_RZ ? trunc(v)
                            : rounding == VGPU_RM ? floor(v)
                            : rounding == VGPU_RP ? ceil(v)
                                                  : v);
}

#define INTEGRAL_F16(v, r)  integral(F16, v, r)
#define INTEGRAL_BF16(v, r) integral(BF16, v, r)

#define TO_F32_OPS(X)   X(cvt_f32_f16, F16) X(cvt_f32_bf16, BF16)
#define TO_F64_OPS(X)   X(cvt_f64_f16, F16) X(cvt_f64_bf16, BF16)
#define FROM_F32_OPS(X) X(cvt_f16_f32, F16, vgpu_to_f16_one) X(cvt_bf16_f32, BF16, vgpu_to_bf16_one)
#define FROM_F64_OPS(X) X(cvt_f16_f64, F16, vgpu_to_f16_one) X(cvt_bf16_f64, BF16, vgpu_to_bf16_one)
#define PAIR_OPS(X)     X(cvt_f16x2_f32, F16, vgpu_to_f16_one) X(cvt_bf16x2_f32, BF16, vgpu_to_bf16_one)
#define ACROSS_OPS(X)                                                                              \
    X(cvt_f16_bf16, BF16, F16, vgpu_to_f16_one)                                                    \
    X(cvt_bf16_f16, F16, BF16, vgpu_to_bf16_one)                                                   \
    X(round_f16, F16, F16, INTEGRAL_F16)                                                           \
    X(round_bf16, BF16, BF16, INTEGRAL_BF16)
TO_F32_OPS(DEFINE_TO_F32)
TO_F64_OPS(DEFINE_TO_F64)
FROM_F32_OPS(DEFINE_FROM_F32)
FROM_F64_OPS(DEFINE_FROM_F64)
PAIR_OPS(DEFINE_PAIR)
ACROSS_OPS(DEFINE_ACROSS)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_half)[] = {
    HALF2_OPS(OP_ENTRY) BRAIN2_OPS(OP_ENTRY) FMA_OPS(OP_ENTRY) FUNCTION_OPS(OP_ENTRY)
        SIGN_OPS(OP_ENTRY) TO_F32_OPS(OP_ENTRY) TO_F64_OPS(OP_ENTRY) FROM_F32_OPS(OP_ENTRY)
            FROM_F64_OPS(OP_ENTRY) PAIR_OPS(OP_ENTRY) ACROSS_OPS(OP_ENTRY) OP_END};
