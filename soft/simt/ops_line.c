/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic of lines (shape.h): a few words instead of 32 lanes. What is no line after all, or is
 * computed for a part of the warp only, is left to the ordinary handlers.
 */
#include "soft/simt/shaped.h"

/* The ordinary handler does it, for a result that had a shape up to now. */
__attribute__((noinline)) static int line_on_lanes(struct vgpu_warp *w, const struct vgpu_inst *i,
                                                   uint32_t m)
{
    struct vgpu_shape *d = SHAPE(VGPU_D);

    expand_sources(w, i, UINT32_MAX);
    if ((d->state & VGPU_SHAPE_STALE) != 0 && !whole_warp(w, m))
        vgpu_shape_expand(d);
    d->state = 0;
    return i->plain(w, i, m);
}

/* The last lane of each segment. */
#define ENDS(line) ((line)->base + (VGPU_SEGMENT_LANES - 1) * (line)->stride)

static inline bool is_uniform(const struct vgpu_line *a)
{
    return a->stride == 0 && !ANY_BIT(a->base ^ a->base[0]);
}

/* A line of 32-bit lanes as one of 64-bit lanes; false if lanes wrap around in a segment. */
static inline bool widen_s(struct vgpu_line *r, const struct vgpu_line *a)
{
    r->base = ((a->base & UINT32_MAX) ^ 0x80000000u) - 0x80000000u;
    r->stride = (uint64_t)(int64_t)(int32_t)a->stride;
    return !ANY_BIT((ENDS(r) + 0x80000000u) >> 32);
}

static inline bool widen_u(struct vgpu_line *r, const struct vgpu_line *a)
{
    r->base = a->base & UINT32_MAX;
    r->stride = (uint64_t)(int64_t)(int32_t)a->stride;
    return !ANY_BIT(ENDS(r) >> 32);
}

static inline bool line_copy(struct vgpu_line *r, const struct vgpu_line *a)
{
    *r = *a;
    return true;
}

static inline bool line_add(struct vgpu_line *r, const struct vgpu_line *a,
                            const struct vgpu_line *b)
{
    r->base = a->base + b->base;
    r->stride = a->stride + b->stride;
    return true;
}

static inline bool line_sub(struct vgpu_line *r, const struct vgpu_line *a,
                            const struct vgpu_line *b)
{
    r->base = a->base - b->base;
    r->stride = a->stride - b->stride;
    return true;
}

static inline bool line_mul(struct vgpu_line *r, const struct vgpu_line *a,
                            const struct vgpu_line *b)
{
    const struct vgpu_line *factor = is_uniform(b) ? b : a;

    r->stride = (factor == b ? a : b)->stride * factor->base[0];
    r->base = a->base * b->base;
    return (a->stride | b->stride) == 0 || is_uniform(factor);
}

static inline bool line_mul_s(struct vgpu_line *r, const struct vgpu_line *a,
                              const struct vgpu_line *b)
{
    struct vgpu_line x, y;

    return widen_s(&x, a) && widen_s(&y, b) && line_mul(r, &x, &y);
}

static inline bool line_mul_u(struct vgpu_line *r, const struct vgpu_line *a,
                              const struct vgpu_line *b)
{
    struct vgpu_line x, y;

    return widen_u(&x, a) && widen_u(&y, b) && line_mul(r, &x, &y);
}

#define DEFINE_MAD(name, product)                                                                  \
    static inline bool name(struct vgpu_line *r, const struct vgpu_line *a,                        \
                            const struct vgpu_line *b, const struct vgpu_line *c)                  \
    {                                                                                              \
        return product(r, a, b) && line_add(r, r, c);                                              \
    }
DEFINE_MAD(line_mad, line_mul)
DEFINE_MAD(line_mad_s, line_mul_s)
DEFINE_MAD(line_mad_u, line_mul_u)

static inline bool line_shl(struct vgpu_line *r, const struct vgpu_line *a,
                            const struct vgpu_line *b)
{
    uint32_t n = (uint32_t)b->base[0];

    r->base = a->base << (n & 31);
    r->stride = a->stride << (n & 31);
    return n < 32 && is_uniform(b);
}

/* To the right: of segments whose lanes all come to the same. */
static inline bool right_u(struct vgpu_line *r, const struct vgpu_line *a,
                           const struct vgpu_line *b)
{
    struct vgpu_line x;
    uint32_t n = (uint32_t)b->base[0];

    if (n >= 32 || !is_uniform(b) || !widen_u(&x, a))
        return false;
    r->base = x.base >> n;
    r->stride = 0;
    return !ANY_BIT((ENDS(&x) >> n) ^ r->base);
}

static inline bool right_s(struct vgpu_line *r, const struct vgpu_line *a,
                           const struct vgpu_line *b)
{
    struct vgpu_line x;
    uint32_t n = (uint32_t)b->base[0];

    if (n >= 32 || !is_uniform(b) || !widen_s(&x, a))
        return false;
    x.base += UINT64_C(1) << 31;
    r->base = (x.base >> n) - (UINT64_C(1) << 31 >> n);
    r->stride = 0;
    return !ANY_BIT((ENDS(&x) ^ x.base) >> n);
}

/* With a mask of low bits: of segments that stay between two of its multiples. */
static inline bool line_and32(struct vgpu_line *r, const struct vgpu_line *a,
                              const struct vgpu_line *b)
{
    uint64_t mask = b->base[0] & UINT32_MAX;
    struct vgpu_line x;

    if ((a->stride | b->stride) == 0) {
        r->base = a->base & b->base;
        r->stride = 0;
        return true;
    }
    if (!is_uniform(b) || (mask & (mask + 1)) != 0 || !widen_u(&x, a))
        return false;
    r->base = x.base & mask;
    r->stride = x.stride;
    return !ANY_BIT((ENDS(&x) ^ x.base) & ~mask);
}

#define DEFINE_BITWISE(name, OP)                                                                   \
    static inline bool name(struct vgpu_line *r, const struct vgpu_line *a,                        \
                            const struct vgpu_line *b)                                             \
    {                                                                                              \
        r->base = a->base OP b->base;                                                              \
        r->stride = 0;                                                                             \
        return (a->stride | b->stride) == 0;                                                       \
    }
DEFINE_BITWISE(line_and64, &)
DEFINE_BITWISE(line_or, |)
DEFINE_BITWISE(line_xor, ^)

/* ---- handlers; D is a row that may be a line ---- */

#define DEFINE_LINE(name, BITS, LINES, RULE)                                                       \
    HANDLER(line_##name)                                                                           \
    {                                                                                              \
        struct vgpu_shape *d = SHAPE(VGPU_D);                                                      \
        struct vgpu_line r;                                                                        \
        if (__builtin_expect(!((LINES)&VGPU_SHAPE_LINE) || !whole_warp(w, m) || !(RULE), 0))       \
            return line_on_lanes(w, i, m);                                                         \
        d->line = r;                                                                               \
        d->state = VGPU_SHAPE_LINE | VGPU_SHAPE_STALE | ((BITS) == 64 ? VGPU_SHAPE_64 : 0);        \
        return 0;                                                                                  \
    }

#define DEFINE_LINE1(name, BITS, RULE)                                                             \
    DEFINE_LINE(name, BITS, SHAPE(VGPU_A)->state, RULE(&r, &SHAPE(VGPU_A)->line))
#define DEFINE_LINE2(name, BITS, RULE)                                                             \
    DEFINE_LINE(name, BITS, SHAPE(VGPU_A)->state &SHAPE(VGPU_B)->state,                            \
                RULE(&r, &SHAPE(VGPU_A)->line, &SHAPE(VGPU_B)->line))
#define DEFINE_LINE3(name, BITS, RULE)                                                             \
    DEFINE_LINE(name, BITS, SHAPE(VGPU_A)->state &SHAPE(VGPU_B)->state &SHAPE(VGPU_C)->state,      \
                RULE(&r, &SHAPE(VGPU_A)->line, &SHAPE(VGPU_B)->line, &SHAPE(VGPU_C)->line))

/* clang-format off */
#define LINE1_OPS(X)                                                                               \
    X(mov_b32, 32, line_copy) X(mov_b64, 64, line_copy)                                            \
    X(ext_s32_32_64, 64, widen_s) X(ext_u32_32_64, 64, widen_u)                                    \
    X(ext_s32_64_32, 32, line_copy) X(ext_u32_64_32, 32, line_copy)

#define LINE2_OPS(X)                                                                               \
    X(add_b32, 32, line_add) X(add_b64, 64, line_add)                                              \
    X(sub_b32, 32, line_sub) X(sub_b64, 64, line_sub)                                              \
    X(mul_lo_b32, 32, line_mul) X(mul_lo_b64, 64, line_mul)                                        \
    X(mul_wide_s32, 64, line_mul_s) X(mul_wide_u32, 64, line_mul_u)                                \
    X(shl_b32, 32, line_shl) X(shl_b64, 64, line_shl)                                              \
    X(shr_u32, 32, right_u) X(shr_s32, 32, right_s)                                      \
    X(and_b32, 32, line_and32) X(and_b64, 64, line_and64)                                          \
    X(or_b32, 32, line_or) X(or_b64, 64, line_or)                                                  \
    X(xor_b32, 32, line_xor) X(xor_b64, 64, line_xor)

#define LINE3_OPS(X)                                                                               \
    X(mad_lo_b32, 32, line_mad) X(mad_lo_b64, 64, line_mad)                                        \
    X(mad_wide_s32, 64, line_mad_s) X(mad_wide_u32, 64, line_mad_u)
/* clang-format on */
LINE1_OPS(DEFINE_LINE1)
LINE2_OPS(DEFINE_LINE2)
LINE3_OPS(DEFINE_LINE3)

/* ---- parameters and special registers ---- */

static inline bool line_uniform(struct vgpu_line *r, uint64_t value)
{
    r->base = (vgpu_bases){value, value, value, value};
    r->stride = 0;
    return true;
}

static inline uint64_t parameter(const struct vgpu_warp *w, const struct vgpu_inst *i, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, (const uint8_t *)w->block->launch->parameters + i->imm, size);
    return value;
}

#define DEFINE_UNIFORM(name, BITS, VALUE)                                                          \
    DEFINE_LINE(name, BITS, VGPU_SHAPE_LINE, line_uniform(&r, (VALUE)))

/* clang-format off */
#define UNIFORM_OPS(X)                                                                             \
    X(ldp_u32_32, 32, parameter(w, i, 4))                                                          \
    X(ldp_u64_64, 64, parameter(w, i, 8))                                                          \
    X(ldp_u32_64, 64, parameter(w, i, 4))                                                          \
    X(ldp_s32_64, 64, (uint64_t)(int64_t)(int32_t)parameter(w, i, 4))                              \
    X(sreg_ntid, 32, w->block->launch->block[i->x])                                                \
    X(sreg_ctaid, 32, w->block->id[i->x])                                                          \
    X(sreg_nctaid, 32, w->block->launch->grid[i->x])                                               \
    X(sreg_dynamic_shared, 32, w->block->kernel->dynamic_shared)
/* clang-format on */
UNIFORM_OPS(DEFINE_UNIFORM)

DEFINE_LINE(sreg_tid, 32, w->tid_shape[i->x].state, line_copy(&r, &w->tid_shape[i->x].line))

static const struct vgpu_line lane_numbers = {{0, 8, 16, 24}, 1};

DEFINE_LINE(sreg_laneid, 32, VGPU_SHAPE_LINE, line_copy(&r, &lane_numbers))

/* ---- comparisons: sources that may be lines ---- */

/* Looks at the ends of each segment: whether a line is above another changes once at most. */
#define DEFINE_SHAPED_TEST(name, T, S, OP)                                                         \
    HANDLER(shaped_##name)                                                                         \
    {                                                                                              \
        const struct vgpu_shape *a = SHAPE(VGPU_A), *b = SHAPE(VGPU_B);                            \
        S rise_a = (S)a->line.stride, rise_b = (S)b->line.stride;                                  \
        uint32_t test = 0;                                                                         \
        if (!(a->state & b->state & VGPU_SHAPE_LINE) || rise_a != (int16_t)rise_a ||               \
            rise_b != (int16_t)rise_b)                                                             \
            return on_lanes(w, i, m);                                                              \
        for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {                                             \
            T a0 = (T)a->line.base[k], b0 = (T)b->line.base[k], a1, b1;                            \
            if (__builtin_add_overflow(a0, 7 * rise_a, &a1) ||                                     \
                __builtin_add_overflow(b0, 7 * rise_b, &b1) || (a0 OP b0) != (a1 OP b1))           \
                return on_lanes(w, i, m);                                                          \
            test |= (a0 OP b0) ? UINT32_C(0xff) << k * VGPU_SEGMENT_LANES : 0;                     \
        }                                                                                          \
        return put_test(w, i, m, test);                                                            \
    }

/* Lines that are equal somewhere may differ elsewhere, unless they have one slope. */
#define DEFINE_SHAPED_EQUALITY(name, T, OP)                                                        \
    HANDLER(shaped_##name)                                                                         \
    {                                                                                              \
        const struct vgpu_shape *a = SHAPE(VGPU_A), *b = SHAPE(VGPU_B);                            \
        uint32_t test = 0;                                                                         \
        if (!(a->state & b->state & VGPU_SHAPE_LINE) || (T)a->line.stride != (T)b->line.stride)    \
            return on_lanes(w, i, m);                                                              \
        for (unsigned k = 0; k < VGPU_SEGMENTS; k++)                                               \
            test |= (T)a->line.base[k] OP(T) b->line.base[k]                                       \
                        ? UINT32_C(0xff) << k * VGPU_SEGMENT_LANES                                 \
                        : 0;                                                                       \
        return put_test(w, i, m, test);                                                            \
    }

#define TEST_OPS(X, N)                                                                             \
    X(setp_lt_u##N, uint##N##_t, int##N##_t, <)                                                    \
    X(setp_le_u##N, uint##N##_t, int##N##_t, <=)                                                   \
    X(setp_gt_u##N, uint##N##_t, int##N##_t, >)                                                    \
    X(setp_ge_u##N, uint##N##_t, int##N##_t, >=)                                                   \
    X(setp_lt_s##N, int##N##_t, int##N##_t, <)                                                     \
    X(setp_le_s##N, int##N##_t, int##N##_t, <=)                                                    \
    X(setp_gt_s##N, int##N##_t, int##N##_t, >)                                                     \
    X(setp_ge_s##N, int##N##_t, int##N##_t, >=)
TEST_OPS(DEFINE_SHAPED_TEST, 32)
TEST_OPS(DEFINE_SHAPED_TEST, 64)

#define EQUALITY_OPS(X)                                                                            \
    X(setp_eq_b32, uint32_t, ==)                                                                   \
    X(setp_ne_b32, uint32_t, !=) X(setp_eq_b64, uint64_t, ==) X(setp_ne_b64, uint64_t, !=)
EQUALITY_OPS(DEFINE_SHAPED_EQUALITY)

/* Any other operation with a source that may be a line. */
HANDLER(shaped_other)
{
    return on_lanes(w, i, m);
}

#define LINE_ENTRY(name, ...) {"line_" #name, line_##name},

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_line)[] = {
    LINE1_OPS(LINE_ENTRY) LINE2_OPS(LINE_ENTRY) LINE3_OPS(LINE_ENTRY) UNIFORM_OPS(LINE_ENTRY)
        LINE_ENTRY(sreg_tid) LINE_ENTRY(sreg_laneid) TEST_OPS(SHAPED_ENTRY, 32)
            TEST_OPS(SHAPED_ENTRY, 64) EQUALITY_OPS(SHAPED_ENTRY) SHAPED_ENTRY(other) OP_END};
