/* SPDX-License-Identifier: MIT */
/* Loads and stores. x: space, y: elements per lane, z: flags of the address. */
#include "soft/simt/access.h"
#include "soft/simt/segments.h"

static const uint8_t element_rows[4] = {VGPU_D, VGPU_B, VGPU_C, VGPU_E};

/* The row of element e: an operand, or one of a list if there are eight. */
static inline void *element_row(const struct vgpu_warp *w, const struct vgpu_inst *i, unsigned e)
{
    return row_of(w, i->y > 4 ? w->block->unit->lists[i->row[VGPU_LIST] + e]
                              : i->row[element_rows[e]]);
}

/* All elements of a lane with one access, up to 16 bytes, as hardware does it: programs put a value
   and a flag that says it is there side by side. Such an access is aligned to its size. */
static inline void access_whole(void *to, const void *from, uint32_t bytes)
{
    switch (bytes) {
    case 2:
        __atomic_store_n((uint16_t *)to, __atomic_load_n((const uint16_t *)from, __ATOMIC_ACQUIRE),
                         __ATOMIC_RELEASE);
        return;
    case 4:
        __atomic_store_n((uint32_t *)to, __atomic_load_n((const uint32_t *)from, __ATOMIC_ACQUIRE),
                         __ATOMIC_RELEASE);
        return;
    case 8:
        __atomic_store_n((uint64_t *)to, __atomic_load_n((const uint64_t *)from, __ATOMIC_ACQUIRE),
                         __ATOMIC_RELEASE);
        return;
    default:
        /* Aligned vector accesses of 16 bytes are single ones on every processor with AVX. */
        for (uint32_t at = 0; at < bytes; at += 16)
            _mm_store_si128((__m128i *)((char *)to + at),
                            _mm_load_si128((const __m128i *)((const char *)from + at)));
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        return;
    }
}

/* Lanes go to memory one by one with single accesses, so that no other thread sees half a value. */
#define DEFINE_LOAD(name, R, T)                                                                    \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint8_t *at[VGPU_LANES];                                                                   \
        uint32_t offset[VGPU_LANES];                                                               \
        const uint8_t *row = access_row(w, i, m, sizeof(T));                                       \
        if (row != NULL) {                                                                         \
            R *d = ROW(R, VGPU_D);                                                                 \
            const T *from = (const T *)row;                                                        \
            LANE_LOOP d[l] = (R)from[l];                                                           \
            return 0;                                                                              \
        }                                                                                          \
        if (i->y == 1 && access_shared(w, i, m, sizeof(T), offset)) {                              \
            R *d = ROW(R, VGPU_D);                                                                 \
            const uint8_t *shared = w->block->shared;                                              \
            if (sizeof(R) == 4 && sizeof(T) == 4) {                                                \
                gather16(shared, offset, (uint32_t *)d);                                           \
                gather16(shared, offset + 16, (uint32_t *)d + 16);                                 \
                return 0;                                                                          \
            }                                                                                      \
            for (unsigned l = 0; l < VGPU_LANES; l++)                                              \
                d[l] = (R) * (const T *)(shared + offset[l]);                                      \
            return 0;                                                                              \
        }                                                                                          \
        if (access_lanes(w, i, m, (uint32_t)sizeof(T) * i->y, (uint32_t)sizeof(T) * i->y, at) !=   \
            0)                                                                                     \
            return -1;                                                                             \
        if (i->z & VGPU_ORDERED)                                                                   \
            w->budget -= 16;                                                                       \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            if (!LANE_ON(m, l))                                                                    \
                continue;                                                                          \
            if (i->y == 1) {                                                                       \
                ROW(R, VGPU_D)[l] = (R)__atomic_load_n((const T *)at[l], __ATOMIC_ACQUIRE);        \
                continue;                                                                          \
            }                                                                                      \
            _Alignas(32) T whole[32 / sizeof(T)] = {0};                                            \
            access_whole(whole, at[l], (uint32_t)sizeof(T) * i->y);                                \
            for (unsigned e = 0; e < i->y; e++)                                                    \
                ((R *)element_row(w, i, e))[l] = (R)whole[e];                                      \
        }                                                                                          \
        return 0;                                                                                  \
    }

#define DEFINE_STORE(name, R, T)                                                                   \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint8_t *at[VGPU_LANES], *row = access_row(w, i, m, sizeof(T));                            \
        uint32_t offset[VGPU_LANES];                                                               \
        if (row != NULL) {                                                                         \
            const R *from = ROW(R, VGPU_D);                                                        \
            T *to = (T *)row;                                                                      \
            LANE_LOOP to[l] = (T)from[l];                                                          \
            return 0;                                                                              \
        }                                                                                          \
        if (i->y == 1 && access_shared(w, i, m, sizeof(T), offset)) {                              \
            const R *from = ROW(R, VGPU_D);                                                        \
            uint8_t *shared = w->block->shared;                                                    \
            for (unsigned l = 0; l < VGPU_LANES; l++)                                              \
                *(T *)(shared + offset[l]) = (T)from[l];                                           \
            return 0;                                                                              \
        }                                                                                          \
        if (access_lanes(w, i, m, (uint32_t)sizeof(T) * i->y, (uint32_t)sizeof(T) * i->y, at) !=   \
            0)                                                                                     \
            return -1;                                                                             \
        for (unsigned l = 0; l < VGPU_LANES; l++) {                                                \
            _Alignas(32) T whole[32 / sizeof(T)];                                                  \
            if (!LANE_ON(m, l))                                                                    \
                continue;                                                                          \
            if (i->y == 1) {                                                                       \
                __atomic_store_n((T *)at[l], (T)ROW(R, VGPU_D)[l], __ATOMIC_RELEASE);              \
                continue;                                                                          \
            }                                                                                      \
            for (unsigned e = 0; e < i->y; e++)                                                    \
                whole[e] = (T)((R *)element_row(w, i, e))[l];                                      \
            access_whole(at[l], whole, (uint32_t)sizeof(T) * i->y);                                \
        }                                                                                          \
        return 0;                                                                                  \
    }

/* ---- the same with addresses that may be a line ---- */

#define DEFINE_SHAPED_LOAD(name, R, T)                                                             \
    HANDLER(shaped_##name)                                                                         \
    {                                                                                              \
        R *d = ROW(R, VGPU_D);                                                                     \
        struct segments s;                                                                         \
        if ((i->z & VGPU_ORDERED) != 0 || !find_segments(w, i, m, sizeof(T), &s))                  \
            return on_lanes(w, i, m);                                                              \
        if (sizeof(R) >= 4 && i->x != VGPU_SPACE_SHARED)                                           \
            fetch_ahead(vgpu_shape_of(d), &s);                                                     \
        LOAD_SEGMENTS(d, R, T, s);                                                                 \
        return 0;                                                                                  \
    }

#define DEFINE_SHAPED_STORE(name, R, T)                                                            \
    HANDLER(shaped_##name)                                                                         \
    {                                                                                              \
        const R *from = ROW(R, VGPU_D);                                                            \
        struct segments s;                                                                         \
        if (!find_segments(w, i, m, sizeof(T), &s))                                                \
            return on_lanes(w, i, m);                                                              \
        expand_sources(w, i, 1u << VGPU_D);                                                        \
        STORE_SEGMENTS(from, R, T, s);                                                             \
        return 0;                                                                                  \
    }

/* A kernel's parameter by name: imm was checked when the text was read. */
#define DEFINE_PARAMETER(name, R, T)                                                               \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        R *d = ROW(R, VGPU_D), value;                                                              \
        T from;                                                                                    \
        memcpy(&from, (const uint8_t *)w->block->launch->parameters + i->imm, sizeof(from));       \
        value = (R)from;                                                                           \
        STORE_LANES(d, m, value);                                                                  \
        return 0;                                                                                  \
    }

/* clang-format off */
#define FROM_MEMORY(X, P)                                                                          \
    X(P##_u8_16, uint16_t, uint8_t) X(P##_u8_32, uint32_t, uint8_t) X(P##_u8_64, uint64_t, uint8_t)\
    X(P##_s8_16, uint16_t, int8_t) X(P##_s8_32, uint32_t, int8_t) X(P##_s8_64, uint64_t, int8_t)   \
    X(P##_u16_16, uint16_t, uint16_t) X(P##_u16_32, uint32_t, uint16_t)                            \
    X(P##_u16_64, uint64_t, uint16_t)                                                              \
    X(P##_s16_32, uint32_t, int16_t) X(P##_s16_64, uint64_t, int16_t)                              \
    X(P##_u32_32, uint32_t, uint32_t) X(P##_u32_64, uint64_t, uint32_t)                            \
    X(P##_s32_64, uint64_t, int32_t) X(P##_u64_64, uint64_t, uint64_t)
#define TO_MEMORY(X)                                                                               \
    X(st_b8_16, uint16_t, uint8_t) X(st_b8_32, uint32_t, uint8_t) X(st_b8_64, uint64_t, uint8_t)   \
    X(st_b16_16, uint16_t, uint16_t) X(st_b16_32, uint32_t, uint16_t)                              \
    X(st_b16_64, uint64_t, uint16_t) X(st_b32_32, uint32_t, uint32_t)                              \
    X(st_b32_64, uint64_t, uint32_t) X(st_b64_64, uint64_t, uint64_t)
/* clang-format on */

FROM_MEMORY(DEFINE_LOAD, ld)
FROM_MEMORY(DEFINE_PARAMETER, ldp)
TO_MEMORY(DEFINE_STORE)
FROM_MEMORY(DEFINE_SHAPED_LOAD, ld)
TO_MEMORY(DEFINE_SHAPED_STORE)

HANDLER(isspacep)
{
    const uint64_t *a = ROW(uint64_t, VGPU_A);
    uint64_t window = i->x == VGPU_SPACE_SHARED  ? VGPU_WINDOW_SHARED
                      : i->x == VGPU_SPACE_LOCAL ? VGPU_WINDOW_LOCAL
                      : i->x == VGPU_SPACE_PARAM ? VGPU_WINDOW_PARAM
                                                 : 0;
    /* y: of the block's own shared memory, not of the others' in its cluster */
    uint64_t size = i->y ? UINT64_C(1) << VGPU_RANK_SHIFT : VGPU_WINDOW_BYTES;
    bool constant = i->x == VGPU_SPACE_CONST;
    uint32_t test = window == 0 ? COLLECT_LANES(a[l] < VGPU_WINDOW_SHARED)
                                : COLLECT_LANES(a[l] - window < size);

    /* Constants are variables in device memory. */
    for (unsigned l = 0; window == 0 && l < VGPU_LANES; l++) {
        if (LANE_ON(m & test, l) && vgpu_is_constant(w->block, a[l]) != constant)
            test &= ~(UINT32_C(1) << l);
    }
    MASK(VGPU_D) = (MASK(VGPU_D) & ~m) | (test & m);
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_memory)[] = {
    FROM_MEMORY(OP_ENTRY, ld) FROM_MEMORY(SHAPED_ENTRY, ld) TO_MEMORY(SHAPED_ENTRY)
        FROM_MEMORY(OP_ENTRY, ldp) TO_MEMORY(OP_ENTRY) OP_ENTRY(isspacep) OP_END};
