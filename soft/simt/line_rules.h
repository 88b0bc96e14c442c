/* SPDX-License-Identifier: MIT */
/**
 * What arithmetic makes of lines (shape.h): each rule says whether the result is a line, and which.
 */
#ifndef VGPU_SOFT_LINE_RULES_H
#define VGPU_SOFT_LINE_RULES_H

#include "soft/simt/shaped.h"

/* The last lane of each segment. */
#define ENDS(line) ((line)->base + (VGPU_SEGMENT_LANES - 1) * (line)->stride)

/* A line of 32-bit lanes as one of 64-bit lanes; false if lanes wrap around in a segment. */
static inline bool widen_s(struct vgpu_line *r, const struct vgpu_shape *a)
{
    r->base = ((a->line.base & UINT32_MAX) ^ 0x80000000u) - 0x80000000u;
    r->stride = (uint64_t)(int64_t)(int32_t)a->line.stride;
    return !ANY_BIT((ENDS(r) + 0x80000000u) >> 32);
}

static inline bool widen_u(struct vgpu_line *r, const struct vgpu_shape *a)
{
    r->base = a->line.base & UINT32_MAX;
    r->stride = (uint64_t)(int64_t)(int32_t)a->line.stride;
    return !ANY_BIT(ENDS(r) >> 32);
}

static inline bool line_copy(struct vgpu_line *r, const struct vgpu_shape *a)
{
    *r = a->line;
    return true;
}

static inline bool line_add(struct vgpu_line *r, const struct vgpu_shape *a,
                            const struct vgpu_shape *b)
{
    r->base = a->line.base + b->line.base;
    r->stride = a->line.stride + b->line.stride;
    return true;
}

static inline bool line_sub(struct vgpu_line *r, const struct vgpu_shape *a,
                            const struct vgpu_shape *b)
{
    r->base = a->line.base - b->line.base;
    r->stride = a->line.stride - b->line.stride;
    return true;
}

/* One factor is the same for all lanes, or both are for each segment. */
static inline bool line_mul(struct vgpu_line *r, const struct vgpu_shape *a,
                            const struct vgpu_shape *b)
{
    const struct vgpu_shape *factor = b->state & VGPU_SHAPE_SAME ? b : a;

    r->base = a->line.base * b->line.base;
    r->stride = (factor == b ? a : b)->line.stride * factor->line.base[0];
    return (factor->state & VGPU_SHAPE_SAME) != 0 || (a->line.stride | b->line.stride) == 0;
}

/* The product of what `widen` makes of 32-bit lanes; `times` multiplies low halves. */
#define DEFINE_WIDE_PRODUCT(name, T, widen, times)                                                 \
    static inline bool name(struct vgpu_line *r, const struct vgpu_shape *a,                       \
                            const struct vgpu_shape *b)                                            \
    {                                                                                              \
        const struct vgpu_shape *factor = b->state & VGPU_SHAPE_SAME ? b : a;                      \
        const struct vgpu_shape *other = factor == b ? a : b;                                      \
        struct vgpu_line x, y;                                                                     \
        if (!widen(&x, other))                                                                     \
            return false;                                                                          \
        if (factor->state & VGPU_SHAPE_SAME) {                                                     \
            uint64_t value = (uint64_t)(T)factor->line.base[0];                                    \
            times(r->base, x.base, value);                                                         \
            r->stride = x.stride * value;                                                          \
            return true;                                                                           \
        }                                                                                          \
        r->stride = 0;                                                                             \
        return widen(&y, factor) && (r->base = x.base * y.base, (x.stride | y.stride) == 0);       \
    }

#if defined(__AVX2__)
#define TIMES_S(r, a, b)                                                                           \
    (r = (vgpu_bases)_mm256_mul_epi32((__m256i)(a), _mm256_set1_epi64x((int64_t)(b))))
#define TIMES_U(r, a, b)                                                                           \
    (r = (vgpu_bases)_mm256_mul_epu32((__m256i)(a), _mm256_set1_epi64x((int64_t)(b))))
#else
#define TIMES_S(r, a, b) (r = (a) * (b))
#define TIMES_U(r, a, b) (r = (a) * (b))
#endif
DEFINE_WIDE_PRODUCT(line_mul_s, int32_t, widen_s, TIMES_S)
DEFINE_WIDE_PRODUCT(line_mul_u, uint32_t, widen_u, TIMES_U)

#define DEFINE_MAD(name, product)                                                                  \
    static inline bool name(struct vgpu_line *r, const struct vgpu_shape *a,                       \
                            const struct vgpu_shape *b, const struct vgpu_shape *c)                \
    {                                                                                              \
        if (!product(r, a, b))                                                                     \
            return false;                                                                          \
        r->base += c->line.base;                                                                   \
        r->stride += c->line.stride;                                                               \
        return true;                                                                               \
    }
DEFINE_MAD(line_mad, line_mul)
DEFINE_MAD(line_mad_s, line_mul_s)
DEFINE_MAD(line_mad_u, line_mul_u)

static inline bool line_shl(struct vgpu_line *r, const struct vgpu_shape *a,
                            const struct vgpu_shape *b)
{
    uint32_t n = (uint32_t)b->line.base[0];

    r->base = a->line.base << (n & 31);
    r->stride = a->line.stride << (n & 31);
    return n < 32 && (b->state & VGPU_SHAPE_SAME) != 0;
}

/* To the right: of segments whose lanes all come to the same. */
static inline bool right_u(struct vgpu_line *r, const struct vgpu_shape *a,
                           const struct vgpu_shape *b)
{
    uint32_t n = (uint32_t)b->line.base[0];
    struct vgpu_line x;

    if (n >= 32 || (b->state & VGPU_SHAPE_SAME) == 0 || !widen_u(&x, a))
        return false;
    r->base = x.base >> n;
    r->stride = 0;
    return !ANY_BIT((ENDS(&x) >> n) ^ r->base);
}

static inline bool right_s(struct vgpu_line *r, const struct vgpu_shape *a,
                           const struct vgpu_shape *b)
{
    uint32_t n = (uint32_t)b->line.base[0];
    struct vgpu_line x;

    if (n >= 32 || (b->state & VGPU_SHAPE_SAME) == 0 || !widen_s(&x, a))
        return false;
    x.base += UINT64_C(1) << 31;
    r->base = (x.base >> n) - (UINT64_C(1) << 31 >> n);
    r->stride = 0;
    return !ANY_BIT((ENDS(&x) ^ x.base) >> n);
}

/* With a mask of low bits: of segments that stay between two of its multiples. */
static inline bool line_and32(struct vgpu_line *r, const struct vgpu_shape *a,
                              const struct vgpu_shape *b)
{
    uint64_t mask = b->line.base[0] & UINT32_MAX;
    struct vgpu_line x;

    if ((a->line.stride | b->line.stride) == 0) {
        r->base = a->line.base & b->line.base;
        r->stride = 0;
        return true;
    }
    if ((b->state & VGPU_SHAPE_SAME) == 0 || (mask & (mask + 1)) != 0 || !widen_u(&x, a))
        return false;
    r->base = x.base & mask;
    r->stride = x.stride;
    return !ANY_BIT((ENDS(&x) ^ x.base) & ~mask);
}

#define DEFINE_BITWISE(name, OP)                                                                   \
    static inline bool name(struct vgpu_line *r, const struct vgpu_shape *a,                       \
                            const struct vgpu_shape *b)                                            \
    {                                                                                              \
        r->base = a->line.base OP b->line.base;                                                    \
        r->stride = 0;                                                                             \
        return (a->line.stride | b->line.stride) == 0;                                             \
    }
DEFINE_BITWISE(line_and64, &)
DEFINE_BITWISE(line_or, |)
DEFINE_BITWISE(line_xor, ^)

#endif
