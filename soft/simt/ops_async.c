/* SPDX-License-Identifier: MIT */
/*
 * Copies that hardware does on the side, and the barriers in memory that tell of their end. Here a
 * copy is done when it is issued, which is a time that PTX allows.
 *
 * A barrier (mbarrier) is 64 bits of shared memory, which only the thread that runs the block
 * touches: how many arrivals its phase still needs, how many each phase needs, how many bytes are
 * still to come, and whether the phase is an odd one.
 */
#include "soft/simt/access.h"

/* What looking at a barrier in vain costs of a group's turn: who is waited for should have it. */
#define VAIN_COST 2048

#define COUNT_BITS 20
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
#define TX_BITS    22
#define TX_SHIFT   (2 * COUNT_BITS)
#define TX_MASK    ((UINT64_C(1) << TX_BITS) - 1)
#define PHASE      (UINT64_C(1) << (TX_SHIFT + TX_BITS))

static inline uint64_t with_pending(uint64_t v, uint64_t pending)
{
    return (v & ~COUNT_MASK) | (pending & COUNT_MASK);
}

static inline uint64_t with_bytes(uint64_t v, uint64_t more)
{
    return (v & ~(TX_MASK << TX_SHIFT)) | ((((v >> TX_SHIFT) + more) & TX_MASK) << TX_SHIFT);
}

/* The next phase begins when nothing is waited for any more. */
static inline uint64_t settled(uint64_t v)
{
    if ((v & COUNT_MASK) != 0 || (v >> TX_SHIFT & TX_MASK) != 0)
        return v;
    return with_pending(v, v >> COUNT_BITS) ^ PHASE;
}

static inline uint64_t load_barrier(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static inline void store_barrier(uint8_t *at, uint64_t v)
{
    memcpy(at, &v, sizeof(v));
}

#define EACH_LANE(m, l)                                                                            \
    for (uint32_t rest_##l = (m), l; rest_##l != 0 && (l = (uint32_t)__builtin_ctz(rest_##l), 1);  \
         rest_##l &= rest_##l - 1)

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

/* To A from B, C bytes; all addresses are generic. E, unless its row is 0: the barrier that the
   bytes are counted at. */
HANDLER(cp_async_bulk)
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
        memmove(to, from, c[l]);
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
        OP_ENTRY(mbarrier_pending) OP_ENTRY(cp_async) OP_ENTRY(cp_async_bulk) OP_ENTRY(st_bulk)
            OP_ENTRY(fence) OP_END};
