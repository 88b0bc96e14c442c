/* SPDX-License-Identifier: MIT */
/* What lanes do together, and special registers. */
#include <time.h>
#include <x86intrin.h>

#include "soft/simt/lanes.h"

/* ---- collective operations; the scheduler has gathered the lanes ---- */

/* Which lane each one reads from, and whether that is inside its segment: the lane `EXPR` of own
   lane l, offset n, first lane of the segment `least` and its bound `most`. */
#define SHUFFLE_LANES(EXPR, INSIDE)                                                                \
    LANE_LOOP                                                                                      \
    {                                                                                              \
        int32_t n = (int32_t)(b[l] & 31), segment = (int32_t)(c[l] >> 8 & 31);                     \
        int32_t lane = (int32_t)l, least = lane & segment, from;                                   \
        int32_t most = least | ((int32_t)(c[l] & 31) & ~segment);                                  \
        bool in;                                                                                   \
        (void)least;                                                                               \
        from = (EXPR);                                                                             \
        in = (INSIDE);                                                                             \
        source[l] = in ? from & 31 : lane;                                                         \
        inside[l] = in;                                                                            \
    }

/* x: up down bfly idx. The segment and the bound are packed in C. */
HANDLER(shfl)
{
    uint32_t *d = ROW(uint32_t, VGPU_D), a[VGPU_LANES], good;
    const uint32_t *b = ROW(uint32_t, VGPU_B), *c = ROW(uint32_t, VGPU_C);
    int32_t source[VGPU_LANES];
    uint32_t inside[VGPU_LANES];

    memcpy(a, ROW(uint32_t, VGPU_A), sizeof(a));
    switch (i->x) {
    case 0:
        SHUFFLE_LANES(lane - n, from >= most)
        break;
    case 1:
        SHUFFLE_LANES(lane + n, from <= most)
        break;
    case 2:
        SHUFFLE_LANES(lane ^ n, from <= most)
        break;
    default:
        SHUFFLE_LANES(least | (n & ~segment), from <= most)
        break;
    }
    STORE_LANES(d, m, a[source[l]]);
    if (i->row[VGPU_E] != 0) {
        good = COLLECT_LANES(inside[l] != 0);
        MASK(VGPU_E) = (MASK(VGPU_E) & ~m) | (good & m);
    }
    return 0;
}

/* The lanes that vote with lane l: those of its member mask that are here. */
static inline uint32_t voters(const struct vgpu_warp *w, const struct vgpu_inst *i, uint32_t m,
                              unsigned l)
{
    return m & ROW(const uint32_t, VGPU_F)[l];
}

HANDLER(vote)
{
    uint32_t a = MASK(VGPU_A) ^ (i->z ? UINT32_MAX : 0), result = 0;

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        uint32_t members = voters(w, i, m, l), yes = a & members;
        bool vote = i->x == 0 ? yes == members : i->x == 1 ? yes != 0 : yes == 0 || yes == members;

        result |= (uint32_t)vote << l;
    }
    MASK(VGPU_D) = (MASK(VGPU_D) & ~m) | (result & m);
    return 0;
}

HANDLER(ballot)
{
    uint32_t *d = ROW(uint32_t, VGPU_D), a = MASK(VGPU_A) ^ (i->z ? UINT32_MAX : 0);
    const uint32_t *f = ROW(uint32_t, VGPU_F);

    STORE_LANES(d, m, a & m & f[l]);
    return 0;
}

#define DEFINE_MATCH(name, T, ALL)                                                                 \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint32_t *d = ROW(uint32_t, VGPU_D), same[VGPU_LANES], all = 0;                            \
        const T *a = ROW(T, VGPU_A);                                                               \
        for (unsigned k = 0; k < VGPU_LANES; k++) {                                                \
            uint32_t members = voters(w, i, m, k);                                                 \
            same[k] = members & COLLECT_LANES(a[l] == a[k]);                                       \
            all |= (uint32_t)(same[k] == members) << k;                                            \
            if (ALL)                                                                               \
                same[k] = same[k] == members ? members : 0;                                        \
        }                                                                                          \
        STORE_LANES(d, m, same[l]);                                                                \
        if (i->row[VGPU_E] != 0)                                                                   \
            MASK(VGPU_E) = (MASK(VGPU_E) & ~m) | (all & m);                                        \
        return 0;                                                                                  \
    }

#define MATCH_OPS(X)                                                                               \
    X(match_any_b32, uint32_t, false)                                                              \
    X(match_any_b64, uint64_t, false)                                                              \
    X(match_all_b32, uint32_t, true)                                                               \
    X(match_all_b64, uint64_t, true)
MATCH_OPS(DEFINE_MATCH)

/* x: add min max and or xor */
#define DEFINE_REDUX(name, T)                                                                      \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint32_t *d = ROW(uint32_t, VGPU_D), result[VGPU_LANES] = {0};                             \
        const T *a = ROW(T, VGPU_A);                                                               \
        for (uint32_t left = m; left != 0; left &= left - 1) {                                     \
            unsigned k = (unsigned)__builtin_ctz(left);                                            \
            uint32_t members = voters(w, i, m, k) & ~(UINT32_C(1) << k);                           \
            T r = a[k];                                                                            \
            for (; members != 0; members &= members - 1) {                                         \
                T b = a[__builtin_ctz(members)];                                                   \
                r = i->x == 0   ? (T)((uint32_t)r + (uint32_t)b)                                   \
                    : i->x == 1 ? (b < r ? b : r)                                                  \
                    : i->x == 2 ? (b > r ? b : r)                                                  \
                    : i->x == 3 ? r & b                                                            \
                    : i->x == 4 ? r | b                                                            \
                                : r ^ b;                                                           \
            }                                                                                      \
            result[k] = (uint32_t)r;                                                               \
        }                                                                                          \
        STORE_LANES(d, m, result[l]);                                                              \
        return 0;                                                                                  \
    }
#define REDUX_OPS(X) X(redux_u32, uint32_t) X(redux_s32, int32_t)
REDUX_OPS(DEFINE_REDUX)

HANDLER(elect)
{
    uint32_t *d = ROW(uint32_t, VGPU_D), elected = 0;
    uint32_t leader[VGPU_LANES];

    for (unsigned l = 0; l < VGPU_LANES; l++) {
        uint32_t members = voters(w, i, m, l);

        leader[l] = members == 0 ? l : (uint32_t)__builtin_ctz(members);
        elected |= (uint32_t)(leader[l] == l) << l;
    }
    STORE_LANES(d, m, leader[l]);
    if (i->row[VGPU_E] != 0)
        MASK(VGPU_E) = (MASK(VGPU_E) & ~m) | (elected & m);
    return 0;
}

HANDLER(activemask)
{
    uint32_t *d = ROW(uint32_t, VGPU_D), active = w->mask;

    STORE_LANES(d, m, active);
    return 0;
}

/* ---- special registers; x: axis ---- */

static inline uint64_t nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

#define DEFINE_SPECIAL(name, T, EXPR)                                                              \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        T *d = ROW(T, VGPU_D), value = (T)(EXPR);                                                  \
        STORE_LANES(d, m, value);                                                                  \
        return 0;                                                                                  \
    }

#define DEFINE_LANE_SPECIAL(name, EXPR)                                                            \
    HANDLER(name)                                                                                  \
    {                                                                                              \
        uint32_t *d = ROW(uint32_t, VGPU_D);                                                       \
        STORE_LANES(d, m, (EXPR));                                                                 \
        return 0;                                                                                  \
    }

/* clang-format off */
#define SPECIAL_OPS(X)                                                                             \
    X(sreg_ntid, uint32_t, w->block->launch->block[i->x])                                          \
    X(sreg_ctaid, uint32_t, w->block->id[i->x])                                                    \
    X(sreg_nctaid, uint32_t, w->block->launch->grid[i->x])                                         \
    X(sreg_clusterid, uint32_t, w->block->id[i->x] / w->block->cluster->shape[i->x])               \
    X(sreg_nclusterid, uint32_t,                                                                   \
      w->block->launch->grid[i->x] / w->block->cluster->shape[i->x])                               \
    X(sreg_cluster_ctaid, uint32_t, w->block->id[i->x] % w->block->cluster->shape[i->x])           \
    X(sreg_cluster_nctaid, uint32_t, w->block->cluster->shape[i->x])                               \
    X(sreg_cluster_ctarank, uint32_t, w->block->rank)                                              \
    X(sreg_cluster_nctarank, uint32_t, w->block->cluster->count)                                   \
    X(sreg_none, uint64_t, 0)                                                                      \
    X(sreg_warpid, uint32_t, w->index)                                                             \
    X(sreg_nwarpid, uint32_t, w->block->warp_count)                                                \
    X(sreg_smid, uint32_t, w->block->worker)                                                       \
    X(sreg_nsmid, uint32_t, w->block->worker_count)                                                \
    X(sreg_gridid, uint64_t, w->block->grid_id)                                                    \
    X(sreg_envreg1, uint32_t, w->block->workspace >> 32)                                           \
    X(sreg_envreg2, uint32_t, w->block->workspace)                                                 \
    X(sreg_clock, uint32_t, __rdtsc())                                                             \
    X(sreg_clock_hi, uint32_t, __rdtsc() >> 32)                                                    \
    X(sreg_clock64, uint64_t, __rdtsc())                                                           \
    X(sreg_globaltimer, uint64_t, nanoseconds())                                                   \
    X(sreg_globaltimer_lo, uint32_t, nanoseconds())                                                \
    X(sreg_globaltimer_hi, uint32_t, nanoseconds() >> 32)                                          \
    X(sreg_dynamic_smem_size, uint32_t, w->block->launch->dynamic_shared_bytes)                    \
    X(sreg_reserved_begin, uint32_t, w->block->reserved_shared)                                    \
    X(sreg_reserved_end, uint32_t, w->block->reserved_shared + VGPU_RESERVED_SHARED)               \
    X(sreg_reserved_cap, uint32_t, VGPU_RESERVED_SHARED)                                           \
    X(sreg_total_smem_size, uint32_t, w->block->total_shared)                                      \
    X(sreg_dynamic_shared, uint32_t, w->block->kernel->dynamic_shared)

#define LANE_SPECIAL_OPS(X)                                                                        \
    X(sreg_tid, w->tid[i->x][l])                                                                   \
    X(sreg_number, w->block->id[i->x] * w->block->launch->block[i->x] + w->tid[i->x][l])           \
    X(sreg_laneid, l)                                                                              \
    X(sreg_lanemask_eq, UINT32_C(1) << l)                                                          \
    X(sreg_lanemask_lt, (UINT32_C(1) << l) - 1)                                                    \
    X(sreg_lanemask_le, UINT32_MAX >> (31 - l))                                                    \
    X(sreg_lanemask_ge, UINT32_MAX << l)                                                           \
    X(sreg_lanemask_gt, UINT32_MAX << l << 1)
/* clang-format on */
SPECIAL_OPS(DEFINE_SPECIAL)
LANE_SPECIAL_OPS(DEFINE_LANE_SPECIAL)

HANDLER(sreg_is_explicit_cluster)
{
    uint32_t is = w->block->launch->explicit_cluster ? VGPU_ALL_LANES : 0;

    MASK(VGPU_D) = (MASK(VGPU_D) & ~m) | (is & m);
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_warp)[] = {
    OP_ENTRY(sreg_is_explicit_cluster) MATCH_OPS(OP_ENTRY) REDUX_OPS(OP_ENTRY) SPECIAL_OPS(OP_ENTRY)
        LANE_SPECIAL_OPS(OP_ENTRY) OP_ENTRY(shfl) OP_ENTRY(vote) OP_ENTRY(ballot) OP_ENTRY(elect)
            OP_ENTRY(activemask) OP_END};
