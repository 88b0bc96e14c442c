/* SPDX-License-Identifier: MIT */
/* Pairs of 16-bit integers, and the least or greatest magnitude under a common sign. */
#include "soft/simt/half.h"
#include "soft/simt/lanes.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* f of the low halves and of the high ones, as T */
#define BOTH(T, f)                                                                                 \
    ((uint32_t)(uint16_t)(f((T)a, (T)b)) | (uint32_t)(uint16_t)(f((T)(a >> 16), (T)(b >> 16)))     \
                                               << 16)

#define ADD(a, b)      ((a) + (b))
#define MIN_RELU(a, b) MAX(MIN(a, b), 0)
#define MAX_RELU(a, b) MAX(MAX(a, b), 0)

#define PAIR_OPS(X)                                                                                \
    X(add_u16x2, uint32_t, uint32_t, uint32_t, BOTH(uint16_t, ADD))                                \
    X(add_s16x2, uint32_t, uint32_t, uint32_t, BOTH(uint16_t, ADD))                                \
    X(min_u16x2, uint32_t, uint32_t, uint32_t, BOTH(uint16_t, MIN))                                \
    X(max_u16x2, uint32_t, uint32_t, uint32_t, BOTH(uint16_t, MAX))                                \
    X(min_s16x2, uint32_t, uint32_t, uint32_t, BOTH(int16_t, MIN))                                 \
    X(max_s16x2, uint32_t, uint32_t, uint32_t, BOTH(int16_t, MAX))                                 \
    X(min_relu_s16x2, uint32_t, uint32_t, uint32_t, BOTH(int16_t, MIN_RELU))                       \
    X(max_relu_s16x2, uint32_t, uint32_t, uint32_t, BOTH(int16_t, MAX_RELU))                       \
    X(min_relu_s32, int32_t, int32_t, int32_t, MIN_RELU(a, b))                                     \
    X(max_relu_s32, int32_t, int32_t, int32_t, MAX_RELU(a, b))
PAIR_OPS(DEFINE_BINARY)

/* The codes of magnitudes are in the order of their values; those above `infinity` are NaNs. */
static inline uint32_t magnitude_of(uint32_t a, uint32_t b, bool greatest, unsigned flags,
                                    uint32_t sign, uint32_t infinity, uint32_t normal)
{
    uint32_t x = a & ~sign & (sign - 1), y = b & ~sign & (sign - 1), r;

    if (flags & VGPU_FTZ) {
        x = x < normal ? 0 : x;
        y = y < normal ? 0 : y;
    }
    if (x > infinity || y > infinity) {
        if ((x > infinity && y > infinity) || flags & VGPU_NAN)
            return sign - 1;
        r = x > infinity ? y : x;
    } else {
        r = (x > y) == greatest ? x : y;
    }
    return r | ((a ^ b) & sign);
}

#define F32(a, b, greatest)                                                                        \
    magnitude_of(a, b, greatest, i->y, 0x80000000u, 0x7f800000u, 0x00800000u)
#define F16(a, b, greatest)  magnitude_of(a, b, greatest, i->y, 0x8000u, 0x7c00u, 0x400u)
#define BF16(a, b, greatest) magnitude_of(a, b, greatest, i->y, 0x8000u, 0x7f80u, 0x80u)
#define TWO(f, greatest)                                                                           \
    (f(a & 0xffffu, b & 0xffffu, greatest) | f(a >> 16, b >> 16, greatest) << 16)

#define MAGNITUDE_OPS(X)                                                                           \
    X(min_xorsign_f32, uint32_t, uint32_t, uint32_t, F32(a, b, false))                             \
    X(max_xorsign_f32, uint32_t, uint32_t, uint32_t, F32(a, b, true))                              \
    X(min_xorsign_f16, uint16_t, uint16_t, uint16_t, F16(a, b, false))                             \
    X(max_xorsign_f16, uint16_t, uint16_t, uint16_t, F16(a, b, true))                              \
    X(min_xorsign_bf16, uint16_t, uint16_t, uint16_t, BF16(a, b, false))                           \
    X(max_xorsign_bf16, uint16_t, uint16_t, uint16_t, BF16(a, b, true))                            \
    X(min_xorsign_f16x2, uint32_t, uint32_t, uint32_t, TWO(F16, false))                            \
    X(max_xorsign_f16x2, uint32_t, uint32_t, uint32_t, TWO(F16, true))                             \
    X(min_xorsign_bf16x2, uint32_t, uint32_t, uint32_t, TWO(BF16, false))                          \
    X(max_xorsign_bf16x2, uint32_t, uint32_t, uint32_t, TWO(BF16, true))
MAGNITUDE_OPS(DEFINE_BINARY)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_packed)[] = {PAIR_OPS(OP_ENTRY)
                                                               MAGNITUDE_OPS(OP_ENTRY) OP_END};
