/* SPDX-License-Identifier: MIT */
/* Comparisons. setp makes one or two masks, set makes packed halves. */
#include "soft/simt/half.h"
#include "soft/simt/lanes.h"

#define DEFINE_INTEGER_TEST(name, T, OP)                                                           \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        const T *a = ROW(T, VGPU_A), *b = ROW(T, VGPU_B);                                          \
        return put_test(w, i, m, COLLECT_LANES(a[l] OP b[l]));                                     \
    }

#define ORDER_OPS(X, N)                                                                            \
    X(setp_eq_b##N, uint##N##_t, ==)                                                               \
    X(setp_ne_b##N, uint##N##_t, !=)                                                               \
    X(setp_lt_u##N, uint##N##_t, <)                                                                \
    X(setp_le_u##N, uint##N##_t, <=)                                                               \
    X(setp_gt_u##N, uint##N##_t, >)                                                                \
    X(setp_ge_u##N, uint##N##_t, >=)                                                               \
    X(setp_lt_s##N, int##N##_t, <)                                                                 \
    X(setp_le_s##N, int##N##_t, <=)                                                                \
    X(setp_gt_s##N, int##N##_t, >)                                                                 \
    X(setp_ge_s##N, int##N##_t, >=)
#define INTEGER_OPS(X) ORDER_OPS(X, 16) ORDER_OPS(X, 32) ORDER_OPS(X, 64)
INTEGER_OPS(DEFINE_INTEGER_TEST)

/* Unordered forms are the negation of the opposite ordered one. */
#define FLOAT_TESTS(X, T)                                                                          \
    X(eq, T, a == b)                                                                               \
    X(ne, T, a<b || a> b)                                                                          \
    X(lt, T, a < b)                                                                                \
    X(le, T, a <= b)                                                                               \
    X(gt, T, a > b)                                                                                \
    X(ge, T, a >= b)                                                                               \
    X(equ, T, !(a < b || a > b))                                                                   \
    X(neu, T, !(a == b))                                                                           \
    X(ltu, T, !(a >= b))                                                                           \
    X(leu, T, !(a > b))                                                                            \
    X(gtu, T, !(a <= b))                                                                           \
    X(geu, T, !(a < b))                                                                            \
    X(num, T, a == a && b == b)                                                                    \
    X(nan, T, a != a || b != b)

static inline float flushed(float a, bool flush)
{
    return flush && __builtin_fabsf(a) < 0x1p-126f ? __builtin_copysignf(0.0f, a) : a;
}

#define DEFINE_F32_TEST(op, T, EXPR)                                                               \
    HANDLER(setp_##op##_f32)                                                                       \
    {                                                                                              \
        const float *ra = ROW(float, VGPU_A), *rb = ROW(float, VGPU_B);                            \
        uint32_t test;                                                                             \
        if (i->y & VGPU_FTZ)                                                                       \
            test = COLLECT_LANES(({                                                                \
                float a = flushed(ra[l], true), b = flushed(rb[l], true);                          \
                (EXPR);                                                                            \
            }));                                                                                   \
        else                                                                                       \
            test = COLLECT_LANES(({                                                                \
                float a = ra[l], b = rb[l];                                                        \
                (EXPR);                                                                            \
            }));                                                                                   \
        return put_test(w, i, m, test);                                                            \
    }

#define DEFINE_F64_TEST(op, T, EXPR)                                                               \
    HANDLER(setp_##op##_f64)                                                                       \
    {                                                                                              \
        const double *ra = ROW(double, VGPU_A), *rb = ROW(double, VGPU_B);                         \
        return put_test(w, i, m, COLLECT_LANES(({                                                  \
                            double a = ra[l], b = rb[l];                                           \
                            (EXPR);                                                                \
                        })));                                                                      \
    }

FLOAT_TESTS(DEFINE_F32_TEST, float)
FLOAT_TESTS(DEFINE_F64_TEST, double)

/* 16-bit formats are compared as the floats they stand for. */
static inline void widen(const struct vgpu_inst *i, const uint16_t *from, float *to, unsigned n,
                         bool brain)
{
    if (brain)
        vgpu_from_bf16(from, to, n);
    else
        vgpu_from_f16(from, to, n);
    for (unsigned k = 0; k < n && (i->y & VGPU_FTZ) && !brain; k++)
        to[k] = __builtin_fabsf(to[k]) < 0x1p-14f ? __builtin_copysignf(0.0f, to[k]) : to[k];
}

#define DEFINE_HALF_TEST(op, SUFFIX, BRAIN, EXPR)                                                  \
    HANDLER(setp_##op##_##SUFFIX)                                                                  \
    {                                                                                              \
        float ra[VGPU_LANES], rb[VGPU_LANES];                                                      \
        widen(i, ROW(uint16_t, VGPU_A), ra, VGPU_LANES, BRAIN);                                    \
        widen(i, ROW(uint16_t, VGPU_B), rb, VGPU_LANES, BRAIN);                                    \
        return put_test(w, i, m, COLLECT_LANES(({                                                  \
                            float a = ra[l], b = rb[l];                                            \
                            (EXPR);                                                                \
                        })));                                                                      \
    }

/* Two halves: D is the test of the lower ones, E that of the upper ones. */
#define DEFINE_PACKED_TEST(op, SUFFIX, BRAIN, EXPR)                                                \
    HANDLER(setp_##op##_##SUFFIX##x2)                                                              \
    {                                                                                              \
        float ra[2 * VGPU_LANES], rb[2 * VGPU_LANES];                                              \
        uint32_t low, high, c = UINT32_MAX;                                                        \
        widen(i, ROW(uint16_t, VGPU_A), ra, 2 * VGPU_LANES, BRAIN);                                \
        widen(i, ROW(uint16_t, VGPU_B), rb, 2 * VGPU_LANES, BRAIN);                                \
        low = COLLECT_LANES(({                                                                     \
            float a = ra[2 * l], b = rb[2 * l];                                                    \
            (EXPR);                                                                                \
        }));                                                                                       \
        high = COLLECT_LANES(({                                                                    \
            float a = ra[2 * l + 1], b = rb[2 * l + 1];                                            \
            (EXPR);                                                                                \
        }));                                                                                       \
        if (i->x != 0)                                                                             \
            c = MASK(VGPU_C) ^ (i->z ? UINT32_MAX : 0);                                            \
        low = i->x == 2 ? low | c : i->x == 3 ? low ^ c : low & c;                                 \
        high = i->x == 2 ? high | c : i->x == 3 ? high ^ c : high & c;                             \
        MASK(VGPU_D) = (MASK(VGPU_D) & ~m) | (low & m);                                            \
        if (i->row[VGPU_E] != 0)                                                                   \
            MASK(VGPU_E) = (MASK(VGPU_E) & ~m) | (high & m);                                       \
        return 0;                                                                                  \
    }

/* set: x is 1 for 1.0 of f16 as "true", 2 for bf16, 0 for all bits */
#define DEFINE_PACKED_SET(op, SUFFIX, BRAIN, EXPR)                                                 \
    HANDLER(set_##op##_##SUFFIX##x2)                                                               \
    {                                                                                              \
        uint16_t yes = i->x == 1 ? 0x3c00 : i->x == 2 ? 0x3f80 : 0xffff;                           \
        float ra[2 * VGPU_LANES], rb[2 * VGPU_LANES];                                              \
        uint16_t *d = ROW(uint16_t, VGPU_D);                                                       \
        widen(i, ROW(uint16_t, VGPU_A), ra, 2 * VGPU_LANES, BRAIN);                                \
        widen(i, ROW(uint16_t, VGPU_B), rb, 2 * VGPU_LANES, BRAIN);                                \
        for (unsigned k = 0; k < 2 * VGPU_LANES; k++) {                                            \
            float a = ra[k], b = rb[k];                                                            \
            if (LANE_ON(m, k / 2))                                                                 \
                d[k] = (EXPR) ? yes : 0;                                                           \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define DEFINE_F16_TEST(op, T, EXPR)                                                               \
    DEFINE_HALF_TEST(op, f16, false, EXPR)                                                         \
    DEFINE_HALF_TEST(op, bf16, true, EXPR)                                                         \
    DEFINE_PACKED_TEST(op, f16, false, EXPR)                                                       \
    DEFINE_PACKED_TEST(op, bf16, true, EXPR)                                                       \
    DEFINE_PACKED_SET(op, f16, false, EXPR)                                                        \
    DEFINE_PACKED_SET(op, bf16, true, EXPR)
FLOAT_TESTS(DEFINE_F16_TEST, float)

/* x: finite infinite number notanumber normal subnormal; zero counts as normal */
#define DEFINE_TESTP(name, T)                                                                      \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        static const uint8_t classes[] = {                                                         \
            1u << FP_ZERO | 1u << FP_SUBNORMAL | 1u << FP_NORMAL,                                  \
            1u << FP_INFINITE,                                                                     \
            1u << FP_ZERO | 1u << FP_SUBNORMAL | 1u << FP_NORMAL | 1u << FP_INFINITE,              \
            1u << FP_NAN,                                                                          \
            1u << FP_ZERO | 1u << FP_NORMAL,                                                       \
            1u << FP_SUBNORMAL,                                                                    \
        };                                                                                         \
        const T *a = ROW(T, VGPU_A);                                                               \
        uint32_t test = COLLECT_LANES(classes[i->x] >> fpclassify(a[l]) & 1u);                     \
        MASK(VGPU_D) = (MASK(VGPU_D) & ~m) | (test & m);                                           \
        return 0;                                                                                  \
    }
DEFINE_TESTP(testp_f32, float)
DEFINE_TESTP(testp_f64, double)

#define TEST_ENTRY(op, T, EXPR)                                                                    \
    OP_ENTRY(setp_##op##_f32)                                                                      \
    OP_ENTRY(setp_##op##_f64)                                                                      \
    OP_ENTRY(setp_##op##_f16)                                                                      \
    OP_ENTRY(setp_##op##_bf16)                                                                     \
    OP_ENTRY(setp_##op##_f16x2)                                                                    \
    OP_ENTRY(setp_##op##_bf16x2) OP_ENTRY(set_##op##_f16x2) OP_ENTRY(set_##op##_bf16x2)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_select)[] = {
    INTEGER_OPS(OP_ENTRY) FLOAT_TESTS(TEST_ENTRY, _) OP_ENTRY(testp_f32) OP_ENTRY(testp_f64)
        OP_END};
