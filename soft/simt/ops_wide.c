/* SPDX-License-Identifier: MIT */
/* Registers of 128 bits: moved, packed, loaded, stored, exchanged. */
#include "soft/simt/access.h"

struct wide {
    uint64_t low, high;
} __attribute__((aligned(16)));

/* As single accesses: aligned ones of 16 bytes are, on every processor with AVX. */
static inline struct wide read_wide(const uint8_t *from)
{
    struct wide v;

    _mm_store_si128((__m128i *)&v, _mm_load_si128((const __m128i *)from));
    return v;
}

static inline void write_wide(uint8_t *to, struct wide v)
{
    _mm_store_si128((__m128i *)to, _mm_load_si128((const __m128i *)&v));
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

HANDLER(mov_b128)
{
    struct wide *d = ROW(struct wide, VGPU_D);
    const struct wide *a = ROW(struct wide, VGPU_A);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l))
            d[l] = a[l];
    }
    return 0;
}

HANDLER(pack_128_64)
{
    struct wide *d = ROW(struct wide, VGPU_D);
    const uint64_t *a = ROW(uint64_t, VGPU_A), *b = ROW(uint64_t, VGPU_B);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l))
            d[l] = (struct wide){a[l], b[l]};
    }
    return 0;
}

HANDLER(unpack_128_64)
{
    uint64_t *d = ROW(uint64_t, VGPU_D), *b = ROW(uint64_t, VGPU_B);
    const struct wide *a = ROW(struct wide, VGPU_A);

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l)) {
            d[l] = a[l].low;
            b[l] = a[l].high;
        }
    }
    return 0;
}

HANDLER(ld_u128_128)
{
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 16, 16, at) != 0)
        return -1;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l))
            ROW(struct wide, VGPU_D)[l] = read_wide(at[l]);
    }
    return 0;
}

HANDLER(st_b128_128)
{
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 16, 16, at) != 0)
        return -1;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        if (LANE_ON(m, l))
            write_wide(at[l], ROW(struct wide, VGPU_D)[l]);
    }
    return 0;
}

/* Puts `to` there if `expected` is; returns what was there. */
static inline struct wide exchange(uint8_t *at, struct wide expected, struct wide to)
{
    __asm__ volatile("lock cmpxchg16b %0"
                     : "+m"(*(struct wide *)at), "+a"(expected.low), "+d"(expected.high)
                     : "b"(to.low), "c"(to.high)
                     : "cc", "memory");
    return expected;
}

HANDLER(atom_cas_b128)
{
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 16, 16, at) != 0)
        return -1;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        struct wide old;

        if (!LANE_ON(m, l))
            continue;
        old = exchange(at[l], ROW(struct wide, VGPU_B)[l], ROW(struct wide, VGPU_C)[l]);
        if (i->y)
            ROW(struct wide, VGPU_D)[l] = old;
    }
    return 0;
}

HANDLER(atom_exch_b128)
{
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 16, 16, at) != 0)
        return -1;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        struct wide old, seen;

        if (!LANE_ON(m, l))
            continue;
        seen = read_wide(at[l]);
        do {
            old = seen;
            seen = exchange(at[l], old, ROW(struct wide, VGPU_B)[l]);
        } while (seen.low != old.low || seen.high != old.high);
        if (i->y)
            ROW(struct wide, VGPU_D)[l] = old;
    }
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_wide)[] = {
    OP_ENTRY(mov_b128) OP_ENTRY(pack_128_64) OP_ENTRY(unpack_128_64) OP_ENTRY(ld_u128_128)
        OP_ENTRY(st_b128_128) OP_ENTRY(atom_cas_b128) OP_ENTRY(atom_exch_b128) OP_END};
