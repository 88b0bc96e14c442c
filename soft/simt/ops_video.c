/* SPDX-License-Identifier: MIT */
/* Video instructions: arithmetic on parts of registers, lane by lane; nothing is in a hurry here.
 */
#include "soft/simt/lanes.h"
#include "soft/simt/video.h"

#define LEAST(a, b)    ((a) < (b) ? (a) : (b))
#define GREATEST(a, b) ((a) > (b) ? (a) : (b))

static inline int64_t extended(uint32_t v, unsigned bits, bool is_signed)
{
    v <<= 32 - bits;
    return is_signed ? (int32_t)v >> (32 - bits) : (int64_t)(v >> (32 - bits));
}

static inline int64_t part_of(uint32_t v, unsigned part, bool is_signed)
{
    if (part >= VGPU_VIDEO_HALF)
        return extended(v >> 16 * (part - VGPU_VIDEO_HALF), 16, is_signed);
    if (part >= VGPU_VIDEO_BYTE)
        return extended(v >> 8 * (part - VGPU_VIDEO_BYTE), 8, is_signed);
    return extended(v, 32, is_signed);
}

static inline unsigned bits_of(unsigned part)
{
    return part >= VGPU_VIDEO_HALF ? 16 : part >= VGPU_VIDEO_BYTE ? 8 : 32;
}

static inline bool compared(unsigned comparison, int64_t a, int64_t b)
{
    switch (comparison) {
    case VGPU_VIDEO_EQ:
        return a == b;
    case VGPU_VIDEO_NE:
        return a != b;
    case VGPU_VIDEO_LT:
        return a < b;
    case VGPU_VIDEO_LE:
        return a <= b;
    case VGPU_VIDEO_GT:
        return a > b;
    default:
        return a >= b;
    }
}

static inline int64_t computed(const struct vgpu_video *v, unsigned comparison, int64_t a,
                               int64_t b)
{
    switch (v->operation) {
    case VGPU_VIDEO_ADD:
        return a + b;
    case VGPU_VIDEO_SUB:
        return a - b;
    case VGPU_VIDEO_DIFFERENCE:
        return a > b ? a - b : b - a;
    case VGPU_VIDEO_MIN:
        return LEAST(a, b);
    case VGPU_VIDEO_MAX:
        return GREATEST(a, b);
    case VGPU_VIDEO_AVERAGE:
        return (a + b + (a + b >= 0)) >> 1;
    case VGPU_VIDEO_SHL:
    case VGPU_VIDEO_SHR:
        b = v->flags & VGPU_VIDEO_WRAP ? b & 31 : LEAST(b, 32);
        if (v->operation == VGPU_VIDEO_SHR)
            return a >> b;
        /* 32 bits by 32 are one more than there is room for: any number as far out does. */
        return b < 32 ? (int64_t)((uint64_t)a << b)
                      : (int64_t)((uint64_t)(a > 0) * (INT64_MAX & ~(int64_t)UINT32_MAX) |
                                  (uint64_t)(a < 0) << 63);
    default:
        return compared(comparison, a, b);
    }
}

static inline int64_t saturated(const struct vgpu_video *v, int64_t r, unsigned bits)
{
    bool is_signed = v->flags & VGPU_VIDEO_D_SIGNED;
    int64_t most = (INT64_C(1) << (is_signed ? bits - 1 : bits)) - 1;

    if (!(v->flags & VGPU_VIDEO_SATURATE))
        return r;
    return r > most ? most : r < (is_signed ? -most - 1 : 0) ? (is_signed ? -most - 1 : 0) : r;
}

/* The result in place of the bits `part` of c. */
static inline uint32_t merged(uint32_t r, uint32_t c, unsigned part)
{
    unsigned bits = bits_of(part);
    unsigned shift = bits == 32   ? 0
                     : bits == 16 ? 16 * (part - VGPU_VIDEO_HALF)
                                  : 8 * (part - VGPU_VIDEO_BYTE);
    uint32_t mask = (bits == 32 ? UINT32_MAX : (UINT32_C(1) << bits) - 1) << shift;

    return (r << shift & mask) | (c & ~mask);
}

static inline uint32_t scalar(const struct vgpu_video *v, const struct vgpu_inst *i, uint32_t a,
                              uint32_t b, uint32_t c)
{
    int64_t x = part_of(a, v->a, v->flags & VGPU_VIDEO_A_SIGNED);
    int64_t y = part_of(b, v->b, v->flags & VGPU_VIDEO_B_SIGNED);
    uint32_t r = (uint32_t)saturated(v, computed(v, i->y, x, y), bits_of(i->x));

    switch (v->second) {
    case VGPU_VIDEO_THEN_ADD:
        return r + c;
    case VGPU_VIDEO_THEN_MIN:
        return v->flags & VGPU_VIDEO_D_SIGNED ? (uint32_t)LEAST((int32_t)r, (int32_t)c)
                                              : LEAST(r, c);
    case VGPU_VIDEO_THEN_MAX:
        return v->flags & VGPU_VIDEO_D_SIGNED ? (uint32_t)GREATEST((int32_t)r, (int32_t)c)
                                              : GREATEST(r, c);
    case VGPU_VIDEO_MERGE:
        return merged(r, c, i->x);
    default:
        return r;
    }
}

static inline uint32_t mad(const struct vgpu_video *v, const struct vgpu_inst *i, uint32_t a,
                           uint32_t b, uint32_t c)
{
    bool is_signed = v->flags & (VGPU_VIDEO_A_SIGNED | VGPU_VIDEO_B_SIGNED | VGPU_VIDEO_MINUS |
                                 VGPU_VIDEO_MINUS_C);
    __int128 r = (__int128)part_of(a, v->a, v->flags & VGPU_VIDEO_A_SIGNED) *
                 part_of(b, v->b, v->flags & VGPU_VIDEO_B_SIGNED);
    int64_t addend = extended(c, 32, is_signed);

    if (v->flags & VGPU_VIDEO_MINUS)
        r = -r;
    if (v->flags & VGPU_VIDEO_MINUS_C)
        addend = -addend;
    r += addend + (v->flags & VGPU_VIDEO_PLUS_ONE ? 1 : 0);
    r >>= i->y;
    if (v->flags & VGPU_VIDEO_SATURATE) {
        int64_t least = is_signed ? INT32_MIN : 0, most = is_signed ? INT32_MAX : UINT32_MAX;

        r = r < least ? least : r > most ? most : r;
    }
    return (uint32_t)r;
}

static inline uint32_t parallel(const struct vgpu_video *v, const struct vgpu_inst *i, uint32_t a,
                                uint32_t b, uint32_t c)
{
    unsigned bits = 32 / v->lanes;
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t result = c;

    for (unsigned n = 0; n < v->lanes; n++) {
        uint32_t from_a = (uint32_t)(both >> (v->a >> 4 * n & 15) * bits);
        uint32_t from_b = (uint32_t)(both >> (v->b >> 4 * n & 15) * bits);
        int64_t r = computed(v, i->y, extended(from_a, bits, v->flags & VGPU_VIDEO_A_SIGNED),
                             extended(from_b, bits, v->flags & VGPU_VIDEO_B_SIGNED));
        uint32_t mask = ((UINT32_C(1) << bits) - 1) << n * bits;

        if ((i->x >> n & 1) == 0)
            continue;
        r = saturated(v, r, bits);
        /* All of it is added, not only what would fit into the lane. */
        if (v->second == VGPU_VIDEO_THEN_ADD)
            result += (uint32_t)r;
        else
            result = (result & ~mask) | ((uint32_t)r << n * bits & mask);
    }
    return result;
}

HANDLER(video)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A), *b = ROW(uint32_t, VGPU_B);
    const uint32_t *c = ROW(uint32_t, VGPU_C);
    struct vgpu_video v;

    memcpy(&v, &i->imm, sizeof(v));
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (!LANE_ON(m, l))
            continue;
        d[l] = v.operation == VGPU_VIDEO_MAD ? mad(&v, i, a[l], b[l], c[l])
               : v.lanes == 1                ? scalar(&v, i, a[l], b[l], c[l])
                                             : parallel(&v, i, a[l], b[l], c[l]);
    }
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_video)[] = {OP_ENTRY(video) OP_END};
