/* SPDX-License-Identifier: MIT */
/*
 * Copies that hardware does on the side, and the barriers in memory that tell of their end. Here a
 * copy is done when it is issued, which is a time that PTX allows.
 */
#include "soft/simt/access.h"
#include "soft/simt/barrier_word.h"
#include "soft/simt/reduce.h"

/* What looking at a barrier in vain costs of a group's turn: who is waited for should have it. */
#define VAIN_COST 2048

/* B: how many arrivals a phase needs */
HANDLER(mbarrier_init)
{
    const uint32_t *b = ROW(uint32_t, VGPU_B);
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 8, 8, at) != 0)
        return -1;
    EACH_LANE(m, l)
    {
        if (b[l] == 0 || b[l] > COUNT_MASK)
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, l, 0, 0);
        store_barrier(at[l], (uint64_t)b[l] << COUNT_BITS | b[l]);
    }
    return 0;
}

/* B: bytes; y: they have come (complete_tx), or are expected */
HANDLER(mbarrier_tx)
{
    const uint32_t *b = ROW(uint32_t, VGPU_B);
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 8, 8, at) != 0)
        return -1;
    EACH_LANE(m, l)
    store_barrier(at[l], i->y ? settled(with_bytes(load_barrier(at[l]), 0 - (uint64_t)b[l]))
                              : with_bytes(load_barrier(at[l]), b[l]));
    return 0;
}

#define ARRIVE_DROPS   1u /* the phases after this one need fewer */
#define ARRIVE_EXPECTS 2u /* B: bytes; one arrival */

/* D: the state before, unless its row is 0; B: arrivals or bytes; y: flags */
HANDLER(mbarrier_arrive)
{
    const uint32_t *b = ROW(uint32_t, VGPU_B);
    uint64_t *d = i->row[VGPU_D] != 0 ? ROW(uint64_t, VGPU_D) : NULL;
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 8, 8, at) != 0)
        return -1;
    EACH_LANE(m, l)
    {
        uint64_t v = load_barrier(at[l]), count = i->y & ARRIVE_EXPECTS ? 1 : b[l];

        if (count > (v & COUNT_MASK))
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_INSTRUCTION, l, 0, 0);
        if (d != NULL)
            d[l] = v;
        if (i->y & ARRIVE_EXPECTS)
            v = with_bytes(v, b[l]);
        if (i->y & ARRIVE_DROPS)
            v -= count << COUNT_BITS;
        store_barrier(at[l], settled(v - count));
    }
    return 0;
}

/* D: whether the phase of the state B (64 bits), or with y of the parity B, is over */
HANDLER(mbarrier_wait)
{
    uint32_t over = 0;
    uint8_t *at[VGPU_LANES];

    if (access_lanes(w, i, m, 8, 8, at) != 0)
        return -1;
    EACH_LANE(m, l)
    {
        bool odd = i->y ? ROW(uint32_t, VGPU_B)[l] & 1 : (ROW(uint64_t, VGPU_B)[l] & PHASE) != 0;

        over |= (uint32_t)(((load_barrier(at[l]) & PHASE) != 0) != odd) << l;
    }
    if (over == 0)
        w->budget -= VAIN_COST;
    MASK(VGPU_D) = (MASK(VGPU_D) & ~m) | over;
    return 0;
}

HANDLER(mbarrier_pending)
{
    uint32_t *d = ROW(uint32_t, VGPU_D);
    const uint64_t *a = ROW(uint64_t, VGPU_A);

    STORE_LANES(d, m, (uint32_t)(a[l] & COUNT_MASK));
    return 0;
}

/* ---- copies ---- */

/* To shared memory at A + imm, from global memory at B + C: E bytes of y, and zeros for the rest.
 */
HANDLER(cp_async)
{
    const uint64_t *b = ROW(uint64_t, VGPU_B), *c = ROW(uint64_t, VGPU_C);
    const uint32_t *e = ROW(uint32_t, VGPU_E);
    uint8_t *to[VGPU_LANES];

    if (access_lanes(w, i, m, i->y, i->y, to) != 0)
        return -1;
    for (unsigned l = 0; l < VGPU_LANES; l++) {
        uint32_t bytes = e[l] < i->y ? e[l] : i->y;
        uint64_t from = b[l] + c[l];

        if (!LANE_ON(m, l))
            continue;
        if ((from & (i->y - 1u)) != 0)
            return vgpu_warp_fault(w, VGPU_FAULT_MISALIGNED_ADDRESS, l, from, bytes);
        if (bytes > 0 && !vgpu_pages_valid(w->block->pages, from, bytes) &&
            !vgpu_memory_reaches(w->block->memory, from, bytes))
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, from, bytes);
        if (bytes > 0)
            memcpy(to[l], (const void *)(uintptr_t)from, bytes);
        memset(to[l] + bytes, 0, i->y - bytes);
    }
    return 0;
}

/* The host address of `bytes` bytes at a generic address, or NULL and a fault. */
static uint8_t *bulk(struct vgpu_warp *w, uint32_t lane, uint64_t address, uint32_t bytes,
                     uint32_t align)
{
    uint8_t *at;

    if (address % align != 0) {
        vgpu_warp_fault(w, VGPU_FAULT_MISALIGNED_ADDRESS, lane, address, bytes);
        return NULL;
    }
    at = vgpu_warp_generic(w, lane, address, bytes);
    if (at == NULL)
        vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, lane, address, bytes);
    return at;
}

/* A copy for one lane to one block. */
static int copy_bulk(struct vgpu_warp *w, uint32_t l, uint64_t target, uint64_t source,
                     uint32_t bytes, const uint64_t *counted)
{
    uint8_t *to, *barrier = NULL;
    const uint8_t *from;

    if (counted != NULL) {
        barrier = bulk(w, l, *counted, 8, 8);
        if (barrier == NULL)
            return -1;
    }
    if (bytes == 0)
        return 0;
    to = bulk(w, l, target, bytes, 16);
    from = to != NULL ? bulk(w, l, source, bytes, 16) : NULL;
    if (from == NULL)
        return -1;
    memmove(to, from, bytes);
    if (barrier != NULL)
        store_barrier(barrier, settled(with_bytes(load_barrier(barrier), 0 - (uint64_t)bytes)));
    return 0;
}

/* To A from B, C bytes; all addresses are generic. E, unless its row is 0: the barrier that the
   bytes are counted at. F, unless its row is 0: to the same place in each of these blocks. */
HANDLER(cp_async_bulk)
{
    const uint64_t *a = ROW(uint64_t, VGPU_A), *b = ROW(uint64_t, VGPU_B);
    const uint64_t *e = i->row[VGPU_E] != 0 ? ROW(uint64_t, VGPU_E) : NULL;
    const uint16_t *blocks = i->row[VGPU_F] != 0 ? ROW(uint16_t, VGPU_F) : NULL;
    const uint32_t *c = ROW(uint32_t, VGPU_C);

    EACH_LANE(m, l)
    {
        if (c[l] % 16 != 0)
            return vgpu_warp_fault(w, VGPU_FAULT_MISALIGNED_ADDRESS, l, a[l], c[l]);
        if (blocks == NULL && copy_bulk(w, l, a[l], b[l], c[l], e != NULL ? &e[l] : NULL) != 0)
            return -1;
        for (uint32_t left = blocks != NULL ? blocks[l] : 0; left != 0; left &= left - 1) {
            uint32_t rank = (uint32_t)__builtin_ctz(left);
            uint64_t counted = e != NULL ? in_block(w->block, e[l], rank) : 0;

            if (copy_bulk(w, l, in_block(w->block, a[l], rank), b[l], c[l],
                          e != NULL ? &counted : NULL) != 0)
                return -1;
        }
    }
    return 0;
}

/* The same, but what is there is reduced with: x: enum vgpu_reduction, y: of what type. */
HANDLER(cp_reduce_bulk)
{
    const uint64_t *a = ROW(uint64_t, VGPU_A), *b = ROW(uint64_t, VGPU_B);
    const uint64_t *e = i->row[VGPU_E] != 0 ? ROW(uint64_t, VGPU_E) : NULL;
    const uint32_t *c = ROW(uint32_t, VGPU_C);

    EACH_LANE(m, l)
    {
        uint8_t *to, *barrier = NULL;
        const uint8_t *from;

        if (c[l] % 16 != 0)
            return vgpu_warp_fault(w, VGPU_FAULT_MISALIGNED_ADDRESS, l, a[l], c[l]);
        if (e != NULL) {
            barrier = bulk(w, l, e[l], 8, 8);
            if (barrier == NULL)
                return -1;
        }
        if (c[l] == 0)
            continue;
        to = bulk(w, l, a[l], c[l], 16);
        from = to != NULL ? bulk(w, l, b[l], c[l], 16) : NULL;
        if (from == NULL)
            return -1;
        reduce_into(to, from, c[l], i->x, i->y);
        if (barrier != NULL)
            store_barrier(barrier, settled(with_bytes(load_barrier(barrier), 0 - (uint64_t)c[l])));
    }
    return 0;
}

/* Clears B bytes of shared memory at the generic address A. */
HANDLER(st_bulk)
{
    const uint64_t *a = ROW(uint64_t, VGPU_A), *b = ROW(uint64_t, VGPU_B);

    EACH_LANE(m, l)
    {
        uint8_t *to;

        if (b[l] > w->block->shared_bytes || a[l] - VGPU_WINDOW_SHARED >= VGPU_WINDOW_BYTES)
            return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, a[l], 8);
        to = b[l] == 0 ? NULL : bulk(w, l, a[l], (uint32_t)b[l], 8);
        if (to == NULL && b[l] != 0)
            return -1;
        if (to != NULL)
            memset(to, 0, b[l]);
    }
    return 0;
}

/* ---- clusters ---- */

static inline uint32_t rank_of(const struct vgpu_block *block, uint32_t offset)
{
    uint32_t rank = offset >> VGPU_RANK_SHIFT;

    return rank == 0 ? block->rank : rank - 1;
}

/* D: where the address A is in the block of rank B. A generic address has the offset in its lower
   half. */
#define DEFINE_MAPA(bits, T)                                                                       \
    HANDLER(mapa_##bits)                                                                           \
    {                                                                                              \
        const T *ra = ROW(T, VGPU_A);                                                              \
        const uint32_t *rb = ROW(uint32_t, VGPU_B);                                                \
        T *d = ROW(T, VGPU_D);                                                                     \
        EACH_LANE(m, l)                                                                            \
        d[l] = (T)((ra[l] & ~(T)UINT32_MAX) | offset_in(w->block, (uint32_t)ra[l], rb[l]));        \
        return 0;                                                                                  \
    }                                                                                              \
    HANDLER(getctarank_##bits)                                                                     \
    {                                                                                              \
        const T *ra = ROW(T, VGPU_A);                                                              \
        uint32_t *d = ROW(uint32_t, VGPU_D);                                                       \
        EACH_LANE(m, l)                                                                            \
        d[l] = rank_of(w->block, (uint32_t)ra[l]);                                                 \
        return 0;                                                                                  \
    }
DEFINE_MAPA(32, uint32_t)
DEFINE_MAPA(64, uint64_t)

/* No address is one of a multicast object. */
HANDLER(multimem)
{
    const uint64_t *a = ROW(uint64_t, VGPU_A);

    EACH_LANE(m, l)
    return vgpu_warp_fault(w, VGPU_FAULT_ILLEGAL_ADDRESS, l, a[l], 4);
    return 0;
}

HANDLER(fence)
{
    (void)w;
    (void)i;
    (void)m;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return 0;
}

const struct vgpu_op VGPU_LEVEL_NAME(vgpu_ops_async)[] = {
    OP_ENTRY(mbarrier_init) OP_ENTRY(mbarrier_tx) OP_ENTRY(mbarrier_arrive) OP_ENTRY(mbarrier_wait)
        OP_ENTRY(mbarrier_pending) OP_ENTRY(cp_async) OP_ENTRY(cp_async_bulk)
            OP_ENTRY(cp_reduce_bulk) OP_ENTRY(st_bulk) OP_ENTRY(mapa_32) OP_ENTRY(mapa_64)
                OP_ENTRY(getctarank_32) OP_ENTRY(getctarank_64) OP_ENTRY(fence) OP_ENTRY(multimem)
                    OP_END};
