/* SPDX-License-Identifier: MIT */
/**
 * Memory at addresses that are a line (shape.h): one check for all lanes, and vectors for eight or
 * more of them. What is read is written to a row with the widest stores there are, because that is
 * how it will be read: a processor waits when a load finds its bytes in several stores before it.
 */
#ifndef VGPU_SOFT_SEGMENTS_H
#define VGPU_SOFT_SEGMENTS_H

#include "soft/simt/shaped.h"

/** Where eight lanes each are, `rise` bytes apart; `is_row` if all 32 are without a gap. */
struct segments {
    uint8_t *at[VGPU_SEGMENTS];
    uint64_t rise;
    bool is_row;
};

#define LANE_AT(s, l)                                                                              \
    ((s).at[(l) / VGPU_SEGMENT_LANES] + (l) % VGPU_SEGMENT_LANES * (uint32_t)(s).rise)

/* Addresses in global memory, of which each lane reaches `bytes`. */
static inline bool pages_good(const struct vgpu_warp *w, const uint64_t *base, uint64_t span)
{
    bool good = true;

    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        good = good && vgpu_pages_valid(w->block->pages, base[k], span);
    return good;
}

/** Of the line `a` of addresses; false when the ordinary handler has to look at each lane. */
static inline bool find_segments_of(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                                    uint32_t bytes, int64_t offset, const struct vgpu_line *a,
                                    struct segments *s)
{
    uint64_t rise = a->stride, span, width = VGPU_SEGMENT_LANES * bytes;
    vgpu_bases base = a->base + (uint64_t)offset, number = {0, 1, 2, 3}, gaps;

    if (m != VGPU_ALL_LANES || i->y != 1)
        return false;
    if (i->z & VGPU_ADDRESS_32) {
        base &= UINT32_MAX;
        rise = (uint64_t)(int64_t)(int32_t)rise;
    }
    if (rise > 4096 || ANY_BIT((base | rise) & (bytes - 1)))
        return false;
    span = (VGPU_SEGMENT_LANES - 1) * rise + bytes;
    s->rise = rise;
    gaps = (base - base[0]) ^ (number * width);
    s->is_row = rise == bytes && !ANY_BIT(gaps);
    if (i->x == VGPU_SPACE_SHARED) {
        uint64_t limit = w->block->shared_bytes;

        if (span > limit || ANY_BIT((((limit - span) - base) | base) >> 63))
            return false;
        base += (uintptr_t)w->block->shared;
        memcpy(s->at, &base, sizeof(base));
        return true;
    }
    memcpy(s->at, &base, sizeof(base));
    if (i->x > VGPU_SPACE_GENERIC)
        return false;
    if (s->is_row)
        return vgpu_pages_valid(w->block->pages, base[0], VGPU_SEGMENTS * width);
    return pages_good(w, (const uint64_t *)s->at, span);
}

static inline bool find_segments_at(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                                    uint32_t bytes, int64_t offset, struct segments *s)
{
    const struct vgpu_shape *a = SHAPE(VGPU_A);

    return (a->state & VGPU_SHAPE_LINE) != 0 &&
           find_segments_of(w, i, m, bytes, offset, &a->line, s);
}

static inline bool find_segments(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                                 uint32_t bytes, struct segments *s)
{
    return find_segments_at(w, i, m, bytes, i->imm, s);
}

/*
 * Warps that step through memory by more than a page at a time get no help from the processor, and
 * do not have the company of other warps that a GPU hides the waiting with. The row of the result
 * has no shape; its room keeps where the instruction went the last time.
 */
#define FETCH_AHEAD 8 /* times of an interpreted loop, about as long as memory takes to answer */

static inline void fetch_ahead(struct vgpu_shape *d, const struct segments *s)
{
    uint64_t step = (uintptr_t)s->at[0] - d->line.stride;

    d->line.stride = (uintptr_t)s->at[0];
    __builtin_prefetch((const void *)((uintptr_t)s->at[0] + FETCH_AHEAD * step));
    __builtin_prefetch((const void *)((uintptr_t)s->at[2] + FETCH_AHEAD * step));
}

/* Words: eight in a row in each segment. */
static inline void load_pieces(uint32_t *d, const struct segments *s)
{
#if defined(__AVX512F__)
    for (unsigned k = 0; k < VGPU_SEGMENTS; k += 2) {
        __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)s->at[k]));

        _mm512_store_si512(
            d + (size_t)k * VGPU_SEGMENT_LANES,
            _mm512_inserti64x4(low, _mm256_loadu_si256((const __m256i *)s->at[k + 1]), 1));
    }
#else
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        memcpy(d + (size_t)k * VGPU_SEGMENT_LANES, s->at[k], 4 * VGPU_SEGMENT_LANES);
#endif
}

static inline void store_pieces(const uint32_t *from, const struct segments *s)
{
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++)
        memcpy(s->at[k], from + (size_t)k * VGPU_SEGMENT_LANES, 4 * VGPU_SEGMENT_LANES);
}

/* Words: one for each segment. */
static inline void load_single(uint32_t *d, const struct segments *s)
{
#if defined(__AVX512F__)
    for (unsigned k = 0; k < VGPU_SEGMENTS; k += 2) {
        __m512i low = _mm512_set1_epi32(*(const int *)(const void *)s->at[k]);

        _mm512_store_si512(
            d + (size_t)k * VGPU_SEGMENT_LANES,
            _mm512_mask_set1_epi32(low, 0xff00, *(const int *)(const void *)s->at[k + 1]));
    }
#else
    for (unsigned k = 0; k < VGPU_SEGMENTS; k++) {
        uint32_t value = *(const uint32_t *)(const void *)s->at[k];

        for (unsigned l = 0; l < VGPU_SEGMENT_LANES; l++)
            d[k * VGPU_SEGMENT_LANES + l] = value;
    }
#endif
}

/* What a load brings to a row, and a store takes from one, when the place is known. */
#define LOAD_SEGMENTS(d, R, T, s)                                                                  \
    do {                                                                                           \
        if ((s).is_row)                                                                            \
            LANE_LOOP(d)[l] = (R)((const T *)(s).at[0])[l];                                        \
        else if (sizeof(R) == 4 && sizeof(T) == 4 && (s).rise == sizeof(T))                        \
            load_pieces((uint32_t *)(d), &(s));                                                    \
        else if (sizeof(R) == 4 && sizeof(T) == 4 && (s).rise == 0)                                \
            load_single((uint32_t *)(d), &(s));                                                    \
        else                                                                                       \
            for (unsigned l = 0; l < VGPU_LANES; l++)                                              \
                (d)[l] = (R) * (const T *)LANE_AT(s, l);                                           \
    } while (0)

#define STORE_SEGMENTS(from, R, T, s)                                                              \
    do {                                                                                           \
        if ((s).is_row)                                                                            \
            LANE_LOOP((T *)(s).at[0])[l] = (T)(from)[l];                                           \
        else if (sizeof(R) == 4 && sizeof(T) == 4 && (s).rise == sizeof(T))                        \
            store_pieces((const uint32_t *)(from), &(s));                                          \
        else                                                                                       \
            for (unsigned l = 0; l < VGPU_LANES; l++)                                              \
                *(T *)LANE_AT(s, l) = (T)(from)[l];                                                \
    } while (0)

#endif
