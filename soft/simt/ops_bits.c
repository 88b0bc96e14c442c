/* SPDX-License-Identifier: MIT */
/* Logic, shifts, bit fields, permutation, packing, predicates, selection. */
#include "soft/simt/lanes.h"

static inline uint32_t reverse32(uint32_t a)
{
    a = (a >> 1 & 0x55555555u) | (a & 0x55555555u) << 1;
    a = (a >> 2 & 0x33333333u) | (a & 0x33333333u) << 2;
    a = (a >> 4 & 0x0f0f0f0fu) | (a & 0x0f0f0f0fu) << 4;
    return __builtin_bswap32(a);
}

static inline uint64_t reverse64(uint64_t a)
{
    return (uint64_t)reverse32((uint32_t)a) << 32 | reverse32((uint32_t)(a >> 32));
}

static inline uint32_t find32(uint32_t a, bool amount)
{
    return a == 0   ? UINT32_MAX
           : amount ? (uint32_t)__builtin_clz(a)
                    : 31u - (uint32_t)__builtin_clz(a);
}

static inline uint32_t find64(uint64_t a, bool amount)
{
    uint32_t zeros = a == 0 ? 0 : (uint32_t)__builtin_clzll(a);

    return a == 0 ? UINT32_MAX : amount ? zeros : 63u - zeros;
}

/* Bits beyond the value are zero, or its sign. Of position and length, the 32-bit forms only look
   at the low 8 bits. */
static inline uint64_t extract(uint64_t a, uint64_t position, uint64_t length, uint32_t bits,
                               bool is_signed)
{
    uint64_t sign = 0, value;

    if (bits == 32) {
        position &= 0xff;
        length &= 0xff;
    }
    if (is_signed && length != 0) {
        uint64_t top = position + length - 1 < bits - 1 ? position + length - 1 : bits - 1;

        sign = 0 - (a >> top & 1);
    }
    if (position >= bits)
        value = sign;
    else
        value = a >> position |
                (position == 0 || bits - position >= 64 ? 0 : sign << (bits - position));
    if (length >= 64)
        return value;
    return (value & ((UINT64_C(1) << length) - 1)) | (sign & (UINT64_MAX << length));
}

static inline uint64_t insert(uint64_t a, uint64_t b, uint64_t position, uint64_t length,
                              uint32_t bits)
{
    uint64_t field;

    if (bits == 32) {
        position &= 0xff;
        length &= 0xff;
    }
    if (position >= bits || length == 0)
        return b;
    field = length >= 64 ? UINT64_MAX : (UINT64_C(1) << length) - 1;
    field <<= position;
    return (b & ~field) | (a << position & field);
}

#define SHL(a, b, N) ((b) >= (N) ? 0 : (a) << (b))
#define SHR(a, b, N) ((b) >= (N) ? 0 : (a) >> (b))
#define SAR(a, b, N) ((a) >> ((b) >= (N) ? (N)-1 : (b)))

/* clang-format off */
#define UNARY_OPS(X)                                                                               \
    X(not_b16, uint16_t, uint16_t, ~a)                                                             \
    X(not_b32, uint32_t, uint32_t, ~a)                                                             \
    X(not_b64, uint64_t, uint64_t, ~a)                                                             \
    X(cnot_b16, uint16_t, uint16_t, a == 0)                                                        \
    X(cnot_b32, uint32_t, uint32_t, a == 0)                                                        \
    X(cnot_b64, uint64_t, uint64_t, a == 0)                                                        \
    X(popc_b32, uint32_t, uint32_t, __builtin_popcount(a))                                         \
    X(popc_b64, uint32_t, uint64_t, __builtin_popcountll(a))                                       \
    X(clz_b32, uint32_t, uint32_t, a == 0 ? 32 : __builtin_clz(a))                                 \
    X(clz_b64, uint32_t, uint64_t, a == 0 ? 64 : __builtin_clzll(a))                               \
    X(brev_b32, uint32_t, uint32_t, reverse32(a))                                                  \
    X(brev_b64, uint64_t, uint64_t, reverse64(a))                                                  \
    X(bfind_u32, uint32_t, uint32_t, find32(a, i->x))                                              \
    X(bfind_s32, uint32_t, int32_t, find32((uint32_t)(a < 0 ? ~a : a), i->x))                      \
    X(bfind_u64, uint32_t, uint64_t, find64(a, i->x))                                              \
    X(bfind_s64, uint32_t, int64_t, find64((uint64_t)(a < 0 ? ~a : a), i->x))

/* The low n bits of a, extended; n is clamped to 32 or wraps there. */
static inline uint32_t extended(uint32_t a, uint32_t n, bool wrap, bool is_signed)
{
    n = wrap ? n & 31 : n > 32 ? 32 : n;
    if (n == 0 || n == 32)
        return n == 0 ? 0 : a;
    a <<= 32 - n;
    return is_signed ? (uint32_t)((int32_t)a >> (32 - n)) : a >> (32 - n);
}

/* n ones from bit `at` on */
static inline uint32_t ones(uint32_t at, uint32_t n, bool wrap)
{
    uint64_t mask;

    at = wrap ? at & 31 : at > 32 ? 32 : at;
    n = wrap ? n & 31 : n > 32 ? 32 : n;
    mask = (UINT64_C(1) << n) - 1;
    return (uint32_t)(mask << at);
}

#define LOGIC_OPS(X, N)                                                                            \
    X(and_b##N, uint##N##_t, uint##N##_t, uint##N##_t, a & b)                                      \
    X(or_b##N, uint##N##_t, uint##N##_t, uint##N##_t, a | b)                                       \
    X(xor_b##N, uint##N##_t, uint##N##_t, uint##N##_t, a ^ b)                                      \
    X(shl_b##N, uint##N##_t, uint##N##_t, uint32_t, SHL(a, b, N))                                  \
    X(shr_u##N, uint##N##_t, uint##N##_t, uint32_t, SHR(a, b, N))                                  \
    X(shr_s##N, int##N##_t, int##N##_t, uint32_t, SAR(a, b, N))

#define BINARY_OPS(X)                                                                              \
    LOGIC_OPS(X, 16) LOGIC_OPS(X, 32) LOGIC_OPS(X, 64)                                             \
    X(pack_32_16, uint32_t, uint16_t, uint16_t, (uint32_t)b << 16 | a)                             \
    X(szext_u32, uint32_t, uint32_t, uint32_t, extended(a, b, i->x, false))                        \
    X(szext_s32, uint32_t, uint32_t, uint32_t, extended(a, b, i->x, true))                         \
    X(bmsk_b32, uint32_t, uint32_t, uint32_t, ones(a, b, i->x))                                    \
    X(pack_16_8, uint16_t, uint16_t, uint16_t, b << 8 | (a & 0xff))                                \
    X(pack_64_32, uint64_t, uint32_t, uint32_t, (uint64_t)b << 32 | a)

#define TERNARY_OPS(X)                                                                             \
    X(bfe_u32, uint32_t, uint32_t, uint32_t, uint32_t, extract(a, b, c, 32, false))                \
    X(bfe_s32, uint32_t, uint32_t, uint32_t, uint32_t, extract(a, b, c, 32, true))                 \
    X(bfe_u64, uint64_t, uint64_t, uint32_t, uint32_t, extract(a, b, c, 64, false))                \
    X(bfe_s64, uint64_t, uint64_t, uint32_t, uint32_t, extract(a, b, c, 64, true))
/* clang-format on */

UNARY_OPS(DEFINE_UNARY)
/* cppcheck-suppress shiftTooManyBitsSigned ; compilers for this processor shift the sign in */
BINARY_OPS(DEFINE_BINARY)
TERNARY_OPS(DEFINE_TERNARY)

/* shf: x says whether the amount wraps at 32 or is clamped to it. */
#define DEFINE_SHF(name, result)                                                                   \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint32_t *d = ROW(uint32_t, VGPU_D);                                                       \
        const uint32_t *low = ROW(uint32_t, VGPU_A), *high = ROW(uint32_t, VGPU_B);                \
        const uint32_t *c = ROW(uint32_t, VGPU_C);                                                 \
        bool wrap = i->x;                                                                          \
                                                                                                   \
        STORE_LANES(d, m, ({                                                                       \
                        uint32_t n = wrap ? c[l] & 31 : c[l] > 32 ? 32 : c[l];                     \
                        uint64_t both = (uint64_t)high[l] << 32 | low[l];                          \
                                                                                                   \
                        (uint32_t)(result);                                                        \
                    }));                                                                           \
        return 0;                                                                                  \
    }

DEFINE_SHF(shf_l, both << n >> 32)
DEFINE_SHF(shf_r, both >> n)

#define DEFINE_INSERT(name, T, N)                                                                  \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *a = ROW(T, VGPU_A), *b = ROW(T, VGPU_B);                                          \
        const uint32_t *c = ROW(uint32_t, VGPU_C), *e = ROW(uint32_t, VGPU_E);                     \
        STORE_LANES(d, m, (T)insert(a[l], b[l], c[l], e[l], N));                                   \
        return 0;                                                                                  \
    }

#define INSERT_OPS(X) X(bfi_b32, uint32_t, 32) X(bfi_b64, uint64_t, 64)
INSERT_OPS(DEFINE_INSERT)

/* The table's bit for each of the eight cases of the inputs: one of a few shapes is common. */
HANDLER(lop3)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A), *b = ROW(uint32_t, VGPU_B);
    const uint32_t *c = ROW(uint32_t, VGPU_C);
    uint32_t t[8];

    for (unsigned n = 0; n < 8; n++)
        t[n] = 0u - (uint32_t)(i->imm >> n & 1);
    STORE_LANES(d, m, ({
                    uint32_t x = a[l], y = b[l], z = c[l];
                    uint32_t yz = (t[3] & z) | (t[2] & ~z), ynz = (t[1] & z) | (t[0] & ~z);
                    uint32_t xyz = (t[7] & z) | (t[6] & ~z), xnz = (t[5] & z) | (t[4] & ~z);

                    (x & ((y & xyz) | (~y & xnz))) | (~x & ((y & yz) | (~y & ynz)));
                }));
    return 0;
}

HANDLER(prmt)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A), *b = ROW(uint32_t, VGPU_B);
    const uint32_t *c = ROW(uint32_t, VGPU_C);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        uint64_t both = (uint64_t)b[l] << 32 | a[l];
        uint32_t result = 0;

        for (unsigned n = 0; n < 4; n++) {
            uint32_t select = c[l] >> 4 * n & 15;
            uint32_t byte = (uint32_t)(both >> 8 * (select & 7)) & 0xff;

            if (select & 8)
                byte = byte & 0x80 ? 0xff : 0;
            result |= byte << 8 * n;
        }
        if (LANE_ON(m, l))
            d[l] = result;
    }
    return 0;
}

/* prmt with a mode (x: f4e b4e rc8 ecl ecr rc16 from 1): which byte goes where, by c's low bits */
HANDLER(prmt_mode)
{
    static const uint16_t selectors[6][4] = {
        {0x3210, 0x4321, 0x5432, 0x6543}, {0x5670, 0x6701, 0x7012, 0x0123},
        {0x0000, 0x1111, 0x2222, 0x3333}, {0x3210, 0x3211, 0x3222, 0x3333},
        {0x0000, 0x1110, 0x2210, 0x3210}, {0x1010, 0x3232, 0x1010, 0x3232},
    };
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A), *b = ROW(uint32_t, VGPU_B);
    const uint32_t *c = ROW(uint32_t, VGPU_C);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        uint64_t both = (uint64_t)b[l] << 32 | a[l];
        uint32_t select = selectors[i->x - 1][c[l] & 3], result = 0;

        for (unsigned n = 0; n < 4; n++)
            result |= ((uint32_t)(both >> 8 * (select >> 4 * n & 7)) & 0xff) << 8 * n;
        if (LANE_ON(m, l))
            d[l] = result;
    }
    return 0;
}

/* fns: the n-th set bit of a, counted from bit b upwards, or downwards if n is negative */
static uint32_t find_nth(uint32_t a, uint32_t base, int32_t n)
{
    if (base > 31 || n == 0)
        return n == 0 && base <= 31 && (a >> base & 1) ? base : UINT32_MAX;
    for (int32_t at = (int32_t)base; at >= 0 && at<32; at += n> 0 ? 1 : -1) {
        if ((a >> at & 1) != 0 && (n > 0 ? --n : ++n) == 0)
            return (uint32_t)at;
    }
    return UINT32_MAX;
}

HANDLER(fns)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint32_t *a = ROW(uint32_t, VGPU_A), *b = ROW(uint32_t, VGPU_B);
    const int32_t *c = ROW(int32_t, VGPU_C);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l))
            d[l] = find_nth(a[l], b[l], c[l]);
    }
    return 0;
}

HANDLER(pack_64_16)
{
    uint64_t *d = ROW(uint64_t, VGPU_D);
    const uint16_t *a = ROW(uint16_t, VGPU_A), *b = ROW(uint16_t, VGPU_B);
    const uint16_t *c = ROW(uint16_t, VGPU_C), *e = ROW(uint16_t, VGPU_E);

    STORE_LANES(
        d, m, (uint64_t)e[l] << 48 | (uint64_t)c[l] << 32 | (uint64_t)b[l] << 16 | (uint64_t)a[l]);
    return 0;
}

HANDLER(pack_32_8)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint16_t *a = ROW(uint16_t, VGPU_A), *b = ROW(uint16_t, VGPU_B);
    const uint16_t *c = ROW(uint16_t, VGPU_C), *e = ROW(uint16_t, VGPU_E);

    STORE_LANES(d, m,
                (uint32_t)(uint8_t)e[l] << 24 | (uint32_t)(uint8_t)c[l] << 16 |
                    (uint32_t)(uint8_t)b[l] << 8 | (uint8_t)a[l]);
    return 0;
}

/* The source may be one of the destinations' rows only if widths are equal: they never are. */
#define DEFINE_UNPACK(name, TD, TA, SHIFT, ...)                                                    \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        static const uint8_t to[] = {__VA_ARGS__};                                                 \
        const TA *a = ROW(TA, VGPU_A);                                                             \
        for (unsigned n = 0; n < sizeof(to); n++) {                                                \
            TD *d = ROW(TD, to[n]);                                                                \
            STORE_LANES(d, m, (TD)(a[l] >> (SHIFT)*n));                                            \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define UNPACK_OPS(X)                                                                              \
    X(unpack_32_16, uint16_t, uint32_t, 16, VGPU_D, VGPU_B)                                        \
    X(unpack_64_32, uint32_t, uint64_t, 32, VGPU_D, VGPU_B)                                        \
    X(unpack_32_8, uint16_t, uint32_t, 8, VGPU_D, VGPU_B, VGPU_C, VGPU_E)                          \
    X(unpack_64_16, uint16_t, uint64_t, 16, VGPU_D, VGPU_B, VGPU_C, VGPU_E)
UNPACK_OPS(DEFINE_UNPACK)

/* ---- predicates ---- */

static inline void set_mask(uint32_t *d, uint32_t m, uint32_t value)
{
    *d = (*d & ~m) | (value & m);
}

#define DEFINE_PREDICATE(name, EXPR)                                                               \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        set_mask(&MASK(VGPU_D), m, EXPR);                                                          \
        return 0;                                                                                  \
    }

#define PREDICATE_OPS(X)                                                                           \
    X(mov_pred, MASK(VGPU_A) ^ (i->z ? UINT32_MAX : 0))                                            \
    X(not_pred, ~MASK(VGPU_A))                                                                     \
    X(and_pred, MASK(VGPU_A) & MASK(VGPU_B))                                                       \
    X(or_pred, MASK(VGPU_A) | MASK(VGPU_B))                                                        \
    X(xor_pred, MASK(VGPU_A) ^ MASK(VGPU_B))
PREDICATE_OPS(DEFINE_PREDICATE)

/* ---- selection ---- */

#define DEFINE_SELP(name, T)                                                                       \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *a = ROW(T, VGPU_A), *b = ROW(T, VGPU_B);                                          \
        uint32_t c = MASK(VGPU_C);                                                                 \
        STORE_LANES(d, m, LANE_ON(c, l) ? a[l] : b[l]);                                            \
        return 0;                                                                                  \
    }

#define DEFINE_SLCT_INTEGER(name, T)                                                               \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *a = ROW(T, VGPU_A), *b = ROW(T, VGPU_B);                                          \
        const int32_t *c = ROW(int32_t, VGPU_C);                                                   \
        STORE_LANES(d, m, c[l] >= 0 ? a[l] : b[l]);                                                \
        return 0;                                                                                  \
    }

/* A negative subnormal counts as zero when subnormals are flushed; NaN selects b. */
#define DEFINE_SLCT_FLOAT(name, T)                                                                 \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D);                                                                     \
        const T *a = ROW(T, VGPU_A), *b = ROW(T, VGPU_B);                                          \
        const float *c = ROW(float, VGPU_C);                                                       \
        float least = i->y & VGPU_FTZ ? -0x1p-126f : 0.0f;                                         \
        bool open = i->y & VGPU_FTZ;                                                               \
        STORE_LANES(d, m, (open ? c[l] > least : c[l] >= least) ? a[l] : b[l]);                    \
        return 0;                                                                                  \
    }

#define SELP_OPS(X) X(selp_b16, uint16_t) X(selp_b32, uint32_t) X(selp_b64, uint64_t)
#define SLCT_INTEGER_OPS(X)                                                                        \
    X(slct_b16_s32, uint16_t) X(slct_b32_s32, uint32_t) X(slct_b64_s32, uint64_t)
#define SLCT_FLOAT_OPS(X)                                                                          \
    X(slct_b16_f32, uint16_t) X(slct_b32_f32, uint32_t) X(slct_b64_f32, uint64_t)
SELP_OPS(DEFINE_SELP)
SLCT_INTEGER_OPS(DEFINE_SLCT_INTEGER)
SLCT_FLOAT_OPS(DEFINE_SLCT_FLOAT)

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_bits)[] = {
    UNARY_OPS(OP_ENTRY) BINARY_OPS(OP_ENTRY) TERNARY_OPS(OP_ENTRY) INSERT_OPS(OP_ENTRY)
        UNPACK_OPS(OP_ENTRY) PREDICATE_OPS(OP_ENTRY) SELP_OPS(OP_ENTRY) SLCT_INTEGER_OPS(OP_ENTRY)
            SLCT_FLOAT_OPS(OP_ENTRY) OP_ENTRY(shf_l) OP_ENTRY(shf_r) OP_ENTRY(lop3) OP_ENTRY(prmt)
                OP_ENTRY(prmt_mode) OP_ENTRY(fns) OP_ENTRY(pack_64_16) OP_ENTRY(pack_32_8) OP_END};
