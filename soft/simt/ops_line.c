/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic of lines (shape.h): a few words instead of 32 lanes. What is no line after all, or is
 * computed for a part of the warp only, is left to the ordinary handlers.
 */
#include "soft/simt/line_rules.h"

/* ---- handlers; D is a row that may be a line ---- */

#define DEFINE_LINE(name, BITS, LINES, RULE)                                                       \
    HANDLER(line_##name)                                                                           \
    {                                                                                              \
        struct vgpu_shape *d = SHAPE(VGPU_D);                                                      \
        struct vgpu_line r;                                                                        \
        if (__builtin_expect(!((LINES)&VGPU_SHAPE_LINE) || !whole_warp(w, m) || !(RULE), 0))       \
            return line_on_lanes(w, i, m);                                                         \
        d->line = r;                                                                               \
        d->state = VGPU_SHAPE_LINE | VGPU_SHAPE_STALE | ((BITS) == 64 ? VGPU_SHAPE_64 : 0) |       \
                   ((LINES)&VGPU_SHAPE_SAME);                                                      \
        return 0;                                                                                  \
    }

#define DEFINE_LINE1(name, BITS, RULE)                                                             \
    DEFINE_LINE(name, BITS, SHAPE(VGPU_A)->state, RULE(&r, SHAPE(VGPU_A)))
#define DEFINE_LINE2(name, BITS, RULE)                                                             \
    DEFINE_LINE(name, BITS, SHAPE(VGPU_A)->state &SHAPE(VGPU_B)->state,                            \
                RULE(&r, SHAPE(VGPU_A), SHAPE(VGPU_B)))
#define DEFINE_LINE3(name, BITS, RULE)                                                             \
    DEFINE_LINE(name, BITS, SHAPE(VGPU_A)->state &SHAPE(VGPU_B)->state &SHAPE(VGPU_C)->state,      \
                RULE(&r, SHAPE(VGPU_A), SHAPE(VGPU_B), SHAPE(VGPU_C)))

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

static inline bool line_same(struct vgpu_line *r, uint64_t value)
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
    DEFINE_LINE(name, BITS, VGPU_SHAPE_LINE | VGPU_SHAPE_SAME, line_same(&r, (VALUE)))

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

DEFINE_LINE(sreg_tid, 32, w->tid_shape[i->x].state, line_copy(&r, &w->tid_shape[i->x]))

/* The number of the thread in the whole grid, along an axis. */
static inline bool line_number(struct vgpu_line *r, const struct vgpu_warp *w, unsigned axis)
{
    *r = w->tid_shape[axis].line;
    r->base += (uint64_t)w->block->id[axis] * w->block->launch->block[axis];
    return true;
}

DEFINE_LINE(sreg_number, 32, w->tid_shape[i->x].state, line_number(&r, w, i->x))

static const struct vgpu_shape lane_numbers = {{{0, 8, 16, 24}, 1}, VGPU_SHAPE_LINE};

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

typedef int64_t vgpu_signed_bases __attribute__((vector_size(8 * VGPU_SEGMENTS), aligned(8)));

/* All ones or zeros for each segment, as a mask of lanes. */
static inline uint32_t lanes_of(const vgpu_signed_bases *segments)
{
#if defined(__AVX__)
    uint32_t bits = (uint32_t)_mm256_movemask_pd((__m256d)*segments);
#else
    uint32_t bits = 0;

    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        bits |= (uint32_t)((*segments)[k] & 1) << k;
#endif
    return (bits * 0x00204081u & 0x01010101u) * 0xffu;
}

/* The same for 32 bits, all segments at once. */
#define DEFINE_SHAPED_TEST_32(name, WIDEN, OP)                                                     \
    HANDLER(shaped_##name)                                                                         \
    {                                                                                              \
        const struct vgpu_shape *a = SHAPE(VGPU_A), *b = SHAPE(VGPU_B);                            \
        struct vgpu_line x, y;                                                                     \
        vgpu_signed_bases first, last;                                                             \
        if (!(a->state & b->state & VGPU_SHAPE_LINE) || !WIDEN(&x, a) || !WIDEN(&y, b))            \
            return on_lanes(w, i, m);                                                              \
        first = (vgpu_signed_bases)x.base OP(vgpu_signed_bases) y.base;                            \
        last = (vgpu_signed_bases)ENDS(&x) OP(vgpu_signed_bases) ENDS(&y);                         \
        if (ANY_BIT((vgpu_bases)(first ^ last)))                                                   \
            return on_lanes(w, i, m);                                                              \
        return put_test(w, i, m, lanes_of(&first));                                                \
    }

#define TEST_OPS_32(X)                                                                             \
    X(setp_lt_u32, widen_u, <)                                                                     \
    X(setp_le_u32, widen_u, <=)                                                                    \
    X(setp_gt_u32, widen_u, >)                                                                     \
    X(setp_ge_u32, widen_u, >=)                                                                    \
    X(setp_lt_s32, widen_s, <)                                                                     \
    X(setp_le_s32, widen_s, <=)                                                                    \
    X(setp_gt_s32, widen_s, >)                                                                     \
    X(setp_ge_s32, widen_s, >=)
TEST_OPS_32(DEFINE_SHAPED_TEST_32)

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

#define TEST_OPS_64(X)                                                                             \
    X(setp_lt_u64, uint64_t, int64_t, <)                                                           \
    X(setp_le_u64, uint64_t, int64_t, <=)                                                          \
    X(setp_gt_u64, uint64_t, int64_t, >)                                                           \
    X(setp_ge_u64, uint64_t, int64_t, >=)                                                          \
    X(setp_lt_s64, int64_t, int64_t, <)                                                            \
    X(setp_le_s64, int64_t, int64_t, <=)                                                           \
    X(setp_gt_s64, int64_t, int64_t, >)                                                            \
    X(setp_ge_s64, int64_t, int64_t, >=)
TEST_OPS_64(DEFINE_SHAPED_TEST)

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
        LINE_ENTRY(sreg_tid) LINE_ENTRY(sreg_number) LINE_ENTRY(sreg_laneid)
            TEST_OPS_32(SHAPED_ENTRY) TEST_OPS_64(SHAPED_ENTRY) EQUALITY_OPS(SHAPED_ENTRY)
                SHAPED_ENTRY(other) OP_END};
