/* SPDX-License-Identifier: MIT */
/* Conversions with formats that registers do not have: pairs of 8-bit floats, tf32, packed numbers.
 */
#include "soft/simt/fp8.h"
#include "soft/simt/lanes.h"

static inline float at_least_zero(float x, unsigned flags)
{
    return flags & VGPU_RELU && x <= 0 ? 0 : x; /* -0, too */
}

/* The first source becomes the upper byte. */
#define DEFINE_FROM_SINGLES(name, NARROW)                                                          \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint16_t *d = ROW(uint16_t, VGPU_D);                                                       \
        const float *a = ROW(float, VGPU_A), *b = ROW(float, VGPU_B);                              \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            if (LANE_ON(m, l))                                                                     \
                d[l] = (uint16_t)(NARROW(at_least_zero(a[l], i->y)) << 8 |                         \
                                  NARROW(at_least_zero(b[l], i->y)));                              \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define DEFINE_FROM_HALVES(name, NARROW)                                                           \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint16_t *d = ROW(uint16_t, VGPU_D);                                                       \
        const uint32_t *a = ROW(uint32_t, VGPU_A);                                                 \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            float high = vgpu_f16_value((uint16_t)(a[l] >> 16));                                   \
            float low = vgpu_f16_value((uint16_t)a[l]);                                            \
            if (LANE_ON(m, l))                                                                     \
                d[l] = (uint16_t)(NARROW(at_least_zero(high, i->y)) << 8 |                         \
                                  NARROW(at_least_zero(low, i->y)));                               \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define DEFINE_TO_HALVES(name, VALUE)                                                              \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint32_t *d = ROW(uint32_t, VGPU_D);                                                       \
        const uint16_t *a = ROW(uint16_t, VGPU_A);                                                 \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            float high = at_least_zero(VALUE((uint8_t)(a[l] >> 8)), i->y);                         \
            float low = at_least_zero(VALUE((uint8_t)a[l]), i->y);                                 \
            if (LANE_ON(m, l))                                                                     \
                d[l] = (uint32_t)vgpu_to_f16_one((double)high, VGPU_RN) << 16 |                    \
                       vgpu_to_f16_one((double)low, VGPU_RN);                                      \
        }                                                                                          \
        return 0;                                                                                  \
    }

DEFINE_FROM_SINGLES(cvt_e4m3x2_f32, vgpu_to_e4m3)
DEFINE_FROM_SINGLES(cvt_e5m2x2_f32, vgpu_to_e5m2)
DEFINE_FROM_HALVES(cvt_e4m3x2_f16x2, vgpu_to_e4m3)
DEFINE_FROM_HALVES(cvt_e5m2x2_f16x2, vgpu_to_e5m2)
DEFINE_TO_HALVES(cvt_f16x2_e4m3x2, vgpu_e4m3_value)
DEFINE_TO_HALVES(cvt_f16x2_e5m2x2, vgpu_e5m2_value)

/* tf32 is f32 with 13 bits less; a carry goes to the exponent by itself. */
static inline uint32_t tf32(uint32_t bits, uint32_t half, unsigned flags)
{
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return VGPU_NAN_F32;
    if (flags & VGPU_RELU && bits >> 31)
        return 0;
    if ((bits & 0x7fffffffu) != 0x7f800000u)
        bits = (bits + half) & 0xffffe000u;
    return flags & VGPU_FINITE && (bits & 0x7fffffffu) == 0x7f800000u ? bits - 0x2000u : bits;
}

HANDLER(cvt_tf32)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A);

    STORE_LANES(d, m, tf32(a[l], i->x == VGPU_RZ ? 0 : 0xfffu + (a[l] >> 13 & 1), i->y));
    return 0;
}

HANDLER(cvt_rna_tf32)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A);

    STORE_LANES(d, m, tf32(a[l], 0x1000u, i->y));
    return 0;
}

#define CLAMP(a, low, high) ((a) < (low) ? (low) : (a) > (high) ? (high) : (a))
#define PACK(a, b, low, high, bits)                                                                \
    (((uint32_t)CLAMP(a, low, high) & ((1u << (bits)) - 1)) << (bits) |                            \
     ((uint32_t)CLAMP(b, low, high) & ((1u << (bits)) - 1)))

#define PACK_OPS(X)                                                                                \
    X(cvt_pack_s8, uint32_t, int32_t, int32_t, uint32_t, c << 16 | PACK(a, b, -128, 127, 8))       \
    X(cvt_pack_u8, uint32_t, int32_t, int32_t, uint32_t, c << 16 | PACK(a, b, 0, 255, 8))
#define PACK_PAIR_OPS(X)                                                                           \
    X(cvt_pack_s16, uint32_t, int32_t, int32_t, PACK(a, b, -32768, 32767, 16))                     \
    X(cvt_pack_u16, uint32_t, int32_t, int32_t, PACK(a, b, 0, 65535, 16))
PACK_OPS(DEFINE_TERNARY)
PACK_PAIR_OPS(DEFINE_BINARY)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_narrow)[] = {
    OP_ENTRY(cvt_e4m3x2_f32) OP_ENTRY(cvt_e5m2x2_f32) OP_ENTRY(cvt_e4m3x2_f16x2)
        OP_ENTRY(cvt_e5m2x2_f16x2) OP_ENTRY(cvt_f16x2_e4m3x2) OP_ENTRY(cvt_f16x2_e5m2x2)
            OP_ENTRY(cvt_tf32) OP_ENTRY(cvt_rna_tf32) PACK_OPS(OP_ENTRY) PACK_PAIR_OPS(OP_ENTRY)
                OP_END};
