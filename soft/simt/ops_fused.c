/* SPDX-License-Identifier: MIT */
/*
 * Superinstructions: one handler for several instructions in a row (soft/ptx/fuse.c finds them).
 * Such a handler returns how many instructions behind its own it has done; if it cannot do all of
 * them it does its own and leaves the others to their own handlers, which are still there.
 */
#include "soft/simt/half.h"
#include "soft/simt/line_rules.h"
#include "soft/simt/segments.h"

/* ---- an address is computed, and used ---- */

/* Where the next instruction goes, by what this one adds; false when this one is done and no more.
 */
#define DEFINE_ADDRESS(name, LINES, RULE)                                                          \
    static inline bool name(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,            \
                            uint32_t bytes, struct segments *s)                                    \
    {                                                                                              \
        struct vgpu_shape *d = SHAPE(VGPU_D);                                                      \
        struct vgpu_line r;                                                                        \
        if (!((LINES)&VGPU_SHAPE_LINE) || !whole_warp(w, m) || !(RULE)) {                          \
            (void)line_on_lanes(w, i, m);                                                          \
            return false;                                                                          \
        }                                                                                          \
        d->line = r;                                                                               \
        d->state = VGPU_SHAPE_LINE | VGPU_SHAPE_STALE | VGPU_SHAPE_64;                             \
        return find_segments_of(w, i + 1, m, bytes, i[1].imm, &r, s);                              \
    }
DEFINE_ADDRESS(address_sum, SHAPE(VGPU_A)->state &SHAPE(VGPU_B)->state,
               line_add(&r, SHAPE(VGPU_A), SHAPE(VGPU_B)))
DEFINE_ADDRESS(address_product, SHAPE(VGPU_A)->state &SHAPE(VGPU_B)->state &SHAPE(VGPU_C)->state,
               line_mad_s(&r, SHAPE(VGPU_A), SHAPE(VGPU_B), SHAPE(VGPU_C)))

#define DEFINE_ADDRESS_LOAD(name, ADDRESS, T)                                                      \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        struct segments s;                                                                         \
        T *d;                                                                                      \
        if (!ADDRESS(w, i, m, sizeof(T), &s))                                                      \
            return 0;                                                                              \
        d = row_of(w, i[1].row[VGPU_D]);                                                           \
        fetch_ahead(vgpu_shape_of(d), &s);                                                         \
        LOAD_SEGMENTS(d, T, T, s);                                                                 \
        return 1;                                                                                  \
    }

#define DEFINE_ADDRESS_STORE(name, ADDRESS, T)                                                     \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        struct segments s;                                                                         \
        const T *from;                                                                             \
        if (!ADDRESS(w, i, m, sizeof(T), &s))                                                      \
            return 0;                                                                              \
        expand_sources(w, i + 1, 1u << VGPU_D);                                                    \
        from = row_of(w, i[1].row[VGPU_D]);                                                        \
        STORE_SEGMENTS(from, T, T, s);                                                             \
        return 1;                                                                                  \
    }

#define ADDRESS_LOADS(X)                                                                           \
    X(sum_ld_u32_32, address_sum, uint32_t)                                                        \
    X(sum_ld_u64_64, address_sum, uint64_t)                                                        \
    X(product_ld_u32_32, address_product, uint32_t)                                                \
    X(product_ld_u64_64, address_product, uint64_t)
#define ADDRESS_STORES(X)                                                                          \
    X(sum_st_b32_32, address_sum, uint32_t)                                                        \
    X(sum_st_b64_64, address_sum, uint64_t)                                                        \
    X(product_st_b32_32, address_product, uint32_t)                                                \
    X(product_st_b64_64, address_product, uint64_t)
ADDRESS_LOADS(DEFINE_ADDRESS_LOAD)
ADDRESS_STORES(DEFINE_ADDRESS_STORE)

/* ---- products ---- */

#if defined(__FMA__)

/* The factor of one segment: eight words, or one for all eight lanes. */
static inline __m256 factor(const uint8_t *at, int64_t offset, bool single)
{
    const float *from = (const float *)(const void *)(at + offset);

    return single ? _mm256_broadcast_ss(from) : _mm256_loadu_ps(from);
}

/* `count` times two factors, at `x` and `y` plus what is in the instructions. */
static inline __attribute__((always_inline)) void
add_products(__m256 sum[VGPU_SEGMENTS], const struct vgpu_inst *i, uint32_t count,
             const struct segments *x, bool x_single, const struct segments *y, bool y_single)
{
    __m256 s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];

    for (const struct vgpu_inst *end = i + (size_t)3 * count; i < end; i += 3) {
        int64_t a = i[0].imm, b = i[1].imm;

        s0 = _mm256_fmadd_ps(factor(x->at[0], a, x_single), factor(y->at[0], b, y_single), s0);
        s1 = _mm256_fmadd_ps(factor(x->at[1], a, x_single), factor(y->at[1], b, y_single), s1);
        s2 = _mm256_fmadd_ps(factor(x->at[2], a, x_single), factor(y->at[2], b, y_single), s2);
        s3 = _mm256_fmadd_ps(factor(x->at[3], a, x_single), factor(y->at[3], b, y_single), s3);
    }
    sum[0] = s0;
    sum[1] = s1;
    sum[2] = s2;
    sum[3] = s3;
}

/* Where a factor is before the offset of each instruction is added; all of them were looked at. */
static inline bool find_factor(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                               const int64_t range[2], struct segments *s)
{
    struct segments last;

    if (!find_segments_at(w, i, m, 4, range[0], s) ||
        !find_segments_at(w, i, m, 4, range[1], &last) || (s->rise != 0 && s->rise != 4))
        return false;
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        s->at[k] -= range[0];
    return true;
}

/*
 * A chain of: ld.shared x; ld.shared y; fma.rn.f32 d, x, y, c. The addresses of each kind differ by
 * a constant only, d is the next one's c, and nobody else wants x, y or any d but the last. That a
 * sum that is not a number has one pattern is seen to at the end.
 */
HANDLER(products_shared)
{
    const struct vgpu_products *p = &w->block->unit->products[i[2].imm];
    const struct vgpu_inst *last = i + (size_t)3 * p->count - 1;
    const __m256 nan = _mm256_set1_ps(vgpu_float_of(VGPU_NAN_F32));
    struct segments x, y;
    __m256 sum[VGPU_SEGMENTS];
    float *d;

    if (!find_factor(w, i, m, p->range[0], &x) || !find_factor(w, i + 1, m, p->range[1], &y))
        return on_lanes(w, i, m);
    memcpy(sum, row_of(w, i[2].row[VGPU_C]), sizeof(sum));
    if (x.rise == 0 && y.rise == 0)
        add_products(sum, i, p->count, &x, true, &y, true);
    else if (x.rise == 0)
        add_products(sum, i, p->count, &x, true, &y, false);
    else if (y.rise == 0)
        add_products(sum, i, p->count, &x, false, &y, true);
    else
        add_products(sum, i, p->count, &x, false, &y, false);
    d = row_of(w, last->row[VGPU_D]);
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        _mm256_store_ps(d + (size_t)k * VGPU_SEGMENT_LANES,
                        _mm256_blendv_ps(sum[k], nan, _mm256_cmp_ps(sum[k], sum[k], _CMP_UNORD_Q)));
    return (int)(3 * p->count - 1);
}

#endif

#define FUSED_ENTRY(name, ...) {"fused_" #name, name},

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_fused)[] = {
#if defined(__FMA__)
    {"fused_products_shared", products_shared},
#endif
    ADDRESS_LOADS(FUSED_ENTRY) ADDRESS_STORES(FUSED_ENTRY) OP_END};
