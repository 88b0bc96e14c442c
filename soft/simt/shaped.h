/* SPDX-License-Identifier: MIT */
/** How handlers that know of shapes are written. */
#ifndef VGPU_SOFT_SHAPED_H
#define VGPU_SOFT_SHAPED_H

#include <immintrin.h>

#include "soft/simt/lanes.h"
#include "soft/simt/shape.h"

#define SHAPED_ENTRY(name, ...) {"shaped_" #name, shaped_##name},
#define SHAPE(operand)          vgpu_shape_of(row_of(w, i->row[operand]))

/* A macro, because vectors as arguments are an ABI of their own on old processors. */
#if defined(__AVX__)
#define ANY_BIT(vector)                                                                            \
    ({                                                                                             \
        __m256i v = (__m256i)(vector);                                                             \
        _mm256_testz_si256(v, v) == 0;                                                             \
    })
#else
#define ANY_BIT(vector)                                                                            \
    ({                                                                                             \
        vgpu_bases v = (vector);                                                                   \
        (v[0] | v[1] | v[2] | v[3]) != 0;                                                          \
    })
#endif

/* Lanes that have exited, or never were, may get any value. */
static inline bool whole_warp(const struct vgpu_warp *w, uint32_t m)
{
    return (w->alive & ~m) == 0;
}

static inline void expand_sources(const struct vgpu_warp *w, const struct vgpu_inst *i,
                                  uint32_t operands)
{
    for (uint32_t left = i->shaped & operands; left != 0; left &= left - 1) {
        struct vgpu_shape *s = SHAPE(__builtin_ctz(left));

        if (s->state & VGPU_SHAPE_STALE)
            vgpu_shape_expand(s);
    }
}

/* The ordinary handler does it; the result has no shape. */
static inline int on_lanes(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m)
{
    expand_sources(w, i, UINT32_MAX);
    return i->plain(w, i, m);
}

/* The ordinary handler does it, for a result that had a shape up to now. */
static inline int line_on_lanes(struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m)
{
    struct vgpu_shape *d = SHAPE(VGPU_D);

    expand_sources(w, i, UINT32_MAX);
    if ((d->state & VGPU_SHAPE_STALE) != 0 && !whole_warp(w, m))
        vgpu_shape_expand(d);
    d->state = 0;
    return i->plain(w, i, m);
}

#endif
