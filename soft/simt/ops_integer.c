/* SPDX-License-Identifier: MIT */
/* Integer arithmetic and moves. */
#include "soft/simt/lanes.h"

static inline uint64_t product_high_u(uint64_t a, uint64_t b)
{
    return (uint64_t)((unsigned __int128)a * b >> 64);
}

static inline int64_t product_high_s(int64_t a, int64_t b)
{
    return (int64_t)((__int128)a * b >> 64);
}

static inline int32_t short24(int32_t a)
{
    return (int32_t)((uint32_t)a << 8) >> 8;
}

#define SHORT24U(a) ((uint64_t)((a)&0xffffffu))
#define SHORT24S(a) ((int64_t)short24(a))

/* Division by zero and the one signed overflow have no trap on a GPU. */
#define DIV_U(a, b) ((b) == 0 ? (__typeof__(a))-1 : (a) / (b))
#define REM_U(a, b) ((b) == 0 ? (__typeof__(a))-1 : (a) % (b))
#define DIV_S(a, b) ((b) == 0 ? -1 : (b) == -1 ? (__typeof__(a))(0 - (uint64_t)(a)) : (a) / (b))
#define REM_S(a, b) ((b) == 0 ? -1 : (b) == -1 ? 0 : (a) % (b))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define SAT32(x) ((x) > INT32_MAX ? INT32_MAX : (x) < INT32_MIN ? INT32_MIN : (x))

/* clang-format off */
#define UNARY_OPS(X)                                                                               \
    X(mov_b16, uint16_t, uint16_t, a)                                                              \
    X(mov_b32, uint32_t, uint32_t, a)                                                              \
    X(mov_b64, uint64_t, uint64_t, a)                                                              \
    X(neg_s16, uint16_t, uint16_t, -a)                                                             \
    X(neg_s32, uint32_t, uint32_t, -a)                                                             \
    X(neg_s64, uint64_t, uint64_t, -a)                                                             \
    X(abs_s16, uint16_t, int16_t, a < 0 ? -a : a)                                                  \
    X(abs_s32, uint32_t, int32_t, a < 0 ? 0 - (uint32_t)a : (uint32_t)a)                           \
    X(abs_s64, uint64_t, int64_t, a < 0 ? 0 - (uint64_t)a : (uint64_t)a)

#define SAME_OPS(X, N)                                                                             \
    X(add_b##N, uint##N##_t, uint##N##_t, uint##N##_t, a + b)                                      \
    X(sub_b##N, uint##N##_t, uint##N##_t, uint##N##_t, a - b)                                      \
    X(mul_lo_b##N, uint##N##_t, uint##N##_t, uint##N##_t, (uint64_t)a * b)                         \
    X(min_u##N, uint##N##_t, uint##N##_t, uint##N##_t, MIN(a, b))                                  \
    X(max_u##N, uint##N##_t, uint##N##_t, uint##N##_t, MAX(a, b))                                  \
    X(min_s##N, int##N##_t, int##N##_t, int##N##_t, MIN(a, b))                                     \
    X(max_s##N, int##N##_t, int##N##_t, int##N##_t, MAX(a, b))

#define BINARY_OPS(X)                                                                              \
    SAME_OPS(X, 16) SAME_OPS(X, 32) SAME_OPS(X, 64)                                                \
    X(mul_hi_u16, uint16_t, uint16_t, uint16_t, (uint32_t)a * b >> 16)                             \
    X(mul_hi_s16, int16_t, int16_t, int16_t, (int32_t)a * b >> 16)                                 \
    X(mul_hi_u32, uint32_t, uint32_t, uint32_t, (uint64_t)a * b >> 32)                             \
    X(mul_hi_s32, int32_t, int32_t, int32_t, (int64_t)a * b >> 32)                                 \
    X(mul_hi_u64, uint64_t, uint64_t, uint64_t, product_high_u(a, b))                              \
    X(mul_hi_s64, int64_t, int64_t, int64_t, product_high_s(a, b))                                 \
    X(mul_wide_u16, uint32_t, uint16_t, uint16_t, (uint32_t)a * b)                                 \
    X(mul_wide_s16, int32_t, int16_t, int16_t, (int32_t)a * b)                                     \
    X(mul_wide_u32, uint64_t, uint32_t, uint32_t, (uint64_t)a * b)                                 \
    X(mul_wide_s32, int64_t, int32_t, int32_t, (int64_t)a * b)                                     \
    X(mul24_lo_u32, uint32_t, uint32_t, uint32_t, SHORT24U(a) * SHORT24U(b))                       \
    X(mul24_hi_u32, uint32_t, uint32_t, uint32_t, SHORT24U(a) * SHORT24U(b) >> 16)                 \
    X(mul24_lo_s32, uint32_t, int32_t, int32_t, SHORT24S(a) * SHORT24S(b))                         \
    X(mul24_hi_s32, uint32_t, int32_t, int32_t, SHORT24S(a) * SHORT24S(b) >> 16)                   \
    X(add_sat_s32, int32_t, int32_t, int32_t, SAT32((int64_t)a + b))                               \
    X(sub_sat_s32, int32_t, int32_t, int32_t, SAT32((int64_t)a - b))

#define SCALAR_OPS(X)                                                                              \
    X(div_u16, uint16_t, uint16_t, uint16_t, DIV_U(a, b))                                          \
    X(div_u32, uint32_t, uint32_t, uint32_t, DIV_U(a, b))                                          \
    X(div_u64, uint64_t, uint64_t, uint64_t, DIV_U(a, b))                                          \
    X(div_s16, int16_t, int16_t, int16_t, DIV_S(a, b))                                             \
    X(div_s32, int32_t, int32_t, int32_t, DIV_S(a, b))                                             \
    X(div_s64, int64_t, int64_t, int64_t, DIV_S(a, b))                                             \
    X(rem_u16, uint16_t, uint16_t, uint16_t, REM_U(a, b))                                          \
    X(rem_u32, uint32_t, uint32_t, uint32_t, REM_U(a, b))                                          \
    X(rem_u64, uint64_t, uint64_t, uint64_t, REM_U(a, b))                                          \
    X(rem_s16, int16_t, int16_t, int16_t, REM_S(a, b))                                             \
    X(rem_s32, int32_t, int32_t, int32_t, REM_S(a, b))                                             \
    X(rem_s64, int64_t, int64_t, int64_t, REM_S(a, b))

#define SAD_OPS(X, S, N)                                                                           \
    X(sad_##S##N, uint##N##_t, SAD_##S(N), SAD_##S(N), uint##N##_t,                                \
      c + (a < b ? (uint##N##_t)b - (uint##N##_t)a : (uint##N##_t)a - (uint##N##_t)b))

#define SAD_u(N) uint##N##_t
#define SAD_s(N) int##N##_t

#define TERNARY_OPS(X)                                                                             \
    X(mad_lo_b16, uint16_t, uint16_t, uint16_t, uint16_t, (uint32_t)a * b + c)                     \
    X(mad_lo_b32, uint32_t, uint32_t, uint32_t, uint32_t, a * b + c)                               \
    X(mad_lo_b64, uint64_t, uint64_t, uint64_t, uint64_t, a * b + c)                               \
    X(mad_hi_u16, uint16_t, uint16_t, uint16_t, uint16_t, ((uint32_t)a * b >> 16) + c)             \
    X(mad_hi_s16, uint16_t, int16_t, int16_t, uint16_t, ((int32_t)a * b >> 16) + c)                \
    X(mad_hi_u32, uint32_t, uint32_t, uint32_t, uint32_t, (uint32_t)((uint64_t)a * b >> 32) + c)   \
    X(mad_hi_s32, uint32_t, int32_t, int32_t, uint32_t, (uint32_t)((int64_t)a * b >> 32) + c)      \
    X(mad_hi_sat_s32, int32_t, int32_t, int32_t, int32_t, SAT32(((int64_t)a * b >> 32) + c))       \
    X(mad24_hi_sat_s32, int32_t, int32_t, int32_t, int32_t,                                        \
      SAT32((SHORT24S(a) * SHORT24S(b) >> 16) + c))                                                \
    X(mad_hi_u64, uint64_t, uint64_t, uint64_t, uint64_t, product_high_u(a, b) + c)                \
    X(mad_hi_s64, uint64_t, int64_t, int64_t, uint64_t, (uint64_t)product_high_s(a, b) + c)        \
    X(mad_wide_u16, uint32_t, uint16_t, uint16_t, uint32_t, (uint32_t)a * b + c)                   \
    X(mad_wide_s16, uint32_t, int16_t, int16_t, uint32_t, (uint32_t)((int32_t)a * b) + c)          \
    X(mad_wide_u32, uint64_t, uint32_t, uint32_t, uint64_t, (uint64_t)a * b + c)                   \
    X(mad_wide_s32, uint64_t, int32_t, int32_t, uint64_t, (uint64_t)((int64_t)a * b) + c)          \
    X(mad24_lo_u32, uint32_t, uint32_t, uint32_t, uint32_t, SHORT24U(a) * SHORT24U(b) + c)         \
    X(mad24_lo_s32, uint32_t, int32_t, int32_t, uint32_t,                                          \
      (uint32_t)(SHORT24S(a) * SHORT24S(b)) + c)                                                   \
    X(mad24_hi_u32, uint32_t, uint32_t, uint32_t, uint32_t,                                        \
      (uint32_t)(SHORT24U(a) * SHORT24U(b) >> 16) + c)                                             \
    X(mad24_hi_s32, uint32_t, int32_t, int32_t, uint32_t,                                          \
      (uint32_t)(SHORT24S(a) * SHORT24S(b) >> 16) + c)                                             \
    SAD_OPS(X, u, 16) SAD_OPS(X, s, 16) SAD_OPS(X, u, 32) SAD_OPS(X, s, 32)                        \
    SAD_OPS(X, u, 64) SAD_OPS(X, s, 64)
/* clang-format on */

UNARY_OPS(DEFINE_UNARY)
BINARY_OPS(DEFINE_BINARY)
SCALAR_OPS(DEFINE_SCALAR_BINARY)
TERNARY_OPS(DEFINE_TERNARY)

/* Carry chains: x bit 0 adds the carry (or subtracts the borrow) in, bit 1 writes it. */
#define DEFINE_CARRY(name, T, WIDE, SUM, OUT)                                                      \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A), *rb = ROW(T, VGPU_B);                                        \
        uint32_t *carry = any_row(w, i->row[VGPU_E]);                                              \
        uint32_t in = i->x & 1 ? *carry : 0, out = 0;                                              \
        T result[VGPU_LANES];                                                                      \
        LANE_LOOP                                                                                  \
        {                                                                                          \
            WIDE a = ra[l], b = rb[l], k = in >> l & 1u;                                           \
            WIDE sum = (SUM);                                                                      \
            result[l] = (T)sum;                                                                    \
            out |= (uint32_t)(OUT) << l;                                                           \
        }                                                                                          \
        STORE_LANES(d, m, result[l]);                                                              \
        if (i->x & 2)                                                                              \
            *carry = (*carry & ~m) | (out & m);                                                    \
        return 0;                                                                                  \
    }

/* mad: the product's half, plus c, plus the carry */
#define DEFINE_MAD_CARRY(name, T, PRODUCT)                                                         \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *ra = ROW(T, VGPU_A), *rb = ROW(T, VGPU_B), *rc = ROW(T, VGPU_C);                  \
        uint32_t *carry = any_row(w, i->row[VGPU_E]);                                              \
        uint32_t in = i->x & 1 ? *carry : 0, out = 0;                                              \
        T result[VGPU_LANES];                                                                      \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            T a = ra[l], b = rb[l], first, second;                                                 \
            bool over = __builtin_add_overflow((T)(PRODUCT), rc[l], &first);                       \
            over |= __builtin_add_overflow(first, (T)(in >> l & 1u), &second);                     \
            result[l] = second;                                                                    \
            out |= (uint32_t)over << l;                                                            \
        }                                                                                          \
        STORE_LANES(d, m, result[l]);                                                              \
        if (i->x & 2)                                                                              \
            *carry = (*carry & ~m) | (out & m);                                                    \
        return 0;                                                                                  \
    }

/* clang-format off */
#define CARRY_OPS(X)                                                                               \
    X(addx_b32, uint32_t, uint64_t, a + b + k, sum >> 32 & 1)                                      \
    X(addx_b64, uint64_t, unsigned __int128, a + b + k, sum >> 64 & 1)                             \
    X(subx_b32, uint32_t, uint64_t, a - b - k, sum >> 32 & 1)                                      \
    X(subx_b64, uint64_t, unsigned __int128, a - b - k, sum >> 64 & 1)

#define MAD_CARRY_OPS(X)                                                                           \
    X(madx_lo_b32, uint32_t, a * b)                                                                \
    X(madx_lo_b64, uint64_t, a * b)                                                                \
    X(madx_hi_u32, uint32_t, (uint64_t)a * b >> 32)                                                \
    X(madx_hi_s32, uint32_t, (uint64_t)((int64_t)(int32_t)a * (int32_t)b) >> 32)                   \
    X(madx_hi_u64, uint64_t, product_high_u(a, b))                                                 \
    X(madx_hi_s64, uint64_t, product_high_s((int64_t)a, (int64_t)b))
/* clang-format on */

CARRY_OPS(DEFINE_CARRY)
MAD_CARRY_OPS(DEFINE_MAD_CARRY)

/* x bit 0: a is signed; bit 1: b is signed. y of dp2a: the upper two bytes of b. */
static inline int32_t byte_of(uint32_t v, unsigned n, bool is_signed)
{
    uint8_t byte = (uint8_t)(v >> 8 * n);

    return is_signed ? (int8_t)byte : byte;
}

static inline int32_t half_of(uint32_t v, unsigned n, bool is_signed)
{
    uint16_t half = (uint16_t)(v >> 16 * n);

    return is_signed ? (int16_t)half : half;
}

HANDLER(dp4a)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A), *b = ROW(uint32_t, VGPU_B);
    const uint32_t *c = ROW(uint32_t, VGPU_C);
    bool sa = i->x & 1, sb = i->x & 2;

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        uint32_t sum = c[l];

        for (unsigned n = 0; n < 4; n++)
            sum += (uint32_t)(byte_of(a[l], n, sa) * byte_of(b[l], n, sb));
        if (LANE_ON(m, l))
            d[l] = sum;
    }
    return 0;
}

HANDLER(dp2a)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A), *b = ROW(uint32_t, VGPU_B);
    const uint32_t *c = ROW(uint32_t, VGPU_C);
    bool sa = i->x & 1, sb = i->x & 2;
    unsigned first = i->y ? 2 : 0;

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        uint32_t sum = c[l];

        for (unsigned n = 0; n < 2; n++)
            sum += (uint32_t)(half_of(a[l], n, sa) * byte_of(b[l], first + n, sb));
        if (LANE_ON(m, l))
            d[l] = sum;
    }
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_integer)[] = {
    UNARY_OPS(OP_ENTRY) BINARY_OPS(OP_ENTRY) SCALAR_OPS(OP_ENTRY) TERNARY_OPS(OP_ENTRY)
        CARRY_OPS(OP_ENTRY) MAD_CARRY_OPS(OP_ENTRY) OP_ENTRY(dp4a) OP_ENTRY(dp2a) OP_END};
